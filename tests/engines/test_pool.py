"""Pools against brute force: what is listed, what is bounded, and both checkers' word for it."""

from __future__ import annotations

import itertools
import os
import signal
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from adversarial import KINDS, LOSSES, Known, known

from formulations import ProbeProblem, fit_supports, sparse_probe_problem
from optprobe.certificates import verify
from optprobe.certificates.exact import verify_exact
from optprobe.engines import Solution, pool_search, solve
from optprobe.engines.engine import engine_named
from optprobe.engines.outcome import Outcome

ENGINES = {
    "squared": ("enumeration", "branch_and_cut", "outer_approximation", "milp"),
    "logistic": ("dual_enumeration", "branch_and_cut", "outer_approximation", "milp"),
    "hinge": ("dual_enumeration", "branch_and_cut", "milp"),
}
LARGEST_K = {"enumeration": 4, "dual_enumeration": 3, "branch_and_cut": 4, "outer_approximation": 3, "milp": 2}
Objectives = dict[tuple[int, ...], float]


def every_set(problem: ProbeProblem) -> Objectives:
    """F of every set of at most k neurons, the empty one included."""
    found: Objectives = {}
    for size in range(problem.size + 1):
        listed = list(itertools.combinations(problem.candidates, size))
        sets = np.array(listed, dtype=np.int64).reshape(len(listed), size)
        objectives = fit_supports(problem, sets).objective
        found |= {tuple(map(int, row)): float(value) for row, value in zip(sets, objectives)}
    return found


def holds(pool_sets: list[tuple[int, ...]], support: tuple[int, ...]) -> bool:
    return any(set(one) <= set(support) for one in pool_sets)


def check_true(solution: Solution, objectives: Objectives) -> None:
    """Everything that a pool says, by the F of every set."""
    pool = solution.pool
    assert pool is not None
    sets = [one.support for one in pool.sets]
    for one in pool.sets:
        assert one.lower_bound <= objectives[one.support] <= one.upper_bound
        assert one.upper_bound - one.lower_bound < 2e-7
        assert not any(set(other) < set(one.support) for other in sets)
    assert len(set(sets)) == len(sets)
    assert [one.upper_bound for one in pool.sets] == sorted(one.upper_bound for one in pool.sets)
    for support, value in objectives.items():
        assert value >= solution.lower_bound
        if not holds(sets, support):
            assert value >= pool.rest
        if pool.margin is not None and support != pool.sets[0].support:
            assert value >= pool.sets[0].upper_bound + pool.margin
    best = min(objectives, key=lambda one: (objectives[one], one))
    if pool.unique:
        assert sum(value <= objectives[best] for value in objectives.values()) == 1
        assert pool.sets[0].support == best == solution.support


def check_verified(solution: Solution, instance: Known, path: Path) -> None:
    """The checker accepts it by its proof and by looking at every set, and so does the one in ball arithmetic."""
    solution.certificate().save(path)
    for exhaustive in (False, True):
        verdict = verify(path, instance.X, instance.y, instance.sample_weight, exhaustive=exhaustive)
        assert verdict.accepted, verdict.reason
    exact = verify_exact(path, instance.X, instance.y, instance.sample_weight)
    assert exact.accepted, exact.reason
    statement = verdict.statement
    assert statement is not None
    assert statement.pool is not None
    assert solution.pool is not None
    assert statement.pool.rest == solution.pool.rest


def instance_of(kind: str, seed: int, loss: str, engine: str) -> Known:
    return known(kind, 40 + seed, loss, LARGEST_K[engine] if (loss, engine) != ("hinge", "dual_enumeration") else 2)


CASES = [(loss, engine, kind) for loss in LOSSES for engine in ENGINES[loss] for kind in KINDS]


