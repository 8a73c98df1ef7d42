"""Part of speech: each universal part of speech against the others (Gurnee et al. 2023, 16 of the 17)."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from optprobe.features.catalogue import BuildOptions, Category, Feature
from optprobe.features.categories.treebank import SKIP, SOURCE, TreebankContext, build_treebank
from optprobe.features.dataset import FeatureDataset
from optprobe.features.labelling import CONTEXT, signs

NAME = "part_of_speech"
TAGS = (
    *("NOUN", "PUNC", "ADP", "NUM", "SYM", "SCONJ", "ADJ", "DET"),
    *("CCONJ", "PROPN", "PRON", "X", "ADV", "INTJ", "VERB", "AUX"),
)
"""The paper's spelling: PUNC is the treebanks' PUNCT."""

RULES = {f"upos_{tag}": f"+1 for words tagged {tag}{'T' * (tag == 'PUNC')}, -1 for words of other tags" for tag in TAGS}


def label(context: TreebankContext) -> dict[str, NDArray[np.int8]]:
    """Return the labels of the words of a context; a word without a tag belongs to no feature."""
    tag = np.array([word.upos.replace("PUNCT", "PUNC") for word in context.words])
    return {f"upos_{t}": np.where(tag == "_", 0, signs(tag == t)).astype(np.int8) for t in TAGS}


def part_of_speech(
    source: str | Path, *, features: Collection[str] | None = None, characters: int = CONTEXT, skip: int = SKIP
) -> FeatureDataset:
    """Build the category from a treebank: see `build_treebank` for the arguments."""
    return build_treebank(NAME, source, RULES, label, features=features, characters=characters, skip=skip)


def _build(options: BuildOptions) -> FeatureDataset:
    return part_of_speech(options.source, characters=options.characters or CONTEXT)


CATEGORY = Category(NAME, tuple(Feature(name, NAME, rule, SOURCE) for name, rule in RULES.items()), _build)
