"""Forgeries by data that their author chose: types, extreme units, rows of no weight, columns that look constant."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from forgeries import FORGERIES, LOSSES, Forged, file_of, usual
from forging import Case, plain

from optprobe.certificates import checker

SHORT = {"time_limit": 2.0}


def stated(loss: str, X: Any, y: Any = None, weight: Any = None, says: str = "") -> Forged:
    """A claim about usual rows, with the digests of these."""
    case = usual(loss, 1)
    draft, y = case.swept(), case.y if y is None else y
    with np.errstate(all="ignore"):
        draft.claim["data"]["X"] = checker.value_digest(np.asarray(X, dtype=np.float64))
    if weight is not None:
        draft.claim["data"]["weights"] = checker.value_digest(np.asarray(weight, dtype=np.float64))
    return Forged(draft.sealed(), X, y, weight, says=says)


def types(loss: str) -> dict[str, Forged]:
    """Numbers that are none, or that another type stores."""
    X, y, n = usual(loss, 1).X, usual(loss, 1).y, len(usual(loss, 1).y)
    wide, plainly = X.astype(np.longdouble), usual(loss, 1).swept().sealed()
    ones, one_nan = np.ones(n), X.copy()
    one_nan[3, 1] = np.nan
    found = {
        "complex rows": Forged(plainly, X + 0j, y),
        "rows of objects": Forged(plainly, X.astype(object), y),
        "rows of text": Forged(plainly, X.astype(str), y),
        "rows on three axes": Forged(plainly, X[None], y),
        "rows turned": Forged(plainly, X.T, y),
        "labels of text": Forged(plainly, X, np.where(y > 0, "a", "b")),
        "labels of NaN": Forged(plainly, X, np.where(y > 0, 1.0, np.nan)),
        "labels of infinity": Forged(plainly, X, np.where(y > 0, np.inf, 0.0)),
        "one label": Forged(plainly, X, np.ones(n)),
        "three labels": Forged(plainly, X, np.where(np.arange(n) == 3, 7.0, y)),
        "rows rounded to halves": stated(loss, np.round(X * 30).astype(np.int8)),
        "rows of float16": stated(loss, X.astype(np.float16)),
        "rows of booleans": stated(loss, X > 0),
        "rows of a wider type that overflow": Forged(plainly, wide * np.longdouble("1e400"), y),
        "a row of NaN": stated(loss, one_nan, says="value of X"),
        "a row of infinity": stated(loss, np.where(np.isnan(one_nan), np.inf, X), says="value of X"),
        "a value of 1e101": stated(loss, np.where(np.isnan(one_nan), 1e101, X), says="value of X"),
        "a value of 1e160": stated(loss, np.where(np.isnan(one_nan), 1e160, X), says="value of X"),
        "a value of 1e-101": stated(loss, np.where(np.isnan(one_nan), 1e-101, X), says="value of X"),
        "a column of 1e-170": stated(loss, X * np.array([1e-170, 1, 1, 1, 1]), says="value of X"),
        "weights that were not claimed": Forged(plainly, X, y, ones, says="weights"),
        "a weight below 0": stated(loss, X, weight=np.where(np.arange(n) == 3, -1.0, 1.0), says="weight"),
        "a weight of NaN": stated(loss, X, weight=np.where(np.arange(n) == 3, np.nan, 1.0), says="weight"),
        "a weight of infinity": stated(loss, X, weight=np.where(np.arange(n) == 3, np.inf, 1.0), says="weight"),
        "a weight of 1e-312": stated(loss, X, weight=np.where(y > 0, 1.0, 1e-312), says="weight"),
        "a class of no weight": stated(loss, X, weight=np.where(y > 0, 1.0, 0.0), says="weight 0"),
        "weights on two axes": stated(loss, X, weight=np.ones((n, 1))),
    }
    return {f"{name}, {loss}": forged for name, forged in found.items()}


for _loss in LOSSES:
    for _name in types(_loss):
        FORGERIES[_name] = partial(lambda loss, name: types(loss)[name], _loss, _name)


def informative(kind: str, loss: str) -> Case:
    """The label itself stands in column 0, in numbers in which it is hard to see; the others are noise."""
    rng = np.random.default_rng(7)
    n = 40
    y = np.where(np.arange(n) % 2, 1.0, -1.0)
    X, weight = rng.standard_normal((n, 4)), None
    if kind == "a large mean":
        X[:, 0] = 2.0**30 + y
    elif kind == "one unit in the last place":
        X[:, 0] = np.where(y > 0, np.nextafter(3.0, 4.0), 3.0)
    elif kind == "a row of tiny weight":
        X[:, 0], weight = y, np.ones(n)
        X[0, 0], weight[0] = 1e11, 1e-30
    elif kind == "tiny units":
        X[:, 0] = 1e-90 * y
    elif kind == "the tiniest difference":
        X[:, 0] = np.where(y > 0, np.nextafter(1e-100, 1.0), 1e-100)
    elif kind == "huge units":
        X[:, 0] = 1e100 * y
    elif kind == "a row of no weight and a huge value":
        X[:, 0], weight = y, np.ones(n)
        X[0, 0], weight[0] = 1e100, 0.0
    return Case(X, y, loss, ridge=0.01, k=1, weight=weight)


KINDS = (
    "a large mean",
    "one unit in the last place",
    "a row of tiny weight",
    "tiny units",
    "the tiniest difference",
    "huge units",
    "a row of no weight and a huge value",
)


def left_out(kind: str, loss: str, proof: str) -> Forged:
    """The best of the other columns is said to be the best of all."""
    case = informative(kind, loss)
    second = int(np.argsort(case.objectives)[1])
    lower = float(case.objectives[second]) - 1e-9
    draft = case.grown(lower, at=second) if proof == "tree" else case.swept(lower, at=second)
    return file_of(case, draft, exhaustive=proof == "none")


for _loss in LOSSES:
    for _kind in KINDS:
        for _proof in ("sweep", "tree", "none"):
            FORGERIES[f"the best column left out, {_kind}, {_loss}, {_proof}"] = partial(left_out, _kind, _loss, _proof)


def tiny_class(loss: str, balanced: bool, share: float) -> Forged:
    """A class of tiny weight, where every set is fitted well by its intercept; said to be fitted badly."""
    case = plain(loss, 1)
    draft = case.swept()
    case = replace(case, weight=np.where(case.y > 0, 1.0, share), digests={})
    draft.claim["data"] = case.data()
    draft.claim["problem"]["class_weight"] = "balanced" if balanced else "none"
    draft.arrays["coef"][:] = 0.0
    draft.claim["result"].update(intercept=0.0, upper_bound=1.0 + 1e-9, lower_bound=1.0 if loss == "hinge" else 0.45)
    return file_of(case, draft)


def tiny_leaf(loss: str, share: float) -> Forged:
    """The same by one leaf of a vector that says nothing."""
    case = plain(loss, 1)
    draft = case.grown(lower=0.45)
    case = replace(case, weight=np.where(case.y > 0, 1.0, share), digests={})
    draft.claim["data"] = case.data()
    draft.claim["result"].update(intercept=0.0, upper_bound=1.0 + 1e-9)
    draft.arrays["coef"][:] = 0.0
    return file_of(case, draft)


for _loss in LOSSES:
    for _share in (1e-9, 1e-30, 1e-100):
        FORGERIES[f"a class of weight {_share:g}, {_loss}, sweep"] = partial(tiny_class, _loss, False, _share)
        FORGERIES[f"a class of weight {_share:g}, balanced, {_loss}, sweep"] = partial(tiny_class, _loss, True, _share)
        FORGERIES[f"a class of weight {_share:g}, {_loss}, leaf"] = partial(tiny_leaf, _loss, _share)


def noise(loss: str, n: int, p: int, k: int, alike: float = 0.0) -> Case:
    rng = np.random.default_rng(11)
    X = np.sqrt(alike) * rng.standard_normal((n, 1)) + np.sqrt(1 - alike) * rng.standard_normal((n, p))
    y = np.where(rng.standard_normal(n) > 0, 1.0, -1.0)
    return Case(X, y, loss, ridge=0.01, k=k)


def unfitted(case: Case, lower: float, kind: str = "sweep") -> Any:
    """A claim about no fit at all: what it costs is the lower bound's proof."""
    n, start = len(case.y), {"squared": 0.5, "logistic": float(np.log(2)), "hinge": 1.0}[case.loss]
    few = Case(case.X[:, :3], case.y, case.loss, case.ridge, min(case.k, 3))
    draft = few.draft(0.0)
    draft.claim["data"] = case.data()
    draft.claim["problem"]["k"] = case.k
    draft.claim["result"].update(support=[0], intercept=0.0, upper_bound=start + 1e-6, lower_bound=lower * start)
    draft.arrays["coef"] = np.zeros(1)
    if case.loss == "logistic" and kind == "sweep":
        draft.claim["proof"]["box"] = 0.5
        draft.arrays["reference"] = np.full(n, 6.0) * case.y
    return draft


