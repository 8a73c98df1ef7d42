"""What a check ends with: a verdict, and with it what was proved, in full."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from .claim import Author, Pool
from .text import shown

EXIT_CODES = {"accepted": 0, "rejected": 1, "undecided": 3}
"""2 is for input that cannot be used."""
SHOWN = 10
"""Sets of a pool, and columns that are not allowed, that are printed."""


@dataclass(frozen=True)
class Statement:
    """What was proved, from the checker's own numbers.

    Attributes
    ----------
    data : mapping
        Kind, digests, n_rows, n_neurons, and ``constant``: the number of columns left out; where y is a target
        ``target``, true: bounds are then in units of its variance. Of moments also ``error``, ``target_mean``,
        ``target_variance`` and ``made``, as they state them.
    loss, ridge, class_weight, k, among
        The problem; ``among`` is the number of columns allowed, or None for all.
    support : tuple of int
    objective : float
        The objective at the stored coefficients, as the checker computes it.
    upper_bound, lower_bound, tolerance : float
        ``F(support) <= upper_bound``, and no set has F below ``lower_bound``.
    proof : str
        How the lower bound was proved, with counts.
    pool : Pool or None
        Further sets with their upper bounds, and the bound of every set that contains none of them.
    size : int
        Columns of the largest sets there are: k, or fewer where fewer columns are allowed.
    groups : int or None
        The number of groups of which a set has at most one column each, or None.
    without : tuple of int
        The columns that are not allowed, where they are a few.
    forced : tuple of int
        The columns that every set has.
    source : mapping
        What a store's manifest says of the rows, and the author said alike.
    """

    data: Mapping[str, Any]
    loss: str
    ridge: float
    class_weight: str
    k: int
    among: int | None
    support: tuple[int, ...]
    objective: float
    upper_bound: float
    lower_bound: float
    tolerance: float
    proof: str
    pool: Pool | None = None
    size: int = 0
    groups: int | None = None
    without: tuple[int, ...] = ()
    forced: tuple[int, ...] = ()
    source: Mapping[str, Any] = field(default_factory=dict)

    @property
    def optimal(self) -> bool:
        """Whether no set is better by more than the tolerance."""
        return self.upper_bound - self.lower_bound <= self.tolerance

    @property
    def margin(self) -> float | None:
        """By how much every other set is worse at least, where the pool is one set of the largest size."""
        if self.pool is None or [len(one.support) for one in self.pool.sets] != [self.size]:
            return None
        return self.pool.rest - self.pool.sets[0].upper_bound

    @property
    def sentence(self) -> str:
        """All bounds in one sentence."""
        columns = f"the {self.data['n_neurons']:,} columns" if self.among is None else f"{self.among:,} columns"
        columns += self._without + self._conditions + ("," if self._conditions else "")
        return (
            f"the set {list(self.support)} reaches {self.objective:.9g}, and no set of {self.k} of {columns} is below "
            f"{self.lower_bound:.9g}{self._of_pool}{self._unit}"
        )

    @property
    def _unit(self) -> str:
        return ", in units of the target's variance" if self.data.get("target") else ""

    @property
    def _without(self) -> str:
        return f" (all but {', '.join(map(str, self.without))})" if self.without else ""

    @property
    def _conditions(self) -> str:
        groups = "the one group" if self.groups == 1 else f"each of {self.groups or 0:,} groups"
        grouped = "" if self.groups is None else f", at most one of {groups}"
        return grouped + (f", with {', '.join(map(str, self.forced))} in every set" if self.forced else "")

    @property
    def _of_pool(self) -> str:
        if self.pool is None:
            return ""
        n = len(self.pool.sets)
        if self.pool.sets[0].support == self.forced:
            what = "set of the forced columns" if self.forced else "empty set"
            return f"; the {what} is listed, and every set contains it"
        others = f"without the set {list(self.pool.sets[0].support)} in it"
        others = others if n == 1 else f"that contains none of {n:,} listed sets"
        return f"; no set {others} is below {self.pool.rest:.9g}"

    def rows(self) -> Iterator[tuple[str, str]]:
        """Name and text of each part."""
        data, gap = self.data, self.upper_bound - self.lower_bound
        what = "the moments of " if data["kind"] == "moments" else ""
        yield "data", f"{what}{data['n_rows']:,} rows x {data['n_neurons']:,} columns"
        yield "left out", f"{data['constant']:,} of {data['n_neurons']:,} columns are constant"
        for name in ("X", "y", "weights", "moments"):
            if data.get(name):
                yield f"sha256 of {name}", data[name] + (" (a target)" if name == "y" and data.get("target") else "")
        if data["kind"] == "moments":
            yield (
                "as stated",
                f"error {data['error']:.3g}, target mean {data['target_mean']:.9g}, variance "
                + (f"{data['target_variance']:.9g}, made {_listed(data['made'])}"),
            )
        rows = "equal" if not data.get("weights") else "given"
        own = "" if data["kind"] == "moments" else f", {rows} row weights"
        yield "problem", f"{self.loss} loss, ridge {self.ridge:g}, class weights {self.class_weight}{own}{self._unit}"
        columns = "all columns" if self.among is None else f"{self.among:,} columns{self._without}"
        columns += self._conditions
        yield "sets", f"at most {self.k} of {columns}"
        yield "the set", f"{list(self.support)}: F is at most {self.upper_bound:.12g}"
        yield "all others", f"F is at least {self.lower_bound:.12g} ({self.proof})"
        if "basis" not in self.source and (runs := _runs(self.source.get("layers"))):
            yield "by layers", ", ".join(f"{j} is {_name(runs, j)}" for j in self.support) or "none"
        if self.pool is not None:
            for one in self.pool.sets[:SHOWN]:
                yield "listed set", f"{list(one.support)}: F is at most {one.upper_bound:.12g}"
            if len(self.pool.sets) > SHOWN:
                yield "listed sets", f"and {len(self.pool.sets) - SHOWN:,} more"
            yield "the rest", f"F of a set that contains no listed one is at least {self.pool.rest:.12g}"
        if self.margin is not None and self.margin > 0:
            yield "margin", f"every other set is worse by at least {self.margin:.3g}: the optimum is unique"
        said = "optimal" if self.optimal else "not shown to be optimal"
        yield "gap", f"{gap:.3g}, tolerance {self.tolerance:g}: {said}"
        for name, value in self.source.items():
            yield name, f"{_listed(value)} (as in the store's manifest)"

    def as_json(self) -> dict[str, Any]:
        """JSON values."""
        apart = ("data", "source", "support", "pool", "without", "forced")
        return {
            **{name: value for name, value in vars(self).items() if name not in apart},
            "data": dict(self.data),
            "source": dict(self.source),
            "support": list(self.support),
            "without": list(self.without),
            "forced": list(self.forced),
            "optimal": self.optimal,
            "pool": None if self.pool is None else self.pool.as_json(),
            "margin": self.margin,
        }


@dataclass(frozen=True)
class Verdict:
    """Accepted, rejected, or undecided within the limits; the sentence that says why; and what was proved.

    Attributes
    ----------
    outcome : {"accepted", "rejected", "undecided"}
    reason : str
    statement : Statement or None
        What was proved, where the certificate was accepted.
    author : Author or None
        What the author says and nobody checked, where the claim could be read.
    """

    outcome: str
    reason: str
    statement: Statement | None = None
    author: Author | None = None

    @property
    def accepted(self) -> bool:
        """Whether both bounds were proved."""
        return self.outcome == "accepted"

    @property
    def exit_code(self) -> int:
        """0 accepted, 1 rejected, 3 undecided."""
        return EXIT_CODES[self.outcome]

    def __str__(self) -> str:
        """The verdict with everything that was proved, then what was not checked."""
        lines = [f"{self.outcome}: {self.reason}"]
        if self.statement is not None:
            lines += ["proved", *(f"  {name:<16}{text}" for name, text in self.statement.rows())]
        if self.statement is not None and self.author is not None:
            lines += ["said by the author, not checked", *(f"  {n:<16}{t}" for n, t in self._unchecked())]
        return "\n".join(map(shown, lines))

    def _unchecked(self) -> Iterator[tuple[str, str]]:
        assert self.author is not None
        assert self.statement is not None
        yield "engine", f"{self.author.engine} (regime {self.author.regime})"
        said = {name: value for name, value in self.author.scope.items() if name not in self.statement.source}
        yield "scope", _listed(said) if said else "nothing"
        yield "versions", _listed(self.author.versions)

    def as_json(self) -> dict[str, Any]:
        """JSON values: accepted, outcome, reason, and ``proved`` and ``unchecked`` where there are such."""
        record: dict[str, Any] = {"accepted": self.accepted, "outcome": self.outcome, "reason": shown(self.reason)}
        if self.statement is not None:
            record["proved"] = self.statement.as_json()
        if self.author is not None:
            record["unchecked"] = self.author.as_json()
        return record


def _runs(stated: Any) -> list[tuple[int, int, int]]:
    """First layer, last layer and width of each run that is stated, the lowest first; none where it is of none."""
    found = []
    for run, width in stated.items() if isinstance(stated, Mapping) else ():
        ends = re.fullmatch(r"([0-9]{1,9})(?:-([0-9]{1,9}))?", run) if type(run) is str and type(width) is int else None
        if ends is None:
            return []
        found.append((int(ends[1]), int(ends[2] or ends[1]), width))
    return sorted(found)


def _name(runs: list[tuple[int, int, int]], column: int) -> str:
    """Layer and neuron of a column of layers that stand side by side."""
    for first, last, width in runs:
        size = (last + 1 - first) * width
        if column < size:
            return f"L{first + column // width}.N{column % width}"
        column -= size
    return "of no layer"


def _listed(value: Any) -> str:
    if isinstance(value, Mapping):
        return ", ".join(f"{name} {_listed(part)}" for name, part in value.items())
    return ", ".join(map(_listed, value)) if isinstance(value, list | tuple) else str(value)
