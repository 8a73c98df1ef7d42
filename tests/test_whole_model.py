"""All 30 layers of SmolLM2-135M as one problem: 46,080 neurons, from a treebank to citations of verified optima."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest

import optprobe as op
from optprobe.cli.main import main

FEATURES = ("upos_ADJ", "upos_DET", "upos_NOUN", "upos_VERB")
QUESTIONS = *((feature, "squared", 3) for feature in FEATURES), ("upos_ADJ", "logistic", 2), ("upos_ADJ", "hinge", 1)
"""Features, losses and the largest k of each."""
LAYERS = os.environ.get("OPTPROBE_LAYERS", "all")
"""Fewer layers, such as 10-12, take less time and memory."""
WORDS = 4_250


def words_of(treebank: Path, copy: Path) -> Path:
    """The first sentences of a treebank, of so many words."""
    kept, words = [], 0
    for sentence in treebank.read_text(encoding="utf-8").strip().split("\n\n"):
        words += sum(line[:1].isdecimal() for line in sentence.splitlines())
        if words > WORDS:
            break
        kept.append(sentence)
    copy.write_text("\n\n".join(kept) + "\n\n", encoding="utf-8")
    return copy


@pytest.mark.real
def test_a_few_neurons_of_a_whole_model(
    smollm: Path, shared: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """For four features and k = 1, 2, 3, squared loss, and for one by the other losses: optimal, accepted by the
    checker, cited by layer and neuron."""
    monkeypatch.chdir(tmp_path)
    source = words_of(shared / "data" / "ud" / "en_ewt-ud-dev.cut.conllu", tmp_path / "en.conllu")
    built = ["--balance", "natural", "--out", "words"]
    assert main(["features", "build", "part_of_speech", "--source", str(source), *built]) == 0
    assert (
        main(["extract", str(smollm), "--dataset", "words", "--layers", LAYERS, "--device", "cpu", "--out", "a"]) == 0
    )
    n_layers = len(op.Activations.open("a").layers)
    assert LAYERS != "all" or n_layers == 30
    for feature, loss, largest in QUESTIONS:
        asked = ["--feature", feature, "--layers", "all", "--loss", loss, "--k", f"1-{largest}", "--json"]
        capsys.readouterr()
        assert main(["path", "a", *asked, "--out", "certificates"]) == 0
        found = json.loads(capsys.readouterr().out.splitlines()[-1])["path"]
        assert [one["k"] for one in found] == [1, 2, 3][:largest]
        for one in found:
            assert one["upper_bound"] - one["lower_bound"] <= 1e-6
            assert main(["cite", one["certificate"], "--data", "a"]) == 0  # verifies first
            said = " ".join(capsys.readouterr().out.split())
            assert f"Among the {1536 * n_layers} neurons of layers " in said
            assert f"{', '.join(one['neurons'])} attain" in said
            assert "certified optimal" in said
        bounds = [one["upper_bound"] for one in found]
        assert bounds == sorted(bounds, reverse=True)
