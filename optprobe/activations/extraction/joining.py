"""One store of the parts of an extraction, the same bytes as if it had not been divided."""

from __future__ import annotations

import shutil
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optprobe.activations.extraction.rounding import coarseness, rounded_array
from optprobe.activations.store.activations import Activations
from optprobe.activations.store.manifest import (
    MANIFEST,
    ROWS,
    first_difference,
    manifest_text,
    read_manifest,
    shards_of,
)
from optprobe.activations.store.shards import map_shard, shard_digest, write_shard
from optprobe.errors import InputError, StoreDamaged
from optprobe.files import new_folder, write_file

Manifests = Mapping[Path, dict[str, Any]]


def join(parts: Sequence[str | Path], folder: str | Path) -> Activations:
    """
    Make one store of parts that were extracted apart.

    A part that float16 alone rounds too coarsely holds a layer in float32; it is rounded here where the rows of all
    parts together allow it.

    Parameters
    ----------
    parts : sequence of str or Path
        The folders of all parts of one extraction, in any order.
    folder : str or Path
        The store to be made; nothing may be there.

    Returns
    -------
    Activations
        The store, opened.

    Raises
    ------
    InputError
        If the parts are not all parts of one extraction, a part is to be extracted again in float32, or the folder is
        there already.
    StoreDamaged
        If a file of a part is missing or altered.
    """
    manifests = {Path(part): read_manifest(Path(part)) for part in parts}
    first = _check(manifests)
    types = [_type(manifests, layer) for layer in first["layers"]]
    reasons = {str(layer): reason for layer, (_, reason) in zip(first["layers"], types) if reason}
    whole = {**first, "part": None, "values": [dtype for dtype, _ in types], "promoted": reasons}
    with new_folder(folder) as making:
        shutil.copyfile(next(iter(manifests)) / ROWS, making / ROWS)
        digests = {ROWS: first["digests"][ROWS]}
        for layer, (dtype, _) in zip(first["layers"], types):
            (making / f"layer_{layer}").mkdir()
            for part, name, own, shape in _shards(manifests, layer):
                stated = manifests[part]["digests"][name]
                if own == dtype:
                    shutil.copyfile(part / name, making / name)
                    digests[name] = stated
                elif shard_digest(part, name, own, shape) != stated:
                    raise StoreDamaged(f"{part / name} was altered: its sha256 is not that of the manifest")
                else:
                    values = map_shard(part, name, own, shape, stated)
                    digests[name] = write_shard(making, name, rounded_array(values).T)
        write_file(making / MANIFEST, manifest_text({**whole, "digests": dict(sorted(digests.items()))}))
        Activations.open(making, check_digests=True)
    return Activations.open(folder)


def _check(manifests: Manifests) -> dict[str, Any]:
    """Return the manifest of the part named first, after checking that the parts are all of one extraction."""
    if not manifests:
        raise InputError("there is no part to join; name the folders of all parts")
    first = next(iter(manifests))
    numbers = []
    for part, manifest in manifests.items():
        if manifest.get("digests") is None or not manifest.get("part"):
            raise InputError(f"{part} is no finished part of a store; extract it with its part number")
        apart = ("part", "digests", "values", "promoted")
        if different := first_difference(manifests[first], manifest, apart):
            raise InputError(f"{part} does not belong to {first}: {different}")
        numbers.append(manifest["part"][0])
    of = manifests[first]["part"][1]
    missing = sorted(set(range(1, of + 1)) - set(numbers))
    if missing or len(numbers) != of:
        what = f"part {missing[0]} is missing" if missing else "one is there twice"
        raise InputError(f"the store has {of} parts, and {what}; name the folder of each part once")
    return manifests[first]


def _shards(manifests: Manifests, layer: int) -> Iterator[tuple[Path, str, str, tuple[int, int]]]:
    """Yield part, name, type and shape of the shards of a layer, in their order."""
    for part, manifest in sorted(manifests.items(), key=lambda item: item[1]["part"][0]):
        for name, dtype, shape in shards_of(manifest, layer):
            if name in manifest["digests"]:
                yield part, name, dtype, shape


def _type(manifests: Manifests, layer: int) -> tuple[str, str | None]:
    """Return the type of a layer's values, and why it is not float16 where that was asked for."""
    types = {part: manifest["values"][manifest["layers"].index(layer)] for part, manifest in manifests.items()}
    narrow = [part for part, dtype in types.items() if dtype == "float16"]
    if len(narrow) == len(types):  # each is fine enough by itself, so they are together
        return "float16", None
    if not narrow and not any(str(layer) in manifest.get("promoted", {}) for manifest in manifests.values()):
        return "float32", None
    reason = coarseness(_rounded(manifests, layer))
    if reason is None:
        return "float16", None
    if narrow:
        raise InputError(
            f"layer {layer} has to be kept in float32 ({reason}), and {narrow[0]} keeps it in float16: extract that "
            "part again, to a new folder, with --values float32"
        )
    return "float32", reason


def _rounded(manifests: Manifests, layer: int) -> Iterator[NDArray[np.float16]]:
    for part, name, dtype, shape in _shards(manifests, layer):
        values = map_shard(part, name, dtype, shape, manifests[part]["digests"][name])
        yield values if dtype == "float16" else rounded_array(values)
