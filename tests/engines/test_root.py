"""The bound at the root: below every set, above the constant fit's, and closed where that one closes."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from adversarial import KINDS, LOSSES, known

from formulations import (
    constant_point,
    fit_support,
    node_bound,
    penalised_fit,
    rounding_margin,
    sparse_probe_problem,
)
from optprobe.engines import root_bound, solve
from optprobe.engines.engine import Task
from optprobe.engines.trees import branch_and_cut


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("kind", KINDS)
def test_no_set_is_below_it_and_the_constant_fit_is_no_better(kind: str, loss: str) -> None:
    for seed in range(4):
        instance = known(kind, seed, loss, largest_k=3)
        problem = instance.problem
        bound = root_bound(solve(problem))
        assert bound <= instance.optimum
        constant = node_bound(constant_point(problem), np.zeros(0, dtype=np.int64), problem.candidates, problem.size)
        assert bound >= constant - rounding_margin(problem)


def test_a_start_that_is_not_optimal_gives_a_bound_all_the_same() -> None:
    instance = known("suppressors", 1, "squared", largest_k=3)
    best = solve(instance.problem)
    worst = instance.supports[int(instance.objectives.argmax())]
    far = replace(best, support=tuple(map(int, worst)), upper_bound=float(instance.objectives.max()))
    assert root_bound(far) <= instance.optimum


def test_it_closes_a_separable_problem_and_not_a_correlated_one() -> None:
    rng = np.random.default_rng(0)
    shared = rng.standard_normal((80, 1))
    X = np.hstack([shared + 0.1 * rng.standard_normal((80, 6)), rng.standard_normal((80, 4))])
    y = np.where(shared[:, 0] + 0.5 * rng.standard_normal(80) > 0, 1.0, -1.0)
    gaps = []
    for ridge in (100.0, 0.001):
        solution = solve(sparse_probe_problem(X, y, 2, loss="hinge", ridge=ridge))
        gaps.append(solution.upper_bound - root_bound(solution))
    assert gaps[0] <= 1e-9
    assert gaps[1] > 1e-3


@pytest.mark.parametrize("seed", range(2))
def test_the_ascent_comes_near_its_optimum_where_s_spreads_over_very_many(seed: int) -> None:
    """Labels of all neurons together: any fractional s has a primal value, which no bound of the relaxation exceeds."""
    X = np.random.default_rng(seed).standard_normal((150, 300))
    problem = sparse_probe_problem(X, np.where(X.sum(axis=1) > 0, 1.0, -1.0), 2, loss="squared", ridge=0.01)
    worst = float(fit_support(problem, (0, 1)).objective[0])
    root = branch_and_cut.Search(Task(problem, (0, 1), worst, 1e-6)).root
    Q = np.vstack([problem.Z[:, root.likely].T, np.ones(150)])
    fitted = penalised_fit(problem.loss, Q[None], problem.y, problem.w, (problem.ridge / root.s)[None])
    primal = float(fitted.objective[0])
    assert len(root.likely) > 80
    assert root.bound <= primal + rounding_margin(problem)
    assert primal - root.bound <= 0.01 * (worst - root.bound)
