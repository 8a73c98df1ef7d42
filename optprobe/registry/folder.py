"""The folder of a registry: where a certificate and the note about it lie, what is there, and what does not belong."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from optprobe.errors import InputError

CERTIFICATE, NOTE = ".cert", ".checked.json"
INDEX, LOCK = "index.sqlite", "index.lock"
OWN = frozenset({INDEX, LOCK, *(f"{INDEX}-{kind}" for kind in ("journal", "wal", "shm"))})
"""What lies beside the certificates' folders; deleting it loses nothing."""
UNDER_WAY = 3600.0
"""Seconds in which a file that is being written has its name."""
FEWEST = 6
"""Digits of an id, at least."""
_FOLDER, _DIGEST, _PREFIX = re.compile("[0-9a-f]{2}"), re.compile("[0-9a-f]{64}"), re.compile("[0-9a-f]{6,64}")

Stamp = tuple[str, str]
"""Size and time of a certificate's file, and of its note: which file was read."""


@dataclass(frozen=True)
class Contents:
    """Certificates by sha256 with the stamps of their files, and the paths of everything that is not a registry's."""

    certificates: dict[str, Stamp]
    foreign: list[Path]
    unfinished: list[Path]


def certificate_path(folder: Path, sha256: str) -> Path:
    """Where the certificate of this sha256 lies."""
    return folder / sha256[:2] / f"{sha256}{CERTIFICATE}"


def note_path(folder: Path, sha256: str) -> Path:
    """Where the note lies that says what was verified here."""
    return folder / sha256[:2] / f"{sha256}{NOTE}"


def contents(folder: Path) -> Contents:
    """What is in the folder, by names and stamps; no file is opened.

    Raises `InputError` where there is no such folder.
    """
    found = Contents({}, [], [])
    for entry in _entries(folder):
        if _FOLDER.fullmatch(entry.name) and entry.is_dir():
            _sort(_entries(Path(entry.path)), entry.name, found)
        elif entry.name not in OWN:
            found.foreign.append(Path(entry.path))
    return found


def _sort(entries: Iterator[os.DirEntry[str]], prefix: str, found: Contents) -> None:
    """Add what one of the 256 folders holds."""
    certificates, notes = {}, {}
    for entry in entries:
        name, dot, kind = entry.name.partition(".")
        belongs = _DIGEST.fullmatch(name) and name.startswith(prefix) and entry.is_file()
        if belongs and dot + kind == CERTIFICATE:
            certificates[name] = _stamp(entry)
        elif belongs and dot + kind == NOTE:
            notes[name] = entry
        elif entry.name.startswith(".") and entry.name.endswith(".part"):
            if _age(entry) > UNDER_WAY:
                found.unfinished.append(Path(entry.path))
        else:
            found.foreign.append(Path(entry.path))
    for name, stamp in certificates.items():
        found.certificates[name] = stamp, _stamp(notes[name]) if name in notes else ""
    found.foreign.extend(Path(notes[name].path) for name in notes.keys() - certificates.keys())


def _stamp(entry: os.DirEntry[str]) -> str:
    """Size and time of a file; nothing, where another process has just replaced it."""
    try:
        status = entry.stat()
    except OSError:
        return ""
    return f"{status.st_size}.{status.st_mtime_ns}"


def _age(entry: os.DirEntry[str]) -> float:
    try:
        return time.time() - entry.stat().st_mtime
    except OSError:
        return 0.0


def resolved(folder: Path, prefix: str) -> str:
    """The one sha256 that begins with these digits.

    Raises `InputError` where there is none, there are several, or these are no digits of a sha256.
    """
    if not _PREFIX.fullmatch(prefix):
        raise InputError(f"{prefix!r} is no id of a certificate: give the first {FEWEST} or more digits of its sha256")
    try:
        names = [entry.name for entry in _entries(folder / prefix[:2])] if (folder / prefix[:2]).is_dir() else []
    except OSError as error:
        raise InputError(f"the registry {folder} cannot be read: {error.strerror}") from error
    found = sorted(
        name.removesuffix(CERTIFICATE)
        for name in names
        if name.startswith(prefix) and name.endswith(CERTIFICATE) and _DIGEST.fullmatch(name.removesuffix(CERTIFICATE))
    )
    if len(found) > 1:
        raise InputError(
            f"{prefix} begins the ids of {len(found)} certificates in {folder}: give more digits "
            f"({found[0]}, {found[1]})"
        )
    if not found:
        raise InputError(f"no certificate in {folder} has an id that begins with {prefix}: `optprobe registry list`")
    return found[0]


def is_id(text: str) -> bool:
    """Whether a text can be an id of a certificate."""
    return _PREFIX.fullmatch(text) is not None


def _entries(folder: Path) -> Iterator[os.DirEntry[str]]:
    try:
        with os.scandir(folder) as entries:
            yield from entries
    except (FileNotFoundError, NotADirectoryError) as error:
        raise InputError(
            f"there is no registry {folder}: make one by `optprobe registry add CERT --registry {folder}`"
        ) from error
    except OSError as error:
        raise InputError(f"the registry {folder} cannot be read: {error.strerror}") from error
