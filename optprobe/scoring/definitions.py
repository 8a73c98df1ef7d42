"""What decision values are worth on labelled rows.

What needs rows of a class that is not there is undefined, and None; what divides by a number of predictions that is 0
is 0 by convention, as in scikit-learn.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, fields
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from formulations import loss_named
from optprobe.errors import InputError

Floats = NDArray[np.float64]
BLOCK = 32
"""Resamples that are ranked at once, so that their sums over rows stay in the cache."""


@dataclass(frozen=True)
class Scores:
    """Scores of decision values f on rows with labels y; or ends of their intervals, or differences of such.

    Attributes
    ----------
    accuracy : float
        Share of the rows that are predicted right; positive is predicted where f > 0.
    balanced_accuracy : float or None
        Mean over both classes of the share of their rows that are predicted right; None where a class has no row.
    precision : float
        Share of true ones among the positive predictions; 0 where there are none.
    recall : float or None
        Share of the positive rows that are predicted positive; None where there are none.
    f1 : float
        F1 of the positive class, ``2 TP / (2 TP + FP + FN)``; 0 where there is no true positive.
    f1_weighted : float
        Mean of the F1 of both classes, weighted by their numbers of rows.
    matthews : float or None
        Correlation of label and prediction, ``(TP TN - FP FN) / sqrt((TP + FP) (TP + FN) (TN + FP) (TN + FN))``; 0
        where all predictions are equal, None where all labels are.
    auc : float or None
        Area under the ROC curve: the share of pairs of a positive and a negative row in which the positive one has the
        larger f, equal ones counting one half; None where a class has no row.
    average_precision : float or None
        Mean over the positive rows of the precision at their f as threshold; None where there are none.
    log_loss : float or None
        Mean of ``log(1 + exp(-y f))``, in nats; None where f are no log-odds.
    """

    accuracy: float
    balanced_accuracy: float | None
    precision: float
    recall: float | None
    f1: float
    f1_weighted: float
    matthews: float | None
    auc: float | None
    average_precision: float | None
    log_loss: float | None

    @classmethod
    def of(cls, values: Floats) -> Self:
        """The scores of these values, in the order of `NAMES`; None for what is not finite."""
        found: list[Any] = [value if math.isfinite(value) else None for value in values.tolist()]
        return cls(*found)


NAMES = tuple(field.name for field in fields(Scores))
"""The names of the scores, in order."""


def scores(y: ArrayLike, f: ArrayLike, log_odds: bool = False) -> Scores:
    """The scores of decision values, every row counted once: see `Scores` for their definitions.

    Parameters
    ----------
    y : array_like, shape (n_rows,)
        Labels -1 and +1, or booleans.
    f : array_like, shape (n_rows,)
        Decision values; positive is predicted where they are above 0.
    log_odds : bool
        Whether they are log-odds, as those of a logistic probe: only then there is a log-loss.

    Raises
    ------
    InputError
        If there are no rows, a label is neither -1 nor +1, or a decision value is not finite.
    """
    labels, values = np.asarray(y), np.asarray(f)
    if labels.dtype == np.bool_:
        labels = np.where(labels, 1.0, -1.0)
    for name, array in (("y", labels), ("f", values)):
        if array.ndim != 1 or array.dtype.kind not in "fiu":
            raise InputError(f"{name} has shape {array.shape} and type {array.dtype}: give one number for each row")
    if len(labels) != len(values) or not len(labels):
        raise InputError(
            f"there are {len(labels)} labels and {len(values)} decision values: give one each, of some rows"
        )
    if (strange := ~np.isin(labels, (-1, 1))).any():
        row = int(np.argmax(strange))
        raise InputError(f"y is {labels[row]:g} at row {row}: give labels -1 and +1, or booleans")
    if (strange := ~np.isfinite(values)).any():
        row = int(np.argmax(strange))
        raise InputError(f"f is {values[row]:g} at row {row}: give finite decision values")
    return scores_of(labels.astype(np.float64), values.astype(np.float64), log_odds)


def scores_of(y: Floats, f: Floats, log_odds: bool) -> Scores:
    """`scores` of rows that are known to be sound."""
    return Scores.of(score_values(y, f, log_odds)[:, 0])


def score_values(
    y: Floats, f: Floats, log_odds: bool, group: NDArray[np.int64] | None = None, times: Floats | None = None
) -> Floats:
    """All scores where the rows of each group count several times; without groups, where every row counts once.

    Parameters
    ----------
    y, f : ndarray, shape (n_rows,)
        Labels in {-1, +1} and decision values.
    log_odds : bool
    group : ndarray of int, shape (n_rows,), optional
        From 0 to n_groups - 1.
    times : ndarray, shape (draws, n_groups), optional
        How often the rows of each group count, whole numbers; some row must count.

    Returns
    -------
    ndarray, shape (len(NAMES), draws)
        In the order of `NAMES`; nan where undefined.
    """
    if group is None or times is None:
        group, times = np.zeros(len(y), dtype=np.int64), np.ones((1, 1))
    positive, called, n_groups = y > 0, f > 0, times.shape[1]

    def count(rows: NDArray[np.bool_]) -> Floats:
        return np.asarray(times @ np.bincount(group[rows], minlength=n_groups))

    hits, missed = count(positive & called), count(positive & ~called)
    wrong, right = count(~positive & called), count(~positive & ~called)
    P, N = hits + missed, wrong + right
    recall, specificity = _ratio(hits, P, np.nan), _ratio(right, N, np.nan)
    f1 = _ratio(2 * hits, 2 * hits + missed + wrong, 0.0)
    f1_negative = _ratio(2 * right, 2 * right + missed + wrong, 0.0)
    scale = np.sqrt((hits + wrong) * P) * np.sqrt((right + missed) * N)
    auc, average_precision = _ranked(positive, f, group, times)
    found = {
        "accuracy": (hits + right) / (P + N),
        "balanced_accuracy": (recall + specificity) / 2,
        "precision": _ratio(hits, hits + wrong, 0.0),
        "recall": recall,
        "f1": f1,
        "f1_weighted": (P * f1 + N * f1_negative) / (P + N),
        "matthews": np.where((P > 0) & (N > 0), _ratio(hits * right - wrong * missed, scale, 0.0), np.nan),
        "auc": auc,
        "average_precision": average_precision,
        "log_loss": np.full(len(times), np.nan),
    }
    if log_odds:
        loss = np.bincount(group, loss_named("logistic").value(y, f) / len(y), n_groups)
        found["log_loss"] = (times @ loss) * (len(y) / (P + N))
    return np.stack([found[name] for name in NAMES])


def _ranked(positive: NDArray[np.bool_], f: Floats, group: NDArray[np.int64], times: Floats) -> tuple[Floats, Floats]:
    """AUC and average precision of every row of ``times``, each of shape (draws,).

    Both are means over the positive rows: of the share of the negative rows that are below them (AUC, ties one half),
    and of the precision at their value. With the rows of each class in falling order, the rows of at least some value
    are the first ones, so that running sums of ``times`` have all that both need; sums of whole numbers are exact.
    """
    ahead, behind = (rows[np.argsort(-f[rows], kind="stable")] for rows in map(np.flatnonzero, (positive, ~positive)))
    level = -f[ahead]
    tied = np.searchsorted(level, level, side="right") - 1  # the last positive row of at least this value
    reached = np.searchsorted(-f[behind], level, side="right")  # negative rows of at least this value
    above = np.searchsorted(-f[behind], level, side="left")  # and of more
    auc, precision = np.full((2, len(times)), np.nan)
    for start in range(0, len(times), BLOCK):
        block = slice(start, start + BLOCK)
        often = np.ascontiguousarray(times[block].T)
        weight, false = often[group[ahead]], np.zeros((len(behind) + 1, often.shape[1]))
        np.cumsum(often[group[behind]], axis=0, out=false[1:])
        true, wrong = weight.cumsum(axis=0)[tied], false[reached]
        P, N = weight.sum(axis=0), false[-1]
        precision[block] = _ratio((weight * (true / np.maximum(true + wrong, 1.0))).sum(axis=0), P, np.nan)
        below = 2 * N * P - (weight * (wrong + false[above])).sum(axis=0)
        auc[block] = _ratio(below, 2 * N * P, np.nan)
    return auc, precision


def _ratio(a: Floats, b: Floats, otherwise: float) -> Floats:
    """``a / b`` where b is positive."""
    return np.asarray(np.divide(a, b, out=np.full(np.shape(b), otherwise), where=b > 0))
