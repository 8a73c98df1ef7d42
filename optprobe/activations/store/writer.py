"""A store that is being written: shard by shard, by one process, from where the last one stopped."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from optprobe.activations.store.manifest import (
    FORMAT,
    MANIFEST,
    ROWS,
    first_difference,
    manifest_text,
    of_layers,
    read_manifest,
    shards_of,
)
from optprobe.activations.store.shards import (
    SHARD_ROWS,
    map_shard,
    rows_of_shard,
    shard_digest,
    shard_name,
    write_shard,
)
from optprobe.errors import InputError, StoreDamaged
from optprobe.files import write_file

LOCK = ".lock"
WRITING = 4
"""Shards that may be written at once, while the model runs on."""
OTHERWISE = (
    "was damaged, and this machine computes other values than those that the store was finished with; extract to "
    "another folder"
)


class StoreWriter:
    """
    The one writer of a store: a context manager that begins the folder, or goes on with what is in it.

    `missing` says which shards are to be filled, `add` takes values, `finish` completes the manifest. Whatever ends the
    process, the folder holds whole shards only, and another writer goes on. What was finished stays as it is: a file
    that was damaged since is written again if it comes out as its digest says.

    Parameters
    ----------
    folder : str or Path
        Where; nothing, an empty folder, or a store of the same manifest, of which layers may be missing.
    manifest : mapping
        What the numbers are; its `digests` are disregarded.
    rows : mapping of str to ndarray
        The arrays of `rows.safetensors`.

    Raises
    ------
    InputError
        On entering: if the folder holds something else, cannot be written, or another process is writing it.
    """

    def __init__(self, folder: str | Path, manifest: Mapping[str, Any], rows: Mapping[str, NDArray[Any]]) -> None:
        from filelock import FileLock

        self._folder = Path(folder)
        stated = {**manifest, "format": FORMAT, "shard_rows": SHARD_ROWS, "digests": None, "promoted": {}}
        self._manifest: dict[str, Any] = json.loads(manifest_text({"part": None, **stated}))
        self._rows = rows
        self._digests: dict[str, str] = {}
        self._stated: dict[str, str] = {}
        self._finished: frozenset[int] = frozenset()
        self._buffers: dict[int, tuple[int, int, NDArray[Any]]] = {}
        self._pool = ThreadPoolExecutor(WRITING)
        self._writing: dict[str, Future[str]] = {}
        self._lock = FileLock(self._folder / LOCK, timeout=0)

    def __enter__(self) -> Self:
        """Take the lock, and find what is there."""
        from filelock import Timeout

        made = not self._folder.exists()
        try:
            self._folder.mkdir(parents=True, exist_ok=True)
            foreign = [path.name for path in self._folder.iterdir() if path.name not in (LOCK, MANIFEST)]
            if foreign and not (self._folder / MANIFEST).exists():
                raise InputError(f"{self._folder} is not a store of activations and not empty; give another folder")
            self._lock.acquire()
        except Timeout as error:
            raise InputError(
                f"another process is writing to {self._folder}; wait for it, or give another folder"
            ) from error
        except OSError as error:
            raise InputError(f"the folder {self._folder} cannot be made: {error.strerror}") from error
        try:
            self._begin()
        except BaseException:
            self._release()
            if made and not (self._folder / MANIFEST).exists():
                self._folder.rmdir()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Give the lock back; whole shards stay."""
        self._pool.shutdown(wait=True)
        self._release()

    @property
    def dtypes(self) -> dict[int, str]:
        """The type of each layer's values."""
        return dict(zip(self._manifest["layers"], self._manifest["values"]))

    def missing(self) -> dict[int, list[int]]:
        """Return the shards of each layer that this writer still has to fill; layers without any are left out."""
        self._wait(at_most=0)
        n_shards = -(-self._manifest["n_rows"] // SHARD_ROWS)
        own = range(n_shards)
        if part := self._manifest["part"]:
            number, of = part
            own = range(n_shards * (number - 1) // of, n_shards * number // of)
        absent = {
            layer: [s for s in own if shard_name(layer, s) not in self._digests] for layer in self._manifest["layers"]
        }
        return {layer: shards for layer, shards in absent.items() if shards}

    def add(self, layer: int, start: int, values: NDArray[Any]) -> None:
        """
        Take values of consecutive rows, and write the shards that they complete.

        Rows before the first shard boundary are dropped, unless they follow those given last.

        Parameters
        ----------
        layer : int
            The layer.
        start : int
            The first row.
        values : ndarray, shape (m, d_mlp)
            Of the layer's type.

        Raises
        ------
        InputError
            If a file cannot be written; a later call may be the one that says so.
        """
        n_rows, stop = self._manifest["n_rows"], start + len(values)
        for shard in range(start // SHARD_ROWS, -(-stop // SHARD_ROWS)):
            first, end = rows_of_shard(shard, n_rows)
            a, b = max(start, first), min(stop, end)
            if a == first:
                self._buffers[layer] = shard, 0, np.empty((end - first, values.shape[1]), values.dtype)
            open_shard, filled, buffer = self._buffers.get(layer, (-1, 0, values))
            if (open_shard, filled, buffer.dtype) != (shard, a - first, values.dtype):
                continue
            buffer[a - first : b - first] = values[a - start : b - start]
            self._buffers[layer] = shard, b - first, buffer
            name = shard_name(layer, shard)
            if b == end and name not in self._digests:
                self._writing[name] = self._pool.submit(write_shard, self._folder, name, buffer)
                self._wait(at_most=WRITING)

    def promote(self, layer: int, reason: str) -> None:
        """Keep a layer in float32 from here on, for a reason: its shards in float16 go, and are missing again."""
        self._wait(at_most=0)
        if layer in self._finished:
            raise InputError(f"layer {layer} of {self._folder} {OTHERWISE}")
        self._manifest["values"][self._manifest["layers"].index(layer)] = "float32"
        self._manifest["promoted"][str(layer)] = reason
        if not self._finished:
            write_file(self._folder / MANIFEST, manifest_text(self._manifest))
        for name, *_ in shards_of(self._manifest, layer):
            (self._folder / name).unlink(missing_ok=True)
            self._digests.pop(name, None)

    def fresh(self, layer: int) -> Iterator[NDArray[np.float16]]:
        """Yield the shards of a layer, shape (d_mlp, m); none if it was finished before."""
        self._wait(at_most=0)
        for name, dtype, shape in shards_of(self._manifest, layer):
            if layer not in self._finished and name in self._digests:
                yield map_shard(self._folder, name, dtype, shape, self._digests[name])

    def finish(self) -> None:
        """Complete the manifest; raises `InputError` if it cannot be written."""
        if absent := self.missing():
            raise InputError(f"{self._folder} lacks {sum(map(len, absent.values()))} shards, so it cannot be finished")
        if not self._finished.issuperset(self._manifest["layers"]):
            self._manifest["digests"] = dict(sorted(self._digests.items()))
            write_file(self._folder / MANIFEST, manifest_text(self._manifest))

    def _begin(self) -> None:
        from safetensors.numpy import save

        rows = save({name: np.ascontiguousarray(array) for name, array in self._rows.items()})
        self._digests[ROWS] = hashlib.sha256(rows).hexdigest()
        if (self._folder / MANIFEST).exists():
            self._resume()
        for leftover in self._folder.rglob(".*.part"):
            leftover.unlink()
        if not (self._folder / ROWS).is_file() or (self._folder / ROWS).read_bytes() != rows:
            write_file(self._folder / ROWS, rows)
        if not self._finished:
            write_file(self._folder / MANIFEST, manifest_text(self._manifest))

    def _resume(self) -> None:
        """Compare manifests, and find the shards that are there and whole."""
        found = read_manifest(self._folder)
        self._stated = found["digests"] or {}
        if different := self._different(found):
            raise InputError(
                f"{self._folder} holds an extraction of something else: {different}; give another folder, or remove it"
            )
        layers = found["layers"]
        if not set(layers) <= set(self._manifest["layers"]):
            every = sorted({*layers, *self._manifest["layers"]})
            raise InputError(
                f"{self._folder} holds other layers: layers are {layers} there; ask for layers "
                f"{' '.join(map(str, every))} to add to them, or give another folder"
            )
        self._finished = frozenset(layers if self._stated else ())
        self._manifest["promoted"] = found.get("promoted", {})
        for layer, dtype in zip(layers, found["values"]):
            self._manifest["values"][self._manifest["layers"].index(layer)] = dtype
        for layer in self._manifest["layers"]:
            for name, dtype, shape in shards_of(self._manifest, layer):
                try:
                    digest = shard_digest(self._folder, name, dtype, shape)
                except StoreDamaged:
                    continue
                if self._stated.get(name, digest) == digest:
                    self._digests[name] = digest

    def _different(self, found: Mapping[str, Any]) -> str | None:
        """Say where the manifest that was found differs from this one in what decides values, layer for layer."""
        there, here = of_layers(found, self._manifest["layers"]), of_layers(self._manifest, found["layers"])
        if different := first_difference(there, here, ("digests", "values", "promoted")):
            return different
        if ("float16", "float32") in zip(there["values"], here["values"]):
            return "values are float16 there and float32 here"
        rows = self._digests[ROWS]
        return None if self._stated.get(ROWS, rows) == rows else f"{ROWS} has other rows there"

    def _wait(self, at_most: int) -> None:
        """Wait, in the order in which they were begun, until no more than so many shards are being written."""
        while len(self._writing) > at_most:
            name = next(iter(self._writing))
            digest = self._writing.pop(name).result()
            if self._stated.get(name, digest) != digest:
                raise InputError(f"{self._folder / name} {OTHERWISE}")
            self._digests[name] = digest

    def _release(self) -> None:
        (self._folder / LOCK).unlink(missing_ok=True)
        self._lock.release()
