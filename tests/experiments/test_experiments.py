"""What every experiment does: its smallest configuration runs, is killed, goes on, and ends the same."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest

import experiments
from experiments import overview
from experiments.experiment import command
from experiments.overview import experiment_named
from optprobe.report.finding import FINDING, Finding, read_finding
from optprobe.studies import backends

FOLDER = Path(experiments.__file__).parent
CONFIGS = FOLDER / "configs"
QUICK = ("context_neurons", "scaling", "synthetic_recovery")
"""Experiments that are run and killed at every test; the others by ``make slow``."""
NAMES = sorted(folder.name for folder in CONFIGS.iterdir() if folder.name != "features")


def start(name: str, folder: Path) -> int:
    return command(experiment_named(name), ["--config", str(CONFIGS / name / "smoke.toml"), "--out", str(folder)])


def kept(folder: Path) -> dict[str, bytes]:
    """The files of a finding."""
    finding = read_finding(folder)
    names = [FINDING, *(f"{name}.csv" for name in finding.tables)]
    names += [f"figures/{figure.name}.svg" for figure in finding.figures]
    return {name: (folder / name).read_bytes() for name in names}


def test_every_module_has_its_configurations() -> None:
    modules = {path.stem for path in FOLDER.glob("*.py") if "EXPERIMENT = " in path.read_text(encoding="utf-8")}
    assert modules == set(NAMES)
    for name in NAMES:
        assert experiment_named(name).name == name
        for path in (CONFIGS / name).glob("*.toml"):
            experiment_named(name).config(path)


@pytest.mark.parametrize(
    "name", [name if name in QUICK else pytest.param(name, marks=pytest.mark.slow) for name in NAMES]
)
def test_a_run_that_is_killed_goes_on_and_ends_the_same(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole, killed = tmp_path / "whole", tmp_path / "killed"
    assert start(name, whole) == 0
    finding = read_finding(whole)
    assert finding.paragraph == experiment_named(name).said(finding.tables)
    assert finding.paragraph.endswith(".")
    assert finding.figures
    assert all(len({tuple(row) for row in rows}) == 1 for rows in finding.tables.values())
    if (whole / "activations").is_dir():
        shutil.copytree(whole / "activations", killed / "activations")

    genuine, ran = backends.perform, list[Any]()

    def once(*arguments: Any) -> str | None:
        if ran:
            raise KeyboardInterrupt
        ran.append(arguments)
        return genuine(*arguments)

    monkeypatch.setattr(backends, "perform", once)
    assert start(name, killed) == 130
    assert not (killed / FINDING).exists()
    monkeypatch.setattr(backends, "perform", genuine)
    assert start(name, killed) == 0
    assert kept(killed) == kept(whole)


def test_the_readme_and_the_site_are_made_of_what_is_kept(tmp_path: Path) -> None:
    assert set(overview.NAMES) == set(overview.BESIDE_THE_PAPER) == set(NAMES)
    assert overview.README.read_text(encoding="utf-8") == overview.readme()
    assert overview.main(["--out", str(tmp_path / "site")]) == 0
    page = (tmp_path / "site" / "index.html").read_text(encoding="utf-8")
    for folder in findings():
        place = f"{folder.parent.name}-{folder.name}/index.html"
        assert f'href="{place}"' in page
        assert (tmp_path / "site" / place).is_file()


def findings() -> list[Path]:
    return sorted(path.parent for path in (FOLDER / "results").glob("*/*/finding.json"))


@pytest.mark.parametrize("folder", findings(), ids=lambda path: f"{path.parent.name}-{path.name}")
def test_what_is_kept_says_what_its_tables_say(folder: Path) -> None:
    finding: Finding = read_finding(folder)
    assert folder.parent.name == finding.name
    assert (CONFIGS / finding.name / f"{folder.name}.toml").is_file()
    assert finding.paragraph == experiment_named(finding.name).said(finding.tables)
