"""Real targets: standardised as a column is, against scikit-learn and brute force, in any unit."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
import pytest
from adversarial import shaped
from sklearn.linear_model import Ridge

from formulations import InputError, SparseProbeProblem, fit_supports, rounding_margin, sparse_probe_problem
from optprobe.certificates.checker.data import shares_of
from optprobe.certificates.checker.data import standardised as of_the_checker
from optprobe.certificates.exact.standard import as_rows, state
from optprobe.engines import solve
from optprobe.engines.engine import METHODS

KINDS = ("plain", "ties", "duplicates", "suppressors", "constant", "heavy", "correlated", "nearly_equal")
UNITS = ((1e-6, 0.0), (1e6, 0.0), (1.0, 1e3), (1e-6, 1e3), (1e90, 0.0), (-1.0, 0.0))


def instance(kind: str, seed: int, weighted: bool) -> tuple[np.ndarray, np.ndarray, np.ndarray | None]:
    """X of a kind, a target that its columns explain in part, and weights."""
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    n, p = int(rng.integers(14, 40)), int(rng.integers(5, 9))
    X = rng.standard_normal((n, p))
    X, _ = shaped(kind, seed, rng, X, np.where(rng.standard_normal(n) > 0, 1.0, -1.0))
    t = X @ rng.standard_normal(p) + rng.standard_normal(n)
    if kind == "ties":
        t = np.round(t)
    weight = rng.integers(0, 4, n).astype(float) if weighted else None
    if weight is not None:
        weight[:4] = 1.0
    return X, t, weight


def by_scikit_learn(problem: SparseProbeProblem, X: np.ndarray, t: np.ndarray, support: tuple[int, ...]) -> Any:
    """F, coefficients and intercept of a set in the units of X and t, from statements that are not this project's."""
    w = (
        np.ones(len(t)) / len(t)
        if problem.sample_weight is None
        else problem.sample_weight / problem.sample_weight.sum()
    )
    columns = list(support)
    mean, target_mean = w @ X[:, columns], w @ t
    scale, unit = np.sqrt(w @ (X[:, columns] - mean) ** 2), np.sqrt(w @ (t - target_mean) ** 2)
    Z, y = (X[:, columns] - mean) / scale, (t - target_mean) / unit
    model = Ridge(alpha=problem.ridge, solver="cholesky").fit(Z, y, sample_weight=w)
    f = model.predict(Z)
    value = w @ (y - f) ** 2 / 2 + problem.ridge / 2 * model.coef_ @ model.coef_
    coef = unit * model.coef_ / scale
    return value, coef, target_mean + unit * model.intercept_ - coef @ mean


@pytest.mark.parametrize("weighted", [False, True], ids=["equal", "weighted"])
@pytest.mark.parametrize("kind", KINDS)
def test_every_set_is_fitted_as_by_scikit_learn(kind: str, weighted: bool) -> None:
    for seed in range(3):
        X, t, weight = instance(kind, seed, weighted)
        problem = sparse_probe_problem(X, targets=t, k=2, ridge=0.03, sample_weight=weight)
        sets = list(combinations(problem.candidates.tolist(), 2))
        fits = fit_supports(problem, sets)
        for support, coef, intercept, value in zip(sets, fits.coef, fits.intercept, fits.objective):
            expected, raw, constant = by_scikit_learn(problem, X, t, support)
            assert value == pytest.approx(expected, rel=1e-9, abs=1e-12)
            found, found_constant = problem.probe_as_given(support, coef, float(intercept))
            used = X[problem.w > 0][:, list(support)]
            assert found == pytest.approx(raw, rel=1e-7, abs=1e-9)
            assert used @ found + found_constant == pytest.approx(used @ raw + constant, rel=1e-7, abs=1e-7 * np.ptp(t))


@pytest.mark.parametrize("method", ["auto", *(name for name in METHODS if name != "dual_enumeration")])
@pytest.mark.parametrize("kind", KINDS)
def test_the_best_set_is_that_of_brute_force(kind: str, method: str) -> None:
    for seed, k in ((0, 1), (1, 2), (2, 3)):
        X, t, weight = instance(kind, seed, bool(seed % 2))
        problem = sparse_probe_problem(X, targets=t, k=k, ridge=0.01, sample_weight=weight)
        fits = fit_supports(problem, list(combinations(problem.candidates.tolist(), problem.size)))
        found = solve(problem, method)
        assert found.optimal
        assert found.upper_bound == pytest.approx(fits.objective.min(), abs=1e-8)
        assert found.lower_bound <= fits.objective.min()
        assert found.gap <= 1e-6 + 8 * rounding_margin(problem)


@pytest.mark.parametrize(("scale", "shift"), UNITS)
def test_the_unit_of_the_target_says_nothing(scale: float, shift: float) -> None:
    for kind in ("plain", "heavy", "ties"):
        X, t, weight = instance(kind, 5, True)
        first = solve(sparse_probe_problem(X, targets=t, k=2, sample_weight=weight))
        other = solve(sparse_probe_problem(X, targets=scale * (t + shift), k=2, sample_weight=weight))
        assert other.support == first.support
        assert other.upper_bound == pytest.approx(first.upper_bound, rel=1e-9)
        assert other.lower_bound == pytest.approx(first.lower_bound, rel=1e-9)


