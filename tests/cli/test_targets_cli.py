"""Targets on the command line: positions of the bundled texts, extracted, solved, verified, exported and cited."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from optprobe.activations import Activations, activations_of
from optprobe.cli.main import main
from optprobe.features import load
from optprobe.features.catalogue import BuildOptions
from optprobe.features.sources.documents import read_documents


def test_positions_of_the_bundled_texts_end_to_end(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data, store, out = tmp_path / "positions", tmp_path / "acts", tmp_path / "out"
    made = ["--source", "bundled", "--tokenizer", "bundled", "--rows", "120"]
    assert main(["features", "build", "position", *made, "--out", str(data)]) == 0
    assert load(data).targets[0] == "abs_pos"
    device = ["--device", "cpu", "--layers", "3"]
    assert main(["extract", "bundled", "--dataset", str(data), *device, "--out", str(store)]) == 0
    found = Activations.open(store)
    np.testing.assert_array_equal(found.targets["abs_pos"], found.token)
    capsys.readouterr()

    chosen = [str(store), "--target", "abs_pos", "--layer", "3"]
    assert main(["solve", *chosen, "--k", "2", "--loss", "squared", "--out", str(out), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["optimal"]
    assert main(["verify", record["certificate"], "--data", str(store)]) == 0
    assert "(a target)" in capsys.readouterr().out
    assert main(["export", *chosen, "--out", str(tmp_path / "rows.npz")]) == 0
    assert main(["verify", record["certificate"], "--data", str(tmp_path / "rows.npz"), "--exact"]) == 0
    assert main(["cite", record["certificate"]]) == 0
    assert "for the target 'abs_pos' has a squared objective" in capsys.readouterr().out
    assert main(["verify", record["certificate"], "--data", str(store), "--target", "log_pos"]) == 1
    registry = ["registry", "add", record["certificate"], "--registry", str(tmp_path / "registry")]
    assert main([*registry, "--data", str(store)]) == 0
    check = ["registry", "check", "--registry", str(tmp_path / "registry"), "--data", str(store), "--sample", "1"]
    assert main(check) == 0
    capsys.readouterr()

    assert main(["solve", *chosen, "--k", "2", "--top", "30", "--out", str(out), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["support"] == record["support"]
    for command, sentence in (
        (["compare", *chosen, "--k", "1"], "heuristics rank neurons for labels"),
        (["solve", *chosen, "--k", "1", "--loss", "logistic"], "the logistic loss is for labels: use squared"),
        (["moments", str(store), "--out", str(tmp_path / "moments")], "moments are of labels"),
        (["run", str(store), "--k", "1", "--out", str(tmp_path / "run")], "holds targets alone"),
    ):
        assert main(command) == 2
        said = capsys.readouterr().err.strip().splitlines()[-1]
        assert sentence in said
    assert not (tmp_path / "moments").exists()


def test_a_run_of_a_store_with_both_takes_its_features(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(2)
    X = rng.standard_normal((90, 6)).astype(np.float32)
    y = np.where(X[:, 1] + 0.5 * rng.standard_normal(90) > 0, 1, -1)
    made = activations_of(X, {"red": y}, np.arange(90) // 3, targets={"width": X[:, 3]}, model="made")
    made.save(tmp_path / "acts")
    run = ["run", str(tmp_path / "acts"), "--k", "1", "--loss", "squared", "--out", str(tmp_path / "run")]
    assert main(run) == 0
    assert "red" in (said := capsys.readouterr().out)
    assert "width" not in said


def test_the_bundled_texts_have_their_languages_and_no_columns() -> None:
    found = read_documents(BuildOptions("bundled"))
    assert len({document.name for document in found.documents}) == len(found.documents) == 288
    assert len({document.label for document in found.documents}) == 12
    assert found.licence == "MIT"
    from optprobe.errors import InputError

    with pytest.raises(InputError, match="the bundled texts have no label column: leave it out"):
        read_documents(BuildOptions("bundled", label_column="kind"))
