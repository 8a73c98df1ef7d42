"""
Labelled words in texts, without reference to any model or tokenizer, and the folder that keeps them.

The folder holds `card.json` (name, features with rule and counts, provenance, licence, digest, sha256 of each file),
`texts.parquet` (one text a row) and `rows.parquet` (columns text, start, end, group, `labels/NAME`,
`values/NAME`). It appears whole or not at all.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, field, fields, replace
from functools import cached_property
from pathlib import Path
from types import MappingProxyType
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from formulations.shown import Shown, Table
from optprobe.errors import InputError, StoreDamaged
from optprobe.files import file_digest, new_folder

Aggregation = Literal["none", "mean", "max"]

FORMAT = "optprobe-dataset/1"
CARD, TEXTS, ROWS = "card.json", "texts.parquet", "rows.parquet"
_ROW_ARRAYS = ("text", "start", "end", "group")
_ADDED = ("aggregation", "provenance", "values")
"""Fields that the digest leaves out where they say nothing, so that datasets without them keep theirs."""


@dataclass(frozen=True, eq=False, repr=False)
class FeatureDataset(Shown):
    """
    Rows, each a word or passage of a text given by its character span, with a label in {-1, 0, +1} for every feature.

    A row is independent of any tokenizer: `optprobe.features.align_rows` finds its tokens. Label 0 says that the row
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
        For each feature, the sentence that says which rows are +1, -1 and 0; for each target, what its values are.
    licence : str
        Licence of the texts and labels.
    aggregation : {"none", "mean", "max"}
        What the neurons of a row are: those of its token, or their mean or maximum over all tokens of its span.
    provenance : mapping of str to str
        Where texts and labels come from: source, revision or sha256, options of the labelling, ...
    values : mapping of str to ndarray of float64, shape (n_rows,)
        For each regression target, such as the position in the context, or each class id, the value of every row; nan
        where the row does not belong to it.

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
    aggregation: Aggregation = "none"
    provenance: Mapping[str, str] = field(default_factory=dict)
    values: Mapping[str, NDArray[np.float64]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Validate, and store every array read-only in its type."""
        object.__setattr__(self, "texts", tuple(self.texts))
        for key in _ROW_ARRAYS:
            object.__setattr__(self, key, _integers(getattr(self, key), np.int32, f"the array {key!r}"))
        labels = {name: _integers(y, np.int8, f"the labels of {name!r}") for name, y in self.labels.items()}
        object.__setattr__(self, "labels", MappingProxyType(labels))
        values = {name: _reals(v, f"the values of {name!r}") for name, v in self.values.items()}
        object.__setattr__(self, "values", MappingProxyType(values))
        object.__setattr__(self, "rules", MappingProxyType(dict(self.rules)))
        object.__setattr__(self, "provenance", MappingProxyType(dict(self.provenance)))
        self._check_rows()
        self._check_labels()
        if self.aggregation not in get_args(Aggregation):
            raise InputError(
                f"dataset {self.name!r}: the aggregation is {self.aggregation!r}; give 'none', 'mean' or 'max'"
            )
        for key, value in self.provenance.items():
            if not (isinstance(key, str) and isinstance(value, str)):
                raise InputError(f"dataset {self.name!r}: the provenance {key!r} is {value!r}; give strings")

    def _check_rows(self) -> None:
        where = f"dataset {self.name!r}"
        for key in _ROW_ARRAYS:
            if len(getattr(self, key)) != self.n_rows:
                raise InputError(
                    f"{where}: the array {key!r} has {len(getattr(self, key))} rows and 'text' has {self.n_rows}; "
                    "give every row array the same length"
                )
        for t, content in enumerate(self.texts):
            try:
                content.encode()
            except UnicodeEncodeError as error:
                raise InputError(
                    f"{where}: text {t} holds half of a surrogate pair at character {error.start}, which is no "
                    "character; decode the text again"
                ) from error
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
        if not self.labels and not self.values:
            raise InputError(f"{where} has no features: give labels for at least one")
        if twice := sorted(set(self.labels) & set(self.values)):
            raise InputError(f"{where}: {twice[0]!r} has both labels and values; give them different names")
        lengths = {name: (len(y), "labels") for name, y in self.labels.items()}
        lengths |= {name: (len(v), "values") for name, v in self.values.items()}
        for name, (length, kind) in lengths.items():
            if length != self.n_rows:
                raise InputError(f"{where}: {name!r} has {length} {kind} for {self.n_rows} rows")
        for feature, y in self.labels.items():
            wrong = np.flatnonzero((y < -1) | (y > 1))
            if len(wrong):
                raise InputError(
                    f"{where}: row {wrong[0]} has the label {y[wrong[0]]} for {feature!r}; labels are -1, 0 or +1"
                )
        if alone := ", ".join(sorted(set(self.rules) ^ {*self.labels, *self.values})):
            raise InputError(f"{where}: every feature needs both labels and a rule, and {alone} has only one of them")

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.text)

    @property
    def features(self) -> tuple[str, ...]:
        """Names of the features, in the order of `labels`."""
        return tuple(self.labels)

    @property
    def targets(self) -> tuple[str, ...]:
        """Names of the regression targets and class ids, in the order of `values`."""
        return tuple(self.values)

    @cached_property
    def counts(self) -> Mapping[str, tuple[int, int]]:
        """The number of rows labelled +1 and of rows labelled -1, of each feature."""
        return MappingProxyType({name: (int((y == 1).sum()), int((y == -1).sum())) for name, y in self.labels.items()})

    @cached_property
    def digest(self) -> str:
        """The sha256 over everything that the dataset holds, in hexadecimal."""
        words = {
            key: (dict(value) if isinstance(value, Mapping) else value)
            for key, value in ((f.name, getattr(self, f.name)) for f in fields(self))
            if key not in (*_ROW_ARRAYS, "labels", "values") and not (key in _ADDED and value in ("none", {}))
        }
        digest = hashlib.sha256(json.dumps(words, sort_keys=True, ensure_ascii=True).encode())
        arrays = {key: getattr(self, key).astype("<i4") for key in _ROW_ARRAYS}
        arrays |= {f"labels {name}": self.labels[name] for name in sorted(self.labels)}
        arrays |= {f"values {name}": self.values[name].astype("<f8") for name in sorted(self.values)}
        for key, array in arrays.items():
            digest.update(f"{key} {array.dtype.str} {array.shape}".encode())
            digest.update(array.tobytes())
        return digest.hexdigest()

    def rows(self, feature: str) -> NDArray[np.intp]:
        """
        Return the rows that belong to a feature or target: those whose label is not 0, or whose value is not nan.

        Parameters
        ----------
        feature : str
            A name in `features` or `targets`.

        Returns
        -------
        ndarray of intp, shape (n_rows of the feature,)
            Row indices, ascending.

        Raises
        ------
        InputError
            If there is no such feature or target.
        """
        if feature in self.labels:
            return np.flatnonzero(self.labels[feature])
        if feature in self.values:
            return np.flatnonzero(~np.isnan(self.values[feature]))
        there = ", ".join((*self.features, *self.targets))
        raise InputError(f"dataset {self.name!r} has no feature {feature!r}; it has {there}")

    def select(self, feature: str) -> FeatureDataset:
        """
        Return the dataset of one feature or target: its rows, the texts they lie in, and its labels or values alone.

        Parameters
        ----------
        feature : str
            A name in `features` or `targets`.

        Returns
        -------
        FeatureDataset
            Named `name/feature`, with labels in {-1, +1} or values that are numbers.

        Raises
        ------
        InputError
            If there is no such feature or target.
        """
        taken = self.take(self.rows(feature))
        return replace(
            taken,
            name=f"{self.name}/{feature}",
            labels={name: y for name, y in taken.labels.items() if name == feature},
            values={name: v for name, v in taken.values.items() if name == feature},
            rules={feature: self.rules[feature]},
        )

    def take(self, rows: ArrayLike) -> FeatureDataset:
        """
        Return the dataset of some of the rows, and of the texts they lie in.

        Parameters
        ----------
        rows : array_like of int or bool
            Row indices, in the order they are to have, or a mask.

        Returns
        -------
        FeatureDataset
            Of the same name and features.

        Raises
        ------
        InputError
            If no row is taken.
        """
        index = np.asarray(rows)
        index = np.flatnonzero(index) if index.dtype == bool else index.astype(np.intp)
        used, text = np.unique(self.text[index], return_inverse=True)
        return replace(
            self,
            texts=tuple(self.texts[t] for t in used),
            text=text.astype(np.int32),
            start=self.start[index],
            end=self.end[index],
            group=self.group[index],
            labels={name: y[index] for name, y in self.labels.items()},
            values={name: v[index] for name, v in self.values.items()},
        )

    def save(self, folder: str | Path) -> None:
        """
        Write the dataset to a new folder, whole or not at all.

        Parameters
        ----------
        folder : str or Path
            Where; nothing may be there.

        Raises
        ------
        InputError
            If something is there already, or the folder cannot be written.
        """
        import pyarrow as pa
        import pyarrow.parquet as parquet

        columns = {key: getattr(self, key) for key in _ROW_ARRAYS}
        columns |= {f"labels/{name}": y for name, y in self.labels.items()}
        columns |= {f"values/{name}": v for name, v in self.values.items()}
        with new_folder(folder) as making:
            parquet.write_table(pa.table({"text": pa.array(self.texts, pa.large_string())}), making / TEXTS)
            parquet.write_table(pa.table(columns), making / ROWS)
            files = {name: file_digest(making / name) for name in (TEXTS, ROWS)}
            card = json.dumps({**self.card(), "files": files}, indent=1, ensure_ascii=False)
            (making / CARD).write_text(card + "\n", encoding="utf-8")

    def card(self) -> dict[str, Any]:
        """Say what the dataset holds, as one JSON object: the content of `card.json` but for the files."""
        features: dict[str, dict[str, str | int]] = {
            name: {"rule": self.rules[name], "positive": positive, "negative": negative}
            for name, (positive, negative) in self.counts.items()
        }
        return {
            "format": FORMAT,
            "name": self.name,
            "licence": self.licence,
            "provenance": dict(self.provenance),
            "aggregation": self.aggregation,
            "texts": len(self.texts),
            "documents": len(np.unique(self.group)),
            "rows": self.n_rows,
            "features": features,
            "targets": {name: {"rule": self.rules[name], "rows": len(self.rows(name))} for name in self.targets},
            "digest": self.digest,
        }

    @classmethod
    def open(cls, folder: str | Path) -> FeatureDataset:
        """
        Read a folder that `save` wrote, and compare its digests.

        Parameters
        ----------
        folder : str or Path
            The folder.

        Returns
        -------
        FeatureDataset
            The dataset.

        Raises
        ------
        InputError
            If the folder does not exist or holds no dataset.
        StoreDamaged
            If a file is missing, truncated or altered.
        """
        folder = Path(folder)
        card = _read_card(folder)
        texts = _read_table(folder / TEXTS, card)
        columns = _read_table(folder / ROWS, card)
        try:
            data = cls(
                name=card["name"],
                texts=tuple(texts["text"].tolist()),
                **{key: columns[key] for key in _ROW_ARRAYS},
                labels={name: columns[f"labels/{name}"] for name in card["features"]},
                rules={name: entry["rule"] for name, entry in {**card["features"], **card["targets"]}.items()},
                licence=card["licence"],
                aggregation=card["aggregation"],
                provenance=card["provenance"],
                values={name: columns[f"values/{name}"] for name in card["targets"]},
            )
        except (KeyError, TypeError, AttributeError, InputError) as error:
            raise StoreDamaged(f"{folder / CARD} does not fit its files ({error}); build the dataset again") from error
        if {**data.card(), "files": card["files"]} != card:
            raise StoreDamaged(f"{folder / CARD} was altered: digest or counts differ; build the dataset again")
        return data

    def _line(self) -> str:
        return (
            f"FeatureDataset {self.name!r}: {self.n_rows:,} rows in {len(self.texts):,} texts, "
            f"{len(np.unique(self.group)):,} documents, {len(self.labels)} features"
        )

    def _table(self) -> Table:
        rows = [(name, str(a + b), str(a), str(b)) for name, (a, b) in self.counts.items()]
        rows += [(f"{name}, a number a row", str(len(self.rows(name))), "", "") for name in self.targets]
        return [("feature", "rows", "+1", "-1"), *rows]


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


def _reals(values: object, what: str) -> NDArray[np.float64]:
    """Return numbers as a read-only one-dimensional array, nan allowed, or raise `InputError`."""
    given = np.asarray(values)
    if given.ndim != 1 or given.dtype.kind not in "iuf":
        raise InputError(f"{what} must be one-dimensional numbers, not {given.dtype} of shape {given.shape}")
    array = given.astype(np.float64)
    if np.isinf(array).any():
        raise InputError(f"{what} are infinite in row {int(np.argmax(np.isinf(array)))}; give finite numbers, or nan")
    array.flags.writeable = False
    return array


def _read_card(folder: Path) -> dict[str, Any]:
    """Return the card of a folder, of this format and with its files named."""
    path = folder / CARD
    if not path.is_file():
        raise InputError(f"{folder} is not a dataset: it has no {CARD}")
    try:
        card = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise StoreDamaged(f"{path} cannot be read as JSON ({error}); build the dataset again") from error
    found = card.get("format") if isinstance(card, dict) else None
    if found != FORMAT:
        raise InputError(f"{path} has the format {found!r}, and this version reads {FORMAT!r}")
    if not isinstance(card.get("files"), dict):
        raise StoreDamaged(f"{path} does not name its files; build the dataset again")
    return card  # type: ignore[no-any-return]


def _read_table(path: Path, card: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """Return the columns of a parquet file whose sha256 the card names."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    if not path.is_file():
        raise StoreDamaged(f"{path} is missing; build the dataset again")
    if file_digest(path) != card["files"].get(path.name):
        raise StoreDamaged(f"{path} was altered: its sha256 is not that of {CARD}; build the dataset again")
    try:
        table = parquet.read_table(path)
    except (OSError, pa.ArrowException) as error:
        raise StoreDamaged(f"{path} cannot be read ({error}); build the dataset again") from error
    return {name: table.column(name).to_numpy() for name in table.column_names}