@pytest.mark.parametrize("weighted", [False, True], ids=["equal", "weighted"])
def test_labels_as_targets_have_the_same_F_in_units_of_their_variance(weighted: bool) -> None:
    X, t, weight = instance("plain", 7, weighted)
    labels = np.where(t > 0.4, 1.0, -1.0)
    as_labels = sparse_probe_problem(X, labels, 2, loss="squared", sample_weight=weight)
    as_targets = sparse_probe_problem(X, targets=labels, k=2, sample_weight=weight)
    sets = list(combinations(range(X.shape[1]), 2))
    of_labels, of_targets = fit_supports(as_labels, sets).objective, fit_supports(as_targets, sets).objective
    assert of_labels == pytest.approx(as_labels.variance * of_targets, rel=1e-12)
    assert solve(as_labels).support == solve(as_targets).support


@pytest.mark.parametrize("scale", [1e-90, 1e-6, 1.0, 1e6, 1e90])
@pytest.mark.parametrize("weighted", [False, True], ids=["equal", "weighted"])
def test_a_target_is_one_more_column_bit_by_bit(scale: float, weighted: bool) -> None:
    """In the formulations and in both checkers; its mean square is 1, also where it varies by the last bit."""
    for seed in range(20):
        X, t, weight = instance("heavy", seed, weighted)
        t = scale * (t if seed % 4 else np.where(t > 0, 7.0, np.nextafter(7.0, 8.0)))
        problem = sparse_probe_problem(X, targets=t, k=1, sample_weight=weight)
        column = sparse_probe_problem(np.column_stack([X, t]), targets=t, k=1, sample_weight=weight).Z[:, -1]
        given = np.ones(len(t)) if weight is None else weight
        checked, varies = of_the_checker(t[:, None], shares_of(given))
        exact = state(as_rows(X, t, weight, target=True), "squared", 0.01, 1, "none", None)
        assert varies.all()
        for other in (column, checked[:, 0], exact.y):
            assert np.array_equal(problem.y, other)
        assert abs(problem.w @ problem.y) <= 1e-15
        assert problem.w @ problem.y**2 == pytest.approx(1.0, abs=1e-14)
        assert problem.variance == pytest.approx(1.0, abs=1e-14)


def test_what_a_problem_of_targets_says_and_keeps() -> None:
    X, t, _ = instance("plain", 0, False)
    problem = sparse_probe_problem(X, targets=t.astype(np.float32), k=2)
    assert problem.loss.name == "squared"
    assert "with targets" in repr(problem)
    assert set(problem.digests) == {"X", "targets"}
    assert np.array_equal(problem.stated_y, t.astype(np.float32))
    again = problem.restated(k=1, ridge=0.5)
    assert np.array_equal(again.y, problem.y)
    assert again.targets is problem.targets
    with pytest.raises(InputError, match="the logistic loss is for labels"):
        problem.restated(loss="logistic")


NAN, INF = float("nan"), float("inf")


@pytest.mark.parametrize(
    ("stated", "sentence"),
    [
        ({}, "labels or targets"),
        ({"y": [-1, 1, 1, -1], "targets": [1, 2, 3, 4]}, "labels or targets"),
        ({"targets": [2, 2, 2, 2]}, "every target is 2"),
        ({"targets": [2, 2, 2, 1], "sample_weight": [1, 1, 1, 0]}, "every target is 2"),
        ({"targets": [1, 2, 3, 4], "sample_weight": [0, 0, 0, 0]}, "every row has weight zero"),
        ({"targets": [1, 2, 3, 4], "sample_weight": [0, 0, 0, -1]}, "the weight of row 3 is -1"),
        ({"targets": [1, NAN, 3, 4]}, "the target of row 1 is nan"),
        ({"targets": [1, 2, INF, 4]}, "the target of row 2 is inf"),
        ({"targets": [1, 2, 3, 1e101]}, "the target of row 3 is 1e.101"),
        ({"targets": [1, 2, 3, 1e-101]}, "the target of row 3 is 1e-101"),
        ({"targets": [1, 2, 3]}, r"the targets have shape \(3,\) and X has 4 rows"),
        ({"targets": [[1], [2], [3], [4]]}, r"the targets have shape \(4, 1\)"),
        ({"targets": ["a", "b", "c", "d"]}, "give numbers"),
        ({"targets": [1, 2, 3, 4], "loss": "hinge"}, "the hinge loss is for labels: use squared"),
        ({"targets": [1, 2, 3, 4], "class_weight": "balanced"}, "no classes"),
        ({"targets": [1, 2, 3, 4], "k": None}, "k is None: give an integer"),
    ],
    ids=str,
)
def test_what_cannot_be_used_is_refused(stated: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        sparse_probe_problem(np.arange(8.0).reshape(4, 2) ** 2, **{"k": 1, **stated})
