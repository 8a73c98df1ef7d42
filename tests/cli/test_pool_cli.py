"""``optprobe solve --within`` and ``--pool``: the contract for scripts, what is printed, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from optprobe.cli.main import main


@pytest.fixture(scope="module")
def rows(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Neurons of which two are near copies, and a label that needs either of them and another neuron."""
    rng = np.random.default_rng(5)
    X = rng.standard_normal((120, 12))
    X[:, 7] = X[:, 2] + 0.05 * rng.standard_normal(120)
    y = np.where(X[:, 2] + X[:, 4] + 0.3 * rng.standard_normal(120) > 0, 1, -1)
    path = tmp_path_factory.mktemp("rows") / "rows.npz"
    np.savez(path, X_train=X.astype(np.float32), y_train=y)
    return path


def solved(rows: Path, out: Path, capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, Any]:
    arguments = ["solve", str(rows), "--k", "2", "--loss", "squared", "--out", str(out), "--json", *options]
    assert main(arguments) == 0
    found: dict[str, Any] = json.loads(capsys.readouterr().out)
    return found


def test_the_contract(rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    plain = solved(rows, tmp_path, capsys)
    assert not {"pool", "rest", "margin", "unique", "roles"} & set(plain)
    found = solved(rows, tmp_path, capsys, "--within", "3%")
    assert set(found) == set(plain) | {"pool", "rest", "margin", "unique", "roles"}
    assert [one["support"] for one in found["pool"]] == [[4, 7], [2, 4]]
    assert found["pool"][0]["upper_bound"] <= found["pool"][1]["upper_bound"] <= 1.03 * found["upper_bound"]
    assert found["rest"] >= 1.03 * found["upper_bound"]
    assert found["unique"] is True
    assert 0 < found["margin"] <= found["pool"][1]["upper_bound"] - found["pool"][0]["upper_bound"]
    assert found["roles"] == {"2": "replaceable", "4": "indispensable", "7": "replaceable"}
    assert found["certificate"].endswith(".pool2.cert")
    again = solved(rows, tmp_path, capsys, "--within", "0.03")
    assert {**again, "seconds": 0, "phases": 0} == {**found, "seconds": 0, "phases": 0}
    absolute = solved(rows, tmp_path, capsys, "--within-absolute", str(0.03 * found["upper_bound"]))
    assert absolute["pool"] == found["pool"]
    assert len(solved(rows, tmp_path, capsys, "--pool", "5")["pool"]) == 5
    assert main(["verify", found["certificate"], "--data", str(rows), "--json"]) == 0
    proved = json.loads(capsys.readouterr().out)["proved"]
    assert proved["pool"]["rest"] == found["rest"]
    assert [one["support"] for one in proved["pool"]["sets"]] == [[4, 7], [2, 4]]


def test_what_is_printed_and_cited(rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["solve", str(rows), "--k", "2", "--loss", "squared", "--within", "3%", "--out", str(tmp_path)]) == 0
    said = capsys.readouterr().out
    assert "2, of 3 neurons; the best is [4, 7]" in said
    assert "unique" in said
    (certificate,) = tmp_path.glob("*.cert")
    assert main(["cite", str(certificate), "--data", str(rows)]) == 0
    assert "The objective of a set that contains none of 2 listed ones is at least" in capsys.readouterr().out


def test_a_threshold_that_no_neuron_is_needed_for(
    rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    found = solved(rows, tmp_path, capsys, "--within", "1000%")
    assert [one["support"] for one in found["pool"]] == [[]]
    assert (found["margin"], found["unique"], found["roles"]) == (None, None, {})
    assert main(["verify", found["certificate"], "--data", str(rows)]) == 0
    assert "the empty set is listed, and every set contains it" in capsys.readouterr().out
    assert main(["cite", found["certificate"]]) == 0
    assert "Without any neuron the objective is at most 0.476527778 (claimed)." in capsys.readouterr().out


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        (("--within", "1%", "--within-absolute", "0.1"), "give one of the two"),
        (("--within", "-0.1"), "within is -0.1: give a number from 0"),
        (("--within", "nan"), "within is nan: give a number from 0"),
        (("--within", "inf%"), "within is inf: give a number from 0"),
        (("--pool", "0"), "pool is 0: give a number of sets from 1"),
        (("--pool", "1000000"), "pool is 1000000: give a number of sets from 1 to 100,000"),
    ],
)
def test_what_is_refused(
    options: tuple[str, ...], sentence: str, rows: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["solve", str(rows), "--k", "2", "--out", str(tmp_path / "out"), *options]) == 2
    assert sentence in capsys.readouterr().err
    assert list((tmp_path / "out").iterdir()) == []


def test_a_share_that_is_none(rows: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main(["solve", str(rows), "--k", "2", "--within", "a few"])
    assert "'a few' is no share such as 1% or 0.01" in capsys.readouterr().err
