"""Studies of places: their items, labels that are shuffled, ridges that are validated once, and intervals."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from experiments import places
from experiments.places import PlaceStudy, mean_interval, rounded, score, scored_rows
from experiments.selectors import mean_difference_by_mean, mean_difference_raw
from experiments.uniqueness import Uniqueness
from formulations import sparse_probe_problem
from optprobe.cases import Setting
from optprobe.cases.config import Config
from optprobe.errors import InputError
from optprobe.features import load
from optprobe.heuristics import RANKINGS
from optprobe.quickstart import extracted
from optprobe.scoring import NAMES, Scores
from optprobe.studies import Item, run_study
from optprobe.studies.study import key_of

CONFIG = Config(
    model="bundled",
    dataset="bundled",
    stores=(),
    settings=(Setting("squared", 0.01, "balanced"),),
    ks=(1, 2),
    features=("latex_math",),
    layers=(0,),
    methods=("mean_difference",),
    bootstrap_draws=20,
    within=0.01,
)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> str:
    folder = tmp_path_factory.mktemp("places") / "activations"
    extracted(folder, "bundled", load("bundled"), (0,), lambda what, share: None)
    return str(folder)


def test_shuffled_labels_are_those_of_the_training_part_alone(store: str) -> None:
    (true, _), (other, scores) = (scored_rows(store, "latex_math", 0, 0, s, "balanced", 0.3, 0) for s in (None, 3))
    assert (true.X_train == other.X_train).all()
    assert true.y_train.sum() == other.y_train.sum()
    assert (true.y_train != other.y_train).any()
    assert true.y_test is not None
    assert (true.y_test == other.y_test).all()
    assert other.scope["labels"] == "shuffled within the training part, seed 3"
    assert (scores.problem.y == other.y_train).all()


def test_a_ridge_is_validated_once_for_all_k(store: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    config = replace(CONFIG, settings=(Setting("squared", None, "balanced"),), grid=(0.01, 1.0), within=None)
    study = Uniqueness(config, store, tmp_path)
    asked = []

    def chosen(rows: object, stated: object, grid: object, **limits: object) -> list[dict[str, float]]:
        asked.append(stated.k)  # type: ignore[attr-defined]
        return [{"ridge": 1.0}]

    monkeypatch.setattr(places, "chosen_ridge", chosen)
    stated = [study.stated(item.values)[2] for item in study.items()]
    assert [(one.k, one.ridge) for one in stated] == [(1, 1.0), (2, 1.0)]
    assert asked == [2]


def test_a_record_whose_certificate_is_gone_is_not_sound(store: str, tmp_path: Path) -> None:
    study = Uniqueness(replace(CONFIG, ks=(1,)), store, tmp_path)
    assert run_study(study, tmp_path).done == 1
    assert run_study(study, tmp_path).skipped == 1
    next((tmp_path / "registry").rglob("*.cert")).unlink()
    assert run_study(study, tmp_path).done == 1
    assert not study.sound({"registry": "registry", "cases": {"optimum": {"certificate": "0" * 64}}})
    assert not study.sound({})


def test_keys_depend_on_all_that_decides_a_result(store: str, tmp_path: Path) -> None:
    def keys(study: PlaceStudy) -> set[str]:
        return {key_of(study, item) for item in study.items()}

    first = Uniqueness(CONFIG, store, tmp_path)
    assert keys(first) == keys(replace(first, folder=tmp_path / "elsewhere"))
    for change in ({"within": 0.02}, {"seed": 1}, {"split_seed": 1}, {"bootstrap_draws": 21}, {"methods": None}):
        assert not keys(first) & keys(replace(first, config=replace(CONFIG, **change)))
    assert all(isinstance(item, Item) and item.inputs["activations"] for item in first.items())


def test_the_interval_of_a_mean_is_over_groups() -> None:
    values, group = [0.0, 0.0, 0.0, 1.0], ["a", "a", "a", "b"]
    mean, low, high = mean_interval(values, group, 4000, 0)
    assert (mean, low, high) == (0.25, 0.0, 1.0)
    assert mean_interval([2.0, 4.0], ["a", "a"], 10, 0) == (3.0, 3.0, 3.0)


def test_scores_that_are_not_there_are_refused_and_rows_are_short() -> None:
    none = Scores(**dict.fromkeys(NAMES))
    with pytest.raises(InputError, match="have no auc, since a class has none of them"):
        score(none, "auc")
    assert rounded({"a": 1 / 3, "b": None, "c": True, "d": 3}) == {"a": 0.333333, "b": None, "c": True, "d": 3}


def test_raw_and_standardised_selectors_by_hand() -> None:
    """Three neurons: far apart and noisy, near and sharp, and one that fires rarely, with large differences by mean."""
    X = np.array([[9.0, 1.0, 0.0], [1.0, 1.1, 0.3], [-4.0, 0.1, 0.0], [2.0, 0.0, 0.0]])
    y = np.array([1.0, 1.0, -1.0, -1.0])
    # class means: 5, 1.05, 0.15 against -1, 0.05, 0
    assert list(mean_difference_raw(X, y)) == [0, 1, 2]
    # means of |x| where it is not 0: 4, 2.2 / 3, 0.3; differences over them 1.5, 1.36, 0.5
    assert list(mean_difference_by_mean(X, y)) == [0, 1, 2]
    X[:, 1] *= 0.01
    assert list(mean_difference_raw(X, y)) == [0, 2, 1]
    assert list(mean_difference_by_mean(X, y)) == [0, 1, 2]
    standardised = RANKINGS["mean_difference"].function(sparse_probe_problem(X, y, 1, loss="squared"), 0)
    assert list(np.argsort(-standardised)) == [1, 0, 2]
