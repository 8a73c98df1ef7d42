"""The checker accepts what is true and rejects every alteration, with the sentence that says what differs."""

from __future__ import annotations

import itertools
import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from adversarial import KINDS, Known, known
from sealing import Arrays, Change, altered, both_bounds, parts, seal

from formulations import fit_supports, sparse_probe_problem
from optprobe.certificates import Certificate, checker, verify
from optprobe.certificates.checker import exhaustive, tree
from optprobe.certificates.checker.bounds import duals_of, node_bound
from optprobe.certificates.checker.pair_sweep import moments
from optprobe.certificates.checker.problem import Problem
from optprobe.engines import solve
from optprobe.errors import CertificateRejected, InputError


@pytest.fixture(scope="module")
def instance() -> Known:
    rng = np.random.default_rng(5)
    X = rng.standard_normal((60, 9))
    y = np.where(X[:, 0] + X[:, 1] * X[:, 2] + 0.5 * rng.standard_normal(60) > 0, 1.0, -1.0)
    problem = sparse_probe_problem(X, y, 3, loss="logistic", ridge=0.05)
    supports = np.array(list(itertools.combinations(range(9), 3)))
    return Known("checker", problem, X, y, None, supports, fit_supports(problem, supports).objective)


@pytest.fixture(scope="module", params=["logistic", "hinge", "squared"])
def certificate(instance: Known, request: pytest.FixtureRequest) -> Certificate:
    problem = instance.problem.restated(loss=request.param)
    return solve(problem, "branch_and_cut").certificate({"model": "none", "feature": "made up"})


def set_result(name: str, value: Callable[[Any], Any]) -> Change:
    def change(claim: dict[str, Any], arrays: Arrays) -> None:
        claim["result"][name] = value(claim["result"][name])

    return change


def set_problem(name: str, value: Any) -> Change:
    def change(claim: dict[str, Any], arrays: Arrays) -> None:
        claim["problem"][name] = value

    return change


def remove_leaf(claim: dict[str, Any], arrays: Arrays) -> None:
    last = np.flatnonzero(arrays["tree.kind"] == tree.LEAF)[-1]
    for name in ("tree.kind", "tree.argument"):
        arrays[name] = np.delete(arrays[name], last)


def add_leaf(claim: dict[str, Any], arrays: Arrays) -> None:
    arrays["tree.kind"] = np.append(arrays["tree.kind"], np.int8(tree.LEAF))
    arrays["tree.argument"] = np.append(arrays["tree.argument"], np.int32(0))


def empty_leaves(claim: dict[str, Any], arrays: Arrays) -> None:
    arrays["tree.argument"][arrays["tree.kind"] == tree.LEAF] = -1


def infeasible_duals(claim: dict[str, Any], arrays: Arrays) -> None:
    arrays["points.coef"] = arrays["points.coef"] * 3 + 1
    arrays["duals"] = arrays["duals"] * 3 + 1


def repeat_branch(claim: dict[str, Any], arrays: Arrays) -> None:
    branches = np.flatnonzero(arrays["tree.kind"] == tree.BRANCH)
    arrays["tree.argument"][branches[1]] = arrays["tree.argument"][branches[0]]


def nan_coefficient(claim: dict[str, Any], arrays: Arrays) -> None:
    arrays["coef"][0] = np.nan


raise_both = both_bounds(3e-7)


TAMPERINGS: dict[str, tuple[Change, str]] = {
    "negative column": (set_problem("among", [-1, 0, 1, 2]), "columns allowed|from 0"),
    "lowered upper bound": (set_result("upper_bound", lambda value: value - 1e-5), "reaches|above"),
    "raised lower bound": (set_result("lower_bound", lambda value: value + 1e-5), "claim|above"),
    "changed support": (set_result("support", lambda value: [*value[:-1], (value[-1] + 1) % 9]), "support|reaches"),
    "support out of range": (set_result("support", lambda value: [0, 1, 99]), "support"),
    "changed intercept": (set_result("intercept", lambda value: value + 0.1), "reaches"),
    "larger k": (set_problem("k", 4), "leaf|incomplete|complete"),
    "smaller ridge": (set_problem("ridge", 0.04), "leaf|proves|below"),
    "other loss": (set_problem("loss", "absolute"), "one of"),
    "other weights": (set_problem("class_weight", "balanced"), "leaf|reaches"),
    "removed leaf": (remove_leaf, "incomplete|missing|proves"),
    "added leaf": (add_leaf, "complete"),
    "empty leaves": (empty_leaves, "proves"),
    "infeasible duals": (infeasible_duals, "proves|incomplete"),
    "repeated branch": (repeat_branch, "free"),
    "not a number": (nan_coefficient, "finite"),
    "tolerance of everything": (set_result("tolerance", lambda value: 1.0), "the tolerance"),
}


