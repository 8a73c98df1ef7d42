"""Files and folders that appear whole or not at all."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path

from optprobe.errors import InputError


def write_file(path: Path, *content: str | bytes | memoryview) -> Path:
    """Write bytes, and text as UTF-8, under a temporary name in the same folder, sync it, and give it its name.

    Returns the path; makes the folder. Raises `InputError` where the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    except OSError as error:
        raise InputError(f"the file {path} cannot be written: {error.strerror}") from error
    try:
        with os.fdopen(handle, "wb") as file:
            for part in content:
                file.write(part.encode() if isinstance(part, str) else part)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException as error:
        os.unlink(name)
        if isinstance(error, OSError):
            raise InputError(f"the file {path} cannot be written: {error.strerror}") from error
        raise
    return path


def write_beside(path: Path, content: bytes) -> Path:
    """`write_file`, where a different file of that name is kept: the name ends in -2, -3 ... then.

    Returns the path that has this content, whether it was there before or is new.
    """
    names = (path if number == 1 else path.with_stem(f"{path.stem}-{number}") for number in count(1))
    try:
        free = next(name for name in names if not name.exists() or name.read_bytes() == content)
    except OSError as error:
        raise InputError(f"the file {path} cannot be written: {error.strerror}") from error
    return free if free.exists() else write_file(free, content)


@contextmanager
def new_folder(folder: str | Path) -> Iterator[Path]:
    """Give a folder of a temporary name beside ``folder`` to be filled; sync its files and rename it at the end.

    Left by an exception, Ctrl-C as well, it removes everything that was written. Makes the parent folder. Raises
    `InputError` where something is there already or the parent folder cannot be written.
    """
    final = Path(folder)
    if final.exists():
        raise InputError(f"{final} exists already; remove it or give another name")
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        making = Path(tempfile.mkdtemp(dir=final.parent, prefix=f".{final.name}.", suffix=".part"))
    except OSError as error:
        raise InputError(f"the folder {final} cannot be made: {error.strerror}") from error
    try:
        yield making
        for path in (*making.rglob("*"), making):
            _sync(path)
        making.chmod(0o755)
        try:
            making.rename(final)
        except OSError as error:
            raise InputError(f"the folder {final} cannot be written: {error.strerror}") from error
        _sync(final.parent)
    finally:
        shutil.rmtree(making, ignore_errors=True)


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def file_digest(path: Path) -> str:
    """sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
