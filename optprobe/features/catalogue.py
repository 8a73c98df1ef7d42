"""
The catalogue: every category of features that can be built from texts, with the rule of each feature.

A category is one module of `optprobe.features.categories` with an object `CATEGORY`. The module needs no registration:
`categories` finds it.
"""

from __future__ import annotations

import pkgutil
from collections.abc import Callable
from dataclasses import dataclass, replace
from importlib import import_module
from typing import Any, Literal

from optprobe.errors import InputError
from optprobe.features.balance import NATURAL, PAPER, sampled
from optprobe.features.dataset import FeatureDataset
from optprobe.features.duplicates import drop_conflicts, group_duplicates

Balance = Literal["natural", "paper"]


@dataclass(frozen=True)
class Feature:
    """
    A feature of the catalogue.

    Parameters
    ----------
    name : str
        Its name in `FeatureDataset.labels` (or `values`).
    category : str
        Name of its category.
    rule : str
        The sentence that says which rows are +1, -1 and 0.
    source : str
        What texts it is built from.
    """

    name: str
    category: str
    rule: str
    source: str


@dataclass(frozen=True)
class BuildOptions:
    """
    What a category is built from, and how.

    Parameters
    ----------
    source : str
        A file, a folder, or the id of a Hugging Face dataset; "bundled" for the texts of the package.
    tokenizer : transformers tokenizer, optional
        For the features of tokens rather than words; `Category.needs_tokenizer` says which.
    revision : str, optional
        The 40-hex commit of a Hugging Face dataset.
    text_column, group_column, label_column : str, optional
        Columns of the texts, of their documents and of what kind each is, where the source has columns. By default the
        kind of a text is the name of its file, or of its folder within the source.
    table : str, optional
        A file with the columns name, property and value, for the people to be found in the texts.
    characters : int, optional
        Length of a context at most; by default that of the category.
    balance : {"paper", "natural"}
        The share of +1: as in the paper for the category, or as it is in the texts.
    max_rows : int, optional
        Rows a feature, at most; by default as many as in the paper for the category, or all.
    rows_of_class : int
        Rows that each class must have; features with fewer are left out, and an error where they were asked for.
    seed : int
        Of every choice of rows.

    Raises
    ------
    InputError
        If a context would have no character, or the seed is negative.
    """

    source: str
    tokenizer: Any = None
    revision: str | None = None
    text_column: str | None = None
    group_column: str | None = None
    label_column: str | None = None
    table: str | None = None
    characters: int | None = None
    balance: Balance = "paper"
    max_rows: int | None = None
    rows_of_class: int = 1
    seed: int = 0

    def __post_init__(self) -> None:
        """Check the numbers."""
        if self.characters is not None and self.characters < 1:
            raise InputError(f"a context has at least one character, and {self.characters} were asked for")
        if self.seed < 0:
            raise InputError(f"the seed is a number from 0, not {self.seed}")


@dataclass(frozen=True)
class Category:
    """
    Features that are labelled in one pass over the same texts.

    Parameters
    ----------
    name : str
        For the command line: `optprobe features build NAME`.
    features : tuple of Feature
        In the order of the labels.
    build : callable
        Returns the dataset of all features; raises `InputError` where the source cannot be used.
    needs_tokenizer : bool
        Whether the rows are tokens, so that `BuildOptions.tokenizer` must be given.
    takes_table : bool
        Whether `BuildOptions.table` means anything.
    """

    name: str
    features: tuple[Feature, ...]
    build: Callable[[BuildOptions], FeatureDataset]
    needs_tokenizer: bool = False
    takes_table: bool = False


def categories() -> dict[str, Category]:
    """Return every category by name, in the order of its module's name."""
    from optprobe.features import categories as package

    modules = (import_module(f"{package.__name__}.{found.name}") for found in pkgutil.iter_modules(package.__path__))
    found = [module.CATEGORY for module in modules if hasattr(module, "CATEGORY")]
    return {category.name: category for category in found}


def build(name: str, options: BuildOptions) -> FeatureDataset:
    """
    Build the dataset of a category, or of one of its features, and make it honest.

    Contradicting labels are dropped, equal and nearly equal texts become one document, and rows are sampled for the
    balance asked for; the provenance says what was done.

    Parameters
    ----------
    name : str
        A category, or a feature of one; `category/feature` where several categories have a feature of that name.
    options : BuildOptions
        What from, and how.

    Returns
    -------
    FeatureDataset
        The dataset.

    Raises
    ------
    InputError
        If there is no such category or feature, it needs a tokenizer and has none, it takes no table and has one, or
        the source cannot be used.
    """
    known = categories()
    category, _, feature = name.partition("/")
    if category not in known:
        holders = [c.name for c in known.values() if name in {f.name for f in c.features}]
        if not holders:
            raise InputError(f"there is no category or feature {name!r}; there are the categories {', '.join(known)}")
        if len(holders) > 1:
            raise InputError(f"several categories have a feature {name!r}: give one as {holders[0]}/{name}")
        category, feature = holders[0], name
    chosen = known[category]
    if chosen.needs_tokenizer and options.tokenizer is None:
        raise InputError(f"the rows of {category!r} are tokens: give the tokenizer they are of")
    if options.table is not None and not chosen.takes_table:
        raise InputError(f"{category!r} takes no table of names: leave the table out")
    data = chosen.build(options)
    if feature:
        data = data.select(feature)
    base = PAPER.get(category, NATURAL) if options.balance == "paper" else NATURAL
    rows = base.rows if options.max_rows is None else options.max_rows
    honest = group_duplicates(drop_conflicts(data))
    return sampled(honest, replace(base, rows=rows, rows_of_class=options.rows_of_class), options.seed)
