"""``optprobe losses``, end to end."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import optprobe as op
from optprobe.cli.main import main

RUN = ["losses", "bundled"]
ON = ["--device", "cpu", "--context", "24"]


@pytest.fixture(scope="module")
def few(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Some texts of the bundled corpus."""
    whole = op.features.load("is_french")
    folder = tmp_path_factory.mktemp("data") / "few"
    whole.take(np.isin(whole.text, [0, 30, 60, 90, 120])).save(folder)
    return str(folder)


def test_a_run_and_what_it_says(few: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "losses"
    command = [*RUN, few, *ON, "--ablate", "3:415,12", "1:7", "--ablate", "2:5", "--out", str(out)]
    assert main([*command, "--feature", "is_french", "--top", "2", "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    found = op.Losses.open(out)
    assert list(record["ablations"]) == list(found.names) == ["zero 1:7 3:12,415", "zero 2:5"]
    assert record["clean"] == pytest.approx(found.of().mean())
    for name, one in record["ablations"].items():
        assert one["mean"] == found.difference(name).mean
        assert one["ablation"] == found.ablations[name]
        assert len(one["hurt_most"]) == 2
        assert set(one["by_label"]) <= {"+1", "-1"}
    assert main([*command, "--feature", "is_french", "--top", "1"]) == 0
    said = capsys.readouterr()
    assert "zero 1:7 3:12,415" in said.out
    assert "[" in said.out


def test_a_store_as_reference(few: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    acts = op.extract("bundled", op.features.load(few), [3], out=tmp_path / "acts", device="cpu")
    for how, more in (("mean", []), ("resample", ["--seed", "4"])):
        options = ["--ablate", "3:5", "--how", how, *more, "--reference", str(tmp_path / "acts")]
        assert main([*RUN, few, *ON, *options, "--json"]) == 0
        (one,) = json.loads(capsys.readouterr().out)["ablations"].values()
        assert one["ablation"]["reference"]["name"] == "acts"
        assert one["ablation"]["reference"]["rows"] == acts.n_rows


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (["--ablate", "415"], "'415' is no layer with its neurons, such as 3:415,12"),
        (["--ablate", "3:x"], "is no list of columns"),
        (["--ablate", "3:1", "3:2"], "names a layer twice"),
        (["--ablate", "3:1", "--ablate", "3:1"], "names the same neurons twice"),
        (["--how", "zero"], "--how says how neurons are ablated, and none is named"),
        (["--seed", "1"], "--seed says how neurons are ablated"),
        (["--ablate", "3:1", "--factor", "2"], "'zero' takes no factor"),
        (["--ablate", "3:1", "--how", "mean"], "'mean' needs a reference"),
        (["--ablate", "9:1"], "the model has no layer 9"),
        (["--feature", "is_dutch"], "has no feature 'is_dutch'"),
    ],
)
def test_what_is_refused(
    few: str, options: list[str], said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "out"
    try:
        code = main([*RUN, few, *ON, *options, "--out", str(out)])
    except SystemExit as ended:
        code = ended.code  # type: ignore[assignment]
    shown = capsys.readouterr()
    assert code == 2
    assert said in shown.err
    assert len(shown.err.strip().splitlines()) == 1
    assert not out.exists()
