"""The tokens of a dataset that have a loss, and the labels of the rows that cover them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optprobe.activations.extraction.plan import Plan
from optprobe.errors import InputError
from optprobe.features.alignment import characters_of_tokens, encodings, tokens_of_spans
from optprobe.features.dataset import FeatureDataset


@dataclass(frozen=True, eq=False)
class ScoredTokens:
    """
    The tokens that have a loss, text by text.

    Parameters
    ----------
    input_ids : tuple of ndarray of int64
        What the model reads of every text.
    begun : int
        Tokens that were put before each text.
    text, place : ndarray of int32, shape (n_tokens,)
        The text of each token with a loss, and its place among those that the model reads of it.
    spans : ndarray of int32, shape (n_tokens, 2)
        Its characters.
    row, group : ndarray of int32, shape (n_tokens,)
        The last row of the dataset that covers it, or -1, and its document.
    labels : ndarray of int8, shape (n_features, n_tokens)
        The label of the rows that cover it; 0 where there are none, or they disagree.
    """

    input_ids: tuple[NDArray[np.int64], ...]
    begun: int
    text: NDArray[np.int32]
    place: NDArray[np.int32]
    spans: NDArray[np.int32]
    row: NDArray[np.int32]
    group: NDArray[np.int32]
    labels: NDArray[np.int8]

    def plan(self, batch_tokens: int) -> Plan:
        """The order in which they run."""
        numbers = np.arange(len(self.text), dtype=np.int64)
        return Plan(numbers, self.text, self.place, self.place, self.input_ids, batch_tokens, len(numbers))

    def arrays(self) -> dict[str, NDArray[Any]]:
        """The row arrays of a store: positions are those among the tokens that the tokenizer made."""
        start, end = (np.ascontiguousarray(side) for side in self.spans.T)
        found = {"row": self.row, "text": self.text, "start": start, "end": end, "group": self.group}
        return found | {"token": self.place - np.int32(self.begun), "labels": self.labels}


def scored_tokens(data: FeatureDataset, tokenizer: Any, max_length: int | None, begin: int | None) -> ScoredTokens:
    """
    Tokenize the texts that rows lie in, and find which tokens have a loss.

    Parameters
    ----------
    data : FeatureDataset
        The texts.
    tokenizer : transformers tokenizer
        A fast one.
    max_length : int or None
        Tokens of a text, that of `begin` apart.
    begin : int or None
        Id of a token that is put before every text.

    Raises
    ------
    InputError
        If the tokenizer is not fast or puts that token there itself, or no token has a loss.
    """
    if not getattr(tokenizer, "is_fast", False):
        raise InputError(f"the tokenizer {type(tokenizer).__name__} gives no characters of its tokens; give a fast one")
    before = np.array([] if begin is None else [begin], dtype=np.int64)
    order = np.argsort(data.text, kind="stable")
    bounds = np.searchsorted(data.text[order], np.arange(len(data.texts) + 1))
    input_ids: list[NDArray[np.int64]] = []
    parts: list[tuple[NDArray[np.int32], ...]] = []
    labels: list[NDArray[np.int8]] = []
    for t, encoding in enumerate(encodings(data.texts, tokenizer, max_length)):
        ids = np.asarray(encoding.ids, dtype=np.int64)
        if begin is not None and begin in ids[:1]:
            raise InputError(f"the tokenizer puts the token {begin} before text {t} already: leave begin out")
        input_ids.append(np.concatenate([before, ids]))
        rows = order[bounds[t] : bounds[t + 1]]
        own = np.asarray(encoding.special_tokens_mask) == 0
        own[: 1 - len(before)] = False
        scored = np.flatnonzero(own)
        if len(rows) == 0 or len(scored) == 0:
            continue
        spans = characters_of_tokens(encoding, data.texts[t]).astype(np.int32)
        row, of_tokens = _covering(data, rows, spans)
        text, group = (np.full(len(scored), x, dtype=np.int32) for x in (t, data.group[rows[0]]))
        parts.append((text, (scored + len(before)).astype(np.int32), spans[scored], row[scored], group))
        labels.append(of_tokens[:, scored])
    if not parts:
        raise InputError(f"no token of dataset {data.name!r} stands behind another, so none has a loss")
    text, place, characters, row, group = (np.concatenate(column) for column in zip(*parts))
    of_tokens = np.concatenate(labels, axis=1)
    return ScoredTokens(tuple(input_ids), len(before), text, place, characters, row, group, of_tokens)


def _covering(
    data: FeatureDataset, rows: NDArray[np.intp], spans: NDArray[np.int32]
) -> tuple[NDArray[np.int32], NDArray[np.int8]]:
    """The last of some rows that covers each token of their text, or -1, and the labels on which all that do agree."""
    every = np.array([y[rows] for y in data.labels.values()], dtype=np.int8).reshape(len(data.labels), len(rows))
    row = np.full(len(spans), -1, dtype=np.int32)
    has = np.zeros((2, len(every), len(spans)), dtype=bool)
    for at, (first, last) in enumerate(zip(*tokens_of_spans(spans, data.start[rows], data.end[rows]))):
        if first >= 0:
            row[first : last + 1] = rows[at]
            for sign, label in enumerate((1, -1)):
                has[sign, :, first : last + 1] |= (every[:, at] == label)[:, None]
    return row, has[0].astype(np.int8) - has[1].astype(np.int8)
