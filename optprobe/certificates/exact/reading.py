"""A file `NAME.cert` taken apart: its header, its claim as JSON, and its arrays; nothing is executed.

Every departure from section 3 of docs/certificates.md is a `Rejected` of one sentence. Sizes are compared with the size
of the file before anything of that size is made.
"""

from __future__ import annotations

import hashlib
import json
import re
import stat
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from optprobe.certificates.exact.verdict import Rejected, Undecided
from optprobe.errors import InputError

FORMAT, POOL_FORMAT = "optprobe-certificate/2", "optprobe-certificate/3"
"""Of claims about labels or moments that have no more than the first format knew, and of all others."""
LARGEST_HEADER = 16 << 20
LARGEST_FILE = 8 << 30
LARGEST_NUMBER = 1e100
TYPES = {"F64": "<f8", "I64": "<i8", "I32": "<i4", "I8": "<i1"}
Shape = tuple[int, ...]
Layout = dict[str, tuple[str, Shape]]
"""Types and shapes of arrays by their names."""


@dataclass(frozen=True, eq=False)
class Sealed:
    """A file whose layout and digest are in order: format, claim as parsed, entries of the arrays, and their bytes."""

    form: str
    claim: object
    entries: dict[str, Any]
    body: memoryview

    def arrays(self, layout: Layout) -> dict[str, np.ndarray]:
        """The arrays, which must be those of ``layout``."""
        if sorted(self.entries) != sorted(layout):
            raise Rejected("The file does not have the arrays that follow from its claim.")
        return {name: self._array(name, *layout[name]) for name in sorted(layout)}

    def _array(self, name: str, kind: str, shape: Shape) -> np.ndarray:
        entry = self.entries[name]
        if entry["dtype"] != kind or entry["shape"] != list(shape):
            raise Rejected(f"The array {name} does not have the type and shape that follow from the claim.")
        begin, end = entry["data_offsets"]
        if begin == end:
            return np.zeros(shape, dtype=TYPES[kind][1:])
        values = np.frombuffer(self.body[begin:end], dtype=TYPES[kind]).reshape(shape).astype(TYPES[kind][1:])
        if kind == "F64" and not (np.abs(values) <= LARGEST_NUMBER).all():
            raise Rejected(f"The array {name} has a number that is not finite or above {LARGEST_NUMBER:g}.")
        return values


def canonical(value: object) -> str:
    """The canonical JSON of a value, as the page defines it."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def parse_canonical(text: str, what: str) -> Any:
    """The value of a canonical JSON text."""
    try:
        value = json.loads(text)
        same = canonical(value) == text
    except (ValueError, RecursionError, TypeError, OverflowError):
        raise Rejected(f"The {what} is no JSON that can be read.") from None
    if not same:
        raise Rejected(f"The {what} is not canonical JSON.")
    return value


def digest_of(values: np.ndarray) -> str:
    """Sha256 of the shape as text and the values as little-endian float64 in row order."""
    seal = hashlib.sha256(f"{','.join(map(str, values.shape))}:".encode())
    seal.update(np.ascontiguousarray(values, dtype="<f8").data.cast("B") if values.size else b"")
    return seal.hexdigest()


def read(path: str | Path) -> Sealed:
    """The file, with its layout and digest checked.

    Raises
    ------
    InputError
        There is no such file, or it cannot be read.
    Rejected
        It is no certificate of this format.
    """
    data = memoryview(_bytes(Path(path)))
    if len(data) < 8:
        raise Rejected("The file is shorter than the length of its header.")
    length = int.from_bytes(data[:8], "little")
    if length > LARGEST_HEADER or length % 8 or length > len(data) - 8:
        raise Rejected("The length of the header is not one that the file can have.")
    header, body = _header(bytes(data[8 : 8 + length])), data[8 + length :]
    metadata = header.pop("__metadata__", None)
    if type(metadata) is not dict or sorted(metadata) != ["claim", "format", "sha256"]:
        raise Rejected("The header has no metadata with a claim, a format and a sha256 alone.")
    if not all(type(value) is str for value in metadata.values()):
        raise Rejected("An entry of the metadata is no text.")
    if metadata["format"] not in (FORMAT, POOL_FORMAT):
        raise Rejected(f"The file is not of the format {FORMAT}, nor of {POOL_FORMAT}.")
    _check_tiling(header, len(body))
    seal = hashlib.sha256(f"{metadata['claim']}\n{canonical(header)}\n".encode())
    seal.update(body)
    if seal.hexdigest() != metadata["sha256"]:
        raise Rejected("The file is damaged: its sha256 is not that of its content.")
    return Sealed(metadata["format"], parse_canonical(metadata["claim"], "claim"), header, body)


def _bytes(path: Path) -> bytes:
    try:
        state = path.stat()
        if not stat.S_ISREG(state.st_mode):
            raise InputError(f"{str(path)!r} is not a file.")
        if state.st_size > LARGEST_FILE:
            raise Undecided(f"The file has {state.st_size:,} bytes, more than the {LARGEST_FILE:,} that are read.")
        return path.read_bytes()
    except (OSError, ValueError) as error:
        why = getattr(error, "strerror", None) or "no path of a file"
        raise InputError(f"{str(path)!r} cannot be read: {why}.") from None


def _header(raw: bytes) -> dict[str, Any]:
    text = raw.rstrip(b" ")
    if len(raw) - len(text) > 7:
        raise Rejected("The header is padded by more than 7 spaces.")
    try:
        decoded = text.decode("utf-8")
    except UnicodeDecodeError:
        raise Rejected("The header is not UTF-8.") from None
    header = parse_canonical(decoded, "header")
    if type(header) is not dict:
        raise Rejected("The header is no object.")
    return header


def _check_tiling(header: dict[str, Any], size: int) -> None:
    """Whether the arrays, in the order of their names, follow each other from the first byte to the last."""
    at = 0
    for name in sorted(header):
        entry = header[name]
        if not re.fullmatch(r"[a-z.]{1,40}", name):
            raise Rejected("The header has an entry that is no array of a certificate.")
        if type(entry) is not dict or sorted(entry) != ["data_offsets", "dtype", "shape"]:
            raise Rejected(f"The entry of the array {name} does not have offsets, type and shape alone.")
        shape, offsets, kind = entry["shape"], entry["data_offsets"], entry["dtype"]
        if type(shape) is not list or not all(type(each) is int and each >= 0 for each in shape) or len(shape) > 2:
            raise Rejected(f"The shape of the array {name} is no list of at most two counts.")
        if type(kind) is not str or kind not in TYPES:
            raise Rejected(f"The type of the array {name} is none of a certificate.")
        if type(offsets) is not list or len(offsets) != 2 or not all(type(each) is int for each in offsets):
            raise Rejected(f"The offsets of the array {name} are no two integers.")
        count = int(TYPES[kind][2:])
        for each in shape:
            count *= each
        if offsets[0] != at or offsets[1] != at + count or offsets[1] > size:
            raise Rejected(f"The array {name} does not begin and end where it must.")
        at = offsets[1]
    if at != size:
        raise Rejected("The arrays do not end with the file.")


def rising(values: list[int]) -> bool:
    """Whether each number is above the one before."""
    return all(a < b for a, b in pairwise(values))
