"""Weak duality, node bounds, screening and the light bound against brute force."""

from __future__ import annotations

import numpy as np
import pytest
from adversarial import KINDS, Known, known
from hypothesis import given, settings
from hypothesis import strategies as st

from formulations import (
    LOSSES,
    InputError,
    dual_point,
    fit_support,
    forced_bounds,
    light_bound,
    node_bound,
    rounding_margin,
    support_bound,
)

LOSS_NAMES = pytest.mark.parametrize("loss", LOSSES)
EMPTY = np.zeros(0, dtype=np.int64)


def vectors(instance: Known, rng: np.random.Generator) -> list[np.ndarray]:
    """Arbitrary vectors, and the dual optima of some supports."""
    problem = instance.problem
    scales = 10.0 ** rng.uniform(-2, 1, 4)
    arbitrary = [scale * rng.standard_normal(problem.n_rows) for scale in scales]
    return [*arbitrary, *(fit_support(problem, support).dual[0] for support in instance.supports[:4])]


@LOSS_NAMES
@settings(max_examples=40, deadline=None)
@given(seed=st.integers(0, 10_000), kind=st.sampled_from(KINDS))
def test_no_bound_exceeds_the_truth(loss: str, seed: int, kind: str) -> None:
    instance = known(kind, seed, loss, largest_k=3)
    problem, rng = instance.problem, np.random.default_rng(seed)
    margin = rounding_margin(problem) + 1e-12
    for a in vectors(instance, rng):
        point = dual_point(problem, a)
        inside = rng.choice(problem.candidates, rng.integers(problem.size + 1), replace=False)
        free = np.setdiff1d(problem.candidates[rng.random(len(problem.candidates)) < 0.8], inside)
        bound = node_bound(point, inside, free, problem.size)
        forced = dict(zip(map(int, free), forced_bounds(point, inside, free, problem.size)))
        for support, objective in zip(instance.supports, instance.objectives):
            assert support_bound(point, support) <= objective + margin
            if set(inside) <= set(support) <= {*inside, *free}:
                assert bound <= support_bound(point, support) + 1e-12
                assert all(forced[int(j)] <= objective + margin for j in support if int(j) in forced)


@LOSS_NAMES
def test_the_bound_is_tight_at_the_dual_optimum(loss: str) -> None:
    for kind in KINDS:
        instance = known(kind, 0, loss)
        fits = fit_support(instance.problem, instance.supports[-1])
        bound = support_bound(dual_point(instance.problem, fits.dual[0]), instance.supports[-1])
        assert abs(bound - fits.objective[0]) < 1e-8


def test_a_node_without_enough_neurons_is_empty() -> None:
    instance = known("plain", 0, "logistic")
    point = dual_point(instance.problem, np.zeros(instance.problem.n_rows))
    assert node_bound(point, EMPTY, EMPTY, 1) == np.inf


@given(seed=st.integers(0, 10_000), m=st.integers(2, 6))
def test_light_bound(seed: int, m: int) -> None:
    rng = np.random.default_rng(seed)
    tau = rng.uniform(0, 0.95 / (m - 1))
    A = np.eye(m)
    upper = np.triu_indices(m, 1)
    A[upper] = rng.uniform(-tau, tau, len(upper[0]))
    A = A + A.T - np.eye(m)
    u = rng.standard_normal(m)
    assert u @ np.linalg.solve(A, u) <= light_bound(u, tau) * (1 + 1e-12)


def test_light_bound_is_attained_and_refuses_what_it_cannot() -> None:
    tau, u = 0.3, np.ones(3)
    worst = (1 + tau) * np.eye(3) - tau
    np.testing.assert_allclose(u @ np.linalg.solve(worst, u), light_bound(u, tau))
    with pytest.raises(InputError, match="light bound"):
        light_bound(u, 0.5)


def test_dual_bounds_need_a_ridge() -> None:
    problem = known("plain", 0, "squared").problem.restated(ridge=0.0)
    with pytest.raises(InputError, match="ridge"):
        dual_point(problem, np.zeros(problem.n_rows))
