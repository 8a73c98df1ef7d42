"""Every set of a node has F at least the lower bound: logistic and hinge loss.

A node's own vector, the derivative of the loss at the fit of its inside, closes the node, or lets columns leave it; the
rest is split by its strongest column. A set that no bound for many closes gets the vector of its own fit.
"""

from __future__ import annotations

from collections.abc import Callable
from math import comb

import numpy as np
from flint import arb

from optprobe.certificates.exact.balls import PRECISION, precision, show
from optprobe.certificates.exact.duality import Duality
from optprobe.certificates.exact.fits import FINE, FINEST, ROUGH, Fits, fit
from optprobe.certificates.exact.nodes import reaches, screened
from optprobe.certificates.exact.pool import Part
from optprobe.certificates.exact.refine import refined
from optprobe.certificates.exact.verdict import Clock, Rejected

BATCH_NUMBERS = 100_000
"""Numbers in the rows of the sets that are fitted at a time."""


class Sweep:
    """Proves that sets have F at least the lower bound, or contain a listed one.

    Attributes
    ----------
    proved : int
        The number of sets of which that is proved.
    fitted : int
        Those among them that needed a fit of their own.
    """

    def __init__(self, duality: Duality, part: Part, clock: Clock, progress: Callable[[], str] | None = None) -> None:
        self.duality, self.problem, self.part, self.clock = duality, duality.problem, part, clock
        self.lower = arb(part.lower)
        self.proved = self.fitted = 0
        self.of = comb(len(part.candidates), self.problem.size)
        self.progress = self._sets_so_far if progress is None else progress

    def all_sets(self) -> None:
        """Prove it of every set of ``size`` candidates, or raise `Rejected` or `Undecided`."""
        self.node((), np.array(self.part.candidates, dtype=np.int64))

    def these(self, sets: list[list[int]]) -> None:
        """Prove it of sets of ``size`` columns."""
        self._in_batches(np.array(sets, dtype=np.int64).reshape(len(sets), self.problem.size))

    @property
    def counts(self) -> dict[str, int]:
        """What was done, for the verdict."""
        return {"sets": self.proved, "sets that needed a fit of their own": self.fitted}

    def _sets_so_far(self) -> str:
        return f"{self.proved:,} of {self.of:,} sets proved; none refuted"

    def node(self, inside: tuple[int, ...], free: np.ndarray) -> None:
        """Prove it of every set of a node."""
        need = self.problem.size - len(inside)
        if len(free) < need:
            return
        if self.part.listed.within(inside):
            self.proved += comb(len(free), need)
            return
        if need == 0:
            self._own(np.array([inside], dtype=np.int64).reshape(1, -1))
            return
        self.clock.check(self.progress)
        own = np.array([inside], dtype=np.int64).reshape(1, -1)
        bound = self.duality.bounds(list(fit(self.problem, own, widths=ROUGH).dual))[0]
        rest = free[np.argsort(-bound.d[free], kind="stable")]
        while len(rest) >= need:
            stay = rest[:0]
            if not reaches(bound, inside, rest, need, self.lower):
                stay = screened(bound, inside, rest, need, self.lower)
            self.proved += comb(len(rest), need) - comb(len(stay), need)
            rest = stay
            if need == 1:
                self._last(inside, rest)
                return
            if len(rest) >= need:
                self.node((*inside, int(rest[0])), rest[1:])
                rest = rest[1:]

    def _last(self, inside: tuple[int, ...], free: np.ndarray) -> None:
        before = np.tile(np.array(inside, dtype=np.int64), (len(free), 1)).reshape(len(free), len(inside))
        self._in_batches(np.hstack([before, free[:, None]]))

    def _in_batches(self, sets: np.ndarray) -> None:
        step = max(1, BATCH_NUMBERS // (len(self.problem.y) * (sets.shape[1] + 1)))
        for start in range(0, len(sets), step):
            self._own(sets[start : start + step])

    def _own(self, sets: np.ndarray) -> None:
        """Prove it of sets by their own fits: rough ones first, better ones for those that are left."""
        listed = np.array([self.part.listed.within(columns) for columns in sets.tolist()], dtype=bool)
        self.proved += int(listed.sum())
        sets = sets[~listed]
        if not len(sets):
            return
        for widths in (ROUGH, FINE):
            fits, left = fit(self.problem, sets, widths=widths), []
            for i, columns in enumerate(sets.tolist()):
                self.clock.check(self.progress)
                if self.duality.of_set(self.duality.feasible(fits.dual[i]), columns) >= self.lower:
                    self.proved += 1
                    self.fitted += 1
                else:
                    left.append(i)
            sets = sets[left]
            if not left:
                return
        for columns in sets.tolist():
            self._insist(columns)
            self.proved += 1
            self.fitted += 1

    def _insist(self, columns: list[int]) -> None:
        """Prove it of one set with more steps and more bits, or raise `Rejected`."""
        one = np.array([columns], dtype=np.int64).reshape(1, -1)
        fits = fit(self.problem, one, 400)
        with precision(2 * PRECISION):
            vectors = [self.duality.feasible(fits.dual[0])]
            if self.problem.loss == "hinge":
                vectors.append(self.duality.feasible(fit(self.problem, one, 400, FINEST).dual[0]))
            better = refined(self.duality, columns, fits)
            if better is not None:
                vectors.append(self.duality.balanced(better))
            values = [self.duality.of_set(vector, columns) for vector in vectors]
            if any(value >= self.lower for value in values):
                return
            self._refuse(columns, fits, values)

    def _refuse(self, columns: list[int], fits: Fits, values: list[arb]) -> None:
        claimed = show(self.lower)
        objective = self.duality.objective(columns, fits.coef[0], float(fits.intercept[0]))
        if objective < self.lower:
            raise Rejected(
                f"The set {sorted(columns)} has an objective of at most {show(objective)}, "
                f"below the claimed lower bound {claimed}."
            )
        raise Rejected(
            f"The lower bound {claimed} could not be proved of the set {sorted(columns)}: "
            f"its best bound is {show(values[-1])}."
        )
