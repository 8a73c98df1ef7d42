"""Proof "sweep" of the logistic loss, k <= 3, and the pair leaves of trees: screens of many sets by the minorant.

*Screens.* x = x_P + sum_m s_m h_m, where x_P is the x of a prefix P (0 for the empty one) and h_m are directions with
<1, h_m> = <z_P, h_m> = 0 up to rounding. If a unit of s_m takes at most M_m (forwards) or N_m (backwards) of what x_P
leaves of the box, and ``sum max(s_m M_m, -s_m N_m) <= 1``, then x is in the box, and the minorant needs only the
products ``E = <h, h>``, ``C = <z, h>`` and <x_P, h>. Any directions, any s and any x are valid; they decide the time
only.

The sets that every screen leaves open get an x of their own; those that even this leaves must have a dual bound of
their own that reaches ``lower``. Proof "sweep" does so for all sets of k <= 3, the pair leaves of proof "tree" for all
pairs that complete a prefix.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from .limits import THREADS, Limits, mapped
from .minorant import TINY, Minorant, below, fit, minorant_at
from .outcome import Unusable, require
from .problem import Problem, U
from .sets import check_open_sets, check_sets, counted
from .wide_dual_sweep import check_in_blocks, is_blockwise

if TYPE_CHECKING:
    from .compiled_dual import Twin

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LEAST_SHARE = 0.05
LEAST_ROOM = 0.05
MANY = 8000
"""Open sets of one prefix that are worth a screen of its own."""
AT_ONCE = 1 << 20
"""Open sets of one prefix that wait together."""
ROWS, SETS = 128, 64


def check_dual_sweep(
    problem: Problem, box: float, arrays: dict[str, NDArray[Any]], lower: float, fast: bool = False
) -> str:
    """Logistic loss, size <= 3: no set has F below ``lower``. Returns a sentence of counts."""
    n, m, size = len(problem.y), int(problem.candidates.sum()), problem.size
    order = np.argsort(-np.abs((problem.w * problem.y) @ problem.Z), kind="stable")
    columns = order[problem.candidates[order]]
    if is_blockwise(m, size):
        around = minorant_at(problem, columns[:0], arrays["reference"], box)
        return counted("sweep", m, size, check_in_blocks(problem, columns, around, lower))
    problem.limits.room((4.0 + (6 if fast else 1) * THREADS) * m * m + (7.0 if fast else 5.0) * n * m, "the sweep")
    problem.limits.work(4.0 * n * m * m + (5.0 if fast else 30.0) * m**size, "the sweep")
    minorant = minorant_at(problem, columns, arrays["reference"], box)
    screen = None
    if minorant.holds_zero:
        screen = _screen(minorant, np.zeros(0, np.int64), np.zeros(len(minorant.omega)), np.arange(m), lower)

    def left(i: int) -> Iterator[Ints]:
        for sets in _together(_open_sets(minorant, screen, size, i, lower)):
            problem.limits.check()
            if size == 3 and len(sets) > MANY:
                sets = sets[_open_by_prefix(minorant, np.array([i]), sets[:, 1:], lower)]
            for at in range(0, len(sets), SETS):
                problem.limits.check()
                part = sets[at : at + SETS]
                yield part[below(minorant, part, lower)]

    opened, step = _compiled(minorant, screen, size, lower, problem.limits) if fast else (left, 1)

    def check(i: int) -> int:
        return check_open_sets(problem, columns, opened(i), lower)

    return counted("sweep", m, size, sum(mapped(check, range(0, m - size + 1, step), problem.limits)))


def _compiled(
    minorant: Minorant, screen: Screen | None, size: int, lower: float, limits: Limits
) -> tuple[Callable[[int], Iterator[Ints]], int]:
    """By compiled loops: the sets left that begin with a column or one of the next, and how many columns these are."""
    if screen is None or size < 3:
        own = (minorant.Z * minorant.omega) @ minorant.Z.T if screen is None else screen.E
        twin = _twin(minorant, limits, own)
        return lambda i: _left_by(twin, _together(_open_sets(minorant, screen, size, i, lower)), lower), 1
    twin = _twin(minorant, limits, screen.E)
    products = screen.E, screen.C, screen.D, screen.rho, np.array([screen.M, screen.N])
    fixed = products, screen.base, lower + screen.eta
    return lambda first: _left_by(twin, twin.triples(*fixed, first), lower), twin.firsts


def _left_by(twin: Twin, parts: Iterator[Ints], lower: float) -> Iterator[Ints]:
    for sets in parts:
        yield sets[twin.below(sets, lower)]


def _twin(minorant: Minorant, limits: Limits, products: Floats | None = None) -> Twin:
    try:
        from .compiled_dual import Twin
    except ImportError as error:
        raise Unusable(f"fast checks of the logistic loss need numba, for compiled loops: {error}") from error
    return Twin(minorant, limits, products)


def _together(parts: Iterator[Ints]) -> Iterator[Ints]:
    """Parts joined to a few of `AT_ONCE` sets or a little more."""
    waiting: list[Ints] = []
    for part in parts:
        waiting.append(part)
        if sum(map(len, waiting)) >= AT_ONCE:
            yield np.concatenate(waiting)
            waiting = []
    if waiting:
        yield np.concatenate(waiting)


@dataclass(frozen=True)
class Screen:
    """A screen's products for its columns; ``eta`` is above the rounding of every bound that it gives.

    ``base`` and ``rho`` are what x_P leaves, ``lin`` is <x_P, h>, D the transpose of C.
    """

    E: Floats
    C: Floats
    D: Floats
    M: Floats
    N: Floats
    base: float
    rho: Floats
    lin: Floats
    eta: float


def _screen(minorant: Minorant, prefix: Ints, x: Floats, J: Ints, lower: float) -> Screen:
    """The screen of the columns J after the columns of a prefix (positions), at its x_P."""
    Z, omega, ridge = minorant.Z[J], minorant.omega, minorant.ridge
    fixed = np.concatenate([np.ones((1, len(omega))), minorant.Z[prefix]])
    rho = minorant.r[J] - Z @ (omega * x)
    h, M, N = _directions(minorant, Z, x, fixed, rho)
    weighted = h * omega
    E, D, lin = weighted @ h.T, weighted @ Z.T, weighted @ x
    C = np.ascontiguousarray(D.T)
    base, kept = minorant.base - 0.5 * float(omega @ (x * x)), np.abs(weighted @ fixed.T).max(axis=0)
    residuals = minorant.r[prefix] - fixed[1:] @ (omega * x)
    base -= float(residuals @ residuals) / (2 * ridge)
    eta = _rounding(minorant, (E, C, rho, lin), x, kept, lower)
    return Screen(E, C, D, M, N, base, rho, lin, eta)


def _directions(minorant: Minorant, Z: Floats, x: Floats, fixed: Floats, rho: Floats) -> tuple[Floats, Floats, Floats]:
    """h, M and N: the columns clipped to a multiple of their sign's side of the box, orthogonal to ``fixed``."""
    omega = minorant.omega
    below, above = x - minorant.low, minorant.high - x
    room = np.minimum(below, above)
    on = np.flatnonzero(room >= LEAST_ROOM)
    if not len(on):
        return np.zeros_like(Z), np.ones(len(Z)), np.ones(len(Z))
    below, above, room, part, wanted = below[on], above[on], room[on], Z[:, on], fixed[:, on]
    needed = np.abs(rho) / ((Z * Z) @ omega + minorant.ridge)
    share = np.clip((0.2 + 0.1 * len(fixed)) / np.maximum(needed, 1e-9), 0.3, 1.5)[:, None]
    forwards = (rho > 0)[:, None]
    h = np.clip(part, -share * np.where(forwards, below, above), share * np.where(forwards, above, below))
    back = np.clip(wanted, -room, room)
    back[0] = np.minimum(1.0, room)
    weighted = wanted * omega[on]
    h -= np.linalg.lstsq(weighted @ back.T, weighted @ h.T, rcond=None)[0].T @ back
    up, down = h / above, h / below
    M = np.maximum(up.max(axis=1), -down.min(axis=1)) * (1 + TINY)
    N = np.maximum(down.max(axis=1), -up.min(axis=1)) * (1 + TINY)
    whole = np.zeros_like(Z)
    whole[:, on] = h
    return whole, np.maximum(M, LEAST_SHARE), np.maximum(N, LEAST_SHARE)


