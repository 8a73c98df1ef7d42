"""Leaves of the tree in which two neurons are missing (logistic loss): all pairs, by the minorant of one reference fit.

The relaxation of a node is loose at small ridge, since one dual vector serves all its sets. With two neurons missing,
theorem 2 of `minorant` after the prefix gives every pair a dual vector of its own for a few operations, and theorem 1
one of the few that are left for O(n_rows). The proof of such a leaf is the reference; the checker does the same anew.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from formulations import SparseProbeProblem
from optprobe.engines.bounds.minorant import BOXES, SHRUNK, STRENGTHS, Minorant, Screen
from optprobe.engines.bounds.relaxation import LiveColumns
from optprobe.engines.engine import BOUNDED_AT_ONCE
from optprobe.engines.kernels import minorant as kernels
from optprobe.engines.outcome import Reference
from optprobe.heuristics.rankings import lasso_path
from optprobe.heuristics.stopping import Late, never

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

NEIGHBOURS = 30
"""Strong neurons that replace each one of the incumbent, in the sets on which references are compared."""
PREFIX_PASSES, PASSES = 12, 6
CAPACITY = 1 << 16


class PairLeaves:
    """The reference of a search, and the products of its live columns.

    Attributes
    ----------
    reference : Reference
    """

    def __init__(
        self, problem: SparseProbeProblem, live: LiveColumns, support: tuple[int, ...], upper: float, late: Late = never
    ) -> None:
        self.ridge, self.late = problem.ridge, late
        used = np.flatnonzero(problem.w > 0)
        self.neurons = np.ascontiguousarray(live.neurons[:, used])
        y, w = problem.y[used], problem.w[used]
        order = np.argsort(-np.abs(self.neurons @ (w * y)), kind="stable")
        near = self._near(np.isin(live.columns, support), order, min(problem.size, len(order)))
        # any reference is valid: this one stands where no other bounds every set, or there is no time to try
        best, self.reference = -np.inf, Reference(np.zeros(problem.n_rows), BOXES[0])
        for coef, intercept in lasso_path(problem, map(float, STRENGTHS), late):
            fit = problem.Z[:, coef != 0] @ coef[coef != 0] + intercept
            for box in BOXES:
                minorant = Minorant.at(self.neurons, y, w, fit[used], box)
                self._take(minorant)
                value = float(np.minimum(self._bounds(near, upper), upper).mean())
                if value > best:
                    best, self.reference = value, Reference(fit, box)
        self._take(Minorant.at(self.neurons, y, w, self.reference.fit[used], self.reference.box))

    def open_sets(self, inside: Ints, free: Ints, threshold: float) -> Ints | None:
        """The sets ``inside`` plus two of ``free`` that no bound closes, shape (n_sets, size), by position.

        None where the prefix has no x in the box, so that nothing is known, and once time is up.
        """
        if self.late():
            return None
        bound, point = np.empty(1), np.empty((1, len(self.minorant.weight)))
        self._raise(inside[None, :], np.inf, PREFIX_PASSES, bound, point)
        if not np.isfinite(bound[0]):
            return None
        screen = Screen.after(self.minorant, self.ridge, inside, point[0], free)
        m, first = len(free), 1
        out = np.empty((max(CAPACITY, 2 * m), 3), dtype=np.int64)
        parts = [np.zeros((0, len(inside) + 2), dtype=np.int64)]
        while first < m:
            products = screen.E, screen.C, screen.r, screen.lin, screen.sides
            n, first = kernels.open_pairs((0, m), first, *products, threshold - screen.base, self.ridge, out)
            sets = np.concatenate([np.tile(inside, (n, 1)), free[out[:n, :2]]], axis=1)
            for at in range(0, n, BOUNDED_AT_ONCE):
                if self.late():
                    return None
                some = sets[at : at + BOUNDED_AT_ONCE]
                parts.append(some[~(self._bounds(some, threshold) >= threshold)])
        return np.concatenate(parts)

    def _take(self, minorant: Minorant) -> None:
        weight = minorant.weight
        self.minorant, self.means = minorant, minorant.neurons @ weight
        self.rows = np.array([weight, minorant.low + SHRUNK, minorant.high - SHRUNK])

    def _bounds(self, sets: Ints, enough: float) -> Floats:
        """Theorem 1 for listed sets."""
        bounds = np.empty(len(sets))
        self._raise(sets, enough - self.minorant.base, PASSES, bounds, np.empty((0, 0)))
        return bounds + self.minorant.base

    def _raise(self, sets: Ints, missing: float, passes: int, bounds: Floats, points: Floats) -> None:
        minorant = self.minorant
        arrays = minorant.neurons, minorant.r, self.means, self.rows
        kernels.raise_minorant(sets, *arrays, SHRUNK, missing, self.ridge, passes, bounds, points)

    @staticmethod
    def _near(of_incumbent: NDArray[np.bool_], order: Ints, size: int) -> Ints:
        """The incumbent, and each set that has one strong neuron in place of one of its own.

        Where neurons of the incumbent are no longer live, the strongest others stand in for them.
        """
        first = order[np.argsort(~of_incumbent[order], kind="stable")]
        incumbent, strong = first[:size], first[size : size + NEIGHBOURS]
        sets = np.tile(incumbent, (1 + size * len(strong), 1))
        for place in range(size):
            sets[place * len(strong) : (place + 1) * len(strong), place] = strong
        return sets
