"""What stands beside this package in a benchmark: a bound of another kind against brute force, and the conversions."""

from __future__ import annotations

from itertools import combinations

import numpy as np
import pytest

from benchmarks import batched_perspective
from benchmarks.peer_programs import PROGRAMS, TOLERANCE, Question
from formulations import fit_supports, sparse_probe_problem


@pytest.mark.parametrize("loss", ["squared", "logistic"])
@pytest.mark.parametrize("seed", range(3))
def test_programs_that_need_no_package_find_and_bound_the_optimum(loss: str, seed: int) -> None:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((80, 3)) @ rng.standard_normal((3, 9)) + 0.3 * rng.standard_normal((80, 9))
    y = np.where(X[:, 0] - X[:, 4] + rng.standard_normal(80) > 0, 1.0, -1.0)
    problem = sparse_probe_problem(X, y, 2, loss=loss, ridge=0.01)
    values = fit_supports(problem, np.array(list(combinations(range(9), 2)))).objective
    for program in PROGRAMS.values():
        if program.package is None:
            ended = program.run(Question(problem, X, 30.0, 1.0))
            found = float(fit_supports(problem, np.array([ended.support])).objective[0])
            assert ended.lower is not None
            assert ended.lower <= values.min() + 1e-9
            assert found <= ended.lower + 2 * TOLERANCE


@pytest.mark.parametrize("seed", range(5))
def test_a_batched_bound_holds_for_every_set_of_its_node(seed: int) -> None:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((50, 8)) * np.logspace(-3, 3, 8)
    y = np.where(rng.standard_normal(50) + X[:, 2] > 0, 1.0, -1.0)
    problem = sparse_probe_problem(X, y, 3, loss="logistic", ridge=0.02)
    nodes = [batched_perspective.Node((), (), 0.0), batched_perspective.Node((1,), (0, 5), 0.0)]
    bounds, _, _ = batched_perspective.relaxed(problem, nodes)
    for node, bound in zip(nodes, bounds):
        free = [j for j in range(8) if j not in node.outside and j not in node.inside]
        sets = [sorted((*node.inside, *rest)) for rest in combinations(free, 3 - len(node.inside))]
        assert bound <= fit_supports(problem, np.array(sets)).objective.min() + 1e-9
