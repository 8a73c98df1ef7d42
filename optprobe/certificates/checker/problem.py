"""The problem that a claim is about, rebuilt from the data."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .claim import Claim, Rows
from .data import COLUMNS, labels_of, numbers, shares_of, standardised, targets_of, value_digest, weights_of
from .limits import Limits
from .outcome import require
from .pool import Listed, groups_of, without_singles

Array = NDArray[Any]
Floats = NDArray[np.float64]

U = 2.0**-53
BLOCK = 256
UNIT = 1e-9
"""How far mean and mean square of a standardised column or target may be from 0 and 1: what the proofs suppose."""


@dataclass(frozen=True)
class Problem:
    """What the claim is about, rebuilt from the data: Z, y, w, the columns allowed, and the parameters.

    y holds labels, -1 and 1, or where it is a ``target`` numbers standardised as a column is.
    """

    Z: Floats
    y: Floats
    w: Floats
    candidates: NDArray[np.bool_]
    loss: str
    ridge: float
    size: int
    constant: int = 0
    limits: Limits = field(default_factory=Limits)
    listed: Listed = field(default_factory=Listed)
    """Sets whose supersets no proof is about."""
    target: bool = False
    forced: tuple[int, ...] = ()
    """Columns that are in all sets; they are candidates."""

    @property
    def root(self) -> tuple[list[int], NDArray[np.bool_]]:
        """What all sets have, and the other candidates."""
        free = self.candidates.copy()
        free[list(self.forced)] = False
        return list(self.forced), free

    @property
    def columns(self) -> NDArray[np.int64]:
        """The candidates, the forced ones first."""
        inside, free = self.root
        return np.array([*inside, *np.flatnonzero(free)], dtype=np.int64)

    def besides(self, listed: Listed) -> Problem:
        """The same for the sets that contain no listed one: columns listed alone are not allowed."""
        closed = Listed(listed.sets, self.listed.groups)
        return replace(self, candidates=without_singles(self.candidates, listed), listed=closed)


def problem_of(
    claim: Claim, arrays: Mapping[str, Array], X: Array, y: Array, weight: Array | None, limits: Limits
) -> Problem:
    """The problem of a claim about rows; the data's digests, and that of the groups, must be the claim's."""
    data, stated = claim.data, claim.problem
    require(isinstance(data, Rows), "the claim is about moments, and rows were given")
    assert isinstance(data, Rows)
    n, p = data.n_rows, data.n_neurons
    numbers(X, "X", (n, p))
    predicted = targets_of(y, n) if data.target else labels_of(y, n)
    require(data.weights is None or weight is not None, "the claim is about weighted rows, and the data has no weights")
    require(data.weights is not None or weight is None, "the data has weights, and the claim is about equal ones")
    given = np.ones(n) if weight is None else numbers(weight, "sample_weight", (n,)).astype(np.float64)
    limits.room(n * (p * (1 + X.itemsize / 8) + 8.0 * min(p, COLUMNS)), "standardising the data")
    for name, array, said in (("X", X, data.X), ("y", predicted, data.y), ("weights", given, data.weights)):
        if said is not None:
            found = value_digest(array)
            require(found == said, f"{name} is not the claim's: its digest is {found[:16]}..., not {said[:16]}...")
    w = shares_of(given) if data.target else weights_of(predicted, given, stated.class_weight)
    if data.target:
        predicted = _standardised_target(predicted, w)
    Z, varies = standardised(X, w)
    _check_unit_columns(Z, w, varies)
    candidates, listed = allowed(varies, stated.among), closed_by_groups(claim, arrays)
    usable = candidates[list(stated.forced)].all() and not listed.inside(stated.forced)
    require(usable, "a forced column is constant or not allowed, or two of them are of one group")
    candidates &= ~_beside(stated.forced, listed, len(candidates))
    size = min(stated.k, listed.count(np.flatnonzero(candidates)))
    constant = int((~varies).sum())
    parameters = stated.loss, stated.ridge, size, constant, limits, listed, data.target, stated.forced
    return Problem(Z, predicted, w, candidates, *parameters)


def _beside(forced: tuple[int, ...], listed: Listed, n_columns: int) -> NDArray[np.bool_]:
    """The columns whose group a forced one is of, other than the forced."""
    beside = np.zeros(n_columns, dtype=np.bool_)
    if listed.groups is not None:
        taken = {listed.groups[column] for column in forced} - {-1}
        beside = np.array([label in taken for label in listed.groups], dtype=np.bool_)
        beside[list(forced)] = False
    return beside


def _standardised_target(values: Floats, w: Floats) -> Floats:
    """A target as one more column, which must vary: of mean 0 and mean square 1, as the proofs suppose."""
    Y, varies = standardised(values[:, None], w)
    require(varies.all(), "the target is constant on the rows of positive weight")
    _check_unit_columns(Y, w, varies)
    return Y[:, 0]


def closed_by_groups(claim: Claim, arrays: Mapping[str, Array]) -> Listed:
    """What the groups of a claim close: nothing, where it has none."""
    labels = arrays.get("groups")
    return Listed(groups=groups_of(labels, claim.problem.groups, None if labels is None else value_digest(labels)))


def allowed(varies: NDArray[np.bool_], among: tuple[int, ...] | None) -> NDArray[np.bool_]:
    """The columns that a set of the claim may contain."""
    if among is None:
        return varies
    chosen = np.zeros(len(varies), dtype=np.bool_)
    chosen[list(among)] = True
    return varies & chosen


def _check_unit_columns(Z: Floats, w: Floats, varies: NDArray[np.bool_]) -> None:
    """Columns have mean 0 and mean square 1 to 1e-9: the hypothesis of `bounds.intercept_bound` and of all sweeps.

    So has a target.
    """
    means, W = np.abs(w @ Z), float(w.sum())
    for start in range(0, Z.shape[1], BLOCK):
        block = slice(start, start + BLOCK)
        squares = w @ Z[:, block] ** 2 / W
        unit = (means[block] <= UNIT) & (np.abs(squares - 1) <= UNIT)
        require((unit | ~varies[block]).all(), "a standardised column has not mean 0 and mean square 1")
