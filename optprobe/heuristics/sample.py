"""Rows that stand for all: searches and references prove nothing, so that a sample of the rows serves them as well."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from formulations import Origin, SparseProbeProblem

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SAMPLED = 2048
"""Rows of a sample; it is taken where twice as many have a positive weight."""


def sampled(problem: SparseProbeProblem) -> SparseProbeProblem:
    """A problem on `SAMPLED` of the rows, half of each class where it has so many, or the problem itself.

    The classes, of targets those below and above the mean, keep their weights. Within a class rows are drawn in
    proportion to theirs: the rows, in an order drawn once for all, lie side by side on a line, each as long as its
    weight, and points at equal distances fall on them; a row counts as often as it is met. The neurons are standardised
    anew. The same problem has always the same sample.

    Parameters
    ----------
    problem : SparseProbeProblem

    Returns
    -------
    SparseProbeProblem
        The problem itself where it has few rows, or where a support of its size, with what is forced, cannot be had
        from the columns that vary in the sample.
    """
    classes = [np.flatnonzero((problem.w > 0) & side) for side in (problem.y < 0, problem.y >= 0)]
    if sum(map(len, classes)) <= 2 * SAMPLED:
        return problem
    rng, count = np.random.default_rng(0), SAMPLED - min(SAMPLED // 2, *map(len, classes))
    drawn = [_drawn(problem.w, rows, count, rng) for rows in classes]
    rows = np.concatenate([rows for rows, _ in drawn])
    order = np.argsort(rows)
    rows, weights = rows[order], np.concatenate([weights for _, weights in drawn])[order]
    if any(np.ptp(problem.X[rows, column]) == 0 for column in problem.forced):
        return problem
    small = replace(
        problem,
        X=_taken(problem.X, rows),
        y=problem.y[rows],
        w=weights / weights.sum(),
        sample_weight=None,
        targets=None if problem.targets is None else problem.targets[rows],
        origin=Origin(),
    )
    return problem if small.size < problem.size else small


def _taken(X: NDArray[Any], rows: Ints) -> NDArray[Any]:
    """Some rows in the order of memory that X has: column by column where its columns are contiguous."""
    return np.take(X.T, rows, axis=1).T if X.flags.f_contiguous else X[rows]


def _drawn(w: Floats, rows: Ints, count: int, rng: np.random.Generator) -> tuple[Ints, Floats]:
    """At most ``count`` rows of a class and their weights in the sample; all of them where they are no more."""
    if len(rows) <= count:
        return rows, w[rows]
    rows = rng.permutation(rows)
    ends = np.cumsum(w[rows])
    step = ends[-1] / count
    met, times = np.unique(np.searchsorted(ends, step * (np.arange(count) + 0.5)), return_counts=True)
    return rows[met], times * step
