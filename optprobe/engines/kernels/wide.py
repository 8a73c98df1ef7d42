"""The loops of the wide enumeration, compiled: what short products leave open. Its module derives the margins.

A set is passed over only by a comparison that is true. Loops that only count, over slices and without a division,
become vector instructions; the few slices with hits are listed in a second, scalar pass.
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


@njit(**OPTIONS)
def products(neurons: Floats, w: Floats, pairs: Ints, out: Floats) -> None:
    """``sum w z_i z_j`` of pairs of rows of ``neurons``, in float64."""
    for q in range(len(pairs)):
        a, b = neurons[pairs[q, 0]], neurons[pairs[q, 1]]
        total = 0.0
        for t in range(len(w)):
            total += w[t] * a[t] * b[t]
        out[q] = total


@njit(**OPTIONS)
def _count_open(
    x: Singles, u: Singles, start: np.float32, quadratic: np.float32, linear: np.float32, heavy: np.float32
) -> int:
    """How many pairs of a row are neither light nor below the threshold."""
    n = np.int32(0)
    for j in range(len(u)):
        e = start + u[j] * u[j] + x[j] * (quadratic * x[j] - linear * u[j])
        n += np.int32(1) - np.int32((e <= np.float32(0.0)) & (x[j] * x[j] <= heavy))
    return int(n)


@njit(**OPTIONS)
def open_in_tile(T: Singles, top: int, left: int, u: Singles, start: Singles, test: Floats, out: Ints) -> int:
    """List the open pairs (i, j), i < j, of a tile of short products.

    Parameters
    ----------
    T : ndarray, shape (rows, columns)
        Of neurons ``top + a`` and ``left + b``.
    u : ndarray, shape (m,)
    start : ndarray, shape (rows,)
        ``u_i^2 - theta + eta_i`` of every row.
    test : ndarray, shape (3,)
        s, theta and the square that is heavy.
    out : ndarray, shape (capacity, 2)

    Returns the number of open pairs, of which the first ``capacity`` are listed.
    """
    rows, columns = T.shape
    s, theta, heavy = test[0], test[1], np.float32(test[2])
    quadratic = np.float32(theta * s * s)
    n = 0
    for a in range(rows):
        i = top + a
        linear = np.float32(2 * s * u[i])
        first = max(0, i + 1 - left)
        if first >= columns:
            continue
        x, v = T[a], u[left : left + columns]
        if _count_open(x[first:], v[first:], start[a], quadratic, linear, heavy) == 0:
            continue
        for b in range(first, columns, SLICE):
            end = min(b + SLICE, columns)
            if _count_open(x[b:end], v[b:end], start[a], quadratic, linear, heavy) == 0:
                continue
            for c in range(b, end):
                if _count_open(x[c : c + 1], v[c : c + 1], start[a], quadratic, linear, heavy) > 0:
                    if n < len(out):
                        out[n, 0] = i
                        out[n, 1] = left + c
                    n += 1
    return n


@njit(**OPTIONS)
def still_open(pairs: Ints, rho: Floats, u: Floats, test: Floats, kept: NDArray[np.bool_]) -> None:
    """Which pairs are open by their rho in float64; ``test`` holds s, theta and the square that is heavy."""
    s, theta, heavy = test[0], test[1], test[2]
    for q in range(len(pairs)):
        a, b, x = u[pairs[q, 0]], u[pairs[q, 1]], rho[q]
        e = a * a + b * b - theta + x * (theta * s * s * x - 2 * s * a * b)
        kept[q] = not (e <= 0.0 and x * x <= heavy)


@njit(**OPTIONS)
def _count_third(a: Singles, b: Singles, u: Singles, pair: tuple[np.float32, ...]) -> int:
    """How many neurons may gain what a pair leaves; see `third_neurons`."""
    rho, xi, xj, root, left, of_c, of_d = pair
    n = np.int32(0)
    for l in range(len(u)):  # noqa: E741
        y = (b[l] - rho * a[l]) * root
        c = abs(u[l] - xi * a[l] - xj * b[l]) + of_c
        d = np.float32(1.0) - a[l] * a[l] - y * y - of_d
        n += np.int32(1) - np.int32(c * c <= left * d)
    return int(n)


@njit(**OPTIONS)
def third_neurons(
    rows: Singles,
    place: Ints,
    left: int,
    pairs: Ints,
    rho: Floats,
    u: Floats,
    single: Singles,
    gap: float,
    delta: float,
    out: Ints,
) -> int:
    """List the sets (i, j, l) that may gain more than ``gap``, for pairs of known rho; all margins are in here.

    Parameters
    ----------
    rows : ndarray, shape (n_rows, n_columns)
        Short products of some neurons with neurons ``left + b``, the third ones.
    place : ndarray, shape (m,)
        The row of each neuron that is in a pair.
    u, single : ndarray, shape (m,)
        u, and the same in float32.
    out : ndarray, shape (capacity, 3)
    """
    width, n = rows.shape[1], 0
    v = single[left : left + width]
    for q in range(len(pairs)):
        i, j, r = pairs[q, 0], pairs[q, 1], rho[q]
        inverse = 1.0 / (1.0 - r * r)
        xi, xj, root = (u[i] - r * u[j]) * inverse, (u[j] - r * u[i]) * inverse, np.sqrt(inverse)
        missing = max(gap - (u[i] * xi + u[j] * xj), 0.0)
        size, apart = abs(xi) + abs(xj), 1.0 - abs(r)
        of_c = delta * size + 2.0**-20 * (1.0 + size)
        of_d = 2.83 * delta / np.sqrt(apart) + 2.0**-17 * root
        pair = (
            np.float32(r),
            np.float32(xi),
            np.float32(xj),
            np.float32(root),
            np.float32(missing * (1 - 2.0**-20)),
            np.float32(of_c * (1 + 2.0**-20)),
            np.float32(of_d * (1 + 2.0**-20)),
        )
        a, b = rows[place[i]], rows[place[j]]
        for first in range(0, width, SLICE):
            end = min(first + SLICE, width)
            if _count_third(a[first:end], b[first:end], v[first:end], pair) == 0:
                continue
            for k in range(first, end):
                if left + k in (i, j):
                    continue
                if _count_third(a[k : k + 1], b[k : k + 1], v[k : k + 1], pair) > 0:
                    if n < len(out):
                        out[n, 0] = i
                        out[n, 1] = j
                        out[n, 2] = left + k
                    n += 1
    return n