def test_accepts_the_truth(instance: Known, certificate: Certificate, tmp_path: Path) -> None:
    path = certificate.save(tmp_path / "a.cert")
    verdict = verify(path, instance.X, instance.y)
    assert verdict.accepted
    assert str(list(certificate.claim.result.support)) in verdict.reason


@pytest.mark.parametrize("name", TAMPERINGS)
def test_rejects_what_is_not_true(instance: Known, certificate: Certificate, name: str, tmp_path: Path) -> None:
    change, says = TAMPERINGS[name]
    try:
        false = altered(certificate, change, tmp_path / "a.cert")
    except IndexError:
        pytest.skip("this certificate has nothing of the kind")
    verdict = verify(false, instance.X, instance.y)
    assert not verdict.accepted
    assert any(part in verdict.reason for part in says.split("|")), verdict.reason


def test_rejects_a_false_sweep(instance: Known, tmp_path: Path) -> None:
    for k in (1, 2, 3, 4):
        solution = solve(instance.problem.restated(loss="squared", k=k), "enumeration")
        certificate = solution.certificate()
        assert verify(certificate.save(tmp_path / "a.cert"), instance.X, instance.y).accepted

        verdict = verify(altered(certificate, both_bounds(2e-7), tmp_path / "b.cert"), instance.X, instance.y)
        assert not verdict.accepted
        assert "below" in verdict.reason


def test_a_sweep_without_a_reference_proves_no_logistic_loss(
    instance: Known, certificate: Certificate, tmp_path: Path
) -> None:
    """Squared loss, and hinge loss of at most two neurons: there the claim alone is the proof."""

    def claim_a_sweep(claim: dict[str, Any], arrays: Arrays) -> None:
        claim["proof"] = {"kind": "sweep", "box": None}
        coef = arrays["coef"]
        arrays.clear()
        arrays["coef"] = coef

    verdict = verify(altered(certificate, claim_a_sweep, tmp_path / "a.cert"), instance.X, instance.y)
    stated = certificate.claim.problem
    assert verdict.accepted == (stated.loss == "squared" or (stated.loss == "hinge" and stated.k <= 2))


@pytest.mark.parametrize("k", [1, 2, 3])
def test_rejects_a_false_dual_sweep(instance: Known, k: int, tmp_path: Path) -> None:
    certificate = solve(instance.problem.restated(loss="logistic", k=k), "dual_enumeration").certificate()
    assert verify(certificate.save(tmp_path / "a.cert"), instance.X, instance.y).accepted

    def shorter(claim: dict[str, Any], arrays: Arrays) -> None:
        arrays["reference"] = arrays["reference"][1:]

    def wide(claim: dict[str, Any], arrays: Arrays) -> None:
        claim["proof"]["box"] = 0.99

    def other_loss(claim: dict[str, Any], arrays: Arrays) -> None:
        claim["problem"]["loss"] = "hinge"

    for change, says in ((raise_both, "below"), (shorter, "arrays"), (wide, "box"), (other_loss, "hinge")):
        verdict = verify(altered(certificate, change, tmp_path / "b.cert"), instance.X, instance.y)
        assert not verdict.accepted
        assert any(part in verdict.reason for part in says.split("|")), verdict.reason


@pytest.mark.parametrize("k", [1, 2])
def test_rejects_a_false_hinge_sweep(instance: Known, k: int, tmp_path: Path) -> None:
    certificate = solve(instance.problem.restated(loss="hinge", k=k), "dual_enumeration").certificate()
    assert verify(certificate.save(tmp_path / "a.cert"), instance.X, instance.y).accepted

    def larger_k(claim: dict[str, Any], arrays: Arrays) -> None:
        claim["problem"]["k"] = 3

    def other_loss(claim: dict[str, Any], arrays: Arrays) -> None:
        claim["problem"]["loss"] = "logistic"

    for change, says in ((raise_both, "below"), (larger_k, "k <= 2"), (other_loss, "box")):
        verdict = verify(altered(certificate, change, tmp_path / "b.cert"), instance.X, instance.y)
        assert not verdict.accepted
        assert any(part in verdict.reason for part in says.split("|")), verdict.reason


