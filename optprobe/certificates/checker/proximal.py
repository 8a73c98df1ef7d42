"""The dual of the hinge loss by proximal steps. Wherever they end, the dual vector is valid; they decide the time only.

With q = y z for the columns of a set, q = y for the intercept, and margins m = 1 - sum s q, the step from a centre
maximises ``sum w t - |sum w t q|^2 / (2 ridge) - sum w (t - centre)^2 / (2 sigma)`` over 0 <= t <= 1 with
``sum w y t = 0``. Its solution is ``t = clip(centre + sigma m, 0, 1)`` at the minimum over s of the convex, once
differentiable function ``sum w (t m - (t - centre)^2 / (2 sigma)) + sum penalty s^2 / 2``.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .problem import Problem

Floats = NDArray[np.float64]
NEWTON_STEPS, LONGEST_STEP = 60, 4.0
DAMPED = 1e-6
"""Added to the curvature in the intercept, times sigma: it is 0 where no row is strictly inside the box."""


@dataclass(frozen=True)
class Proximal:
    """Proximal steps of many sets at once; Q has shape (n_sets, k + 1, n_rows), the intercept last."""

    Q: Floats
    w: Floats
    penalty: Floats

    @classmethod
    def of(cls, problem: Problem, sets: NDArray[np.int64]) -> Proximal:
        Q = np.empty((len(sets), sets.shape[1] + 1, len(problem.y)))
        np.multiply(problem.Z.T[sets], problem.y, out=Q[:, :-1])
        Q[:, -1] = problem.y
        penalty = np.full(sets.shape[1] + 1, problem.ridge)
        penalty[-1] = 0.0
        return cls(Q, problem.w, penalty)

    @staticmethod
    def start(problem: Problem) -> Floats:
        """A t that is balanced and inside the box."""
        positive = problem.y > 0
        sums = float(problem.w[positive].sum()), float(problem.w[~positive].sum())
        return np.where(positive, 0.6 * min(sums) / sums[0], 0.6 * min(sums) / sums[1])

    def point(self, s: Floats, centre: Floats, sigma: float) -> tuple[Floats, Floats]:
        """t at s, shape (n_sets, n_rows), and the function to minimise there."""
        m = 1.0 - (s[:, None, :] @ self.Q)[:, 0]
        t = np.clip(centre + sigma * m, 0.0, 1.0)
        moved = t - centre
        m *= t
        m -= moved * moved * (0.5 / sigma)
        return t, m @ self.w + 0.5 * (self.penalty * s * s).sum(axis=1)

    def descend(
        self, s: Floats, t: Floats, value: Floats, centre: Floats, sigma: float
    ) -> tuple[Floats, Floats, Floats]:
        """One Newton step with step halving, from s and `point` of s to the next."""
        new = s - self._newton_step(s, t, sigma)
        t, reached = self.point(new, centre, sigma)
        for _ in range(40):
            worse = np.flatnonzero(reached > value + 1e-14)
            if not len(worse):
                break
            new[worse] = 0.5 * (new[worse] + s[worse])
            t[worse], reached[worse] = self.part(worse).point(new[worse], centre[worse], sigma)
        return new, t, reached

    def minimise(self, s: Floats, centre: Floats, sigma: float) -> tuple[Floats, Floats]:
        """Newton's method to the end: s and t."""
        t, value = self.point(s, centre, sigma)
        for _ in range(NEWTON_STEPS):
            last = s
            s, t, value = self.descend(s, t, value, centre, sigma)
            if np.abs(s - last).max() < 1e-13:
                break
        return s, t

    def part(self, sets: NDArray[np.int64]) -> Proximal:
        return Proximal(self.Q[sets], self.w, self.penalty)

    def _newton_step(self, s: Floats, t: Floats, sigma: float) -> Floats:
        """Shape (n_sets, k + 1), none of its entries above `LONGEST_STEP`."""
        gradient = self.penalty * s - (self.Q @ (self.w * t)[:, :, None])[:, :, 0]
        inside = (self.w * sigma) * ((t > 0.0) & (t < 1.0))
        H = (self.Q * inside[:, None, :]) @ self.Q.transpose(0, 2, 1)
        diagonal = np.arange(s.shape[1])
        H[:, diagonal, diagonal] += self.penalty
        H[:, -1, -1] += DAMPED * sigma
        step = np.linalg.solve(H, gradient[:, :, None])[:, :, 0]
        longest = np.abs(step).max(axis=1, keepdims=True)
        return np.asarray(step * np.minimum(1.0, LONGEST_STEP / np.maximum(longest, 1e-300)))
