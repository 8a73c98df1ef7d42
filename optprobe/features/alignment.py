"""From character spans to tokens, through the offsets of a fast tokenizer."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from optprobe.errors import InputError
from optprobe.features.dataset import FeatureDataset

TokenChoice = Literal["last", "first", "every"]

_TEXTS_AT_ONCE = 1_000
_BYTE = re.compile(r"<0x([0-9A-F]{2})>")
_BYTE_LEVEL_SPACE = "Ġ"
_SPACE_MARKS = ("▁", _BYTE_LEVEL_SPACE)


@dataclass(frozen=True, eq=False)
class Alignment:
    """
    The tokens of a dataset's texts, and those of each row.

    Parameters
    ----------
    input_ids : tuple of ndarray of int64, each of shape (n_tokens,)
        Token ids of each text, with the tokenizer's own special tokens, cut at the context length.
    row : ndarray of int64, shape (n_aligned,)
        Index in the dataset of each aligned row, ascending. Rows without a token are missing; "every" repeats a row for
        each of its tokens.
    first, last : ndarray of int32, shape (n_aligned,)
        Positions in `input_ids[text]` of the first and the last token to be read; equal where one token is read.
    n_dropped : int
        Number of rows of the dataset without a token: their span lies (in part) beyond the context, or no token covers
        it.
    """

    input_ids: tuple[NDArray[np.int64], ...]
    row: NDArray[np.int64]
    first: NDArray[np.int32]
    last: NDArray[np.int32]
    n_dropped: int

    @property
    def token(self) -> NDArray[np.int32]:
        """The token of each aligned row, the last where it reads several."""
        return self.last


def tokens_of_spans(
    offsets: ArrayLike,
    start: ArrayLike,
    end: ArrayLike,
    context_ends: int | None = None,
    context_begins: int | None = None,
) -> tuple[NDArray[np.int32], NDArray[np.int32]]:
    """
    Find the first and the last token that overlap each character span of one text.

    A token that covers no character, such as a special token, overlaps nothing. A leading space that a byte-level
    tokenizer counts to a token belongs to no word, so it changes nothing. Of the tokens that share one character's
    bytes, the first is the first and the last the last.

    Parameters
    ----------
    offsets : array_like of int, shape (n_tokens, 2)
        Character span of each token; starts and ends do not fall.
    start, end : array_like of int, shape (n_spans,)
        Character spans.
    context_ends : int, optional
        Spans that end beyond this character have no token: the text was cut there.
    context_begins : int, optional
        Likewise spans that start before this one.

    Returns
    -------
    first, last : ndarray of int32, shape (n_spans,)
        Token positions, -1 where there is none.
    """
    spans = np.asarray(offsets, dtype=np.int64).reshape(-1, 2)
    start, end = np.asarray(start, dtype=np.int64), np.asarray(end, dtype=np.int64)
    covering = np.flatnonzero(spans[:, 1] > spans[:, 0])
    if len(covering) == 0:
        none = np.full(len(start), -1, dtype=np.int32)
        return none, none
    starts, ends = spans[covering].T
    first = np.searchsorted(ends, start, side="right")
    last = np.searchsorted(starts, end, side="left") - 1
    found = first <= last
    if context_ends is not None:
        found &= end <= context_ends
    if context_begins is not None:
        found &= start >= context_begins
    first_token, last_token = (np.where(found, covering[np.where(found, i, 0)], -1) for i in (first, last))
    return first_token.astype(np.int32), last_token.astype(np.int32)


def align_rows(
    data: FeatureDataset, tokenizer: Any, max_length: int | None = None, which: TokenChoice = "last"
) -> Alignment:
    """
    Tokenize the texts of a dataset and find the tokens of each row.

    Parameters
    ----------
    data : FeatureDataset
        The rows. Where its aggregation is "mean" or "max", a row has all tokens that overlap its span and lie within
        the context.
    tokenizer : transformers tokenizer
        A fast tokenizer: it must give the characters of each token.
    max_length : int, optional
        Context length in tokens: longer texts are cut there.
    which : {"last", "first", "every"}
        Where the aggregation is "none": a row has the last, or the first, token that overlaps its span and is dropped
        where the context cuts its span; or it becomes one row for each of its tokens.

    Returns
    -------
    Alignment
        Token ids a text, and the tokens of the rows that have any.

    Raises
    ------
    InputError
        If `which` is none of the three, or the tokenizer gives no offsets.
    """
    if which not in get_args(TokenChoice):
        raise InputError(f"the token of a word is its 'last', its 'first' or 'every' one, not {which!r}")
    if not getattr(tokenizer, "is_fast", False):
        raise InputError(
            f"the tokenizer {type(tokenizer).__name__} does not say which characters each token covers; "
            "give a fast tokenizer (one with a tokenizer.json)"
        )
    whole = data.aggregation != "none"
    first, last = (np.full(data.n_rows, -1, dtype=np.int32) for _ in range(2))
    row_parts, token_parts = [], []
    input_ids: list[NDArray[np.int64]] = []
    order = np.argsort(data.text, kind="stable")
    bounds = np.searchsorted(data.text[order], np.arange(len(data.texts) + 1))
    for t, encoding in enumerate(encodings(data.texts, tokenizer, max_length)):
        input_ids.append(np.asarray(encoding.ids, dtype=np.int64))
        rows = order[bounds[t] : bounds[t + 1]]
        if len(rows) == 0:
            continue
        offsets = characters_of_tokens(encoding, data.texts[t])
        cut = _cut(offsets, tokenizer.truncation_side) if encoding.overflowing and not whole else {}
        first[rows], last[rows] = tokens_of_spans(offsets, data.start[rows], data.end[rows], **cut)
        if which == "every" and not whole:
            covering = np.flatnonzero(offsets[:, 1] > offsets[:, 0])
            for row in rows[last[rows] >= 0]:
                tokens = covering[(covering >= first[row]) & (covering <= last[row])]
                row_parts.append(np.full(len(tokens), row))
                token_parts.append(tokens)
    found = np.flatnonzero(last >= 0)
    n_dropped = data.n_rows - len(found)
    if which == "every" and not whole and row_parts:
        row, token = np.concatenate(row_parts), np.concatenate(token_parts).astype(np.int32)
        order = np.lexsort((token, row))
        return Alignment(tuple(input_ids), row[order], token[order], token[order], n_dropped)
    if not whole:
        first = last = first if which == "first" else last
    return Alignment(tuple(input_ids), found, first[found], last[found], n_dropped)


def _cut(offsets: NDArray[np.int64], side: str) -> dict[str, int]:
    """Return where the context of a truncated text begins or ends, as `tokens_of_spans` takes it."""
    starts, ends = offsets[offsets[:, 1] > offsets[:, 0]].T
    if side == "left":
        return {"context_begins": int(starts.min(initial=np.iinfo(np.int64).max))}
    return {"context_ends": int(ends.max(initial=0))}


def encodings(texts: Sequence[str], tokenizer: Any, max_length: int | None) -> Any:
    """Yield the encoding of each text, with the tokenizer's special tokens, cut at the context length."""
    for i in range(0, len(texts), _TEXTS_AT_ONCE):
        batch = list(texts[i : i + _TEXTS_AT_ONCE])
        yield from tokenizer(batch, verbose=False, truncation=max_length is not None, max_length=max_length).encodings


