"""
The bundled dataset: labelled words of the probing corpus in twelve languages.

A candidate is a word: a run of letters, digits and underscores, or one other character that is not a space. The first
words of a document are left out, because little context stands before them. A text is a document up to its word number
`LAST_WORD`, so that it fits the context of the bundled model. A feature takes about `ROWS` of the candidates, the
documents in turn (every document's first candidate in one seeded order that all features share, then every document's
second, ...), with the share of +1 that the candidates have, but not less than `SMALLEST_SHARE` and not more than one
minus that.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray

from optprobe.bundled import FORMAL_LANGUAGES, NATURAL_LANGUAGES, Document, corpus
from optprobe.features.balance import Sampling, choose_rows
from optprobe.features.dataset import FeatureDataset
from optprobe.features.latex import math_spans

FIRST_WORD = 10
LAST_WORD = 140
ROWS = 1_000
SMALLEST_SHARE = 0.25
SAMPLING = Sampling(ROWS, SMALLEST_SHARE, 1 - SMALLEST_SHARE)
SEED = 0

PROGRAMMING_LANGUAGES = ("python", "c", "java", "javascript")
LICENCE = "MIT"

_WORD = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True)
class Word:
    """A candidate: the word at `start..end` of document number `group`."""

    document: Document
    group: int
    start: int
    end: int

    @property
    def word(self) -> str:
        """The characters of the word."""
        return self.document.text[self.start : self.end]

    @property
    def follows_space(self) -> bool:
        """Whether a space stands directly before the word."""
        return self.document.text[self.start - 1] == " "


_TOKEN_FEATURES: dict[str, tuple[str, Callable[[Word], bool]]] = {
    "contains_digit": ("has a digit in it", lambda w: any(c.isdecimal() for c in w.word)),
    "all_digits": ("consists of digits", lambda w: w.word.isdecimal()),
    "contains_capital": ("has a capital letter in it", lambda w: any(c.isupper() for c in w.word)),
    "leading_capital": ("begins with a capital letter", lambda w: w.word[0].isupper()),
    "all_capitals": (
        "has two letters or more, all of them capitals",
        lambda w: w.word.isupper() and sum(c.isalpha() for c in w.word) > 1,
    ),
    "has_leading_space": ("stands directly after a space", lambda w: w.follows_space),
    "no_leading_space_and_loweralpha": (
        "consists of small letters and does not stand directly after a space",
        lambda w: w.word.isalpha() and w.word.islower() and not w.follows_space,
    ),
    "is_punctuation": (
        "is a punctuation mark (a character of a Unicode category P)",
        lambda w: unicodedata.category(w.word[0]).startswith("P") and len(w.word) == 1,
    ),
    "is_not_ascii": ("has a character outside ASCII in it", lambda w: not w.word.isascii()),
}


@lru_cache(maxsize=1)
def bundled_dataset() -> FeatureDataset:
    """
    Return the dataset named "bundled", a document to a group.

    Returns
    -------
    FeatureDataset
        Six natural languages, six formal languages, `is_code`, `latex_math`, and features of single words.

    Raises
    ------
    InputError
        If a corpus file is missing or malformed.
    """
    every = bundled_words()
    priority = np.random.default_rng(SEED).permutation(every.n_rows)
    chosen = {name: y * choose_rows(y, every.group, priority, SAMPLING) for name, y in every.labels.items()}
    return replace(every, name="bundled", labels=chosen).take(np.any(list(chosen.values()), axis=0))


@lru_cache(maxsize=1)
def bundled_words() -> FeatureDataset:
    """
    Return the dataset named "bundled_words": the same texts and features, with every candidate that there is.

    Raises
    ------
    InputError
        If a corpus file is missing or malformed.
    """
    whole = corpus()
    documents = tuple(replace(d, text=_beginning(d.text)) for d in whole)
    candidates = [
        Word(document, group, match.start(), match.end())
        for group, document in enumerate(documents)
        for match in list(_WORD.finditer(document.text))[FIRST_WORD:]
    ]
    labelled = _label(whole, candidates)
    group = np.array([w.group for w in candidates], dtype=np.int32)
    return FeatureDataset(
        name="bundled_words",
        texts=tuple(d.text for d in documents),
        text=group,
        start=np.array([w.start for w in candidates], dtype=np.int32),
        end=np.array([w.end for w in candidates], dtype=np.int32),
        group=group,
        labels={name: y for name, (_, y) in labelled.items()},
        rules={name: rule for name, (rule, _) in labelled.items()},
        licence=LICENCE,
    )


def _beginning(text: str) -> str:
    """Return a text up to the end of its word number `LAST_WORD`."""
    return text[: list(_WORD.finditer(text))[:LAST_WORD][-1].end()]


def _label(documents: tuple[Document, ...], candidates: list[Word]) -> dict[str, tuple[str, NDArray[np.int8]]]:
    """Return the rule and the labels in {-1, 0, +1} over all candidates of each feature, given the whole documents."""
    language = np.array([w.document.language for w in candidates])
    labelled: dict[str, tuple[str, NDArray[np.int8]]] = {}
    for kind, names in (("natural", NATURAL_LANGUAGES), ("formal", FORMAL_LANGUAGES)):
        inside = np.isin(language, names)
        for name in names:
            rule = f"+1 for words of {name} documents, -1 for words of the other {kind} languages, 0 elsewhere"
            labelled[f"is_{name}"] = rule, np.where(inside, _signs(language == name), 0).astype(np.int8)
    labelled["is_code"] = (
        f"+1 for words of {', '.join(PROGRAMMING_LANGUAGES)} documents, -1 for words of all others",
        _signs(np.isin(language, PROGRAMMING_LANGUAGES)),
    )
    modes = {g: math_spans(d.text) for g, d in enumerate(documents) if d.language == "latex"}
    labelled["latex_math"] = (
        "+1 for words in mathematics, -1 for words outside it, 0 for its delimiters and in other languages",
        np.array([modes[w.group][w.start] if w.group in modes else 0 for w in candidates], dtype=np.int8),
    )
    for name, (words, test) in _TOKEN_FEATURES.items():
        labelled[name] = f"+1 if the word {words}, -1 if not", _signs(np.array([test(w) for w in candidates]))
    return labelled


def _signs(positive: NDArray[np.bool_]) -> NDArray[np.int8]:
    """Return +1 where `positive`, -1 elsewhere."""
    return np.where(positive, 1, -1).astype(np.int8)
