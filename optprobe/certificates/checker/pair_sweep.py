"""Proof "sweep" of the squared loss: no data but the claim; the pair bound leaves few sets to look at."""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .bounds import gamma
from .limits import THREADS, Limits
from .outcome import Unusable, require
from .pool import Closed
from .problem import BLOCK, Problem, U
from .sets import all_sets, check_open_sets, counted, with_first
from .wide_sweep import is_wide, wide_sets

Floats = NDArray[np.float64]

SHARE = 0.1
"""Of the gap: a column that gains more than this alone is strong. Any value is valid; it decides the time only."""


def check_pair_sweep(problem: Problem, lower: float, fast: bool) -> str:
    """Squared loss, size <= 6: no set has F below ``lower``, by the pair bound alone. Returns a sentence of counts."""
    columns, fixed = problem.columns, len(problem.forced)
    m, need = len(columns) - fixed, problem.size - fixed
    if is_wide(m, problem.size):
        left_open = with_first(fixed, wide_sets(problem, *correlations(problem, lower)))
        return counted("sweep", m, need, check_open_sets(problem, columns, left_open, lower))
    closed = problem.listed.of_positions(columns[fixed:])
    A, u, Q, least = moments(problem, lower)
    if fixed:
        A, u, Q, least = besides_first(A, u, Q, least, fixed, need)
    easy = need == 0 or (fixed > 0 and not Q > 0)
    open_sets = all_sets(m, need) if easy else sets_left_open(A, u, Q, least, need, fast, problem.limits, closed)
    return counted("sweep", m, need, check_open_sets(problem, columns, with_first(fixed, open_sets), lower))


def sets_left_open(
    A: Floats, u: Floats, Q: float, least: float, k: int, fast: bool, limits: Limits, closed: Closed | None
) -> Iterable[NDArray[np.int64]]:
    """The sets of k columns that the pair bound does not close, shape (n_sets, k) each; see `moments` for A, u and Q.

    With centred y and Z, M = Z'WZ + ridge I, c = Z'Wy and v0 = sum w y^2: F(S) = (v0 - q(S)) / 2 with
    q(S) = c_S' M_SS^-1 c_S = max_b 2 c_S'b - b'M_SS b. Divided by 1 + ridge, M becomes A with unit diagonal, c is u.

    *Rounding of A and u.* Stored, they differ from the exact ones by at most eps in every entry (of M and c). At the
    maximiser b of the exact q, ridge |b|^2 <= q <= v0, so q <= q_stored + 2 eps sqrt(k) |b| + eps k |b|^2. So it
    suffices that no set has q_stored > Q := v0 - 2 lower - that sum. All that follows is about the stored numbers.

    *Pair bound.* Project a prefix out: conditional variances d > 0, covariances m, correlations c with y. Let r >= 2
    columns T be left and s = r - 1. If s |m_ij| < sqrt(d_i d_j) for all pairs of T, then 2 c'b - b'Cb is
    (1/s) sum_{i<j} [2 (c_i b_i + c_j b_j) - (d_i b_i^2 + d_j b_j^2 + 2 s m_ij b_i b_j)], and each bracket is at most
    phi_ij = (c_i^2 d_j + c_j^2 d_i - 2 s m c_i c_j) / (d_i d_j - s^2 m^2). Hence a set T that gains more than the gap
    has an *open* pair: s |m| >= sqrt(d_i d_j), or phi > 2 gap / r. For r = 2 this is the exact gain.

    *Tests* are polynomials in numbers of absolute value <= 1, compared with a slack eta above their rounding error. A
    pair or set is left out where its test is at most -eta, and by nothing else. What remains is little; each set of it
    must have a dual bound of its own that reaches ``lower``.

    Sets of five and six, and with ``fast`` those of two to four, are replayed by `compiled`. It begins with prefixes of
    several columns, and passes over ``closed`` ones: a prefix that contains a listed set may gain the gap by itself.
    """
    limits.room((4.0 if k < 5 else 4.0 + 2 * THREADS) * len(A) ** 2, "the sweep")
    if k > 4 or (fast and k > 1):
        return _compiled(A, u, Q, k, least, limits, closed)
    root = _Conditional(A, np.ones(len(A)), u, Q, least, limits)
    return {1: _singles, 2: _pairs, 3: _triples, 4: _quadruples}[k](root)


