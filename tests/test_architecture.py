"""The rooms of the house, and who may use whom: docs/architecture.md draws what is written down here."""

from __future__ import annotations

import ast
import re
import subprocess
import sys
from collections.abc import Container
from graphlib import CycleError, TopologicalSorter
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


ROOMS = {
    "formulations": ("formulations",),
    "ground": ("optprobe.errors", "optprobe.files", "optprobe.names", "optprobe.bundled"),
    "scoring": ("optprobe.scoring",),
    "features": ("optprobe.features",),
    "heuristics": ("optprobe.heuristics",),
    "activations.model": ("optprobe.activations.model",),
    "activations.store": ("optprobe.activations.store",),
    "activations.extraction": ("optprobe.activations.extraction",),
    "activations.summaries": ("optprobe.activations.summaries",),
    "activations": ("optprobe.activations",),
    "causal": ("optprobe.causal",),
    "certificates.checker": ("optprobe.certificates.checker",),
    "certificates.exact": ("optprobe.certificates.exact",),
    "certificates": ("optprobe.certificates",),
    "engines.kernels": ("optprobe.engines.kernels",),
    "engines.engine": (
        *("optprobe.engines.engine", "optprobe.engines.outcome", "optprobe.engines.budget"),
        "optprobe.engines.incumbents",
    ),
    "engines.bounds": ("optprobe.engines.bounds",),
    "engines.trees": ("optprobe.engines.trees",),
    "engines.sweeps": ("optprobe.engines.sweeps",),
    "engines.mips": ("optprobe.engines.mips",),
    "engines": ("optprobe.engines",),
    "registry": ("optprobe.registry",),
    "studies": ("optprobe.studies",),
    "optprobe": ("optprobe",),
    "cases": ("optprobe.cases",),
    "report": ("optprobe.report",),
    "cli": ("optprobe.cli", "optprobe.__main__", "optprobe.quickstart"),
    "experiments": ("experiments",),
}
"""Every room, and the modules in it; the longest name decides."""

ARROWS = {
    "formulations": (),
    "ground": ("formulations",),
    "scoring": ("formulations", "ground"),
    "features": ("formulations", "ground"),
    "heuristics": ("formulations",),
    "activations.model": ("formulations", "ground", "features"),
    "activations.store": ("formulations", "ground", "features", "activations.model"),
    "activations.extraction": ("ground", "features", "activations.model", "activations.store"),
    "activations.summaries": (
        *("formulations", "ground", "features"),
        *("activations.model", "activations.store", "activations.extraction"),
    ),
    "activations": (
        *("formulations", "ground", "features", "activations.model", "activations.store", "activations.extraction"),
        "activations.summaries",
    ),
    "causal": (
        *("formulations", "ground", "scoring", "features"),
        *("activations.model", "activations.store", "activations.extraction"),
    ),
    "certificates.checker": (),
    "certificates.exact": ("ground",),
    "certificates": ("formulations", "ground", "certificates.checker"),
    "engines.kernels": (),
    "engines.engine": ("formulations", "ground"),
    "engines.bounds": ("formulations", "engines.kernels", "engines.engine"),
    "engines.trees": ("formulations", "heuristics", "engines.kernels", "engines.engine", "engines.bounds"),
    "engines.sweeps": (
        *("formulations", "heuristics", "engines.kernels", "engines.engine"),
        *("engines.bounds", "engines.trees"),
    ),
    "engines.mips": ("formulations", "engines.engine", "engines.bounds", "engines.trees"),
    "engines": (
        *("formulations", "ground", "heuristics", "certificates", "certificates.checker"),
        *("engines.engine", "engines.trees", "engines.sweeps"),
    ),
    "registry": ("formulations", "ground", "scoring", "certificates", "certificates.checker"),
    "studies": ("ground",),
    "optprobe": (
        *("formulations", "ground", "scoring", "features", "heuristics"),
        *("activations", "causal", "certificates", "engines", "registry"),
    ),
    "cases": (
        *(
            "formulations",
            "ground",
            "scoring",
            "features",
            "heuristics",
            "activations",
            "certificates",
            "engines",
            "engines.engine",
        ),
        *("registry", "studies", "optprobe"),
    ),
    "report": (
        *(
            "formulations",
            "ground",
            "scoring",
            "features",
            "activations",
            "causal",
            "certificates",
            "certificates.checker",
            "engines",
        ),
        *("registry", "studies", "optprobe", "cases"),
    ),
    "cli": (
        *("formulations", "ground", "features", "heuristics", "activations", "activations.model"),
        *("activations.store", "activations.extraction", "activations.summaries"),
        *("certificates", "certificates.checker", "certificates.exact", "engines", "engines.engine"),
        *("registry", "studies", "optprobe", "causal", "cases", "report"),
    ),
}
INNER = ("activations.", "certificates.", "engines.")
ARROWS["experiments"] = tuple(room for room in ROOMS if room != "experiments" and not room.startswith(INNER))
"""Whom each room uses, and nobody else; engines of `engine_named` are found by name, so that a room can be added.

Experiments stand on top, and may use every room by its face.
"""


