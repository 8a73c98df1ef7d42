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
from dataclasses import dataclass
from math import comb
from typing import ClassVar

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

START = 0.6
"""Of the largest t that is constant in each class: where the dual of a single neuron begins."""
SINGLE_PASSES, SINGLE_ROUNDS = 20, 6
PASSES, ROUNDS, SIGMA = 12, 5, 4.0


@dataclass(frozen=True, eq=False)
class Singles:
    """The duals of some neurons alone.

    Attributes
    ----------
    block : ndarray, shape (m,)
        Their positions.
    q, t : ndarray, shape (m, n_used_rows)
    s : ndarray, shape (m, 3)
        Coefficients.
    weighted : ndarray, shape (m, n_used_rows)
        w t, t made feasible.
    value : ndarray, shape (m,)
        Dual values.
    """

    block: Ints
    q: Floats
    t: Floats
    s: Floats
    weighted: Floats
    value: Floats


class HingeSweep(DualSweep):
    """`finished` sweeps the pairs of a block of first neurons after the other, on all cores."""

    largest_k = 2
    firsts: ClassVar[int] = 32
    """Neurons whose pairs with all later ones are swept by one thread at a time."""

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self.positive = int((self.y > 0).sum())

    def multiplied(self, positions: Ints | slice = slice(None)) -> Floats:
        """q of some neurons, shape (n_positions, n_used_rows)."""
        q = self.gathered(positions)
        q *= self.y
        return q

    def _rows(self) -> Ints:
        """The positive class first."""
        used = super()._rows()
        return np.asarray(used[np.argsort(-self.task.rows.y[used], kind="stable")])

    def proof(self) -> SweepProof:
        """The claim alone: the checker finds its own dual vectors."""
        return SweepProof()

    def finished(self) -> bool:
        m = len(self.columns)
        starts = range(0, m, self.firsts)
        with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(cpu_count()) as pool:
            if self.size > 1:
                self._prepare(pool)
            for start, sets in zip(starts, pool.map(lambda start: list(self._open(start)), starts)):
                for part in sets:
                    self.counts["open"] += len(part)
                    self.fit(part)
                done = 1 - comb(m - start, self.size) / comb(m, self.size)
                self.task.report(Progress("dual enumeration", self.task.proved, self.found.upper, done))
        return not self.task.budget.over

    def _prepare(self, pool: ThreadPoolExecutor) -> None:
        """Make what the pairs of all blocks need."""
        self.q = self.multiplied()

    def _open(self, first: int) -> Iterator[Ints]:
        """The sets whose first neuron is in a block, and whose dual value stays below the threshold."""
        if self.task.budget.over:
            return
        block = np.arange(first, min(first + self.firsts, len(self.columns)))
        if self.size == 1:
            stated = self.multiplied(block), self.positive, self.w, self._start(), self.ridge, self.threshold
            out = np.empty(len(block), dtype=np.int64)
            yield block[out[: kernels.open_singles(*stated, SINGLE_PASSES, SINGLE_ROUNDS, out)], None]
        else:
            yield from self._pairs(self._singles(block))

    def _pairs(self, singles: Singles) -> Iterator[Ints]:
        """The pairs of the neurons of a block with all later ones that stay below the threshold."""
        first, out = singles.block[0], np.empty(len(self.columns), dtype=np.int64)
        discount = np.square(singles.weighted @ self.q[first:].T) / (2 * self.ridge)
        for row, i in enumerate(singles.block):
            if self.task.budget.over:
                return
            later = i + 1 + np.flatnonzero(~(singles.value[row] - discount[row, row + 1 :] >= self.threshold))
            n = self._partners(singles, row, self.q, later, out)
            yield np.stack([np.full(n, i), out[:n]], axis=1)

    def _partners(self, singles: Singles, row: int, Q: Floats, rows: Ints, out: Ints) -> int:
        """List the ``rows`` of Q whose pair with a neuron of the block stays below the threshold, from its t and s."""
        start = singles.q[row], Q, rows, self.positive, self.w, singles.t[row], SIGMA, singles.s[row]
        return int(kernels.open_partners(*start, self.ridge, self.threshold, PASSES, ROUNDS, out))

    def _start(self) -> Floats:
        """The t where the dual of a single neuron begins, shape (n_used_rows,)."""
        of_positive, of_negative = self.w[: self.positive].sum(), self.w[self.positive :].sum()
        least = min(of_positive, of_negative)
        return np.asarray(START * np.where(self.y > 0, least / of_positive, least / of_negative))

    def _singles(self, block: Ints) -> Singles:
        """Raise the duals of the neurons of a block alone."""
        q, positive = self.multiplied(block), slice(0, self.positive)
        negative = slice(self.positive, len(self.w))
        t, s = np.empty_like(q), np.zeros((len(q), 3))
        kernels.raise_singles(q, self.positive, self.w, self._start(), self.ridge, SINGLE_PASSES, SINGLE_ROUNDS, t, s)
        weighted = t * self.w
        sums = weighted[:, positive].sum(axis=1), weighted[:, negative].sum(axis=1)
        least = np.minimum(*sums)
        for part, total in zip((positive, negative), sums):
            weighted[:, part] *= (least / np.maximum(total, 1e-300))[:, None]
        value = 2 * least - np.square(np.einsum("mi,mi->m", weighted, q)) / (2 * self.ridge)
        return Singles(block, q, t, s, weighted, value)
