"""The dependency rule of the house, and its sizes."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

import formulations
import optprobe

ROOT = Path(optprobe.__file__).parent
HEAVY = ("torch", "transformers", "pyomo", "sklearn", "matplotlib", "numba")


def imported(path: Path) -> set[str]:
    """Every module that a file imports, anywhere in it."""
    names: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            names |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            names.add(node.module or "")
    return names


COMPILED_CHECKS = {"compiled", "exhaustive_loops"}
"""Modules of the checker that need numba; without it, the rest works."""


def test_formulations_know_neither_optprobe_nor_torch() -> None:
    for path in Path(formulations.__file__).parent.rglob("*.py"):
        tops = {name.split(".")[0] for name in imported(path)}
        assert not tops & {"optprobe", "torch", "transformers", "highspy"}, path
        assert "pyomo" not in tops or path.parent.name == "models", path


def test_checker_knows_numpy_and_the_standard_library_only() -> None:
    folder = ROOT / "certificates" / "checker"
    own = {path.stem for path in folder.glob("[!_]*.py")}
    tops = {path.stem: {name.split(".")[0] for name in imported(path)} for path in folder.glob("*.py")}
    assert all(tops[module] >= {"numba"} for module in COMPILED_CHECKS)
    foreign = {module: names - own - set(sys.stdlib_module_names) for module, names in tops.items()}
    for module, names in foreign.items():
        assert names <= ({"numpy", "numba"} if module in COMPILED_CHECKS else {"numpy"}), module


@pytest.mark.parametrize("module", ["optprobe", "formulations", "optprobe.engines", "optprobe.cli.main"])
def test_importing_is_light(module: str) -> None:
    code = f"import sys, {module}; print(*[name for name in {HEAVY} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_public_names_exist() -> None:
    for name in optprobe.__all__:
        assert getattr(optprobe, name) is getattr(optprobe, name)
        assert callable(getattr(optprobe, name)) or name in ("activations", "features")
    assert set(optprobe._HOMES) <= set(optprobe.__all__)
    with pytest.raises(AttributeError, match="no attribute"):
        _ = optprobe.nothing


def test_only_kernels_are_compiled() -> None:
    for path in ROOT.rglob("*.py"):
        if "numba" in {name.split(".")[0] for name in imported(path)}:
            assert path.parent.name == "kernels" or path.stem in COMPILED_CHECKS, path
