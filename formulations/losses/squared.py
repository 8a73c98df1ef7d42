r"""Squared loss.

.. math:: \ell(y, f) = \tfrac12 (y - f)^2, \qquad \ell^*(a) = a y + \tfrac12 a^2, \qquad a \in \mathbb R.
"""

from __future__ import annotations

import numpy as np

from formulations.losses.base import Floats, Loss


class Squared(Loss):
    """Half the squared error; its conjugate is finite everywhere."""

    name = "squared"
    least_ridge_excluded = False

    def value(self, y: Floats, f: Floats) -> Floats:
        return np.asarray(0.5 * (y - f) ** 2)

    def derivative(self, y: Floats, f: Floats) -> Floats:
        return np.asarray(f - y)

    def curvature(self, y: Floats, f: Floats) -> Floats:
        return np.ones_like(f)

    def conjugate(self, y: Floats, a: Floats) -> Floats:
        return np.asarray(a * y + 0.5 * a * a)

    def feasible(self, y: Floats, w: Floats, a: Floats) -> Floats:
        return np.asarray(a - (a @ w)[..., None] / w.sum())
