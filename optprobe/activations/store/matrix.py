"""The values of one layer's neurons, in memory or in files, read by rows or by columns."""

from __future__ import annotations

import mmap
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, DTypeLike, NDArray

Floats = NDArray[np.floating[Any]]


@dataclass(frozen=True, eq=False)
class NeuronMatrix:
    """
    Values of n_neurons neurons in n_rows rows.

    It is kept in parts of some rows each, neuron after neuron, so that some columns can be read from mapped files
    without the others. `numpy.asarray` reads it whole.

    Parameters
    ----------
    parts : tuple of ndarray, each of shape (n_neurons, n_rows of the part)
        The values, float16 or float32, transposed.
    """

    parts: tuple[Floats, ...]

    @classmethod
    def of(cls, values: ArrayLike) -> Self:
        """Return the matrix of an array of shape (n_rows, n_neurons), which is not copied."""
        return cls((np.asarray(values).T,))

    @property
    def shape(self) -> tuple[int, int]:
        """(n_rows, n_neurons)."""
        return sum(part.shape[1] for part in self.parts), self.parts[0].shape[0]

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values as they are kept."""
        return self.parts[0].dtype

    def rows(self, rows: ArrayLike, out: NDArray[np.float32] | None = None) -> NDArray[np.float32]:
        """
        Return some rows.

        Parameters
        ----------
        rows : array_like of int, shape (m,)
            Which.
        out : ndarray of float32, shape (m, n_neurons), optional
            Where they are put.

        Returns
        -------
        ndarray of float32, shape (m, n_neurons)
            In memory.
        """
        wanted = np.asarray(rows, dtype=np.int64)
        values = np.empty((len(wanted), self.shape[1]), dtype=np.float32) if out is None else out
        start = 0
        for part in self.parts:
            stop = start + part.shape[1]
            here = np.flatnonzero((wanted >= start) & (wanted < stop))
            if len(here):
                together = here[-1] - here[0] == len(here) - 1
                place = slice(here[0], here[-1] + 1) if together else here
                whole = len(here) == part.shape[1] and np.array_equal(wanted[here], np.arange(start, stop))
                values[place] = part.T if whole else part[:, wanted[here] - start].T
            start = stop
        return values

    def columns(self, neurons: Sequence[int] | NDArray[np.int64]) -> NDArray[np.float32]:
        """
        Return some columns; of mapped files, little more than those columns is read.

        Parameters
        ----------
        neurons : sequence of int, length m
            Which.

        Returns
        -------
        ndarray of float32, shape (n_rows, m)
            In memory.
        """
        wanted = np.asarray(neurons, dtype=np.int64)
        values = np.empty((len(wanted), self.shape[0]), dtype=np.float32)
        start = 0
        for part in self.parts:
            with _no_reading_ahead(part):
                values[:, start : start + part.shape[1]] = part[wanted]
            start += part.shape[1]
        return values.T

    def __array__(self, dtype: DTypeLike | None = None, copy: bool | None = None) -> NDArray[Any]:
        """Return all values, shape (n_rows, n_neurons)."""
        whole = np.concatenate(self.parts, axis=1).T
        return whole if dtype is None else whole.astype(dtype)

    def __repr__(self) -> str:
        """Say in one line what is held."""
        n_rows, n_neurons = self.shape
        return f"NeuronMatrix of {n_rows:,} rows and {n_neurons:,} neurons, {self.dtype}, {len(self.parts)} parts"


@contextmanager
def _no_reading_ahead(part: Floats) -> Iterator[None]:
    """Tell the system, where it can be told, that pages of a mapped file are read here and there."""
    base: Any = part
    while isinstance(base, np.ndarray):
        base = base.base
    base = base.obj if isinstance(base, memoryview) else base
    advice = isinstance(base, mmap.mmap) and hasattr(mmap, "MADV_RANDOM")
    if advice:
        base.madvise(mmap.MADV_RANDOM)
    try:
        yield
    finally:
        if advice:
            base.madvise(mmap.MADV_NORMAL)
