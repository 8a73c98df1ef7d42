"""Data subset: nine parts of a mixture of texts, a context at a time (Gurnee et al. 2023, there parts of the Pile)."""

from __future__ import annotations

from optprobe.features.catalogue import Category
from optprobe.features.categories.mixture import Mixture

DATA_SUBSET = Mixture(
    name="data_subset",
    kinds={
        "wikipedia": ("wikipedia (en)", "encyclopedia"),
        "pubmed_abstracts": ("pubmed abstracts", "abstracts"),
        "stack_exchange": ("stackexchange", "q&a"),
        "github": ("code",),
        "arxiv": ("papers",),
        "uspto": ("uspto backgrounds", "patents"),
        "freelaw": ("law",),
        "hackernews": ("news forum",),
        "enron": ("enron emails", "e-mail"),
    },
    noun="the subset {}",
    source="any mixture of texts labelled with the part that each is from",
    skip=25,
)

CATEGORY = Category(DATA_SUBSET.name, DATA_SUBSET.features, DATA_SUBSET.build)
