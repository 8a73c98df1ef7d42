"""Cuts and their master problem in HiGHS: as MILP for candidates, as LP for the bounds of nodes.

Every dual vector a gives the cut ``eta >= g(a) - sum_j d_j(a) s_j``, valid for all supports. The master minimises eta
over binaries s with sum s = size. HiGHS is an oracle here: its supports are refitted, and of its LP only the
multipliers lambda are used. Since g is concave and every v_j linear in a, the combination ``a = sum_t lambda_t a_t``
has a node bound of its own, at least the LP's value; that bound is what counts, and the checker recomputes it.

With a diagonal D taken out of the curvature of the squared loss (`bounds.diagonal`) every coefficient vector b of all
columns gives such a cut, ``eta >= v0 / 2 - b'(G - D) b / 2 - sum_j w_j^2 s_j / (2 (ridge + D_j))``: its right side is
concave in b for every s, so that combinations of coefficients serve as those of dual vectors do.

Source of the cuts: Bertsimas, Pauphilet, Van Parys 2021. Guards (one thread, zero gaps, columns screened first) follow
docs/formulations.md.
"""

from __future__ import annotations

from dataclasses import dataclass

import highspy
import numpy as np
from numpy.typing import NDArray

from formulations import Fits, SparseProbeProblem, penalised_fit
from optprobe.engines.bounds.relaxation import Effort, LiveColumns, Point, Relaxed, ascend, top_sum
from optprobe.engines.budget import Budget
from optprobe.engines.mips.highs import INFINITY, Highs

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

NODES_A_ROUND = 200
"""A MILP that needs more nodes than this leaves the rest to the tree."""
START_ROOM = 1e-7
"""Added to the objective of a start, so that rounding does not put it below its own cut."""
CUTS_A_NODE = 3
"""New cuts at a node below the root, at most."""


@dataclass(frozen=True, eq=False)
class MilpRound:
    """What one MILP said, none of which is trusted.

    ``supports`` it visited (positions), its ``bound``, whether it took the start, and whether it ran to its end.
    """

    supports: Ints
    bound: float
    start_accepted: bool
    finished: bool


class Master:
    """The master over the live columns, as an LP and as a MILP that share their cuts."""

    def __init__(self, live: LiveColumns) -> None:
        self.live, self.size = live, live.problem.size
        self.m = len(live.columns)
        self.lp, self.milp = self._model(), self._model()
        for j in range(self.m):
            self.milp.changeColIntegrality(j, highspy.HighsVarType.kInteger)
        self.forced = np.flatnonzero(np.isin(live.columns, live.problem.forced))
        for j in self.forced.tolist():
            self.milp.changeColBounds(j, 1.0, 1.0)

    def _model(self) -> Highs:
        model = Highs()
        model.addVars(self.m + 1, np.append(np.zeros(self.m), -INFINITY), np.append(np.ones(self.m), INFINITY))
        model.changeColCost(self.m, 1.0)
        model.addRow(self.size, self.size, self.m, np.arange(self.m, dtype=np.int32), np.ones(self.m))
        return model

    def add(self, value: float, discount: Floats) -> None:
        """The cut of one dual vector, by its discounts of the live columns."""
        index = np.arange(self.m + 1, dtype=np.int32)
        for model in (self.lp, self.milp):
            model.addRow(value, INFINITY, self.m + 1, index, np.append(discount, 1.0))

    def relaxed(self, inside: Ints, free: Ints, budget: Budget) -> tuple[Floats, Floats]:
        """The s of the node's LP, shape (m,), and the multipliers of the cuts, non-negative with sum 1.

        Where the budget ends before the LP, they are any such.
        """
        lower, upper = np.zeros(self.m), np.zeros(self.m)
        lower[inside] = upper[inside] = upper[free] = 1.0
        self.lp.changeColsBounds(self.m, np.arange(self.m, dtype=np.int32), lower, upper)
        self.lp.keep(budget)
        self.lp.run()
        solution = self.lp.getSolution()
        s, multipliers = np.array(solution.col_value), np.maximum(np.array(solution.row_dual[1:]), 0.0)
        if not len(s):
            return upper * (self.size / upper.sum()), np.eye(self.lp.getNumRow() - 1)[-1]
        total = multipliers.sum()
        if not total > 0:  # the LP was not solved: any multipliers are valid, and the last cut is the likeliest
            multipliers[-1] = total = 1.0
        return np.clip(s[: self.m], 0.0, 1.0), multipliers / total

    def candidates(self, start: Ints, objective: float, tolerance: float, budget: Budget) -> MilpRound:
        """Solve the MILP from a start (positions), until optimal or the budget is over."""
        values = np.zeros(self.m + 1)
        values[start], values[self.m] = 1.0, objective + START_ROOM
        self.milp.setOptionValue("mip_max_nodes", NODES_A_ROUND)
        run = self.milp.search(values, tolerance, budget)
        visited = (np.flatnonzero(values[: self.m] > 0.5) for values in run.visited)
        whole = (one for one in visited if len(one) == self.size and np.isin(self.forced, one).all())
        sets = {tuple(map(int, support)) for support in whole}
        supports = np.array(sorted(sets), dtype=np.int64).reshape(len(sets), self.size)
        return MilpRound(supports, run.bound, run.start_accepted, run.finished)


