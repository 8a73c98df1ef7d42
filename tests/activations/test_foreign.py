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
from optprobe.activations import Activations, activations_of, neuron_values
from optprobe.errors import InputError

RNG = np.random.default_rng(5)
X = RNG.normal(size=(4, 6, 5)).astype(np.float32)
ROWS = X.reshape(24, 5)
Y = np.where(ROWS[:, 2] > 0, 1, -1)


class Cache:
    """As much of a TransformerLens cache as is looked at."""

    def __init__(self) -> None:
        self.cache_dict = {
            "blocks.3.mlp.hook_post": torch.from_numpy(X),
            "blocks.3.hook_resid_post": torch.from_numpy(-X),
        }

    def __getitem__(self, name: str) -> torch.Tensor:
        return self.cache_dict[name]


def sources(folder: Path) -> dict[str, tuple[Any, dict[str, Any]]]:
    np.save(folder / "a.npy", X)
    np.savez(folder / "a.npz", one=ROWS, other=-ROWS)
    save_file({"acts": torch.from_numpy(X)}, folder / "a.safetensors")
    entry = SimpleNamespace(output=(torch.from_numpy(X), None))
    return {
        "array": (X, {}),
        "tensor": (torch.from_numpy(X).requires_grad_(), {}),
        "npy": (folder / "a.npy", {}),
        "npz": (str(folder / "a.npz"), {"name": "one"}),
        "safetensors": (folder / "a.safetensors", {}),
        "cache": (Cache(), {"layer": 3}),
        "residual": (Cache(), {"layer": 3, "hook": "resid.post"}),
        "mapping": ({"model.h.0.mlp": entry, "model.h.1.mlp": entry}, {"name": "model.h.1.mlp"}),
        "saved": (SimpleNamespace(value=torch.from_numpy(X)), {}),
    }


@pytest.mark.parametrize(
    "kind", ["array", "tensor", "npy", "npz", "safetensors", "cache", "residual", "mapping", "saved"]
)
def test_it_becomes_a_matrix_and_a_problem(kind: str, tmp_path: Path) -> None:
    source, options = sources(tmp_path)[kind]
    expected = -ROWS if kind == "residual" else ROWS
    values = neuron_values(source, **options)
    np.testing.assert_array_equal(values, expected)
    stated = op.problem(neuron_values(source, **options), 2, labels=Y, loss="squared")
    np.testing.assert_array_equal(stated.X, expected)
    assert op.solve(stated).optimal


def test_types_are_kept_and_bfloat16_becomes_float32() -> None:
    assert neuron_values(ROWS.astype(np.float16)).dtype == np.float16
    assert neuron_values(torch.ones(2, 3, dtype=torch.bfloat16)).dtype == np.float32
    assert neuron_values([[1, 2], [3, 4]]).dtype == np.float64


def test_arrays_become_a_store_that_solves_like_them(tmp_path: Path) -> None:
    labels = {"sign": Y, "some": np.where(np.arange(24) % 3 == 0, 0, Y)}
    made = activations_of({3: X, 5: ROWS.astype(np.float16)}, labels, np.arange(24) // 2, model="mine")
    made.save(tmp_path / "store")
    opened = Activations.open(tmp_path / "store", check_digests=True)
    assert opened.layers == (3, 5)
    np.testing.assert_array_equal(opened.matrices[3], ROWS)
    np.testing.assert_array_equal(opened.group, np.arange(24) // 2)
    values, y, _ = opened.select("some", 3)
    np.testing.assert_array_equal(values, ROWS[labels["some"] != 0])
    np.testing.assert_array_equal(y, Y[labels["some"] != 0])


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (("none.npy",), "there is no file none.npy"),
        ((Cache(),), r"there are 2 entries \(blocks.3.mlp.hook_post, blocks.3.hook_resid_post\); name one"),
        ((Cache(), "blocks.9.mlp.hook_post"), "there is no entry 'blocks.9.mlp.hook_post', only blocks.3"),
        ((X, "one"), "leave name= and layer= out"),
        ((Cache(), "blocks.3.mlp.hook_post", 3), "give one"),
        ((Cache(), "blocks.3.mlp.hook_post", None, "resid.post"), "give one"),
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
