"""From labelled spans of documents to the rows of a dataset: contexts, and negatives of two kinds in equal numbers."""

from __future__ import annotations

from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from optprobe.errors import InputError
from optprobe.features.dataset import Aggregation, FeatureDataset

MIRROR = -2
"""The label of a negative of the second kind, such as the opposite of a feature; it is -1 in the dataset."""

CONTEXT = 1_000
"""Characters of a context where a builder is told nothing else: under 512 tokens of nearly all text, even code."""


@dataclass(frozen=True)
class Document:
    """
    A text of a source, before anything of it is labelled.

    Parameters
    ----------
    text : str
        The text.
    name : str
        What it is, or what it is a part of: texts of one name are on one side of every split.
    label : str
        What the source says of the whole text, such as its language; empty where it says nothing.
    where : str
        Where it stands, for errors: file and row.
    """

    text: str
    name: str
    label: str = ""
    where: str = ""


@dataclass(frozen=True, eq=False)
class Passage:
    """
    A text, and labelled spans of it.

    Parameters
    ----------
    text : str
        The text.
    document : str
        What it belongs to: passages of one document are on one side of every split.
    start, end : ndarray of int, shape (n_spans,)
        Spans in characters, in ascending order.
    labels : mapping of str to ndarray of int8, shape (n_spans,)
        For each feature +1, -1, 0, or `MIRROR`.
    """

    text: str
    document: str
    start: NDArray[np.int64]
    end: NDArray[np.int64]
    labels: Mapping[str, NDArray[np.int8]]

    def cut(self, characters: int) -> Iterator[Passage]:
        """Yield the passage in pieces of at most `characters`, without the spans that lie across a cut."""
        for begin, stop in windows(self.text, characters):
            inside = (self.start >= begin) & (self.end <= stop)
            yield Passage(
                self.text[begin:stop],
                self.document,
                self.start[inside] - begin,
                self.end[inside] - begin,
                {name: y[inside] for name, y in self.labels.items()},
            )


def windows(text: str, characters: int) -> list[tuple[int, int]]:
    """
    Cut a text into pieces: after the last line end of each piece's second half, else after its last space there.

    Parameters
    ----------
    text : str
        The text.
    characters : int
        Length of a piece, at most.

    Returns
    -------
    list of tuple of int
        Begin and end of each piece; they cover the text.

    Raises
    ------
    InputError
        If `characters` is not positive.
    """
    if characters < 1:
        raise InputError(f"a context has at least one character, and {characters} were asked for")
    pieces = []
    begin = 0
    while begin < len(text):
        end = begin + characters
        if end < len(text):
            half = begin + (characters + 1) // 2
            cut = max(text.rfind("\n", half, end), -1)
            cut = cut if cut >= 0 else text.rfind(" ", half, end)
            end = cut + 1 if cut >= 0 else end
        pieces.append((begin, min(end, len(text))))
        begin = end
    return pieces


def signs(positive: ArrayLike) -> NDArray[np.int8]:
    """Return +1 where `positive`, -1 elsewhere."""
    return np.where(np.asarray(positive, dtype=bool), 1, -1).astype(np.int8)


def join(
    name: str,
    passages: Iterable[Passage],
    rules: Mapping[str, str],
    *,
    features: Collection[str] | None = None,
    skip: int = 0,
    aggregation: Aggregation = "none",
    licence: str = "",
    provenance: Mapping[str, str] | None = None,
    seed: int = 0,
) -> FeatureDataset:
    """
    Make a dataset of passages, each of which is one context.

    Parameters
    ----------
    name : str
        Name of the dataset.
    passages : iterable of Passage
        Those without labelled spans are left out.
    rules : mapping of str to str
        The rule of each feature.
    features : collection of str, optional
        The features to have; by default all that have both classes, and the provenance lists the others as absent.
    skip : int
        Spans at the beginning of each context that are left out, because little context stands before them.
    aggregation, licence, provenance
        As in `FeatureDataset`.
    seed : int
        Of the choice of negatives, where there are two kinds: as many of each as there are of the rarer.

    Returns
    -------
    FeatureDataset
        Rows with a label other than 0 for some feature.

    Raises
    ------
    InputError
        If nothing is labelled, or a feature asked for has one class only: the sentence names the source.
    """
    provenance = dict(provenance or {})
    where = provenance.get("source", name)
    kept = [passage for passage in passages if len(passage.start) > skip]
    if not kept:
        raise InputError(f"{where}: there is nothing to label for {name!r}: no text is longer than {skip} words")
    lengths = [len(passage.start) - skip for passage in kept]
    documents: dict[str, int] = {}
    groups = [documents.setdefault(passage.document, len(documents)) for passage in kept]
    draw = np.random.default_rng(seed).permutation(sum(lengths))
    labels = {
        feature: _level(np.concatenate([passage.labels[feature][skip:] for passage in kept]), draw) for feature in rules
    }
    labels, absent = _present(labels, features, where)
    if absent:
        provenance["absent"] = ", ".join(absent)
    rows = np.flatnonzero(np.any(list(labels.values()), axis=0))
    used, text = np.unique(np.repeat(np.arange(len(kept)), lengths)[rows], return_inverse=True)
    return FeatureDataset(
        name=name,
        texts=tuple(kept[t].text for t in used),
        text=text.astype(np.int32),
        start=np.concatenate([passage.start[skip:] for passage in kept])[rows],
        end=np.concatenate([passage.end[skip:] for passage in kept])[rows],
        group=np.repeat(groups, lengths)[rows],
        labels={feature: y[rows] for feature, y in labels.items()},
        rules={feature: rules[feature] for feature in labels},
        licence=licence,
        aggregation=aggregation,
        provenance=provenance,
    )


def _level(y: NDArray[np.int8], draw: NDArray[np.intp]) -> NDArray[np.int8]:
    """Keep as many negatives of the more frequent kind as there are of the other, in the order of `draw`."""
    mirrored, others = np.flatnonzero(y == MIRROR), np.flatnonzero(y == -1)
    if len(mirrored) == 0:
        return y
    count = min(len(mirrored), len(others))
    y = np.where(y == 1, 1, 0).astype(np.int8)
    for kind in (mirrored, others):
        y[kind[np.argsort(draw[kind])[:count]]] = -1
    return y


def _present(
    labels: Mapping[str, NDArray[np.int8]], features: Collection[str] | None, where: str
) -> tuple[dict[str, NDArray[np.int8]], list[str]]:
    """Return the features asked for, or those with both classes and the names of the others."""
    if features is not None and (unknown := sorted(set(features) - set(labels))):
        raise InputError(f"{where}: there is no feature {unknown[0]!r} here; there are {', '.join(labels)}")
    constant = {}
    for name, y in labels.items():
        missing = [sign for sign, value in (("+1", 1), ("-1", -1)) if not np.any(y == value)]
        if missing and (features is None or name in features):
            constant[name] = " and none ".join(missing)
    if features is not None and constant:
        name = next(iter(constant))
        raise InputError(f"{where}: {name!r} needs both classes, and no row is labelled {constant[name]}")
    present = {name: y for name, y in labels.items() if name not in constant and (features is None or name in features)}
    if not present:
        raise InputError(
            f"{where}: no feature has both classes ({', '.join(labels)}); give texts in which one occurs and is absent"
        )
    return present, list(constant)
