"""Pools of any sets, on problems of which every F is known: what is true is accepted, and every rule is needed."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import pytest
from drafts import Case, Draft, case, draft
from pools import CHECKERS, Support, pooled, values_of

from optprobe.certificates.checker import sets
from optprobe.certificates.exact import pool, tree, verify, verify_exact

LOSSES = ("squared", "logistic", "hinge")
Patches = list[tuple[Any, str, Any]]
NEAR = 1e-6


def random_pool(rng: np.random.Generator, of: Case, least: int = 1) -> list[Support]:
    """Sets of at least so many columns, none of which contains another, and ``size`` columns in none of them."""
    left = of.problem.candidates[of.problem.size :]
    listed: list[Support] = []
    for _ in range(int(rng.integers(1, 7))):
        one = tuple(sorted(rng.choice(left, int(rng.integers(least, of.problem.size + 1)), replace=False).tolist()))
        if not any(set(a) <= set(one) or set(one) <= set(a) for a in listed):
            listed.append(one)
    return listed


def least_new(values: dict[Support, float], listed: list[Support]) -> float:
    return min(f for one, f in values.items() if not any(set(part) <= set(one) for part in listed))


@pytest.mark.parametrize("proof", ["sweep", "tree"])
@pytest.mark.parametrize("loss", LOSSES)
def test_any_sets_may_be_listed(loss: str, proof: str, tmp_path: Path) -> None:
    """Good and bad ones: all checkers accept what is true by a little, and reject what is false by a little."""
    rng, shapes = np.random.default_rng(LOSSES.index(loss)), set()
    for seed in range(4 if loss == "hinge" else 8):
        k = 2 if loss == "hinge" or seed % 2 else 3
        of = case(loss, seed, n=20, p=8 if k == 2 else 7, k=k, ridge=float(10 ** rng.uniform(-2, 0)))
        values, listed = values_of(of), random_pool(rng, of, 1 if seed % 4 else k)
        shapes.add(all(len(one) == k for one in listed))
        for slack, outcome in ((NEAR, "accepted"), (-NEAR, "rejected")):
            plain = draft(of, NEAR, proof)
            lower = plain.claim["result"]["lower_bound"]
            made = pooled(of, plain, listed, max(least_new(values, listed) - slack, lower))
            found = {name: check(made.write(tmp_path / "a.cert"), *of.data) for name, check in CHECKERS.items()}
            assert {one.outcome for one in found.values()} == {outcome}, (seed, listed, found)
            made.claim["result"]["lower_bound"] = of.optimum + NEAR / 2
            made.claim["result"]["upper_bound"] += NEAR
            made.claim["result"]["pool"]["rest"] = max(least_new(values, listed) - NEAR, of.optimum + NEAR / 2)
            found = {name: check(made.write(tmp_path / "a.cert"), *of.data) for name, check in CHECKERS.items()}
            assert {one.outcome for one in found.values()} == {"rejected"}, (seed, listed, found)
    assert shapes == {True, False}


@pytest.mark.parametrize("k", [5, 6])
def test_sets_of_five_and_six(k: int, tmp_path: Path) -> None:
    """Where two columns that are listed are better than the rest, so is whatever the sweep begins with them."""
    rng = np.random.default_rng([k, 3])
    X = rng.standard_normal((60, 2 * k + 4))
    X[:, 1] *= 4
    X[:, 2] = X[:, 1] + X[:, 0] + 0.3 * rng.standard_normal(60)
    of = case("squared", 3, X=X, k=k, ridge=0.01)
    values, listed = values_of(of), [(1, 2), (0,)]
    assert values[(1, 2)] < least_new(values, listed) - 0.01
    for slack, outcome in ((NEAR, "accepted"), (-NEAR, "rejected")):
        path = pooled(of, draft(of, NEAR), listed, least_new(values, listed) - slack).write(tmp_path / "a.cert")
        assert {check(path, *of.data).outcome for check in CHECKERS.values()} == {outcome}


def test_many_listed_sets_are_checked_in_blocks(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """So that neither time nor memory grows with the pool before the limits are looked at."""
    of = case("squared", 4, p=32)
    values, listed = values_of(of), list(itertools.combinations(range(2, 32), 2))
    path = pooled(of, draft(of, NEAR), listed, least_new(values, listed) - NEAR).write(tmp_path / "a.cert")
    blocks: list[int] = []
    check_sets = sets.check_sets

    def counted(problem: Any, found: Any, lower: float) -> None:
        blocks.append(len(found))
        check_sets(problem, found, lower)

    monkeypatch.setattr(sets, "check_sets", counted)
    assert CHECKERS["float64"](path, *of.data).accepted
    assert sum(blocks) >= len(listed) > max(blocks)
    assert verify_exact(path, *of.data).accepted


@cache
def small(loss: str = "squared", p: int = 6) -> tuple[Case, dict[Support, float]]:
    of = case(loss, 3, n=20, p=p)
    return of, values_of(of)


def few_columns() -> tuple[Case, Draft]:
    """Every pair of three columns is listed, and a column alone is new: the rest may not be anything."""
    of, _ = small(p=3)
    return of, pooled(of, draft(of, NEAR), [(0, 1), (0, 2), (1, 2)], 1e9)


def with_pool(
    listed: list[Support], change: Callable[[Draft, float], None], proof: str = "sweep"
) -> tuple[Case, Draft]:
    of, values = small()
    made = pooled(of, draft(of, NEAR, proof), listed, 0.0)
    least = least_new(values, listed)
    made.claim["result"]["pool"]["rest"] = max(least - NEAR, made.claim["result"]["lower_bound"])
    change(made, least)
    return of, made


def high_lower_bound(made: Draft, least: float) -> None:
    of, _ = small()
    made.claim["result"]["lower_bound"] = of.optimum + NEAR / 2
    made.claim["result"]["upper_bound"] += NEAR
    made.claim["result"]["pool"]["rest"] = max(least - NEAR, of.optimum + NEAR / 2)


def high_rest(made: Draft, least: float) -> None:
    made.claim["result"]["pool"]["rest"] = least + 1e-2


def low_upper_bound(made: Draft, least: float) -> None:
    made.claim["result"]["pool"]["sets"][0]["upper_bound"] -= 1e-3


def second_missing(made: Draft, least: float) -> None:
    """The second tree is one leaf, whatever it says."""
    end = len(draft(small()[0], NEAR, "tree").arrays["tree.kind"])
    made.arrays["tree.kind"] = np.append(made.arrays["tree.kind"][:end], np.int8(0))
    made.arrays["tree.argument"] = np.append(made.arrays["tree.argument"][:end], np.int32(-1))
    made.claim["proof"]["nodes"] = end + 1


def _anything(original: Any) -> Any:
    """Sets that share a column with a listed one are taken for ones that contain it."""
    return lambda self, columns: any(original(self, [j]) or j in self._root for j in columns)


def _unchecked(one: Any, coef: Any, objective: Any) -> float:
    return 0.0


def _rest_alone(*arguments: Any) -> Any:
    return pool.parts(*arguments)[-1:]


def _whole_alone(result: Any, candidates: Any, *others: Any) -> Any:
    return [pool.Part(result["lower_bound"], candidates)]


def _without_alone(original: Any) -> Any:
    """As if all free columns were a part of every set."""

    def leaf(self: Any, argument: int, inside: Any, free: Any) -> None:
        if not self.listed.within([*inside, *free.tolist()]):
            original(self, argument, inside, free)

    return leaf


RULES: dict[str, tuple[Callable[[], tuple[Case, Draft]], Patches]] = {
    "enough columns stand in no listed set": (few_columns, [(verify, "check_listed", lambda *arguments: None)]),
    "listed sets have bounds of their own": (
        lambda: with_pool([small()[0].best], high_lower_bound),
        [(verify, "_check_own", lambda *arguments: None)],
    ),
    "of smaller listed sets, all sets are a part of their own": (
        lambda: with_pool([(small()[0].best[0],)], high_lower_bound),
        [(verify, "parts", _rest_alone)],
    ),
    "the rest is proved": (lambda: with_pool([(0, 1)], high_rest), [(verify, "parts", _whole_alone)]),
    "listed sets reach their upper bounds": (
        lambda: with_pool([(0, 1)], low_upper_bound),
        [(verify, "_reached", _unchecked)],
    ),
    "what is closed contains a whole listed set": (
        lambda: with_pool([(0, 1), (2, 3)], high_rest),
        [(pool.Listed, "within", _anything(pool.Listed.within)), (verify, "check_listed", lambda *arguments: None)],
    ),
    "a leaf is closed by columns that every set of it has": (
        lambda: with_pool([(0, 1), (2,)], second_missing, "tree"),
        [(tree.Tree, "_leaf", _without_alone(tree.Tree._leaf))],
    ),
}


@pytest.mark.parametrize("rule", RULES)
def test_a_checker_without_a_rule_accepts_what_is_false(rule: str, tmp_path: Path) -> None:
    """And the checkers that have it do not."""
    make, patches = RULES[rule]
    of, made = make()
    path = made.write(tmp_path / "a.cert")
    assert {check(path, *of.data).outcome for check in (CHECKERS["float64"], verify_exact)} == {"rejected"}
    with ExitStack() as stack:
        for module, name, new in patches:
            stack.enter_context(mock.patch.object(module, name, new))
        found = verify_exact(path, *of.data)
    assert found.accepted, found
