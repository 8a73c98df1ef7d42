"""
Activations of a model's MLP neurons at labelled words, and the folder that keeps them.

The folder holds `manifest.json` (what the numbers are, and the size and sha256 of each file), `rows.npz` (one entry a
row) and one `layer_<l>.npy` a layer. It is written under a temporary name beside its final one, synced, and renamed.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
import tempfile
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from optprobe.errors import InputError, StoreDamaged

FORMAT = "optprobe-activations/1"
MANIFEST = "manifest.json"
ROWS = "rows.npz"
_ROW_ARRAYS = ("text", "start", "end", "token", "group")
_MANIFEST_FIELDS: dict[str, type] = {
    "model": str,
    "hook": str,
    "dataset": dict,
    "features": dict,
    "layers": list,
    "d_mlp": list,
    "n_rows": int,
    "dropped_rows": int,
    "files": dict,
}


@dataclass(frozen=True, eq=False, repr=False)
class Activations:
    """
    Post-activation values of MLP neurons, one row a labelled word, one matrix a layer.

    Parameters
    ----------
    manifest : mapping
        What the numbers are: model, model_class, revision, hook, dtype, dataset (name, digest, licence), features (name
        to rule), layers, d_mlp, n_rows, dropped_rows, versions, and more that `extract` records.
    text, start, end : ndarray of int32, shape (n_rows,)
        Index of the text in the dataset, and character span of the word in it.
    token : ndarray of int32, shape (n_rows,)
        Position of the word's token in its context.
    group : ndarray of int32, shape (n_rows,)
        Document of each row.
    labels : mapping of str to ndarray of int8, shape (n_rows,)
        Labels in {-1, 0, +1} of each feature; 0: the row does not belong to it.
    matrices : mapping of int to ndarray of float32, shape (n_rows, d_mlp)
        Neuron values of each layer; memory-mapped where they were read from a folder.
    """

    manifest: Mapping[str, Any]
    text: NDArray[np.int32]
    start: NDArray[np.int32]
    end: NDArray[np.int32]
    token: NDArray[np.int32]
    group: NDArray[np.int32]
    labels: Mapping[str, NDArray[np.int8]]
    matrices: Mapping[int, NDArray[np.float32]]

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

    def select(self, feature: str, layer: int) -> tuple[NDArray[np.float32], NDArray[np.int8], NDArray[np.int32]]:
        """
        Return the rows of one feature at one layer.

        Parameters
        ----------
        feature : str
            A name in `features`.
        layer : int
            One of `layers`.

        Returns
        -------
        X : ndarray of float32, shape (n_rows of the feature, d_mlp)
            Neuron values, in memory.
        y : ndarray of int8, shape (n_rows of the feature,)
            Labels, -1 or +1.
        group : ndarray of int32, shape (n_rows of the feature,)
            Documents.

        Raises
        ------
        InputError
            If there is no such feature or layer.
        """
        if feature not in self.labels:
            raise InputError(
                f"there is no feature {feature!r} among these activations, only {', '.join(self.features)}"
            )
        if layer not in self.matrices:
            raise InputError(f"there is no layer {layer} among these activations, only {_listing(self.layers)}")
        rows = np.flatnonzero(self.labels[feature])
        return self.matrices[layer][rows], self.labels[feature][rows], self.group[rows]

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
        with StoreWriter(folder) as writer:
            for layer, matrix in self.matrices.items():
                writer.matrix(layer, *matrix.shape)[:] = matrix
            writer.commit(self)

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
        manifest = _read_manifest(folder)
        names = [ROWS, *(_layer_file(layer) for layer in manifest["layers"])]
        for name in names:
            _check_file(folder / name, manifest["files"].get(name), check_digests)
        arrays = _read_rows(folder / ROWS, manifest)
        labels = dict(zip(manifest["features"], arrays.pop("labels")))
        matrices = {
            layer: _map_matrix(folder / _layer_file(layer), (manifest["n_rows"], d_mlp))
            for layer, d_mlp in zip(manifest["layers"], manifest["d_mlp"])
        }
        return cls(
            MappingProxyType(manifest), **arrays, labels=MappingProxyType(labels), matrices=MappingProxyType(matrices)
        )

    def __repr__(self) -> str:
        """Say in one line what these activations are."""
        dataset = self.manifest["dataset"]
        return (
            f"Activations of {self.manifest['model']}: {self.n_rows:,} rows of {dataset['name']!r}, "
            f"layers {_listing(self.layers)}, {len(self.labels)} features"
        )

    def __str__(self) -> str:
        """Give the line of `repr`, then one line a feature."""
        width = max(len(name) for name in self.labels)
        lines = [repr(self), f"{'feature':<{width}}  rows     +1     -1"]
        lines += [
            f"{name:<{width}} {np.count_nonzero(y):>5} {np.count_nonzero(y == 1):>6} {np.count_nonzero(y == -1):>6}"
            for name, y in self.labels.items()
        ]
        return "\n".join(lines)


class StoreWriter:
    """
    A folder of activations that is being written under a temporary name.

    A context manager: `matrix` gives room for a layer, `commit` completes the folder and gives it its name. Left
    without `commit`, by an exception or Ctrl-C as well, it removes everything it wrote.

    Parameters
    ----------
    folder : str or Path
        The final name; nothing may be there.

    Raises
    ------
    InputError
        If something is there already, or the parent folder cannot be written.
    """

    def __init__(self, folder: str | Path) -> None:
        self._final = Path(folder)
        if self._final.exists():
            raise InputError(f"{self._final} exists already; remove it or give another name")
        try:
            self._final.parent.mkdir(parents=True, exist_ok=True)
            self._folder = Path(tempfile.mkdtemp(dir=self._final.parent, prefix=f".{self._final.name}.", suffix=".tmp"))
        except OSError as error:
            raise InputError(f"the folder {self._final} cannot be made: {error.strerror}") from error
        self._matrices: dict[int, np.memmap[Any, np.dtype[np.float32]]] = {}

    def __enter__(self) -> Self:
        """Return the writer."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the temporary folder if it is still there."""
        self._matrices.clear()
        shutil.rmtree(self._folder, ignore_errors=True)

    def matrix(self, layer: int, n_rows: int, d_mlp: int) -> NDArray[np.float32]:
        """
        Return a file-backed matrix to be filled.

        Parameters
        ----------
        layer : int
            The layer.
        n_rows, d_mlp : int
            Its shape.

        Returns
        -------
        ndarray of float32, shape (n_rows, d_mlp)
            Zeros.
        """
        self._matrices[layer] = np.lib.format.open_memmap(
            self._folder / _layer_file(layer), mode="w+", dtype=np.float32, shape=(n_rows, d_mlp)
        )
        return self._matrices[layer]

    def commit(self, activations: Activations) -> None:
        """
        Write rows and manifest, sync every file, and give the folder its name.

        Parameters
        ----------
        activations : Activations
            What the folder is to hold; its matrices are those this writer gave out.

        Raises
        ------
        InputError
            If the folder cannot be given its name.
        """
        for mapped in self._matrices.values():
            mapped.flush()
        arrays = {key: getattr(activations, key) for key in _ROW_ARRAYS}
        arrays["labels"] = np.stack([activations.labels[name] for name in activations.manifest["features"]])
        np.savez(self._folder / ROWS, **arrays)
        names = [ROWS, *(_layer_file(layer) for layer in self._matrices)]
        files = {
            name: {"bytes": (self._folder / name).stat().st_size, "sha256": _sha256(self._folder / name)}
            for name in names
        }
        manifest = {**activations.manifest, "format": FORMAT, "files": files}
        (self._folder / MANIFEST).write_text(
            json.dumps(manifest, indent=1, ensure_ascii=False) + "\n", encoding="utf-8"
        )
        for path in (*(self._folder / name for name in names), self._folder / MANIFEST, self._folder):
            _sync(path)
        self._folder.chmod(0o777 & ~_umask())
        try:
            self._folder.rename(self._final)
        except OSError as error:
            raise InputError(f"the folder {self._final} cannot be written: {error.strerror}") from error
        _sync(self._final.parent)


