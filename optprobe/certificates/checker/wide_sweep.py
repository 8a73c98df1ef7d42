"""Proof "sweep" of the squared loss over very many columns, size <= 3: products in float32, and no matrix of them.

Notation and pair bound of `pair_sweep`: A has a unit diagonal, its other entries are the exact <a_i, a_j>, where
``a_i = z_i sqrt(w) / sqrt(1 + ridge)``, and no set may gain more than Q. At most one column v is fixed where two are
needed: with x_i = <a_i, a_v> the covariances are ``m_ij = A_ij - x_i x_j``, the variances ``d_i = 1 - x_i^2``, the
correlations ``c_i = u_i - x_i u_v``, and the gap is ``Q - u_v^2``. Correlations are divided by the largest, C, and the
gap by its square, so that |c| <= 1.

*Products.* |a_i|^2 <= 1 + 1e-8, since columns have mean square 1 to 1e-9. Let b be a rounded to float32, v = 2^-24. A
sum of at most N = `SUMMED` products errs by gamma_N times the sum of absolute values, in any order; q = n / N such sums
are added. So the product T of b_i and b_j, less the rounded x_i x_j, differs from m_ij by at most

    delta = 1.05 (N + q + 8) v

of which 2 v are for rounding a, and 4 v for x_i x_j; underflow, n 2^-125, is far below the other 2 v. In float64, m
errs by less than 8 gamma(n + 16), and c, d and the gap, where v is fixed, by less than 4 gamma(n + 16), before the
division by C: ``of_fixed`` is what that changes a test by.

*Pairs.* s = r - 1 for r needed columns, theta = 2 gap / r. A pair is closed where ``c_i^2 d_j + c_j^2 d_i - 2 s c_i c_j
m - theta (d_i d_j - s^2 m^2) <= 0`` at the exact m and, for s = 2 (then d = 1), s |m| <= 0.95. Where s |m| <= 1, the
test at m + h, |h| <= delta, differs by at most ``2 s delta (|c_i| + theta) + theta s^2 delta^2``. In float32 its terms
have absolute values of sum at most 4.1 (1 + theta), each of at most 10 roundings: less than 2^-18 (1 + theta). What is
left is tested again in float64, with 2^-40 in place of 2^-18.

*Third columns* of a pair i, j: with rho = A_ij, a = A_il, b = A_jl, D = 1 - rho^2, the set {i, j, l} gains no more than
the gap if ``L^2 <= missing V``, where ``L = D c_l - (c_i - c_j rho) a - (c_j - c_i rho) b``, ``V = D - (a^2 + b^2 -
2 rho a b)``, ``missing = gap D - (c_i^2 + c_j^2 - 2 rho c_i c_j) >= 0``. At the short a and b, L errs by at most
``delta (|c_i - c_j rho| + |c_j - c_i rho|)``. The exact V is at least 0, so |a - rho b| and |b - rho a| are at most
sqrt(D) there; V is quadratic and concave, so that its exact value is at least that at the short ones less ``4 delta
sqrt(D)``. In float32, L and V have terms of absolute sum at most 5, of at most 8 roundings each: 2^-18.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .bounds import gamma
from .limits import Limits, mapped
from .outcome import require
from .problem import Problem
from .sets import all_sets

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Ints = NDArray[np.int64]

WIDE, LARGEST = 8192, 3
"""Columns above which their products are not kept, and the largest sets that are swept so."""
ROWS, COLUMNS, SUMMED = 1024, 2048, 2048
"""Of a block of products, and how many terms a library adds up."""
FASTER = 8
"""How much faster than `Limits` supposes at least products of large blocks in float32 are."""
MOST_PAIRS = 1 << 20
"""Open pairs that are held."""
PAIRS_A_PASS = 32
"""Pairs that are tried with a block of third columns at once."""
SINGLE, ROUNDING, EXACT_ROUNDING = 2.0**-24, 2.0**-18, 2.0**-40
BEYOND = 1e30
"""Above the sizes of all tests, and within float32: an error as large closes nothing, as a larger one does not."""
LARGEST_GAP = 1e9
"""In units of the largest square of c: a smaller gap proves less than the true one."""


def is_wide(m: int, size: int) -> bool:
    """Whether sets of ``size`` of m columns are swept so."""
    return m > WIDE and size <= LARGEST


def wide_sets(problem: Problem, u: Floats, Q: float) -> Iterator[Ints]:
    """The sets of the columns beside the fixed ones that the pair bound does not close; see `pair_sweep.correlations`.

    ``u`` are the correlations of ``problem.columns``, the fixed ones first.
    """
    n, fixed, need = len(problem.y), len(problem.forced), problem.size - len(problem.forced)
    m = len(u) - fixed
    if need == 1 and not fixed:
        yield np.flatnonzero(~(u * u <= Q - EXACT_ROUNDING * abs(Q)))[:, None]
        return
    if need < 2 or (fixed and not u[0] ** 2 < Q):
        yield from all_sets(m, need)
        return
    held = 2.0 * problem.Z.size + 0.5 * m * COLUMNS + 8.0 * ROWS * COLUMNS + 8.0 * MOST_PAIRS
    problem.limits.room(held, "the sweep")
    problem.limits.work(1.0 * n * m * m / FASTER, "the products of the columns")
    sweep = _sweep(problem, u, Q, fixed, need)
    if sweep is None:
        return
    pending: list[tuple[Ints, Floats]] = []
    for pairs, rho in mapped(sweep.open_pairs, range(0, len(sweep.c), ROWS), problem.limits):
        if need == 2:
            yield pairs
            continue
        pending.append((pairs, rho))
        if sum(len(part) for part, _ in pending) >= MOST_PAIRS:
            yield from sweep.triples(*map(np.concatenate, zip(*pending)))
            pending = []
    if pending:
        yield from sweep.triples(*map(np.concatenate, zip(*pending)))


def short_products(a: Singles, b: Singles, limits: Limits) -> Singles:
    """The products of the rows of a with those of b, `SUMMED` terms at a time."""
    T = np.zeros((len(a), len(b)), dtype=np.float32)
    for start in range(0, a.shape[1], SUMMED):
        limits.check()
        part = slice(start, start + SUMMED)
        T += a[:, part] @ b[:, part].T
    return T


def error_of_products(n: int) -> float:
    """delta: what `short_products` of n terms err by, between rows of norm 1 that were rounded to float32."""
    return 1.05 * (min(n, SUMMED) + -(-n // SUMMED) + 8) * SINGLE


@dataclass(frozen=True)
class _Wide:
    """What the module's text names, of the columns that are not fixed.

    Attributes
    ----------
    problem : Problem
    columns : ndarray
        Indices in X.
    b : ndarray, shape (m, n_rows), float32
    x, d, c : ndarray, shape (m,)
        c in units of the largest.
    gap : float
        In units of the square of that.
    s : int
    delta, exact : float
        Errors of products in float32 and in float64.
    of_fixed : float
        What the errors of x, d, c and the gap change a test by; 0 where nothing is fixed.
    """

    problem: Problem
    columns: Ints
    b: Singles
    x: Floats
    d: Floats
    c: Floats
    gap: float
    s: int
    delta: float
    exact: float
    of_fixed: float

    @property
    def limits(self) -> Limits:
        return self.problem.limits

    def products(self, rows: Any, columns: slice) -> Singles:
        """Products of some columns with others in float32."""
        return short_products(self.b[rows], self.b[columns], self.problem.limits)

    def exact_products(self, pairs: Ints) -> Floats:
        """<a_i, a_j> of pairs in float64."""
        Z, w, found = self.problem.Z, self.problem.w, np.empty(len(pairs))
        for start in range(0, len(pairs), 64):
            self.limits.check()
            part = slice(start, start + 64)
            first, second = (Z.T[self.columns[pairs[part, end]]] for end in (0, 1))
            found[part] = (first * second) @ w
        return np.asarray(found / (1 + self.problem.ridge))

    def open_pairs(self, top: int) -> tuple[Ints, Floats]:
        """The pairs i < j, i in a block of rows, that are not closed, shape (n_pairs, 2), and their A_ij."""
        m, found = len(self.c), []
        every = np.arange(m)
        rows = every[top : top + ROWS]
        for left in range(top, m, COLUMNS):
            columns = every[left : left + COLUMNS]
            T = self.products(slice(top, top + ROWS), slice(left, left + COLUMNS))
            i, j = np.nonzero(~self._closed(T, rows[:, None], columns[None, :], self.delta, ROUNDING))
            pairs = np.stack([rows[i], columns[j]], axis=1)
            found.append(pairs[pairs[:, 0] < pairs[:, 1]])
        pairs = np.concatenate(found)
        if self.problem.listed.closes and self.s > 1:
            pairs = pairs[self.problem.listed.free(self.columns[pairs])]
        A = self.exact_products(pairs)
        left_open = ~self._closed(A, pairs[:, 0], pairs[:, 1], self.exact, EXACT_ROUNDING)
        return pairs[left_open], A[left_open]

    def _closed(self, A: Any, i: Ints, j: Ints, delta: float, rounding: float) -> NDArray[np.bool_]:
        """Which pairs are closed, by products within ``delta``; in the type of A, whose shape i and j broadcast to."""
        s, theta, kind = self.s, 2 * self.gap / (self.s + 1), A.dtype.type
        eta = 2 * s * delta * (np.abs(self.c[i]) + theta) + theta * s * s * delta**2 + rounding * (1 + theta)
        c, d, x = (of.astype(kind) for of in (self.c, self.d, self.x))
        level = (self.c * self.c - theta * self.d).astype(kind)
        m = A - x[i] * x[j] if self.of_fixed else A
        test = m * kind(theta * s * s)
        test -= (kind(2 * s) * c[i]) * c[j]
        test *= m
        test += level[i] * d[j]
        test += d[i] * (c[j] * c[j])
        closed = test <= -((eta + self.of_fixed) * (1 + 4 * SINGLE)).astype(kind)
        if s > 1:
            closed &= np.abs(m) <= kind(0.95 / s - delta - 4 * SINGLE)
        return np.asarray(closed)

    def triples(self, pairs: Ints, A: Floats) -> Iterator[Ints]:
        """The sets {i, j, l} with an open pair ij that are not closed, by blocks of l."""
        ends, m = np.unique(pairs), len(self.c)
        place = np.searchsorted(ends, pairs)
        for left in range(0, m, COLUMNS):
            rows = np.empty((len(ends), min(COLUMNS, m - left)), dtype=np.float32)
            for start in range(0, len(ends), ROWS):
                few = slice(start, start + ROWS)
                rows[few] = self.products(ends[few], slice(left, left + COLUMNS))

            def third(at: int, rows: Singles = rows, left: int = left) -> Ints:
                part = slice(at, at + PAIRS_A_PASS)
                return self._third(pairs[part], A[part], rows[place[part, 0]], rows[place[part, 1]], left)

            yield from mapped(third, range(0, len(pairs), PAIRS_A_PASS), self.limits)

    def _third(self, pairs: Ints, A: Floats, a: Singles, b: Singles, left: int) -> Ints:
        """The sets of pairs and third columns that are not closed.

        a and b are the products of both ends with the columns from ``left`` on.
        """
        i, j, rho = pairs[:, 0], pairs[:, 1], A[:, None]
        ci, cj, D = self.c[i, None], self.c[j, None], 1 - rho * rho
        missing = self.gap * D - (ci * ci + cj * cj - 2 * rho * ci * cj)
        missing -= 4 * (self.exact + EXACT_ROUNDING) * (1 + self.gap)
        of_a, of_b = ci - cj * rho, cj - ci * rho
        of_L = self.delta * (np.abs(of_a) + np.abs(of_b)) + ROUNDING
        of_V = 4 * self.delta * np.sqrt(np.maximum(D, 0)) + ROUNDING
        needed = (np.maximum(missing, 0) * (1 - ROUNDING)).astype(np.float32)
        c, of_i, of_j, of_ij, twice = (
            of.astype(np.float32) for of in (self.c[left : left + a.shape[1]], of_a, of_b, D, 2 * rho)
        )
        L = np.abs(of_ij * c - of_i * a - of_j * b) + (of_L * (1 + ROUNDING)).astype(np.float32)
        room = of_ij - (a * a + b * b - twice * a * b) - (of_V * (1 + ROUNDING)).astype(np.float32)
        closed = (room > 0) & (needed * room >= L * L)
        at, third = np.nonzero(~closed)
        third += left
        others = (third != i[at]) & (third != j[at])
        sets = np.stack([i[at], j[at], third], axis=1)
        return np.asarray(sets[others])


def _sweep(problem: Problem, u: Floats, Q: float, fixed: int, need: int) -> _Wide | None:
    """The columns beside the fixed one, if there is one; None where no set gains anything."""
    n, columns = len(problem.y), problem.columns[fixed:]
    x, d, c, gap = np.zeros(len(columns)), np.ones(len(columns)), u[fixed:], Q
    roots, error = np.sqrt(problem.w) / math.sqrt(1 + problem.ridge), 4 * gamma(n + 16)
    if fixed:
        v = problem.Z[:, problem.forced[0]] * problem.w / (1 + problem.ridge)
        x = (v @ problem.Z)[columns]
        d, c, gap = 1 - x * x, c - x * u[0], Q - float(u[0] ** 2)
    require(gap > 0, "some set of fewer columns is below the claimed lower bound already")
    largest = float(np.abs(c).max(initial=0.0))
    if not largest > 0:
        return None
    b = np.empty((len(columns), n), dtype=np.float32)
    for start in range(0, len(columns), 256):
        problem.limits.check()
        b[start : start + 256] = problem.Z.T[columns[start : start + 256]] * roots
    gap = min(gap / largest / largest, LARGEST_GAP)
    of_fixed = min(fixed * error * (8 / largest + 2 * (1 + 2 * gap) + 1 / largest / largest), BEYOND)
    return _Wide(problem, columns, b, x, d, c / largest, gap, need - 1, error_of_products(n), 2 * error, of_fixed)
