"""Splits into training, validation and test rows: whole documents on one side."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from optprobe.errors import InputError


def grouped_split(group: ArrayLike, y: ArrayLike | None, test_share: float = 0.3, seed: int = 0) -> NDArray[np.bool_]:
    """
    Divide the rows into training and test rows so that no group lies on both sides.

    Each class should have the share `test_share` of its rows in the test part. Groups are moved one at a time, the
    largest first and in a seeded order among equals, as long as that brings the two shares nearer to `test_share`
    (the sum of their squared errors falls) and both classes stay on both sides. The same arguments give the same split.

    Parameters
    ----------
    group : array_like of int, shape (n_rows,)
        Group (document) of each row.
    y : array_like, shape (n_rows,), or None
        Labels, of two values; None where the rows have a target and no classes: then all are of one class.
    test_share : float, default=0.3
        Share of the rows of each class to be put in the test part, between 0 and 1.
    seed : int, default=0
        Seed of the order of the groups.

    Returns
    -------
    ndarray of bool, shape (n_rows,)
        True for the rows of the test part.

    Raises
    ------
    InputError
        If the arrays do not fit, there are not two classes, or a class lies in one group only.
    """
    group = np.asarray(group)
    labels = np.zeros(group.shape) if y is None else np.asarray(y)
    if group.ndim != 1 or group.shape != labels.shape:
        raise InputError(f"group and y must be one-dimensional and of one length, not {group.shape} and {labels.shape}")
    if not 0 < test_share < 1:
        raise InputError(f"the test share must lie between 0 and 1, and {test_share} does not")
    values = np.unique(labels)
    if y is not None and len(values) != 2:
        raise InputError(f"a split needs labels of two values, and y has {len(values)}: {values[:5].tolist()}")
    names, index = np.unique(group, return_inverse=True)
    if y is None and len(names) < 2:
        raise InputError(f"a split needs rows of at least two documents, and these are of {len(names)}")
    counts = np.stack([np.bincount(index[labels == value], minlength=len(names)) for value in values], axis=1)
    for value, column in zip(values, counts.T):
        if np.count_nonzero(column) < 2:
            raise InputError(
                f"label {value} occurs in one group only, so it cannot be on both sides of a split; "
                "give rows of that label from at least two documents"
            )
    order = np.random.default_rng(seed).permutation(len(names))
    chosen = _choose_groups(counts[order], test_share)
    is_test = np.empty(len(names), dtype=bool)
    is_test[order] = chosen
    return is_test[index]


class Parts(NamedTuple):
    """
    The three parts of the rows: to fit, to choose the ridge or k, and to report.

    Parameters
    ----------
    train, validation, test : ndarray of bool, shape (n_rows,)
        Masks; each row is in exactly one.
    """

    train: NDArray[np.bool_]
    validation: NDArray[np.bool_]
    test: NDArray[np.bool_]


def three_way_split(
    group: ArrayLike, y: ArrayLike, validation_share: float = 0.2, test_share: float = 0.3, seed: int = 0
) -> Parts:
    """
    Divide the rows into three parts so that no group lies in two of them; the test part is that of `grouped_split`.

    Parameters
    ----------
    group, y
        As in `grouped_split`.
    validation_share, test_share : float
        Share of the rows of each class in these parts; something must remain for training.
    seed : int
        Seed of the order of the groups.

    Returns
    -------
    Parts
        Training, validation and test rows.

    Raises
    ------
    InputError
        As `grouped_split` does, and where the rows outside the test part cannot be divided again.
    """
    group, y = np.asarray(group), np.asarray(y)
    if not 0 < validation_share < 1 - test_share:
        raise InputError(
            f"the validation share {validation_share} and the test share {test_share} leave nothing for training"
        )
    test = grouped_split(group, y, test_share, seed)
    rest = np.flatnonzero(~test)
    validation = np.zeros(len(test), dtype=bool)
    validation[rest] = grouped_split(group[rest], y[rest], validation_share / (1 - test_share), seed)
    return Parts(~test & ~validation, validation, test)


def _choose_groups(counts: NDArray[np.intp], share: float) -> NDArray[np.bool_]:
    """
    Choose the groups of the test part, given the rows of each class in each group.

    Parameters
    ----------
    counts : ndarray of int, shape (n_groups, 2) or (n_groups, 1)
        Rows of each class in each group; each class is in at least two groups.
    share : float
        Share of each class to be reached.

    Returns
    -------
    ndarray of bool, shape (n_groups,)
        True for the groups of the test part.
    """
    fractions = counts / counts.sum(axis=0)
    present = counts > 0
    size = counts.sum(axis=1)
    test = _smallest_test(present, np.argsort(size, kind="stable"))
    error = fractions[test].sum(axis=0) - share
    n_test = present[test].sum(axis=0)
    n_groups = present.sum(axis=0)
    for g in np.argsort(-size, kind="stable"):
        moved = error + fractions[g]
        if not test[g] and (moved**2).sum() < (error**2).sum() and np.all(n_test + present[g] < n_groups):
            test[g], error, n_test = True, moved, n_test + present[g]
    for _ in range(len(counts)):
        sign = np.where(test, -1, 1)[:, None]
        after = n_test + sign * present
        allowed = np.all((after > 0) & (after < n_groups), axis=1)
        costs = np.where(allowed, ((error + sign * fractions) ** 2).sum(axis=1), np.inf)
        g = int(np.argmin(costs))
        if costs[g] >= (error**2).sum() - 1e-12:
            break
        error, n_test = error + sign[g] * fractions[g], after[g]
        test[g] = not test[g]
    return test


def _smallest_test(present: NDArray[np.bool_], order: NDArray[np.intp]) -> NDArray[np.bool_]:
    """
    Choose one or two groups that hold every class and leave every class to the others.

    Let p1, p2 be two groups with the first class and n1, n2 two with the second: p1 goes to the test part and p2 does
    not, and of n1, n2 one goes and one does not. That is a colouring of a graph with two edges, which always exists. Of
    one class, p1 alone goes.
    """
    (p1, p2), (n1, n2) = (order[present[order, c]][:2] for c in (0, -1))
    test = np.zeros(len(present), dtype=bool)
    test[[p1, n2 if n1 == p2 or n2 == p1 else n1]] = True
    return test
