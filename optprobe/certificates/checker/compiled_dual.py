"""Logistic loss compiled (by numba): the screen of triples, and bounds of single sets. Same theorems, another program.

*Triples.* `dual_sweep` has the theorem and its eta, at x_P = 0. Here too the pair's s come first, then the third column
takes one coordinate step, and the bound is expanded around the pair: with its residuals e1 and e2, that of the third
before the step, e, and h = 1 / (2 ridge), it is

    base - <s, E s> / 2 - h (e1^2 + e2^2 + e^2)
         + s (2 h (C33 e + C13 e1 + C23 e2) - E13 s1 - E23 s2) - s^2 (E33 / 2 + h (C33^2 + C13^2 + C23^2)).

What that leaves open is tried at one more s: the best of all, moved within the box by the curvature's inverse.

*Rounding of triples.* Sums may be taken in any order, factored or contracted: that changes which roundings there are,
fewer than 64, each at most u times a sum of absolute values of the monomials. Those are the sizes that eta counts, but
for two: base and ``lower``, which are added here at 64 u each; and h e^2 of a residual before the step. This one is at
most h |e| times the residual after it plus ``|C s e| h``; the latter is among the sizes, and the residual of a bound
that reaches ``lower`` is below the ``reach`` of eta, which counts more than 24 u h |e| reach.

*A single set.* Let x be clipped as in `minorant`, and d any number. In real numbers x - d has

    <1, x - d> = m - d W,  <z, x - d> = <z, x> - d <1, z>,  |x - d|^2 = q - 2 d m + d^2 W

with m = <1, x>, q = <x, x> and W = <1, 1>: one pass over the rows gives all that the minorant needs. Products err by
``error`` times their norms. Let ``size = |x| + |d| sqrt(W)``. Then e errs by less than ``2 error sqrt(W) size``, a
residual by ``2 error |z| (|zc| + size)``, and the square by ``2 error size^2``: once for the sums, and once more, since
error >= 9 u, for the at most six operations that join them. The bound's own operations are fewer than 16.

*Precision.* In float64 ``error`` is gamma_{n+8}, in any order of summation. A first pass is in float32, with sums of at
most `ROWS` rows each that are added in float64: omega and z are rounded, products are two operations, so a sum errs by
at most ROWS + 3 roundings of 2^-24 each, and what is added in float64 errs by far less than 8 more. x may be any vector
of the box, and is within it still: its ends, at most `LARGEST_X` in size, move by less than a tenth of `SHRUNK`. With
the least omega and the largest z that are let in, what underflows is far below `TINY_SINGLE`, and an overflow is
infinite in the end: no number is accepted that is not finite.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .bounds import UNDERFLOW
from .compiled import OPTIONS
from .limits import Limits
from .minorant import SHRUNK, TINY, Minorant
from .problem import U

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Products = tuple[Floats, Floats, Floats, Floats, Floats]

FIRSTS = 8
"""First columns whose triples are screened together, so that the products of a second are read once for all."""
CAPACITY = 1 << 20
"""Triples of one first column that wait together."""
AT_ONCE = 1 << 14
"""Sets that are bounded between two looks at the clock."""
ROWS = 1024
"""Rows that are added up in the precision of the numbers; their sums are added in float64."""
U_SINGLE, TINY_SINGLE = 2.0**-24, 1e-15
LEAST_OMEGA, LARGEST_Z, LARGEST_X = 1e-25, 1e10, 1e4
"""What float32 is used for."""
MOVED = 0.9 * SHRUNK
"""The largest shift d of an x."""
STEPS, PREFIX_STEPS = 5, 3


@njit(**OPTIONS)
def _pair(
    i: int, j: int, E: Floats, C: Floats, rho: Floats, sides: Floats, ridge: float
) -> tuple[float, float, float, float, float, float]:
    """Of two columns: s, the share of the box that they take, their residuals, and the bound without its base."""
    a, b, off = E[i, i] + ridge, E[j, j] + ridge, E[i, j]
    n1, n2 = b * rho[i] - off * rho[j], a * rho[j] - off * rho[i]
    use = max(n1 * sides[0, i], -n1 * sides[1, i]) + max(n2 * sides[0, j], -n2 * sides[1, j])
    scale = 1.0 / max(a * b - off * off, use * (1.0 + TINY))
    s1, s2 = n1 * scale, n2 * scale
    e1, e2 = rho[i] - C[i, i] * s1 - C[i, j] * s2, rho[j] - C[j, i] * s1 - C[j, j] * s2
    square = s1 * s1 * E[i, i] + 2.0 * s1 * s2 * off + s2 * s2 * E[j, j]
    return s1, s2, use * scale, e1, e2, -0.5 * square - (e1 * e1 + e2 * e2) / (2.0 * ridge)


@njit(**OPTIONS)
def _surplus(
    pair: tuple[float, float, float, float, float, float], gap: float, half: float, E1: Floats, E2: Floats, C1: Floats,
    C2: Floats, D1: Floats, D2: Floats, rho: Floats, c: Floats, curvature: Floats, guess: Floats, up: Floats,
    down: Floats, out: Floats,
) -> int:  # fmt: skip
    """By how much the bounds of a pair and each third column exceed ``gap``; returns how many do not.

    ``curvature`` is E33 / 2 + h c^2, ``guess`` a step for a slope of 1, ``up`` and ``down`` the reciprocals of M and N.
    """
    s1, s2, use, e1, e2, bound = pair
    room, have, n = (1.0 - use) * (1.0 - TINY), bound - gap, 0
    for k in range(len(rho)):
        e = rho[k] - D1[k] * s1 - D2[k] * s2
        slope = 2.0 * half * (c[k] * e + C1[k] * e1 + C2[k] * e2) - E1[k] * s1 - E2[k] * s2
        s, most, least = slope * guess[k], room * up[k], -room * down[k]
        s = s if s < most else most
        s = s if s > least else least
        x = have - half * e * e + s * (slope - s * (curvature[k] + half * (C1[k] * C1[k] + C2[k] * C2[k])))
        out[k] = x
        n += int(not ((x >= 0.0) & (x < np.inf)))
    return n


@njit(**OPTIONS)
def _joint(i: int, j: int, k: int, E: Floats, C: Floats, D: Floats, rho: Floats, sides: Floats, ridge: float) -> float:
    """The bound of three columns without its base, at the best s there is; or where it takes more than the box, at the
    best one that takes the whole box with the same signs. Any s that takes at most the box is valid."""
    h, r1, r2, r3 = 1.0 / ridge, rho[i], rho[j], rho[k]
    c11, c12, c13, c21, c22, c23 = C[i, i], C[i, j], C[i, k], C[j, i], C[j, j], C[j, k]
    c31, c32, c33 = D[i, k], D[j, k], C[k, k]
    e11, e12, e13, e22, e23, e33 = E[i, i], E[i, j], E[i, k], E[j, j], E[j, k], E[k, k]
    a11, a22 = e11 + h * (c11 * c11 + c21 * c21 + c31 * c31), e22 + h * (c12 * c12 + c22 * c22 + c32 * c32)
    a33, a12 = e33 + h * (c13 * c13 + c23 * c23 + c33 * c33), e12 + h * (c11 * c12 + c21 * c22 + c31 * c32)
    a13, a23 = e13 + h * (c11 * c13 + c21 * c23 + c31 * c33), e23 + h * (c12 * c13 + c22 * c23 + c32 * c33)
    b11, b12, b13 = a22 * a33 - a23 * a23, a13 * a23 - a12 * a33, a12 * a23 - a22 * a13
    b22, b23, b33 = a11 * a33 - a13 * a13, a12 * a13 - a11 * a23, a11 * a22 - a12 * a12
    g1, g2 = c11 * r1 + c21 * r2 + c31 * r3, c12 * r1 + c22 * r2 + c32 * r3
    g3, unit = c13 * r1 + c23 * r2 + c33 * r3, h / (a11 * b11 + a12 * b12 + a13 * b13)
    s1, s2 = unit * (b11 * g1 + b12 * g2 + b13 * g3), unit * (b12 * g1 + b22 * g2 + b23 * g3)
    s3 = unit * (b13 * g1 + b23 * g2 + b33 * g3)
    w1 = sides[0, i] if s1 > 0.0 else -sides[1, i]
    w2 = sides[0, j] if s2 > 0.0 else -sides[1, j]
    w3 = sides[0, k] if s3 > 0.0 else -sides[1, k]
    use = s1 * w1 + s2 * w2 + s3 * w3
    if use > 1.0:
        u1, u2, u3 = b11 * w1 + b12 * w2 + b13 * w3, b12 * w1 + b22 * w2 + b23 * w3, b13 * w1 + b23 * w2 + b33 * w3
        less = (use - 1.0) / (w1 * u1 + w2 * u2 + w3 * u3)
        s1, s2, s3 = s1 - less * u1, s2 - less * u2, s3 - less * u3
    use = max(s1 * sides[0, i], -s1 * sides[1, i]) + max(s2 * sides[0, j], -s2 * sides[1, j])
    use += max(s3 * sides[0, k], -s3 * sides[1, k])
    scale = (1.0 - TINY) / max(use, 1.0)
    s1, s2, s3 = s1 * scale, s2 * scale, s3 * scale
    r1, r2 = r1 - c11 * s1 - c12 * s2 - c13 * s3, r2 - c21 * s1 - c22 * s2 - c23 * s3
    r3 -= c31 * s1 + c32 * s2 + c33 * s3
    square = s1 * s1 * e11 + s2 * s2 * e22 + s3 * s3 * e33 + 2.0 * (s1 * s2 * e12 + s1 * s3 * e13 + s2 * s3 * e23)
    return float(-0.5 * square - 0.5 * h * (r1 * r1 + r2 * r2 + r3 * r3))


@njit(**OPTIONS)
def _triples(
    first: int, last: int, second: int, E: Floats, C: Floats, D: Floats, rho: Floats, sides: Floats, gap: float,
    ridge: float, out: Ints, found: Ints,
) -> int:  # fmt: skip
    """List the triples i < j < k, first <= i < last and j from ``second`` on, whose bounds do not exceed ``gap``.

    Row i - first of ``out`` gets j m + k, ``found`` their numbers. Returns the j to go on with: m unless a row is full.
    """
    m, half = len(rho), 0.5 / ridge
    c, curvature, surplus = np.empty(m), np.empty(m), np.empty(m)
    up, down, guess = np.empty(m), np.empty(m), np.empty((last - first, m))
    for k in range(m):
        c[k] = C[k, k]
        curvature[k] = 0.5 * E[k, k] + half * c[k] * c[k]
        up[k], down[k] = 1.0 / sides[0, k], 1.0 / sides[1, k]
        for i in range(first, last):
            guess[i - first, k] = 0.5 / (curvature[k] + half * C[i, k] * C[i, k])
    for j in range(second, m - 1):
        if found.max() + m > out.shape[1]:
            return j
        f = slice(j + 1, m)
        for i in range(first, min(last, j)):
            n = _surplus(
                _pair(i, j, E, C, rho, sides, ridge), gap, half, E[i][f], E[j][f], C[i][f], C[j][f], D[i][f], D[j][f],
                rho[f], c[f], curvature[f], guess[i - first][f], up[f], down[f], surplus[f],
            )  # fmt: skip
            if n == 0:
                continue
            row, at = out[i - first], found[i - first]
            for k in range(j + 1, m):
                if (surplus[k] >= 0.0) & (surplus[k] < np.inf):
                    continue
                bound = _joint(i, j, k, E, C, D, rho, sides, ridge)
                if not ((bound >= gap) & (bound < np.inf)):
                    row[at] = j * m + k
                    at += 1
            found[i - first] = at
    return m


@njit(**OPTIONS)
def solve(H: Floats, g: Floats, k: int) -> None:
    """g := H^-1 g for the first k unknowns, by Cholesky in place; the lower triangle of H is used."""
    for a in range(k):
        for b in range(a):
            for t in range(b):
                H[a, b] -= H[a, t] * H[b, t]
            H[a, b] /= H[b, b]
            H[a, a] -= H[a, b] * H[a, b]
            g[a] -= H[a, b] * g[b]
        H[a, a] = np.sqrt(max(H[a, a], 1e-18))
        g[a] /= H[a, a]
    for a in range(k - 1, -1, -1):
        g[a] /= H[a, a]
        for b in range(a):
            g[b] -= H[a, b] * g[a]


@njit(**OPTIONS)
def _dot(u: Any, v: Any) -> Any:
    t = u.dtype.type(0)
    for i in range(len(u)):
        t += u[i] * v[i]
    return t


@njit(**OPTIONS)
def _three(s0: Any, s1: Any, s2: Any, s3: Any, z1: Any, z2: Any, z3: Any, omega: Any, low: Any, high: Any) -> Any:
    """Of x, the clipped s0 + s1 z1 + s2 z2 + s3 z3: <1, x>, <x, x>, <z1, x>, <z2, x> and <z3, x>."""
    m = q = v1 = v2 = v3 = omega.dtype.type(0)
    for i in range(len(omega)):
        x = s0 + s1 * z1[i] + s2 * z2[i] + s3 * z3[i]
        x = x if x > low[i] else low[i]
        x = x if x < high[i] else high[i]
        w = omega[i] * x
        m += w
        q += w * x
        v1 += w * z1[i]
        v2 += w * z2[i]
        v3 += w * z3[i]
    return m, q, v1, v2, v3


@njit(**OPTIONS)
def _clipped(Z: Any, columns: Ints, f: slice, s: Any, box: Any, x: Any) -> None:
    """x of the coefficients s, the shift last, on the rows f."""
    k, low, high = len(columns), box[1][f], box[2][f]
    x[:] = s[k]
    for a in range(k):
        z, t = Z[columns[a]][f], s[a]
        for i in range(len(x)):
            x[i] += t * z[i]
    for i in range(len(x)):
        v = x[i] if x[i] > low[i] else low[i]
        x[i] = v if v < high[i] else high[i]


@njit(**OPTIONS)
def _products(Z: Any, columns: Ints, s: Any, box: Any, work: Any, v: Floats) -> tuple[float, float]:
    """v = <z, x> for the columns of a set, at its x of coefficients s; returns <1, x> and <x, x>.

    Up to three columns go through the rows together; where there are fewer, the last stands there again, times 0.
    """
    k, n, m, q, nothing = len(columns), Z.shape[1], 0.0, 0.0, s.dtype.type(0)
    z1, z2, z3 = Z[columns[0]], Z[columns[min(1, k - 1)]], Z[columns[min(2, k - 1)]]
    s2, s3 = s[1] if k > 1 else nothing, s[2] if k > 2 else nothing
    v[:] = 0.0
    for at in range(0, n, ROWS):
        f = slice(at, min(at + ROWS, n))
        omega, x, w = box[0][f], work[0][: f.stop - at], work[1][: f.stop - at]
        if k <= 3:
            sums = _three(s[k], s[0], s2, s3, z1[f], z2[f], z3[f], omega, box[1][f], box[2][f])
            m += sums[0]
            q += sums[1]
            v[0] += sums[2]
            if k > 1:
                v[1] += sums[3]
            if k > 2:
                v[2] += sums[4]
            continue
        _clipped(Z, columns, f, s, box, x)
        for i in range(len(x)):
            w[i] = omega[i] * x[i]
        m += w.sum()
        q += _dot(w, x)
        for a in range(k):
            v[a] += _dot(w, Z[columns[a]][f])
    return m, q


@njit(**OPTIONS)
def _bound(k: int, sums: tuple[float, float], v: Floats, r: Floats, means: Floats, c: Floats) -> float:
    """The minorant at x - d, d = <1, x> / W, less its rounding; nothing where d is too large."""
    base, ridge, norm, zc_norm, price, e0, total, error, tiny = c
    m, q = sums
    d = m / total
    if not abs(d) < MOVED:
        return -np.inf
    size = (np.sqrt(q) + abs(d) * np.sqrt(total)) * (1.0 + error)
    xi = 2.0 * error * norm * (zc_norm + size) + tiny
    costs = 0.0
    for a in range(k):
        e = abs(r[a] - v[a] + d * means[a]) + xi
        costs += e * e
    costs *= 0.5 / ridge
    square = 0.5 * (q - 2.0 * d * m + d * d * total) + error * size * size
    costs += (abs(m - d * total) + 2.0 * error * np.sqrt(total) * size + e0 + tiny) * price
    return float(base - square - costs - 16.0 * U * (abs(base) + size * size + costs) - tiny)


@njit(**OPTIONS)
def _start(places: Ints, products: Floats, r: Floats, means: Floats, c: Floats, H: Floats, s: Floats) -> None:
    """s of the unclipped normal equations of a set: about where its x is, if ``products`` are about <z, z>."""
    k, ridge, total = len(places), c[1], c[6]
    for a in range(k):
        s[a] = r[a]
        for b in range(a + 1):
            H[a, b] = products[places[a], places[b]] - means[a] * means[b] / total
        H[a, a] += ridge
    solve(H, s, k)
    s[k] = 0.0
    for a in range(k):
        s[k] -= s[a] * means[a] / total


@njit(**OPTIONS)
def _curvature(Z: Any, columns: Ints, s: Any, box: Any, work: Any, H: Floats) -> None:
    """H of a Newton step: the products of the columns, and of 1, over the rows where x of s is inside the box."""
    k, n = len(columns), Z.shape[1]
    H[: k + 1, : k + 1] = 0.0
    for at in range(0, n, ROWS):
        f = slice(at, min(at + ROWS, n))
        omega, low, high = box[0][f], box[1][f], box[2][f]
        x, w, part = work[0][: f.stop - at], work[1][: f.stop - at], work[2][: f.stop - at]
        _clipped(Z, columns, f, s, box, x)
        for i in range(len(x)):
            w[i] = omega[i] if (x[i] > low[i]) & (x[i] < high[i]) else x.dtype.type(0)
        H[k, k] += w.sum()
        for a in range(k):
            z = Z[columns[a]][f]
            for i in range(len(x)):
                part[i] = w[i] * z[i]
            H[k, a] += part.sum()
            for b in range(a + 1):
                H[a, b] += _dot(part, Z[columns[b]][f])


@njit(**OPTIONS)
def _reaches(
    Z: Any, columns: Ints, box: Any, r: Floats, means: Floats, c: Floats, lower: float, steps: int, s: Floats,
    work: Any, coef: Any, H: Floats, v: Floats, g: Floats,
) -> bool:  # fmt: skip
    """Whether the minorant of a set reaches ``lower`` at the x of s, or of at most so many Newton steps from there."""
    k, ridge = len(columns), c[1]
    for step in range(steps + 1):
        for a in range(k + 1):
            coef[a] = s[a]
        sums = _products(Z, columns, coef, box, work, v)
        bound = _bound(k, sums, v, r, means, c)
        if (bound >= lower) & (bound < np.inf):
            return True
        if step == steps:
            break
        _curvature(Z, columns, coef, box, work, H)
        for a in range(k):
            H[a, a] += ridge
            g[a] = v[a] + ridge * s[a] - r[a]
        H[k, k] += 1e-12
        g[k] = sums[0]
        solve(H, g, k + 1)
        for a in range(k + 1):
            s[a] -= g[a]
    return False


@njit(**OPTIONS)
def _below(
    Z: Any, sets: Ints, places: Ints, products: Floats, box: Any, of_r: Floats, of_means: Floats, c: Floats,
    lower: float, left: Ints,
) -> int:  # fmt: skip
    """List the sets, by index, whose minorant does not reach ``lower`` at the x of a few Newton steps.

    A set begins at its normal equations, moved by as much as Newton steps move those of its columns but the last: these
    are taken once for the sets that follow each other and share them.
    """
    k, n = sets.shape[1], 0
    work, coef, H = np.empty((3, ROWS), Z.dtype), np.empty(k + 1, Z.dtype), np.empty((k + 1, k + 1))
    s, move, v, g, r, means = np.empty(k + 1), np.zeros(k + 1), np.empty(k), np.empty(k + 1), np.empty(k), np.empty(k)
    for at in range(len(sets)):
        columns, shared = sets[at], at > 0
        for a in range(k):
            r[a], means[a] = of_r[columns[a]], of_means[columns[a]]
            shared &= a == k - 1 or columns[a] == sets[at - 1, a]
        if k > 1 and not shared:
            _start(places[at, : k - 1], products, r, means, c, H, s)
            move[:] = -s
            _reaches(Z, columns[: k - 1], box, r, means, c, np.inf, PREFIX_STEPS, s, work, coef, H, v, g)
            move += s
            move[k], move[k - 1] = move[k - 1], 0.0
        _start(places[at], products, r, means, c, H, s)
        s += move
        if not _reaches(Z, columns, box, r, means, c, lower, STEPS, s, work, coef, H, v, g):
            left[n] = at
            n += 1
    return n


class Twin:
    """What `dual_sweep` does with one set after the other, by compiled loops.

    ``products``, shape (m, m), are about those of the columns off the diagonal, for a start; without them, those of the
    columns at hand are computed every time.
    """

    firsts = FIRSTS

    def __init__(self, minorant: Minorant, limits: Limits, products: Floats | None = None) -> None:
        Z, omega = minorant.Z, minorant.omega
        self.minorant, self.limits, self.means = minorant, limits, Z @ omega
        self.products = None if products is None else products.copy()
        if self.products is not None:
            np.fill_diagonal(self.products, (Z * Z) @ omega)
        box = np.array([omega, minorant.low + SHRUNK, minorant.high - SHRUNK])
        of_e = minorant.cost_of_e, minorant.e0, float(omega.sum())
        numbers = minorant.base, minorant.ridge, minorant.norm, minorant.zc_norm, *of_e
        self.passes = [(Z, box, np.array([*numbers, minorant.error, UNDERFLOW]))]
        if omega.min() >= LEAST_OMEGA and np.abs(Z).max() <= LARGEST_Z and np.abs(box[1:]).max() <= LARGEST_X:
            single = np.array([*numbers, 1.01 * (ROWS + 16) * U_SINGLE, TINY_SINGLE])
            self.passes.insert(0, (Z.astype(np.float32), box.astype(np.float32), single))

    def below(self, sets: Ints, lower: float) -> Ints:
        """As `minorant.below`, for any number of sets."""
        places, products, found = sets, self.products, [np.zeros(0, dtype=np.int64)]
        if products is None:
            columns, inverse = np.unique(sets, return_inverse=True)
            places = inverse.reshape(sets.shape)
            Z = self.minorant.Z[columns]
            products = (Z * self.minorant.omega) @ Z.T
        for at in range(0, len(sets), AT_ONCE):
            part = slice(at, at + AT_ONCE)
            found.append(at + self._below(sets[part], places[part], products, lower))
        return np.concatenate(found)

    def _below(self, sets: Ints, places: Ints, products: Floats, lower: float) -> Ints:
        self.limits.check()
        left = np.arange(len(sets))
        for Z, box, numbers in self.passes:
            found = np.empty(len(left), dtype=np.int64)
            some = np.ascontiguousarray(sets[left]), np.ascontiguousarray(places[left])
            n = _below(Z, *some, products, box, self.minorant.r, self.means, numbers, lower, found)
            left = left[found[:n]]
        return left

    def triples(self, products: Products, base: float, lower: float, first: int) -> Iterator[Ints]:
        """The triples that a screen leaves open, whose first column is one of `FIRSTS`; those of one come together.

        ``products`` are its E, C, D, rho, and M and N; ``lower`` the bound to be reached, its eta included.
        """
        m = len(self.means)
        last = min(first + FIRSTS, m - 2)
        gap = lower - base + 64 * U * (abs(base) + abs(lower))
        out = np.empty((last - first, min(CAPACITY, m * m // 2) + m), dtype=np.int64)
        second = first + 1
        while second < m:
            self.limits.check()
            found = np.zeros(last - first, dtype=np.int64)
            second = _triples(first, last, second, *products, gap, self.minorant.ridge, out, found)
            for row, n in enumerate(found.tolist()):
                j, third = np.divmod(out[row, :n], m)
                yield np.stack([np.full(n, first + row), j, third], axis=1)
