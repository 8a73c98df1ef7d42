r"""Hinge loss.

.. math:: \ell(y, f) = \max(0, 1 - y f), \qquad \ell^*(a) = a y, \quad t = -a y \in [0, 1].
"""

from __future__ import annotations

import numpy as np

from formulations.losses.base import Floats, Loss, balance_classes


class Hinge(Loss):
    """The loss of the support vector machine, and of the paper's optimal sparse probes."""

    name = "hinge"

    def value(self, y: Floats, f: Floats) -> Floats:
        return np.maximum(0.0, 1.0 - y * f)

    def derivative(self, y: Floats, f: Floats) -> Floats:
        return np.where(y * f < 1.0, -y, 0.0)

    def curvature(self, y: Floats, f: Floats) -> Floats:
        return np.zeros_like(f)

    def conjugate(self, y: Floats, a: Floats) -> Floats:
        return np.asarray(a * y)

    def feasible(self, y: Floats, w: Floats, a: Floats) -> Floats:
        return balance_classes(y, w, a)
