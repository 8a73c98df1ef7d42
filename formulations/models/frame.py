"""What the models share: the binaries of the candidate neurons, the variables of a probe, and how both are read.

Every model is a lower bound of the same problem, refined by dual points (`formulations.bounds.DualPoint`): for ``a`` in
the domain of the conjugate, ``v(a) = Z'(w a)`` and ``d_j(a) = v_j(a)^2 / (2 ridge)``, the inequality of Fenchel and
Young says of every row and of every neuron

    loss(y_i, f_i) >= a_i f_i - l*(a_i),        (ridge / 2) b_j^2 / s_j >= -v_j(a) b_j - d_j(a) s_j.

Both are linear; summed over rows and neurons they are the bound of weak duality. A model that holds the dual point of a
support's exact fit has the minimum F(support) when its binaries are fixed to that support.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import pyomo.environ as pyo
from numpy.typing import NDArray

from formulations.bounds import DualPoint, dual_point
from formulations.errors import InputError, UnsupportedProblem
from formulations.fit import fit_support
from formulations.losses import Hinge
from formulations.problem import SparseProbeProblem

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LARGEST_COEFFICIENT = 1e3
"""Largest coefficient of a binary: HiGHS takes 1e-6 for 0, so a larger one lets in more than a thousandth for free."""


def frame(problem: SparseProbeProblem, name: str) -> pyo.ConcreteModel:
    """The binaries of a model: ``s_j in {0, 1}`` for each candidate j, 1 where it is forced; ``sum_j s_j <= size``.

    Components: ``NEURONS`` (the candidates, by their column in X), ``s``, ``cardinality``; ``model.problem`` is the
    problem itself. Raises `InputError` where no column is a candidate.
    """
    if problem.size == 0:
        raise InputError("no neuron can enter a support: every allowed column is constant; allow another one")
    model = pyo.ConcreteModel(name=name)
    model.problem = problem
    model.NEURONS = pyo.Set(initialize=problem.candidates.tolist())
    model.s = pyo.Var(model.NEURONS, domain=pyo.Binary)
    for j in problem.forced:
        model.s[j].setlb(1)
    model.cardinality = pyo.Constraint(expr=pyo.quicksum(model.s[j] for j in model.NEURONS) <= problem.size)
    return model


def add_probe(model: pyo.ConcreteModel) -> None:
    """The variables of a probe on a `frame`: ``min sum_i w_i loss_i + sum_j cost_j`` with ``f = Z b + b0``.

    Components: ``ROWS``, ``b``, ``b0``, ``f``, ``prediction``, ``loss >= 0`` (each row's loss), ``cost >= 0`` (each
    neuron's share of the ridge term), ``objective``. For the hinge loss also ``margin``: ``loss_i >= 1 - y_i f_i``,
    which makes ``loss`` exact; for another loss ``loss`` waits for tangents, as ``cost`` does.
    """
    problem = model.problem
    Z, y, w = problem.Z, problem.y, problem.w
    model.ROWS = pyo.RangeSet(0, problem.n_rows - 1)
    model.b = pyo.Var(model.NEURONS)
    model.b0 = pyo.Var()
    model.f = pyo.Var(model.ROWS)
    model.loss = pyo.Var(model.ROWS, domain=pyo.NonNegativeReals)
    model.cost = pyo.Var(model.NEURONS, domain=pyo.NonNegativeReals)
    model.objective = pyo.Objective(
        expr=pyo.quicksum(float(w[i]) * model.loss[i] for i in model.ROWS)
        + pyo.quicksum(model.cost[j] for j in model.NEURONS)
    )

    def prediction(model: pyo.ConcreteModel, i: int) -> object:
        return model.f[i] == pyo.quicksum(float(Z[i, j]) * model.b[j] for j in model.NEURONS) + model.b0

    model.prediction = pyo.Constraint(model.ROWS, rule=prediction)
    if isinstance(problem.loss, Hinge):
        model.margin = pyo.Constraint(model.ROWS, rule=lambda m, i: m.loss[i] >= 1 - float(y[i]) * m.f[i])


def place_probe(model: pyo.ConcreteModel, support: Sequence[int] | Ints, coef: Floats, intercept: float) -> None:
    """Set all variables of a model with `add_probe` to one probe, its exact losses and costs: a start for a solver."""
    problem = model.problem
    place_support(model, support)
    full = dict.fromkeys(model.NEURONS, 0.0) | {int(j): float(b) for j, b in zip(support, coef)}
    f = problem.Z[:, list(full)] @ np.array(list(full.values())) + intercept
    losses = problem.loss.value(problem.y, f)
    model.b0.set_value(float(intercept))
    for j, b in full.items():
        model.b[j].set_value(b)
        model.cost[j].set_value(0.5 * problem.ridge * b * b)
    for i in model.ROWS:
        model.f[i].set_value(float(f[i]))
        model.loss[i].set_value(float(losses[i]))


def constant_point(problem: SparseProbeProblem) -> DualPoint:
    """The dual point of the constant fit: the first tangent or cut of every model."""
    return dual_point(problem, fit_support(problem, []).dual[0])


def guarded(values: Floats | float, meaning: str) -> None:
    """Raise `UnsupportedProblem` where a coefficient of a binary exceeds `LARGEST_COEFFICIENT` in absolute value."""
    largest = float(np.abs(values).max(initial=0.0))
    if not largest <= LARGEST_COEFFICIENT:
        raise UnsupportedProblem(
            f"{meaning} is {largest:g}, above the {LARGEST_COEFFICIENT:g} that a solver's integrality tolerance "
            "bears: give a larger ridge, or use the model cut_master, which has no such coefficient"
        )


def place_support(model: pyo.ConcreteModel, support: Sequence[int] | Ints) -> None:
    """Set the binaries to ``support`` without fixing them; raises `InputError` where a column is not a candidate."""
    inside = {int(j) for j in support}
    for j in sorted(inside - set(model.NEURONS)):
        raise InputError(f"column {j} is not a candidate of this model: use columns that vary and are allowed")
    for j in model.NEURONS:
        model.s[j].set_value(int(j in inside))


def fix_support(model: pyo.ConcreteModel, support: Sequence[int] | Ints) -> None:
    """Fix the binaries to ``support``; ``model.s.unfix()`` frees them again. Raises as `place_support`."""
    place_support(model, support)
    model.s.fix()


def support_of(model: pyo.ConcreteModel) -> list[int]:
    """The columns whose binary is above one half, sorted."""
    return [j for j in model.NEURONS if pyo.value(model.s[j]) > 0.5]


def violation(model: pyo.ConcreteModel) -> float:
    """The largest amount by which the variables' present values break a constraint, a bound or an integrality."""
    worst = 0.0
    for constraint in model.component_data_objects(pyo.Constraint, active=True):
        worst = max(worst, -constraint.slack())
    for variable in model.component_data_objects(pyo.Var):
        x = pyo.value(variable)
        low, high = variable.bounds
        worst = max(worst, 0.0 if low is None else low - x, 0.0 if high is None else x - high)
        if variable.is_integer():
            worst = max(worst, abs(x - round(x)))
    return float(worst)
