"""Accumulated moments are those of the rows: in any order and partition, and within the error that they state."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from formulations import InputError, Moments
from optprobe.activations.summaries import moments as module
from optprobe.activations.summaries.moments import GramAccumulator


def rows(seed: int, n: int, p: int, offset: float, dtype: str, weighted: bool) -> tuple[Any, Any, np.ndarray]:
    """Neurons with an offset in standard deviations, some equal rows, two targets, and weights."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, p)) @ rng.standard_normal((p, p)) + offset * rng.choice([-1.0, 1.0], p)
    X[n // 2 :: 3] = X[0]
    Y = np.stack([np.where(X[:, 0] > np.median(X[:, 0]), 1.0, -1.0), rng.standard_normal(n)], axis=1)
    Y[:2, 0] = 1, -1
    weight = rng.integers(0, 4, n) / 7 if weighted else np.ones(n)
    weight[:2] = 1
    return X.astype(dtype), Y, weight


def direct(X: np.ndarray, y: np.ndarray, w: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Mean and covariance of neurons and target, centred first and summed in extended precision."""
    V = np.column_stack([X, y]).astype(np.longdouble)
    mean = w @ V / w.sum()
    return mean, (V - mean).T @ ((V - mean) * w[:, None]) / w.sum()


def second_moments(found: Moments) -> np.ndarray:
    joint = np.column_stack([np.vstack([found.covariance, found.cross]), np.append(found.cross, found.target_variance)])
    return np.asarray(joint)


@settings(max_examples=60)
@given(
    seed=st.integers(0, 10**6),
    offset=st.sampled_from([0.0, 1.0, 1e6]),
    dtype=st.sampled_from(["float64", "float32", "float16"]),
    weighted=st.booleans(),
    cuts=st.lists(st.integers(0, 60), max_size=60),
    merged=st.booleans(),
)
def test_any_partition_and_order(
    seed: int, offset: float, dtype: str, weighted: bool, cuts: list[int], merged: bool
) -> None:
    X, Y, w = rows(seed, 60, 4, 0.0 if dtype == "float16" else offset, dtype, weighted)
    order = np.random.default_rng(seed).permutation(60)
    total = GramAccumulator(4, 2)
    for part in np.split(order, sorted(cuts)):
        one = GramAccumulator(4, 2) if merged else total
        one.add(X[part], Y[part], w[part])
        if merged:
            total.merge(one)
    for target in (0, 1):
        found = total.moments(target)
        mean, expected = direct(X, Y[:, target], w)
        if np.diagonal(expected).min() < 1e-17 * float(np.abs(mean).max()) ** 2:
            continue
        deviations = np.sqrt(np.diagonal(expected))
        distance = np.abs(second_moments(found) - expected) / np.outer(deviations, deviations)
        assert distance.max() < 1e-12
        assert distance.max() <= found.error + 1e-17 < 1e-11
        np.testing.assert_allclose(found.mean, mean[:4].astype(float), rtol=1e-15, atol=1e-15)
        assert found.n_rows == 60


@pytest.mark.parametrize("drift", [0.0, 50.0])
def test_the_stated_error_is_a_bound_where_blocks_are_many(drift: float, monkeypatch: pytest.MonkeyPatch) -> None:
    """Rows whose mean wanders, columns that are constant, sparse or far from 0, and blocks of odd sizes."""
    monkeypatch.setattr(module, "ROWS", 37)
    monkeypatch.setattr(module, "COLUMNS", 3)
    rng = np.random.default_rng(3)
    X = rng.standard_normal((3000, 8)) @ rng.standard_normal((8, 8))
    X += drift * np.linspace(0, 1, 3000)[:, None]
    X[:, 1], X[:, 2], X[:, 3] = 0.1, np.maximum(X[:, 2] - 1, 0), X[:, 3] + 1e6
    y = np.where(X[:, 0] + X[:, 4] > np.median(X[:, 0] + X[:, 4]), 1.0, -1.0)
    w = rng.uniform(0, 1, 3000)
    whole = GramAccumulator(8)
    whole.add(X, y, w)
    found = whole.moments()
    _, expected = direct(X, y, w)
    used = [0, 2, 3, 4, 5, 6, 7, 8]
    deviations = np.sqrt(np.diagonal(expected))
    distance = np.abs(second_moments(found) - expected)[np.ix_(used, used)] / np.outer(deviations, deviations)[
        np.ix_(used, used)
    ].astype(float)
    assert distance.max() <= found.error < 1e-12 * 10
    assert found.covariance[1, 1] < 1e-28


def test_the_error_bounds_exact_rational_moments() -> None:
    """No float64, no extended precision: the moments of the numbers as they are stored."""
    for seed in range(6):
        X, Y, w = rows(seed, 20, 2, 1e6, "float64", True)
        total = GramAccumulator(2)
        for i in range(0, 20, 1 + seed):
            total.add(X[i : i + 1 + seed], Y[i : i + 1 + seed, 0], w[i : i + 1 + seed])
        found = total.moments()
        V = [[Fraction(float(x)) for x in row] for row in np.column_stack([X, Y[:, 0]])]
        weights = [Fraction(float(x)) for x in w]
        mean = [sum(a * row[j] for a, row in zip(weights, V)) / sum(weights) for j in range(3)]
        stored = second_moments(found)
        for i in range(3):
            for j in range(3):
                terms = (a * (row[i] - mean[i]) * (row[j] - mean[j]) for a, row in zip(weights, V))
                exact = sum(terms, Fraction(0)) / sum(weights)
                distance = abs(exact - Fraction(float(stored[i, j])))
                assert float(distance) <= found.error * np.sqrt(stored[i, i] * stored[j, j])
        assert all(abs(float(m - Fraction(float(x)))) <= 1e-9 for m, x in zip(mean, found.mean))


def test_types_of_input_are_taken_as_they_are() -> None:
    X, Y, w = rows(1, 40, 3, 0.0, "float32", True)
    read_only = X.copy()
    read_only.setflags(write=False)
    as_array, as_tensor, half = GramAccumulator(3), GramAccumulator(3), GramAccumulator(3)
    as_array.add(read_only, Y[:, 0], w)
    as_tensor.add(torch.from_numpy(X), torch.from_numpy(Y[:, :1]), torch.from_numpy(w))
    assert as_array.moments().digest == as_tensor.moments().digest
    brain = torch.from_numpy(X).to(torch.bfloat16)
    half.add(brain, Y[:, 0], w)
    _, expected = direct(brain.to(torch.float64).numpy(), Y[:, 0], w)
    np.testing.assert_allclose(second_moments(half.moments()), expected.astype(float), rtol=1e-12, atol=1e-12)


def test_state_goes_on_where_it_was(tmp_path: Any) -> None:
    X, Y, w = rows(2, 60, 4, 1e6, "float64", True)
    whole, first = GramAccumulator(4, 2), GramAccumulator(4, 2)
    empty = GramAccumulator.from_state(first.state())
    assert empty.n_rows == 0
    for part in (slice(0, 25), slice(25, 60)):
        whole.add(X[part], Y[part], w[part])
    first.add(X[:25], Y[:25], w[:25])
    np.savez(tmp_path / "state.npz", **first.state())
    with np.load(tmp_path / "state.npz", allow_pickle=False) as file:
        second = GramAccumulator.from_state(dict(file))
    second.add(X[25:], Y[25:], w[25:])
    assert second.moments(1).digest == whole.moments(1).digest
    state = first.state()
    with pytest.raises(InputError, match="no state"):
        GramAccumulator.from_state({name: state[name] for name in state if name != "rest"})
    with pytest.raises(InputError, match="shape"):
        GramAccumulator.from_state(state | {"mean": state["mean"][1:]})


def test_bad_input_is_named_and_leaves_nothing() -> None:
    X, Y, w = rows(4, 30, 3, 0.0, "float64", False)
    total = GramAccumulator(3)
    total.add(X, Y[:, 0])
    before = total.moments().digest
    broken = X.copy()
    broken[7, 2] = np.nan
    with pytest.raises(InputError, match="X is nan at row 37, column 2"):
        total.add(broken, Y[:, 0])
    with pytest.raises(InputError, match="Y is inf at row 30, column 0"):
        total.add(X, np.full(30, np.inf))
    with pytest.raises(InputError, match="weight of row 31 is -1"):
        total.add(X, Y[:, 0], np.where(np.arange(30) == 1, -1.0, 1.0))
    for arguments, sentence in (
        ((X[:, :2], Y[:, 0]), "rows of 3 columns"),
        ((X.astype(int), Y[:, 0]), "give float16"),
        ((X, Y[:20, 0]), "20"),
        ((X, Y[:, 0], w[:5]), "one for each"),
    ):
        with pytest.raises(InputError, match=sentence):
            total.add(*arguments)
    assert total.moments().digest == before
    assert total.n_rows == 30
    with pytest.raises(InputError, match="no target 1"):
        total.moments(1)
    with pytest.raises(InputError, match="same columns"):
        total.merge(GramAccumulator(4))
    with pytest.raises(InputError, match="add some"):
        GramAccumulator(3).moments()
    with pytest.raises(InputError, match="at least one"):
        GramAccumulator(0)
    for device in ("no such device", "meta:x"):
        with pytest.raises(InputError, match="no float64"):
            GramAccumulator(3, device=device)
    constant = GramAccumulator(3)
    constant.add(X, np.ones(30))
    with pytest.raises(InputError, match="constant"):
        constant.moments()


def test_rows_of_weight_zero_change_nothing() -> None:
    X, Y, w = rows(5, 30, 3, 10.0, "float64", True)
    one, other = GramAccumulator(3), GramAccumulator(3)
    one.add(X, Y[:, 0], w)
    other.add(1e6 * X, Y[:, 0], np.zeros(30))
    other.merge(GramAccumulator(3))
    other.add(X, Y[:, 0], w)
    assert (one.moments().covariance == other.moments().covariance).all()
    assert other.moments().n_rows == 60
