"""Logistic loss: around one reference fit, every set gets a dual vector of its own.

Let f be the stored reference, ``t = sigma(-y f)``, ``D = t (1 - t)``, ``zeta = f + y t / D``, ``lo = box min(t, 1 -
t)``.

*Majorant.* With ``h(s) = s log s + (1 - s) log(1 - s) + zeta y s - s^2 / (2 D)`` and ``A = max(h(t), h(lo), h(1 -
lo))``, the conjugate is at most ``A + zeta a + a^2 / (2 D)`` for ``lo <= -y a <= 1 - lo``: h'' = 1 / (s (1 - s)) - 1 /
D is negative exactly between t and 1 - t, and h'(t) = 0. On the concave piece h falls from h(t), on the two convex ones
it is largest at an end, and the inner ends are at most h(t). Rounding moves h'(t) and the values by less than 128 u (1
+ |zeta| + 1 / D); A is raised by twice that.

*Minorant.* Let omega = w D as stored (D is then omega / w exactly), ``<u, v> = sum omega u v``, zc = zeta - c, and for
any x with ``lo <= -y D (x - zc) <= 1 - lo`` let ``a = D (x - zc)``, ``e = sum w a = <1, x> - <1, zc>``. The dual bound
of the checker, the majorant, and ``zc a + a^2 / (2 D) = D (x^2 - zc^2) / 2`` give for every S

    F(S) >= base - <x, x> / 2 - sum_{l in S} (r_l - <z_l, x>)^2 / (2 ridge) - |e| (B + |c|) - eta0

with ``base = sum (omega zc^2 / 2 - w A)``, ``r_l = <z_l, zc>``; eta0 bounds the rounding of zc, since |w a| <= w.

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
import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .bounds import gamma, intercept_bound
from .problem import Problem, U
from .sets import check_open_sets, check_sets
from .verdict import Rejected

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

TINY = 1e-9
"""Relative: shares of the box are raised, and the box is narrowed, by this much more than their rounding."""
LEAST_SHARE = 0.05
LEAST_ROOM = 0.05
SHRUNK = 0.05
"""Of the box, on both sides, for the x of a single set; its shift to <1, x> = 0 must stay below."""
MANY = 8000
"""Open sets of one prefix that are worth a screen of its own."""
ROWS, SETS = 128, 64


@dataclass(frozen=True)
class Minorant:
    """The minorant of the module's text, for the m columns (rows of Z, shape (m, n)) in the order of the sweep."""

    Z: Floats
    omega: Floats
    low: Floats
    high: Floats
    base: float
    r: Floats
    norm: float
    zc_norm: float
    ridge: float
    cost_of_e: float
    e0: float

    @property
    def error(self) -> float:
        """Relative error of a product <u, v>, against |u| |v|."""
        return gamma(len(self.omega) + 8)


def check_dual_sweep(problem: Problem, arrays: dict[str, NDArray[Any]], lower: float) -> str:
    """Logistic loss, size <= 3: no set has F below ``lower``. Returns a sentence of counts."""
    if problem.loss != "logistic" or not 1 <= problem.size <= 3:
        raise Rejected(f"a dual sweep proves logistic loss and k <= 3, not {problem.loss} loss and k = {problem.size}")
    order = np.argsort(-np.abs((problem.w * problem.y) @ problem.Z), kind="stable")
    columns = order[problem.candidates[order]]
    minorant = _minorant(problem, columns, arrays["reference"], float(arrays["reference.box"][0]))
    m, size = len(columns), problem.size
    screen = None
    if size > 1 and _holds_zero(minorant):
        screen = _screen(minorant, np.zeros(0, np.int64), np.zeros(len(minorant.omega)), np.arange(m), lower)

    def left(i: int) -> Ints:
        sets = np.concatenate([np.zeros((0, size), np.int64), *_open_sets(minorant, screen, size, i, lower)])
        if size == 3 and len(sets) > MANY:
            sets = sets[_open_by_prefix(minorant, np.array([i]), sets[:, 1:], lower)]
        parts = [sets[at : at + SETS] for at in range(0, len(sets), SETS)]
        return np.concatenate([sets[:0], *(part[_below(minorant, part, lower)] for part in parts)])

    with ThreadPoolExecutor(os.cpu_count()) as pool:
        return check_open_sets(problem, columns, pool.map(left, range(m - size + 1)), lower)


