"""The certificate file, read without executing anything."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .verdict import Rejected, Unusable

Array = NDArray[Any]

FORMAT = "optprobe-certificate/1"
DTYPES = {"F64": "<f8", "F32": "<f4", "I64": "<i8", "I32": "<i4", "I8": "|i1"}


def read(path: str) -> tuple[dict[str, Any], dict[str, Array]]:
    """Claim and arrays of a certificate file."""
    try:
        header, body = parts(path)
        metadata = header.pop("__metadata__")
        stated, claim = metadata["sha256"], json.loads(metadata["claim"])
        if metadata["format"] != FORMAT:
            raise Rejected(f"the format is {metadata['format']!r}, and this checker reads {FORMAT!r}")
        found = content_digest(metadata["claim"], header, body)
        if found != stated:
            raise Rejected(f"the content was altered: its sha256 is {found[:16]}..., the file says {stated[:16]}...")
        return claim, arrays_of(header, body)
    except (ValueError, KeyError, TypeError, AttributeError, IndexError) as error:
        raise Rejected(f"the header is no certificate's ({type(error).__name__}: {error})") from error


def parts(path: str) -> tuple[dict[str, Any], bytes]:
    """Header and arrays of a file: 8 bytes of header length, a JSON header, raw little-endian arrays."""
    try:
        with open(path, "rb") as file:
            data = file.read()
    except OSError as error:
        raise Unusable(f"the file {path} cannot be read: {error.strerror}") from error
    if len(data) < 8:
        raise Rejected(f"the file is truncated: {len(data)} bytes")
    length = int.from_bytes(data[:8], "little")
    if length > len(data) - 8:
        raise Rejected(
            f"the file is truncated or no certificate: its header needs {length} bytes, it has {len(data) - 8}"
        )
    header, body = json.loads(data[8 : 8 + length]), data[8 + length :]
    end = max((int(entry["data_offsets"][1]) for name, entry in header.items() if name != "__metadata__"), default=0)
    if end != len(body):
        raise Rejected(f"the file is truncated: its arrays need {end} bytes, and {len(body)} are there")
    return header, body


def arrays_of(layout: Mapping[str, Any], body: bytes) -> dict[str, Array]:
    """The arrays of a file by name; ``layout`` is its header without the metadata."""
    return {name: _array(name, entry, body) for name, entry in layout.items()}


def content_digest(claim: str, layout: Mapping[str, Any], body: bytes) -> str:
    """sha256 of the claim's text, the arrays' names, types and places, and their bytes."""
    places = json.dumps(layout, sort_keys=True, separators=(",", ":"))
    return hashlib.sha256(f"{claim}\n{places}\n".encode() + body).hexdigest()


def _array(name: str, entry: Mapping[str, Any], body: bytes) -> Array:
    begin, end = entry["data_offsets"]
    array = np.frombuffer(body[begin:end], dtype=DTYPES[entry["dtype"]]).reshape(entry["shape"])
    if array.dtype.kind == "f" and not np.isfinite(array).all():
        raise Rejected(f"the array {name} holds a value that is not finite")
    return array
