"""``optprobe solve`` then ``optprobe verify``: exit code 0 for every method, loss, k, and kind of weights."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conformance import largest_k

from optprobe.cli.main import main
from optprobe.engines import METHODS

LOSSES = ("squared", "logistic", "hinge")
ONLY = {"enumeration": ("squared",), "dual_enumeration": ("logistic", "hinge")}
"""The losses of the methods that do not take all of them."""
PAIRS = [(method, loss) for method in (*METHODS, "auto") for loss in ONLY.get(method, LOSSES)]


@pytest.fixture(scope="module", params=["equal rows", "weighted rows"])
def data(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    rng = np.random.default_rng(23)
    X = rng.standard_normal((60, 9)) + 0.7 * rng.standard_normal((60, 1))
    y = np.where(X[:, 2] - X[:, 5] + 0.5 * X[:, 7] + 0.6 * rng.standard_normal(60) > 0.4, 1, -1)
    arrays: dict[str, Any] = {"X_train": X.astype(np.float16), "y_train": y.astype(np.int8)}
    if request.param == "weighted rows":
        arrays["sample_weight"] = rng.lognormal(0, 1, 60)
    path = tmp_path_factory.mktemp("data") / "data.npz"
    np.savez(path, **arrays)
    return path


def solved_and_verified(data: Path, out: Path, capsys: pytest.CaptureFixture[str], *options: str) -> dict[str, Any]:
    """The record of ``solve``, once its certificate is accepted."""
    assert main(["solve", str(data), *options, "--out", str(out), "--json"]) == 0, options
    record = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    code = main(["verify", record["certificate"], "--data", str(data)])
    assert code == 0, (options, capsys.readouterr().out)
    assert capsys.readouterr().out.startswith("accepted")
    assert isinstance(record, dict)
    return record


@pytest.mark.parametrize(("method", "loss"), PAIRS)
def test_every_k(method: str, loss: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for k in (2, 3) if method == "milp" else range(1, largest_k(method, loss) + 1):
        ridge, class_weight = ("0.1", "0.003")[k % 2], ("none", "balanced")[k // 2 % 2]
        options = ("--method", method, "--loss", loss, "--k", str(k), "--ridge", ridge, "--class-weight", class_weight)
        record = solved_and_verified(data, tmp_path, capsys, *options)
        assert record["optimal"], options
        assert record["class_weight"] == class_weight


@pytest.mark.parametrize(("method", "loss"), [pair for pair in PAIRS if pair[0] != "milp"])
def test_among_the_top_and_out_of_time(
    method: str, loss: str, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    options = ("--method", method, "--loss", loss, "--k", "2", "--ridge", "0.01", "--top", "5")
    assert solved_and_verified(data, tmp_path, capsys, *options)["scope"] == "among these 5 neurons"
    solved_and_verified(data, tmp_path, capsys, *options, "--time-limit", "1e-9")


@pytest.mark.parametrize("k", [1, 2, 4])
def test_the_setting_of_the_paper(k: int, data: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for top in ((), ("--top", "6")):
        record = solved_and_verified(data, tmp_path, capsys, "--paper", "--k", str(k), *top)
        assert (record["loss"], record["class_weight"], record["engine"]) == (
            "hinge",
            "balanced",
            "outer_approximation",
        )
