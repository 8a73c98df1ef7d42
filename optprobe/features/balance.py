"""
Which of the labelled rows a feature takes: how many, and with what share of +1.

All features of a dataset take their rows in one seeded order, the documents in turn (every document's first row, then
every document's second, ...), so that their rows overlap and no document outweighs the others.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from optprobe.errors import InputError
from optprobe.features.dataset import FeatureDataset


@dataclass(frozen=True)
class Sampling:
    """
    How many rows a feature takes, and of which classes.

    Parameters
    ----------
    rows : int, optional
        Rows, at most; by default all.
    least_share, most_share : float
        Bounds of the share of +1; between them it is as it is in the texts. Equal bounds are an exact share.
    rarest : float
        Features whose rarer class has a smaller share in the texts are left out.
    rows_of_class : int
        Rows that each class must have in the sample, at least.
    """

    rows: int | None = None
    least_share: float = 0.0
    most_share: float = 1.0
    rarest: float = 0.0
    rows_of_class: int = 1

    def __post_init__(self) -> None:
        """Check the bounds."""
        if not 0 <= self.least_share <= self.most_share <= 1:
            raise InputError(f"the share of +1 cannot lie between {self.least_share} and {self.most_share}")
        if self.rows_of_class < 1 or (self.rows is not None and self.rows < 2 * self.rows_of_class):
            raise InputError(
                f"{self.rows} rows cannot have {self.rows_of_class} of each class, and one of each is least"
            )

    def __str__(self) -> str:
        """Say it in words, for the provenance."""
        rows = "all rows" if self.rows is None else f"at most {self.rows:,} rows"
        return f"{rows} a feature, share of +1 from {self.least_share:g} to {self.most_share:g} where rows suffice"


NATURAL = Sampling()
PAPER: Mapping[str, Sampling] = {
    "part_of_speech": Sampling(25_000, 0.2, 0.2),
    "dependencies": Sampling(25_000, 0.2, 0.2),
    "morphology": Sampling(25_000, 0.2, 0.2),
    "latex": Sampling(20_000, 0.25, 0.25),
    "text_features": Sampling(10_000, 0.2, 0.5, rarest=0.05),
    "compound_words": Sampling(8_000, 0.2, 0.2),
}
"""The sampling of each category in the code of Gurnee et al. 2023 (ewt.py, latex.py, token_supervised.py, ngrams.py);
categories that are missing here are taken as they are."""


def sampled(data: FeatureDataset, sampling: Sampling, seed: int = 0) -> FeatureDataset:
    """
    Take a sample of the rows of each feature; regression targets keep the values of the rows that remain.

    Parameters
    ----------
    data : FeatureDataset
        The rows.
    sampling : Sampling
        How many, and of which classes.
    seed : int
        Of the order in which rows are taken.

    Returns
    -------
    FeatureDataset
        Rows with a label for some feature; the provenance names the sampling and the features left out.

    Raises
    ------
    InputError
        If the only feature, or every feature, lacks rows of a class: the sentence gives the number there are.
    """
    if sampling == NATURAL or not data.labels:
        return data
    priority = np.random.default_rng(seed).permutation(data.n_rows)
    labels, short = {}, {}
    for feature, y in data.labels.items():
        chosen = y * choose_rows(y, data.group, priority, sampling)
        counts = [np.count_nonzero(chosen == sign) for sign in (1, -1)]
        positive, negative = data.counts[feature]
        if min(counts) < sampling.rows_of_class:
            short[feature] = f"has {counts[0]} rows labelled +1 and {counts[1]} labelled -1 to be taken"
        elif min(positive, negative) < sampling.rarest * (positive + negative):
            short[feature] = f"has one class with less than {sampling.rarest:.0%} of its rows"
        else:
            labels[feature] = chosen.astype(np.int8)
    if not labels:
        feature, reason = next(iter(short.items()))
        raise InputError(
            f"dataset {data.name!r}: {feature!r} {reason}, and each class needs at least {sampling.rows_of_class}; "
            "give more texts, or ask for less"
        )
    rows = np.any([y != 0 for y in labels.values()], axis=0)
    note = {"sampling": f"{sampling}, seed {seed}"} | ({"left out": ", ".join(short)} if short else {})
    kept = replace(
        data,
        labels=labels,
        rules={name: rule for name, rule in data.rules.items() if name not in short},
        provenance={**data.provenance, **note},
    )
    return kept.take(rows)


def choose_rows(
    y: NDArray[np.int8], group: NDArray[np.int32], priority: NDArray[np.intp], sampling: Sampling
) -> NDArray[np.bool_]:
    """
    Choose the rows of one feature.

    Parameters
    ----------
    y : ndarray of int8, shape (n_rows,)
        Labels in {-1, 0, +1}.
    group : ndarray of int32, shape (n_rows,)
        Document of each row.
    priority : ndarray of int, shape (n_rows,)
        The seeded order that all features share.
    sampling : Sampling
        How many, and of which classes.

    Returns
    -------
    ndarray of bool, shape (n_rows,)
        True for the chosen ones.
    """
    n_positive, n_negative = int(np.count_nonzero(y == 1)), int(np.count_nonzero(y == -1))
    chosen = np.zeros(len(y), dtype=bool)
    if n_positive + n_negative == 0:
        return chosen
    share = float(np.clip(n_positive / (n_positive + n_negative), sampling.least_share, sampling.most_share))
    limits = [n_positive + n_negative if sampling.rows is None else sampling.rows]
    limits += [int(n_positive / share)] if share > 0 else []
    limits += [int(n_negative / (1 - share))] if share < 1 else []
    n_rows = min(limits)
    wanted = round(share * n_rows)
    for label, count in ((1, wanted), (-1, n_rows - wanted)):
        rows = np.flatnonzero(y == label)
        rows = rows[np.lexsort((priority[rows], group[rows]))]
        turn = np.arange(len(rows)) - np.searchsorted(group[rows], group[rows])
        chosen[rows[np.lexsort((priority[rows], turn))[:count]]] = True
    return chosen
