r"""The cut master: the outer approximation over the binaries alone.

.. math::
    \min \; \eta \quad \text{s.t.} \quad \sum_j s_j \le k, \quad \eta \ge 0, \quad
    \eta \ge g(a) - \sum_j d_j(a) \, s_j \quad \text{for every dual point } a

on the mean-loss scale. Each cut is weak duality for all supports at once, and tight at the support whose dual optimum
it is. Solving, fitting the support found, adding its cut and solving again is the multi-tree outer approximation; the
paper's code adds the same cuts in one tree by lazy constraints, which HiGHS does not have.

As no loss is negative, a discount above g(a) does what g(a) does: the cut is written with min(d_j, g), which admits the
same binary points, keeps every coefficient small, and is stronger in between.

Sources: Bertsimas, Pauphilet, Van Parys 2021; Duran & Grossmann 1986 (outer approximation); Gurnee et al. 2023 (its use
for probes). docs/formulations.md writes the model in full.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pyomo.environ as pyo

from formulations.bounds import DualPoint
from formulations.errors import InputError
from formulations.models.frame import Floats, Ints, constant_point, frame, place_support
from formulations.problem import SparseProbeProblem


def cut_master_model(problem: SparseProbeProblem, points: Iterable[DualPoint] | None = None) -> pyo.ConcreteModel:
    """Build the master over the candidates of ``problem`` from dual points.

    Parameters
    ----------
    problem : SparseProbeProblem
        With any loss and a positive ridge.
    points : iterable of DualPoint, optional
        One cut each; the constant fit's where left out.

    Returns
    -------
    ConcreteModel
        Components ``s, eta, cardinality, cuts, objective``.

    Raises
    ------
    InputError
        Where the ridge is 0, or no column is a candidate.
    """
    model = frame(problem, "cut_master")
    model.eta = pyo.Var(domain=pyo.NonNegativeReals)
    model.cuts = pyo.ConstraintList()
    model.objective = pyo.Objective(expr=model.eta)
    add_cuts(model, [constant_point(problem)] if points is None else points)
    return model


def add_cuts(model: pyo.ConcreteModel, points: Iterable[DualPoint]) -> None:
    """Add ``eta >= g - sum_j min(d_j, g) s_j`` for each dual point with g > 0; the others say nothing."""
    for point in points:
        if point.value <= 0:
            continue
        discount = np.minimum(point.discount, point.value)
        taken = pyo.quicksum(float(discount[j]) * model.s[j] for j in model.NEURONS)
        model.cuts.add(model.eta >= point.value - taken)


def place_objective(model: pyo.ConcreteModel, support: Sequence[int] | Ints, coef: Floats, intercept: float) -> None:
    """Set the variables to a support and its objective at (coef, intercept): a start for a solver."""
    place_support(model, support)
    model.eta.set_value(model.problem.objective(support, coef, intercept))


def paper_ridge(n_rows: int, gamma: float | None = None) -> float:
    r"""The ridge, on standardised neurons and the mean-loss scale, of the paper's objective.

    The paper minimises :math:`\sum_i c_i \max(0, 1 - y_i (x_i w + b)) + |w|^2 / (2 \gamma)` with
    :math:`\sum_i c_i = n` on columns divided by 10 standard deviations. There :math:`w_j = 10 b_j`, so its objective is
    n times the mean-loss objective with ``w_i = c_i / n`` and :math:`\rho = 100 / (\gamma n)`, which is
    :math:`100 / \sqrt n` at its default. Its columns are divided by the unweighted standard deviation; the neurons here
    by the weighted one: the two agree where the weights are uniform.

    Parameters
    ----------
    n_rows : int
        Positive.
    gamma : float, optional
        Positive; ``1 / sqrt(n_rows)`` where left out.

    Raises
    ------
    InputError
        Where a parameter is not positive.

    Examples
    --------
    >>> paper_ridge(10_000)
    1.0
    """
    if n_rows < 1:
        raise InputError(f"the number of rows is {n_rows}: give a positive number")
    if gamma is None:
        return float(100 / np.sqrt(n_rows))
    if not 0 < gamma < np.inf:
        raise InputError(f"gamma is {gamma:g}: give a positive number")
    return float(100 / (gamma * n_rows))
