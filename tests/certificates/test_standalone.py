"""A stranger's check: two files, one command, and Python with numpy alone."""

from __future__ import annotations

import subprocess
import sys
import tomllib
import zipfile
from pathlib import Path

import numpy as np
import pytest
from setuptools import find_packages

import optprobe as op
from optprobe.activations import activations_of
from optprobe.certificates.standalone import main, write_checker
from optprobe.cli.main import main as optprobe

RNG = np.random.default_rng(6)
X = RNG.standard_normal((80, 9)).astype(np.float32)
Y = np.where(X[:, 1] - X[:, 3] + 0.6 * RNG.standard_normal(80) > 0, 1, -1)
NUMPY_ALONE = """
import runpy, sys
class Foreign:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] not in {"numpy", "checker", "__main__", *sys.stdlib_module_names}:
            raise ModuleNotFoundError(f"there is no {name}")
sys.meta_path.insert(0, Foreign())
sys.argv = sys.argv[1:]
runpy.run_path(sys.argv[0], run_name="__main__")
"""


@pytest.fixture
def store(tmp_path: Path) -> Path:
    activations_of({0: X, 1: -X}, {"f": Y}, np.arange(80) // 4).save(tmp_path / "acts")
    return tmp_path / "acts"


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checker(tmp_path_factory.mktemp("checker") / "optprobe-checker.pyz")


def check(archive: Path, folder: Path, *arguments: object) -> subprocess.CompletedProcess[str]:
    """Run the archive where nothing but numpy can be imported."""
    command = [sys.executable, "-I", "-c", NUMPY_ALONE, archive, *arguments]
    return subprocess.run(list(map(str, command)), capture_output=True, text=True, cwd=folder, check=False)


@pytest.mark.parametrize(("loss", "k"), [("squared", 3), ("logistic", 2), ("hinge", 2)])
def test_two_files_and_one_command(store: Path, archive: Path, tmp_path: Path, loss: str, k: int) -> None:
    assert optprobe(["export", str(store), "--layer", "1", "--out", str(tmp_path / "data.npz")]) == 0
    best = op.solve(op.problem(store, k, layer=1, loss=loss, ridge=0.05))
    path = best.certificate().save(tmp_path / "probe.cert")
    done = check(archive, tmp_path, path, tmp_path / "data.npz")
    assert (done.returncode, done.stderr) == (0, "")
    assert done.stdout.startswith("accepted")
    assert optprobe(["verify", str(path), "--data", str(tmp_path / "data.npz")]) == 0
    assert optprobe(["export", str(store), "--layer", "0", "--out", str(tmp_path / "other.npz")]) == 0
    done = check(archive, tmp_path, path, tmp_path / "other.npz")
    assert done.returncode == 1
    assert done.stdout.startswith("rejected")


def test_compiled_loops_are_used_where_numba_is_there(archive: Path, tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", X_train=X, y_train=Y)
    path = op.solve(op.problem(tmp_path / "data.npz", 5, loss="squared")).certificate().save(tmp_path / "probe.cert")
    done = check(archive, tmp_path, path, tmp_path / "data.npz")
    assert done.returncode == 2
    assert "need numba" in done.stderr
    command = [sys.executable, archive, path, tmp_path / "data.npz"]
    done = subprocess.run(list(map(str, command)), capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_archive_runs_as_it_is_and_says_how(archive: Path) -> None:
    done = subprocess.run([sys.executable, str(archive)], capture_output=True, text=True, check=False)
    assert done.returncode == 2
    assert "CERTIFICATE DATA.npz" in done.stderr
    missing = NUMPY_ALONE.replace('{"numpy", ', "{")
    done = subprocess.run([sys.executable, "-c", missing, str(archive)], capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (2, "")
    assert done.stderr == "the checker needs numpy: there is no numpy\n"


def test_the_same_sources_give_the_same_archive(archive: Path, tmp_path: Path) -> None:
    assert main([str(tmp_path / "again.pyz")]) == 0
    assert (tmp_path / "again.pyz").read_bytes() == archive.read_bytes()
    with zipfile.ZipFile(archive) as file:
        assert file.testzip() is None
    assert main([str(tmp_path / "again.pyz" / "below-a-file.pyz")]) == 2
    assert main([]) == 2


def test_an_export_is_the_split_that_is_asked_for(store: Path, tmp_path: Path) -> None:
    command = ["export", str(store), "--feature", "f", "--layer", "0", "--test-share", "0.5", "--seed", "3"]
    assert optprobe([*command, "--out", str(tmp_path / "half.npz")]) == 0
    found, rows = op.load_labelled(tmp_path / "half.npz"), op.load_labelled(store, "f", 0, test_share=0.5, seed=3)
    for name in ("X_train", "y_train", "group_train", "X_test", "y_test", "group_test"):
        np.testing.assert_array_equal(getattr(found, name), getattr(rows, name))
    assert dict(found.scope) == {"file": "half.npz", "feature": "f", "layer": 0}


def test_an_export_that_cannot_be_leaves_nothing(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "there.npz").write_text("mine")
    before = sorted(tmp_path.iterdir())
    for out, more, sentence in (
        ("there.npz", ["--layer", "0"], "exists already"),
        ("rows.csv", ["--layer", "0"], "no name of an .npz file"),
        ("new.npz", [], "holds several layers; give one of 0, 1"),
        ("new.npz", ["--layer", "0", "--feature", "g"], "no feature 'g'"),
        ("new.npz", ["--layer", "0", "--test-share", "1"], "between 0 and 1"),
        ("there.npz/new.npz", ["--layer", "0"], "cannot be written"),
    ):
        assert optprobe(["export", str(store), *more, "--out", str(tmp_path / out)]) == 2
        said = capsys.readouterr().err
        assert sentence in said
        assert len(said.splitlines()) == 1
    assert sorted(tmp_path.iterdir()) == before
    assert (tmp_path / "there.npz").read_text() == "mine"


def test_weights_are_exported(tmp_path: Path) -> None:
    weight = np.arange(1, 81)
    np.savez(tmp_path / "a.npz", X_train=X, y_train=Y, sample_weight=weight)
    rows = op.load_labelled(tmp_path / "a.npz")
    assert rows.save(tmp_path / "b.npz") == tmp_path / "b.npz"
    np.testing.assert_array_equal(op.load_labelled(tmp_path / "b.npz").w_train, weight)


def test_an_installation_takes_no_name_but_its_own() -> None:
    """What the wheel would install: no package that a user's own of the same name would be shadowed by."""
    root = Path(op.__file__).parents[1]
    wanted = tomllib.loads((root / "pyproject.toml").read_text())["tool"]["setuptools"]["packages"]["find"]
    assert {name.partition(".")[0] for name in find_packages(str(root), **wanted)} == {"optprobe", "formulations"}
