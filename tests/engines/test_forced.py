"""Neurons that every set must have: optima and pools against brute force, by every engine that proves them."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from fractions import Fraction
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from adversarial import KINDS, LOSSES, Known, known, stated_by_moments
from sealing import Arrays, altered, claiming
from test_pool import check_true, check_verified

import optprobe as op
from formulations import fit_supports, value_digest
from optprobe.certificates.checker.pair_sweep import besides_first
from optprobe.certificates.exact import verify_exact
from optprobe.cli.main import main
from optprobe.engines.engine import engine_named
from optprobe.errors import InputError, UnsupportedProblem
from optprobe.registry.record import problem_key

ENGINES = ("branch_and_cut", "outer_approximation", "milp")
Objectives = dict[tuple[int, ...], float]


def forced_instance(kind: str, seed: int, loss: str, k: int, n_forced: int) -> tuple[Known, op.SparseProbeProblem]:
    """An instance with some of its columns forced: the strongest, the weakest, or any."""
    instance = known(kind, seed, loss, k)
    problem = instance.problem
    order = problem.candidates[np.argsort(-np.abs(problem.cross[problem.candidates]), kind="stable")]
    ways = [order, order[::-1], np.random.default_rng(seed).permutation(order)]
    return instance, replace(problem, k=k, forced=tuple(sorted(map(int, ways[seed % 3][:n_forced]))))


def every_set(problem: op.SparseProbeProblem) -> Objectives:
    """F of every set of at most k neurons that has the forced ones, and one of each group."""
    found: Objectives = {}
    for size in range(len(problem.forced), problem.size + 1):
        for support in itertools.combinations(map(int, problem.candidates), size):
            labels = [] if problem.groups is None else [g for g in problem.groups[list(support)] if g >= 0]
            if set(problem.forced) <= set(support) and len(set(labels)) == len(labels):
                found[support] = float(fit_supports(problem, [support]).objective[0])
    return found


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("loss", LOSSES)
def test_optima(loss: str, kind: str, tmp_path: Path) -> None:
    for seed, n_forced in enumerate((1, 2, 3)):
        instance, problem = forced_instance(kind, 3 * seed + n_forced, loss, 3, n_forced)
        objectives = every_set(problem)
        best = min(objectives.values())
        for method in ("auto", ENGINES[seed], *(["enumeration"] if loss == "squared" else [])):
            solution = op.solve(problem, method)
            assert solution.optimal
            assert solution.support in objectives
            assert set(problem.forced) <= set(solution.support)
            assert solution.lower_bound <= best <= solution.upper_bound <= best + 1e-6
            path = solution.certificate().save(tmp_path / "a.cert")
            for exhaustive in (False, True):
                verdict = op.verify(path, instance.X, instance.y, instance.sample_weight, exhaustive=exhaustive)
                assert verdict.accepted, verdict.reason
                assert verdict.statement is not None
                assert verdict.statement.forced == problem.forced
                assert f"with {', '.join(map(str, problem.forced))} in every set" in verdict.reason
            exactly = verify_exact(path, instance.X, instance.y, instance.sample_weight)
            assert exactly.accepted, exactly.reason


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("n_forced", [1, 2])
def test_pools(loss: str, kind: str, n_forced: int, tmp_path: Path) -> None:
    engines = (*ENGINES, "enumeration") if loss == "squared" else ENGINES
    method = engines[(KINDS.index(kind) + n_forced) % len(engines)]
    instance, problem = forced_instance(kind, 50 + len(kind), loss, 3, n_forced)
    objectives = every_set(problem)
    spread = float(np.quantile(list(objectives.values()), 0.2) - min(objectives.values()))
    for wanted in ({"within_absolute": spread}, {"pool": 2}, {"within_absolute": 10.0}):
        solution = op.solve(problem, method, **wanted)
        if solution.pool is None:  # too few neurons stand in no set, so that none could be listed
            assert len(problem.candidates) < 3 * problem.size
            continue
        check_true(solution, objectives)
        check_verified(solution, instance, tmp_path / "a.cert")
        assert all(set(problem.forced) <= set(one.support) for one in solution.pool.sets)
        assert {solution.pool.role(neuron) for neuron in problem.forced} == {"forced"}
        if wanted == {"within_absolute": 10.0}:
            assert [one.support for one in solution.pool.sets] == [problem.forced]


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_projected_out(kind: str, tmp_path: Path) -> None:
    """Enumeration of the squared loss, up to k = 6 and down to small ridges, and a claim that is a little too high."""
    for k, seed in itertools.product((2, 4, 5, 6), range(2)):
        instance = known(kind, 500 + seed, "squared")
        rng = np.random.default_rng([seed, k])
        candidates, n_forced = instance.problem.candidates, int(rng.integers(1, k + 1))
        if len(candidates) < k:
            continue
        forced = tuple(sorted(map(int, rng.permutation(candidates)[:n_forced])))
        problem = replace(instance.problem, k=k, ridge=float(10 ** rng.uniform(-4, 0)), forced=forced)
        if engine_named("enumeration").refusal(problem) is not None:
            continue
        best = min(every_set(problem).values())
        solution = op.solve(problem, "enumeration")
        assert solution.lower_bound <= best <= solution.upper_bound <= best + 1e-6
        certificate, data = solution.certificate(), (instance.X, instance.y, instance.sample_weight)
        path = certificate.save(tmp_path / "a.cert")
        assert both(path, instance) == {"accepted"}
        assert op.verify(path, *data, fast=True).accepted
        too_high = {"lower_bound": best + 1e-7, "upper_bound": max(solution.upper_bound, best + 1e-7)}
        assert both(altered(certificate, claiming(too_high), tmp_path / "b.cert"), instance) == {"rejected"}


@pytest.mark.parametrize("ridge", [1e-3, 0.1])
@pytest.mark.parametrize("fixed", [1, 2, 4])
def test_gains_beside_forced_columns_in_rational_numbers(fixed: int, ridge: float) -> None:
    rng = np.random.default_rng(fixed)
    Z = rng.standard_normal((40, 8))
    Z[:, 1] = Z[:, 0] + 1e-9 * Z[:, 1]  # projected out one after the other, or beside what is: nothing is left of it
    Z[:, 7] = Z[:, 0]
    Z /= np.linalg.norm(Z, axis=0)
    y = Z[:, 2] + Z[:, 5] + rng.standard_normal(40)
    A, u, need, least = Z.T @ Z / (1 + ridge), Z.T @ y / np.linalg.norm(y) / np.sqrt(1 + ridge), 2, ridge / (1 + ridge)
    np.fill_diagonal(A, 1.0)

    def gain(columns: list[int], A: np.ndarray, u: np.ndarray) -> Fraction:
        """``u' A^-1 u`` by elimination in rational numbers."""
        M = [[Fraction(float(A[i, j])) for j in columns] for i in columns]
        c, total = [Fraction(float(u[j])) for j in columns], Fraction(0)
        for v in range(len(columns)):
            total += c[v] ** 2 / M[v][v]
            for i in range(v + 1, len(columns)):
                factor = M[i][v] / M[v][v]
                c[i] -= factor * c[v]
                M[i] = [x - factor * z for x, z in zip(M[i], M[v])]
        return total

    B, v, Q, smaller = besides_first(A, u, 0.5, 0.98 * least, fixed, need)
    assert np.linalg.eigvalsh(B)[0] >= smaller
    for pair in itertools.combinations(range(8 - fixed), need):
        whole = gain([*range(fixed), *(fixed + j for j in pair)], A, u)
        left = gain(list(pair), B, v)
        slack = (left - Fraction(Q)) - (whole - Fraction(1, 2))
        assert 0 <= slack < 1e-9  # whoever beats Q with them beats what is left of it


