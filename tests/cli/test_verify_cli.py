"""`optprobe verify` and `optprobe cite`: what they print for true, unfinished, forged and foreign certificates."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sealing import altered, both_bounds

from optprobe.certificates import Certificate
from optprobe.cli.main import main


@pytest.fixture
def data(tmp_path: Path) -> Path:
    rng = np.random.default_rng(4)
    X = rng.standard_normal((70, 30))
    X[:, 7] = 2.5
    y = np.where(X[:, 0] - X[:, 3] + 0.5 * rng.standard_normal(70) > 0, 1, -1)
    np.savez(tmp_path / "data.npz", X_train=X, y_train=y)
    return tmp_path / "data.npz"


def solved(data: Path, capsys: pytest.CaptureFixture[str], *more: str) -> Path:
    command = ["solve", str(data), "--k", "2", "--loss", "squared", "--ridge", "0.05", "--out", str(data.parent)]
    assert main([*command, *more, "--json"]) == 0
    return Path(last_json(capsys)["certificate"])


def last_json(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    record = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert isinstance(record, dict)
    return record


def printed(capsys: pytest.CaptureFixture[str], *command: object) -> tuple[int, str]:
    code = main(list(map(str, command)))
    return code, capsys.readouterr().out


def test_the_verdict_is_the_statement(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    certificate = solved(data, capsys)
    code, out = printed(capsys, "verify", certificate, "--data", data)
    assert code == 0
    proved, said = out.split("said by the author, not checked")
    for part in (
        "70 rows x 30 columns",
        "1 of 30 columns are constant",
        "squared loss, ridge 0.05",
        "equal row weights",
    ):
        assert part in proved
    for part in ("class weights none", "at most 2 of all columns", "[0, 3]: F is at most", "tolerance 1e-06: optimal"):
        assert part in proved
    assert "enumeration" in said
    assert "data.npz" in said
    assert main(["verify", str(certificate), "--data", str(data), "--json"]) == 0
    record = last_json(capsys)
    assert record["proved"]["optimal"]
    assert record["proved"]["data"]["constant"] == 1
    assert record["proved"]["support"] == [0, 3]
    assert record["unchecked"]["scope"] == {"file": "data.npz"}


def test_an_unfinished_search_is_accepted_and_not_called_optimal(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    certificate = solved(data, capsys, "--k", "6", "--ridge", "0.001", "--time-limit", "0.01")
    code, out = printed(capsys, "verify", certificate, "--data", data)
    assert code == 0
    assert "not shown to be optimal" in out
    code, out = printed(capsys, "cite", certificate, "--data", data)
    assert code == 0
    assert "best known set of 6" in out
    assert "certified lower bound" in out
    assert "optimal" not in out


def test_a_forgery_is_rejected_and_not_cited(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    forged = altered(Certificate.load(solved(data, capsys)), both_bounds(1e-5), data.parent / "forged.cert")
    code, out = printed(capsys, "verify", forged, "--data", data)
    assert code == 1
    assert out.startswith("rejected: the columns [0, 3] reach")
    assert "proved" not in out
    code, out = printed(capsys, "cite", forged, "--data", data)
    assert code == 1
    assert "@misc" not in out
    code, out = printed(capsys, "cite", forged)
    assert code == 0
    assert "claimed, not verified here" in out
    assert "certified" not in out


def test_a_certificate_of_other_data_is_rejected(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    certificate = solved(data, capsys)
    with np.load(data) as arrays:
        np.savez(data, X_train=arrays["X_train"], y_train=-arrays["y_train"])
    code, out = printed(capsys, "verify", certificate, "--data", data)
    assert code == 1
    assert "y is not the claim's" in out
    with np.load(data) as arrays:
        weight = np.linspace(1, 2, 70)
        np.savez(data, X_train=arrays["X_train"], y_train=-arrays["y_train"], sample_weight=weight)
    code, out = printed(capsys, "verify", certificate, "--data", data)
    assert code == 1
    assert "the data has weights" in out


def test_an_old_format_is_refused_with_the_command_that_makes_it_anew(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    claim = json.dumps({"problem": {"k": 3, "loss": "hinge", "ridge": 0.5, "class_weight": "balanced"}})
    header = json.dumps(
        {"__metadata__": {"claim": claim, "format": "optprobe-certificate/1", "sha256": "0"}}, separators=(",", ":")
    ).encode()
    (data.parent / "old.cert").write_bytes(len(header).to_bytes(8, "little") + header)
    assert main(["verify", str(data.parent / "old.cert"), "--data", str(data)]) == 2
    assert "--k 3 --loss hinge --ridge 0.5 --class-weight balanced" in capsys.readouterr().err


def test_limits_end_a_check_undecided(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    certificate = solved(data, capsys)
    for limit in ("--time-limit", "--memory-limit"):
        code, out = printed(capsys, "verify", certificate, "--data", data, limit, "1e-9")
        assert code == 3
        assert out.startswith("undecided: ")
        assert limit in out
    assert main(["verify", str(certificate), "--data", str(data), "--time-limit", "0"]) == 2
    assert "positive" in capsys.readouterr().err


def test_text_of_a_scope_breaks_out_of_nothing(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Braces, backslashes and percent signs stay in their BibTeX field; control characters are never written."""

    def scoped(claim: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        claim["author"]["scope"] = {"feature": "x'}, author={Eve}, note={\\input{a}", "model": "50%_#$&~^", "layer": 3}

    path = altered(Certificate.load(solved(data, capsys)), scoped, data.parent / "scoped.cert")
    code, out = printed(capsys, "cite", path, "--data", data)
    assert code == 0
    entry = out.split("\n}\n")[0]
    assert entry.count("author") == 2
    assert "\\input" not in entry
    depth = 0
    for character in entry + "\n}":
        depth += {"{": 1, "}": -1}.get(character, 0)
        assert depth >= 0
    assert depth == 0

    def control(claim: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        claim["author"]["engine"] = "\x1b[2Kaccepted \u202e"

    path = altered(Certificate.load(path), control, data.parent / "control.cert")
    code, out = printed(capsys, "verify", path, "--data", data)
    assert code == 1
    assert out.strip().isprintable()


def test_what_a_store_says_is_compared_with_the_scope(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    acts = tmp_path / "acts"
    assert main(["extract", "bundled", "--dataset", "is_french", "--layers", "0", "--out", str(acts)]) == 0
    command = ["solve", str(acts), "--k", "1", "--loss", "squared", "--out", str(tmp_path), "--json"]
    assert main(command) == 0
    certificate = Path(last_json(capsys)["certificate"])
    code, out = printed(capsys, "verify", certificate, "--data", acts)
    assert code == 0
    proved, said = out.split("said by the author, not checked")
    for name in ("model", "layer", "hook", "feature", "dataset_digest", "split"):
        assert f"\n  {name} " in proved
    assert "scope           nothing" in said
    for name, value in (("model", "gpt-5"), ("layer", 1), ("hook", "mlp.pre"), ("dataset_digest", None)):

        def lie(claim: dict[str, Any], arrays: dict[str, np.ndarray], name: str = name, value: Any = value) -> None:
            claim["author"]["scope"][name] = value

        path = altered(Certificate.load(certificate), lie, tmp_path / "lie.cert")
        code, out = printed(capsys, "verify", path, "--data", acts, "--layer", "0")
        assert code == 1
        assert f"the scope says {name}" in out

    def split(claim: dict[str, Any], arrays: dict[str, np.ndarray]) -> None:
        claim["author"]["scope"]["split"] = {"test_share": "x", "seed": [1]}

    path = altered(Certificate.load(certificate), split, tmp_path / "split.cert")
    assert printed(capsys, "verify", path, "--data", acts)[0] == 1


def test_the_second_checker(data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    certificate = solved(data, capsys)
    code, out = printed(capsys, "verify", certificate, "--data", data, "--exact")
    assert code == 0
    for part in ("loss: squared", "ridge: 0.05", "constant columns left out: 1", "support: [0, 3]", "optimal: True"):
        assert part in out
    forged = altered(Certificate.load(certificate), both_bounds(1e-5), data.parent / "forged.cert")
    code, out = printed(capsys, "verify", forged, "--data", data, "--exact", "--json")
    assert code == 1
    assert json.loads(out)["outcome"] == "rejected"
    assert printed(capsys, "verify", certificate, "--data", data, "--exact", "--time-limit", "1e-6")[0] == 3
    assert main(["verify", str(certificate), "--data", str(data), "--exact", "--fast"]) == 2
