"""Paths over k, the neurons one may do without, and columns that may not be used."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import numpy as np
import pytest
from adversarial import KINDS, LOSSES, known

import optprobe as op
from formulations import fit_supports
from optprobe.cli.main import main
from optprobe.errors import InputError


def least(problem: op.SparseProbeProblem, k: int, without: tuple[int, ...] = ()) -> float:
    """F of the best set of k neurons, by fitting every one."""
    usable = [j for j in problem.candidates.tolist() if j not in without]
    sets = np.array(list(itertools.combinations(usable, min(k, len(usable)))), dtype=np.int64)
    return float(fit_supports(problem, sets).objective.min())


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind != "full"])
def test_a_path_is_the_optimum_of_every_k(loss: str, kind: str) -> None:
    problem = known(kind, 70, loss, 2).problem
    ks = range(1, min(4, problem.n_neurons) + 1)
    path = op.solve_path(problem, ks)
    optima = {k: least(problem, k) for k in ks}
    for k in ks:
        assert path[k].problem.k == k
        assert path[k].optimal
        assert path[k].lower_bound <= optima[k] <= path[k].upper_bound <= optima[k] + 1e-6
    sets = [set(path[k].support) for k in ks]
    assert path.nested == all(a <= b for a, b in itertools.pairwise(sets))
    assert path.smallest(path[1].upper_bound) == 1
    assert path.smallest(-1.0) is None
    if optima[1] - optima[2] > 1e-5:
        assert path.smallest((optima[1] + optima[2]) / 2) == 2
        assert op.solve_path(problem, (2,)).smallest((optima[1] + optima[2]) / 2) is None
    assert path.smallest_by(lambda solution: float(solution.problem.k), 2) == 2


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("kind", ["plain", "duplicates", "suppressors", "weighted", "ties"])
def test_what_a_neuron_is_worth(loss: str, kind: str, tmp_path: Path) -> None:
    instance = known(kind, 71, loss, 3)
    problem = instance.problem
    best = op.solve(problem)
    worth = best.indispensability()
    assert set(worth) == set(best.support)
    for neuron, (low, high) in worth.items():
        exact = least(problem, problem.k, (neuron,)) - least(problem, problem.k)
        assert low - 1e-12 <= exact <= high + 1e-12
        assert high - low < 5e-6
        other = best.without(neuron)
        assert neuron not in other.support
        path = other.certificate().save(tmp_path / f"{neuron}.cert")
        verdict = op.verify(path, instance.X, instance.y, instance.sample_weight)
        assert verdict.accepted
        assert f"all but {neuron})" in str(verdict)
        assert f"without{neuron}." in other.certificate().file_name


def test_forbidden_columns_are_those_that_are_not_among() -> None:
    rng = np.random.default_rng(2)
    X, y = rng.standard_normal((40, 6)), np.where(rng.random(40) > 0.5, 1, -1)
    both = [op.sparse_probe_problem(X, y, 2, among=[0, 2, 4, 5]), op.sparse_probe_problem(X, y, 2, forbidden=[3, 1])]
    both.append(op.problem(X, 2, labels=y, forbidden=[1, 3]))
    assert len({problem.among for problem in both}) == 1
    assert "of the 6 neurons without 1, 3" in repr(both[0])
    assert op.sparse_probe_problem(X, y, 2, among=[0, 2, 4], forbidden=[2]).among == (0, 4)
    for forbidden, sentence in (
        ([6], "column 6 does not exist"),
        ([-1], "column -1 does not exist"),
        (range(6), "every column is forbidden"),
    ):
        with pytest.raises(InputError, match=sentence):
            op.sparse_probe_problem(X, y, 2, forbidden=list(forbidden))
    with pytest.raises(InputError, match="column 1 is forbidden, and is not among"):
        op.sparse_probe_problem(X, y, 2, among=[0, 2], forbidden=[1])
    best = op.solve(both[0])
    with pytest.raises(InputError, match="neuron 1 is none of those"):
        best.without(1)
    with pytest.raises(InputError, match="no neuron would be left"):
        best.without(0, 2, 4, 5)


@pytest.mark.parametrize("ks", [(), (1, 1), (0,), (9,)])
def test_no_path(ks: tuple[int, ...]) -> None:
    with pytest.raises(InputError):
        op.solve_path(known("plain", 0, "squared").problem, ks)


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(4)
    X = rng.standard_normal((80, 9)).astype(np.float32)
    y = np.where(X[:, 1] + X[:, 4] + 0.5 * rng.standard_normal(80) > 0, 1, -1)
    np.savez(tmp_path / "rows.npz", X_train=X, y_train=y)
    stated = ["path", str(tmp_path / "rows.npz"), "--k", "1-3", "--loss", "squared", "--out", str(tmp_path)]
    assert main([*stated, "--json"]) == 0
    found = json.loads(capsys.readouterr().out)
    assert [row["k"] for row in found["path"]] == [1, 2, 3]
    assert set(found) == {"path", "nested"}
    for row in found["path"]:
        assert main(["verify", row["certificate"], "--data", str(tmp_path / "rows.npz")]) == 0
    target = found["path"][1]["upper_bound"]
    capsys.readouterr()
    assert main([*stated, "--reach", str(target), "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["reached"] == 2
    assert main([*stated, "--reach", str(target), "--forbid", "1"]) == 0
    said = capsys.readouterr().out
    assert "the bounds do not tell" in said or "and no fewer" in said
    assert "without 1" in said
    assert main([*stated[:3], "0-2", *stated[4:]]) == 2
    assert main([*stated, "--forbid", "12"]) == 2
    assert "column 12 does not exist" in capsys.readouterr().err
