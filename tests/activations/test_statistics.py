"""Statistics of neurons: equal to numpy's, independent of order and partition, kept beside a store, with contexts."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from activation_examples import small_activations, tiny_model, words_dataset
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays

from optprobe.activations import (
    Activations,
    NeuronStatistics,
    accumulate_statistics,
    contexts,
    extract,
    read_statistics,
    save_statistics,
)
from optprobe.activations.summaries import statistics as module
from optprobe.activations.summaries.statistics import BIN_NAMES, EDGES, N_BINS
from optprobe.errors import InputError, StoreDamaged
from optprobe.features import FeatureDataset

FLOATS = st.one_of(
    st.floats(-1e6, 1e6, width=32), st.sampled_from([0.0, -0.0, 1.0, -1.0, 2.0**-12, -(2.0**12), 2.0**12])
)


@given(
    values=arrays.arrays(np.float32, st.tuples(st.integers(1, 40), st.integers(1, 3)), elements=FLOATS),
    offset=st.sampled_from([0.0, 1e4]),
    top=st.integers(1, 6),
    data=st.data(),
)
def test_equal_to_numpy_in_any_order_and_partition(
    values: np.ndarray[Any, Any], offset: float, top: int, data: st.DataObject
) -> None:
    values = (values + np.float32(offset)).astype(np.float32)
    cuts = sorted(data.draw(st.sets(st.integers(0, len(values)), max_size=5)) | {0, len(values)})
    pieces = data.draw(st.permutations(list(pairwise(cuts))))
    side = data.draw(st.lists(st.booleans(), min_size=len(pieces), max_size=len(pieces)))
    both = NeuronStatistics(values.shape[1], top), NeuronStatistics(values.shape[1], top)
    for which, (a, b) in zip(side, pieces):
        both[which].add(a, values[a:b])
    found, other = both
    found.merge(other)
    exact = values.astype(np.float64)
    scale = np.abs(exact).max(axis=0)
    assert found.n_rows == len(values)
    assert (np.abs(found.mean - exact.mean(axis=0)) <= 1e-12 * scale).all()
    assert (np.abs(found.variance - exact.var(axis=0)) <= 1e-12 * (exact.var(axis=0) + scale**2 * 1e-6)).all()
    np.testing.assert_array_equal(found.minimum, values.min(axis=0))
    np.testing.assert_array_equal(found.maximum, values.max(axis=0))
    np.testing.assert_array_equal(found.n_positive, (values > 0).sum(axis=0))
    for neuron, column in enumerate(values.T):
        order = sorted(range(len(column)), key=lambda row: (-column[row], row))[:top]
        rows, largest = found.top_rows(neuron)
        assert rows.tolist() == order
        np.testing.assert_array_equal(largest, column[order])
        sizes = np.histogram(np.abs(column[column > 0]), [0, *EDGES, np.inf])[0]
        below = np.histogram(np.abs(column[column < 0]), [0, *EDGES, np.inf])[0]
        np.testing.assert_array_equal(found.histogram[neuron], [*below[::-1], (column == 0).sum(), *sizes])
    whole = NeuronStatistics(values.shape[1], top)
    whole.add(0, values)
    for name, array in whole.state().items():
        if name not in ("mean", "rest", "squares"):
            np.testing.assert_array_equal(array, found.state()[name])
    again = NeuronStatistics.from_state(found.state(), top)
    for name, array in found.state().items():
        np.testing.assert_array_equal(array, again.state()[name])


@pytest.mark.parametrize(
    ("value", "name"),
    [
        (0.0, "0"),
        (-0.0, "0"),
        (1.0, "[2^0, 2^1)"),
        (-1.0, "(-2^1, -2^0]"),
        (1.99, "[2^0, 2^1)"),
        (2.0**-12, "[2^-12, 2^-11)"),
        (2.0**-13, "(0, 2^-12)"),
        (-1e-42, "(-2^-12, 0)"),
        (4095.0, "[2^11, 2^12)"),
        (4096.0, "[2^12, inf)"),
        (-5e30, "(-inf, -2^12]"),
    ],
)
def test_the_bin_of_a_value(value: float, name: str) -> None:
    found = NeuronStatistics(1)
    found.add(0, np.array([[value]], dtype=np.float32))
    assert len(BIN_NAMES) == N_BINS
    assert [BIN_NAMES[place] for place in np.flatnonzero(found.histogram[0])] == [name]


def test_an_offset_costs_no_accuracy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Many small blocks of a neuron a hundred thousand deviations from 0."""
    monkeypatch.setattr(module, "BLOCK", 32)
    values = (np.random.default_rng(3).normal(size=(3000, 2)) + 1e5).astype(np.float32)
    found = NeuronStatistics(2)
    found.add(0, values)
    exact = values.astype(np.longdouble)
    np.testing.assert_allclose(found.mean, exact.mean(axis=0).astype(float), rtol=1e-15)
    np.testing.assert_allclose(found.variance, exact.var(axis=0).astype(float), rtol=1e-12)


