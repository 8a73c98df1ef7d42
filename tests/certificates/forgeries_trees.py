"""Forgeries of trees: of their nodes, of their points, and of the numbers in them."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from forgeries import FORGERIES, TREES, Forged, altered, false, file_of
from forging import Case, Draft, plain

from optprobe.certificates.checker.tree import BRANCH, LEAF, PAIRS, SCREEN

PLAIN = tuple(base for base in TREES if base[1] != "pair")
BRANCHED = tuple(base for base in PLAIN if base[1] == "leaf")
Edit = Callable[[np.ndarray, np.ndarray], tuple[Any, Any]]


def nodes(edit: Edit) -> Callable[[Draft, Case], None]:
    """A change of kinds and arguments, sizes stated to fit."""

    def change(draft: Draft, case: Case) -> None:
        kind, argument = edit(draft.arrays["tree.kind"], draft.arrays["tree.argument"])
        draft.arrays["tree.kind"] = np.array(kind, np.int8)
        draft.arrays["tree.argument"] = np.array(argument, np.int32)
        draft.sized()

    return change


def _only(kind: int, argument: int) -> Edit:
    return lambda kinds, arguments: ([kind], [argument])


def _list(*entries: tuple[int, int]) -> Edit:
    return lambda kinds, arguments: tuple(zip(*entries)) if entries else ([], [])


ALL = {
    "no nodes": (_list(), "incomplete"),
    "a node less": (lambda k, a: (k[:-1], a[:-1]), "incomplete|missing"),
    "a node more": (lambda k, a: (np.append(k, LEAF), np.append(a, 0)), "complete"),
    "every node twice": (lambda k, a: (np.tile(k, 2), np.tile(a, 2)), "complete"),
    "a node of kind 4": (_only(4, 0), "kind"),
    "a node of kind -1": (_only(-1, 0), "kind"),
    "a leaf of no vector": (_only(LEAF, -1), "proves"),
    "a leaf of a vector that is not there": (_only(LEAF, 99), "missing"),
    "a leaf of vector -2": (_only(LEAF, -2), "missing"),
    "a screen of no vector": (_list((SCREEN, -1), (LEAF, -1)), "screens by no vector"),
    "a screen of no vector before the tree": (lambda k, a: ([SCREEN, *k], [-1, *a]), "screens by no vector"),
    "a screen of a vector that is not there": (_list((SCREEN, 99), (LEAF, -1)), "missing"),
    "a branch out of range": (_list((BRANCH, 5), (LEAF, 0), (LEAF, 0)), "branch"),
    "a branch on -1": (_list((BRANCH, -1), (LEAF, 0), (LEAF, 0)), "branch"),
    "a branch on what is inside": (_list((BRANCH, 0), (BRANCH, 0), (LEAF, 0), (LEAF, 0), (LEAF, 0)), "branch"),
    "a branch with one side": (_list((BRANCH, 0), (LEAF, 0)), "proves|incomplete"),
    "a branch on the best, then nothing": (_list((BRANCH, 0), (LEAF, -1), (LEAF, -1)), "proves"),
    "without it, without it, without it": (_list(*[(BRANCH, 0)] * 3, *[(LEAF, -1)] * 4), "branch|proves"),
}  # fmt: skip
for _name, (_edit, _says) in ALL.items():
    altered(_name, TREES, _says)(nodes(_edit))


@altered("all leaves of no vector", PLAIN, "proves")
def _empty(draft: Draft, case: Case) -> None:
    draft.arrays["tree.argument"][draft.arrays["tree.kind"] == LEAF] = -1


@altered("nodes turned around", BRANCHED)
def _turned(draft: Draft, case: Case) -> None:
    edit: Edit = lambda k, a: ([BRANCH, *k[::-1]], [1, *a[::-1]])  # noqa: E731
    nodes(edit)(draft, case)


def _vectors(value: float, signs: bool = False) -> Callable[[Draft, Case], None]:
    """Every stored vector of one huge number, or of both signs."""

    def change(draft: Draft, case: Case) -> None:
        n = len(case.y)
        vector = np.full((1, n), value)
        if signs:
            vector[0, np.flatnonzero(case.y > 0)[0]] = -value
        draft.arrays |= {"duals": vector, "points.start": np.zeros(1, np.int64)}
        for name, kind in (("columns", np.int32), ("coef", np.float64), ("intercept", np.float64)):
            draft.arrays[f"points.{name}"] = np.zeros(0, kind)
        if draft.arrays["tree.kind"][0] != PAIRS:
            draft.arrays["tree.kind"], draft.arrays["tree.argument"] = np.zeros(1, np.int8), np.zeros(1, np.int32)
        draft.sized()

    return change


for _value in (1.7e308, np.nan, np.inf, 1e101):
    altered(f"a leaf of {_value:g}", PLAIN, "not finite", begin=false)(_vectors(_value, True))
for _value in (1e100, 1e80, 1e-100, 5e-324, 0.0):
    altered(f"a leaf of {_value:g}", PLAIN, begin=false)(_vectors(_value, True))
    altered(f"a leaf of {_value:g}, of one sign", PLAIN, begin=false)(_vectors(_value))


def _points(change: Callable[[dict[str, np.ndarray], Case], None]) -> Callable[[Draft, Case], None]:
    def altering(draft: Draft, case: Case) -> None:
        if not len(draft.arrays["points.intercept"]):  # the hinge loss stores vectors: give it points
            sets = case.sets
            draft.arrays |= {
                "points.start": np.arange(len(sets) + 1, dtype=np.int64) * 2,
                "points.columns": sets.reshape(-1).astype(np.int32),
                "points.coef": np.ones(2 * len(sets)),
                "points.intercept": np.zeros(len(sets)),
            }
        change(draft.arrays, case)
        draft.sized()

    return altering


def _starts(*values: int) -> Callable[[dict[str, np.ndarray], Case], None]:
    def change(arrays: dict[str, np.ndarray], case: Case) -> None:
        start = arrays["points.start"]
        start[1 : 1 + len(values)] = values

    return change


for _name, _values in {
    "points that fall": (4, 2),
    "points that begin below 0": (-1,),
    "points that end far off": (2**62,),
    "points that wrap": (2**63 - 1, -(2**63)),
    "a point of all columns and more": (0, 0, 0, 18),
}.items():
    altered(_name, TREES, "points")(_points(_starts(*_values)))


@altered("points that begin after 0", TREES, "points")
@_points
def _late(arrays: dict[str, np.ndarray], case: Case) -> None:
    arrays["points.start"][0] = 1


@altered("points that do not end", TREES, "points")
@_points
def _early(arrays: dict[str, np.ndarray], case: Case) -> None:
    arrays["points.start"][-1] -= 1


for _column in (-1, 5, 2**31 - 1):

    @altered(f"a point of column {_column}", TREES, "column")
    @_points
    def _column_of(arrays: dict[str, np.ndarray], case: Case, column: int = _column) -> None:
        arrays["points.columns"][0] = column


for _coef in (np.nan, 1.7e308):

    @altered(f"a point of {_coef:g}", TREES, "not finite")
    @_points
    def _point_of(arrays: dict[str, np.ndarray], case: Case, coef: float = _coef) -> None:
        arrays["points.coef"][:] = coef


for _coef in (1e100, -1e100):

    @altered(f"a false claim by points of {_coef:g}", PLAIN, begin=false)
    @_points
    def _false_point_of(arrays: dict[str, np.ndarray], case: Case, coef: float = _coef) -> None:
        arrays["points.coef"][:] = coef
        arrays["points.intercept"][:] = -coef
        arrays["tree.kind"], arrays["tree.argument"] = np.zeros(1, np.int8), np.zeros(1, np.int32)


TYPES = {
    "tree.kind": ("i4", "f8", "?"),
    "tree.argument": ("i8", "i1", "f8"),
    "points.start": ("i4", "f8"),
    "points.columns": ("i8", "i1", "f4"),
    "points.coef": ("f4", "i8", "f2"),
    "duals": ("f4", "f2", "i8"),
}
for _array, _dtypes in TYPES.items():
    for _dtype in _dtypes:

        @altered(f"{_array} as {_dtype}", TREES, "arrays")
        def _typed(draft: Draft, case: Case, array: str = _array, dtype: str = _dtype) -> None:
            draft.arrays[array] = draft.arrays[array].astype(dtype)


for _array in (*TYPES, "points.intercept"):

    @altered(f"no {_array}", TREES, "arrays")
    def _without(draft: Draft, case: Case, array: str = _array) -> None:
        del draft.arrays[array]


for _size in ("nodes", "points", "entries", "duals"):
    for _stated in (-1, 2**31 - 1, 2**40, True, 1.0, "1", None):

        @altered(f"{_size} said to be {_stated!r}", TREES)
        def _stating(draft: Draft, case: Case, size: str = _size, stated: Any = _stated) -> None:
            draft.claim["proof"][size] = stated


@altered("a false screen", tuple(b for b in TREES if b[1] == "screen"), begin=false)
def _tampered_screen(draft: Draft, case: Case) -> None:
    """A screen of a vector that bounds nothing, then a leaf of what it should have left."""
    edit = _list((SCREEN, 0), (SCREEN, 1), (SCREEN, 2), (LEAF, -1))
    nodes(edit)(draft, case)


def _pair_leaf(loss: str, k: int, kinds: list[tuple[int, int]], says: str, boxed: bool = True) -> Forged:
    case = plain(loss, k)
    draft = case.grown()
    if boxed:
        draft = case.boxed(draft)
    nodes(_list(*kinds))(draft, case)
    return file_of(case, draft, says=says)


LEAF_OF_PAIRS = (PAIRS, -1)
FORGERIES |= {
    "a pair leaf with a vector": partial(_pair_leaf, "logistic", 2, [(PAIRS, 0)], "must have -1"),
    "a pair leaf of one column": partial(_pair_leaf, "logistic", 1, [LEAF_OF_PAIRS], "missing"),
    "a pair leaf too early": partial(_pair_leaf, "logistic", 3, [LEAF_OF_PAIRS], "missing"),
    "a pair leaf too late": partial(
        _pair_leaf, "logistic", 2, [(BRANCH, 0), LEAF_OF_PAIRS, LEAF_OF_PAIRS], "missing"
    ),
    "a pair leaf without a box": partial(_pair_leaf, "logistic", 2, [LEAF_OF_PAIRS], "reference", False),
    "a pair leaf of squared loss": partial(_pair_leaf, "squared", 2, [LEAF_OF_PAIRS], "reference"),
    "a pair leaf of hinge loss": partial(_pair_leaf, "hinge", 2, [LEAF_OF_PAIRS], "reference"),
    "a pair leaf of hinge loss without a box": partial(
        _pair_leaf, "hinge", 2, [LEAF_OF_PAIRS], "reference", False
    ),
}  # fmt: skip
