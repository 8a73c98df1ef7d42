"""Natural language: nine languages of Europe, a context at a time (Gurnee et al. 2023, there from Europarl)."""

from __future__ import annotations

from optprobe.features.categories.mixture import Mixture

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
