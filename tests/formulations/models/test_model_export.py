"""MPS and LP files: read back by HiGHS to the same optimum, complete or absent."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import highspy
import pytest
from instances import TOLERANCE, all_points, instance, minimum

from formulations import InputError
from formulations.models import MODELS, SUFFIXES, export


def solved_file(path: Path) -> float:
    solver = highspy.Highs()
    for option, value in (("output_flag", False), ("threads", 1), ("mip_rel_gap", 0.0), ("mip_abs_gap", 0.0)):
        solver.setOptionValue(option, value)
    assert solver.readModel(str(path)) == highspy.HighsStatus.kOk
    solver.run()
    assert solver.getModelStatus() == highspy.HighsModelStatus.kOptimal
    return float(solver.getInfo().objective_function_value)


@pytest.mark.parametrize("suffix", SUFFIXES)
@pytest.mark.parametrize(("name", "loss"), [(n, loss) for n, model in MODELS.items() for loss in model.losses])
def test_the_file_has_the_models_optimum(name: str, loss: str, suffix: str, tmp_path: Path) -> None:
    problem = instance(40, "weighted", loss)
    model = MODELS[name].build(problem, all_points(problem)[::3])
    path = tmp_path / f"model{suffix}"
    export(model, path)
    assert [entry.name for entry in tmp_path.iterdir()] == [path.name]
    assert solved_file(path) == pytest.approx(minimum(model), abs=TOLERANCE)


def test_components_keep_their_names(tmp_path: Path) -> None:
    problem = instance(41, "constant")
    for suffix in SUFFIXES:
        export(MODELS["perspective"].build(problem), tmp_path / f"named{suffix}")
        text = (tmp_path / f"named{suffix}").read_text()
        for j in problem.candidates:
            assert f"s({j})" in text
        assert "cardinality" in text


def test_unusable_paths_are_refused(tmp_path: Path) -> None:
    model = MODELS["cut_master"].build(instance(0))
    with pytest.raises(InputError, match=r"model.txt ends in '.txt': name a file that ends in .mps or .lp"):
        export(model, tmp_path / "model.txt")
    with pytest.raises(InputError, match="does not exist: create it first"):
        export(model, tmp_path / "absent" / "model.mps")
    assert list(tmp_path.iterdir()) == []


def test_a_failed_write_leaves_the_old_file_and_nothing_else(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    path = tmp_path / "model.lp"
    path.write_text("old")
    model = MODELS["cut_master"].build(instance(0))

    def half(filename: str, **_: Any) -> None:
        Path(filename).write_text("half")
        raise OSError("disk full")

    monkeypatch.setattr(type(model), "write", lambda self, filename, **options: half(filename, **options))
    with pytest.raises(OSError, match="disk full"):
        export(model, path)
    assert [entry.name for entry in tmp_path.iterdir()] == ["model.lp"]
    assert path.read_text() == "old"
