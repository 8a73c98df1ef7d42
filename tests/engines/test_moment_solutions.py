"""Solving from moments: the support and the bounds of the rows, and certificates that hold for both."""

from __future__ import annotations

import itertools
import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from adversarial import KINDS, Known, known, stated_by_moments
from exact import ExactMoments
from flint import fmpq
from sealing import Change, altered, both_bounds, claiming

from formulations import (
    MomentProblem,
    Moments,
    UnsupportedProblem,
    fit_supports,
    moment_problem,
    sparse_probe_problem,
)
from optprobe.activations import GramAccumulator
from optprobe.certificates import Certificate, verify
from optprobe.certificates.citation import sentence
from optprobe.engines import solve
from optprobe.errors import InputError
from optprobe.heuristics import beam_search, forward_selection, swap_descent


@pytest.mark.parametrize("kind", KINDS)
def test_solves_as_from_rows(kind: str, tmp_path: Path) -> None:
    for seed in range(6):
        instance = known(kind, 300 + seed, "squared", largest_k=4)
        stated = stated_by_moments(instance)
        worst = tuple(map(int, instance.supports[int(np.argmax(instance.objectives))]))
        for given in ((), (worst,)):
            found, rows = solve(stated, incumbents=given), solve(instance.problem, "enumeration")
            assert found.optimal
            assert abs(found.upper_bound - rows.upper_bound) < 1e-9
            assert abs(found.lower_bound - rows.lower_bound) < 2e-9
            assert found.lower_bound <= instance.optimum + 1e-12 <= found.upper_bound + 1e-11
            assert found.regime == rows.regime
            ties = np.sum(instance.objectives < instance.optimum + 1e-9)
            assert ties > 1 or found.support == rows.support
        path = found.certificate().save(tmp_path / "a.cert")
        for modes in ({}, {"fast": True}, {"exhaustive": True}):
            verdict = verify(path, moments=stated.moments, **modes)
            assert verdict.accepted, (instance.name, verdict)
            assert f"the moments of {instance.problem.n_rows} rows" in str(verdict)


@pytest.mark.parametrize("k", [5, 6])
def test_larger_sets(k: int, tmp_path: Path) -> None:
    instance = known("plain", 3, "squared")
    rng = np.random.default_rng(k)
    X = rng.standard_normal((50, 10)) + rng.standard_normal((50, 1))
    y = np.where(X[:, :4].sum(axis=1) + rng.standard_normal(50) > 0, 1.0, -1.0)
    total = GramAccumulator(10)
    total.add(X, y)
    stated = moment_problem(total.moments(), k, ridge=0.02)
    sets = np.array(list(itertools.combinations(range(10), k)))
    found = solve(stated)
    assert abs(found.upper_bound - fit_supports(stated, sets).objective.min()) < 1e-9
    certificate = found.certificate()
    assert verify(certificate.save(tmp_path / "a.cert"), moments=stated.moments).accepted
    path = altered(certificate, both_bounds(1e-7), tmp_path / "a.cert")
    assert "below" in verify(path, moments=stated.moments).reason
    assert instance.problem.k <= 4


def test_only_some_columns(tmp_path: Path) -> None:
    instance = known("plain", 8, "squared")
    whole = stated_by_moments(instance, 2)
    stated = moment_problem(whole.moments, 2, ridge=whole.ridge, among=[0, 2, 3])
    found = solve(stated)
    sets = list(itertools.combinations([0, 2, 3], 2))
    assert abs(found.upper_bound - fit_supports(whole, sets).objective.min()) < 1e-10
    certificate = found.certificate({"feature": "x", "layer": 1})
    assert verify(certificate.save(tmp_path / "a.cert"), moments=stated.moments).accepted
    assert certificate.file_name.endswith(".top3.moments.cert")
    assert f"from the moments of {instance.problem.n_rows} rows" in sentence(certificate, certified=False)


