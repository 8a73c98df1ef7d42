"""
Equal and nearly equal texts, and labels that contradict each other.

Texts are equal in their words if the same letters and digits follow each other, in capitals or not. They are nearly
equal if their sets of three words in a row overlap by a share (Jaccard) of at least `SIMILARITY`; texts of fewer words
never are. Candidates for that come from min-hashing in bands (Broder, On the resemblance and containment of documents,
1997; Leskovec, Rajaraman, Ullman, Mining of massive datasets, chapter 3), which misses a pair at the share 0.8 about
once in 5,000 times, and each candidate is compared exactly. The same texts always give the same sets.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from zlib import crc32

import numpy as np
from numpy.typing import NDArray

from optprobe.features.dataset import FeatureDataset

SIMILARITY = 0.8
_BANDS, _ROWS_OF_BAND, _WORDS = 16, 4, 3
_WORD = re.compile(r"[^\W_]+")

Ints = NDArray[np.int64]


def equal_texts(texts: Iterable[str]) -> Ints:
    """
    Number texts so that equal texts, and no others, have the same number.

    Parameters
    ----------
    texts : iterable of str
        The texts.

    Returns
    -------
    ndarray of int64, shape (n_texts,)
        0 for the first text and those equal to it, 1 for the next, ...
    """
    seen: dict[str, int] = {}
    return np.array([seen.setdefault(text, len(seen)) for text in texts], dtype=np.int64)


def similar_texts(texts: Sequence[str], similarity: float = SIMILARITY) -> Ints:
    """
    Number texts so that texts equal in their words, or nearly equal, have the same number.

    Parameters
    ----------
    texts : sequence of str
        The texts.
    similarity : float
        Least share of common triples of words in all of a pair's; texts that are linked by others are one set.

    Returns
    -------
    ndarray of int64, shape (n_texts,)
        Set of each text, numbered as they come.
    """
    words = [_WORD.findall(text.casefold()) for text in texts]
    forms = equal_texts(" ".join(w) or text.strip() for w, text in zip(words, texts))
    firsts = np.unique(forms, return_index=True)[1]
    triples = {form: _triples(words[i]) for form, i in enumerate(firsts) if len(words[i]) >= _WORDS}
    pairs = [(a, b) for a, b in _candidates(triples) if _jaccard(triples[a], triples[b]) >= similarity]
    return _in_order(_components(len(firsts), pairs)[forms])


def group_duplicates(data: FeatureDataset, similarity: float = SIMILARITY) -> FeatureDataset:
    """
    Make one document of all documents that share equal or nearly equal texts, so that no split separates them.

    Parameters
    ----------
    data : FeatureDataset
        The rows.
    similarity : float
        As in `similar_texts`.

    Returns
    -------
    FeatureDataset
        The same rows; documents numbered as they come, and the number of repeated texts in the provenance.
    """
    similar = similar_texts(data.texts, similarity)
    n_repeated = len(data.texts) - int(similar.max()) - 1
    _, group = np.unique(data.group, return_inverse=True)
    of_text = similar[data.text] + group.max() + 1
    joined = _components(int(of_text.max()) + 1, np.unique(np.stack([group, of_text], axis=1), axis=0))
    note = f"{n_repeated} texts equal or nearly equal another and share its document"
    return replace(
        data,
        group=_in_order(joined[group]).astype(np.int32),
        provenance={**data.provenance, "duplicates": note} if n_repeated else data.provenance,
    )


def conflicts(data: FeatureDataset) -> dict[str, NDArray[np.intp]]:
    """
    Find the rows with contradicting labels: the same span of equal texts is +1 in one row and -1 in another.

    Parameters
    ----------
    data : FeatureDataset
        The rows.

    Returns
    -------
    dict of str to ndarray of intp
        For each feature, all rows that take part in a contradiction.
    """
    spans = np.stack([equal_texts(data.texts)[data.text], data.start, data.end], axis=1)
    _, place = np.unique(spans, axis=0, return_inverse=True)
    found = {}
    for feature, y in data.labels.items():
        positive, negative = (np.bincount(place, y == sign) > 0 for sign in (1, -1))
        found[feature] = np.flatnonzero((positive & negative)[place] & (y != 0))
    return found


def drop_conflicts(data: FeatureDataset) -> FeatureDataset:
    """
    Take contradicting labels away, all of them, and count them in the provenance.

    Parameters
    ----------
    data : FeatureDataset
        The rows.

    Returns
    -------
    FeatureDataset
        Without the rows that have no label left; the dataset itself where nothing contradicts.

    Raises
    ------
    InputError
        If nothing is left.
    """
    found = {feature: rows for feature, rows in conflicts(data).items() if len(rows)}
    if not found:
        return data
    labels = {feature: y.copy() for feature, y in data.labels.items()}
    for feature, rows in found.items():
        labels[feature][rows] = 0
    note = ", ".join(f"{feature} {len(rows)}" for feature, rows in found.items())
    dropped = replace(data, labels=labels, provenance={**data.provenance, "contradicting labels dropped": note})
    left = [y != 0 for y in labels.values()] + [~np.isnan(v) for v in data.values.values()]
    return dropped.take(np.any(left, axis=0))


def _triples(words: list[str]) -> NDArray[np.uint64]:
    """Return the hashes of the different triples of words in a row, ascending."""
    hashed = np.array([crc32(word.encode()) for word in words], dtype=np.uint64)
    combined = np.zeros(len(words) - _WORDS + 1, dtype=np.uint64)
    for k in range(_WORDS):
        combined = (combined * np.uint64(0x9E3779B97F4A7C15)) ^ hashed[k : len(words) - _WORDS + 1 + k]
        combined ^= combined >> np.uint64(29)
    return np.unique(combined)


def _candidates(triples: Mapping[int, NDArray[np.uint64]]) -> list[tuple[int, int]]:
    """Return pairs of texts that agree in all min-hashes of a band: neighbours in it, and each with its first."""
    if not triples:
        return []
    names = np.array(list(triples))
    begins = np.cumsum([0, *(len(t) for t in triples.values())])[:-1]
    every = np.concatenate(list(triples.values()))
    multipliers = np.random.default_rng(0).integers(2**63, size=(_BANDS, _ROWS_OF_BAND), dtype=np.uint64) * 2 + 1
    pairs: set[tuple[int, int]] = set()
    for band in multipliers:
        hashes = np.stack([np.minimum.reduceat(_mix(every * factor), begins) for factor in band], axis=1)
        order = np.lexsort(hashes.T)
        same = np.all(hashes[order[1:]] == hashes[order[:-1]], axis=1)
        first = order[np.maximum.accumulate(np.where(np.r_[True, ~same], np.arange(len(order)), 0))]
        for a, b, c in zip(order[:-1][same], order[1:][same], first[1:][same]):
            pairs |= {(int(names[a]), int(names[b])), (int(names[c]), int(names[b]))}
    return sorted(pairs)


def _mix(values: NDArray[np.uint64]) -> NDArray[np.uint64]:
    values = values ^ (values >> np.uint64(32))
    values *= np.uint64(0xD6E8FEB86659FD93)
    return values ^ (values >> np.uint64(32))


def _jaccard(a: NDArray[np.uint64], b: NDArray[np.uint64]) -> float:
    common = len(np.intersect1d(a, b, assume_unique=True))
    return common / (len(a) + len(b) - common)


def _components(n: int, pairs: Iterable[Sequence[int]] | Ints) -> Ints:
    """Return the connected component of each of n nodes."""
    from scipy.sparse import coo_array
    from scipy.sparse.csgraph import connected_components

    a, b = np.array(list(pairs), dtype=np.int64).reshape(-1, 2).T
    graph = coo_array((np.ones(len(a), dtype=bool), (a, b)), shape=(n, n))
    return np.asarray(connected_components(graph, directed=False)[1], dtype=np.int64)


def _in_order(names: NDArray[np.integer]) -> Ints:
    """Number the names 0, 1, ... in the order in which they come."""
    _, first, inverse = np.unique(names, return_index=True, return_inverse=True)
    return np.asarray(np.argsort(np.argsort(first))[inverse], dtype=np.int64)
