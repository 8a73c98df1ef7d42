"""Labelled rows made at random."""

from __future__ import annotations

from types import MappingProxyType

import numpy as np

from optprobe.activations import LabelledActivations


def made_rows(feature: str, layer: int, n_neurons: int = 10) -> LabelledActivations:
    """240 rows of 40 documents, the label a noisy function of three correlated neurons; 12 documents are held out."""
    rng = np.random.default_rng([layer, *feature.encode()])
    document = np.repeat(np.arange(40), 6)
    X = rng.standard_normal((240, n_neurons)) + 0.7 * rng.standard_normal((240, 1))
    hidden = X[:, 1] + X[:, 4] - 1.2 * X[:, 7] + 0.3 * rng.standard_normal(40)[document]
    y = np.where(hidden + 0.8 * rng.standard_normal(240) > 0.6, 1.0, -1.0)
    X = X.astype(np.float32)
    test = document >= 28
    return LabelledActivations(
        X[~test], y[~test], None, document[~test], X[test], y[test], document[test],
        MappingProxyType({"model": "made", "feature": feature, "layer": layer}),
    )  # fmt: skip