def test_local_searches_find_what_they_find_from_rows() -> None:
    for seed in range(5):
        instance = known("plain", 60 + seed, "squared")
        stated = stated_by_moments(instance)
        for search in (forward_selection, beam_search):
            assert abs(search(stated).objective - search(instance.problem).objective) < 1e-10
        start = stated.candidates[-stated.size :]
        assert abs(swap_descent(stated, start).objective - swap_descent(instance.problem, start).objective) < 1e-10


def test_without_time_the_bounds_hold(tmp_path: Path) -> None:
    for kind in KINDS:
        instance = known(kind, 500, "squared")
        stated = stated_by_moments(instance)
        found = solve(stated, time_limit=1e-9)
        assert found.lower_bound <= instance.optimum + 1e-12
        assert found.upper_bound >= instance.optimum - 1e-12
        assert verify(found.certificate().save(tmp_path / "a.cert"), moments=stated.moments).accepted


@pytest.mark.parametrize("method", ["branch_and_cut", "milp", "outer_approximation", "dual_enumeration"])
def test_other_methods_need_rows(method: str) -> None:
    with pytest.raises(UnsupportedProblem, match="needs the rows"):
        solve(stated_by_moments(known("plain", 1, "squared")), method)


def test_many_neurons_need_rows() -> None:
    instance = known("plain", 1, "squared")
    with pytest.raises(UnsupportedProblem, match="with the rows"):
        solve(moment_problem(stated_by_moments(instance).moments, 7, ridge=0.1))


@pytest.fixture(scope="module")
def example() -> tuple[Known, MomentProblem, Certificate]:
    rng = np.random.default_rng(17)
    X = rng.standard_normal((45, 7))
    y = np.where(X[:, 0] - X[:, 3] + 0.5 * rng.standard_normal(45) > 0, 1.0, -1.0)
    total = GramAccumulator(7)
    total.add(X, y)
    stated = moment_problem(total.moments(made={"from": "a test"}), 3, ridge=0.05)
    instance = known("plain", 0, "squared")
    return instance, stated, solve(stated).certificate()


def result(name: str, value: Callable[[Any], Any]) -> Change:
    return lambda claim, arrays: claim["result"].update({name: value(claim["result"][name])})


def data(name: str, value: Any) -> Change:
    return lambda claim, arrays: claim["data"].update({name: value})


TAMPERINGS: dict[str, tuple[Change, str]] = {
    "both bounds raised": (both_bounds(3e-9), "below"),
    "lower bound raised": (result("lower_bound", lambda x: x + 1e-5), "above"),
    "upper bound lowered": (result("upper_bound", lambda x: x - 1e-8), "reaches|above"),
    "support": (result("support", lambda x: [*x[:-1], 6 if x[-1] != 6 else 5]), "reaches"),
    "support out of range": (result("support", lambda x: [0, 1, 70]), "from 0 to 6"),
    "intercept": (result("intercept", lambda x: x + 0.1), "reaches"),
    "digest": (data("moments", "0" * 64), "not the claim's"),
    "class weight": (lambda claim, arrays: claim["problem"].update(class_weight="balanced"), "class weights"),
    "rows": (data("n_rows", 46), "other ones"),
    "ridge": (lambda claim, arrays: claim["problem"].update(ridge=0.04), "below"),
    "k": (lambda claim, arrays: claim["problem"].update(k=4), "below"),
    "loss": (lambda claim, arrays: claim["problem"].update(loss="logistic"), "squared loss"),
    "proof": (lambda claim, arrays: claim["proof"].update(kind="tree"), "the proof"),
    "tolerance": (result("tolerance", lambda x: 0.02), "hundredth"),
    "coefficients": (lambda claim, arrays: arrays.update(coef=2 * arrays["coef"]), "reaches"),
}


