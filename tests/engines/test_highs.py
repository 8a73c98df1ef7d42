"""HiGHS from several threads at once, and what it prints: nothing."""

from __future__ import annotations

import subprocess
import sys

import highspy
import numpy as np
import pytest

from formulations import sparse_probe_problem
from optprobe.engines import Budget, solve
from optprobe.engines.mips.highs import Highs

IN_THREADS = """
from concurrent.futures import ThreadPoolExecutor
from formulations import sparse_probe_problem
from optprobe import solve
import numpy as np

rng = np.random.default_rng(0)
X = rng.standard_normal((60, 8))
y = np.where(X[:, 0] - X[:, 1] + rng.standard_normal(60) > 0, 1, -1)
methods = {methods}
problems = [sparse_probe_problem(X, y, 2, loss="hinge", ridge=0.1 * (1 + i)) for i in range(len(methods))]
with ThreadPoolExecutor(len(methods)) as pool:
    print(sum(solution.optimal for solution in pool.map(solve, problems, methods)))
"""


@pytest.mark.parametrize("method", ["milp", "outer_approximation"])
def test_several_threads_solve_at_once_and_print_nothing(method: str) -> None:
    code = IN_THREADS.format(methods=[method] * 4)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=300)
    assert (done.stdout, done.stderr) == ("4\n", "")


@pytest.mark.parametrize("loss", ["squared", "logistic", "hinge"])
def test_the_model_is_passed_on_as_it_is(loss: str) -> None:
    """HiGHS takes the incumbent as its start, so every row, bound and kind of variable arrives."""
    rng = np.random.default_rng(1)
    X = rng.standard_normal((40, 12))
    y = np.where(X[:, 0] - X[:, 1] + 2 * rng.standard_normal(40) > 0, 1.0, -1.0)
    problem = sparse_probe_problem(X, y, 2, loss=loss, ridge=0.02)
    solution = solve(problem, "milp")
    assert solution.optimal
    assert solution.counts["rounds"] == solution.counts["starts_accepted"] >= 1
    assert solution.upper_bound == pytest.approx(solve(problem, "branch_and_cut").upper_bound, abs=1e-6)


def test_a_search_without_time_ends_at_once() -> None:
    """A knapsack whose proof takes many nodes, and a budget that is over."""
    rng = np.random.default_rng(2)
    model, n = Highs(), 60
    model.addVars(n, np.zeros(n), np.ones(n))
    for j in range(n):
        model.changeColCost(j, -float(rng.integers(900, 1100)))
        model.changeColIntegrality(j, highspy.HighsVarType.kInteger)
    for _ in range(8):
        weights = rng.integers(900, 1100, n).astype(np.float64)
        model.addRow(0.0, weights.sum() / 2 + 0.5, n, np.arange(n, dtype=np.int32), weights)
    assert not model.search(np.zeros(n), 0.0, Budget(1e-9)).finished
