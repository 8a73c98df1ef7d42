"""The study of cases: what its keys depend on, and records that do not depend on where they start from."""

from __future__ import annotations

import pickle
import shutil
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from optprobe.activations import activations_of, load_labelled
from optprobe.cases import CaseStudy, Setting, Split
from optprobe.errors import InputError
from optprobe.registry import Registry
from optprobe.studies import read_record, run_study
from optprobe.studies.study import key_of, perform

RNG = np.random.default_rng(8)
X = RNG.normal(size=(200, 7)).astype(np.float32)
Y = np.where(X[:, 0] + X[:, 3] - X[:, 5] + RNG.normal(size=200) > 0, 1, -1)
SETTINGS = (Setting("squared", 0.01, "none"), Setting("logistic", 0.1, "balanced"))


def stored(folder: Path, values: np.ndarray, y: np.ndarray = Y, **more: np.ndarray) -> str:
    activations_of({0: values, 2: -values}, {"sign": y, **more}, np.arange(200) // 4, model="made").save(folder)
    return str(folder)


@pytest.fixture
def study(tmp_path: Path) -> CaseStudy:
    return CaseStudy((stored(tmp_path / "acts", X),), tmp_path / "out", SETTINGS, (1, 2), draws=50)


def keys(study: CaseStudy) -> set[str]:
    return {key_of(study, item) for item in study.items()}


def test_items_are_places_times_settings_times_k(study: CaseStudy) -> None:
    assert len(keys(study)) == 1 * 2 * 2 * 2
    named = [item.values["k"] for item in study.items()]
    assert named == [1, 2] * 4
    assert study.items()[1].after == key_of(study, study.items()[0])
    assert study.items()[2].after is None
    assert study.items()[1].name == "sign, layer 0, squared loss, ridge 0.01, unweighted rows, k = 2"


def test_keys_depend_on_values_labels_and_settings_and_on_no_path(study: CaseStudy, tmp_path: Path) -> None:
    same = replace(study, sources=(stored(tmp_path / "elsewhere", X, odd=np.where(Y > 0, 1, -1)[::-1]),))
    assert keys(replace(study, folder=tmp_path / "other")) == keys(study)
    assert not keys(replace(same, features=("sign",))) & keys(study)  # other rows.safetensors: labels were added
    other = X.copy()
    other[0, 0] += 1
    for changed in (
        replace(study, sources=(stored(tmp_path / "values", other),)),
        replace(study, sources=(stored(tmp_path / "labels", X, -Y),)),
        replace(study, split=Split(0.3, 1)),
        replace(study, draws=51),
        replace(study, seed=1),
        replace(study, method="branch_and_cut"),
        replace(study, methods=("mean_difference",)),
        replace(study, time_limit=60.0),
    ):
        assert not keys(changed) & keys(study)


def test_a_record_is_the_same_without_the_one_before_it(study: CaseStudy, tmp_path: Path) -> None:
    run_study(study, study.folder)
    apart = replace(study, folder=tmp_path / "apart")
    for item in study.items():
        perform(apart, replace(item, after=None), apart.folder)
        key = key_of(study, item)
        one, other = read_record(study.folder, key), read_record(apart.folder, key)
        assert one is not None
        assert other is not None
        assert one["result"] == other["result"]


def test_a_store_that_was_made_anew_at_its_path_is_read_anew(study: CaseStudy, tmp_path: Path) -> None:
    """Also by the process that read the one before it."""
    one = replace(study, features=("sign",), layers=(0,), settings=SETTINGS[:1])
    run_study(one, one.folder)
    shutil.rmtree(one.sources[0])
    again = replace(one, sources=(stored(Path(one.sources[0]), X[::-1].copy()),), folder=tmp_path / "again")
    run_study(again, again.folder)
    elsewhere = replace(one, sources=(stored(tmp_path / "elsewhere", X[::-1].copy()),), folder=tmp_path / "new")
    assert keys(elsewhere) == keys(again)
    run_study(elsewhere, elsewhere.folder)
    assert again.cases() == elsewhere.cases()
    assert again.cases() != one.cases()


def test_a_study_among_the_neurons_of_largest_mean_difference(study: CaseStudy) -> None:
    narrow = replace(study, settings=(Setting("squared", 0.01, "none"), Setting("squared", 0.01, "none", 3)))
    run_study(narrow, narrow.folder)
    assert len(keys(narrow)) == 8
    for case in narrow.cases():
        claim = Registry(narrow.folder / "registry").certificate(case.certificate).claim
        if case.among is None:
            assert claim.problem.among is None
            continue
        data = load_labelled(narrow.sources[0], case.feature, case.layer, 0.3, 0)
        Z = (data.X_train - data.X_train.mean(0)) / data.X_train.std(0)
        apart = np.abs(Z[data.y_train > 0].mean(0) - Z[data.y_train < 0].mean(0))
        assert claim.problem.among == tuple(sorted(np.argsort(-apart)[:3].tolist()))
        assert all(set(row.support) <= set(claim.problem.among) for row in case.methods)
    whole, searched = (
        {(c.layer, c.k): c.upper_bound for c in narrow.cases() if c.among == among} for among in (None, 3)
    )
    assert all(searched[place] >= whole[place] - 1e-12 for place in whole)


def test_features_of_one_rule_are_places_of_their_own(study: CaseStudy, tmp_path: Path) -> None:
    both = replace(study, sources=(stored(tmp_path / "both", X, odd=-Y),), layers=(0,), ks=(1,))
    run_study(both, both.folder)
    assert {(case.feature, case.loss) for case in both.cases()} == {
        (feature, loss) for feature in ("sign", "odd") for loss in ("squared", "logistic")
    }
    assert len({case.certificate for case in both.cases()}) == 4


def test_a_worker_is_not_sent_all_items_with_each(study: CaseStudy) -> None:
    many = replace(study, ks=(1, 2, 3, 4, 5, 6, 7))
    assert len(many.items()) == 28
    assert len(study.items()) == 8
    assert len(pickle.dumps(many)) < len(pickle.dumps(study)) + 100
    there = pickle.loads(pickle.dumps(many))
    assert there == many
    assert [key_of(there, item) for item in there.items()] == [key_of(many, item) for item in many.items()]


def test_cases_without_their_certificate_are_run_again(study: CaseStudy) -> None:
    run_study(study, study.folder)
    cases = study.cases()
    assert len(cases) == 8
    assert all(case.optimal and case.accepted for case in cases)
    registry = Registry(study.folder / "registry")
    assert all(registry.find(superseded=None)[i]["verified"] for i in range(8))
    path = registry.path(cases[3].certificate)
    content = path.read_bytes()
    path.unlink()
    assert len(study.cases()) == 7
    assert run_study(study, study.folder).done == 1
    assert path.read_bytes() == content
    assert study.cases() == cases


def test_a_validated_ridge_is_in_the_record(study: CaseStudy) -> None:
    validated = replace(study, settings=(Setting("logistic", None, "none"),), ks=(1,), grid=(0.01, 1.0))
    run_study(validated, validated.folder)
    for case in validated.cases():
        assert case.ridge == case.validation[0]["ridge"]
        assert {one["ridge"] for one in case.validation} == {0.01, 1.0}
        assert str(case.setting) == "logistic loss, validated ridge, unweighted rows"


def test_an_npz_is_a_place_of_its_own(study: CaseStudy, tmp_path: Path) -> None:
    path = tmp_path / "made.npz"
    parts = {"X_train": X[:120], "y_train": Y[:120], "X_test": X[120:], "y_test": Y[120:]}
    groups = {"group_train": np.arange(120) // 4, "group_test": 30 + np.arange(80) // 4}
    np.savez(path, **parts, **groups, feature="sign", layer=2)
    of_file = replace(study, sources=(str(path),))
    assert run_study(of_file, of_file.folder).done == 4
    assert {(case.feature, case.layer, case.n_rows) for case in of_file.cases()} == {("sign", 2, 120)}
    assert keys(replace(of_file, split=Split(0.5, 7))) == keys(of_file)  # it has its own parts
    with pytest.raises(InputError, match="has no layer 0: there are 2"):
        replace(of_file, layers=(0,)).items()
    np.savez(path, **parts, **groups)
    with pytest.raises(InputError, match="names no feature and layer"):
        replace(study, sources=(str(path),)).items()


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        ({"ks": ()}, "needs sources, settings and numbers of neurons from 1"),
        ({"ks": (0,)}, "needs sources, settings and numbers of neurons from 1"),
        ({"settings": ()}, "needs sources"),
        ({"sources": ()}, "needs sources"),
        ({"settings": (Setting("cubic", 0.1, "none"),)}, "the loss 'cubic' is unknown"),
        ({"settings": (Setting("logistic", 0.0, "none"),)}, "the ridge is 0"),
        ({"settings": (Setting("logistic", float("nan"), "none"),)}, "the ridge is nan"),
        ({"settings": (Setting("logistic", 0.1, "heavy"),)}, "the class weights are 'heavy'"),
        ({"settings": (Setting("logistic", None, "none"),)}, "a grid of ridges is for settings"),
        ({"grid": (0.1,)}, "a grid of ridges is for settings"),
        ({"settings": (Setting("logistic", None, "none"),), "grid": (0.0,)}, "the ridge is 0"),
        ({"settings": (Setting("logistic", 0.1, "none", 1),)}, "k = 2 is more than the 1 neurons"),
        ({"time_limit": 0.0}, "the time limit is 0 s"),
        ({"time_limit": float("inf")}, "the time limit is inf s"),
        ({"method": "magic"}, "the method 'magic' is unknown"),
        ({"methods": ("magic",)}, "there is no method 'magic'"),
    ],
)
def test_what_cannot_be_run_is_refused_at_once(change: dict[str, object], sentence: str, study: CaseStudy) -> None:
    with pytest.raises(InputError, match=sentence):
        replace(study, **change)  # type: ignore[arg-type]
