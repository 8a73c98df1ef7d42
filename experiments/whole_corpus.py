"""Single neurons at every token of a corpus: counts above thresholds by document, and the largest tokens."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from functools import cached_property
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from optprobe.activations import extract, load_model, load_tokenizer
from optprobe.features import FeatureDataset, load
from optprobe.features.alignment import tokens_of_spans
from optprobe.features.tokens import tokens_of
from optprobe.scoring import GroupBootstrap, middle
from optprobe.studies import Item

SIDES = ("the feature", "its negatives", "other texts", "not judged")
"""Of what a token is: see `sides`."""
OF_FEATURE, OF_NEGATIVES, OF_OTHERS, UNKNOWN = range(len(SIDES))
TOP = 20
"""Tokens at which a neuron is largest that are kept."""
Ints = NDArray[np.int64]


class Token(NamedTuple):
    """A token of a corpus: a neuron's value there, and its place."""

    value: float
    text: int
    start: int
    end: int
    position: int
    side: int
    dataset: str = ""


@dataclass(frozen=True, eq=False)
class Reading:
    """
    What a neuron does over a corpus.

    Attributes
    ----------
    counts : ndarray of int, shape (n_documents, 1 + n_thresholds, len(SIDES))
        Tokens of each document and side: all, and those above each threshold.
    top : tuple of Token
        The largest in its direction, of equal ones the first; ``dataset`` is the digest.
    """

    counts: Ints
    top: tuple[Token, ...]


@dataclass(frozen=True)
class Detector:
    """A neuron as a detector of its feature: its layer, direction and thresholds."""

    feature: str
    layer: int
    neuron: int
    sign: int
    thresholds: tuple[float, ...]


@dataclass(frozen=True)
class WholeCorpus:
    """
    Some neurons at every token of every text.

    Parameters
    ----------
    model : str
        As `optprobe.extract` takes it.
    digest : str
        Of its weights.
    corpus : tuple of str
    detectors : tuple of Detector
    texts : int
        Texts of an item.
    """

    model: str
    digest: str
    corpus: tuple[str, ...]
    detectors: tuple[Detector, ...]
    texts: int

    name = "whole_corpus"
    version = 1

    @cached_property
    def _loaded(self) -> tuple[Any, Any]:
        return load_model(self.model, device="cpu"), load_tokenizer(self.model)

    @cached_property
    def datasets(self) -> tuple[FeatureDataset, ...]:
        """The corpus."""
        return tuple(map(load, self.corpus))

    @cached_property
    def of_texts(self) -> Mapping[str, bool]:
        """Of each feature, whether whole texts have it."""
        names = dict.fromkeys(one.feature for one in self.detectors)
        return {name: is_of_texts(self.datasets, name) for name in names}

    def __getstate__(self) -> dict[str, Any]:
        """Without model and texts, which a worker loads itself."""
        return {name: value for name, value in vars(self).items() if name not in ("_loaded", "datasets", "of_texts")}

    def items(self) -> Sequence[Item]:
        """One for some texts."""
        detectors = [asdict(one) | {"thresholds": list(one.thresholds)} for one in self.detectors]
        return [
            Item(
                {"detectors": detectors, "of_texts": dict(self.of_texts), "first": first, "texts": self.texts},
                {"weights": self.digest, "dataset": data.digest},
                f"texts from {first} of {data.name}",
                "texts",
            )
            for data in self.datasets
            for first in range(0, len(data.texts), self.texts)
        ]

    def run(self, item: Item, earlier: Mapping[str, Any] | None) -> Mapping[str, Any]:
        """
        Largest tokens, and counts by document: of tokens, and above each threshold, on each of `SIDES`.

        ``groups`` are the documents, ``counts`` has the shape (detectors, documents, 1 + thresholds, sides), the first
        of them all tokens, and ``top`` holds value, text, start, end, position and side.
        """
        data = next(data for data in self.datasets if data.digest == item.inputs["dataset"])
        model, tokenizer = self._loaded
        tokens = every_token(data, range(len(data.texts))[item.values["first"] :][: self.texts], tokenizer)
        if tokens is None:
            nothing: list[Any] = [[] for _ in self.detectors]
            return {"groups": [], "counts": nothing, "top": nothing}
        layers = sorted({one.layer for one in self.detectors})
        store = extract(model, tokens, layers, tokenizer=tokenizer, values="float32", device="cpu")
        groups, group = np.unique(store.group, return_inverse=True)
        side = {name: sides(data, tokens, name, whole)[store.row] for name, whole in self.of_texts.items()}
        counts, top, n = [], [], len(SIDES)
        for one in self.detectors:
            v = one.sign * store.matrices[one.layer].columns([one.neuron])[:, 0].astype(np.float64)
            own = side[one.feature]
            above = [np.ones(len(v), dtype=bool), *(v > level for level in one.thresholds)]
            cells = [np.bincount(n * group[rows] + own[rows], minlength=n * len(groups)) for rows in above]
            counts.append(np.stack(cells).reshape(len(above), len(groups), n).swapaxes(0, 1).tolist())
            places = zip(store.text + item.values["first"], store.start, store.end, store.token, own)
            listed = [(one.sign * float(x), *map(int, place)) for x, place in zip(v, places)]
            top.append([listed[i] for i in np.lexsort((np.arange(len(v)), -v))[:TOP]])
        return {"groups": groups.tolist(), "counts": counts, "top": top}

    def sound(self, result: Mapping[str, Any]) -> bool:
        """A record names no other file."""
        return True

    def readings(self, results: Sequence[Mapping[str, Any]]) -> list[Reading]:
        """What each detector does over all texts, of the results of all items."""
        parts = [(str(item.inputs["dataset"]), result) for item, result in zip(self.items(), results)]
        documents = {
            name: at for at, name in enumerate(dict.fromkeys((of, g) for of, part in parts for g in part["groups"]))
        }
        found = []
        for at, one in enumerate(self.detectors):
            counts = np.zeros((len(documents), 1 + len(one.thresholds), len(SIDES)), dtype=np.int64)
            every: list[Token] = []
            for of, part in parts:
                places = [documents[of, group] for group in part["groups"]]
                np.add.at(
                    counts, places, np.array(part["counts"][at], dtype=np.int64).reshape(len(places), *counts.shape[1:])
                )
                every += [Token(*entry)._replace(dataset=of) for entry in part["top"][at]]
            found.append(Reading(counts, tuple(sorted(every, key=lambda token: -one.sign * token.value)[:TOP])))
        return found


