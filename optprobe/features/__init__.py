"""Features: labelled words, their tokens, and the split into training and test documents."""

from __future__ import annotations

from optprobe.errors import InputError
from optprobe.features.alignment import Alignment, align_rows
from optprobe.features.bundled import bundled_dataset
from optprobe.features.dataset import FeatureDataset
from optprobe.features.splits import grouped_split

__all__ = ["Alignment", "FeatureDataset", "align_rows", "grouped_split", "load"]


def load(name: str) -> FeatureDataset:
    """
    Return a dataset by its name, or the rows of one of its features.

    Parameters
    ----------
    name : str
        "bundled", or one of its features, such as "is_french".

    Returns
    -------
    FeatureDataset
        The dataset, or its selection of that feature.

    Raises
    ------
    InputError
        If there is no dataset or feature of that name: the sentence lists those there are.
    """
    data = bundled_dataset()
    if name == data.name:
        return data
    if name in data.labels:
        return data.select(name)
    raise InputError(f"there is no dataset or feature {name!r}; there are {', '.join((data.name, *data.features))}")
