"""Statistics of the neurons of a store: accumulated from its values, and kept beside them.

A layer's statistics are one file `statistics_layer_<l>.safetensors` in the folder of the store, with the arrays of
`NeuronStatistics.state`. Its header says of which values they are (the sha256 over the digests of the layer's shards)
and the sha256 of the arrays themselves. The manifest of the store does not know of it: it may be removed at any time.
"""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optprobe.activations.store.activations import Activations
from optprobe.activations.store.manifest import shards_of
from optprobe.activations.summaries.statistics import TOP, NeuronStatistics
from optprobe.errors import InputError, StoreDamaged
from optprobe.files import write_file

FORMAT = "optprobe-statistics/1"


def accumulate_statistics(activations: Activations, layer: int, top: int = TOP) -> NeuronStatistics:
    """
    Read the values of a layer, one shard after another, and return the statistics of its neurons.

    Parameters
    ----------
    activations : Activations
        Of a store or in memory; the statistics are of the values as they are kept.
    layer : int
        One of its layers.
    top : int
        Rows of each neuron that are kept.

    Returns
    -------
    NeuronStatistics
        Over all rows.

    Raises
    ------
    InputError
        If there is no such layer, or a value is not finite.
    StoreDamaged
        If a value of the store was altered.
    """
    _check_layer(activations, layer)
    activations.check((layer,))
    matrix = activations.matrices[layer]
    statistics = NeuronStatistics(matrix.shape[1], top)
    start = 0
    for part in matrix.parts:
        try:
            statistics.add(start, part.T)
        except InputError as error:
            raise InputError(f"layer {layer}: {error}") from error
        start += part.shape[1]
    return statistics


def save_statistics(activations: Activations, layer: int, top: int = TOP) -> NeuronStatistics:
    """
    Return the statistics of a layer of a store, and keep them in its folder if they are not there yet.

    Parameters
    ----------
    activations, layer, top
        As in `accumulate_statistics`; the activations are of a store.

    Raises
    ------
    InputError
        As `accumulate_statistics` does, and if the file cannot be written.
    StoreDamaged
        If a value of the store was altered.
    """
    from safetensors.numpy import save

    if activations.folder is None:
        raise InputError("activations in memory have no folder for their statistics; save them to a store first")
    _check_layer(activations, layer)
    try:
        found = read_statistics(activations, layer)
    except StoreDamaged:
        found = None
    if found is not None and found.top == top:
        return found
    statistics = accumulate_statistics(activations, layer, top)
    state = statistics.state()
    stated = {"format": FORMAT, "top": top, "values": _source(activations, layer), "sha256": _digest(state)}
    write_file(_path(activations.folder, layer), save(state, {"statistics": json.dumps(stated)}))
    return statistics


def read_statistics(activations: Activations, layer: int) -> NeuronStatistics | None:
    """
    Return the statistics that a store keeps of a layer; None where it has none of the values that it holds now.

    Raises
    ------
    StoreDamaged
        If the file was altered.
    """
    from safetensors import SafetensorError, safe_open

    if activations.folder is None or not (path := _path(activations.folder, layer)).is_file():
        return None
    try:
        with safe_open(path, framework="numpy") as file:
            stated = json.loads((file.metadata() or {})["statistics"])
            state = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        if stated["sha256"] != _digest(state) or stated["format"] != FORMAT:
            raise InputError("its sha256 is not that of its numbers")
        if stated["values"] != _source(activations, layer):
            return None
        return NeuronStatistics.from_state(state, int(stated["top"]))
    except (OSError, SafetensorError, KeyError, TypeError, ValueError) as error:
        raise StoreDamaged(f"{path} was altered ({error}); remove it") from error


def _path(folder: Path, layer: int) -> Path:
    return folder / f"statistics_layer_{layer}.safetensors"


def _source(activations: Activations, layer: int) -> str:
    """Return the sha256 over the digests of a layer's shards."""
    digests = [activations.manifest["digests"][name] for name, *_ in shards_of(activations.manifest, layer)]
    return hashlib.sha256("\n".join(digests).encode()).hexdigest()


def _digest(state: dict[str, NDArray[Any]]) -> str:
    """Return the sha256 over name, type, shape and bytes of every array, in order of their names."""
    sha = hashlib.sha256()
    for name, array in sorted(state.items()):
        sha.update(f"{name} {array.dtype} {array.shape}\n".encode())
        sha.update(np.ascontiguousarray(array).data)
    return sha.hexdigest()


def _check_layer(activations: Activations, layer: int) -> None:
    if layer not in activations.matrices:
        there = ", ".join(map(str, activations.layers))
        raise InputError(f"there is no layer {layer} among these activations, only {there}")
