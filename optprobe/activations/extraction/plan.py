"""
The order of an extraction: which texts run together, and in which order their rows come out.

Rows are taken text by text. Consecutive texts form a *chunk*, whose texts are sorted by length into *batches*; the rows
of a chunk follow those of the chunk before. The plan depends on the texts and on two numbers only, so that a run that
goes on where another stopped, or does a part of the work, runs the very same batches and finds the very same bits.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from optprobe.activations.store.shards import SHARD_ROWS, rows_of_shard

CHUNK_BATCHES = 16
"""A chunk of few labelled tokens holds about so many batches: enough texts to sort, little work to lose."""
ALIKE, FILLED = 0.9, 0.125
"""A batch that is filled to this share takes texts only of this share of its longest: less padding, more batches."""
BATCH_BYTES = 2**30
"""Values that a batch may leave on the host, all layers together."""

Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Batch:
    """
    Texts that run together.

    Parameters
    ----------
    texts : ndarray of int64, shape (n_texts,)
        The texts, the longest first.
    rows : ndarray of int64, shape (n_rows,)
        The rows in them, text by text.
    """

    texts: Ints
    rows: Ints

    def halves(self, text_of_row: NDArray[np.int32]) -> tuple[Batch, Batch]:
        """Return two batches of half the texts each."""
        first = self.texts[: (len(self.texts) + 1) // 2]
        inside = np.isin(text_of_row[self.rows], first)
        rest = self.texts[len(first) :]
        return Batch(first, self.rows[inside]), Batch(rest, self.rows[~inside])


@dataclass(frozen=True, eq=False)
class Chunk:
    """
    Consecutive texts, whose rows are `start` to `stop`.

    Parameters
    ----------
    start, stop : int
        The rows.
    n_tokens : int
        Tokens of its texts.
    batches : tuple of Batch
        Its texts, the longest first.
    """

    start: int
    stop: int
    n_tokens: int
    batches: tuple[Batch, ...]


@dataclass(frozen=True, eq=False)
class Plan:
    """
    Everything that is to be run.

    Parameters
    ----------
    row : ndarray of int64, shape (n_rows,)
        Index in the dataset of each row.
    text, first, last : ndarray of int32, shape (n_rows,)
        The text of each row, ascending, and its first and last token there.
    input_ids : tuple of ndarray of int64
        Token ids of every text.
    batch_tokens : int
        Tokens and padding of a batch, if more than one text is in it.
    batch_rows : int
        Rows of a batch, if more than one text is in it.
    """

    row: Ints
    text: NDArray[np.int32]
    first: NDArray[np.int32]
    last: NDArray[np.int32]
    input_ids: tuple[Ints, ...]
    batch_tokens: int
    batch_rows: int

    @property
    def n_rows(self) -> int:
        """Number of rows."""
        return len(self.row)

    @property
    def n_shards(self) -> int:
        """Number of shards of a layer."""
        return -(-self.n_rows // SHARD_ROWS)

    def digest(self) -> str:
        """Return the sha256 over the rows, their tokens, and the tokens of every text."""
        sha = hashlib.sha256()
        arrays: tuple[NDArray[Any], ...] = (self.row, self.text, self.first, self.last, *self.input_ids)
        for array in arrays:
            sha.update(f"{array.dtype} {len(array)}\n".encode())
            sha.update(np.ascontiguousarray(array).data)
        return sha.hexdigest()

    def padded(self, batch: Batch, pad: int) -> tuple[Ints, Ints]:
        """Return the token ids of a batch, (n_texts, longest), filled with `pad` on the right, and 1 for tokens."""
        lengths = np.array([len(self.input_ids[t]) for t in batch.texts])
        ids = np.full((len(lengths), int(lengths.max())), pad, dtype=np.int64)
        for i, t in enumerate(batch.texts):
            ids[i, : lengths[i]] = self.input_ids[t]
        return ids, (np.arange(ids.shape[1]) < lengths[:, None]).astype(np.int64)

    def chunks_of(self, shards: Iterable[int]) -> list[Chunk]:
        """Return the chunks that have a row in one of these shards, in order."""
        bounds = np.array([rows_of_shard(shard, self.n_rows) for shard in shards])
        return [c for c in self.chunks() if ((bounds[:, 0] < c.stop) & (bounds[:, 1] > c.start)).any()]

    def chunks(self) -> Iterator[Chunk]:
        """Yield the chunks in order; they hold every text with a row once."""
        texts, starts = np.unique(self.text, return_index=True)
        lengths = np.array([len(self.input_ids[t]) for t in texts], dtype=np.int64)
        bounds = np.append(starts, self.n_rows).astype(np.int64)
        begin = tokens = 0
        for i, length in enumerate(lengths):
            tokens += int(length)
            rows = int(bounds[i + 1] - bounds[begin])
            full = tokens >= self.batch_tokens and rows >= SHARD_ROWS
            if full or tokens >= CHUNK_BATCHES * self.batch_tokens or i + 1 == len(texts):
                place = np.arange(begin, i + 1)
                place = place[np.argsort(-lengths[place], kind="stable")]
                batches = tuple(self._batches(texts, lengths, bounds, place))
                yield Chunk(int(bounds[begin]), int(bounds[i + 1]), tokens, batches)
                begin, tokens = i + 1, 0

    def _batches(self, texts: NDArray[np.int32], lengths: Ints, bounds: Ints, place: Ints) -> Iterator[Batch]:
        """Yield batches of the texts at `place`, which are sorted by falling length."""
        n_rows = np.diff(bounds)
        start = 0
        while start < len(place):
            most = max(1, self.batch_tokens // int(lengths[place[start]]))
            among = place[start : start + most]
            within = np.cumsum(n_rows[among]) <= self.batch_rows
            small = np.arange(len(among)) * lengths[among[0]] < FILLED * self.batch_tokens
            within &= np.logical_and.accumulate(small | (lengths[among] >= ALIKE * lengths[among[0]]))
            stop = start + max(1, int(np.count_nonzero(within)))
            if stop - start == lengths[place[start]] > 1:
                stop -= 1  # as many texts as tokens would hide a model that runs its batches transposed
            part = place[start:stop]
            rows = np.concatenate([np.arange(bounds[p], bounds[p + 1]) for p in part])
            yield Batch(texts[part].astype(np.int64), rows)
            start = stop
