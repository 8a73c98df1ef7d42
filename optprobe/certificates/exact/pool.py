"""Pools: sets that are listed, and what is left to prove of the sets that contain none of them.

Call a set *new* if it contains no listed one. Every new set has F at least ``rest`` if every new set of exactly
``size`` columns has. For let T be new and smaller, and let at least ``size`` candidates stand in no listed set: at most
|T| of those are in T, so T can be filled up to ``size`` columns with others of them. A listed set within the result has
none of the columns added, so it would lie within T: the result is new as well, and its F is at most F(T).

If all listed sets have ``size`` columns, then a set of that size is new or is listed itself, so the lower bound of all
sets follows from ``rest`` and from a bound for each listed set. Else the lower bound is a part of its own, the first.

Where columns have groups, a set of the claim has at most one of each, and ``size`` is at most the number of groups of
the candidates, a column without one being a group. Then T is filled up by columns of groups that it has none of: of
``size`` groups it has at most |T|. So "candidates that stand in none" are counted by their groups, and a set that has
two columns of a group counts as one that contains a listed set: nothing is to be proved of it.

Where columns are forced, every set of the claim has them, and a candidate is of no group that one of them is of. All
listed sets have them too, so what a set must contain beside them is what is left of a listed set without them. T is
filled up by columns that are not forced; it lacks at most ``size`` less the number forced, so that many suffice.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from optprobe.certificates.exact.reading import digest_of
from optprobe.certificates.exact.verdict import Clock, Rejected

END = -1
"""Where a path ends, in place of a column."""
NO_GROUP = -1
Groups = tuple[int, ...] | None
"""The group of each column, or none at all."""


class Listed:
    """Sets of columns, kept as paths of rising columns from one root, and which other sets contain one of them.

    So does a set that has two columns of one of the ``groups``, where there are any.
    """

    def __init__(self, sets: Iterable[Sequence[int]] = (), groups: Groups = None) -> None:
        self._root: dict[int, Any] = {}
        self.groups = groups
        for columns in sets:
            self.add(columns)

    def add(self, columns: Sequence[int]) -> None:
        """List one more set."""
        at = self._root
        for j in sorted(columns):
            at = at.setdefault(j, {})
        at[END] = {}

    def within(self, columns: Sequence[int]) -> bool:
        """Whether a listed set is a part of these columns, or all of them, or two of them are of one group."""
        ordered = sorted(columns)
        if self.groups is not None:
            named = [self.groups[j] for j in ordered if self.groups[j] != NO_GROUP]
            if len(named) > len(set(named)):
                return True
        paths = [(self._root, 0)]
        while paths:
            at, begin = paths.pop()
            if END in at:
                return True
            paths.extend((at[ordered[i]], i + 1) for i in range(begin, len(ordered)) if ordered[i] in at)
        return False


@dataclass(frozen=True, eq=False)
class Part:
    """One part of what is to be proved.

    Attributes
    ----------
    lower : float
        Every set of ``size`` candidates that contains no listed one has F at least this.
    candidates : list of int
        Columns that are listed alone are none.
    """

    lower: float
    candidates: list[int]
    listed: Listed = field(default_factory=Listed)


def supports(result: dict[str, Any]) -> list[list[int]]:
    """The listed sets of a result, none where it has no pool."""
    return [one["support"] for one in result["pool"]["sets"]] if "pool" in result else []


def full(result: dict[str, Any], size: int) -> list[list[int]]:
    """The listed sets, each of which needs a bound of its own: if all have ``size`` columns; else none."""
    sets = supports(result)
    return sets if all(len(columns) == size for columns in sets) else []


def usable(columns: Iterable[int], forced: Sequence[int], groups: Groups) -> list[int]:
    """The candidates among some columns, all of them unless one is of the group of a forced one."""
    if groups is None:
        return list(columns)
    taken = {groups[j] for j in forced} - {NO_GROUP}
    return [j for j in columns if j in forced or groups[j] not in taken]


def room(columns: Iterable[int], groups: Groups) -> int:
    """How many of some columns one set may have."""
    if groups is None:
        return len(list(columns))
    named = [groups[j] for j in columns]
    return len(set(named) - {NO_GROUP}) + named.count(NO_GROUP)


def read_groups(labels: np.ndarray | None, stated: str | None) -> Groups:
    """The groups of a file, if it has any, which must be those that the claim names by digest."""
    if labels is None:
        return None
    if digest_of(labels) != stated:
        raise Rejected("The groups are not those of the claim: the digest differs.")
    if not (labels >= NO_GROUP).all():
        raise Rejected(f"A column has a group below {NO_GROUP}, which stands for none.")
    return tuple(map(int, labels))


def parts(
    result: dict[str, Any], candidates: list[int], size: int, groups: Groups, forced: Sequence[int] = ()
) -> list[Part]:
    """What is to be proved of all sets, in the order of a stored tree's parts."""
    whole, sets = Part(result["lower_bound"], candidates, Listed((), groups)), supports(result)
    if not sets:
        return [whole]
    besides = [[j for j in columns if j not in forced] for columns in sets]
    alone = {columns[0] for columns in besides if len(columns) == 1}
    rest = Part(result["pool"]["rest"], [j for j in candidates if j not in alone], Listed(besides, groups))
    return [rest] if full(result, size) else [whole, rest]


def check_listed(sets: list[list[int]], candidates: list[int], needed: int, groups: Groups, clock: Clock) -> None:
    """The listed sets are sets of the claim, none contains another, and ``needed`` candidates stand in none of them."""
    seen, left, grouped = Listed(), set(candidates), Listed((), groups)
    for at, columns in enumerate(sorted(sets, key=len)):
        clock.check(lambda: f"{at:,} of {len(sets):,} listed sets compared; none refuted")  # noqa: B023
        outside = sorted(set(columns).difference(candidates))
        if outside:
            raise Rejected(f"The pool has the set {columns}, and no set of the claim has the column {outside[0]}.")
        if grouped.within(columns):
            raise Rejected(f"The set {columns} of the pool has two columns of one group.")
        if seen.within(columns):
            raise Rejected(f"The set {columns} of the pool stands in it twice, or contains another one of it.")
        seen.add(columns)
        left.difference_update(columns)
    if sets and not room(left, groups) >= needed:
        raise Rejected(f"Only {room(left, groups)} candidates stand in no set of the pool, and {needed} are needed.")
