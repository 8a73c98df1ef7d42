"""Every engine against brute force and the conformance suite."""

from __future__ import annotations

from pathlib import Path

import conformance
import numpy as np
import pytest
from adversarial import KINDS, instances, known

from formulations import UnsupportedProblem, sparse_probe_problem
from optprobe.certificates import verify
from optprobe.engines import METHODS, Status, solve

LOSSES = ("squared", "logistic", "hinge")
OF_ONE_LOSS = [("enumeration", "squared"), ("dual_enumeration", "logistic"), ("dual_enumeration", "hinge")]
ENUMERATIONS = {method for method, _ in OF_ONE_LOSS}
PAIRS = [*OF_ONE_LOSS, *((m, loss) for m in METHODS if m not in ENUMERATIONS for loss in LOSSES)]
SEEDS = {
    "enumeration": range(12),
    "dual_enumeration": range(12),
    "branch_and_cut": range(4),
    "outer_approximation": range(2),
    "milp": range(1),
}


@pytest.mark.parametrize(("method", "loss"), PAIRS)
@pytest.mark.parametrize("kind", KINDS)
def test_equals_brute_force(method: str, loss: str, kind: str, tmp_path: Path) -> None:
    for instance in instances(loss, SEEDS[method], (kind,), conformance.largest_k(method, loss)):
        conformance.check_optimum(method, instance, tmp_path)


@pytest.mark.parametrize(("method", "loss"), [pair for pair in PAIRS if pair[0] != "milp"])
@pytest.mark.parametrize("check", list(conformance.checks()), ids=lambda check: check.__name__)
def test_conformance(method: str, loss: str, check: conformance.Check, tmp_path: Path) -> None:
    for kind in ("plain", "duplicates", "weighted"):
        check(method, known(kind, 100, loss, min(3, conformance.largest_k(method, loss))), tmp_path)


@pytest.mark.slow
@pytest.mark.parametrize(("method", "loss"), PAIRS)
def test_equals_brute_force_on_many(method: str, loss: str, tmp_path: Path) -> None:
    largest_k = conformance.largest_k(method, loss)
    for instance in instances(loss, range(1000, 1000 + 10 * len(SEEDS[method])), KINDS, largest_k):
        conformance.check_optimum(method, instance, tmp_path)


def test_suppressor_pair_is_found_where_single_neurons_are_useless() -> None:
    instance = known("suppressors", 3, "squared")
    solution = solve(instance.problem)
    assert {0, 1} <= set(solution.support)
    singles = solve(instance.problem.restated(k=1))
    assert singles.upper_bound > 1.5 * solution.upper_bound


def test_separable_regime_is_detected() -> None:
    instance = known("plain", 1, "hinge")
    large = instance.problem.restated(ridge=1e4)
    assert solve(large).regime == "separable"
    assert solve(instance.problem).regime == "relaxation"


@pytest.mark.parametrize(
    ("method", "loss", "k", "says"),
    [
        ("enumeration", "logistic", 2, "squared loss"),
        ("enumeration", "squared", 7, "k <= 6"),
        ("dual_enumeration", "squared", 2, "logistic and hinge loss"),
        ("dual_enumeration", "hinge", 3, "k <= 2"),
        ("dual_enumeration", "logistic", 4, "k <= 3"),
        ("milp", "squared", 2, "at most 64"),
    ],
)
def test_refusals_name_what_is_missing(method: str, loss: str, k: int, says: str) -> None:
    rng = np.random.default_rng(0)
    X = rng.standard_normal((30, 80))
    problem = sparse_probe_problem(X, np.where(X[:, 0] > 0, 1, -1), k, loss=loss, ridge=0.1)
    with pytest.raises(UnsupportedProblem, match=says):
        solve(problem, method)


def test_zero_ridge_is_refused_with_a_sentence() -> None:
    instance = known("plain", 0, "squared")
    for method in sorted(set(METHODS) - {"dual_enumeration"}):
        with pytest.raises(UnsupportedProblem, match="ridge"):
            solve(instance.problem.restated(ridge=0.0), method)


def test_interrupt_ends_the_budget_with_valid_bounds() -> None:
    import os
    import signal

    from optprobe.engines import Progress

    instance = known("plain", 5, "logistic", largest_k=3)

    def interrupt(moment: Progress) -> None:
        if moment.phase == "branch and cut":
            os.kill(os.getpid(), signal.SIGINT)

    solution = solve(instance.problem.restated(ridge=0.001, k=2), "branch_and_cut", progress=interrupt)
    assert solution.status in (Status.INTERRUPTED, Status.OPTIMAL)
    assert solution.lower_bound <= solution.upper_bound


@pytest.mark.parametrize("loss", LOSSES)
def test_only_constant_columns(loss: str, tmp_path: Path) -> None:
    X, y = np.ones((9, 2)), np.array([1, 1, -1, 1, -1, 1, 1, 1, -1])
    solution = solve(sparse_probe_problem(X, y, 2, loss=loss, ridge=0.1))
    assert solution.support == ()
    assert solution.optimal
    assert verify(solution.certificate().save(tmp_path / "a.cert"), X, y).accepted
