"""The enumeration of very many columns, forced on small problems: against brute force and against the other sweep."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import conformance
import numpy as np
import pytest
from adversarial import HABITS, KINDS, awkward, instances, known, model_like
from hypothesis import given, settings
from hypothesis import strategies as st

from formulations import SparseProbeProblem, UnsupportedProblem, fit_supports, sparse_probe_problem
from optprobe.certificates import verify
from optprobe.certificates.checker import wide_sweep
from optprobe.engines import solve
from optprobe.engines.budget import Budget
from optprobe.engines.engine import Task, engine_named
from optprobe.engines.outcome import TreeProof
from optprobe.engines.sweeps import short, squared, wide
from optprobe.heuristics.stopping import never


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every problem is wide, and many tiles."""
    monkeypatch.setattr(wide, "WIDE", 0)
    monkeypatch.setattr(wide_sweep, "WIDE", 0)
    for module in (wide, wide_sweep):
        monkeypatch.setattr(module, "ROWS", 5)
        monkeypatch.setattr(module, "COLUMNS", 7)
    monkeypatch.setattr(wide, "PAIRS_AT_ONCE", 11)
    for module in (wide, wide_sweep):
        monkeypatch.setattr(module, "MOST_PAIRS", 40)
    monkeypatch.setattr(short, "SUMMED", 16)
    monkeypatch.setattr(wide_sweep, "SUMMED", 16)


def brute_force(problem: SparseProbeProblem) -> tuple[np.ndarray, np.ndarray]:
    """Every support, and what it gains."""
    sets = np.array(list(itertools.combinations(problem.candidates, problem.size)))
    Z, w = problem.Z, problem.w
    M = Z.T @ (Z * w[:, None]) + problem.ridge * np.eye(problem.n_neurons)
    c = problem.cross[sets][:, :, None]
    return sets, (c * np.linalg.solve(M[sets[:, :, None], sets[:, None, :]], c)).sum(axis=(1, 2))


class Recording(wide.WideSweep):
    """A sweep that keeps what it is offered and never lowers its gap."""

    offered: set[tuple[int, ...]]

    def _offer(self, sets: np.ndarray) -> bool:
        self.offered |= {tuple(sorted(row)) for row in self.columns[sets].tolist()}
        return False


def every_set_above_a_threshold_is_offered(problem: SparseProbeProblem) -> None:
    sets, gained = brute_force(problem)
    objective = float(fit_supports(problem, sets[:1]).objective[0])
    sweep = Recording(Task(problem, tuple(map(int, sets[0])), objective, 1e-6))
    for q in (0.0, np.median(gained), np.quantile(gained, 0.95), gained.max()):
        sweep.q, sweep.offered = float(q), set()
        assert sweep.finished()
        slack = 1e-11 * gained.max() / problem.ridge
        for row in sets[gained > q + slack].tolist():
            assert tuple(row) in sweep.offered, (row, q)


@pytest.mark.usefixtures("short_type")
@given(st.sampled_from(HABITS), st.integers(0, 10**6), st.integers(1, 3), st.floats(-4, -0.5), st.integers(6, 40))
@settings(max_examples=80, deadline=None)
def test_every_set_above_a_threshold_is_offered(habit: str, seed: int, k: int, ridge: float, n: int) -> None:
    X, y = awkward(habit, seed, n, 14)
    problem = sparse_probe_problem(X, y, k, loss="squared", ridge=10**ridge)
    if problem.size:
        every_set_above_a_threshold_is_offered(problem)


@pytest.mark.usefixtures("short_type")
@given(st.sampled_from(HABITS), st.integers(0, 10**6), st.integers(1, 3), st.floats(-4, -0.5), st.integers(6, 40))
@settings(max_examples=60, deadline=None)
def test_both_sweeps_agree(habit: str, seed: int, k: int, ridge: float, n: int) -> None:
    X, y = awkward(habit, seed, n, 23)
    problem = sparse_probe_problem(X, y, k, loss="squared", ridge=10**ridge)
    if not problem.size:
        return
    worst = tuple(map(int, problem.candidates[: problem.size]))
    task = Task(problem, worst, float(fit_supports(problem, [worst]).objective[0]), 1e-6)
    one, other = wide.WideSweep(task), squared.Sweep(task)
    assert one.finished()
    assert other.finished()
    assert abs(one.value - other.value) < 1e-12 / problem.ridge