@pytest.mark.parametrize(("loss", "engine", "kind"), CASES)
def test_all_minimal_sets_below_a_threshold(loss: str, engine: str, kind: str, tmp_path: Path) -> None:
    for seed in range(2):
        instance = instance_of(kind, seed, loss, engine)
        problem = instance.problem
        if engine_named(engine).refusal(problem) is not None:
            continue
        objectives = every_set(problem)
        rng = np.random.default_rng([seed, len(kind)])
        epsilon = float(np.quantile(list(objectives.values()), rng.uniform(0, 0.3)) - min(objectives.values()))
        solution = solve(problem, engine, within_absolute=epsilon)
        if solution.pool is None:  # too few neurons stand in no set, so that none could be listed
            assert len(problem.candidates) < 3 * problem.size
            continue
        check_true(solution, objectives)
        check_verified(solution, instance, tmp_path / "a.cert")
        threshold = solution.upper_bound + epsilon
        if solution.pool.rest > threshold:
            near = {support for support, value in objectives.items() if value <= threshold - 1e-8}
            minimal = {one for one in near if not any(set(other) < set(one) for other in near)}
            assert all(holds([one.support for one in solution.pool.sets], support) for support in minimal)
            for one in solution.pool.sets:
                assert one.upper_bound <= threshold + 2 * solution.tolerance


@pytest.mark.parametrize(("loss", "engine", "kind"), CASES)
def test_the_best_sets(loss: str, engine: str, kind: str, tmp_path: Path) -> None:
    instance = instance_of(kind, 0, loss, engine)
    problem = instance.problem
    if engine_named(engine).refusal(problem) is not None:
        return
    objectives = every_set(problem)
    solution = solve(problem, engine, pool=3)
    if solution.pool is None:
        assert len(problem.candidates) < 3 * problem.size
        return
    check_true(solution, objectives)
    check_verified(solution, instance, tmp_path / "a.cert")
    assert len(solution.pool.sets) <= 3
    ordered = sorted(value for support, value in objectives.items() if len(support) == problem.size)
    for one, value in zip(solution.pool.sets, ordered):
        assert abs(objectives[one.support] - value) < 1e-7
    assert solution.pool.rest >= solution.pool.sets[-1].upper_bound - 2 * solution.tolerance


def test_an_interrupt_ends_the_pool_and_keeps_the_optimum(monkeypatch: pytest.MonkeyPatch) -> None:
    search = pool_search._Search.outcome

    def interrupted(self: pool_search._Search, *arguments: Any) -> Outcome:
        os.kill(os.getpid(), signal.SIGINT)
        return search(self, *arguments)

    monkeypatch.setattr(pool_search._Search, "outcome", interrupted)
    problem = known("plain", 44, "squared", 3).problem
    solution = solve(problem, within=0.05)
    assert solution.interrupted
    assert solution.optimal
    assert solution.pool is None


def test_no_time_for_a_pool(monkeypatch: pytest.MonkeyPatch) -> None:
    problem = known("plain", 44, "logistic", 3).problem
    whole = solve(problem, within=0.05, time_limit=1e-6)
    assert whole.pool is None
    assert not whole.interrupted
    assert whole.lower_bound <= min(every_set(problem).values())


def test_what_a_higher_target_screened_the_final_bound_screens_too(tmp_path: Path) -> None:
    """Duplicate columns and weights over eleven orders of magnitude: the target falls while columns are screened."""
    rng = np.random.default_rng(1201)
    rng.integers(6, 9), rng.integers(1, 5)
    X = rng.standard_normal((12, 8))
    rng.integers(6)
    X[:, 1], X[:, 3] = X[:, 0], -X[:, 2]
    y = np.where(X[:, -1] + rng.standard_normal(12) > 0, 1.0, -1.0)
    y[0], y[1] = 1, -1
    rng.random(), rng.integers(3), rng.random(12)
    weights = 10.0 ** rng.uniform(-8, 3, 12)
    rng.integers(3)
    ridge = float(10 ** rng.uniform(-3, 0))
    problem = sparse_probe_problem(X, y, 2, loss="squared", ridge=ridge, sample_weight=weights)
    for pool in (2, 3, 4):
        solution = solve(problem, "branch_and_cut", pool=pool)
        path = solution.certificate().save(tmp_path / f"{pool}.cert")
        assert verify(path, X, y, weights).accepted
        assert verify_exact(path, X, y, weights).accepted
