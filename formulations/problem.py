"""The k-sparse probe problem: data, weights, loss, ridge and k, validated, with its standardisation.

    F(S) = min over b in R^S, b0 in R of  sum_i w_i loss(y_i, Z_iS b + b0) + (ridge / 2) |b|^2
    F*_k = min F(S) over |S| <= k

with ``Z_ij = ((X_ij - shift_j) - rest_j) * inv_scale_j``. Z and w follow from the data by elementwise float64
operations alone (`formulations.standardisation`), so that whoever rebuilds them holds the same bits.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from formulations.columns import Columns, columns_of
from formulations.errors import InputError
from formulations.losses import Loss, loss_named
from formulations.origin import Origin
from formulations.products import gram
from formulations.shown import Shown, Table, facts
from formulations.standardisation import (
    Standardisation,
    normalised_weights,
    standardisation,
    standardised_target,
)
from formulations.validation import (
    CLASS_WEIGHTS,
    allowed_in_words,
    check_classes,
    check_varies,
    checked_among,
    checked_forced,
    checked_groups,
    checked_k,
    checked_labels,
    checked_matrix,
    checked_ridge,
    checked_targets,
    checked_weights,
    label_array,
    value_digest,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class ProbeProblem(Shown):
    """What engines may know of a problem, stated by rows (`SparseProbeProblem`) or by moments (`MomentProblem`)."""

    k: int
    loss: Loss
    ridge: float
    class_weight: str
    among: tuple[int, ...] | None
    groups: Ints | None
    forced: tuple[int, ...] = ()
    origin: Origin

    @property
    @abstractmethod
    def n_rows(self) -> int:
        """The number of rows."""

    @property
    @abstractmethod
    def inv_scale(self) -> Floats:
        """The reciprocal of every column's weighted standard deviation, 0 where it is constant, shape (n_neurons,)."""

    @property
    @abstractmethod
    def cross(self) -> Floats:
        """``Z' W (y - mean of y)``, shape (n_neurons,)."""

    @property
    @abstractmethod
    def variance(self) -> float:
        """The weighted variance of y: twice the squared loss of the constant fit."""

    @property
    @abstractmethod
    def gram_row_work(self) -> int:
        """How many numbers a row of ``Z' W Z`` is made from."""

    @property
    @abstractmethod
    def digests(self) -> dict[str, str]:
        """What the data are, by name and sha256."""

    @abstractmethod
    def gram(self, columns: Ints) -> Floats:
        """``Z' W Z`` of some columns, shape (len(columns), len(columns))."""

    @abstractmethod
    def gram_rows(self, columns: Sequence[int] | Ints) -> Floats:
        """The rows of ``Z' W Z`` of some columns, shape (len(columns), n_neurons)."""

    @abstractmethod
    def objective(self, support: Sequence[int] | Ints, coef: Floats, intercept: float) -> float:
        """The penalised weighted loss at one point: an upper bound of F(support)."""

    @abstractmethod
    def restated(self, *, k: int | None = None, ridge: float | None = None, loss: str | None = None) -> Self:
        """The same data with another k, ridge or loss; what was computed from the data is kept."""

    def narrowed(self, columns: Ints) -> Self:
        """The same problem where a support may use some of the columns only; what was computed from data is kept."""
        new = self.restated()
        new.__dict__.update(among=tuple(map(int, columns)), candidates=np.intersect1d(self.candidates, columns))
        return new

    def _line(self) -> str:
        columns = self.columns
        plain = replace(columns, of="")
        among = "" if self.among is None else f", of {allowed_in_words(self.among, self.n_neurons, plain)}"
        among += "" if self.groups is None else ", at most one of each group"
        among += f", with {columns.names(self.forced)} in every set" if self.forced else ""
        return (
            f"{self.k}-sparse probe of {self.n_neurons} {columns.all} {self._rows} "
            f"({self.loss.name} loss, ridge {self.ridge:g}, class weights {self.class_weight}{among})"
        )

    def _table(self) -> Table:
        return facts(self.origin.scope)

    @property
    @abstractmethod
    def _rows(self) -> str:
        """The rows in words, for `repr`."""

    @property
    def n_neurons(self) -> int:
        return len(self.inv_scale)

    @property
    def columns(self) -> Columns:
        """What its columns are, by the scope of its origin."""
        return columns_of(self.origin.scope, self.n_neurons)

    @cached_property
    def candidates(self) -> Ints:
        """The columns that a support may contain, sorted: not constant, allowed, and in no group of a forced other."""
        usable = np.flatnonzero(self.inv_scale > 0)
        if self.among is not None:
            usable = np.intersect1d(usable, self.among)
        if self.groups is None or not self.forced:
            return usable
        taken = set(self.groups[list(self.forced)].tolist()) - {-1}
        return usable[~np.isin(self.groups[usable], list(taken)) | np.isin(usable, self.forced)]

    @property
    def size(self) -> int:
        """The size of the supports to search: k, or the number of candidates, or of their groups, where smaller."""
        return min(self.k, self.n_selectable(self.candidates))

    def n_selectable(self, columns: Ints) -> int:
        """How many of some columns, shape (n_columns,), one support may contain: one of each group."""
        if self.groups is None:
            return len(columns)
        labels = self.groups[columns]
        return len(np.unique(labels[labels >= 0])) + int((labels < 0).sum())