@pytest.mark.parametrize("loss", ["squared", "logistic", "hinge"])
@pytest.mark.parametrize("kind", KINDS)
def test_an_exhaustive_check_needs_no_proof(kind: str, loss: str, tmp_path: Path) -> None:
    """With the proof taken away it accepts what is true, and it rejects a bound above the optimum."""
    for seed in range(3):
        instance = known(kind, 300 + seed, loss)
        certificate = solve(instance.problem, "branch_and_cut").certificate()

        def no_proof(claim: dict[str, Any], arrays: Arrays) -> None:
            claim["proof"]["box"] = None
            arrays.pop("reference", None)
            arrays["tree.kind"], arrays["tree.argument"] = np.zeros(1, np.int8), np.full(1, -1, np.int32)

        def false(claim: dict[str, Any], arrays: Arrays, optimum: float = instance.optimum) -> None:
            no_proof(claim, arrays)
            claim["result"].update(lower_bound=optimum + 1e-7, upper_bound=optimum + 2e-7)

        path, data = tmp_path / "a.cert", (instance.X, instance.y, instance.sample_weight)
        assert not verify(altered(certificate, no_proof, path), *data).accepted
        verdict = verify(path, *data, exhaustive=True)
        assert verdict.accepted, verdict.reason
        assert f"{len(instance.supports)} sets" in str(verdict)
        altered(certificate, false, path)
        assert "below" in verify(path, *data, exhaustive=True).reason


