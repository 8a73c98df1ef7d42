"""Random problems, random proofs of random claims about them, and whether what was accepted is true."""

from __future__ import annotations

import copy
import os
import time
import traceback
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from forging import Arrays, Case, Draft, Json
from threadpoolctl import threadpool_limits

from formulations import OptprobeError
from optprobe.certificates import checker
from optprobe.certificates.checker import limits
from optprobe.certificates.checker.pool import Listed
from optprobe.certificates.checker.tree import BRANCH, LEAF, PAIRS, SCREEN

LOSSES = ("squared", "logistic", "hinge")
SWEPT = {"squared": 6, "logistic": 3, "hinge": 2}
OF_EACH = 16
"""Proofs about one problem."""
SECONDS = 20.0
FOLDER = Path("/dev/shm") if Path("/dev/shm").is_dir() else Path("/tmp")
WELL_FITTED = 1e-8
"""A claim is called true where it holds by the gap of the fits and this much more."""


Wrong = tuple[int, "Trial", str]


@dataclass(eq=False)
class Trial:
    """A certificate before it is sealed, and its data: all that a verdict depends on."""

    X: np.ndarray
    y: np.ndarray
    weight: np.ndarray | None
    claim: Json
    arrays: Arrays
    exhaustive: bool = False
    good: bool = False
    fast: bool = False

    def outcome(self, path: Path) -> str:
        """The verdict, or `traceback` with what it says."""
        path.write_bytes(Draft(self.claim, self.arrays).sealed())
        try:
            most = checker.Limits(SECONDS)
            verdict = checker.verify(str(path), self.X, self.y, self.weight, self.fast, self.exhaustive, most)
        except checker.Unusable:
            return "unusable"
        except Exception:
            return f"traceback: {traceback.format_exc(limit=-2)}"
        return verdict.outcome

    def case(self) -> Case:
        """The problem that the claim names."""
        stated = dict(self.claim["problem"])
        among, grouped = stated.pop("among"), stated.pop("groups", None) is not None
        groups = tuple(self.arrays["groups"].tolist()) if grouped else None
        stated["forced"] = tuple(stated.pop("forced", ()))
        among = None if among is None else tuple(among)
        target = "target" in self.claim["data"]
        return Case(self.X, self.y, weight=self.weight, among=among, groups=groups, target=target, **stated)


def false_statement(trial: Trial, case: Case) -> str | None:
    """Which statement of an accepted claim is refuted by a fit; None where none is."""
    result = trial.claim["result"]
    support = tuple(result["support"])
    if trial.claim["data"] != replace(case, digests={}).data():
        return "it is about other data"
    usable = set(support) <= set(case.problem.candidates.tolist()) and len(support) <= case.problem.size
    if not usable or Listed(groups=case.groups).inside(support) or not set(case.forced) <= set(support):
        return "the support is no set of the claim"
    value = case.objective(support, trial.arrays["coef"], result["intercept"])
    if result["upper_bound"] < value - 1e-17 * (1 + abs(value)):
        return f"the objective is {value}, and at most {result['upper_bound']} is claimed"
    if result["lower_bound"] > lowest(case) + 1e-15:
        return f"a set reaches {lowest(case)}, and at least {result['lower_bound']} is claimed"
    return None if "pool" not in result else false_pool(trial, case)


def false_pool(trial: Trial, case: Case) -> str | None:
    """The same of a pool."""
    pool, at = trial.claim["result"]["pool"], 0
    for one in pool["sets"]:
        if not set(case.forced) <= set(one["support"]):
            return f"the set {one['support']} is listed, and is no set of the claim"
        coef = trial.arrays["pool.coef"][at : at + len(one["support"])]
        at += len(coef)
        value = case.objective(tuple(one["support"]), coef, one["intercept"])
        if one["upper_bound"] < value - 1e-17 * (1 + abs(value)):
            return f"the set {one['support']} reaches {value}, and at most {one['upper_bound']} is claimed"
    listed = [tuple(one["support"]) for one in pool["sets"]]
    for place, one in enumerate(listed):
        if contains(one, listed[:place] + listed[place + 1 :]):
            return f"the set {one} is listed, and contains another one that is"
    for support, value in every_set(case):
        if not contains(support, listed) and value < pool["rest"] - 1e-15:
            return f"the set {support} reaches {value}, contains none listed, and the rest is {pool['rest']}"
    return None


