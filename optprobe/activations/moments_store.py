"""A folder of accumulated moments, one file a layer and feature, and their accumulation from a store of activations.

The folder holds `manifest.json` (what the moments are of, how they were made, size and sha256 of each file) and files
`layer_3.is_french.safetensors` with the arrays mean, covariance and cross. It is written under a temporary name beside
its final one, synced, and renamed.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray

from formulations import Moments
from optprobe.activations.moments import GramAccumulator
from optprobe.activations.store import Activations
from optprobe.errors import InputError, StoreDamaged
from optprobe.features.splits import grouped_split
from optprobe.files import file_digest, new_folder

FORMAT = "optprobe-moments/1"
MANIFEST = "manifest.json"
BLOCK = 8192
"""Rows read at once."""
ARRAYS = ("mean", "covariance", "cross")
SCALARS = ("n_rows", "target_mean", "target_variance", "error", "made")
"""What a file holds besides its arrays, as JSON."""


@dataclass(frozen=True, eq=False)
class MomentStore:
    """Moments of features at layers, kept in a folder.

    Attributes
    ----------
    folder : Path
    manifest : mapping
        Format, model, revision, hook, dataset (name and digest), split, class_weight, features, layers, and files: name
        to bytes and sha256.
    """

    folder: Path
    manifest: Mapping[str, Any]

    @classmethod
    def open(cls, folder: str | Path) -> MomentStore:
        """Open a folder that `accumulate` wrote.

        Raises
        ------
        InputError
            If it does not exist or holds no moments.
        StoreDamaged
            If its manifest cannot be read.
        """
        folder = Path(folder)
        if not is_moment_store(folder):
            raise InputError(f"{folder} is no folder of moments: make one by `optprobe moments STORE --out {folder}`")
        manifest = _read_manifest(folder)
        kinds = {"features": list, "layers": list, "files": dict, "dataset": dict}
        for name, kind in kinds.items():
            if not isinstance(manifest.get(name), kind):
                raise StoreDamaged(f"{folder / MANIFEST} has no valid entry {name!r}; accumulate the moments again")
        return cls(folder, MappingProxyType(manifest))

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features."""
        return tuple(self.manifest["features"])

    @property
    def layers(self) -> tuple[int, ...]:
        """The layers, ascending."""
        return tuple(self.manifest["layers"])

    def load(self, feature: str | None = None, layer: int | None = None) -> tuple[Moments, dict[str, Any]]:
        """The moments of a feature at a layer, and their scope: where the rows came from.

        Parameters
        ----------
        feature, layer : str and int, optional
            May be left out where there is one only.

        Raises
        ------
        InputError
            If there is no such feature or layer, or one of several must be named.
        StoreDamaged
            If the file is missing or altered.
        """
        feature = _chosen("feature", feature, self.features, self.folder)
        layer = _chosen("layer", layer, self.layers, self.folder)
        path = self.folder / _file_name(layer, feature)
        entry = self.manifest["files"].get(path.name)
        if not path.is_file() or not isinstance(entry, dict):
            raise StoreDamaged(f"{path} is missing; accumulate the moments again")
        if file_digest(path) != entry.get("sha256"):
            raise StoreDamaged(f"{path} was altered: its sha256 is not that of the manifest; accumulate them again")
        return _read(path), scope_of(self.manifest, feature, layer)


def accumulate(
    store: Activations,
    out: str | Path,
    features: Sequence[str] | None = None,
    layers: Sequence[int] | None = None,
    *,
    class_weight: str = "none",
    test_share: float = 0.3,
    seed: int = 0,
    device: str = "cpu",
    report: Callable[[int, str], None] | None = None,
) -> MomentStore:
    """Accumulate the moments of the training rows of a store's features, to a new folder, whole or not at all.

    The training rows are those of `load_labelled` for the same test share and seed.

    Parameters
    ----------
    store : Activations
    out : str or Path
        The folder; nothing may be there.
    features, layers : sequence, optional
        All unless given.
    class_weight : {"none", "balanced"}
    test_share, seed : float and int
        Of `grouped_split`.
    device : str
        A torch device with float64.
    report : callable, optional
        Receives layer and feature before each is accumulated.

    Raises
    ------
    InputError
        If a name or number is unknown, a value not finite, something is at ``out`` already, or it cannot be written.
    """
    if class_weight not in ("none", "balanced"):
        raise InputError(f"the class weight {class_weight!r} is unknown: use none or balanced")
    chosen = [_chosen("feature", feature, store.features, "the store") for feature in features or store.features]
    depths = [_chosen("layer", layer, store.layers, "the store") for layer in layers or store.layers]
    dataset = store.manifest["dataset"]
    manifest = {
        "format": FORMAT,
        "model": store.manifest["model"],
        "revision": store.manifest.get("revision"),
        "hook": store.manifest["hook"],
        "dataset": {"name": dataset.get("name"), "digest": dataset.get("digest")},
        "split": {"seed": seed, "test_share": test_share},
        "class_weight": class_weight,
        "features": list(dict.fromkeys(chosen)),
        "layers": sorted(set(depths)),
    }
    files: dict[str, Any] = {}
    with new_folder(Path(out)) as folder:
        for feature in manifest["features"]:
            rows = _training_rows(store, feature, class_weight, test_share, seed)
            for layer in manifest["layers"]:
                if report is not None:
                    report(layer, feature)
                made = {**scope_of(manifest, feature, layer), "class_weight": class_weight}
                path = folder / _file_name(layer, feature)
                _write(path, _accumulated(store, layer, rows, device).moments(made=made))
                files[path.name] = {"bytes": path.stat().st_size, "sha256": file_digest(path)}
        text = json.dumps({**manifest, "files": files}, indent=1, ensure_ascii=False)
        (folder / MANIFEST).write_text(text + "\n", encoding="utf-8")
    return MomentStore.open(out)


