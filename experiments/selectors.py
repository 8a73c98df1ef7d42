"""How published code for probes of sparse autoencoders chooses its latents, here on neurons: the best first.

Each is a function of training values X (n_rows, n_neurons) and labels y (n_rows,) in {-1, +1} and returns the neurons,
largest score first, equal scores by index. None of them knows of weights, loss, ridge or k.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
from numpy.typing import NDArray

Values = NDArray[np.floating[Any]]
Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


def mean_difference_raw(X: Values, y: Floats) -> Ints:
    """By ``|m_j+ - m_j-|``, the distance of the class means as the neurons are, not standardised.

    SAEBench 0.6.0, k-sparse probing; sae-probes 0.4.2 where ``mean_diff_normalization`` is "none".
    """
    return _largest(_distance(np.asarray(X, dtype=np.float64), y))


def mean_difference_by_mean(X: Values, y: Floats) -> Ints:
    """By the same distance, of each neuron divided by the mean of ``|x|`` over the rows where it is not 0.

    sae-probes 0.4.2 by default. Its 1e-6 beside each denominator is kept: a neuron that is next to 0 is not promoted.
    """
    values = np.asarray(X, dtype=np.float64)
    mean = np.abs(values).sum(axis=0) / ((values != 0).sum(axis=0) + 1e-6)
    return _largest(_distance(values, y) / (mean + 1e-6))


SELECTORS: dict[str, Callable[[Values, Floats], Ints]] = {
    function.__name__: function for function in (mean_difference_raw, mean_difference_by_mean)
}
"""Every one by name."""


def _distance(X: Floats, y: Floats) -> Floats:
    """The distance of the class means, shape (n_neurons,)."""
    return np.asarray(np.abs(X[y > 0].mean(axis=0) - X[y < 0].mean(axis=0)))


def _largest(scores: Floats) -> Ints:
    return np.argsort(-scores, kind="stable").astype(np.int64)
