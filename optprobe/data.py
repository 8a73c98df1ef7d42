"""From activations to a problem in one call."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from formulations import MomentProblem, Moments, SparseProbeProblem, clusters, moment_problem, sparse_probe_problem
from optprobe.activations import Activations, LabelledActivations, load_labelled, neuron_values
from optprobe.activations.foreign import as_array
from optprobe.errors import InputError

AnyProblem = TypeVar("AnyProblem", SparseProbeProblem, MomentProblem)

__all__ = ["MomentProblem", "Moments", "SparseProbeProblem", "moment_problem", "problem", "sparse_probe_problem"]


def problem(
    source: Activations | LabelledActivations | str | Path | ArrayLike,
    k: int,
    *,
    labels: ArrayLike | None = None,
    targets: ArrayLike | None = None,
    feature: str | None = None,
    layer: int | None = None,
    loss: str | None = None,
    ridge: float = 0.01,
    class_weight: str = "none",
    among: Sequence[int] | NDArray[np.int64] | None = None,
    forbidden: Sequence[int] | NDArray[np.int64] | None = None,
    groups: ArrayLike | str | None = None,
) -> SparseProbeProblem:
    """The k-sparse probe problem of a feature, or target, at a layer, about the rows of its training part.

    Of whatever holds labels, the problem is that of the command line: the same rows, and as its `Origin` their scope
    and the test part, which `compare` and certificates use.

    Parameters
    ----------
    source : Activations, LabelledActivations, path or array_like
        What holds labels or targets: a store of activations, open or by its path, and then the training part of
        `load_labelled`; an `.npz` that it reads; or its rows. With ``labels`` or ``targets``, anything
        that `optprobe.activations.neuron_values` takes, a tensor or a cache for example, all of whose rows are used.
    k : int
    labels : array_like, shape (n_rows,)
        Two distinct numbers, the larger the positive class; for what has no labels of its own.
    targets : array_like, shape (n_rows,)
        Real numbers to predict in place of labels, by the squared loss.
    feature, layer : str and int, optional
        Which part of a store, where it has several; a target of the store is named as a feature is, and predicted by
        the squared loss. Beside labels or targets, ``layer`` is that of a TransformerLens cache.
    loss, ridge, class_weight, among, forbidden, groups
        As in `formulations.sparse_probe_problem`; and ``groups="cluster:0.9"`` makes the clusters of neurons whose
        absolute correlation is at least 0.9 (`formulations.clusters`).

    Raises
    ------
    InputError
        If feature and layer are missing, unknown or without effect, or the rows or parameters cannot be used.
    """
    if labels is not None or targets is not None:
        name = "labels" if targets is None else "targets"
        if isinstance(source, Activations | LabelledActivations):
            raise InputError(f"these activations have labels of their own: leave {name}= out, or give the values alone")
        if feature is not None:
            raise InputError(f"{name}= states the feature, and feature= has no effect beside it: leave one of them out")
        X, y = neuron_values(source, layer=layer), None if labels is None else as_array(labels)
        t = None if targets is None else as_array(targets)
        weights, origin = None, None
    else:
        rows = _labelled(source, feature, layer)
        X, weights, origin = rows.X_train, rows.w_train, rows.origin
        y, t = (None, rows.y_train) if rows.of_target else (rows.y_train, None)
    stated = sparse_probe_problem(
        X,
        y,
        k,
        targets=t,
        loss=loss,
        ridge=ridge,
        class_weight=class_weight,
        sample_weight=weights,
        among=among,
        forbidden=forbidden,
        groups=None if isinstance(groups, str) else groups,
        origin=origin,
    )
    return grouped(stated, groups) if isinstance(groups, str) else stated


def grouped(stated: AnyProblem, rule: str) -> AnyProblem:
    """
    The same problem with groups by a rule, which its scope names.

    Parameters
    ----------
    stated : SparseProbeProblem or MomentProblem
    rule : str
        ``cluster:R`` for the clusters of neurons whose absolute correlation is at least R.

    Raises
    ------
    InputError
        For another rule.
    """
    rule_of_clusters = re.fullmatch(r"cluster:([0-9.eE+-]+)", rule)
    try:
        least = float(rule_of_clusters[1]) if rule_of_clusters else None
    except ValueError:
        least = None
    if least is None:
        raise InputError(f"the rule {rule!r} makes no groups: give cluster:0.9, say, for the least correlation")
    found = clusters(stated, least)
    origin = replace(stated.origin, scope={**stated.origin.scope, "groups": rule})
    return replace(stated, groups=found, origin=origin)


def _labelled(source: object, feature: str | None, layer: int | None) -> LabelledActivations:
    """The labelled rows of what holds labels."""
    if isinstance(source, LabelledActivations):
        if feature is not None or layer is not None:
            raise InputError("these rows are of one feature and layer: leave feature= and layer= out")
        return source
    if isinstance(source, Activations | str | Path):
        return load_labelled(source, feature, layer)
    raise InputError("these activations have no labels of their own: give labels=, one for each row")
