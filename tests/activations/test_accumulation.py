"""Moments from the pass of a model: the same as from its store, whatever stops on the way."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from activation_examples import TEXTS, tiny_model, words_dataset

from formulations import Moments, moment_problem
from optprobe import solve
from optprobe.activations import (
    Extraction,
    ExtractionProgress,
    MomentStore,
    accumulate,
    load_labelled,
    prepare,
)
from optprobe.activations.summaries import accumulation
from optprobe.cli.main import main
from optprobe.errors import InputError


@pytest.fixture
def extraction(tokenizer: Any) -> Extraction:
    """Four thousand words through a tiny model, in float32."""
    words = words_dataset(TEXTS * 80)
    return prepare(tiny_model("gpt_neox"), words, [0, 2], tokenizer=tokenizer, batch_tokens=16, values="float32")


def stopping_at(share: float, extraction: Extraction) -> Extraction:
    def stop(moment: ExtractionProgress) -> None:
        if moment.share >= share:
            raise KeyboardInterrupt

    return replace(extraction, progress=stop)


def assert_close(one: Moments, other: Moments) -> None:
    assert one.n_rows == other.n_rows
    scale = np.sqrt(np.diag(one.covariance))
    allowed = 1e-12 * np.outer(scale, scale) + 1e-300
    assert (np.abs(one.covariance - other.covariance) <= allowed).all()
    assert (np.abs(one.cross - other.cross) <= 1e-12 * scale + 1e-300).all()
    np.testing.assert_allclose(one.mean, other.mean, rtol=1e-12, atol=1e-12 * scale.max())


@pytest.mark.parametrize("class_weight", ["none", "balanced"])
def test_moments_from_the_pass_are_those_of_the_store(
    extraction: Extraction, tmp_path: Path, class_weight: str
) -> None:
    store = extraction.to_store(tmp_path / "store")
    passed = accumulate(extraction, tmp_path / "passed", class_weight=class_weight)
    stored = accumulate(store, tmp_path / "stored", class_weight=class_weight)
    assert passed.manifest["layers"] == [0, 2]
    for layer in (0, 2):
        one, other = passed.load("capital", layer), stored.load("capital", layer)
        assert one[1] == other[1]
        assert_close(one[0], other[0])
        assert dict(one[0].made) == dict(other[0].made)
    rows = load_labelled(tmp_path / "store", "capital", 2)
    assert one[0].n_rows == len(rows.y_train)
    best = solve(moment_problem(one[0], 2, ridge=0.01))
    assert best.support == solve(moment_problem(other[0], 2, ridge=0.01)).support
    assert sorted(path.name for path in tmp_path.iterdir()) == ["passed", "store", "stored"]


def test_a_pass_that_was_stopped_goes_on_to_the_same_bits(
    extraction: Extraction, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accumulation, "NOTE_SECONDS", 0.0)
    whole = accumulate(extraction, tmp_path / "whole")
    for share in (0.2, 0.3, 0.6):
        with pytest.raises(KeyboardInterrupt):
            accumulate(stopping_at(share, extraction), tmp_path / "often")
        assert not (tmp_path / "often").exists()
    events: list[ExtractionProgress] = []
    often = accumulate(replace(extraction, progress=events.append), tmp_path / "often")
    assert 0 < events[-1].total < sum(chunk.n_tokens for chunk in extraction.plan.chunks())
    for layer in (0, 2):
        one, other = whole.load("capital", layer)[0], often.load("capital", layer)[0]
        np.testing.assert_array_equal(one.covariance, other.covariance)
        np.testing.assert_array_equal(one.cross, other.cross)
        assert one.error == other.error
    assert sorted(path.name for path in tmp_path.iterdir()) == ["often", "whole"]


def test_a_note_of_something_else_is_not_gone_on_with(
    extraction: Extraction, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(accumulation, "NOTE_SECONDS", 0.0)
    with pytest.raises(KeyboardInterrupt):
        accumulate(stopping_at(0.2, extraction), tmp_path / "new")
    with pytest.raises(InputError, match=r"note.safetensors is of something else: class_weight is 'none' there"):
        accumulate(extraction, tmp_path / "new", class_weight="balanced")
    (note,) = tmp_path.glob(".new.note.safetensors")
    note.write_bytes(note.read_bytes()[:-9])
    with pytest.raises(InputError, match=r"cannot be read .*; remove it to begin anew"):
        accumulate(extraction, tmp_path / "new")
    note.unlink()
    assert isinstance(accumulate(extraction, tmp_path / "new"), MomentStore)
    with pytest.raises(InputError, match="exists already"):
        accumulate(extraction, tmp_path / "new")


def test_the_command_solves_alike_from_values_and_from_moments(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    extract = ["extract", "bundled", "--dataset", "is_french", "--layers", "1", "--values", "float32", "--out"]
    assert main([*extract, str(tmp_path / "values")]) == 0
    assert main([*extract, str(tmp_path / "moments"), "--moments", "none"]) == 0
    assert main([*extract, str(tmp_path / "x"), "--moments", "none", "--shard", "1/2"]) == 2
    found = []
    for source in ("values", "moments"):
        command = ["solve", str(tmp_path / source), "--feature", "is_french", "--layer", "1", "--k", "3"]
        assert main([*command, "--loss", "squared", "--out", str(tmp_path / f"{source}.out"), "--json"]) == 0
        found.append(json.loads(capsys.readouterr().out.splitlines()[-1]))
        assert main(["verify", found[-1]["certificate"], "--data", str(tmp_path / source)]) == 0
        assert "accepted" in capsys.readouterr().out
    assert found[0]["support"] == found[1]["support"]
    for name in ("upper_bound", "lower_bound"):
        assert found[0][name] == pytest.approx(found[1][name], abs=1e-9)
    assert found[0]["optimal"]
    assert found[1]["optimal"]
