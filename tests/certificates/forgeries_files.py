"""Forgeries of the file itself: its header, its layout, its format."""

from __future__ import annotations

import json
from collections.abc import Iterator
from functools import partial
from typing import Any

import numpy as np
from forgeries import FORGERIES, LOSSES, Forged, file_of, usual
from forging import Draft, framed, sealed

from optprobe.certificates import checker

OLD = "optprobe-certificate/1"


def _parts(draft: Draft) -> tuple[dict[str, Any], bytes]:
    """Header and body of a draft."""
    content = draft.sealed()
    end = 8 + int.from_bytes(content[:8], "little")
    return json.loads(content[8:end]), content[end:]


def _with_metadata(draft: Draft, **changes: Any) -> bytes:
    header, body = _parts(draft)
    header["__metadata__"] |= changes
    return framed(checker.canonical(header), body)


def _headers(draft: Draft) -> Iterator[tuple[str, str, bytes]]:
    """Name, what the rejection says, and the file."""
    header, body = _parts(draft)
    text = checker.canonical(header)
    yield "no bytes", "truncated", b""
    yield "seven bytes", "truncated", b"1234567"
    yield "a header of 2^63 bytes", "truncated", (2**63).to_bytes(8, "little") + b"{}"
    yield "a header of no bytes", "JSON", bytes(8)
    yield "a header of zeros", "JSON", (16).to_bytes(8, "little") + bytes(16)
    yield "a header of half a letter", "UTF-8", (8).to_bytes(8, "little") + b"\xff" * 8
    yield "a header nested deeply", "JSON", framed('{"__metadata__":' + "[" * 200_000 + "]" * 200_000 + "}")
    yield (
        "a header of many objects",
        "metadata",
        framed("{" + ",".join(f'"{i}":{{}}' for i in range(10**5, 2 * 10**5)) + "}"),
    )
    yield "a header that is a list", "no object", framed("[]")
    yield "a header that is null", "no object", framed("null")
    yield "an infinite offset", "JSON", framed(text.replace('"data_offsets":[0', '"data_offsets":[1e999', 1), body)
    yield "a header with a space", "canonical", framed(text.replace(":", ": ", 1), body)
    yield (
        "a header in another order",
        "canonical",
        framed(json.dumps(dict(reversed(header.items())), separators=(",", ":")), body),
    )
    yield "no metadata", "metadata", framed(checker.canonical({k: v for k, v in header.items() if k[0] != "_"}), body)
    yield "metadata that is a list", "metadata", framed(checker.canonical({**header, "__metadata__": []}), body)
    yield "more metadata", "metadata", _with_metadata(draft, note="x")
    yield "a format of another program", "format", _with_metadata(draft, format="pt")
    yield "a format that is a list", "format", _with_metadata(draft, format=[checker.FORMAT])
    yield "a format of control characters", "format", _with_metadata(draft, format="\x1b[2Kaccepted")
    yield "a claim that is an object", "no text", _with_metadata(draft, claim=draft.claim)
    yield "a digest of control characters", "altered", _with_metadata(draft, sha256="\r\x1b[2Kaccepted: all")
    yield "a digest that is a list", "altered", _with_metadata(draft, sha256=["0" * 64])
    yield "a byte after the arrays", "bytes", sealed(draft.claim, draft.arrays, tail=b"\0")
    yield "a byte less", "bytes", draft.sealed()[:-1]
    padded = draft.sealed()
    length = int.from_bytes(padded[:8], "little")
    longer = (length + 8).to_bytes(8, "little") + padded[8 : 8 + length] + b" " * 8 + padded[8 + length :]
    yield "a header padded by eight more", "padded", longer
    odd = (length + 1).to_bytes(8, "little") + padded[8 : 8 + length] + b" " + padded[8 + length :]
    yield "a header padded by one more", "padded", odd


