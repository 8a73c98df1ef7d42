"""Every model of the registry against brute force, at fixed supports, and in its relaxation."""

from __future__ import annotations

import numpy as np
import pyomo.environ as pyo
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from instances import KINDS, TOLERANCE, all_points, all_supports, instance, minimum, optimum, outer_approximation

from formulations import InputError, UnsupportedProblem, dual_point, fit_support, fit_supports, node_bound
from formulations import sparse_probe_problem as probe_problem
from formulations.models import MODELS, fix_support, place, refine, support_of, violation
from formulations.models.big_m_hinge import coefficient_bound
from formulations.models.frame import LARGEST_COEFFICIENT

CASES = [(name, loss) for name, model in MODELS.items() for loss in model.losses]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize(("name", "loss"), CASES)
def test_outer_approximation_finds_the_optimum_of_brute_force(name: str, loss: str, kind: str) -> None:
    problem = instance(CASES.index((name, loss)), kind, loss)
    best = optimum(problem)
    model = MODELS[name].build(problem)
    lower, upper, solves = outer_approximation(model)
    assert best - TOLERANCE <= lower <= best + 1e-8
    assert upper == pytest.approx(best, abs=1e-9)
    assert solves <= 1 + len(all_supports(problem))
    assert len(support_of(model)) <= problem.size
    assert violation(model) < 2 * TOLERANCE


@pytest.mark.parametrize("kind", ["plain", "duplicates", "weighted"])
@pytest.mark.parametrize(("name", "loss"), CASES)
def test_the_minimum_at_a_fixed_support_is_its_fit(name: str, loss: str, kind: str) -> None:
    problem = instance(20, kind, loss)
    model = MODELS[name].build(problem)
    rng = np.random.default_rng(0)
    for size in range(problem.size + 1):
        support = rng.choice(problem.candidates, size, replace=False).tolist()
        before = refine(model, support)
        fix_support(model, support)
        assert minimum(model) == pytest.approx(fit_support(problem, support).objective[0], abs=TOLERANCE)
        assert before == fit_support(problem, support).objective[0]
        model.s.unfix()


@settings(max_examples=40, deadline=None, derandomize=True)
@given(case=st.sampled_from(CASES), kind=st.sampled_from(KINDS), seed=st.integers(0, 10**6))
def test_no_tangent_or_cut_removes_a_true_point(case: tuple[str, str], kind: str, seed: int) -> None:
    name, loss = case
    problem = instance(seed, kind, loss)
    rng = np.random.default_rng(seed)
    points = [dual_point(problem, scale * rng.normal(size=problem.n_rows)) for scale in (0.01, 0.3, 3.0)]
    model = MODELS[name].build(problem, points)
    support = rng.choice(problem.candidates, problem.size, replace=False)
    reach = coefficient_bound(problem) if name == "big_m_hinge" else 5.0
    coef, intercept = rng.uniform(-reach, reach, size=problem.size), float(rng.normal())
    MODELS[name].set_start(model, support, coef, intercept)
    assert violation(model) < 1e-9
    assert support_of(model) == sorted(support)
    assert pyo.value(model.objective) == pytest.approx(problem.objective(support, coef, intercept), rel=1e-12)


@pytest.mark.parametrize(("name", "loss"), CASES)
def test_a_placed_fit_is_feasible_and_worth_its_objective(name: str, loss: str) -> None:
    problem = instance(5, "unbalanced", loss)
    model = MODELS[name].build(problem, all_points(problem)[:5])
    for support in all_supports(problem)[:10]:
        value = place(model, support)
        assert violation(model) < 1e-9
        assert pyo.value(model.objective) == pytest.approx(value, rel=1e-12)


@pytest.mark.parametrize(("name", "loss"), CASES)
def test_violation_measures_a_broken_constraint(name: str, loss: str) -> None:
    problem = instance(6, "plain", loss)
    model = MODELS[name].build(problem)
    place(model, all_supports(problem)[0])
    for j in model.NEURONS:
        model.s[j].set_value(1)
    assert violation(model) >= len(model.NEURONS) - problem.size
    place(model, all_supports(problem)[0])
    model.s[support_of(model)[0]].set_value(0.75)
    assert violation(model) >= 0.25


@pytest.mark.parametrize(("name", "loss"), [case for case in CASES if case[0] != "big_m_hinge"])
def test_the_relaxation_reaches_every_node_bound_of_the_root_and_not_the_optimum(name: str, loss: str) -> None:
    problem = instance(7, "collinear", loss)
    points = all_points(problem)[::4]
    model = MODELS[name].build(problem, points)
    pyo.TransformationFactory("core.relax_integer_vars").apply_to(model)
    relaxed = minimum(model)
    nothing = np.zeros(0, dtype=np.int64)
    assert relaxed >= max(node_bound(point, nothing, problem.candidates, problem.size) for point in points) - TOLERANCE
    assert relaxed <= optimum(problem) + TOLERANCE


