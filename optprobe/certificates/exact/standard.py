"""The problem that a claim about rows is about, bit by bit as section 1 of docs/certificates.md defines it in float64.

Every operation here is one of numpy's elementwise ones, in the order of the page; nothing is summed but by halves.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np

from optprobe.certificates.exact.pool import Groups, room, usable
from optprobe.certificates.exact.reading import digest_of
from optprobe.errors import InputError

SMALLEST, LARGEST = 1e-100, 1e100
BLOCK = 1 << 22
"""Numbers that are standardised at a time."""


@dataclass(frozen=True, eq=False)
class Rows:
    """Data as float64: X, the labels as -1 and 1 or a target as it was given, and the weights that were given."""

    X: np.ndarray
    y: np.ndarray
    g: np.ndarray | None
    target: bool = False

    def digests(self) -> dict[str, str | None]:
        """The digests by which a claim names this data."""
        weights = None if self.g is None else digest_of(self.g)
        return {"X": digest_of(self.X), "y": digest_of(self.y), "weights": weights}


@dataclass(frozen=True, eq=False)
class Problem:
    """A problem on standardised columns; float64 numbers that are taken to be exact from here on.

    Attributes
    ----------
    loss, ridge, k
        Of the claim.
    Z : array, n x p
        Standardised columns; constant ones are 0.
    y, w : arrays, n
        Labels -1 and 1, or a standardised target, and weights.
    candidates : list of int
        The columns that sets may use.
    groups : tuple of int, or None
        The group of each column, -1 for none: a set has at most one column of each.
    forced : list of int
        The columns that every set has; they are candidates.
    size : int
        Of the largest sets: F of smaller ones is no smaller than that of some largest one.
    """

    loss: str
    ridge: float
    k: int
    Z: np.ndarray
    y: np.ndarray
    w: np.ndarray
    candidates: list[int]
    groups: Groups = None
    forced: Sequence[int] = ()
    size: int = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "size", min(self.k, room(self.candidates, self.groups)))


def total(values: np.ndarray) -> np.ndarray:
    """The halving sum over the first axis, by elementwise additions alone."""
    if len(values) == 0:
        return np.zeros(values.shape[1:])
    values = values.copy()
    while (m := len(values)) > 1:
        half = -(-m // 2)
        values[: m - half] += values[half:]
        values = values[:half]
    return np.asarray(values[0])


def as_rows(X: object, y: object, sample_weight: object, target: bool = False) -> Rows:
    """The data as float64, or `InputError` with what cannot be used; y are labels, or a target."""
    values, labels = _floats(X, "X", 2), _floats(y, "y", 1)
    g = None if sample_weight is None else _floats(sample_weight, "sample_weight", 1)
    n = len(values)
    if len(labels) != n or (g is not None and len(g) != n):
        raise InputError("X, y and sample_weight do not have the same number of rows.")
    check_range(values, "X")
    if g is not None:
        check_range(g, "sample_weight")
        if (g < 0).any():
            raise InputError("sample_weight has a negative number.")
    positive = np.ones(n, dtype=bool) if g is None else g > 0
    if target:
        check_range(labels, "y")
        if len(np.unique(labels[positive])) < 2:
            raise InputError("A target must vary on the rows of positive weight.")
        return Rows(values, labels, g, target)
    distinct = np.unique(labels)
    if len(distinct) != 2 or not np.isfinite(distinct).all():
        raise InputError("y must have two distinct values that are finite.")
    signs = np.where(labels == distinct[1], 1.0, -1.0)
    if len(np.unique(signs[positive])) != 2:
        raise InputError("Both classes must have a row of positive weight.")
    return Rows(values, signs, g)


def _floats(values: object, what: str, dimensions: int) -> np.ndarray:
    try:
        given = np.asarray(values)
    except Exception:
        raise InputError(f"{what} is no array.") from None
    if given.dtype.kind not in "biuf" or given.ndim != dimensions:
        raise InputError(f"{what} must be an array of real numbers with {dimensions} dimension(s).")
    with np.errstate(all="ignore"):
        return np.ascontiguousarray(given, dtype=np.float64)


def check_range(values: np.ndarray, what: str, power: int = 1) -> None:
    """`InputError` unless every number is 0 or of absolute value within the range of the page, or its power."""
    size = np.abs(values)
    if not ((size == 0) | ((size >= SMALLEST**power) & (size <= LARGEST**power))).all():
        raise InputError(
            f"{what} has a number that is neither 0 nor of absolute value within "
            f"[{SMALLEST**power:g}, {LARGEST**power:g}]."
        )


def weights(y: np.ndarray, g: np.ndarray | None, class_weight: str) -> np.ndarray:
    """The weights w of the rows."""
    g = np.ones(len(y)) if g is None else g
    if class_weight == "none":
        return np.asarray(g / total(g))
    w = np.zeros(len(y))
    for sign in (-1.0, 1.0):
        own = y == sign
        w[own] = 0.5 * (g[own] / total(np.where(own, g, 0.0)))
    return w


def standardised(X: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """The standardised columns, and which columns are not constant."""
    n, p = X.shape
    Z, varies = np.zeros((n, p), order="F"), np.zeros(p, dtype=bool)
    step = max(1, BLOCK // n)
    for start in range(0, p, step):
        block = slice(start, min(p, start + step))
        Z[:, block], varies[block] = _standardise(X[:, block], w)
    return Z, varies


def _standardise(X: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    rows = w > 0
    varies = (X[rows] != X[rows][0]).any(axis=0)
    Z = np.zeros(X.shape)
    W, v = total(w), w[:, None]
    x = np.where(rows[:, None], X[:, varies], 0.0)
    if x.shape[1] == 0:
        return Z, varies
    with np.errstate(under="ignore"):
        shift = np.clip(total(v * x) / W, x[rows].min(axis=0), x[rows].max(axis=0))
        c = np.where(rows[:, None], x - shift, 0.0)
        rest = np.clip(total(v * c) / W, c[rows].min(axis=0), c[rows].max(axis=0))
        c = np.where(rows[:, None], c - rest, 0.0)
        exponent = np.frexp(np.abs(c).max(axis=0))[1]
        s = np.ldexp(c, -exponent)
        inv_scale = np.ldexp(1 / np.sqrt(total(v * (s * s)) / W), -exponent)
        Z[:, varies] = np.where(rows[:, None], ((x - shift) - rest) * inv_scale, 0.0)
    return Z, varies


def state(
    rows: Rows,
    loss: str,
    ridge: float,
    k: int,
    class_weight: str,
    among: Sequence[int] | None,
    groups: Groups = None,
    forced: Sequence[int] = (),
) -> Problem:
    """The problem of a claim about these rows."""
    w = weights(rows.y, rows.g, class_weight)
    Z, varies = standardised(rows.X, w)
    y = standardised(rows.y[:, None], w)[0][:, 0] if rows.target else rows.y
    columns = range(rows.X.shape[1]) if among is None else among
    candidates = usable([j for j in columns if varies[j]], forced, groups)
    return Problem(loss, ridge, k, Z, y, w, candidates, groups, forced)
