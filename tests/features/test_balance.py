"""Samples of rows: shares, sizes, documents in turn, and the features that cannot be had."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optprobe.errors import InputError
from optprobe.features import FeatureDataset
from optprobe.features.balance import NATURAL, PAPER, Sampling, sampled


def dataset(labels: dict[str, list[int]], group: list[int]) -> FeatureDataset:
    """One row a text of one character."""
    n = len(group)
    rows = (np.arange(n), np.zeros(n, dtype=int), np.ones(n, dtype=int), np.array(group))
    return FeatureDataset(
        "d", ("x",) * n, *rows, {k: np.array(y) for k, y in labels.items()}, dict.fromkeys(labels, "by hand")
    )


@given(
    st.lists(st.sampled_from([-1, 1]), max_size=60),
    st.integers(2, 40),
    st.floats(0, 1),
    st.floats(0, 1),
    st.integers(0, 3),
)
def test_size_and_share_are_kept(y: list[int], rows: int, a: float, b: float, seed: int) -> None:
    y = [*y, 1, -1, 1, -1]
    least, most = sorted((a, b))
    data = dataset({"f": y}, [i % 7 for i in range(len(y))])
    sampling = Sampling(rows, least, most)
    try:
        taken = sampled(data, sampling, seed)
    except InputError:
        natural = y.count(1) / len(y)
        share = min(max(natural, least), most)
        size = min(
            [rows, *([int(y.count(1) / share)] if share else []), *([int(y.count(-1) / (1 - share))] * (share < 1))]
        )
        assert round(share * size) in (0, size)
        return
    positive, negative = taken.counts["f"]
    assert 0 < positive + negative <= rows
    share = positive / (positive + negative)
    slack = 0.5 / (positive + negative) + 1e-9
    natural = y.count(1) / len(y)
    assert min(least, natural) - slack <= share <= max(most, natural) + slack
    assert abs(share - min(max(natural, least), most)) <= slack
    assert sampled(data, sampling, seed).digest == taken.digest


def test_the_paper_s_share_is_met_where_positives_are_many() -> None:
    rng = np.random.default_rng(0)
    y = np.where(rng.random(60_000) < 0.5, 1, -1).tolist()
    taken = sampled(dataset({"NOUN": y}, list(range(60_000))), PAPER["part_of_speech"])
    assert taken.counts["NOUN"] == (5_000, 20_000)
    assert taken.provenance["sampling"].startswith("at most 25,000 rows a feature, share of +1 from 0.2 to 0.2 ")


def test_documents_are_taken_in_turn() -> None:
    data = dataset({"f": [1] * 20 + [-1] * 20}, ([0] * 17 + [1, 2, 3]) * 2)
    taken = sampled(data, Sampling(8, 0.5, 0.5))
    assert sorted(taken.group.tolist()) == [0, 0, 1, 1, 2, 2, 3, 3]


def test_features_share_their_rows() -> None:
    y = [1, -1] * 50
    taken = sampled(dataset({"f": y, "g": y}, list(range(100))), Sampling(10))
    assert taken.n_rows == 10


def test_what_is_too_rare_is_left_out_or_an_error() -> None:
    data = dataset({"common": [1, -1] * 20, "rare": [1] + [-1] * 39}, list(range(40)))
    taken = sampled(data, Sampling(rows_of_class=5))
    assert taken.features == ("common",)
    assert taken.provenance["left out"] == "rare"
    assert sampled(data, Sampling(rarest=0.05)).features == ("common",)
    with pytest.raises(
        InputError, match="'rare' has 1 rows labelled \\+1 and 39 labelled -1 to be taken, and each class"
    ):
        sampled(data.select("rare"), Sampling(rows_of_class=5))
    assert sampled(data, NATURAL) is data


def test_a_sampling_that_no_rows_can_meet_is_refused() -> None:
    with pytest.raises(InputError, match=r"cannot lie between 0.5 and 0.2"):
        Sampling(10, 0.5, 0.2)
    with pytest.raises(InputError, match="5 rows cannot have 3 of each class"):
        Sampling(5, rows_of_class=3)
