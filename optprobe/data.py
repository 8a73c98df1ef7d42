"""From activations to a problem in one call."""

from __future__ import annotations

from collections.abc import Sequence

from numpy.typing import ArrayLike

from formulations import MomentProblem, Moments, SparseProbeProblem, moment_problem, sparse_probe_problem
from optprobe.activations import Activations, LabelledActivations, neuron_values
from optprobe.errors import InputError

__all__ = ["MomentProblem", "Moments", "SparseProbeProblem", "moment_problem", "problem", "sparse_probe_problem"]


def problem(
    source: Activations | LabelledActivations | ArrayLike,
    k: int,
    *,
    labels: ArrayLike | None = None,
    feature: str | None = None,
    layer: int | None = None,
    loss: str = "logistic",
    ridge: float = 0.01,
    class_weight: str = "none",
    among: Sequence[int] | None = None,
) -> SparseProbeProblem:
    """The k-sparse probe problem of a feature at a layer.

    Parameters
    ----------
    source : Activations, LabelledActivations or array_like
        A store of activations, of which all rows of the feature are used; labelled rows, of which the training rows; or
        anything that `optprobe.activations.neuron_values` takes, a tensor or a cache for example.
    k : int
    labels : array_like, shape (n_rows,)
        Two distinct numbers, the larger the positive class; for what has no labels of its own.
    feature, layer : str and int, optional
        Which part of a store of activations; not for labelled rows, which are of one feature and layer already.
    loss, ridge, class_weight, among
        As in `formulations.sparse_probe_problem`.

    Raises
    ------
    InputError
        If feature and layer are missing or unknown, or the rows or parameters cannot be used.
    """
    if isinstance(source, Activations):
        if feature is None or layer is None:
            raise InputError("a store of activations holds several features and layers: name feature and layer")
        X, y, _ = source.select(feature, layer)
        return sparse_probe_problem(X, y, k, loss=loss, ridge=ridge, class_weight=class_weight, among=among)
    if not isinstance(source, LabelledActivations):
        if labels is None:
            raise InputError("these activations have no labels of their own: give labels=, one for each row")
        X = neuron_values(source, layer=layer)
        return sparse_probe_problem(X, labels, k, loss=loss, ridge=ridge, class_weight=class_weight, among=among)
    return sparse_probe_problem(
        source.X_train,
        source.y_train,
        k,
        loss=loss,
        ridge=ridge,
        class_weight=class_weight,
        sample_weight=source.w_train,
        among=among,
    )