@dataclass(frozen=True, eq=False, repr=False)
class SparseProbeProblem(ProbeProblem):
    """Find k of ``n_neurons`` neurons that predict ``y`` best, in the loss and ridge given.

    Made by `sparse_probe_problem`, which validates; the fields are then immutable.

    Attributes
    ----------
    X : ndarray, shape (n_rows, n_neurons), float32 or float64
        Activations.
    y : ndarray, shape (n_rows,)
        Labels in {-1.0, +1.0}; or ``targets``, standardised as a column of X is: of mean 0 and mean square 1.
    w : ndarray, shape (n_rows,)
        Weights of the rows, non-negative, with sum 1.
    k : int
        Largest size of a support.
    loss : Loss
        Squared, logistic or hinge.
    ridge : float
        Coefficient of ``|b|^2 / 2`` on the standardised neurons, on the scale of the mean loss.
    class_weight : str
        ``"none"`` or ``"balanced"`` (both classes weigh one half).
    sample_weight : ndarray, shape (n_rows,), or None
        The weights of their own that the rows came with.
    among : tuple of int, or None
        The columns a support may use; None means all of them.
    groups : ndarray, shape (n_neurons,), or None
        The group of each column, -1 for none: a support may have one of each.
    forced : tuple of int
        The columns that every support must contain; k counts them.
    label_values : tuple of float
        The labels as they were given, the negative class first.
    targets : ndarray, shape (n_rows,), or None
        The real numbers to predict as they were given; None for labels. The objective is then in units of their
        variance, and the loss is squared.
    origin : Origin
        Where the rows came from, and the rows held out.
    """

    X: NDArray[Any]
    y: Floats
    w: Floats
    k: int
    loss: Loss
    ridge: float
    class_weight: str = "none"
    sample_weight: Floats | None = None
    among: tuple[int, ...] | None = None
    groups: Ints | None = None
    forced: tuple[int, ...] = ()
    label_values: tuple[float, float] = (-1.0, 1.0)
    targets: Floats | None = None
    origin: Origin = field(default_factory=Origin)

    def __post_init__(self) -> None:
        """Refuse what is for labels alone, and what no support could contain."""
        if self.forced:
            self._check_forced()
        if self.targets is None:
            return
        if self.loss.name != "squared":
            raise InputError(f"targets are real numbers, and the {self.loss.name} loss is for labels: use squared")
        if self.class_weight != "none":
            raise InputError("targets have no classes that could be balanced: leave class_weight out")

    def _check_forced(self) -> None:
        """Raise `InputError` where no support contains the forced columns."""
        if len(self.forced) > self.k:
            raise InputError(
                f"{len(self.forced)} columns are forced and k is {self.k}: k counts them, give a larger one"
            )
        if self.among is not None and (strange := sorted(set(self.forced) - set(self.among))):
            name = self.columns.name(strange[0])
            raise InputError(f"column {name} is forced, and is not among the columns allowed: leave it out")
        for column in self.forced:
            values = self.X[self.w > 0, column]
            if not (values != values[0]).any():
                raise InputError(f"column {self.columns.name(column)} is forced, and is constant: leave it out")
        labels = [-1 if self.groups is None else int(self.groups[column]) for column in self.forced]
        for place, label in enumerate(labels):
            if label >= 0 and label in labels[:place]:
                pair = "columns {} and {}".format(
                    *map(self.columns.name, (self.forced[labels.index(label)], self.forced[place]))
                )
                raise InputError(f"{pair} are forced, and a support may have one of their group: leave one of them out")

    def __getstate__(self) -> dict[str, Any]:
        """The fields alone: what follows from them is computed again where it is needed."""
        return {entry.name: getattr(self, entry.name) for entry in fields(self)}

    @property
    def n_rows(self) -> int:
        return int(self.X.shape[0])

    @property
    def n_neurons(self) -> int:
        return int(self.X.shape[1])

    @cached_property
    def standardisation(self) -> Standardisation:
        """Mean and scale of every column."""
        return standardisation(self.X, self.w)

    @property
    def inv_scale(self) -> Floats:
        """The reciprocal of every column's weighted standard deviation, 0 where it is constant, shape (n_neurons,)."""
        return self.standardisation.inv_scale

    @property
    def stated_y(self) -> Floats:
        """What a certificate names by its digest, and is verified against: the labels, or the targets as given."""
        return self.y if self.targets is None else self.targets

    def probe_as_given(self, support: Sequence[int] | Ints, coef: Floats, intercept: float) -> tuple[Floats, float]:
        """Coefficients and intercept for X as it was given, in the units of the targets where there are such.

        ``X[:, support] @ coef + intercept``, of what is returned, is what ``Z[:, support] @ coef + intercept`` predicts
        of y, undone to the targets.
        """
        columns, scale = list(support), self.standardisation
        raw = coef * scale.inv_scale[columns]
        constant = float(intercept - raw @ (scale.shift[columns] + scale.rest[columns]))
        if self.targets is None:
            return raw, constant
        of = standardisation(self.targets[:, None], self.w)
        deviation = 1.0 / of.inv_scale[0]
        return raw * deviation, float(constant * deviation + of.rest[0] + of.shift[0])

    @cached_property
    def Z(self) -> Floats:
        """The standardised activations, shape (n_rows, n_neurons), one neuron contiguous after the other.

        0 in rows of weight 0: they take no part.
        """
        Z = self.standardisation.whole(self.X)
        if (unused := self.w == 0).any():
            Z[unused] = 0.0
        return Z

    @cached_property
    def cross(self) -> Floats:
        return np.asarray((self.w * self._centred) @ self.Z)

    @cached_property
    def variance(self) -> float:
        return float(self.w @ self._centred**2)

    @property
    def _centred(self) -> Floats:
        return np.asarray(self.y - self.w @ self.y / self.w.sum())

    @property
    def gram_row_work(self) -> int:
        return self.n_rows * self.n_neurons

    def gram(self, columns: Ints) -> Floats:
        neurons = self.Z.T[np.asarray(columns, dtype=np.int64)]
        neurons *= np.sqrt(self.w)
        return gram(neurons)

    def gram_rows(self, columns: Sequence[int] | Ints) -> Floats:
        return np.asarray((self.Z[:, columns] * self.w[:, None]).T @ self.Z)

    @cached_property
    def digests(self) -> dict[str, str]:
        """The `value_digest` of X and of y or targets as given, and of the weights that the rows came with."""
        digests = {"X": value_digest(self.X), "y" if self.targets is None else "targets": value_digest(self.stated_y)}
        return digests if self.sample_weight is None else {**digests, "weights": value_digest(self.sample_weight)}

    def restated(self, *, k: int | None = None, ridge: float | None = None, loss: str | None = None) -> Self:
        """The same data with another k, ridge or loss; what was computed from the data is kept."""
        chosen = self.loss if loss is None else loss_named(loss)
        new = replace(
            self,
            k=checked_k(self.k if k is None else k, self.n_neurons),
            ridge=checked_ridge(self.ridge if ridge is None else ridge, chosen),
            loss=chosen,
        )
        for name in ("standardisation", "Z", "candidates", "cross", "variance", "digests"):
            if name in self.__dict__:
                new.__dict__[name] = self.__dict__[name]
        return new

    def objective(self, support: Sequence[int] | Ints, coef: Floats, intercept: float) -> float:
        """The penalised weighted loss at one point: an upper bound of F(support)."""
        f = self.Z[:, np.asarray(support, dtype=np.int64)] @ coef + intercept
        return float(self.w @ self.loss.value(self.y, f) + 0.5 * self.ridge * (coef @ coef))

    @property
    def _rows(self) -> str:
        return f"on {self.n_rows} rows" + ("" if self.targets is None else " with targets")


