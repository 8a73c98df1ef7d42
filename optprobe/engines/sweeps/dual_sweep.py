"""A sweep over all supports of one or a few neurons in which every set gets a dual vector of its own."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

from formulations import fit_supports
from optprobe.engines.engine import FITS_AT_ONCE, Task, closing_slack
from optprobe.engines.outcome import SweepProof

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class DualSweep(ABC):
    """What is swept, and the incumbent while it improves.

    Attributes
    ----------
    columns : ndarray, shape (m,)
        Indices in X, the neuron of largest mean difference first; everything else speaks of positions in this order.
    used : ndarray, shape (n_used_rows,)
        The rows of positive weight; ``y`` and ``w`` are theirs.
    """

    largest_k: ClassVar[int]

    def __init__(self, task: Task) -> None:
        problem = task.rows
        self.task, self.size, self.ridge = task, problem.size, problem.ridge
        self.found = task.incumbents()
        self.slack = closing_slack(problem, task.objective, task.tolerance)
        strength = np.abs((problem.w * problem.y) @ problem.Z)[problem.candidates]
        self.columns = problem.candidates[np.argsort(-strength, kind="stable")]
        self.used = self._rows()
        self.y, self.w = problem.y[self.used], problem.w[self.used]
        self.counts = {"open": 0, "fits": 0}

    @property
    def target(self) -> float:
        """What is proved of every set but those that were found."""
        return self.found.upper - self.slack

    @property
    def threshold(self) -> float:
        """Bounds in plain float64 must reach this: the rest of the slack is for their rounding."""
        return self.found.upper - self.slack / 2

    @abstractmethod
    def finished(self) -> bool:
        """Sweep; False if the budget ended before the end."""

    @abstractmethod
    def proof(self) -> SweepProof:
        """What the checker needs besides the claim."""

    def _rows(self) -> Ints:
        """The rows of positive weight, in the order that suits the sweep."""
        return np.flatnonzero(self.task.rows.w > 0)

    def gathered(self, positions: Ints | slice = slice(None)) -> Floats:
        """Standardised neurons, all unless some are named, on the rows used, shape (n_positions, n_used_rows)."""
        columns = self.columns[positions]
        neurons = np.empty((len(columns), len(self.used)))
        for neuron, column in zip(neurons, columns):
            np.take(self.task.rows.Z[:, column], self.used, out=neuron)
        return neurons

    def fit(self, sets: Ints) -> None:
        """Fit sets (positions) exactly, until the budget is over; the best ones may become incumbents."""
        for start in range(0, len(sets), FITS_AT_ONCE):
            if self.task.budget.over:
                return
            part = sets[start : start + FITS_AT_ONCE]
            fits = fit_supports(self.task.problem, np.sort(self.columns[part], axis=1))
            self.counts["fits"] += len(part)
            self.found.offer(np.array(fits.supports), fits.objective)
