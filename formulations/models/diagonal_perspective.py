r"""The perspective model with a diagonal taken out of the curvature: squared loss, and no variable for a row.

.. math::
    \min \; \tfrac{v_0}{2} - c'b + q + \sum_j c_j
    \quad \text{s.t.} \quad q \ge \tfrac12 b'(G - D) b, \quad
    c_j \, s_j \ge \tfrac{\rho + D_j}{2} b_j^2, \quad \sum_j s_j \le k

with :math:`G = Z'WZ`, :math:`c = Z'Wy` and :math:`v_0 = y'Wy` about means, and a diagonal D >= 0 that leaves G - D
positive semidefinite. On binary s it is the same problem for every such D, since :math:`b_j^2 / s_j` is b_j^2 there; in
between, what D takes from q is paid by the perspectives, which are dearer. Both convex constraints are written by
their tangents at coefficients :math:`\hat b`, with :math:`w = c - (G - D) \hat b`:

.. math::
    q \ge \hat b'(G - D) b - \tfrac12 \hat b'(G - D) \hat b, \qquad
    c_j \ge w_j b_j - \tfrac{w_j^2}{2 (\rho + D_j)} s_j .

Summed they are the cut :math:`v_0 / 2 - \hat b'(G - D) \hat b / 2 - \sum_j w_j^2 s_j / (2 (\rho + D_j))`. A dual point
a gives the coefficients with :math:`G \hat b = v(a) + c`, those of its fit where it is that of one.

Sources: Frangioni & Gentile 2007; Zheng, Sun & Li 2014 and Dong, Chen & Linderoth 2015 (which D is best; this one is in
proportion to :math:`1 / (G^{-1})_{jj}`). docs/formulations.md writes the model in full.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence

import numpy as np
import pyomo.environ as pyo

from formulations.bounds import DualPoint
from formulations.errors import UnsupportedProblem
from formulations.losses import Squared
from formulations.models.frame import Floats, Ints, constant_point, frame, guarded, place_support
from formulations.problem import SparseProbeProblem

SINGULAR = 1e-10
"""Eigenvalues of G below this share of the largest count as 0; D is 0 where there are such."""
SAFE = 0.999
"""D keeps away from where G - D is singular."""


def diagonal_perspective_model(
    problem: SparseProbeProblem, points: Iterable[DualPoint] | None = None
) -> pyo.ConcreteModel:
    """Build the model over the candidates of ``problem``.

    Parameters
    ----------
    problem : SparseProbeProblem
        With the squared loss and a positive ridge; its second moments are a matrix of n_candidates x n_candidates.
    points : iterable of DualPoint, optional
        Where the tangents touch; the constant fit where left out.

    Returns
    -------
    ConcreteModel
        Components ``s, b, q, cost, cardinality, curvature_tangents, cost_tangents, objective``; ``model.gram`` (G)
        and ``model.diagonal`` (D), shape (n_candidates,), are what it was built with.

    Raises
    ------
    UnsupportedProblem
        For another loss, and as `add_tangents`.
    InputError
        Where the ridge is 0, or no column is a candidate.
    """
    model = frame(problem, "diagonal_perspective")
    if not isinstance(problem.loss, Squared):
        raise UnsupportedProblem(f"diagonal_perspective is for the squared loss, not the {problem.loss.name} loss")
    points = [constant_point(problem)] if points is None else points
    model.gram = problem.gram(problem.candidates)
    model.diagonal = diagonal_of(model.gram)
    model.b = pyo.Var(model.NEURONS)
    model.q = pyo.Var(domain=pyo.NonNegativeReals)
    model.cost = pyo.Var(model.NEURONS, domain=pyo.NonNegativeReals)
    linear = pyo.quicksum(float(problem.cross[j]) * model.b[j] for j in model.NEURONS)
    costs = pyo.quicksum(model.cost[j] for j in model.NEURONS)
    model.objective = pyo.Objective(expr=problem.variance / 2 - linear + model.q + costs)
    model.curvature_tangents, model.cost_tangents = pyo.ConstraintList(), pyo.ConstraintList()
    add_tangents(model, points)
    return model


def diagonal_of(gram: Floats) -> Floats:
    """A diagonal D, shape (m,), that leaves a positive semidefinite G, shape (m, m), positive semidefinite.

    ``D_j = g / (G^-1)_jj`` with g = 1 / (the largest eigenvalue of ``d^1/2 G^-1 d^1/2``, d the diagonal without g); 0
    where G is singular to `SINGULAR`.
    """
    values, vectors = np.linalg.eigh(gram)
    if not values[0] > SINGULAR * values[-1]:
        return np.zeros(len(gram))
    inverse = (vectors / values) @ vectors.T
    D = 1 / np.diagonal(inverse)
    root = np.sqrt(D)
    return np.asarray(SAFE * D / np.linalg.eigvalsh(root[:, None] * inverse * root)[-1])


def add_tangents(model: pyo.ConcreteModel, points: Iterable[DualPoint]) -> None:
    """Add the tangents at the coefficients of each dual point: one for q, and one for each neuron.

    Raises `UnsupportedProblem` where ``w_j^2 / (2 (ridge + D_j))``, the coefficient of ``s_j``, exceeds
    `frame.LARGEST_COEFFICIENT`.
    """
    problem, D = model.problem, model.diagonal
    candidates, c = problem.candidates, problem.cross[problem.candidates]
    for point in points:
        v = ((problem.w * point.a) @ problem.Z)[candidates]
        b = np.linalg.lstsq(model.gram, v + c, rcond=SINGULAR)[0]
        left = model.gram @ b - D * b
        w = c - left
        discount = w * w / (2 * (problem.ridge + D))
        guarded(discount, "the largest discount of a point")
        slope = pyo.quicksum(float(left[at]) * model.b[j] for at, j in enumerate(model.NEURONS))
        model.curvature_tangents.add(model.q >= slope - float(b @ left) / 2)
        for at, j in enumerate(model.NEURONS):
            model.cost_tangents.add(model.cost[j] >= float(w[at]) * model.b[j] - float(discount[at]) * model.s[j])


def place_coefficients(model: pyo.ConcreteModel, support: Sequence[int] | Ints, coef: Floats, intercept: float) -> None:
    """Set all variables to one probe: a start for a solver.

    The model's intercept is the best one: what another one loses is added to q.
    """
    problem = model.problem
    place_support(model, support)
    candidates = problem.candidates
    b = np.zeros(len(candidates))
    b[np.searchsorted(candidates, np.asarray(support, dtype=np.int64))] = coef
    costs = (problem.ridge + model.diagonal) * b * b / 2
    for at, j in enumerate(model.NEURONS):
        model.b[j].set_value(float(b[at]))
        model.cost[j].set_value(float(costs[at]))
    rest = problem.variance / 2 - float(problem.cross[candidates] @ b) + float(costs.sum())
    model.q.set_value(problem.objective(support, coef, intercept) - rest)
