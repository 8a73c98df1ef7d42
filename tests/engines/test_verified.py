"""Whatever `solve` ends with is accepted by both checkers: every engine, loss, k, ridge, kind of weights, ending."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from adversarial import LOSSES, Known, known, mixed, stated_by_moments

from formulations import UnsupportedProblem, sparse_probe_problem
from optprobe.certificates import verify
from optprobe.certificates.exact import verify_exact
from optprobe.engines import METHODS, Status, solve
from optprobe.engines.bounds.relaxation import LiveColumns, Point
from optprobe.engines.budget import Budget

QUICK, ALL, AT_ONCE = 72, 300, 25
ENDS = ("closed", "no time", "soon", "cut short", "too fine")
"""How a search is made to end; "cut short" and "too fine" do not depend on the machine's speed."""


@pytest.fixture
def cut_short(monkeypatch: pytest.MonkeyPatch) -> Callable[[int | None], None]:
    """Ends every budget after so many looks at it, wherever the search is then; None lets it be."""
    honest = Budget.left

    def after(looks: int | None) -> None:
        counter = itertools.count()
        counted = property(lambda budget: 1000.0 if next(counter) < (looks or 0) else 0.0)
        monkeypatch.setattr(Budget, "left", honest if looks is None else counted)

    return after


def solved(instance: Known, method: str, end: str, cut_short: Callable[[int | None], None]) -> Any:
    """The solution of a search that ends in this way; None where the engine refuses the problem."""
    rng = np.random.default_rng(len(instance.name) + sum(map(ord, instance.name + method)))
    options: Mapping[str, float] = {"no time": {"time_limit": 1e-9}, "soon": {"time_limit": 0.01}}.get(end, {})
    if end == "too fine":
        options = {"tolerance": 1e-13}
    cut_short(int(np.exp(rng.uniform(0.7, 5.0))) if end == "cut short" else None)
    try:
        return solve(instance.problem, method, **options)
    except UnsupportedProblem:
        return None
    finally:
        cut_short(None)


def check(instance: Known, solution: Any, path: Path) -> None:
    """Both bounds against brute force, and the certificate against the data."""
    assert solution.lower_bound <= instance.optimum + 1e-12
    assert solution.upper_bound >= instance.optimum
    assert not solution.optimal or solution.upper_bound <= instance.optimum + solution.tolerance
    solution.certificate().save(path)
    for checker in (verify, verify_exact):
        verdict = checker(path, instance.X, instance.y, instance.sample_weight)
        assert verdict.accepted, str(verdict)


def check_all_methods(seeds: range, ends: Callable[[int, str], tuple[str, ...]], folder: Path, cut: Any) -> None:
    """Every engine on every instance; all failures at once, since their pattern says where the fault is."""
    wrong = []
    for seed in seeds:
        instance = mixed(seed)
        for method in (*METHODS, "auto"):
            for end in ends(seed, method):
                try:
                    if (solution := solved(instance, method, end, cut)) is None:
                        break
                    check(instance, solution, folder / "a.cert")
                except (AssertionError, ValueError) as error:
                    wrong.append(f"{instance.name}, {method}, {end}: {str(error).partition(chr(10))[0]}")
    assert not wrong, f"{len(wrong)} wrong:\n" + "\n".join(wrong)


@pytest.mark.parametrize("first", range(0, QUICK, 12))
def test_whatever_a_search_ends_with_is_accepted(first: int, tmp_path: Path, cut_short: Any) -> None:
    """One ending for each engine, in turn; the slow check has them all."""

    def ends(seed: int, method: str) -> tuple[str, ...]:
        if method == "milp" and seed % 6:
            return ()
        return (ENDS[(seed + METHODS.index(method) if method in METHODS else seed + 3) % len(ENDS)],)

    check_all_methods(range(first, first + 12), ends, tmp_path, cut_short)


@pytest.mark.slow
@pytest.mark.parametrize("first", range(0, ALL, AT_ONCE))
def test_whatever_many_searches_end_with_is_accepted(first: int, tmp_path: Path, cut_short: Any) -> None:
    check_all_methods(range(first, first + AT_ONCE), lambda seed, method: ENDS, tmp_path, cut_short)


