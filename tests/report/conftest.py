"""Labelled rows made at random, and the cases of a small run on them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from types import MappingProxyType

import numpy as np
import pytest

from optprobe.activations import LabelledActivations
from optprobe.data import problem
from optprobe.report import Case, certified_case


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


@pytest.fixture(scope="session")
def rows() -> Callable[[str, int], LabelledActivations]:
    """How rows are made."""
    return made_rows


@pytest.fixture(scope="session")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    """Two features, two layers, k = 1 and 2, squared loss; and one logistic case."""
    folder: Path = tmp_path_factory.mktemp("run") / "certificates"
    found = []
    for feature in ("is_<b>bold</b>", "is_plain"):
        for layer in (0, 3):
            data = made_rows(feature, layer)
            whole = problem(data, 1, loss="squared", ridge=0.01, class_weight="balanced")
            found += [certified_case(data, whole.restated(k=k), folder, draws=100) for k in (1, 2)]
    logistic = problem(made_rows("is_plain", 3), 2, loss="logistic", ridge=0.1)
    return [*found, certified_case(made_rows("is_plain", 3), logistic, folder, method="branch_and_cut", draws=100)]
