r"""The big-M model of the hinge loss: slack variables, and a bound on each coefficient that its binary opens.

.. math::
    \min \; \sum_i w_i \, \xi_i + \sum_j c_j
    \quad \text{s.t.} \quad \xi_i \ge 1 - y_i (Z_i b + b_0), \; \xi_i \ge 0, \quad
    |b_j| \le M s_j, \quad \sum_j s_j \le k, \quad c_j \ge \tfrac{\rho}{2} b_j^2

on the mean-loss scale (:math:`\rho` is the ridge). HiGHS has no mixed-integer quadratic programs, so
:math:`c_j \ge \rho b_j^2 / 2` is written by its tangents, :math:`c_j \ge -v_j b_j - v_j^2 / (2 \rho)`, one for each
dual point: the model is a lower bound that dual points refine. M follows from the ridge and is never guessed:
:math:`M = \sqrt{2 F(\emptyset) / \rho}` (`coefficient_bound`).

Sources: Gurnee et al. 2023 (hinge loss, cardinality); Bertsimas, Pauphilet, Van Parys 2021 (big M
against the ridge term). The page docs/formulations.md writes the model in full.
"""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import pyomo.environ as pyo

from formulations.bounds import DualPoint
from formulations.errors import UnsupportedProblem
from formulations.fit import fit_support
from formulations.losses import Hinge
from formulations.models.frame import add_probe, constant_point, frame, guarded
from formulations.problem import SparseProbeProblem


def coefficient_bound(problem: SparseProbeProblem) -> float:
    """``M = sqrt(2 F(empty) / ridge)``: no coefficient of a probe as good as the constant fit exceeds it.

    Proof. ``(ridge / 2) |b|^2 <= objective <= F(empty)``, since no loss is negative. Infinite where the ridge is 0.
    """
    if problem.ridge == 0:
        return float("inf")
    return float(np.sqrt(2 * fit_support(problem, []).objective[0] / problem.ridge))


def big_m_hinge_model(problem: SparseProbeProblem, points: Iterable[DualPoint] | None = None) -> pyo.ConcreteModel:
    """Build the big-M model over the candidates of ``problem``.

    Parameters
    ----------
    problem : SparseProbeProblem
        With the hinge loss; Z has shape (n_rows, n_neurons).
    points : iterable of DualPoint, optional
        The tangents of the ridge term; the constant fit's where left out.

    Returns
    -------
    ConcreteModel
        Components ``s, b, b0, f, loss, cost, cardinality, prediction, margin, link_above, link_below, cost_tangents,
        objective``, and the parameter ``M``; ``loss`` is the slack :math:`\\xi`.

    Raises
    ------
    UnsupportedProblem
        For another loss, and where M exceeds `frame.LARGEST_COEFFICIENT`.
    InputError
        Where no column is a candidate.
    """
    if not isinstance(problem.loss, Hinge):
        raise UnsupportedProblem(
            f"the model big_m_hinge holds the hinge loss and not the {problem.loss.name} loss: use perspective"
        )
    bound = coefficient_bound(problem)
    guarded(bound, "the big M of this ridge")
    model = frame(problem, "big_m_hinge")
    add_probe(model)
    model.M = pyo.Param(initialize=bound)
    model.link_above = pyo.Constraint(model.NEURONS, rule=lambda m, j: m.b[j] <= m.M * m.s[j])
    model.link_below = pyo.Constraint(model.NEURONS, rule=lambda m, j: m.b[j] >= -m.M * m.s[j])
    model.cost_tangents = pyo.ConstraintList()
    add_tangents(model, [constant_point(problem)] if points is None else points)
    return model


def add_tangents(model: pyo.ConcreteModel, points: Iterable[DualPoint]) -> None:
    """Add ``cost_j >= -v_j b_j - v_j^2 / (2 ridge)``, the tangent at ``-v_j / ridge``, per dual point and neuron."""
    problem = model.problem
    for point in points:
        v = (problem.w * point.a) @ problem.Z
        for j in model.NEURONS:
            model.cost_tangents.add(model.cost[j] >= -float(v[j]) * model.b[j] - float(v[j] ** 2 / (2 * problem.ridge)))
