"""Bases: a feature that is one neuron is found among neurons alone, and differences are paired."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments.basis import BasisStudy, by_layer, summary_rows
from optprobe.activations import activations_of
from optprobe.cases import Setting
from optprobe.cases.config import Config
from optprobe.registry import Registry

SETTING = Setting("squared", 0.01, "balanced")


@pytest.fixture
def study(tmp_path: Path) -> BasisStudy:
    """A feature that is the third of twelve neurons, with a little noise."""
    rng = np.random.default_rng(0)
    y = np.where(rng.random(400) < 0.4, 1, -1)
    X = rng.standard_normal((400, 12)).astype(np.float32)
    X[:, 2] = y + 0.3 * rng.standard_normal(400)
    activations_of(X, {"planted": y}, np.repeat(np.arange(40), 10)).save(tmp_path / "store")
    config = Config(None, None, (), (SETTING,), (1, 2), bootstrap_draws=50)
    return BasisStudy(config, ("neurons", "rotated:0", "principal"), tmp_path, str(tmp_path / "store"))


def test_one_neuron_is_worth_more_than_one_direction_where_the_basis_is_privileged(study: BasisStudy) -> None:
    true, shuffled = (study.run(item, None) for item in study.items())
    rows = true["rows"]
    assert [(row["basis"], row["k"]) for row in rows[:3]] == [("neurons", 1), ("neurons", 2), ("rotated:0", 1)]
    assert rows[0]["columns"] == "2"
    assert all(row["optimal"] for row in rows)
    for row in rows:
        of = next(one for one in rows if one["k"] == row["k"])
        for name in ("auc", "f1"):
            assert row[f"{name}_behind"] == pytest.approx(of[name] - row[name])
            assert row[f"{name}_behind_low"] <= row[f"{name}_behind"] <= row[f"{name}_behind_high"]
            assert row[f"{name}_low"] <= row[name] <= row[f"{name}_high"]
    assert rows[2]["auc_behind_low"] > 0
    assert rows[2]["objective"] > rows[0]["objective"]
    noise = shuffled["rows"][0]
    assert noise["auc_train"] < 0.65
    assert study.sound(true)
    Registry(study.folder / "registry").path(rows[0]["certificate"]).write_bytes(b"altered")
    assert not study.sound(true)


def row(basis: str, layer: int, behind: float, *, k: int = 1, shuffled: bool = False) -> dict[str, Any]:
    ends = {"auc_behind_low": behind - 0.1, "auc_behind_high": behind + 0.1}
    scored = {
        "feature": "a",
        "objective": 0.3,
        "lower_bound": 0.3 + behind,
        "auc_train": 0.8,
        "auc": 0.7,
        "f1": None,
        "auc_behind": behind,
        "f1_behind": None,
    }
    return {"basis": basis, "layer": layer, "k": k, "shuffled": shuffled, "optimal": True, **scored, **ends}


def test_rotations_are_counted_together_and_by_whole_intervals() -> None:
    rows = [row("neurons", layer, 0.0) for layer in (0, 1)]
    rows += [
        row("neurons", 1, 0.0, k=2),
        row("neurons", 1, 0.0, shuffled=True),
        row("rotated:0", 0, 0.2),
        row("rotated:1", 0, -0.2),
        row("rotated:0", 1, 0.05),
    ]
    rows += [row("rotated:0", 1, 9.0, k=2), row("rotated:0", 1, 9.0, shuffled=True), row("principal", 0, 0.3)]
    found = {(one["labels"], one["basis"], one["k"]): one for one in summary_rows(rows)}
    of = found["true", "rotated", 1]
    assert (of["cases"], of["smaller"], of["neurons_better"], of["neurons_worse"]) == (3, 2, 1, 1)
    assert of["auc_behind"] == pytest.approx(0.05 / 3)
    assert by_layer(rows, 1) == {0: 0.0, 1: 0.05}
