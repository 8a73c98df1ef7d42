"""
Morphology: 20 features of words, and two of the ends of sentences (Gurnee et al. 2023).

A feature with several values is probed among the words that have it: Tense_Past against Tense=Pres, PronType_Art
against the other types of pronouns and determiners. A word with two values at once (`PronType=Int,Rel`) is +1 for both.
"""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from optprobe.features.catalogue import BuildOptions, Category, Feature
from optprobe.features.categories.treebank import SKIP, SOURCE, TreebankContext, build_treebank
from optprobe.features.dataset import FeatureDataset
from optprobe.features.labelling import CONTEXT, signs

NAME = "morphology"
AMONG_OTHERS = {
    "VerbForm": ("Fin", "Inf", "Ger", "Part"),
    "PronType": ("Art", "Dem", "Prs", "Rel", "Int"),
    "Person": ("1", "2", "3"),
    "Gender": ("Masc", "Fem", "Neut"),
}
AGAINST_ONE = {"Number": ("Plur", "Sing"), "Mood": ("Imp", "Ind"), "Tense": ("Past", "Pres")}

RULES = {
    f"{name}_{value}": f"+1 for words with {name}={value}, -1 for words with another {name}, 0 for words without one"
    for name, values in AMONG_OTHERS.items()
    for value in values
}
RULES |= {
    f"{name}_{value}": f"+1 for words with {name}={value}, -1 for words with {name}={other}, 0 for all others"
    for name, (value, other) in AGAINST_ONE.items()
}
RULES |= {
    "NumType_Card": "+1 for cardinal numbers (NumType=Card), -1 for all other words",
    "Voice_Pass": "+1 for words with Voice=Pass, -1 for other words tagged VERB, 0 for words of other tags",
    "eos_True": "+1 for the last word of a sentence if it has one of . ! ? in it, -1 for all other words",
    "first_eos_True": "+1 for the first such end of a sentence in the context, -1 for the later ones, 0 elsewhere",
}


def label(context: TreebankContext) -> dict[str, NDArray[np.int8]]:
    """Return the labels of the words of a context."""
    words = context.words

    def has(name: str, value: str | None = None) -> NDArray[np.bool_]:
        return np.array([bool(w.feats.get(name)) if value is None else value in w.feats.get(name, ()) for w in words])

    def among(positive: NDArray[np.bool_], domain: NDArray[np.bool_]) -> NDArray[np.int8]:
        return np.where(positive | domain, signs(positive), 0).astype(np.int8)

    labels = {
        f"{name}_{value}": among(has(name, value), has(name))
        for name, values in AMONG_OTHERS.items()
        for value in values
    }
    for name, (value, other) in AGAINST_ONE.items():
        positive, negative = has(name, value), has(name, other)
        labels[f"{name}_{value}"] = positive.astype(np.int8) - negative.astype(np.int8)
    labels["NumType_Card"] = signs(has("NumType", "Card"))
    labels["Voice_Pass"] = among(has("Voice", "Pass"), np.array([w.upos == "VERB" for w in words]))
    end = np.array([e and any(c in ".!?" for c in w.form) for w, e in zip(words, context.ends_sentence)])
    labels["eos_True"] = signs(end)
    labels["first_eos_True"] = among(end & (np.cumsum(end) == 1), end)
    return labels


def morphology(
    source: str | Path, *, features: Collection[str] | None = None, characters: int = CONTEXT, skip: int = SKIP
) -> FeatureDataset:
    """Build the category from a treebank: see `build_treebank` for the arguments."""
    return build_treebank(NAME, source, RULES, label, features=features, characters=characters, skip=skip)


def _build(options: BuildOptions) -> FeatureDataset:
    return morphology(options.source, characters=options.characters or CONTEXT)


CATEGORY = Category(NAME, tuple(Feature(name, NAME, rule, SOURCE) for name, rule in RULES.items()), _build)
