"""
What the three categories of labelled mixtures of texts share: a whole context is of one kind, or of another.

A row is a context, read as the mean over its tokens after the first words, as in the paper. A document longer than a
context gives several, all of one group. Texts of kinds without a feature of their own are negatives of every feature.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import dataclass, replace

import numpy as np

from optprobe.errors import InputError
from optprobe.features.catalogue import BuildOptions, Feature
from optprobe.features.dataset import FeatureDataset
from optprobe.features.labelling import Document, Passage, join, signs, windows
from optprobe.features.sources.documents import read_documents

CHARACTERS = 1_000
"""Characters of a context: about 256 tokens."""

OTHERS = "negatives without a feature of their own"
"""The entry of the provenance that names the kinds that are nothing but negatives."""

_WORD = re.compile(r"\S+")


@dataclass(frozen=True)
class Mixture:
    """
    A category whose features are kinds of texts.

    Parameters
    ----------
    name : str
        Name of the category.
    kinds : mapping of str to collection of str
        For each feature, the labels that mean it beside its own name, in small letters.
    noun : str
        What the texts of a kind are called, with {} for the feature.
    source : str
        What texts it is built from.
    skip : int
        Words at the beginning of a context that the mean leaves out.
    document_columns : tuple of str
        As in `read_documents`.
    """

    name: str
    kinds: Mapping[str, Collection[str]]
    noun: str
    source: str
    skip: int
    document_columns: tuple[str, ...] = ("repo", "path")

    @property
    def rules(self) -> dict[str, str]:
        """The rule of each feature."""
        return {
            kind: f"+1 for contexts of {self.noun.format(kind)}, -1 for contexts of all other texts of the mixture"
            for kind in self.kinds
        }

    @property
    def features(self) -> tuple[Feature, ...]:
        """The entries of the catalogue."""
        return tuple(Feature(kind, self.name, rule, self.source) for kind, rule in self.rules.items())

    def label(
        self,
        documents: Iterable[Document],
        *,
        features: Collection[str] | None = None,
        characters: int = CHARACTERS,
        skip: int | None = None,
        contexts: int | None = None,
        provenance: Mapping[str, str] | None = None,
        licence: str = "",
    ) -> FeatureDataset:
        """
        Label each context of a mixture by the kind of its document.

        Parameters
        ----------
        documents : iterable of Document
            `label` says the kind; upper and lower case are the same.
        features, provenance, licence
            As in `join`.
        characters : int
            Length of a context at most.
        skip : int, optional
            Words that the mean leaves out, if not those of the category; a context without others is left out.
        contexts : int, optional
            Contexts of a document at most, the first ones; by default all.

        Returns
        -------
        FeatureDataset
            One row a context, aggregated by the mean.

        Raises
        ------
        InputError
            If a text has no label (the sentence says which), or nothing can be labelled.
        """
        others: Counter[str] = Counter()
        kind_of = {label.casefold(): kind for kind, labels in self.kinds.items() for label in (kind, *labels)}
        n_words = self.skip if skip is None else skip

        def passages() -> Iterator[Passage]:
            for document in documents:
                given = document.label.strip().casefold()
                if not given:
                    where = document.where or document.name
                    raise InputError(f"{where}: the text has no label, and {self.name} needs the kind of every text")
                labels = {kind: signs([kind_of.get(given) == kind]) for kind in self.kinds}
                for begin, end in windows(document.text, characters)[:contexts]:
                    text = document.text[begin:end]
                    words = list(_WORD.finditer(text))[n_words:]
                    if words:
                        others[given] += given not in kind_of
                        span = np.array([[words[0].start()], [words[-1].end()]])
                        yield Passage(text, document.name, span[0], span[1], labels)

        options = {"context characters": str(characters), "words left out": str(n_words)}
        data = join(
            self.name,
            passages(),
            self.rules,
            features=features,
            aggregation="mean",
            provenance={**(provenance or {}), **options},
            licence=licence,
        )
        said = ", ".join(f"{kind} ({number:,} contexts)" for kind, number in sorted((+others).items()))
        return replace(data, provenance={**data.provenance, OTHERS: said}) if said else data

    def build(self, options: BuildOptions) -> FeatureDataset:
        """Label the texts of a source by a column, or by the folder or file they are in."""
        found = read_documents(options, document_columns=self.document_columns)
        return self.label(
            found.documents,
            characters=options.characters or CHARACTERS,
            provenance=found.provenance,
            licence=found.licence,
        )