def every_set(case: Case) -> Iterator[tuple[tuple[int, ...], float]]:
    """Every set of the claim with its objective, where a fit has one."""
    with np.errstate(all="ignore"):
        full = zip(map(tuple, case.sets.tolist()), case.objectives)
        for support, value in (*full, *case.smaller.items()):
            if np.isfinite(value):
                yield support, float(value)


def contains(support: tuple[int, ...], listed: list[tuple[int, ...]]) -> bool:
    return any(set(one) <= set(support) for one in listed)


def lowest(case: Case) -> float:
    """The smallest objective of the fits: nothing above it is a lower bound."""
    with np.errstate(all="ignore"):
        values = case.objectives
    return float(np.min(values[np.isfinite(values)], initial=np.inf))


def random_case(rng: np.random.Generator) -> Case:
    n, p = int(rng.integers(6, 21)), int(rng.integers(2, 8))
    X = rng.standard_normal((n, p))
    y = np.where(X[:, 0] + 0.7 * rng.standard_normal(n) > 0, 1.0, -1.0)
    y[:2] = 1.0, -1.0
    weight = None
    if rng.random() < 0.4:
        weight = [
            rng.random(n) + 0.1,
            rng.integers(0, 3, n).astype(float),
            10.0 ** rng.uniform(-6, 6, n),
            np.where(y > 0, 1.0, 10.0 ** rng.uniform(-12, 0)),
        ][int(rng.integers(4))]
        weight[:2] = np.maximum(weight[:2], 1e-12)
    for j in np.flatnonzero(rng.random(p) < 0.3):
        _change_column(X, int(j), y, rng)
    among = None
    if rng.random() < 0.3:
        among = tuple(np.flatnonzero(rng.random(p) < 0.6).tolist())
    k = int(rng.integers(1, min(3, p) + 1))
    loss, ridge = LOSSES[int(rng.integers(3))], float(10 ** rng.uniform(-4, 1))
    balanced = "balanced" if rng.random() < 0.3 else "none"
    groups = tuple(rng.integers(-1, 3, p).tolist()) if rng.random() < 0.2 else None
    case = Case(X, y, loss, ridge, k, balanced, weight, among or None, groups)
    return _with_forced(case, rng) if rng.random() < 0.15 else case


def _with_forced(case: Case, rng: np.random.Generator) -> Case:
    """The same with some columns of one of its sets forced, where it has any."""
    try:
        sets = case.sets
    except OptprobeError:
        return case
    if not sets.size:
        return case
    support = rng.permutation(sets[int(rng.integers(len(sets)))])
    return replace(case, forced=tuple(sorted(map(int, support[: int(rng.integers(1, len(support) + 1))]))), digests={})


def _change_column(X: np.ndarray, j: int, y: np.ndarray, rng: np.random.Generator) -> None:
    """Make a column constant, nearly so, another's copy, or of extreme units."""
    kind = int(rng.integers(7))
    if kind == 0:
        X[:, j] = 3.0
    elif kind == 1:
        X[:, j] = 2.0**30 + y
    elif kind == 2:
        X[:, j] = np.where(y * rng.choice([1, 1, 1, -1], len(y)) > 0, np.nextafter(7.0, 8.0), 7.0)
    elif kind == 3:
        X[:, j] = X[:, 0]
    elif kind == 4:
        X[:, j] *= 10.0 ** rng.uniform(-90, 90)
    elif kind == 5:
        X[:, j] = np.round(X[:, j])
    else:
        X[:, j] = X[:, 0] + 1e-6 * X[:, j]


def with_target(case: Case, rng: np.random.Generator) -> Case:
    """The same with real numbers of any unit in place of labels: near them, rounded, or with a few that are huge."""
    noise = rng.standard_normal(len(case.y))
    y = [case.y + 0.3 * noise, np.round(case.y + noise), case.y + noise**7][int(rng.integers(3))]
    y = 10.0 ** rng.uniform(-9, 9) * (y + float(rng.choice([0.0, 0.0, 1e3])))
    return replace(case, y=y, loss="squared", class_weight="none", target=True)


def trials(seed: int, target: bool = False) -> Iterator[tuple[Trial, Case]]:
    """Some proofs about one random problem."""
    rng = np.random.default_rng([20, seed])
    with np.errstate(all="ignore"):
        case = with_target(random_case(rng), rng) if target else random_case(rng)
        try:
            if not len(case.problem.candidates) or not np.isfinite(case.fits.objective).all():
                return
        except OptprobeError:
            return
        for _ in range(OF_EACH):
            trial = random_trial(case, rng)
            if trial is not None:
                yield trial, case


