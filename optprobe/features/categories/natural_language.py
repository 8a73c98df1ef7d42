"""Natural language: nine languages of Europe, a context at a time (Gurnee et al. 2023, there from Europarl)."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from optprobe.features.catalogue import BuildOptions, Category
from optprobe.features.categories.mixture import CHARACTERS, Mixture
from optprobe.features.categories.treebank import treebank_contexts, treebank_files
from optprobe.features.dataset import FeatureDataset
from optprobe.features.labelling import Document
from optprobe.features.sources.conllu import read_conllu
from optprobe.features.sources.documents import provenance_of

NATURAL_LANGUAGE = Mixture(
    name="natural_language",
    kinds={
        "es": ("spanish", "spa"),
        "en": ("english", "eng"),
        "fr": ("french", "fra"),
        "nl": ("dutch", "nld"),
        "it": ("italian", "ita"),
        "el": ("greek", "ell"),
        "de": ("german", "deu"),
        "pt": ("portuguese", "por"),
        "sv": ("swedish", "swe"),
    },
    noun="the language {}",
    source="texts labelled with their language, or a treebank, folder or file of each",
    skip=1,
)


def treebank_documents(source: str | Path, characters: int = CHARACTERS) -> Iterator[Document]:
    """Yield the contexts of treebanks as documents; the language is what stands before the first _ of the file name."""
    for path in treebank_files(source):
        for context in treebank_contexts(read_conllu(path), characters):
            yield Document(context.text, f"{path.name} {context.document}", path.name.partition("_")[0], str(path))


def _build(options: BuildOptions) -> FeatureDataset:
    path = Path(options.source)
    if path.suffix == ".conllu" or (path.is_dir() and any(path.glob("*.conllu"))):
        return NATURAL_LANGUAGE.label(
            treebank_documents(path, options.characters or CHARACTERS),
            characters=options.characters or CHARACTERS,
            provenance=provenance_of(path, treebank_files(path)),
        )
    return NATURAL_LANGUAGE.build(options)


CATEGORY = Category(NATURAL_LANGUAGE.name, NATURAL_LANGUAGE.features, _build)
