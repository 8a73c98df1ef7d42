"""Position in the context as a number to be predicted: five scales of it (Gurnee et al. 2023)."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import numpy as np

from optprobe.errors import InputError
from optprobe.features.catalogue import BuildOptions, Category, Feature
from optprobe.features.dataset import FeatureDataset
from optprobe.features.labelling import CONTEXT, Document, windows
from optprobe.features.sources.documents import read_documents
from optprobe.features.tokens import name_of, tokens_of

NAME = "position"
RULES = {
    "abs_pos": "the number of tokens before the token, special ones included",
    "norm_abs_pos": "abs_pos divided by the standard deviation of 0, 1, ..., length - 1",
    "rel_pos": "abs_pos minus the mean of 0, 1, ..., length - 1",
    "norm_rel_pos": "rel_pos divided by the standard deviation of 0, 1, ..., length - 1",
    "log_pos": "the logarithm to base 2 of abs_pos + 1",
}


def position(
    documents: Iterable[Document],
    tokenizer: Any,
    *,
    length: int = 128,
    rows: int = 50_000,
    seed: int = 0,
    provenance: Mapping[str, str] | None = None,
    licence: str = "",
) -> FeatureDataset:
    """
    Draw tokens of contexts that are all of one length, with their positions.

    Parameters
    ----------
    documents : iterable of Document
        Any texts. The characters after a context's last token are cut off, and shorter contexts are left out.
    tokenizer : transformers tokenizer
        A fast tokenizer, the one of the model to be probed.
    length : int
        Tokens of a context, special ones included.
    rows : int
        Tokens drawn at most.
    seed : int
        Of the draw.
    provenance, licence
        As in `FeatureDataset`.

    Returns
    -------
    FeatureDataset
        One row a token, with five targets and no labels.

    Raises
    ------
    InputError
        If the tokenizer gives no offsets, `length` is under 2, or no text is that long.
    """
    if length < 2:
        raise InputError(f"positions need contexts of at least 2 tokens, and {length} was given")
    texts: list[str] = []
    groups: dict[str, int] = {}
    spans: list[tuple[int, int, int, int, int]] = []
    for document in documents:
        for begin, end in windows(document.text, max(CONTEXT, 8 * length)):
            text = document.text[begin:end]
            tokens = tokens_of(text, tokenizer, length)
            if tokens and tokens[-1].end < len(text):
                group = groups.setdefault(document.name, len(groups))
                spans += [(len(texts), t.start, t.end, group, t.position) for t in tokens]
                texts.append(text[: tokens[-1].end])
    if not texts:
        raise InputError(f"{(provenance or {}).get('source', NAME)}: no text is longer than {length} tokens")
    chosen = np.sort(np.random.default_rng(seed).permutation(len(spans))[:rows])
    columns = np.array(spans)[chosen].T
    absolute = columns[4].astype(np.float64)
    all_positions = np.arange(length)
    relative = absolute - all_positions.mean()
    deviation = all_positions.std()
    data = FeatureDataset(
        name=NAME,
        texts=tuple(texts),
        text=columns[0],
        start=columns[1],
        end=columns[2],
        group=columns[3],
        labels={},
        rules=RULES,
        licence=licence,
        provenance={**(provenance or {}), "tokenizer": name_of(tokenizer), "length": str(length)},
        values={
            "abs_pos": absolute,
            "norm_abs_pos": absolute / deviation,
            "rel_pos": relative,
            "norm_rel_pos": relative / deviation,
            "log_pos": np.log2(absolute + 1),
        },
    )
    return data.take(np.arange(data.n_rows))


def _build(options: BuildOptions) -> FeatureDataset:
    found = read_documents(options)
    return position(
        found.documents,
        options.tokenizer,
        rows=50_000 if options.max_rows is None else options.max_rows,
        seed=options.seed,
        provenance=found.provenance,
        licence=found.licence,
    )


CATEGORY = Category(
    NAME, tuple(Feature(name, NAME, rule, "any texts") for name, rule in RULES.items()), _build, needs_tokenizer=True
)
