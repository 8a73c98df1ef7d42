"""What a column is, in words, by what a scope says of layers, hook point, heads and basis.

A scope is somebody's word: what it says in another form than it has here is not understood, and the columns are called
neurons by their numbers then.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import accumulate
from typing import Any

from formulations.errors import InputError

MOST_LAYERS = 10_000
"""Layers that a scope can name."""
_RUN = re.compile(r"(0|[1-9][0-9]{0,8})(?:-([1-9][0-9]{0,8}))?", re.ASCII)
_NAME = re.compile(r"L(0|[1-9][0-9]{0,8})\.N(0|[1-9][0-9]{0,8})", re.ASCII)

Layers = tuple[tuple[int, int], ...]
"""Number and width of each layer, ascending."""


@dataclass(frozen=True)
class Columns:
    """
    The columns of a claim or problem.

    Parameters
    ----------
    noun : str
        What one of them is called.
    of : str
        What they are of, in words that follow "neurons" or another noun; empty where there is nothing to be said.
    head_size : int or None
        Dimensions of a head, where columns are dimensions of heads.
    layers : tuple of (int, int)
        Number and width of each layer, where the columns are the neurons of several side by side.
    """

    noun: str = "neuron"
    of: str = ""
    head_size: int | None = None
    layers: Layers = ()

    @property
    def all(self) -> str:
        """Several of them, and what they are of."""
        return f"{self.noun}s{self.of}"

    def item(self, column: int) -> str:
        """One of them, after the noun: its name, of a head's dimension that within its head."""
        if self.head_size is None:
            return self.name(column)
        return f"{column % self.head_size} of head {column // self.head_size}'s output"

    def name(self, column: int) -> str:
        """Layer and neuron, such as L24.N157, where there are several layers; else the number of the column."""
        if not self.layers:
            return str(column)
        layer, neuron = self.place(column)
        return f"L{layer}.N{neuron}"

    def names(self, columns: Iterable[int]) -> str:
        """Names with commas between them."""
        return ", ".join(map(self.name, columns))

    def place(self, column: int) -> tuple[int, int]:
        """The layer of a column, where there are several, and the number of its neuron within it."""
        at = bisect_right(self._starts, column) - 1
        if not 0 <= at < len(self.layers):
            raise IndexError(f"{column} is no column of these {len(self.layers)} layers")
        return self.layers[at][0], int(column) - self._starts[at]

    @cached_property
    def _starts(self) -> list[int]:
        """The first column of every layer, and the number of all."""
        return list(accumulate((width for _, width in self.layers), initial=0))

    @property
    def layer_of_each(self) -> list[int]:
        """The layer of every column, where there are several; empty otherwise."""
        return [layer for layer, width in self.layers for _ in range(width)]

    def column(self, name: str | int) -> int:
        """The number of a column from its name, or its number as a text.

        Raises `InputError` for a name where there are not several layers, and for what names none of the columns.
        """
        if not isinstance(name, str):
            return int(name)
        if name.removeprefix("-").isdecimal():
            return int(name)
        if (parts := _NAME.fullmatch(name)) is None:
            raise InputError(f"{name!r} names no column: give its number, or of several layers a name such as L24.N157")
        if not self.layers:
            raise InputError(f"{name} names a neuron of several layers, and there are not several: give its number")
        layer, neuron = int(parts[1]), int(parts[2])
        starts = dict(zip((number for number, _ in self.layers), self._starts))
        if layer not in starts or neuron >= dict(self.layers)[layer]:
            raise InputError(f"there is no neuron {name}: there are the neurons{self.of}, each from 0")
        return starts[layer] + neuron


def columns_of(scope: Mapping[str, Any], n_columns: int) -> Columns:
    """What so many columns are."""
    basis = scope.get("basis")
    if not isinstance(basis, Mapping) or type(basis.get("call")) is not str:
        return _as_extracted(scope, n_columns)
    kind, _, argument = basis["call"].partition(":")
    of, sha256 = basis.get("of"), basis.get("sha256")
    among = f" of the {of} {_as_extracted(scope, of).all}" if type(of) is int and of > 0 else ""
    if kind == "rotated":
        return Columns("column", f" of a random rotation (seed {argument}){among}")
    if kind == "principal":
        return Columns("principal component", among)
    if kind == "latents":
        known = f" (sha256 {sha256[:12]})" if type(sha256) is str else ""
        return Columns("latent", f" of dictionary {argument}{known}{among}")
    return Columns("column", f" of the basis {basis['call']}{among}")


def layers_of(scope: Mapping[str, Any]) -> Layers:
    """The layers that a scope names side by side with their widths, as `stated_layers` writes them; none otherwise."""
    stated = scope.get("layers")
    if not isinstance(stated, Mapping):
        return ()
    found: list[tuple[int, int]] = []
    for run, width in stated.items():
        ends = _RUN.fullmatch(run) if isinstance(run, str) else None
        if ends is None or type(width) is not int or not 0 < width < 2**31:
            return ()
        layers = range(int(ends[1]), int(ends[2] or ends[1]) + 1)
        if not 0 < len(layers) <= MOST_LAYERS - len(found):
            return ()
        found += [(layer, width) for layer in layers]
    found.sort()
    return tuple(found) if len({layer for layer, _ in found}) == len(found) > 1 else ()


def stated_layers(layers: Layers) -> dict[str, int]:
    """Layers and widths as a scope has them: the width by each run of consecutive layers, as in ``{"0-29": 1536}``."""
    runs: list[list[int]] = []
    for layer, width in layers:
        if runs and runs[-1][1:] == [layer - 1, width]:
            runs[-1][1] = layer
        else:
            runs.append([layer, layer, width])
    return {f"{first}" if first == last else f"{first}-{last}": width for first, last, width in runs}


def layer_of(scope: Mapping[str, Any]) -> Any:
    """What a scope says under ``layer``, of several side by side a text: their numbers, runs as such, 0-2, 5."""
    layers = layers_of(scope)
    return layers_said(layer for layer, _ in layers) if layers else scope.get("layer")


def layers_said(layers: Iterable[int]) -> str:
    """Ascending numbers of layers as a text, runs as such: 0-2, 5."""
    return ", ".join(stated_layers(tuple((layer, 0) for layer in layers)))


def _as_extracted(scope: Mapping[str, Any], n_columns: int) -> Columns:
    layers = layers_of(scope)
    if layers and sum(width for _, width in layers) == n_columns:
        return Columns(of=f" of layers {layer_of(scope)}", layers=layers)
    heads = scope.get("heads")
    if type(heads) is not int or not 0 < heads <= n_columns or n_columns % heads:
        return Columns()
    return Columns("dimension", f" of {heads} attention heads' outputs", n_columns // heads)
