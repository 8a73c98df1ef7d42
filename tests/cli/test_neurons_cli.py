"""The map of a model's neurons, from the command line."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from optprobe.cli.main import main


def test_neurons_prints_the_map(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["neurons", "bundled", "--check"]) == 0
    printed = capsys.readouterr().out
    assert "768" in printed
    assert "hook points: mlp.post, mlp.pre, attn.heads, resid.post" in printed
    assert float(printed.partition("away, to ")[2].split()[0]) < 1e-5


def test_neurons_prints_one_json_object(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["neurons", "bundled", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["model_class"] == "GPTNeoXModel"
    assert record["hooks"] == ["mlp.post", "mlp.pre", "attn.heads", "resid.post"]
    assert [x["d_mlp"] for x in record["layers"]] == [768] * 5
    assert "deviation" not in record


def test_neurons_of_a_mixture_of_experts_are_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from transformers import MixtralConfig, MixtralModel

    sizes = {"vocab_size": 64, "hidden_size": 16, "num_hidden_layers": 1, "num_attention_heads": 2}
    config = MixtralConfig(**sizes, num_key_value_heads=2, intermediate_size=8, num_local_experts=2)
    MixtralModel(config).save_pretrained(tmp_path)
    capsys.readouterr()
    assert main(["neurons", str(tmp_path)]) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert "is a mixture of experts" in printed.err
