"""Claims about moments hold for every matrix within the stated error, or are not accepted."""

from __future__ import annotations

import dataclasses
import hashlib
import itertools
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drafts import Draft, canonical, digest

from optprobe.certificates.exact import ExactVerdict, verify_exact
from optprobe.errors import InputError


@dataclasses.dataclass(eq=False)
class Made:
    """Moments of random rows."""

    n_rows: int
    mean: np.ndarray
    covariance: np.ndarray
    cross: np.ndarray
    target_mean: float
    target_variance: float
    error: float = 0.0
    made: dict[str, Any] = dataclasses.field(default_factory=lambda: {"class_weight": "none", "layer": 2})

    @property
    def digest(self) -> str:
        record = {name: getattr(self, name) for name in ("n_rows", "target_mean", "target_variance", "error", "made")}
        arrays = {name: digest(getattr(self, name)) for name in ("mean", "covariance", "cross")}
        return hashlib.sha256(canonical({**record, **arrays}).encode()).hexdigest()


def moments(seed: int, unit: float = 1.0, p: int = 6, **other: Any) -> Made:
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((40, p)) * 10.0 ** rng.integers(-3, 4, p) + rng.standard_normal(p)
    y = unit * (X[:, 0] / X[:, 0].std() + rng.standard_normal(40))
    centred = X - X.mean(axis=0)
    C = centred.T @ centred / 40
    values = (C + C.T) / 2, centred.T @ (y - y.mean()) / 40, float(y.mean()), float(y.var())
    return dataclasses.replace(Made(40, X.mean(axis=0), *values), **other)


def values(of: Made, k: int, ridge: float) -> dict[tuple[int, ...], tuple[float, np.ndarray]]:
    """F and coefficients of every set, in float64."""
    s = 1 / np.sqrt(np.diag(of.covariance))
    A, c = of.covariance * np.outer(s, s), of.cross * s
    found = {}
    for S in itertools.combinations(range(len(s)), k):
        b = np.linalg.solve(A[np.ix_(S, S)] + ridge * np.eye(k), c[list(S)])
        found[S] = float(of.target_variance - c[list(S)] @ b) / 2, b
    return found


def draft(of: Made, slack: float, k: int = 2, ridge: float = 0.05, spread: float = 0.0, **problem: Any) -> Draft:
    found = values(of, k, ridge)
    best = min(found, key=lambda S: found[S][0])
    value, coef = found[best]
    claim = {
        "data": {"kind": "moments", "moments": of.digest, "n_rows": of.n_rows, "n_neurons": len(of.mean)},
        "problem": {"loss": "squared", "ridge": ridge, "k": k, "class_weight": "none", "among": None, **problem},
        "result": {
            "support": list(best),
            "intercept": of.target_mean,
            "upper_bound": value + spread + 1e-12 * of.target_variance,
            "lower_bound": value - slack,
            "tolerance": 1e-6,
        },
        "proof": {"kind": "sweep", "box": None},
        "author": {"engine": "test", "regime": "", "scope": {}, "versions": {}},
    }
    return Draft(claim, {"coef": coef})


def verdict(made: Draft, of: object, tmp_path: Path, **options: Any) -> ExactVerdict:
    return verify_exact(made.write(tmp_path / "a.cert"), moments=of, **options)


@pytest.mark.parametrize("k", [1, 2, 3, 4])
def test_claims(k: int, tmp_path: Path) -> None:
    for seed, unit in ((0, 1.0), (1, 1e-3), (2, 1e4)):
        of = moments(seed, unit)
        found = verdict(draft(of, 1e-9 * unit**2, k), of, tmp_path)
        assert found.accepted, found
        assert found.proved["sets"] == len(values(of, k, 0.05))
        made = draft(of, -1e-9 * unit**2, k, spread=1e-8 * unit**2)
        assert "below the claimed lower bound" in verdict(made, of, tmp_path).reason
        made = draft(of, 1e-9 * unit**2, k, spread=-1e-9 * unit**2)
        assert "above the upper bound" in verdict(made, of, tmp_path).reason


def test_bounds_must_hold_for_every_matrix_within_the_error(tmp_path: Path) -> None:
    """A change within the error moves F by about it: bounds that are closer than that are not accepted."""
    of = moments(3, error=1e-7)
    assert verdict(draft(of, 1e-5, spread=1e-5), of, tmp_path).accepted
    assert "could not be proved" in verdict(draft(of, 1e-9, spread=1e-5), of, tmp_path).reason
    assert "not certainly at most" in verdict(draft(of, 1e-5, spread=0.0), of, tmp_path).reason
    of = moments(3, error=0.1)
    assert verdict(draft(of, 1e-5, ridge=0.001, spread=1e-5), of, tmp_path).outcome == "rejected"


def test_the_intercept_counts(tmp_path: Path) -> None:
    of = moments(0)
    made = draft(of, 1e-9, spread=1e-9)
    made.claim["result"]["intercept"] += 1e-3
    assert "above the upper bound" in verdict(made, of, tmp_path).reason