def largest_gain(problem: SparseProbeProblem) -> float:
    """Of every support, without a list of them: one neuron after the other taken out, then all pairs of the others."""
    Z, w = problem.Z, problem.w
    M = (Z.T @ (Z * w[:, None]) + problem.ridge * np.eye(problem.n_neurons))[np.ix_(*[problem.candidates] * 2)]
    c = problem.cross[problem.candidates]
    if problem.size < 3:
        return largest_of_few(M, c, problem.size)
    without = (
        (M - np.outer(M[i], M[i]) / M[i, i], c - M[i] * c[i] / M[i, i], c[i] ** 2 / M[i, i]) for i in range(len(c))
    )
    return max(gain + largest_of_few(A[i + 1 :, i + 1 :], r[i + 1 :], 2) for i, (A, r, gain) in enumerate(without))


def largest_of_few(A: np.ndarray, c: np.ndarray, k: int) -> float:
    """The same for one or two neurons of products A and c."""
    d = np.diag(A)
    if k == 1:
        return float((c**2 / d).max())
    i, j = np.triu_indices(len(c), 1)
    gained = (c[i] ** 2 * d[j] + c[j] ** 2 * d[i] - 2 * c[i] * c[j] * A[i, j]) / (d[i] * d[j] - A[i, j] ** 2)
    return float(gained.max(initial=0.0))


def check_model_like(seed: int, p: int, k: int) -> None:
    X, y = model_like(seed, p)
    problem = sparse_probe_problem(
        X, y, k, loss="squared", ridge=float(10 ** np.random.default_rng(seed).uniform(-3, -1))
    )
    optimum = (problem.variance - largest_gain(problem)) / 2
    assert abs(solve(problem, "enumeration").upper_bound - optimum) < 1e-9


@pytest.mark.parametrize("k", [1, 2, 3])
def test_the_brute_force_by_products_is_the_one_by_sets(k: int) -> None:
    X, y = model_like(5, 20)
    problem = sparse_probe_problem(X, y, k, loss="squared", ridge=0.003)
    assert abs(largest_gain(problem) - brute_force(problem)[1].max()) < 1e-11


@pytest.mark.usefixtures("short_type")
@pytest.mark.parametrize("k", [1, 2, 3])
def test_equals_brute_force_on_models(k: int) -> None:
    for seed in range(12):
        check_model_like(seed, 40, k)


