"""A store of activations: what is written is read, whole or not at all."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from activation_examples import small_activations

from optprobe.activations import Activations
from optprobe.activations.store import StoreWriter
from optprobe.errors import InputError, StoreDamaged


def test_what_is_saved_is_opened(tmp_path: Path) -> None:
    saved = small_activations()
    saved.save(tmp_path / "store")
    opened = Activations.open(tmp_path / "store", check_digests=True)
    assert [p.name for p in tmp_path.iterdir()] == ["store"]
    assert sorted(p.name for p in (tmp_path / "store").iterdir()) == [
        "layer_1.npy",
        "layer_4.npy",
        "manifest.json",
        "rows.npz",
    ]
    assert opened.layers == (1, 4)
    assert opened.features == ("even", "rare")
    for key in ("text", "start", "end", "token", "group"):
        np.testing.assert_array_equal(getattr(opened, key), getattr(saved, key))
    for feature in saved.features:
        np.testing.assert_array_equal(opened.labels[feature], saved.labels[feature])
    for layer in saved.layers:
        np.testing.assert_array_equal(opened.matrices[layer], saved.matrices[layer])
        assert not opened.matrices[layer].flags.writeable


def test_labels_keep_their_features_whatever_their_order(tmp_path: Path) -> None:
    saved = small_activations()
    replace(saved, labels=dict(reversed(saved.labels.items()))).save(tmp_path / "store")
    opened = Activations.open(tmp_path / "store")
    for feature in saved.features:
        np.testing.assert_array_equal(opened.labels[feature], saved.labels[feature])


def test_a_copy_of_an_opened_store_has_the_same_digests(tmp_path: Path) -> None:
    small_activations().save(tmp_path / "one")
    Activations.open(tmp_path / "one").save(tmp_path / "two")
    one, two = (json.loads((tmp_path / name / "manifest.json").read_text())["files"] for name in ("one", "two"))
    assert one == two


def test_select_gives_the_rows_of_one_feature(tmp_path: Path) -> None:
    store = small_activations()
    values, labels, group = store.select("rare", 4)
    rows = np.flatnonzero(store.labels["rare"])
    np.testing.assert_array_equal(values, store.matrices[4][rows])
    np.testing.assert_array_equal(labels, store.labels["rare"][rows])
    np.testing.assert_array_equal(group, store.group[rows])
    with pytest.raises(InputError, match="no feature 'odd' among these activations, only even, rare"):
        store.select("odd", 4)
    with pytest.raises(InputError, match="no layer 2 among these activations, only 1, 4"):
        store.select("rare", 2)


@pytest.mark.parametrize("name", ["layer_4.npy", "rows.npz"])
def test_missing_truncated_and_altered_files_are_damage(tmp_path: Path, name: str) -> None:
    folder = tmp_path / "store"
    small_activations().save(folder)
    whole = (folder / name).read_bytes()
    (folder / name).unlink()
    with pytest.raises(StoreDamaged, match=f"{name} is missing"):
        Activations.open(folder)
    (folder / name).write_bytes(whole[:-8])
    with pytest.raises(StoreDamaged, match=f"{name} has {len(whole) - 8} bytes instead of {len(whole)}"):
        Activations.open(folder)
    middle = len(whole) // 2
    (folder / name).write_bytes(whole[:middle] + bytes([whole[middle] ^ 1]) + whole[middle + 1 :])
    with pytest.raises(StoreDamaged, match="was altered: its sha256"):
        Activations.open(folder, check_digests=True)


def test_files_that_do_not_fit_the_manifest_are_damage(tmp_path: Path) -> None:
    folder = tmp_path / "store"
    small_activations().save(folder)
    manifest = json.loads((folder / "manifest.json").read_text())

    def write(**changes: object) -> None:
        (folder / "manifest.json").write_text(json.dumps({**manifest, **changes}))

    write(d_mlp=[6, 8])
    with pytest.raises(StoreDamaged, match=r"layer_4\.npy holds float32 of shape \(40, 9\), and the manifest says"):
        Activations.open(folder)
    write(n_rows=39)
    with pytest.raises(StoreDamaged, match=r"'text' is int32 of shape \(40,\)"):
        Activations.open(folder)
    write(files={})
    with pytest.raises(StoreDamaged, match=r"does not list rows\.npz"):
        Activations.open(folder)
    write(layers=["../1", 4])
    with pytest.raises(StoreDamaged, match="not whole numbers"):
        Activations.open(folder)
    write(n_rows=None)
    with pytest.raises(StoreDamaged, match="no valid entry 'n_rows'"):
        Activations.open(folder)
    write(format="optprobe-activations/9")
    with pytest.raises(InputError, match="has the format 'optprobe-activations/9'"):
        Activations.open(folder)
    (folder / "manifest.json").write_text("{")
    with pytest.raises(StoreDamaged, match="cannot be read as JSON"):
        Activations.open(folder)


def test_a_folder_that_is_no_store_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no folder"):
        Activations.open(tmp_path / "nothing")
    with pytest.raises(InputError, match=r"is not a store of activations: it has no manifest\.json"):
        Activations.open(tmp_path)


def test_nothing_is_overwritten(tmp_path: Path) -> None:
    (tmp_path / "store").mkdir()
    with pytest.raises(InputError, match="exists already; remove it or give another name"):
        small_activations().save(tmp_path / "store")
    assert list((tmp_path / "store").iterdir()) == []
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be made"):
        small_activations().save(tmp_path / "file" / "store")


def test_a_writer_left_early_removes_what_it_wrote(tmp_path: Path) -> None:
    with StoreWriter(tmp_path / "store") as writer:
        writer.matrix(0, 5, 3)[:] = 1
        (temporary,) = tmp_path.iterdir()
        assert temporary.name != "store"
        assert [p.name for p in temporary.iterdir()] == ["layer_0.npy"]
    assert list(tmp_path.iterdir()) == []
