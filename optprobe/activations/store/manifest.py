"""The manifest of a store: what its numbers are, and the sha256 of every file; none yet where it is being written."""

from __future__ import annotations

import json
from collections.abc import Collection, Iterable, Mapping
from pathlib import Path
from typing import Any

from optprobe.activations.store.shards import DTYPES, SHARD_ROWS, rows_of_shard, shard_name
from optprobe.errors import InputError, StoreDamaged

FORMAT = "optprobe-activations/2"
MANIFEST = "manifest.json"
ROWS = "rows.safetensors"
A_LAYER = ("layers", "d_mlp", "modules", "values", "heads")
"""Entries of the manifest that have one item a layer, where they are there."""
REPAIR = "run the same extraction to the same folder again, which replaces what is damaged"
_MANIFEST_FIELDS: dict[str, type] = {
    "model": str,
    "hook": str,
    "dataset": dict,
    "features": dict,
    "layers": list,
    "d_mlp": list,
    "values": list,
    "n_rows": int,
    "shard_rows": int,
    "dropped_rows": int,
}


def read_manifest(folder: Path) -> dict[str, Any]:
    """
    Return the manifest of a store, finished or not.

    Raises
    ------
    InputError
        If the folder does not exist or is no store of this format.
    StoreDamaged
        If the manifest cannot be used.
    """
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
    targets = manifest.get("targets", {})
    if not isinstance(targets, dict) or set(targets) & set(manifest["features"]):
        raise StoreDamaged(f"{path}: 'targets' are no names with rules, other than those of features; extract again")
    sizes = [*manifest["layers"], *manifest["d_mlp"]]
    per_layer = {len(manifest[key]) for key in ("layers", "d_mlp", "values")}
    if len(per_layer) != 1 or not all(type(n) is int and n >= 0 for n in sizes):
        raise StoreDamaged(f"{path}: 'layers' and 'd_mlp' are not whole numbers, one a layer; extract again")
    if manifest["shard_rows"] != SHARD_ROWS or not set(manifest["values"]) <= set(DTYPES):
        raise StoreDamaged(f"{path}: its shards are not of {SHARD_ROWS} rows of {' or '.join(DTYPES)}; extract again")
    return manifest  # type: ignore[no-any-return]


def shards_of(manifest: Mapping[str, Any], layer: int) -> list[tuple[str, str, tuple[int, int]]]:
    """Return name, type and shape (d_mlp, n_rows of the shard) of every shard of a layer."""
    place = manifest["layers"].index(layer)
    n_rows, width, dtype = manifest["n_rows"], manifest["d_mlp"][place], manifest["values"][place]
    bounds = [rows_of_shard(shard, n_rows) for shard in range(-(-n_rows // SHARD_ROWS))]
    return [(shard_name(layer, i), dtype, (width, stop - start)) for i, (start, stop) in enumerate(bounds)]


def hook_of(manifest: Mapping[str, Any], layer: int) -> dict[str, Any]:
    """
    Return the hook point of a layer's values, and where they are of attention heads how many, as a scope says it.

    Raises `StoreDamaged` where the manifest does not say it of every layer.
    """
    heads, layers = manifest.get("heads"), manifest["layers"]
    if heads is None:
        return {"hook": manifest["hook"]}
    if not isinstance(heads, list) or len(heads) != len(layers) or not all(type(n) is int and n > 0 for n in heads):
        raise StoreDamaged(f"the manifest says 'heads' {_short(heads)}, and not how many each of its layers has")
    return {"hook": manifest["hook"], "heads": heads[layers.index(layer)]}


def first_difference(one: Mapping[str, Any], other: Mapping[str, Any], apart: Iterable[str]) -> str | None:
    """Say in half a sentence where two manifests first differ, leaving some entries apart; None if nowhere."""
    for key in [key for key in {**one, **other} if key not in set(apart)]:
        mine, others = one.get(key), other.get(key)
        if isinstance(mine, Mapping) and isinstance(others, Mapping):
            if within := first_difference(mine, others, ()):
                return f"{key}.{within}"
        elif mine != others:
            verb = "are" if isinstance(mine, list) else "is"
            return f"{key} {verb} {_short(mine)} there and {_short(others)} here"
    return None


def of_layers(manifest: Mapping[str, Any], layers: Collection[int]) -> dict[str, Any]:
    """Return what a manifest would be if the store had some of its layers only."""
    kept = [place for place, layer in enumerate(manifest["layers"]) if layer in layers]
    return {**manifest, **{key: [manifest[key][i] for i in kept] for key in A_LAYER if key in manifest}}


def manifest_text(manifest: Mapping[str, Any]) -> str:
    """Return a manifest as its file holds it."""
    return json.dumps(dict(manifest), indent=1, ensure_ascii=False) + "\n"


def _short(value: object) -> str:
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."
