"""
Text features: eleven predicates on the characters of a token (Gurnee et al. 2023).

The characters are those that the token adds to its text. White space that a tokenizer drops before a token (WordPiece
does) counts to that token, so that `has_leading_space` means the same for every tokenizer.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping
from typing import Any

import numpy as np

from optprobe.features.catalogue import BuildOptions, Category, Feature
from optprobe.features.dataset import FeatureDataset
from optprobe.features.labelling import CONTEXT, Document, Passage, join, signs, windows
from optprobe.features.sources.documents import read_documents
from optprobe.features.tokens import name_of, tokens_of

NAME = "text_features"
SKIP = 10
"""Tokens left out at the beginning of each context, as in the paper."""

PREDICATES: dict[str, tuple[str, Callable[[str], bool]]] = {
    "contains_digit": ("has a digit in it", lambda t: bool(re.search(r"\d", t))),
    "all_digits": ("is digits only, but for one space before them", lambda t: bool(re.fullmatch(r"\s?\d+", t))),
    "contains_capital": ("has one of A to Z in it", lambda t: bool(re.search("[A-Z]", t))),
    "leading_capital": (
        "begins with a capital letter, but for one space before it",
        lambda t: t.removeprefix(" ")[:1].isupper(),
    ),
    "all_capitals": (
        "is letters A to Z only, but for white space before them, and is neither I nor A",
        lambda t: bool(re.fullmatch(r"\s*[A-Z]+", t)) and t not in ("I", " I", "A", " A"),
    ),
    "contains_whitespace": ("has white space in it", lambda t: bool(re.search(r"\s", t))),
    "has_leading_space": ("begins with a space", lambda t: t.startswith(" ")),
    "no_leading_space_and_loweralpha": ("is small letters only", lambda t: t.isalpha() and t.islower()),
    "contains_all_whitespace": ("is white space only", lambda t: t.isspace()),
    "is_not_alphanumeric": ("has no letter, digit or underscore in it", lambda t: bool(re.fullmatch(r"\W+", t))),
    "is_not_ascii": ("has a character outside ASCII in it", lambda t: not t.isascii()),
}

RULES = {name: f"+1 for tokens whose text {says}, -1 for all others" for name, (says, _) in PREDICATES.items()}


def text_features(
    documents: Iterable[Document],
    tokenizer: Any,
    *,
    features: Collection[str] | None = None,
    characters: int = CONTEXT,
    skip: int = SKIP,
    provenance: Mapping[str, str] | None = None,
    licence: str = "",
) -> FeatureDataset:
    """
    Label the tokens of texts.

    Parameters
    ----------
    documents : iterable of Document
        Any texts.
    tokenizer : transformers tokenizer
        A fast tokenizer, the one of the model to be probed.
    features, skip, provenance, licence
        As in `join`; the spans left out are tokens.
    characters : int
        Length of a context at most.

    Returns
    -------
    FeatureDataset
        One row a token with characters of its own.

    Raises
    ------
    InputError
        If the tokenizer gives no offsets, or nothing can be labelled.
    """

    def passages() -> Iterator[Passage]:
        for document in documents:
            for begin, end in windows(document.text, characters):
                text = document.text[begin:end]
                tokens = tokens_of(text, tokenizer)
                yield Passage(
                    text,
                    document.name,
                    np.array([t.start for t in tokens]),
                    np.array([t.end for t in tokens]),
                    {name: signs([test(t.text) for t in tokens]) for name, (_, test) in PREDICATES.items()},
                )

    options = {"tokenizer": name_of(tokenizer), "context characters": str(characters)}
    given = {**(provenance or {}), **options}
    return join(NAME, passages(), RULES, features=features, skip=skip, provenance=given, licence=licence)


def _build(options: BuildOptions) -> FeatureDataset:
    found = read_documents(options)
    return text_features(
        found.documents,
        options.tokenizer,
        characters=options.characters or CONTEXT,
        provenance=found.provenance,
        licence=found.licence,
    )


CATEGORY = Category(
    NAME, tuple(Feature(name, NAME, rule, "any texts") for name, rule in RULES.items()), _build, needs_tokenizer=True
)
