"""Validation, standardisation and digests of the problem."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from formulations import InputError, sparse_probe_problem, value_digest
from formulations.standardisation import total
from optprobe.certificates.checker.data import standardised, weights_of

RNG = np.random.default_rng(0)
X = RNG.standard_normal((20, 4))
Y = np.where(X[:, 0] > 0, 1, -1)


def with_value(value: float) -> np.ndarray:
    bad = X.copy()
    bad[7, 2] = value
    return bad


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "nan": ({"X": with_value(np.nan)}, "row 7, column 2"),
    "infinite": ({"X": with_value(np.inf)}, "row 7, column 2"),
    "huge": ({"X": with_value(1e200)}, "rescale"),
    "text": ({"X": X.astype(str)}, "give numbers"),
    "objects": ({"X": X.astype(object)}, "give numbers"),
    "one dimension": ({"X": X[:, 0]}, "dimensions"),
    "no rows": ({"X": X[:0], "y": Y[:0]}, "at least one"),
    "one class": ({"y": np.ones(20)}, "one class"),
    "three classes": ({"y": np.arange(20) % 3}, "exactly two"),
    "text labels": ({"y": Y.astype(str)}, "two distinct numbers"),
    "too few labels": ({"y": Y[:-1]}, "one label"),
    "k of zero": ({"k": 0}, "between 1 and 4"),
    "k above p": ({"k": 5}, "between 1 and 4"),
    "fractional k": ({"k": 1.5}, "integer"),
    "no ridge": ({"ridge": 0.0}, "positive"),
    "negative ridge": ({"ridge": -1.0, "loss": "squared"}, "not negative"),
    "nan ridge": ({"ridge": float("nan")}, "finite"),
    "unknown loss": ({"loss": "absolute"}, "unknown"),
    "unknown class weight": ({"class_weight": "auto"}, "unknown"),
    "negative weight": ({"sample_weight": -np.ones(20)}, "row 0"),
    "weights of one class": ({"sample_weight": (Y > 0).astype(float)}, "negative class"),
    "too few weights": ({"sample_weight": np.ones(3)}, "one number for each"),
    "no columns": ({"among": []}, "at least one"),
    "a number that is too small": ({"X": X * 1e-120}, "row 0, column 0"),
    "a number that is too large": ({"X": X * 1e120}, "row 0, column 0"),
    "a weight that is too small": ({"sample_weight": np.full(20, 1e-120)}, "row 0"),
    "a ridge that is too small": ({"ridge": 1e-120}, "between"),
    "column out of range": ({"among": [1, 4]}, "column 4"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_sentence(name: str) -> None:
    changes, says = BAD[name]
    with pytest.raises(InputError, match=says) as caught:
        sparse_probe_problem(**({"X": X, "y": Y, "k": 2} | changes))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("class_weight", ["none", "balanced"])
def test_standardisation(class_weight: str) -> None:
    columns = np.column_stack([X * [1, 1e-6, 1e6, 3] + [0, 5, -1e5, 1e3], np.full(20, 0.1)])
    problem = sparse_probe_problem(columns, Y, 2, class_weight=class_weight)
    assert (np.abs(problem.w @ problem.Z) <= 1e-14).all()
    np.testing.assert_allclose((problem.w @ problem.Z**2)[:4], 1, atol=1e-14)
    assert problem.inv_scale[4] == 0
    assert list(problem.candidates) == [0, 1, 2, 3]
    mean, deviation = np.average(columns, axis=0, weights=problem.w), 1 / problem.inv_scale[:4]
    np.testing.assert_allclose(problem.Z[:, :4], ((columns - mean)[:, :4]) / deviation, atol=1e-9)


UNITS = {
    "a deviation of 1e-9 of the mean": 2.0**30 + Y,
    "a deviation of one unit in the last place": np.where(Y > 0, 1.0, np.nextafter(1.0, 2)),
    "squares below float64": 1e-90 * Y,
    "squares near the end of float64": 1e100 * Y,
    "one value in a hundred orders": np.where(np.arange(20) == np.flatnonzero(Y > 0)[0], 1e100, 1e-100),
}


@pytest.mark.parametrize("name", UNITS)
@pytest.mark.parametrize("weighted", [False, True])
def test_every_column_that_varies_is_standardised(name: str, weighted: bool) -> None:
    """Regression: such columns were left out as constant, and another set was certified."""
    weight = 10.0 ** np.linspace(-100, 100, 20) if weighted else None
    problem = sparse_probe_problem(UNITS[name][:, None], Y, 1, sample_weight=weight)
    assert list(problem.candidates) == [0]
    assert abs(problem.w @ problem.Z[:, 0]) < 1e-14
    assert problem.w @ problem.Z[:, 0] ** 2 == pytest.approx(1, abs=1e-14)


def test_rows_of_weight_0_take_no_part() -> None:
    columns, weight = X.copy(), np.ones(20)
    columns[3], weight[3] = 1e100, 0.0
    problem, without = sparse_probe_problem(columns, Y, 1, sample_weight=weight), np.delete(np.arange(20), 3)
    assert (problem.Z[3] == 0).all()
    alone = sparse_probe_problem(X[without], Y[without], 1)
    np.testing.assert_allclose(problem.Z[without], alone.Z, atol=1e-13)
    constant = np.where(np.arange(20) == 3, 7.0, 1.0)[:, None]
    assert not len(sparse_probe_problem(constant, Y, 1, sample_weight=weight).candidates)


def test_a_halving_sum_is_the_same_whatever_adds_it() -> None:
    """Elementwise additions in a fixed order: each value is that of Python's own floats."""
    values = np.random.default_rng(0).standard_normal((13, 3)) * 10.0 ** np.arange(13)[:, None]
    for column in range(3):
        left = list(map(float, values[:, column]))
        while len(left) > 1:
            h = -(-len(left) // 2)
            left = [left[i] + left[h + i] if h + i < len(left) else left[i] for i in range(h)]
        assert total(values.copy())[column] == left[0]


@pytest.mark.parametrize("class_weight", ["none", "balanced"])
def test_the_checker_has_the_same_bits(class_weight: str) -> None:
    rng = np.random.default_rng(1)
    for _ in range(40):
        n, p = int(rng.integers(2, 60)), int(rng.integers(1, 5))
        columns = rng.standard_normal((n, p)) * 10.0 ** rng.integers(-90, 90, p) + 10.0 ** rng.integers(-9, 9)
        y = np.where(np.arange(n) % 2, 1.0, -1.0)
        weight = None if rng.integers(2) else np.where(np.arange(n) < 2, 1.0, rng.integers(0, 3, n) * 1e-3)
        problem = sparse_probe_problem(columns, y, 1, class_weight=class_weight, sample_weight=weight)
        w = weights_of(y, np.ones(n) if weight is None else weight, class_weight)
        np.testing.assert_array_equal(w, problem.w)
        Z, varies = standardised(columns, w)
        np.testing.assert_array_equal(Z, problem.Z)
        np.testing.assert_array_equal(np.flatnonzero(varies), problem.candidates)


def test_labels_and_types() -> None:
    assert set(sparse_probe_problem(X, Y > 0, 1).y) == {-1.0, 1.0}
    assert sparse_probe_problem(X.astype(np.float16), Y, 1).X.dtype == np.float32
    kept = X.astype(np.float32)
    assert sparse_probe_problem(kept, Y, 1).X is kept
    assert sparse_probe_problem((10 * X).astype(int), Y, 1).X.dtype == np.float64


def test_digest_is_of_the_values() -> None:
    half = X.astype(np.float16)
    assert len({value_digest(half.astype(t)) for t in (np.float16, np.float32, np.float64)}) == 1
    assert value_digest(np.asfortranarray(half)) == value_digest(half)
    assert value_digest(half) != value_digest(half[::-1])
    assert value_digest(np.zeros((2, 3))) != value_digest(np.zeros((3, 2)))


def test_weights() -> None:
    balanced = sparse_probe_problem(X, Y, 1, class_weight="balanced")
    np.testing.assert_allclose([balanced.w[Y > 0].sum(), balanced.w[Y < 0].sum()], 0.5)
    weighted = sparse_probe_problem(X, Y, 1, sample_weight=np.arange(20))
    np.testing.assert_allclose(weighted.w, np.arange(20) / 190)


def test_fewer_candidates_than_k() -> None:
    problem = sparse_probe_problem(np.column_stack([X[:, 0], np.ones(20)]), Y, 2)
    assert problem.size == 1


def test_restating_keeps_what_was_computed() -> None:
    problem = sparse_probe_problem(X, Y, 1)
    assert problem.restated(k=2, ridge=0.5, loss="hinge").Z is not None
    first = problem.Z
    again = problem.restated(k=2)
    assert again.Z is first
    assert (again.k, problem.k) == (2, 1)
    with pytest.raises(InputError, match="between"):
        problem.restated(k=9)
