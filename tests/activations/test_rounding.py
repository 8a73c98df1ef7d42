"""What float16 rounds away: never much of a neuron, or the layer is kept in float32, however the run was divided."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from activation_examples import TEXTS, small_activations, tiny_model, words_dataset
from hypothesis import given
from hypothesis import strategies as st

from optprobe.activations import Activations, extract, join, prepare
from optprobe.activations.extraction.rounding import COARSEST, FINEST, OVERFLOW, coarseness, rounded, rounded_array
from optprobe.activations.store.shards import SHARD_ROWS
from optprobe.activations.store.writer import StoreWriter
from optprobe.errors import InputError
from optprobe.features import FeatureDataset


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


@given(st.lists(st.floats(-65_000, 65_000, width=32), min_size=1, max_size=50))
def test_rounding_goes_to_the_nearest_number_and_keeps_what_is_not_zero(numbers: list[float]) -> None:
    values = np.array(numbers, dtype=np.float32)
    kept = rounded_array(values)
    np.testing.assert_array_equal(rounded(torch.from_numpy(values), "float16").numpy(), kept)
    np.testing.assert_array_equal(kept == 0, values == 0)
    np.testing.assert_array_equal(np.sign(kept), np.sign(values))
    nearest = values.astype(np.float16)
    np.testing.assert_array_equal(kept[nearest != 0], nearest[nearest != 0])
    assert np.all(np.abs(kept) >= np.where(values == 0, 0, FINEST))


@given(st.lists(st.floats(-60_000, 60_000, width=32), min_size=2, max_size=50), st.sampled_from([1.0, 1e-4, 1e-7]))
def test_what_may_be_kept_is_rounded_by_a_hundredth_of_its_deviation_at_most(numbers: list[float], unit: float) -> None:
    values = np.array(numbers, dtype=np.float32) * np.float32(unit)
    kept = rounded_array(values)
    error = np.sqrt(np.square(kept.astype(float) - values).mean())
    if coarseness([kept[None]]) is None:
        assert error <= COARSEST * kept.astype(float).std() * (1 + 1e-9)
    else:
        assert kept.any()


@pytest.mark.parametrize(
    ("mean", "deviation", "sentence"),
    [
        (0.0, 1.0, None),
        (1.0, 1.0, None),
        (3000.0, 0.4, r"round neuron 1 by \d+\.\d% of its deviation"),
        (0.0, 1e-7, r"round neuron 1 by \d+\.\d% of its deviation"),
        (0.0, 1e-9, r"round neuron 1 by \d+\.\d% of its deviation"),
        (3000.0, 1e-3, "make neuron 1 a constant"),
        (1e5, 1.0, OVERFLOW),
        (0.0, 0.0, None),
    ],
)
def test_a_neuron_that_float16_cannot_hold_is_named(mean: float, deviation: float, sentence: str | None) -> None:
    rng = np.random.default_rng(0)
    values = np.stack([rng.normal(size=500), mean + deviation * rng.normal(size=500)]).astype(np.float32)
    found = coarseness([rounded_array(values)])
    if sentence is None:
        assert found is None
    else:
        with pytest.raises(AssertionError, match=sentence):
            raise AssertionError(found)


@given(st.integers(0, 999), st.floats(0, 300), st.integers(1, 4))
def test_parts_that_are_fine_are_fine_together_in_any_cut(seed: int, mean: float, n_parts: int) -> None:
    rng = np.random.default_rng(seed)
    whole = rounded_array((mean * rng.random() + rng.normal(size=(3, 120))).astype(np.float32))
    parts = [np.ascontiguousarray(part) for part in np.array_split(whole, n_parts, axis=1)]
    if all(coarseness([part]) is None for part in parts):
        assert coarseness([whole]) is None
    assert (coarseness(parts) is None) == (coarseness([whole]) is None)


@pytest.fixture(scope="module")
def many() -> FeatureDataset:
    """Words for two shards and some."""
    return words_dataset(TEXTS * 50)


def narrow_neurons() -> Any:
    """Return a model with a neuron of mean 3,000 and small deviation in layer 1, and one of 1e-7 units in layer 2."""
    model = tiny_model("opt")
    with torch.no_grad():
        for layer, scale, bias in ((1, 0.05, 3000.0), (2, 1e-8, 0.0)):
            up = model.decoder.layers[layer].fc1
            up.weight[3] *= scale
            up.bias[3] = bias
    return model


def test_a_layer_with_a_neuron_that_float16_loses_is_kept_in_float32_and_that_is_said(
    many: FeatureDataset, tokenizer: Any, tmp_path: Path
) -> None:
    exact = extract(narrow_neurons(), many, tokenizer=tokenizer, values="float32", batch_tokens=512)
    for layer in (1, 2):
        column = exact.matrices[layer].columns([3])[:, 0].astype(float)
        error = np.square(column.astype(np.float16).astype(float) - column).mean() ** 0.5
        assert error > 0.02 * column.std() > 0
    kept = extract(narrow_neurons(), many, tokenizer=tokenizer, batch_tokens=512)
    stored = extract(narrow_neurons(), many, out=tmp_path / "store", tokenizer=tokenizer, batch_tokens=512)
    for found in (kept, stored):
        assert found.manifest["values"] == ["float16", "float32", "float32"]
        assert list(found.manifest["promoted"]) == ["1", "2"]
        for layer in (1, 2):
            np.testing.assert_array_equal(found.matrices[layer], exact.matrices[layer])
            assert re.search(f"layer {layer} is kept in float32: float16 would .* neuron 3 ", str(found))
        np.testing.assert_array_equal(found.matrices[0], rounded_array(np.asarray(exact.matrices[0])))


def test_it_is_kept_so_in_a_run_that_stopped_and_in_one_that_was_divided(
    many: FeatureDataset, tokenizer: Any, tmp_path: Path
) -> None:
    extraction = prepare(narrow_neurons(), many, tokenizer=tokenizer, batch_tokens=512)
    extraction.to_store(tmp_path / "whole")

    class Stop(Exception):
        pass

    def stop(moment: Any) -> None:
        if moment.share > 0.5:
            raise Stop

    with pytest.raises(Stop):
        extract(narrow_neurons(), many, out=tmp_path / "s", tokenizer=tokenizer, batch_tokens=512, progress=stop)
    extraction.to_store(tmp_path / "s")
    for number in (1, 2):
        extraction.to_part(tmp_path / str(number), number, 2)
    join([tmp_path / "2", tmp_path / "1"], tmp_path / "joined")
    assert content(tmp_path / "s") == content(tmp_path / "joined") == content(tmp_path / "whole")


def part(folder: Path, made: Activations, number: int, dtype: str, values: np.ndarray, promoted: bool) -> Path:
    """Write part `number` of two of a store of one layer and two shards."""
    manifest = {**made.manifest, "layers": [1], "d_mlp": [2], "values": ["float16" if promoted else dtype]}
    with StoreWriter(folder / str(number), {**manifest, "part": [number, 2]}, made.row_arrays()) as writer:
        if promoted:
            writer.promote(1, "float16 would round it")
        start = (number - 1) * SHARD_ROWS
        writer.add(1, start, values[start : start + SHARD_ROWS])
        writer.finish()
    return folder / str(number)


@pytest.mark.parametrize("narrow", [False, True])
def test_a_part_that_is_too_narrow_by_itself_is_rounded_where_the_whole_is_wide(narrow: bool, tmp_path: Path) -> None:
    """The first part has a mean of 3,000 and a deviation of 0.4; with the second, of other values, it is wide."""
    made, rng = small_activations(n_rows=2 * SHARD_ROWS), np.random.default_rng(0)
    values = (3000 + 0.4 * rng.normal(size=(2 * SHARD_ROWS, 2))).astype(np.float32)
    second = values[SHARD_ROWS:] if narrow else 1000 * rng.normal(size=(SHARD_ROWS, 2)).astype(np.float32)
    values[SHARD_ROWS:] = second
    one = part(tmp_path, made, 1, "float32", values, promoted=True)
    if narrow:
        other = part(tmp_path, made, 2, "float16", rounded_array(values), promoted=False)
        with pytest.raises(InputError, match=r"layer 1 has to be kept in float32 \(float16 would round neuron \d by"):
            join([one, other], tmp_path / "joined")
        other = part(tmp_path / "again", made, 2, "float32", values, promoted=False)
        expected: np.ndarray = values
    else:
        other = part(tmp_path, made, 2, "float16", rounded_array(values), promoted=False)
        expected = rounded_array(values)
    joined = join([one, other], tmp_path / "joined")
    assert joined.manifest["values"] == [str(expected.dtype)]
    assert list(joined.manifest["promoted"]) == (["1"] if narrow else [])
    np.testing.assert_array_equal(joined.matrices[1], expected)


def test_the_optimum_of_what_is_kept_is_that_of_float32(many: FeatureDataset, tokenizer: Any) -> None:
    """The label is the sign of the narrow neuron, which float16 would lose."""
    import optprobe as op

    exact = extract(narrow_neurons(), many, [1], tokenizer=tokenizer, values="float32", batch_tokens=512)
    X = np.asarray(exact.matrices[1])[:600]
    label = np.where(X[:, 3] > np.median(X[:, 3]), 1, -1)
    kept = extract(narrow_neurons(), many, [1], tokenizer=tokenizer, batch_tokens=512)
    narrow = np.asarray(exact.matrices[1]).astype(np.float16)
    supports = [
        list(op.solve(op.problem(np.asarray(values)[:600], 1, labels=label, loss="squared", ridge=0.01)).support)
        for values in (exact.matrices[1], kept.matrices[1], narrow)
    ]
    assert supports[0] == supports[1] == [3] != supports[2]


def test_the_command_says_what_is_kept_in_float32(
    tokenizer: Any, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    from optprobe.cli.main import main

    narrow_neurons().save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    words_dataset().save(tmp_path / "words")
    given = ["extract", str(tmp_path / "model"), "--dataset", str(tmp_path / "words"), "--layers", "0", "1"]
    capsys.readouterr()
    assert main([*given, "--device", "cpu", "--out", str(tmp_path / "store")]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].endswith("layers [0, 1]")
    assert [line.partition(": ")[0] for line in printed[1:]] == ["layer 1 is kept in float32"]