def characters_of_tokens(encoding: Any, text: str) -> NDArray[np.int64]:
    """
    Return the characters that each token covers: the tokenizer's own offsets, put right where they claim too much.

    A lone mark of a space that the tokenizer itself put before a word claims its first character, and covers none; a
    token that begins with such a mark may disclaim that character in its place, and covers it.
    Byte tokens, with which a tokenizer spells what its vocabulary lacks, may each claim the whole run of characters
    that they spell together; each covers the one character that its byte belongs to.

    Parameters
    ----------
    encoding : tokenizers.Encoding
        Tokens and offsets of one text.
    text : str
        The text.

    Returns
    -------
    ndarray of int64, shape (n_tokens, 2)
        Start and end; equal where the token covers no character.
    """
    spans = np.array(encoding.offsets, dtype=np.int64).reshape(-1, 2)
    tokens: list[str] = encoding.tokens
    for i, token in enumerate(tokens):
        start, end = spans[i].tolist()
        if token in _SPACE_MARKS and text[start:end] != token and not text[start:end].isspace():
            spans[i, 1] = start
        elif token.startswith(_BYTE_LEVEL_SPACE) and start > 0 and not text[start - 1].isspace():
            disclaimed = start == end or text[start - 1 : end] == token[1:]
            spans[i, 0] -= disclaimed and len(token) > 1
    spelled = [i for i, token in enumerate(tokens) if token.startswith("<0x") and _BYTE.fullmatch(token)]
    for (start, end, _), places in groupby(enumerate(spelled), key=lambda x: (*spans[x[1]].tolist(), x[1] - x[0])):
        run = [i for _, i in places]
        content = bytes(int(tokens[i][3:5], 16) for i in run)
        if end - start > 1 and content.decode(errors="replace") == text[start:end]:
            starts = np.cumsum([byte & 0xC0 != 0x80 for byte in content]) - 1
            spans[run, 0], spans[run, 1] = start + starts, start + starts + 1
    return spans
