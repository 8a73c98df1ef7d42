"""The bootstrap over documents: its definition, its determinism, its coverage."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from optprobe.errors import InputError
from optprobe.scoring import LEVEL, NAMES, GroupBootstrap, interval, scores

F1 = NAMES.index("f1")


@given(st.data())
def test_the_scores_of_a_resample_are_those_of_its_rows(data: st.DataObject) -> None:
    """The rows of each draw written out; values of few digits, so that there are ties in and between classes."""
    n = data.draw(st.integers(1, 25))
    positive = data.draw(arrays.arrays(np.bool_, n))
    f = data.draw(arrays.arrays(np.float64, n, elements=st.integers(-3, 3).map(float)))
    group = data.draw(arrays.arrays(np.int64, n, elements=st.integers(0, 4))) * 7
    log_odds = data.draw(st.booleans())
    resamples = GroupBootstrap.of(group, 40, seed=data.draw(st.integers(0, 9)))
    names = np.unique(group)
    assert (resamples.times.sum(axis=1) == len(names)).all()
    found = resamples.scores(np.where(positive, 1.0, -1.0), f, log_odds)
    assert found.shape == (len(NAMES), 40)
    for draw, values in zip(resamples.times, found.T):
        rows = np.concatenate([np.tile(np.flatnonzero(group == name), int(n)) for name, n in zip(names, draw)])
        written_out = scores(positive[rows], f[rows], log_odds)
        np.testing.assert_allclose(values, np.array([*vars(written_out).values()], dtype=float), rtol=1e-12)


def test_blocks_of_resamples_are_those_of_one_after_another() -> None:
    rng = np.random.default_rng(3)
    group, y, f = rng.integers(0, 9, 60), np.where(rng.random(60) < 0.4, 1.0, -1.0), rng.standard_normal(60)
    resamples = GroupBootstrap.of(group, 100, seed=1)
    whole = resamples.scores(y, f)
    for at in (0, 31, 32, 64, 99):
        alone = GroupBootstrap(resamples.group, resamples.times[at : at + 1]).scores(y, f)
        np.testing.assert_allclose(alone[:, 0], whole[:, at], rtol=1e-13)


def test_the_seed_decides() -> None:
    group = np.arange(50) // 5
    first, again, other = (GroupBootstrap.of(group, 10, seed).times for seed in (3, 3, 4))
    np.testing.assert_array_equal(first, again)
    assert (first != other).any()


@pytest.mark.parametrize(("group", "draws"), [([], 5), ([0, 0, 1], 0)])
def test_nothing_to_resample_is_refused(group: list[int], draws: int) -> None:
    with pytest.raises(InputError, match=f"{draws} resamples of {len(group)} rows have no interval"):
        GroupBootstrap.of(group, draws, 0)


def test_an_interval_is_of_the_resamples_in_which_the_score_is_defined() -> None:
    """One of two documents has all positive rows: AUC needs both, and F1 neither."""
    y, f, group = np.array([1.0, 1.0, -1.0, -1.0]), np.array([2.0, -1.0, 1.0, -2.0]), np.array([0, 0, 1, 1])
    resamples = GroupBootstrap.of(group, 200, seed=0)
    values = resamples.scores(y, f)
    both = (resamples.times > 0).all(axis=1)
    assert 0 < np.count_nonzero(both) < 200
    np.testing.assert_array_equal(np.isfinite(values[NAMES.index("auc")]), both)
    low, high = interval(values)
    assert low.auc == high.auc == 0.75
    assert (low.f1, high.f1) == (0.0, pytest.approx(2 / 3))
    assert low.log_loss is high.log_loss is None
    expected = np.quantile(values[F1], [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    assert [low.f1, high.f1] == expected.tolist()


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
            low, high = interval(GroupBootstrap.of(unit, 200, seed).scores(y, f))
            covered[name] += low.f1 <= truth <= high.f1
    assert 0.90 * runs <= covered["documents"] <= 0.99 * runs
    assert covered["rows"] < 0.85 * runs
