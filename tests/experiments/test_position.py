"""R^2 and its interval, against scikit-learn and resamples made by hand; and the best layer."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn.metrics import r2_score

from experiments.position import best_rows, r_squared
from optprobe.scoring import GroupBootstrap


def test_r_squared_is_that_of_every_resample_of_documents() -> None:
    rng = np.random.default_rng(0)
    t, group = rng.standard_normal(60) * 30 + 64, np.repeat(np.arange(6), 10)
    f = 0.5 * t + rng.standard_normal(60) * 5 + 30
    resamples = GroupBootstrap.of(group, 40, 1)
    low, value, high = r_squared(t, f, resamples)
    assert value == pytest.approx(r2_score(t, f))
    drawn = []
    for times in resamples.times:
        rows = np.concatenate([np.tile(np.flatnonzero(group == g), int(n)) for g, n in enumerate(times)]).astype(int)
        drawn.append(r2_score(t[rows], f[rows]))
    np.testing.assert_allclose((low, high), np.quantile(drawn, [0.025, 0.975]))
    assert r_squared(t, np.full(60, t.mean())) == pytest.approx((0, 0, 0), abs=1e-12)
    assert r_squared(t, t) == (1, 1, 1)


def test_the_best_layer_is_that_of_the_smallest_objective() -> None:
    def row(layer: int, shuffled: bool, objective: float, r2: float) -> dict[str, object]:
        scored = {"r2_train": r2, "r2": r2, "r2_low": r2, "r2_high": r2, "searched": 7, "optimal": True}
        return {
            "target": "p",
            "k": 1,
            "layer": layer,
            "shuffled": shuffled,
            "objective": objective,
            "neurons": "",
            **scored,
        }

    rows = [row(0, False, 0.2, 0.6), row(1, False, 0.1, 0.5), row(0, True, 0.4, 0.02), row(1, True, 0.49, 0.01)]
    (found,) = best_rows(rows)
    assert (found["layer"], found["r2"], found["r2_shuffled"], found["searched"]) == (1, 0.5, 0.02, 14)
