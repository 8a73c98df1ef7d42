"""Contexts cut from passages, and rows joined to a dataset."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optprobe.errors import InputError
from optprobe.features.labelling import MIRROR, Passage, join, windows

RULES = {"a": "rule of a", "b": "rule of b"}


def passage(text: str, document: str, a: list[int], b: list[int]) -> Passage:
    """One row a character."""
    places = np.arange(len(text))
    return Passage(text, document, places, places + 1, {"a": np.array(a, np.int8), "b": np.array(b, np.int8)})


@given(st.text(alphabet="ab \n", max_size=60), st.integers(1, 20))
def test_windows_cover_the_text(text: str, characters: int) -> None:
    found = windows(text, characters)
    assert "".join(text[begin:end] for begin, end in found) == text
    assert all(0 < end - begin <= characters for begin, end in found)


def test_windows_end_with_lines_before_words() -> None:
    assert cut("one two\nthree four", 12) == ["one two\n", "three four"]
    assert cut("one two three", 9) == ["one two ", "three"]
    assert cut("abcdef", 4) == ["abcd", "ef"]


def cut(text: str, characters: int) -> list[str]:
    return [text[begin:end] for begin, end in windows(text, characters)]


def test_a_context_needs_a_character() -> None:
    with pytest.raises(InputError, match="at least one character"):
        windows("a", 0)


def test_pieces_keep_their_spans_and_lose_those_across_a_cut() -> None:
    labels = {"a": np.array([1, -1, 1], np.int8)}
    whole = Passage("aa bb cc", "d", np.array([0, 2, 6]), np.array([2, 4, 8]), labels)
    first, second, third = whole.cut(3)
    assert (first.text, second.text, third.text) == ("aa ", "bb ", "cc")
    assert [p.start.tolist() for p in (first, second, third)] == [[0], [], [0]]
    assert third.labels["a"].tolist() == [1]


def test_rows_without_a_label_and_texts_without_rows_are_left_out() -> None:
    data = join(
        "n", [passage("xy", "d", [1, 0], [0, 0]), passage("z", "e", [0], [0]), passage("w", "d", [-1], [0])], RULES
    )
    assert data.texts == ("xy", "w")
    assert data.group.tolist() == [0, 0]
    assert data.features == ("a",)
    assert data.provenance["absent"] == "b"


def test_the_two_kinds_of_negatives_are_equally_many() -> None:
    a = [1, 1, *[MIRROR] * 5, *[-1] * 20]
    data = join("n", [passage("x" * 27, "d", a, [1, -1] + [0] * 25)], RULES)
    negatives = data.start[data.labels["a"] == -1]
    assert data.counts["a"] == (2, 10)
    assert np.count_nonzero(negatives < 7) == 5


def test_the_more_frequent_mirror_is_thinned_too() -> None:
    a = [1, *[MIRROR] * 6, -1, -1]
    data = join("n", [passage("x" * 9, "d", a, [1, -1] + [0] * 7)], RULES)
    assert data.counts["a"] == (1, 4)
    assert {7, 8} <= set(data.start[data.labels["a"] == -1].tolist())


def test_refusals_name_the_source() -> None:
    one_class = [passage("xy", "d", [1, 1], [1, -1])]
    with pytest.raises(InputError, match=r"file\.txt: 'a' needs both classes, and no row is labelled -1"):
        join("n", one_class, RULES, features=["a"], provenance={"source": "file.txt"})
    with pytest.raises(InputError, match="n: there is no feature 'c'"):
        join("n", one_class, RULES, features=["c"])
    with pytest.raises(InputError, match="no feature has both classes"):
        join("n", [passage("x", "d", [1], [-1])], RULES)
    with pytest.raises(InputError, match="nothing to label"):
        join("n", [], RULES)
