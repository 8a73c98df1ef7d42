"""From character spans to tokens, through the offsets of a fast tokenizer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
from numpy.typing import ArrayLike, NDArray

from optprobe.errors import InputError
from optprobe.features.dataset import FeatureDataset

TokenChoice = Literal["last", "first"]


@dataclass(frozen=True, eq=False)
class Alignment:
    """
    The tokens of a dataset's texts, and the token of each row.

    Parameters
    ----------
    input_ids : tuple of ndarray of int64, each of shape (n_tokens,)
        Token ids of each text, with the tokenizer's own special tokens, cut at the context length.
    token : ndarray of int32, shape (n_rows,)
        Position in `input_ids[text]` of each row's token, -1 where the span lies (in part) beyond the context or
        no token covers it.
    """

    input_ids: tuple[NDArray[np.int64], ...]
    token: NDArray[np.int32]

    @property
    def n_dropped(self) -> int:
        """Number of rows without a token."""
        return int(np.count_nonzero(self.token < 0))


def tokens_of_spans(
    offsets: ArrayLike, start: ArrayLike, end: ArrayLike, which: TokenChoice = "last"
) -> NDArray[np.int32]:
    """
    Find the token of each character span of one text: the last (or first) token that overlaps it.

    A token that covers no character, such as a special token, overlaps nothing. A leading space that a byte-level
    tokenizer counts to a token belongs to no word, so it changes nothing; of the tokens that share one character's
    bytes, "last" is the last. A span that ends beyond the last token was cut off and has no token.

    Parameters
    ----------
    offsets : array_like of int, shape (n_tokens, 2)
        Character span of each token, in the order of the tokens.
    start, end : array_like of int, shape (n_spans,)
        Character spans.
    which : {"last", "first"}
        Which of the overlapping tokens.

    Returns
    -------
    ndarray of int32, shape (n_spans,)
        Token positions, -1 where there is none.
    """
    spans = np.asarray(offsets, dtype=np.int64).reshape(-1, 2)
    start, end = np.asarray(start, dtype=np.int64), np.asarray(end, dtype=np.int64)
    covering = np.flatnonzero(spans[:, 1] > spans[:, 0])
    if len(covering) == 0:
        return np.full(len(start), -1, dtype=np.int32)
    starts, ends = spans[covering].T
    first = np.searchsorted(ends, start, side="right")
    last = np.searchsorted(starts, end, side="left") - 1
    found = (first <= last) & (end <= ends[-1])
    chosen = last if which == "last" else first
    return np.where(found, covering[np.where(found, chosen, 0)], -1).astype(np.int32)


def align_rows(
    data: FeatureDataset, tokenizer: Any, max_length: int | None = None, which: TokenChoice = "last"
) -> Alignment:
    """
    Tokenize the texts of a dataset and find the token of each row.

    Parameters
    ----------
    data : FeatureDataset
        The rows.
    tokenizer : transformers tokenizer
        A fast tokenizer: it must give the characters of each token.
    max_length : int, optional
        Context length in tokens: longer texts are cut there.
    which : {"last", "first"}
        The token of a row is the last (or first) one that overlaps its word.

    Returns
    -------
    Alignment
        Token ids a text, and a token a row; the rows cut off have token -1.

    Raises
    ------
    InputError
        If `which` is neither, or the tokenizer gives no offsets.
    """
    if which not in ("last", "first"):
        raise InputError(f"the token of a word is its 'last' or its 'first', not {which!r}")
    if not getattr(tokenizer, "is_fast", False):
        raise InputError(
            f"the tokenizer {type(tokenizer).__name__} does not say which characters each token covers; "
            "give a fast tokenizer (one with a tokenizer.json)"
        )
    encoded = tokenizer(
        list(data.texts),
        return_offsets_mapping=True,
        return_attention_mask=False,
        truncation=max_length is not None,
        max_length=max_length,
    )
    token = np.full(data.n_rows, -1, dtype=np.int32)
    order = np.argsort(data.text, kind="stable")
    bounds = np.searchsorted(data.text[order], np.arange(len(data.texts) + 1))
    for t in range(len(data.texts)):
        rows = order[bounds[t] : bounds[t + 1]]
        if len(rows):
            token[rows] = tokens_of_spans(encoded["offset_mapping"][t], data.start[rows], data.end[rows], which)
    return Alignment(tuple(np.asarray(ids, dtype=np.int64) for ids in encoded["input_ids"]), token)
