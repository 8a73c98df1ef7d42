"""A second checker, for small instances: the claim alone, every set, in rational and ball arithmetic.

No rounding, no theorem but weak duality, and nothing of the first checker. Rational numbers carry everything but the
logarithms of the logistic loss, which are balls of 200 bits.
"""

from __future__ import annotations

import itertools

import numpy as np
from flint import arb, ctx, fmpq, fmpq_mat

from formulations import SparseProbeProblem, fit_supports

ctx.prec = 200
Rationals = list[fmpq]


def exact(values: np.ndarray) -> Rationals:
    return [fmpq(*float(value).as_integer_ratio()) for value in values]


class ExactProblem:
    """The numbers of a problem as they are stored in float64, taken to be exact."""

    def __init__(self, problem: SparseProbeProblem) -> None:
        self.problem, self.loss = problem, problem.loss.name
        self.y, self.w, self.ridge = exact(problem.y), exact(problem.w), exact(np.array([problem.ridge]))[0]
        self.Z = [exact(column) for column in problem.Z.T]

    def objective(self, support: tuple[int, ...], coef: np.ndarray, intercept: float) -> arb:
        """The objective at one point."""
        b, b0 = exact(coef), exact(np.array([intercept]))[0]
        total = arb(self.ridge * sum((c * c for c in b), fmpq(0)) / 2)
        for i, (y, w) in enumerate(zip(self.y, self.w)):
            f = b0 + sum((c * self.Z[j][i] for c, j in zip(b, support)), fmpq(0))
            total += arb(w) * self._value(y, f)
        return total

    def lower_bound(self, support: tuple[int, ...], a: np.ndarray) -> arb:
        """Weak duality for one support: ``g(a) - |v_S|^2 / (2 ridge)``, at ``a`` made exactly feasible."""
        dual = self._feasible(exact(a))
        value = -sum((arb(w) * self._conjugate(y, x) for y, w, x in zip(self.y, self.w, dual)), arb(0))
        for j in support:
            v = sum((w * x * z for w, x, z in zip(self.w, dual, self.Z[j])), fmpq(0))
            value -= arb(v * v / (2 * self.ridge))
        return value

    def _feasible(self, a: Rationals) -> Rationals:
        """In the domain of the conjugate, with ``sum w a = 0`` exactly."""
        if self.loss == "squared":
            mean = sum((w * x for w, x in zip(self.w, a)), fmpq(0)) / sum(self.w, fmpq(0))
            return [x - mean for x in a]
        t = [min(max(-y * x, fmpq(0)), fmpq(1)) for y, x in zip(self.y, a)]
        sums = {sign: sum((w * s for y, w, s in zip(self.y, self.w, t) if y == sign), fmpq(0)) for sign in (1, -1)}
        least = min(sums.values())
        return [-y * s * (least / sums[int(y.p)] if least else 0) for y, s in zip(self.y, t)]

    def _value(self, y: fmpq, f: fmpq) -> arb:
        if self.loss == "squared":
            return arb((y - f) * (y - f) / 2)
        if self.loss == "hinge":
            return arb(max(fmpq(0), 1 - y * f))
        return (1 + (arb(-y * f)).exp()).log()

    def _conjugate(self, y: fmpq, a: fmpq) -> arb:
        if self.loss == "squared":
            return arb(a * y + a * a / 2)
        t = -a * y
        if self.loss == "hinge":
            return arb(-t)
        return sum((arb(s) * arb(s).log() for s in (t, 1 - t) if s != 0), arb(0))


class Truth:
    """Balls that hold F of every support between them: dual values below, objectives above."""

    def __init__(self, problem: SparseProbeProblem) -> None:
        stated = ExactProblem(problem)
        sets = list(itertools.combinations(map(int, problem.candidates), problem.size))
        fits = fit_supports(problem, np.array(sets, dtype=np.int64))
        self.lower = [stated.lower_bound(*each) for each in zip(sets, fits.dual)]
        self.upper = [stated.objective(*each) for each in zip(sets, fits.coef, map(float, fits.intercept))]

    def proves(self, lower: float) -> bool:
        """Whether every set has F at least ``lower``."""
        return all(bound >= arb(lower) for bound in self.lower)

    def refutes(self, lower: float) -> bool:
        """Whether some set has F below ``lower``."""
        return any(value < arb(lower) for value in self.upper)


class ExactMoments:
    """F of the squared loss from rows as they are stored, standardised by given reciprocal deviations: all rational."""

    def __init__(self, X: np.ndarray, y: np.ndarray, w: np.ndarray, inv_scale: np.ndarray, ridge: float) -> None:
        weights, scale, self.ridge = exact(w), exact(inv_scale), exact(np.array([ridge]))[0]
        total = sum(weights, fmpq(0))
        weights = [x / total for x in weights]
        columns = [exact(column) for column in X.T] + [exact(y)]
        means = [sum((a * x for a, x in zip(weights, column)), fmpq(0)) for column in columns]
        centred = [[x - mean for x in column] for column, mean in zip(columns, means)]
        scaled = [[x * s for x in column] for column, s in zip(centred, [*scale, fmpq(1)])]
        self.joint = [
            [sum((a * x * z for a, x, z in zip(weights, one, other)), fmpq(0)) for other in scaled] for one in scaled
        ]

    def value(self, support: tuple[int, ...]) -> fmpq:
        """``(v0 - c' (A + ridge I)^{-1} c) / 2``."""
        M = fmpq_mat(len(support), len(support), [self.joint[i][j] for i in support for j in support])
        for i in range(len(support)):
            M[i, i] += self.ridge
        c = fmpq_mat(len(support), 1, [self.joint[i][-1] for i in support])
        return (self.joint[-1][-1] - (c.transpose() * M.solve(c))[0, 0]) / 2
