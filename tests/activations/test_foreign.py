"""Activations from elsewhere: what becomes a matrix, a store or a problem, and what is refused."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import save_file

import optprobe as op
from optprobe import activations_of, neuron_values
from optprobe.activations import Activations
from optprobe.errors import InputError

RNG = np.random.default_rng(5)
X = RNG.normal(size=(4, 6, 5)).astype(np.float32)
ROWS = X.reshape(24, 5)
Y = np.where(ROWS[:, 2] > 0, 1, -1)


CACHE = {"blocks.3.mlp.hook_post": torch.from_numpy(X), "blocks.3.hook_resid_post": torch.from_numpy(-X)}
TRUE = {"mask": True}


def sources(folder: Path) -> dict[str, tuple[Any, dict[str, Any]]]:
    np.save(folder / "a.npy", X)
    np.savez(folder / "a.npz", one=ROWS, other=-ROWS)
    save_file({"acts": torch.from_numpy(X)}, folder / "a.safetensors")
    entry = SimpleNamespace(output=(torch.from_numpy(X), None))
    visits = SimpleNamespace(output=[(torch.from_numpy(X[:1]), None), (torch.from_numpy(X[1:2]), None)])
    return {
        "array": (X, TRUE),
        "tensor": (torch.from_numpy(X).requires_grad_(), TRUE),
        "npy": (folder / "a.npy", TRUE),
        "npz": (str(folder / "a.npz"), {"name": "one"}),
        "safetensors": (folder / "a.safetensors", TRUE),
        "cache": (CACHE, {"layer": 3} | TRUE),
        "residual": (CACHE, {"layer": 3, "hook": "resid.post"} | TRUE),
        "mapping": ({"model.h.0.mlp": entry, "model.h.1.mlp": entry}, {"name": "model.h.1.mlp"} | TRUE),
        "visits": ({"model.h.0.mlp": visits}, {}),
        "saved": (SimpleNamespace(value=torch.from_numpy(X)), TRUE),
        "batches": (list(map(torch.from_numpy, (X[:1], X[1:]))), TRUE),
        "batches in a mapping": ({"post": [X[:1], X[1:3], ROWS[18:]]}, TRUE),
        "rows": (list(map(torch.from_numpy, ROWS)), {}),
        "one text": (X[:1], {}),
    }


@pytest.mark.parametrize(
    "kind",
    [
        *("array", "tensor", "npy", "npz", "safetensors", "cache", "residual", "mapping", "visits", "saved"),
        *("batches", "batches in a mapping", "rows", "one text"),
    ],
)
def test_it_becomes_a_matrix_and_a_problem(kind: str, tmp_path: Path) -> None:
    source, options = sources(tmp_path)[kind]
    expected = {"residual": -ROWS, "visits": ROWS[:12], "one text": ROWS[:6]}.get(kind, ROWS)
    values = neuron_values(source, **options)
    np.testing.assert_array_equal(values, expected)
    stated = op.problem(values, 2, labels=expected[:, 2] > np.median(expected[:, 2]), loss="squared")
    np.testing.assert_array_equal(stated.X, expected)
    assert op.solve(stated).optimal


PADDED = np.arange(6) < np.array([[6], [2], [4], [1]])
"""Which of the positions of X are tokens, where its four texts were padded at the right."""


@pytest.mark.parametrize("kind", [bool, np.int64, torch.from_numpy, np.ndarray.tolist])
def test_padding_becomes_no_row(kind: Any) -> None:
    mask = PADDED.astype(kind) if isinstance(kind, type) else kind(PADDED)
    np.testing.assert_array_equal(neuron_values(X, mask=mask), X[PADDED])
    np.testing.assert_array_equal(neuron_values(X[..., None, :], mask=mask), X[PADDED])
    made = activations_of({0: X, 2: -X}, {"sign": Y[PADDED.ravel()]}, mask=mask)
    np.testing.assert_array_equal(made.matrices[2], -X[PADDED])
    np.testing.assert_array_equal(neuron_values(ROWS, mask=Y > 0), ROWS[Y > 0])


def test_each_batch_of_a_list_has_its_mask() -> None:
    """Batches are padded to lengths of their own."""
    batches, masks = [X[:2], X[2:, :4]], [PADDED[:2], torch.from_numpy(PADDED[2:, :4])]
    np.testing.assert_array_equal(neuron_values(batches, mask=masks), X[PADDED])
    np.testing.assert_array_equal(neuron_values({"post": batches[:1]}, mask=masks[:1]), X[:2][PADDED[:2]])
    np.testing.assert_array_equal(neuron_values([X[:2].astype(np.float16), ROWS], mask=True)[12:], ROWS)


@pytest.mark.parametrize(
    ("values", "mask", "sentence"),
    [
        (X, None, "these are 4 texts of 6 positions, and their padding would become rows: give .* the mask="),
        ({"post": [X[:1], X[1:]]}, None, "these are 3 texts of 6 positions"),
        (X, PADDED[:3], r"the mask has the shape \(3, 6\), and the values have the positions \(4, 6\)"),
        (X, PADDED.T, r"the mask has the shape \(6, 4\)"),
        (X, False, r"the mask has the shape \(\)"),
        (X, 2 * PADDED, "values beside 0 and 1"),
        (X, np.where(PADDED, 1.0, np.nan), "values beside 0 and 1"),
        (X, ~PADDED & PADDED, "leaves no token"),
        ([X, X], PADDED, "there are 2 batches: give a list of as many masks, or mask=True"),
        ([X, X], [PADDED], "there are 2 batches: give a list of as many masks"),
        ([X, X[..., :4]], True, "batch 1 has 4 neurons, and batch 0 has 5"),
        ([X, None], True, "the activations are object of shape"),
    ],
)
def test_a_missing_or_wrong_mask_is_refused(values: Any, mask: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        neuron_values(values, mask=mask)


def test_a_problem_asks_for_the_mask_too() -> None:
    with pytest.raises(InputError, match=r"give neuron_values the mask="):
        op.problem(X, 2, labels=Y)


def test_types_are_kept_and_bfloat16_becomes_float32() -> None:
    assert neuron_values(ROWS.astype(np.float16)).dtype == np.float16
    brain = torch.ones(2, 3, dtype=torch.bfloat16)
    for given in (brain, [brain[0], brain[1]], [brain, brain], {"post": [brain]}, {"post": (brain, brain)}):
        assert neuron_values(given).dtype == np.float32
    assert neuron_values([[1, 2], [3, 4]]).dtype == np.float64


def test_arrays_become_a_store_that_solves_like_them(tmp_path: Path) -> None:
    labels = {"sign": Y, "some": np.where(np.arange(24) % 3 == 0, 0, Y)}
    values = {3: X.reshape(1, 24, 5), 5: ROWS.astype(np.float16)}
    made = activations_of(values, labels, np.arange(24) // 2, model="mine")
    made.save(tmp_path / "store")
    opened = Activations.open(tmp_path / "store", check_digests=True)
    assert opened.layers == (3, 5)
    np.testing.assert_array_equal(opened.matrices[3], ROWS)
    np.testing.assert_array_equal(opened.group, np.arange(24) // 2)
    kept, y, _ = opened.select("some", 3)
    np.testing.assert_array_equal(kept, ROWS[labels["some"] != 0])
    np.testing.assert_array_equal(y, Y[labels["some"] != 0])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("none.npy",), "there is no file none.npy"),
        ((CACHE,), r"there are 2 entries \(blocks.3.mlp.hook_post, blocks.3.hook_resid_post\); name one"),
        ((CACHE, "blocks.9.mlp.hook_post"), "there is no entry 'blocks.9.mlp.hook_post', only blocks.3"),
        ((X, "one"), "leave name= and layer= out"),
        ((CACHE, "blocks.3.mlp.hook_post", 3), "give one"),
        ((CACHE, "blocks.3.mlp.hook_post", None, "resid.post"), "give one"),
        (([[1.0], [1.0, 2.0]],), "this list is no array"),
        ((np.array([["a"]]),), "the activations are <U1"),
        ((np.arange(3.0),), r"of shape \(3,\); give numbers, one row a token"),
        ((np.array([[object()]]),), "the activations are object"),
    ],
)
def test_what_is_no_matrix_is_refused(arguments: tuple[Any, ...], sentence: str) -> None:
    given = dict(zip(("source", "name", "layer", "hook"), arguments))
    with pytest.raises(InputError, match=sentence):
        neuron_values(**given)


def test_files_that_would_execute_something_are_refused(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([[object()]]), allow_pickle=True)
    with pytest.raises(InputError, match=r"a.npy cannot be read: .*allow_pickle"):
        neuron_values(tmp_path / "a.npy")
    torch.save(X, tmp_path / "a.pt")
    with pytest.raises(InputError, match=r"a.pt is not an .npy, .npz or .safetensors file"):
        neuron_values(tmp_path / "a.pt")


@pytest.mark.parametrize(
    ("values", "labels", "group", "sentence"),
    [
        (np.full((2, 2), np.inf), {"a": [1, -1]}, None, "layer 0: neuron 0 is inf in row 0"),
        ({0: ROWS, 1: ROWS[:3]}, {"a": Y}, None, "layer 1 has 3 rows, and another layer has 24"),
        (ROWS, {"a": Y[:3]}, None, "the labels of 'a' have the shape"),
        (ROWS, {"a": 2 * Y}, None, "the label of 'a' is"),
        (ROWS, {"a": Y}, np.arange(24) + 0.5, "the groups have the shape"),
        (ROWS, {}, None, "at least one layer and one feature"),
    ],
)
def test_arrays_that_do_not_fit_are_refused(values: Any, labels: Any, group: Any, sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        activations_of(values, labels, group)
