"""Programming language: nine languages of source code, a context at a time (Gurnee et al. 2023)."""

from __future__ import annotations

from optprobe.features.catalogue import Category
from optprobe.features.categories.mixture import Mixture
from optprobe.features.sources.documents import REPOSITORY

PROGRAMMING_LANGUAGE = Mixture(
    name="programming_language",
    kinds={
        "C++": ("cpp", "cxx", "cc"),
        "C": (),
        "Go": ("golang",),
        "HTML": ("htm",),
        "Java": (),
        "JavaScript": ("js",),
        "PHP": (),
        "Python": ("py",),
        "XML": (),
    },
    noun="{} source",
    source="source files labelled with their language, or a folder or file of each",
    skip=1,
    document_columns=REPOSITORY,
)

CATEGORY = Category(PROGRAMMING_LANGUAGE.name, PROGRAMMING_LANGUAGE.features, PROGRAMMING_LANGUAGE.build)
