"""Targets beside labels: from a dataset through an extraction to a store, its rows, and a problem about them."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from activation_examples import small_activations, tiny_model, words_dataset

import optprobe as op
from optprobe.activations import Activations, activations_of, extract, join, load_labelled, prepare
from optprobe.errors import InputError, StoreDamaged
from optprobe.features import FeatureDataset, align_rows

RNG = np.random.default_rng(5)
X = RNG.standard_normal((60, 5)).astype(np.float32)
LENGTH = 3.0 * X[:, 2] + RNG.standard_normal(60) + 100
LENGTH[::7] = np.nan
GROUP = np.arange(60) // 3
Y = np.where(X[:, 0] > 0, 1, -1)


def with_targets(data: FeatureDataset) -> FeatureDataset:
    """The words with their lengths in characters, of which every fifth row has none, and their starts."""
    length = (data.end - data.start).astype(float)
    length[::5] = np.nan
    values = {"length": length, "start": data.start.astype(float)}
    return replace(data, values=values, rules={**data.rules, "length": "characters", "start": "from 0"})


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@pytest.mark.parametrize("token", ["last", "every"])
def test_an_extraction_keeps_the_targets_of_its_rows(token: Any, tokenizer: Any, tmp_path: Path) -> None:
    data = with_targets(words_dataset())
    kept = extract(tiny_model("gpt_neox"), data, [1], tokenizer=tokenizer, token=token)
    stored = extract(tiny_model("gpt_neox"), data, [1], tmp_path / "acts", tokenizer=tokenizer, token=token)
    aligned = align_rows(data, tokenizer, which=token)
    for found in (kept, stored, Activations.open(tmp_path / "acts", check_digests=True)):
        assert found.manifest["targets"] == {"length": "characters", "start": "from 0"}
        for name, values in data.values.items():
            np.testing.assert_array_equal(found.targets[name], values[aligned.row])
        assert "1 features, 2 targets" in repr(found)
    rows, t, _ = stored.select("length", 1)
    assert len(rows) == len(t) == np.count_nonzero(~np.isnan(data.values["length"][aligned.row]))


def test_a_dataset_of_targets_alone_is_extracted_interrupted_divided_and_copied(tokenizer: Any, tmp_path: Path) -> None:
    data = with_targets(words_dataset(every=2))
    data = replace(data, labels={}, rules={name: data.rules[name] for name in data.targets})
    whole = extract(tiny_model("gpt_neox"), data, [0], tmp_path / "whole", tokenizer=tokenizer, batch_tokens=16)
    assert whole.features == ()

    def interrupt(moment: Any) -> None:
        raise KeyboardInterrupt

    again = prepare(tiny_model("gpt_neox"), data, [0], tokenizer=tokenizer, batch_tokens=16, progress=interrupt)
    with pytest.raises(KeyboardInterrupt):
        again.to_store(tmp_path / "again")
    replace(again, progress=None).to_store(tmp_path / "again")
    for part in (1, 2):
        replace(again, progress=None).to_part(tmp_path / str(part), part, 2)
    join([tmp_path / "1", tmp_path / "2"], tmp_path / "joined")
    whole.save(tmp_path / "copy")
    expected = content(tmp_path / "whole")
    assert content(tmp_path / "again") == content(tmp_path / "joined") == expected
    copy = Activations.open(tmp_path / "copy")
    assert copy.manifest["digests"] == whole.manifest["digests"]


def test_other_targets_are_another_extraction(tokenizer: Any, tmp_path: Path) -> None:
    data = with_targets(words_dataset())
    extract(tiny_model("gpt_neox"), data, [0], tmp_path / "acts", tokenizer=tokenizer)
    changed = replace(data, values={**data.values, "length": data.values["length"] + 1})
    with pytest.raises(InputError, match=r"holds an extraction of something else: dataset\.digest"):
        extract(tiny_model("gpt_neox"), changed, [0], tmp_path / "acts", tokenizer=tokenizer)


def test_stores_without_targets_say_nothing_of_them(tmp_path: Path) -> None:
    small_activations().save(tmp_path / "store")
    assert b"targets" not in b"".join(content(tmp_path / "store").values())
    assert dict(Activations.open(tmp_path / "store").targets) == {}


def test_an_altered_target_is_noticed(tmp_path: Path) -> None:
    activations_of(X, {}, GROUP, targets={"length": LENGTH}).save(tmp_path / "store")
    path = tmp_path / "store" / "rows.safetensors"
    path.write_bytes(path.read_bytes()[:-1] + b"\x01")
    with pytest.raises(StoreDamaged, match="was altered"):
        Activations.open(tmp_path / "store")
    manifest = tmp_path / "store" / "manifest.json"
    told = json.loads(manifest.read_text())
    activations_of(X, {}, GROUP, targets={"length": LENGTH}).save(tmp_path / "other")
    (tmp_path / "other" / "manifest.json").write_text(json.dumps({**told, "targets": {"length": "", "more": ""}}))
    with pytest.raises(StoreDamaged, match=r"'targets' is not float64 of shape \(2, 60\)"):
        Activations.open(tmp_path / "other")


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"targets": 3}, "'targets' are no names with rules"),
        ({"targets": ["length"]}, "'targets' are no names with rules"),
        ({"targets": {"red": ""}}, "other than those of features"),
        ({"heads": [4, 4]}, r"says 'heads' \[4, 4\], and not how many each of its layers has"),
        ({"heads": ["4"]}, "not how many each of its layers has"),
        ({"heads": 4}, "not how many each of its layers has"),
    ],
)
def test_a_manifest_that_says_something_else_is_damaged(change: Any, sentence: str, tmp_path: Path) -> None:
    activations_of(X, {"red": Y}, GROUP, targets={"length": LENGTH}).save(tmp_path / "store")
    manifest = tmp_path / "store" / "manifest.json"
    manifest.write_text(json.dumps({**json.loads(manifest.read_text()), **change}))
    with pytest.raises(StoreDamaged, match=sentence):
        load_labelled(tmp_path / "store", "length")


def test_rows_of_a_target_are_split_by_document_without_classes() -> None:
    made = activations_of(X, {"red": Y}, GROUP, targets={"length": LENGTH})
    found = load_labelled(made, "length")
    used = ~np.isnan(LENGTH)
    assert found.of_target
    assert found.group_train is not None
    assert found.group_test is not None
    assert found.y_test is not None
    assert not set(found.group_train) & set(found.group_test)
    assert sorted([*found.y_train, *found.y_test]) == sorted(LENGTH[used])
    assert abs(len(found.y_test) / used.sum() - 0.3) < 0.05
    assert "training rows with targets of 5 neurons" in repr(found)
    assert found.scope["feature"] == "length"
    with pytest.raises(InputError, match="several features; give one of red, length"):
        load_labelled(made)
    with pytest.raises(InputError, match="no feature 'width' among these activations, only red, length"):
        load_labelled(made, "width")
    with pytest.raises(InputError, match="rows of at least two documents, and these are of 1"):
        load_labelled(activations_of(X, {}, np.zeros(60, dtype=int), targets={"length": LENGTH}))


def test_the_problem_of_a_target_is_that_of_its_training_rows() -> None:
    made = activations_of(X, {"red": Y}, GROUP, targets={"length": LENGTH, "same": np.full(60, 3)})
    parts = load_labelled(made, "length")
    stated = op.problem(made, 1, feature="length")
    assert stated.loss.name == "squared"
    np.testing.assert_array_equal(stated.targets, parts.y_train)
    direct = op.sparse_probe_problem(parts.X_train, targets=parts.y_train, k=1)
    assert op.solve(stated).upper_bound == op.solve(direct).upper_bound
    assert op.solve(stated).support == (2,)
    with pytest.raises(InputError, match="the hinge loss is for labels: use squared"):
        op.problem(made, 1, feature="length", loss="hinge")
    with pytest.raises(InputError, match="every target is 3, where rows have a weight"):
        op.problem(made, 1, feature="same")
    each = op.solve_each(activations_of(X, {}, GROUP, targets={"length": LENGTH, "twice": 2 * LENGTH}), 1)
    assert each["length"].support == each["twice"].support == (2,)


def test_an_npz_of_targets_is_read_as_it_was_saved(tmp_path: Path) -> None:
    made = activations_of(X, {}, GROUP, targets={"length": LENGTH})
    rows = load_labelled(made)
    found = load_labelled(rows.save(tmp_path / "rows.npz"))
    assert found.of_target
    np.testing.assert_array_equal(found.y_train, rows.y_train)
    np.testing.assert_array_equal(found.y_test, rows.y_test)
    assert (found.scope["feature"], found.scope["layer"]) == ("length", 0)
    with pytest.raises(InputError, match="holds the feature 'length', not 'width'"):
        load_labelled(tmp_path / "rows.npz", "width")
    path = tmp_path / "bad.npz"
    for arrays, sentence in (
        ({"feature": "red"}, "names a feature and a target"),
        ({"y_train": np.where(GROUP == 1, np.nan, LENGTH)}, "'y_train' is nan in row 0"),
        ({"y_train": LENGTH[1:5]}, "'y_train' has 4 rows and X_train has 60"),
        ({"target": ["a", "b"]}, "'feature' must be a single string"),
    ):
        np.savez(path, **{"X_train": X, "y_train": GROUP, "target": "length", **arrays})
        with pytest.raises(InputError, match=sentence):
            load_labelled(path)


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "a name twice": ({"red": LENGTH}, "'red' is a feature and a target; give them different names"),
    "short": ({"length": LENGTH[1:]}, r"'length' is float64 of shape \(59,\); give 60 numbers"),
    "a matrix": ({"length": LENGTH[:, None]}, r"of shape \(60, 1\)"),
    "text": ({"length": ["long"] * 60}, "'length' is <U4"),
    "infinite": ({"length": np.where(GROUP == 4, np.inf, 1.0)}, "'length' is infinite in row 12"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_targets_are_named(case: str) -> None:
    targets, sentence = BAD[case]
    with pytest.raises(InputError, match=sentence):
        activations_of(X, {"red": Y}, targets=targets)


def test_moments_of_a_store_without_features_are_refused(tmp_path: Path) -> None:
    made = activations_of(X, {}, GROUP, targets={"length": LENGTH})
    with pytest.raises(InputError, match="has targets and no features, and moments are of labels"):
        op.activations.accumulate(made, tmp_path / "moments")
    assert not (tmp_path / "moments").exists()