def _rounding(
    minorant: Minorant, products: tuple[Floats, Floats, Floats, Floats], x: Floats, kept: Floats, lower: float
) -> float:
    """What bounds of a screen that reach ``lower`` may err by; ``kept`` are the largest |<1, h>| and |<z_P, h>|.

    The shares sum to at most 1 and are at least LEAST_SHARE each, so sum |s| <= sigma = 1 / LEAST_SHARE. Products err
    by eps, residuals e by xi, and a bound that reaches ``lower`` has sum e^2 <= 2 ridge (base - lower); there are at
    most 2 + len(kept) residuals. The last line is the arithmetic of the formulas: less than 64 operations on numbers of
    the sizes there.
    """
    E, C, rho, lin = products
    error, ridge, sigma = minorant.error, minorant.ridge, 1 / LEAST_SHARE
    mass, xn = math.sqrt(float(minorant.omega.sum())), math.sqrt(float(minorant.omega @ (x * x)))
    hn, cn = math.sqrt(float(np.diagonal(E).max())) * (1 + TINY), float(np.abs(C).max())
    zn, zcn = minorant.norm, minorant.zc_norm
    eps = error * hn * max(hn, zn, xn)
    most = float(np.abs(rho).max()) + sigma * cn
    xi = error * zn * (zcn + xn) + sigma * (eps + float(kept[1:].sum()) + error * zn * hn) + 8 * U * most
    reach = 1.01 * math.sqrt(2 * ridge * max(minorant.base - lower, 0.0)) + xi
    e = sigma * (float(kept[0]) + error * hn * mass) + abs(float(minorant.omega @ x)) + error * xn * mass + minorant.e0
    n_residuals = 2 + len(kept)
    of_residuals = (2.2 * math.sqrt(n_residuals) * reach + n_residuals * xi) * xi / (2 * ridge)
    eta = sigma * eps + sigma * sigma * eps + error * xn * xn + of_residuals
    size = (
        sigma * float(np.abs(lin).max())
        + sigma * sigma * (hn * hn + 3 * cn * cn / ridge)
        + 3 * sigma * cn * most / ridge
    )
    return eta + e * minorant.cost_of_e + 64 * U * size


