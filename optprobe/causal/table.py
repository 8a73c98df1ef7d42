"""The losses of tokens under ablations: means, differences with intervals over documents, and the tokens hurt most."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from formulations.shown import Shown, Table
from optprobe.activations.store.activations import Activations
from optprobe.activations.store.contexts import WIDTH, Context, contexts
from optprobe.errors import InputError
from optprobe.features.dataset import FeatureDataset
from optprobe.scoring.bootstrap import DRAWS, GroupBootstrap, middle

CLEAN = "clean"
"""The pass without an ablation."""
LOSS = "loss"
"""What a store of losses says that its values are, where one of activations names a hook point."""
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Difference:
    """
    How much the loss of some tokens rises under an ablation, in nats a token.

    Attributes
    ----------
    mean : float
        Mean over the tokens of the loss under the ablation minus that without it.
    low, high : float or None
        Ends of its 95% interval over resamples of documents; None where all tokens are of one document.
    clean : float
        Mean loss of the tokens without an ablation.
    n_tokens, n_documents : int
    """

    mean: float
    low: float | None
    high: float | None
    clean: float
    n_tokens: int
    n_documents: int


@dataclass(frozen=True)
class Hurt:
    """A token in its context, its loss without an ablation and under one, in nats."""

    context: Context
    clean: float
    ablated: float


@dataclass(frozen=True, eq=False, repr=False)
class Losses(Shown):
    """
    The losses of tokens in nats, without and under ablations; arrays are aligned with the tokens that have one.

    Attributes
    ----------
    tokens : Activations
        A row a token: ``text``, ``group`` (its document), ``token`` (its position among those that the tokenizer made
        of the text), ``start`` and ``end`` (its characters), ``row`` (the last row of the dataset that covers it, or
        -1), and ``labels`` (for each feature that of the rows that cover it, 0 where there are none or they disagree);
        its manifest says what ran on what.
    data, tokenizer
        What the losses are of, for contexts; None where they were not given.
    """

    tokens: Activations
    data: FeatureDataset | None = None
    tokenizer: Any = None

    @classmethod
    def open(cls, folder: str | Path, data: FeatureDataset | None = None, tokenizer: Any = None) -> Self:
        """
        Open a folder that `losses` wrote; with dataset and tokenizer, for contexts.

        Raises
        ------
        InputError
            If it holds no losses, or is not finished.
        StoreDamaged
            If a file is missing or altered.
        """
        found = Activations.open(folder)
        if found.manifest["hook"] != LOSS:
            raise InputError(f"{folder} holds values at {found.manifest['hook']} and no losses")
        return cls(found, data, tokenizer)

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the ablations."""
        return tuple(self.tokens.manifest["ablations"])

    @property
    def ablations(self) -> Mapping[str, Mapping[str, Any]]:
        """The records of the ablations, by name."""
        found: Mapping[str, Mapping[str, Any]] = self.tokens.manifest["ablations"]
        return found

    def of(self, name: str = CLEAN) -> Floats:
        """The losses under an ablation, by default without one, shape (n_tokens,).

        Raises `InputError` if there is no such ablation.
        """
        names = (CLEAN, *self.names)
        if name not in names:
            raise InputError(
                f"there is no ablation {name!r} among these losses, only {', '.join(self.names) or 'none'}"
            )
        return self.tokens.matrices[0].columns([names.index(name)])[:, 0].astype(np.float64)

    def change(self, name: str) -> Floats:
        """The loss under an ablation minus that without it, shape (n_tokens,); raises `InputError` as `of` does."""
        return self.of(name) - self.of()

    def by_text(self, name: str = CLEAN) -> dict[int, float]:
        """The mean loss a token of each text; raises `InputError` as `of` does."""
        return _means(self.tokens.text, self.of(name))

    def by_document(self, name: str = CLEAN) -> dict[int, float]:
        """The mean loss a token of each document; raises `InputError` as `of` does."""
        return _means(self.tokens.group, self.of(name))

    def difference(
        self, name: str, feature: str | None = None, label: int | None = None, draws: int = DRAWS, seed: int = 0
    ) -> Difference:
        """
        How much an ablation raises the loss: of all tokens, or of those that rows of one label of a feature cover.

        Parameters
        ----------
        name : str
            The ablation.
        feature : str, optional
            A feature of the dataset, together with the label.
        label : {-1, +1}, optional
        draws, seed : int
            Of the resamples of documents; the same seed gives the same interval.

        Raises
        ------
        InputError
            If there is no such ablation, feature, label, or token, or one of feature and label is missing.
        """
        of = self._of(feature, label)
        change, clean, group = self.change(name)[of], self.of()[of], self.tokens.group[of]
        n_documents = len(np.unique(group))
        ends: tuple[float | None, float | None] = None, None
        if n_documents > 1:
            ends = middle(GroupBootstrap.of(group, draws, seed).means(change))
        return Difference(float(change.mean()), *ends, float(clean.mean()), len(change), n_documents)

    def hurt_most(self, name: str, n: int = 10, width: int = WIDTH) -> list[Hurt]:
        """
        The tokens whose loss an ablation raises most, the most first; among equal ones, the first.

        Parameters
        ----------
        name : str
            The ablation.
        n : int
            How many, at most.
        width : int
            Tokens of the context on each side, at most.

        Raises
        ------
        InputError
            If there is no such ablation, or the losses were opened without dataset and tokenizer, or with others.
        """
        if self.data is None or self.tokenizer is None:
            raise InputError("contexts need the texts: open the losses with their dataset and tokenizer")
        clean, under = self.of(), self.of(name)
        order = np.argsort(clean - under, kind="stable")[: max(0, n)]
        found = contexts(self.tokens, order, self.data, self.tokenizer, width)
        return [Hurt(context, float(clean[i]), float(under[i])) for i, context in zip(order, found)]

    def _of(self, feature: str | None, label: int | None) -> NDArray[np.intp]:
        """The tokens of a label of a feature."""
        if feature is None and label is None:
            return np.arange(self.tokens.n_rows)
        if feature is None or label not in (-1, 1):
            raise InputError(f"tokens are those of a feature and a label, -1 or +1, not of {feature!r} and {label!r}")
        if feature not in self.tokens.labels:
            there = ", ".join(self.tokens.features) or "none"
            raise InputError(f"there is no feature {feature!r} among these losses, only {there}")
        found = np.flatnonzero(self.tokens.labels[feature] == label)
        if len(found) == 0:
            raise InputError(f"no token with a loss has the label {label:+d} of {feature!r}")
        return found

    def _line(self) -> str:
        tokens, dataset = self.tokens, self.tokens.manifest["dataset"]
        return (
            f"Losses of {tokens.manifest['model']}: {tokens.n_rows:,} tokens of {dataset['name']!r}, "
            f"{len(np.unique(tokens.text)):,} texts, {len(np.unique(tokens.group)):,} documents, {len(self.names)} "
            f"ablations, {self.of().mean():.4f} nats a token"
        )

    def _table(self) -> Table:
        found = {name: self.difference(name) for name in self.names}
        rows = [
            [name, *("" if x is None else f"{x:+.4f}" for x in (one.mean, one.low, one.high))]
            for name, one in found.items()
        ]
        return [["ablation", "nats a token more", "low", "high"], *rows]


def _means(of: NDArray[np.int32], values: Floats) -> dict[int, float]:
    names, index = np.unique(of, return_inverse=True)
    means = np.bincount(index, values) / np.bincount(index)
    return dict(zip(names.tolist(), means.tolist()))