def sparse_probe_problem(
    X: ArrayLike,
    y: ArrayLike | None = None,
    k: int | None = None,
    *,
    targets: ArrayLike | None = None,
    loss: str | None = None,
    ridge: float = 0.01,
    class_weight: str = "none",
    sample_weight: ArrayLike | None = None,
    among: Sequence[int] | Ints | None = None,
    forbidden: Sequence[int] | Ints | None = None,
    groups: ArrayLike | None = None,
    forced: Sequence[int] | Ints | None = None,
    origin: Origin | None = None,
) -> SparseProbeProblem:
    """Validate data and parameters into a `SparseProbeProblem`.

    Parameters
    ----------
    X : array_like, shape (n_rows, n_neurons)
        Finite numbers. float32 and float64 are kept as they are, float16 becomes float32, the rest float64.
    y : array_like, shape (n_rows,)
        Two distinct numbers; the larger is the positive class.
    k : int
        1 <= k <= n_neurons.
    targets : array_like, shape (n_rows,)
        In place of y: real numbers to predict, which vary. They are standardised as a column of X is, so that the
        squared loss and the ridge are in units of their variance.
    loss : {"squared", "logistic", "hinge"}
        The default is logistic for labels; for targets it is squared, the only one.
    ridge : float
        Positive. With the squared loss it may be 0: then sets can be fitted, but no bound says how good they are.
    class_weight : {"none", "balanced"}
    sample_weight : array_like, shape (n_rows,), optional
        Non-negative; both classes must keep a positive weight, or targets that vary.
    among : sequence of int, optional
        The only columns that a support may use.
    forbidden : sequence of int, optional
        Columns that a support may not use.
    groups : array_like of int, shape (n_neurons,), optional
        The group of each column, -1 for none: a support may have at most one of each. `clusters` makes some.
    forced : sequence of int, optional
        Columns that every support must contain; k counts them.
    origin : Origin, optional
        Where the rows came from, and the rows held out.

    Raises
    ------
    InputError
        One sentence that says what is wrong, where, and what to do.
    """
    matrix = checked_matrix("X", X)
    if loss is None:
        loss = "logistic" if targets is None else "squared"
    chosen = loss_named(loss)
    if class_weight not in CLASS_WEIGHTS:
        raise InputError(f"the class weight {class_weight!r} is unknown: use one of {', '.join(CLASS_WEIGHTS)}")
    return SparseProbeProblem(
        X=matrix,
        **_predicted(y, targets, sample_weight, class_weight, len(matrix)),
        k=checked_k(k, matrix.shape[1]),
        loss=chosen,
        ridge=checked_ridge(ridge, chosen),
        class_weight=class_weight,
        among=checked_among(among, forbidden, matrix.shape[1]),
        groups=checked_groups(groups, matrix.shape[1]),
        forced=checked_forced(forced, matrix.shape[1]),
        origin=origin or Origin(),
    )