@pytest.mark.parametrize(
    ("start", "values", "sentence"),
    [
        (5, np.array([[1, 2], [np.inf, 0]], dtype=np.float32), "neuron 0 is inf in row 6"),
        (0, np.zeros((2, 3), dtype=np.float32), r"shape \(2, 3\)"),
        (0, np.zeros((2, 2)), "float64"),
        (-1, np.zeros((2, 2), dtype=np.float16), "not -1 to 0"),
    ],
)
def test_rows_that_cannot_be_added(start: int, values: Any, sentence: str) -> None:
    found = NeuronStatistics(2)
    with pytest.raises(InputError, match=sentence):
        found.add(start, values)
    assert found.n_rows == 0
    assert np.isnan(found.mean).all()
    with pytest.raises(InputError, match="merge those of the same"):
        found.merge(NeuronStatistics(3))
    with pytest.raises(InputError, match="no neuron 2"):
        found.top_rows(2)


def test_a_store_keeps_statistics_until_its_values_change(tmp_path: Path) -> None:
    made = small_activations(n_rows=5000)
    made.save(tmp_path / "store")
    store = Activations.open(tmp_path / "store")
    manifest = (tmp_path / "store" / "manifest.json").read_bytes()
    assert read_statistics(store, 4) is None
    kept = save_statistics(store, 4, top=7)
    path = tmp_path / "store" / "statistics_layer_4.safetensors"
    content = path.read_bytes()
    found = read_statistics(Activations.open(tmp_path / "store", check_digests=True), 4)
    assert found is not None
    memory = accumulate_statistics(made, 4, top=7)
    for name, array in found.state().items():
        np.testing.assert_array_equal(array, kept.state()[name])
        np.testing.assert_allclose(array, memory.state()[name], rtol=1e-12, atol=1e-12)
    values = np.asarray(store.matrices[4])
    assert found.top_rows(2)[0].tolist() == np.argsort(-values[:, 2], kind="stable")[:7].tolist()
    assert (tmp_path / "store" / "manifest.json").read_bytes() == manifest
    path.unlink()
    save_statistics(store, 4, top=7)
    assert path.read_bytes() == content
    for place in (100, len(content) - 9):
        path.write_bytes(content[:place] + bytes([content[place] ^ 1]) + content[place + 1 :])
        with pytest.raises(StoreDamaged, match=r"statistics_layer_4\.safetensors was altered"):
            read_statistics(store, 4)
    save_statistics(store, 4, top=7)
    assert path.read_bytes() == content
    small_activations(seed=1, n_rows=5000).save(tmp_path / "other")
    (tmp_path / "other" / path.name).write_bytes(content)
    assert read_statistics(Activations.open(tmp_path / "other"), 4) is None
    with pytest.raises(InputError, match="no layer 2"):
        save_statistics(store, 2)
    with pytest.raises(InputError, match="in memory"):
        save_statistics(made, 4)


def test_an_extraction_goes_on_beside_statistics(words: FeatureDataset, tokenizer: Any, tmp_path: Path) -> None:
    model, out = tiny_model("gpt_neox"), tmp_path / "store"
    store = extract(model, words, [0], out, tokenizer=tokenizer)
    save_statistics(store, 0)
    before = (out / "statistics_layer_0.safetensors").read_bytes()
    (out / "layer_0" / "000000.safetensors").unlink()
    again = extract(model, words, [0], out, tokenizer=tokenizer)
    assert (out / "statistics_layer_0.safetensors").read_bytes() == before
    assert read_statistics(again, 0) is not None


def test_contexts_are_the_text_around_the_token(words: FeatureDataset, tokenizer: Any) -> None:
    store = extract(tiny_model("gpt_neox"), words, [0], tokenizer=tokenizer)
    for found in contexts(store, range(store.n_rows), words, tokenizer, width=3):
        text = words.texts[found.text]
        word = text[store.start[found.row] : store.end[found.row]]
        assert word.endswith(found.token.strip()) or word in found.token
        assert "".join((*found.before, found.token, *found.after)) in text
        assert len(found.before) <= 3 >= len(found.after)
        assert found.position == store.token[found.row]
    rows = np.arange(store.n_rows)
    wide = [*contexts(store, rows, words, tokenizer, width=1000)]
    assert ["".join((*c.before, c.token, *c.after)) for c in wide] == [words.texts[c.text] for c in wide]
    with pytest.raises(InputError, match="another digest"):
        list(contexts(store, [0], words_dataset(every=2), tokenizer))
    with pytest.raises(InputError, match="no row 999"):
        list(contexts(store, [999], words, tokenizer))
