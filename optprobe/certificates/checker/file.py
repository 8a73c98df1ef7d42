"""The certificate file, read without executing anything: the layout of safetensors, in its one canonical form."""

from __future__ import annotations

import hashlib
import json
import math
import os
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from .claim import FORMAT, LARGEST, POOL_FORMAT, SWEEPS, Claim, parse_claim
from .limits import Limits
from .outcome import Rejected, Unusable, require
from .text import canonical, entries, parsed

Array = NDArray[Any]

OLD_FORMAT = "optprobe-certificate/1"
DTYPES = {"F64": "<f8", "I64": "<i8", "I32": "<i4", "I8": "|i1"}
LONGEST_HEADER = 2**24


def read(path: str, limits: Limits | None = None) -> tuple[Claim, dict[str, Array]]:
    """Claim and arrays of a certificate file.

    Raises `Rejected` where the file is not what a certificate must be, `Unusable` where there is none.
    """
    try:
        with open(path, "rb") as file:
            claim, text, stated = _stated(file)
            expected, end = layout(claim)
            (limits or Limits()).room(end / 4, "reading the certificate")
            body = file.read(end)
    except OSError as error:
        raise Unusable(f"the file {path} cannot be read: {error.strerror}") from error
    found = content_digest(text, expected, body)
    require(found == stated, f"the content was altered: its sha256 is {found[:16]}..., and the file says another")
    return claim, {name: _array(name, entry, body) for name, entry in expected.items()}


def read_claim(path: str) -> Claim:
    """The claim of a certificate file, from its header: the arrays are not read, and so no digest is compared.

    Raises as `read` does.
    """
    try:
        with open(path, "rb") as file:
            return _stated(file)[0]
    except OSError as error:
        raise Unusable(f"the file {path} cannot be read: {error.strerror}") from error


def _stated(file: BinaryIO) -> tuple[Claim, str, str]:
    """The claim, its text and the digest that the header states; the file ends where the claim's arrays do."""
    size = os.fstat(file.fileno()).st_size
    header, start = _header(file, size)
    metadata = header.pop("__metadata__", None)
    text, form, stated = entries(metadata, "the metadata", "claim", "format", "sha256")
    forms = (FORMAT, POOL_FORMAT)
    require(form in forms, f"the format is {form!r}, and this checker reads {' and '.join(map(repr, forms))}")
    require(type(text) is str, "the claim is no text")
    claim = parse_claim(text)
    require(form == claim.form, f"the format is {form!r}, and a claim such as this one has {claim.form!r}")
    expected, end = layout(claim)
    require(canonical(header) == canonical(expected), "the arrays are not those that the claim needs")
    require(
        start + end == size,
        f"the file is truncated or too long: {size} bytes, and its header needs {start + end}",
    )
    return claim, text, stated


def layout(claim: Claim) -> tuple[dict[str, Any], int]:
    """Place, type and shape of every array of a claim, by name, and the bytes of all."""
    table, end = {}, 0
    for name, (dtype, shape) in sorted(claim.arrays.items()):
        begin, end = end, end + math.prod(shape) * np.dtype(DTYPES[dtype]).itemsize
        table[name] = {"data_offsets": [begin, end], "dtype": dtype, "shape": list(shape)}
    return table, end


def content_digest(claim: str, arrays: dict[str, Any], body: bytes) -> str:
    """sha256 of the claim's text, the arrays' names, types and places, and their bytes."""
    return hashlib.sha256(f"{claim}\n{canonical(arrays)}\n".encode() + body).hexdigest()


def _header(file: BinaryIO, size: int) -> tuple[dict[str, Any], int]:
    """The header as an object, and where the arrays begin."""
    require(size >= 8, f"the file is truncated: {size} bytes")
    length = int.from_bytes(file.read(8), "little")
    require(
        length <= size - 8,
        f"the file is truncated or no certificate: its header needs {length} bytes, it has {size - 8}",
    )
    require(length <= LONGEST_HEADER, f"the header has {length} bytes, and at most {LONGEST_HEADER} are read")
    raw = file.read(length)
    try:
        padded = raw.decode("utf-8")
    except UnicodeDecodeError as error:
        raise Rejected("the header is no UTF-8") from error
    text = padded.rstrip(" ")
    if f'"format":"{OLD_FORMAT}"' in text:
        raise Unusable(f"the format is {OLD_FORMAT!r}, whose author could choose the standardisation: {_anew(text)}")
    require(length % 8 == 0 and len(padded) - len(text) <= 7, "the header is not padded to a multiple of 8")
    value = parsed(text, "the header")
    require(type(value) is dict, "the header is no object")
    return value, 8 + length


def _anew(text: str) -> str:
    """The command that makes an old certificate anew, as far as its claim says."""
    told = "optprobe solve DATA"
    try:
        problem = json.loads(json.loads(text)["__metadata__"]["claim"])["problem"]
        loss, weight = SWEEPS.keys() & {problem["loss"]}, {"none", "balanced"} & {problem["class_weight"]}
        told += f" --k {int(problem['k'])} --loss {loss.pop()} --ridge {float(problem['ridge'])!r}"
        told += f" --class-weight {weight.pop()}"
    except (ValueError, KeyError, TypeError, RecursionError, OverflowError):
        pass
    return f"make it anew by {told!r}"


def _array(name: str, entry: dict[str, Any], body: bytes) -> Array:
    dtype = np.dtype(DTYPES[entry["dtype"]])
    begin, end = entry["data_offsets"]
    values = np.frombuffer(body, dtype, (end - begin) // dtype.itemsize, begin).astype(dtype.newbyteorder("="))
    if dtype.kind == "f":
        require((np.abs(values) <= LARGEST).all(), f"the array {name} holds a value that is not finite, or too large")
    return values.reshape(entry["shape"])
