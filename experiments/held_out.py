"""Probes scored on documents held out: decision values, F1 with its interval, and paired differences."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from formulations import SparseProbeProblem, fit_support
from optprobe.activations import LabelledActivations
from optprobe.cases import Setting
from optprobe.comparison import predict
from optprobe.data import problem
from optprobe.scoring import NAMES, GroupBootstrap, middle, score_values

Floats = NDArray[np.float64]
DEFAULT_RIDGE = 0.01


class Scored(NamedTuple):
    """A score of held-out rows, the ends of its interval, and its value in every resample, shape (draws,)."""

    value: float
    low: float
    high: float
    drawn: Floats

    def above(self, other: Scored) -> tuple[float, float, float]:
        """How much it is above another on the same resamples: the difference, and the ends of its interval."""
        apart = self.drawn - other.drawn
        return self.value - other.value, *middle(apart[np.isfinite(apart)])


def stated(data: LabelledActivations, k: int, setting: Setting, **options: Any) -> SparseProbeProblem:
    """The problem of some labelled rows in a setting of cases."""
    ridge = DEFAULT_RIDGE if setting.ridge is None else setting.ridge
    return problem(data, k, loss=setting.loss, ridge=ridge, class_weight=setting.class_weight, **options)


def scored(
    of: SparseProbeProblem, support: Sequence[int], X: NDArray[Any], y: Floats, resamples: GroupBootstrap, name: str
) -> Scored:
    """
    A score of a support's exact fit on held-out rows.

    Parameters
    ----------
    of : SparseProbeProblem
        Whose training rows the support is fitted on.
    support : sequence of int
    X, y : ndarray, shapes (n_test, n_neurons) and (n_test,)
        Held-out rows.
    resamples : GroupBootstrap
        Of their documents.
    name : str
        One of `optprobe.scoring.NAMES`, such as "f1" or "auc".
    """
    fits, at, columns = fit_support(of, tuple(support)), NAMES.index(name), tuple(map(int, support))
    f = predict(of, X, columns, fits.coef[0], float(fits.intercept[0]))
    drawn = resamples.scores(y, f)[at]
    return Scored(float(score_values(y, f, False)[at, 0]), *middle(drawn[np.isfinite(drawn)]), drawn)


def rows_held_out(data: LabelledActivations) -> tuple[NDArray[Any], Floats, NDArray[np.int64]]:
    """Held-out rows, labels and documents of rows that have them."""
    assert data.X_test is not None
    assert data.y_test is not None
    assert data.group_test is not None
    return data.X_test, data.y_test, data.group_test
