"""From activations to a problem: the same rows, scope and test part in Python and on the command line."""

from __future__ import annotations

import json
import pickle
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import optprobe as op
from optprobe.activations import Activations, LabelledActivations, activations_of
from optprobe.certificates import Certificate
from optprobe.cli.main import main
from optprobe.scoring import DRAWS, GroupBootstrap

RNG = np.random.default_rng(8)
X = RNG.standard_normal((90, 7)).astype(np.float32)
Y = np.where(X[:, 1] - X[:, 4] + 0.6 * RNG.standard_normal(90) > 0, 1, -1)
STATED: dict[str, Any] = {"loss": "squared", "ridge": 0.05}


def rows(**changed: Any) -> LabelledActivations:
    given: dict[str, Any] = {"group_train": None, "X_test": None, "y_test": None, "group_test": None, "w_train": None}
    return LabelledActivations(**{"X_train": X, "y_train": Y.astype(float), "scope": {"file": "a"}, **given, **changed})


@pytest.fixture
def store(tmp_path: Path) -> Activations:
    """Two features at two layers, in documents of three rows, saved and opened."""
    labels = {"first": Y, "other": np.where(X[:, 0] > 0, 1, -1)}
    activations_of({0: X, 2: -X}, labels, np.arange(90) // 3, model="made").save(tmp_path / "acts")
    return Activations.open(tmp_path / "acts")


def test_python_states_the_problem_of_the_command_line(
    store: Activations, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Open store, its folder, or its labelled rows: one problem, whose certificate verifies and is the command's."""
    folder = store.folder
    assert folder is not None
    chosen = ["--feature", "first", "--layer", "2", "--k", "2", "--loss", "squared", "--ridge", "0.05"]
    assert main(["solve", str(folder), *chosen, "--out", str(tmp_path / "out"), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    written = Certificate.load(record["certificate"])
    for problem in (
        op.problem(store, 2, feature="first", layer=2, **STATED),
        op.problem(folder, 2, feature="first", layer=2, **STATED),
        op.problem(op.load_labelled(store, "first", 2), 2, **STATED),
    ):
        best = op.solve(problem)
        assert best.certificate().claim == written.claim
        path = best.certificate().save(tmp_path / "python.cert")
        assert main(["verify", str(path), "--data", str(folder)]) == 0
        assert "scope           nothing" in capsys.readouterr().out
    assert dict(written.claim.author.scope) == {
        "model": "made",
        "revision": None,
        "layer": 2,
        "hook": "mlp.post",
        "feature": "first",
        "dataset": "unknown",
        "dataset_digest": None,
        "split": {"seed": 0, "test_share": 0.3},
    }


def test_the_test_part_is_at_hand(store: Activations, capsys: pytest.CaptureFixture[str]) -> None:
    parts = op.load_labelled(store, "first", 0)
    problem = op.problem(store, 2, feature="first", layer=0, **STATED)
    np.testing.assert_array_equal(problem.X, parts.X_train)
    best = op.solve(problem)
    compared = op.compare(best).records()
    resamples = GroupBootstrap.of(parts.group_test, DRAWS, 0)
    assert compared == op.compare(best, parts.X_test, parts.y_test, resamples=resamples).records()
    assert all(0 <= row["f1_test"] <= 1 for row in compared)
    command = ["compare", str(store.folder), "--feature", "first", "--layer", "0", "--k", "2", "--loss", "squared"]
    assert main([*command, "--ridge", "0.05", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["methods"] == compared


def test_an_npz_is_its_labelled_rows(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", X_train=X, y_train=Y, sample_weight=np.arange(1, 91), feature="f", layer=3)
    problem = op.problem(tmp_path / "data.npz", 2, **STATED)
    assert problem.sample_weight is not None
    assert dict(problem.origin.scope) == {"file": "data.npz", "feature": "f", "layer": 3}


def test_a_store_in_memory_needs_no_folder() -> None:
    made = activations_of(X, {"only": Y})
    problem = op.problem(made, 1, **STATED)
    assert problem.n_rows + len(problem.origin.y_test if problem.origin.y_test is not None else ()) == 90
    assert problem.origin.scope["feature"] == "only"
    with pytest.raises(op.InputError, match="no layer 1"):
        op.problem(made, 1, layer=1)
    several = activations_of({0: X, 1: X}, {"only": Y})
    with pytest.raises(op.InputError, match="this store holds several layers; give one of 0, 1"):
        op.problem(several, 1)


def test_words_of_ones_own_are_added_to_the_scope(store: Activations) -> None:
    best = op.solve(op.problem(store, 1, feature="first", layer=0, **STATED))
    scope = best.certificate({"note": "first try", "layer": 0}).claim.author.scope
    assert scope["note"] == "first try"
    assert scope["model"] == "made"


def test_a_problem_keeps_its_origin(store: Activations) -> None:
    problem = op.problem(store, 1, feature="first", layer=0, **STATED)
    assert problem.restated(k=2, loss="hinge").origin is problem.origin
    again = pickle.loads(pickle.dumps(problem))
    assert again.origin.scope == problem.origin.scope
    np.testing.assert_array_equal(again.origin.X_test, problem.origin.X_test)
    with pytest.raises(TypeError):
        problem.origin.scope["layer"] = 1


def test_rows_state_every_parameter() -> None:
    stated = op.problem(rows(), 2, loss="squared", ridge=0.5, class_weight="balanced", among=[0, 1, 2])
    assert (stated.k, stated.ridge, stated.among, stated.class_weight) == (2, 0.5, (0, 1, 2), "balanced")


WITHOUT_EFFECT: dict[str, tuple[Any, dict[str, Any], str]] = {
    "labels of a store": (activations_of(X, {"f": Y}), {"labels": Y}, "labels of their own: leave labels= out"),
    "labels of rows": (rows(), {"labels": Y}, "labels of their own"),
    "feature of rows": (rows(), {"feature": "f"}, "leave feature= and layer= out"),
    "layer of rows": (rows(), {"layer": 0}, "leave feature= and layer= out"),
    "feature of values": (X, {"labels": Y, "feature": "f"}, "feature= has no effect"),
    "layer of a matrix": (X, {"labels": Y, "layer": 3}, "one matrix of activations: leave name= and layer= out"),
    "no labels": (X, {}, "give labels="),
    "none with a feature": (X, {"feature": "f", "layer": 0}, "give labels="),
}


@pytest.mark.parametrize("case", WITHOUT_EFFECT)
def test_an_argument_without_effect_is_refused(case: str) -> None:
    source, given, sentence = WITHOUT_EFFECT[case]
    with pytest.raises(op.InputError, match=sentence):
        op.problem(source, 1, **given)


def test_an_npz_is_not_split(tmp_path: Path) -> None:
    np.savez(tmp_path / "data.npz", X_train=X, y_train=Y)
    for given in ({"test_share": 0.3}, {"seed": 0}):
        with pytest.raises(op.InputError, match=r"data.npz is no store, and is not split"):
            op.load_labelled(tmp_path / "data.npz", **given)


SHARING: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "nothing": ({"X_test": X[:3] + 9, "group_test": [7, 8, 8]}, ()),
    "groups": ({"X_test": X[:3] + 9, "group_test": [2, 9, 3]}, ("2 of 3 test groups are groups of training rows too",)),
    "rows": ({"X_test": X[1:4].astype(np.float64)}, ("3 of 3 test rows have the activation vector of a training row",)),
    "both": (
        {"X_test": np.concatenate([X[:1], X[:2] + 9]), "group_test": [0, 9, 9]},
        ("1 of 2 test groups", "1 of 3 test rows"),
    ),
}


@pytest.mark.parametrize("case", SHARING)
@pytest.mark.parametrize("command", ["solve", "compare"])
def test_what_both_parts_share_is_counted_and_said(
    case: str, command: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arrays, sentences = SHARING[case]
    np.savez(
        tmp_path / "data.npz",
        X_train=X,
        y_train=Y,
        y_test=Y[:3],
        group_train=np.arange(90) // 18,
        **{name: np.asarray(array) for name, array in arrays.items()},
    )
    leakage = op.load_labelled(tmp_path / "data.npz").leakage
    assert len(leakage) == len(sentences)
    assert all(said.startswith(sentence) for said, sentence in zip(leakage, sentences))
    more = ["--out", str(tmp_path)] if command == "solve" else []
    assert main([command, str(tmp_path / "data.npz"), "--k", "1", "--loss", "squared", *more]) == 0
    said = capsys.readouterr().err.splitlines()
    assert said == [f"optprobe {command}: {sentence}" for sentence in leakage]