@pytest.mark.parametrize("name", TAMPERINGS)
def test_rejects_tampering(name: str, example: tuple[Known, MomentProblem, Certificate], tmp_path: Path) -> None:
    _, stated, certificate = example
    change, says = TAMPERINGS[name]
    assert verify(certificate.save(tmp_path / "a.cert"), moments=stated.moments).accepted
    verdict = verify(altered(certificate, change, tmp_path / "b.cert"), moments=stated.moments)
    assert not verdict.accepted
    assert any(word in verdict.reason for word in says.split("|")), verdict.reason


def test_rejects_other_moments(example: tuple[Known, MomentProblem, Certificate], tmp_path: Path) -> None:
    _, stated, certificate = example
    path = certificate.save(tmp_path / "a.cert")
    good = stated.moments
    for other in (
        replace(good, error=0.0),
        replace(good, covariance=good.covariance * (1 + 1e-9)),
        replace(good, made={}),
        replace(good, n_rows=44),
    ):
        assert not verify(path, moments=other).accepted
    with pytest.raises(InputError, match="nothing to check"):
        verify(path)
    assert "about moments" in verify(path, np.zeros((4, 7)), np.array([1, -1, 1, -1])).reason


def test_moments_of_no_rows_prove_nothing(tmp_path: Path) -> None:
    """Who solves from an indefinite matrix, with a digest that agrees, is rejected all the same."""
    covariance = np.where(np.eye(4) > 0, 1.0, -0.9)
    moments = Moments(9, np.zeros(4), covariance, np.full(4, 0.1), 0.0, 1.0)
    path = solve(MomentProblem(moments, 2, 0.5)).certificate().save(tmp_path / "a.cert")
    verdict = verify(path, moments=moments)
    assert "semidefinite" in verdict.reason


def test_the_stated_error_is_in_both_bounds(tmp_path: Path) -> None:
    """A certificate from moments of error e holds for all moments that far away, and is wider for it."""
    for kind in ("plain", "ties", "suppressors", "unbalanced"):
        instance = known(kind, 900, "squared")
        stated = stated_by_moments(instance)
        exact = stated.moments
        blurred = replace(exact, error=1e-7)
        found = solve(moment_problem(blurred, stated.k, ridge=stated.ridge), tolerance=1e-3)
        narrow = solve(stated)
        assert found.gap > 10 * narrow.gap
        certificate = found.certificate()
        assert verify(certificate.save(tmp_path / "a.cert"), moments=blurred).accepted
        bounds = {"lower_bound": narrow.lower_bound, "upper_bound": max(found.upper_bound, narrow.lower_bound)}
        path = altered(certificate, claiming(bounds), tmp_path / "a.cert")
        assert "below" in verify(path, moments=blurred).reason
        rng, deviations = np.random.default_rng(0), np.sqrt(np.diagonal(exact.covariance))
        for _ in range(20):
            signs = rng.choice([-1.0, 1.0], exact.covariance.shape)
            signs = np.triu(signs) + np.triu(signs, 1).T
            near = MomentProblem(
                replace(
                    exact,
                    covariance=exact.covariance + 0.99e-7 * signs * np.outer(deviations, deviations),
                    cross=exact.cross + 0.99e-7 * signs[0] * deviations * np.sqrt(exact.target_variance),
                    target_variance=exact.target_variance * (1 + 0.99e-7 * float(signs[0, 1])),
                    error=1e-6,
                ),
                stated.k,
                stated.ridge,
            )
            near.__dict__["inv_scale"] = stated.inv_scale
            values = fit_supports(near, instance.supports).objective
            at = instance.supports.tolist().index(list(found.support))
            assert found.lower_bound <= values.min()
            assert values[at] <= found.upper_bound


