"""True claims are proved, claims above the truth are refuted, and a changed file proves nothing false."""

from __future__ import annotations

import copy
import itertools
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from drafts import Case, Draft, case, draft
from flint import arb

from optprobe.certificates.exact import ExactVerdict, verify_exact
from optprobe.certificates.exact.duality import Duality
from optprobe.errors import InputError

LOSSES = ("squared", "logistic", "hinge")


def verdict(made: Draft, of: Case, path: Path, **options: Any) -> ExactVerdict:
    found = verify_exact(made.write(path / "a.cert"), *of.data, **options)
    assert found.reason.isprintable()
    return found


@pytest.mark.parametrize("proof", ["sweep", "tree"])
@pytest.mark.parametrize("loss", LOSSES)
def test_true_claims_are_proved_and_false_ones_are_not(loss: str, proof: str, tmp_path: Path) -> None:
    for seed, class_weight, ridge in ((0, "none", 0.1), (1, "balanced", 0.003), (2, "none", 3.0)):
        of = case(loss, seed, class_weight=class_weight, ridge=ridge)
        for slack in (1e-7, 1e-10):
            found = verdict(draft(of, slack, proof), of, tmp_path)
            assert found.accepted, (found, seed)
            assert found.proved["optimal"] is True
        for moved in (1e-9, 1e-8, 1e-6):
            made = draft(of, -moved, proof)
            made.claim["result"]["upper_bound"] += 2 * moved
            assert verdict(made, of, tmp_path).outcome == "rejected"
        made = draft(of, 1e-7, proof)
        made.claim["result"]["upper_bound"] -= 1e-10
        assert "above the upper bound" in verdict(made, of, tmp_path).reason


@pytest.mark.parametrize("loss", LOSSES)
def test_a_refuted_claim_names_the_set_and_both_numbers(loss: str, tmp_path: Path) -> None:
    of = case(loss, 5)
    made = draft(of, -1e-6)
    made.claim["result"]["upper_bound"] += 1e-5
    reason = verdict(made, of, tmp_path).reason
    assert str(list(of.best)) in reason
    assert repr(made.claim["result"]["lower_bound"]) in reason


@pytest.mark.parametrize(
    ("loss", "k"), [("squared", 3), ("squared", 1), ("logistic", 3), ("logistic", 1), ("hinge", 1)]
)
def test_sets_of_other_sizes(loss: str, k: int, tmp_path: Path) -> None:
    of = case(loss, 3, k=k, ridge=0.02, among=[0, 2, 3, 4, 5])
    found = verdict(draft(of, 1e-9), of, tmp_path)
    assert found.accepted, found
    assert found.proved["sets"] == len(of.sets)


@pytest.mark.parametrize("loss", LOSSES)
def test_no_candidates_and_more_columns_than_candidates(loss: str, tmp_path: Path) -> None:
    X = np.random.default_rng(0).standard_normal((20, 3))
    X[:, [0, 2]] = 3.0, 1e100
    one, none = case(loss, 1, X=X), case(loss, 1, X=X, among=[0])
    assert one.sets == [(1,)]
    assert none.sets == [()]
    for of in (one, none):
        for proof in ("sweep", "tree"):
            found = verdict(draft(of, 1e-7, proof), of, tmp_path)
            assert found.accepted, (found, of.sets, proof)
    made = draft(none)
    made.claim["result"]["support"], made.arrays["coef"] = [0], np.zeros(1)
    assert "no set of the claim" in verdict(made, none, tmp_path).reason


