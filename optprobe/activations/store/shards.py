"""
Shard files: some rows of one layer, in the safetensors layout.

A shard holds one tensor ``neurons`` of shape (n_neurons, n_rows): 2,048 rows in float16 are one page of memory for each
neuron, so that reading some columns of a mapped shard touches the pages of those columns only. Its header, padded to
whole pages, is a function of layer, shard, type, shape and the sha256 of the values: a file is what it should be if and
only if its header is that of its own values.
"""

from __future__ import annotations

import hashlib
import json
import mmap
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optprobe.errors import StoreDamaged
from optprobe.files import write_file

FORMAT = "optprobe-shard/1"
SHARD_ROWS = 2048
"""Rows of a shard: in float16, one page of memory for each neuron."""
PAGE = 4096
STRIPE = 32
"""Rows transposed at once: so many lines of the result stay in the cache."""
DTYPES = {"float16": "F16", "float32": "F32"}
"""Types of values, and their names in the safetensors layout."""


def rows_of_shard(shard: int, n_rows: int) -> tuple[int, int]:
    """Return the first row of a shard, and the row after its last."""
    return shard * SHARD_ROWS, min((shard + 1) * SHARD_ROWS, n_rows)


def shard_name(layer: int, shard: int) -> str:
    """Return the name of a shard in its store."""
    return f"layer_{layer}/{shard:06d}.safetensors"


def shard_header(name: str, dtype: str, shape: tuple[int, int], digest: str) -> bytes:
    """Return the header of a shard whose values have this sha256, with the length before it."""
    layout = {
        "__metadata__": {"format": FORMAT, "name": name, "sha256": digest},
        "neurons": {"dtype": DTYPES[dtype], "shape": list(shape), "data_offsets": [0, _bytes(dtype, shape)]},
    }
    text = json.dumps(layout, separators=(",", ":")).encode()
    text += b" " * (-(len(text) + 8) % PAGE)
    return len(text).to_bytes(8, "little") + text


def write_shard(folder: Path, name: str, values: NDArray[Any]) -> str:
    """
    Write a shard, whole or not at all.

    Parameters
    ----------
    folder : Path
        The store.
    name : str
        A `shard_name`.
    values : ndarray of float16 or float32, shape (n_rows, n_neurons)
        The values.

    Returns
    -------
    str
        sha256 of the values.

    Raises
    ------
    InputError
        If the file cannot be written.
    """
    stored = np.empty(values.shape[::-1], dtype=values.dtype.newbyteorder("<"))
    for start in range(0, len(values), STRIPE):
        stored[:, start : start + STRIPE] = values[start : start + STRIPE].T
    body = stored.reshape(-1).view(np.uint8).data
    digest = hashlib.sha256(body).hexdigest()
    write_file(folder / name, shard_header(name, str(values.dtype), stored.shape, digest), body)
    return digest


def shard_digest(folder: Path, name: str, dtype: str, shape: tuple[int, int]) -> str:
    """
    Read a shard and return the sha256 of its values.

    Raises
    ------
    StoreDamaged
        If the file is missing or is not, byte by byte, a shard of that name, type and shape (n_neurons, n_rows).
    """
    path = folder / name
    try:
        with path.open("rb") as file:
            content = file.read()
    except OSError as error:
        raise StoreDamaged(f"{path} is missing or cannot be read ({error.strerror})") from error
    size = _bytes(dtype, shape)
    if size > len(content):
        raise StoreDamaged(f"{path} has {len(content)} bytes, and its values alone need {size}")
    digest = hashlib.sha256(memoryview(content)[len(content) - size :]).hexdigest()
    if content[: len(content) - size] != shard_header(name, dtype, shape, digest):
        raise StoreDamaged(f"{path} was altered: its values are not those that its header states")
    return digest


def map_shard(folder: Path, name: str, dtype: str, shape: tuple[int, int], digest: str) -> NDArray[Any]:
    """
    Map the values of a shard, shape (n_neurons, n_rows), after comparing size and header with what they should be.

    Raises
    ------
    StoreDamaged
        If they differ; the values themselves are not read.
    """
    path = folder / name
    header = shard_header(name, dtype, shape, digest)
    try:
        size = path.stat().st_size
        with path.open("rb") as file:
            found = file.read(len(header))
            mapped = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    except (OSError, ValueError) as error:
        raise StoreDamaged(f"{path} is missing or cannot be read ({error})") from error
    if size != len(header) + _bytes(dtype, shape):
        raise StoreDamaged(f"{path} has {size} bytes instead of {len(header) + _bytes(dtype, shape)}")
    if found != header:
        raise StoreDamaged(f"{path} was altered: its header is not the one that the manifest implies")
    return np.frombuffer(mapped, dtype=np.dtype(dtype).newbyteorder("<"), offset=len(header)).reshape(shape)


def _bytes(dtype: str, shape: tuple[int, int]) -> int:
    return np.dtype(dtype).itemsize * shape[0] * shape[1]
