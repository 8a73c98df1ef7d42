"""What the sweeps of the squared loss share: the gains of sets, and the incumbents that these improve.

With the intercept eliminated, ``F(S) = (v0 - q(S)) / 2`` and ``q(S) = u_S' A_SS^{-1} u_S`` for a matrix A of unit
diagonal: the gain of S.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from optprobe.engines.engine import Task

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LOOSENED = 1 - 1e-9
"""Gaps are multiplied by this before a comparison; rounding is far smaller, and every hit is evaluated exactly."""
CAPACITY = 1 << 16
"""Sets that a list of sets to evaluate has room for, to begin with."""


def gains(A: Floats, u: Floats) -> Floats:
    """q of sets, shape (n_sets,), from A of each, shape (n_sets, k, k), and u, shape (n_sets, k)."""
    return np.asarray((u[:, :, None] * np.linalg.solve(A, u[:, :, None])).sum(axis=(1, 2)))


class GainSearch(ABC):
    """The neurons of a task, sorted by strength, and the incumbents while they improve.

    Attributes
    ----------
    columns : ndarray, shape (m,)
        Indices in X, the neuron of largest covariance with y first; everything else speaks of positions in this order.
    u : ndarray, shape (m,)
        Normalised covariances with y.
    forced : ndarray
        The positions of the forced neurons.
    found : Incumbents
    q : float
        The gain that a set must exceed to be of interest.
    counts : dict of str to int
        What was done.
    """

    u: Floats

    def __init__(self, task: Task) -> None:
        problem = task.problem
        self.task, self.size = task, problem.size
        order = np.argsort(-np.abs(problem.cross[problem.candidates]), kind="stable")
        self.columns, self.v0 = problem.candidates[order], problem.variance
        self.forced = np.flatnonzero(np.isin(self.columns, problem.forced))
        self._normalise()
        place = np.flatnonzero(np.isin(self.columns, task.incumbent))[None, :]
        objective = (self.v0 - float(self._gains(place)[0])) / 2
        self.found = replace(task, objective=objective).incumbents()
        self.q = self.v0 - 2 * self.found.upper
        self.counts = {"nodes": 0, "pairs": 0, "edges": 0, "evaluated": 0}

    @abstractmethod
    def _normalise(self) -> None:
        """Make u, and what `_gains` needs, of the neurons in ``columns``."""

    @abstractmethod
    def _gains(self, sets: Ints) -> Floats:
        """q of every row of ``sets`` (positions), shape (len(sets),)."""

    @abstractmethod
    def finished(self) -> bool:
        """Sweep; False if the budget ended before the end."""

    @property
    def value(self) -> float:
        """What F of a set must fall below to be of interest."""
        return self.found.upper

    def _at_most_one_is_missing(self) -> bool:
        """Whether the forced neurons leave at most one to choose; then all sets have been offered."""
        if self.size - len(self.forced) > 1:
            return False
        others = np.delete(np.arange(len(self.columns)), self.forced)
        last = others[:, None] if self.size > len(self.forced) else np.zeros((1, 0), dtype=np.int64)
        self._offer(np.concatenate([np.tile(self.forced, (len(last), 1)), last], axis=1))
        return True

    def _offer(self, sets: Ints) -> bool:
        """Evaluate candidate sets; True if they leave less to search for."""
        self.counts["evaluated"] += len(sets)
        if not len(sets):
            return False
        improved = self.found.offer(np.sort(self.columns[sets], axis=1), (self.v0 - self._gains(sets)) / 2)
        self.q = self.v0 - 2 * self.found.upper
        return improved

    def _offer_all(self, prefix: tuple[int, ...], width: int, fill: Callable[[float, Ints], int]) -> None:
        """Offer every set that ``fill(q, out)`` lists, shape (n, width), with the prefix joined.

        Where the list is longer than its buffer, offer its beginning, and list again against the better incumbent.
        """
        out = np.empty((CAPACITY, width), dtype=np.int64)
        while True:
            n = fill(self.q, out)
            found = out[: min(n, len(out))]
            improved = self._offer(np.insert(found, 0, np.array(prefix)[:, None], axis=1) if prefix else found)
            if n <= len(out):
                return
            if not improved:
                out = np.empty((4 * len(out), width), dtype=np.int64)
