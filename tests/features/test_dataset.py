"""The dataset of labelled words: what it holds, what it refuses, and its digest."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from optprobe.errors import InputError
from optprobe.features import FeatureDataset

GOOD: dict[str, Any] = {
    "name": "small",
    "texts": ("one two", "été", "drei"),
    "text": [0, 0, 1, 2],
    "start": [0, 4, 0, 1],
    "end": [3, 7, 3, 4],
    "group": [5, 5, 6, 7],
    "labels": {"a": np.array([1, -1, 0, 1]), "b": np.array([0, 0, 1, -1])},
    "rules": {"a": "+1 for a", "b": "+1 for b"},
    "licence": "MIT",
}


def test_rows_and_labels_are_kept_read_only() -> None:
    data = FeatureDataset(**GOOD)
    assert (data.n_rows, data.features) == (4, ("a", "b"))
    assert data.text.dtype == np.int32
    assert data.labels["a"].dtype == np.int8
    with pytest.raises(ValueError, match="read-only"):
        data.start[0] = 1
    np.testing.assert_array_equal(data.rows("a"), [0, 1, 3])
    assert repr(data) == "FeatureDataset 'small': 4 rows in 3 texts, 3 documents, 2 features"
    assert str(data).splitlines()[2].split() == ["a", "3", "2", "1"]


def test_a_feature_can_be_taken_alone() -> None:
    alone = FeatureDataset(**GOOD).select("b")
    assert alone.name == "small/b"
    assert alone.texts == ("été", "drei")
    np.testing.assert_array_equal(alone.text, [0, 1])
    np.testing.assert_array_equal(alone.group, [6, 7])
    np.testing.assert_array_equal(alone.labels["b"], [1, -1])
    assert dict(alone.rules) == {"b": "+1 for b"}
    with pytest.raises(InputError, match="has no feature 'c'; it has a, b"):
        FeatureDataset(**GOOD).select("c")


def test_the_digest_depends_on_everything_but_the_order_of_the_features() -> None:
    digest = FeatureDataset(**GOOD).digest
    assert FeatureDataset(**GOOD).digest == digest
    assert FeatureDataset(**{**GOOD, "labels": dict(reversed(GOOD["labels"].items()))}).digest == digest
    changes: dict[str, Any] = {
        "name": "other",
        "texts": ("one two", "ete", "drei"),
        "start": [0, 5, 0, 1],
        "end": [2, 7, 3, 4],
        "group": [5, 5, 6, 8],
        "labels": {**GOOD["labels"], "a": np.array([1, 1, 0, 1])},
        "rules": {**GOOD["rules"], "a": "+1 for A"},
        "licence": "CC0",
    }
    digests = {FeatureDataset(**{**GOOD, key: value}).digest for key, value in changes.items()}
    assert len(digests) == len(changes)
    assert digest not in digests


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [
        ({"end": [3, 7, 3]}, "the array 'end' has 3 rows and 'text' has 4"),
        ({"text": [0, 0, 1, 3]}, "row 3 names text 3, and there are 3 texts"),
        ({"start": [3, 4, 0, 1]}, r"row 0 has the span 3\.\.3, which is not a part of its text of 7 characters"),
        ({"end": [3, 8, 3, 4]}, r"row 1 has the span 4\.\.8"),
        ({"start": [-1, 4, 0, 1]}, r"row 0 has the span -1\.\.3"),
        ({"group": [5, 4, 6, 7]}, "the rows of text 0 have different groups"),
        ({"labels": {}}, "has no features"),
        ({"labels": {"a": np.array([1, -1])}}, "'a' has 2 labels for 4 rows"),
        ({"labels": {"a": np.array([1, 0, 0, 2])}}, "row 3 has the label 2 for 'a'; labels are -1, 0 or \\+1"),
        ({"rules": {"a": "+1 for a"}}, "needs both labels and a rule, and b has only one"),
        ({"start": [0.0, 4.0, 0.0, 1.0]}, "the array 'start' must be one-dimensional whole numbers, not float64"),
        ({"group": [5, 5, 6, 2**40]}, "the array 'group' holds a number that does not fit int32"),
        ({"labels": {"a": np.array([300, 1, 1, 1])}}, "the labels of 'a' holds a number that does not fit int8"),
        ({key: np.array([], dtype=int) for key in ("text", "start", "end", "group")}, "has no rows"),
    ],
)
def test_what_is_wrong_is_named(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        FeatureDataset(**{**GOOD, **changes})
