"""Accumulated moments are those of the rows: in any order and partition, and within the error that they state."""

from __future__ import annotations

from typing import Any

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from formulations import Moments
from optprobe.activations.moments import GramAccumulator


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
