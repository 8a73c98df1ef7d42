"""Certificates altered and sealed again with honest digests: what tells them from true ones is the mathematics."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from optprobe.certificates import Certificate, checker

NAMES = {"<f8": "F64", "<f4": "F32", "<i8": "I64", "<i4": "I32", "|i1": "I8"}
Arrays = dict[str, np.ndarray]
Change = Callable[[dict[str, Any], Arrays], None]


def parts(certificate: Certificate) -> tuple[dict[str, Any], Arrays]:
    """Claim and arrays, to be altered; sizes of a tree follow the arrays when it is sealed."""
    return json.loads(certificate.claim.text), {name: np.array(array) for name, array in certificate.arrays.items()}


def form_of(claim: Mapping[str, Any] | str) -> str:
    """The format that such a claim has, also where it is none."""
    try:
        stated = json.loads(claim) if isinstance(claim, str) else claim
        parts = stated["result"], stated["problem"], stated["problem"], stated["data"], stated["proof"]
        pooled = any(name in part for name, part in zip(("pool", "groups", "forced", "target", "diagonal"), parts))
    except (ValueError, TypeError, KeyError, RecursionError):
        pooled = False
    return checker.POOL_FORMAT if pooled else checker.FORMAT


def seal(path: Path, claim: Mapping[str, Any] | str, arrays: Arrays, form: str | None = None) -> Path:
    """Write claim and arrays, whatever they say, with the digest that fits, and the format if no other is given."""
    layout: dict[str, Any] = {}
    body = b""
    for name, array in sorted(arrays.items()):
        end = len(body) + array.nbytes
        layout[name] = {
            "data_offsets": [len(body), end],
            "dtype": NAMES[array.dtype.str],
            "shape": list(array.shape),
        }
        body += array.tobytes()
    text = claim if isinstance(claim, str) else checker.canonical(claim)
    stated = {"claim": text, "format": form or form_of(claim), "sha256": checker.content_digest(text, layout, body)}
    header = checker.canonical({"__metadata__": stated, **layout}).encode()
    header += b" " * (-len(header) % 8)
    path.write_bytes(len(header).to_bytes(8, "little") + header + body)
    return path


def altered(certificate: Certificate, change: Change, path: Path, form: str | None = None) -> Path:
    """The certificate with a change, sealed at ``path``."""
    claim, arrays = parts(certificate)
    change(claim, arrays)
    if claim["proof"]["kind"] == "tree" and "tree.kind" in arrays:
        sizes = {"nodes": "tree.kind", "points": "points.intercept", "entries": "points.coef", "duals": "duals"}
        claim["proof"].update({name: len(arrays[array]) for name, array in sizes.items()})
    return seal(path, claim, arrays, form)


def both_bounds(by: float) -> Change:
    """A better bound than there is."""

    def change(claim: dict[str, Any], arrays: Arrays) -> None:
        claim["result"]["lower_bound"] += by
        claim["result"]["upper_bound"] += by

    return change


def claiming(bounds: Mapping[str, float]) -> Change:
    """Other bounds."""
    return lambda claim, arrays: claim["result"].update(bounds)