def _minorant(problem: Problem, columns: Ints, reference: Floats, box: float) -> Minorant:
    if reference.shape != problem.y.shape or not 0 < box <= 0.9:
        raise Rejected("the reference has not one entry for each row, or its box is not between 0 and 0.9")
    used = problem.w > 0
    y, w, f = problem.y[used], problem.w[used], np.clip(reference[used], -6.0, 6.0)
    t = 1.0 / (1.0 + np.exp(y * f))
    D = t * (1.0 - t)
    zeta = f + y * t / D
    lo = box * np.minimum(t, 1.0 - t)

    def h(s: Floats) -> Floats:
        return np.asarray(s * np.log(s) + (1 - s) * np.log1p(-s) + zeta * y * s - s * s / (2 * D))

    A = np.maximum(h(t), np.maximum(h(lo), h(1.0 - lo))) + 256 * U * (1 + np.abs(zeta) + 1 / D)
    omega = w * D
    shift = float(omega @ zeta) / float(omega.sum())
    zc = zeta - shift
    ends = zc - y * lo / D, zc - y * (1.0 - lo) / D
    low, high = np.minimum(*ends), np.maximum(*ends)
    Z = np.ascontiguousarray(problem.Z[used][:, columns].T)
    error = gamma(len(y) + 8)
    squares = float(omega @ (zc * zc))
    base = 0.5 * squares - float(w @ A)
    base -= error * (squares + float(w @ np.abs(A))) + 4 * U * float(w @ (np.abs(zeta) + np.abs(zc)))
    return Minorant(
        Z,
        omega,
        low + TINY * (1 + np.abs(low)),
        high - TINY * (1 + np.abs(high)),
        base,
        Z @ (omega * zc),
        math.sqrt(float(((Z * Z) @ omega).max())) * (1 + TINY),
        math.sqrt(squares) * (1 + TINY),
        problem.ridge,
        intercept_bound(problem) + abs(shift) * (1 + TINY),
        abs(float(omega @ zc)) + error * float(omega @ np.abs(zc)),
    )


def _holds_zero(minorant: Minorant) -> bool:
    """Whether x = 0 lies in the box, as the screen without a prefix needs."""
    return bool((minorant.low <= 0).all() and (minorant.high >= 0).all())


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
    if size == 1:
        yield np.array([[i]])
    elif screen is None:
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
    guess = 1.0 / (2 * curvature)
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
    x = _fit(minorant, prefix)
    J, places = np.unique(pairs, return_inverse=True)
    if (x < minorant.low).any() or (x > minorant.high).any():
        return np.full(len(pairs), True)
    screen = _screen(minorant, prefix, x, J, lower)
    a, b = places.reshape(-1, 2).T
    return np.concatenate([
        ~(_pair(screen, a[at : at + 2**16], b[at : at + 2**16], minorant.ridge)[-1] >= lower + screen.eta)
        for at in range(0, len(a), 2**16)
    ])  # fmt: skip


class PairLeaves:
    """The leaves of a tree in which two columns are missing: their pairs, by the minorant at the stored reference."""

    def __init__(self, problem: Problem, reference: Floats, box: float) -> None:
        if problem.loss != "logistic":
            raise Rejected(f"pair leaves prove logistic loss, not {problem.loss} loss")
        self.problem = problem
        self.minorant = _minorant(problem, np.arange(problem.Z.shape[1]), reference, box)

    def check(self, inside: list[int], free: Ints, lower: float) -> int:
        """Every set of ``inside`` and two of ``free`` has a bound that reaches ``lower``; returns their number."""
        if len(inside) + 2 != self.problem.size:
            raise Rejected(f"a pair leaf has {self.problem.size - len(inside)} columns missing, and must have 2")
        prefix = np.array(inside, dtype=np.int64)
        first, second = np.triu_indices(len(free), 1)
        pairs = np.stack([free[first], free[second]], axis=1)
        if len(pairs) > len(free):
            pairs = pairs[_open_by_prefix(self.minorant, prefix, pairs, lower)]
        for at in range(0, len(pairs), SETS):
            part = pairs[at : at + SETS]
            sets = np.concatenate([np.tile(prefix, (len(part), 1)), part], axis=1)
            left = _below(self.minorant, sets, lower)
            if len(left):
                check_sets(self.problem, sets[left], lower)
        return len(first)


