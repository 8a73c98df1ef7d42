"""Intervals by resampling whole test documents: words of one document are no independent witnesses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]

LEVEL = 0.95
"""Share of the resamples that an interval holds; the rest is cut off in equal parts below and above."""


@dataclass(frozen=True, eq=False)
class GroupBootstrap:
    """
    Resamples of the groups of some rows, drawn with replacement; the rows of a group come and go together.

    One object serves every method on the same rows, so that differences between methods are paired.

    Attributes
    ----------
    group : ndarray of int, shape (n_rows,)
        Number of each row's group, 0 to n_groups - 1.
    times : ndarray of float, shape (draws, n_groups)
        How often each resample holds each group; every row of it sums to n_groups.
    """

    group: NDArray[np.int64]
    times: Floats

    @classmethod
    def of(cls, group: ArrayLike, draws: int, seed: int) -> GroupBootstrap:
        """
        Draw the resamples.

        Parameters
        ----------
        group : array_like, shape (n_rows,)
            Group (document) of each row.
        draws : int
            Number of resamples.
        seed : int
            Of the draw: the same seed gives the same resamples.
        """
        names, index = np.unique(np.asarray(group), return_inverse=True)
        uniform = np.full(len(names), 1.0 / len(names))
        times = np.random.default_rng(seed).multinomial(len(names), uniform, size=draws)
        return cls(index.astype(np.int64), times.astype(np.float64))

    def f1(self, y: Floats, f: Floats) -> Floats:
        """
        F1 of the positive class at threshold 0 in every resample, as `optprobe.comparison.f1` defines it.

        Parameters
        ----------
        y, f : ndarray, shape (n_rows,)
            Labels in {-1, +1} and decision values.

        Returns
        -------
        ndarray, shape (draws,)
        """
        n_groups = self.times.shape[1]
        hits = self.times @ np.bincount(self.group[(f > 0) & (y > 0)], minlength=n_groups)
        wrong = self.times @ np.bincount(self.group[(f > 0) != (y > 0)], minlength=n_groups)
        return np.asarray(np.where(hits > 0, 2 * hits / np.maximum(2 * hits + wrong, 1.0), 0.0))


def percentile_interval(values: Floats) -> tuple[float, float]:
    """The ends of the middle share `LEVEL` of the values of the resamples."""
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)