@pytest.mark.parametrize("kind", KINDS)
def test_agrees_with_exact_arithmetic_on_the_rows(kind: str, tmp_path: Path) -> None:
    """Certificates from float64 moments hold for the rows in rational arithmetic; claims that those refute do not."""
    instance = known(kind, 77, "squared", largest_k=3)
    stated = stated_by_moments(instance)
    truth = ExactMoments(instance.problem.X, instance.problem.y, instance.problem.w, stated.inv_scale, stated.ridge)
    values = {tuple(s): truth.value(tuple(s)) for s in instance.supports.tolist()}
    least = min(values.values())
    found = solve(stated)
    assert fmpq(*found.lower_bound.as_integer_ratio()) <= least
    assert values[found.support] <= fmpq(*found.upper_bound.as_integer_ratio())
    certificate = found.certificate()
    for moved in (-1e-9, 0.0, 1e-13, 1e-12, 1e-10, 1e-8):
        claimed = float(least.p) / float(least.q) + moved
        bounds = {"lower_bound": claimed, "upper_bound": max(found.upper_bound, claimed)}
        accepted = verify(altered(certificate, claiming(bounds), tmp_path / "a.cert"), moments=stated.moments)
        assert not accepted.accepted or fmpq(*claimed.as_integer_ratio()) <= least
    assert not accepted.accepted


def test_a_target_of_any_scale(tmp_path: Path) -> None:
    """Regression: the target's unit changes bounds by its square, and nothing else."""
    rng = np.random.default_rng(2)
    X = rng.standard_normal((60, 8))
    y = X[:, 0] + 0.5 * X[:, 1] + rng.standard_normal(60)
    for unit in (1e-3, 1.0, 1e4):
        total = GramAccumulator(8)
        total.add(X, unit * y)
        stated = moment_problem(total.moments(), 2, ridge=0.05)
        found = solve(stated, tolerance=1e-6 * unit**2)
        assert found.optimal
        sets = list(itertools.combinations(range(8), 2))
        assert found.upper_bound == pytest.approx(fit_supports(stated, sets).objective.min(), rel=1e-9)
        certificate = found.certificate()
        assert verify(certificate.save(tmp_path / "a.cert"), moments=stated.moments).accepted
        path = altered(certificate, both_bounds(1e-7 * found.upper_bound), tmp_path / "a.cert")
        assert "below" in verify(path, moments=stated.moments).reason


def test_the_checker_alone(example: tuple[Known, MomentProblem, Certificate], tmp_path: Path) -> None:
    """A copy of its folder, numpy, and the file of moments."""
    from optprobe.activations.summaries import moments_store
    from optprobe.certificates import checker

    _, stated, certificate = example
    moments_store.write_moments(tmp_path / "layer_0.x.safetensors", stated.moments)
    certificate.save(tmp_path / "a.cert")
    folder = Path(checker.__file__).parent
    (tmp_path / "checker").symlink_to(folder)
    command = [sys.executable, "-m", "checker", "a.cert", "layer_0.x.safetensors"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "the moments of 45 rows" in done.stdout
    (tmp_path / "layer_0.x.safetensors").write_bytes(b"nothing")
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True)
    assert done.returncode == 2
    assert "no file of moments" in done.stderr


def test_a_real_layer(shared: Path, tmp_path: Path) -> None:
    """All neurons of a layer in float16: the bounds of the rows, and an error that is small beside them."""
    with np.load(shared / "data" / "activations" / "minilm_L3_verb.npz", allow_pickle=False) as file:
        X, y = file["X_train"], file["y_train"].astype(np.float64)
    total = GramAccumulator(X.shape[1])
    total.add(X[:300], y[:300])
    total.add(X[300:], y[300:])
    stated = moment_problem(total.moments(), 3, ridge=0.01)
    assert stated.moments.error < 1e-12
    found, rows = solve(stated), solve(sparse_probe_problem(X, y, 3, loss="squared", ridge=0.01))
    assert found.support == rows.support
    assert abs(found.upper_bound - rows.upper_bound) < 1e-9
    assert abs(found.lower_bound - rows.lower_bound) < 1e-9
    assert verify(found.certificate().save(tmp_path / "a.cert"), moments=stated.moments, fast=True).accepted
