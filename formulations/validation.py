"""What data and parameters of a problem must be: each is checked, or refused in a sentence that says where and why."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from formulations.columns import Columns
from formulations.errors import InputError
from formulations.losses import Loss

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

CLASS_WEIGHTS = ("none", "balanced")
NAMED = 10
"""So many columns that a support may not use are named one by one."""
AT_ONCE = 2**20
"""So many numbers are looked at together."""
LEAST, LARGEST = 1e-100, 1e100
"""Numbers beyond these absolute values, other than 0, are refused: their squares would leave float64."""


def value_digest(array: NDArray[Any]) -> str:
    """sha256 of an array's shape and values (as little-endian float64 in row order), whatever type stores them."""
    sha = hashlib.sha256(f"{','.join(map(str, array.shape))}:".encode())
    rows = max(1, AT_ONCE // max(1, array[:1].size))
    for start in range(0, len(array), rows):
        sha.update(np.ascontiguousarray(array[start : start + rows], dtype="<f8").tobytes())
    return sha.hexdigest()


def dense(X: Any) -> Any:
    """X itself, or the array of a sparse matrix, neuron after neuron: float32 stays so, other numbers become float64.

    Sparse is whatever counts its entries by ``nnz`` and has ``astype`` and ``toarray``, as scipy's matrices and arrays.
    """
    if not all(hasattr(X, name) for name in ("nnz", "astype", "toarray")):
        return X
    kept = X if X.dtype in (np.float32, np.float64) or X.dtype.kind not in "fiub" else X.astype(np.float64)
    return kept.toarray(order="F")


def checked_matrix(name: str, X: ArrayLike) -> NDArray[Any]:
    matrix = _array(name, dense(X))
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
    if not all(np.isfinite(part).all() for part in _parts(matrix)):
        row, column = np.argwhere(~np.isfinite(matrix))[0]
        raise InputError(f"{name} is {matrix[row, column]} at row {row}, column {column}: remove or replace it")
    if matrix.dtype == np.float64 and not all(in_range(part).all() for part in _parts(matrix)):
        row, column = np.argwhere(~in_range(matrix))[0]
        value = matrix[row, column]
        raise InputError(f"{name} is {value:g} at row {row}, column {column}: rescale it into {LEAST:g} to {LARGEST:g}")
    return matrix


def _parts(matrix: NDArray[Any]) -> Iterator[NDArray[Any]]:
    """A matrix in views of some megabytes each, along the axis in which it lies in memory."""
    lying = matrix.T if matrix.flags.f_contiguous else matrix
    step = max(1, AT_ONCE // lying.shape[1])
    return (lying[start : start + step] for start in range(0, len(lying), step))


def checked_labels(y: ArrayLike, n_rows: int) -> tuple[Floats, tuple[float, float]]:
    """The labels as -1.0 and 1.0, and the two values that they had."""
    labels = label_array("y", y, n_rows)
    values = np.unique(labels)
    if len(values) == 1:
        raise InputError(f"y has one class only ({values[0]}): give rows of both classes")
    if len(values) != 2 or not np.isfinite(values.astype(np.float64)).all():
        shown = ", ".join(str(value) for value in values[:4])
        raise InputError(f"y has {len(values)} distinct values ({shown}, ...): give exactly two, such as -1 and 1")
    return np.where(labels == values[1], 1.0, -1.0), (float(values[0]), float(values[1]))


def label_array(name: str, y: ArrayLike, n_rows: int) -> NDArray[Any]:
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


def checked_targets(targets: ArrayLike, n_rows: int) -> Floats:
    """Real numbers to predict, one for each row."""
    given = _array("targets", targets)
    if given.shape != (n_rows,):
        raise InputError(f"the targets have shape {given.shape} and X has {n_rows} rows: give one for each row")
    if given.dtype.kind not in "fiub":
        raise InputError(f"the targets are values of type {given.dtype}: give numbers")
    values = given.astype(np.float64)
    if not (usable := np.isfinite(values) & in_range(values)).all():
        row = int(np.argmin(usable))
        raise InputError(
            f"the target of row {row} is {values[row]:g}: give finite numbers that are 0 or of an absolute value "
            f"between {LEAST:g} and {LARGEST:g}"
        )
    return values


def checked_weights(n_rows: int, sample_weight: ArrayLike) -> Floats:
    given = np.asarray(sample_weight)
    if given.shape != (n_rows,) or given.dtype.kind not in "fiub":
        raise InputError(f"the weights have shape {given.shape}: give one number for each of the {n_rows} rows")
    weights = given.astype(np.float64)
    if not (np.isfinite(weights) & (weights >= 0)).all():
        row = int(np.flatnonzero(~np.isfinite(weights) | (weights < 0))[0])
        raise InputError(f"the weight of row {row} is {weights[row]:g}: weights are finite and not negative")
    if (beyond := ~in_range(weights)).any():
        row = int(np.flatnonzero(beyond)[0])
        raise InputError(f"the weight of row {row} is {weights[row]:g}: rescale it into {LEAST:g} to {LARGEST:g}")
    return weights


def check_classes(y: Floats, weights: Floats) -> None:
    """Raise `InputError` where no row of a class has a positive weight."""
    for name, rows in (("positive", y > 0), ("negative", y < 0)):
        if not (weights[rows] > 0).any():
            raise InputError(f"every row of the {name} class has weight zero: give both classes a positive weight")


def check_varies(targets: Floats, weights: Floats) -> None:
    """Raise `InputError` where the targets of all rows of positive weight are equal, or there is no such row."""
    used = targets[weights > 0]
    if not len(used):
        raise InputError("every row has weight zero: give some rows a positive weight")
    if not used.min() < used.max():
        raise InputError(f"every target is {used[0]:g}, where rows have a weight: give targets that vary")


def in_range(values: Floats) -> NDArray[np.bool_]:
    """Which numbers are 0, or of an absolute value between `LEAST` and `LARGEST`."""
    size = np.abs(values)
    return np.asarray((size == 0) | ((size >= LEAST) & (size <= LARGEST)))


def checked_k(k: int | None, n_neurons: int) -> int:
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


def checked_forced(forced: Sequence[int] | Ints | None, n_neurons: int) -> tuple[int, ...]:
    """The columns that every support must contain, sorted; none of them twice."""
    if forced is None:
        return ()
    columns = _columns(forced, n_neurons)
    if not columns:
        raise InputError("no column is forced: name at least one, or leave `forced` out")
    if len(columns) < len(forced):
        doubled = next(j for j in columns if sum(int(i) == j for i in forced) > 1)
        raise InputError(f"column {doubled} is forced twice: name it once")
    return tuple(columns)


def few_left_out(among: Sequence[int], n_neurons: int) -> tuple[int, ...]:
    """The columns that a support may not use, where they are a few beside those that it may; else none."""
    missing = sorted(set(range(n_neurons)) - set(among))
    return tuple(missing) if len(missing) <= min(NAMED, len(among) // 2) else ()


def allowed_in_words(among: Sequence[int] | None, n_neurons: int, columns: Columns) -> str:
    """Which columns a support may use: all, all but a few, or some; and what they are called."""
    if among is None:
        return f"the {n_neurons} {columns.all}"
    if without := few_left_out(among, n_neurons):
        return f"the {n_neurons} {columns.all} without {columns.names(without)}"
    return f"these {len(among)} of the {n_neurons} {columns.all}"


def checked_groups(groups: ArrayLike | None, n_neurons: int) -> Ints | None:
    """The group of each neuron, -1 for none."""
    if groups is None:
        return None
    labels = _array("groups", groups)
    if labels.shape != (n_neurons,) or labels.dtype.kind not in "iu":
        raise InputError(f"the groups have shape {labels.shape}: give a whole number for each of {n_neurons} neurons")
    if not ((labels >= -1) & (labels < 2**31)).all():
        neuron = int(np.argmax((labels < -1) | (labels >= 2**31)))
        raise InputError(f"the group of neuron {neuron} is {labels[neuron]}: give numbers from 0, and -1 for no group")
    return labels.astype(np.int64)
