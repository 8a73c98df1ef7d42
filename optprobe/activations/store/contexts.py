"""The text around a row of activations: which token it is, and the tokens before and after."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optprobe.activations.model.provenance import tokenizer_identity
from optprobe.activations.store.activations import Activations
from optprobe.errors import InputError
from optprobe.features.alignment import characters_of_tokens
from optprobe.features.dataset import FeatureDataset

WIDTH = 12
"""Tokens on each side unless another number is asked for."""


@dataclass(frozen=True)
class Context:
    """
    A row of activations in its text.

    Each string is what a token adds to the text: its characters, and white space before them. Tokens that cover no
    characters (special ones) are left out.

    Parameters
    ----------
    row : int
        The row of the activations.
    text : int
        Index of the text in the dataset.
    position : int
        The row's (last) token among the tokens of its text, special ones included.
    before : tuple of str
        The tokens before.
    token : str
        The row's token; of a mean or maximum over several tokens, the row's whole span.
    after : tuple of str
        The tokens after.
    """

    row: int
    text: int
    position: int
    before: tuple[str, ...]
    token: str
    after: tuple[str, ...]


def contexts(
    activations: Activations,
    rows: Sequence[int] | NDArray[np.int64],
    data: FeatureDataset,
    tokenizer: Any,
    width: int = WIDTH,
) -> Iterator[Context]:
    """
    Find the tokens of some rows, such as `NeuronStatistics.top_rows` gives, and those around them.

    Parameters
    ----------
    activations : Activations
        What `extract` returned or wrote.
    rows : sequence of int
        Rows of it.
    data : FeatureDataset
        The dataset that it was extracted from.
    tokenizer : transformers tokenizer
        The tokenizer that it was extracted with.
    width : int
        Tokens on each side, at most.

    Yields
    ------
    Context
        One a row, in their order.

    Raises
    ------
    InputError
        If there is no such row, or the dataset or the tokenizer is another one.
    """
    manifest = activations.manifest
    if manifest["dataset"].get("digest") != data.digest:
        raise InputError(
            f"the activations are of the dataset {manifest['dataset'].get('name')!r}, and this one is {data.name!r} "
            "with another digest; give the dataset they were extracted from"
        )
    if not getattr(tokenizer, "is_fast", False):
        raise InputError(f"the tokenizer {type(tokenizer).__name__} gives no characters of its tokens; give a fast one")
    length, known = manifest.get("context"), False
    for row in map(int, rows):
        if not 0 <= row < activations.n_rows:
            raise InputError(f"there is no row {row}: there are {activations.n_rows}, counted from 0")
        text = data.texts[activations.text[row]]
        encoding = tokenizer([text], truncation=length is not None, max_length=length).encodings[0]
        if not known and not manifest.get("tokenizer", {"": None}).items() <= tokenizer_identity(tokenizer).items():
            raise InputError("the activations were extracted with another tokenizer; give that one")
        known = True
        yield _context(activations, row, text, characters_of_tokens(encoding, text), width)


def _context(activations: Activations, row: int, text: str, spans: NDArray[np.int64], width: int) -> Context:
    position = int(activations.token[row])
    if activations.manifest.get("aggregation", "none") == "none":
        start, end = map(int, spans[position])
    else:
        start, end = int(activations.start[row]), int(activations.end[row])
    begins, ends = spans[spans[:, 0] < spans[:, 1]].T
    until = [0, *np.unique(ends[ends <= start]).tolist()]
    after = [end, *np.unique(ends[begins >= end]).tolist()]
    return Context(
        row,
        int(activations.text[row]),
        position,
        before=tuple(text[a:b] for a, b in pairwise(until))[max(0, len(until) - 1 - width) :],
        token=text[until[-1] : end],
        after=tuple(text[a:b] for a, b in pairwise(after))[:width],
    )