def _layer_file(layer: int) -> str:
    return f"layer_{layer}.npy"


def _listing(numbers: tuple[int, ...]) -> str:
    return ", ".join(str(n) for n in numbers)


def _sha256(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask


def _read_manifest(folder: Path) -> dict[str, Any]:
    """Return the manifest of a store, with the fields that this module reads and their types."""
    path = folder / MANIFEST
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}")
    if not path.is_file():
        raise InputError(f"{folder} is not a store of activations: it has no {MANIFEST}")
    try:
        manifest = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StoreDamaged(f"{path} cannot be read as JSON ({error}); extract the activations again") from error
    found = manifest.get("format") if isinstance(manifest, dict) else None
    if found != FORMAT:
        raise InputError(f"{path} has the format {found!r}, and this version reads {FORMAT!r}")
    for key, kind in _MANIFEST_FIELDS.items():
        if not isinstance(manifest.get(key), kind):
            raise StoreDamaged(f"{path} has no valid entry {key!r}; extract the activations again")
    sizes = [*manifest["layers"], *manifest["d_mlp"]]
    if len(manifest["layers"]) != len(manifest["d_mlp"]) or not all(type(n) is int and n >= 0 for n in sizes):
        raise StoreDamaged(f"{path}: 'layers' and 'd_mlp' are not whole numbers, one a layer; extract again")
    return manifest  # type: ignore[no-any-return]


