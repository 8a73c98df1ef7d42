"""The loop of the wide sweep of the logistic loss, compiled: what the screen leaves open of a tile of short products.

Its module derives the margins. A pair is passed over only by a comparison that is true. Loops that only count, over
slices, become vector instructions; the few slices with hits are listed in a second, scalar pass.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from optprobe.engines.kernels.options import OPTIONS

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Ints = NDArray[np.int64]

SLICE = 256
"""Neurons that are counted at once where a row has hits."""
ONE, TWO = np.float32(1.0), np.float32(2.0)
OF_F, SHARE, LEAST = np.float32(2.0**-21), np.float32(1 + 2.0**-18), np.float32(2.0**-100)
"""What float32 arithmetic takes of f; of the box, and of squares, as a share; and where it underflows."""


@njit(**OPTIONS)
def _count_open(
    tiles: tuple[Singles, Singles, Singles], one: tuple[np.float32, ...], others: tuple[Singles, ...],
    test: tuple[np.float32, np.float32, np.float32],
) -> int:  # fmt: skip
    """How many pairs of one neuron with others have a Q that is not at most the limit; see `open_in_tile`."""
    B, C, A = tiles
    zi, ki, qi, up, down = one
    Z, K, Q, U, D = others
    ridge, delta, limit = test
    n = np.int32(0)
    for j in range(len(B)):
        b, c, a, zj, kj, qj = B[j], C[j], A[j], Z[j], K[j], Q[j]
        h1, h2 = ridge + zi * ki * ki + zj * a * a, ridge + zj * kj * kj + zi * c * c
        h12 = ridge * b + zi * ki * c + zj * kj * a
        g1, g2 = zi * ki * qi + zj * qj * a, zj * kj * qj + zi * qi * c
        n1, n2 = h2 * g1 - h12 * g2, h1 * g2 - h12 * g1
        use = max(n1 * up, -n1 * down) + max(n2 * U[j], -n2 * D[j])
        scale = ONE / max(h1 * h2 - h12 * h12, use * SHARE + LEAST)
        s1, s2 = n1 * scale, n2 * scale
        t1, t2 = abs(s1), abs(s2)
        f1 = abs(qi - ki * s1 - c * s2) + delta * t2 + OF_F * (abs(qi) + TWO * (t1 + t2))
        f2 = abs(qj - a * s1 - kj * s2) + delta * t1 + OF_F * (abs(qj) + TWO * (t1 + t2))
        square = SHARE * (s1 * s1 + s2 * s2) + TWO * (b * s1 * s2 + delta * t1 * t2)
        n += np.int32(1) - np.int32(ridge * square + zi * f1 * f1 + zj * f2 * f2 <= limit)
    return int(n)


@njit(**OPTIONS)
def _slices(
    arrays: tuple[Singles, Singles, Singles, Singles, Singles], first: int, last: int
) -> tuple[Singles, Singles, Singles, Singles, Singles]:
    v, w, x, y, z = arrays
    return v[first:last], w[first:last], x[first:last], y[first:last], z[first:last]


@njit(**OPTIONS)
def open_in_tile(
    tiles: tuple[Singles, Singles, Singles], top: int, left: int, ends: Ints, known: Singles, test: Floats, out: Ints
) -> int:
    """List the pairs (i, j), i < j, of a tile whose Q is not at most a limit.

    Parameters
    ----------
    tiles : tuple of ndarray, shape (rows, columns)
        Short products ``<b_i, b_j>``, ``<a_i, b_j>`` and ``<b_i, a_j>`` of neurons ``top + row`` and ``left + column``.
    ends : ndarray, shape (rows,)
        The neuron before which the pairs of a row end.
    known : ndarray, shape (5, m)
        ``|z|^2``, ``<a, b>``, q, M and N of every neuron.
    test : ndarray, shape (3,)
        The ridge, delta and the limit.
    out : ndarray, shape (capacity, 2)

    Returns the number of open pairs, of which the first ``capacity`` are listed.
    """
    B, C, A = tiles
    numbers = np.float32(test[0]), np.float32(test[1]), np.float32(test[2])
    whole = known[0], known[1], known[2], known[3], known[4]
    n = 0
    for row in range(len(B)):
        i = top + row
        one = known[0, i], known[1, i], known[2, i], known[3, i], known[4, i]
        last = min(B.shape[1], ends[row] - left)
        for f in range(max(0, i + 1 - left), last, SLICE):
            e = min(f + SLICE, last)
            some = B[row, f:e], C[row, f:e], A[row, f:e]
            if _count_open(some, one, _slices(whole, left + f, left + e), numbers) == 0:
                continue
            for q in range(f, e):
                some = B[row, q : q + 1], C[row, q : q + 1], A[row, q : q + 1]
                if _count_open(some, one, _slices(whole, left + q, left + q + 1), numbers) > 0:
                    if n < len(out):
                        out[n, 0] = i
                        out[n, 1] = left + q
                    n += 1
    return n
