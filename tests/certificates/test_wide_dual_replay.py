"""The replay of logistic and hinge sweeps without a matrix of products, forced on small claims, true ones and false."""

from __future__ import annotations

import tracemalloc
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from adversarial import KINDS, instances
from forging import Case
from hypothesis import given, settings
from hypothesis import strategies as st
from random_proofs import figures_of
from sealing import altered, both_bounds

from formulations import fit_supports, sparse_probe_problem
from optprobe.certificates import verify
from optprobe.certificates.checker import Limits, dual_sweep, hinge_sweep, wide_dual_sweep, wide_sweep
from optprobe.certificates.checker.minorant import Minorant, minorant_at
from optprobe.certificates.checker.outcome import Rejected, Undecided
from optprobe.certificates.checker.problem import Problem
from optprobe.certificates.checker.wide_dual_sweep import Screen
from optprobe.engines import solve

NONE = np.zeros(0, np.int64)


@pytest.fixture
def forced_wide(monkeypatch: pytest.MonkeyPatch) -> None:
    shrink(monkeypatch)


def shrink(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every claim is wide, and many blocks."""
    for name, value in {"WIDE": 0, "ROWS": 5, "COLUMNS": 6, "CHUNK": 2, "VALUES": 150}.items():
        monkeypatch.setattr(wide_dual_sweep, name, value)
    monkeypatch.setattr(wide_sweep, "SUMMED", 16)
    monkeypatch.setattr(hinge_sweep, "SINGLES", 3)


def drawn(seed: int, ridge: float) -> tuple[Problem, Minorant, np.ndarray]:
    """A problem of the checker's, a minorant of no columns at a reference of any kind, and F of all pairs.

    Columns correlate, some are nearly equal, some have heavy tails or next to no variance, rows have any weight, none
    included, and the classes any share.
    """
    rng = np.random.default_rng(seed)
    n, p = int(rng.integers(8, 60)), 14
    X = rng.standard_normal((n, 4)) @ rng.standard_normal((4, p))
    X += 10 ** rng.uniform(-2, 1) * rng.standard_normal((n, p))
    X[:, 1], X[:, 2] = -X[:, 0], X[:, 3] + 10.0 ** rng.uniform(-9, -3) * rng.standard_normal(n)
    X[:, 4], X[:, 5] = rng.standard_t(1.1, n), 1e-90 * rng.standard_normal(n)
    X[:, 6] = rng.random(n) < 0.1
    X[3, 6] = 1 - X[2, 6]
    y = np.where(X @ rng.standard_normal(p) + rng.uniform(0, 3) * rng.standard_normal(n) > rng.uniform(0, 2), 1.0, -1.0)
    y[:2] = 1.0, -1.0
    weight = np.where(rng.random(n) < 0.2, 0.0, rng.lognormal(0, rng.uniform(0, 4), n))
    weight[:4] = 1.0
    balanced = "balanced" if rng.random() < 0.5 else "none"
    stated = sparse_probe_problem(X, y, 2, loss="logistic", ridge=ridge, sample_weight=weight, class_weight=balanced)
    fit = rng.choice([0.0, 1.0]) * y * rng.uniform(0, 3) + 10 ** rng.uniform(-2, 1) * rng.standard_normal(n)
    problem = Problem(stated.Z, stated.y, stated.w, np.ones(p, dtype=bool), "logistic", ridge, 2)
    sets = np.stack(np.triu_indices(p, 1), axis=1)
    minorant = minorant_at(problem, NONE, fit, rng.choice([1e-6, 0.01, 0.3, 0.5, 0.9]))
    return problem, minorant, fit_supports(stated, sets).objective


@given(st.integers(0, 10**6), st.floats(-9, 1), st.floats(0, 1))
@settings(max_examples=150, deadline=None)
def test_every_better_pair_stays_open(seed: int, ridge: float, share: float) -> None:
    """By F of all pairs, for a claim anywhere between the optimum and no set at all."""
    problem, minorant, F = drawn(seed, 10**ridge)
    lower = float(F.min() + share * (F.max() - F.min()))
    if not ((minorant.low <= 0).all() and (minorant.high >= 0).all()):
        return
    with pytest.MonkeyPatch.context() as patch:
        shrink(patch)
        screen = Screen.of(problem, np.arange(14), minorant, lower)
        still_open = {tuple(pair) for top in range(0, 14, 5) for part in screen.open_pairs(top) for pair in part}
    for i, j, value in zip(*np.triu_indices(14, 1), F):
        assert value >= lower - 1e-11 or (i, j) in still_open, (i, j, value, lower)


@given(st.integers(0, 10**6), st.floats(-12, 12), st.sampled_from([-1.0, 0.0, 1.0]))
@settings(max_examples=150, deadline=None)
def test_what_a_tile_says_is_above_the_exact_sums(seed: int, ridge: float, off: float) -> None:
    """In extended precision, at the s of the tile, for products that are off by as much as they may be."""
    problem, minorant, _ = drawn(seed, 10**ridge)
    if not ((minorant.low <= 0).all() and (minorant.high >= 0).all()):
        return
    screen = Screen.of(problem, np.arange(14), minorant, 0.0)
    part, box = minorant.of(problem, np.arange(14)), wide_dual_sweep.Box.of(minorant)
    a, b = (np.empty((14, len(minorant.omega)), np.float64) for _ in range(2))
    box.directions(part, a, b)
    a, b, root, r = (np.asarray(of, np.longdouble) for of in (a, b, np.sqrt(part.omega), part.r))
    signed = np.asarray(part.Z, np.longdouble) * root
    zeta, delta = np.sqrt((signed * signed).sum(axis=1)), off * wide_sweep.error_of_products(len(root))
    E, C, D = (np.asarray(of + delta, np.float32) for of in (b @ b.T, a @ b.T, b @ a.T))
    s1, s2, total = (np.asarray(of, np.longdouble) for of in screen.bounded(E, C, D, np.arange(14), slice(0, 14)))
    for i, j in zip(*np.triu_indices(14, 1)):
        if not np.isfinite(total[i, j]):
            continue
        x = s1[i, j] * b[i] + s2[i, j] * b[j]
        assert (x >= part.low * root - 1e-15).all()
        assert (x <= part.high * root + 1e-15).all()
        rho = [(abs(r[at]) - zeta[at] * (a[at] @ x)) / np.sqrt(np.longdouble(problem.ridge)) for at in (i, j)]
        exact = x @ x + rho[0] ** 2 + rho[1] ** 2
        assert total[i, j] * (1 + 2.0**-18) + 2.0**-90 >= exact
        shift = abs(root @ x) + minorant.e0
        assert shift <= 1e-12
        assert screen.room <= max(2 * (minorant.base - shift * minorant.cost_of_e), -1.0)


@pytest.mark.usefixtures("forced_wide")
@pytest.mark.parametrize(("loss", "k"), [("logistic", 2), ("hinge", 1)])
@pytest.mark.parametrize("kind", KINDS)
def test_accepts_the_truth_and_nothing_better(
    kind: str, loss: str, k: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "a.cert"
    for instance in instances(loss, range(5), (kind,), k):
        rows = instance.X, instance.y, instance.sample_weight
        certificate = solve(instance.problem.restated(k=min(k, instance.problem.k)), "dual_enumeration").certificate()
        for wide in (0, 100):
            monkeypatch.setattr(wide_dual_sweep, "WIDE", wide)
            verdict = verify(certificate.save(path), *rows)
            assert verdict.accepted, (instance.name, str(verdict))
            altered(certificate, both_bounds(3e-7), path)
            assert "below" in verify(path, *rows).reason


REFERENCES = {
    "the best": lambda case, rng: case.reference(),
    "nothing": lambda case, rng: np.zeros(len(case.y)),
    "the labels": lambda case, rng: 1e100 * case.y,
    "their opposite": lambda case, rng: -7.0 * case.y,
    "noise": lambda case, rng: 10 ** rng.uniform(-3, 3) * rng.standard_normal(len(case.y)),
}


@pytest.mark.usefixtures("forced_wide")
@pytest.mark.parametrize("ridge", [1e-12, 1e-4, 1.0, 1e60])
@pytest.mark.parametrize(("loss", "name"), [*(("logistic", name) for name in REFERENCES), ("hinge", "nothing")])
def test_no_reference_makes_a_false_claim_true(
    loss: str, name: str, ridge: float, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nor a true one false: it ends as the replay with matrices does."""
    rng = np.random.default_rng([len(name), int(-np.log10(ridge)) % 97])
    for box in (1e-6, 0.3, 0.9):
        n, weight = int(rng.integers(4, 30)), None
        X = rng.standard_t(1.5, (n, 7))
        X[:, 0], X[:, 1] = 1e-95 * np.round(X[:, 0]), X[:, 2] * (1 + 1e-9 * rng.standard_normal(n))
        if box < 0.9:
            weight = 10.0 ** rng.uniform(-9, 9, n)
        y = np.where(np.arange(n) % 3 == 0, 1.0, -1.0)
        case = Case(X, y, loss, ridge, 2 if loss == "logistic" else 1, "balanced" if box > 0.1 else "none", weight)
        path = tmp_path / "a.cert"
        for above in (-1e-7, 3e-7, 0.1):
            draft = case.swept(case.optimum + above, box)
            draft.claim["result"]["upper_bound"] = max(case.optimum + above, draft.claim["result"]["upper_bound"])
            if loss == "logistic":
                draft.arrays["reference"] = REFERENCES[name](case, rng)
            path.write_bytes(draft.sealed())
            verdict = verify(path, X, y, weight)
            assert verdict.accepted if above < 0 and ridge > 1e-12 else above < 0 or not verdict.accepted, str(verdict)
            with monkeypatch.context() as patch:
                patch.setattr(wide_dual_sweep, "WIDE", 100)
                patch.setattr(hinge_sweep, "SINGLES", 100)
                assert verify(path, X, y, weight).outcome == verdict.outcome


@pytest.mark.usefixtures("forced_wide")
def test_what_is_accepted_of_random_proofs_is_true() -> None:
    counts, wrong = figures_of(range(3 * 10**6, 3 * 10**6 + 15))
    assert not wrong
    assert counts["accepted"] > 0.2 * counts["instances"]


def proved(problem: Problem, lower: float) -> str:
    if problem.loss == "hinge":
        return hinge_sweep.check_hinge_sweep(problem, lower)
    return dual_sweep.check_dual_sweep(problem, 0.5, {"reference": np.zeros(len(problem.y))}, lower)


CLAIMS = [("logistic", 1), ("logistic", 2), ("hinge", 1)]


@pytest.mark.usefixtures("forced_wide")
@pytest.mark.parametrize(("limits", "says"), [(Limits(memory=1e4), "GiB"), (Limits(seconds=1e-9), "limit is 1e-09 s")])
@pytest.mark.parametrize(("loss", "k"), CLAIMS)
def test_limits(loss: str, k: int, limits: Limits, says: str) -> None:
    problem = replace(drawn(0, 0.1)[0], loss=loss, size=k, limits=limits)
    with pytest.raises(Undecided, match=says):
        proved(problem, 0.0)


@pytest.mark.usefixtures("forced_wide")
@pytest.mark.parametrize(("loss", "k"), CLAIMS)
def test_time_is_looked_at_in_every_block(loss: str, k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    problem, looks = replace(drawn(0, 0.1)[0], loss=loss, size=k), {"made": 0, "allowed": 10**6}

    def check(limits: Limits) -> None:
        looks["made"] += 1
        if looks["made"] > looks["allowed"]:
            raise Undecided("over")

    monkeypatch.setattr(Limits, "check", check)
    proved(problem, 0.0)
    whole = looks["made"]
    assert whole >= {1: 14 // 5, 2: 3 * 14 * 14 // (2 * 5 * 6)}[k]
    for allowed in range(0, whole, 3):
        looks.update(made=0, allowed=allowed)
        with pytest.raises(Undecided, match="over"):
            proved(problem, 0.0)


@pytest.mark.parametrize(("loss", "k"), CLAIMS)
def test_nothing_of_the_size_of_the_pairs_is_kept(loss: str, k: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """For a claim that is true of all sets at once."""
    shrink(monkeypatch)
    for name, value in {"ROWS": 50, "COLUMNS": 100, "CHUNK": 10, "VALUES": 2000}.items():
        monkeypatch.setattr(wide_dual_sweep, name, value)
    rng = np.random.default_rng(0)
    m, n = 1200, 40
    X, y = rng.standard_normal((n, m)), np.where(np.arange(n) % 2 == 0, 1.0, -1.0)
    stated = sparse_probe_problem(X, y, k, loss=loss, ridge=10.0)
    problem = Problem(stated.Z, stated.y, stated.w, np.ones(m, dtype=bool), loss, 10.0, k)
    tracemalloc.start()
    try:
        proved(problem, 0.1)
        assert tracemalloc.get_traced_memory()[1] < 2 * m * m
    finally:
        tracemalloc.stop()


@pytest.mark.usefixtures("forced_wide")
def test_a_box_without_zero_is_no_obstacle() -> None:
    """There is no screen then, and all pairs are bounded by themselves."""
    problem, _, F = drawn(1, 0.1)
    reference = {"reference": np.where(np.arange(len(problem.y)) % 2 == 0, 6.0, -6.0) * problem.y}
    around = minorant_at(problem, NONE, reference["reference"], 0.9)
    assert not ((around.low <= 0).all() and (around.high >= 0).all())
    assert "91 sets" in dual_sweep.check_dual_sweep(problem, 0.9, reference, float(F.min()) - 1e-9)
    with pytest.raises(Rejected, match="below"):
        dual_sweep.check_dual_sweep(problem, 0.9, reference, float(F.min()) + 1e-9)