def moments(problem: Problem, lower: float) -> tuple[Floats, Floats, float, float]:
    """A, u, Q of `sets_left_open`, and the least conditional variance of a column, rounding counted."""
    columns = problem.columns
    m, n = len(columns), len(problem.y)
    problem.limits.room(3.0 * n * m + 4.0 * m * m, "the products of the columns")
    problem.limits.work(2.0 * n * m * m, "the products of the columns")
    Z, w = problem.Z[:, columns], problem.w
    A = Z.T @ (Z * w[:, None])
    A = (A + A.T) / 2
    A /= 1 + problem.ridge
    np.fill_diagonal(A, 1.0)
    u, Q = correlations(problem, lower)
    return A, u, Q, 0.98 * problem.ridge / (1 + problem.ridge)


def correlations(problem: Problem, lower: float) -> tuple[Floats, float]:
    """u and Q of `sets_left_open`, rounding counted, also that of an A made from the columns in float64.

    ``eps`` bounds, in units of M and c, what A and u differ by from the exact ones. Off the diagonal: 4 gamma(n + 16) W
    for two roundings of each product, the sum, the mean of the two halves and the division. On it A is 1, so M is
    exactly 1 + ridge, and the exact one is that plus (mean square - 1): ``off``, in units of M whatever the ridge. A is
    not centred, which costs the product of two means.

    The products z y of c are at most W in sum, ``sum w |z y| <= sqrt(sum w z^2 sum w y^2)``: since |y| = 1, or since a
    target has unit square as a column has. So v0 is at most W and the entries of u at most 1, for both, up to 1e-9.
    """
    columns, w, n, k = problem.columns, problem.w, len(problem.y), problem.size
    centred = problem.y - (w @ problem.y) / w.sum()
    v0 = float(w @ (centred * centred))
    off = 0.0
    for start in range(0, len(columns), BLOCK):
        squares = problem.Z.T[columns[start : start + BLOCK]] ** 2 @ w
        off = max(off, float(np.abs(squares - 1).max()))
    u = ((w * centred) @ problem.Z)[columns] / math.sqrt(1 + problem.ridge)
    mean = float(np.abs(w @ problem.Z).max(initial=0.0))
    eps = 1.01 * (4 * gamma(n + 16) * w.sum() + off + (mean + gamma(n + 4)) ** 2)
    reach = math.sqrt(v0 / problem.ridge)
    Q = (
        v0 * (1 - gamma(n + 16))
        - gamma(n + 4) ** 2
        - 2 * max(lower, 0.0)
        - 2 * eps * math.sqrt(k) * reach
        - eps * k * reach**2
    )
    require(
        eps * k <= 0.01 * problem.ridge, f"rounding ({eps * k:.1g}) is not small against the ridge {problem.ridge:g}"
    )
    return u, Q


def besides_first(
    A: Floats, u: Floats, Q: float, least: float, fixed: int, need: int
) -> tuple[Floats, Floats, float, float]:
    """The numbers of `sets_left_open` for ``need`` columns beside the first ``fixed``, which every set has.

    These are projected out one after the other, which leaves covariances C, correlations c and the gain g of the fixed
    ones. With d the diagonal of C, the others gain what they gain by A' = C / sqrt(d d') and u' = c / sqrt(d), of unit
    diagonal again, and must gain more than Q - g. C is a Schur complement of A and d <= 1, so that A' is at least
    ``least`` times the identity where A is.

    *Rounding.* An entry after a step is one before it minus a product of at most 1.02, symmetric and rounded: it errs
    by at most 5 u. That is as if the same entry had been off by so much from the beginning, since the entries of later
    columns go through all earlier steps unchanged but for what is subtracted. So C, c and g are exact for some A and u
    within 5 fixed u of those given; A' and u' err by at most 8 u more, g by 8 u for each step. Both change what a set
    gains as the rounding of A and u does, at a maximiser b with least |b|^2 <= 1.05.
    """
    size, gain = fixed + need, 0.0
    for _ in range(fixed):
        x, d = A[0, 1:], float(A[0, 0])
        gain += float(u[0] ** 2) / d
        A, u = A[1:, 1:] - np.outer(x, x / d), u[1:] - x * (u[0] / d)
        A = (A + A.T) / 2
    eps, reach = (5 * fixed + 8) * U, math.sqrt(1.05 / least)
    require(eps * size <= 0.01 * least, f"the ridge is too small for a sweep beside {fixed} forced columns")
    scale = 1 / np.sqrt(np.diagonal(A))
    A = A * scale[:, None] * scale
    np.fill_diagonal(A, 1.0)
    Q -= gain + 8 * fixed * U + 2 * eps * math.sqrt(size) * reach + eps * size * reach**2
    return A, u * scale, Q, 0.98 * least