def random_trial(case: Case, rng: np.random.Generator) -> Trial:
    """A proof of a claim that is true or false by some margin, left as it is or altered."""
    margin = float(10 ** rng.uniform(-12, 0)) * (1 if rng.random() < 0.45 else -1)
    lower = case.optimum + margin
    at = case.best if rng.random() < 0.6 else int(rng.integers(len(case.sets)))
    draft = _draft(case, rng, lower, at)
    result = draft.claim["result"]
    if rng.random() < 0.2:
        result["upper_bound"] -= float(10 ** rng.uniform(-12, 0))
    if rng.random() < 0.8:
        result["upper_bound"] = max(result["upper_bound"], result["lower_bound"])
    pooled = rng.random() >= 0.25 or _pooled(case, draft, rng)
    exhaustive = rng.random() < 0.04
    slack = WELL_FITTED * (1 + abs(case.optimum))
    unproved = PAIRS in draft.arrays.get("tree.kind", ())
    taken = draft.arrays.get("tree.diagonal")
    unproved |= taken is not None and case.largest_diagonal is not None and bool((taken > case.largest_diagonal).any())
    true = (
        not unproved and lower <= case.fits.lower.min() - slack and result["upper_bound"] >= case.objectives[at] + 1e-12
    )
    proved, fast = bool(true and pooled), bool(rng.integers(2))
    trial = Trial(case.X, case.y, case.weight, draft.claim, draft.arrays, exhaustive, proved, fast)
    for _ in range(int(rng.choice([0, 1, 2], p=[0.5, 0.35, 0.15]))):
        alter(trial, rng)
    return trial


def _draft(case: Case, rng: np.random.Generator, lower: float, at: int) -> Draft:
    swept = case.problem.k <= SWEPT[case.loss] and (case.loss == "squared" or not case.forced)
    if swept and rng.random() < 0.25:
        draft = case.swept(lower, float(10 ** rng.uniform(-2, -0.1)), at)
        if "reference" in draft.arrays and rng.random() < 0.5:
            draft.arrays["reference"] *= rng.uniform(-2, 3)
        return draft
    draft = case.grown(lower, bool(rng.integers(2)), at, _diagonal(case, rng))
    if case.loss == "logistic" and rng.random() < 0.3:
        draft = case.boxed(draft, float(rng.uniform(0.1, 0.9)))
        kinds = draft.arrays["tree.kind"]
        if rng.random() < 0.5:
            kinds, draft.arrays["tree.argument"] = np.array([PAIRS], np.int8), np.array([-1], np.int32)
        elif len(kinds) > 1:
            kinds[int(rng.integers(len(kinds)))] = PAIRS
        draft.arrays["tree.kind"] = kinds
        draft.sized()
    return draft


def _diagonal(case: Case, rng: np.random.Generator) -> np.ndarray | None:
    """A diagonal for some trees of the squared loss, which leaves the moments semidefinite or is too large."""
    if case.loss != "squared" or rng.random() < 0.4 or case.largest_diagonal is None:
        return None
    if rng.random() < 0.3:
        return np.minimum(case.largest_diagonal * (1 + 10.0 ** rng.uniform(-3, 1)), 1.0)
    return np.asarray(case.largest_diagonal * (1 - 10.0 ** rng.uniform(-6, 0)))


def _pooled(case: Case, draft: Draft, rng: np.random.Generator) -> bool:
    """Give a draft a pool that is true or false by some margin; returns whether it is true and has a proof."""
    known = list(every_set(case))
    good = sorted(known, key=lambda one: one[1])[: max(1, int(rng.integers(1, 4)))]
    chosen = good if rng.random() < 0.7 else [known[int(at)] for at in rng.integers(len(known), size=2)]
    listed = sorted({support for support, _ in chosen})
    if rng.random() < 0.8:
        listed = [one for one in listed if not contains(one, [other for other in listed if other != one])]
    free = [value for support, value in known if not contains(support, listed)]
    least = min([value for value in free if np.isfinite(value)], default=case.optimum + 1.0)
    rest = least + float(10 ** rng.uniform(-12, 0)) * (1 if rng.random() < 0.45 else -1)
    case.pooled(draft, listed, rest)
    minimal = all(not contains(one, [other for other in listed if other != one]) for one in listed)
    outside = set(case.problem.candidates.tolist()) - {column for one in listed for column in one}
    room = Listed(groups=case.groups).count(np.array(sorted(outside), dtype=np.int64))
    slack = WELL_FITTED * (1 + abs(least))
    true = draft.claim["result"]["lower_bound"] <= rest <= least - slack
    return bool(true and minimal and room >= case.problem.size - len(case.forced))


