"""What the study of n-grams adds up, on numbers made by hand."""

from __future__ import annotations

import numpy as np
from made_cases import made_rows

from experiments.held_out import rows_held_out, scored, stated
from experiments.ngram_superposition import layer_rows
from optprobe.cases import Setting
from optprobe.comparison import compare
from optprobe.engines import solve
from optprobe.scoring import GroupBootstrap


def row(feature: str, layer: int, f1: float, rotated: float, low: float, high: float) -> dict[str, object]:
    return {"feature": feature, "layer": layer, "k": 1, "f1": f1, "rotated_f1": rotated, "shuffled_f1": 0.3} | {
        "above_rotated_low": low, "above_rotated_high": high, "above_shuffled_low": 0.1
    }  # fmt: skip


def test_layers_are_means_over_features_and_count_what_lies_beyond_its_interval() -> None:
    rows = [row("a", 0, 0.9, 0.5, 0.2, 0.6), row("b", 0, 0.7, 0.7, -0.1, 0.1), row("a", 1, 0.5, 0.9, -0.5, -0.2)]
    first, second = layer_rows(rows)
    assert (first["layer"], first["n_features"], first["above_rotated"], first["below_rotated"]) == (0, 2, 1, 0)
    np.testing.assert_allclose([first["f1"], first["rotated_f1"], first["least_f1"]], [0.8, 0.6, 0.7])
    assert (second["above_rotated"], second["below_rotated"], second["above_shuffled"]) == (0, 1, 1)


def test_a_support_is_scored_as_compare_scores_it() -> None:
    data = made_rows("is_plain", 3)
    problem = stated(data, 2, Setting("squared", 0.01, "balanced"))
    best = solve(problem)
    X, y, group = rows_held_out(data)
    resamples = GroupBootstrap.of(group, 200, 0)
    found = scored(problem, best.support, X, y, resamples, "f1")
    (expected, *_) = (one for one in compare(best, X, y, resamples=resamples).rows if one.method == "optimum")
    assert expected.test is not None
    assert expected.low is not None
    assert expected.high is not None
    np.testing.assert_allclose(
        (found.value, found.low, found.high), (expected.test.f1, expected.low.f1, expected.high.f1)
    )
    assert found.above(found) == (0.0, 0.0, 0.0)
