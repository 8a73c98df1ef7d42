"""What the test part of a split has seen before: rows and texts that equal those of the training part."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from optprobe.errors import InputError
from optprobe.features.alignment import Alignment
from optprobe.features.dataset import FeatureDataset
from optprobe.features.duplicates import equal_texts

AT_ONCE = 2**20
"""Numbers that are copied at once."""


@dataclass(frozen=True)
class Leakage:
    """
    Test rows that tell nothing new.

    Parameters
    ----------
    rows : int
        Rows of the test part that equal a row of the training part.
    n_rows : int
        Rows of the test part.
    what : str
        What is compared.
    """

    rows: int
    n_rows: int
    what: str

    def __str__(self) -> str:
        """Give the sentence of the report."""
        return f"{self.rows:,} of {self.n_rows:,} test rows have {self.what} of a training row"


def equal_activations(X_train: ArrayLike, X_test: ArrayLike) -> Leakage:
    """
    Count the test rows whose activation vector equals one of the training rows, bit for bit (and 0 equals -0).

    Parameters
    ----------
    X_train, X_test : array_like of float, shapes (n_train, n_neurons) and (n_test, n_neurons)
        Neuron values, of one type.

    Returns
    -------
    Leakage
        The count.

    Raises
    ------
    InputError
        If the types or the numbers of neurons differ.
    """
    train, test = np.asarray(X_train), np.asarray(X_test)
    if train.ndim != 2 or train.shape[1:] != test.shape[1:] or train.dtype != test.dtype:
        raise InputError(f"{train.dtype} of shape {train.shape} cannot be compared with {test.dtype} of {test.shape}")
    some = np.unique(np.linspace(0, train.shape[1] - 1, 16).astype(np.int64))
    first = [list(_digests(part[:, some], np.arange(len(part)))) for part in (train, test)]
    near = set(first[0]) & set(first[1])  # rows that differ in some neurons are not equal
    chosen = [np.flatnonzero([digest in near for digest in digests]) for digests in first]
    seen = set(_digests(train, chosen[0]))
    rows = sum(digest in seen for digest in _digests(test, chosen[1]))
    return Leakage(rows, len(test), "the activation vector")


def equal_contexts(data: FeatureDataset, aligned: Alignment, test: ArrayLike) -> Leakage:
    """
    Count the test rows that a causal model cannot tell from a training row: the same tokens up to and with its own.

    Parameters
    ----------
    data : FeatureDataset
        The rows.
    aligned : Alignment
        Of the same rows: their tokens.
    test : array_like of bool, shape (n_rows,)
        The test part of the dataset's rows.

    Returns
    -------
    Leakage
        The count, of the rows that have a token.
    """
    is_test = np.asarray(test, dtype=bool)[aligned.row]
    keys: list[bytes] = [b""] * len(aligned.row)
    text = data.text[aligned.row]
    order = np.lexsort((aligned.last, text))
    state, position, current = hashlib.sha256(), 0, -1
    for i in order:
        if text[i] != current:
            state, position, current = hashlib.sha256(), 0, int(text[i])
        end = int(aligned.last[i]) + 1
        state.update(aligned.input_ids[current][position:end].tobytes())
        position = end
        keys[i] = state.copy().digest() + int(aligned.first[i]).to_bytes(4, "little")
    seen = {key for key, tested in zip(keys, is_test) if not tested}
    rows = sum(key in seen for key, tested in zip(keys, is_test) if tested)
    return Leakage(rows, int(is_test.sum()), "the tokens up to its own")


def equal_test_texts(data: FeatureDataset, test: ArrayLike) -> Leakage:
    """
    Count the test rows whose text equals one of the training part.

    Parameters
    ----------
    data : FeatureDataset
        The rows.
    test : array_like of bool, shape (n_rows,)
        The test part of the dataset's rows.

    Returns
    -------
    Leakage
        The count.
    """
    is_test = np.asarray(test, dtype=bool)
    content = equal_texts(data.texts)[data.text]
    rows = np.count_nonzero(np.isin(content[is_test], content[~is_test]))
    return Leakage(int(rows), int(is_test.sum()), "the text")


def _digests(values: NDArray[Any], rows: NDArray[np.int64]) -> Iterator[bytes]:
    """The sha256 of some rows, -0 taken for 0."""
    step = max(1, AT_ONCE // values.shape[1])
    for start in range(0, len(rows), step):
        block = np.add(values[rows[start : start + step]], values.dtype.type(0), order="C")
        yield from (hashlib.sha256(row).digest() for row in block)
