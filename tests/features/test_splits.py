"""The grouped split: groups whole, classes on both sides, shares near the one asked for, and the same every time."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optprobe.errors import InputError
from optprobe.features import grouped_split, three_way_split

rows = st.lists(st.tuples(st.integers(0, 9), st.sampled_from([-1, 1])), min_size=4, max_size=80)


@settings(deadline=None, max_examples=200)
@given(rows, st.floats(0.05, 0.95), st.integers(0, 5))
def test_groups_stay_whole_and_both_classes_are_on_both_sides(
    rows: list[tuple[int, int]], share: float, seed: int
) -> None:
    group, y = np.array([*rows, (0, -1), (1, -1), (2, 1), (3, 1)]).T
    test = grouped_split(group, y, share, seed)
    assert not set(group[test]) & set(group[~test])
    assert set(y[test]) == set(y[~test]) == {-1, 1}
    np.testing.assert_array_equal(test, grouped_split(group, y, share, seed))


@settings(deadline=None)
@given(st.lists(st.tuples(st.integers(0, 30), st.sampled_from([-1, 1])), max_size=80), st.integers(0, 5))
def test_three_parts_share_no_group(rows: list[tuple[int, int]], seed: int) -> None:
    singles = [(40 + i, 1 if i % 2 else -1) for i in range(20)]
    group, y = np.array([*rows, *singles]).T
    parts = three_way_split(group, y, 0.2, 0.3, seed)
    np.testing.assert_array_equal(np.sum(parts, axis=0), 1)
    documents = [set(group[part]) for part in parts]
    assert not documents[0] & documents[1]
    assert not documents[0] & documents[2]
    assert not documents[1] & documents[2]
    assert all(set(y[part]) == {-1, 1} for part in parts)
    np.testing.assert_array_equal(parts.test, grouped_split(group, y, 0.3, seed))
    largest = np.bincount(group).max()
    for part, share in zip(parts, (0.5, 0.2, 0.3)):
        for label in (-1, 1):
            assert abs(part[y == label].sum() - share * (y == label).sum()) <= 2 * largest + 1


@settings(deadline=None)
@given(st.lists(st.integers(0, 9), max_size=80), st.floats(0.05, 0.95), st.integers(0, 5))
def test_without_classes_the_share_is_that_of_all_rows(groups: list[int], share: float, seed: int) -> None:
    group = np.array([*groups, 20, 21])
    test = grouped_split(group, None, share, seed)
    assert 0 < np.count_nonzero(test) < len(group)
    assert not set(group[test]) & set(group[~test])
    assert abs(test.sum() - share * len(group)) <= np.bincount(group).max()
    np.testing.assert_array_equal(test, grouped_split(group, None, share, seed))


def test_rows_of_one_document_cannot_be_split() -> None:
    with pytest.raises(InputError, match="at least two documents, and these are of 1"):
        grouped_split([3, 3, 3], None)


def test_three_parts_need_room() -> None:
    with pytest.raises(InputError, match=r"share 0\.5 and the test share 0\.5 leave nothing for training"):
        three_way_split([0, 1, 2, 3], [0, 1, 0, 1], 0.5, 0.5)
    with pytest.raises(InputError, match="occurs in one group only"):
        three_way_split([0, 1, 2, 3], [0, 1, 0, 1])


@settings(deadline=None)
@given(rows, st.integers(0, 9), st.sampled_from([-1, 1]))
def test_a_class_in_one_group_cannot_be_split(rows: list[tuple[int, int]], alone: int, label: int) -> None:
    group, y = np.array([*rows, (alone, label), (5, -label)]).T
    group[y == label] = alone
    with pytest.raises(InputError, match="occurs in one group only"):
        grouped_split(group, y)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.5])
def test_shares_are_reached_to_within_half_a_group(share: float) -> None:
    rng = np.random.default_rng(0)
    for seed in range(20):
        sizes = rng.integers(1, 8, size=100)
        group = np.repeat(np.arange(100), sizes)
        y = np.where(rng.random(100) < 0.3, 1, -1)[group]
        test = grouped_split(group, y, share, seed)
        for label in (-1, 1):
            assert abs(test[y == label].sum() - share * (y == label).sum()) <= sizes.max() / 2 + 1


def test_the_split_of_single_rows_is_stratified() -> None:
    y = np.repeat([0, 1], [700, 300])
    test = grouped_split(np.arange(1000), y, 0.3)
    assert (test[y == 0].sum(), test[y == 1].sum()) == (210, 90)


def test_the_seed_changes_the_split_and_the_names_of_the_groups_do_not() -> None:
    group = np.repeat(np.arange(30), 5)
    y = np.where(np.arange(150) % 3 == 0, 1, -1)
    splits = {grouped_split(group, y, seed=seed).tobytes() for seed in range(5)}
    assert len(splits) == 5
    np.testing.assert_array_equal(grouped_split(group, y), grouped_split(10 * group + 7, y))


def test_what_cannot_be_split_is_refused() -> None:
    with pytest.raises(InputError, match=r"labels of two values, and y has 1: \[1\]"):
        grouped_split([0, 1, 2], [1, 1, 1])
    with pytest.raises(InputError, match="has 3"):
        grouped_split([0, 1, 2], [0, 1, 2])
    with pytest.raises(InputError, match=r"between 0 and 1, and 1\.0 does not"):
        grouped_split([0, 1, 2, 3], [0, 1, 0, 1], test_share=1.0)
    with pytest.raises(InputError, match="of one length"):
        grouped_split([0, 1], [0, 1, 0])
