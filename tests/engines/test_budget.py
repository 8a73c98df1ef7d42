"""Once the budget is over nothing is begun, whatever was going on; what is known by then holds."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from formulations import SparseProbeProblem, fit_support, sparse_probe_problem
from optprobe.certificates import verify
from optprobe.engines import Budget, Progress, Status, solve
from optprobe.engines.engine import Task, engine_named
from optprobe.engines.kernels import hinge, minorant, squared
from optprobe.engines.sweeps import dual_sweep
from optprobe.engines.sweeps import hinge as hinge_sweep
from optprobe.engines.sweeps import logistic as minorant_sweep
from optprobe.engines.sweeps import squared as squared_sweep
from optprobe.engines.sweeps.squared import dense_bound
from optprobe.engines.trees import branch_and_cut, pair_leaves
from optprobe.heuristics import search

AT_ONCE = 3
"""Sets, pairs and edges between two looks at the budget, in these tests."""
SWEEPS = (
    ("squared", 3, "enumeration"),
    ("squared", 5, "enumeration"),
    ("logistic", 2, "dual_enumeration"),
    ("logistic", 3, "dual_enumeration"),
    ("hinge", 2, "dual_enumeration"),
    ("logistic", 3, "branch_and_cut"),
    ("hinge", 3, "branch_and_cut"),
)


class Looks(Budget):
    """A budget that is over after so many looks at it, and says so at each look after that."""

    def __init__(self, looks: float, say: Callable[[], object] = lambda: None) -> None:
        super().__init__()
        self.looks, self.seen, self.say = looks, 0, say

    @property
    def left(self) -> float:
        self.seen += 1
        if self.seen <= self.looks:
            return 1000.0
        self.say()
        return 0.0


def instance(loss: str, k: int, seed: int = 0) -> tuple[SparseProbeProblem, np.ndarray, np.ndarray]:
    """Neurons of a few hidden causes, at a ridge that leaves much to be enumerated."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((60, 4)) @ rng.standard_normal((4, 14)) + rng.standard_normal((60, 14))
    y = np.where(X[:, :3].sum(axis=1) + 2 * rng.standard_normal(60) > 0, 1.0, -1.0)
    return sparse_probe_problem(X, y, k, loss=loss, ridge=0.01), X, y


def poor_task(problem: SparseProbeProblem, budget: Budget) -> Task:
    """From a poor incumbent, against which little can be closed without being looked at."""
    support = tuple(map(int, problem.candidates[-problem.size :]))
    return Task(problem, support, float(fit_support(problem, support).objective[0]), 1e-6, budget)


@pytest.fixture(scope="module")
def compiled() -> None:
    """Every loop is compiled, since one that calls another cannot be compiled with a spy in its place."""
    for loss, k, method in SWEEPS:
        engine_named(method).run(poor_task(instance(loss, k)[0], Budget()))


@pytest.fixture
def begun(compiled: None, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, int]]:
    """What the loops of the engines are called with, in order: their names and how many sets they get.

    One thread and small parts, so that the order of looks and calls is that of the code.
    """
    calls: list[tuple[str, int]] = []

    def spied(name: str, loop: Callable[..., Any], size: Callable[..., int]) -> Callable[..., Any]:
        def spy(*arguments: Any) -> Any:
            calls.append((name, size(*arguments)))
            return loop(*arguments)

        return spy

    for module, name, size in (
        (squared, "third_neurons", lambda *given: len(given[1])),
        (squared, "edge_children", lambda *given: len(given[4])),
        (minorant, "below_minorant", lambda *given: len(given[0])),
        (minorant, "open_pairs", lambda *given: 0),
        (minorant, "open_triples", lambda *given: 0),
        (hinge, "open_partners", lambda *given: 0),
    ):
        monkeypatch.setattr(module, name, spied(name, getattr(module, name), size))
    for module in (branch_and_cut, dual_sweep):
        fit_supports = module.fit_supports
        monkeypatch.setattr(module, "fit_supports", spied("fit", fit_supports, lambda *given: len(given[1])))
        monkeypatch.setattr(module, "FITS_AT_ONCE", AT_ONCE)
    for module in (minorant_sweep, pair_leaves):
        monkeypatch.setattr(module, "BOUNDED_AT_ONCE", AT_ONCE)
    for module in (squared_sweep, minorant_sweep, hinge_sweep, branch_and_cut):
        monkeypatch.setattr(module, "cpu_count", lambda: 1)
    monkeypatch.setattr(minorant_sweep, "CLOSED_AT_MOST", AT_ONCE)
    monkeypatch.setattr(squared_sweep, "PAIRS_A_CALL", AT_ONCE)
    monkeypatch.setattr(squared_sweep, "EDGES_A_CALL", AT_ONCE)
    return calls