@pytest.mark.parametrize("loss", LOSSES)
def test_beside_groups(loss: str, tmp_path: Path) -> None:
    for seed in range(4):
        instance = known("plain", 20 + seed, loss, 3)
        groups = np.random.default_rng(seed).integers(-1, 3, instance.problem.n_neurons)
        forced = (int(np.argmax(groups)),)
        problem = replace(instance.problem, groups=groups, forced=forced)
        objectives = every_set(problem)
        assert problem.size == max(map(len, objectives))
        for wanted in ({}, {"within": 0.2}):
            solution = op.solve(problem, **wanted)
            best = min(objectives.values())
            assert solution.support in objectives
            assert solution.lower_bound <= best <= solution.upper_bound <= best + 1e-6
            if solution.pool is not None:
                check_true(solution, objectives)
            path = solution.certificate().save(tmp_path / "a.cert")
            data = instance.X, instance.y, instance.sample_weight
            assert both(path, instance) == {"accepted"}
            assert op.verify(path, *data, exhaustive=True).accepted


def both(path: Path, instance: Known) -> set[str]:
    """What both checkers say."""
    data = instance.X, instance.y, instance.sample_weight
    return {op.verify(path, *data).outcome, verify_exact(path, *data).outcome}


def useless(loss: str, k: int = 2) -> tuple[Known, op.SparseProbeProblem]:
    """An instance whose weakest column is forced, so that the best set is worse than without."""
    instance = known("plain", 90, loss, k)
    problem = replace(instance.problem, k=k)
    weakest = int(problem.candidates[np.argmin(np.abs(problem.cross[problem.candidates]))])
    return instance, replace(problem, forced=(weakest,))


