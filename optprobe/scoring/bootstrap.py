"""Intervals by resampling whole test documents: words of one document are no independent witnesses."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from optprobe.errors import InputError
from optprobe.scoring.definitions import Floats, Scores, score_values

DRAWS = 1000
"""Resamples, where nothing else is said."""
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

        Raises
        ------
        InputError
            If there are no rows, or no resamples are asked for.
        """
        if draws < 1 or not np.size(group):
            raise InputError(f"{draws} resamples of {np.size(group)} rows have no interval: give at least one of each")
        names, index = np.unique(np.asarray(group), return_inverse=True)
        uniform = np.full(len(names), 1.0 / len(names))
        times = np.random.default_rng(seed).multinomial(len(names), uniform, size=draws)
        return cls(index.astype(np.int64), times.astype(np.float64))

    def means(self, values: Floats) -> Floats:
        """
        The mean of some values, one a row, in every resample: rows count, each as often as its group was drawn.

        Parameters
        ----------
        values : ndarray of float64, shape (n_rows,)

        Returns
        -------
        ndarray of float64, shape (draws,)
        """
        n_groups = self.times.shape[1]
        sums, counts = (np.bincount(self.group, weights, n_groups) for weights in (values, np.ones(len(values))))
        return np.asarray((self.times @ sums) / (self.times @ counts))

    def scores(self, y: Floats, f: Floats, log_odds: bool = False) -> Floats:
        """
        The scores in every resample, as `Scores` defines them.

        Parameters
        ----------
        y, f : ndarray, shape (n_rows,)
            Labels in {-1, +1} and finite decision values.
        log_odds : bool
            Whether these are log-odds, so that there is a log-loss.

        Returns
        -------
        ndarray, shape (len(NAMES), draws)
            In the order of `optprobe.scoring.NAMES`; nan in a resample that lacks the class that a score needs.
            The difference of two such arrays is that of two methods, paired.
        """
        return score_values(y, f, log_odds, self.group, self.times)


def middle(values: Floats) -> tuple[float, float]:
    """The ends of the middle share `LEVEL` of some numbers; the rest is cut off in equal parts below and above."""
    low, high = np.quantile(values, [(1 - LEVEL) / 2, (1 + LEVEL) / 2])
    return float(low), float(high)


def interval(values: Floats) -> tuple[Scores, Scores]:
    """
    The ends of the middle share `LEVEL` of the scores of resamples, or of their differences.

    Parameters
    ----------
    values : ndarray, shape (len(NAMES), draws)
        As `GroupBootstrap.scores` returns them. Resamples in which a score is undefined are left out of its interval;
        it has none where all are.

    Returns
    -------
    tuple of Scores
        The lower ends and the upper ends.
    """
    ends = np.full((2, len(values)), np.nan)
    for at, row in enumerate(values):
        if len(defined := row[np.isfinite(row)]):
            ends[:, at] = middle(defined)
    return Scores.of(ends[0]), Scores.of(ends[1])