def _check_file(path: Path, entry: object, check_digest: bool) -> None:
    """Compare a file with its entry in the manifest."""
    if not isinstance(entry, dict):
        raise StoreDamaged(f"{path.parent / MANIFEST} does not list {path.name}; extract the activations again")
    if not path.is_file():
        raise StoreDamaged(f"{path} is missing; extract the activations again")
    size = path.stat().st_size
    if size != entry.get("bytes"):
        raise StoreDamaged(f"{path} has {size} bytes instead of {entry.get('bytes')}; extract the activations again")
    if check_digest and _sha256(path) != entry.get("sha256"):
        raise StoreDamaged(f"{path} was altered: its sha256 is not that of the manifest; extract the activations again")


def _read_rows(path: Path, manifest: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """Return the row arrays of a store, and `labels` of shape (n_features, n_rows)."""
    n_rows = manifest["n_rows"]
    expected = {key: ((n_rows,), np.dtype(np.int32)) for key in _ROW_ARRAYS}
    expected |= {"labels": ((len(manifest["features"]), n_rows), np.dtype(np.int8))}  # type: ignore[dict-item]
    try:
        with np.load(path, allow_pickle=False) as file:
            arrays = {key: file[key] for key in expected}
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise StoreDamaged(f"{path} cannot be read ({error}); extract the activations again") from error
    for key, (shape, dtype) in expected.items():
        if arrays[key].shape != shape or arrays[key].dtype != dtype:
            raise StoreDamaged(
                f"{path}: {key!r} is {arrays[key].dtype} of shape {arrays[key].shape}, not {dtype} {shape}"
            )
    return arrays


def _map_matrix(path: Path, shape: tuple[int, int]) -> NDArray[np.float32]:
    """Map a matrix file, and compare its type and shape with the manifest's."""
    try:
        matrix = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise StoreDamaged(f"{path} cannot be read ({error}); extract the activations again") from error
    if matrix.dtype != np.float32 or matrix.shape != shape:
        raise StoreDamaged(
            f"{path} holds {matrix.dtype} of shape {matrix.shape}, and the manifest says float32 {shape}"
        )
    return matrix  # type: ignore[no-any-return]
