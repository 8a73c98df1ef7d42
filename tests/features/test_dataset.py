"""The dataset of labelled words: what it holds, what it refuses, and its digest."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from optprobe.errors import InputError, StoreDamaged
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
FULL: dict[str, Any] = {
    **GOOD,
    "rules": {**GOOD["rules"], "position": "characters before the word"},
    "aggregation": "mean",
    "provenance": {"source": "written by hand", "revision": "1"},
    "values": {"position": np.array([0.0, 4.0, np.nan, 1.0])},
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


def test_what_says_nothing_changes_no_digest_and_what_says_something_does() -> None:
    """The first digest is that of the version before aggregation, provenance and values."""
    plain = "f425b9e680d709e7c8cfcef89558b9219929e142c026e176d500abd7b6068c0c"
    assert FeatureDataset(**GOOD).digest == plain
    assert FeatureDataset(**GOOD, aggregation="none", provenance={}, values={}).digest == plain
    changes: list[dict[str, Any]] = [
        {key: FULL[key]} if key != "values" else {"values": FULL["values"], "rules": FULL["rules"]}
        for key in ("aggregation", "provenance", "values")
    ]
    changes.append({"values": {"position": np.array([0.0, 4.0, 1.0, 1.0])}, "rules": FULL["rules"]})
    changes.append({"aggregation": "max"})
    digests = {FeatureDataset(**{**GOOD, **change}).digest for change in changes}
    assert len(digests | {plain}) == len(changes) + 1


def test_targets_hold_numbers() -> None:
    data = FeatureDataset(**FULL)
    assert (data.features, data.targets) == (("a", "b"), ("position",))
    assert dict(data.counts) == {"a": (2, 1), "b": (1, 1)}
    np.testing.assert_array_equal(data.rows("position"), [0, 1, 3])
    alone = data.select("position")
    assert (alone.features, alone.targets, alone.aggregation) == ((), ("position",), "mean")
    np.testing.assert_array_equal(alone.values["position"], [0, 4, 1])
    assert "a number a row" in str(alone)


def test_rows_can_be_taken() -> None:
    data = FeatureDataset(**FULL)
    taken = data.take([3, 0])
    assert taken.texts == ("one two", "drei")
    assert [taken.texts[t][a:b] for t, a, b in zip(taken.text, taken.start, taken.end)] == ["rei", "one"]
    np.testing.assert_array_equal(taken.labels["a"], data.labels["a"][[3, 0]])
    assert data.take(np.ones(4, dtype=bool)).digest == data.digest


@pytest.mark.parametrize("given", [GOOD, FULL])
def test_a_saved_dataset_opens_as_it_was(given: dict[str, Any], tmp_path: Path) -> None:
    data = FeatureDataset(**given)
    data.save(tmp_path / "made" / "data")
    read = FeatureDataset.open(tmp_path / "made" / "data")
    assert read.digest == data.digest
    assert (read.features, read.targets, read.provenance) == (data.features, data.targets, data.provenance)
    assert [path.name for path in (tmp_path / "made").iterdir()] == ["data"]
    with pytest.raises(InputError, match="data exists already"):
        data.save(tmp_path / "made" / "data")


@pytest.mark.parametrize("name", ["rows.parquet", "texts.parquet", "card.json"])
def test_a_missing_truncated_or_altered_file_is_named(name: str, tmp_path: Path) -> None:
    FeatureDataset(**FULL).save(tmp_path / "data")
    path = tmp_path / "data" / name
    content = path.read_bytes()
    for damaged in (content[:-7], content[:9] + bytes([content[9] ^ 1]) + content[10:]):
        path.write_bytes(damaged)
        with pytest.raises((StoreDamaged, InputError), match=name):
            FeatureDataset.open(tmp_path / "data")
    path.unlink()
    with pytest.raises((StoreDamaged, InputError), match=name):
        FeatureDataset.open(tmp_path / "data")


@pytest.mark.parametrize(
    "changes",
    [
        {"name": "other"},
        {"aggregation": "max"},
        {"licence": None},
        {"features": {}},
        {"features": {"c": {"rule": "", "positive": 2, "negative": 1}}},
        {"targets": []},
        {"rows": 5},
        {"digest": "0" * 64},
    ],
    ids=lambda changes: "-".join(changes),
)
def test_an_altered_card_is_found(changes: dict[str, Any], tmp_path: Path) -> None:
    FeatureDataset(**FULL).save(tmp_path / "data")
    path = tmp_path / "data" / "card.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))
    with pytest.raises(StoreDamaged, match=r"card\.json"):
        FeatureDataset.open(tmp_path / "data")
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": "optprobe-dataset/2"}))
    with pytest.raises(InputError, match="this version reads 'optprobe-dataset/1'"):
        FeatureDataset.open(tmp_path / "data")


def test_a_failing_save_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(FeatureDataset, "card", lambda self: 1 / 0)
    with pytest.raises(ZeroDivisionError):
        FeatureDataset(**FULL).save(tmp_path / "data")
    assert list(tmp_path.iterdir()) == []


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
        ({"texts": ("one two", "\ud83d\ude00", "drei")}, "text 1 holds half of a surrogate pair at character 0"),
        ({"aggregation": "sum"}, "the aggregation is 'sum'; give 'none', 'mean' or 'max'"),
        ({"provenance": {"revision": 1}}, "the provenance 'revision' is 1; give strings"),
        ({"values": {"a": np.ones(4)}}, "'a' has both labels and values"),
        ({"values": {"v": np.ones(3)}}, "'v' has 3 values for 4 rows"),
        ({"values": {"v": np.ones(4)}}, "needs both labels and a rule, and v has only one"),
        ({"values": {"v": np.array([1, np.inf, 1, 1])}}, "the values of 'v' are infinite in row 1"),
        ({"values": {"v": np.array(["1"] * 4)}}, "the values of 'v' must be one-dimensional numbers, not <U1"),
        ({key: np.array([], dtype=int) for key in ("text", "start", "end", "group")}, "has no rows"),
    ],
)
def test_what_is_wrong_is_named(changes: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        FeatureDataset(**{**GOOD, **changes})
