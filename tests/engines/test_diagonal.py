"""A diagonal taken out of the curvature: no bound exceeds F, none is worse for it, and both checkers accept it."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from adversarial import KINDS, Known, known
from hypothesis import given, settings
from hypothesis import strategies as st

from formulations import SparseProbeProblem, fit_supports, rounding_margin, sparse_probe_problem
from optprobe.certificates import verify
from optprobe.certificates.checker.bounds import duals_at
from optprobe.certificates.checker.diagonal import taken_out
from optprobe.certificates.checker.outcome import Rejected
from optprobe.certificates.checker.problem import Problem
from optprobe.certificates.exact import verify_exact
from optprobe.engines import solve
from optprobe.engines.bounds import best_diagonal
from optprobe.engines.bounds.best_diagonal import split_of
from optprobe.engines.bounds.diagonal import Split
from optprobe.engines.bounds.relaxation import Effort, LiveColumns, ascend
from optprobe.engines.budget import Budget
from optprobe.engines.engine import Task
from optprobe.engines.mips.cut_pool import CutPool
from optprobe.engines.outcome import TreeProof
from optprobe.engines.trees import branch_and_cut

ALL_OUT = Effort(30, 0.0)


@pytest.fixture
def always(monkeypatch: pytest.MonkeyPatch) -> None:
    """A diagonal wherever there is one, however small."""
    monkeypatch.setattr(best_diagonal, "WORTH", 0.0)
    monkeypatch.setattr(best_diagonal, "SPARE", 0.0)


def correlated(
    seed: int, n: int = 200, p: int = 12, k: int = 3, ridge: float = 0.01, **more: Any
) -> SparseProbeProblem:
    """Many more rows than columns, which share a factor."""
    rng = np.random.default_rng([7, seed])
    X = rng.standard_normal((n, p)) + 0.7 * rng.standard_normal((n, 1))
    y = np.where(X @ rng.standard_normal(p) + rng.standard_normal(n) > 0, 1.0, -1.0)
    return sparse_probe_problem(X, y, k, loss="squared", ridge=ridge, **more)


def checked(problem: SparseProbeProblem) -> Problem:
    """The problem as the checker holds it."""
    candidates = np.zeros(problem.n_neurons, dtype=np.bool_)
    candidates[problem.candidates] = True
    return Problem(problem.Z, problem.y, problem.w, candidates, "squared", problem.ridge, problem.size)


def split(problem: SparseProbeProblem) -> Split | None:
    return split_of(problem, problem.candidates, None, np.inf, Budget())


def split_instances(kind: str, seeds: int) -> list[tuple[Known, LiveColumns, np.ndarray]]:
    """Instances of a kind that have a diagonal, with their columns, and the places of their sets among these."""
    found = []
    for instance in (known(kind, seed, "squared") for seed in range(seeds)):
        problem = instance.problem
        if (apart := split(problem)) is not None:
            place = np.searchsorted(problem.candidates, instance.supports)
            found.append((instance, LiveColumns(problem, problem.candidates, apart), place))
    assert found
    return found


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("kind", KINDS)
def test_no_bound_of_an_ascent_exceeds_a_set(kind: str) -> None:
    """At the root and in nodes, whatever the start; and every vector bounds each set by itself."""
    rng = np.random.default_rng(KINDS.index(kind))
    for instance, live, place in split_instances(kind, 12):
        problem = instance.problem
        for _ in range(4):
            at = rng.permutation(len(live.columns))
            inside, free = np.split(at[: rng.integers(problem.size, len(at) + 1)], [rng.integers(problem.size)])
            start, effort = rng.random(len(at)), Effort(int(rng.integers(1, 20)), 0.0)
            relaxed = ascend(live, inside, free, start, np.inf, effort, Budget())
            own = np.isin(inside, place).all() & np.array([set(inside) <= set(one) for one in place.tolist()])
            own &= np.isin(place, [*inside, *free]).all(axis=1)
            assert relaxed.bound <= instance.objectives[own].min() + 1e-13
            need = problem.size - len(inside)
            value = relaxed.bound + relaxed.discount[inside].sum() + np.sort(relaxed.discount[free])[-need:].sum()
            assert (value - relaxed.discount[place].sum(axis=1) <= instance.objectives + 1e-13).all()


@settings(max_examples=150, deadline=None)
@given(
    kind=st.sampled_from(KINDS),
    seed=st.integers(0, 200),
    share=st.floats(0.0, 1.0),
    size=st.floats(-3.0, 3.0),
)
def test_no_bound_of_the_checker_exceeds_a_set(kind: str, seed: int, share: float, size: float) -> None:
    """Points of any coefficients, any share of the diagonal; and the bound grows with that."""
    instance = known(kind, seed, "squared")
    problem, stated = instance.problem, checked(instance.problem)
    apart = split(problem)
    if apart is None:
        return
    D, rng = apart.diagonal, np.random.default_rng(seed)
    stored = np.zeros(problem.n_neurons)
    stored[problem.candidates] = share * D * rng.random(len(D))
    b = np.zeros((3, problem.n_neurons))
    b[:, problem.candidates] = 10.0**size * rng.standard_normal((3, len(D)))
    a = b @ problem.Z.T + rng.standard_normal((3, 1)) - problem.y
    spread = np.abs(b).sum(axis=1) + 10

    def bounds(taken: np.ndarray) -> np.ndarray:
        found = duals_at(stated, taken, a, b, spread)
        return np.asarray(found.value[:, None] - found.discount[:, instance.supports].sum(axis=2))

    taken = taken_out(stated, stored)
    assert (taken <= stored).all()
    assert (taken >= stored - 1e-9).all()
    with_it = bounds(taken)
    assert (with_it <= instance.objectives + 1e-13).all()
    slack = 1e-11 * (1 + np.abs(b).sum() ** 2 / problem.ridge)
    assert (with_it >= bounds(taken - np.abs(taken) / 2) - slack).all()


def test_a_diagonal_is_shown_up_to_its_largest() -> None:
    """Just below where the moments less it are singular it is accepted, and just above it is not."""
    for seed in range(8):
        problem = correlated(seed)
        gram = problem.gram(problem.candidates)
        d = np.random.default_rng(seed).random(len(gram)) + 0.1
        largest = 1 / np.linalg.eigvalsh(np.sqrt(d)[:, None] * np.linalg.inv(gram) * np.sqrt(d))[-1]
        D = largest * d
        assert np.abs(np.linalg.eigvalsh(gram - np.diag(D))[0]) < 1e-12
        taken = taken_out(checked(problem), D)
        least = np.linalg.eigvalsh(gram - np.diag(taken))[0]
        assert least >= 0
        assert (taken >= D - 1e-10).all()
        with pytest.raises(Rejected, match="positive semidefinite"):
            taken_out(checked(problem), D * (1 + 1e-6))


@pytest.mark.parametrize("seed", range(6))
def test_the_root_is_no_worse_and_mostly_far_better(seed: int) -> None:
    problem = correlated(seed, p=24, k=4)
    apart = split(problem)
    assert apart is not None
    everything, none = np.arange(24), np.zeros(0, dtype=np.int64)
    roots = [
        ascend(
            LiveColumns(problem, problem.candidates, one), none, everything, np.ones(24), 1.0, ALL_OUT, Budget()
        ).bound
        for one in (None, apart)
    ]
    optimum = solve(problem, "enumeration").upper_bound
    assert roots[0] < roots[1] <= optimum
    assert optimum - roots[1] < 0.8 * (optimum - roots[0])


def test_there_is_none_where_it_is_of_no_use() -> None:
    assert split(correlated(0)) is not None
    assert split(correlated(0).restated(loss="logistic")) is None
    assert split(correlated(0).restated(ridge=100.0)) is None
    assert split(correlated(0).restated(ridge=1e-13)) is None
    assert split(correlated(0, n=13)) is None
    problem = correlated(0)
    assert split_of(problem, problem.candidates, None, np.inf, Budget(1e-9)) is None


def test_one_that_is_given_is_taken_or_none() -> None:
    """Of fewer columns the margin stays that of all, of which a checker shows it; a diagonal of 0 stands for none."""
    problem = correlated(0)
    apart = split(problem)
    assert apart is not None
    whole = apart.spread(problem.candidates, 12)
    few = split_of(problem, np.array([4, 7]), whole, np.inf, Budget(1e-9))
    assert few is not None
    assert np.array_equal(few.diagonal, whole[[4, 7]])
    assert few.margin == apart.margin
    assert split_of(problem, problem.candidates, np.zeros(12), np.inf, Budget()) is None


def test_columns_that_agree_have_none_and_others_have(tmp_path: Path) -> None:
    problem = correlated(0)
    copies = sparse_probe_problem(np.c_[problem.X, -problem.X[:, :1]], problem.y, 3, loss="squared", ridge=0.01)
    apart = split(copies)
    assert apart is not None
    assert (apart.diagonal[[0, 12]] < 1e-9).all()
    assert (apart.diagonal[1:12] > 0.05).all()
    accepted(copies, solve(copies, "branch_and_cut"), tmp_path / "a.cert")


def accepted(instance: Known | SparseProbeProblem, solution: Any, path: Path, *, with_it: bool = True) -> None:
    """By all checkers, and with a diagonal."""
    certificate = solution.certificate()
    assert certificate.claim.with_diagonal == with_it
    certificate.save(path)
    weight = instance.sample_weight
    labels = instance.stated_y if isinstance(instance, SparseProbeProblem) else instance.y
    for verdict in (
        verify(path, instance.X, labels, weight),
        verify(path, instance.X, labels, weight, fast=True),
        verify_exact(path, instance.X, labels, weight),
    ):
        assert verdict.accepted, str(verdict)


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("kind", KINDS)
def test_whatever_a_tree_proves_is_accepted(kind: str, tmp_path: Path) -> None:
    for seed in range(4):
        instance = known(kind, 40 + seed, "squared")
        solution = solve(instance.problem, "branch_and_cut")
        assert solution.optimal
        assert solution.lower_bound <= instance.optimum <= solution.upper_bound
        accepted(instance, solution, tmp_path / "a.cert", with_it=split(instance.problem) is not None)


@pytest.mark.parametrize(
    "more",
    [
        {},
        {"class_weight": "balanced"},
        {"among": (0, 2, 3, 5, 7, 8, 9, 11)},
        {"forced": (3, 5)},
        {"groups": (0, 0, 1, 1, -1, -1, 2, 2, 2, -1, -1, -1)},
        {"sample_weight": np.arange(200.0) % 7},
    ],
    ids=["plain", "balanced", "among", "forced", "groups", "weighted"],
)
def test_with_all_that_a_claim_may_have(more: dict[str, Any], tmp_path: Path) -> None:
    problem = correlated(3, **more)
    solution = solve(problem, "branch_and_cut")
    assert solution.optimal
    accepted(problem, solution, tmp_path / "a.cert")
    pooled = solve(problem, "branch_and_cut", within=0.05)
    assert pooled.pool is not None
    accepted(problem, pooled, tmp_path / "a.cert")


def test_of_a_target(tmp_path: Path) -> None:
    labels = correlated(4)
    t = labels.X @ np.arange(12.0) + np.random.default_rng(0).standard_normal(200)
    problem = sparse_probe_problem(labels.X, None, 3, targets=t, loss="squared", ridge=0.01)
    solution = solve(problem, "branch_and_cut")
    assert solution.optimal
    accepted(problem, solution, tmp_path / "a.cert")


@pytest.mark.parametrize("seed", range(3))
def test_pools_whose_parts_have_trees_of_their_own(seed: int, tmp_path: Path) -> None:
    """Listed sets of fewer neurons: two trees, which share one diagonal."""
    problem = correlated(seed, k=3)
    solution = solve(problem, "branch_and_cut", within=0.2, pool=6)
    assert solution.pool is not None
    assert any(len(one.support) < 3 for one in solution.pool.sets)
    accepted(problem, solution, tmp_path / "a.cert")
    proof = solution.proof
    assert isinstance(proof, TreeProof)
    alone = solve(problem, "branch_and_cut").proof
    assert isinstance(alone, TreeProof)
    assert np.array_equal(proof.diagonal, alone.diagonal)


def test_a_search_at_its_limit_has_bounds_and_a_proof(tmp_path: Path) -> None:
    problem = correlated(5, n=400, p=40, k=6, ridge=1e-3)
    task = Task(problem, tuple(range(6)), float(fit_supports(problem, [range(6)]).objective[0]), 1e-6)
    search = branch_and_cut.Search(task)
    for _ in range(5):
        node = search.heap[0][2]
        search.heap.pop(0)
        search._split(node)
    outcome = search.outcome()
    assert isinstance(outcome.proof, TreeProof)
    assert outcome.proof.diagonal is not None
    best = solve(problem, "enumeration")
    assert 0 < outcome.lower - rounding_margin(problem) <= best.upper_bound


def test_the_objective_of_a_split_fit_is_that_of_the_relaxation() -> None:
    """Primal and dual meet at the optimum over s, and the fit's own objective is the one that its docstring states."""
    problem = correlated(6)
    apart = split(problem)
    assert apart is not None
    s = np.random.default_rng(0).random(12) * 0.9 + 0.1
    support = np.arange(12)
    b, _, primal, value = apart.fit(support, s)
    left = apart.gram - np.diag(apart.taken)
    stated = apart.half - apart.cross @ b + b @ left @ b / 2 + (apart.curvature * b * b / s).sum() / 2
    assert primal == pytest.approx(stated, abs=1e-13)
    for j, change in itertools.product(range(12), (-1e-4, 1e-4)):
        other = b.copy()
        other[j] += change
        assert (
            apart.half
            - apart.cross @ other
            + other @ left @ other / 2
            + (apart.curvature * other * other / s).sum() / 2
            > primal
        )
    assert value == pytest.approx(apart.half - b @ left @ b / 2, abs=1e-12)


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("kind", KINDS)
def test_cuts_with_a_diagonal_bound_every_set(kind: str) -> None:
    """Those of fits, and every combination of coefficients, which is what a node of outer approximation has."""
    rng = np.random.default_rng(KINDS.index(kind))
    for instance, live, place in split_instances(kind, 6):
        problem, pool = instance.problem, CutPool(instance.problem)
        fits = fit_supports(problem, instance.supports[: 1 + int(rng.integers(8))])
        for number in range(len(fits.supports)):
            pool.add_fit(live, fits, number)
        shares = rng.dirichlet(np.ones(len(pool.points)), 5)
        for vector in (*pool.points, *(shares @ np.array(pool.points))):
            _, value, discount = pool._bounded(live, vector)
            assert (value - discount[place].sum(axis=1) <= instance.objectives + 1e-13).all()


@pytest.mark.usefixtures("always")
@pytest.mark.parametrize("seed", range(4))
def test_outer_approximation_takes_a_diagonal_out(seed: int, tmp_path: Path) -> None:
    problem = correlated(seed, p=10)
    values = fit_supports(problem, np.array(list(itertools.combinations(range(10), 3)))).objective
    solution = solve(problem, "outer_approximation", 30.0)
    assert solution.optimal
    assert abs(solution.upper_bound - values.min()) <= 1e-6
    path = solution.certificate().save(tmp_path / "a.cert")
    assert solution.certificate().claim.with_diagonal
    assert verify(path, problem.X, problem.y).accepted
    assert verify_exact(path, problem.X, problem.y).accepted