def alter(trial: Trial, rng: np.random.Generator) -> None:
    """One change by the grammar of what it is made to: of the tree, of numbers, or of the claim."""
    trial.good = False
    tree = trial.claim["proof"]["kind"] == "tree"
    ways: list[Callable[[Trial, np.random.Generator], None]] = [_number, _claim]
    if tree:
        ways += [_node, _node, _points, _tree]
    if "tree.diagonal" in trial.arrays:
        ways.append(_taken)
    ways[int(rng.integers(len(ways)))](trial, rng)
    if tree and rng.random() < 0.95:
        Draft(trial.claim, trial.arrays).sized()


def _node(trial: Trial, rng: np.random.Generator) -> None:
    kind, argument = trial.arrays["tree.kind"], trial.arrays["tree.argument"]
    place, way = int(rng.integers(len(kind) + 1)), int(rng.integers(5))
    here = min(place, len(kind) - 1)
    if way == 0 and len(kind) > 1:
        kind, argument = np.delete(kind, here), np.delete(argument, here)
    elif way == 1 and len(kind):
        at = int(rng.integers(len(kind)))
        kind, argument = np.insert(kind, place, kind[at]), np.insert(argument, place, argument[at])
    elif way == 2 and len(kind):
        kind[here] = rng.integers(-1, 5)
    elif way == 3 and len(kind):
        argument[here] = rng.integers(-2, max(trial.X.shape[1], len(trial.arrays["duals"])) + 1)
    elif len(kind) > 1:
        kind, argument = kind[:here], argument[:here]
    trial.arrays |= {"tree.kind": kind.astype(np.int8), "tree.argument": argument.astype(np.int32)}


def _tree(trial: Trial, rng: np.random.Generator) -> None:
    """Any tree at all."""
    vectors, p = len(trial.arrays["points.intercept"]) + len(trial.arrays["duals"]), trial.X.shape[1]
    kinds, arguments = [], []
    missing = 1
    while missing and len(kinds) < 40:
        kind = int(rng.choice([LEAF, BRANCH, SCREEN, PAIRS], p=[0.5, 0.3, 0.15, 0.05]))
        missing += {LEAF: -1, BRANCH: 1, SCREEN: 0, PAIRS: -1}[kind]
        kinds.append(kind)
        arguments.append(int(rng.integers(p)) if kind == BRANCH else int(rng.integers(-1, max(vectors, 1))))
    trial.arrays |= {"tree.kind": np.array(kinds, np.int8), "tree.argument": np.array(arguments, np.int32)}


def _points(trial: Trial, rng: np.random.Generator) -> None:
    arrays, n = trial.arrays, len(trial.y)
    way = int(rng.integers(5))
    if way == 0 and len(arrays["points.start"]) > 1:
        arrays["points.start"][int(rng.integers(len(arrays["points.start"])))] += rng.integers(-2, 3)
    elif way == 1 and len(arrays["points.columns"]):
        arrays["points.columns"][int(rng.integers(len(arrays["points.columns"])))] = rng.integers(
            -1, trial.X.shape[1] + 1
        )
    elif way == 2:
        scale = 10.0 ** rng.uniform(-3, 30 if rng.random() < 0.1 else 1)
        arrays["duals"] = np.concatenate([arrays["duals"], scale * rng.standard_normal((1, n))])
    elif way == 3:
        arrays["duals"] = -trial.y * rng.random((max(1, len(arrays["duals"])), n)) * rng.choice([0.5, 1.0, 2.0])
    else:
        arrays["points.coef"] *= rng.uniform(-1, 3)
        arrays["points.intercept"] += rng.standard_normal()


def _taken(trial: Trial, rng: np.random.Generator) -> None:
    """Another diagonal: larger in all columns or in one, or any."""
    D, way = trial.arrays["tree.diagonal"], int(rng.integers(4))
    if way == 0:
        D *= 1 + float(10.0 ** rng.uniform(-9, 1))
    elif way == 1:
        D[int(rng.integers(len(D)))] += float(10.0 ** rng.uniform(-9, 0))
    else:
        D[:] = rng.random(len(D)) if way == 2 else D[rng.permutation(len(D))]


def _number(trial: Trial, rng: np.random.Generator) -> None:
    names = sorted(name for name, array in trial.arrays.items() if array.dtype == np.float64 and array.size)
    if not names:
        return
    array = trial.arrays[names[int(rng.integers(len(names)))]]
    place = int(rng.integers(array.size))
    special = (0.0, -0.0, 5e-324, 1e-300, 1e100, -1e100, 1e101, np.nan, np.inf, 1.0, -1.0)
    near = array.flat[place] * (1 + float(10 ** rng.uniform(-12, 0)) * rng.choice([-1, 1]))
    array.flat[place] = special[int(rng.integers(len(special)))] if rng.random() < 0.4 else near


