"""Which diagonal is taken out of the curvature: a good one at once, then first-order steps on the bound of the root.

The bound of the relaxation is, in D, a minimum of linear functions over s and b, so concave, and its slope in D_j is
``b_j^2 (1 / s_j - 1) / 2`` at the minimum. It is raised over all D with G - D semidefinite (a semidefinite program: the
literature of `diagonal` solves such). At the best D the slopes are in proportion to the diagonal of some semidefinite
matrix that G - D takes to 0; near it, to that of (G - D)^-1. So D is multiplied by a small power of the ratio of the
two, and scaled until G - D is all but singular. It begins in proportion to 1 / (G^-1)_jj. Any D within is valid.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from formulations import SparseProbeProblem
from formulations.losses import Squared
from optprobe.engines.bounds.diagonal import Split, reserve
from optprobe.engines.bounds.relaxation import Effort, LiveColumns, ascend
from optprobe.engines.budget import Budget

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LARGEST = 6_000
"""Columns beyond which no diagonal is looked for: their moments are a matrix."""
SPARE = 1.25
"""Rows for each column, at least: with fewer, D is too small to be worth its search."""
WORTH = 0.05
"""The mean of D as a share of the ridge, at least."""
RATE, SHARE = 5e10, 0.4
"""Floating-point operations of a second, and the share of the time left that the moments may take, or all steps. At a
limit no other seconds raise the bound as much."""
POWERS = 50
"""Steps of the power iteration for the largest eigenvalue of the scaled inverse."""
SAFE, TIMES = 0.999, 100
"""D keeps away from where G - D is singular, and is lowered by this so often, until a Cholesky factor exists."""
STEPS, PATIENCE = 16, 4
"""Steps that raise the bound of the root, and how many may fail to in succession."""
POWER, INSIDE, BLUNT = 0.1, 0.97, 1.5
"""Of a step: its power, the share of D at which the inverse is taken, and what both sides of the ratio have besides, as
a multiple of their mean. Columns that the relaxation leaves alone now are the ones that it turns to where D leaves
them."""
FIRST, NEXT = Effort(30, 0.0), Effort(8, 0.0)
"""Of the ascents between steps."""


def split_of(
    problem: SparseProbeProblem, columns: Ints, given: Floats | None, target: float, budget: Budget
) -> Split | None:
    """The moments of the candidates with a diagonal taken out; None where none is of use, or there is no time.

    Parameters
    ----------
    columns : ndarray, shape (m,)
        The candidates.
    given : ndarray, shape (n_neurons,), optional
        The D to take, of which G - D is known to be positive semidefinite; none is taken where it is 0.
    target : float
        A bound of the root that is enough.
    """
    if given is not None:
        return _split(problem, columns, given[columns], int(np.count_nonzero(given))) if given.any() else None
    m, n = len(columns), int((problem.w > 0).sum())
    if not isinstance(problem.loss, Squared) or not 1 < m <= LARGEST or n < SPARE * m:
        return None
    work = 2.0 * n * m * m + 6.0 * m**3
    if 4 * reserve(problem.n_rows, m) > problem.ridge or work / RATE > SHARE * budget.left:
        return None
    none = _split(problem, columns, np.zeros(m), m)
    scaling = _Scaling(none)
    first = replace(none, diagonal=scaling.largest(1 / np.diagonal(scaling.inverse)))
    if not first.diagonal.mean() >= WORTH * problem.ridge:
        return None
    return _lowered(_improved(LiveColumns(problem, columns, first), scaling, target, budget.part(SHARE * budget.left)))


def _split(problem: SparseProbeProblem, columns: Ints, D: Floats, shown: int) -> Split:
    """The moments of some columns with a diagonal taken out that is shown to be one on so many."""
    mean = float(problem.w @ problem.y / problem.w.sum())
    unit = (problem.n_rows + len(columns) + 64) * 2.0**-53
    moments = problem.gram(columns), problem.cross[columns]
    return Split(*moments, D, reserve(problem.n_rows, shown), problem.ridge, problem.variance / 2, mean, unit)


class _Scaling:
    """How far a diagonal may go: G - D is semidefinite if and only if no eigenvalue of D^1/2 G^-1 D^1/2 is above 1.

    ``slack`` times the identity is added to G, half of what a checker adds (see `diagonal.reserve`): so a G with two
    columns that agree has an inverse, whose D is all but 0 there.
    """

    def __init__(self, split: Split) -> None:
        self.slack, m = split.margin / 16, len(split.cross)
        self.inverse = np.asarray(np.linalg.inv(split.gram + self.slack * np.eye(m)), dtype=np.float64)
        self.anywhere = np.random.default_rng(0).standard_normal(m) / np.sqrt(m)
        self.x = self.anywhere

    def largest(self, D: Floats) -> Floats:
        """The multiple of D that goes all but as far as possible, up to the accuracy of some power iterations."""
        root, self.x = np.sqrt(D), self.x / np.linalg.norm(self.x) + self.anywhere
        for _ in range(POWERS):
            self.x = root * (self.inverse @ (root * (self.x / np.linalg.norm(self.x))))
        return np.asarray(np.minimum(SAFE * D / np.linalg.norm(self.x), 1.0))


def _improved(live: LiveColumns, scaling: _Scaling, target: float, budget: Budget) -> Split:
    """The split of the best bound of the root within some steps."""
    problem, columns, split = live.problem, live.columns, live.split
    assert split is not None
    forced = np.isin(columns, problem.forced)
    inside, free = np.flatnonzero(forced), np.flatnonzero(~forced)
    start, slopes, best, bound, since = np.zeros(len(columns)), None, split, -np.inf, 0
    start[np.argsort(-np.abs(split.cross), kind="stable")[: 8 * problem.size]] = 1.0
    for step in range(STEPS):
        live = LiveColumns(problem, columns, split)
        relaxed = ascend(live, inside, free, start, target, NEXT if step else FIRST, budget)
        best, bound, since = (split, relaxed.bound, 0) if relaxed.bound > bound else (best, bound, since + 1)
        if bound >= target or since >= PATIENCE or budget.over:
            break
        b, start = np.zeros(len(columns)), relaxed.s
        b[np.searchsorted(columns, relaxed.point.columns)] = relaxed.point.coef
        slope = np.where(start > 0, b * b * (1 / np.where(start > 0, start, 1.0) - 1) / 2, 0.0)
        slopes = slope if slopes is None else (slopes + slope) / 2
        split = _stepped(split, slopes, scaling)
    return best


def _stepped(split: Split, slopes: Floats, scaling: _Scaling) -> Split:
    D = split.diagonal
    room = np.diagonal(np.linalg.inv(split.gram + np.diag(scaling.slack - INSIDE * D)))
    wanted, held = (
        each * D / max(float(each @ D), 1e-300) + BLUNT / len(D) for each in (slopes, np.maximum(room, 0.0))
    )
    return replace(split, diagonal=scaling.largest(D * (wanted / held) ** POWER))


def _lowered(split: Split) -> Split | None:
    """D lowered until G - D, with half of what whoever checks it adds, has a Cholesky factor; None where it has not."""
    for _ in range(TIMES):
        try:
            np.linalg.cholesky(split.gram + np.diag(split.margin / 16 - split.diagonal))
        except np.linalg.LinAlgError:
            split = replace(split, diagonal=split.diagonal * SAFE)
        else:
            return split
    return None
