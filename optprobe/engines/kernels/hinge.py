"""The loops of the hinge sweep, compiled: the dual of one set, raised by the proximal method of multipliers.

`optprobe.engines.sweeps.hinge` holds the mathematics. Rows are sorted, the n_positive rows of the positive class first,
and neurons are multiplied by the label: ``q = y z``, so that the margin of a row is ``1 - sum b q - y b0``.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from optprobe.engines.kernels.options import OPTIONS

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Sums = tuple[float, float, float, float, float, float, float, float, float, float]

LARGEST_SIGMA = 64.0
LONGEST_STEP = 4.0
FLAT = 1e-11
"""Largest entry of a gradient that counts as zero."""
NO_STEP = 0.0, 0.0, 0.0
STILL = 1e-9
"""Largest change of t that counts as none: the proximal steps have arrived."""


@njit(**OPTIONS)
def _class_sums(
    q1: Floats, q2: Floats, w: Floats, centre: Floats, sigma: float, s1: float, s2: float, s0: float
) -> Sums:
    """Of one class, at t = clip(centre + sigma m, 0, 1): sums of w t, w t q, the proximal value, and over the rows
    strictly inside the box the products of 1, q1, q2."""
    total = v1 = v2 = value = h0 = h1 = h2 = h11 = h12 = h22 = 0.0
    half = 0.5 / sigma
    for i in range(len(w)):
        m = 1.0 - s1 * q1[i] - s2 * q2[i] - s0
        u = centre[i] + sigma * m
        t = u if u > 0.0 else 0.0
        t = t if t < 1.0 else 1.0
        d = w[i] if (u > 0.0) & (u < 1.0) else 0.0
        wt = w[i] * t
        step = t - centre[i]
        total += wt
        v1 += wt * q1[i]
        v2 += wt * q2[i]
        value += wt * m - half * w[i] * step * step
        d1, d2 = d * q1[i], d * q2[i]
        h0 += d
        h1 += d1
        h2 += d2
        h11 += d1 * q1[i]
        h12 += d1 * q2[i]
        h22 += d2 * q2[i]
    return total, v1, v2, value, h0, h1, h2, h11, h12, h22


@njit(**OPTIONS)
def _newton_step(
    of_positive: Sums, of_negative: Sums, sigma: float, ridge: float, s: Floats
) -> tuple[float, float, float, bool]:
    """The step in (b1, b2, b0), not longer than `LONGEST_STEP`, and whether the gradient is zero already."""
    P, a1, a2, _, p0, p1, p2, p11, p12, p22 = of_positive
    N, c1, c2, _, n0, n1, n2, n11, n12, n22 = of_negative
    g1, g2, g0 = ridge * s[0] - a1 - c1, ridge * s[1] - a2 - c2, N - P
    H0 = 1.0 / (sigma * (p0 + n0) + 1e-10)
    H01, H02 = sigma * (p1 - n1), sigma * (p2 - n2)
    H11 = sigma * (p11 + n11) + ridge - H01 * H01 * H0
    H22 = sigma * (p22 + n22) + ridge - H02 * H02 * H0
    H12 = sigma * (p12 + n12) - H01 * H02 * H0
    r1, r2 = g1 - H01 * g0 * H0, g2 - H02 * g0 * H0
    inverse = 1.0 / (H11 * H22 - H12 * H12)
    d1, d2 = (H22 * r1 - H12 * r2) * inverse, (H11 * r2 - H12 * r1) * inverse
    d0 = (g0 - H01 * d1 - H02 * d2) * H0
    scale = min(1.0, LONGEST_STEP / max(abs(d1), abs(d2), abs(d0), 1e-300))
    return d1 * scale, d2 * scale, d0 * scale, max(abs(g1), abs(g2), abs(g0)) < FLAT


@njit(**OPTIONS)
def _ascend(
    q1: Floats, q2: Floats, positive: int, w: Floats, centre: Floats, sigma: float, ridge: float, target: float,
    passes: int, rounds: int, least: float, step: tuple[float, float, float], s: Floats, t: Floats,
) -> float:  # fmt: skip
    """Raise the dual value of the set (q1, q2) from s = (b1, b2, b0) until it reaches ``target``; returns the best one.

    Each of the ``rounds`` maximises the dual value less ``|t - centre|^2 / (2 sigma)`` by at most ``passes`` Newton
    steps, halved where they fail; then t becomes the centre. ``t`` is room for it, and may be ``centre``. The first
    step may be made already: from a point of proximal value ``least``, by minus ``step``.
    """
    best, n = -np.inf, len(w)
    d1, d2, d0 = step
    for done in range(rounds):
        for _ in range(passes):
            f = slice(0, positive)
            one = _class_sums(q1[f], q2[f], w[f], centre[f], sigma, s[0], s[1], s[2])
            f = slice(positive, n)
            two = _class_sums(q1[f], q2[f], w[f], centre[f], sigma, s[0], s[1], -s[2])
            share1, share2 = min(1.0, two[0] / max(one[0], 1e-300)), min(1.0, one[0] / max(two[0], 1e-300))
            v1, v2 = share1 * one[1] + share2 * two[1], share1 * one[2] + share2 * two[2]
            best = max(best, share1 * one[0] + share2 * two[0] - (v1 * v1 + v2 * v2) / (2 * ridge))
            if best >= target:
                return float(best)
            value = one[3] + two[3] + 0.5 * ridge * (s[0] * s[0] + s[1] * s[1])
            if value > least + 1e-12:
                d1, d2, d0 = 0.5 * d1, 0.5 * d2, 0.5 * d0
                s[0] += d1
                s[1] += d2
                s[2] += d0
                continue
            least = value
            d1, d2, d0, flat = _newton_step(one, two, sigma, ridge, s)
            if flat:
                break
            s[0] -= d1
            s[1] -= d2
            s[2] -= d0
        if done == rounds - 1:
            break
        moved = 0.0
        for i in range(n):
            b0 = s[2] if i < positive else -s[2]
            new = min(max(centre[i] + sigma * (1.0 - s[0] * q1[i] - s[1] * q2[i] - b0), 0.0), 1.0)
            moved = max(moved, abs(new - centre[i]))
            t[i] = new
        if moved < STILL:
            break
        centre, sigma, least = t, min(2.0 * sigma, LARGEST_SIGMA), np.inf
    return float(best)


@njit(**OPTIONS)
def raise_singles(
    Q: Floats, positive: int, w: Floats, start: Floats, ridge: float, passes: int, rounds: int, t: Floats, s: Floats
) -> None:
    """Dual vectors ``t`` (m, n_rows) and coefficients ``s`` (m, 3) near the optimum of every single neuron of Q."""
    none = np.zeros(Q.shape[1])
    for i in range(len(Q)):
        s[i] = 0.0
        _ascend(Q[i], none, positive, w, start, 0.5, ridge, np.inf, passes, rounds, np.inf, NO_STEP, s[i], t[i])


@njit(**OPTIONS)
def _with_partner(own: Sums, q2: Floats, wt: Floats, d: Floats, dq: Floats) -> Sums:
    """The sums of a class for q and a partner of coefficient 0, from those for q alone."""
    v2 = h2 = h12 = h22 = 0.0
    for i in range(len(q2)):
        v2 += wt[i] * q2[i]
        h2 += d[i] * q2[i]
        h12 += dq[i] * q2[i]
        h22 += d[i] * q2[i] * q2[i]
    total, v1, _, value, h0, h1, _, h11, _, _ = own
    return total, v1, v2, value, h0, h1, h2, h11, h12, h22


@njit(**OPTIONS)
def open_singles(
    Q: Floats, positive: int, w: Floats, start: Floats, ridge: float, target: float, passes: int, rounds: int, out: Ints
) -> int:
    """List the rows of Q whose neuron alone stays below ``target``."""
    none, t, s, n = np.zeros(Q.shape[1]), np.empty(Q.shape[1]), np.empty(3), 0
    for i in range(len(Q)):
        s[:] = 0.0
        of = (Q[i], none, positive, w, start, 0.5, ridge, target, passes, rounds, np.inf, NO_STEP)
        if not _ascend(*of, s, t) >= target:
            out[n] = i
            n += 1
    return n


@njit(**OPTIONS)
def open_partners(
    q: Floats, Q: Floats, rows: Ints, positive: int, w: Floats, centre: Floats, sigma: float, start: Floats,
    ridge: float, target: float, passes: int, rounds: int, out: Ints,
) -> int:  # fmt: skip
    """List the j of ``rows`` whose pair of q and Q[j] stays below ``target``; begins at q's own t and coefficients.

    The dual value there is not looked at: the first Newton step from it takes a few sums besides those that all j have
    in common.
    """
    size, n = len(w), 0
    t, s, wt, d, dq = np.empty(size), np.empty(3), np.empty(size), np.empty(size), np.empty(size)
    for i in range(size):
        u = centre[i] + sigma * (1.0 - start[0] * q[i] - (start[2] if i < positive else -start[2]))
        wt[i] = w[i] * min(max(u, 0.0), 1.0)
        d[i] = w[i] if (u > 0.0) & (u < 1.0) else 0.0
        dq[i] = d[i] * q[i]
    p, m = slice(0, positive), slice(positive, size)
    one = _class_sums(q[p], q[p], w[p], centre[p], sigma, start[0], 0.0, start[2])
    two = _class_sums(q[m], q[m], w[m], centre[m], sigma, start[0], 0.0, -start[2])
    least = one[3] + two[3] + 0.5 * ridge * start[0] * start[0]
    for j in rows:
        s[0], s[1], s[2] = start[0], 0.0, start[2]
        of_positive = _with_partner(one, Q[j][p], wt[p], d[p], dq[p])
        of_negative = _with_partner(two, Q[j][m], wt[m], d[m], dq[m])
        d1, d2, d0, _ = _newton_step(of_positive, of_negative, sigma, ridge, s)
        s[0] -= d1
        s[1] -= d2
        s[2] -= d0
        step = (d1, d2, d0)
        if not _ascend(q, Q[j], positive, w, centre, sigma, ridge, target, passes, rounds, least, step, s, t) >= target:
            out[n] = j
            n += 1
    return n