def _freed(claim: dict[str, Any], arrays: Arrays) -> None:
    del claim["problem"]["forced"]


def _emptied(claim: dict[str, Any], arrays: Arrays) -> None:
    claim["problem"]["forced"] = []


def _another(claim: dict[str, Any], arrays: Arrays) -> None:
    (column,) = claim["problem"]["forced"]
    (other,) = set(claim["result"]["support"]) - {column}
    claim["problem"]["forced"] = [other]


def _one_more(claim: dict[str, Any], arrays: Arrays) -> None:
    claim["problem"]["forced"] = [j for j in range(5) if j not in claim["result"]["support"]][:1]


def _many(claim: dict[str, Any], arrays: Arrays) -> None:
    claim["problem"]["forced"] = [0, 1, 2]


def _falling(claim: dict[str, Any], arrays: Arrays) -> None:
    claim["problem"]["forced"] = claim["problem"]["forced"] * 2


def _not_allowed(claim: dict[str, Any], arrays: Arrays) -> None:
    (column,) = claim["problem"]["forced"]
    claim["problem"]["among"] = [j for j in range(claim["data"]["n_neurons"]) if j != column]


def _of_one_group(claim: dict[str, Any], arrays: Arrays) -> None:
    arrays["groups"] = np.zeros(claim["data"]["n_neurons"], np.int32)
    claim["problem"]["groups"] = value_digest(arrays["groups"])


def _swept(claim: dict[str, Any], arrays: Arrays) -> None:
    claim["proof"] = {"kind": "sweep", "box": None}
    if claim["problem"]["loss"] == "squared":  # what a sweep proves
        claim["result"]["lower_bound"] += 1e-4
        claim["result"]["upper_bound"] += 1e-4
    for name in [name for name in arrays if name not in ("coef", "pool.coef")]:
        del arrays[name]


CHANGES = (_freed, _emptied, _another, _one_more, _many, _falling, _not_allowed, _of_one_group, _swept)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("change", CHANGES)
def test_other_columns_forced(loss: str, change: Callable[[dict[str, Any], Arrays], None], tmp_path: Path) -> None:
    instance, problem = useless(loss)
    for method in ("auto", "branch_and_cut"):
        certificate = op.solve(problem, method).certificate()
        assert both(certificate.save(tmp_path / "a.cert"), instance) == {"accepted"}
        assert both(altered(certificate, change, tmp_path / "b.cert"), instance) == {"rejected"}