@dataclass(frozen=True, eq=False)
class _Rows:
    """Rows of a store, their labels and their weights."""

    rows: NDArray[np.intp]
    y: NDArray[np.float64]
    w: NDArray[np.float64]


def _accumulated(store: Activations, layer: int, used: _Rows, device: str) -> GramAccumulator:
    accumulator = GramAccumulator(store.matrices[layer].shape[1], device=device)
    for block in row_blocks(store, layer, used.rows):
        part = slice(accumulator.n_rows, accumulator.n_rows + len(block))
        try:
            accumulator.add(block, used.y[part], used.w[part])
        except InputError as error:
            raise InputError(f"layer {layer}, among the training rows: {error}") from error
    return accumulator


def row_blocks(store: Activations, layer: int, rows: NDArray[np.intp]) -> Iterator[NDArray[np.floating[Any]]]:
    """Some rows of a layer, in order, in blocks that fit in memory."""
    for start in range(0, len(rows), BLOCK):
        yield store.matrices[layer].rows(rows[start : start + BLOCK])


def is_moment_store(folder: str | Path) -> bool:
    """Whether a folder says of itself that it holds moments."""
    path = Path(folder) / MANIFEST
    return path.is_file() and _read_manifest(Path(folder)).get("format") == FORMAT


def scope_of(manifest: Mapping[str, Any], feature: str, layer: int) -> dict[str, Any]:
    """Where the rows of a feature at a layer came from: model, revision, layer, hook, feature, dataset, split."""
    return {
        "model": manifest["model"],
        "revision": manifest["revision"],
        "layer": layer,
        "hook": manifest["hook"],
        "feature": feature,
        "dataset": manifest["dataset"].get("name"),
        "dataset_digest": manifest["dataset"].get("digest"),
        "split": dict(manifest["split"]),
    }


def _training_rows(store: Activations, feature: str, class_weight: str, test_share: float, seed: int) -> _Rows:
    """The training rows of a feature."""
    rows = np.flatnonzero(store.labels[feature])
    y = store.labels[feature][rows].astype(np.float64)
    train = ~grouped_split(store.group[rows].astype(np.int64), y, test_share, seed)
    rows, y = rows[train], y[train]
    positive = y > 0
    if class_weight == "none":
        return _Rows(rows, y, np.ones(len(y)))
    return _Rows(rows, y, np.where(positive, 0.5 / positive.sum(), 0.5 / (~positive).sum()))


def _chosen(kind: str, asked: Any, known: Sequence[Any], where: object) -> Any:
    if asked is None and len(known) > 1:
        raise InputError(f"{where} holds several {kind}s; give one of {', '.join(map(str, known))}")
    if asked is not None and asked not in known:
        raise InputError(f"{where} has no {kind} {asked!r}, only {', '.join(map(str, known))}")
    return known[0] if asked is None else asked


def _file_name(layer: int, feature: str) -> str:
    return f"layer_{layer}.{quote(feature, safe=' =+,@()')}.safetensors"


def _read_manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StoreDamaged(f"{folder / MANIFEST} cannot be read as JSON ({error})") from error
    return manifest if isinstance(manifest, dict) else {}


def _write(path: Path, moments: Moments) -> None:
    from safetensors.numpy import save_file

    stated = {name: getattr(moments, name) for name in SCALARS} | {"made": dict(moments.made)}
    arrays = {name: np.ascontiguousarray(getattr(moments, name)) for name in ARRAYS}
    save_file(arrays, path, {"format": FORMAT, "moments": json.dumps(stated, sort_keys=True, allow_nan=False)})


def _read(path: Path) -> Moments:
    from safetensors import SafetensorError, safe_open

    try:
        with safe_open(path, framework="numpy") as file:
            stated = json.loads((file.metadata() or {})["moments"])
            arrays = {name: file.get_tensor(name) for name in ARRAYS}
        entries: dict[str, Any] = {**{name: stated[name] for name in SCALARS}, **arrays}
        return Moments(**entries)
    except (SafetensorError, KeyError, TypeError, ValueError) as error:
        raise StoreDamaged(f"{path} holds no moments ({error}); accumulate them again") from error
