"""From activations to a problem in one call."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
from numpy.typing import ArrayLike, NDArray

from formulations import MomentProblem, Moments, SparseProbeProblem, moment_problem, sparse_probe_problem
from optprobe.activations import Activations, LabelledActivations, load_labelled, neuron_values
from optprobe.activations.foreign import as_array
from optprobe.errors import InputError

__all__ = ["MomentProblem", "Moments", "SparseProbeProblem", "moment_problem", "problem", "sparse_probe_problem"]


def problem(
    source: Activations | LabelledActivations | str | Path | ArrayLike,
    k: int,
    *,
    labels: ArrayLike | None = None,
    feature: str | None = None,
    layer: int | None = None,
    loss: str = "logistic",
    ridge: float = 0.01,
    class_weight: str = "none",
    among: Sequence[int] | NDArray[np.int64] | None = None,
    forbidden: Sequence[int] | NDArray[np.int64] | None = None,
) -> SparseProbeProblem:
    """The k-sparse probe problem of a feature at a layer, about the rows of its training part.

    Of whatever holds labels, the problem is that of the command line: the same rows, and as its `Origin` their scope
    and the test part, which `compare` and certificates use.

    Parameters
    ----------
    source : Activations, LabelledActivations, path or array_like
        What holds labels: a store of activations, open or by its path, and then the training part of
        `load_labelled`; an `.npz` that it reads; or its rows. With ``labels``, anything that
        `optprobe.activations.neuron_values` takes, a tensor or a cache for example, all of whose rows are used.
    k : int
    labels : array_like, shape (n_rows,)
        Two distinct numbers, the larger the positive class; for what has no labels of its own.
    feature, layer : str and int, optional
        Which part of a store, where it has several; with ``labels``, ``layer`` is that of a TransformerLens cache.
    loss, ridge, class_weight, among, forbidden
        As in `formulations.sparse_probe_problem`.

    Raises
    ------
    InputError
        If feature and layer are missing, unknown or without effect, or the rows or parameters cannot be used.
    """
    if labels is not None:
        if isinstance(source, Activations | LabelledActivations):
            raise InputError("these activations have labels of their own: leave labels= out, or give the values alone")
        if feature is not None:
            raise InputError("labels= states the feature, and feature= has no effect beside it: leave one of them out")
        X, y = neuron_values(source, layer=layer), as_array(labels)
        weights, origin = None, None
    else:
        rows = _labelled(source, feature, layer)
        X, y, weights, origin = rows.X_train, rows.y_train, rows.w_train, rows.origin
    return sparse_probe_problem(
        X,
        y,
        k,
        loss=loss,
        ridge=ridge,
        class_weight=class_weight,
        sample_weight=weights,
        among=among,
        forbidden=forbidden,
        origin=origin,
    )


def _labelled(source: object, feature: str | None, layer: int | None) -> LabelledActivations:
    """The labelled rows of what holds labels."""
    if isinstance(source, LabelledActivations):
        if feature is not None or layer is not None:
            raise InputError("these rows are of one feature and layer: leave feature= and layer= out")
        return source
    if isinstance(source, Activations | str | Path):
        return load_labelled(source, feature, layer)
    raise InputError("these activations have no labels of their own: give labels=, one for each row")
