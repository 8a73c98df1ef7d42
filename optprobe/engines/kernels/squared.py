"""The loops of the squared-loss enumeration, compiled.

All numbers are float64, except in `_count_open_single`, whose margin is derived there. A node is a prefix of projected
neurons: ``w`` are the reciprocal conditional standard deviations (0 switches a neuron off), ``u`` the conditional,
normalised correlations with the labels, and ``l1, l2`` the normalised projections onto up to two prefix neurons, so
that the conditional correlation of i and j is ``A_ij w_i w_j - l1_i l1_j - l2_i l2_j``: no matrix is stored for a node.
Loops that only count, over slices and without a division, become vector instructions; the few rows with hits are listed
in a second, scalar pass.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from optprobe.engines.kernels.options import OPTIONS

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Ints = NDArray[np.int64]

SELF = 1e-10
"""A neuron given itself has conditional variance 0 up to rounding; any other at least ridge / (1 + ridge)."""
TAU = 0.95
"""Heavy: (r - 1) |rho| > TAU."""
EXCLUDED = 3.0
"""Stands for a pair of neurons that no set of the node may contain; caps are below it."""


@njit(**OPTIONS)
def _count_open(
    row: Floats, w: Floats, u: Floats, l1: Floats, l2: Floats, i: tuple[float, float, float, float], test: Floats
) -> int:
    """How many j form an open pair with neuron i, whose entries of the node are (w, u, l1, l2); see `open_pairs`.

    The slices come one by one, since a slice of a matrix would be strided for the compiler, and its loop scalar.
    """
    wi, ui, a1, a2 = i
    start, quadratic, linear = ui * ui - test[1], test[1] * test[0] * test[0], 2 * test[0] * ui
    heavy, cap = test[2], test[3]
    n = 0
    for j in range(len(u)):
        x = row[j] * wi * w[j] - a1 * l1[j] - a2 * l2[j]
        e = start + u[j] * u[j] + x * (quadratic * x - linear * u[j])
        n += int(((e > 0.0) | (x * x > heavy)) & (abs(row[j]) <= cap) & (1.0 - x * x > SELF))
    return n


@njit(**OPTIONS)
def open_pairs(A: Floats, rows: Ints, ordered: bool, node: Floats, test: Floats, out: Ints) -> int:
    """List the pairs (i, j), i in ``rows``, that are open: phi_s > theta or rho^2 > heavy, and not above the cap.

    Parameters
    ----------
    A : ndarray, shape (m, m)
        Correlations before the node's prefix.
    rows : ndarray
        First ends to try; with ``ordered`` only pairs i < j are listed.
    node : ndarray, shape (4, m)
        w, u, l1, l2.
    test : ndarray, shape (4,)
        s, theta, heavy (a square) and cap (on the absolute entries of A).
    out : ndarray, shape (capacity, 2)

    Returns the number of open pairs, of which the first ``capacity`` are listed.
    """
    w, u, l1, l2 = node[0], node[1], node[2], node[3]
    s, theta, heavy, cap = test[0], test[1], test[2], test[3]
    m = A.shape[0]
    n = 0
    for i in rows:
        if w[i] == 0.0:
            continue
        f = i + 1 if ordered else 0
        if _count_open(A[i, f:], w[f:], u[f:], l1[f:], l2[f:], (w[i], u[i], l1[i], l2[i]), test) == 0:
            continue
        for j in range(f, m):
            if j == i or w[j] == 0.0 or abs(A[i, j]) > cap:
                continue
            x = A[i, j] * w[i] * w[j] - l1[i] * l1[j] - l2[i] * l2[j]
            if u[i] * u[i] + u[j] * u[j] - theta + x * (theta * s * s * x - 2 * s * u[i] * u[j]) > 0.0 or x * x > heavy:
                if n < len(out):
                    out[n, 0] = i
                    out[n, 1] = j
                n += 1
    return n


@njit(**OPTIONS)
def _count_third(
    Ai: Floats, Aj: Floats, w: Floats, u: Floats, l1: Floats, l2: Floats, pair: tuple[float, ...], left: float,
    cap: float,
) -> int:  # fmt: skip
    """How many neurons gain more than ``left`` given the pair; see `third_neurons`."""
    wi, wj, i1, i2, j1, j2, rho, xi, xj, root = pair
    n = 0
    for k in range(len(u)):
        a = Ai[k] * wi * w[k] - i1 * l1[k] - i2 * l2[k]
        b = Aj[k] * wj * w[k] - j1 * l1[k] - j2 * l2[k]
        y = (b - rho * a) * root
        c = u[k] - xi * a - xj * b
        d = 1.0 - a * a - y * y
        n += int((c * c > left * d) & (d > SELF) & (abs(Ai[k]) <= cap) & (abs(Aj[k]) <= cap))
    return n


@njit(**OPTIONS)
def third_neurons(A: Floats, pairs: Ints, node: Floats, gap: float, cap: float, out: Ints) -> int:
    """List the sets (i, j, l) of a node that gain more than ``gap``, for every pair (i, j) given; see `open_pairs`.

    Neurons l whose entry of A with i or j is above the cap are left out.
    """
    w, u, l1, l2 = node[0], node[1], node[2], node[3]
    m = A.shape[0]
    n = 0
    for q in range(len(pairs)):
        i, j = pairs[q, 0], pairs[q, 1]
        rho = A[i, j] * w[i] * w[j] - l1[i] * l1[j] - l2[i] * l2[j]
        inverse = 1.0 / (1.0 - rho * rho)
        xi, xj, root = (u[i] - rho * u[j]) * inverse, (u[j] - rho * u[i]) * inverse, np.sqrt(inverse)
        left = gap - (u[i] * xi + u[j] * xj)
        pair = (w[i], w[j], l1[i], l2[i], l1[j], l2[j], rho, xi, xj, root)
        if _count_third(A[i], A[j], w, u, l1, l2, pair, left, cap) == 0:
            continue
        for k in range(m):
            one = slice(k, k + 1)
            if w[k] == 0.0:
                continue
            if _count_third(A[i, one], A[j, one], w[one], u[one], l1[one], l2[one], pair, left, cap) > 0:
                if n < len(out):
                    out[n, 0] = i
                    out[n, 1] = j
                    out[n, 2] = k
                n += 1
    return n


@njit(**OPTIONS)
def _is_flagged(
    w: float, a: float, touch: float, s: float, theta: float, slope: float, sigma: float, strong: float
) -> bool:
    """Whether theorem 3 flags a neuron with S = sigma and U = strong; ``slope`` is s cap sqrt(1 + S^2)."""
    t = slope * w + s * touch * sigma
    over = a * a + strong * strong + 2 * t * a * strong > theta * (1.0 - t * t)
    return (w > 0.0) & (over | (t >= 1.0) | (touch > sigma) | (a > strong))


@njit(**OPTIONS)
def _count_flags(
    w: Floats, a: Floats, touch: Floats, s: float, theta: float, cap: float, sigma: float, strong: float
) -> int:
    """How many rows theorem 3 flags with S = sigma, and U = strong for the rows that are not stronger."""
    slope = s * cap * np.sqrt(1.0 + sigma * sigma)
    n = 0
    for k in range(len(w)):
        n += int(_is_flagged(w[k], a[k], touch[k], s, theta, slope, sigma, strong))
    return n


@njit(**OPTIONS)
def _flag_rows(node: Floats, s: float, theta: float, cap: float, a: Floats, touch: Floats, rows: Ints) -> int:
    """The rows that every open pair of an edge child has an end in, for the best S and U of a few.

    ``a`` and ``touch`` are room for |u| and sigma, shape (m,).
    """
    w, u = node[0], node[1]
    m = len(w)
    largest = 0.0
    for k in range(m):
        a[k] = abs(u[k])
        touch[k] = np.sqrt(max(w[k] * w[k] - 1.0, 0.0))
        largest = max(largest, a[k])
    best, sigma, strong = m + 1, 0.5, largest
    for trial in range(8):
        size = 0.25 + 0.15 * (trial % 4)
        bound = min(largest, np.sqrt(max(theta, 0.0) * (0.3 if trial < 4 else 0.15)))
        n = _count_flags(w, a, touch, s, theta, cap, size, bound)
        if n < best:
            best, sigma, strong = n, size, bound
        if n <= 2:
            break
    slope = s * cap * np.sqrt(1.0 + sigma * sigma)
    n = 0
    for k in range(m):
        if _is_flagged(w[k], a[k], touch[k], s, theta, slope, sigma, strong):
            rows[n] = k
            n += 1
    return n


@njit(**OPTIONS)
def _count_open_single(
    row: Singles, w: Singles, u: Singles, l1: Singles, l2: Singles, i: tuple[Any, ...], test: tuple[Any, ...]
) -> int:
    """`_count_open` in float32: never fewer than there are.

    Inputs are rounded once (v = 2^-24, relatively), |A| <= 1 and |l| <= w, so x errs by less than 32 v w_i w_j. The
    test polynomial errs by that times its derivative, at most 2 theta s |s x| + 2 s |u_i u_j|, and by less than
    16 v (u_i^2 + u_j^2 + theta + s |u_i u_j|) of its own; squares of x by less than 70 v w_i w_j. ``test`` holds
    (start, quadratic, linear, heavy, cap), loosened by `_single_test` by more than that for all j of the row.
    """
    wi, a1, a2 = i
    start, quadratic, linear, heavy, cap = test
    n = np.int32(0)
    for j in range(len(u)):
        x = row[j] * wi * w[j] - a1 * l1[j] - a2 * l2[j]
        e = start + u[j] * u[j] + x * (quadratic * x - linear * u[j])
        n += np.int32(((e > np.float32(0.0)) | (x * x > heavy)) & (abs(row[j]) <= cap))
    return int(n)


@njit(**OPTIONS)
def _single_test(
    wi: float, ui: float, test: Floats, widest: float, strongest: float
) -> tuple[np.float32, np.float32, np.float32, np.float32, np.float32]:
    """(start, quadratic, linear, heavy, cap) of `_count_open_single` for row i, from the largest w and |u|."""
    s, theta, heavy, cap = test[0], test[1], test[2], test[3]
    unit = 2.0**-24
    both = 2 * s * theta + 2 * s * abs(ui) * strongest
    margin = 64 * unit * (both * wi * widest + ui * ui + strongest * strongest + theta + s * abs(ui) * strongest)
    return (
        np.float32(ui * ui - theta + margin),
        np.float32(theta * s * s),
        np.float32(2 * s * ui),
        np.float32(heavy - 128 * unit * wi * widest),
        np.float32(cap * (1 + 4 * unit)),
    )


@njit(**OPTIONS)
def edge_cap(A: Floats, a: int, b: int, light: float) -> float:
    """The entry of A that no pair below an edge may exceed; A_ij and A_ji may differ in their last bits."""
    return float(max(abs(A[a, b]), light) * (1.0 + 1e-12))


@njit(**OPTIONS)
def edge_node(A: Floats, u: Floats, alive: Floats, a: int, b: int, cap: float, node: Floats) -> float:
    """Project an edge out of the neurons that are alive and have no entry above the cap with it: fill (w, u, l1, l2).

    Returns the gain of the edge.
    """
    rho = A[a, b]
    inverse = 1.0 / (1.0 - rho * rho)
    xa, xb, root = (u[a] - rho * u[b]) * inverse, (u[b] - rho * u[a]) * inverse, np.sqrt(inverse)
    Aa, Ab = A[a], A[b]
    for k in range(len(u)):
        y = (Ab[k] - rho * Aa[k]) * root
        d = 1.0 - Aa[k] * Aa[k] - y * y
        on = (abs(Aa[k]) <= cap) & (abs(Ab[k]) <= cap) & (d > 1e-14) & (alive[k] > 0.0)
        v = 1.0 / np.sqrt(d) if on else 0.0
        node[0, k] = v
        node[1, k] = (u[k] - xa * Aa[k] - xb * Ab[k]) * v
        node[2, k] = Aa[k] * v
        node[3, k] = y * v
    node[:, a] = 0.0
    node[:, b] = 0.0
    return float(u[a] * xa + u[b] * xb)


@njit(**OPTIONS)
def edge_children(
    A: Floats, single: Singles, u: Floats, alive: Floats, edges: Ints, left: int, light: float, gap: float,
    loosened: float, out: Ints,
) -> int:  # fmt: skip
    """Search the children of edges (a, b), in which no pair is heavier than the edge and ``left`` neurons are missing.

    For two or three missing, list the sets (a, b, i, j) or (a, b, i, j, l) that may gain more than ``gap``; for
    four, list the edges themselves whose child has an open pair. The cap of an edge is `edge_cap`. Gaps
    are multiplied by ``loosened`` (just below 1) before comparing. ``single`` is A in float32, or empty: rows
    without an open pair by its count are passed over, the others are looked at in float64.
    """
    m, s, n = A.shape[0], left - 1.0, 0
    node, rows, strength, touch = np.zeros((4, m)), np.empty(m, np.int64), np.empty(m), np.empty(m)
    pairs, thirds, test = np.empty((m, 2), np.int64), np.empty((len(out), 3), np.int64), np.empty(4)
    rounded = np.empty((4, m), np.float32)
    for q in range(len(edges)):
        a, b = edges[q, 0], edges[q, 1]
        cap = edge_cap(A, a, b, light)
        missing = (gap - edge_node(A, u, alive, a, b, cap, node)) * loosened
        theta = 2.0 * missing / left
        flagged = _flag_rows(node, s, theta * loosened, cap * (2.0 - loosened), strength, touch, rows)
        test[0], test[1], test[2], test[3] = s, theta, (TAU / s) ** 2 if left > 2 else 1.0, cap
        if flagged == 0:
            continue
        scanned = node.copy() if left == 3 else node
        widest, strongest = node[0].max(), strength.max()
        rounded[:] = node
        w, v, l1, l2 = rounded[0], rounded[1], rounded[2], rounded[3]
        for f in range(flagged):
            i = rows[f]
            of_row = (w[i], l1[i], l2[i])
            rounded[:, i] = 0.0
            if theta > 0.0 and len(single) > 0:
                loose = _single_test(node[0, i], node[1, i], test, widest, strongest)
                if _count_open_single(single[i], w, v, l1, l2, of_row, loose) == 0:
                    scanned[:, i] = 0.0
                    continue
            found = open_pairs(A, rows[f : f + 1], False, scanned, test, pairs)
            scanned[:, i] = 0.0
            if found == 0:
                continue
            if left == 4:
                if n < len(out):
                    out[n, 0] = a
                    out[n, 1] = b
                n += 1
                break
            out_of_pair, width = pairs[:found], 2
            if left == 3:
                found = third_neurons(A, pairs[:found], node, missing, cap, thirds)
                n += max(0, found - len(thirds))
                out_of_pair, width = thirds[: min(found, len(thirds))], 3
            for h in range(len(out_of_pair)):
                if n < len(out):
                    out[n, 0] = a
                    out[n, 1] = b
                    for place in range(width):
                        out[n, 2 + place] = out_of_pair[h, place]
                n += 1
    return n


@njit(**OPTIONS)
def conditioned(A: Floats, node: Floats, cap: float, out: Floats) -> None:
    """The correlations of a node, into ``out``; entries of A above the cap become `EXCLUDED`."""
    w, l1, l2 = node[0], node[2], node[3]
    for i in range(len(A)):
        row, filled, wi, i1, i2 = A[i], out[i], w[i], l1[i], l2[i]
        for j in range(len(A)):
            x = row[j] * wi * w[j] - i1 * l1[j] - i2 * l2[j]
            filled[j] = x if abs(row[j]) <= cap else EXCLUDED
        filled[i] = 1.0
