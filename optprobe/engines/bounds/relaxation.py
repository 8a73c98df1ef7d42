"""The boolean (perspective) relaxation of a node, solved by direct dual ascent.

    min over 0 <= s <= 1, sum s = size, s = 1 inside, s = 0 outside, and b, b0, of
        sum_i w_i loss(y_i, f_i) + (ridge / 2) sum_j b_j^2 / s_j

Its dual is the best node bound over all dual vectors (Pilanci, Wainwright, El Ghaoui 2015; Bertsimas, Pauphilet, Van
Parys 2021). Two exact block steps alternate: (b, b0) by Newton's method for fixed s, and s for fixed b, which is
``s = min(1, |b| / theta)``. The derivative of the loss at every iterate, made feasible, bounds the node over *all*
its free columns, so the ascent may stop at any time.

For the squared loss of more rows than columns a diagonal is taken out of the curvature first (`diagonal`): ridge + D_j
stands in place of the ridge, and s is ``min(1, sqrt(ridge + D) |b| / theta)``.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from formulations import SparseProbeProblem, penalised_fit
from formulations.losses import Hinge, Logistic, Squared, log_odds
from optprobe.engines.bounds.diagonal import Split
from optprobe.engines.budget import Budget
from optprobe.engines.kernels.relaxation import hinge_fit, logistic_fit

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ENTERING = 10
"""Columns of largest discount beyond the size that may enter the support of s in one step."""
FIRST_STEPS, NEXT_STEPS = 6, 2
"""Newton steps of a fit: of the first one of an ascent, and of those that go on from the last."""
SIGMA, PROXIMAL_STEPS = 2.0, 3
"""Hinge loss: the first size of a proximal step, and how many."""
LEAST_S = 1e-3
"""Smaller entries of s are dropped, since they cost as much as any other. At small ridge s spreads over hundreds of
neurons, and dropping ones that count keeps the ascent from its optimum: each enters again, and leaves."""


@dataclass(frozen=True, eq=False)
class LiveColumns:
    """The columns that are still in play, contiguous; nodes speak of them by position.

    Attributes
    ----------
    columns : ndarray, shape (m,)
        Their indices in X.
    split : Split, optional
        Their moments with a diagonal taken out, where points bound by it.
    neurons : ndarray, shape (m, n_rows)
        Their standardised activations, a row each.
    """

    problem: SparseProbeProblem
    columns: Ints
    split: Split | None = None

    @cached_property
    def neurons(self) -> Floats:
        rows = self.problem.Z.T
        return np.ascontiguousarray(rows if len(self.columns) == len(rows) else rows[self.columns])

    def restricted(self, positions: Ints) -> LiveColumns:
        split = None if self.split is None else self.split.restricted(positions)
        return LiveColumns(self.problem, self.columns[positions], split)

    def value_and_discounts(self, a: Floats) -> tuple[float, Floats]:
        """g(a) of a feasible dual vector, and its discounts, shape (m,); no diagonal plays a part in these."""
        problem = self.problem
        v = self.neurons @ (problem.w * a)
        return -float(problem.loss.conjugate(problem.y, a) @ problem.w), v * v / (2 * problem.ridge)


@dataclass(frozen=True, eq=False)
class Point:
    """A primal point whose derivative of the loss is a dual vector, or the dual vector itself.

    ``columns`` are indices in X; ``a`` is set where no sparse point has the vector: the loss has no unique derivative,
    or the vector is a combination of others. It then stands for itself, and there are no columns.
    """

    columns: Ints
    coef: Floats
    intercept: float
    a: Floats | None = None

    @classmethod
    def explicit(cls, a: Floats) -> Point:
        return cls(np.zeros(0, dtype=np.int64), np.zeros(0), 0.0, a)

    def dual(self, problem: SparseProbeProblem) -> Floats:
        """The feasible dual vector, shape (n_rows,)."""
        a = self.a
        if a is None:
            f = problem.Z[:, self.columns] @ self.coef + self.intercept
            a = problem.loss.derivative(problem.y, f)
        return problem.loss.feasible(problem.y, problem.w, a)


@dataclass(frozen=True, eq=False)
class Relaxed:
    """The best dual bound of an ascent: its value, its discounts (of the live columns), its point, and the last s."""

    bound: float
    discount: Floats
    point: Point
    s: Floats


@dataclass(frozen=True)
class Effort:
    """How long to ascend: at most ``rounds``; less where the primal value shows that the target is out of reach.

    ``hopeless`` is the distance from the bound to the primal value, as a share of that to the target, at which it does.
    """

    rounds: int
    hopeless: float


Relax = Callable[[LiveColumns, Ints, Ints, Floats, float, Effort, Budget], Relaxed]
"""A way to raise the bound of a node: the signature of `ascend`."""


def top_sum(values: Floats, need: int) -> float:
    """The sum of the ``need`` largest values."""
    if need <= 0:
        return 0.0
    return float(values.sum() if need >= len(values) else np.partition(values, len(values) - need)[-need:].sum())


def ascend(
    live: LiveColumns, inside: Ints, free: Ints, start: Floats, target: float, effort: Effort, budget: Budget
) -> Relaxed:
    """Raise the node bound of (inside, free), both positions among the live columns, from the fractional ``start``.

    Stops when the bound reaches ``target``, when the relaxation provably stays below it (its primal value does, so the
    node must be branched on), after the rounds of ``effort``, or when the budget is over. ``start`` has shape (m,).
    """
    problem = live.problem
    need = problem.size - len(inside)
    s = _normalised(start, inside, free, need)
    best = Relaxed(-np.inf, s, Point(free[:0], s[:0], 0.0), s)
    b, b0 = np.zeros(len(s)), _constant_fit(problem)
    everything = len(inside) + len(free) == len(s)
    own = np.arange(len(s)) if everything else np.concatenate([inside, free])
    if live.split is None:
        part = live.neurons if everything else live.neurons[own]
    t = np.full(problem.n_rows, 0.5)
    for step in range(effort.rounds):
        support = np.flatnonzero(s)
        if live.split is None:
            last, steps = np.append(b[support], b0), FIRST_STEPS if step == 0 else NEXT_STEPS
            fitted = _fit(live, support, s, (own, part), last, t, steps)
        else:
            fitted = _fit_split(live, live.split, support, s)
        bound = fitted.value - float(fitted.discount[inside].sum()) - top_sum(fitted.discount[free], need)
        if bound > best.bound:
            best = Relaxed(bound, fitted.discount, fitted.point, s)
        out_of_reach = fitted.primal - best.bound < effort.hopeless * (target - best.bound)
        if best.bound >= target or out_of_reach or budget.over:
            break
        b[:], b0 = 0.0, fitted.intercept
        b[support] = fitted.coef
        s = _next(s, b * fitted.scale, fitted.rate, fitted.discount, inside, free, need, by_coef=bool(step % 2))
    return Relaxed(best.bound, best.discount, best.point, s)


@dataclass(frozen=True, eq=False)
class _Fitted:
    """A fit at a fractional s, and what it bounds: its value, its discounts, and the point that has them.

    At the optimum ``scale |b| = s rate``; s grows with that.
    """

    coef: Floats
    intercept: float
    primal: float
    value: float
    discount: Floats
    point: Point
    scale: float | Floats
    rate: Floats


def _fit_split(live: LiveColumns, split: Split, support: Ints, s: Floats) -> _Fitted:
    """The fit of the squared loss with a diagonal taken out, from moments alone."""
    coef, rest, primal, value = split.fit(support, s)
    root, point = np.sqrt(split.curvature), Point(live.columns[support], coef, split.mean)
    return _Fitted(coef, split.mean, primal, value, split.discounts(rest), point, root, rest / root)


def _fit(
    live: LiveColumns, support: Ints, s: Floats, part: tuple[Ints, Floats], start: Floats, t: Floats, steps: int
) -> _Fitted:
    """The fit of any loss with the penalty ridge / s, from the rows; discounts of a part of the columns, else 0."""
    ridge = live.problem.ridge
    coef, b0, a, primal, value = _penalised(live, support, ridge / s[support], start, t, steps)
    v = np.zeros(len(s))
    own, neurons = part
    v[own] = neurons @ (live.problem.w * a)
    hinge = isinstance(live.problem.loss, Hinge)
    point = Point.explicit(a) if hinge else Point(live.columns[support], coef, b0)
    return _Fitted(coef, b0, primal, value, v * v / (2 * ridge), point, 1.0, np.abs(v) / ridge)


def _penalised(
    live: LiveColumns, support: Ints, penalty: Floats, start: Floats, t: Floats, steps: int
) -> tuple[Floats, float, Floats, float, float]:
    """Coefficients, intercept, feasible dual vector, objective and g(a) of a fit with one penalty for each column.

    The squared loss converges; the others take ``steps`` Newton steps (hinge: for each proximal step) from ``start``
    and, for the hinge loss, from the dual ``t``, which is changed in place.
    """
    problem = live.problem
    y, w, a = problem.y, problem.w, np.empty(problem.n_rows)
    Q = np.ones((len(support) + 1, problem.n_rows))
    Q[:-1] = live.neurons[support]
    if isinstance(problem.loss, Squared):
        fitted = penalised_fit(problem.loss, Q[None, :], y, w, penalty[None, :])
        value = -float(problem.loss.conjugate(y, fitted.dual[0]) @ w)
        return fitted.beta[0, :-1], float(fitted.beta[0, -1]), fitted.dual[0], float(fitted.objective[0]), value
    beta = start.copy()
    if isinstance(problem.loss, Logistic):
        primal, value = logistic_fit(Q, y, w, penalty, beta, steps, a)
    else:
        primal, value = hinge_fit(Q * y, y, w, penalty, beta, t, SIGMA, steps, PROXIMAL_STEPS, a)
    return beta[:-1], float(beta[-1]), a, primal, value


def _constant_fit(problem: SparseProbeProblem) -> float:
    """Where the intercept of a first fit starts; that of the squared loss needs no start."""
    return 0.0 if isinstance(problem.loss, Squared) else log_odds(problem.y, problem.w)


def _next(
    s: Floats, b: Floats, rate: Floats, discount: Floats, inside: Ints, free: Ints, need: int, *, by_coef: bool
) -> Floats:
    """The s that is best for |b|; |b| = s |v| / ridge at the optimum, and the two readings of it take turns."""
    magnitude = np.where(s > 0, np.abs(b) if by_coef else s * rate, 0.0)
    if need and len(free) > need:
        least = np.partition(discount[free], max(0, len(free) - need - ENTERING))[max(0, len(free) - need - ENTERING)]
        entering = free[(discount[free] >= least) & (s[free] == 0)]
        magnitude[entering] = 0.02 * rate[entering]
    new = np.zeros(len(s))
    new[inside] = 1.0
    new[free] = capped(magnitude[free], need)
    new[new < LEAST_S] = 0.0
    return new


def _normalised(start: Floats, inside: Ints, free: Ints, need: int) -> Floats:
    s = np.zeros(len(start))
    s[inside] = 1.0
    if need and len(free):
        total = start[free].sum()
        s[free] = np.minimum(1.0, start[free] * (need / total)) if total > 0 else need / len(free)
    return s


def capped(magnitude: Floats, need: int) -> Floats:
    """argmin of ``sum magnitude^2 / s`` over 0 <= s <= 1, sum s = need: ``min(1, magnitude / theta)``, by sorting."""
    s = np.zeros(len(magnitude))
    positive = np.flatnonzero(magnitude > 0)
    if need <= 0 or len(positive) <= need:
        s[positive] = float(need > 0)
        return s
    order = positive[np.argsort(-magnitude[positive], kind="stable")]
    tail = np.cumsum(magnitude[order][::-1])[::-1]
    theta, full = np.inf, 0
    for full in range(need):
        theta = tail[full] / (need - full)
        if magnitude[order[full]] <= theta:
            break
    s[order] = np.minimum(1.0, magnitude[order] / theta)
    return s
