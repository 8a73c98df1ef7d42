"""The pairs of a hinge sweep compiled (by numba): the bound of `hinge_sweep`, by another program.

A pair takes the first Newton step from the t of its first column, as there, and a few more where it stays below the
claim; what is left then goes on in `hinge_sweep`. The class of smaller sum keeps its t, the other one's is scaled by a
number of at most 1, so the t that the bound is about is in the box, whatever was rounded on the way. Sums over rows
are sums in some order, which is all that `Rows.bounds` supposes of them, and the operations that follow are its own. No
bound is accepted that is not finite.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .bounds import gamma
from .compiled import OPTIONS
from .compiled_dual import solve
from .problem import U
from .proximal import LONGEST_STEP, NEWTON_STEPS

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Sums = tuple[float, float, float, float, float, float, float, float, float, float]

STEPS = 4
DAMPED = 1e-10
STILL = 1e-12
"""Longest step of a single column's fit that is not worth another."""


@njit(**OPTIONS)
def _of_class(
    q1: Floats, q2: Floats, w: Floats, centre: Floats, sigma: float, s1: float, s2: float, s0: float
) -> Sums:  # fmt: skip
    """Of a class, sums over its rows: w t (1, q1, q2), w (1, q1, q2, q1^2, q1 q2, q2^2) where 0 < t < 1, and what the
    proximal step minimises (`proximal`)."""
    total = v1 = v2 = h0 = h1 = h2 = h11 = h12 = h22 = value = 0.0
    half = 0.5 / sigma
    for i in range(len(w)):
        margin = 1.0 - s1 * q1[i] - s2 * q2[i] - s0
        point = centre[i] + sigma * margin
        t = point if point > 0.0 else 0.0
        t = t if t < 1.0 else 1.0
        d = w[i] if (point > 0.0) & (point < 1.0) else 0.0
        wt, d1, d2, moved = w[i] * t, d * q1[i], d * q2[i], t - centre[i]
        total += wt
        v1 += wt * q1[i]
        v2 += wt * q2[i]
        h0 += d
        h1 += d1
        h2 += d2
        h11 += d1 * q1[i]
        h12 += d1 * q2[i]
        h22 += d2 * q2[i]
        value += wt * margin - half * w[i] * moved * moved
    return total, v1, v2, h0, h1, h2, h11, h12, h22, value


@njit(**OPTIONS)
def _of_both(
    q1: Floats, q2: Floats, positive: int, w: Floats, centre: Floats, sigma: float, s: Floats
) -> tuple[Sums, Sums]:  # fmt: skip
    """The sums of both classes at s, two coefficients and the intercept."""
    n = len(w)
    one = _of_class(q1[:positive], q2[:positive], w[:positive], centre[:positive], sigma, s[0], s[1], s[2])
    f = slice(positive, n)
    return one, _of_class(q1[f], q2[f], w[f], centre[f], sigma, s[0], s[1], -s[2])


@njit(**OPTIONS)
def _bound(one: Sums, two: Sums, ridge: float, error: float, unbalanced: float) -> float:
    """`Rows.bounds` of a pair, from the sums of both classes."""
    least = min(one[0], two[0])
    share1 = 1.0 if one[0] <= two[0] else min(1.0, two[0] / one[0])
    share2 = 1.0 if two[0] <= one[0] else min(1.0, one[0] / two[0])
    v1, v2 = abs(share1 * one[1] + share2 * two[1]) + error, abs(share1 * one[2] + share2 * two[2]) + error
    taken = (v1 * v1 + v2 * v2) * ((1.0 + 32.0 * U) / (2.0 * ridge))
    return float(2.0 * least - taken - unbalanced - error - 16.0 * U * (least + taken))


@njit(**OPTIONS)
def _newton_step(one: Sums, two: Sums, sigma: float, ridge: float, s: Floats, H: Floats, g: Floats) -> None:
    """From s, the coefficients and the intercept, to the next; g is the step that was taken."""
    H[0, 0], H[1, 0], H[1, 1] = one[6] + two[6], one[7] + two[7], one[8] + two[8]
    H[2, 0], H[2, 1], H[2, 2] = one[4] - two[4], one[5] - two[5], one[3] + two[3]
    H *= sigma
    for a in range(2):
        g[a] = ridge * s[a] - one[1 + a] - two[1 + a]
        H[a, a] += ridge
    g[2] = two[0] - one[0]
    H[2, 2] += DAMPED
    solve(H, g, 3)
    g *= min(1.0, LONGEST_STEP / max(np.abs(g).max(), 1e-300))
    s -= g


