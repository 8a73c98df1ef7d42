"""The loops of the dual enumeration, compiled: bounds of pairs and triples from Gram matrices, then of listed sets.

`optprobe.engines.bounds.minorant` holds the theorems. All numbers are float64, except in the first pass of
`below_minorant`, which counts its rounding. Loops that only count, over slices and without a division, become vector
instructions; the few blocks with hits are walked again.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from optprobe.engines.kernels.linear import solve
from optprobe.engines.kernels.options import OPTIONS

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Ints = NDArray[np.int64]


@njit(**OPTIONS)
def _pair(
    i: int, j: int, E: Floats, C: Floats, r: Floats, lin: Floats, sides: Floats, ridge: float
) -> tuple[float, float, float, float, float, float]:
    """The screen of theorem 2 for two neurons: s of both, their share of the box, residuals, bound without its base.

    s solves their 2 x 2 system and is scaled so that they take at most the whole box.
    """
    a, d, e = E[i, i] + ridge, E[j, j] + ridge, E[i, j]
    r1, r2 = r[i] - lin[i], r[j] - lin[j]
    n1, n2, det = d * r1 - e * r2, a * r2 - e * r1, a * d - e * e
    use = max(n1 * sides[0, i], -n1 * sides[1, i]) + max(n2 * sides[0, j], -n2 * sides[1, j])
    scale = 1.0 / max(det, use)
    s1, s2 = n1 * scale, n2 * scale
    e1 = r[i] - C[i, i] * s1 - C[i, j] * s2
    e2 = r[j] - C[j, i] * s1 - C[j, j] * s2
    square = s1 * s1 * E[i, i] + 2.0 * s1 * s2 * e + s2 * s2 * E[j, j]
    bound = -lin[i] * s1 - lin[j] * s2 - 0.5 * square - (e1 * e1 + e2 * e2) * (0.5 / ridge)
    return s1, s2, use * scale, e1, e2, bound


@njit(**OPTIONS)
def open_pairs(
    prefixes: tuple[int, int], first: int, E: Floats, C: Floats, r: Floats, lin: Floats, sides: Floats,
    missing: float, ridge: float, out: Ints,
) -> tuple[int, int]:  # fmt: skip
    """List the pairs i < j whose screen does not reach ``missing``, filled up with m; see `open_triples`."""
    m, n = len(r), 0
    for j in range(first, m):
        if n + m > len(out):
            return n, j
        for i in range(prefixes[0], min(j, prefixes[1])):
            if not _pair(i, j, E, C, r, lin, sides, ridge)[5] >= missing:
                out[n, 0] = i
                out[n, 1] = j
                out[n, 2] = m
                n += 1
    return n, m


@njit(**OPTIONS)
def _third(
    s1: float, s2: float, e1: float, e2: float, gap: float, room: float, ir: float,
    E1: Floats, E2: Floats, C1: Floats, C2: Floats, D1: Floats, D2: Floats,
    r: Floats, c: Floats, curvature: Floats, inverse: Floats, up: Floats, down: Floats, out: Floats,
) -> None:  # fmt: skip
    """By how much the screen of a pair and each third neuron exceeds the target: one coordinate step from the pair."""
    for k in range(len(r)):
        e = r[k] - D1[k] * s1 - D2[k] * s2
        slope = (c[k] * e + C1[k] * e1 + C2[k] * e2) * ir - E1[k] * s1 - E2[k] * s2
        s = slope * inverse[k]
        high, low = room * up[k], -room * down[k]
        s = s if s < high else high
        s = s if s > low else low
        out[k] = gap - 0.5 * ir * e * e + s * (slope - 0.5 * s * (curvature[k] + (C1[k] * C1[k] + C2[k] * C2[k]) * ir))


@njit(**OPTIONS)
def _negative(values: Floats) -> int:
    n = 0
    for k in range(len(values)):
        n += int(values[k] < 0.0)
    return n


@njit(**OPTIONS)
def open_triples(
    prefixes: tuple[int, int], first: int, E: Floats, C: Floats, D: Floats, r: Floats, lin: Floats, sides: Floats,
    missing: float, ridge: float, out: Ints,
) -> tuple[int, int]:  # fmt: skip
    """List the triples i < j < k whose screen does not reach ``missing`` = target - base.

    Parameters
    ----------
    prefixes : tuple of int
        The first i, and the i after the last: a few, so that the rows of j are read once for all of them.
    first : int
        The j to begin with.
    E, C, D : ndarray, shape (m, m)
        ``<h_i, h_j>``, ``<z_i, h_j>`` and the transpose of C.
    lin : ndarray, shape (m,)
        ``<x_P, h_j>``; zeros here, since the third neuron's step leaves it out.
    sides : ndarray, shape (2, m)
        M and N: the shares of the box that a unit of h_j takes, forwards and backwards.
    out : ndarray, shape (capacity, 3)

    Returns the number listed and the j to go on with: m when done, less where the list is full.
    """
    m, ir, n = len(r), 1.0 / ridge, 0
    c, curvature, slack = np.empty(m), np.empty(m), np.empty(m)
    inverse, up, down = np.empty(m), np.empty(m), np.empty(m)
    for k in range(m):
        c[k] = C[k, k]
        curvature[k] = E[k, k] + c[k] * c[k] * ir
        inverse[k] = 1.0 / max(curvature[k], 1e-300)
        up[k] = 1.0 / max(sides[0, k], 1e-9)
        down[k] = 1.0 / max(sides[1, k], 1e-9)
    for j in range(first, m - 1):
        if n + (prefixes[1] - prefixes[0]) * m > len(out):
            return n, j
        f = slice(j + 1, m)
        for i in range(prefixes[0], min(j, prefixes[1])):
            s1, s2, use, e1, e2, bound = _pair(i, j, E, C, r, lin, sides, ridge)
            _third(
                s1, s2, e1, e2, bound - missing, 1.0 - use, ir, E[i][f], E[j][f], C[i][f], C[j][f], D[i][f], D[j][f],
                r[f], c[f], curvature[f], inverse[f], up[f], down[f], slack[f],
            )  # fmt: skip
            if _negative(slack[f]) == 0:
                continue
            for k in range(j + 1, m):
                if slack[k] < 0.0:
                    out[n, 0] = i
                    out[n, 1] = j
                    out[n, 2] = k
                    n += 1
    return n, m


@njit(**OPTIONS)
def _sums(
    z1: Floats, z2: Floats, z3: Floats, weight: Floats, low: Floats, high: Floats,
    s1: float, s2: float, s3: float, s0: float,
) -> tuple[float, float, float, float, float]:  # fmt: skip
    """``<1, x>, <x, x>, <z1, x>, <z2, x>, <z3, x>`` of x = clip(s1 z1 + s2 z2 + s3 z3 + s0)."""
    m0 = sq = x1 = x2 = x3 = weight[0] - weight[0]  # zeros of the type of the arrays
    for i in range(len(weight)):
        x = s0 + s1 * z1[i] + s2 * z2[i] + s3 * z3[i]
        x = x if x > low[i] else low[i]
        x = x if x < high[i] else high[i]
        t = weight[i] * x
        m0 += t
        sq += t * x
        x1 += t * z1[i]
        x2 += t * z2[i]
        x3 += t * z3[i]
    return m0, sq, x1, x2, x3


@njit(**OPTIONS)
def _curvatures(
    z1: Floats, z2: Floats, z3: Floats, weight: Floats, low: Floats, high: Floats,
    s1: float, s2: float, s3: float, s0: float,
) -> tuple[float, float, float, float, float, float, float, float, float, float]:  # fmt: skip
    """The products of 1, z1, z2, z3 over the rows where x of `_sums` is inside its bounds."""
    h0 = h1 = h2 = h3 = a11 = a12 = a13 = a22 = a23 = a33 = 0.0
    for i in range(len(weight)):
        x = s0 + s1 * z1[i] + s2 * z2[i] + s3 * z3[i]
        d = weight[i] if (x > low[i]) & (x < high[i]) else 0.0
        d1, d2, d3 = d * z1[i], d * z2[i], d * z3[i]
        h0 += d
        h1 += d1
        h2 += d2
        h3 += d3
        a11 += d1 * z1[i]
        a12 += d1 * z2[i]
        a13 += d1 * z3[i]
        a22 += d2 * z2[i]
        a23 += d2 * z3[i]
        a33 += d3 * z3[i]
    return h0, h1, h2, h3, a11, a12, a13, a22, a23, a33


@njit(**OPTIONS)
def _gram_start(i: int, j: int, k: int, E: Floats, r: Floats, ridge: float, H: Floats, s: Floats) -> None:
    """s = (E + ridge I)^-1 r on three neurons, and no shift."""
    H[0, 0], H[1, 1], H[2, 2] = E[i, i] + ridge, E[j, j] + ridge, E[k, k] + ridge
    H[1, 0], H[2, 0], H[2, 1] = E[j, i], E[k, i], E[k, j]
    s[0], s[1], s[2], s[3] = r[i], r[j], r[k], 0.0
    solve(H[:3, :3], s[:3])


@njit(**OPTIONS)
def _value(
    i: int, j: int, k: int, sums: tuple[float, float, float, float, float], r: Floats, means: Floats, total: float,
    ridge: float, relative: float, norm: float,
) -> tuple[float, float]:  # fmt: skip
    """The minorant without its base, less its rounding, and the shift to <1, x> = 0, from the sums of `_sums`.

    The sums err by at most ``relative`` times the product of the norms, in any order of summation: those of z by
    ``relative norm |x|``, the shift by ``relative |x| / sqrt(total)``, and together a residual by twice the first.
    With ``relative`` 0 nothing is counted.
    """
    m0, sq = float(sums[0]), float(sums[1])
    shift = m0 / total
    error = 2 * relative * norm * np.sqrt(sq)
    e1 = abs(r[i] - (sums[2] - shift * means[i])) + error
    e2 = abs(r[j] - (sums[3] - shift * means[j])) + error
    e3 = abs(r[k] - (sums[4] - shift * means[k])) + error
    square = sq * (1 + 3 * relative) - m0 * shift
    return -0.5 * square - (e1 * e1 + e2 * e2 + e3 * e3) * (0.5 / ridge), shift


@njit(**OPTIONS)
def _ascend(
    i: int, j: int, k: int, neurons: Floats, r: Floats, means: Floats, rows: Floats, total: float, slack: float,
    missing: float, ridge: float, passes: int, H: Floats, g: Floats, s: Floats,
) -> float:  # fmt: skip
    """Raise the minorant of one set from s (three coefficients and a shift) by Newton steps; returns its best value."""
    z1, z2, z3 = neurons[i], neurons[j], neurons[k]
    weight, low, high = rows[0], rows[1], rows[2]
    best = -np.inf
    for step in range(passes):
        sums = _sums(z1, z2, z3, weight, low, high, s[0], s[1], s[2], s[3])
        bound, shift = _value(i, j, k, sums, r, means, total, ridge, 0.0, 0.0)
        if abs(shift) < slack and bound > best:
            best = bound
        if best >= missing or step == passes - 1:
            break
        m0, _, x1, x2, x3 = sums
        h = _curvatures(z1, z2, z3, weight, low, high, s[0], s[1], s[2], s[3])
        g[0], g[1], g[2], g[3] = x1 + ridge * s[0] - r[i], x2 + ridge * s[1] - r[j], x3 + ridge * s[2] - r[k], m0
        H[0, 0], H[1, 1], H[2, 2], H[3, 3] = h[4] + ridge, h[7] + ridge, h[9] + ridge, h[0] + 1e-12
        H[1, 0], H[2, 0], H[2, 1] = h[5], h[6], h[8]
        H[3, 0], H[3, 1], H[3, 2] = h[1], h[2], h[3]
        solve(H, g)
        for a in range(4):
            s[a] -= g[a]
    return best


@njit(**OPTIONS)
def below_minorant(
    sets: Ints, neurons: Floats, single: Singles, E: Floats, r: Floats, means: Floats, rows: Floats,
    rows_single: Singles, norm: float, slack: float, missing: float, ridge: float, passes: int, below: Ints,
) -> int:  # fmt: skip
    """List (by index) the sets whose minorant, at the x of a few Newton steps, does not reach ``missing``.

    Sets that share their first two neurons should follow each other: the pair's own fit is where they start.

    Parameters
    ----------
    sets : ndarray, shape (n_sets, 3)
        Rows of ``neurons``; smaller sets are filled up with the last one, which is zero.
    neurons : ndarray, shape (m + 1, n_rows)
    E, r, means : ndarray, shape (m + 1, m + 1) and (m + 1,)
        ``<h, h>`` for the start, ``<z, zc>`` and ``<1, z>``.
    rows : ndarray, shape (3, n_rows)
        Weights w D, and the box of x shrunk by ``slack`` on both sides.
    single, rows_single : ndarray
        ``neurons`` and ``rows`` in float32. The x of the first pass is computed from these: rounded, it is as good an x
        as any, and its bound counts the rounding of its sums.
    norm : float
        The largest ``|z|``.
    """
    total = rows[0].sum()
    relative = (rows.shape[1] + 8) * 2.0**-24
    w, low, high = rows_single[0], rows_single[1], rows_single[2]
    H, g, s, move = np.empty((4, 4)), np.empty(4), np.empty(4), np.empty(4)
    n, zero = 0, len(r) - 1
    for q in range(len(sets)):
        i, j, k = sets[q, 0], sets[q, 1], sets[q, 2]
        if q == 0 or i != sets[q - 1, 0] or j != sets[q - 1, 1]:
            _gram_start(i, j, zero, E, r, ridge, H, s)
            move[:] = s
            _ascend(i, j, zero, neurons, r, means, rows, total, slack, np.inf, ridge, 3, H, g, s)
            move[:] = s - move
        _gram_start(i, j, k, E, r, ridge, H, s)
        s += move
        one, two, three, zero_order = np.float32(s[0]), np.float32(s[1]), np.float32(s[2]), np.float32(s[3])
        sums = _sums(single[i], single[j], single[k], w, low, high, one, two, three, zero_order)
        bound, shift = _value(i, j, k, sums, r, means, total, ridge, relative, norm)
        if bound >= missing and abs(shift) < 0.9 * slack:
            continue
        if not _ascend(i, j, k, neurons, r, means, rows, total, slack, missing, ridge, passes, H, g, s) >= missing:
            below[n] = q
            n += 1
    return n


@njit(**OPTIONS)
def directions(
    neurons: Floats, share: Floats, forwards: Floats, below: Floats, above: Floats, fixed: Floats,
    back: Floats, inverse: Floats, h: Floats, sides: Floats,
) -> None:  # fmt: skip
    """Fill h (m, n_rows) with neurons (m, n_rows) clipped to their share of the box and made orthogonal to ``fixed``.

    Parameters
    ----------
    share, forwards : ndarray, shape (m,)
        The multiple of the room that a neuron is clipped to, and whether (1 or 0) its step is expected forwards.
    below, above : ndarray, shape (n_rows,)
        The room on either side.
    fixed, back : ndarray, shape (q, n_rows)
        What h is made orthogonal to, times the weights; and what is subtracted for it, a multiple of the room in size.
    inverse : ndarray, shape (q, q)
        Of ``fixed @ back.T``.
    sides : ndarray, shape (2, m)
        Filled with M and N: the shares of the box that a unit of h takes, forwards and backwards.
    """
    q, n = fixed.shape
    up, down, products = np.empty(n), np.empty(n), np.empty(q)
    for i in range(n):
        up[i] = 1.0 / max(above[i], 1e-12)
        down[i] = 1.0 / max(below[i], 1e-12)
    for j in range(len(neurons)):
        z, row, c = neurons[j], h[j], share[j]
        if forwards[j] > 0.0:
            for i in range(n):
                row[i] = min(max(z[i], -c * below[i]), c * above[i])
        else:
            for i in range(n):
                row[i] = min(max(z[i], -c * above[i]), c * below[i])
        for a in range(q):
            t, of = 0.0, fixed[a]
            for i in range(n):
                t += of[i] * row[i]
            products[a] = t
        for a in range(q):
            t, of = 0.0, back[a]
            for b in range(q):
                t += inverse[a, b] * products[b]
            for i in range(n):
                row[i] -= t * of[i]
        most, least, M, N = 0.0, 0.0, 0.0, 0.0
        for i in range(n):
            most = max(most, row[i] * up[i])
            least = max(least, -row[i] * down[i])
            M = max(M, row[i] * down[i])
            N = max(N, -row[i] * up[i])
        sides[0, j] = max(most, least)
        sides[1, j] = max(M, N)


@njit(**OPTIONS)
def _point_of(neurons: Floats, support: Ints, s: Floats, low: Floats, high: Floats, x: Floats) -> None:
    """x = clip(sum s z + s0), the shift last in s."""
    q = len(support)
    x[:] = s[q]
    for c in range(q):
        z, t = neurons[support[c]], s[c]
        for i in range(len(x)):
            x[i] += t * z[i]
    for i in range(len(x)):
        x[i] = min(max(x[i], low[i]), high[i])


@njit(**OPTIONS)
def _value_of(
    neurons: Floats, support: Ints, weight: Floats, total: float, r: Floats, means: Floats, x: Floats, ridge: float,
    residuals: Floats,
) -> tuple[float, float]:  # fmt: skip
    """The minorant of one set without its base at x less its mean, and that mean; fills r - <z, x> (x as it is)."""
    q, m0, square = len(support), 0.0, 0.0
    for i in range(len(x)):
        t = weight[i] * x[i]
        m0 += t
        square += t * x[i]
    shift = m0 / total
    bound = -0.5 * (square - m0 * shift)
    for c in range(q):
        z, t = neurons[support[c]], 0.0
        for i in range(len(x)):
            t += weight[i] * x[i] * z[i]
        residuals[c] = r[support[c]] - t
        e = residuals[c] + shift * means[support[c]]
        bound -= e * e * (0.5 / ridge)
    residuals[q] = -m0
    return bound, shift


@njit(**OPTIONS)
def _normal_equations(neurons: Floats, support: Ints, weight: Floats, ridge: float, H: Floats) -> None:
    """The lower triangle of the products of the set's neurons and 1, the last, plus the ridge."""
    q, n = len(support), len(weight)
    weighted = np.empty(n)
    for a in range(q):
        z = neurons[support[a]]
        for i in range(n):
            weighted[i] = weight[i] * z[i]
        for b in range(a + 1):
            other, t = neurons[support[b]], 0.0
            for i in range(n):
                t += weighted[i] * other[i]
            H[a, b] = t
        H[a, a] += ridge
        H[q, a] = weighted.sum()
    H[q, q] = weight.sum() + 1e-12


