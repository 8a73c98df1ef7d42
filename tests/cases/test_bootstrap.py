"""The bootstrap over documents: its definition, its determinism, its coverage."""

from __future__ import annotations

import numpy as np

from optprobe.cases.bootstrap import GroupBootstrap, percentile_interval
from optprobe.comparison import f1


def test_a_resample_is_the_f1_of_its_rows() -> None:
    rng = np.random.default_rng(0)
    group = rng.integers(0, 9, 60) * 7
    y, f = np.where(rng.random(60) < 0.4, 1.0, -1.0), rng.standard_normal(60)
    resamples = GroupBootstrap.of(group, 20, seed=1)
    names = np.unique(group)
    assert (resamples.times.sum(axis=1) == len(names)).all()
    for draw, value in zip(resamples.times, resamples.f1(y, f)):
        rows = np.concatenate([np.tile(np.flatnonzero(group == name), int(n)) for name, n in zip(names, draw)])
        assert value == f1(y[rows], f[rows])


def test_the_seed_decides() -> None:
    group = np.arange(50) // 5
    first, again, other = (GroupBootstrap.of(group, 10, seed).times for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


def test_no_true_positive_is_zero_without_a_warning() -> None:
    resamples = GroupBootstrap.of([0, 0, 1], 5, 0)
    np.testing.assert_array_equal(resamples.f1(np.array([-1.0, 1.0, -1.0]), np.full(3, -1.0)), np.zeros(5))
    np.testing.assert_array_equal(resamples.f1(np.full(3, -1.0), np.full(3, -1.0)), np.zeros(5))


def test_intervals_cover_the_truth_where_documents_differ() -> None:
    """Documents differ in how well they are predicted: resampling documents covers, resampling rows does not."""
    rng = np.random.default_rng(5)
    n_documents, n_each, share, runs = 60, 10, 0.4, 200
    group = np.repeat(np.arange(n_documents), n_each)
    right = 0.7
    truth = 2 * share * right / (2 * share * right + (1 - right))
    covered = {"documents": 0, "rows": 0}
    for seed in range(runs):
        y = np.where(rng.random(len(group)) < share, 1.0, -1.0)
        accuracy = rng.beta(2 * right, 2 * (1 - right), n_documents)
        f = np.where(rng.random(len(group)) < accuracy[group], y, -y)
        for name, unit in (("documents", group), ("rows", np.arange(len(group)))):
            low, high = percentile_interval(GroupBootstrap.of(unit, 200, seed).f1(y, f))
            covered[name] += low <= truth <= high
    assert 0.90 * runs <= covered["documents"] <= 0.99 * runs
    assert covered["rows"] < 0.85 * runs
