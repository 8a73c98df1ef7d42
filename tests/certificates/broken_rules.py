"""Rules of the checker, each taken away: what is left is unsound, and the random proofs must notice."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import Any
from unittest import mock

import numpy as np

from optprobe.certificates.checker import (
    bounds,
    check,
    claim,
    data,
    dual_sweep,
    exhaustive,
    hinge_sweep,
    minorant,
    outcome,
    pair_sweep,
    pool,
    problem,
    sets,
    tree,
    wide_dual_sweep,
)

MODULES = (
    bounds,
    check,
    claim,
    data,
    dual_sweep,
    exhaustive,
    hinge_sweep,
    minorant,
    pair_sweep,
    pool,
    problem,
    sets,
    tree,
    wide_dual_sweep,
)
Patch = tuple[Any, str, Any]


def _not_required(sentence: str) -> list[Patch]:
    """Without the one requirement whose sentence matches."""
    pattern = re.compile(sentence)

    def require(holds: Any, otherwise: str) -> None:
        if not pattern.search(otherwise):
            outcome.require(holds, otherwise)

    return [(module, "require", require) for module in MODULES if hasattr(module, "require")]


def _with(module: Any, name: str, change: Callable[[Any], Any]) -> list[Patch]:
    return [(module, name, change(getattr(module, name)))]


def _bound_without(part: str) -> Callable[[Any], Any]:
    """A node bound that forgets a part of the discounts."""

    def change(original: Any) -> Any:
        def node_bound(stated: Any, value: float, discount: Any, inside: list[int], free: Any) -> tuple[float, float]:
            if part == "all":
                return original(stated, value, np.zeros_like(discount), inside, free)
            if part == "inside":
                discount = discount.copy()
                discount[inside] = 0.0
                return original(stated, value, discount, inside, free)
            bound, counted = original(stated, value, discount, inside, free)
            return (bound + counted if np.isfinite(bound) else bound), counted

        return node_bound

    return change


def _screens_all(original: Any) -> Any:
    return lambda stated, dual, inside, free, lower: dual[1] < np.sort(dual[1])[-1]


def _one_child(original: Any) -> Any:
    return lambda inside, free, index, size: original(inside, free, index, size)[:1]


def _no_penalty(original: Any) -> Any:
    def objective(stated: Any, support: Any, coef: Any, intercept: float) -> tuple[float, float]:
        value, error = original(stated, support, coef, intercept)
        return value - 0.5 * stated.ridge * float(coef @ coef), error

    return objective


def _infeasible(original: Any) -> Any:
    """Values of the conjugate outside its domain, and no balance between the classes."""

    def feasible(stated: Any, a: Any) -> tuple[Any, Any]:
        t = -stated.y * a
        if stated.loss == "squared":
            return a, -((a * stated.y + 0.5 * a * a) @ stated.w)
        t = np.maximum(t, 0.0)
        return -stated.y * t, (bounds._entropy(np.minimum(t, 1.0)) if stated.loss == "logistic" else t) @ stated.w

    return feasible


def _half(original: Any) -> Any:
    return lambda *arguments: original(*arguments) / 2


def _nothing_open(original: Any) -> Any:
    return lambda *arguments: iter([np.zeros((0, arguments[4]), np.int64)])


def _none_below(original: Any) -> Any:
    return lambda stated, found, lower: np.zeros(0, dtype=np.int64)


def _better_hinge(original: Any) -> Any:
    return lambda rows, sums, v: 2 * np.minimum(*sums)


def _fewer_sets(original: Any) -> Any:
    return lambda m, k: (part[: len(part) // 2] for part in original(m, k))


def _equal_classes(original: Any) -> Any:
    return lambda y, given, class_weight: original(y, given, "none")


def _nearly_constant(original: Any) -> Any:
    def standardised(X: Any, w: Any) -> Any:
        Z, varies = original(X, w)
        size = np.abs(X).max(axis=0)
        return Z, varies & (np.ptp(X.astype(float), axis=0) > 1e-8 * size)

    return standardised


def _all_common(original: Any) -> Any:
    return lambda inside, free, size: [*inside, *np.flatnonzero(free).tolist()]


def _first_part(original: Any) -> Any:
    return lambda *arguments: original(*arguments)[:1]


def _no_sets(original: Any) -> Any:
    return lambda result, size: original(result, size)[:0]


def _touched(original: Any) -> Any:
    """Closed is what has a column of a listed set."""
    return lambda listed, columns: any(set(one) & set(columns) for one in listed.sets)


def _lacking_forced(original: Any) -> Any:
    return lambda sets, support: original(replace(sets, forced=()), support)


RULES: dict[str, Callable[[], list[Patch]]] = {
    "the objective is compared with the upper bound": lambda: _not_required("the support reaches"),
    "the support is a set of the claim": lambda: _not_required("is not among the sets of the claim"),
    "leaves reach the lower bound": lambda: _not_required(r"^leaf \d+"),
    "the tree is complete": lambda: _not_required("the tree is incomplete"),
    "open sets reach the lower bound": lambda: _not_required("^the columns .* reach F"),
    "the data are the claim's": lambda: _not_required("is not the claim's"),
    "a diagonal leaves what is semidefinite": lambda: _with(tree, "taken_out", lambda original: lambda stated, D: D),
    "a pair leaf misses two": lambda: _not_required("columns missing, and must have 2"),
    "a node bound has discounts": lambda: _with(tree, "node_bound", _bound_without("all")),
    "a node bound discounts what is inside": lambda: _with(tree, "node_bound", _bound_without("inside")),
    "a node bound discounts all that is needed": lambda: _with(tree, "node_bound", _bound_without("one")),
    "a screen compares with the lower bound": lambda: _with(tree, "_screened", _screens_all),
    "a branch has two sides": lambda: _with(tree, "_children", _one_child),
    "an objective has its penalty": lambda: _with(check, "objective", _no_penalty),
    "a vector is made feasible": lambda: _with(bounds, "_feasible", _infeasible),
    "a discount is the whole square": lambda: _with(bounds, "_discount", _half),
    "a sweep of squared loss opens pairs": lambda: _with(pair_sweep, "sets_left_open", _nothing_open),
    "a sweep of logistic loss leaves sets": lambda: [
        *_with(dual_sweep, "below", _none_below),
        *_with(wide_dual_sweep, "below", _none_below),
    ],
    "a sweep of hinge loss has discounts": lambda: _with(hinge_sweep.Rows, "bounds", _better_hinge),
    "an exhaustive check takes all sets": lambda: _with(exhaustive, "all_sets", _fewer_sets),
    "balanced classes weigh the same": lambda: _with(problem, "weights_of", _equal_classes),
    "sets of a pool reach their upper bounds": lambda: _not_required("and the pool says"),
    "no set of a pool contains another": lambda: _not_required("of the pool contains another|stands twice"),
    "enough columns stand in no set of a pool": lambda: _not_required("stand in no set of the pool"),
    "a leaf is closed by what all its sets have": lambda: _with(tree, "_common", _all_common),
    "both parts of a proof are checked": lambda: _with(check, "goals", _first_part),
    "listed sets have bounds of their own": lambda: _with(check, "listed_alone", _no_sets),
    "closed is what contains a listed set": lambda: _with(pool.Listed, "inside", _touched),
    "groups are counted by their columns' groups": lambda: _with(
        pool.Listed, "count", lambda original: lambda listed, columns: len(columns)
    ),
    "the support has one column of a group": lambda: _with(
        pool.Sets, "allow", lambda original: lambda sets, support: True
    ),
    "listed sets have the forced columns": lambda: _with(pool.Sets, "allow", _lacking_forced),
    "a column of small deviation is used": lambda: _with(problem, "standardised", _nearly_constant),
    "a target is standardised": lambda: _with(problem, "_standardised_target", lambda original: lambda y, w: y),
}


@contextmanager
def without(rule: str) -> Iterator[None]:
    """The checker without a rule."""
    with ExitStack() as stack:
        for module, name, new in RULES[rule]():
            stack.enter_context(mock.patch.object(module, name, new))
        yield
