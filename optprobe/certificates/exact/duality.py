"""The bound of one dual vector, section 5 of docs/certificates.md, in balls.

For a vector a in the domain of the conjugate with ``sum w a = 0``, and every set S,

    F(S) >= g - sum_{j in S} v_j^2 / (2 ridge),    g = -sum_i w_i l*(y_i, a_i),    v = Z'(w a).

A hint in float64 is made feasible as real numbers: by subtracting the mean, or by scaling one class. The balls hold the
vector so made, so the sum is 0 and no bound on the intercept is needed.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from flint import arb, arb_mat

from optprobe.certificates.exact.balls import (
    Balls,
    above,
    add,
    column,
    dot,
    exactly,
    log_1_exp,
    matrix,
    row,
    x_log_x,
)
from optprobe.certificates.exact.standard import Problem

KEPT_NUMBERS = 6_000_000
"""Numbers of Z that are kept as balls, 48 bytes each; more are made anew whenever they are needed."""
CHUNK_NUMBERS = 500_000


@dataclass(frozen=True, eq=False)
class Bound:
    """What one vector says of all sets: g, and d_j as float64 numbers that are certainly not too small."""

    g: arb
    d: np.ndarray


@dataclass(frozen=True, eq=False)
class Feasible:
    """A feasible vector: the products w a, and g."""

    weighted: Balls
    g: arb


class Duality:
    """The bounds of a problem.

    Parameters
    ----------
    problem : Problem
        Rows of weight 0 take no part, here as there.
    """

    def __init__(self, problem: Problem) -> None:
        self.problem = problem
        self.rows = np.flatnonzero(problem.w > 0)
        self.y = problem.y[self.rows]
        self.w = exactly(problem.w[self.rows])
        self.total = add(self.w)
        self.ridge = arb(problem.ridge)
        self._columns: OrderedDict[int, arb_mat] = OrderedDict()
        self._chunks: dict[int, arb_mat] = {}

    def feasible(self, a: np.ndarray) -> Feasible:
        """A hint (of all rows, in float64) made feasible."""
        a = a[self.rows]
        if self.problem.loss == "squared":
            return self.centred(exactly(a))
        return self.balanced(exactly(np.clip(-self.y * a, 0.0, 1.0)))

    def centred(self, a: Balls) -> Feasible:
        """Numbers less their weighted mean, of the squared loss."""
        mean = dot(self.w, a) / self.total
        a = [x - mean for x in a]
        weighted = [w * x for w, x in zip(self.w, a)]
        terms = [x * s + x * x / 2 for x, s in zip(a, self.y.tolist())]
        return Feasible(weighted, -dot(self.w, terms))

    def balanced(self, t: Balls) -> Feasible:
        """Numbers t in [0, 1], scaled in the class of larger sum ``w t`` so that both have the same."""
        products = [w * x for w, x in zip(self.w, t)]
        signs = self.y.tolist()
        plus = add(x for x, s in zip(products, signs) if s > 0)
        minus = add(x for x, s in zip(products, signs) if s < 0)
        scales = _scales(plus, minus)
        t = [x * scales[s > 0] for x, s in zip(t, signs)]
        weighted = [-x * scales[s > 0] if s > 0 else x * scales[s > 0] for x, s in zip(products, signs)]
        if self.problem.loss == "hinge":
            return Feasible(weighted, dot(self.w, t))
        return Feasible(weighted, -dot(self.w, [x_log_x(x) + x_log_x(1 - x) for x in t]))

    def of_set(self, vector: Feasible, columns: Sequence[int]) -> arb:
        """The bound of a vector for one set."""
        weighted = column(vector.weighted)
        products = ((self._column(j) * weighted)[0, 0] for j in columns)
        return vector.g - add(v * v for v in products) / (2 * self.ridge)

    def bounds(self, vectors: Sequence[np.ndarray]) -> list[Bound]:
        """The bounds of hints, for all columns at once."""
        made = [self.feasible(a) for a in vectors]
        scale = 1 / (2 * self.ridge)
        products = self.times([each.weighted for each in made])
        return [
            Bound(each.g, np.array([above(v * v * scale) if v != 0 else 0.0 for v in own]))
            for each, own in zip(made, products)
        ]

    def times(self, vectors: Sequence[Balls]) -> list[Balls]:
        """The products of Z' with vectors over the rows of positive weight."""
        right = arb_mat(len(vectors), len(self.rows), [x for each in vectors for x in each]).transpose()
        products: list[Balls] = [[] for _ in vectors]
        step = max(1, CHUNK_NUMBERS // len(self.rows))
        for start in range(0, self.problem.Z.shape[1], step):
            for own, new in zip(products, (self._chunk(start, step) * right).transpose().tolist()):
                own.extend(new)
        return products

    def _chunk(self, start: int, step: int) -> arb_mat:
        chunk = self._chunks.get(start)
        if chunk is None:
            chunk = matrix(self.problem.Z[self.rows, start : start + step].T)
            if len(self.rows) * self.problem.Z.shape[1] <= KEPT_NUMBERS:
                self._chunks[start] = chunk
        return chunk

    def column(self, j: int) -> Balls:
        """A column of Z on the rows of positive weight."""
        return exactly(self.problem.Z[self.rows, j])

    def _column(self, j: int) -> arb_mat:
        if j not in self._columns:
            self._columns[j] = row(self.column(j))
            if len(self._columns) > max(64, KEPT_NUMBERS // len(self.rows)):
                self._columns.popitem(last=False)
        return self._columns[j]

    def objective(self, columns: Sequence[int], coef: np.ndarray, intercept: float) -> arb:
        """The objective at stored coefficients."""
        b, f = exactly(coef), [arb(intercept)] * len(self.rows)
        if len(columns):
            products = matrix(self.problem.Z[np.ix_(self.rows, np.asarray(columns))]) * column(b)
            f = [x + y for x, y in zip(products.entries(), f)]
        signs = self.y.tolist()
        if self.problem.loss == "squared":
            losses = [(s - x) * (s - x) / 2 for x, s in zip(f, signs)]
        elif self.problem.loss == "hinge":
            losses = [(1 - x * s).max(arb(0)) for x, s in zip(f, signs)]
        else:
            losses = [log_1_exp(-x * s) for x, s in zip(f, signs)]
        return dot(self.w, losses) + self.ridge * dot(b, b) / 2


def _scales(plus: arb, minus: arb) -> tuple[arb, arb]:
    """The factors of the class -1 and of the class +1; neither is above 1 as a real number."""
    if not (plus > 0 and minus > 0):
        return arb(0), arb(0)
    if plus <= minus:
        return plus / minus, arb(1)
    if minus <= plus:
        return arb(1), minus / plus
    least = plus.min(minus)
    return least / minus, least / plus