@njit(**OPTIONS)
def raise_minorant(
    sets: Ints, neurons: Floats, r: Floats, means: Floats, rows: Floats, slack: float, missing: float, ridge: float,
    passes: int, bounds: Floats, points: Floats,
) -> None:  # fmt: skip
    """The minorant without its base, at the best x of a few Newton steps, of sets of any one size.

    Parameters
    ----------
    sets : ndarray, shape (n_sets, q)
    neurons, r, means : ndarray
        Shapes (m, n_rows), (m,), (m,): as in `below_minorant`, without the row of zeros.
    rows : ndarray, shape (3, n_rows)
        Weights w D, and the box of x shrunk by ``slack`` on both sides.
    missing : float
        Where a bound reaches this, its set is done.
    bounds, points : ndarray, shape (n_sets,) and (n_sets, n_rows)
        Filled; a point is the x of its bound, ``<1, x> = 0``. ``points`` may have no rows: then they are not kept.
    """
    q, n = sets.shape[1], rows.shape[1]
    weight, low, high = rows[0], rows[1], rows[2]
    total = weight.sum()
    H, g, s = np.empty((q + 1, q + 1)), np.empty(q + 1), np.empty(q + 1)
    x, inside = np.empty(n), np.empty(n)
    for place in range(len(sets)):
        support = sets[place]
        for a in range(q):
            g[a] = -r[support[a]]
        g[q], s[:], bounds[place] = 0.0, 0.0, -np.inf
        inside[:] = weight
        for step in range(passes):
            _normal_equations(neurons, support, inside, ridge, H)
            solve(H, g)
            s -= g
            _point_of(neurons, support, s, low, high, x)
            bound, shift = _value_of(neurons, support, weight, total, r, means, x, ridge, g)
            if abs(shift) < slack and bound > bounds[place]:
                bounds[place] = bound
                if len(points) > 0:
                    points[place] = x - shift
            if bounds[place] >= missing or step == passes - 1:
                break
            for a in range(q):
                g[a] = ridge * s[a] - g[a]
            g[q] = -g[q]
            for i in range(n):
                inside[i] = weight[i] if (x[i] > low[i]) & (x[i] < high[i]) else 0.0