@pytest.mark.usefixtures("short_type")
@pytest.mark.slow
@pytest.mark.parametrize("k", [1, 2, 3])
def test_equals_brute_force_on_many_models(k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(wide, "ROWS", 50)
    monkeypatch.setattr(wide, "COLUMNS", 130)
    for seed in range(100, 200):
        check_model_like(seed, int(np.random.default_rng(seed).integers(60, 401)), k)


@pytest.mark.usefixtures("short_type")
@pytest.mark.parametrize("kind", KINDS)
def test_conforms(kind: str, tmp_path: Path) -> None:
    """Optimum, worst incumbents and a certificate that the wide replay accepts."""
    for instance in instances("squared", range(6), (kind,), 3):
        conformance.check_optimum("enumeration", instance, tmp_path)


@pytest.mark.parametrize("check", list(conformance.checks()), ids=lambda check: check.__name__)
def test_conformance(check: conformance.Check, tmp_path: Path) -> None:
    for kind in ("plain", "duplicates", "weighted"):
        check("enumeration", known(kind, 100, "squared", 3), tmp_path)


@pytest.mark.parametrize("k", [1, 2, 3])
@pytest.mark.parametrize(
    "conditions",
    [
        {"forced": [4]},
        {"forced": [2, 9]},
        {"forbidden": [0, 3, 5]},
        {"groups": np.arange(30) // 4},
        {"groups": np.arange(30) // 7 - 1, "forced": [8]},
    ],
    ids=str,
)
def test_conditions(k: int, conditions: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Forced columns, groups and pools: as without the wide sweep, and by certificates that its replay accepts."""
    if k < len(conditions.get("forced", [])):  # type: ignore[arg-type]
        return
    for seed in range(3):
        X, y = model_like(seed, 30)
        problem = sparse_probe_problem(X, y, k, loss="squared", ridge=0.02, **conditions)  # type: ignore[arg-type]
        for wanted in ({}, {"pool": 5}, {"within": 0.02}):
            solution = solve(problem, "enumeration", **wanted)  # type: ignore[arg-type]
            assert verify(solution.certificate().save(tmp_path / "a.cert"), X, y).accepted
            with monkeypatch.context() as patch:
                patch.setattr(wide, "WIDE", 100)
                other = solve(problem, "enumeration", **wanted)  # type: ignore[arg-type]
            assert solution.support == other.support
            assert abs(solution.upper_bound - other.upper_bound) < 1e-12
            if solution.pool is not None:
                assert other.pool is not None
                assert [one.support for one in solution.pool.sets] == [one.support for one in other.pool.sets]


@pytest.mark.usefixtures("short_type")
@pytest.mark.parametrize("k", [2, 3])
def test_a_budget_that_ends_in_the_pass_leaves_a_bound(k: int, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    X, y = model_like(3, 60)
    problem = sparse_probe_problem(X, y, k, loss="squared", ridge=0.02)
    optimum = (problem.variance - brute_force(problem)[1].max()) / 2
    kind = wide.fastest(problem.n_rows)
    budget, product = Budget(), kind.product

    def ending(*of: object) -> object:
        budget.interrupted = True
        return product(*of)  # type: ignore[arg-type]

    monkeypatch.setattr(kind, "product", ending)
    outcome = squared.run(
        Task(problem, tuple(range(k)), float(fit_supports(problem, [range(k)]).objective[0]), 1e-6, budget)
    )
    assert isinstance(outcome.proof, TreeProof)
    assert 0 <= outcome.lower <= optimum


@given(st.integers(0, 10**6), st.integers(2, 200), st.floats(-40, 0))
@settings(max_examples=60, deadline=None)
def test_short_products_err_by_less_than_delta(short_type: type, seed: int, n: int, smallest: float) -> None:
    rng = np.random.default_rng(seed)
    vectors = rng.standard_normal((20, n)) * 10.0 ** rng.uniform(smallest, 0, (20, n))
    vectors /= np.linalg.norm(vectors, axis=1)[:, None]
    vectors[1], vectors[3] = vectors[0], -vectors[2]
    with ThreadPoolExecutor(2) as pool:
        made = short_type(20, n, lambda part: vectors[part], pool)
    with short.one_thread_a_product():
        T = made.product(slice(0, 20), slice(3, 17), never)
    assert T is not None
    assert np.abs(T - vectors @ vectors[3:17].T).max() <= made.delta


def test_too_many_columns_for_a_matrix_are_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(squared, "MOST_COLUMNS", 20)
    X, y = model_like(0, 30)
    problem = sparse_probe_problem(X, y, 4, loss="squared", ridge=0.5)
    with pytest.raises(UnsupportedProblem, match="enumeration of 4 of 30 neurons needs"):
        solve(problem, "enumeration")
    assert engine_named("enumeration").refusal(problem.restated(k=3)) is None
    assert solve(problem).engine == "branch_and_cut"


def test_bfloat16_is_used_where_it_is_quicker_and_added_up_in_float32(monkeypatch: pytest.MonkeyPatch) -> None:
    for worth, chosen in ((0.0, short.Short), (1e9, short.Half)):
        monkeypatch.setattr(short, "WORTH", worth)
        short._half_is_worth_it.cache_clear()
        assert short.fastest(100) is chosen
    assert short.fastest(short.MOST_SUMMED + 1) is short.Short
    short._half_is_worth_it.cache_clear()
    monkeypatch.setattr(short, "_product", lambda a, b: np.full((len(a), len(b)), 0.5))
    assert short.fastest(100) is short.Short
    short._half_is_worth_it.cache_clear()
