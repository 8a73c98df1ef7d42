"""Labelled words in texts, without reference to any model or tokenizer."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields
from functools import cached_property
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optprobe.errors import InputError

_ROW_ARRAYS = ("text", "start", "end", "group")


@dataclass(frozen=True, eq=False, repr=False)
class FeatureDataset:
    """
    Rows, each a word of a text given by its character span, with a label in {-1, 0, +1} for every feature.

    A row is independent of any tokenizer: `optprobe.features.align_rows` finds its token. Label 0 says that the row
    does not belong to that feature. All arrays are read-only.

    Parameters
    ----------
    name : str
        Name of the dataset.
    texts : tuple of str
        The texts, each read by a model as one context.
    text : ndarray of int32, shape (n_rows,)
        Index in `texts` of each row's text.
    start, end : ndarray of int32, shape (n_rows,)
        Character span `texts[text][start:end]` of each row's word, not empty.
    group : ndarray of int32, shape (n_rows,)
        Document of each row: a split keeps a document on one side. Rows of one text share their group.
    labels : mapping of str to ndarray of int8, shape (n_rows,)
        Labels in {-1, 0, +1} of each feature.
    rules : mapping of str to str
        For each feature, the sentence that says which rows are +1, -1 and 0.
    licence : str
        Licence of the texts and labels.

    Raises
    ------
    InputError
        If a length, an index, a span, a label or a rule is wrong: the sentence names the row or the feature.
    """

    name: str
    texts: tuple[str, ...]
    text: NDArray[np.int32]
    start: NDArray[np.int32]
    end: NDArray[np.int32]
    group: NDArray[np.int32]
    labels: Mapping[str, NDArray[np.int8]]
    rules: Mapping[str, str] = field(default_factory=dict)
    licence: str = ""

    def __post_init__(self) -> None:
        """Validate, and store every array read-only in its type."""
        object.__setattr__(self, "texts", tuple(self.texts))
        for key in _ROW_ARRAYS:
            object.__setattr__(self, key, _integers(getattr(self, key), np.int32, f"the array {key!r}"))
        labels = {name: _integers(y, np.int8, f"the labels of {name!r}") for name, y in self.labels.items()}
        object.__setattr__(self, "labels", MappingProxyType(labels))
        object.__setattr__(self, "rules", MappingProxyType(dict(self.rules)))
        self._check_rows()
        self._check_labels()

    def _check_rows(self) -> None:
        where = f"dataset {self.name!r}"
        for key in _ROW_ARRAYS:
            if len(getattr(self, key)) != self.n_rows:
                raise InputError(
                    f"{where}: the array {key!r} has {len(getattr(self, key))} rows and 'text' has {self.n_rows}; "
                    "give every row array the same length"
                )
        if self.n_rows == 0:
            raise InputError(f"{where} has no rows: give at least one labelled word")
        outside = np.flatnonzero((self.text < 0) | (self.text >= len(self.texts)))
        if len(outside):
            row = int(outside[0])
            raise InputError(f"{where}: row {row} names text {self.text[row]}, and there are {len(self.texts)} texts")
        lengths = np.array([len(t) for t in self.texts], dtype=np.int64)
        wrong = np.flatnonzero((self.start < 0) | (self.start >= self.end) | (self.end > lengths[self.text]))
        if len(wrong):
            row = int(wrong[0])
            raise InputError(
                f"{where}: row {row} has the span {self.start[row]}..{self.end[row]}, which is not a part of its text "
                f"of {lengths[self.text[row]]} characters; spans are character positions with start < end"
            )
        group_of_text = np.zeros(len(self.texts), dtype=np.int32)
        group_of_text[self.text] = self.group
        split = np.flatnonzero(group_of_text[self.text] != self.group)
        if len(split):
            raise InputError(
                f"{where}: the rows of text {self.text[split[0]]} have different groups; a text belongs to one document"
            )

    def _check_labels(self) -> None:
        where = f"dataset {self.name!r}"
        if not self.labels:
            raise InputError(f"{where} has no features: give labels for at least one")
        for feature, y in self.labels.items():
            if len(y) != self.n_rows:
                raise InputError(f"{where}: {feature!r} has {len(y)} labels for {self.n_rows} rows")
            wrong = np.flatnonzero((y < -1) | (y > 1))
            if len(wrong):
                raise InputError(
                    f"{where}: row {wrong[0]} has the label {y[wrong[0]]} for {feature!r}; labels are -1, 0 or +1"
                )
        if set(self.rules) != set(self.labels):
            alone = ", ".join(sorted(set(self.rules) ^ set(self.labels)))
            raise InputError(f"{where}: every feature needs both labels and a rule, and {alone} has only one of them")

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.text)

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features, in the order of `labels`."""
        return tuple(self.labels)

    @cached_property
    def digest(self) -> str:
        """The sha256 over name, texts, row arrays, labels, rules and licence, in hexadecimal."""
        words = {
            key: (dict(value) if isinstance(value, Mapping) else value)
            for key, value in ((f.name, getattr(self, f.name)) for f in fields(self))
            if key not in (*_ROW_ARRAYS, "labels")
        }
        digest = hashlib.sha256(json.dumps(words, sort_keys=True, ensure_ascii=True).encode())
        arrays = {key: getattr(self, key).astype("<i4") for key in _ROW_ARRAYS}
        arrays |= {f"labels {name}": self.labels[name] for name in sorted(self.labels)}
        for key, array in arrays.items():
            digest.update(f"{key} {array.dtype.str} {array.shape}".encode())
            digest.update(array.tobytes())
        return digest.hexdigest()

    def rows(self, feature: str) -> NDArray[np.intp]:
        """
        Return the rows that belong to a feature: those whose label is not 0.

        Parameters
        ----------
        feature : str
            A name in `features`.

        Returns
        -------
        ndarray of intp, shape (n_rows of the feature,)
            Row indices, ascending.

        Raises
        ------
        InputError
            If there is no such feature.
        """
        if feature not in self.labels:
            raise InputError(f"dataset {self.name!r} has no feature {feature!r}; it has {', '.join(self.features)}")
        return np.flatnonzero(self.labels[feature])

    def select(self, feature: str) -> FeatureDataset:
        """
        Return the dataset of one feature: its rows, the texts they lie in, and its labels alone.

        Parameters
        ----------
        feature : str
            A name in `features`.

        Returns
        -------
        FeatureDataset
            Named `name/feature`, with labels in {-1, +1}.

        Raises
        ------
        InputError
            If there is no such feature.
        """
        rows = self.rows(feature)
        used, text = np.unique(self.text[rows], return_inverse=True)
        return FeatureDataset(
            name=f"{self.name}/{feature}",
            texts=tuple(self.texts[t] for t in used),
            text=text.astype(np.int32),
            start=self.start[rows],
            end=self.end[rows],
            group=self.group[rows],
            labels={feature: self.labels[feature][rows]},
            rules={feature: self.rules[feature]},
            licence=self.licence,
        )

    def __repr__(self) -> str:
        """Say in one line what the dataset holds."""
        return (
            f"FeatureDataset {self.name!r}: {self.n_rows:,} rows in {len(self.texts):,} texts, "
            f"{len(np.unique(self.group)):,} documents, {len(self.labels)} features"
        )

    def __str__(self) -> str:
        """Give the line of `repr`, then one line a feature."""
        width = max(len(name) for name in self.labels)
        lines = [repr(self), f"{'feature':<{width}}  rows     +1     -1"]
        lines += [
            f"{name:<{width}} {np.count_nonzero(y):>5} {np.count_nonzero(y == 1):>6} {np.count_nonzero(y == -1):>6}"
            for name, y in self.labels.items()
        ]
        return "\n".join(lines)


def _integers(values: object, dtype: type[np.signedinteger[Any]], what: str) -> NDArray[np.signedinteger[Any]]:
    """Return whole numbers as a read-only one-dimensional array of `dtype`, or raise `InputError`."""
    given = np.asarray(values)
    if given.ndim != 1 or given.dtype.kind not in "iu":
        raise InputError(f"{what} must be one-dimensional whole numbers, not {given.dtype} of shape {given.shape}")
    array = given.astype(dtype)
    if not np.array_equal(array, given):
        raise InputError(f"{what} holds a number that does not fit {np.dtype(dtype)}")
    array.flags.writeable = False
    return array