def _compiled(
    A: Floats, u: Floats, gap: float, k: int, least: float, limits: Limits, closed: Closed | None
) -> Iterator[NDArray[np.int64]]:
    try:
        from .compiled import Replay
    except ImportError as error:
        raise Unusable(f"a sweep of sets of {k} is replayed by compiled loops, which need numba: {error}") from error
    return Replay(A, u, gap, k, least, limits, closed).sets()


ETA = 4096 * U
"""Above the rounding error of every polynomial test: fewer than 64 operations, partial sums at most 32."""


@dataclass(frozen=True)
class _Conditional:
    """What a prefix leaves: covariances C (diagonal d), correlations c with y, and the gain that is still missing.

    ``least`` is below every conditional variance that a few columns can have, since A has ridge / (1 + ridge) in it;
    it is far above the rounding of d, so that all d are positive.
    """

    C: Floats
    d: Floats
    c: Floats
    gap: float
    least: float
    limits: Limits

    def without(self, v: int, later: NDArray[np.int64]) -> _Conditional:
        """Column v, of variance 1, joins the prefix; the columns ``later`` stay. Entries err by at most 4 u."""
        x = self.C[v, later]
        return _Conditional(
            self.C[np.ix_(later, later)] - np.outer(x, x),
            self.d[later] - x * x,
            self.c[later] - x * self.c[v],
            self.gap - self.c[v] ** 2,
            self.least,
            self.limits,
        )

    def open_pairs(self, r: int) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
        """The pairs i < j of which a set of r columns that gains more than the gap must contain one."""
        s, theta = r - 1, 2 * self.gap / r
        require(self.gap > 0, "some set of fewer columns is below the claimed lower bound already")
        first, second = [], []
        for i in range(0, len(self.c), 32):
            self.limits.check()
            rows = slice(i, i + 32)
            C, cj, dj = self.C[rows, i:], self.c[i:], self.d[i:]
            ci, di = self.c[rows, None], self.d[rows, None]
            both = di * dj
            squared = C * C
            test = ci * ci * dj + cj * cj * di - (2 * s) * (ci * cj) * C - theta * (both - (s * s) * squared)
            closed = test <= -ETA
            if s > 1:
                closed &= (s * s) * squared <= 0.9 * both - ETA
            a, b = np.nonzero(~closed)
            upper = b > a
            first.append(a[upper] + i)
            second.append(b[upper] + i)
        return np.concatenate(first), np.concatenate(second)


def _singles(root: _Conditional) -> Iterator[NDArray[np.int64]]:
    yield np.flatnonzero(~(root.c * root.c <= root.gap - ETA))[:, None]


def _pairs(root: _Conditional) -> Iterator[NDArray[np.int64]]:
    yield np.stack(root.open_pairs(2), axis=1)


def _triples(node: _Conditional) -> Iterator[NDArray[np.int64]]:
    """Sets {i, j, l} with an open pair ij: ``c_l^2 > gap d_l`` given i and j, times their squared determinant D^2."""
    first, second = node.open_pairs(3)
    C, d, c = node.C, node.d, node.c
    for start in range(0, len(first), 64):
        node.limits.check()
        i, j = first[start : start + 64], second[start : start + 64]
        m, di, dj, ci, cj = C[i, j][:, None], d[i, None], d[j, None], c[i, None], c[j, None]
        D = di * dj - m * m
        missing = node.gap * D - (ci * ci * dj + cj * cj * di - 2 * m * ci * cj)
        Ci, Cj = C[i], C[j]
        variance = D * d - (dj * Ci * Ci + di * Cj * Cj - 2 * m * Ci * Cj)
        left = D * c - (ci * dj - cj * m) * Ci - (cj * di - ci * m) * Cj
        hits = ~(left * left <= missing * variance - ETA)
        rows = np.arange(len(i))
        hits[rows, i] = hits[rows, j] = False
        at, third = np.nonzero(hits)
        yield np.stack([i[at], j[at], third], axis=1)


def _quadruples(root: _Conditional) -> Iterator[NDArray[np.int64]]:
    """Strong columns first, each with the triples of the later ones; then sets of the rest by an open pair.

    If T contains a strong column, let v be its strongest: T - v gains more than the rest of the gap given v. Otherwise
    T lies in the rest and has an open pair for r = 4. If a pair of T has 9 rho^2 > 0.9, let e be the heaviest: no pair
    of T has a larger |rho| (cap = |rho_e|). Else T has an open pair that is not heavy, and cap = sqrt(0.1).
    """
    order = np.argsort(-np.abs(root.c), kind="stable")
    strong = int((root.c**2 > SHARE * root.gap).sum())
    for place in range(min(strong, len(order) - 3)):
        later = order[place + 1 :]
        for sets in _triples(root.without(order[place], later)):
            yield np.concatenate([np.full((len(sets), 1), order[place]), later[sets]], axis=1)
    rest = order[strong:]
    if len(rest) < 4:
        return
    C = root.C[np.ix_(rest, rest)]
    node = _Conditional(C, root.d[rest], root.c[rest], root.gap, root.least, root.limits)
    first, second = node.open_pairs(4)
    caps = np.maximum(np.abs(C[first, second]), math.sqrt(0.1)) * (1 + 1e-12)
    for start in range(0, len(first), 64):
        part = slice(start, start + 64)
        for sets in _completions(node, first[part], second[part], caps[part]):
            yield rest[sets]


