"""F of small problems in ball and rational arithmetic: the claim alone, every set, and no theorem but weak duality.

Problems of the formulations are stated to the exact checker, whose balls hold the objective and the bounds.
"""

from __future__ import annotations

import itertools

import numpy as np
from flint import arb, ctx, fmpq, fmpq_mat

from formulations import SparseProbeProblem, fit_supports
from optprobe.certificates.exact.duality import Duality
from optprobe.certificates.exact.standard import Problem

ctx.prec = 200
Rationals = list[fmpq]


def exact(values: np.ndarray) -> Rationals:
    return [fmpq(*float(value).as_integer_ratio()) for value in values]


class ExactProblem:
    """The numbers of a problem as they are stored in float64, taken to be exact."""

    def __init__(self, problem: SparseProbeProblem) -> None:
        candidates = [int(j) for j in problem.candidates]
        stated = problem.loss.name, float(problem.ridge), int(problem.k), problem.Z, problem.y, problem.w, candidates
        self.duality = Duality(Problem(*stated))

    def objective(self, support: tuple[int, ...], coef: np.ndarray, intercept: float) -> arb:
        """The objective at one point."""
        return self.duality.objective(support, np.asarray(coef), float(intercept))

    def lower_bound(self, support: tuple[int, ...], a: np.ndarray) -> arb:
        """Weak duality for one support: ``g(a) - |v_S|^2 / (2 ridge)``, at ``a`` made exactly feasible."""
        return self.duality.of_set(self.duality.feasible(np.asarray(a)), support)


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
