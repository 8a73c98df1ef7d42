"""Whether a dataset can be trusted: its classes, duplicates, contradictions and leakage, and labels to be judged."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np

from optprobe.errors import InputError
from optprobe.features.alignment import Alignment, align_rows, characters_of_tokens, tokens_of_spans
from optprobe.features.dataset import FeatureDataset
from optprobe.features.duplicates import conflicts, equal_texts, similar_texts
from optprobe.features.leakage import Leakage, equal_contexts, equal_test_texts
from optprobe.features.splits import grouped_split


@dataclass(frozen=True)
class FeatureCheck:
    """
    What there is to say of one feature.

    Parameters
    ----------
    name : str
        The feature.
    positive, negative : int
        Rows of each class.
    conflicts : int
        Rows whose label another row of the same span and text contradicts.
    leaks : tuple of Leakage
        Of the split by document, 70/30: equal texts and, with a tokenizer, equal tokens. Empty where it has no split.
    trouble : str
        Why it has no split.
    """

    name: str
    positive: int
    negative: int
    conflicts: int
    leaks: tuple[Leakage, ...]
    trouble: str = ""


@dataclass(frozen=True)
class DatasetCheck:
    """
    What there is to say of a dataset.

    Parameters
    ----------
    features : tuple of FeatureCheck
        In the order of the dataset.
    equal_texts, similar_texts : int
        Texts that equal an earlier one, and those that equal one in their words or nearly.
    scattered : int
        Sets of such texts that lie in several documents, which a split may separate.
    dropped_rows : int or None
        Rows without a token of the tokenizer, where one is given.
    """

    features: tuple[FeatureCheck, ...]
    equal_texts: int
    similar_texts: int
    scattered: int
    dropped_rows: int | None


@dataclass(frozen=True)
class Example:
    """
    A labelled row in its context.

    Parameters
    ----------
    feature : str
        Feature or target.
    label : str
        "+1", "-1", or the value.
    before, word, after : str
        The text around the row's span, and the span.
    token : str
        The characters of the token that is read, where a tokenizer is given and one token is read.
    """

    feature: str
    label: str
    before: str
    word: str
    after: str
    token: str = ""


def context_length(tokenizer: Any) -> int | None:
    """Return the number of tokens that a tokenizer's model reads, None where there is no tokenizer or no limit."""
    length = getattr(tokenizer, "model_max_length", None)
    return length if length is not None and 0 < length < 10**9 else None


def check(data: FeatureDataset, tokenizer: Any = None, max_length: int | None = None) -> DatasetCheck:
    """
    Count what could make a result dishonest.

    Parameters
    ----------
    data : FeatureDataset
        The rows.
    tokenizer : transformers tokenizer, optional
        Then rows that are equal in all tokens that a causal model has read are counted too.
    max_length : int, optional
        Context length in tokens.

    Returns
    -------
    DatasetCheck
        The counts.

    Raises
    ------
    InputError
        If the tokenizer gives no offsets.
    """
    aligned = None if tokenizer is None else align_rows(data, tokenizer, max_length)
    against = conflicts(data)
    similar = similar_texts(data.texts)
    document = np.zeros(len(data.texts), dtype=np.int64)
    document[data.text] = data.group
    pairs = np.unique(np.stack([similar, document], axis=1), axis=0)
    n_similar = int(similar.max()) + 1
    return DatasetCheck(
        features=tuple(_check_feature(data, name, len(against[name]), aligned) for name in data.features),
        equal_texts=len(data.texts) - int(equal_texts(data.texts).max()) - 1,
        similar_texts=len(data.texts) - n_similar,
        scattered=int(np.count_nonzero(np.bincount(pairs[:, 0]) > 1)),
        dropped_rows=None if aligned is None else aligned.n_dropped,
    )


def _check_feature(data: FeatureDataset, name: str, n_conflicts: int, aligned: Alignment | None) -> FeatureCheck:
    rows = data.rows(name)
    counts = data.counts[name]
    try:
        tested = grouped_split(data.group[rows], data.labels[name][rows])
    except InputError as error:
        return FeatureCheck(name, *counts, n_conflicts, (), str(error))
    leaks = [equal_test_texts(data.take(rows), tested)]
    if aligned is not None:
        new_number = np.full(data.n_rows, -1)
        new_number[rows] = np.arange(len(rows))
        inside = np.flatnonzero(new_number[aligned.row] >= 0)
        own = Alignment(
            aligned.input_ids, aligned.row[inside], aligned.first[inside], aligned.last[inside], aligned.n_dropped
        )
        test = np.zeros(data.n_rows, dtype=bool)
        test[rows] = tested
        leaks.append(equal_contexts(data, own, test))
    return FeatureCheck(name, *counts, n_conflicts, tuple(leaks))


def examples(
    data: FeatureDataset, count: int = 10, seed: int = 0, tokenizer: Any = None, width: int = 60
) -> Iterator[Example]:
    """
    Draw labelled rows for a person to judge: a feature or target at random, then one of its rows.

    Parameters
    ----------
    data : FeatureDataset
        The rows.
    count : int
        How many.
    seed : int
        Of the draw.
    tokenizer : transformers tokenizer, optional
        Then the token of each row is shown.
    width : int
        Characters of context on each side, and of a long span.

    Yields
    ------
    Example
        The rows drawn; of a feature with both classes, +1 and -1 are as likely.
    """
    rng = np.random.default_rng(seed)
    names = (*data.features, *data.targets)
    for _ in range(count):
        name = names[rng.integers(len(names))]
        rows = data.rows(name)
        if name in data.labels and min(data.counts[name]) > 0:
            rows = rows[data.labels[name][rows] == rng.choice([-1, 1])]
        row = int(rng.choice(rows))
        text, start, end = data.texts[data.text[row]], int(data.start[row]), int(data.end[row])
        label = f"{data.labels[name][row]:+d}" if name in data.labels else f"{data.values[name][row]:g}"
        word = (
            text[start:end]
            if end - start <= 2 * width
            else f"{text[start : start + width]} ... {text[end - width : end]}"
        )
        token = _token_of(text, start, end, tokenizer) if tokenizer is not None and data.aggregation == "none" else ""
        yield Example(name, label, text[max(0, start - width) : start], word, text[end : end + width], token)


def _token_of(text: str, start: int, end: int, tokenizer: Any) -> str:
    """Return the characters of the last token that overlaps a span."""
    spans = characters_of_tokens(tokenizer([text], verbose=False).encodings[0], text)
    _, last = tokens_of_spans(spans, [start], [end])
    return text[slice(*spans[last[0]])] if last[0] >= 0 else ""
