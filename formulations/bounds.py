"""Lower bounds: one dual vector bounds every support at once.

For any ``a`` in the domain of the conjugate with ``sum_i w_i a_i = 0``, let ``g(a) = -sum_i w_i l*(a_i)`` and
``v(a) = Z' (w a)``. Then for every support S (weak duality: Fenchel-Young on each row, then minimise over b and b0)

    F(S) >= g(a) - sum_{j in S} d_j(a),      d_j(a) = v_j(a)^2 / (2 ridge),

with equality where ``a`` is the derivative of the loss at the optimum of S. The bounds here are plain float64, for the
engines to steer by; what a certificate claims is what the checker recomputes with its rounding margins.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import singledispatch

import numpy as np
from numpy.typing import NDArray

from formulations.errors import InputError
from formulations.losses import Hinge, Squared, log_odds
from formulations.problem import ProbeProblem, SparseProbeProblem

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class DualPoint:
    """A feasible dual vector with its value and its discounts.

    Attributes
    ----------
    a : ndarray, shape (n_rows,)
    value : float
        g(a).
    discount : ndarray, shape (n_neurons,)
        ``d_j = v_j(a)^2 / (2 ridge)``: what neuron j can take off the bound at most.
    """

    a: Floats
    value: float
    discount: Floats


def dual_point(problem: SparseProbeProblem, a: Floats) -> DualPoint:
    """Make ``a`` (shape (n_rows,)) feasible, then evaluate its value and the discounts of all neurons."""
    return dual_points(problem, a[None, :])[0]


def dual_points(problem: SparseProbeProblem, a: Floats) -> list[DualPoint]:
    """`dual_point` for every row of ``a``, shape (m, n_rows), with one matrix product.

    Raises `InputError` where the ridge is 0: the bound divides by it.
    """
    if problem.ridge <= 0:
        raise InputError("dual bounds need a positive ridge: every discount is divided by it")
    feasible = problem.loss.feasible(problem.y, problem.w, a)
    values = -(problem.loss.conjugate(problem.y, feasible) @ problem.w)
    v = (problem.w * feasible) @ problem.Z
    discounts = v * v / (2 * problem.ridge)
    return [DualPoint(*parts) for parts in zip(feasible, map(float, values), discounts)]


def support_bound(point: DualPoint, support: Ints) -> float:
    """Weak duality for one support: ``g(a) - sum_{j in S} d_j``."""
    return float(point.value - point.discount[support].sum())


def node_bound(point: DualPoint, inside: Ints, free: Ints, size: int) -> float:
    """Lower bound of F over all supports of ``size`` neurons that contain ``inside`` and otherwise use ``free`` only.

    ``g(a) - sum_{inside} d_j - (sum of the size - |inside| largest d_j over free)``; infinite where free is too small.
    """
    need = size - len(inside)
    if need > len(free):
        return float("inf")
    return float(point.value - point.discount[inside].sum() - _top(point.discount[free], need).sum())


def forced_bounds(point: DualPoint, inside: Ints, free: Ints, size: int) -> Floats:
    """`node_bound` with each free neuron forced inside in turn, shape (len(free),): safe screening.

    The bound with j forced is the node bound with the smallest counted discount replaced by ``d_j`` where j is not
    among the counted ones. A neuron whose forced bound reaches the incumbent is in no better support, and this same
    dual vector proves it.
    """
    need = size - len(inside)
    bound = node_bound(point, inside, free, size)
    if need == 0 or not np.isfinite(bound):
        return np.full(len(free), np.inf)
    discounts = point.discount[free]
    counted = _top(discounts, need).min()
    return np.asarray(bound + np.maximum(counted - discounts, 0.0))


def _top(values: Floats, need: int) -> Floats:
    """The ``need`` largest values, in any order."""
    if need <= 0:
        return values[:0]
    return values if need >= len(values) else np.partition(values, len(values) - need)[len(values) - need :]


@singledispatch
def constant_point(problem: ProbeProblem) -> DualPoint:
    """The dual point of the constant fit: no support plays a part in it."""
    raise NotImplementedError


@constant_point.register(SparseProbeProblem)
def _constant_point(problem: SparseProbeProblem) -> DualPoint:
    if isinstance(problem.loss, Hinge):
        return dual_point(problem, -problem.y)
    if isinstance(problem.loss, Squared):
        positive = float(problem.w[problem.y > 0].sum() / problem.w.sum())
        constant = 2 * positive - 1 if problem.targets is None else 0.0
    else:
        constant = log_odds(problem.y, problem.w)
    return dual_point(problem, problem.loss.derivative(problem.y, np.full(problem.n_rows, constant)))


@singledispatch
def objective_bound(problem: ProbeProblem, support: Sequence[int], coef: Floats, intercept: float) -> float:
    """The objective at one point, plus four times its a-priori rounding error."""
    raise NotImplementedError


@objective_bound.register(SparseProbeProblem)
def _objective_bound(problem: SparseProbeProblem, support: Sequence[int], coef: Floats, intercept: float) -> float:
    columns = list(support)
    f = problem.Z[:, columns] @ coef + intercept
    value = problem.objective(columns, coef, intercept)
    size = np.abs(problem.Z[:, columns]) @ np.abs(coef) + abs(intercept) + 1.0
    gamma = (problem.n_rows + 40) * 2.0**-53
    return value + 4 * gamma * float(value + problem.w @ (size * (1.0 + np.abs(problem.y - f))))


@singledispatch
def rounding_margin(problem: ProbeProblem) -> float:
    """How far a lower bound in plain float64 may lie above what its proof gives, every rounding counted against it."""
    raise NotImplementedError


@rounding_margin.register(SparseProbeProblem)
def _rounding_margin(problem: SparseProbeProblem) -> float:
    """``8 gamma (1 + k / ridge + a bound of the intercept)``.

    With ``gamma = (n + 40) u`` plus the square of the largest mean that rounding left in a standardised column, columns
    of unit weighted square and dual vectors of weighted square at most 1: each v_j errs by at most 2 gamma, a discount
    by 4 gamma / (2 ridge), of which k are summed; g(a) errs by 2 gamma; and ``sum w a = 0`` holds up to 2 gamma, which
    costs that times a bound of the intercept, ``F0 / W + sqrt(2 k F0 / (ridge W))`` with F0 <= 1 and W the weight of
    the smaller class. Both sides may err so, hence twice the sum; the same margin covers the moments of a sweep,
    ``eps k / ridge + 2 eps sqrt(k / ridge)`` with eps <= 6 gamma, halved.

    Targets are standardised: ``sum w y^2`` is 1 and their mean 0 up to rounding. So dual vectors are bounded as for
    labels, and the intercept by the bound for labels with 1 in place of W.
    """
    gamma = (problem.n_rows + 40) * 2.0**-53 + float(np.abs(problem.w @ problem.Z).max()) ** 2
    smaller = 1.0
    if problem.targets is None:
        smaller = min(float(problem.w[problem.y > 0].sum()), float(problem.w[problem.y < 0].sum()))
    of_discounts = problem.size / problem.ridge
    of_intercept = 1 / smaller + np.sqrt(2 * problem.size / (problem.ridge * smaller))
    return float(8 * gamma * (1 + of_discounts + of_intercept))


def light_bound(u: Floats, tau: float) -> float:
    """Upper bound of ``u' A^{-1} u`` over every A with unit diagonal and ``|A_ij| <= tau`` off it.

    With ``(m - 1) tau < 1``: ``(|u|_2^2 + tau |u|_1^2 / (1 - (m - 1) tau)) / (1 + tau)``.

    Proof. ``u'A^{-1}u = max_b 2u'b - b'Ab`` and ``b'Ab >= (1 + tau)|b|_2^2 - tau |b|_1^2``; maximise over ``|b|`` by
    the formula of Sherman and Morrison: ``(1 + tau) I - tau 11'`` is positive definite, its inverse non-negative.

    Raises `InputError` where ``(m - 1) tau >= 1``.
    """
    room = 1.0 - (len(u) - 1) * tau
    if tau < 0 or room <= 0:
        raise InputError(f"the light bound needs 0 <= tau < 1 / {max(len(u) - 1, 1)}, and tau is {tau:g}")
    return float((u @ u + tau * np.abs(u).sum() ** 2 / room) / (1.0 + tau))
