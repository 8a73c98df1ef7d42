"""A store of activations: what is written is read, damage is named, and one writer goes on where another stopped."""

from __future__ import annotations

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
from activation_examples import small_activations
from hypothesis import given
from hypothesis import strategies as st
from safetensors.numpy import load_file

from optprobe.activations import Activations, NeuronMatrix, join
from optprobe.activations.store.manifest import manifest_text
from optprobe.activations.store.shards import SHARD_ROWS
from optprobe.activations.store.writer import StoreWriter
from optprobe.errors import InputError, StoreDamaged

SHARDS = ["layer_1/000000.safetensors", "layer_4/000002.safetensors"]


@pytest.fixture(scope="module")
def made() -> Activations:
    """Activations of three shards, the last one short; layer 1 in float16."""
    made = small_activations(n_rows=2 * SHARD_ROWS + 100)
    low = NeuronMatrix.of(np.asarray(made.matrices[1]).astype(np.float16))
    manifest = {**made.manifest, "values": ["float16", "float32"]}
    return replace(made, manifest=MappingProxyType(manifest), matrices={**made.matrices, 1: low})


@pytest.fixture
def folder(made: Activations, tmp_path: Path) -> Path:
    """The same as a store."""
    made.save(tmp_path / "store")
    return tmp_path / "store"


def assert_same(one: Activations, other: Activations) -> None:
    assert one.layers == other.layers
    for key, array in one.row_arrays().items():
        np.testing.assert_array_equal(array, other.row_arrays()[key])
    for layer in one.layers:
        assert one.matrices[layer].dtype == other.matrices[layer].dtype
        np.testing.assert_array_equal(one.matrices[layer], other.matrices[layer])


def flip(path: Path, place: int) -> None:
    content = bytearray(path.read_bytes())
    content[place] ^= 1
    path.write_bytes(content)


def test_what_is_saved_is_opened(made: Activations, folder: Path) -> None:
    opened = Activations.open(folder, check_digests=True)
    assert [p.name for p in folder.parent.iterdir()] == ["store"]
    assert sorted(str(p.relative_to(folder)) for p in folder.rglob("*") if p.is_file()) == [
        *(f"layer_{layer}/00000{shard}.safetensors" for layer in (1, 4) for shard in range(3)),
        "manifest.json",
        "rows.safetensors",
    ]
    assert_same(opened, made)
    assert not any(part.flags.writeable for part in opened.matrices[1].parts)


def test_shards_are_safetensors_with_a_page_for_each_neuron(made: Activations, folder: Path) -> None:
    path = folder / SHARDS[0]
    tensors = load_file(path)
    np.testing.assert_array_equal(tensors["neurons"], np.asarray(made.matrices[1])[:SHARD_ROWS].T)
    assert path.stat().st_size == 4096 + 6 * 4096


@given(st.data())
def test_rows_and_columns_are_those_of_the_whole(data: st.DataObject) -> None:
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    parts = tuple(
        rng.normal(size=(5, n)).astype(np.float32) for n in data.draw(st.lists(st.integers(1, 6), min_size=1))
    )
    matrix, whole = NeuronMatrix(parts), np.concatenate(parts, axis=1).T
    assert matrix.shape == whole.shape
    rows = data.draw(st.lists(st.integers(0, len(whole) - 1)) | st.just(list(range(len(whole)))))
    np.testing.assert_array_equal(matrix.rows(rows), whole[np.array(rows, dtype=int)])
    columns = data.draw(st.lists(st.integers(0, 4)))
    np.testing.assert_array_equal(matrix.columns(columns), whole[:, np.array(columns, dtype=int)])


def test_labels_keep_their_features_whatever_their_order(tmp_path: Path) -> None:
    saved = small_activations()
    replace(saved, labels=dict(reversed(saved.labels.items()))).save(tmp_path / "store")
    opened = Activations.open(tmp_path / "store")
    for feature in saved.features:
        np.testing.assert_array_equal(opened.labels[feature], saved.labels[feature])


def test_a_copy_of_an_opened_store_has_the_same_digests(tmp_path: Path) -> None:
    small_activations().save(tmp_path / "one")
    Activations.open(tmp_path / "one").save(tmp_path / "two")
    one, two = (json.loads((tmp_path / name / "manifest.json").read_text())["digests"] for name in ("one", "two"))
    assert one == two


