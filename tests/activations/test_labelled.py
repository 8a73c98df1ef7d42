"""Labelled matrices: what a file may hold, and the sentence for each thing it may not."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from activation_examples import small_activations

from optprobe.activations import LabelledActivations, load_labelled
from optprobe.errors import InputError

RNG = np.random.default_rng(0)
X = RNG.normal(size=(8, 3))
Y = np.array([0, 1, 0, 1, 1, 0, 1, 0])


def write(folder: Path, **arrays: Any) -> Path:
    """Write an `.npz` of a good matrix, changed as told; None leaves an array out."""
    path = folder / "data.npz"
    merged = {"X_train": X, "y_train": Y, **arrays}
    np.savez(path, **{name: np.asarray(a) for name, a in merged.items() if a is not None})
    return path


def test_a_plain_file_gives_its_matrix_and_signs(tmp_path: Path) -> None:
    found = load_labelled(write(tmp_path))
    assert isinstance(found, LabelledActivations)
    np.testing.assert_array_equal(found.X_train, X)
    np.testing.assert_array_equal(found.y_train, np.where(Y == 1, 1.0, -1.0))
    assert found.y_train.dtype == np.float64
    assert found.w_train is found.group_train is found.X_test is found.y_test is found.group_test is None
    assert dict(found.scope) == {"file": "data.npz"}
    assert "8 training rows (50% positive) of 3 neurons, no test rows" in repr(found)


def test_every_array_is_read(tmp_path: Path) -> None:
    path = write(
        tmp_path,
        y_train=np.where(Y == 1, 7.5, 2.5),
        sample_weight=np.arange(1, 9),
        group_train=np.arange(8),
        X_test=X[:2],
        y_test=[7.5, 7.5],
        group_test=[1, 2],
        feature="is_french",
        layer=3,
        remark="not read",
    )
    found = load_labelled(path, feature="is_french")
    np.testing.assert_array_equal(found.y_train, np.where(Y == 1, 1.0, -1.0))
    np.testing.assert_array_equal(found.y_test, [1, 1])
    np.testing.assert_array_equal(found.w_train, np.arange(1, 9))
    np.testing.assert_array_equal(found.group_test, [1, 2])
    assert dict(found.scope) == {"file": "data.npz", "feature": "is_french", "layer": 3}


@pytest.mark.parametrize(
    ("stored", "given"),
    [(np.float16, np.float16), (np.float32, np.float32), (np.float64, np.float64), (np.int8, np.float64)],
)
def test_matrices_keep_their_type_and_whole_numbers_become_float64(
    tmp_path: Path, stored: type[np.generic], given: type[np.generic]
) -> None:
    assert load_labelled(write(tmp_path, X_train=(10 * X).astype(stored))).X_train.dtype == given


def test_the_arguments_name_what_the_file_does_not(tmp_path: Path) -> None:
    assert dict(load_labelled(write(tmp_path), "is_code", 2).scope) == {
        "file": "data.npz",
        "feature": "is_code",
        "layer": 2,
    }


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no labels": ({"y_train": None}, "has no array 'y_train'; it has X_train"),
    "no arrays known": ({"X_train": None, "y_train": None, "A": X}, "has no array 'X_train'; it has A"),
    "test matrix alone": ({"X_test": X}, "has 'X_test' alone"),
    "text": ({"X_train": [["a", "b"]] * 8}, "'X_train' holds text; store numbers"),
    "complex": ({"X_train": X + 1j}, "'X_train' holds complex128; store numbers"),
    "text labels": ({"y_train": ["yes", "no"] * 4}, "'y_train' holds text"),
    "objects": ({"X_train": np.array([[None]])}, "'X_train' holds Python objects; store an array of numbers"),
    "vector": ({"X_train": X[:, 0]}, r"'X_train' has the shape \(8,\); it needs rows and columns"),
    "label matrix": ({"y_train": Y[:, None]}, r"'y_train' has the shape \(8, 1\); it needs one entry a row"),
    "empty": ({"X_train": X[:0], "y_train": Y[:0]}, r"'X_train' has the shape \(0, 3\)"),
    "short labels": ({"y_train": Y[:7]}, "'y_train' has 7 rows and X_train has 8"),
    "short test": ({"X_test": X, "y_test": Y[:3]}, "'y_test' has 3 rows and X_test has 8"),
    "columns": ({"X_test": X[:, :2], "y_test": Y}, "X_test has 2 columns and X_train has 3"),
    "nan": ({"X_train": np.where(np.arange(24).reshape(8, 3) == 7, np.nan, X)}, "is nan in row 2, column 1"),
    "infinite label": ({"y_train": [0, 1, np.inf, 0, 1, 1, 0, 0]}, "'y_train' is inf in row 2;"),
    "three labels": ({"y_train": [0, 1, 2, 0, 1, 1, 0, 0]}, r"has 3 values \(0, 1, 2\); a feature needs exactly two"),
    "one label": ({"y_train": np.ones(8)}, r"has one class \(1\.0\)"),
    "new test label": ({"X_test": X, "y_test": Y + 1}, r"'y_test' has the label 2 in row 1; y_train has \[0, 1\]"),
    "weight": ({"sample_weight": [1, 1, 1, 0, 1, 1, 1, 1]}, "sample_weight is 0.0 in row 3; weights are positive"),
    "group": ({"group_train": [0, 1, 2.5, 3, 4, 5, 6, 7]}, "'group_train' is 2.5 in row 2; groups are whole numbers"),
    "feature": ({"feature": ["a", "b"]}, "'feature' must be a single string"),
    "layer": ({"layer": 1.5}, "'layer' must be a single whole number"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_array_is_named(tmp_path: Path, case: str) -> None:
    arrays, sentence = BAD[case]
    with pytest.raises(InputError, match=sentence) as caught:
        load_labelled(write(tmp_path, **arrays))
    assert "data.npz" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_a_contradiction_of_file_and_argument_is_refused(tmp_path: Path) -> None:
    path = write(tmp_path, feature="is_french", layer=3)
    with pytest.raises(InputError, match="holds the feature 'is_french', not 'is_code'"):
        load_labelled(path, feature="is_code")
    with pytest.raises(InputError, match="holds the layer 3, not 1"):
        load_labelled(path, layer=1)


def test_files_that_are_no_npz_are_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no file"):
        load_labelled(tmp_path / "nothing.npz")
    path = write(tmp_path)
    whole = path.read_bytes()
    path.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"is not an \.npz file, or it is truncated"):
        load_labelled(path)
    path.write_bytes(b"X_train,y_train\n")
    with pytest.raises(InputError, match=r"is not an \.npz file"):
        load_labelled(path)
    np.savez_compressed(path, X_train=X, y_train=Y)
    whole = path.read_bytes()
    path.write_bytes(whole[:60] + bytes(40) + whole[100:])
    with pytest.raises(InputError, match="cannot be read"):
        load_labelled(path)


def test_a_store_gives_one_feature_and_layer_split_by_document(tmp_path: Path) -> None:
    store = small_activations(n_rows=120)
    store.save(tmp_path / "store")
    found = load_labelled(tmp_path / "store", "even", 4, test_share=0.25, seed=3)
    assert found.X_train.dtype == np.float32
    assert not isinstance(found.X_train, np.memmap)
    assert found.group_train is not None
    assert found.group_test is not None
    assert found.X_test is not None
    assert not set(found.group_train) & set(found.group_test)
    assert len(found.X_train) + len(found.X_test) == 120
    assert abs(len(found.X_test) - 30) <= 4
    rows = np.concatenate([found.X_train, found.X_test])
    np.testing.assert_array_equal(np.sort(rows[:, 0]), np.sort(np.asarray(store.matrices[4])[:, 0]))
    assert dict(found.scope) == {
        "model": "tiny",
        "revision": None,
        "layer": 4,
        "hook": "mlp.post",
        "feature": "even",
        "dataset": "numbers",
        "dataset_digest": "0" * 64,
        "split": {"seed": 3, "test_share": 0.25},
    }


def test_a_store_with_several_features_or_layers_needs_the_choice(tmp_path: Path) -> None:
    small_activations().save(tmp_path / "store")
    with pytest.raises(InputError, match="holds several features; give one of even, rare"):
        load_labelled(tmp_path / "store", layer=1)
    with pytest.raises(InputError, match="holds several layers; give one of 1, 4"):
        load_labelled(tmp_path / "store", "even")
    with pytest.raises(InputError, match="no feature 'odd'"):
        load_labelled(tmp_path / "store", "odd", 1)
    with pytest.raises(InputError, match="no layer 7"):
        load_labelled(tmp_path / "store", "even", 7)
