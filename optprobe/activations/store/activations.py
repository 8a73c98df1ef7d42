"""
Activations of a model's neurons at labelled words, and the folder that keeps them.

The folder holds `manifest.json` (what the numbers are, and the sha256 of every file), `rows.safetensors` (one entry a
row) and `layer_<l>/<shard>.safetensors`, 2,048 rows each (see `shards`). A folder whose manifest has no digests yet is
being written, or was left so; extracting to it again goes on with it.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from formulations.shown import Shown, Table
from optprobe.activations.store.manifest import MANIFEST, REPAIR, ROWS, read_manifest, shards_of
from optprobe.activations.store.matrix import NeuronMatrix
from optprobe.activations.store.shards import SHARD_ROWS, map_shard, shard_digest
from optprobe.activations.store.writer import StoreWriter
from optprobe.errors import InputError, StoreDamaged
from optprobe.files import new_folder

ROW_ARRAYS = ("row", "text", "start", "end", "token", "group")


@dataclass(frozen=True, eq=False, repr=False)
class Activations(Shown):
    """
    Values of a model's neurons, one row a labelled word, one matrix a layer.

    Parameters
    ----------
    manifest : mapping
        What the numbers are: model, revision, hook, dataset (name, digest, licence), features and, where there are
        such, targets (name to rule), layers, d_mlp, values (the type of each layer's), n_rows, dropped_rows, versions,
        and more that `extract` records.
    row : ndarray of int32, shape (n_rows,)
        Index in the dataset.
    text, start, end : ndarray of int32, shape (n_rows,)
        Index of the text in the dataset, and character span of the word in it.
    token : ndarray of int32, shape (n_rows,)
        Position of the word's (last) token in its context.
    group : ndarray of int32, shape (n_rows,)
        Document of each row.
    labels : mapping of str to ndarray of int8, shape (n_rows,)
        Labels in {-1, 0, +1} of each feature; 0: the row does not belong to it.
    matrices : mapping of int to NeuronMatrix
        Neuron values of each layer; memory-mapped where they were read from a folder.
    folder : Path, optional
        Where they were read from.
    targets : mapping of str to ndarray of float64, shape (n_rows,)
        The number of each row to be predicted, of each target; nan: the row does not belong to it.
    """

    manifest: Mapping[str, Any]
    row: NDArray[np.int32]
    text: NDArray[np.int32]
    start: NDArray[np.int32]
    end: NDArray[np.int32]
    token: NDArray[np.int32]
    group: NDArray[np.int32]
    labels: Mapping[str, NDArray[np.int8]]
    matrices: Mapping[int, NeuronMatrix]
    folder: Path | None = None
    targets: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.text)

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers, ascending."""
        return tuple(self.matrices)

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features."""
        return tuple(self.labels)

    def select(
        self, feature: str, layer: int
    ) -> tuple[NDArray[np.float32], NDArray[np.int8] | NDArray[np.float64], NDArray[np.int32]]:
        """
        Return the rows of one feature, or target, at one layer.

        Parameters
        ----------
        feature : str
            A name in `features` or `targets`.
        layer : int
            One of `layers`.

        Returns
        -------
        X : ndarray of float32, shape (n_rows of the feature, d_mlp)
            Neuron values, in memory.
        y : ndarray, shape (n_rows of the feature,)
            Labels, -1 or +1, as int8; of a target its values as float64.
        group : ndarray of int32, shape (n_rows of the feature,)
            Documents.

        Raises
        ------
        InputError
            If there is no such feature, target or layer.
        """
        rows, y = self.rows_of(feature)
        self.check_layers((layer,))
        return self.matrices[layer].rows(rows), y, self.group[rows]

    def rows_of(self, feature: str) -> tuple[NDArray[np.int64], NDArray[np.int8] | NDArray[np.float64]]:
        """Return the rows of one feature, or target, and its labels or values there; raises as `select` does."""
        if feature in self.labels:
            labels = self.labels[feature]
            rows = np.flatnonzero(labels)
            return rows, labels[rows]
        if feature in self.targets:
            values = self.targets[feature]
            rows = np.flatnonzero(~np.isnan(values))
            return rows, values[rows]
        there = ", ".join((*self.features, *self.targets))
        raise InputError(f"there is no feature {feature!r} among these activations, only {there}")

    def check_layers(self, layers: Iterable[int]) -> None:
        """Raise `InputError` where one of these layers is not among the activations."""
        if (strange := next((layer for layer in layers if layer not in self.matrices), None)) is not None:
            raise InputError(f"there is no layer {strange} among these activations, only {_listing(self.layers)}")

    def save(self, folder: str | Path) -> None:
        """
        Write the activations to a new folder, whole or not at all.

        Parameters
        ----------
        folder : str or Path
            Where; nothing may be there.

        Raises
        ------
        InputError
            If something is there already, or the folder cannot be written.
        """
        with new_folder(folder) as making, StoreWriter(making, self.manifest, self.row_arrays()) as writer:
            for layer, matrix in self.matrices.items():
                for start in range(0, self.n_rows, SHARD_ROWS):
                    rows = np.arange(start, min(start + SHARD_ROWS, self.n_rows))
                    writer.add(layer, start, matrix.rows(rows).astype(matrix.dtype))
            writer.finish()

    @classmethod
    def open(cls, folder: str | Path, check_digests: bool = False) -> Activations:
        """
        Open a folder that `extract` or `save` wrote; its matrices are mapped, not read.

        Parameters
        ----------
        folder : str or Path
            The folder.
        check_digests : bool, default=False
            Whether to read every file and compare its sha256; sizes and shapes are always compared.

        Returns
        -------
        Activations
            The activations.

        Raises
        ------
        InputError
            If the folder does not exist or is no activation store.
        StoreDamaged
            If a file is missing, truncated or altered.
        """
        folder = Path(folder)
        manifest = read_manifest(folder)
        digests = manifest.get("digests")
        if digests is None:
            raise InputError(
                f"{folder} is not finished; run the same extraction to it again, which goes on where it was"
            )
        if manifest.get("part"):
            number, of = manifest["part"]
            raise InputError(f"{folder} is part {number} of {of} of a store; join it with the others first")
        arrays = _read_rows(folder, manifest)
        labels = dict(zip(manifest["features"], arrays.pop("labels")))
        targets = dict(zip(manifest.get("targets", ()), arrays.pop("targets", ())))
        try:
            matrices = {
                layer: NeuronMatrix(
                    tuple(map_shard(folder, *shard, digests[shard[0]]) for shard in shards_of(manifest, layer))
                )
                for layer in manifest["layers"]
            }
        except KeyError as error:
            raise StoreDamaged(f"{folder / MANIFEST} does not list {error}; {REPAIR}") from error
        except StoreDamaged as damage:
            raise StoreDamaged(f"{damage}; {REPAIR}") from damage
        opened = cls(
            MappingProxyType(manifest),
            **arrays,
            labels=MappingProxyType(labels),
            matrices=MappingProxyType(matrices),
            folder=folder,
            targets=MappingProxyType(targets),
        )
        if check_digests:
            opened.check()
        return opened

    def check(self, layers: Iterable[int] | None = None) -> None:
        """
        Read the files of some layers (by default, of all) and compare the sha256 of their values with the manifest's.

        Activations in memory have nothing to be compared with.

        Raises
        ------
        StoreDamaged
            If a value was altered: the sentence names the file.
        """
        if self.folder is None:
            return
        for layer in self.layers if layers is None else layers:
            for name, dtype, shape in shards_of(self.manifest, layer):
                try:
                    same = shard_digest(self.folder, name, dtype, shape) == self.manifest["digests"][name]
                except StoreDamaged as damage:
                    raise StoreDamaged(f"{damage}; {REPAIR}") from damage
                if not same:
                    raise StoreDamaged(
                        f"{self.folder / name} was altered: its sha256 is not that of the manifest; {REPAIR}"
                    )

    def row_arrays(self) -> dict[str, NDArray[Any]]:
        """Return one array a name in `ROW_ARRAYS`, and labels and targets as `columns_of_rows` does."""
        arrays: dict[str, NDArray[Any]] = {name: getattr(self, name) for name in ROW_ARRAYS}
        labels = {name: self.labels[name] for name in self.manifest["features"]}
        targets = {name: self.targets[name] for name in self.manifest.get("targets", ())}
        return arrays | columns_of_rows(labels, targets, self.n_rows)

    def _line(self) -> str:
        dataset = self.manifest["dataset"]
        targets = f", {len(self.targets)} targets" if self.targets else ""
        return (
            f"Activations of {self.manifest['model']}: {self.n_rows:,} rows of {dataset['name']!r}, "
            f"layers {_listing(self.layers)}, {len(self.labels)} features{targets}"
        )

    def _table(self) -> Table:
        counts = {name: (np.count_nonzero(y == 1), np.count_nonzero(y == -1)) for name, y in self.labels.items()}
        rows = [(name, str(a + b), str(a), str(b)) for name, (a, b) in counts.items()]
        used = {name: np.count_nonzero(~np.isnan(t)) for name, t in self.targets.items()}
        rows += [(f"{name}, a number a row", str(n), "", "") for name, n in used.items()]
        return [("feature", "rows", "+1", "-1"), *rows]

    def __str__(self) -> str:
        """Give the table, then the layers that float16 cannot hold."""
        kept = (f"layer {n} is kept in float32: {why}" for n, why in self.manifest.get("promoted", {}).items())
        return "\n".join([super().__str__(), *kept])


def _listing(numbers: tuple[int, ...]) -> str:
    return ", ".join(str(n) for n in numbers)


def columns_of_rows(
    labels: Mapping[str, NDArray[np.int8]], targets: Mapping[str, NDArray[np.float64]], n_rows: int
) -> dict[str, NDArray[Any]]:
    """Return `labels` of shape (n_features, n_rows) and, where there are such, `targets` of (n_targets, n_rows)."""
    columns: dict[str, NDArray[Any]] = {"labels": np.array([*labels.values()], np.int8).reshape(len(labels), n_rows)}
    return columns | ({"targets": np.stack([*targets.values()])} if targets else {})


def _read_rows(folder: Path, manifest: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """Return the row arrays of a store, and its labels and targets as `columns_of_rows` does."""
    from safetensors import SafetensorError
    from safetensors.numpy import load

    path, n_rows = folder / ROWS, manifest["n_rows"]
    try:
        content = path.read_bytes()
        if hashlib.sha256(content).hexdigest() != manifest["digests"].get(ROWS):
            raise StoreDamaged(f"{path} was altered: its sha256 is not that of the manifest; {REPAIR}")
        arrays = load(content)
    except (OSError, SafetensorError) as error:
        raise StoreDamaged(f"{path} is missing or cannot be read ({error}); {REPAIR}") from error
    expected: dict[str, tuple[tuple[int, ...], np.dtype[Any]]]
    expected = {name: ((n_rows,), np.dtype(np.int32)) for name in ROW_ARRAYS}
    expected["labels"] = (len(manifest["features"]), n_rows), np.dtype(np.int8)
    if targets := manifest.get("targets"):
        expected["targets"] = (len(targets), n_rows), np.dtype(np.float64)
    for name, (shape, dtype) in expected.items():
        if name not in arrays or arrays[name].shape != shape or arrays[name].dtype != dtype:
            raise StoreDamaged(f"{path}: {name!r} is not {dtype} of shape {shape}; {REPAIR}")
    return {name: arrays[name] for name in expected}