def _pair(screen: Screen, a: Any, b: Ints, ridge: float) -> tuple[Floats, Floats, Floats, Floats, Floats, Floats]:
    """Of the pairs (a, b): s of both, the share of the box they take, their residuals, and the bound."""
    E, C, M, N = screen.E, screen.C, screen.M, screen.N
    e11, e22, e12 = E[a, a], E[b, b], E[a, b]
    r1, r2 = screen.rho[a] - screen.lin[a], screen.rho[b] - screen.lin[b]
    n1, n2 = (e22 + ridge) * r1 - e12 * r2, (e11 + ridge) * r2 - e12 * r1
    use = np.maximum(n1 * M[a], -n1 * N[a]) + np.maximum(n2 * M[b], -n2 * N[b])
    scale = 1.0 / np.maximum((e11 + ridge) * (e22 + ridge) - e12 * e12, use * (1 + TINY))
    s1, s2 = n1 * scale, n2 * scale
    res1 = screen.rho[a] - C[a, a] * s1 - C[a, b] * s2
    res2 = screen.rho[b] - C[b, a] * s1 - C[b, b] * s2
    bound = screen.base - screen.lin[a] * s1 - screen.lin[b] * s2 - (res1 * res1 + res2 * res2) / (2 * ridge)
    bound = bound - 0.5 * (s1 * s1 * e11 + 2 * s1 * s2 * e12 + s2 * s2 * e22)
    return s1, s2, use * scale, res1, res2, np.asarray(bound)


def _open_sets(minorant: Minorant, screen: Screen | None, size: int, i: int, lower: float) -> Iterator[Ints]:
    """The sets whose first column is i and whose screen does not reach ``lower``, shape (., size)."""
    m, ridge = len(minorant.r), minorant.ridge
    later = np.arange(i + 1, m)
    if screen is None:
        for j in later if size == 3 else [i]:
            third = np.arange(j + 1, m)
            ends = [np.full(len(third), i), np.full(len(third), j), third]
            yield np.stack(ends if size == 3 else [ends[0], third], axis=1)
    elif size == 2:
        found = later[~(_pair(screen, i, later, ridge)[-1] >= lower + screen.eta)]
        yield np.stack([np.full(len(found), i), found], axis=1)
    else:
        yield from _open_triples(screen, i, later, ridge, lower)


