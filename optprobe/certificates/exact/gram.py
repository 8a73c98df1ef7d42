"""Second moments of a problem's standardised columns, from its rows, in balls."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence

from flint import arb

from optprobe.certificates.exact.balls import FINER, Balls, add, dot, exactly, precision
from optprobe.certificates.exact.duality import Duality
from optprobe.certificates.exact.quadratic import value_of

ROWS_AT_A_TIME = 128
KEPT_NUMBERS = 30_000_000


class Gram:
    """The second moments of candidates, about their weighted means: places in falling order of their covariance, but
    those of forced columns are the first.

    Rows are made in blocks when they are first asked for, and kept as far as there is room.
    """

    semidefinite = True

    def __init__(self, duality: Duality, candidates: list[int]) -> None:
        self.duality, self.problem, self.ridge = duality, duality.problem, duality.ridge
        y = exactly(duality.y)
        weighted = [w * x for w, x in zip(duality.w, y)]
        means, cross = duality.times([duality.w, weighted])
        self.target = add(weighted)
        self.v0 = dot(weighted, y) - self.target * self.target / duality.total
        size = {j: abs(float(cross[j].mid())) for j in candidates}
        forced = self.problem.forced
        self.places = sorted(candidates, key=lambda j: (j not in forced, -size[j]))
        self.means = [means[j] for j in self.places]
        self.c = [cross[j] - means[j] * self.target / duality.total for j in self.places]
        self.diagonal = [self._diagonal(j, m) for j, m in zip(self.places, self.means)]
        self._blocks: OrderedDict[int, list[Balls]] = OrderedDict()

    def _diagonal(self, j: int, mean: arb) -> arb:
        z = self.duality.column(j)
        square = dot(self.duality.w, [x * x for x in z]) - mean * mean / self.duality.total
        return square + self.ridge

    def row(self, i: int) -> Balls:
        """The entries of the row i at the places above i."""
        block = i // ROWS_AT_A_TIME
        if block not in self._blocks:
            self._blocks[block] = self._block(block * ROWS_AT_A_TIME)
            if len(self._blocks) * ROWS_AT_A_TIME * len(self.places) > KEPT_NUMBERS:
                self._blocks.popitem(last=False)
        return self._blocks[block][i % ROWS_AT_A_TIME]

    def _block(self, first: int) -> list[Balls]:
        places = range(first, min(len(self.places), first + ROWS_AT_A_TIME))
        columns = ([w * x for w, x in zip(self.duality.w, self.duality.column(self.places[i]))] for i in places)
        rows = []
        for i, full in zip(places, self.duality.times(list(columns))):
            share = self.means[i] / self.duality.total
            rows.append([full[self.places[j]] - share * self.means[j] for j in range(i + 1, len(self.places))])
        return rows

    def values(self, places: Sequence[int]) -> list[arb]:
        """F of one set by ever more bits, until its radius is below a millionth of its last digit."""
        found: list[arb] = []
        for bits in FINER:
            with precision(bits):
                found.append(self._value(self.name(places)))
                if found[-1].is_finite() and float(found[-1].rad()) < 1e-24:
                    break
        return found

    def _value(self, columns: list[int]) -> arb:
        w, y = self.duality.w, exactly(self.duality.y)
        own = [self.duality.column(j) for j in columns] + [y]
        weighted = [[a * x for a, x in zip(w, z)] for z in own]
        total, sums = add(w), [add(z) for z in weighted]
        joint = [[dot(a, z) - s * t / total for z, t in zip(own, sums)] for a, s in zip(weighted, sums)]
        A = [[x + self.ridge if i == j else x for j, x in enumerate(each[:-1])] for i, each in enumerate(joint[:-1])]
        return value_of(joint[-1][-1], joint[-1][:-1], A)

    def name(self, places: Sequence[int]) -> list[int]:
        """The columns at these places."""
        return [self.places[i] for i in places]
