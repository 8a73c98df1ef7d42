"""The quickstart: a small one on one layer, what it does with activations that are there, and the whole of it."""

from __future__ import annotations

import json
import re
import shutil
from dataclasses import replace
from html import escape
from pathlib import Path

import numpy as np
import pytest

import optprobe as op
from optprobe import quickstart as job
from optprobe.activations import Activations, load_model, load_tokenizer
from optprobe.cli.main import main
from optprobe.errors import InputError
from optprobe.features import load
from optprobe.registry import Registry


def silent(what: str, share: float) -> None:
    """No progress."""


@pytest.fixture(scope="module")
def small(tmp_path_factory: pytest.TempPathFactory) -> job.Quickstart:
    """One feature, one layer, k = 2."""
    return job.quickstart(tmp_path_factory.mktemp("small"), ("contains_digit",), (0,), (2,))


def test_a_small_quickstart(small: job.Quickstart) -> None:
    assert [(case.loss, case.k, case.engine) for case in small.cases] == [
        ("squared", 2, "enumeration"),
        *(("logistic", 2, engine) for engine, _ in job.ENGINES),
    ]
    assert small.accepted
    assert all(case.optimal for case in small.cases)
    assert "extracted to" in small.activations
    assert {path.name for path in small.page.parent.iterdir()} == {
        *("activations", "records", "failures", "registry", ".lock", "index.html"),
        *("feature", "neuron", "certificate", "style.css", "cases.csv", "site.json"),
    }
    assert f"{small.cases[0].upper_bound:.6f}" in small.page.read_text(encoding="utf-8")
    neuron = small.page.parent / "neuron" / f"0-{small.cases[0].support[0]}.html"
    page = neuron.read_text(encoding="utf-8")
    assert '<span class="context"' in page
    model = load_model("bundled", head=True)
    weights, own = op.neuron_weights(model, 0), small.cases[0].support[0]
    assert f"<dd>{weights.output_norms[own]:.3g}, above" in page
    folded = weights.folded()
    assert f"<dd>{folded.products[own]:.3g}, above" in page
    assert f"<dd>{folded.inputs[0].bias[own]:.3g}, above" in page  # type: ignore[index]
    assert 'id="weights-' in page
    (token, value), *_ = weights.tokens(own, 1)[0]
    assert f"{escape(load_tokenizer('bundled').decode([token]))} {value:+.2f}" in page


def test_the_page_names_the_command_that_solves_a_case_again(
    small: job.Quickstart, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    page = small.page.read_text(encoding="utf-8")
    command = page.split("as in: optprobe ")[1].split("</dd>")[0].split(";")[0].split()
    monkeypatch.chdir(small.page.parent)
    assert main([*command, "--out", str(tmp_path), "--json"]) == 0
    record = json.loads(capsys.readouterr().out)
    asked = tuple(command[command.index(option) + 1] for option in ("--loss", "--method"))
    case = next(case for case in small.cases if (case.loss, case.engine) == asked and case.among is None)
    assert record["upper_bound"] == case.upper_bound
    written = Path(record["certificate"])
    assert written.read_bytes() == Registry(small.page.parent / "registry").path(case.certificate).read_bytes()


def test_the_engines_agree_and_the_page_tells_what_highs_did(small: job.Quickstart) -> None:
    page = small.page.read_text(encoding="utf-8")
    said = page.split("One question, several engines")[1].split("<h2>")[0]
    for among in (None, job.PAPER_TOP):
        answers = [case for case in small.cases if case.loss == "logistic" and case.among == among]
        assert len({case.support for case in answers}) == 1
        assert max(case.lower_bound for case in answers) <= min(case.upper_bound for case in answers)
        for case in answers:
            assert f"certificate/{case.certificate[:12]}.html" in said
            if case.engine in ("outer_approximation", "milp"):
                assert case.counts["rounds"] >= case.counts["starts_accepted"] >= 1
                own = (small.page.parent / "certificate" / f"{case.certificate[:12]}.html").read_text(encoding="utf-8")
                assert re.search(rf"HiGHS rounds</dt>\s*<dd>{case.counts['rounds']}<", own)
                assert case.start in own


@pytest.mark.parametrize("accepted", [True, False])
def test_the_command(
    small: job.Quickstart,
    accepted: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    first = replace(small.cases[0], accepted=accepted, verdict="the sentence of the checker")
    found = replace(small, cases=(first, *small.cases[1:]))
    monkeypatch.setattr(job, "quickstart", lambda folder, report: found)
    assert main(["quickstart", "--out", str(tmp_path)]) == (0 if accepted else 1)
    shown = capsys.readouterr().out
    assert "Certified optima, class weights balanced" in shown
    assert "swap descent" in shown
    assert ("REJECTED" in shown) is not accepted
    assert main(["quickstart", "--out", str(tmp_path), "--json"]) == (0 if accepted else 1)
    record = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert record["accepted"] is accepted
    assert record["cases"][1]["upper_bound"] == small.cases[1].upper_bound


def test_ctrl_c_is_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    def interrupted(*arguments: object, **options: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(job, "extracted", interrupted)
    assert main(["quickstart", "--out", str(tmp_path)]) == 130
    assert "optprobe quickstart: interrupted" in capsys.readouterr().err
    assert list(tmp_path.iterdir()) == []


def test_activations_are_used_again_repaired_or_extracted_again(small: job.Quickstart, tmp_path: Path) -> None:
    folder, data = tmp_path / "activations", load("bundled")
    shutil.copytree(small.page.parent / "activations", folder)
    assert "used again" in job.extracted(folder, "bundled", data, (0,), silent)
    shard = folder / "layer_0" / "000000.safetensors"
    shard.write_bytes(shard.read_bytes()[:-4])
    assert "repaired, since" in job.extracted(folder, "bundled", data, (0,), silent)
    assert "used again" in job.extracted(folder, "bundled", data, (0,), silent)
    assert "extracted again, since" in job.extracted(folder, "bundled", data, (0, 1), silent)
    again, first = Activations.open(folder), Activations.open(small.page.parent / "activations")
    np.testing.assert_array_equal(again.matrices[0], first.matrices[0])


def test_activations_of_something_else_are_left_alone(small: job.Quickstart, tmp_path: Path) -> None:
    folder, data = tmp_path / "activations", load("bundled")
    shutil.copytree(small.page.parent / "activations", folder)
    before = sorted(path.name for path in folder.iterdir())
    with pytest.raises(InputError, match="holds activations of bundled"):
        job.extracted(folder, "another/model", data, (0,), silent)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match="not a store of activations"):
        job.extracted(tmp_path / "mine", "bundled", data, (0,), silent)
    assert sorted(path.name for path in folder.iterdir()) == before
    assert (tmp_path / "mine" / "thesis.txt").is_file()


@pytest.mark.slow
def test_the_whole_quickstart(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["quickstart", "--out", str(tmp_path), "--json"]) == 0
    record = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert len(record["cases"]) == len(job.FEATURES) * len(job.LAYERS) * len(job.KS) + len(job.ENGINES)
    assert all(case["optimal"] and case["accepted"] for case in record["cases"])
