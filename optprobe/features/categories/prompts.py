"""Prompts, texts that end at what is labelled: equal ones are one row, and contradictory labels are left out."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from optprobe.errors import InputError
from optprobe.features.catalogue import BuildOptions
from optprobe.features.dataset import Aggregation, FeatureDataset
from optprobe.features.labelling import Document, Passage, join
from optprobe.features.sources.documents import read_documents

_UNIT = re.compile(r"\w+|[^\w\s]")


@dataclass(frozen=True)
class Prompt:
    """
    A prompt with its labels.

    Parameters
    ----------
    text : str
        The prompt.
    span : tuple of int
        What is read of it.
    group : str
        Prompts of one group are on one side of every split.
    labels : mapping of str to int
        For some features +1, -1, 0 or `MIRROR`.
    """

    text: str
    span: tuple[int, int]
    group: str
    labels: Mapping[str, int]


def last_unit(document: Document) -> tuple[int, int]:
    """Return the span of the last word or mark of a text; raise `InputError` if there is none."""
    units = list(_UNIT.finditer(document.text, max(0, len(document.text) - 200)))
    if not units:
        raise InputError(f"{document.where or document.name}: the prompt has no word")
    return units[-1].span()


def checked_label(document: Document, known: Collection[str]) -> str:
    """Return the label of a text in small letters; raise `InputError` if it is not one of those known."""
    label = document.label.strip().casefold()
    if label not in known:
        raise InputError(
            f"{document.where or document.name}: the label is {document.label!r}; it must be one of {', '.join(known)}"
        )
    return label


def label_prompts(
    name: str,
    prompts: Iterable[Prompt],
    rules: Mapping[str, str],
    *,
    features: Collection[str] | None = None,
    aggregation: Aggregation = "none",
    seed: int = 0,
    provenance: Mapping[str, str] | None = None,
    licence: str = "",
) -> FeatureDataset:
    """
    Make a dataset of prompts, one row a distinct prompt.

    Parameters
    ----------
    name, rules, features, aggregation, seed, provenance, licence
        As in `join`; the provenance gets the numbers of repeated and of contradictory labels.
    prompts : iterable of Prompt
        A prompt may come several times, for several features. Where it has two labels for one feature it gets 0.

    Returns
    -------
    FeatureDataset
        The groups of equal prompts are one.

    Raises
    ------
    InputError
        If nothing is labelled, or a feature asked for has one class only.
    """
    first: dict[str, Prompt] = {}
    labels: dict[str, dict[str, int]] = {}
    contradicted: set[tuple[str, str]] = set()
    repeated = 0
    for prompt in prompts:
        first.setdefault(prompt.text, prompt)
        known = labels.setdefault(prompt.text, {})
        for feature, label in prompt.labels.items():
            repeated += feature in known
            if known.setdefault(feature, label) != label:
                contradicted.add((prompt.text, feature))
    for text, feature in contradicted:
        labels[text][feature] = 0
    passages = (
        Passage(
            text,
            prompt.group,
            np.array([prompt.span[0]]),
            np.array([prompt.span[1]]),
            {feature: np.array([labels[text].get(feature, 0)], dtype=np.int8) for feature in rules},
        )
        for text, prompt in first.items()
    )
    counted = {"repeated labels": str(repeated), "contradictory labels": str(len(contradicted))}
    return join(
        name,
        passages,
        rules,
        features=features,
        aggregation=aggregation,
        seed=seed,
        provenance={**(provenance or {}), **counted},
        licence=licence,
    )


def csv_files(source: str) -> list[Path]:
    """Return a CSV file, or those of a folder by name; none for any other source."""
    path = Path(source)
    if path.is_dir():
        return sorted(path.glob("*.csv"))
    return [path] if path.suffix == ".csv" else []


def read_prompts(options: BuildOptions, path: Path) -> tuple[Document, ...]:
    """Read the prompts of a CSV file, each a document of the name of its text in small letters."""
    found = read_documents(replace(options, source=str(path)), text_column="prompt", label_column="target")
    return tuple(replace(document, name=document.text.casefold()) for document in found.documents)
