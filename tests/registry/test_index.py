"""The index is never truth: deleted, garbage, stale, in the way or read-only, the answer is that of the files."""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager
from pathlib import Path
from typing import Any

import pytest
from claims import claimed

import optprobe as op
from optprobe.registry import index
from optprobe.registry.folder import INDEX, LOCK, certificate_path

NUMBER = 12


@pytest.fixture
def registry(tmp_path: Path) -> op.Registry:
    registry = op.Registry(tmp_path / "registry")
    for number in range(NUMBER):
        registry.add(claimed(scope={"layer": number}, data=str(number)))
    return registry


def layers(registry: op.Registry) -> list[Any]:
    return [record["layer"] for record in registry.find()]


def count_of_files_read(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The files whose claims are read from now on."""
    read: list[str] = []
    honest = index.read_claim

    def counting(path: str) -> Any:
        read.append(path)
        return honest(path)

    monkeypatch.setattr(index, "read_claim", counting)
    return read


def test_only_what_is_new_is_read(registry: op.Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    read = count_of_files_read(monkeypatch)
    assert layers(registry) == list(range(NUMBER))
    assert len(read) == NUMBER
    layers(registry)
    assert len(read) == NUMBER
    registry.add(claimed(scope={"layer": 99}, data="new"))
    assert layers(registry) == [*range(NUMBER), 99]
    assert len(read) == NUMBER + 1
    (registry.folder / INDEX).unlink()
    assert layers(registry) == [*range(NUMBER), 99]
    assert len(read) == 2 * (NUMBER + 1)


def test_what_is_not_there_is_not_listed(registry: op.Registry) -> None:
    assert len(layers(registry)) == NUMBER
    gone = registry.find(layer=5)[0]
    registry.path(gone["id"]).unlink()
    assert layers(registry) == [number for number in range(NUMBER) if number != 5]
    changed = registry.path(registry.find(layer=3)[0]["id"])
    changed.write_bytes(claimed(scope={"layer": "three"}, data="3").content)
    assert "three" in layers(registry)
    changed.write_bytes(b"no certificate")
    assert layers(registry) == [number for number in range(NUMBER) if number not in (3, 5)]
    shutil.rmtree(registry.folder / gone["sha256"][:2])
    for path in list(registry.folder.rglob("*.cert")):
        path.unlink()
    assert layers(registry) == []


def test_arrays_are_not_read(registry: op.Registry) -> None:
    """A file whose last number was altered is listed, and found by a check."""
    sha256 = registry.find(layer=4)[0]["sha256"]
    path = certificate_path(registry.folder, sha256)
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    (registry.folder / INDEX).unlink()
    assert len(registry.find(layer=4)) == 1
    assert [(finding.sha256, finding.kind) for finding in registry.check()] == [(sha256, "damaged")]


def execute(*statements: str) -> Callable[[Path], None]:
    def change(path: Path) -> None:
        with closing(sqlite3.connect(path)) as database, database:
            for statement in statements:
                database.execute(statement)

    return change


def foreign_table(path: Path) -> None:
    path.unlink()
    execute("CREATE TABLE files (a)", "INSERT INTO files VALUES (1)")(path)


def of_this_version_and_empty(path: Path) -> None:
    path.unlink()
    execute(f"PRAGMA user_version = {index.VERSION}")(path)


def flipped(path: Path) -> None:
    content = bytearray(path.read_bytes())
    content[100:4000] = b"\x5a" * 3900
    path.write_bytes(content)


def folder_instead(path: Path) -> None:
    path.unlink()
    path.mkdir()


HARM: dict[str, Callable[[Path], Any]] = {
    "deleted": Path.unlink,
    "empty": lambda path: path.write_bytes(b""),
    "garbage": lambda path: path.write_bytes(b"garbage " * 1000),
    "truncated": lambda path: path.write_bytes(path.read_bytes()[:5000]),
    "overwritten pages": flipped,
    "of another version": execute("PRAGMA user_version = 77"),
    "without a view": execute("DROP VIEW certificates"),
    "with another table": foreign_table,
    "of this version and empty": of_this_version_and_empty,
    "records that are no JSON": execute("UPDATE files SET record = '{'"),
    "a folder": folder_instead,
}


@pytest.mark.parametrize("harm", HARM)
def test_a_harmed_index_does_no_harm(registry: op.Registry, harm: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is made anew, where it can be, and not at every question."""
    before = registry.find(superseded=None).rows
    HARM[harm](registry.folder / INDEX)
    read = count_of_files_read(monkeypatch)
    for _ in range(2):
        assert registry.find(superseded=None).rows == before
        assert len(registry.find(neuron=2, layer=4)) == 1
    assert len(read) == (4 if harm == "a folder" else 1) * NUMBER
    assert registry.check() == []


def test_a_lock_that_cannot_be_had(registry: op.Registry, monkeypatch: pytest.MonkeyPatch) -> None:
    from filelock import FileLock

    before = registry.find().rows
    monkeypatch.setattr(index, "PATIENCE", 0.05)
    with FileLock(registry.folder / LOCK):
        assert registry.find().rows == before
    (registry.folder / LOCK).unlink(missing_ok=True)
    (registry.folder / LOCK).mkdir()
    assert registry.find().rows == before


@contextmanager
def unprivileged() -> Iterator[None]:
    """As a user who may read everything and write nothing here."""
    if os.geteuid() != 0:
        yield
        return
    os.seteuid(65534)
    try:
        yield
    finally:
        os.seteuid(0)


@pytest.mark.skipif(os.name != "posix", reason="permissions are those of POSIX")
@pytest.mark.parametrize("indexed", [True, False])
def test_a_read_only_registry_is_listed(indexed: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        registry = op.Registry(folder)
        for number in range(NUMBER):
            registry.add(claimed(scope={"layer": number}, data=str(number)))
        if indexed:
            assert len(registry.find()) == NUMBER
        late = registry.add(claimed(scope={"layer": 50}, data="late"))
        for path in (folder, *folder.rglob("*")):
            path.chmod(0o555 if path.is_dir() else 0o444)
        try:
            with unprivileged():
                with pytest.raises(op.InputError, match="cannot be written"):
                    registry.add(claimed(data="one more"))
                read = count_of_files_read(monkeypatch)
                assert layers(registry) == [*range(NUMBER), 50]
                assert len(read) == (1 if indexed else NUMBER + 1)
                assert registry.record(late)["layer"] == 50
                assert registry.check() == []
        finally:
            for path in (folder, *folder.rglob("*")):
                path.chmod(0o755)
        assert (folder / INDEX).exists() == indexed


ADDING = """
import sys
from claims import claimed
import optprobe as op
registry = op.Registry(sys.argv[1])
order = range(100) if sys.argv[2] == "up" else reversed(range(100))
for number in order:
    registry.add(claimed(scope={"layer": number}, data=str(number)))
    if number % 9 == 0:
        listed = {record["layer"] for record in registry.find()}
        assert number in listed, (number, listed)
"""


def test_two_processes_add_the_same_hundred(tmp_path: Path) -> None:
    folder = tmp_path / "registry"
    path = os.pathsep.join([str(Path(__file__).parents[1]), str(Path(op.__file__).parents[1])])
    environment = {**os.environ, "PYTHONPATH": path, "OMP_NUM_THREADS": "1"}
    started = [
        subprocess.Popen([sys.executable, "-c", ADDING, str(folder), order], env=environment, stderr=subprocess.PIPE)
        for order in ("up", "down")
    ]
    for process in started:
        assert process.communicate()[1].decode() == ""
        assert process.returncode == 0
    registry = op.Registry(folder)
    assert layers(registry) == list(range(100))
    assert registry.check() == []
    files = sorted(path.name for path in folder.rglob("*") if path.is_file())
    assert len(files) == 102
    (folder / INDEX).unlink()
    assert layers(registry) == list(range(100))
