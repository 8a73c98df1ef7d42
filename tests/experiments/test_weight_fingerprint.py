"""Percentiles, their variance, and the correction for many looks, against other ways to have them."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import rankdata

from experiments.weight_fingerprint import holm, optimal_rows, percentiles, variance_of_sum


def test_percentiles_are_ranks_with_ties_in_the_middle() -> None:
    values = np.array([3.0, 1.0, 1.0, 2.0, 5.0])
    np.testing.assert_allclose(percentiles(values), (rankdata(values) - 1) / 4)
    np.testing.assert_array_equal(percentiles(np.ones(3)), [0.5, 0.5, 0.5])


def test_the_variance_is_that_of_draws_without_replacement() -> None:
    ranks = percentiles(np.random.default_rng(0).standard_normal(12))
    rng = np.random.default_rng(1)
    drawn = [rng.choice(ranks, 5, replace=False).sum() for _ in range(20_000)]
    assert variance_of_sum(ranks, 5) == pytest.approx(np.var(drawn), rel=0.05)
    assert variance_of_sum(ranks, 12) == 0.0


def test_holm_is_between_no_correction_and_bonferronis() -> None:
    p = [0.01, 0.04, 0.03, 0.5]
    assert holm(p) == pytest.approx([0.04, 0.09, 0.09, 0.5])
    assert holm([0.9, 0.8]) == [1.0, 1.0]


def test_neurons_at_the_top_of_their_layer_are_told_from_chance() -> None:
    ranks = percentiles(np.arange(100.0))
    top, middle = ranks[[95, 96, 97, 98, 99]], ranks[[10, 30, 50, 70, 90]]

    def result(own: np.ndarray) -> dict[str, object]:
        return {"percentiles": {"a": own.tolist()}, "variance": {"a": variance_of_sum(ranks, 5)}}

    (row,) = optimal_rows([result(top), result(top)])
    assert row["n_neurons"] == 10
    assert row["p"] < 1e-6 < row["chance_low"] < 0.5 < row["chance_high"] < row["mean_percentile"]
    (row,) = optimal_rows([result(middle), result(middle)])
    assert row["p"] > 0.9