@pytest.mark.parametrize(("loss", "k", "method"), SWEEPS)
def test_nothing_is_begun_once_the_budget_is_over(loss: str, k: int, method: str, begun: list[tuple[str, int]]) -> None:
    problem, _, _ = instance(loss, k)
    whole = Looks(np.inf)
    optimum = engine_named(method).run(poor_task(problem, whole))
    total = whole.seen
    assert total > 5
    assert len(begun) > 2
    for looks in {0, 1, 2, *map(int, np.linspace(3, total - 1, 8))}:
        begun.clear()
        budget = Looks(looks, lambda: begun.append(("over", 0)))
        found = engine_named(method).run(poor_task(problem, budget))
        assert found.lower <= optimum.lower + 1e-6
        later = begun[begun.index(("over", 0)) :]
        # the root, which proves the bound, may fit the one support that it points at
        assert {call for call in later if call != ("over", 0)} <= {("fit", 1)}, (looks, later)
        assert later.count(("fit", 1)) <= 1, (looks, later)


@pytest.mark.parametrize(("loss", "k", "method"), SWEEPS)
def test_between_two_looks_there_is_little(loss: str, k: int, method: str, begun: list[tuple[str, int]]) -> None:
    problem, _, _ = instance(loss, k)
    engine_named(method).run(poor_task(problem, Looks(np.inf)))
    assert max(size for _, size in begun) <= max(AT_ONCE, 4 if method == "branch_and_cut" else 0)


@pytest.mark.parametrize("loss", ["squared", "logistic", "hinge"])
@pytest.mark.parametrize("method", ["auto", "branch_and_cut", "outer_approximation"])
def test_no_bound_is_below_that_of_the_zero_vector(loss: str, method: str, tmp_path: Path) -> None:
    """A tiny ridge: one step of the ascent proves less than nothing, and no loss is negative."""
    problem, X, y = instance(loss, 4)
    solution = solve(problem.restated(ridge=1e-5), method, time_limit=1e-9)
    assert -1e-6 <= solution.lower_bound < solution.upper_bound
    assert verify(solution.certificate().save(tmp_path / "a.cert"), X, y).accepted


@pytest.mark.parametrize("loss", ["squared", "logistic", "hinge"])
def test_an_interrupt_ends_the_heuristics(loss: str, monkeypatch: pytest.MonkeyPatch) -> None:
    problem, _, _ = instance(loss, 3)
    descended: list[object] = []
    descend = search._descend
    monkeypatch.setattr(search, "_descend", lambda *given, **more: descended.append(given) or descend(*given, **more))

    def interrupt(moment: Progress) -> None:
        if moment.phase == "heuristics":
            os.kill(os.getpid(), signal.SIGINT)

    solution = solve(problem, progress=interrupt)
    assert solution.incumbent_source == "mean difference"
    assert solution.status is Status.INTERRUPTED
    assert len(descended) <= 2


def test_a_budget_that_is_longer_ends_with_the_later_one() -> None:
    assert not Budget(1e-9).at_least(1000.0).over
    assert Budget(1e-9).at_least(1e-9).over
    whole = Budget(1000.0)
    assert not whole.at_least(1e-9).over
    whole.interrupted = True
    assert whole.at_least(1e-9).over
    assert not whole.at_least(1000.0).over


@pytest.mark.parametrize("size", [0.0, 1e-148, 1e-146, 1e-145, 1e-144, 1e-130, 1.0, 1e100])
@pytest.mark.parametrize("seed", range(20))
def test_conjugate_gradients_end_where_they_have_converged(seed: int, size: float) -> None:
    """Five columns are solved in five steps, and what is left underflows in the rest: no division by zero."""
    draw = np.random.default_rng(seed)
    A = np.eye(5) + 0.1 * draw.normal(size=(5, 5))
    A, c = A @ A.T, size * draw.normal(size=5)
    found = squared_sweep._near_solution(A, c, Budget())
    np.testing.assert_allclose(A @ found, c, atol=1e-12 * size)


@pytest.mark.parametrize("looks", [0, 1, 7])
def test_the_bound_from_moments_holds_after_any_number_of_steps(looks: int) -> None:
    problem, _, _ = instance("squared", 3)
    optimum = solve(problem).lower_bound
    assert 0 <= dense_bound(poor_task(problem, Looks(looks))) <= optimum + 1e-9
