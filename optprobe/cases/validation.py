"""A ridge chosen on documents that neither train nor test: by the held-out loss of the optimum at each ridge."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from formulations import SparseProbeProblem, sparse_probe_problem
from optprobe.activations import LabelledActivations
from optprobe.comparison import predict
from optprobe.engines import solve
from optprobe.errors import InputError
from optprobe.features import grouped_split

VALIDATION_SHARE = 0.25
"""Share of the training rows of each class that is set aside to choose a ridge."""
GRID = (0.001, 0.01, 0.1, 1.0)


def chosen_ridge(
    data: LabelledActivations,
    stated: SparseProbeProblem,
    grid: Sequence[float],
    *,
    method: str = "auto",
    time_limit: float | None = None,
    seed: int = 0,
) -> list[Mapping[str, Any]]:
    """
    Return what each ridge of a grid comes to, the chosen one first.

    Parameters
    ----------
    data : LabelledActivations
        Rows with documents; those of the training part are divided once more, by document.
    stated : SparseProbeProblem
        Loss, k, class weights and the neurons searched.
    grid : sequence of float
    method, time_limit
        As in `optprobe.solve`.
    seed : int
        Of the division.

    Returns
    -------
    list of mapping
        ``ridge``, ``loss`` (the mean loss on the rows set aside, classes weighted as in the problem), ``support``, and
        ``optimal``, the smallest loss first; of equal ones the largest ridge.

    Raises
    ------
    InputError
        If the rows have no documents, or cannot be divided.
    KeyboardInterrupt
        If a solve was interrupted.
    """
    if data.group_train is None:
        raise InputError("a ridge is validated on documents of its own: give rows with documents")
    aside = grouped_split(data.group_train, data.y_train, VALIDATION_SHARE, seed)
    weight = stated.w[aside] / stated.w[aside].sum()
    found = []
    for ridge in grid:
        part = sparse_probe_problem(
            data.X_train[~aside],
            data.y_train[~aside],
            stated.k,
            loss=stated.loss.name,
            ridge=ridge,
            class_weight=stated.class_weight,
            among=stated.among,
            sample_weight=None if data.w_train is None else data.w_train[~aside],
        )
        best = solve(part, method, time_limit)
        if best.interrupted:
            raise KeyboardInterrupt
        f = predict(part, data.X_train[aside], best.support, best.coef, best.intercept)
        held_out = float(weight @ stated.loss.value(np.sign(data.y_train[aside]), f))
        found.append({"ridge": ridge, "loss": held_out, "support": list(best.support), "optimal": best.optimal})
    return sorted(found, key=lambda one: (one["loss"], -one["ridge"]))
