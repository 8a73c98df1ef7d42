"""The sweep of single neurons: its theorem against brute force, and what it leaves to be fitted."""

from __future__ import annotations

import numpy as np
import pytest
from adversarial import KINDS, known
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from formulations import SparseProbeProblem, fit_supports, rounding_margin, sparse_probe_problem
from optprobe.engines import solve
from optprobe.engines.budget import Budget
from optprobe.engines.engine import Task
from optprobe.engines.kernels.singles import sums_of_singles
from optprobe.engines.sweeps import singles
from optprobe.engines.sweeps.singles import FEW, SingleSweep, bounds_at
from optprobe.heuristics import sample

Floats = NDArray[np.float64]


def singles_of(kind: str, seed: int) -> tuple[SparseProbeProblem, Floats]:
    """An adversarial problem restated for one neuron, and F of each candidate."""
    problem = known(kind, seed, "logistic").problem.restated(k=1)
    return problem, fit_supports(problem, problem.candidates[:, None]).objective


@settings(max_examples=200, deadline=None)
@given(st.sampled_from(KINDS), st.integers(0, 10**4), st.sampled_from([0.01, 1.0, 30.0]))
def test_no_bound_is_above_the_objective(kind: str, seed: int, size: float) -> None:
    """At any point, near the fit or far from it."""
    (problem, objectives), rng = singles_of(kind, seed), np.random.default_rng(seed)
    columns = problem.candidates
    points = size * rng.standard_normal((len(columns), 2))
    margin = rounding_margin(problem)
    for _ in range(6):
        bounds, points = bounds_at(problem.Z.T, columns, problem.y, problem.w, problem.ridge, points)
        assert (bounds <= objectives + margin).all()
        assert np.isfinite(points).all()


@pytest.mark.parametrize("label", [-1.0, 1.0])
def test_sums_of_one_row_err_by_less_than_is_supposed(label: float) -> None:
    """Predictions of all sizes, in numbers of more digits; beyond the farthest, what is said of it."""
    rng = np.random.default_rng(0)
    sizes = np.concatenate([10.0 ** rng.uniform(-20, 2.84, 5000), 0.01 * np.arange(4000)])
    f = np.concatenate([-sizes, sizes])
    points = np.stack([np.zeros(len(f)), f], axis=1)
    one = np.ones((1, 1))
    sums = sums_of_singles(one, np.zeros(len(f), dtype=np.int64), np.array([label]), one[0], points).T
    margin = np.abs(f.astype(np.longdouble))
    e = np.exp(-margin)
    t = np.where(label * f > 0, e, 1) / (1 + e)
    D, H = e / (1 + e) ** 2, margin * e / (1 + e) + np.log1p(e)
    size = 16 * np.finfo(float).eps / 2
    for found, exact in zip(sums, (-label * t, -label * t, D, D, D, D * f)):
        assert (np.abs(found - exact) <= size * np.abs(exact)).all()
    assert (np.abs(sums[6] - H) <= size).all()


@pytest.mark.parametrize("far", [701.0, 1e9, 1e308, np.inf, np.nan])
def test_predictions_beyond_any_size_still_have_sums_of_some_prediction(far: float) -> None:
    rng = np.random.default_rng(0)
    Z, y, w = rng.standard_normal((3, 700)), np.where(np.arange(700) % 2, 1.0, -1.0), np.full(700, 1 / 700)
    sums = sums_of_singles(Z, np.arange(3), y, w, np.array([[far, 1.0], [-far, far], [1.0, -far]]))
    assert np.isfinite(sums).all()
    assert (sums[:, 2] <= 0.25).all()
    assert (sums[:, 6] <= np.log(2)).all()


def test_bounds_reach_the_objective() -> None:
    """After a few steps of Newton's method, so that a test of bounds from below tests something."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((200, 20)) ** 3
    problem = sparse_probe_problem(X, np.where(X[:, 0] + rng.standard_normal(200) > 0, 1, -1), 1, ridge=0.01)
    points = np.zeros((20, 2))
    for _ in range(8):
        bounds, points = bounds_at(problem.Z.T, np.arange(20), problem.y, problem.w, problem.ridge, points)
    assert bounds == pytest.approx(fit_supports(problem, np.arange(20)[:, None]).objective, abs=1e-9)


@pytest.mark.parametrize("f", [0.0, 3.0, -40.0, 800.0])
def test_a_constant_far_off_gives_no_bound_or_a_valid_one(f: float) -> None:
    y = np.array([1.0, -1.0, 1.0, 1.0])
    problem = sparse_probe_problem(np.array([[0.0], [1.0], [2.0], [5.0]]), y, 1, ridge=0.1)
    first, at = np.arange(1), np.array([[0.0, f]])
    bounds, points = bounds_at(problem.Z.T, first, problem.y, problem.w, problem.ridge, at)
    assert bounds[0] <= fit_supports(problem, [[0]]).objective[0] + 1e-12
    assert np.isfinite(points).all()
    if abs(f) > 3:
        assert bounds[0] == -np.inf


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_what_the_sweep_closes_is_not_below_the_target(kind: str, seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever the target, and the sample from which it begins."""
    monkeypatch.setattr(sample, "SAMPLED", 16)
    monkeypatch.setattr(singles, "FEW", 0)
    problem, objectives = singles_of(kind, seed)
    if not problem.size:
        return
    columns, worst = problem.candidates, int(np.argmax(objectives))
    for target in np.quantile(objectives, [0.0, 0.3, 0.8]):
        sweep = SingleSweep(Task(problem, (int(columns[worst]),), float(objectives[worst]), 1e-6))
        sweep.found.upper = float(target) + sweep.slack
        fitted: list[int] = []
        monkeypatch.setattr(sweep, "fit", lambda sets, sweep=sweep, out=fitted: out.extend(sweep.columns[sets[:, 0]]))
        assert sweep.finished()
        assert set(columns[objectives < sweep.target]) <= set(fitted)


def test_passes_close_nearly_all_neurons(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sample, "SAMPLED", 256)
    rng = np.random.default_rng(1)
    X = rng.standard_normal((1500, 60)) ** 3
    y = np.where(X[:, 7] + 2 * rng.standard_normal(1500) > 0, 1, -1)
    solution = solve(sparse_probe_problem(X, y, 1, ridge=0.01))
    assert solution.support == (7,)
    assert solution.optimal
    assert solution.counts["open"] <= FEW


def test_a_sweep_without_time_says_so() -> None:
    problem, objectives = singles_of(KINDS[0], 0)
    task = Task(problem, (int(problem.candidates[0]),), float(objectives[0]), 1e-6, Budget(1e-9))
    assert not SingleSweep(task).finished()


@pytest.mark.parametrize("side", [1.0, -1.0])
def test_a_class_of_less_weight_than_rounding(side: float) -> None:
    """The shares of the other class then sum to 1."""
    X = np.random.default_rng(0).standard_normal((48, 4))
    y = np.where(np.arange(48) < 32, side, -side)
    problem = sparse_probe_problem(X, y, 1, ridge=0.01, sample_weight=np.where(y == side, 1.0, 1e-18))
    assert float(problem.w @ (problem.y == side)) == 1
    solution = solve(problem, "dual_enumeration")
    assert solution.lower_bound <= fit_supports(problem, problem.candidates[:, None]).objective.min()