class CutPool:
    """All cuts of a solve, and the master of the columns in play.

    A point is a dual vector, shape (n_rows,); where a diagonal is taken out, coefficients of all columns, (n_neurons,).
    """

    def __init__(self, problem: SparseProbeProblem) -> None:
        self.problem = problem
        self.points: list[Floats] = []
        self.master: Master | None = None
        self.in_master = 0

    def add_fit(self, live: LiveColumns, fits: Fits, place: int) -> None:
        """Keep the point of an exact fit."""
        if live.split is None:
            self.points.append(fits.dual[place])
        else:
            self.points.append(self._spread(np.array(fits.supports[place]), fits.coef[place]))

    def of(self, live: LiveColumns) -> Master:
        """The master over ``live`` with every cut."""
        if self.master is None or self.master.live is not live:
            self.master, self.in_master = Master(live), 0
        for vector in self.points[self.in_master :]:
            self.master.add(*self._bounded(live, vector)[1:])
        self.in_master = len(self.points)
        return self.master

    def bound(
        self, live: LiveColumns, inside: Ints, free: Ints, start: Floats, target: float, effort: Effort, budget: Budget
    ) -> Relaxed:
        """Raise the node bound by Kelley's cutting planes; the signature and the meaning of `relaxation.ascend`."""
        best = Relaxed(-np.inf, np.zeros(len(start)), Point(free[:0], start[:0], 0.0), start)
        if not self.points:
            best = ascend(live, inside, free, start, target, effort, budget)
            s = best.s
            self.points.append(self._fitted(live, s)[1])
        at_root = len(inside) == len(self.problem.forced) and len(inside) + len(free) == len(start)
        for _ in range(effort.rounds if at_root else CUTS_A_NODE):
            s, multipliers = self.of(live).relaxed(inside, free, budget)
            point, value, discount = self._bounded(live, multipliers @ np.array(self.points))
            bound = value - float(discount[inside].sum()) - top_sum(discount[free], self.problem.size - len(inside))
            if bound > best.bound:
                best = Relaxed(bound, discount, point, s)
            primal, cut = self._fitted(live, s)
            self.points.append(cut)
            if best.bound >= target or primal - best.bound < 0.02 * (target - best.bound) or budget.over:
                break
        return Relaxed(best.bound, best.discount, best.point, s)

    def _bounded(self, live: LiveColumns, vector: Floats) -> tuple[Point, float, Floats]:
        """What a point bounds: as the tree keeps it, its value, and its discounts of the live columns."""
        if live.split is None:
            a = self.problem.loss.feasible(self.problem.y, self.problem.w, vector)
            return Point.explicit(a), *live.value_and_discounts(a)
        coef = vector[live.columns]
        support = np.flatnonzero(coef)
        rest, value, _ = live.split.at(support, coef[support])
        point = Point(live.columns[support], coef[support], live.split.mean)
        return point, value, live.split.discounts(rest)

    def _fitted(self, live: LiveColumns, s: Floats) -> tuple[float, Floats]:
        """The relaxation's value at a fractional s, and the point of its fit."""
        problem, support = self.problem, np.flatnonzero(s > 1e-6)
        if live.split is not None:
            coef, _, primal, _ = live.split.fit(support, s)
            return primal, self._spread(live.columns[support], coef)
        Q = np.ones((1, len(support) + 1, problem.n_rows))
        Q[0, :-1] = live.neurons[support]
        fitted = penalised_fit(problem.loss, Q, problem.y, problem.w, (problem.ridge / s[support])[None, :])
        return float(fitted.objective[0]), fitted.dual[0]

    def _spread(self, columns: Ints, coef: Floats) -> Floats:
        """Coefficients of some columns among those of all."""
        whole = np.zeros(self.problem.n_neurons)
        whole[columns] = coef
        return whole
