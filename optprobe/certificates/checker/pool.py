"""Groups of columns, forced columns, and pools: sets none of which contains another, and a bound of every set that
contains none of them.

*Groups.* Where the columns have groups, a set of the claim has at most one of each. ``size`` is then at most the number
of groups among the candidates, a column without one being its own: so a smaller set is enlarged to one of ``size`` by
columns of groups that it has none of, and whatever has two columns of one group is closed, like what contains a listed
set. In all that follows "columns that stand in no listed set" are counted by their groups.

*Forced columns.* Where a set A of columns is forced, the sets of the claim are those that contain A; a column of a
group that A has one of is none of the candidates. A smaller set is enlarged as before, and every proof is about sets
that contain A. Such a set contains a listed set L just if it contains L - A: so the proof closes by those, and in place
of the empty set, and of columns listed alone, come A, and A with one column.

*What is proved.* Let L be the listed sets, each of at most ``size`` columns. A proof covers the sets T of exactly
``size`` columns that contain no listed set: a search that drops the columns listed alone, and in which whatever
contains a listed set is closed. Smaller sets need no proof of their own if ``size`` allowed columns stand in no listed
set: enlarge T by some of them to T' of ``size`` columns. A listed set within T' has none of the new columns, so it lies
within T; hence T' contains none, and F(T) >= F(T') >= rest. With a forced columns ``size`` - a will do: T has all
of the forced, so of the others it has |T| - a, and ``size`` - |T| are added.

*The lower bound of all sets.* Where every listed set has ``size`` columns, a set of that size is listed or contains
none; so it suffices that rest >= lower, and that each listed set has a bound of its own that reaches lower. Otherwise
the lower bound is proved as if there were no pool, and the proof has two parts: that, then this one.

Nothing else follows from the rest: that it is above every upper bound, for instance, is a comparison of numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from itertools import combinations
from math import comb

import numpy as np
from numpy.typing import NDArray

from .claim import Pool, Result
from .limits import Limits
from .outcome import require

EVERYTHING_LISTED = "the empty set is listed, and every set contains it"

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Closed = Callable[[tuple[int, ...]], bool]
Evaluate = Callable[[tuple[int, ...], Floats, float], tuple[float, float]]


@dataclass(frozen=True)
class Listed:
    """Sets of columns, and groups of columns: which other sets contain one of the former, or two columns of a group."""

    sets: frozenset[tuple[int, ...]] = frozenset()
    groups: tuple[int, ...] | None = None
    of_size: dict[int, list[tuple[int, ...]]] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "of_size", {})
        for one in self.sets:
            self.of_size.setdefault(len(one), []).append(one)

    def inside(self, columns: Iterable[int]) -> bool:
        """Whether a set contains a listed one, or two columns of a group.

        Of each size the set's parts are looked up, or the listed sets if fewer.
        """
        ordered = sorted(columns)
        if self.groups is not None:
            labels = [self.groups[column] for column in ordered if self.groups[column] >= 0]
            if len(set(labels)) < len(labels):
                return True
        whole = frozenset(ordered)
        return any(
            any(map(whole.issuperset, sets))
            if len(sets) < comb(len(ordered), size)
            else any(part in self.sets for part in combinations(ordered, size))
            for size, sets in self.of_size.items()
        )

    def of_positions(self, columns: Ints) -> Closed | None:
        """`inside` for positions in ``columns``; None where nothing is closed."""
        return (lambda positions: self.inside(columns[list(positions)].tolist())) if self.closes else None

    @property
    def closes(self) -> bool:
        """Whether there is anything that it could close."""
        return bool(self.sets) or self.groups is not None

    def count(self, columns: Ints) -> int:
        """How many of some columns one set may have: all, or one of each group."""
        if self.groups is None:
            return len(columns)
        labels = [self.groups[int(column)] for column in columns]
        return len({label for label in labels if label >= 0}) + sum(label < 0 for label in labels)

    def free(self, sets: Ints) -> NDArray[np.bool_]:
        """Which rows of ``sets`` (n_sets, k) contain no listed set."""
        return np.array([not self.inside(row) for row in sets.tolist()], dtype=np.bool_)


def without_singles(candidates: NDArray[np.bool_], listed: Listed) -> NDArray[np.bool_]:
    """The columns allowed, less those that are listed sets alone."""
    left = candidates.copy()
    left[[one[0] for one in listed.sets if len(one) == 1]] = False
    return left


@dataclass(frozen=True)
class Goal:
    """What is to be proved: no set that contains none of the listed ones has F below ``lower``."""

    listed: Listed
    lower: float


def goals(result: Result, size: int, forced: tuple[int, ...] = ()) -> tuple[Goal, ...]:
    """The parts of the proof of a claim, in the order of a stored tree's.

    Listed sets are there without the forced columns.
    """
    everything = Goal(Listed(), result.lower_bound)
    if result.pool is None:
        return (everything,)
    others = frozenset(tuple(j for j in one.support if j not in forced) for one in result.pool.sets)
    rest = Goal(Listed(others), result.pool.rest)
    return (rest,) if len(listed_alone(result, size)) else (everything, rest)


def listed_alone(result: Result, size: int) -> Ints:
    """The listed sets (n_sets, size) of a pool whose sets all have ``size`` columns; else none, shape (0, size)."""
    sets = [] if result.pool is None else [one.support for one in result.pool.sets]
    whole = sets if all(len(one) == size for one in sets) else []
    return np.array(whole, dtype=np.int64).reshape(len(whole), size)


@dataclass(frozen=True)
class Sets:
    """The sets of a claim: at most ``size`` candidates, all of the forced columns, and nothing that is closed."""

    size: int
    candidates: NDArray[np.bool_]
    forced: tuple[int, ...]
    closed: Listed

    def allow(self, support: tuple[int, ...]) -> bool:
        """Whether a set is one of the claim."""
        whole = len(support) <= self.size and set(self.forced) <= set(support)
        return bool(whole and self.candidates[list(support)].all() and not self.closed.inside(support))


def groups_of(labels: NDArray[np.int32] | None, stated: str | None, found: str | None) -> tuple[int, ...] | None:
    """The groups that a certificate holds, which must be those of the claim; None where it claims none."""
    if labels is None:
        return None
    require(found == stated, f"the groups are not the claim's: their digest is {str(found)[:16]}...")
    require((labels >= -1).all(), "a column has a group below -1, which stands for none")
    return tuple(labels.tolist())


def check_pool(pool: Pool, coef: Floats, sets: Sets, evaluate: Evaluate, limits: Limits) -> None:
    """The listed sets are sets of the claim, none contains another, and each reaches its upper bound."""
    seen, at = Listed(), 0
    candidates, closed, needed = sets.candidates, sets.closed, sets.size - len(sets.forced)
    used = np.zeros(len(candidates), dtype=np.bool_)
    for one in sorted(pool.sets, key=lambda one: len(one.support)):
        usable = sets.allow(one.support)
        require(usable, f"the set {list(one.support)} of the pool is not among the sets of the claim")
        used[list(one.support)] = True
    for length in sorted({len(one.support) for one in pool.sets}):
        same = [one.support for one in pool.sets if len(one.support) == length]
        require(len(set(same)) == len(same), "a set stands twice in the pool")
        for support in same:
            limits.check()
            require(not seen.inside(support), f"the set {list(support)} of the pool contains another one of it")
        seen = Listed(seen.sets | set(same))
    outside = closed.count(np.flatnonzero(candidates & ~used))
    require(outside >= needed, f"only {outside} columns stand in no set of the pool, and {needed} are needed")
    for one in pool.sets:
        limits.check()
        value, error = evaluate(one.support, coef[at : at + len(one.support)], one.intercept)
        at += len(one.support)
        require(
            value + error <= one.upper_bound,
            f"the set {list(one.support)} reaches {value:.12g} (rounding {error:.1g}), and the pool says "
            f"{one.upper_bound:.12g}",
        )
