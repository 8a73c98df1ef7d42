"""At most one neuron of each group: optima and pools against brute force, by every engine, and both checkers."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from adversarial import LOSSES, Known, known, stated_by_moments
from sealing import altered
from test_pool import CASES, instance_of

import optprobe as op
from formulations import clusters, fit_supports, value_digest
from optprobe.certificates.exact import verify_exact
from optprobe.cli.main import main
from optprobe.data import grouped
from optprobe.engines.engine import engine_named
from optprobe.errors import InputError


def allowed(problem: op.SparseProbeProblem, size: int) -> dict[tuple[int, ...], float]:
    """F of every allowed set of a size."""
    groups = problem.groups
    assert groups is not None
    listed = [
        support
        for support in itertools.combinations(problem.candidates.tolist(), size)
        if all(groups[i] < 0 or groups[i] != groups[j] for i, j in itertools.combinations(support, 2))
    ]
    sets = np.array(listed, dtype=np.int64).reshape(len(listed), size)
    return dict(zip(listed, map(float, fit_supports(problem, sets).objective)))


@pytest.mark.parametrize(("loss", "engine", "kind"), CASES)
def test_optima_and_pools_of_allowed_sets(loss: str, engine: str, kind: str, tmp_path: Path) -> None:
    instance = instance_of(kind, 2, loss, engine)
    rng = np.random.default_rng([3, len(kind), len(engine)])
    groups = rng.integers(-1, 3, instance.problem.n_neurons)
    problem = replace(instance.problem, groups=groups)
    if engine_named(engine).refusal(problem) is not None:
        return
    every = {size: allowed(problem, size) for size in range(problem.size + 1)}
    assert every[problem.size]
    if problem.size < min(problem.k, len(problem.candidates)):
        assert not allowed(problem, problem.size + 1)
    for wanted in ({}, {"within": 0.1}, {"pool": 2}):
        solution = op.solve(problem, engine, **wanted)
        best = min(every[problem.size].values())
        assert solution.optimal
        assert solution.support in every[problem.size]
        assert solution.lower_bound <= best <= solution.upper_bound <= best + 1e-6
        if solution.pool is not None:
            listed = [one.support for one in solution.pool.sets]
            assert all(one in every[len(one)] for one in listed)
            for sets in every.values():
                for support, value in sets.items():
                    if not any(set(one) <= set(support) for one in listed):
                        assert value >= solution.pool.rest
        path = solution.certificate().save(tmp_path / "a.cert")
        for exhaustive in (False, True):
            verdict = op.verify(path, instance.X, instance.y, instance.sample_weight, exhaustive=exhaustive)
            assert verdict.accepted, verdict.reason
        exactly = verify_exact(path, instance.X, instance.y, instance.sample_weight)
        assert exactly.outcome == "accepted", exactly.reason
        assert verdict.statement is not None
        assert verdict.statement.groups == len(set(groups.tolist()) - {-1})
        assert ", at most one of" in str(verdict)


@pytest.mark.parametrize("kind", ["plain", "duplicates", "weighted"])
def test_from_moments(kind: str, tmp_path: Path) -> None:
    instance = known(kind, 75, "squared", 3)
    groups = np.arange(instance.problem.n_neurons) // 2
    of_rows, of_moments = (replace(p, groups=groups) for p in (instance.problem, stated_by_moments(instance)))
    one, other = op.solve(of_rows), op.solve(of_moments)
    assert one.upper_bound == pytest.approx(other.upper_bound, abs=1e-6)
    path = other.certificate().save(tmp_path / "a.cert")
    assert op.verify(path, moments=of_moments.moments).accepted
    assert verify_exact(path, moments=of_moments.moments).outcome == "accepted"


def both(path: Path, instance: Known) -> set[str]:
    """What both checkers say."""
    data = instance.X, instance.y, instance.sample_weight
    return {op.verify(path, *data).outcome, verify_exact(path, *data).outcome}


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("method", ["auto", "branch_and_cut"])
def test_a_claim_about_other_groups_is_rejected_where_it_is_false(loss: str, method: str, tmp_path: Path) -> None:
    instance = known("plain", 90, loss, 2)
    problem = replace(instance.problem, k=2)
    a, b = op.solve(problem).support
    groups = np.full(problem.n_neurons, -1)
    groups[[a, b]] = 0
    certificate = op.solve(replace(problem, groups=groups), method).certificate()
    assert set(certificate.claim.result.support) != {a, b}

    def freed(claim: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        del claim["problem"]["groups"], arrays["groups"]

    def regrouped(claim: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        arrays["groups"] = np.full(len(groups), -1, np.int32)
        claim["problem"]["groups"] = value_digest(arrays["groups"])

    def undigested(claim: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        arrays["groups"] = np.full(len(groups), -1, np.int32)

    def of_one_group(claim: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        arrays["groups"] = np.zeros(len(groups), np.int32)
        claim["problem"]["groups"] = value_digest(arrays["groups"])

    def below_none(claim: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        arrays["groups"] = np.where(groups < 0, -2, groups).astype(np.int32)
        claim["problem"]["groups"] = value_digest(arrays["groups"])

    assert both(certificate.save(tmp_path / "a.cert"), instance) == {"accepted"}
    for change in (freed, regrouped, undigested, of_one_group, below_none):
        assert both(altered(certificate, change, tmp_path / "b.cert"), instance) == {"rejected"}, change


@pytest.mark.parametrize("loss", LOSSES)
def test_clusters(loss: str) -> None:
    rng = np.random.default_rng(8)
    X = rng.standard_normal((60, 8))
    X[:, 5] = -X[:, 2] + 0.1 * rng.standard_normal(60)
    X[:, 7] = X[:, 5] + 0.1 * rng.standard_normal(60)
    X[:, 3] = 1.0
    y = np.where(X[:, 2] + 0.3 * rng.standard_normal(60) > 0, 1, -1)
    problem = op.problem(X, 2, labels=y, loss=loss, ridge=0.1, groups="cluster:0.9")
    assert problem.groups is not None
    assert problem.groups.tolist() == [-1, -1, 0, -1, -1, 0, -1, 0]
    assert problem.origin.scope["groups"] == "cluster:0.9"
    R = np.corrcoef(np.delete(X, 3, axis=1).T)
    assert clusters(problem, float(np.abs(R - np.eye(7)).max()) + 1e-6).max() == -1
    best = op.solve(problem)
    assert len({2, 5, 7} & set(best.support)) == 1
    free = op.solve(op.problem(X, 2, labels=y, loss=loss, ridge=0.1))
    assert best.upper_bound >= free.lower_bound
    with pytest.raises(InputError, match="heuristics know nothing of groups"):
        op.compare(best)


@pytest.mark.parametrize("rule", ["cluster", "cluster:", "cluster:high", "layers", "cluster:0", "cluster:1.5", ""])
def test_rules_that_make_no_groups(rule: str) -> None:
    with pytest.raises(InputError, match=r"makes no groups|give a number above 0"):
        grouped(known("plain", 1, "squared").problem, rule)


@pytest.mark.parametrize(
    ("groups", "sentence"),
    [([0, 1], "give a whole number for each"), ([0.5] * 6, "give a whole number"), ([-2] * 6, "the group of neuron 0")],
)
def test_what_are_no_groups(groups: list[float], sentence: str) -> None:
    X, y = np.random.default_rng(0).standard_normal((20, 6)), np.tile([1, -1], 10)
    with pytest.raises(InputError, match=sentence):
        op.sparse_probe_problem(X, y, 2, groups=groups)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(5)
    X = rng.standard_normal((100, 10))
    X[:, 7] = X[:, 2] + 0.05 * rng.standard_normal(100)
    y = np.where(X[:, 2] + 0.6 * rng.standard_normal(100) > 0, 1, -1)
    np.savez(tmp_path / "rows.npz", X_train=X.astype(np.float32), y_train=y)
    stated = [str(tmp_path / "rows.npz"), "--k", "2", "--loss", "squared", "--groups", "cluster:0.9"]
    assert main(["solve", *stated, "--out", str(tmp_path)]) == 0
    assert "at most one of each group" in capsys.readouterr().out
    (certificate,) = tmp_path.glob("*.groups.cert")
    assert main(["verify", str(certificate), "--data", str(tmp_path / "rows.npz")]) == 0
    assert main(["cite", str(certificate)]) == 0
    assert "at most one of the one group, no set" in capsys.readouterr().out
    assert main(["compare", *stated]) == 2
    assert main(["solve", *stated[:-1], "layers", "--out", str(tmp_path)]) == 2
    assert "makes no groups" in capsys.readouterr().err