def _places(draft: Draft) -> Iterator[tuple[str, str, bytes]]:
    """Arrays that lie elsewhere than they should; all are refused by their places."""
    size = 8 * len(draft.arrays["coef"])
    entry = partial(sealed, draft.claim, draft.arrays)
    yield "a petabyte", "arrays", entry({"coef": {"shape": [2**47]}})
    yield "a shape of 10^30", "arrays", entry({"coef": {"shape": [10**30]}})
    yield "a negative shape", "arrays", entry({"coef": {"shape": [-2]}})
    yield "a shape whose product wraps", "arrays", entry({"coef": {"shape": [2**32, 2**32, 2]}})
    yield "a shape of booleans", "arrays", entry({"coef": {"shape": [True]}})
    yield "a shape of a float", "arrays", entry({"coef": {"shape": [2.0]}})
    yield "negative offsets", "arrays", entry({"coef": {"data_offsets": [-size, 0]}})
    yield "offsets of floats", "arrays", entry({"coef": {"data_offsets": [0, float(size)]}})
    yield "offsets of text", "arrays", entry({"coef": {"data_offsets": ["0", str(size)]}})
    yield "a type of nobody", "arrays", entry({"coef": {"dtype": "F128"}})
    yield "a type that is null", "arrays", entry({"coef": {"dtype": None}})
    yield "an entry with more", "arrays", entry({"coef": {"strides": [8]}})
    yield (
        "an array that overlaps",
        "arrays",
        entry({"zz": {"dtype": "F64", "shape": [1], "data_offsets": [size - 8, size]}}),
    )
    yield (
        "many arrays of the same bytes",
        "arrays",
        entry({f"x{i}": {"dtype": "I8", "shape": [size], "data_offsets": [0, size]} for i in range(20_000)}),
    )
    hole = {"coef": {"data_offsets": [8, size + 8]}}
    yield "a hole before the arrays", "arrays", sealed(draft.claim, draft.arrays, hole, tail=bytes(8))


def _old(claim: str) -> bytes:
    stated = {"claim": claim, "format": OLD, "sha256": "0" * 64}
    return framed(checker.canonical({"__metadata__": stated}))


def _older(draft: Draft) -> Iterator[tuple[str, str, bytes]]:
    """Files of format 1: refused with the command that makes them anew."""
    problem = draft.claim["problem"]
    yield "format 1", f"--k 2 --loss {problem['loss']} --ridge 0.05", _old(json.dumps(draft.claim))
    yield "format 1 without a claim", "optprobe solve DATA", _old("")
    yield "format 1 of a list", "optprobe solve DATA", _old("[[]]")
    yield "format 1, nested deeply", "optprobe solve DATA", _old("[" * 200_000)
    for name, value in (("k", "9" * 5000), ("k", None), ("ridge", []), ("ridge", "x"), ("loss", "\x1b[2K")):
        changed = {**draft.claim, "problem": {**problem, name: value}}
        yield f"format 1 of {name} {str(value)[:5]!r}", "optprobe solve DATA", _old(json.dumps(changed))


for _loss in LOSSES:
    for _make in (_headers, _places, _older):
        for _name, _says, _content in _make(usual(_loss).swept()):
            FORGERIES[f"{_name}, {_loss}"] = partial(file_of, usual(_loss), _content, says=_says)


def _numpy() -> Forged:
    """A .npy file under the name of a certificate."""
    case = usual("squared")
    return file_of(case, b"\x93NUMPY\x01\x00v\x00" + np.zeros(20).tobytes(), says="truncated")


FORGERIES["an array of numpy"] = _numpy

SAMPLE = (
    "a header nested deeply, squared",
    "an infinite offset, squared",
    "a petabyte, squared",
    "format 1, squared",
    "a digest of control characters, squared",
    "a claim nested deeply, squared",
    "the worst is the best, squared, leaf",
    "a lone surrogate, squared",
)
"""Those that are run as a process of its own."""