def test_the_perspective_model_is_never_below_the_cut_master_with_the_same_points() -> None:
    for loss in MODELS["perspective"].losses:
        problem = instance(8, "plain", loss)
        points = all_points(problem)[::9]
        models = [MODELS[name].build(problem, points) for name in ("cut_master", "perspective")]
        master, perspective = map(minimum, models)
        assert master <= perspective + TOLERANCE


@pytest.mark.parametrize("seed", range(4))
def test_a_diagonal_leaves_the_rest_semidefinite_and_raises_the_relaxation(seed: int) -> None:
    """With the tangents of all fits, the relaxation by which every node begins is nearer to the optimum."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((120, 7)) + 0.5 * rng.standard_normal((120, 1))
    y = np.where(X @ rng.standard_normal(7) + rng.standard_normal(120) > 0, 1.0, -1.0)
    problem = probe_problem(X, y, 2, loss="squared", ridge=0.01)
    relaxed = []
    for name in ("cut_master", "diagonal_perspective"):
        model = MODELS[name].build(problem, all_points(problem))
        pyo.TransformationFactory("core.relax_integer_vars").apply_to(model)
        relaxed.append(minimum(model))
    assert np.linalg.eigvalsh(model.gram - np.diag(model.diagonal))[0] > 0
    assert model.diagonal.min() > 0.01
    assert relaxed[0] + 0.01 < relaxed[1] <= optimum(problem) + TOLERANCE


def test_no_probe_as_good_as_the_constant_fit_leaves_the_big_m_box() -> None:
    for kind in KINDS:
        problem = instance(9, kind)
        fits = fit_supports(problem, all_supports(problem))
        assert (fits.objective <= fit_support(problem, []).objective[0] + 1e-9).all()
        assert np.abs(fits.coef).max() <= coefficient_bound(problem)


@pytest.mark.parametrize("name", list(MODELS))
def test_presolve_seed_and_start_change_nothing(name: str) -> None:
    problem = instance(10, "ties", MODELS[name].losses[-1])
    model = MODELS[name].build(problem, all_points(problem)[::3])
    value = minimum(model)
    assert minimum(model, presolve="off") == pytest.approx(value, abs=TOLERANCE)
    assert minimum(model, random_seed=7) == pytest.approx(value, abs=TOLERANCE)
    place(model, all_supports(problem)[-1])
    solver = pyo.SolverFactory("appsi_highs")
    solver.highs_options = {"threads": 1, "parallel": "off", "mip_rel_gap": 0.0, "mip_abs_gap": 0.0}
    solver.solve(model, warmstart=True)
    assert pyo.value(model.objective) == pytest.approx(value, abs=TOLERANCE)


def test_only_candidates_enter_a_model() -> None:
    problem = instance(11, "constant")
    assert 1 not in problem.candidates
    for model in (MODELS[name].build(problem.restated(loss=MODELS[name].losses[-1])) for name in MODELS):
        assert list(model.NEURONS) == problem.candidates.tolist()
        with pytest.raises(InputError, match="column 1 is not a candidate"):
            fix_support(model, [1])
    inside = probe_problem(problem.X, problem.y, 2, loss="hinge", among=[0, 4, 3])
    assert list(MODELS["cut_master"].build(inside).NEURONS) == [0, 3, 4]


def test_a_problem_without_candidates_is_refused() -> None:
    problem = probe_problem(np.ones((4, 2)), [0, 1, 0, 1], 1, loss="hinge")
    for name in MODELS:
        with pytest.raises(InputError, match="every allowed column is constant"):
            MODELS[name].build(problem)


def test_the_big_m_model_refuses_other_losses_and_a_big_m_above_the_guard() -> None:
    with pytest.raises(UnsupportedProblem, match="not the logistic loss: use perspective"):
        MODELS["big_m_hinge"].build(instance(0, loss="logistic"))
    problem = instance(0)
    at_guard = 2 * fit_support(problem, []).objective[0] / LARGEST_COEFFICIENT**2
    MODELS["big_m_hinge"].build(problem.restated(ridge=1.01 * at_guard))
    with pytest.raises(UnsupportedProblem, match=r"the big M of this ridge is 1005\.04, above the 1000"):
        MODELS["big_m_hinge"].build(problem.restated(ridge=0.99 * at_guard))


def test_the_perspective_model_refuses_discounts_above_the_guard_and_the_cut_master_bounds_them() -> None:
    problem = instance(1, loss="squared").restated(ridge=1e-5)
    with pytest.raises(UnsupportedProblem, match="the largest discount of a dual point is"):
        MODELS["perspective"].build(problem)
    lower, upper, _ = outer_approximation(MODELS["cut_master"].build(problem))
    assert lower == pytest.approx(optimum(problem), abs=TOLERANCE)
    assert upper == pytest.approx(optimum(problem), abs=1e-9)


@pytest.mark.parametrize("name", ["perspective", "diagonal_perspective", "cut_master"])
def test_a_ridge_of_zero_is_refused(name: str) -> None:
    with pytest.raises(InputError, match="positive ridge"):
        MODELS[name].build(instance(0, loss="squared").restated(ridge=0.0))
