"""A diagonal D taken out of the curvature of the squared loss: the relaxation then works with ridge + D_j.

With G = Z'WZ, c = Z'Wy, v0 = y'Wy (about means) and 0 <= D, G - D positive semidefinite, every b^ and every set S have

    F(S) >= v0 / 2 - b^'(G - D) b^ / 2 - sum_{j in S} w_j^2 / (2 (ridge + D_j)),      w = c - (G - D) b^,

and D = 0 is the dual bound at the residual of b^. *Proof.* b'(G - D) b >= 2 b'(G - D) b^ - b^'(G - D) b^, so
F(S) = min v0 / 2 - c'b + b'(G - D) b / 2 + sum (ridge + D_j) b_j^2 / 2 is at least the minimum of a sum over j in S. At
one b^ the bound never falls where a D_j grows. The best such bound of a node is that of the perspective relaxation

    min over s and b of  v0 / 2 - c'b + b'(G - D) b / 2 + sum_j (ridge + D_j) b_j^2 / (2 s_j).

D is of use where G is definite: with more rows than columns. A null vector of G without zeros makes D = 0.

Sources: Frangioni and Gentile 2007; Zheng, Sun and Li 2014; Dong, Chen and Linderoth 2015. `best_diagonal` finds D.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Split:
    """The moments of some columns, and the diagonal that is taken out of them.

    Attributes
    ----------
    gram, cross : ndarray, shapes (m, m) and (m,)
        G and c.
    diagonal : ndarray, shape (m,)
        D, as a proof states it.
    margin : float
        What the proof may lose of it to rounding (`reserve`): bounds are taken with so much less.
    ridge, half, mean : float
        The ridge, v0 / 2, and the mean of y.
    unit : float
        ``gamma`` of the longest sum.
    """

    gram: Floats
    cross: Floats
    diagonal: Floats
    margin: float
    ridge: float
    half: float
    mean: float
    unit: float

    @cached_property
    def taken(self) -> Floats:
        """D less the margin, shape (m,)."""
        return self.diagonal - self.margin

    @cached_property
    def curvature(self) -> Floats:
        """The ridge and what is taken, shape (m,)."""
        return self.ridge + self.taken

    def restricted(self, positions: Ints) -> Split:
        """The same of some of the columns."""
        gram = self.gram[np.ix_(positions, positions)]
        return replace(self, gram=gram, cross=self.cross[positions], diagonal=self.diagonal[positions])

    def spread(self, columns: Ints, n_neurons: int) -> Floats:
        """D by the columns' places in X, 0 elsewhere, shape (n_neurons,)."""
        whole = np.zeros(n_neurons)
        whole[columns] = self.diagonal
        return whole

    def fit(self, support: Ints, s: Floats) -> tuple[Floats, Floats, float, float]:
        """Coefficients of the relaxation at a fractional s, |w| of all columns, its objective, and the value."""
        e = self.curvature[support]
        own = self.gram[np.ix_(support, support)]
        own[np.arange(len(support)), np.arange(len(support))] += e / s[support] - self.taken[support]
        coef = np.asarray(np.linalg.solve(own, self.cross[support]), dtype=np.float64)
        rest, value, quadratic = self.at(support, coef)
        linear = float(coef @ self.cross[support])
        primal = self.half - linear + quadratic / 2 + float(e / s[support] @ (coef * coef)) / 2
        return coef, rest, primal, value

    def at(self, support: Ints, coef: Floats) -> tuple[Floats, float, float]:
        """|w| of all columns at coefficients of some, the value, and b'(G - D) b.

        Rounding is counted against the bound: the moments err by ``unit``, so w by that times 1 + |b|_1, and as much
        again goes to whoever checks it. So |w| is rounded up, and the value, without the discounts, down.
        """
        rest = self.cross - coef @ self.gram[support]
        rest[support] += self.taken[support] * coef
        quadratic = float(coef @ (self.cross[support] - rest[support]))
        size = 1.0 + float(np.abs(coef).sum())
        return np.abs(rest) + 2 * self.unit * size, self.half - quadratic / 2 - 2 * self.unit * size**2, quadratic

    def discounts(self, rest: Floats) -> Floats:
        """What the columns take off the value, by their |w|, shape (m,)."""
        return np.asarray(rest * rest / (2 * self.curvature))


def reserve(n_rows: int, m: int) -> float:
    """What a proof that G - D is positive semidefinite may lose to rounding: 8 gamma_{n+m} times the trace of G."""
    return 8 * m * (n_rows + m + 64) * 2.0**-53
