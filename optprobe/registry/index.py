"""The index of a registry: what its files say, in SQLite, so that thousands are listed at once.

Before every answer it is compared with the folder, by names and stamps: new files are read (their headers alone),
and what is no longer there is forgotten. So it may be deleted, or be garbage, at any time; where it cannot be written,
the answer comes from a copy in memory.
"""

from __future__ import annotations

import json
import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path
from typing import Any

from filelock import FileLock

from optprobe.certificates.checker import Rejected, Unusable, canonical, read_claim
from optprobe.errors import InputError
from optprobe.registry.folder import INDEX, LOCK, Stamp, certificate_path, contents, note_path
from optprobe.registry.notes import read_note
from optprobe.registry.record import pool_key, problem_key, record_of

VERSION = 4
"""To be raised where tables or records change."""
PATIENCE = 10.0
"""Seconds to wait for another process that brings the index up to date; then an index in memory answers."""
COLUMNS = ("model", "dataset", "feature", "layer", "loss", "class_weight", "ridge", "k", "optimal", "verified")
"""What is searched by equality, in the order in which records are listed."""
SCHEMA = f"""
CREATE TABLE files (
    sha256 TEXT PRIMARY KEY, stamp TEXT, note_stamp TEXT, record TEXT,
    problem TEXT, pool TEXT, upper REAL, lower REAL, trust INTEGER, {", ".join(COLUMNS)}
);
CREATE VIEW certificates AS
SELECT *, ifnull(lower <= CASE trust
    WHEN 2 THEN max(lower) FILTER (WHERE trust = 2) OVER better
    WHEN 1 THEN max(lower) FILTER (WHERE trust >= 1) OVER better
    ELSE max(lower) OVER better END, 0) AS superseded
FROM files WHERE record IS NOT NULL
WINDOW better AS (
    PARTITION BY problem, pool ORDER BY upper, lower DESC, trust DESC, sha256
    ROWS BETWEEN UNBOUNDED PRECEDING AND 1 PRECEDING
);
PRAGMA user_version = {VERSION};
"""
"""A file that is no certificate has a row without a record, so that it is not read again.

Records before another of the same problem, in this order, have no higher upper bound; one of them that has no lower
lower bound either, and was verified at least as well (trust: 2 accepted, 1 not checked, 0 rejected), supersedes it. A
pool says more, and is superseded by the same pool alone.
"""

Query = tuple[str, Sequence[Any]]
"""A condition on the view, and its values."""
Stamps = dict[str, Stamp]
"""The files that were there when the question was asked."""


def select(folder: Path, query: Query) -> list[dict[str, Any]]:
    """The records of a registry that meet a condition, in the order of `COLUMNS`, then best bounds first.

    Raises `InputError` where there is no such folder.
    """
    there = contents(folder).certificates
    if not there:
        return []
    failed: Exception | None = None
    for attempt in (_on_disk, _anew, _copied, _in_memory):
        try:
            return attempt(folder, there, query)
        except (sqlite3.Error, OSError, ValueError) as error:
            failed = error
    assert failed is not None
    raise failed


def column(value: Any) -> str | int | float | None:
    """A value of any JSON type as SQLite compares it: neither ``true`` nor ``[1]`` nor ``"1"`` is 1.

    Raises `InputError` for a value that no JSON text in UTF-8 has.
    """
    plain = value.item() if hasattr(value, "item") else value
    if plain is None or isinstance(plain, float):
        return plain
    if isinstance(plain, int) and not isinstance(plain, bool) and abs(plain) < 2**53:
        return plain
    try:
        text = plain if isinstance(plain, str) else canonical(plain)
        text.encode()
    except (TypeError, ValueError) as error:
        raise InputError(
            f"{value!a} is nothing that a certificate could say: give a text, a number, true or false"
        ) from error
    return text


def _on_disk(folder: Path, there: Stamps, query: Query) -> list[dict[str, Any]]:
    with FileLock(folder / LOCK, timeout=PATIENCE), closing(sqlite3.connect(folder / INDEX)) as index:
        return _answer(index, folder, there, query)


def _anew(folder: Path, there: Stamps, query: Query) -> list[dict[str, Any]]:
    """From an index that is made anew, where the one that is there cannot be used."""
    with FileLock(folder / LOCK, timeout=PATIENCE):
        for name in (INDEX, f"{INDEX}-journal"):
            (folder / name).unlink(missing_ok=True)
    return _on_disk(folder, there, query)


def _copied(folder: Path, there: Stamps, query: Query) -> list[dict[str, Any]]:
    """From a copy in memory of the index that is there, where the folder cannot be written."""
    address = f"{(folder / INDEX).absolute().as_uri()}?mode=ro"
    with closing(sqlite3.connect(":memory:")) as index:
        with closing(sqlite3.connect(address, uri=True)) as disk:
            disk.backup(index)
        return _answer(index, folder, there, query)


def _in_memory(folder: Path, there: Stamps, query: Query) -> list[dict[str, Any]]:
    with closing(sqlite3.connect(":memory:")) as index:
        return _answer(index, folder, there, query)


def _answer(index: sqlite3.Connection, folder: Path, there: Stamps, query: Query) -> list[dict[str, Any]]:
    _bring_up_to_date(index, folder, there)
    where, values = query
    order = ", ".join(COLUMNS[:-2])
    found = index.execute(
        f"SELECT record, verified, superseded FROM certificates WHERE {where} "
        f"ORDER BY {order}, upper, lower DESC, sha256",
        values,
    )
    return [
        {**json.loads(record), "verified": {1: True, 0: False}.get(verified), "superseded": bool(superseded)}
        for record, verified, superseded in found
    ]


def _bring_up_to_date(index: sqlite3.Connection, folder: Path, there: Stamps) -> None:
    """Read what is new or was altered, and forget what is not there."""
    (version,) = index.execute("PRAGMA user_version").fetchone()
    if version == 0:
        index.executescript(SCHEMA)
    elif version != VERSION:
        raise sqlite3.DatabaseError("another version")
    known = {sha256: stamps for sha256, *stamps in index.execute("SELECT sha256, stamp, note_stamp FROM files")}
    new = {sha256: stamps for sha256, stamps in there.items() if known.get(sha256) != [*stamps]}
    with index:
        index.executemany("DELETE FROM files WHERE sha256 = ?", [(sha256,) for sha256 in known.keys() - there.keys()])
        marks = ", ".join("?" * (9 + len(COLUMNS)))
        index.executemany(f"REPLACE INTO files VALUES ({marks})", _rows(folder, new))


def _rows(folder: Path, stamps: Stamps) -> Iterator[tuple[Any, ...]]:
    for sha256, stamp in stamps.items():
        try:
            claim = read_claim(str(certificate_path(folder, sha256)))
        except (Rejected, Unusable):
            yield (sha256, *stamp, *[None] * (6 + len(COLUMNS)))
            continue
        note = read_note(note_path(folder, sha256), sha256, claim)
        verified = None if note is None else note["status"] == "accepted"
        record = record_of(sha256, claim)
        named = {
            **record,
            "verified": None if verified is None else int(verified),
            "optimal": int(claim.result.optimal),
        }
        yield (
            *(sha256, *stamp, json.dumps(record), problem_key(claim), pool_key(claim)),
            *(claim.result.upper_bound, claim.result.lower_bound, {True: 2, None: 1, False: 0}[verified]),
            *(column(named[name]) for name in COLUMNS),
        )
