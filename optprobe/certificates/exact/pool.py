"""Pools: sets that are listed, and what is left to prove of the sets that contain none of them.

Call a set *new* if it contains no listed one. Every new set has F at least ``rest`` if every new set of exactly
``size`` columns has. For let T be new and smaller, and let at least ``size`` candidates stand in no listed set: at most
|T| of those are in T, so T can be filled up to ``size`` columns with others of them. A listed set within the result has
none of the columns added, so it would lie within T: the result is new as well, and its F is at most F(T).

If all listed sets have ``size`` columns, then a set of that size is new or is listed itself, so the lower bound of all
sets follows from ``rest`` and from a bound for each listed set. Else the lower bound is a part of its own, the first.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from optprobe.certificates.exact.verdict import Clock, Rejected

END = -1
"""Where a path ends, in place of a column."""


class Listed:
    """Sets of columns, kept as paths of rising columns from one root, and which other sets contain one of them."""

    def __init__(self, sets: Iterable[Sequence[int]] = ()) -> None:
        self._root: dict[int, Any] = {}
        for columns in sets:
            self.add(columns)

    def add(self, columns: Sequence[int]) -> None:
        """List one more set."""
        at = self._root
        for j in sorted(columns):
            at = at.setdefault(j, {})
        at[END] = {}

    def within(self, columns: Sequence[int]) -> bool:
        """Whether a listed set is a part of these columns, or all of them."""
        ordered = sorted(columns)
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


def parts(result: dict[str, Any], candidates: list[int], size: int) -> list[Part]:
    """What is to be proved of all sets, in the order of a stored tree's parts."""
    whole, sets = Part(result["lower_bound"], candidates), supports(result)
    if not sets:
        return [whole]
    alone = {columns[0] for columns in sets if len(columns) == 1}
    rest = Part(result["pool"]["rest"], [j for j in candidates if j not in alone], Listed(sets))
    return [rest] if full(result, size) else [whole, rest]


def check_listed(sets: list[list[int]], candidates: list[int], size: int, clock: Clock) -> None:
    """The listed sets are sets of the claim, none contains another, and ``size`` candidates stand in none of them."""
    seen, left = Listed(), set(candidates)
    for at, columns in enumerate(sorted(sets, key=len)):
        clock.check(lambda: f"{at:,} of {len(sets):,} listed sets compared; none refuted")  # noqa: B023
        outside = sorted(set(columns).difference(candidates))
        if outside:
            raise Rejected(f"The pool has the set {columns}, and no set of the claim has the column {outside[0]}.")
        if seen.within(columns):
            raise Rejected(f"The set {columns} of the pool stands in it twice, or contains another one of it.")
        seen.add(columns)
        left.difference_update(columns)
    if sets and not len(left) >= size:
        raise Rejected(f"Only {len(left)} candidates stand in no set of the pool, and {size} are needed.")
