"""What the study of contexts adds up: the context of a text, and when a deletion is specific."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from experiments.context_neurons import (
    CONTROL,
    MEAN_DIFFERENCE,
    OPTIMUM,
    OTHERS,
    OWN,
    RUNNER_UP,
    class_of_texts,
    neuron_rows,
)
from optprobe.cases import Case
from optprobe.features import FeatureDataset


def test_a_text_is_of_a_context_where_its_rows_agree() -> None:
    data = FeatureDataset(
        name="made",
        texts=("one two", "three four", "five six", "seven eight"),
        text=np.array([0, 0, 1, 1, 2, 3]),
        start=np.array([0, 4, 0, 6, 0, 0]),
        end=np.array([3, 7, 5, 10, 4, 5]),
        group=np.array([0, 0, 1, 1, 2, 3]),
        labels={"a": np.array([1, 0, 1, -1, -1, 0], dtype=np.int8)},
        rules={"a": "made by hand"},
    )
    assert class_of_texts(data, "a").tolist() == [1, 0, -1, 0]


def effects(
    own: float, low: float, outside: float, runner_up: float, raw: float, control: float
) -> list[dict[str, Any]]:
    rows = []
    roles = {OPTIMUM: (7, own), RUNNER_UP: (8, runner_up), f"{CONTROL} 1": (3, control)}
    roles[MEAN_DIFFERENCE] = (7 if raw == own else 9, raw)
    for role, (neuron, added) in roles.items():
        row = {"feature": "is_plain", "role": role, "how": "zero", "neuron": neuron}
        rows += [row | {"part": OWN, "added": added, "low": low, "high": 2 * added, "n_documents": 9}]
        rows += [row | {"part": OTHERS, "added": outside, "low": 0.0, "high": 0.1, "n_documents": 9}]
    return rows


@pytest.mark.parametrize(
    ("given", "specific"),
    [
        ((0.03, 0.02, 0.001, 0.01, 0.012, 0.004), True),
        ((0.03, 0.02, 0.001, 0.01, 0.03, 0.004), True),  # the raw choice is the same neuron, no control of it
        ((0.03, -0.01, 0.001, -0.02, -0.02, -0.02), False),
        ((0.03, 0.02, 0.025, 0.01, 0.012, 0.004), False),
        ((0.03, 0.02, 0.001, 0.021, 0.012, 0.004), False),
        ((0.03, 0.02, 0.001, 0.01, 0.012, 0.022), False),
        ((0.03, float("nan"), 0.001, 0.01, 0.012, 0.004), False),
    ],
)
def test_a_deletion_is_specific_where_its_interval_lies_above_all_others(
    given: tuple[float, ...], specific: bool, cases: list[Case]
) -> None:
    case = next(case for case in cases if case.feature == "is_plain" and case.k == 1)
    case = Case(**{**vars(case), "support": (7,)})
    (row,) = neuron_rows({"is_plain": case}, effects(*given), cases)
    assert row["specific"] is specific
    assert row["same_as_mean_difference"] is (given[4] == given[0])