def _open_triples(screen: Screen, i: int, later: Ints, ridge: float, lower: float) -> Iterator[Ints]:
    """Triples i < j < l by one exact coordinate step of l from the coefficients of the pair i, j."""
    E, C, D, m = screen.E, screen.C, screen.D, len(screen.rho)
    s1, s2, use, e1, e2, bound = _pair(screen, i, later, ridge)
    gap, c = bound - lower - screen.eta, np.diagonal(C)
    curvature = 0.5 * (np.diagonal(E) + c * c / ridge + C[i] ** 2 / ridge)
    guess = 1.0 / np.maximum(2 * curvature, 1e-300)
    most = (1.0 - use) * (1 - TINY)
    for at in range(0, len(later) - 1, ROWS):
        rows = slice(at, min(at + ROWS, len(later) - 1))
        j, third = slice(later[at], later[at] + rows.stop - at), slice(later[at] + 1, m)
        a2, room = s2[rows, None], most[rows, None]
        e = np.stack([-s1[rows], np.ones(rows.stop - at)], axis=1) @ np.stack([D[i, third], screen.rho[third]])
        e -= a2 * D[j, third]
        step = np.stack([e1[rows] / ridge, -s1[rows]], axis=1) @ np.stack([C[i, third], E[i, third]])
        step += (e2[rows, None] / ridge) * C[j, third]
        step -= a2 * E[j, third]
        step += e * (c[third] / ridge)
        s = step * guess[third]
        np.minimum(s, room / screen.M[third], out=s)
        np.maximum(s, room / -screen.N[third], out=s)
        half = C[j, third] ** 2
        half *= 0.5 / ridge
        half += curvature[third]
        half *= s
        step -= half
        step *= s
        e *= e
        e *= 0.5 / ridge
        step -= e
        step += gap[rows, None]
        row, place = np.nonzero(~(step >= 0.0))
        after = place >= row
        row, place = row[after], place[after]
        yield np.stack([np.full(len(row), i), j.start + row, third.start + place], axis=1)


def _open_by_prefix(minorant: Minorant, prefix: Ints, pairs: Ints, lower: float) -> NDArray[np.bool_]:
    """Of the sets prefix + pair, which ones the screen of the prefix leaves open."""
    x = fit(minorant, prefix)
    J, places = np.unique(pairs, return_inverse=True)
    if not ((minorant.low <= x) & (x <= minorant.high)).all():
        return np.full(len(pairs), True)
    screen = _screen(minorant, prefix, x, J, lower)
    a, b = places.reshape(-1, 2).T
    return np.concatenate([
        ~(_pair(screen, a[at : at + 2**16], b[at : at + 2**16], minorant.ridge)[-1] >= lower + screen.eta)
        for at in range(0, len(a), 2**16)
    ])  # fmt: skip


class PairLeaves:
    """The leaves of a tree in which two columns are missing: their pairs, by the minorant at the stored reference."""

    def __init__(
        self, problem: Problem, box: float | None, arrays: dict[str, NDArray[Any]], fast: bool = False
    ) -> None:
        require(box is not None, "a pair leaf needs a reference, and there is none")
        assert box is not None
        n, p = problem.Z.shape
        problem.limits.room(8.0 * p * p + (7.0 if fast else 5.0) * n * p, "pair leaves")
        self.problem = problem
        self.minorant = minorant_at(problem, np.arange(p), arrays["reference"], box)
        self.twin = _twin(self.minorant, problem.limits) if fast else None

    def check(self, inside: list[int], free: Ints, lower: float) -> int:
        """Every set of ``inside`` and two of ``free`` has a bound that reaches ``lower``; returns their number."""
        missing = self.problem.size - len(inside)
        require(missing == 2, f"a pair leaf has {missing} columns missing, and must have 2")
        self.problem.limits.work(4.0 * len(self.problem.y) * len(free) ** 2, "a pair leaf")
        prefix = np.array(inside, dtype=np.int64)
        first, second = np.triu_indices(len(free), 1)
        pairs = np.stack([free[first], free[second]], axis=1)
        if len(pairs) > len(free):
            pairs = pairs[_open_by_prefix(self.minorant, prefix, pairs, lower)]
        at_once = SETS if self.twin is None else max(1, len(pairs))
        for at in range(0, len(pairs), at_once):
            self.problem.limits.check()
            part = pairs[at : at + at_once]
            sets = np.concatenate([np.tile(prefix, (len(part), 1)), part], axis=1)
            left = below(self.minorant, sets, lower) if self.twin is None else self.twin.below(sets, lower)
            if len(left):
                check_sets(self.problem, sets[left], lower)
        return len(first)
