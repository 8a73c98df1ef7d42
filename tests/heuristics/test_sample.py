"""The sample of the rows: its weights, what is drawn, and that searches on it answer for all rows."""

from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from formulations import fit_support, sparse_probe_problem
from optprobe.engines import solve
from optprobe.heuristics import incumbent, sample
from optprobe.heuristics.sample import sampled

LOSSES = ("logistic", "hinge")


def many_rows(seed, loss="logistic", n=400, p=12, k=3, **given):
    """Labels of the first neurons and noise."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p)) @ (np.eye(p) + 0.3 * rng.standard_normal((p, p)))
    y = np.where(X[:, :k] @ rng.standard_normal(k) + 0.5 * X.std() * rng.standard_normal(n) > 0, 1, -1)
    return sparse_probe_problem(X, y, k, loss=loss, ridge=0.03, **given)


@pytest.fixture
def small_samples(monkeypatch):
    monkeypatch.setattr(sample, "SAMPLED", 64)


def times_drawn(problem, small):
    """Rows of the problem in the sample (their values are distinct), in its order."""
    places = {row.tobytes(): i for i, row in enumerate(problem.X)}
    return [places[row.tobytes()] for row in small.X]


@settings(max_examples=30, deadline=None)
@given(st.integers(0, 10**6), st.floats(0.02, 0.98), st.sampled_from(["equal", "heavy", "zeros"]), st.booleans())
def test_classes_keep_their_weights_and_rows_about_theirs(seed, share, weights, balanced):
    rng = np.random.default_rng(seed)
    n, p = 300, 4
    y = np.where(rng.random(n) < share, 1, -1)
    y[:2] = 1, -1
    weight = {"equal": np.ones(n), "heavy": rng.pareto(1.0, n) + 0.01, "zeros": rng.random(n) * (rng.random(n) < 0.7)}
    chosen = weight[weights]
    chosen[:2] = 1.0
    problem = sparse_probe_problem(
        rng.standard_normal((n, p)), y, 2, sample_weight=chosen, class_weight="balanced" if balanced else "none"
    )
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(sample, "SAMPLED", 40)
        small = sampled(problem)
    assert small.n_rows <= 40
    assert small.w.sum() == pytest.approx(1.0, abs=1e-12)
    rows = times_drawn(problem, small)
    assert rows == sorted(set(rows))
    assert np.array_equal(small.y, problem.y[rows])
    assert (problem.w[rows] > 0).all()
    of_sample = np.zeros(n)
    of_sample[rows] = small.w
    for side in (-1.0, 1.0):
        mine = problem.y == side
        assert of_sample[mine].sum() == pytest.approx(problem.w[mine].sum(), rel=1e-9)
        count = 40 - min(
            20, int(((problem.y > 0) & (problem.w > 0)).sum()), int(((problem.y < 0) & (problem.w > 0)).sum())
        )
        step = problem.w[mine].sum() / count
        assert (np.abs(of_sample[mine] - problem.w[mine]) <= step * (1 + 1e-9)).all()
        if np.count_nonzero(problem.w[mine]) <= count:
            assert of_sample[mine] == pytest.approx(problem.w[mine], rel=1e-9)


def test_few_rows_are_all_taken(small_samples):
    problem = many_rows(0, n=128)
    assert sampled(problem) is problem
    weight = np.ones(300)
    weight[:172] = 0.0
    assert sampled(padded := many_rows(0, n=300, sample_weight=weight)) is padded
    assert sampled(many_rows(0, n=129)).n_rows == 64


def test_the_same_problem_has_the_same_sample(small_samples):
    first, second = sampled(many_rows(1)), sampled(many_rows(1))
    assert np.array_equal(first.X, second.X)
    assert np.array_equal(first.w, second.w)


def test_a_sample_in_which_too_few_columns_vary_is_none(small_samples):
    problem = many_rows(2, k=2)
    X = np.zeros_like(problem.X)
    X[:, 0] = problem.X[:, 0]
    left_out = np.setdiff1d(np.arange(problem.n_rows), times_drawn(problem, sampled(problem)))
    X[left_out[0], 1:] = 1.0
    problem = replace(problem, X=X)
    assert problem.size == 2
    assert sampled(problem) is problem


def test_a_sample_in_which_a_forced_column_is_constant_is_none(small_samples):
    problem = many_rows(5, k=2)
    left_out = np.setdiff1d(np.arange(problem.n_rows), times_drawn(problem, sampled(problem)))
    X = problem.X.copy()
    X[:, 11] = np.isin(np.arange(len(X)), left_out[:1])
    problem = replace(problem, X=X, forced=(11,))
    assert sampled(problem) is problem
    solution = solve(problem)
    assert solution.optimal
    assert 11 in solution.support
    assert sampled(replace(many_rows(5, k=2), forced=(11,))).forced == (11,)


def test_targets_are_sampled_below_and_above_their_mean(small_samples):
    rng = np.random.default_rng(3)
    X = rng.standard_normal((300, 5))
    problem = sparse_probe_problem(X, targets=X[:, 0] + rng.exponential(size=300), k=2)
    small = sampled(problem)
    rows = times_drawn(problem, small)
    assert np.array_equal(small.targets, problem.targets[rows])
    assert small.w[small.y < 0].sum() == pytest.approx(problem.w[problem.y < 0].sum())
    assert np.count_nonzero(small.y < 0) == 32


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("k", [1, 2, 4])
def test_what_is_found_on_a_sample_is_fitted_on_all_rows(small_samples, loss, k):
    problem = many_rows(4, loss, k=k, class_weight="balanced")
    found = incumbent(problem)
    assert len(found.support) == k
    assert found.objective == pytest.approx(fit_support(problem, found.support).objective[0], rel=1e-9)
    assert found.objective <= 1.05 * solve(problem).upper_bound
    worst = problem.candidates[-k:]
    assert incumbent(problem, starts=[worst]).objective <= fit_support(problem, worst).objective[0]
    best = solve(problem).support
    assert incumbent(problem, starts=[best]).support.tolist() == list(best)


def test_a_start_that_is_constant_in_the_sample_is_kept(small_samples):
    problem = many_rows(5, k=2)
    X = problem.X.copy()
    left_out = np.setdiff1d(np.arange(problem.n_rows), times_drawn(problem, sampled(problem)))
    X[:, 11] = np.where(np.isin(np.arange(len(X)), left_out), 5.0 * problem.y, 0.0)
    problem = replace(problem, X=X)
    assert 11 not in sampled(problem).candidates
    assert incumbent(problem, starts=[[11]]).objective <= fit_support(problem, [11]).objective[0]


@pytest.mark.parametrize("loss", ["squared", *LOSSES])
def test_optima_of_groups_are_found_from_a_sample(small_samples, loss):
    problem = replace(many_rows(6, loss), groups=np.arange(12) % 4)
    solution = solve(problem)
    assert solution.optimal
    assert len({int(problem.groups[j]) for j in solution.support}) == 3