@pytest.mark.parametrize("loss", LOSSES)
def test_weights(loss: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    zeros = rng.integers(0, 3, 30).astype(float)
    zeros[:2] = 1.0
    wide = 10.0 ** rng.uniform(-100, 100, 30)
    for g, class_weight in itertools.product((zeros, wide), ("none", "balanced")):
        X = rng.standard_normal((30, 4))
        X[g == 0] *= 1e90
        of = case(loss, 8, X=X, g=g, class_weight=class_weight)
        assert verdict(draft(of, 1e-7), of, tmp_path).accepted
        made = draft(of, -1e-7)
        made.claim["result"]["upper_bound"] += 1e-6
        assert verdict(made, of, tmp_path).outcome == "rejected"


def pairs_under_one_column() -> tuple[Case, Draft]:
    """A tree for k = 3 that leaves the pairs under each first column to pair leaves."""
    of = case("logistic", 6, k=3, p=5)
    made = draft(of, 1e-9, "tree")
    entries: list[tuple[int, int]] = []
    for j in range(3):
        entries += [(1, j), (3, -1)]
    entries.append((0, -1))
    kinds, arguments = zip(*entries)
    made.arrays |= {"tree.kind": np.array(kinds, dtype="<i1"), "tree.argument": np.array(arguments, dtype="<i4")}
    made.claim["proof"]["nodes"] = len(entries)
    return of, made


def test_pair_leaves(tmp_path: Path) -> None:
    of, made = pairs_under_one_column()
    assert verdict(made, of, tmp_path).accepted
    above = copy.deepcopy(made)
    for bound in ("lower_bound", "upper_bound"):
        above.claim["result"][bound] += 1e-7
    assert "objective" in verdict(above, of, tmp_path).reason
    made.claim["proof"]["box"] = None
    del made.arrays["reference"]
    assert "pair leaf" in verdict(made, of, tmp_path).reason


@pytest.mark.parametrize("loss", LOSSES)
def test_tampered_trees_prove_nothing_false(loss: str, tmp_path: Path) -> None:
    """A claim above the truth, and any one entry of the tree replaced by any other: no leaf may be left out."""
    of = case(loss, 9, n=14, p=4)
    made = draft(of, -1e-6, "tree")
    made.claim["result"]["upper_bound"] += 1e-5
    n_vectors = made.claim["proof"]["points"] + made.claim["proof"]["duals"]
    for at in range(made.claim["proof"]["nodes"]):
        for kind, argument in itertools.product(range(-1, 5), (-2, -1, 0, 1, 3, n_vectors - 1, n_vectors)):
            changed = copy.deepcopy(made)
            changed.arrays["tree.kind"][at], changed.arrays["tree.argument"][at] = kind, argument
            assert verdict(changed, of, tmp_path).outcome == "rejected"


def test_a_tree_must_be_whole(tmp_path: Path) -> None:
    of = case("logistic", 9, n=14, p=4)
    made = draft(of, 1e-7, "tree")
    for change, word in ((slice(0, -1), "open"), ([*range(made.claim["proof"]["nodes"]), 0], "no node left")):
        changed = copy.deepcopy(made)
        for name in ("tree.kind", "tree.argument"):
            changed.arrays[name] = made.arrays[name][change]
        changed.claim["proof"]["nodes"] = len(changed.arrays["tree.kind"])
        assert word in verdict(changed, of, tmp_path).reason
    for values in ([1, 2, 2, 4, 6], [0, 4, 2, 4, 6], [0, 2, 4, 4, 5]):
        changed = copy.deepcopy(made)
        changed.arrays["points.start"][:4] = values[:4]
        assert verdict(changed, of, tmp_path).outcome == "rejected"
    for column in (-1, 4):
        changed = copy.deepcopy(made)
        changed.arrays["points.columns"][0] = column
        assert "does not exist" in verdict(changed, of, tmp_path).reason


def places(value: Any, at: tuple[Any, ...] = ()) -> Iterator[tuple[Any, ...]]:
    """Every place of a value made of objects and lists."""
    yield at
    if isinstance(value, dict | list):
        for key in value if isinstance(value, dict) else range(len(value)):
            yield from places(value[key], (*at, key))


WRONG = (None, True, 0, -1, 2**31, 10**400, 0.5, -1e300, "", "a\nb", [], [0], [1, 0], {}, {"kind": "tree"})


HARMLESS = (("result", "tolerance"), ("result", "lower_bound"), ("result", "upper_bound"), ("proof", "box"))
"""Fields, apart from the author's, that may be replaced in a claim that stays true."""


@pytest.mark.parametrize(("loss", "proof"), [("squared", "sweep"), ("logistic", "tree"), ("hinge", "sweep")])
def test_every_field_mutated(loss: str, proof: str, tmp_path: Path) -> None:
    """Never a traceback; and what is accepted is still true of the numbers that it states."""
    of = case(loss, 9, n=12, p=3)
    made = draft(of, 1e-2 if loss == "hinge" else 1e-9, proof)
    for at, wrong in itertools.product(places(made.claim), WRONG):
        whole: Any = {"": copy.deepcopy(made.claim)}
        inner = whole
        for key in ("", *at)[:-1]:
            inner = inner[key]
        last = ("", *at)[-1]
        if repr(inner[last]) == repr(wrong):
            continue
        inner[last] = wrong
        found = verdict(Draft(whole[""], made.arrays), of, tmp_path)
        if found.accepted:
            assert whole[""]["result"]["lower_bound"] <= of.optimum
            assert "author" in at or at in HARMLESS, (at, wrong)


@pytest.mark.parametrize("loss", LOSSES)
def test_every_array_mutated(loss: str, tmp_path: Path) -> None:
    """With the claim above the truth, no vector whatever proves it; else, nothing but a verdict comes out."""
    of = case(loss, 9, n=12, p=3)
    rng = np.random.default_rng(0)
    for lift in (0.0, 1e-6):
        made = draft(of, 1e-9 - lift, "tree")
        made.claim["result"]["upper_bound"] += 2 * lift
        for name, values in made.arrays.items():
            for _ in range(12):
                changed = copy.deepcopy(made)
                where = rng.integers(values.size) if values.size else 0
                new: Any = rng.choice([-1e100, 1e100, 5e-324, np.nan, np.inf, 0.0, 1.0, -1.0, rng.normal()])
                if values.dtype.kind == "i":
                    new = int(rng.integers(-3, 100))
                if values.size:
                    changed.arrays[name].ravel()[where] = new
                found = verdict(changed, of, tmp_path)
                assert not (found.accepted and lift)
            if not values.size:
                continue
            changed = copy.deepcopy(made)
            changed.arrays[name] = values[:-1]
            assert verdict(changed, of, tmp_path).outcome == "rejected"
            del changed.arrays[name]
            assert "does not have the arrays" in verdict(changed, of, tmp_path).reason


def test_other_data_is_refused(tmp_path: Path) -> None:
    of = case("squared", 1)
    path = draft(of).write(tmp_path / "a.cert")
    X, y, _ = of.data
    assert "other data" in verify_exact(path, X + 1e-9, y).reason
    assert "other data" in verify_exact(path, X, 1 - y).reason
    assert "other data" in verify_exact(path, X, y, np.ones(len(y))).reason
    assert "other data" in verify_exact(path, X[:, :3], y).reason
    assert verify_exact(path, X, 5 * y - 7).accepted
    for wrong in (
        (None, None),
        (X, None),
        (X, y[:3]),
        (X * np.nan, y),
        (X * 1e-101, y),
        (X.astype(str), y),
        (X, X),
        (X, 0 * y),
    ):
        with pytest.raises(InputError):
            verify_exact(path, *wrong)
    for weight in (-np.ones(len(y)), y, np.full(len(y), 1e101)):
        with pytest.raises(InputError):
            verify_exact(path, X, y, weight)
    for missing in (tmp_path / "b.cert", tmp_path, "/dev/zero", "a\0b"):
        with pytest.raises(InputError):
            verify_exact(missing, X, y)


@pytest.mark.parametrize("proof", ["sweep", "tree"])
@pytest.mark.parametrize("loss", LOSSES)
def test_a_check_without_time_is_undecided(loss: str, proof: str, tmp_path: Path) -> None:
    of = case(loss, 1)
    found = verdict(draft(of, proof=proof), of, tmp_path, time_limit=0.0)
    assert found.outcome == "undecided"
    assert "none refuted in 0 s" in found.reason
    assert str(found).startswith("undecided: ")


@pytest.mark.parametrize("loss", LOSSES)
def test_any_vector_bounds_every_set(loss: str) -> None:
    """A bound of a random or extreme vector is never above the objective at the fit."""
    rng = np.random.default_rng(3)
    for seed in range(4):
        of = case(loss, seed, n=15, p=4, ridge=float(10 ** rng.uniform(-3, 1)))
        duality = Duality(of.problem)
        hints = [rng.normal(size=15), -of.problem.y * rng.random(15), np.zeros(15), 1e100 * rng.normal(size=15)]
        hints += [-of.problem.y * 1.0, -of.problem.y * (of.problem.y > 0)]
        for hint, bound in zip(hints, duality.bounds(hints)):
            for columns, value in zip(of.sets, of.values):
                exact = duality.of_set(duality.feasible(hint), columns)
                assert exact <= arb(value + 1e-9)
                loose = bound.g - sum((arb(float(bound.d[j])) for j in columns), arb(0))
                assert not loose > exact


@pytest.mark.slow
@pytest.mark.parametrize("loss", LOSSES)
def test_many_problems(loss: str, tmp_path: Path) -> None:
    """Sizes, ridges, ties, duplicates and separable classes at random."""
    rng, near = np.random.default_rng(11), 1e-9
    for seed in range(60):
        n, p = int(rng.integers(8, 50)), int(rng.integers(2, 8))
        X = rng.standard_normal((n, p))
        if seed % 4 == 1:
            X = np.round(X)
        if seed % 4 == 2:
            X[:, -1] = -3 * X[:, 0]
        if seed % 4 == 3:
            X[:, 0] += np.where(np.arange(n) < n // 2, 9.0, -9.0)
        k = int(rng.integers(1, 3 if loss == "hinge" else 4))
        weight = "balanced" if rng.random() < 0.5 else "none"
        of = case(loss, seed, k=min(k, p), ridge=float(10 ** rng.uniform(-4, 1)), class_weight=weight, X=X)
        for proof in ("sweep", "tree"):
            found = verdict(draft(of, 2 * near, proof), of, tmp_path)
            assert found.accepted, (found, seed, proof)
            made = draft(of, -near, proof)
            made.claim["result"]["upper_bound"] += 2 * near
            assert verdict(made, of, tmp_path).outcome == "rejected"


def test_without_flint_there_is_one_sentence(tmp_path: Path) -> None:
    code = (
        "import sys; sys.modules['flint'] = None\n"
        "from optprobe.certificates.exact import verify_exact\n"
        "try:\n    verify_exact('a.cert')\nexcept Exception as error:\n    print(type(error).__name__, error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "InputError The exact checker needs python-flint: install optprobe[exact].\n"
