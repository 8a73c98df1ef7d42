"""The k-sparse probe problem: data, weights, loss, ridge and k, validated, with its standardisation.

    F(S) = min over b in R^S, b0 in R of  sum_i w_i loss(y_i, Z_iS b + b0) + (ridge / 2) |b|^2
    F*_k = min F(S) over |S| <= k

with ``Z_ij = ((X_ij - shift_j) - rest_j) * inv_scale_j``. Z and w follow from the data by elementwise float64
operations alone (`formulations.standardisation`), so that whoever rebuilds them holds the same bits.
"""

from __future__ import annotations

import hashlib
from abc import abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from formulations.errors import InputError
from formulations.losses import Loss, loss_named
from formulations.origin import Origin
from formulations.products import gram
from formulations.shown import Shown, Table, facts
from formulations.standardisation import Standardisation, normalised_weights, standardisation

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CLASS_WEIGHTS = ("none", "balanced")
NAMED = 10
"""So many columns that a support may not use are named one by one."""
LEAST, LARGEST = 1e-100, 1e100
"""Numbers beyond these absolute values, other than 0, are refused: their squares would leave float64."""


class ProbeProblem(Shown):
    """What engines may know of a problem, stated by rows (`SparseProbeProblem`) or by moments (`MomentProblem`)."""

    k: int
    loss: Loss
    ridge: float
    class_weight: str
    among: tuple[int, ...] | None
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
        among = "" if self.among is None else f", of {allowed_in_words(self.among, self.n_neurons)}"
        return (
            f"{self.k}-sparse probe of {self.n_neurons} neurons {self._rows} "
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

    @cached_property
    def candidates(self) -> Ints:
        """The columns that a support may contain: not constant, and among the allowed ones; sorted."""
        usable = np.flatnonzero(self.inv_scale > 0)
        return usable if self.among is None else np.intersect1d(usable, self.among)

    @property
    def size(self) -> int:
        """The size of the supports to search: k, or the number of candidates where that is smaller."""
        return min(self.k, len(self.candidates))


@dataclass(frozen=True, eq=False, repr=False)
class SparseProbeProblem(ProbeProblem):
    """Find k of ``n_neurons`` neurons that predict ``y`` best, in the loss and ridge given.

    Made by `sparse_probe_problem`, which validates; the fields are then immutable.

    Attributes
    ----------
    X : ndarray, shape (n_rows, n_neurons), float32 or float64
        Activations.
    y : ndarray, shape (n_rows,)
        Labels in {-1.0, +1.0}.
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
    label_values : tuple of float
        The labels as they were given, the negative class first.
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
    label_values: tuple[float, float] = (-1.0, 1.0)
    origin: Origin = field(default_factory=Origin)

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

    @cached_property
    def Z(self) -> Floats:
        """The standardised activations, shape (n_rows, n_neurons), one neuron contiguous after the other.

        0 in rows of weight 0: they take no part.
        """
        Z = np.empty(self.X.shape, dtype=np.float64, order="F")
        self.standardisation.apply(self.X, out=Z)
        Z[self.w == 0] = 0.0
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
        return gram(self.Z.T[columns] * np.sqrt(self.w))

    def gram_rows(self, columns: Sequence[int] | Ints) -> Floats:
        return np.asarray((self.Z[:, columns] * self.w[:, None]).T @ self.Z)

    @cached_property
    def digests(self) -> dict[str, str]:
        """The `value_digest` of X and y, and of the weights that the rows came with."""
        digests = {"X": value_digest(self.X), "y": value_digest(self.y)}
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
        return f"on {self.n_rows} rows"


def sparse_probe_problem(
    X: ArrayLike,
    y: ArrayLike,
    k: int,
    *,
    loss: str = "logistic",
    ridge: float = 0.01,
    class_weight: str = "none",
    sample_weight: ArrayLike | None = None,
    among: Sequence[int] | Ints | None = None,
    forbidden: Sequence[int] | Ints | None = None,
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
    loss : {"squared", "logistic", "hinge"}
    ridge : float
        Positive. With the squared loss it may be 0: then sets can be fitted, but no bound says how good they are.
    class_weight : {"none", "balanced"}
    sample_weight : array_like, shape (n_rows,), optional
        Non-negative; both classes must keep a positive weight.
    among : sequence of int, optional
        The only columns that a support may use.
    forbidden : sequence of int, optional
        Columns that a support may not use.
    origin : Origin, optional
        Where the rows came from, and the rows held out.

    Raises
    ------
    InputError
        One sentence that says what is wrong, where, and what to do.
    """
    matrix = _checked_matrix("X", X)
    labels, values = _checked_labels(y, len(matrix))
    chosen = loss_named(loss)
    if class_weight not in CLASS_WEIGHTS:
        raise InputError(f"the class weight {class_weight!r} is unknown: use one of {', '.join(CLASS_WEIGHTS)}")
    given = None if sample_weight is None else _checked_weights(labels, sample_weight)
    return SparseProbeProblem(
        X=matrix,
        y=labels,
        w=normalised_weights(labels, np.ones(len(labels)) if given is None else given, class_weight == "balanced"),
        k=checked_k(k, matrix.shape[1]),
        loss=chosen,
        ridge=checked_ridge(ridge, chosen),
        class_weight=class_weight,
        sample_weight=given,
        among=checked_among(among, forbidden, matrix.shape[1]),
        label_values=values,
        origin=origin or Origin(),
    )


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
    matrix = _checked_matrix("X_test", X)
    if matrix.shape[1] != problem.n_neurons:
        raise InputError(f"X_test has {matrix.shape[1]} columns and X has {problem.n_neurons}: give the same neurons")
    labels = _label_array("y_test", y, len(matrix))
    negative, positive = problem.label_values
    if (strange := (labels != negative) & (labels != positive)).any():
        row = int(np.argmax(strange))
        raise InputError(
            f"y_test is {float(labels[row]):g} at row {row}, and the labels of y are {negative:g} and {positive:g}"
        )
    return matrix, np.where(labels == positive, 1.0, -1.0)


def value_digest(array: NDArray[Any]) -> str:
    """sha256 of an array's shape and values (as little-endian float64 in row order), whatever type stores them."""
    sha = hashlib.sha256(f"{','.join(map(str, array.shape))}:".encode())
    rows = max(1, 2**20 // max(1, array[:1].size))
    for start in range(0, len(array), rows):
        sha.update(np.ascontiguousarray(array[start : start + rows], dtype="<f8").tobytes())
    return sha.hexdigest()


def _checked_matrix(name: str, X: ArrayLike) -> NDArray[Any]:
    matrix = _array(name, X)
    if matrix.ndim != 2:
        raise InputError(f"{name} has {matrix.ndim} dimensions: give a matrix of n_rows x n_neurons")
    if matrix.size == 0:
        raise InputError(f"{name} has shape {matrix.shape}: give at least one row and one neuron")
    if matrix.dtype.kind not in "fiub":
        raise InputError(f"{name} holds values of type {matrix.dtype}: give numbers")
    if matrix.dtype == np.float16:
        matrix = matrix.astype(np.float32)
    elif matrix.dtype not in (np.float32, np.float64):
        matrix = matrix.astype(np.float64)
    if not np.isfinite(matrix).all():
        row, column = np.argwhere(~np.isfinite(matrix))[0]
        raise InputError(f"{name} is {matrix[row, column]} at row {row}, column {column}: remove or replace it")
    if matrix.dtype == np.float64 and not in_range(matrix).all():
        row, column = np.argwhere(~in_range(matrix))[0]
        value = matrix[row, column]
        raise InputError(f"{name} is {value:g} at row {row}, column {column}: rescale it into {LEAST:g} to {LARGEST:g}")
    return matrix


def _checked_labels(y: ArrayLike, n_rows: int) -> tuple[Floats, tuple[float, float]]:
    """The labels as -1.0 and 1.0, and the two values that they had."""
    labels = _label_array("y", y, n_rows)
    values = np.unique(labels)
    if len(values) == 1:
        raise InputError(f"y has one class only ({values[0]}): give rows of both classes")
    if len(values) != 2 or not np.isfinite(values.astype(np.float64)).all():
        shown = ", ".join(str(value) for value in values[:4])
        raise InputError(f"y has {len(values)} distinct values ({shown}, ...): give exactly two, such as -1 and 1")
    return np.where(labels == values[1], 1.0, -1.0), (float(values[0]), float(values[1]))


def _label_array(name: str, y: ArrayLike, n_rows: int) -> NDArray[Any]:
    labels = _array(name, y)
    if labels.ndim != 1 or len(labels) != n_rows:
        matrix = name.replace("y", "X")
        raise InputError(f"{name} has shape {labels.shape} and {matrix} has {n_rows} rows: give one label for each row")
    if labels.dtype.kind not in "fiub":
        raise InputError(f"{name} holds values of type {labels.dtype}: give two distinct numbers, such as -1 and 1")
    return labels


def _array(name: str, given: ArrayLike) -> NDArray[Any]:
    try:
        return np.asarray(given)
    except (ValueError, TypeError, RuntimeError) as error:  # ragged lists, tensors of other devices
        said = str(error).partition("\n")[0]
        raise InputError(f"{name} is no array ({said}): give numbers in rows of one length") from error


def _checked_weights(y: Floats, sample_weight: ArrayLike) -> Floats:
    given = np.asarray(sample_weight)
    if given.shape != y.shape or given.dtype.kind not in "fiub":
        raise InputError(f"the weights have shape {given.shape}: give one number for each of the {len(y)} rows")
    weights = given.astype(np.float64)
    if not (np.isfinite(weights) & (weights >= 0)).all():
        row = int(np.flatnonzero(~np.isfinite(weights) | (weights < 0))[0])
        raise InputError(f"the weight of row {row} is {weights[row]:g}: weights are finite and not negative")
    if (beyond := ~in_range(weights)).any():
        row = int(np.flatnonzero(beyond)[0])
        raise InputError(f"the weight of row {row} is {weights[row]:g}: rescale it into {LEAST:g} to {LARGEST:g}")
    for name, rows in (("positive", y > 0), ("negative", y < 0)):
        if not (weights[rows] > 0).any():
            raise InputError(f"every row of the {name} class has weight zero: give both classes a positive weight")
    return weights


def in_range(values: Floats) -> NDArray[np.bool_]:
    """Which numbers are 0, or of an absolute value between `LEAST` and `LARGEST`."""
    size = np.abs(values)
    return np.asarray((size == 0) | ((size >= LEAST) & (size <= LARGEST)))


def checked_k(k: int, n_neurons: int) -> int:
    if isinstance(k, bool) or not isinstance(k, int | np.integer):
        raise InputError(f"k is {k!r}: give an integer between 1 and {n_neurons}")
    if not 1 <= k <= n_neurons:
        raise InputError(f"k is {k} and there are {n_neurons} neurons: give an integer between 1 and {n_neurons}")
    return int(k)


def checked_ridge(ridge: float, loss: Loss) -> float:
    if isinstance(ridge, bool) or not isinstance(ridge, int | float | np.integer | np.floating):
        raise InputError(f"the ridge is {ridge!r}: give a number")
    if not np.isfinite(ridge) or ridge < 0 or (ridge == 0 and loss.least_ridge_excluded):
        least = "positive" if loss.least_ridge_excluded else "not negative"
        raise InputError(f"the ridge is {ridge:g}: with the {loss.name} loss it must be finite and {least}")
    if not in_range(np.array(ridge, dtype=np.float64)):
        raise InputError(f"the ridge is {ridge:g}: give one between {LEAST:g} and {LARGEST:g}")
    return float(ridge)


def checked_among(
    among: Sequence[int] | Ints | None, forbidden: Sequence[int] | Ints | None, n_neurons: int
) -> tuple[int, ...] | None:
    """The columns allowed, None for all of them, from those named and those forbidden."""
    allowed = range(n_neurons) if among is None else _columns(among, n_neurons)
    if among is not None and not len(allowed):
        raise InputError("no column is allowed: name at least one, or leave `among` out")
    if forbidden is None:
        return None if among is None else tuple(allowed)
    without = _columns(forbidden, n_neurons)
    if idle := sorted(set(without) - set(allowed)):
        raise InputError(f"column {idle[0]} is forbidden, and is not among the columns allowed anyway: leave it out")
    left = tuple(j for j in allowed if j not in set(without))
    if not left:
        raise InputError("every column is forbidden: leave at least one")
    return left


def _columns(named: Sequence[int] | Ints, n_neurons: int) -> list[int]:
    columns = sorted({int(j) for j in named})
    if columns and (columns[0] < 0 or columns[-1] >= n_neurons):
        column = columns[0] if columns[0] < 0 else columns[-1]
        raise InputError(f"column {column} does not exist: there are {n_neurons} neurons, counted from 0")
    return columns


def few_left_out(among: Sequence[int], n_neurons: int) -> tuple[int, ...]:
    """The columns that a support may not use, where they are a few beside those that it may; else none."""
    missing = sorted(set(range(n_neurons)) - set(among))
    return tuple(missing) if len(missing) <= min(NAMED, len(among) // 2) else ()


def allowed_in_words(among: Sequence[int] | None, n_neurons: int) -> str:
    """Which columns a support may use: all, all but a few, or some."""
    if among is None:
        return f"the {n_neurons} neurons"
    if without := few_left_out(among, n_neurons):
        return f"the {n_neurons} neurons without {', '.join(map(str, without))}"
    return f"these {len(among)} of the {n_neurons} neurons"
