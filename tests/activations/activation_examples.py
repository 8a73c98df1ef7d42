"""Tiny random models, a small dataset in several scripts, and small random activations, for the tests beside it."""

from __future__ import annotations

import re
from types import MappingProxyType
from typing import Any

import numpy as np
from families import tiny_model

from optprobe.activations import Activations, NeuronMatrix
from optprobe.features import FeatureDataset

__all__ = ["TEXTS", "small_activations", "tiny_model", "words_dataset"]

TEXTS = (
    "The quick brown fox jumps over the lazy dog.",
    "Une forêt enneigée près de Besançon, à l'aube.",
    "Снег лежит на берегу реки.",
    "def area(r):\n    return 3.14 * r ** 2\n",
    "Größe und Höhe; naïve façade: 42!",
)


def words_dataset(texts: tuple[str, ...] = TEXTS, every: int = 1) -> FeatureDataset:
    """Return every word of the texts, labelled by whether it begins with a capital letter."""
    spans = [(t, m.start(), m.end()) for t, text in enumerate(texts) for m in re.finditer(r"\w+|[^\w\s]", text)][
        ::every
    ]
    text, start, end = np.array(spans, dtype=np.int32).T
    labels = np.array([1 if texts[t][a].isupper() else -1 for t, a, _ in spans], dtype=np.int8)
    return FeatureDataset("words", texts, text, start, end, text, {"capital": labels}, {"capital": "+1 if capital"})


def small_activations(seed: int = 0, n_rows: int = 40) -> Activations:
    """Return random activations of two layers and two features."""
    rng = np.random.default_rng(seed)
    group = (np.arange(n_rows) // 4).astype(np.int32)
    labels = {
        "even": np.where(np.arange(n_rows) % 2 == 0, 1, -1).astype(np.int8),
        "rare": rng.choice([-1, 0, 1], size=n_rows).astype(np.int8),
    }
    manifest: dict[str, Any] = {
        "model": "tiny",
        "revision": None,
        "hook": "mlp.post",
        "dataset": {"name": "numbers", "digest": "0" * 64, "licence": "MIT"},
        "features": {"even": "+1 for even rows", "rare": "drawn"},
        "layers": [1, 4],
        "d_mlp": [6, 9],
        "values": ["float32", "float32"],
        "n_rows": n_rows,
        "dropped_rows": 0,
    }
    return Activations(
        manifest=MappingProxyType(manifest),
        row=np.arange(n_rows, dtype=np.int32),
        text=group,
        start=np.arange(n_rows, dtype=np.int32),
        end=np.arange(1, n_rows + 1, dtype=np.int32),
        token=np.arange(n_rows, dtype=np.int32),
        group=group,
        labels=labels,
        matrices={
            layer: NeuronMatrix.of(rng.normal(size=(n_rows, d)).astype(np.float32)) for layer, d in ((1, 6), (4, 9))
        },
    )
