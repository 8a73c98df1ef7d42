"""The data of a claim about rows: labels or targets, weights and standardised columns, as functions of the data alone.

docs/certificates.md, section 1, defines every number here by elementwise float64 operations, so that all who follow it
hold the same bits. Sums are *halving sums*.
"""

from __future__ import annotations

import hashlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .claim import LARGEST, LEAST
from .outcome import Unusable, require

Array = NDArray[Any]
Floats = NDArray[np.float64]

COLUMNS = 256


def value_digest(array: Array) -> str:
    """sha256 of an array's shape and values (as little-endian float64 in row order)."""
    sha = hashlib.sha256(f"{','.join(map(str, array.shape))}:".encode())
    rows = max(1, 2**20 // max(1, array[:1].size))
    for start in range(0, len(array), rows):
        sha.update(np.ascontiguousarray(array[start : start + rows], dtype="<f8").tobytes())
    return sha.hexdigest()


def numbers(array: Array, what: str, shape: tuple[int, ...]) -> Array:
    """The array, where it has this shape and holds numbers; raises `Unusable` otherwise."""
    if array.dtype.kind not in "fiub" or array.ndim != len(shape):
        raise Unusable(f"{what} is {array.dtype} of shape {array.shape}: give numbers on {len(shape)} axes")
    require(array.shape == shape, f"{what} has shape {array.shape}, and the claim is about {shape}")
    return array


def in_range(values: Array) -> bool:
    """Whether every number is 0 or of an absolute value between `LEAST` and `LARGEST`."""
    size = np.abs(values.astype(np.float64))
    return bool(((size == 0) | ((size >= LEAST) & (size <= LARGEST))).all())


def labels_of(y: Array, n_rows: int) -> Floats:
    """-1 for the smaller of the two values, +1 for the larger; texts are ordered as such."""
    if y.dtype.kind not in "US":
        y = numbers(y, "y", (n_rows,)).astype(np.float64)
        require(np.isfinite(y).all(), "a label is not finite")
    require(y.shape == (n_rows,), f"y has shape {y.shape}, and the claim is about {n_rows} rows")
    values = np.unique(y)
    require(len(values) == 2, f"the labels have {len(values)} distinct values, not two")
    return np.where(y == values[1], 1.0, -1.0)


def targets_of(y: Array, n_rows: int) -> Floats:
    """The real numbers of a target, as float64."""
    values = numbers(y, "y", (n_rows,)).astype(np.float64)
    require(in_range(values), f"a target is neither 0 nor from {LEAST:g} to {LARGEST:g} in absolute value")
    return values


def total(values: Floats) -> Floats:
    """Add the second half of the rows to the first until one is left; overwrites them."""
    m = len(values)
    while m > 1:
        h = (m + 1) // 2
        values[: m - h] += values[h:m]
        m = h
    return np.asarray(values[0])


def shares_of(given: Floats) -> Floats:
    """Weights of sum 1."""
    require((given >= 0).all() and in_range(given), f"a weight is not 0 or from {LEAST:g} to {LARGEST:g}")
    require((given > 0).any(), "every row has weight 0")
    return np.asarray(given / total(given.copy()))


def weights_of(y: Floats, given: Floats, class_weight: str) -> Floats:
    """Weights of sum 1, or of one half for each class."""
    w, positive = shares_of(given), y > 0
    require((given[positive] > 0).any() and (given[~positive] > 0).any(), "every row of a class has weight 0")
    if class_weight == "none":
        return w
    ends = total(np.where(positive, given, 0.0)), total(np.where(positive, 0.0, given))
    return np.asarray(0.5 * (given / np.where(positive, *ends)))


def standardised(X: Array, w: Floats) -> tuple[Floats, NDArray[np.bool_]]:
    """Z, shape (n_rows, n_neurons), and which columns are not constant.

    A column is constant where all its values on rows of positive weight are equal. Z is 0 there, and in rows of weight
    0. Every number of X is 0 or in the range of `in_range`, so nothing here over- or underflows: a deviation is at
    least a unit in the last place of 1e-100, and it is scaled into [1/2, 1) before it is squared.
    """
    n, p = X.shape
    Z = np.zeros((n, p), order="F")
    varies = np.zeros(p, dtype=np.bool_)
    used, W = w > 0, total(w.copy())
    for start in range(0, p, COLUMNS):
        block = slice(start, start + COLUMNS)
        x = X[:, block].astype(np.float64)
        require(in_range(x), f"a value of X is neither 0 nor from {LEAST:g} to {LARGEST:g} in absolute value")
        x[~used] = x[np.flatnonzero(used)[0]]
        varies[block] = x.min(axis=0) < x.max(axis=0)
        columns = start + np.flatnonzero(varies[block])
        x = x[:, varies[block]]
        for _ in range(2):
            x -= np.clip(total(w[:, None] * x) / W, x.min(axis=0), x.max(axis=0))
        e = np.frexp(np.abs(x).max(axis=0))[1]
        s = np.ldexp(x, -e)
        x *= np.ldexp(1.0 / np.sqrt(total(w[:, None] * (s * s)) / W), -e)
        x[~used] = 0.0
        Z[:, columns] = x
    return Z, varies