def bomb(case: Case, lower: float, **more: Any) -> Forged:
    return file_of(case, unfitted(case, lower), limits=SHORT, **more)


def screens(blocks: int, nodes: int) -> Forged:
    """Screens that ask for a vector of another block each."""
    case = noise("squared", 500, 50, 1)
    draft, vectors = unfitted(case, 0.9), 256 * blocks
    draft.claim["proof"] = {"kind": "tree", "box": None}
    draft.arrays |= {
        "tree.kind": np.full(nodes, 2, np.int8),
        "tree.argument": (np.arange(nodes) % blocks * 256).astype(np.int32),
        "points.start": np.zeros(vectors + 1, np.int64),
        "points.columns": np.zeros(0, np.int32),
        "points.coef": np.zeros(0),
        "points.intercept": np.zeros(vectors),
        "duals": np.zeros((0, 500)),
    }
    return file_of(case, draft.sized(), limits=SHORT)


def shared_columns() -> Forged:
    """Points of many columns, all the same."""
    case = noise("squared", 500, 50, 1)
    draft = unfitted(case, 0.9)
    draft.claim["proof"] = {"kind": "tree", "box": None}
    draft.arrays |= {
        "tree.kind": np.zeros(1, np.int8),
        "tree.argument": np.zeros(1, np.int32),
        "points.start": np.tile([0, 10**6], 129).astype(np.int64)[:257],
        "points.columns": np.zeros(10**6, np.int32),
        "points.coef": np.zeros(10**6),
        "points.intercept": np.zeros(256),
        "duals": np.zeros((0, 500)),
    }
    return file_of(case, draft.sized(), limits=SHORT, says="points")