def _predicted(
    y: ArrayLike | None,
    targets: ArrayLike | None,
    sample_weight: ArrayLike | None,
    class_weight: str,
    n_rows: int,
) -> dict[str, Any]:
    """The fields of a problem that say what is predicted, and with which weights."""
    if y is not None and targets is None:
        labels, values = checked_labels(y, n_rows)
        given = None if sample_weight is None else checked_weights(n_rows, sample_weight)
        weights = np.ones(n_rows) if given is None else given
        check_classes(labels, weights)
        w = normalised_weights(labels, weights, class_weight == "balanced")
        return {"y": labels, "w": w, "sample_weight": given, "label_values": values}
    if y is not None or targets is None:
        raise InputError("a problem predicts labels or targets: give y or targets=, one of the two")
    numbers = checked_targets(targets, n_rows)
    given = None if sample_weight is None else checked_weights(n_rows, sample_weight)
    weights = np.ones(n_rows) if given is None else given
    check_varies(numbers, weights)
    w = normalised_weights(numbers, weights, False)
    return {"y": standardised_target(numbers, w), "w": w, "sample_weight": given, "targets": numbers}


def held_out_rows(problem: SparseProbeProblem, X: ArrayLike, y: ArrayLike) -> tuple[NDArray[Any], Floats]:
    """Validate rows that a problem has not seen: their matrix, and their labels as -1.0 and 1.0.

    Parameters
    ----------
    problem : SparseProbeProblem
    X : array_like, shape (n_test, n_neurons)
        Of the neurons of the problem.
    y : array_like, shape (n_test,)
        Of the two values that the problem's labels were given as, or of one of them.

    Raises
    ------
    InputError
        One sentence that says what is wrong, where, and what to do.
    """
    matrix = checked_matrix("X_test", X)
    if matrix.shape[1] != problem.n_neurons:
        raise InputError(f"X_test has {matrix.shape[1]} columns and X has {problem.n_neurons}: give the same neurons")
    labels = label_array("y_test", y, len(matrix))
    negative, positive = problem.label_values
    if (strange := (labels != negative) & (labels != positive)).any():
        row = int(np.argmax(strange))
        raise InputError(
            f"y_test is {float(labels[row]):g} at row {row}, and the labels of y are {negative:g} and {positive:g}"
        )
    return matrix, np.where(labels == positive, 1.0, -1.0)
