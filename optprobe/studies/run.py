"""The run of a study: what is done already stays, the rest is run, and whatever ends it, nothing is half-written."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from optprobe.errors import InputError
from optprobe.studies.backends import Backend, Here
from optprobe.studies.clock import Clock
from optprobe.studies.study import FAILURES, RECORDS, Item, Study, key_of, read_record

Report = Callable[[str, float], object]
"""Receives what is being done, and the share of it that is done."""
LOCK = ".lock"


@dataclass(frozen=True)
class Outcome:
    """
    How a run ended.

    Attributes
    ----------
    items, done, skipped, failed : int
        Items of the study; those that this run made a record of, those that had one, and those that failed.
    seconds : float
    failures : tuple of str
        A sentence for each failure.
    """

    items: int
    done: int
    skipped: int
    failed: int
    seconds: float
    failures: tuple[str, ...] = ()


def missing_items(study: Study, folder: Path) -> list[Item]:
    """The items that have no sound record in a folder."""
    items = study.items()
    keys = [key_of(study, item) for item in items]
    if len(set(keys)) < len(keys):
        raise InputError(f"the study {study.name} has the same item twice: {_twice(items, keys)}")
    records = [read_record(folder, key) for key in keys]
    return [item for item, record in zip(items, records) if record is None or not study.sound(record["result"])]


def run_study(study: Study, folder: Path, backend: Backend | None = None, report: Report | None = None) -> Outcome:
    """
    Run every item of a study that has no sound record in a folder yet.

    Parameters
    ----------
    study : Study
    folder : Path
        Gets ``records/`` and ``failures/``, a file an item, named by the item's key.
    backend : Backend, optional
        By default this process.
    report : callable, optional
        Receives the progress; what it raises ends the run.

    Raises
    ------
    InputError
        If another process is running a study in the folder, or it cannot be written.
    KeyboardInterrupt
        After Ctrl-C; every record is whole, and the same call goes on.
    """
    from filelock import FileLock, Timeout

    backend, began = backend or Here(), time.perf_counter()
    try:
        for part in (RECORDS, FAILURES):
            (folder / part).mkdir(parents=True, exist_ok=True)
        lock = FileLock(folder / LOCK, timeout=0)
        lock.acquire()
    except Timeout as error:
        raise InputError(f"another process is running a study in {folder}: wait for it, or give another") from error
    except OSError as error:
        raise InputError(f"the folder {folder} cannot be written: {error.strerror}") from error
    try:
        to_do = missing_items(study, folder)
        n_items = len(study.items())
        failures = _run(study, to_do, folder, backend, report, n_items - len(to_do))
    finally:
        _tidy(study, folder)
        lock.release()
    skipped, failed = n_items - len(to_do), len(failures)
    seconds = time.perf_counter() - began
    return Outcome(n_items, len(to_do) - failed, skipped, failed, seconds, tuple(failures))


def _run(
    study: Study, to_do: Sequence[Item], folder: Path, backend: Backend, report: Report | None, skipped: int
) -> list[str]:
    """Run the items; returns the sentences of those that failed."""
    failures: list[str] = []
    clock = Clock([item.kind for item in to_do], backend.workers)
    total = skipped + len(to_do)
    if report is not None and to_do:
        report(f"0 of {len(to_do)} to be run", skipped / total)
    for number, done in enumerate(backend.run(study, to_do, folder), 1):
        clock.ran(done.item.kind, done.seconds)
        if done.failure is not None:
            failures.append(f"{done.item.name}: {done.failure}")
        if report is not None:
            said = f", {len(failures)} failed" if failures else ""
            report(f"{number} of {len(to_do)}{said}, {clock.left}", (skipped + number) / total)
    return failures


def _tidy(study: Study, folder: Path) -> None:
    """Remove what workers that were killed left: files half-written, and failures of what has a record all the same."""
    for leftover in (*(folder / RECORDS).glob(".*.part"), *(folder / FAILURES).glob(".*.part")):
        leftover.unlink()
    for failure in (folder / FAILURES).glob("*.json"):
        record = read_record(folder, failure.stem)
        if record is not None and study.sound(record["result"]):
            failure.unlink()


def _twice(items: Sequence[Item], keys: Sequence[str]) -> str:
    return next(item.name for number, item in enumerate(items) if keys[number] in keys[:number])
