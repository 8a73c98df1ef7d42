"""Proof "sweep" of the hinge loss, k <= 2: the claim alone. Every set gets a dual vector here that reaches the bound.

The t of a single column bounds all its pairs by one matrix product. A pair that it leaves begins there and takes one
Newton step of a proximal step (`proximal`), whose gradient and Hessian are matrix products for all pairs of the column
together: with v = sum w t q over the two classes in turn, t scaled down in the class of larger weight,

    F(i, j) >= sum w t - (v_i^2 + v_j^2) / (2 ridge).

Pairs that stay below the claim take more steps, each with its own Hessian; the few that are left then are solved to the
end (`sets.check_sets`). Single columns take such steps from the beginning, a few columns at a time.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from .bounds import gamma, intercept_bound, own_bounds
from .limits import THREADS, mapped
from .outcome import Unusable
from .problem import Problem, U
from .proximal import Proximal
from .sets import check_open_sets, check_sets, counted

if TYPE_CHECKING:
    from .compiled_hinge import Twin

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FIRSTS, PAIRS, SETS, SINGLES = 32, 128, 64, 8
SINGLE = 400.0
"""Operations of a single column for each row."""
SIGMA = 2.0
SIGMAS, NEWTON_STEPS = (2.0, 8.0, 32.0, 64.0, 64.0, 64.0), 6


@dataclass(frozen=True)
class Rows:
    """The columns of a sweep times the label, Q (m, n_rows), the ``positive`` rows of the positive class first."""

    problem: Problem
    columns: Ints
    order: Ints
    Q: Floats
    w: Floats
    positive: int
    unbalanced: float

    @classmethod
    def of(cls, problem: Problem) -> Rows:
        order = np.argsort(-np.abs((problem.w * problem.y) @ problem.Z), kind="stable")
        columns = order[problem.candidates[order]]
        rows = np.argsort(-problem.y, kind="stable")
        Q = np.ascontiguousarray((problem.Z[np.ix_(rows, columns)] * problem.y[rows, None]).T)
        w = problem.w[rows]
        # what sum w y t may be off by once both classes are scaled to the same computed sum, at its price
        unbalanced = 4 * gamma(len(w) + 8) * float(w.sum()) * intercept_bound(problem)
        return cls(problem, columns, rows, Q, w, int((problem.y > 0).sum()), unbalanced)

    @property
    def classes(self) -> tuple[slice, slice]:
        return slice(0, self.positive), slice(self.positive, len(self.w))

    def bounds(self, sums: list[Floats], v: list[list[Floats]]) -> Floats:
        """The bound of the text, rounded down, from the sums of w t and of w t q over each class.

        Every sum has a relative error of gamma(n + 8) against ``sum w |t q| <= 1.001 sum w`` (columns of unit square).
        """
        least = np.minimum(*sums)
        share = [np.divide(least, part, out=np.zeros_like(part), where=part > 0) for part in sums]
        error = 2.002 * gamma(len(self.w) + 8) * float(self.w.sum())
        taken = np.zeros_like(least)
        for of_positive, of_negative in v:
            most = np.abs(share[0] * of_positive + share[1] * of_negative) + error
            taken = taken + most * most * ((1 + 32 * U) / (2 * self.problem.ridge))
        return np.asarray(2 * least - taken - self.unbalanced - error - 16 * U * (least + taken))


def check_hinge_sweep(problem: Problem, lower: float, fast: bool = False) -> str:
    """Hinge loss, size <= 2: no set has F below ``lower``. Returns a sentence of counts."""
    n, m = len(problem.y), int(problem.candidates.sum())
    if problem.size == 1:
        return counted("sweep", m, 1, _check_singles(problem, lower))
    problem.limits.room(2.0 * n * m + THREADS * n * (8 * FIRSTS + 8 * PAIRS), "the sweep")
    problem.limits.work(2.0 * n * m * m, "the sweep")
    rows = Rows.of(problem)
    blocks, twin = range(0, len(rows.columns), FIRSTS), _twin(rows) if fast else None

    def check(first: int) -> int:
        return check_open_sets(problem, rows.columns, _open(rows, first, lower, twin), lower)

    return counted("sweep", m, problem.size, sum(mapped(check, blocks, problem.limits)))


def _check_singles(problem: Problem, lower: float) -> int:
    """No single column has F below ``lower``, each by its own t; returns how many are solved to the end."""
    n, columns = len(problem.y), np.flatnonzero(problem.candidates)
    problem.limits.room(1.5 * problem.Z.size + THREADS * n * 24.0 * SINGLES, "the sweep")
    problem.limits.work(SINGLE * n * len(columns), "the sweep")

    def check(at: int) -> int:
        left = _open_singles(problem, columns[at : at + SINGLES], lower)
        check_sets(problem, left, lower)
        return len(left)

    return sum(mapped(check, range(0, len(columns), SINGLES), problem.limits))


def _open_singles(problem: Problem, columns: Ints, lower: float) -> Ints:
    """Those of some columns that no bound here closes, shape (n_sets, 1)."""
    sets = columns[:, None]
    t = np.tile(Proximal.start(problem), (len(sets), 1))
    return sets[_raised(problem, sets, np.zeros((len(sets), 2)), t, lower)]


def _open(rows: Rows, first: int, lower: float, twin: Twin | None = None) -> Iterator[Ints]:
    """The sets (positions in ``columns``) whose first column is in a block, and that no bound here closes."""
    block = np.arange(first, min(first + FIRSTS, len(rows.columns)))
    t, s = _singles(rows, block) if twin is None else twin.singles(block)
    weighted = t * rows.w
    sums = [weighted[:, part].sum(axis=1) for part in rows.classes]
    v = [weighted[:, part] @ rows.Q[first:, part].T for part in rows.classes]
    own = [part[np.arange(len(block)), block - first] for part in v]
    for row, i in enumerate(block.tolist()):
        rows.problem.limits.check()
        ends = [np.full(len(rows.columns) - first, part[row]) for part in sums]
        bounds = rows.bounds(ends, [[np.full_like(ends[0], part[row]) for part in own], [part[row] for part in v]])
        later = i + 1 + np.flatnonzero(~(bounds[i + 1 - first :] >= lower))
        for at in range(0, len(later), PAIRS):
            pairs = i, later[at : at + PAIRS], t[row], s[row], lower
            left = _after_a_step(rows, *pairs) if twin is None else twin.left(*pairs)
            for start in range(0, len(left), SETS):
                sets = np.stack([np.full(len(left[start : start + SETS]), i), left[start : start + SETS]], axis=1)
                yield sets[_below(rows, sets, t[row], s[row], lower)]


def _twin(rows: Rows) -> Twin:
    try:
        from .compiled_hinge import Twin
    except ImportError as error:
        raise Unusable(f"fast checks of the hinge loss need numba, for compiled loops: {error}") from error
    start, ridge = Proximal.start(rows.problem)[rows.order], rows.problem.ridge
    return Twin(rows.Q, rows.positive, rows.w, start, SIGMA, ridge, rows.unbalanced)


def _singles(rows: Rows, block: Ints) -> tuple[Floats, Floats]:
    """t (m, n_rows) and coefficients (m, 2) of single columns, after two proximal steps."""
    problem, columns = rows.problem, rows.columns[block]
    steps = Proximal.of(problem, columns[:, None])
    t = np.broadcast_to(steps.start(problem), (len(columns), len(problem.y)))
    s = np.zeros((len(columns), 2))
    for sigma in (1.0, SIGMA):
        s, t = steps.minimise(s, t, sigma)
    return t[:, rows.order], s


def _after_a_step(rows: Rows, i: int, later: Ints, centre: Floats, single: Floats, lower: float) -> Ints:
    """The j of ``later`` whose pair with i stays below ``lower`` after one Newton step from i's own t."""
    y, q = np.ones(len(rows.w)), rows.Q[i]
    y[rows.positive :] = -1.0
    Q = rows.Q[later]
    margin = 1.0 - single[0] * q - single[1] * y
    point = centre + SIGMA * margin
    t = np.clip(point, 0.0, 1.0)
    inside = (rows.w * SIGMA) * ((point > 0.0) & (point < 1.0))
    gradient = np.empty((len(later), 3))
    gradient[:, 0] = rows.problem.ridge * single[0] - float(q @ (rows.w * t))
    gradient[:, 1], gradient[:, 2] = -(Q @ (rows.w * t)), -float(y @ (rows.w * t))
    H = np.empty((len(later), 3, 3))
    H[:, 0, 0], H[:, 2, 2] = inside @ (q * q) + rows.problem.ridge, inside.sum() + 1e-10
    H[:, 0, 2] = H[:, 2, 0] = inside @ (q * y)
    H[:, 0, 1] = H[:, 1, 0] = Q @ (inside * q)
    H[:, 1, 2] = H[:, 2, 1] = Q @ (inside * y)
    H[:, 1, 1] = (Q * Q) @ inside + rows.problem.ridge
    step = np.linalg.solve(H, gradient[:, :, None])[:, :, 0]
    t = np.stack([step[:, 0], step[:, 2], np.ones(len(later))], axis=1) @ (SIGMA * np.array([q, y, point / SIGMA]))
    t += (SIGMA * step[:, 1])[:, None] * Q
    np.clip(t, 0.0, 1.0, out=t)
    t *= rows.w
    sums = [t[:, part].sum(axis=1) for part in rows.classes]
    of_first = [t[:, part] @ q[part] for part in rows.classes]
    of_second = [np.einsum("bn,bn->b", t[:, part], Q[:, part]) for part in rows.classes]
    return later[~(rows.bounds(sums, [of_first, of_second]) >= lower)]


def _below(rows: Rows, pairs: Ints, centre: Floats, single: Floats, lower: float) -> Ints:
    """The pairs, by index, that stay below ``lower`` after some proximal steps from their first column's t."""
    s = np.tile([single[0], 0.0, single[1]], (len(pairs), 1))
    t = np.tile(centre[np.argsort(rows.order)], (len(pairs), 1))
    return _raised(rows.problem, rows.columns[pairs], s, t, lower)


def _raised(problem: Problem, sets: Ints, s: Floats, t: Floats, lower: float) -> Ints:
    """The sets of columns, by index, that stay below ``lower`` after some proximal steps from their s and t."""
    steps, left = Proximal.of(problem, sets), np.arange(len(sets))
    for sigma in SIGMAS:
        centres = t
        t, value = steps.point(s, centres, sigma)
        for _ in range(NEWTON_STEPS):
            s, t, value = steps.descend(s, t, value, centres, sigma)
            still = np.flatnonzero(~(own_bounds(problem, sets[left], -problem.y * t) >= lower))
            left, s, t, value, centres = left[still], s[still], t[still], value[still], centres[still]
            if not len(left):
                return left
            steps = steps.part(still)
    return left
