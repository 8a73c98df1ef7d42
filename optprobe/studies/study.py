"""The contract: a study has items, and makes of each a record that depends on nothing but the item and its inputs."""

from __future__ import annotations

import hashlib
import json
import os
import platform
import socket
import time
import traceback
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any, Protocol

from optprobe.errors import OptprobeError
from optprobe.files import write_file

FORMAT = "optprobe-record/1"
RECORDS, FAILURES = "records", "failures"


@dataclass(frozen=True)
class Item:
    """
    One thing to be run.

    Parameters
    ----------
    values : mapping of str to JSON value
        What it is, in plain values: feature, layer, loss, k ...
    inputs : mapping of str to str
        Digests of all that its result depends on besides.
    name : str
        The same in words, for people.
    kind : str
        Items of one kind take about the same time.
    after : str, optional
        Key of an item whose record this one may start from; it must give the same record without it.
    """

    values: Mapping[str, Any]
    inputs: Mapping[str, str]
    name: str = field(default="", compare=False)
    kind: str = field(default="", compare=False)
    after: str | None = field(default=None, compare=False)


class Study(Protocol):
    """What a study is; it must survive pickling, since workers run it."""

    @property
    def name(self) -> str:
        """Its name, part of every key."""

    @property
    def version(self) -> int:
        """Raised where the same item would get another record; part of every key."""

    def items(self) -> Sequence[Item]:
        """Everything that is to be run; one before those that start from it."""

    def run(self, item: Item, earlier: Mapping[str, Any] | None) -> Mapping[str, Any]:
        """
        Return the result of an item as JSON values.

        Parameters
        ----------
        item : Item
        earlier : mapping or None
            The result of the item that it comes after, where that is there.
        """

    def sound(self, result: Mapping[str, Any]) -> bool:
        """Whether all that a result of an earlier run names, such as a certificate, is still there and unaltered."""


def key_of(study: Study, item: Item) -> str:
    """The sha256 of all that decides an item's result."""
    return digest([FORMAT, study.name, study.version, dict(item.values), dict(item.inputs)])


def digest(value: object) -> str:
    """The sha256 of a JSON value in its canonical text."""
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), allow_nan=False)
    return hashlib.sha256(text.encode()).hexdigest()


def read_record(folder: Path, key: str) -> dict[str, Any] | None:
    """The record of a key: ``item``, ``result``, and ``ran`` (seconds, host, versions); None if it is not sound."""
    try:
        sealed = json.loads((folder / RECORDS / f"{key}.json").read_text(encoding="utf-8"))
        seal = digest([sealed["key"], sealed["item"], sealed["result"], sealed["ran"]])
        sound = (sealed["format"], sealed["key"], sealed["sha256"]) == (FORMAT, key, seal)
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return sealed if sound else None


def records_of(study: Study, folder: Path) -> Iterator[dict[str, Any]]:
    """The records of a study's items that are there, in the order of the items."""
    for item in study.items():
        record = read_record(folder, key_of(study, item))
        if record is not None and study.sound(record["result"]):
            yield record


def perform(study: Study, item: Item, folder: Path) -> str | None:
    """
    Run an item and write its record, or why it failed.

    Returns
    -------
    str or None
        The sentence of the failure.
    """
    key, started, clock = key_of(study, item), time.time(), time.perf_counter()
    earlier = None if item.after is None else read_record(folder, item.after)
    failure = folder / FAILURES / f"{key}.json"
    try:
        result = dict(study.run(item, None if earlier is None else earlier["result"]))
        ran = {"started": started, "seconds": time.perf_counter() - clock, **_here()}
        stated = {"values": dict(item.values), "inputs": dict(item.inputs)}
        sealed = {"format": FORMAT, "study": study.name, "key": key, "item": stated, "result": result, "ran": ran}
        sealed["sha256"] = digest([key, stated, result, ran])
        write_file(folder / RECORDS / f"{key}.json", json.dumps(sealed, indent=1, allow_nan=False) + "\n")
    except Exception as error:
        said = " ".join(str(error).split()) or type(error).__name__
        if not isinstance(error, OptprobeError | MemoryError):
            said = f"{type(error).__name__}: {said}"
        note_failure(study, item, folder, f"{item.name}: {said}", traceback.format_exc())
        return said
    failure.unlink(missing_ok=True)
    return None


def note_failure(study: Study, item: Item, folder: Path, sentence: str, trace: str = "") -> None:
    """Keep why an item failed; the next run tries it again."""
    key = key_of(study, item)
    note = {"key": key, "item": dict(item.values), "sentence": sentence, "traceback": trace, "at": time.time()}
    with suppress(OptprobeError):  # where nothing can be written, the sentence is all there is
        write_file(folder / FAILURES / f"{key}.json", json.dumps(note, indent=1) + "\n")


def _here() -> dict[str, Any]:
    return {
        "host": socket.gethostname(),
        "process": os.getpid(),
        "versions": {"optprobe": metadata.version("optprobe"), "python": platform.python_version()},
    }