def _claim(trial: Trial, rng: np.random.Generator) -> None:
    claim, p = trial.claim, trial.X.shape[1]
    problem, result = claim["problem"], claim["result"]
    near = 1 + float(10 ** rng.uniform(-8, 0)) * float(rng.choice([-1, 1]))
    columns = np.flatnonzero(rng.random(p) < 0.6).tolist()
    digest = "".join(reversed(claim["data"]["X"]))
    changes: list[tuple[Json, str, Any]] = [
        (problem, "k", problem["k"] + int(rng.choice([-1, 1]))),
        (problem, "ridge", problem["ridge"] * near),
        (problem, "loss", LOSSES[int(rng.integers(3))]),
        (problem, "class_weight", str(rng.choice(["none", "balanced"]))),
        (problem, "among", None if rng.random() < 0.3 else columns),
        (problem, "groups", "".join(reversed(digest))),
        (problem, "forced", columns[: int(rng.integers(3))]),
        (result, "support", columns),
        (result, "intercept", result["intercept"] * near),
        (result, "upper_bound", result["upper_bound"] * near),
        (result, "lower_bound", result["lower_bound"] * near),
        (claim["data"], str(rng.choice(["X", "y"])), digest),
        (claim["proof"], "box", None if rng.random() < 0.5 else float(rng.uniform(0, 1))),
    ]
    if claim["data"].get("target"):
        changes.append((claim["data"], "target", [False, 1, None][int(rng.integers(3))]))
    if result.get("pool", {}).get("sets"):
        pool, one = result["pool"], result["pool"]["sets"][int(rng.integers(len(result["pool"]["sets"])))]
        changes += [
            (pool, "rest", pool["rest"] * near),
            (pool, "sets", [other for other in pool["sets"] if other is not one]),
            (pool, "sets", [*pool["sets"], one]),
            (one, "upper_bound", one["upper_bound"] * near),
            (one, "support", columns),
        ]
    at, name, value = changes[int(rng.integers(len(changes)))]
    at[name] = value


class AtOnce:
    """An executor without threads: to start some costs more than to check a small certificate."""

    def __init__(self, threads: int) -> None:
        self.threads = threads

    def __enter__(self) -> AtOnce:
        return self

    def __exit__(self, *raised: object) -> None:
        pass

    def submit(self, function: Callable[..., Any], *arguments: Any) -> Future[Any]:
        future: Future[Any] = Future()
        try:
            future.set_result(function(*arguments))
        except Exception as error:
            future.set_exception(error)
        return future


@contextmanager
def without_threads() -> Iterator[None]:
    """One core for everything."""
    with mock.patch.object(limits, "ThreadPoolExecutor", AtOnce), threadpool_limits(1):
        yield


def figures_of(
    seeds: range, folder: Path = FOLDER, most: int = 0, target: bool = False
) -> tuple[Counter[str], list[Wrong]]:
    """Counts of verdicts, and the trials that are wrong; ends after ``most`` of these, if that is not 0."""
    counts: Counter[str] = Counter()
    wrong: list[Wrong] = []
    path = folder / f"random-{os.getpid()}.cert"
    with without_threads():
        for seed in seeds:
            for trial, case in trials(seed, target):
                names, why = judged(trial, case, path)
                counts.update(names)
                if why:
                    wrong.append((seed, copy.deepcopy(trial), why))
            if most and len(wrong) >= most:
                break
    path.unlink(missing_ok=True)
    return counts, wrong


def judged(trial: Trial, case: Case, path: Path) -> tuple[list[str], str | None]:
    """What is counted, and what is wrong."""
    started = time.monotonic()
    outcome = trial.outcome(path)
    if time.monotonic() - started > SECONDS + 1:
        return ["instances"], "it takes longer than the limit"
    if outcome.startswith("traceback"):
        return ["instances"], outcome
    names = ["instances", outcome]
    if trial.good:
        names.append(f"true and proved: {outcome}")
    if outcome != "accepted":
        return names, None
    with np.errstate(all="ignore"):
        asked = trial.case()
        stated = ("loss", "ridge", "k", "class_weight", "among", "groups", "forced")
        same = all(getattr(asked, name) == getattr(case, name) for name in stated)
        return names, false_statement(trial, case if same else asked)
