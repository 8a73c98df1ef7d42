"""Features: labelled words, their tokens, and the split into training and test documents."""

from __future__ import annotations

from pathlib import Path

from optprobe.errors import InputError
from optprobe.features.alignment import Alignment, align_rows
from optprobe.features.bundled import bundled_dataset, bundled_words
from optprobe.features.dataset import FeatureDataset
from optprobe.features.splits import Parts, grouped_split, three_way_split

__all__ = ["Alignment", "FeatureDataset", "Parts", "align_rows", "grouped_split", "load", "three_way_split"]


def load(name: str | Path) -> FeatureDataset:
    """
    Return a dataset by its name or folder, or the rows of one of the bundled features.

    Parameters
    ----------
    name : str or Path
        "bundled", one of its features, such as "is_french", "bundled_words" (the same texts, with every word labelled),
        or a folder that `FeatureDataset.save` wrote.

    Returns
    -------
    FeatureDataset
        The dataset, or its selection of that feature.

    Raises
    ------
    InputError
        If there is no dataset or feature of that name, and no such folder: the sentence lists those there are.
    StoreDamaged
        If a file of the folder is missing, truncated or altered.
    """
    if isinstance(name, Path) or Path(name).is_dir():
        return FeatureDataset.open(name)
    data = bundled_dataset()
    if name == data.name:
        return data
    if name in data.labels:
        return data.select(name)
    if name == (every := bundled_words()).name:
        return every
    raise InputError(f"there is no dataset or feature {name!r}; there are {', '.join((data.name, *data.features))}")