@njit(**OPTIONS)
def _fit(
    q: Floats, none: Floats, positive: int, w: Floats, sigma: float, ridge: float, s: Floats, t: Floats, H: Floats,
    g: Floats,
) -> None:  # fmt: skip
    """One proximal step of a single column, to its end, from s and the centre t."""
    least = np.inf
    g[:] = 0.0
    for _ in range(NEWTON_STEPS):
        one, two = _of_both(q, none, positive, w, t, sigma, s)
        value = one[9] + two[9] + 0.5 * ridge * s[0] * s[0]
        if value > least + 1e-14:
            g *= 0.5
            s += g
            continue
        least = value
        _newton_step(one, two, sigma, ridge, s, H, g)
        if np.abs(g).max() < STILL:
            break
    for i in range(len(t)):
        b0 = s[2] if i < positive else -s[2]
        t[i] = min(max(t[i] + sigma * (1.0 - s[0] * q[i] - b0), 0.0), 1.0)


@njit(**OPTIONS)
def _fits(
    Q: Floats, columns: Ints, positive: int, w: Floats, sigma: float, ridge: float, t: Floats, s: Floats
) -> None:  # fmt: skip
    """Rows of t and s for single columns, from the rows of t on."""
    none, H, g = np.zeros(Q.shape[1]), np.empty((3, 3)), np.empty(3)
    for row in range(len(columns)):
        s[row] = 0.0
        for step in (1.0, sigma):
            _fit(Q[columns[row]], none, positive, w, step, ridge, s[row], t[row], H, g)


@njit(**OPTIONS)
def _left(
    Q: Floats, i: int, later: Ints, positive: int, w: Floats, centre: Floats, single: Floats, sigma: float,
    ridge: float, error: float, unbalanced: float, lower: float, out: Ints,
) -> int:  # fmt: skip
    """List the j of ``later`` whose pair with i stays below ``lower``."""
    n, s, H, g = 0, np.empty(3), np.empty((3, 3)), np.empty(3)
    for j in later:
        s[0], s[1], s[2] = single[0], 0.0, single[1]
        closed = False
        for _ in range(STEPS):
            one, two = _of_both(Q[i], Q[j], positive, w, centre, sigma, s)
            bound = _bound(one, two, ridge, error, unbalanced)
            closed = (bound >= lower) & (bound < np.inf)
            if closed:
                break
            _newton_step(one, two, sigma, ridge, s, H, g)
        if not closed:
            out[n] = j
            n += 1
    return n


class Twin:
    """What `hinge_sweep` does with single columns and pairs, by compiled loops.

    Q, ``positive``, w and ``unbalanced`` are those of its rows, in whose order ``start`` is a balanced t; ``sigma`` is
    that of the steps.
    """

    def __init__(
        self, Q: Floats, positive: int, w: Floats, start: Floats, sigma: float, ridge: float, unbalanced: float
    ) -> None:
        self.Q, self.positive, self.w, self.start = Q, positive, w, start
        self.sigma, self.ridge, self.unbalanced = sigma, ridge, unbalanced
        self.error = 2.002 * gamma(len(w) + 8) * float(w.sum())

    def singles(self, block: Ints) -> tuple[Floats, Floats]:
        """t (m, n_rows), in the order of Q, and coefficients (m, 2) of single columns, after two proximal steps."""
        t, s = np.tile(self.start, (len(block), 1)), np.empty((len(block), 3))
        _fits(self.Q, block, self.positive, self.w, self.sigma, self.ridge, t, s)
        return t, s[:, [0, 2]]

    def left(self, i: int, later: Ints, centre: Floats, single: Floats, lower: float) -> Ints:
        """The j of ``later`` whose pair with i stays below ``lower`` after some Newton steps from i's own t."""
        out = np.empty(len(later), dtype=np.int64)
        given = self.Q, i, later, self.positive, self.w, np.ascontiguousarray(centre), single, self.sigma, self.ridge
        return out[: _left(*given, self.error, self.unbalanced, lower, out)]
