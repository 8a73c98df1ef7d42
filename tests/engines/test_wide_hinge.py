"""The hinge sweep of very many columns, forced on small problems: against brute force and against the other sweep."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import conformance
import numpy as np
import pytest
from adversarial import HABITS, KINDS, awkward, instances, known
from hypothesis import given, settings
from hypothesis import strategies as st

from formulations import SparseProbeProblem, fit_supports, sparse_probe_problem
from optprobe.certificates import verify
from optprobe.engines import solve
from optprobe.engines.budget import Budget
from optprobe.engines.engine import Task
from optprobe.engines.outcome import TreeProof
from optprobe.engines.sweeps import dual_enumeration, short, wide, wide_hinge
from optprobe.engines.sweeps.hinge import HingeSweep
from optprobe.heuristics.stopping import never


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every problem is wide, and many tiles."""
    monkeypatch.setattr(wide, "WIDE", 0)
    monkeypatch.setattr(wide_hinge, "COLUMNS", 7)
    monkeypatch.setattr(wide_hinge, "PARTNERS", 3)
    monkeypatch.setattr(wide_hinge.WideHingeSweep, "firsts", 5)
    monkeypatch.setattr(short, "SUMMED", 16)


def task_of(problem: SparseProbeProblem, budget: Budget | None = None) -> Task:
    """A task whose incumbent is the first set there is."""
    first = tuple(map(int, problem.candidates[: problem.size]))
    return Task(problem, first, float(fit_supports(problem, [first]).objective[0]), 1e-6, budget or Budget())


@pytest.mark.usefixtures("short_type")
@given(st.sampled_from(HABITS), st.integers(0, 10**6), st.integers(1, 2), st.floats(-3, -0.3), st.integers(6, 40))
@settings(max_examples=40, deadline=None)
def test_every_set_below_a_threshold_is_left(habit: str, seed: int, k: int, ridge: float, n: int) -> None:
    X, y = awkward(habit, seed, n, 14)
    weights = np.random.default_rng(seed).integers(0, 3, n) + np.isin(np.arange(n), [y.argmax(), y.argmin()])
    stated = {"class_weight": "balanced"} if seed % 2 else {"sample_weight": weights}
    problem = sparse_probe_problem(X, y, k, loss="hinge", ridge=10**ridge, **stated)
    if not problem.size:
        return
    sets = np.array(list(itertools.combinations(problem.candidates, problem.size)))
    objective = fit_supports(problem, sets).objective
    sweep = wide_hinge.WideHingeSweep(task_of(problem))
    with ThreadPoolExecutor(1) as pool:
        sweep._prepare(pool)
    for target in np.quantile(objective, [0.0, 0.2, 0.9]) + 1e-7:
        sweep.found.upper = float(target) + sweep.slack / 2
        with short.one_thread_a_product():
            parts = [part for start in range(0, len(sweep.columns), sweep.firsts) for part in sweep._open(start)]
        left = {tuple(sorted(row)) for part in parts for row in sweep.columns[part].tolist()}
        assert {tuple(row) for row in sets[objective < target - 1e-9].tolist()} <= left


@pytest.mark.usefixtures("short_type")
@pytest.mark.parametrize("k", [1, 2])
def test_both_sweeps_agree(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    for seed, habit in enumerate(HABITS):
        X, y = awkward(habit, seed, 40, 24)
        problem = sparse_probe_problem(X, y, k, loss="hinge", ridge=0.05, class_weight="balanced")
        one, other = wide_hinge.WideHingeSweep(task_of(problem)), HingeSweep(task_of(problem))
        assert one.finished()
        assert other.finished()
        assert abs(one.found.upper - other.found.upper) < 1e-9
        assert sum(one.counts.values()) <= 2 * sum(other.counts.values()) + 20


@pytest.mark.usefixtures("short_type")
@pytest.mark.parametrize("kind", KINDS)
def test_conforms(kind: str, tmp_path: Path) -> None:
    """Optimum, worst incumbents and a certificate that is accepted."""
    for instance in instances("hinge", range(4), (kind,), 2):
        conformance.check_optimum("dual_enumeration", instance, tmp_path)


@pytest.mark.parametrize("check", list(conformance.checks()), ids=lambda check: check.__name__)
def test_conformance(check: conformance.Check, tmp_path: Path) -> None:
    for kind in ("plain", "duplicates", "weighted"):
        check("dual_enumeration", known(kind, 100, "hinge", 2), tmp_path)


@pytest.mark.parametrize("wanted", [{"pool": 4}, {"within": 0.02}], ids=str)
def test_pools(wanted: dict[str, float], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Near-optimal sets: as without the wide sweep."""
    X, y = awkward("near duplicates", 3, 60, 20)
    problem = sparse_probe_problem(X, y, 2, loss="hinge", ridge=0.05, groups=np.arange(20) // 2)
    solution = solve(problem, "dual_enumeration", **wanted)  # type: ignore[arg-type]
    monkeypatch.setattr(wide, "WIDE", 100)
    other = solve(problem, "dual_enumeration", **wanted)  # type: ignore[arg-type]
    assert solution.pool is not None
    assert other.pool is not None
    assert [one.support for one in solution.pool.sets] == [one.support for one in other.pool.sets]
    assert verify(solution.certificate().save(tmp_path / "a.cert"), X, y).accepted


@pytest.mark.usefixtures("short_type")
def test_a_budget_that_ends_in_the_sweep_leaves_a_bound(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = awkward("outliers", 1, 60, 40)
    problem = sparse_probe_problem(X, y, 2, loss="hinge", ridge=0.05)
    optimum = solve(problem, "dual_enumeration").upper_bound
    budget, kind = Budget(), wide_hinge.fastest(60)
    times = kind.times

    def ending(*of: object) -> object:
        budget.interrupted = True
        return times(*of)  # type: ignore[arg-type]

    monkeypatch.setattr(kind, "times", ending)
    outcome = dual_enumeration.run(task_of(problem, budget))
    assert isinstance(outcome.proof, TreeProof)
    assert 0 <= outcome.lower <= optimum


@given(st.integers(0, 10**6), st.integers(2, 200), st.floats(-40, 0))
@settings(max_examples=40, deadline=None)
def test_products_with_given_vectors_err_by_less_than_delta(
    short_type: type, seed: int, n: int, smallest: float
) -> None:
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((20, n)) * 10.0 ** rng.uniform(smallest, 0, (20, n))
    vectors /= np.linalg.norm(vectors, axis=1)[:, None]
    given = np.concatenate([vectors[:3], -vectors[3:6], np.sqrt(rng.dirichlet(np.ones(n), 4))])
    with ThreadPoolExecutor(2) as pool:
        made = short_type(20, n, lambda part: vectors[part], pool)
    rounded, delta = made.rounded(given)
    with short.one_thread_a_product():
        T = made.times(rounded, slice(1, 17), never)
    assert T is not None
    assert np.abs(T - given @ vectors[1:17].T).max() <= delta
