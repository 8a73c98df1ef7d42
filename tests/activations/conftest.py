"""The bundled tokenizer and a small dataset, shared by the tests of this folder."""

from __future__ import annotations

from typing import Any

import pytest
from activation_examples import words_dataset

from optprobe.activations import load_tokenizer
from optprobe.features import FeatureDataset


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    """Return the bundled tokenizer."""
    return load_tokenizer("bundled")


@pytest.fixture(scope="session")
def words() -> FeatureDataset:
    """Return the small dataset."""
    return words_dataset()
