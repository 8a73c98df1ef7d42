"""From character spans to tokens: by hand, on a byte-level tokenizer, and at the edge of the context."""

from __future__ import annotations

import itertools
import re
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optprobe.activations import load_tokenizer
from optprobe.errors import InputError
from optprobe.features import FeatureDataset, align_rows
from optprobe.features.alignment import tokens_of_spans


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return load_tokenizer("bundled")


def dataset(*texts: str) -> FeatureDataset:
    """Return every word of the texts."""
    spans = [(t, m.start(), m.end()) for t, text in enumerate(texts) for m in re.finditer(r"\w+|[^\w\s]", text)]
    text, start, end = np.array(spans).T
    return FeatureDataset("d", texts, text, start, end, text, {"any": np.ones(len(text), dtype=int)}, {"any": "all"})


def test_the_last_or_first_overlapping_token_is_found() -> None:
    offsets = [(0, 0), (0, 2), (2, 5), (5, 9), (9, 10), (9, 10), (0, 0)]
    start, end = [0, 2, 4, 9, 6], [5, 3, 10, 10, 11]
    np.testing.assert_array_equal(tokens_of_spans(offsets, start, end), [2, 2, 5, 5, -1])
    np.testing.assert_array_equal(tokens_of_spans(offsets, start, end, "first"), [1, 2, 2, 4, -1])


def test_characters_that_no_token_covers_have_none() -> None:
    np.testing.assert_array_equal(tokens_of_spans([(0, 2), (4, 6)], [2, 0], [4, 6]), [-1, 1])
    np.testing.assert_array_equal(tokens_of_spans([(0, 0)], [0], [1]), [-1])


@settings(deadline=None)
@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=12),
    st.data(),
)
def test_tokens_of_spans_agrees_with_a_search(lengths: list[int], data: st.DataObject) -> None:
    edges = np.concatenate([[0], np.cumsum(lengths)])
    offsets = list(itertools.pairwise(edges))
    start = data.draw(st.integers(0, int(edges[-1]) - 1))
    end = data.draw(st.integers(start + 1, int(edges[-1])))
    overlapping = [i for i, (a, b) in enumerate(offsets) if a < end and b > start]
    assert tokens_of_spans(offsets, [start], [end])[0] == overlapping[-1]
    assert tokens_of_spans(offsets, [start], [end], "first")[0] == overlapping[0]


@pytest.mark.parametrize(
    "text",
    [
        "The quick brown fox (12 of 345) jumps!",
        "Une forêt enneigée, naïve; l'été à Besançon.",
        "Снег лежит на берегу — ёлка, Москва.",
        "\n\n  x =\t[1, 2]\n# größer\n",
        "emoji 🙂 and 日本語 here",
    ],
)
def test_words_decode_from_their_tokens(text: str, tokenizer: Any) -> None:
    """From its first to its last token, a word decodes to itself, but for spaces and joined neighbours."""
    data = dataset(text)
    first, last = (align_rows(data, tokenizer, which=which) for which in ("first", "last"))
    assert first.n_dropped == last.n_dropped == 0
    for row in range(data.n_rows):
        word = text[data.start[row] : data.end[row]]
        ids = last.input_ids[0][first.token[row] : last.token[row] + 1]
        assert word in tokenizer.decode(ids)
        inner = last.input_ids[0][first.token[row] + 1 : last.token[row]]
        assert tokenizer.decode(inner).strip("\ufffd") in word


def test_a_leading_space_belongs_to_no_word(tokenizer: Any) -> None:
    data = dataset("word été word")
    found = align_rows(data, tokenizer, which="first")
    pieces = [tokenizer.decode(found.input_ids[0][t]) for t in found.token]
    assert [p[0] for p in pieces[1:]] == [" ", " "]


def test_spans_beyond_the_context_are_dropped(tokenizer: Any) -> None:
    data = dataset("alpha beta gamma delta epsilon zeta", "one")
    whole = align_rows(data, tokenizer)
    for length in range(1, len(whole.input_ids[0]) + 1):
        cut = align_rows(data, tokenizer, length)
        assert [len(ids) for ids in cut.input_ids] == [min(length, len(ids)) for ids in whole.input_ids]
        np.testing.assert_array_equal(cut.token, np.where(whole.token < length, whole.token, -1))
        assert cut.n_dropped == np.count_nonzero(whole.token >= length)


def test_tokenizers_without_offsets_are_refused() -> None:
    with pytest.raises(InputError, match="SimpleNamespace does not say which characters each token covers"):
        align_rows(dataset("a"), SimpleNamespace(is_fast=False))
    with pytest.raises(InputError, match="not 'middle'"):
        align_rows(dataset("a"), SimpleNamespace(is_fast=True), which="middle")  # type: ignore[arg-type]