def test_an_exhaustive_check_refuses_what_would_never_end(instance: Known, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    X, y = rng.standard_normal((20, 700)), np.where(np.arange(20) % 2, 1.0, -1.0)
    problem = sparse_probe_problem(X, y, 2, loss="logistic", ridge=100.0)
    path = solve(problem, "branch_and_cut").certificate().save(tmp_path / "a.cert")
    verdict = verify(path, X, y, exhaustive=True)
    assert (verdict.outcome, verdict.exit_code) == ("undecided", 3)
    assert "takes on" in verdict.reason


@pytest.mark.parametrize("seed", range(5))
def test_the_exhaustive_loops_list_every_set_above_a_gain(seed: int) -> None:
    rng = np.random.default_rng(seed)
    rows = rng.standard_normal((40, 11))
    rows[:, 1] = rows[:, 0]
    stated = sparse_probe_problem(
        rows, np.where(rows[:, 2] + rng.standard_normal(40) > 0, 1, -1), 2 + seed % 3, ridge=0.01
    )
    sets = np.array(list(itertools.combinations(range(11), stated.k)))
    objectives = fit_supports(stated.restated(loss="squared"), sets).objective
    problem = Problem(stated.Z, stated.y, stated.w, np.full(11, True), "squared", stated.ridge, stated.k)
    for lower in np.quantile(objectives, [0.05, 0.5]):
        listed: list[np.ndarray] = []
        exhaustive.check_sets_above(*moments(problem, float(lower)), problem.size, listed.append, problem.limits)
        found = {tuple(row) for part in listed for row in part.tolist()}
        assert {tuple(s) for s, f in zip(sets.tolist(), objectives) if f < lower - 1e-12} <= found
        assert found <= {tuple(s) for s, f in zip(sets.tolist(), objectives) if f < lower + 1e-6}


def test_rejects_false_pair_leaves(tmp_path: Path) -> None:
    """A tree whose leaf of two missing neurons is bounded pair by pair, and what becomes of it when altered."""
    rng = np.random.default_rng(4)
    X = rng.standard_normal((60, 3)) @ rng.standard_normal((3, 14)) + rng.standard_normal((60, 14))
    y = np.where(X[:, 0] + X[:, 1] + 2 * rng.standard_normal(60) > 0, 1.0, -1.0)
    problem = sparse_probe_problem(X, y, 4, loss="logistic", ridge=0.003)
    certificate = solve(problem, "branch_and_cut").certificate()
    pairs = np.flatnonzero(certificate.arrays["tree.kind"] == 3)
    assert len(pairs)
    path = tmp_path / "a.cert"
    assert "bounded as pairs" in str(verify(certificate.save(path), X, y))

    def no_reference(claim: dict[str, Any], arrays: Arrays) -> None:
        del arrays["reference"]
        claim["proof"]["box"] = None

    def wide(claim: dict[str, Any], arrays: Arrays) -> None:
        claim["proof"]["box"] = 0.99

    def too_early(claim: dict[str, Any], arrays: Arrays) -> None:
        arrays["tree.kind"], arrays["tree.argument"] = np.array([3], dtype=np.int8), np.array([-1], dtype=np.int32)

    def other_loss(claim: dict[str, Any], arrays: Arrays) -> None:
        claim["problem"]["loss"] = "hinge"
        claim["result"].update(lower_bound=0.0, upper_bound=9.0)

    changes = (raise_both, "below|proves"), (no_reference, "reference"), (wide, "box"), (too_early, "2")
    for change, says in (*changes, (other_loss, "not hinge")):
        verdict = verify(altered(certificate, change, path), X, y)
        assert not verdict.accepted
        assert any(part in verdict.reason for part in says.split("|")), verdict.reason


def test_any_reference_is_valid(instance: Known, tmp_path: Path) -> None:
    """A poor reference costs time and proves the same, or nothing: never more."""
    certificate = solve(instance.problem.restated(loss="logistic", k=2), "dual_enumeration").certificate()
    rng = np.random.default_rng(0)
    for scale in (0.0, 0.5, 50.0):

        def other(claim: dict[str, Any], arrays: Arrays, scale: float = scale) -> None:
            arrays["reference"] = scale * rng.standard_normal(len(arrays["reference"]))

        def false(claim: dict[str, Any], arrays: Arrays, scale: float = scale) -> None:
            other(claim, arrays, scale)
            claim["result"]["lower_bound"] += 3e-7
            claim["result"]["upper_bound"] += 3e-7

        path = altered(certificate, other, tmp_path / "a.cert")
        assert verify(path, instance.X, instance.y).accepted
        assert not verify(altered(certificate, false, path), instance.X, instance.y).accepted


def test_rejects_other_data(instance: Known, certificate: Certificate, tmp_path: Path) -> None:
    path = certificate.save(tmp_path / "a.cert")
    X, y = instance.X.copy(), instance.y.copy()
    X[17, 3] = np.nextafter(X[17, 3], 9)
    assert "X is not" in verify(path, X, instance.y).reason
    y[[0, int(np.flatnonzero(y != y[0])[0])]] *= -1
    assert "y is not" in verify(path, instance.X, y).reason
    assert "shape" in verify(path, instance.X[:-1], instance.y[:-1]).reason


def test_every_flipped_byte_and_every_truncation_is_rejected(
    instance: Known, certificate: Certificate, tmp_path: Path
) -> None:
    content = certificate.save(tmp_path / "a.cert").read_bytes()
    rng = np.random.default_rng(0)
    path = tmp_path / "b.cert"
    for position in rng.choice(len(content), 150, replace=False):
        flipped = bytearray(content)
        flipped[position] ^= 1 << int(rng.integers(8))
        path.write_bytes(flipped)
        assert not verify(path, instance.X, instance.y).accepted, position
    for length in (*range(9), len(content) // 2, len(content) - 1):
        path.write_bytes(content[:length])
        assert not verify(path, instance.X, instance.y).accepted
        with pytest.raises(CertificateRejected):
            Certificate.load(path)


def test_a_missing_file_is_an_input_error(instance: Known, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        verify(tmp_path / "none.cert", instance.X, instance.y)


def test_checker_runs_alone(instance: Known, certificate: Certificate, tmp_path: Path) -> None:
    """One folder, numpy, nothing of ours: isolated from this project's folder."""
    shutil.copytree(Path(checker.__file__).parent, tmp_path / "checker")
    np.savez(tmp_path / "data.npz", X_train=instance.X, y_train=instance.y)
    path = certificate.save(tmp_path / "a.cert")

    def run(*arguments: Path) -> subprocess.CompletedProcess[str]:
        find = f"import sys, runpy; sys.path.insert(0, {str(tmp_path)!r})"
        start = f"{find}; runpy.run_module('checker', run_name='__main__')"
        command = [sys.executable, "-I", "-c", start, *map(str, arguments)]
        return subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, check=False)

    assert run(path, tmp_path / "data.npz").returncode == 0
    assert run(tmp_path / "none.cert", tmp_path / "data.npz").returncode == 2
    assert run(path, tmp_path / "none.npz").returncode == 2
    np.savez(tmp_path / "other.npz", X_train=-instance.X, y_train=instance.y)
    rejected = run(path, tmp_path / "other.npz")
    assert rejected.returncode == 1
    assert rejected.stdout.startswith("rejected: X is not")


@pytest.mark.parametrize("loss", ["squared", "logistic", "hinge"])
def test_bounds_with_rounding_never_exceed_the_truth(loss: str) -> None:
    """Node bounds of arbitrary vectors stay below F of every support in the node."""
    rng = np.random.default_rng(3)
    for seed in range(12):
        case = known(("plain", "duplicates", "unbalanced", "heavy")[seed % 4], seed, loss, largest_k=3)
        stated = case.problem
        allowed = stated.inv_scale > 0
        problem = Problem(stated.Z, stated.y, stated.w, allowed, loss, stated.ridge, stated.size)
        vectors = rng.standard_normal((20, stated.n_rows)) * 10.0 ** rng.uniform(-2, 1, (20, 1))
        fitted = fit_supports(stated, case.supports[:20]).dual
        duals = duals_of(problem, np.concatenate([vectors, fitted]))
        for value, discount in zip(duals.value, duals.discount):
            inside = [int(j) for j in rng.choice(stated.candidates, rng.integers(stated.size + 1), replace=False)]
            free = np.array([j for j in stated.candidates if j not in inside and rng.random() < 0.8], dtype=int)
            bound, _ = node_bound(problem, float(value), discount, inside, free)
            for support, objective in zip(case.supports, case.objectives):
                if set(inside) <= set(support) <= {*inside, *free}:
                    assert bound <= objective * (1 + 1e-9), (seed, support)


def test_a_discount_whose_square_underflows_is_rounded_up() -> None:
    """The least ridge makes of a square that float64 has no number for one that it has."""
    Z, w = np.array([[1e56], [-1e56], [0.0], [0.0]]), np.array([1e-112, 1e-112, 0.5, 0.5])
    a = np.array([[1e-114, -1e-114, 0.0, 0.0]])
    problem = Problem(Z, np.array([1.0, -1.0, 1.0, -1.0]), w, np.array([True]), "squared", 1e-100, 1)
    v = sum(Fraction(z) * Fraction(weight) * Fraction(dual) for z, weight, dual in zip(Z[:, 0], w, a[0]))
    assert Fraction(duals_of(problem, a).discount[0, 0]) >= v * v / (2 * Fraction(problem.ridge)) > 0


def test_claim_is_canonical_json_and_floats_round_trip(certificate: Certificate, tmp_path: Path) -> None:
    loaded = Certificate.load(certificate.save(tmp_path / "a.cert"))
    assert loaded.claim == certificate.claim
    for name, array in certificate.arrays.items():
        np.testing.assert_array_equal(loaded.arrays[name], array)
    content = (tmp_path / "a.cert").read_bytes()
    header = json.loads(content[8 : 8 + int.from_bytes(content[:8], "little")])
    claim = header["__metadata__"]["claim"]
    assert claim == json.dumps(json.loads(claim), sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    assert claim == certificate.claim.text


def test_save_leaves_nothing_behind_when_it_fails(certificate: Certificate, tmp_path: Path) -> None:
    blocked = tmp_path / "file"
    blocked.write_text("in the way")
    with pytest.raises(InputError, match="cannot be written"):
        certificate.save(blocked / "a.cert")
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_rejects_numbers_that_are_none(instance: Known, certificate: Certificate, tmp_path: Path) -> None:
    """NaN compares as neither above nor below: it must not slip through, in the claim or in the data."""
    text = certificate.claim.text
    _, arrays = parts(certificate)
    for name in ("lower_bound", "upper_bound", "tolerance"):
        claim = json.loads(text)
        claim["result"][name] = float("nan")
        path = seal(tmp_path / "a.cert", json.dumps(claim, sort_keys=True, separators=(",", ":")), arrays)
        assert "NaN is no number" in verify(path, instance.X, instance.y).reason
    X = instance.X.copy()
    X[3, 3] = np.nan
    claim = json.loads(text)
    claim["data"]["X"] = checker.value_digest(X)
    assert "neither 0 nor" in verify(seal(tmp_path / "a.cert", claim, arrays), X, instance.y).reason


def test_the_layout_is_that_of_safetensors_and_the_bytes_are_reproducible(
    certificate: Certificate, tmp_path: Path
) -> None:
    from safetensors.numpy import load_file

    first, second = certificate.save(tmp_path / "a.cert"), certificate.save(tmp_path / "b.cert")
    assert first.read_bytes() == second.read_bytes()
    read = load_file(first)
    assert set(read) == set(certificate.arrays)
    for name, array in certificate.arrays.items():
        np.testing.assert_array_equal(read[name], array)
