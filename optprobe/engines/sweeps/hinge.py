r"""The dual sweep of the hinge loss, k <= 2: the dual of every set, raised until it passes the incumbent.

The conjugate is linear, so that the dual of a set is a quadratic program without a loss of its own: with
``q = y z`` and any t with ``0 <= t <= 1`` and ``sum w y t = 0``, weak duality (`formulations.bounds`) gives

    F(S) >= sum w t - sum_{j in S} (sum w t q_j)^2 / (2 ridge).                                               (dual)

Every t in the box serves, once the class of larger weight is scaled down. The proximal method of multipliers finds a
good one (Rockafellar 1976): maximise (dual) less ``sum w (t - centre)^2 / (2 sigma)``; its solution is
``t = clip(centre + sigma (1 - y f), 0, 1)``, whose b and b0 minimise a smooth convex function of k + 1 unknowns, by
Newton's method. Then t becomes the centre.

Two things make the sweep fast. The t of a single neuron bounds all its pairs by one matrix product, and closes half of
them or more. The others begin at that t and those coefficients: most pass the incumbent at the first Newton step.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from math import comb

import numpy as np
from joblib import cpu_count
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from optprobe.engines.budget import Progress
from optprobe.engines.engine import Task
from optprobe.engines.kernels import hinge as kernels
from optprobe.engines.outcome import SweepProof
from optprobe.engines.sweeps.dual_sweep import DualSweep

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

FIRSTS = 32
"""Neurons whose pairs with all later ones are swept by one thread at a time."""
START = 0.6
"""Of the largest t that is constant in each class: where the dual of a single neuron begins."""
SINGLE_PASSES, SINGLE_ROUNDS = 20, 6
PASSES, ROUNDS, SIGMA = 12, 5, 4.0


class HingeSweep(DualSweep):
    """`finished` sweeps the pairs of a block of first neurons after the other, on all cores."""

    largest_k = 2

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self.positive = int((self.y > 0).sum())
        if self.size == 2:
            self.q = self._signed(np.arange(len(self.columns)))

    def _rows(self) -> Ints:
        """The positive class first."""
        used = super()._rows()
        return np.asarray(used[np.argsort(-self.task.rows.y[used], kind="stable")])

    def proof(self) -> SweepProof:
        """The claim alone: the checker finds its own dual vectors."""
        return SweepProof()

    def _signed(self, positions: Ints) -> Floats:
        """``q = y z`` of some neurons, shape (n_positions, n_used_rows)."""
        neurons = self.gathered(positions)
        neurons *= self.y
        return neurons

    def finished(self) -> bool:
        m = len(self.columns)
        starts = range(0, m, FIRSTS)
        with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(cpu_count()) as pool:
            for start, sets in zip(starts, pool.map(lambda start: list(self._open(start)), starts)):
                for part in sets:
                    self.counts["open"] += len(part)
                    self.fit(part)
                done = 1 - comb(m - start, self.size) / comb(m, self.size)
                self.task.report(Progress("dual enumeration", self.task.proved, self.found.upper, done))
        return not self.task.budget.over

    def _open(self, first: int) -> Iterator[Ints]:
        """The sets whose first neuron is in a block, and whose dual value stays below the threshold."""
        if self.task.budget.over:
            return
        block = np.arange(first, min(first + FIRSTS, len(self.columns)))
        if self.size == 1:
            out = np.empty(len(block), dtype=np.int64)
            arguments = (self._signed(block), self.positive, self.w, self._start(), self.ridge, self.threshold)
            n = kernels.open_singles(*arguments, SINGLE_PASSES, SINGLE_ROUNDS, out)
            yield block[out[:n], None]
            return
        t, s = self._singles(block)
        singles, discount = self._value_and_discounts(t, first)
        out = np.empty(len(self.columns), dtype=np.int64)
        for row, i in enumerate(block):
            if self.task.budget.over:
                return
            bound = singles[row] - discount[row, row] - discount[row, row + 1 :]
            later = i + 1 + np.flatnonzero(~(bound >= self.threshold))
            pair = (self.q, i, later, self.positive, self.w, t[row], SIGMA, s[row], self.ridge, self.threshold)
            n = kernels.open_partners(*pair, PASSES, ROUNDS, out)
            yield np.stack([np.full(n, i), out[:n]], axis=1)

    def _start(self) -> Floats:
        """The t where the dual of a single neuron begins, shape (n_used_rows,)."""
        of_positive, of_negative = self.w[: self.positive].sum(), self.w[self.positive :].sum()
        least = min(of_positive, of_negative)
        return np.asarray(START * np.where(self.y > 0, least / of_positive, least / of_negative))

    def _singles(self, block: Ints) -> tuple[Floats, Floats]:
        """Dual vectors (m, n_used_rows) and coefficients (m, 3) of single neurons."""
        t, s = np.empty((len(block), len(self.used))), np.zeros((len(block), 3))
        arguments = (self.q[block], self.positive, self.w, self._start(), self.ridge, SINGLE_PASSES, SINGLE_ROUNDS)
        kernels.raise_singles(*arguments, t, s)
        return t, s

    def _value_and_discounts(self, t: Floats, first: int) -> tuple[Floats, Floats]:
        """``sum w t``, shape (m,), and the discounts of the neurons from ``first`` on, at t made feasible."""
        weighted = t * self.w
        sums = weighted[:, : self.positive].sum(axis=1), weighted[:, self.positive :].sum(axis=1)
        least = np.minimum(*sums)
        weighted[:, : self.positive] *= (least / np.maximum(sums[0], 1e-300))[:, None]
        weighted[:, self.positive :] *= (least / np.maximum(sums[1], 1e-300))[:, None]
        v = weighted @ self.q[first:].T
        return 2 * least, v * v / (2 * self.ridge)
