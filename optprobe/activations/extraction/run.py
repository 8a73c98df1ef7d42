"""The run of an extraction: chunk after chunk through the model, and the values into a sink."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
from numpy.typing import NDArray

from optprobe.activations.extraction.forward import Forward
from optprobe.activations.extraction.plan import Batch, Chunk, Plan
from optprobe.activations.extraction.rounding import OVERFLOW, coarseness
from optprobe.activations.model.hooks import HookSite
from optprobe.activations.model.neurons import NeuronLayer
from optprobe.activations.store.activations import Activations, columns_of_rows
from optprobe.activations.store.matrix import NeuronMatrix
from optprobe.activations.store.shards import SHARD_ROWS, rows_of_shard
from optprobe.activations.store.writer import StoreWriter
from optprobe.errors import InputError
from optprobe.features.dataset import FeatureDataset

if TYPE_CHECKING:
    import torch
    from torch import nn


@dataclass(frozen=True)
class ExtractionProgress:
    """
    How far an extraction is.

    Parameters
    ----------
    done, total : int
        Tokens run and tokens to be run.
    seconds : float
        Seconds since the first batch began.
    """

    done: int
    total: int
    seconds: float

    @property
    def share(self) -> float:
        """Share of the tokens that were run, 0 to 1."""
        return self.done / self.total

    @property
    def tokens_per_second(self) -> float:
        """Tokens run in a second."""
        return self.done / self.seconds if self.seconds else 0.0

    @property
    def seconds_left(self) -> float:
        """Seconds left if the tokens to come take as long as those done."""
        return self.seconds * (self.total - self.done) / self.done


Report = Callable[[ExtractionProgress], object]


class Sink(Protocol):
    """What takes the values of an extraction, layer by layer, in consecutive rows."""

    @property
    def dtypes(self) -> dict[int, str]:
        """The type in which each layer is kept."""

    def missing(self) -> dict[int, list[int]]:
        """Return the shards of each layer that are still to be filled."""

    def add(self, layer: int, start: int, values: NDArray[Any]) -> None:
        """Take the values of a layer, shape (m, width), in the rows from `start`."""

    def promote(self, layer: int, reason: str) -> None:
        """Keep a layer in float32, for a reason; what was kept of it is missing again."""

    def fresh(self, layer: int) -> Iterator[NDArray[np.float16]]:
        """Yield what was kept of a layer in float16, in parts of shape (width, m), unless it was finished before."""


class _Memory:
    """A sink of arrays."""

    def __init__(self, n_rows: int, widths: dict[int, int], dtypes: dict[int, str]) -> None:
        self.arrays = {layer: np.zeros((n_rows, width), dtype=dtypes[layer]) for layer, width in widths.items()}
        self._filled = {layer: np.zeros(n_rows, dtype=bool) for layer in widths}
        self.promoted: dict[str, str] = {}

    @property
    def dtypes(self) -> dict[int, str]:
        return {layer: str(array.dtype) for layer, array in self.arrays.items()}

    def missing(self) -> dict[int, list[int]]:
        absent = {
            layer: [int(s) for s in np.unique(np.flatnonzero(~filled) // SHARD_ROWS)]
            for layer, filled in self._filled.items()
        }
        return {layer: shards for layer, shards in absent.items() if shards}

    def add(self, layer: int, start: int, values: NDArray[Any]) -> None:
        self.arrays[layer][start : start + len(values)] = values
        self._filled[layer][start : start + len(values)] = True

    def promote(self, layer: int, reason: str) -> None:
        self.promoted[str(layer)] = reason
        self.arrays[layer] = np.zeros(self.arrays[layer].shape, dtype=np.float32)
        self._filled[layer][:] = False

    def fresh(self, layer: int) -> Iterator[NDArray[np.float16]]:
        for start in range(0, len(self.arrays[layer]), SHARD_ROWS):
            yield np.ascontiguousarray(self.arrays[layer][start : start + SHARD_ROWS].T)


class _Overflow(Exception):
    """A layer has a value beyond float16."""


@dataclass(frozen=True, eq=False)
class Extraction:
    """
    A model, where its values are, and what is to be run through it.

    Parameters
    ----------
    model : torch.nn.Module
        The model.
    sites : mapping of NeuronLayer to HookSite
        Where the values of each probed layer are, the layers in the order in which they run.
    data : FeatureDataset
        The labelled words.
    plan : Plan
        The rows, and the texts in the order in which they run.
    manifest : mapping
        What the values are, in JSON values.
    progress : callable, optional
        Called with an `ExtractionProgress` after each chunk of texts.
    """

    model: nn.Module
    sites: Mapping[NeuronLayer, HookSite]
    data: FeatureDataset
    plan: Plan
    manifest: Mapping[str, Any]
    progress: Report | None = None

    def to_memory(self) -> Activations:
        """
        Run everything, and keep the values in memory.

        Raises
        ------
        InputError
            If a value is not finite, or a text does not fit in memory.
        """
        widths = {layer.layer: site.width for layer, site in self.sites.items()}
        memory = _Memory(self.plan.n_rows, widths, dict(zip(self.manifest["layers"], self.manifest["values"])))
        self.fill(memory)
        rows: dict[str, Any] = self.row_arrays()
        labels = dict(zip(self.manifest["features"], rows.pop("labels")))
        targets = dict(zip(self.manifest.get("targets", ()), rows.pop("targets", ())))
        manifest = {**self.manifest, "values": list(memory.dtypes.values()), "promoted": memory.promoted}
        return Activations(
            MappingProxyType(manifest),
            **rows,
            labels=MappingProxyType(labels),
            targets=MappingProxyType(targets),
            matrices=MappingProxyType({layer: NeuronMatrix.of(array) for layer, array in memory.arrays.items()}),
        )

    def to_store(self, folder: str | Path) -> Activations:
        """
        Run what a store lacks, from nothing or from where an earlier run stopped, and open it.

        Raises
        ------
        InputError
            If the folder holds something else, cannot be written, or is being written by another process; and as
            `to_memory` does. Whole shards stay in any case.
        """
        self._write(folder, self.manifest)
        return Activations.open(folder)

    def to_part(self, folder: str | Path, number: int, of: int) -> None:
        """
        Run what part `number`, from 1, of `of` parts lacks; `join` makes a store of all parts.

        Raises
        ------
        InputError
            If there is no such part, and as `to_store` does.
        """
        if not 1 <= number <= of:
            raise InputError(f"there is no part {number} of {of}; parts are numbered from 1")
        self._write(folder, {**self.manifest, "part": [number, of]})

    def _write(self, folder: str | Path, manifest: Mapping[str, Any]) -> None:
        with StoreWriter(folder, manifest, self.row_arrays()) as writer:
            self.fill(writer)
            writer.finish()

    def fill(self, sink: Sink) -> None:
        """Run what the sink misses, until it misses nothing; again, in float32, where float16 is too coarse."""
        self._run_missing(sink)
        for layer in [layer for layer, dtype in sink.dtypes.items() if dtype == "float16"]:
            if reason := coarseness(sink.fresh(layer)):
                sink.promote(layer, reason)
        self._run_missing(sink)

    def _run_missing(self, sink: Sink) -> None:
        while missing := sink.missing():
            shards = sorted({shard for absent in missing.values() for shard in absent})
            bounds = np.array([rows_of_shard(shard, self.plan.n_rows) for shard in shards])
            chunks = [c for c in self.plan.chunks() if ((bounds[:, 0] < c.stop) & (bounds[:, 1] > c.start)).any()]
            sites = {layer: site for layer, site in self.sites.items() if layer.layer in missing}
            done, total, began = 0, sum(chunk.n_tokens for chunk in chunks), time.perf_counter()
            with Forward(self.model, sites, self.plan, self.data.aggregation) as forward:
                for chunk in chunks:
                    self._run(forward, chunk, sites, sink)
                    done += chunk.n_tokens
                    if self.progress is not None:
                        self.progress(ExtractionProgress(done, total, time.perf_counter() - began))

    def _run(self, forward: Forward, chunk: Chunk, sites: dict[NeuronLayer, HookSite], sink: Sink) -> None:
        """Run a chunk and hand its values over; again, in float32, where a layer leaves float16."""
        while True:
            forward.dtypes = sink.dtypes
            kept = {
                layer.layer: np.empty((chunk.stop - chunk.start, site.width), dtype=sink.dtypes[layer.layer])
                for layer, site in sites.items()
            }
            try:
                ran = chain.from_iterable(map(forward.run, chunk.batches))
                for batch, values in _on_host(ran):
                    for layer, (array, reach) in values.items():
                        self._check(array, reach, layer, batch)
                        kept[layer][batch.rows - chunk.start] = array
            except _Overflow as overflow:
                sink.promote(overflow.args[0], OVERFLOW)
            else:
                break
        for layer, array in kept.items():
            sink.add(layer, chunk.start, array)

    def _check(self, values: NDArray[Any], reach: float, layer: int, batch: Batch) -> None:
        """Report the first value that is not a number; raise `_Overflow` where it may only be beyond float16."""
        if reach < np.inf:
            return
        if values.dtype == np.float16 and not np.isnan(reach):
            raise _Overflow(layer)
        i, neuron = np.argwhere(~np.isfinite(values))[0]
        row = batch.rows[i]
        raise InputError(
            f"neuron {neuron} of layer {layer} is {values[i, neuron]} at token {self.plan.last[row]} of text "
            f"{self.plan.text[row]}: the model overflows or its weights are damaged; try dtype='float32'"
        )

    def row_arrays(self) -> dict[str, NDArray[Any]]:
        """Return the row arrays of a store, as `Activations.row_arrays` does."""
        data, plan = self.data, self.plan
        return {
            "row": plan.row.astype(np.int32),
            "text": plan.text,
            "start": data.start[plan.row],
            "end": data.end[plan.row],
            "token": plan.last,
            "group": data.group[plan.row],
            **columns_of_rows(
                {name: y[plan.row] for name, y in data.labels.items()},
                {name: v[plan.row] for name, v in data.values.items()},
                plan.n_rows,
            ),
        }


Copied = dict[int, tuple["torch.Tensor", "torch.Tensor"]]


def _on_host(
    ran: Iterator[tuple[Batch, dict[int, torch.Tensor]]],
) -> Iterator[tuple[Batch, dict[int, tuple[NDArray[Any], float]]]]:
    """Yield values on the host, and the largest absolute one, nan if one is.

    Values are copied from a GPU while the next batch runs.
    """
    import torch

    waiting: tuple[Batch, Copied, torch.cuda.Event | None] | None = None
    for batch, values in ran:
        copied: Copied = {}
        event = None
        for layer, value in values.items():
            extremes = torch.stack(torch.aminmax(value))
            copied[layer] = _begin_copy(value), _begin_copy(extremes)
            if value.is_cuda:
                event = torch.cuda.Event()  # type: ignore[no-untyped-call]
                event.record()
        if waiting is not None:
            yield _arrived(*waiting)
        waiting = batch, copied, event
    if waiting is not None:
        yield _arrived(*waiting)


def _begin_copy(value: torch.Tensor) -> torch.Tensor:
    """Return a tensor on the host that holds the value, from a GPU when what was queued there is done."""
    import torch

    if not value.is_cuda:
        return value
    pinned = torch.empty(value.shape, dtype=value.dtype, pin_memory=True)
    return pinned.copy_(value, non_blocking=True)


def _arrived(
    batch: Batch, copied: Copied, event: torch.cuda.Event | None
) -> tuple[Batch, dict[int, tuple[NDArray[Any], float]]]:
    if event is not None:
        event.synchronize()
    return batch, {
        layer: (value.numpy(), float(extremes.float().abs().max())) for layer, (value, extremes) in copied.items()
    }
