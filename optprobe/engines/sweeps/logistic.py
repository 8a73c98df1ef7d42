"""The dual sweep of the logistic loss, k = 2 and 3, by the screens and bounds of `minorant`.

s of a pair by its 2 x 2 system, scaled into the box, then one exact coordinate step for each third neuron. What the
screen leaves open gets the x of theorem 1 for its own set; what that leaves is fitted exactly. The proof is the
reference: the checker sweeps again with its own s and x.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from math import comb

import numpy as np
from joblib import cpu_count
from numpy.typing import NDArray

from formulations import fit_support
from formulations.losses import log_odds
from optprobe.engines.bounds.minorant import BOXES, STRENGTHS, Closing, Minorant, Screen, reference_at
from optprobe.engines.budget import Progress
from optprobe.engines.engine import BOUNDED_AT_ONCE, Task
from optprobe.engines.kernels import minorant as kernels
from optprobe.engines.outcome import Reference, SweepProof
from optprobe.engines.sweeps.dual_sweep import DualSweep
from optprobe.heuristics.rankings import lasso_path
from optprobe.heuristics.sample import sampled

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SAMPLE = 96
"""Neurons, strong ones more densely, on which references are compared."""
SHARES = (1.0, 0.7, 0.5, 0.35, 0.2, 0.1, 0.0)
"""Of a reference's distance from the constant fit, which is centred at any balance of the classes: the largest share at
which it is centred too."""
PREFIXES = 16
CAPACITY = 1 << 18
CLOSED_AT_MOST = 4096
"""Sets whose bounds are computed to judge a reference."""
FIT_COST = 60.0
"""Of an exact fit, in bounds of a single set."""


def _centred_share(y: Floats, w: Floats, fit: Floats, constant: float, box: float) -> float:
    """The largest of `SHARES` at which a reference is centred, or the least."""
    no_neurons = np.empty((0, len(y)))
    for share in SHARES:
        if Minorant.at(no_neurons, y, w, constant + share * (fit - constant), box).centred:
            break
    return share


class MinorantSweep(DualSweep):
    """The reference fit, and the sweep around it.

    Attributes
    ----------
    reference : Reference
        Any is valid; this one leaves the fewest sets to the later stages.
    """

    largest_k = 3

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self.reference = self._best_reference()

    def proof(self) -> SweepProof:
        return SweepProof(self.reference)

    def _best_reference(self) -> Reference:
        """Of the fits of an L1 path and two boxes, the cheapest on some neurons and a sample of the rows."""
        problem, m = self.task.rows, len(self.columns)
        small = sampled(problem)
        used = np.flatnonzero(small.w > 0)
        y, w = small.y[used], small.w[used]
        places = np.unique(np.geomspace(1, m, min(m, SAMPLE)).astype(np.int64)) - 1
        neurons = np.ascontiguousarray(small.Z.T[np.ix_(self.columns[places], used)])
        threshold = self.threshold
        if small is not problem:
            threshold += float(fit_support(small, self.task.incumbent).objective[0]) - self.task.objective
        stand_for = np.append(np.diff(np.append(places, m)), 1.0).astype(np.float64)
        constant = log_odds(small.y, small.w)
        best, least, worse = Reference(np.full(problem.n_rows, constant), BOXES[0]), np.inf, 0
        for coef, intercept in lasso_path(small, map(float, STRENGTHS), self.task.budget.late):
            found, fit = np.inf, small.Z[:, coef != 0] @ coef[coef != 0] + intercept
            for box in BOXES:
                if self.task.budget.over:
                    return best
                share = _centred_share(y, w, fit[used], constant, box)
                minorant = Minorant.at(neurons, y, w, constant + share * (fit[used] - constant), box)
                if not minorant.centred or minorant.base < threshold:
                    continue
                cost = self._cost(minorant, stand_for, threshold, least)
                found = min(found, cost)
                if cost < least:
                    carried = reference_at(problem, small, coef, intercept, box).fit
                    share = min(share, _centred_share(self.y, self.w, carried[self.used], constant, box))
                    best, least = Reference(constant + share * (carried - constant), box), cost
            worse = 0 if found <= least else worse + 1
            if worse > 1:
                break
        return best

    def _cost(self, minorant: Minorant, stand_for: Floats, threshold: float, limit: float) -> float:
        """Of the sets that the screen leaves open, in bounds of a single set, estimated from a sample of neurons.

        Only a lower bound where it exceeds the limit; infinite where the budget ends before it is known.
        """
        screen = Screen.of(minorant, self.ridge)
        opened = list(self._open(minorant, screen, (0, len(minorant.r)), threshold))
        sets = np.concatenate([np.zeros((0, 3), dtype=np.int64), *opened])
        shares = stand_for[sets].prod(axis=1)
        total = float(shares.sum())
        if total > limit:
            return total
        if self.task.budget.over:
            return np.inf
        every = 1 + len(sets) // CLOSED_AT_MOST
        tried = np.ascontiguousarray(sets[::every])
        left = Closing.of(minorant, screen.E, self.ridge).below(tried, threshold - minorant.base)
        return total + FIT_COST * every * float(shares[::every][left].sum())

    def _minorant(self, neurons: Floats, reference: Reference) -> Minorant:
        return Minorant.at(neurons, self.y, self.w, reference.fit[self.used], reference.box)

    def finished(self) -> bool:
        """Sweep; False if the budget ended before the end."""
        budget, m = self.task.budget, len(self.columns)
        if budget.over:
            return False
        minorant = self._minorant(self.gathered(), self.reference)
        screen = Screen.of(minorant, self.ridge)
        if budget.over:
            return False
        close = Closing.of(minorant, screen.E, self.ridge)
        starts = range(0, m, PREFIXES * (1 if self.size == MinorantSweep.largest_k else 8))

        def left(start: int) -> list[Ints]:
            found: list[Ints] = []
            for sets in self._open(minorant, screen, (start, min(start + starts.step, m)), self.threshold):
                self.counts["open"] += len(sets)
                for at in range(0, len(sets), BOUNDED_AT_ONCE):
                    if budget.over:
                        return found
                    some = sets[at : at + BOUNDED_AT_ONCE]
                    found.append(some[close.below(some, self.threshold - minorant.base)])
            return found

        with ThreadPoolExecutor(cpu_count()) as pool:
            for start, sets in zip(starts, pool.map(left, starts)):
                for part in sets:
                    self.fit(part[:, : self.size])
                done = 1 - comb(m - start, self.size) / comb(m, self.size)
                self.task.report(Progress("dual enumeration", self.task.proved, self.found.upper, done))
        return not budget.over

    def _open(self, minorant: Minorant, screen: Screen, prefixes: tuple[int, int], threshold: float) -> Iterator[Ints]:
        """The sets whose first neuron is in ``prefixes`` and that the screen leaves open, in parts of shape (., 3).

        Smaller sets are filled up with m. Ends early where the budget is over.
        """
        m = len(minorant.r)
        missing = threshold - minorant.base if minorant.centred else np.inf
        out = np.empty((max(CAPACITY, (PREFIXES + 1) * m), 3), dtype=np.int64)
        j = prefixes[0] + 1
        while j < m and not self.task.budget.over:
            rest = screen.r, screen.lin, screen.sides, missing, self.ridge, out
            if self.size == 2:
                n, j = kernels.open_pairs(prefixes, j, screen.E, screen.C, *rest)
            else:
                n, j = kernels.open_triples(prefixes, j, screen.E, screen.C, screen.D, *rest)
            yield out[:n].copy()
