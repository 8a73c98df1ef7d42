"""Exact fits against optimisers that share nothing with them."""

from __future__ import annotations

import numpy as np
import pytest
from adversarial import instances
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.optimize import linprog, minimize

from formulations import (
    LOSSES,
    SparseProbeProblem,
    constant_point,
    fit_support,
    fit_supports,
    sparse_probe_problem,
)
from formulations.losses import log_odds

LOSS_NAMES = pytest.mark.parametrize("loss", LOSSES)


@LOSS_NAMES
def test_relative_gap(loss: str) -> None:
    """The dual value is below the objective, and within 1e-9 of it, relative to the objective."""
    gaps = []
    for instance in instances(loss, range(6)):
        fits = fit_supports(instance.problem, instance.supports)
        assert (fits.lower <= fits.objective + 1e-13).all()
        gaps.extend((fits.objective - fits.lower) / np.maximum(fits.objective, 1e-6))
    assert np.quantile(gaps, 0.999) < 1e-9
    assert np.max(gaps) < 1e-6


@LOSS_NAMES
def test_no_nearby_point_is_better(loss: str) -> None:
    rng = np.random.default_rng(0)
    for instance in instances(loss, range(2)):
        problem = instance.problem
        fits = fit_supports(problem, instance.supports[:5])
        for row, support in enumerate(fits.supports):
            for scale in (1e-1, 1e-3):
                coef = fits.coef[row] + scale * rng.standard_normal(len(support))
                value = problem.objective(support, coef, fits.intercept[row] + scale * rng.standard_normal())
                assert value >= fits.objective[row] - 1e-9


@pytest.mark.parametrize("loss", ["squared", "logistic"])
def test_against_a_general_minimiser(loss: str) -> None:
    for instance in instances(loss, range(2)):
        problem, support = instance.problem, instance.supports[0]

        def objective(b: np.ndarray, problem: SparseProbeProblem = problem, support: np.ndarray = support) -> float:
            return problem.objective(support, b[:-1], b[-1])

        found = minimize(objective, np.zeros(len(support) + 1), method="BFGS", options={"gtol": 1e-9})
        assert fit_support(problem, support).objective[0] <= found.fun + 1e-9
        assert fit_support(problem, support).objective[0] >= found.fun - 1e-6


def test_hinge_at_tiny_ridge_is_a_linear_program() -> None:
    """With next to no ridge the hinge fit is the linear program of the slacks."""
    rng = np.random.default_rng(4)
    X, y = rng.standard_normal((40, 3)), rng.choice([-1.0, 1.0], 40)
    problem = sparse_probe_problem(X, y, 3, loss="hinge", ridge=1e-7)
    Z, n = problem.Z, 40
    A = -np.hstack([y[:, None] * Z, y[:, None], np.eye(n)])
    found = linprog(
        np.concatenate([np.zeros(4), problem.w]), A, -np.ones(n), bounds=[(None, None)] * 4 + [(0, None)] * n
    )
    assert abs(fit_support(problem, [0, 1, 2]).objective[0] - found.fun) < 1e-5


@LOSS_NAMES
@settings(max_examples=25, deadline=None)
@given(seed=st.integers(0, 1000))
def test_more_neurons_never_fit_worse(loss: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    X, y = rng.standard_normal((25, 5)), np.append(rng.choice([-1.0, 1.0], 23), [-1.0, 1.0])
    problem = sparse_probe_problem(X, y, 3, loss=loss, ridge=float(10 ** rng.uniform(-3, 1)))
    smaller, larger = fit_support(problem, [1, 3]), fit_support(problem, [1, 3, 4])
    assert larger.objective[0] <= smaller.objective[0] + 1e-9


def test_least_squares_without_ridge_and_with_a_duplicate() -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((30, 3))
    X[:, 2] = X[:, 0]
    y = np.where(X[:, 0] > 0, 1.0, -1.0)
    problem = sparse_probe_problem(X, y, 2, loss="squared", ridge=0.0)
    expected = np.linalg.lstsq(np.column_stack([problem.Z[:, 0], np.ones(30)]), y)[1][0] / 60
    np.testing.assert_allclose(fit_support(problem, [0, 2]).objective[0], expected, rtol=1e-10)


def test_thousands_at_once_equal_one_at_a_time() -> None:
    rng = np.random.default_rng(1)
    X, y = rng.standard_normal((50, 30)), rng.choice([-1.0, 1.0], 50)
    supports = np.array([rng.choice(30, 3, replace=False) for _ in range(2000)])
    for loss in LOSSES:
        problem = sparse_probe_problem(X, y, 3, loss=loss, ridge=0.1)
        many = fit_supports(problem, supports)
        for row in (0, 999, 1999):
            one = fit_support(problem, supports[row])
            np.testing.assert_allclose(many.objective[row], one.objective[0], rtol=1e-9)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("rare", [-1.0, 1.0])
@pytest.mark.parametrize("share", [1e-8, 1e-17, 1e-90])
def test_a_class_of_less_weight_than_rounding(loss: str, rare: float, share: float) -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((30, 4))
    y = np.where(X[:, 0] + rng.standard_normal(30) > 0, 1.0, -1.0)
    weight = np.where(y == rare, share, 1.0)
    problem = sparse_probe_problem(X, y, 2, loss=loss, sample_weight=weight, ridge=0.05)
    fits = fit_supports(problem, [(0, 1), (2, 3)])
    rounding = 1e-14  # of the mean loss: the fits themselves are as good as that
    assert (fits.lower <= fits.objective + rounding).all()
    assert (fits.objective <= float(fit_support(problem, ()).objective[0]) + rounding).all()
    point = constant_point(problem)
    assert np.isfinite(point.value)
    if loss == "logistic":  # the entropy of the labels, to first order in the share of the rare class
        mass = share * (y == rare).sum() / (y != rare).sum()
        assert point.value == pytest.approx(mass * (1 - np.log(mass)), rel=1e-6)
        assert log_odds(y, problem.w) == pytest.approx(rare * np.log(mass))
