"""The choice of a method: what it decides, and that its bounds hold when the budget ends first."""

from __future__ import annotations

import time
from pathlib import Path

import numpy as np
import pytest

from formulations import sparse_probe_problem
from optprobe.certificates import verify
from optprobe.engines import Budget, Progress, Status, solve


def rows(n: int, p: int, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Correlated neurons; labels of three of them and noise."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 8)) @ rng.standard_normal((8, p)) + rng.standard_normal((n, p))
    return X, np.where(X[:, :3].sum(axis=1) + 2 * rng.standard_normal(n) > 0, 1.0, -1.0)


@pytest.mark.parametrize(
    ("loss", "ridge", "k", "engine"),
    [
        ("squared", 0.01, 3, "enumeration"),
        ("squared", 10.0, 5, "branch_and_cut"),
        ("squared", 0.003, 5, "enumeration"),
        ("logistic", 0.003, 1, "dual_enumeration"),
        ("logistic", 10.0, 3, "branch_and_cut"),
        ("logistic", 0.003, 3, "dual_enumeration"),
        ("hinge", 0.003, 2, "dual_enumeration"),
        ("hinge", 1.0, 3, "branch_and_cut"),
    ],
)
def test_the_engine_suits_the_problem(loss: str, ridge: float, k: int, engine: str, tmp_path: Path) -> None:
    X, y = rows(120, 40)
    problem = sparse_probe_problem(X, y, k, loss=loss, ridge=ridge)
    solution = solve(problem)
    assert solution.engine == engine
    assert f"k = {k}" in solution.why
    assert solution.optimal
    assert verify(solution.certificate().save(tmp_path / "a.cert"), X, y).accepted
    if engine == "dual_enumeration":
        other = solve(problem, "branch_and_cut", time_limit=20)
        assert other.lower_bound <= solution.upper_bound + 1e-12
        assert solution.lower_bound <= other.upper_bound + 1e-12


@pytest.mark.parametrize(
    ("loss", "k", "method"),
    [("squared", 6, "auto"), ("logistic", 3, "dual_enumeration"), ("hinge", 2, "dual_enumeration")],
)
def test_bounds_hold_when_the_budget_ends_an_enumeration(loss: str, k: int, method: str, tmp_path: Path) -> None:
    X, y = rows(200, 600)
    solution = solve(sparse_probe_problem(X, y, k, loss=loss, ridge=0.001), method, time_limit=0.05)
    assert solution.status is Status.TIME_LIMIT
    assert solution.lower_bound < solution.upper_bound
    assert verify(solution.certificate().save(tmp_path / "a.cert"), X, y).accepted


def test_a_part_of_a_budget_ends_with_itself_or_with_the_whole() -> None:
    whole = Budget(1000.0)
    part = whole.part(1e-3)
    time.sleep(2e-3)
    assert part.over
    assert not whole.over
    assert not whole.part(1000.0).over
    whole.interrupted = True
    assert whole.part(1000.0).over


@pytest.mark.parametrize(("loss", "k", "phase"), [("squared", 5, "enumeration"), ("logistic", 3, "dual enumeration")])
def test_progress_of_an_enumeration_shows_what_the_root_proved(loss: str, k: int, phase: str) -> None:
    X, y = rows(60, 20)
    moments: list[Progress] = []
    solution = solve(sparse_probe_problem(X, y, k, loss=loss, ridge=0.003), progress=moments.append)
    shown = [moment for moment in moments if moment.phase == phase]
    assert shown
    for moment in shown:
        assert 0 < moment.lower <= solution.upper_bound <= moment.upper + 1e-9
