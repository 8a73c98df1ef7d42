"""From activations to a problem in one call."""

from __future__ import annotations

from collections.abc import Sequence

from formulations import MomentProblem, Moments, SparseProbeProblem, moment_problem, sparse_probe_problem
from optprobe.activations import Activations, LabelledActivations
from optprobe.errors import InputError

__all__ = ["MomentProblem", "Moments", "SparseProbeProblem", "moment_problem", "problem", "sparse_probe_problem"]


def problem(
    source: Activations | LabelledActivations,
    k: int,
    *,
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
    source : Activations or LabelledActivations
        A store of activations, of which all rows of the feature are used; or labelled rows, of which the training rows.
    k : int
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