def check_moments(seed: int, folder: Path, cut: Any) -> None:
    instance = mixed(seed)
    stated = stated_by_moments(instance)
    for method, end in itertools.product(("auto", "enumeration"), ENDS):
        of_moments = Known(instance.name, stated, instance.X, instance.y, None, instance.supports, instance.objectives)
        if (solution := solved(of_moments, method, end, cut)) is None:
            return
        assert solution.lower_bound <= instance.optimum + 1e-12, (instance.name, method, end)
        assert solution.upper_bound >= instance.optimum - 1e-12, (instance.name, method, end)
        solution.certificate().save(folder / "a.cert")
        for checker in (verify, verify_exact):
            verdict = checker(folder / "a.cert", moments=stated.moments)
            assert verdict.accepted, (instance.name, method, end, str(verdict))


OF_SQUARED_LOSS = [seed for seed in range(ALL) if LOSSES[seed // 6 % 3] == "squared"]


@pytest.mark.parametrize("seed", OF_SQUARED_LOSS[:6])
def test_what_moments_end_with_is_accepted(seed: int, tmp_path: Path, cut_short: Any) -> None:
    check_moments(seed, tmp_path, cut_short)


@pytest.mark.slow
def test_what_many_moments_end_with_is_accepted(tmp_path: Path, cut_short: Any) -> None:
    for seed in OF_SQUARED_LOSS:
        check_moments(seed, tmp_path, cut_short)


@pytest.mark.parametrize(("seed", "ridge"), [(1, 0.01), (3, 0.01), (3, 0.003)])
def test_cutting_planes_split_by_first_neurons(seed: int, ridge: float, tmp_path: Path) -> None:
    """Nodes of three neurons whose dual vector is a combination of cuts, which no sparse point stands for."""
    rng = np.random.default_rng([5, seed])
    X = rng.standard_normal((60, 12))
    y = np.where(X @ rng.standard_normal(12) + rng.standard_normal(60) > 0, 1.0, -1.0)
    solution = solve(sparse_probe_problem(X, y, 3, loss="logistic", ridge=ridge), "outer_approximation")
    assert solution.optimal
    assert verify(solution.certificate().save(tmp_path / "a.cert"), X, y).accepted


@pytest.mark.parametrize("loss", LOSSES)
def test_a_point_stands_for_one_vector_however_it_is_stored(loss: str) -> None:
    problem = known("plain", 2, loss).problem
    sparse = Point(problem.candidates[:2], np.array([0.3, -0.2]), 0.1)
    vector = sparse.dual(problem)
    assert np.allclose(Point.explicit(vector).dual(problem), vector, rtol=0, atol=1e-14)
    assert abs(problem.w @ vector) < 1e-14
    value, discounts = LiveColumns(problem, problem.candidates).value_and_discounts(vector)
    supports = itertools.combinations(range(len(discounts)), problem.size)
    assert min(value - discounts[list(support)].sum() for support in supports) <= known("plain", 2, loss).optimum


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("method", ["branch_and_cut", "outer_approximation", "auto"])
def test_all_columns_with_a_tolerance_finer_than_a_fit(loss: str, method: str, tmp_path: Path) -> None:
    """One support alone: nothing is left to split, though its bound is below the target."""
    for seed in range(6):
        instance = known("full", seed, loss)
        solution = solve(instance.problem.restated(k=4), method, tolerance=1e-15)
        assert solution.status in (Status.OPTIMAL, Status.UNFINISHED)
        verdict = verify(solution.certificate().save(tmp_path / "a.cert"), instance.X, instance.y)
        assert verdict.accepted, str(verdict)


@pytest.mark.parametrize(
    ("kind", "seed", "k"), [("duplicates", 1, 1), ("plain", 10, 2), ("ties", 2, 1), ("ties", 10, 2)]
)
def test_a_sweep_with_a_tolerance_finer_than_a_fit(kind: str, seed: int, k: int, tmp_path: Path) -> None:
    """The checker fits what the sweep fitted, and need not come as close."""
    instance = known(kind, seed, "hinge", largest_k=1)
    solution = solve(instance.problem.restated(k=k), "dual_enumeration", tolerance=1e-13)
    assert not solution.optimal
    verdict = verify(solution.certificate().save(tmp_path / "a.cert"), instance.X, instance.y, instance.sample_weight)
    assert verdict.accepted, str(verdict)
