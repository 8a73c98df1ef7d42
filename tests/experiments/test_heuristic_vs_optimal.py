"""The experiment end to end on the bundled model: whole, interrupted and resumed, and with altered records."""

from __future__ import annotations

import csv
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from experiments.experiment import Job, command
from experiments.heuristic_vs_optimal import EXPERIMENT, said
from optprobe.activations import load_labelled
from optprobe.cases import Case, study
from optprobe.cases.config import read_config
from optprobe.certificates import verify
from optprobe.errors import InputError
from optprobe.heuristics import RANKINGS
from optprobe.registry import Registry
from optprobe.report.finding import read_finding
from optprobe.studies.backends import Here

SMOKE = Path(__file__).parents[2] / "experiments" / "configs" / "heuristic_vs_optimal" / "smoke.toml"


def start(folder: Path, config: Path = SMOKE) -> int:
    return command(EXPERIMENT, ["--config", str(config), "--out", str(folder)])


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


def test_results_page_and_certificates(whole: Path) -> None:
    rows = list(csv.DictReader((whole / "results.csv").read_text(encoding="utf-8").splitlines()))
    methods = {"optimum", *RANKINGS, "forward_selection", "beam_search", "swap_descent"}
    assert len(rows) == 4 * len(methods)
    page = "".join(path.read_text(encoding="utf-8") for path in whole.glob("feature/*.html"))
    for row in rows:
        assert row["method"] in methods
        assert float(row["regret"]) >= 0
        assert float(row["objective"]) >= float(row["lower_bound"])
        assert row["certificate_accepted"] == "True"
        assert f"{float(row['objective']):.6f}" in page
    for row in {row["certificate"]: row for row in rows}.values():
        data = load_labelled(whole / "activations", row["feature"], int(row["layer"]))
        verdict = verify(Registry(whole / "registry").path(row["certificate"]), data.X_train, data.y_train)
        assert verdict.accepted
        assert row["certificate"][:12] in page
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

    genuine = study.certified_case
    monkeypatch.setattr(study, "certified_case", interrupted_at(2))
    assert start(folder) == 130
    assert len(list((folder / "records").iterdir())) == len(list((folder / "registry").rglob("*.cert"))) == 2
    assert not (folder / "results.csv").exists()
    assert not [path for path in folder.rglob("*") if path.suffix == ".part"]
    monkeypatch.setattr(study, "certified_case", interrupted_at(99))
    assert start(folder) == 0
    assert len(computed) == 4
    assert (folder / "results.csv").read_bytes() == (whole / "results.csv").read_bytes()
    assert (folder / "index.html").read_bytes() == (whole / "index.html").read_bytes()


def test_a_finished_run_computes_nothing_and_writes_the_same(
    copy: Path, whole: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(study, "certified_case", None)
    for name in ("results.csv", "index.html"):
        (copy / name).unlink()
    assert start(copy) == 0
    assert (copy / "results.csv").read_bytes() == (whole / "results.csv").read_bytes()
    assert (copy / "index.html").read_bytes() == (whole / "index.html").read_bytes()


def test_a_certificate_that_was_altered_is_left_alone_and_once_removed_made_again(
    copy: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    certificate = next((copy / "registry").rglob("*.cert"))
    content = certificate.read_bytes()
    certificate.write_bytes(content[:-1])
    assert start(copy) == 2
    assert "is damaged, and nothing is overwritten: move it away" in capsys.readouterr().err
    certificate.unlink()
    assert start(copy) == 0
    assert certificate.read_bytes() == content


def test_a_case_that_fails_is_one_sentence(
    copy: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(study, "certified_case", None)
    other = tmp_path / "other.toml"
    other.write_text(SMOKE.read_text(encoding="utf-8").replace("ks = [1, 2]", "ks = [1, 3]"), encoding="utf-8")
    assert start(copy, other) == 2
    assert "2 cases failed, the first: contains_digit, layer 0, squared loss" in capsys.readouterr().err


def test_unknown_features_and_stores_are_refused(tmp_path: Path) -> None:
    config = replace(read_config(SMOKE), features=("is_klingon",))
    with pytest.raises(InputError, match="there is no feature 'is_klingon' in 'bundled'"):
        EXPERIMENT.run(Job(config, tmp_path, lambda what, share: None, Here()))
    stores = replace(config, model=None, stores=("acts",))
    with pytest.raises(InputError, match="this experiment extracts its activations"):
        EXPERIMENT.run(Job(stores, tmp_path, lambda what, share: None, Here()))


def test_the_finding_is_read_as_it_was_written_and_its_paragraph_follows_from_the_tables(whole: Path) -> None:
    finding = read_finding(whole)
    assert finding.paragraph == said(finding.tables)
    assert finding.paragraph.startswith("4 of 4 optima are proved")
    assert len(finding.tables["results"]) == 44
    assert {figure.name for figure in finding.figures} == {"regret", "optimal_share", "held_out_f1", "objective"}
    assert finding.page(pages="index.html") == (whole / "study.html").read_text(encoding="utf-8")
    (whole.parent / "empty").mkdir()
    with pytest.raises(InputError, match="holds no whole finding"):
        read_finding(whole.parent / "empty")
