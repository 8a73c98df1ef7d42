"""``optprobe run``: a sweep without writing code, its contract for scripts, and what it refuses."""

from __future__ import annotations

import csv
import json
from pathlib import Path

import numpy as np
import pyarrow.parquet as pq
import pytest

from optprobe.activations import activations_of, load_labelled
from optprobe.certificates import verify
from optprobe.cli.main import main
from optprobe.registry import Registry

RNG = np.random.default_rng(3)
GROUP = np.arange(160) // 4
X = RNG.normal(size=(160, 6)).astype(np.float32)
SIGNS = np.where(X[:, 1] - X[:, 4] + RNG.normal(size=160) > 0, 1, -1)
ODD = np.where(X[:, 2] + 0.5 * RNG.normal(size=160) > 0.4, 1, -1)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two features at two layers."""
    folder = tmp_path_factory.mktemp("store") / "acts"
    activations_of({0: X, 3: X[:, ::-1]}, {"sign": SIGNS, "odd": ODD}, GROUP, model="made").save(folder)
    return folder


def last(capsys: pytest.CaptureFixture[str]) -> dict[str, object]:
    return json.loads(capsys.readouterr().out.splitlines()[-1])  # type: ignore[no-any-return]


def test_a_sweep_and_the_contract_for_scripts(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "out"
    sweep = [str(store), "--k", "1-2", "--loss", "squared,logistic", "--ridge", "0.01,0.1", "--out", str(out)]
    assert main(["run", *sweep, "--dry-run"]) == 0
    assert "32 cases, 0 of them done: 4 pairs of feature and layer" in capsys.readouterr().err
    assert not (out / "records").exists()
    table = ["--to-csv", str(tmp_path / "a.csv"), "--to-parquet", str(tmp_path / "a.parquet")]
    assert main(["run", *sweep, "--json", *table]) == 0
    said = last(capsys)
    assert {name: said[name] for name in ("items", "done", "skipped", "failed", "optimal")} == {
        "items": 32,
        "done": 32,
        "skipped": 0,
        "failed": 0,
        "optimal": 32,
    }
    assert len(list((out / "records").iterdir())) == len(list((out / "registry").rglob("*.cert"))) == 32
    assert list((out / "failures").iterdir()) == []
    rows = list(csv.DictReader((tmp_path / "a.csv").read_text().splitlines()))
    assert [row["method"] for row in rows].count("optimum") == 32
    parquet = pq.read_table(tmp_path / "a.parquet").to_pylist()
    assert [float(row["objective"]) for row in rows] == [row["objective"] for row in parquet]
    for row in rows[:: len(rows) // 5]:
        data = load_labelled(store, row["feature"], int(row["layer"]))
        assert verify(Registry(out / "registry").path(row["certificate"]), data.X_train, data.y_train).accepted
    assert main(["run", *sweep, "--json"]) == 0
    assert last(capsys)["skipped"] == 32
    assert main(["run", *sweep]) == 0
    shown = capsys.readouterr().out
    assert "Certified optima" in shown
    assert "32 cases: 0 run, 32 there before, 0 failed; 32 optima proved" in shown


def test_a_part_of_a_store_with_some_heuristics(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    part = [
        "--feature",
        "odd",
        "--layer",
        "3",
        "--methods",
        "mean_difference",
        "beam_search",
        "--class-weight",
        "balanced",
    ]
    assert main(["run", str(store), "--k", "1,3", *part, "--out", str(tmp_path), "--to-csv", str(tmp_path / "a")]) == 0
    rows = list(csv.DictReader((tmp_path / "a").read_text().splitlines()))
    assert [(row["feature"], row["layer"], row["k"]) for row in rows[::3]] == [("odd", "3", "1"), ("odd", "3", "3")]
    assert {row["method"] for row in rows} == {"optimum", "mean_difference", "beam_search"}
    assert {row["class_weight"] for row in rows} == {"balanced"}


def test_a_configuration_file(store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    config = tmp_path / "sweep.toml"
    config.write_text(f'stores = ["{store}"]\nks = [2]\n[[losses]]\nname = "squared"\nridge = [0.1, 1.0]\n')
    assert main(["run", str(config), "--out", str(tmp_path / "out"), "--json"]) == 0
    assert last(capsys)["optimal"] == 8
    same = [str(store), "--k", "2", "--loss", "squared", "--ridge", "0.1,1.0"]
    assert main(["run", *same, "--out", str(tmp_path / "out"), "--json"]) == 0
    assert last(capsys)["skipped"] == 8


def test_a_case_that_fails_is_told_and_the_rest_is_done(
    store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    from optprobe.cases import study

    genuine = study.certified_case

    def certify(data: object, problem: object, *given: object, **options: object) -> object:
        if problem.k == 2:  # type: ignore[attr-defined]
            raise MemoryError("too large")
        return genuine(data, problem, *given, **options)  # type: ignore[arg-type]

    monkeypatch.setattr(study, "certified_case", certify)
    assert main(["run", str(store), "--k", "1-3", "--loss", "squared", "--out", str(tmp_path), "--json"]) == 1
    shown = capsys.readouterr()
    assert json.loads(shown.out.splitlines()[-1])["failed"] == 4
    assert "optprobe run: sign, layer 0, squared loss, ridge 0.01, unweighted rows, k = 2: too large" in shown.err


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["STORE"], "give the numbers of neurons, such as --k 1-5"),
        (["STORE", "--k", "2-1"], "'2-1' is no list of numbers"),
        (["STORE", "--k", "1,1"], "names a number twice"),
        (["STORE", "--k", "0"], "numbers of neurons from 1"),
        (["STORE", "--k", "9"], "k = 9 is more than the 6 neurons of layer 0"),
        (["STORE", "--k", "1", "--loss", "cubic"], "the loss 'cubic' is unknown"),
        (["STORE", "--k", "1", "--ridge", "a"], "'a' in 'a' is no number"),
        (["STORE", "--k", "1", "--ridge", "-1"], "ridge is -1"),
        (["STORE", "--k", "1", "--ridge", "1,1.0"], "repeated value"),
        (["STORE", "--k", "1", "--feature", "even"], "has no feature 'even': there are sign, odd"),
        (["STORE", "--k", "1", "--layer", "1"], "has no layer 1: there are 0, 3"),
        (["STORE", "--k", "1", "--method", "magic"], "the method 'magic' is unknown"),
        (["STORE", "--k", "1", "--methods", "magic"], "there is no method 'magic' to compare"),
        (["STORE", "--k", "1", "--workers", "3"], "3 workers cannot run here"),
        (["STORE", "--k", "1", "--time-limit", "nan"], "time limit is nan"),
        (["nothing", "--k", "1"], "there is no folder nothing"),
        (["a.toml", "--k", "1"], "--k is stated by a.toml"),
        (["a.toml", "STORE"], "a configuration stands alone"),
        (["a.toml"], "the configuration a.toml cannot be read"),
        (["STORE", "--k", "1", "--dry-run", "--to-csv", "a.csv"], "--to-csv has no effect beside --dry-run"),
    ],
)
def test_what_cannot_be_run_is_one_sentence(
    arguments: list[str],
    sentence: str,
    store: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    given = [str(store) if word == "STORE" else word for word in arguments]
    try:
        code = main(["run", *given, "--out", "out"])
    except SystemExit as stop:
        code = int(stop.code or 0)
    said = capsys.readouterr().err
    assert (code, said.count("\n")) == (2, 1), said
    assert sentence in said
    assert not list(tmp_path.rglob("*.json"))