def test_matrices_that_are_not_positive_semidefinite(tmp_path: Path) -> None:
    """Up to a hundredth of the ridge; the correlations with the target belong to the matrix."""
    for change, accepted in ((0.0, True), (1e-4, True), (2e-3, False)):
        of = moments(1)
        s = np.sqrt(np.diag(of.covariance))
        A = of.covariance / np.outer(s, s)
        A[1] = A[:, 1] = A[0]
        A[1, 1], A[0, 1], A[1, 0] = 1.0, 1.0 + change, 1.0 + change
        of.covariance = (lambda C: (C + C.T) / 2)(A * np.outer(s, s))
        of.cross[1] = of.cross[0] * s[1] / s[0]
        found = verdict(draft(of, 1e-8, spread=1e-8), of, tmp_path)
        assert found.accepted is accepted, found
    of = moments(1)
    of.cross[3] = 1.5 * np.sqrt(of.covariance[3, 3] * of.target_variance)
    assert "semidefinite" in verdict(draft(of, 1e-8, spread=1e-8), of, tmp_path).reason


def test_columns_that_moments_cannot_tell_from_constant_ones(tmp_path: Path) -> None:
    of = moments(4)
    of.mean[0] = 1.1e9 * np.sqrt(of.covariance[0, 0])
    made = draft(of, 1e-8, spread=1e-8)
    assert 0 in made.claim["result"]["support"]
    assert "no set of the claim" in verdict(made, of, tmp_path).reason
    of.mean[0] = 0.9e9 * np.sqrt(of.covariance[0, 0])
    assert verdict(draft(of, 1e-8, spread=1e-8), of, tmp_path).accepted


def test_other_moments_and_other_records(tmp_path: Path) -> None:
    of = moments(5)
    made = draft(of, 1e-8, spread=1e-8)
    for name in ("mean", "covariance", "cross", "target_mean", "target_variance", "error"):
        other = dataclasses.replace(of, **{name: getattr(of, name) * 1.0000001 + 1e-12})
        assert "digest" in verdict(made, other, tmp_path).reason
    assert "digest" in verdict(made, dataclasses.replace(of, made={"class_weight": "none"}), tmp_path).reason
    assert "other moments" in verdict(made, dataclasses.replace(of, n_rows=41), tmp_path).reason
    assert "class weight" in verdict(draft(of, 1e-8, class_weight="balanced"), of, tmp_path).reason
    assert "squared" in verdict(draft(of, 1e-8, loss="hinge"), of, tmp_path).reason
    tree = draft(of, 1e-8)
    tree.claim["proof"] = {"kind": "tree", "box": None, "nodes": 1, "points": 0, "entries": 0, "duals": 0}
    assert "tree" in verdict(tree, of, tmp_path).reason
    assert verdict(made, of, tmp_path, time_limit=0.0).outcome == "undecided"


def test_moments_that_cannot_be_used(tmp_path: Path) -> None:
    of = moments(6)
    made = draft(of, 1e-8, spread=1e-8)
    skew = of.covariance.copy()
    skew[0, 1] += 1e-9
    wrong: list[dict[str, Any]] = [
        {"covariance": skew},
        {"covariance": of.covariance[:3]},
        {"covariance": of.covariance * np.nan},
        {"covariance": -of.covariance},
        {"mean": of.mean * 1e-120},
        {"cross": None},
        {"target_variance": 0.0},
        {"target_variance": "x"},
        {"error": float("nan")},
        {"error": -1.0},
        {"n_rows": 2.5},
        {"made": None},
        {"made": {"class_weight": object()}},
    ]
    for change in wrong:
        with pytest.raises(InputError):
            verdict(made, dataclasses.replace(of, **change), tmp_path)
    for missing in (None, object()):
        with pytest.raises(InputError):
            verdict(made, missing, tmp_path)


def test_every_matrix_within_the_error_satisfies_what_is_accepted(tmp_path: Path) -> None:
    """Random matrices at the error from the stated one: no F is below an accepted lower bound."""
    rng = np.random.default_rng(0)
    of = moments(7, error=1e-4)
    slack = 1e-6
    while not verdict(draft(of, slack, spread=1.0), of, tmp_path).accepted:
        slack *= 1.5
    accepted = draft(of, slack).claim["result"]["lower_bound"]
    s = 1 / np.sqrt(np.diag(of.covariance))
    for _ in range(200):
        E = of.error * rng.choice([-1.0, 1.0], of.covariance.shape)
        moved = dataclasses.replace(
            of,
            covariance=of.covariance + np.tril(E) / np.outer(s, s) + np.tril(E, -1).T / np.outer(s, s),
            cross=of.cross + of.error * rng.choice([-1.0, 1.0], len(s)) * np.sqrt(of.target_variance) / s,
            target_variance=of.target_variance * (1 - of.error),
        )
        A, c = moved.covariance * np.outer(s, s), moved.cross * s
        for S in itertools.combinations(range(len(s)), 2):
            b = np.linalg.solve(A[np.ix_(S, S)] + 0.05 * np.eye(2), c[list(S)])
            assert (moved.target_variance - c[list(S)] @ b) / 2 >= accepted
