"""The experiment end to end on the bundled model: whole, interrupted and resumed, and with altered records."""

from __future__ import annotations

import csv
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from experiments import heuristic_vs_optimal as experiment
from experiments.config import read_config
from optprobe.activations import load_labelled
from optprobe.certificates import verify
from optprobe.errors import InputError
from optprobe.heuristics import RANKINGS
from optprobe.report import Case

SMOKE = Path(__file__).parents[2] / "experiments" / "configs" / "smoke.toml"


def start(folder: Path, config: Path = SMOKE) -> int:
    return experiment.main(["--config", str(config), "--out", str(folder)])


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of an uninterrupted run."""
    folder = tmp_path_factory.mktemp("whole") / "results"
    assert start(folder) == 0
    return folder


@pytest.fixture
def copy(whole: Path, tmp_path: Path) -> Path:
    """A folder of one's own with the results of the uninterrupted run."""
    return Path(shutil.copytree(whole, tmp_path / "results"))


@pytest.fixture
def never(monkeypatch: pytest.MonkeyPatch) -> None:
    """No case may be computed."""
    monkeypatch.setattr(experiment, "certified_case", None)


def test_results_page_and_certificates(whole: Path) -> None:
    rows = list(csv.DictReader((whole / "results.csv").read_text(encoding="utf-8").splitlines()))
    methods = {"optimum", *RANKINGS, "forward_selection", "beam_search", "swap_descent"}
    assert len(rows) == 4 * len(methods)
    page = (whole / "index.html").read_text(encoding="utf-8")
    for row in rows:
        assert row["method"] in methods
        assert float(row["regret"]) >= 0
        assert float(row["objective"]) >= float(row["lower_bound"])
        assert row["certificate_accepted"] == "True"
        assert f"{float(row['objective']):.6f}" in page
    for row in {row["certificate"]: row for row in rows}.values():
        data = load_labelled(whole / "activations", row["feature"], int(row["layer"]))
        verdict = verify(whole / "certificates" / row["certificate"], data.X_train, data.y_train)
        assert verdict.accepted
        assert verdict.reason in page
    names = {path.name for path in (whole / "figures").iterdir()}
    assert names == {"regret.svg", "optimal_share.svg", "held_out_f1.svg", "objective.svg"}


def test_an_interrupted_run_goes_on_and_ends_the_same(
    whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "results"
    shutil.copytree(whole / "activations", folder / "activations")
    computed: list[Case] = []

    def interrupted_at(limit: int) -> Any:
        def certify(*arguments: Any, **options: Any) -> Case:
            if len(computed) == limit:
                raise KeyboardInterrupt
            computed.append(genuine(*arguments, **options))
            return computed[-1]

        return certify

    genuine = experiment.certified_case
    monkeypatch.setattr(experiment, "certified_case", interrupted_at(2))
    assert start(folder) == 130
    assert len(list((folder / "cases").iterdir())) == len(list((folder / "certificates").iterdir())) == 2
    assert not (folder / "results.csv").exists()
    assert not [path for path in folder.rglob("*") if path.suffix == ".part"]
    monkeypatch.setattr(experiment, "certified_case", interrupted_at(99))
    assert start(folder) == 0
    assert len(computed) == 4
    assert (folder / "results.csv").read_bytes() == (whole / "results.csv").read_bytes()


@pytest.mark.usefixtures("never")
def test_a_finished_run_computes_nothing_and_writes_the_same(copy: Path, whole: Path) -> None:
    for name in ("results.csv", "index.html"):
        (copy / name).unlink()
    assert start(copy) == 0
    assert (copy / "results.csv").read_bytes() == (whole / "results.csv").read_bytes()
    assert (copy / "index.html").read_bytes() == (whole / "index.html").read_bytes()


def test_altered_records_and_certificates_are_not_trusted(copy: Path) -> None:
    config = read_config(SMOKE)
    keys = [planned.key for planned in experiment.plan(config, copy / "activations")]
    cases = [experiment.read_case(copy, key) for key in keys]
    assert all(cases)
    record = copy / "cases" / f"{keys[0]}.json"
    text = record.read_text(encoding="utf-8")
    for old, new in (('"overlap": 1', '"overlap": 0'), (keys[0], keys[1]), (text[40:], "")):
        record.write_text(text.replace(old, new), encoding="utf-8")
        assert experiment.read_case(copy, keys[0]) is None
    assert cases[1] is not None
    certificate = copy / "certificates" / cases[1].certificate
    certificate.write_bytes(certificate.read_bytes()[:-1])
    assert experiment.read_case(copy, keys[1]) is None
    assert experiment.read_case(copy, keys[2]) == cases[2]


def test_a_key_depends_on_parameters_and_data(copy: Path) -> None:
    config = read_config(SMOKE)
    keys = {planned.key for planned in experiment.plan(config, copy / "activations")}
    other = {planned.key for planned in experiment.plan(replace(config, split_seed=1), copy / "activations")}
    assert len(keys | other) == 8


@pytest.mark.usefixtures("never")
def test_another_configuration_is_refused(copy: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    other = tmp_path / "other.toml"
    other.write_text(SMOKE.read_text(encoding="utf-8").replace("ks = [1, 2]", "ks = [2]"), encoding="utf-8")
    assert start(copy, other) == 2
    assert "has results of another configuration (ks differs)" in capsys.readouterr().err
    (copy / "config.json").write_text("{", encoding="utf-8")
    assert start(copy) == 2
    assert "cannot be read" in capsys.readouterr().err


@pytest.mark.usefixtures("never")
def test_unknown_features_are_refused(tmp_path: Path) -> None:
    config = replace(read_config(SMOKE), features=("is_klingon",))
    with pytest.raises(InputError, match="there is no feature 'is_klingon' in 'bundled'"):
        experiment.run(config, tmp_path, lambda what, share: None)


def test_the_time_left_is_told_only_once_it_is_known() -> None:
    config = read_config(SMOKE)
    clock = experiment.Clock(config)
    first, second = ((config.losses[0], k) for k in config.ks)
    assert clock.left == "time left unknown"
    clock.ran(first, 2.0)
    assert clock.left == "time left unknown"
    clock.ran(second, 10.0)
    assert clock.left == "about 12 s left"
    clock.skipped(first)
    assert clock.left == "about 10 s left"
    clock.ran(second, 400.0)
    assert clock.left == "about 0 s left"