def _completions(
    node: _Conditional, i: NDArray[np.int64], j: NDArray[np.int64], caps: Floats
) -> Iterator[NDArray[np.int64]]:
    """Sets {i, j, a, b} without a pair above the cap where a, b close the gap given i and j.

    *Row test.* Given i, j let d_a be the conditional variance, w = d^-1/2, sigma^2 = (1 - d) / d. The conditional
    correlation of a and b is at most |rho_ab| w_a w_b + sigma_a sigma_b in absolute value. With |rho_ab| <= cap and
    sigma <= S on both sides it is at most t_a = cap w_a sqrt(1 + S^2) + sigma_a S, so the pair cannot gain more than
    (U_a^2 + U_b^2 + 2 t |U_a U_b|) / (1 - t^2), U = w c, at t = min(t_a, t_b). So one end of an open pair is *flagged*:
    sigma > S, or |U_a| > V, or t >= 1, or U_a^2 + V^2 + 2 t_a |U_a| V > gap (1 - t_a^2). Any S and V will do: 1/2, and
    V^2 = SHARE gap.

    *Rounding.* With l = ``least`` below 1 - rho^2 and below d, and |x| <= l^-1/2 for the coefficients x of i and j:
    x errs by 7 u l^-3/2, the numerator of U by 26 u l^-3/2, d by 12 u / l, U^2 by 64 u / l^2, and sigma and t, where
    d >= 0.8, by 20 u / l. All tests then err by less than eta = 512 u / l^2.
    """
    C, c, eta = node.C, node.c, 512 * U / node.least**2
    node.limits.check()
    require(eta <= 1e-3, "the ridge is too small for a sweep of sets of four")
    rho = C[i, j][:, None]
    D = 1 - rho * rho
    xi, xj = (c[i, None] - rho * c[j, None]) / D, (c[j, None] - rho * c[i, None]) / D
    gap = node.gap - (c[i, None] * xi + c[j, None] * xj)
    Ci, Cj = C[i], C[j]
    d = 1 - (Ci * Ci + Cj * Cj - 2 * rho * Ci * Cj) / D
    left = c - xi * Ci - xj * Cj
    cap = caps[:, None]
    allowed = ~((np.abs(Ci) > cap) | (np.abs(Cj) > cap))
    allowed[np.arange(len(i)), i] = allowed[np.arange(len(i)), j] = False
    d = np.where(allowed, np.maximum(d, 1e-12), 1.0)
    gains = np.where(allowed, left * left / d, 0.0)
    strong = np.maximum(SHARE * gap, 0.0)
    sigma = np.sqrt((1 - d) / d + eta)
    t = cap * np.sqrt(1.25 / d) + 0.5 * sigma + eta
    reached = gains + strong + 2 * t * np.sqrt(gains * strong) + eta
    closed = (sigma <= 0.5) & (gains <= strong - eta) & (t < 1) & (reached <= gap * (1 - t * t))
    flagged = allowed & ~closed
    edge, a = np.nonzero(flagged)
    for start in range(0, len(edge), 128):
        e, row = edge[start : start + 128], a[start : start + 128]
        Cie, Cje, r = Ci[e], Cj[e], rho[e]
        Ca, ca, da = C[row], left[e, row][:, None], d[e, row][:, None]
        Cia, Cja = Ci[e, row][:, None], Cj[e, row][:, None]
        x = Ca - (Cia * Cie + Cja * Cje - r * (Cia * Cje + Cja * Cie)) / D[e]
        test = ca * ca * d[e] + left[e] ** 2 * da - 2 * x * ca * left[e] - gap[e] * (da * d[e] - x * x)
        hits = ~((test <= -eta) | (np.abs(Ca) > cap[e])) & allowed[e]
        hits[np.arange(len(e)), row] = False
        at, b = np.nonzero(hits)
        yield np.stack([i[e[at]], j[e[at]], row[at], b], axis=1)
