r"""The dual sweep of the hinge loss over very many columns: nothing p x p is made, and no copy of all neurons is kept.

Notation of `hinge`. The t of a single neuron bounds its pairs by ``v_j = <t sqrt(w), q_j sqrt(w)>``, products of
vectors of norm at most 1: ``sum w t^2 <= 1``, and neurons have mean square 1. Products T in a short type are within
delta of v (`short`), and

    F(i, j) >= D_i - (|T_ij| + delta)^2 / (2 ridge),

D_i the dual value of neuron i alone: the pair is closed where ``|T_ij| <= sqrt(2 ridge (D_i - threshold)) - delta``.
Pairs that stay open begin at that t as in `hinge`, block by block of partners.

Neurons are shortened by `NORM`, so that rounding leaves them below 1, which moves v by as much; and float32 holds the
right side, at most 2, to 2^-23. Both together are less than twice `NORM`.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from formulations import ProbeProblem
from optprobe.engines.sweeps import wide
from optprobe.engines.sweeps.hinge import HingeSweep, Singles
from optprobe.engines.sweeps.short import fastest, one_thread_a_product

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

COLUMNS, PARTNERS = 4096, 128
"""Of a tile of products, and those whose rows are gathered at once."""
NORM = 2.0**-20
"""What neurons in the short type are short of their norm."""


def suits(problem: ProbeProblem) -> bool:
    """Whether the pairs of a problem are swept so."""
    return problem.loss.name == "hinge" and len(problem.candidates) > wide.WIDE


class WideHingeSweep(HingeSweep):
    """Pairs of very many neurons."""

    firsts = 128

    def finished(self) -> bool:
        """Sweep; False if the budget ended before the end."""
        with one_thread_a_product():
            return super().finished()

    def _prepare(self, pool: ThreadPoolExecutor) -> None:
        self.roots = np.sqrt(self.w)
        shortened = self.roots * (1 - NORM)

        def block(part: slice) -> Floats:
            q = self.multiplied(part)
            q *= shortened
            return q

        self.short = fastest(len(self.w))(len(self.columns), len(self.w), block, pool)

    def _pairs(self, singles: Singles) -> Iterator[Ints]:
        first, m, late = int(singles.block[0]), len(self.columns), self.task.budget.late
        vectors, delta = self.short.rounded(singles.weighted / self.roots)
        out = np.empty(PARTNERS, dtype=np.int64)
        for left in range(first, m, COLUMNS):
            T = self.short.times(vectors, slice(left, min(left + COLUMNS, m)), late)
            if T is None:
                return
            room = 2 * self.ridge * np.maximum(singles.value - self.threshold, 0.0)
            closed = np.abs(T) <= (np.minimum(np.sqrt(room), 2.0) - delta - 2 * NORM)[:, None].astype(np.float32)
            opened = ~closed & (singles.block[:, None] < np.arange(left, left + T.shape[1]))
            for start in range(0, T.shape[1], PARTNERS):
                yield from self._partners_of_tile(singles, left + start, opened[:, start : start + PARTNERS], out)

    def _partners_of_tile(self, singles: Singles, left: int, opened: NDArray[np.bool_], out: Ints) -> Iterator[Ints]:
        """The pairs of a block with neurons from ``left`` on, of those ``opened``, that stay below the threshold."""
        needed = np.flatnonzero(opened.any(axis=0))
        if not len(needed):
            return
        Q = self.multiplied(left + needed)
        for row in np.flatnonzero(opened.any(axis=1)).tolist():
            if self.task.budget.over:
                return
            n = self._partners(singles, row, Q, np.flatnonzero(opened[row, needed]), out)
            yield np.stack([np.full(n, singles.block[row]), left + needed[out[:n]]], axis=1)
