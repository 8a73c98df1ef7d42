"""Models in one GGUF file: transformers reads them, by the package gguf, and gives every weight a float again."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path

from optprobe.errors import InputError
from optprobe.files import file_digest

SUFFIX = ".gguf"
FLOATS = {"F64", "F32", "F16", "BF16"}
"""Types of tensors that are not quantised."""


def is_gguf(name: str | Path) -> bool:
    """Return whether a model is named by a GGUF file that is there."""
    return Path(name).suffix == SUFFIX and Path(name).is_file()


def check_readable(path: Path, revision: str | None) -> None:
    """Raise `InputError` if the package is missing, or a revision is asked of the file."""
    if revision is not None:
        raise InputError(f"the model {str(path)!r} is a file, which has no revision {revision!r}; leave it out")
    if find_spec("gguf") is None:
        raise InputError("a GGUF file is read by the package gguf, which is not installed: pip install gguf")


def stated(path: Path) -> str:
    """Return what a manifest says of a file that was read: its name, whether and how it is quantised, its sha256."""
    from gguf import GGUFReader

    types = sorted({tensor.tensor_type.name for tensor in GGUFReader(path).tensors} - FLOATS)
    kind = f"quantised to {', '.join(types)}" if types else "not quantised"
    return f"{path.name} ({kind}, sha256 {file_digest(path)})"
