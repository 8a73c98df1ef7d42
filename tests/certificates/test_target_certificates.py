"""Certificates about real targets: true ones accepted by both checkers, altered ones by neither."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from adversarial import shaped
from exact import Truth
from flint import arb
from forging import Case
from sealing import altered, both_bounds, claiming

import optprobe as op
from optprobe.certificates import Certificate, checker, verify
from optprobe.certificates.checker.__main__ import main
from optprobe.certificates.checker.bounds import _feasible, intercept_bound
from optprobe.certificates.checker.text import parsed
from optprobe.certificates.citation import sentence
from optprobe.certificates.exact import verify_exact
from optprobe.certificates.exact.balls import add, dot, exactly
from optprobe.engines.engine import METHODS
from optprobe.registry.record import problem_key

KINDS = ("plain", "ties", "duplicates", "suppressors", "constant", "heavy", "correlated")
ENGINES = tuple(name for name in METHODS if name != "dual_enumeration")
Data = tuple[np.ndarray, np.ndarray, np.ndarray | None]


def data_of(kind: str, seed: int) -> Data:
    """X of a kind, a target of some unit, and for odd seeds weights."""
    rng = np.random.default_rng([seed, KINDS.index(kind), 9])
    n, p = int(rng.integers(14, 40)), int(rng.integers(5, 9))
    X = rng.standard_normal((n, p))
    X, _ = shaped(kind, seed, rng, X, np.where(rng.standard_normal(n) > 0, 1.0, -1.0))
    t = X @ rng.standard_normal(p) + rng.standard_normal(n)
    t = np.round(t) if kind == "ties" else 10.0 ** rng.uniform(-6, 6) * (t + 1e3 * (seed % 3 == 1))
    weight = rng.integers(0, 4, n).astype(float) if seed % 2 else None
    if weight is not None:
        weight[:4] = 1.0
    return X, t, weight


def solved(kind: str, seed: int, k: int = 2, method: str = "auto", **options: Any) -> tuple[op.Solution, Data]:
    X, t, weight = data_of(kind, seed)
    return op.solve(op.sparse_probe_problem(X, targets=t, k=k, sample_weight=weight), method, **options), (X, t, weight)


@pytest.mark.parametrize("method", ENGINES)
@pytest.mark.parametrize("kind", KINDS)
def test_every_engine_is_certified_by_both_checkers(kind: str, method: str, tmp_path: Path) -> None:
    for seed, k in enumerate((1, 2, 3)):
        found, data = solved(kind, seed, k, method)
        path = found.certificate().save(tmp_path / "a.cert")
        for how in ({}, {"exhaustive": True}, {"fast": True}):
            verdict = verify(path, *data, **how)
            assert verdict.accepted, verdict.reason
            assert verdict.statement is not None
            assert verdict.statement.optimal
        assert verify_exact(path, *data).accepted


@pytest.mark.parametrize("k", [4, 5])
def test_larger_sets_are_certified(k: int, tmp_path: Path) -> None:
    found, data = solved("correlated", 3, k, "enumeration")
    path = found.certificate().save(tmp_path / "a.cert")
    assert verify(path, *data).accepted
    assert verify(path, *data, exhaustive=True).accepted
    assert verify_exact(path, *data).accepted


@pytest.mark.parametrize("method", ["enumeration", "branch_and_cut"])
def test_pools_groups_and_paths_work_as_they_are(method: str, tmp_path: Path) -> None:
    X, t, weight = data_of("duplicates", 1)
    stated = op.sparse_probe_problem(
        X, targets=t, k=2, sample_weight=weight, forbidden=[4], groups=[0, 0, *[-1] * (X.shape[1] - 2)]
    )
    found = op.solve(stated, method, within=0.2)
    assert found.pool is not None
    solutions = [found, found.without(found.support[0]), *op.solve_path(stated, [1, 2]).solutions.values()]
    for at, each in enumerate(solutions):
        path = each.certificate().save(tmp_path / f"{at}.cert")
        assert verify(path, X, t, weight).accepted
        assert verify(path, X, t, weight, exhaustive=True).accepted
        assert verify_exact(path, X, t, weight).accepted


def test_bounds_moved_by_a_little_are_judged_as_exact_arithmetic_does(tmp_path: Path) -> None:
    for kind, seed in itertools.product(KINDS, range(2)):
        found, data = solved(kind, 20 + seed)
        truth, path = Truth(found.problem), tmp_path / "a.cert"
        optimum = min(float(value.mid()) for value in truth.upper)
        for moved in (-1e-6, -1e-9, 1e-12, 1e-10, 1e-8, 1e-6):
            bounds = {"lower_bound": optimum + moved, "upper_bound": max(found.upper_bound, optimum + moved)}
            path = altered(found.certificate(), claiming(bounds), path)
            for verdict in (verify(path, *data), verify(path, *data, exhaustive=True), verify_exact(path, *data)):
                assert not (verdict.accepted and truth.refutes(optimum + moved))
                assert verdict.accepted or moved > -1e-9


def _set(part: str, **values: Any) -> Callable[[dict[str, Any], dict[str, np.ndarray]], None]:
    return lambda claim, arrays: claim[part].update(values)


def _without(part: str, name: str) -> Callable[[dict[str, Any], dict[str, np.ndarray]], None]:
    return lambda claim, arrays: claim[part].pop(name)


ALTERED = {
    "a lower bound that is better": both_bounds(1e-6),
    "an upper bound that is better": lambda claim, arrays: claim["result"].update(
        upper_bound=claim["result"]["upper_bound"] - 1e-6, lower_bound=claim["result"]["lower_bound"] - 1e-6
    ),
    "no word of a target": _without("data", "target"),
    "a target by false": _set("data", target=False),
    "a target by 1": _set("data", target=1),
    "a target by null": _set("data", target=None),
    "logistic loss": lambda claim, arrays: claim["problem"].update(loss="logistic"),
    "hinge loss": lambda claim, arrays: claim["problem"].update(loss="hinge"),
    "balanced classes": _set("problem", class_weight="balanced"),
    "another ridge": _set("problem", ridge=0.001),
    "another digest of y": _set("data", y="0" * 64),
    "weights": _set("data", weights="0" * 64),
}


@pytest.mark.parametrize("method", ["enumeration", "branch_and_cut"])
@pytest.mark.parametrize("change", ALTERED)
def test_altered_certificates_are_rejected_by_both(change: str, method: str, tmp_path: Path) -> None:
    found, data = solved("plain", 0, 2, method)
    path = altered(found.certificate(), ALTERED[change], tmp_path / "a.cert")
    # without the word, the same numbers should be labels: the exact checker does not begin with such
    of_exact = "unusable" if change == "no word of a target" else "rejected"
    checks = (verify, partial(verify, exhaustive=True), verify_exact)
    assert [outcome(check, path, data) for check in checks] == ["rejected", "rejected", of_exact]


def outcome(check: Callable[..., Any], path: Path, data: Data) -> str:
    try:
        return str(check(path, *data).outcome)
    except op.InputError:
        return "unusable"


def test_another_target_with_its_honest_digest_is_rejected_by_both(tmp_path: Path) -> None:
    """The target of other rows, permuted, or of two rows exchanged; a claim about it is false."""
    found, (X, t, _) = solved("plain", 0)
    exchanged = t.copy()
    exchanged[[0, 1]] = exchanged[[1, 0]]
    for other in (t[::-1].copy(), exchanged, t**3):
        path = altered(found.certificate(), _set("data", y=checker.value_digest(other)), tmp_path / "a.cert")
        assert verify(path, X, other).outcome == "rejected"
        assert verify_exact(path, X, other).outcome == "rejected"
        assert "y is not the claim's" in verify(path, X, t).reason
        assert "digest of y" in verify_exact(path, X, t).reason


def test_a_word_of_a_target_does_not_turn_labels_into_one(tmp_path: Path) -> None:
    """The same digest, the same rows: what is claimed of labels is false of the target that they are, and reverse."""
    X, t, _ = data_of("plain", 0)
    labels = np.where(t > np.quantile(t, 0.3), 1.0, -1.0)
    of_labels = op.solve(op.sparse_probe_problem(X, labels, 2, loss="squared")).certificate()
    of_targets = op.solve(op.sparse_probe_problem(X, targets=labels, k=2)).certificate()
    for certificate, change in ((of_labels, _set("data", target=True)), (of_targets, _without("data", "target"))):
        assert verify(certificate.save(tmp_path / "a.cert"), X, labels).accepted
        path = altered(certificate, change, tmp_path / "b.cert")
        assert verify(path, X, labels).outcome == "rejected"
        assert verify_exact(path, X, labels).outcome == "rejected"
        assert problem_key(Certificate.load(path).claim) != problem_key(certificate.claim)


def test_labels_and_targets_have_formats_of_their_own(tmp_path: Path) -> None:
    found, data = solved("plain", 0)
    certificate = found.certificate()
    assert certificate.claim.form == checker.POOL_FORMAT
    assert json.loads(certificate.claim.text)["data"]["target"] is True
    path = altered(certificate, lambda claim, arrays: None, tmp_path / "a.cert", checker.FORMAT)
    assert "format" in verify(path, *data).reason
    assert "format" in verify_exact(path, *data).reason
    of_labels = op.solve(op.sparse_probe_problem(data[0], data[1] > np.median(data[1]), 2, loss="squared"))
    assert of_labels.certificate().claim.form == checker.FORMAT
    assert "target" not in of_labels.certificate().claim.text


def test_moments_have_no_such_word(tmp_path: Path) -> None:
    text = json.dumps({"kind": "moments", "moments": "0" * 64, "n_rows": 3, "n_neurons": 2, "target": True})
    with pytest.raises(checker.Rejected, match="the data"):
        checker.claim._data(parsed(checker.canonical(json.loads(text)), "the data"))


@pytest.mark.parametrize(
    ("target", "reason"),
    [(np.nan, "neither 0 nor"), (np.inf, "neither 0 nor"), (1e101, "neither 0 nor"), (1e-101, "neither 0 nor")],
)
def test_targets_out_of_range_are_never_accepted(target: float, reason: str, tmp_path: Path) -> None:
    found, (X, t, _) = solved("plain", 0)
    t = t.copy()
    t[3] = target
    path = altered(found.certificate(), _set("data", y=checker.value_digest(t)), tmp_path / "a.cert")
    assert reason in verify(path, X, t).reason
    with pytest.raises(op.InputError, match=reason):
        verify_exact(path, X, t)


def test_a_constant_target_is_never_accepted(tmp_path: Path) -> None:
    found, (X, t, _) = solved("plain", 0)
    weight, same = np.ones(len(t)), np.full(len(t), 2.0)
    weight[0], same[0] = 0.0, 3.0
    words = {"y": checker.value_digest(same), "weights": checker.value_digest(weight)}
    path = altered(found.certificate(), _set("data", **words), tmp_path / "a.cert")
    assert "constant" in verify(path, X, same, weight).reason
    with pytest.raises(op.InputError, match="must vary"):
        verify_exact(path, X, same, weight)


def heavy(seed: int) -> Case:
    """A target with a row that is most of its variance, and weights of many sizes."""
    rng = np.random.default_rng([seed, 77])
    X, n = rng.standard_normal((30, 4)), 30
    weight = 10.0 ** rng.uniform(-6, 0, n)
    return Case(X, rng.standard_t(0.4, n), "squared", float(10 ** rng.uniform(-4, 1)), 2, weight=weight, target=True)


def test_the_value_of_any_vector_is_rounded_down() -> None:
    """``g - |e| B`` of the checker against the same in balls, for targets far from 1."""
    for seed in range(40):
        problem, rng = heavy(seed).checked, np.random.default_rng(seed)
        scales = 10.0 ** rng.uniform(-8, 8, (20, 1))
        vectors = np.concatenate([scales * rng.standard_normal((20, len(problem.y))), -problem.y[None, :]])
        w, y = exactly(problem.w), exactly(problem.y)
        made, values = _feasible(problem, vectors)
        for a, value in zip(map(exactly, made), values.tolist()):
            g = -dot(w, [x * s + x * x / 2 for x, s in zip(a, y)])
            assert arb(value) <= g - abs(dot(w, a)) * arb(intercept_bound(problem))


def test_the_bound_of_the_intercept_is_above_every_fit() -> None:
    for seed in range(40):
        case = heavy(seed)
        assert np.abs(case.fits.intercept).max() <= intercept_bound(case.checked)
        ridge = arb(case.ridge)
        assert arb(intercept_bound(case.checked)) >= arb(1) / 2 + (arb(2) / ridge).sqrt()
        assert add(exactly(case.problem.w)) > 0


def test_words_say_that_it_is_a_target(tmp_path: Path) -> None:
    found, data = solved("plain", 0)
    certificate = found.certificate()
    path = certificate.save(tmp_path / certificate.file_name)
    unit = "in units of the target's variance"
    assert path.name.endswith(".target.cert")
    assert unit in verify(path, *data).reason
    assert "(a target)" in str(verify(path, *data))
    assert "a target: F is in units of its variance" in str(verify_exact(path, *data))
    assert unit in sentence(certificate, True)
    assert "class weights" not in sentence(certificate, True)
    labels = op.solve(op.sparse_probe_problem(data[0], data[1] > 0, 2, loss="squared")).certificate()
    verdict = verify(labels.save(tmp_path / "labels.cert"), data[0], data[1] > 0)
    assert "target" not in str(verdict)
    assert "target" not in json.dumps(verdict.as_json())


def test_the_checker_alone_reads_targets_from_a_file(tmp_path: Path) -> None:
    found, (X, t, _) = solved("plain", 0)
    path = found.certificate().save(tmp_path / "a.cert")
    np.savez(tmp_path / "rows.npz", X_train=X, y_train=t)
    np.savez(tmp_path / "others.npz", X_train=X, y_train=-t)
    assert main([str(path), str(tmp_path / "rows.npz")]) == 0
    assert main([str(path), str(tmp_path / "others.npz")]) == 1


def test_what_is_for_labels_refuses_targets() -> None:
    found, _ = solved("plain", 0)
    with pytest.raises(op.InputError, match="real targets"):
        op.compare(found)


def test_a_problem_takes_targets_for_values_that_have_no_labels() -> None:
    X, t, _ = data_of("plain", 0)
    stated = op.problem(X, 2, targets=t, ridge=0.02)
    assert (stated.loss.name, stated.ridge) == ("squared", 0.02)
    with pytest.raises(op.InputError, match="labels or targets"):
        op.problem(X, 2, labels=t > 0, targets=t)
    with pytest.raises(op.InputError, match="targets= states the feature"):
        op.problem(X, 2, targets=t, feature="length")
