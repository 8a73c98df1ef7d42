"""What columns are called: by a scope of one layer, or of several side by side, there and back."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from formulations import InputError
from formulations.columns import Columns, columns_of, layer_of, layers_of, stated_layers

LAYERS = st.dictionaries(st.integers(0, 90), st.integers(1, 4), min_size=2, max_size=40)


@given(LAYERS)
def test_layers_there_and_back(widths: dict[int, int]) -> None:
    layers = tuple(sorted(widths.items()))
    scope = {"layers": stated_layers(layers)}
    assert layers_of(scope) == layers
    columns = columns_of(scope, sum(widths.values()))
    expected = [f"L{layer}.N{neuron}" for layer, width in layers for neuron in range(width)]
    assert [columns.name(column) for column in range(len(expected))] == expected
    assert [columns.column(name) for name in expected] == list(range(len(expected)))
    assert columns_of(scope, len(expected) + 1) == Columns()
    with pytest.raises(IndexError):
        columns.name(len(expected))


def test_runs_are_as_long_as_can_be() -> None:
    layers = ((0, 8), (1, 8), (2, 8), (4, 8), (5, 9), (10, 9))
    assert stated_layers(layers) == {"0-2": 8, "4": 8, "5": 9, "10": 9}
    assert layer_of({"layers": stated_layers(layers)}) == "0-2, 4-5, 10"
    assert layer_of({"layer": 3}) == 3
    assert layer_of({}) is None


@pytest.mark.parametrize(
    "odd",
    [
        *(None, 3, "0-1", [0, 1], {}, {"0": 8}, {"1-0": 8}, {"0-1": 0}, {"0-1": -8}, {"0-1": 8.0}, {"0-1": True}),
        *({"0-1": 8, "1": 8}, {"0": 8, "00": 8}, {"0-1 ": 8}, {"-1": 8}, {"٠-١": 8}, {"0-1-2": 8}, {"a": 8}),
        *({"0-999999999": 1}, {0: 8, 1: 8}, {"0-1": "8"}, {"0-1": [8]}),
    ],
)
def test_layers_of_another_form_are_not_understood(odd: Any) -> None:
    assert layers_of({"layers": odd}) == ()
    assert columns_of({"layers": odd}, 16) == Columns()


NO_NAMES = {
    "L1.N8": "there is no neuron L1.N8: there are the neurons of layers 0-1, each from 0",
    "L2.N0": "there is no neuron L2.N0",
    "L01.N0": "'L01.N0' names no column",
    "N3": "'N3' names no column",
    "": "'' names no column",
}


@pytest.mark.parametrize("name", NO_NAMES)
def test_what_names_no_column(name: str) -> None:
    with pytest.raises(InputError, match=NO_NAMES[name]):
        columns_of({"layers": {"0-1": 8}}, 16).column(name)


def test_names_are_for_several_layers() -> None:
    assert columns_of({"layers": {"0-1": 8}}, 16).column("9") == columns_of({"layer": 1}, 8).column(9) == 9
    for scope in ({"layer": 1}, {"heads": 4}, {"layers": {"0-1": 8}, "basis": {"call": "rotated:0", "of": 16}}):
        with pytest.raises(InputError, match=r"L1\.N3 names a neuron of several layers, and there are not several"):
            columns_of(scope, 16).column("L1.N3")


def test_a_basis_of_several_layers() -> None:
    rotated = columns_of({"layers": {"0-1": 8}, "basis": {"call": "rotated:0", "of": 16}}, 16)
    assert rotated.all == "columns of a random rotation (seed 0) of the 16 neurons of layers 0-1"
    assert rotated.name(9) == "9"
