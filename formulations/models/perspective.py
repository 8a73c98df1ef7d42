r"""The perspective model: each neuron pays for its coefficient by the perspective of the ridge term.

.. math::
    \min \; \sum_i w_i \, L_i + \sum_j c_j
    \quad \text{s.t.} \quad L_i \ge \ell(y_i, Z_i b + b_0), \quad
    c_j \, s_j \ge \tfrac{\rho}{2} b_j^2, \quad \sum_j s_j \le k

on the mean-loss scale (:math:`\rho` is the ridge), for the squared, logistic and hinge losses. Both convex constraints
are written by their tangents, which are Fenchel's inequality at a dual point a with v = Z'(w a):

.. math::
    L_i \ge a_i f_i - \ell^*(a_i), \qquad c_j \ge -v_j b_j - \tfrac{v_j^2}{2\rho} s_j .

The second is :math:`u_j \ge 2 t b_j - t^2 s_j` at :math:`t = -v_j / \rho`, for :math:`c_j = \rho u_j / 2`. Summed with
the weights of the objective, the tangents of one dual point are its cut :math:`g(a) - \sum_j d_j(a) s_j`, whatever b
is: so no big M is needed, and on binary s the model is never below the cut master with the same points. It is a lower
bound, refined by adding dual points (`add_tangents`); with all of them its continuous relaxation is the boolean
relaxation, whose value is the largest node bound of the root.

Sources: Frangioni & Gentile 2006 and Günlük & Linderoth 2010 (perspective cuts); Pilanci, Wainwright, El Ghaoui 2015
(boolean relaxation); Bertsimas, Pauphilet, Van Parys 2021. docs/formulations.md writes the model in full.
"""

from __future__ import annotations

from collections.abc import Iterable

import pyomo.environ as pyo

from formulations.bounds import DualPoint
from formulations.losses import Hinge
from formulations.models.frame import add_probe, constant_point, frame, guarded
from formulations.problem import SparseProbeProblem


def perspective_model(problem: SparseProbeProblem, points: Iterable[DualPoint] | None = None) -> pyo.ConcreteModel:
    """Build the perspective model over the candidates of ``problem``.

    Parameters
    ----------
    problem : SparseProbeProblem
        With any loss and a positive ridge; Z has shape (n_rows, n_neurons).
    points : iterable of DualPoint, optional
        Where the tangents touch; the constant fit where left out.

    Returns
    -------
    ConcreteModel
        Components ``s, b, b0, f, loss, cost, cardinality, prediction, cost_tangents, objective``, and ``margin`` for
        the hinge loss (exact by itself) or ``loss_tangents`` for the others.

    Raises
    ------
    UnsupportedProblem
        As `add_tangents`.
    InputError
        Where the ridge is 0, or no column is a candidate.
    """
    model = frame(problem, "perspective")
    add_probe(model)
    model.cost_tangents = pyo.ConstraintList()
    if not isinstance(problem.loss, Hinge):
        model.loss_tangents = pyo.ConstraintList()
    add_tangents(model, [constant_point(problem)] if points is None else points)
    return model


def add_tangents(model: pyo.ConcreteModel, points: Iterable[DualPoint]) -> None:
    """Add the tangents of each dual point: one for each neuron, and one for each row where the loss is not hinge.

    Raises `UnsupportedProblem` where a discount ``v_j^2 / (2 ridge)``, the coefficient of ``s_j``, exceeds
    `frame.LARGEST_COEFFICIENT`.
    """
    problem = model.problem
    for point in points:
        guarded(point.discount[problem.candidates], "the largest discount of a dual point")
        v = (problem.w * point.a) @ problem.Z
        for j in model.NEURONS:
            tangent = -float(v[j]) * model.b[j] - float(point.discount[j]) * model.s[j]
            model.cost_tangents.add(model.cost[j] >= tangent)
        if isinstance(problem.loss, Hinge):
            continue
        conjugate = problem.loss.conjugate(problem.y, point.a)
        for i in model.ROWS:
            model.loss_tangents.add(model.loss[i] >= float(point.a[i]) * model.f[i] - float(conjugate[i]))
