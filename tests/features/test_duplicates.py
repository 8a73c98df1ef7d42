"""Equal and nearly equal texts, documents that share them, and labels that contradict each other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optprobe.errors import InputError
from optprobe.features import FeatureDataset
from optprobe.features.duplicates import conflicts, drop_conflicts, equal_texts, group_duplicates, similar_texts
from optprobe.features.sources.texts import read_texts

LONG = " ".join(f"word{i}" for i in range(60))


def dataset(texts: list[str], group: list[int], **changes: Any) -> FeatureDataset:
    """One row a text, its first character, labelled +1 and -1 in turn."""
    n = len(texts)
    rows = {"text": np.arange(n), "start": np.zeros(n, dtype=int), "end": np.ones(n, dtype=int), "group": group}
    labels = {"f": np.where(np.arange(n) % 2 == 0, 1, -1)}
    return FeatureDataset(**{"name": "d", "texts": texts, **rows, "labels": labels, "rules": {"f": "even"}, **changes})


def test_equal_texts_are_equal_and_no_others() -> None:
    np.testing.assert_array_equal(equal_texts(["a", "b", "a", "A", "b "]), [0, 1, 0, 2, 3])


def test_texts_equal_in_their_words_are_similar() -> None:
    texts = ["Étés, 12!", "étés 12", "été 12", "...", "!!", "... ", "a_b", "a b"]
    np.testing.assert_array_equal(similar_texts(texts), [0, 0, 1, 2, 3, 2, 4, 4])


def test_a_changed_word_of_a_long_text_is_a_near_duplicate_and_other_order_is_not() -> None:
    words = LONG.split()
    changed = " ".join([*words[:30], "other", *words[31:]])
    shuffled = " ".join(np.random.default_rng(0).permutation(words))
    longer = LONG + " and a few more words at the end"
    half = " ".join(words[:30])
    np.testing.assert_array_equal(similar_texts([LONG, shuffled, changed, longer, half]), [0, 1, 0, 0, 2])
    np.testing.assert_array_equal(similar_texts([LONG, changed], similarity=1.0), [0, 1])


@given(st.lists(st.text(alphabet="ab ", max_size=8), max_size=12), st.randoms())
def test_the_sets_do_not_depend_on_the_order_of_the_texts(texts: list[str], random: Any) -> None:
    order = list(range(len(texts)))
    random.shuffle(order)
    found, moved = similar_texts(texts), similar_texts([texts[i] for i in order])
    for a in range(len(texts)):
        for b in range(len(texts)):
            assert (moved[a] == moved[b]) == (found[order[a]] == found[order[b]])
            if texts[a] == texts[b]:
                assert found[a] == found[b]


def test_documents_that_share_a_text_become_one() -> None:
    data = dataset(["x one", "y two", "X, one", "z three", "Y two"], group=[7, 7, 3, 4, 9])
    grouped = group_duplicates(data)
    np.testing.assert_array_equal(grouped.group, [0, 0, 0, 1, 0])
    assert grouped.provenance["duplicates"] == "2 texts equal or nearly equal another and share its document"
    assert grouped.texts == data.texts
    alone = dataset(["x", "y", "z"], group=[5, 5, 2])
    np.testing.assert_array_equal(group_duplicates(alone).group, [0, 0, 1])
    assert not group_duplicates(alone).provenance


def test_contradicting_labels_are_dropped_and_counted() -> None:
    values = {"v": np.array([np.nan, np.nan, np.nan, 1.0])}
    labels = {"f": np.array([1, 1, -1, 1]), "g": np.array([0, 1, 1, 0])}
    rules = {"f": "by hand", "g": "by hand", "v": "by hand"}
    data = dataset(["same", "other", "same", "same"], [0, 1, 2, 3], labels=labels, rules=rules, values=values)
    np.testing.assert_array_equal(conflicts(data)["f"], [0, 2, 3])
    assert len(conflicts(data)["g"]) == 0
    left = drop_conflicts(data)
    assert left.provenance["contradicting labels dropped"] == "f 3"
    np.testing.assert_array_equal(left.labels["f"], [1, 0, 0])
    np.testing.assert_array_equal(left.labels["g"], [1, 1, 0])
    assert drop_conflicts(left) is left


def test_another_span_is_no_contradiction() -> None:
    data = dataset(["same", "same"], [0, 1], start=[0, 1], end=[1, 2])
    assert len(conflicts(data)["f"]) == 0
    with pytest.raises(InputError, match="has no rows"):
        drop_conflicts(dataset(["same", "same"], [0, 1]))


def test_the_duplicates_of_real_prompts_are_found(shared: Path) -> None:
    path = shared / "data" / "sae_probes" / "67_social-security.csv"
    prompts = read_texts(path, text_column="prompt").texts
    assert len(prompts) == 3200
    assert len(prompts) - len(set(equal_texts(prompts))) == 767
    similar = similar_texts(prompts)
    assert 767 <= len(prompts) - len(set(similar)) < 850
    first: dict[str, int] = {}
    for prompt, number in zip(prompts, similar):
        assert first.setdefault(prompt, number) == number
