"""From activations to a problem in one call."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from numpy.typing import ArrayLike, NDArray

from formulations import (
    MomentProblem,
    Moments,
    Origin,
    SparseProbeProblem,
    clusters,
    moment_problem,
    sparse_probe_problem,
)
from formulations.columns import Columns, columns_of
from optprobe.activations import Activations, LabelledActivations, load_labelled, neuron_values
from optprobe.activations.foreign import as_array
from optprobe.errors import InputError

Named = Iterable[int | str] | NDArray[np.int64]
"""Columns by their numbers or names."""
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
    layers: Iterable[int] | str | None = None,
    loss: str | None = None,
    ridge: float = 0.01,
    class_weight: str = "none",
    among: Named | None = None,
    forbidden: Named | None = None,
    groups: ArrayLike | str | None = None,
    forced: Named | None = None,
) -> SparseProbeProblem:
    """The k-sparse probe problem of a feature, or target, at a layer or several, about the rows of its training part.

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
    layers : iterable of int, or "all", optional
        In place of layer: several of a store, or all of them, whose neurons are searched together. Where there are
        several, neuron 157 of layer 24 is called L24.N157, also in among, forbidden and forced.
    loss, ridge, class_weight, among, forbidden, groups, forced
        As in `formulations.sparse_probe_problem`; and ``groups="cluster:0.9"`` makes the clusters of neurons whose
        absolute correlation is at least 0.9 (`formulations.clusters`), ``groups="layer"`` a group of every layer.

    Raises
    ------
    InputError
        If feature and layer are missing, unknown or without effect, or the rows or parameters cannot be used.
    """
    if labels is not None or targets is not None:
        name = "labels" if targets is None else "targets"
        if isinstance(source, Activations | LabelledActivations):
            raise InputError(f"these activations have labels of their own: leave {name}= out, or give the values alone")
        if layers is not None:
            raise InputError(f"layers= are those of a store, and {name}= is for values alone: give them side by side")
        if feature is not None:
            raise InputError(f"{name}= states the feature, and feature= has no effect beside it: leave one of them out")
        X, y = neuron_values(source, layer=layer), None if labels is None else as_array(labels)
        t = None if targets is None else as_array(targets)
        weights, origin = None, Origin()
    else:
        rows = _labelled(source, feature, layer, layers)
        X, weights, origin = rows.X_train, rows.w_train, rows.origin
        y, t = (None, rows.y_train) if rows.of_target else (rows.y_train, None)
    columns = columns_of(origin.scope, X.shape[-1])
    stated = sparse_probe_problem(
        X,
        y,
        k,
        targets=t,
        loss=loss,
        ridge=ridge,
        class_weight=class_weight,
        sample_weight=weights,
        among=numbered(among, columns),
        forbidden=numbered(forbidden, columns),
        groups=None if isinstance(groups, str) else groups,
        forced=numbered(forced, columns),
        origin=origin,
    )
    return grouped(stated, groups) if isinstance(groups, str) else stated


def numbered(named: Named | None, columns: Columns) -> list[int] | None:
    """The numbers of columns that are given by their names or numbers; raises `InputError` as `Columns.column` does."""
    return None if named is None else [columns.column(name) for name in named]


def grouped(stated: AnyProblem, rule: str) -> AnyProblem:
    """
    The same problem with groups by a rule, which its scope names.

    Parameters
    ----------
    stated : SparseProbeProblem or MomentProblem
    rule : str
        ``cluster:R`` for the clusters of neurons whose absolute correlation is at least R; ``layer`` for the neurons of
        each of several layers.

    Raises
    ------
    InputError
        For another rule, or where the columns are not those of several layers.
    """
    if rule == "layer":
        found = np.array(stated.columns.layer_of_each, dtype=np.int64)
        if not len(found):
            raise InputError("the groups of layers need the neurons of several side by side: give layers")
    else:
        found = clusters(stated, _least_correlation(rule))
    origin = replace(stated.origin, scope={**stated.origin.scope, "groups": rule})
    return replace(stated, groups=found, origin=origin)


def _least_correlation(rule: str) -> float:
    """R of ``cluster:R``."""
    rule_of_clusters = re.fullmatch(r"cluster:([0-9.eE+-]+)", rule)
    try:
        least = float(rule_of_clusters[1]) if rule_of_clusters else None
    except ValueError:
        least = None
    if least is None:
        raise InputError(f"the rule {rule!r} makes no groups: give layer, or cluster:0.9 for the least correlation")
    return least


def _labelled(
    source: object, feature: str | None, layer: int | None, layers: Iterable[int] | str | None
) -> LabelledActivations:
    """The labelled rows of what holds labels."""
    if isinstance(source, LabelledActivations):
        if any(chosen is not None for chosen in (feature, layer, layers)):
            raise InputError("these rows are of one feature and layer: leave feature= and layer= out")
        return source
    if isinstance(source, Activations | str | Path):
        return load_labelled(source, feature, layer, layers=layers)
    raise InputError("these activations have no labels of their own: give labels=, one for each row")
