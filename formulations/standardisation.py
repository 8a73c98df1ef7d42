"""Weights and standardised columns as functions of the data alone, bit by bit (docs/certificates.md, section 1).

Sums decide the last bits of means and deviations, and libraries add in an order of their own. So sums here are *halving
sums*: elementwise additions, which IEEE 754 fixes. A mean is kept as two numbers, ``shift + rest``, so that a column
whose deviation is one unit in the last place of its mean is standardised as well as any other; deviations are scaled by
a power of two before they are squared, so that nothing under- or overflows.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from os import cpu_count
from typing import Any

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

VALUES = 1 << 17
"""Of a matrix, whose columns are standardised together: what a core keeps near."""


@dataclass(frozen=True, eq=False)
class Standardisation:
    """``Z_ij = ((X_ij - shift_j) - rest_j) * inv_scale_j``.

    Attributes
    ----------
    shift, rest : ndarray, shape (n_neurons,)
        Together the weighted mean of each column; 0 where it is constant.
    inv_scale : ndarray, shape (n_neurons,)
        The reciprocal of each column's weighted standard deviation, 0 where it is constant.
    """

    shift: Floats
    rest: Floats
    inv_scale: Floats

    def apply(self, X: NDArray[Any], columns: Any = slice(None), out: Floats | None = None) -> Floats:
        """Standardise values of ``columns``, shape (n, n_columns)."""
        Z = np.subtract(X, self.shift[columns], out=out, dtype=np.float64)
        Z -= self.rest[columns]
        Z *= self.inv_scale[columns]
        return np.asarray(Z)

    def whole(self, X: NDArray[Any]) -> Floats:
        """All columns of X, shape (n, n_neurons), standardised, one contiguous after the other."""
        Z = np.empty(X.shape, dtype=np.float64, order="F")
        _in_blocks(lambda block: self.apply(X[:, block], block, Z[:, block]), X.shape)
        return Z


def total(values: Floats) -> Floats:
    """The halving sum over the first axis, which is overwritten: add the second half to the first until one is left."""
    m = len(values)
    while m > 1:
        h = (m + 1) // 2
        values[: m - h] += values[h:m]
        m = h
    return np.asarray(values[0])


def normalised_weights(y: Floats, given: Floats, balanced: bool) -> Floats:
    """Weights of sum 1 from non-negative ones, shape (n_rows,); ``balanced`` gives one half to each class of y."""
    if not balanced:
        return np.asarray(given / total(given.copy()))
    w = np.empty_like(given)
    for rows in (y > 0, y < 0):
        w[rows] = 0.5 * (given[rows] / total(np.where(rows, given, 0.0)))
    return w


def standardisation(X: NDArray[Any], w: Floats) -> Standardisation:
    """The `Standardisation` of X, shape (n_rows, n_neurons), for weights w; a column of one value is constant.

    Rows of weight 0 take no part.
    """
    shift, rest, inv_scale = np.zeros((3, X.shape[1]))
    used = w > 0
    total_weight = total(w.copy())

    def one(block: slice) -> None:
        columns = X[:, block].astype(np.float64, order="F")
        columns[~used] = columns[np.argmax(used)]  # any used row: the weight 0 takes it out of every sum
        varies = columns.min(axis=0) < columns.max(axis=0)
        parts = _of_columns(columns if varies.all() else columns[:, varies], w[:, None], total_weight)
        for whole, part in zip((shift, rest, inv_scale), parts):
            whole[block][varies] = part

    _in_blocks(one, X.shape)
    return Standardisation(shift, rest, inv_scale)


def _in_blocks(function: Callable[[slice], Any], shape: tuple[int, ...]) -> None:
    """Call a function for every block of columns, on all cores: no column depends on another."""
    n, n_columns = shape
    step = max(1, VALUES // n)
    blocks = [slice(start, start + step) for start in range(0, n_columns, step)]
    if len(blocks) == 1:
        function(blocks[0])
        return
    with ThreadPoolExecutor(cpu_count() or 1) as pool:
        list(pool.map(function, blocks))


def standardised_target(targets: Floats, w: Floats) -> Floats:
    """Targets, shape (n_rows,), that vary, standardised as one more column; 0 on rows of weight 0.

    So the squared loss and the ridge of a problem are in units of the targets' variance.
    """
    y = np.asarray(standardisation(targets[:, None], w).apply(targets[:, None])[:, 0])
    y[w == 0] = 0.0
    return y


def _of_columns(x: Floats, w: Floats, total_weight: Floats) -> tuple[Floats, Floats, Floats]:
    """Shift, rest and inv_scale of columns that vary; overwrites them."""
    means = []
    for _ in range(2):
        mean = np.clip(total(w * x) / total_weight, x.min(axis=0), x.max(axis=0))
        x -= mean
        means.append(mean)
    exponent = np.frexp(np.abs(x).max(axis=0))[1]
    scaled = np.ldexp(x, -exponent)
    scaled *= scaled
    scaled *= w
    return means[0], means[1], np.ldexp(1.0 / np.sqrt(total(scaled) / total_weight), -exponent)
