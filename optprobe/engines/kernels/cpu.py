"""The loops of the squared-loss enumeration, compiled.

All numbers are float64. A node is a prefix of projected neurons: ``w`` are the reciprocal conditional standard
deviations (0 switches a neuron off), ``u`` the conditional, normalised correlations with the labels, and ``l1, l2`` the
normalised projections onto up to two prefix neurons, so that the conditional correlation of i and j is
``A_ij w_i w_j - l1_i l1_j - l2_i l2_j``: no matrix is stored for a node. Loops that only count, over slices and without
a division, become vector instructions; the few rows with hits are listed in a second, scalar pass.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

OPTIONS: dict[str, Any] = {
    "cache": True,
    "nogil": True,
    "error_model": "numpy",
    "fastmath": {"nsz", "contract", "reassoc", "arcp"},
}


@njit(**OPTIONS)
def _count_open(row: Floats, node: Floats, wi: float, ui: float, a1: float, a2: float, test: Floats) -> int:
    """How many j form an open pair with neuron i, whose entries of the node are (wi, ui, a1, a2); see `open_pairs`."""
    w, u, l1, l2 = node[0], node[1], node[2], node[3]
    start, quadratic, linear = ui * ui - test[1], test[1] * test[0] * test[0], 2 * test[0] * ui
    heavy, cap = test[2], test[3]
    n = 0
    for j in range(len(row)):
        x = row[j] * wi * w[j] - a1 * l1[j] - a2 * l2[j]
        e = start + u[j] * u[j] + x * (quadratic * x - linear * u[j])
        n += int(((e > 0.0) | (x * x > heavy)) & (abs(row[j]) <= cap))
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
        if _count_open(A[i, f:], node[:, f:], w[i], u[i], l1[i], l2[i], test) == 0:
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
def third_neurons(A: Floats, pairs: Ints, node: Floats, gap: float, out: Ints) -> int:
    """List the sets (i, j, l) of a node that gain more than ``gap``, for every pair (i, j) given; see `open_pairs`."""
    w, u, l1, l2 = node[0], node[1], node[2], node[3]
    m = A.shape[0]
    n = 0
    for q in range(len(pairs)):
        i, j = pairs[q, 0], pairs[q, 1]
        rho = A[i, j] * w[i] * w[j] - l1[i] * l1[j] - l2[i] * l2[j]
        inverse = 1.0 / (1.0 - rho * rho)
        xi, xj, root = (u[i] - rho * u[j]) * inverse, (u[j] - rho * u[i]) * inverse, np.sqrt(inverse)
        left = gap - (u[i] * xi + u[j] * xj)
        Ai, Aj = A[i], A[j]
        hits = 0
        for k in range(m):
            a = Ai[k] * w[i] * w[k] - l1[i] * l1[k] - l2[i] * l2[k]
            b = Aj[k] * w[j] * w[k] - l1[j] * l1[k] - l2[j] * l2[k]
            y = (b - rho * a) * root
            c = u[k] - xi * a - xj * b
            hits += int(c * c > left * (1.0 - a * a - y * y))
        if hits == 0:
            continue
        for k in range(m):
            if k in (i, j) or w[k] == 0.0:
                continue
            a = Ai[k] * w[i] * w[k] - l1[i] * l1[k] - l2[i] * l2[k]
            b = Aj[k] * w[j] * w[k] - l1[j] * l1[k] - l2[j] * l2[k]
            y = (b - rho * a) * root
            c = u[k] - xi * a - xj * b
            if c * c > left * (1.0 - a * a - y * y):
                if n < len(out):
                    out[n, 0] = i
                    out[n, 1] = j
                    out[n, 2] = k
                n += 1
    return n


@njit(**OPTIONS)
def _flag_rows(node: Floats, gap: float, cap: float, rows: Ints) -> int:
    """The rows that every open pair of an edge child has an end in (touch bound), for the best of four Sigma."""
    w, u = node[0], node[1]
    m = len(w)
    strongest = 0.0
    for k in range(m):
        strongest = max(strongest, abs(u[k]))
    best, sigma = m + 1, 0.5
    for trial in range(4):
        reach = 0.25 + 0.15 * trial
        slope = cap * np.sqrt(1.0 + reach * reach)
        n = 0
        for k in range(m):
            touch = np.sqrt(max(w[k] * w[k] - 1.0, 0.0))
            t = slope * w[k] + touch * reach
            a = abs(u[k])
            over = a * a + strongest * strongest + 2 * t * a * strongest > gap * (1.0 - t * t)
            n += int((w[k] > 0.0) & (over | (t >= 1.0) | (touch > reach)))
        if n < best:
            best, sigma = n, reach
    slope = cap * np.sqrt(1.0 + sigma * sigma)
    n = 0
    for k in range(m):
        touch = np.sqrt(max(w[k] * w[k] - 1.0, 0.0))
        t = slope * w[k] + touch * sigma
        a = abs(u[k])
        over = a * a + strongest * strongest + 2 * t * a * strongest > gap * (1.0 - t * t)
        if w[k] > 0.0 and (over or t >= 1.0 or touch > sigma):
            rows[n] = k
            n += 1
    return n


@njit(**OPTIONS)
def edge_children(A: Floats, u: Floats, edges: Ints, light: float, gap: float, loosened: float, out: Ints) -> int:
    """List the sets (a, b, i, j) that may gain more than ``gap``, for edges (a, b), no pair heavier than the edge.

    The cap of an edge is ``max(|A_ab|, light)``. Gaps are multiplied by ``loosened`` (just below 1) before comparing.
    """
    m = A.shape[0]
    node, rows = np.zeros((4, m)), np.empty(m, np.int64)
    pairs, test = np.empty((len(out), 2), np.int64), np.empty(4)
    n = 0
    for q in range(len(edges)):
        a, b = edges[q, 0], edges[q, 1]
        rho = A[a, b]
        cap = max(abs(rho), light) * (1.0 + 1e-12)
        inverse = 1.0 / (1.0 - rho * rho)
        xa, xb, root = (u[a] - rho * u[b]) * inverse, (u[b] - rho * u[a]) * inverse, np.sqrt(inverse)
        left = (gap - (u[a] * xa + u[b] * xb)) * loosened
        Aa, Ab = A[a], A[b]
        for k in range(m):
            y = (Ab[k] - rho * Aa[k]) * root
            d = 1.0 - Aa[k] * Aa[k] - y * y
            on = (abs(Aa[k]) <= cap) & (abs(Ab[k]) <= cap) & (d > 1e-14)
            v = 1.0 / np.sqrt(d) if on else 0.0
            node[0, k] = v
            node[1, k] = (u[k] - xa * Aa[k] - xb * Ab[k]) * v
            node[2, k] = Aa[k] * v
            node[3, k] = y * v
        node[:, a] = 0.0
        node[:, b] = 0.0
        flagged = _flag_rows(node, left * loosened, cap * (2.0 - loosened), rows)
        if flagged == 0:
            continue
        test[0], test[1], test[2], test[3] = 1.0, left, 1.0, cap
        found = open_pairs(A, rows[:flagged], flagged == m, node, test, pairs)
        for h in range(min(found, len(pairs))):
            if n < len(out):
                out[n, 0] = a
                out[n, 1] = b
                out[n, 2] = pairs[h, 0]
                out[n, 3] = pairs[h, 1]
            n += 1
        n += max(0, found - len(pairs))
    return n
