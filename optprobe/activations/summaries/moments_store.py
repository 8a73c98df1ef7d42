"""A folder of accumulated moments, one file a layer and feature.

The folder holds `manifest.json` (what the moments are of, how they were made, size and sha256 of each file) and files
`layer_3.is_french.safetensors` with the arrays mean, covariance and cross. It is written under a temporary name beside
its final one, synced, and renamed.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

import numpy as np

from formulations import Moments
from formulations.shown import Shown, Table
from optprobe.activations.store.manifest import hook_of
from optprobe.errors import InputError, StoreDamaged
from optprobe.files import file_digest

FORMAT = "optprobe-moments/1"
MANIFEST = "manifest.json"
ARRAYS = ("mean", "covariance", "cross")
SCALARS = ("n_rows", "target_mean", "target_variance", "error", "made")
"""What a file holds besides its arrays, as JSON."""


@dataclass(frozen=True, eq=False, repr=False)
class MomentStore(Shown):
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

    def _line(self) -> str:
        return (
            f"MomentStore of {self.manifest.get('model')}: {len(self.features)} features at layers "
            f"{', '.join(map(str, self.layers))}, class weights {self.manifest.get('class_weight')}"
        )

    def _table(self) -> Table:
        return [
            ("feature", *(f"layer {layer}" for layer in self.layers)),
            *(
                (
                    name,
                    *("yes" if moment_file(layer, name) in self.manifest["files"] else "no" for layer in self.layers),
                )
                for name in self.features
            ),
        ]

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
        feature = chosen("feature", feature, self.features, self.folder)
        layer = chosen("layer", layer, self.layers, self.folder)
        path = self.folder / moment_file(layer, feature)
        entry = self.manifest["files"].get(path.name)
        if not path.is_file() or not isinstance(entry, dict):
            raise StoreDamaged(f"{path} is missing; accumulate the moments again")
        if file_digest(path) != entry.get("sha256"):
            raise StoreDamaged(f"{path} was altered: its sha256 is not that of the manifest; accumulate them again")
        return _read(path), scope_of(self.manifest, feature, layer)


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
        **hook_of(manifest, layer),
        "feature": feature,
        "dataset": manifest["dataset"].get("name"),
        "dataset_digest": manifest["dataset"].get("digest"),
        "split": dict(manifest["split"]),
    }


def chosen(kind: str, asked: Any, known: Sequence[Any], where: object) -> Any:
    """The feature or layer asked for, or the only one there is.

    Raises `InputError` where there is no such one, or one of several must be named.
    """
    if asked is None and len(known) > 1:
        raise InputError(f"{where} holds several {kind}s; give one of {', '.join(map(str, known))}")
    if asked is not None and asked not in known:
        raise InputError(f"{where} has no {kind} {asked!r}, only {', '.join(map(str, known))}")
    return known[0] if asked is None else asked


def moment_file(layer: int, feature: str) -> str:
    """The name of the file of a layer and feature."""
    return f"layer_{layer}.{quote(feature, safe=' =+,@()')}.safetensors"


def _read_manifest(folder: Path) -> dict[str, Any]:
    try:
        manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StoreDamaged(f"{folder / MANIFEST} cannot be read as JSON ({error})") from error
    return manifest if isinstance(manifest, dict) else {}


def write_moments(path: Path, moments: Moments) -> None:
    """Write moments to a new file."""
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
