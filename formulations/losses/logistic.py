r"""Logistic loss.

.. math:: \ell(y, f) = \log(1 + e^{-y f}), \qquad \ell^*(a) = t \log t + (1 - t) \log(1 - t), \quad t = -a y \in [0, 1].
"""

from __future__ import annotations

import numpy as np

from formulations.losses.base import Floats, Loss, balance_classes


class Logistic(Loss):
    """The negative log-likelihood of a Bernoulli label with log-odds f."""

    name = "logistic"

    def value(self, y: Floats, f: Floats) -> Floats:
        return np.asarray(np.logaddexp(0.0, -y * f))

    def derivative(self, y: Floats, f: Floats) -> Floats:
        return np.asarray(-y * _sigmoid(-y * f))

    def curvature(self, y: Floats, f: Floats) -> Floats:
        t = _sigmoid(f)
        return np.asarray(t * _sigmoid(-f))

    def conjugate(self, y: Floats, a: Floats) -> Floats:
        t = -a * y
        tiny = np.finfo(np.float64).tiny
        return np.asarray(t * np.log(np.maximum(t, tiny)) + (1.0 - t) * np.log1p(-np.minimum(t, 1.0 - 2.0**-53)))

    def feasible(self, y: Floats, w: Floats, a: Floats) -> Floats:
        return balance_classes(y, w, a)


def log_odds(y: Floats, w: Floats) -> float:
    """The intercept of the best fit without neurons: log of the weight of the positive rows over that of the others.

    As a difference of logarithms, so that it is finite also where one class has less of all weight than rounding.
    """
    return float(np.log(w[y > 0].sum()) - np.log(w[~(y > 0)].sum()))


def _sigmoid(x: Floats) -> Floats:
    """1 / (1 + exp(-x)) without overflow."""
    e = np.exp(-np.abs(x))
    return np.asarray(np.where(x < 0, e, 1.0) / (1.0 + e))