def many_allowed() -> Forged:
    """A long list of columns allowed."""
    case = usual("squared")
    draft = case.swept()
    draft.claim["problem"]["among"] = list(range(10**6))
    return file_of(case, draft, limits=SHORT)


FORGERIES |= {
    "screens over many blocks": partial(screens, 17, 200_000),
    "columns that points share": shared_columns,
    "a million columns allowed": many_allowed,
    "a useless reference": lambda: bomb(noise("logistic", 60, 300, 3), 0.9),
    "a bound that leaves all pairs of hinge loss open": lambda: bomb(noise("hinge", 400, 300, 2), 0.99),
    "a bound that leaves all triples open": lambda: bomb(noise("squared", 60, 300, 3, 0.6), 0.9),
    "a bound that leaves all sets of four open": lambda: bomb(noise("squared", 60, 200, 4, 0.6), 0.9),
    "a small time limit for sets of five, all heavy": lambda: bomb(noise("squared", 60, 1200, 5, 0.6), 0.5),
    "sets of six": lambda: bomb(noise("squared", 60, 60, 6, 0.6), 0.9),
    "exhaustive sets of six": lambda: bomb(noise("squared", 60, 60, 6, 0.6), 0.9, exhaustive=True),
    "an exhaustive check of all": lambda: bomb(noise("hinge", 60, 300, 2), 0.9, exhaustive=True),
}
