"""One probe for each class of a labelled dataset, against all the others, in one call and one table."""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

from optprobe.activations import Activations, neuron_values
from optprobe.activations.foreign import as_array
from optprobe.data import problem
from optprobe.engines import Solution, Solutions, solve
from optprobe.errors import InputError

__all__ = ["SolutionOfEach", "solve_each"]


class SolutionOfEach(Solutions[Hashable]):
    """The solution of each class, or feature."""

    name_of_names = "class"

    def _line(self) -> str:
        shared = len(set.intersection(*(set(solution.support) for solution in self.values())))
        return f"{len(self)} classes, {self.n_optimal} of their optima proved; {shared} neurons stand in all of them"


def solve_each(
    source: Activations | str | Path | ArrayLike,
    k: int,
    *,
    labels: ArrayLike | None = None,
    features: Sequence[str] | None = None,
    layer: int | None = None,
    stated: Mapping[str, Any] | None = None,
    **options: Any,
) -> SolutionOfEach:
    """
    Solve a k-sparse probe for each class against all others, or for each feature of a store.

    Parameters
    ----------
    source : Activations, path or array_like, shape (n_rows, n_neurons)
        A store, whose features each have labels of their own; or with ``labels`` any activations that
        `optprobe.activations.neuron_values` takes.
    k : int
    labels : array_like, shape (n_rows,), optional
        The class of each row: numbers or texts, of at least two values.
    features : sequence of str, optional
        Which of a store's; by default all, and targets only where there are no features.
    layer : int, optional
        Of a store that has several.
    stated : mapping, optional
        Loss, ridge, class_weight, among, forbidden of every problem, as `optprobe.problem` takes them.
    **options
        As `solve` takes them: method, time_limit, within ...

    Raises
    ------
    InputError
        If the rows, labels or parameters cannot be used, or an argument has no effect.
    KeyboardInterrupt
        After Ctrl-C: the table is whole or none.
    """
    given = dict(stated or {})
    if labels is None:
        if not isinstance(source, Activations | str | Path):
            raise InputError("these activations have no classes of their own: give labels=, one for each row")
        store = source if isinstance(source, Activations) else Activations.open(source)
        named = list(store.features or store.targets) if features is None else list(dict.fromkeys(features))
        problems = {name: problem(store, k, feature=name, layer=layer, **given) for name in named}
    else:
        if features is not None:
            raise InputError("labels= states the classes, and features= has no effect beside it: leave one of them out")
        X, classes = neuron_values(source, layer=layer), as_array(labels)
        if classes.ndim != 1 or len(classes) != len(X):
            raise InputError(f"the labels have shape {classes.shape} and there are {len(X)} rows: give one for each")
        problems = {
            name.item(): problem(X, k, labels=np.where(classes == name, 1, -1), **given) for name in np.unique(classes)
        }
    found: dict[Hashable, Solution] = {}
    for name, stated_problem in problems.items():
        found[name] = solve(stated_problem, **options)
        if found[name].interrupted:
            raise KeyboardInterrupt
    return SolutionOfEach(found)