def modules() -> dict[str, Path]:
    """Every module by its name."""
    found = {}
    for top in (ROOT, Path(formulations.__file__).parent, ROOT.parent / "experiments"):
        for path in top.rglob("*.py"):
            parts = path.relative_to(top.parent).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


def used_modules(name: str, path: Path, known: Container[str]) -> set[str]:
    """The modules of the house that one imports, anywhere in it, also for its types only."""
    used = set()
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            used |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom):
            above = name.split(".")[: len(name.split(".")) - node.level + (path.name == "__init__.py")]
            base = ".".join([*(above if node.level else []), *([node.module] if node.module else [])])
            inner = {f"{base}.{alias.name}" for alias in node.names}
            used |= {module if module in known else base for module in inner}
    return {module for module in used if module in known and module != name}


def graph() -> dict[str, set[str]]:
    known = modules()
    return {name: used_modules(name, path, known) for name, path in known.items()}


def room_of(module: str) -> str:
    """The room of a module."""
    within = {
        prefix: room for room, prefixes in ROOMS.items() for prefix in prefixes if f"{module}.".startswith(f"{prefix}.")
    }
    return within[max(within, key=len)]


def test_no_module_imports_itself_in_a_circle() -> None:
    try:
        order = list(TopologicalSorter(graph()).static_order())
    except CycleError as error:
        pytest.fail(f"modules import each other: {' <- '.join(error.args[1])}")
    assert len(order) > 150


def test_rooms_use_whom_they_may_and_all_of_them() -> None:
    used: dict[str, dict[str, str]] = {room: {} for room in ROOMS}
    for module, others in graph().items():
        for other in others:
            if room_of(module) != room_of(other):
                used[room_of(module)][room_of(other)] = f"{module} imports {other}"
    for room, others in used.items():
        for other, example in others.items():
            assert other in ARROWS[room], f"{room} may not use {other}, and {example}"
        unused = set(ARROWS[room]) - set(others)
        assert not unused or room == "experiments", f"{room} no longer uses {unused}"


def below(room: str) -> set[str]:
    """All rooms that a room uses, directly or not."""
    return {inner for other in ARROWS[room] for inner in (other, *below(other))}


def test_the_page_draws_the_arrows() -> None:
    """Those that do not follow from others; each room has its duty, which is what its docstring says."""
    page = (ROOT.parent / "docs" / "architecture.md").read_text(encoding="utf-8")
    drawn = {tuple(line.split(" --> ")) for line in page.splitlines() if " --> " in line}
    stripped = {(a.strip(), b.strip()) for a, b in drawn}
    needed = {
        (room, other)
        for room, others in ARROWS.items()
        for other in others
        if not any(other in below(between) for between in others)
    }
    assert stripped == needed
    duties = dict(re.findall(r"^\| `([a-z._]+)` \| (.*) \|$", page, flags=re.MULTILINE))
    assert set(duties) == set(ROOMS)
    for room, prefixes in ROOMS.items():
        path = modules()[prefixes[0]]
        if path.name == "__init__.py" and room not in ("optprobe", "cli"):
            said = ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))) or ""
            assert duties[room] == said.split("\n\n")[0].replace("\n", " "), room


COMPILED_CHECKS = {"compiled", "compiled_dual", "compiled_hinge", "exhaustive_loops"}
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
