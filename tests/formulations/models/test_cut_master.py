"""The outer approximation's master: weak duality for every support, and the optimum once every cut is there."""

from __future__ import annotations

import numpy as np
import pytest
from instances import KINDS, TOLERANCE, all_points, all_supports, instance, minimum, optimum
from pyomo.repn import generate_standard_repn

from formulations import InputError, fit_supports, support_bound
from formulations.models.cut_master import add_cuts, cut_master_model, paper_ridge
from formulations.models.frame import place_support


@pytest.mark.parametrize("loss", ["squared", "logistic", "hinge"])
@pytest.mark.parametrize("kind", KINDS)
def test_the_value_rises_with_the_cuts_from_below_to_the_optimum(kind: str, loss: str) -> None:
    problem = instance(30, kind, loss)
    best, points = optimum(problem), all_points(problem)
    np.random.default_rng(0).shuffle(points)
    model = cut_master_model(problem)
    values = [minimum(model)]
    for part in (points[: len(points) // 3], points[len(points) // 3 :]):
        add_cuts(model, part)
        values.append(minimum(model))
    assert values[0] <= values[1] + TOLERANCE
    assert values[1] <= values[2] + TOLERANCE
    assert values[2] == pytest.approx(best, abs=TOLERANCE)
    assert max(values) <= best + 1e-8


@pytest.mark.parametrize("loss", ["squared", "logistic", "hinge"])
def test_a_cut_is_weak_duality_at_every_support_and_tight_at_its_own(loss: str) -> None:
    problem = instance(31, "weighted", loss)
    supports = all_supports(problem)
    objective = fit_supports(problem, supports).objective
    for own, point in enumerate(all_points(problem)):
        model = cut_master_model(problem, [point])
        for index, support in enumerate(supports):
            place_support(model, support)
            model.eta.set_value(0.0)
            bound = -min(0.0, model.cuts[1].slack())
            assert bound == pytest.approx(max(0.0, support_bound(point, np.array(support))), abs=1e-12)
            assert bound <= objective[index] + 1e-9
            if index == own:
                assert bound == pytest.approx(objective[index], abs=1e-8)


def test_a_point_of_no_value_adds_no_cut_and_no_coefficient_exceeds_the_value() -> None:
    problem = instance(32, loss="squared").restated(ridge=1e-4)
    good = all_points(problem)[0]
    assert good.discount.max() > good.value
    model = cut_master_model(problem, [good])
    row = generate_standard_repn(model.cuts[1].body)
    assert max(map(abs, row.linear_coefs)) <= 1.0
    bad = good.__class__(good.a, -1.0, good.discount)
    add_cuts(model, [bad])
    assert len(model.cuts) == 1


@pytest.mark.parametrize("gamma", [None, 0.3])
def test_the_papers_objective_is_n_times_ours_at_the_papers_ridge(gamma: float | None) -> None:
    problem = instance(33)
    n = problem.n_rows
    problem = problem.restated(ridge=paper_ridge(n, gamma))
    rng = np.random.default_rng(0)
    support, coef, intercept = problem.candidates[:2], rng.normal(size=2), 0.4
    columns = problem.X[:, support] / (10 * problem.X[:, support].std(axis=0))
    w = 10 * coef
    b = intercept - problem.X[:, support].mean(axis=0) / problem.X[:, support].std(axis=0) @ coef
    c = n * problem.w
    hinge = np.maximum(0, 1 - problem.y * (columns @ w + b))
    theirs = c @ hinge + w @ w / (2 * (1 / np.sqrt(n) if gamma is None else gamma))
    assert theirs == pytest.approx(n * problem.objective(support, coef, intercept), rel=1e-12)


def test_the_papers_ridge_by_hand() -> None:
    assert paper_ridge(17_500) == pytest.approx(0.7559, abs=1e-4)
    assert paper_ridge(100, gamma=2.0) == 0.5
    with pytest.raises(InputError, match="number of rows is 0"):
        paper_ridge(0)
    with pytest.raises(InputError, match="gamma is -1"):
        paper_ridge(10, gamma=-1.0)
