"""``optprobe extract --statistics`` and ``optprobe statistics``, end to end."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from optprobe.activations import Activations
from optprobe.cli.main import main
from optprobe.features import load


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """One layer of the bundled model with its statistics."""
    folder = tmp_path_factory.mktemp("data") / "store"
    extract = ["extract", "bundled", "--dataset", "is_french", "--layers", "1", "--device", "cpu", "--statistics"]
    assert main([*extract, "--out", str(folder)]) == 0
    assert (folder / "statistics_layer_1.safetensors").is_file()
    return folder


def test_all_neurons_and_one(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    values = np.asarray(Activations.open(store).matrices[1]).astype(np.float64)
    assert main(["statistics", str(store), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert record["n_rows"] == len(values)
    np.testing.assert_allclose([r["mean"] for r in record["neurons"]], values.mean(axis=0), rtol=1e-12, atol=1e-15)
    np.testing.assert_allclose([r["sd"] for r in record["neurons"]], values.std(axis=0), rtol=1e-12)
    assert main(["statistics", str(store), "--layer", "1"]) == 0
    assert len(capsys.readouterr().out.splitlines()) == 2 + values.shape[1]
    one = ["statistics", str(store), "--neuron", "5", "--top", "4"]
    assert main([*one, "--dataset", "is_french", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    assert [found["row"] for found in record["top"]] == np.argsort(-values[:, 5], kind="stable")[:4].tolist()
    assert sum(record["histogram"].values()) == len(values)
    first = record["top"][0]
    around = "".join((*first["before"], first["token"], *first["after"]))
    assert around in load("is_french").texts[first["text"]]
    assert main([*one, "--dataset", "is_french"]) == 0
    assert f"[{first['token']}]".replace("\n", "⏎") in capsys.readouterr().out
    assert main(one) == 0
    assert f"row {first['row']}" in capsys.readouterr().out


def test_more_rows_than_are_kept_are_found_anew(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = store / "statistics_layer_1.safetensors"
    before = path.read_bytes()
    command = ["statistics", str(store), "--neuron", "0", "--top", "25", "--json"]
    assert main(command) == 0
    assert len(json.loads(capsys.readouterr().out)["top"]) == 25
    assert path.read_bytes() == before
    path.unlink()
    assert main(["statistics", str(store), "--neuron", "0", "--keep"]) == 0
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("statistics STORE --layer 3", "no layer 3"),
        ("statistics STORE --neuron 100000", "no neuron 100000"),
        ("statistics STORE --neuron 1 --top 0", "at least one"),
        ("statistics STORE --dataset bundled", "give --neuron"),
        ("statistics STORE --neuron 1 --dataset is_german", "another digest"),
        ("extract bundled --out NEW --shard 1/2 --statistics", "not of a part"),
    ],
)
def test_bad_input_is_one_sentence(
    arguments: str, sentence: str, store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {"STORE": store, "NEW": store.parent / "new"}
    capsys.readouterr()
    assert main([str(names.get(word, word)) for word in arguments.split()]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert sentence in lines[0]
    assert not names["NEW"].exists()
