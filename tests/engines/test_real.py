"""Real activations: optima proved by unrelated methods agree, and every certificate is accepted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from formulations import sparse_probe_problem
from optprobe.certificates import verify
from optprobe.engines import solve

INSTANCES = (
    "minilm_L0_compound",
    "minilm_L2_is_python",
    "minilm_L3_noun",
    "minilm_L3_social_security",
    "minilm_L3_verb",
    "minilm_L5_past",
)


def rows(shared: Path, name: str) -> tuple[np.ndarray, np.ndarray]:
    with np.load(shared / "data" / "activations" / f"{name}.npz", allow_pickle=False) as data:
        return data["X_train"], data["y_train"]


@pytest.mark.parametrize("name", INSTANCES)
def test_squared_up_to_three_neurons(shared: Path, name: str, tmp_path: Path) -> None:
    X, y = rows(shared, name)
    for k in (1, 2, 3):
        solution = solve(sparse_probe_problem(X, y, k, loss="squared", ridge=0.01))
        assert solution.optimal
        path = solution.certificate().save(tmp_path / "a.cert")
        assert verify(path, X, y).accepted


@pytest.mark.parametrize(
    ("name", "k", "optimum"), [("minilm_L5_past", 3, 0.551730725), ("minilm_L3_verb", 5, 0.429007792)]
)
def test_two_unrelated_methods_agree_on_a_whole_layer(
    shared: Path, name: str, k: int, optimum: float, tmp_path: Path
) -> None:
    X, y = rows(shared, name)
    problem = sparse_probe_problem(X, y, k, loss="logistic", ridge=0.5)
    for method in ("outer_approximation", "branch_and_cut"):
        solution = solve(problem, method)
        assert solution.optimal
        assert abs(solution.upper_bound - optimum) < 1e-8
        assert verify(solution.certificate().save(tmp_path / "a.cert"), X, y).accepted


def test_one_answer_of_four_engines_on_forty_neurons(shared: Path) -> None:
    X, y = rows(shared, "minilm_L3_noun")
    problem = sparse_probe_problem(X[:, 700:740], y, 2, loss="squared", ridge=0.3)
    solutions = [solve(problem, method) for method in ("enumeration", "branch_and_cut", "outer_approximation", "milp")]
    assert len({solution.support for solution in solutions}) == 1
    assert all(solution.optimal for solution in solutions)
