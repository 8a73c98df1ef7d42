"""The replay of a sweep over very many columns, forced on small claims: true ones, forged ones, and every open set."""

from __future__ import annotations

import itertools
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from adversarial import KINDS, instances
from hypothesis import given, settings
from hypothesis import strategies as st
from sealing import altered, both_bounds

from formulations import sparse_probe_problem
from optprobe.certificates import verify
from optprobe.certificates.checker import Limits, pair_sweep, wide_sweep
from optprobe.certificates.checker.outcome import Rejected, Undecided
from optprobe.certificates.checker.problem import Problem
from optprobe.engines import solve


@pytest.fixture
def forced_wide(monkeypatch: pytest.MonkeyPatch) -> None:
    shrink(monkeypatch)


def shrink(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every claim is wide, and many blocks."""
    monkeypatch.setattr(wide_sweep, "WIDE", 0)
    for name, value in {"ROWS": 5, "COLUMNS": 6, "SUMMED": 16, "MOST_PAIRS": 40, "PAIRS_A_PASS": 4}.items():
        monkeypatch.setattr(wide_sweep, name, value)


def wide_problem(seed: int, k: int, forced: int, ridge: float) -> Problem:
    """A problem of the checker's, of columns that correlate, some nearly equal, and labels of any share."""
    rng = np.random.default_rng(seed)
    n, p = int(rng.integers(8, 60)), 16
    X = rng.standard_normal((n, 4)) @ rng.standard_normal((4, p)) + 10 ** rng.uniform(-2, 1) * rng.standard_normal(
        (n, p)
    )
    X[:, 1], X[:, 2] = -X[:, 0], X[:, 3] + 10.0 ** rng.uniform(-9, -3) * rng.standard_normal(n)
    y = np.where(X @ rng.standard_normal(p) + rng.uniform(0, 3) * rng.standard_normal(n) > rng.uniform(0, 2), 1.0, -1.0)
    y[:2] = 1.0, -1.0
    weight = rng.lognormal(0, 1, n)
    stated = sparse_probe_problem(X, y, k, loss="squared", ridge=ridge, sample_weight=weight)
    columns = tuple(range(5, 5 + forced))
    return Problem(stated.Z, stated.y, stated.w, np.ones(p, dtype=bool), "squared", ridge, k, forced=columns)


@given(st.integers(0, 10**6), st.integers(1, 3), st.integers(0, 3), st.floats(-4, -0.5), st.floats(0, 1))
@settings(max_examples=120, deadline=None)
def test_every_better_set_stays_open(seed: int, k: int, forced: int, ridge: float, share: float) -> None:
    """By F in float64 from the normal equations, for a claim anywhere between the optimum and no set at all."""
    problem = wide_problem(seed, k, min(k, forced), 10**ridge)
    fixed, rest = problem.forced, [j for j in range(16) if j not in problem.forced]
    sets = [tuple(sorted((*fixed, *more))) for more in itertools.combinations(rest, k - len(fixed))]
    at = np.array(sets)
    centred = problem.y - problem.w @ problem.y / problem.w.sum()
    M, c = (
        problem.Z.T @ (problem.Z * problem.w[:, None]) + problem.ridge * np.eye(16),
        problem.Z.T @ (problem.w * centred),
    )
    own = c[at][:, :, None]
    gained = (own * np.linalg.solve(M[at[:, :, None], at[:, None, :]], own)).sum(axis=(1, 2))
    F = (problem.w @ centred**2 - gained) / 2
    lower = float(F.min() + share * (F.max() - F.min()))
    with pytest.MonkeyPatch.context() as patch:
        shrink(patch)
        u, Q = pair_sweep.correlations(problem, lower)
        if not Q > 0 and k > 1 and not forced:
            with pytest.raises(Rejected, match="below the claimed lower bound already"):
                list(wide_sweep.wide_sets(problem, u, Q))
            return
        found = list(wide_sweep.wide_sets(problem, u, Q))
    still_open = {
        tuple(sorted((*fixed, *problem.columns[len(fixed) :][row].tolist()))) for part in found for row in part
    }
    for one, value in zip(sets, F):
        assert value >= lower - 1e-12 / problem.ridge or one in still_open, (one, value, lower)


@pytest.mark.usefixtures("forced_wide")
@pytest.mark.parametrize("kind", KINDS)
def test_accepts_the_truth_and_nothing_better(kind: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "a.cert"
    for instance in instances("squared", range(5), (kind,), 3):
        rows = instance.X, instance.y, instance.sample_weight
        certificate = solve(instance.problem, "enumeration").certificate()
        certificate.save(path)
        for fast in (False, True):
            verdict = verify(path, *rows, fast=fast)
            assert verdict.accepted, (instance.name, str(verdict))
        altered(certificate, both_bounds(3e-7), path)
        assert "below" in verify(path, *rows).reason
        with monkeypatch.context() as patch:
            patch.setattr(wide_sweep, "WIDE", 100)
            assert "below" in verify(path, *rows).reason


@pytest.mark.parametrize(("limits", "says"), [(Limits(memory=1e4), "GiB"), (Limits(seconds=1e-9), "limit is 1e-09 s")])
@pytest.mark.parametrize("k", [2, 3])
def test_limits(k: int, limits: Limits, says: str) -> None:
    problem = replace(wide_problem(0, k, 0, 0.1), limits=limits)
    u, Q = pair_sweep.correlations(problem, 0.0)
    with pytest.raises(Undecided, match=says):
        list(wide_sweep.wide_sets(problem, u, Q))


@pytest.mark.parametrize("ridge", [1e60, 1e90])
@pytest.mark.parametrize("seed", range(3))
def test_a_large_ridge_closes_nothing_by_mistake(
    seed: int, ridge: float, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    """All gains are then below what a test in float32 can tell apart, and every set is bounded by itself."""
    rng = np.random.default_rng(seed)
    X, y = rng.standard_normal((30, 12)), np.where(rng.standard_normal(30) > 0, 1.0, -1.0)
    problem = sparse_probe_problem(X, y, 3, loss="squared", ridge=ridge, forced=[2])
    path = solve(problem, "enumeration").certificate().save(tmp_path / "a.cert")
    shrink(monkeypatch)
    assert verify(path, X, y).accepted