def test_select_gives_the_rows_of_one_feature(tmp_path: Path) -> None:
    store = small_activations()
    values, labels, group = store.select("rare", 4)
    rows = np.flatnonzero(store.labels["rare"])
    np.testing.assert_array_equal(values, np.asarray(store.matrices[4])[rows])
    np.testing.assert_array_equal(labels, store.labels["rare"][rows])
    np.testing.assert_array_equal(group, store.group[rows])
    with pytest.raises(InputError, match="no feature 'odd' among these activations, only even, rare"):
        store.select("odd", 4)
    with pytest.raises(InputError, match="no layer 2 among these activations, only 1, 4"):
        store.select("rare", 2)


@pytest.mark.parametrize("name", [*SHARDS, "rows.safetensors"])
def test_missing_truncated_and_altered_files_are_damage(folder: Path, name: str) -> None:
    whole = (folder / name).read_bytes()
    (folder / name).unlink()
    with pytest.raises(StoreDamaged, match=f"{name} is missing"):
        Activations.open(folder)
    (folder / name).write_bytes(whole[:-8])
    with pytest.raises(StoreDamaged, match=f"{name} (has {len(whole) - 8} bytes instead|was altered)"):
        Activations.open(folder)
    for place in (0, 40, len(whole) // 2, len(whole) - 1):
        (folder / name).write_bytes(whole)
        flip(folder / name, place)
        with pytest.raises(StoreDamaged, match=f"{name} was altered"):
            Activations.open(folder, check_digests=True)


def test_two_shards_that_changed_places_are_damage(folder: Path) -> None:
    one, two = folder / "layer_4/000000.safetensors", folder / "layer_4/000001.safetensors"
    first, second = one.read_bytes(), two.read_bytes()
    one.write_bytes(second)
    two.write_bytes(first)
    with pytest.raises(StoreDamaged, match=r"000000\.safetensors was altered"):
        Activations.open(folder)


def test_only_the_layers_asked_for_are_checked(folder: Path) -> None:
    flip(folder / SHARDS[1], -1)
    opened = Activations.open(folder)
    opened.check([1])
    with pytest.raises(StoreDamaged, match="000002"):
        opened.check([4])


def test_files_that_do_not_fit_the_manifest_are_damage(folder: Path) -> None:
    manifest = json.loads((folder / "manifest.json").read_text())

    def write(**changes: object) -> None:
        (folder / "manifest.json").write_text(json.dumps({**manifest, **changes}))

    for change, sentence in (
        ({"d_mlp": [6, 8]}, "layer_4/000000.safetensors has"),
        ({"n_rows": 39}, "'row' is not int32 of shape"),
        ({"digests": {}}, "rows.safetensors was altered"),
        ({"digests": {"rows.safetensors": manifest["digests"]["rows.safetensors"]}}, "does not list"),
        ({"layers": ["../1", 4]}, "not whole numbers"),
        ({"values": ["float16", "object"]}, "its shards are not of"),
        ({"shard_rows": 7}, "its shards are not of"),
        ({"n_rows": None}, "no valid entry 'n_rows'"),
    ):
        write(**change)
        with pytest.raises(StoreDamaged, match=sentence):
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


def pieces(store: Activations, layer: int, step: int, start: int = 0) -> Iterator[tuple[int, Any]]:
    """Yield a layer's values as a writer takes them, `step` rows at a time."""
    whole = np.asarray(store.matrices[layer])
    for at in range(start, len(whole), step):
        yield at, whole[at : at + step]


@pytest.mark.parametrize("step", [100, SHARD_ROWS, 3000, 10_000])
def test_shards_do_not_depend_on_the_pieces_they_came_in(made: Activations, tmp_path: Path, step: int) -> None:
    with StoreWriter(tmp_path / "s", made.manifest, made.row_arrays()) as writer:
        for layer in made.layers:
            for start, values in pieces(made, layer, step):
                writer.add(layer, start, values)
        writer.finish()
    assert_same(Activations.open(tmp_path / "s", check_digests=True), made)


def test_a_writer_goes_on_after_the_whole_shards(made: Activations, tmp_path: Path) -> None:
    def writer() -> StoreWriter:
        return StoreWriter(tmp_path / "s", made.manifest, made.row_arrays())

    with writer() as first:
        assert first.missing() == {1: [0, 1, 2], 4: [0, 1, 2]}
        for start, values in list(pieces(made, 1, 3000))[:1]:
            first.add(1, start, values)
        assert first.missing() == {1: [1, 2], 4: [0, 1, 2]}
        with pytest.raises(InputError, match="lacks 5 shards"):
            first.finish()
    with pytest.raises(InputError, match="is not finished; run the same extraction to it again"):
        Activations.open(tmp_path / "s")
    with writer() as second:
        assert second.missing() == {1: [1, 2], 4: [0, 1, 2]}
        for start, values in pieces(made, 1, 500, start=1500):
            second.add(1, start, values)
        for start, values in pieces(made, 4, 500):
            second.add(4, start, values)
        second.finish()
    assert_same(Activations.open(tmp_path / "s", check_digests=True), made)


@pytest.mark.parametrize("name", [*SHARDS, "rows.safetensors"])
@pytest.mark.parametrize("place", [0, 60, 4090, -1])
def test_a_flipped_byte_is_found_and_written_again(made: Activations, folder: Path, name: str, place: int) -> None:
    flip(folder / name, place)
    with pytest.raises(StoreDamaged, match=f"{name} was altered"):
        Activations.open(folder, check_digests=True)
    with StoreWriter(folder, made.manifest, made.row_arrays()) as writer:
        for layer, shards in writer.missing().items():
            assert f"layer_{layer}/{shards[0]:06d}.safetensors" == name
            for start, values in pieces(made, layer, SHARD_ROWS):
                writer.add(layer, start, values)
        writer.finish()
    assert_same(Activations.open(folder, check_digests=True), made)


def test_a_store_of_something_else_is_not_gone_on_with(made: Activations, folder: Path) -> None:
    other = {**made.manifest, "revision": "a" * 40}
    with (
        pytest.raises(InputError, match=r"holds an extraction of something else: revision is None there and 'aaaa"),
        StoreWriter(folder, other, made.row_arrays()),
    ):
        pass
    (folder.parent / "mine").mkdir()
    (folder.parent / "mine" / "thesis.txt").write_text("years of work")
    with (
        pytest.raises(InputError, match="is not a store of activations and not empty"),
        StoreWriter(folder.parent / "mine", made.manifest, made.row_arrays()),
    ):
        pass
    assert [p.name for p in (folder.parent / "mine").iterdir()] == ["thesis.txt"]


def test_a_second_writer_is_refused_while_the_first_is_there(made: Activations, tmp_path: Path) -> None:
    def writer() -> StoreWriter:
        return StoreWriter(tmp_path / "s", made.manifest, made.row_arrays())

    with writer(), pytest.raises(InputError, match="another process is writing to"), writer():
        pass
    with writer() as third:
        assert third.missing()


def test_parts_join_to_the_whole(made: Activations, folder: Path, tmp_path: Path) -> None:
    parts = [tmp_path / f"part{i}" for i in (1, 2)]
    for i, part in enumerate(parts, 1):
        with StoreWriter(part, {**made.manifest, "part": [i, 2]}, made.row_arrays()) as writer:
            for layer, shards in writer.missing().items():
                for start, values in pieces(made, layer, SHARD_ROWS):
                    if start // SHARD_ROWS in shards:
                        writer.add(layer, start, values)
            writer.finish()
        with pytest.raises(InputError, match=f"is part {i} of 2 of a store; join it"):
            Activations.open(part)
    assert_same(join(parts[::-1], tmp_path / "joined"), made)
    one, two = (json.loads((f / "manifest.json").read_text()) for f in (folder, tmp_path / "joined"))
    assert one == two
    for bad, sentence in (
        (parts[:1], "the store has 2 parts, and part 2 is missing"),
        ([*parts, shutil.copytree(parts[0], tmp_path / "copy")], "the store has 2 parts, and one is there twice"),
        ([folder], "is no finished part of a store"),
        ([], "there is no part to join"),
    ):
        with pytest.raises(InputError, match=sentence):
            join(bad, tmp_path / "again")
    manifest = json.loads((parts[1] / "manifest.json").read_text())
    (parts[1] / "manifest.json").write_text(manifest_text({**manifest, "dtype": "bfloat16"}))
    with pytest.raises(InputError, match=r"does not belong to .*: dtype is None there and 'bfloat16' here"):
        join(parts, tmp_path / "again")
    (parts[1] / "manifest.json").write_text(manifest_text(manifest))
    flip(parts[1] / SHARDS[1], -1)
    with pytest.raises(StoreDamaged, match="was altered"):
        join(parts, tmp_path / "again")
    assert not (tmp_path / "again").exists()


def test_a_full_disk_is_one_sentence(made: Activations, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    with StoreWriter(tmp_path / "s", made.manifest, made.row_arrays()) as writer:
        (start, values), *_ = pieces(made, 1, SHARD_ROWS)
        monkeypatch.setattr("os.fsync", lambda _: (_ for _ in ()).throw(OSError(28, "No space left on device")))
        writer.add(1, start, values)
        with pytest.raises(InputError, match=r"000000\.safetensors cannot be written: No space left on device"):
            writer.missing()
        monkeypatch.undo()
        assert not list((tmp_path / "s").rglob("*.part"))
