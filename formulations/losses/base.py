"""What a loss is: a convex function of the prediction, its conjugate, and how a dual vector is made feasible."""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]


class Loss(ABC):
    """A convex loss ``loss(y, f)`` of a label ``y`` in {-1, +1} and a prediction ``f``, elementwise on arrays.

    Every method accepts arrays of shape ``(n_rows,)`` or ``(m, n_rows)`` and returns the same shape.
    """

    name: ClassVar[str]
    least_ridge_excluded: ClassVar[bool] = True
    """True where the ridge must be positive, False where it may also be zero."""

    @abstractmethod
    def value(self, y: Floats, f: Floats) -> Floats:
        """loss(y, f)."""

    @abstractmethod
    def derivative(self, y: Floats, f: Floats) -> Floats:
        """A (sub)gradient of the loss in f: the dual of the fit f."""

    @abstractmethod
    def curvature(self, y: Floats, f: Floats) -> Floats:
        """The second derivative of the loss in f, where it exists."""

    @abstractmethod
    def conjugate(self, y: Floats, a: Floats) -> Floats:
        """``l*(a) = sup_f  a f - loss(y, f)`` for ``a`` in the domain."""

    @abstractmethod
    def feasible(self, y: Floats, w: Floats, a: Floats) -> Floats:
        """A dual vector near ``a`` in the domain of the conjugate with ``sum_i w_i a_i = 0`` up to rounding."""


def balance_classes(y: Floats, w: Floats, a: Floats) -> Floats:
    """Clip ``t = -y a`` to [0, 1] and scale down the class of larger weight, so that ``sum_i w_i a_i = 0``.

    The domain of the logistic and of the hinge conjugate is ``0 <= t <= 1``, and ``sum w a = 0`` says that both
    classes carry the same weighted sum of t; scaling down keeps t in the domain.
    """
    t = np.clip(-y * a, 0.0, 1.0)
    positive = y > 0
    of_positive = (t * (w * positive)).sum(axis=-1, keepdims=True)
    of_negative = (t * (w * ~positive)).sum(axis=-1, keepdims=True)
    target = np.minimum(of_positive, of_negative)
    with np.errstate(divide="ignore", invalid="ignore"):
        scale = np.where(positive, target / of_positive, target / of_negative)
    scale = np.where(np.isfinite(scale), np.minimum(scale, 1.0), 0.0)
    return np.asarray(-y * (t * scale))
