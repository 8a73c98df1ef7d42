"""Next-token versions of features: the label of a token, read at the token before it."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np

from optprobe.errors import InputError
from optprobe.features.dataset import FeatureDataset
from optprobe.features.tokens import tokens_of


def next_token(data: FeatureDataset, tokenizer: Any) -> FeatureDataset:
    """
    Move every row to the token before its first one, so that a probe must foresee the label.

    Parameters
    ----------
    data : FeatureDataset
        Rows that are single tokens or words (aggregation "none").
    tokenizer : transformers tokenizer
        A fast tokenizer, the one of the model to be probed.

    Returns
    -------
    FeatureDataset
        With `next_` before each feature's name, without the rows that no token stands before.

    Raises
    ------
    InputError
        If rows are aggregated over several tokens, the tokenizer gives no offsets, or no row is left.
    """
    if data.aggregation != "none":
        raise InputError(f"dataset {data.name!r} takes the {data.aggregation} over tokens, so no one token is the next")
    start, end = data.start.copy(), data.end.copy()
    moved = np.zeros(data.n_rows, dtype=bool)
    order = np.argsort(data.text, kind="stable")
    bounds = np.searchsorted(data.text[order], np.arange(len(data.texts) + 1))
    for t, text in enumerate(data.texts):
        rows = order[bounds[t] : bounds[t + 1]]
        tokens = tokens_of(text, tokenizer)
        ends = np.array([token.end for token in tokens])
        before = np.searchsorted(ends, data.start[rows], side="right") - 1
        has = before >= 0
        moved[rows] = has
        start[rows[has]] = [tokens[i].start for i in before[has]]
        end[rows[has]] = [tokens[i].end for i in before[has]]
    kept = replace(data, start=start, end=end).take(moved)
    return replace(
        kept,
        name=f"{data.name}/next",
        labels={f"next_{name}": y for name, y in kept.labels.items()},
        values={f"next_{name}": v for name, v in kept.values.items()},
        rules={f"next_{name}": f"{rule}; read at the token before" for name, rule in data.rules.items()},
        provenance={**data.provenance, "read at": "the token before the word's first"},
    )
