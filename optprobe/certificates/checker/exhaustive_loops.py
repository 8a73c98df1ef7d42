"""The inner loop of the exhaustive check, compiled (by numba)."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .compiled import OPTIONS

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CAPACITY = 1 << 14


@njit(**OPTIONS)
def _count(row: Floats, d: Floats, u: Floats, di: float, ui: float, gap: float, slack: float) -> int:
    n = 0
    for j in range(len(u)):
        m = row[j]
        gain = ui * ui * d[j] - 2.0 * m * ui * u[j] + u[j] * u[j] * di - gap * (di * d[j] - m * m)
        n += int(not gain <= -slack)
    return n


@njit(**OPTIONS)
def _list(A: Floats, d: Floats, u: Floats, gap: float, slack: float, first: int, out: Ints) -> tuple[int, int]:
    """Pairs from row ``first`` on until the list may be full; returns their number and the row to go on with."""
    m, n = len(u), 0
    for i in range(first, m - 1):
        if n + m > len(out):
            return n, i
        if _count(A[i, i + 1 :], d[i + 1 :], u[i + 1 :], d[i], u[i], gap, slack) == 0:
            continue
        for j in range(i + 1, m):
            if _count(A[i, j : j + 1], d[j : j + 1], u[j : j + 1], d[i], u[i], gap, slack) > 0:
                out[n, 0] = i
                out[n, 1] = j
                n += 1
    return n, m - 1


def pairs_above(A: Floats, u: Floats, gap: float, slack: float) -> Iterator[Ints]:
    """The pairs i < j whose gain may exceed ``gap``, in parts."""
    d, row = np.ascontiguousarray(np.diagonal(A)), 0
    while row < len(u) - 1:
        out = np.empty((CAPACITY + 2 * len(u), 2), dtype=np.int64)
        n, row = _list(A, d, u, gap, slack, row, out)
        if n:
            yield out[:n]