def _start(minorant: Minorant, Z: Floats, r: Floats) -> tuple[Floats, Floats]:
    """Coefficients and shift of sets (Z of shape (n_sets, size, n)) by their unclipped normal equations."""
    weighted = Z * minorant.omega
    means, total = weighted.sum(axis=2), float(minorant.omega.sum())
    H = weighted @ Z.transpose(0, 2, 1) - means[:, :, None] * means[:, None, :] / total
    s = np.linalg.solve(H + minorant.ridge * np.eye(Z.shape[1]), r[:, :, None])[:, :, 0]
    return s, -(s * means).sum(axis=1) / total


def _clipped(minorant: Minorant, Z: Floats, s: Floats, s0: Floats) -> Floats:
    return np.clip((s[:, None, :] @ Z)[:, 0] + s0[:, None], minorant.low + SHRUNK, minorant.high - SHRUNK)


def _step(minorant: Minorant, Z: Floats, r: Floats, s: Floats, s0: Floats) -> tuple[Floats, Floats]:
    """One Newton step of the Huberised ridge regression whose residuals are the x of the sets."""
    omega, size = minorant.omega, Z.shape[1]
    free = (s[:, None, :] @ Z)[:, 0] + s0[:, None]
    x = np.clip(free, minorant.low + SHRUNK, minorant.high - SHRUNK)
    active = np.where(free == x, omega, 0.0)
    H = np.empty((len(Z), size + 1, size + 1))
    weighted = Z * active[:, None, :]
    H[:, :size, :size] = weighted @ Z.transpose(0, 2, 1) + minorant.ridge * np.eye(size)
    H[:, size, :size] = H[:, :size, size] = weighted.sum(axis=2)
    H[:, size, size] = active.sum(axis=1) + 1e-12
    gradient = np.empty((len(Z), size + 1, 1))
    gradient[:, :size, 0] = (Z @ (omega * x)[:, :, None])[:, :, 0] + minorant.ridge * s - r
    gradient[:, size, 0] = x @ omega
    step = np.linalg.solve(H, gradient)[:, :, 0]
    return s - step[:, :size], s0 - step[:, size]


def _fit(minorant: Minorant, prefix: Ints) -> Floats:
    """The x of a set of columns alone."""
    Z, r = minorant.Z[None, prefix], minorant.r[None, prefix]
    s, s0 = _start(minorant, Z, r)
    for _ in range(30):
        s, s0 = _step(minorant, Z, r, s, s0)
    x = _clipped(minorant, Z, s, s0)[0]
    return np.asarray(x - float(minorant.omega @ x) / float(minorant.omega.sum()))


def _below(minorant: Minorant, sets: Ints, lower: float) -> Ints:
    """The sets, by index, whose minorant does not reach ``lower`` at the x of a few Newton steps."""
    Z, r, left = minorant.Z[sets], minorant.r[sets], np.arange(len(sets))
    s, s0 = _start(minorant, Z, r)
    for last in (False, False, False, False, False, True):
        open_still = ~(_bounds(minorant, Z, r, s, s0) >= lower)
        left = left[open_still]
        Z, r, s, s0 = (each[open_still] for each in (Z, r, s, s0))
        if last or not len(left):
            break
        s, s0 = _step(minorant, Z, r, s, s0)
    return left


def _bounds(minorant: Minorant, Z: Floats, r: Floats, s: Floats, s0: Floats) -> Floats:
    """The minorant at the clipped x of each set, shifted to <1, x> = 0, less its rounding."""
    omega, ridge, error = minorant.omega, minorant.ridge, minorant.error
    total = float(omega.sum())
    x = _clipped(minorant, Z, s, s0)
    shift = x @ omega / total
    x -= shift[:, None]
    squares = (x * x) @ omega
    residuals = np.abs(r - (Z @ (omega * x)[:, :, None])[:, :, 0])
    xi = (error * minorant.norm * (minorant.zc_norm + np.sqrt(squares)) + 8 * U * (1 + np.abs(r).max()))[:, None]
    costs = ((residuals + xi) ** 2).sum(axis=1) * (1 + 16 * U) / (2 * ridge)
    e = np.abs(x @ omega) + error * np.sqrt(squares * total) + minorant.e0
    bounds = minorant.base - 0.5 * squares * (1 + error) - costs - e * minorant.cost_of_e
    return np.where(np.abs(shift) < SHRUNK * (1 - TINY), bounds - 8 * U * (abs(minorant.base) + costs), -np.inf)
