"""Dependencies: each of 29 relations of a word to its head against all other relations (Gurnee et al. 2023)."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from optprobe.features.catalogue import BuildOptions, Category, Feature
from optprobe.features.categories.treebank import SKIP, SOURCE, TreebankContext, build_treebank
from optprobe.features.dataset import FeatureDataset
from optprobe.features.labelling import CONTEXT, signs

NAME = "dependencies"
RELATIONS = (
    *("acl", "acl:relcl", "advcl", "advmod", "amod", "appos", "aux", "aux:pass", "case", "cc", "ccomp", "compound"),
    *("conj", "cop", "det", "flat", "list", "mark", "nmod", "nmod:poss", "nsubj", "nsubj:pass", "nummod", "obj"),
    *("obl", "parataxis", "punct", "root", "xcomp"),
)

RULES = {
    f"dep_{relation}": f"+1 for words whose relation to their head is exactly {relation}, -1 for all other relations"
    for relation in RELATIONS
}


def label(context: TreebankContext) -> dict[str, NDArray[np.int8]]:
    """Return the labels of the words of a context; a word without a relation belongs to no feature."""
    found = np.array([word.deprel for word in context.words])
    return {f"dep_{r}": np.where(found == "_", 0, signs(found == r)).astype(np.int8) for r in RELATIONS}


def dependencies(
    source: str | Path, *, features: Collection[str] | None = None, characters: int = CONTEXT, skip: int = SKIP
) -> FeatureDataset:
    """Build the category from a treebank: see `build_treebank` for the arguments."""
    return build_treebank(NAME, source, RULES, label, features=features, characters=characters, skip=skip)


def _build(options: BuildOptions) -> FeatureDataset:
    return dependencies(options.source, characters=options.characters or CONTEXT)


CATEGORY = Category(NAME, tuple(Feature(name, NAME, rule, SOURCE) for name, rule in RULES.items()), _build)
