"""The problem that a claim is about, rebuilt from the data."""

from __future__ import annotations

import hashlib
import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .verdict import Rejected

Array = NDArray[Any]
Floats = NDArray[np.float64]

U = 2.0**-53
BLOCK = 256


@dataclass(frozen=True)
class Problem:
    """What the claim is about, rebuilt from the data: Z, y, w, the columns allowed, and the parameters."""

    Z: Floats
    y: Floats
    w: Floats
    candidates: NDArray[np.bool_]
    loss: str
    ridge: float
    size: int


def problem_of(claim: dict[str, Any], arrays: dict[str, Array], X: Array, y: Array, weight: Array | None) -> Problem:
    data, stated = claim["data"], claim["problem"]
    if "moments" in data:
        raise Rejected("the claim is about moments, and rows were given")
    if X.ndim != 2 or X.shape != (data["n_rows"], data["n_neurons"]) or len(y) != len(X):
        raise Rejected(f"the data has shape {X.shape}, and the claim is about {data['n_rows']} x {data['n_neurons']}")
    labels = _labels(y)
    w = _weights(stated, labels, weight, arrays)
    for name, array in (("X", X), ("y", labels), ("w", w)):
        digest = value_digest(array)
        if digest != data[name]:
            raise Rejected(f"{name} is not the claim's: its digest is {digest[:16]}..., not {data[name][:16]}...")
    shift, inv_scale = arrays["shift"], arrays["inv_scale"]
    if shift.shape != (X.shape[1],) or inv_scale.shape != shift.shape:
        raise Rejected("shift and inv_scale do not have one entry for each neuron")
    Z = np.empty(X.shape, order="F")
    np.subtract(X, shift, out=Z)
    Z *= inv_scale
    if not np.isfinite(Z).all():
        raise Rejected("the data hold a value that is not finite")
    _check_standardisation(X, Z, w, shift, inv_scale)
    candidates = np.asarray(inv_scale > 0)
    if stated["among"] is not None:
        among = np.asarray(stated["among"], dtype=np.int64)
        if len(among) and not 0 <= among.min() <= among.max() < X.shape[1]:
            raise Rejected("the columns allowed are not all columns of the data")
        candidates &= np.isin(np.arange(X.shape[1]), among)
    k, ridge = stated["k"], float(stated["ridge"])
    if stated["loss"] not in ("squared", "logistic", "hinge"):
        raise Rejected(f"the loss {stated['loss']!r} is unknown")
    if not (isinstance(k, int) and k >= 1) or not 0 < ridge < math.inf:
        raise Rejected(f"k = {k} or the ridge {ridge:g} is not positive")
    return Problem(Z, labels, w, candidates, stated["loss"], ridge, min(k, int(candidates.sum())))


def value_digest(array: Array) -> str:
    """sha256 of an array's shape and values (as little-endian float64 in row order)."""
    sha = hashlib.sha256(f"{','.join(map(str, array.shape))}:".encode())
    rows = max(1, 2**20 // max(1, array[:1].size))
    for start in range(0, len(array), rows):
        sha.update(np.ascontiguousarray(array[start : start + rows], dtype="<f8").tobytes())
    return sha.hexdigest()


def _labels(y: Array) -> Floats:
    values = np.unique(y)
    if len(values) != 2:
        raise Rejected(f"the labels have {len(values)} distinct values, not two")
    return np.where(y == values[1], 1.0, -1.0)


def _weights(stated: dict[str, Any], y: Floats, given: Array | None, arrays: dict[str, Array]) -> Floats:
    """w from the claim's rule: equal, or one half for each class, times the data's own weights where they were used."""
    positive, balanced = y > 0, stated["class_weight"] == "balanced"
    if not balanced and stated["class_weight"] != "none":
        raise Rejected(f"the class weight {stated['class_weight']!r} is unknown")
    if not stated["weighted"]:
        if not balanced:
            return np.full(len(y), 1.0 / len(y))
        return np.asarray(np.where(positive, 0.5 / positive.sum(), 0.5 / (~positive).sum()))
    if given is None:
        raise Rejected("the claim is about weighted rows, and the data brings no weights")
    expected = np.asarray(given, dtype=np.float64)
    for rows in (positive, ~positive) if balanced else (np.full(len(y), True),):
        expected = np.where(rows, expected * ((0.5 if balanced else 1.0) / expected[rows].sum()), expected)
    w = arrays["w"]
    if w.shape != expected.shape or not np.allclose(w, expected, rtol=1e-12, atol=0.0):
        raise Rejected("the stored weights are not those of the data, normalised")
    if (w < 0).any() or not (w[positive].sum() > 0 and w[~positive].sum() > 0):
        raise Rejected("a weight is negative, or a class has none")
    return w


def _check_standardisation(X: Array, Z: Floats, w: Floats, shift: Floats, inv_scale: Floats) -> None:
    """Every column has mean 0 and mean square 1 to 1e-9 (and the rounding of its shift), or is constant and left out.

    Constant: its standard deviation is at most 1e-9 of its largest absolute value.
    """
    total, used = w.sum(), inv_scale > 0
    means = np.abs(w @ Z) / total
    squares = np.empty(len(means))
    for start in range(0, len(means), BLOCK):
        squares[start : start + BLOCK] = w @ Z[:, start : start + BLOCK] ** 2 / total
    allowed = 1e-9 + 8 * U * np.abs(shift) * inv_scale
    for j in np.flatnonzero(used & ((means > allowed) | (np.abs(squares - 1) > 1e-9)))[:1]:
        raise Rejected(f"column {j} is not standardised: its mean is {means[j]:.3g}, its mean square {squares[j]:.12g}")
    for j in np.flatnonzero(~used):
        column = X[w > 0, j].astype(np.float64)
        centred = column - (w[w > 0] @ column) / total
        deviation = math.sqrt(float(w[w > 0] @ (centred * centred)) / total)
        if inv_scale[j] != 0 or deviation > 1.001e-9 * np.abs(column).max():
            raise Rejected(f"column {j} is left out as constant, and it is not")
