r"""All supports of one neuron, logistic loss: one pass over the data bounds each of them from a point near its fit.

**Theorem.** Let f be any vector, ``t = sigma(-y f)``, ``a = -y t``, ``D = t (1 - t)``, ``H = -t log t - (1 - t) log(1 -
t)``, and ``-1 < delta < 1`` such that ``sum w (a + delta D) = 0``. With ``v_l = sum w z_l (a + delta D)``, for every S

    F(S) >= sum w H - delta sum w D f - delta^2 sum w D / (2 (1 - |delta|)^2) - sum_{l in S} v_l^2 / (2 ridge).

*Proof.* Let ``a' = a + delta D`` and ``t' = -y a'``. Then ``t' >= t (1 - |delta|)`` and ``1 - t' >= (1 - t) (1 -
|delta|)``: a' is in the domain of the conjugate l*, whose second derivative 1 / (t (1 - t)) is at most ``1 / (D (1 -
|delta|)^2)`` between a and a'. At a its value is -H and its slope f, since a is the loss's derivative at f. So, by
Taylor, ``-l*(a') >= H - delta D f - delta^2 D / (2 (1 - |delta|)^2)``; weak duality at a' gives the rest.

With f the prediction of a neuron at a point whose gradient is g, the bound misses F by about ``g^2 / (2 ridge)``. A few
Newton steps on a sample of the rows come near enough that one pass over all of them closes nearly every neuron; the
same sums make the next Newton step, from which the few others are bounded again. What is left is fitted.

*Rounding.* f as computed is the f of the theorem. t, D and H then have relative errors of less than 16 u (H: absolute,
and the same), sums err by n u of the sum of the absolute terms, and those are at most 1. Hence g, v and ``sum w a'``
err by less than `formulations.rounding_margin` supposes of every dual vector.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
from joblib import cpu_count
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from formulations import SparseProbeProblem
from optprobe.engines.bounds.minorant import BOXES
from optprobe.engines.budget import Progress
from optprobe.engines.kernels.singles import sums_of_singles
from optprobe.engines.outcome import Reference, SweepProof
from optprobe.engines.sweeps.dual_sweep import DualSweep
from optprobe.heuristics.sample import sampled
from optprobe.heuristics.stopping import Late

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

STEPS, LONGEST = 5, 2.0
"""Newton steps on the sample, and how far one may move a coefficient or an intercept."""
LEAST_SHARE = 1e-9
"""Of a class, where the steps begin."""
PASSES, FEW = 6, 16
"""Passes over all rows, at most; so many neurons that are left by one are fitted instead."""
SHIFT = 0.5
"""Largest |delta| at which there is a bound."""
AT_ONCE = 64
"""Neurons that are bounded together; every core takes some."""


class SingleSweep(DualSweep):
    """The bounds of all single neurons."""

    largest_k = 1

    def proof(self) -> SweepProof:
        """Of so few sets the checker finds the bounds from any reference."""
        return SweepProof(Reference(np.zeros(self.task.rows.n_rows), BOXES[0]))

    def finished(self) -> bool:
        """Sweep; False if the budget ended before the end."""
        problem, budget, m = self.task.rows, self.task.budget, len(self.columns)
        points = np.zeros((problem.n_neurons, 2))
        with threadpool_limits(1, user_api="blas"), ThreadPoolExecutor(cpu_count()) as pool:
            points[self.columns] = _near_fits(problem, self.columns, pool, budget.late)
            left = self.columns
            for _ in range(PASSES):
                if budget.over:
                    return False
                bounds, points[left] = _bounds(problem, left, points[left], pool, budget.late)
                left = left[~(bounds >= self.threshold)]
                self.task.report(Progress("dual enumeration", self.task.proved, self.found.upper, 1 - len(left) / m))
                if len(left) <= FEW:
                    break
        self.counts["open"] += len(left)
        self.fit(np.flatnonzero(np.isin(self.columns, left))[:, None])
        return not budget.over


def _near_fits(problem: SparseProbeProblem, columns: Ints, pool: ThreadPoolExecutor, late: Late) -> Floats:
    """Coefficient and intercept of each neuron alone near its best ones, shape (m, 2): the fit of a sample."""
    small = sampled(problem)
    positive = min(max(float(small.w @ (small.y > 0)), LEAST_SHARE), 1 - LEAST_SHARE)
    points = np.tile([0.0, np.log(positive / (1 - positive))], (len(columns), 1))
    for _ in range(STEPS):
        points = _bounds(small, columns, points, pool, late)[1]
    own, whole = small.standardisation, problem.standardisation
    raw = points[:, 0] * own.inv_scale[columns]
    apart = (whole.shift - own.shift + (whole.rest - own.rest))[columns]
    return np.stack([raw / whole.inv_scale[columns], points[:, 1] + raw * apart], axis=1)


def _bounds(
    problem: SparseProbeProblem, columns: Ints, points: Floats, pool: ThreadPoolExecutor, late: Late
) -> tuple[Floats, Floats]:
    """The theorem's bounds at points (m, 2), shape (m,), and the points after one Newton step; see `bounds_at`.

    Once time is up, there are no bounds for the rest, and its points stay.
    """
    neurons, y, w, ridge = problem.Z.T, problem.y, problem.w, problem.ridge

    def of(at: int) -> tuple[Floats, Floats]:
        part = points[at : at + AT_ONCE]
        if late():
            return np.full(len(part), -np.inf), part
        return bounds_at(neurons, columns[at : at + AT_ONCE], y, w, ridge, part)

    found = list(pool.map(of, range(0, len(columns), AT_ONCE)))
    return np.concatenate([bounds for bounds, _ in found]), np.concatenate([moved for _, moved in found])


def bounds_at(
    neurons: Floats, columns: Ints, y: Floats, w: Floats, ridge: float, points: Floats
) -> tuple[Floats, Floats]:
    """Lower bounds of F({j}) for columns (m,) of neurons (n_neurons, n_rows), each at its coefficient and intercept.

    Returns the bounds, -inf where the theorem gives none, and the points (m, 2) after one step of Newton's method.
    """
    g0, g1, h0, h1, h2, wDf, entropy = sums_of_singles(neurons, columns, y, w, points).T
    with np.errstate(all="ignore"):
        delta = -g0 / h0
        v = g1 + delta * h1
        bounds = entropy - delta * wDf - 0.5 * h0 * (delta / (1 - np.abs(delta))) ** 2 - v * v / (2 * ridge)
        gradient, curvature = g1 + ridge * points[:, 0], h2 + ridge
        determinant = curvature * h0 - h1 * h1
        step = np.stack([gradient * h0 - g0 * h1, curvature * g0 - gradient * h1]) / determinant
        step *= np.minimum(1.0, LONGEST / np.abs(step).max(axis=0))
    return np.where(np.abs(delta) <= SHIFT, bounds, -np.inf), points - np.nan_to_num(step.T)