def is_of_texts(datasets: Sequence[FeatureDataset], feature: str) -> bool:
    """Whether no text has rows of both labels."""
    for data in datasets:
        y = data.labels.get(feature, np.zeros(data.n_rows, dtype=np.int8))
        if len(np.intersect1d(data.text[y > 0], data.text[y < 0])):
            return False
    return True


def every_token(data: FeatureDataset, texts: Sequence[int], tokenizer: Any) -> FeatureDataset | None:
    """Some texts of a dataset with a row for every token that has characters; None where there is none."""
    group = np.zeros(len(data.texts), dtype=np.int64) - 1
    group[data.text] = data.group
    beyond = int(data.group.max()) + 1  # texts without rows are documents of their own
    rows = [
        (at, token.start, token.end, int(group[t]) if group[t] >= 0 else beyond + t)
        for at, t in enumerate(texts)
        for token in tokens_of(data.texts[t], tokenizer)
    ]
    if not rows:
        return None
    columns = np.array(rows).T
    return FeatureDataset(
        name=data.name,
        texts=tuple(data.texts[t] for t in texts),
        text=columns[0],
        start=columns[1],
        end=columns[2],
        group=columns[3],
        labels={"token": np.ones(len(rows), dtype=np.int8)},
        rules={"token": "+1 for every token"},
        provenance={"first": str(texts[0])},
    )


def sides(data: FeatureDataset, tokens: FeatureDataset, feature: str, of_texts: bool) -> Ints:
    """The side of every token of some texts; where rows of both labels overlap it, that of +1."""
    first = int(tokens.provenance["first"])
    y = data.labels.get(feature, np.zeros(data.n_rows, dtype=np.int8))
    found = np.full(tokens.n_rows, OF_OTHERS)
    bounds = np.searchsorted(tokens.text, np.arange(len(tokens.texts) + 1))
    for at in range(len(tokens.texts)):
        here = slice(*bounds[at : at + 2])
        of_token = found[here]
        rows = np.flatnonzero((data.text == first + at) & (y != 0))
        if of_texts and len(rows):
            of_token[:] = OF_FEATURE if y[rows[0]] > 0 else OF_NEGATIVES
        elif len(rows):
            of_token[:] = UNKNOWN
            rows = rows[np.argsort(y[rows], kind="stable")]
            offsets = np.stack([tokens.start[here], tokens.end[here]], axis=1)
            spans = zip(*tokens_of_spans(offsets, data.start[rows], data.end[rows]))
            for (begin, end), sign in zip(spans, y[rows]):
                if end >= 0:
                    of_token[begin : end + 1] = OF_FEATURE if sign > 0 else OF_NEGATIVES
    return found


def judged_share(counts: Ints, draws: int, seed: int) -> tuple[float | None, float | None, float | None]:
    """
    The share of the feature among judged tokens, between the ends of its interval over documents.

    Parameters
    ----------
    counts : ndarray of int, shape (n_documents, len(SIDES))
        Tokens of each document by side.
    draws, seed : int
        Of the resamples.
    """
    of_feature, judged = counts[:, OF_FEATURE], counts[:, :UNKNOWN].sum(axis=1)
    if not judged.sum():
        return None, None, None
    times = GroupBootstrap.of(np.arange(len(counts)), draws, seed).times
    whole = times @ judged
    low, high = middle((times @ of_feature)[whole > 0] / whole[whole > 0])
    return low, float(of_feature.sum() / judged.sum()), high
