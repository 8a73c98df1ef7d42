"""Files that appear whole or not at all."""

from __future__ import annotations

import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from optprobe.errors import InputError


def write_file(path: Path, content: str | bytes) -> Path:
    """Write bytes, or text as UTF-8, under a temporary name in the same folder, sync it, and give it its name.

    Returns the path; makes the folder. Raises `InputError` where the folder cannot be written.
    """
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.", suffix=".part")
    except OSError as error:
        raise InputError(f"the file {path} cannot be written: {error.strerror}") from error
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(content.encode() if isinstance(content, str) else content)
            file.flush()
            os.fsync(file.fileno())
        os.chmod(name, 0o644)
        os.replace(name, path)
    except BaseException:
        os.unlink(name)
        raise
    return path


@contextmanager
def new_folder(final: Path) -> Iterator[Path]:
    """A folder to write files to, under a temporary name; at the end it is synced and gets its name, or is removed.

    Raises `InputError` where something is there already, or the folder cannot be written.
    """
    if final.exists():
        raise InputError(f"{final} exists already; remove it or give another name")
    try:
        final.parent.mkdir(parents=True, exist_ok=True)
        folder = Path(tempfile.mkdtemp(dir=final.parent, prefix=f".{final.name}.", suffix=".tmp"))
    except OSError as error:
        raise InputError(f"the folder {final} cannot be made: {error.strerror}") from error
    try:
        yield folder
        folder.chmod(0o755)
        for path in (*folder.iterdir(), folder):
            if path != folder:
                path.chmod(0o644)
            descriptor = os.open(path, os.O_RDONLY)
            os.fsync(descriptor)
            os.close(descriptor)
        folder.rename(final)
    except OSError as error:
        raise InputError(f"the folder {final} cannot be written: {error.strerror}") from error
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def file_digest(path: Path) -> str:
    """sha256 of a file."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
