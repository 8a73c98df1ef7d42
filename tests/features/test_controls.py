"""Controls keep what they should keep, and leakage is counted where it is."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from optprobe.activations import load_tokenizer
from optprobe.errors import InputError
from optprobe.features import FeatureDataset, align_rows
from optprobe.features.controls import random_neurons, random_rotation, shuffled_labels
from optprobe.features.leakage import equal_activations, equal_contexts, equal_test_texts


@given(st.lists(st.tuples(st.integers(-3, 3), st.sampled_from([-1, 1])), max_size=40), st.integers(0, 5))
def test_shuffled_labels_are_the_same_labels(rows: list[tuple[int, int]], seed: int) -> None:
    group, y = np.array(rows, dtype=int).reshape(-1, 2).T
    assert sorted(shuffled_labels(y, seed)) == sorted(y)
    within = shuffled_labels(y, seed, group)
    for g in np.unique(group):
        assert sorted(within[group == g]) == sorted(y[group == g])
    np.testing.assert_array_equal(within, shuffled_labels(y, seed, group))


def test_a_shuffle_is_a_shuffle() -> None:
    y, group = np.arange(1000), np.repeat(np.arange(10), 100)
    for shuffled in (shuffled_labels(y, 0), shuffled_labels(y, 0, group)):
        assert (shuffled != y).mean() > 0.9
        assert np.any(shuffled != (shuffled_labels(y, 1)))
    with pytest.raises(InputError, match="of one length, not 3 and 1000"):
        shuffled_labels(y, 0, [1, 2, 3])


def test_random_neurons_are_drawn_evenly() -> None:
    drawn = np.concatenate([random_neurons(10, 3, seed) for seed in range(2000)])
    np.testing.assert_allclose(np.bincount(drawn, minlength=10), 600, atol=80)
    assert all(len(set(random_neurons(10, 3, seed))) == 3 for seed in range(50))
    with pytest.raises(InputError, match="11 of 10 neurons cannot be drawn"):
        random_neurons(10, 11, 0)


def test_a_rotation_keeps_lengths_and_angles_and_no_neuron() -> None:
    q = random_rotation(40, 3)
    np.testing.assert_allclose(q.T @ q, np.eye(40), atol=1e-12)
    X = np.random.default_rng(0).standard_normal((30, 40))
    np.testing.assert_allclose((X @ q) @ (X @ q).T, X @ X.T, atol=1e-10)
    assert np.abs(q).max() < 0.9
    np.testing.assert_array_equal(q, random_rotation(40, 3))
    signs = [np.sign(np.linalg.det(random_rotation(5, seed))) for seed in range(200)]
    assert 60 < np.sum(np.array(signs) > 0) < 140


def test_equal_activation_vectors_are_counted() -> None:
    train = np.array([[0.0, 1.0], [2.0, 3.0]], dtype=np.float32)
    test = np.array([[-0.0, 1.0], [2.0, 3.5], [2.0, 3.0], [3.0, 2.0]], dtype=np.float32)
    found = equal_activations(train, test)
    assert (found.rows, found.n_rows) == (2, 4)
    assert str(found) == "2 of 4 test rows have the activation vector of a training row"
    with pytest.raises(InputError, match="float32 of shape"):
        equal_activations(train, test.astype(np.float64))


@pytest.mark.parametrize("order", ["C", "F"])
def test_rows_that_differ_in_one_of_many_neurons_are_not_equal(order: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("optprobe.features.leakage.AT_ONCE", 200)
    train = np.zeros((20, 90), dtype=np.float32, order=order)
    test = np.eye(90, dtype=np.float32)
    assert equal_activations(train, test).rows == 0
    test[[3, 5, 89]] = -0.0
    assert equal_activations(train, np.asarray(test, order=order)).rows == 3


def test_rows_that_a_causal_model_cannot_tell_apart_are_counted() -> None:
    texts = ("The old boat sinks", "The old boat swims", "A new boat sinks", "The old boat sinks")
    start, end = [8, 8, 6, 13], [12, 12, 10, 18]
    spans = [text[a:b] for text, a, b in zip(texts, start, end)]
    assert spans == ["boat", "boat", "boat", "sinks"]
    data = FeatureDataset(
        "d", texts, [0, 1, 2, 3], start, end, [0, 1, 2, 3], {"f": np.array([1, -1, 1, -1])}, {"f": "-"}
    )
    tokenizer = load_tokenizer("bundled")
    aligned = align_rows(data, tokenizer)
    assert equal_contexts(data, aligned, [False, True, True, True]).rows == 1
    assert equal_contexts(data, aligned, [True, False, False, True]).rows == 1
    assert equal_test_texts(data, [False, True, True, True]).rows == 1
    whole = align_rows(replace(data, aggregation="mean"), tokenizer)
    assert equal_contexts(data, whole, [False, True, True, True]).rows == 1
