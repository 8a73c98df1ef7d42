"""Neurons that others name: tables of neurons, and results that list columns."""

from __future__ import annotations

import csv
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from formulations import InputError


def read_ranking(
    path: str | Path, feature: str | None = None, layer: int | None = None, k: int | None = None
) -> tuple[int, ...]:
    """
    Return the neurons that a file names for a feature at a layer, in its order.

    Parameters
    ----------
    path : str or Path
        A CSV with a column ``neuron``, and where it speaks of several, columns ``layer`` and ``feature`` (such as the
        tables of interpretable neurons of Gurnee et al. 2023); or a JSON list of objects whose ``indices`` are columns
        (such as the results of sae-probes), of which the first of ``k`` columns counts, or else the longest.
    feature : str, optional
    layer : int, optional
        Which rows of a CSV count, where it has such columns.
    k : int, optional
        Which list of a JSON file counts, where there are several: sets of each size need not hold one another.

    Returns
    -------
    tuple of int
        The neurons, each once.

    Raises
    ------
    InputError
        If the file cannot be read, is neither, or names no neuron of this feature and layer.
    """
    path = Path(path)
    try:
        text = path.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"the ranking {path} cannot be read: {getattr(error, 'strerror', None) or error}") from error
    found = list(_listed(path, text, k) if path.suffix == ".json" else _tabled(path, text, feature, layer))
    if not found:
        where = f" for the feature {feature!r} at layer {layer}" if path.suffix != ".json" else ""
        raise InputError(f"the ranking {path} names no neuron{where}")
    return tuple(dict.fromkeys(found))


def _tabled(path: Path, text: str, feature: str | None, layer: int | None) -> Iterator[int]:
    """The neurons of a CSV, row after row."""
    rows = csv.DictReader(text.splitlines())
    names = rows.fieldnames or []
    if "neuron" not in names:
        raise InputError(f"the ranking {path} has no column 'neuron', only {', '.join(names) or 'nothing'}")
    for row in rows:
        if feature is not None and "feature" in names and row["feature"] != feature:
            continue
        if layer is not None and "layer" in names and row["layer"] != str(layer):
            continue
        if not (row["neuron"] or "").isdecimal():
            raise InputError(
                f"line {rows.line_num} of the ranking {path} has the neuron {row['neuron']!r}: give numbers"
            )
        yield int(row["neuron"])


def _listed(path: Path, text: str, k: int | None) -> list[int]:
    """The first list of k columns in a JSON file, or else the longest."""
    try:
        stated: Any = json.loads(text)
        lists = [list(entry["indices"]) for entry in stated]
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"the ranking {path} is no JSON list of objects with indices") from error
    chosen: list[int] = max(lists, key=lambda columns: (len(columns) == k, len(columns)), default=[])
    if not all(type(neuron) is int and neuron >= 0 for neuron in chosen):
        raise InputError(f"the ranking {path} has indices that are no numbers of columns")
    return chosen