@pytest.mark.parametrize("loss", LOSSES)
def test_a_tree_of_all_sets_proves_no_set_without_them(loss: str, tmp_path: Path) -> None:
    """The proof of a free claim, with `forced` written in: its tree begins with other nodes."""
    instance, problem = useless(loss)
    free = replace(problem, forced=())
    (first, *_), best = problem.forced, op.solve(free, "branch_and_cut")
    assert first not in best.support
    both_bounds = op.solve(problem, "branch_and_cut")

    def only_outside(claim: dict[str, Any], arrays: Arrays) -> None:
        """A tree that covers the sets without the column alone, by a branch that the root cannot have."""
        arrays["tree.kind"] = np.array([1, 0, 0], np.int8)
        arrays["tree.argument"] = np.array([first, -1, -1], np.int32)

    certificate = both_bounds.certificate()
    assert both(altered(certificate, only_outside, tmp_path / "a.cert"), instance) == {"rejected"}

    def forced_in(claim: dict[str, Any], arrays: Arrays) -> None:
        claim["problem"]["forced"] = [first]

    assert both(altered(best.certificate(), forced_in, tmp_path / "b.cert"), instance) == {"rejected"}


@pytest.mark.parametrize("loss", LOSSES)
def test_listed_sets_have_them(loss: str, tmp_path: Path) -> None:
    instance, problem = useless(loss, 3)
    solution = op.solve(problem, "branch_and_cut", pool=2)
    certificate, (column,) = solution.certificate(), problem.forced
    assert both(certificate.save(tmp_path / "a.cert"), instance) == {"accepted"}

    def lacking(claim: dict[str, Any], arrays: Arrays) -> None:
        one = claim["result"]["pool"]["sets"][1]
        place = one["support"].index(column)
        one["support"].remove(column)
        at = len(claim["result"]["pool"]["sets"][0]["support"])
        arrays["pool.coef"] = np.delete(arrays["pool.coef"], at + place)
        one["upper_bound"] = 1e6

    def another(claim: dict[str, Any], arrays: Arrays) -> None:
        one = claim["result"]["pool"]["sets"][1]
        free = [j for j in problem.candidates.tolist() if j not in one["support"]]
        one["support"] = sorted({*one["support"], free[0]} - {column})
        one["upper_bound"] = 1e6

    def above(claim: dict[str, Any], arrays: Arrays) -> None:
        claim["result"]["pool"]["rest"] += 0.1

    for change in (lacking, another, above):
        assert both(altered(certificate, change, tmp_path / "b.cert"), instance) == {"rejected"}, change


@pytest.mark.parametrize(
    ("stated", "sentence"),
    [
        ({"forced": [7]}, "column 7 does not exist"),
        ({"forced": [-1]}, "column -1 does not exist"),
        ({"forced": []}, "no column is forced"),
        ({"forced": [1, 2, 1]}, "column 1 is forced twice"),
        ({"forced": [0, 1, 2]}, "3 columns are forced and k is 2"),
        ({"forced": [3]}, "column 3 is forced, and is constant"),
        ({"forced": [1], "forbidden": [1]}, "column 1 is forced, and is not among the columns allowed"),
        ({"forced": [1], "among": [0, 2]}, "column 1 is forced, and is not among the columns allowed"),
        ({"forced": [1, 4], "groups": [-1, 0, -1, -1, 0, 1]}, "columns 1 and 4 are forced, and a support may have one"),
    ],
)
def test_what_cannot_be_forced(stated: dict[str, Any], sentence: str) -> None:
    X, y = np.random.default_rng(0).standard_normal((20, 6)), np.tile([1, -1], 10)
    X[:, 3] = 1.0
    with pytest.raises(InputError, match=sentence):
        op.sparse_probe_problem(X, y, 2, **stated)


def test_who_knows_nothing_of_them_says_so() -> None:
    for loss in ("logistic", "hinge"):
        _, problem = useless(loss)
        with pytest.raises(UnsupportedProblem, match="knows nothing of forced neurons: use branch_and_cut"):
            op.solve(problem, "dual_enumeration")
    with pytest.raises(InputError, match="heuristics know nothing of forced neurons"):
        op.compare(op.solve(problem))
    with pytest.raises(InputError, match=r"usable columns with the forced ones"):
        op.solve(problem, incumbents=[[j for j in problem.candidates.tolist() if j not in problem.forced][:2]])


