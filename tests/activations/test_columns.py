"""Columns of a mapped store are read without the others."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import numpy as np
import pytest

from optprobe.activations import Activations, activations_of
from optprobe.activations.store.shards import SHARD_ROWS


def read_bytes() -> int:
    lines = Path("/proc/self/io").read_text().splitlines()
    return int(next(line for line in lines if line.startswith("read_bytes")).split()[1])


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="counts what Linux says was read from the disk")
def test_some_columns_are_read_without_the_others(tmp_path: Path) -> None:
    n_rows, n_neurons = 4 * SHARD_ROWS, 2048
    values = np.random.default_rng(0).normal(size=(n_rows, n_neurons)).astype(np.float16)
    activations_of(values, {"odd": np.where(np.arange(n_rows) % 2, 1, -1)}).save(tmp_path / "store")
    os.sync()
    for path in (tmp_path / "store").rglob("*.safetensors"):
        descriptor = os.open(path, os.O_RDONLY)
        os.posix_fadvise(descriptor, 0, 0, os.POSIX_FADV_DONTNEED)
        os.close(descriptor)
    neurons = np.arange(5, n_neurons, 40)
    matrix = Activations.open(tmp_path / "store").matrices[0]
    before = read_bytes()
    found = matrix.columns(neurons)
    assert read_bytes() - before <= 2 * found.size * values.itemsize
    np.testing.assert_array_equal(found, values[:, neurons])
    np.testing.assert_array_equal(matrix.rows(np.arange(n_rows)), values)
