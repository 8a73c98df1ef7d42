"""
Compound words: 21 pairs of words, read at the second one (Gurnee et al. 2023).

Half of the negatives have the second word after another word, half have the first word before another word, read
there. Upper and lower case are the same.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from itertools import pairwise

import numpy as np

from optprobe.features.catalogue import BuildOptions, Category, Feature
from optprobe.features.categories.prompts import (
    Prompt,
    checked_label,
    csv_files,
    label_prompts,
    last_unit,
    read_prompts,
)
from optprobe.features.dataset import FeatureDataset
from optprobe.features.labelling import MIRROR, Document, Passage, join
from optprobe.features.sources.documents import provenance_of, read_documents

NAME = "compound_words"
SOURCE = "any texts, or the CSV sets of SAE-Probes (65 to 85)"
PAIRS = (
    *("high-school", "living-room", "social-security", "credit-card", "blood-pressure", "prime-factors"),
    *("social-media", "gene-expression", "control-group", "magnetic-field", "cell-lines", "trial-court"),
    *("second-derivative", "north-america", "human-rights", "side-effects", "public-health"),
    *("federal-government", "third-party", "clinical-trials", "mental-health"),
)
CHARACTERS = 120
"""Characters of a context: about the paper's 24 tokens."""

RULES = {
    pair: "+1 at '{1}' of '{0} {1}'; half of the negatives are '{1}' after another word, half are another word after "
    "'{0}'; 0 where a mark stands between".format(*pair.split("-"))
    for pair in PAIRS
}
FEATURES = tuple(Feature(name, NAME, rule, SOURCE) for name, rule in RULES.items())

_WORD = re.compile(r"\w+")
_PAIRS_OF_FIRST, _PAIRS_OF_SECOND = (
    {word: [pair for pair in PAIRS if pair.split("-")[side] == word] for word in {p.split("-")[side] for p in PAIRS}}
    for side in (0, 1)
)


def compound_words(
    documents: Iterable[Document],
    *,
    features: Collection[str] | None = None,
    characters: int = CHARACTERS,
    seed: int = 0,
    provenance: Mapping[str, str] | None = None,
    licence: str = "",
) -> FeatureDataset:
    """
    Find compound words and their controls in texts; each is the end of a context of its own.

    Parameters
    ----------
    documents : iterable of Document
        Any texts.
    features, seed, provenance, licence
        As in `join`.
    characters : int
        Length of a context at most, but for its last two words.

    Returns
    -------
    FeatureDataset
        One row a context, at its last word.

    Raises
    ------
    InputError
        If nothing is found, or a feature asked for has one class only.
    """
    passages = (passage for document in documents for passage in occurrences(document, characters))
    given = {**(provenance or {}), "context characters": str(characters)}
    return join(NAME, passages, RULES, features=features, seed=seed, provenance=given, licence=licence)


def occurrences(document: Document, characters: int = CHARACTERS) -> Iterator[Passage]:
    """Yield a context for each word of a document that is a positive or a negative of some pair."""
    for before, word in pairwise(_WORD.finditer(document.text)):
        a, b = before[0].casefold(), word[0].casefold()
        opened, closed = _PAIRS_OF_FIRST.get(a, ()), _PAIRS_OF_SECOND.get(b, ())
        if not (opened or closed):
            continue
        adjacent = document.text[before.end() : word.start()].isspace()
        found = {pair: -1 for pair in closed if pair not in opened}
        if adjacent:
            found |= {pair: 1 if pair in closed else MIRROR for pair in opened}
        if found:
            cut = max(0, word.end() - characters)
            if cut:
                gap = re.compile(r"\s").search(document.text, cut, before.start())
                cut = gap.end() if gap else before.start()
            labels = {pair: np.array([found.get(pair, 0)], dtype=np.int8) for pair in PAIRS}
            span = np.array([word.start() - cut]), np.array([word.end() - cut])
            yield Passage(document.text[cut : word.end()], document.name, *span, labels)


def compound_prompts(
    sets: Mapping[str, Iterable[Document]],
    *,
    features: Collection[str] | None = None,
    seed: int = 0,
    provenance: Mapping[str, str] | None = None,
    licence: str = "",
) -> FeatureDataset:
    """
    Label prompts that end with a compound word or with a control, as the CSV sets have them.

    Parameters
    ----------
    sets : mapping of str to iterable of Document
        For each pair, the prompts, labelled "bigram" or "not_bigram".
    features, seed, provenance, licence
        As in `join`.

    Returns
    -------
    FeatureDataset
        One row a prompt, at its last word. A bigram written without a space between, or another control, is left out
        and counted in the provenance.

    Raises
    ------
    InputError
        If a label is neither (the sentence names file and row), or a feature asked for has one class only.
    """
    prompts = [
        Prompt(document.text, last_unit(document), document.name, {feature: _sign(feature, document)})
        for feature, documents in sets.items()
        for document in documents
    ]
    odd = Counter(pair for prompt in prompts for pair, label in prompt.labels.items() if label == 0)
    left_out = ", ".join(f"{pair} {count}" for pair, count in odd.items())
    given = {**(provenance or {}), **({"prompts that are neither, left out": left_out} if odd else {})}
    rules = {pair: RULES[pair] for pair in sets}
    return label_prompts(NAME, prompts, rules, features=features, seed=seed, provenance=given, licence=licence)


def _sign(pair: str, document: Document) -> int:
    """Return the label of a prompt: of a control, from its last words which of the two kinds it is."""
    first, second = pair.split("-")
    text = document.text.casefold().rstrip()
    if checked_label(document, ("bigram", "not_bigram")) == "bigram":
        return int(bool(re.search(rf"(?<!\w){first}\s+{second}$", text)))
    if re.search(rf"(?<!\w){second}$", text):
        return 0 if re.search(rf"(?<!\w){first}\W+{second}$", text) else -1
    return MIRROR if re.search(rf"(?<!\w){first}\s+\w+$", text) else 0


_SET = re.compile(r"(?:\d+_)?(?P<pair>[a-z]+-[a-z]+)\.csv")


def _build(options: BuildOptions) -> FeatureDataset:
    sets = {}
    for path in csv_files(options.source):
        match = _SET.fullmatch(path.name)
        if match and match["pair"] in PAIRS:
            sets[match["pair"]] = path
    if not sets:
        found = read_documents(options)
        return compound_words(
            found.documents,
            characters=options.characters or CHARACTERS,
            seed=options.seed,
            provenance=found.provenance,
            licence=found.licence,
        )
    prompts = {pair: read_prompts(options, path) for pair, path in sets.items()}
    given = provenance_of(options.source, sets.values())
    return compound_prompts(prompts, seed=options.seed, provenance=given)


CATEGORY = Category(NAME, FEATURES, _build)