def test_what_follows_of_a_solution() -> None:
    instance, problem = useless("squared", 3)
    solution, (column,) = op.solve(problem), problem.forced
    assert f"3 neurons with {column} in it" in solution.status_sentence
    assert f"with {column} in every set" in repr(problem)
    with pytest.raises(InputError, match=f"neuron {column} is forced"):
        solution.without(column)
    worth = solution.indispensability()
    assert set(worth) == set(solution.support) - {column}
    for neuron, (least, most) in worth.items():
        rest = {one: value for one, value in every_set(problem).items() if neuron not in one}
        assert least <= min(rest.values()) - min(every_set(problem).values()) <= most
        assert column in solution.without(neuron).support
    path = op.solve_path(problem, [1, 2, 3])
    assert path[1].support == (column,)
    assert all(column in one.support for one in path.values())
    with pytest.raises(InputError, match="columns are forced and k is 1"):
        op.solve_path(replace(problem, forced=(0, 1)), [1, 2])
    classes = np.where(instance.y == instance.y.max(), "a", "b")
    each = op.solve_each(instance.X, 2, labels=classes, stated={"forced": [column], "loss": "squared"})
    assert all(column in one.support for one in each.values())


def test_another_claim_and_the_same_bytes_without() -> None:
    _, problem = useless("squared")
    forced, free = op.solve(problem).certificate(), op.solve(replace(problem, forced=())).certificate()
    assert problem_key(forced.claim) != problem_key(free.claim)
    assert "forced" not in json.loads(free.claim.text)["problem"]
    assert (forced.claim.form[-1], free.claim.form[-1]) == ("3", "2")
    assert f".with{problem.forced[0]}." in forced.file_name
    assert f"with {problem.forced[0]} in every set" in op.certificates.citation.sentence(forced, certified=False)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("kind", ["plain", "heavy", "weighted"])
def test_a_pool_of_single_neurons_by_the_tree(loss: str, kind: str, tmp_path: Path) -> None:
    """What the checker drops, a column listed alone, must not be what a screen of the tree counts on."""
    for seed in range(300, 306):
        instance = known(kind, seed, loss, 1)
        for wanted in ({"within": 0.1}, {"pool": 2}):
            solution = op.solve(instance.problem, "branch_and_cut", **wanted)
            if solution.pool is not None:
                assert both(solution.certificate().save(tmp_path / "a.cert"), instance) == {"accepted"}


def test_moments_state_none() -> None:
    of_moments = stated_by_moments(known("plain", 3, "squared"))
    assert of_moments.forced == ()
    with pytest.raises(TypeError):
        op.moment_problem(of_moments.moments, 2, forced=[1])  # type: ignore[call-arg]


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(5)
    X = rng.standard_normal((100, 10))
    y = np.where(X[:, 2] + X[:, 4] + 0.6 * rng.standard_normal(100) > 0, 1, -1)
    np.savez(tmp_path / "rows.npz", X_train=X.astype(np.float32), y_train=y)
    stated = [str(tmp_path / "rows.npz"), "--k", "3", "--loss", "squared", "--force", "7,9"]
    assert main(["solve", *stated, "--out", str(tmp_path), "--json", "--within", "1%"]) == 0
    record = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert record["forced"] == [7, 9]
    assert {7, 9} <= set(record["support"])
    assert (record["roles"]["7"], record["roles"]["9"]) == ("forced", "forced")
    (certificate,) = tmp_path.glob("*.with7-9.*.cert")
    assert main(["verify", str(certificate), "--data", str(tmp_path / "rows.npz")]) == 0
    assert main(["verify", str(certificate), "--data", str(tmp_path / "rows.npz"), "--exact"]) == 0
    assert main(["cite", str(certificate)]) == 0
    assert "with 7, 9 in every set" in capsys.readouterr().out
    assert main(["path", *stated[:2], "2-3", *stated[3:], "--out", str(tmp_path)]) == 0
    capsys.readouterr()
    for more in (["--method", "dual_enumeration"], ["--forbid", "7"]):
        assert main(["solve", *stated, *more, "--out", str(tmp_path)]) == 2
    assert main(["compare", *stated]) == 2
    assert "heuristics know nothing of forced neurons" in capsys.readouterr().err
