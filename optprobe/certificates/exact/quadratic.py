"""F of the squared loss from second moments, set by set, by elimination in balls.

With v0, c and A, the variance of the target, its covariances with the columns and those among the columns,

    F(S) = (v0 - c_S' (A_SS + ridge I)^-1 c_S) / 2.

Eliminating a column i of S leaves the same form in the others: ``c_j - u_j c_i / s_i`` and ``s_j - u_j^2 / s_i``, with
s the diagonal and u the row of i. So for the last column of a set only ``r_j^2 <= 2 (F - lower bound) s_j`` is left to
decide, where F is that of the others, r and s are what is left of c and the diagonal, and ``s_j > 0``.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from math import comb
from typing import Protocol

from flint import arb

from optprobe.certificates.exact.balls import Balls, show
from optprobe.certificates.exact.pool import Part
from optprobe.certificates.exact.verdict import Clock, Rejected


class Quadratic(Protocol):
    """Second moments of m columns, which are known by their places 0 .. m - 1."""

    places: list[int]
    """The column at each place."""
    v0: arb
    c: Balls
    diagonal: Balls
    """Of A, with the ridge."""
    semidefinite: bool
    """Whether A is known to be positive semidefinite as real numbers, whatever the balls hold."""
    ridge: arb

    def row(self, i: int) -> Balls:
        """The row i of A from the diagonal on: the entries of the places above i."""

    def values(self, places: Sequence[int]) -> list[arb]:
        """F of one set, by more bits than before if that helps, the best last."""

    def name(self, places: Sequence[int]) -> list[int]:
        """The columns at these places."""


@dataclass(frozen=True, eq=False)
class State:
    """What is left once the columns at ``inside`` are eliminated, for the places from ``start`` on.

    Attributes
    ----------
    value : arb
        F of ``inside``.
    r, s : lists of arb
        Covariances with the target, and the diagonal.
    rows : list of (list of arb, arb)
        Row and pivot of each eliminated column.
    """

    inside: tuple[int, ...]
    start: int
    value: arb
    r: Balls
    s: Balls
    rows: list[tuple[Balls, arb]]


def value_of(v0: arb, c: Balls, A: list[Balls]) -> arb:
    """``(v0 - c' A^-1 c) / 2`` by elimination; not a number, unless every pivot is certainly positive."""
    c, A, value = list(c), [list(own) for own in A], v0 / 2
    for i in range(len(c)):
        if not A[i][i] > 0:
            return arb("nan")
        value -= c[i] * c[i] / (2 * A[i][i])
        for j in range(i + 1, len(c)):
            factor = A[i][j] / A[i][i]
            c[j] -= factor * c[i]
            for t in range(j, len(c)):
                A[j][t] -= factor * A[i][t]
    return value


class SquaredSweep:
    """Proves that every set of ``size`` columns has F at least the lower bound, or contains a listed one.

    Of sets that all have the first ``fixed`` places.

    Attributes
    ----------
    proved : int
        The number of sets of which that is proved.
    """

    def __init__(self, quadratic: Quadratic, size: int, part: Part, clock: Clock, fixed: int = 0) -> None:
        self.quadratic, self.size, self.listed, self.clock = quadratic, size, part.listed, clock
        self.lower, self.proved, self.fixed = arb(part.lower), 0, fixed
        self.of = comb(len(quadratic.c) - fixed, size - fixed)

    @property
    def counts(self) -> dict[str, int]:
        """What was done, for the verdict."""
        return {"sets": self.proved}

    def progress(self) -> str:
        """How far the sweep has come."""
        return f"{self.proved:,} of {self.of:,} sets proved; none refuted"

    def all_sets(self) -> None:
        """Prove it, or raise `Rejected` or `Undecided`."""
        q = self.quadratic
        if self.size == self.fixed:
            self._insist(tuple(range(self.fixed)))
            self.proved += 1
            return
        state = State((), 0, q.v0 / 2, q.c, q.diagonal, [])
        for _ in range(self.fixed):
            state = self._eliminated(state, 0)
        self._node(state)

    def these(self, sets: list[list[int]]) -> None:
        """Prove it of sets of columns."""
        place = {j: i for i, j in enumerate(self.quadratic.places)}
        for columns in sets:
            self._insist(tuple(place[j] for j in columns))

    def _node(self, state: State) -> None:
        """Prove it of all sets of ``inside`` and ``need`` places from ``start`` on."""
        need = self.size - len(state.inside)
        if self.listed.within(self.quadratic.name(state.inside)):
            self.proved += comb(len(state.r), need)
            return
        room = 2 * (state.value - self.lower)
        if need == 1:
            self._last(state, room)
            return
        if self.quadratic.semidefinite and self._closed(state, room, need):
            self.proved += comb(len(state.r), need)
            return
        for at in range(len(state.r) - need + 1):
            self.clock.check(self.progress)
            self._node(self._eliminated(state, at))

    def _closed(self, state: State, room: arb, need: int) -> bool:
        """Whether the vector of the residual proves it of the whole node: its discounts are ``r_j^2 / (2 ridge)``."""
        room = room * self.quadratic.ridge / need
        return all(r * r <= room for r in state.r)

    def _last(self, state: State, room: arb) -> None:
        for at, (r, s) in enumerate(zip(state.r, state.s)):
            if not (r * r <= room * s and s > 0):
                self._insist((*state.inside, state.start + at))
        self.proved += len(state.r)

    def _eliminated(self, state: State, at: int) -> State:
        """The state with the column ``at`` (counted from ``start``) eliminated as well."""
        i, pivot = state.start + at, state.s[at]
        if not pivot > 0:
            return self._unknown(state, at)
        u = self.quadratic.row(i)
        rows = []
        for old, its_pivot in state.rows:
            factor, old = old[at] / its_pivot, old[at + 1 :]
            u = [x - factor * y for x, y in zip(u, old)]
            rows.append((old, its_pivot))
        share, inverse = state.r[at] / pivot, 1 / pivot
        r = [x - share * y for x, y in zip(state.r[at + 1 :], u)]
        s = [x - y * y * inverse for x, y in zip(state.s[at + 1 :], u)]
        value = state.value - state.r[at] * share / 2
        return State((*state.inside, i), i + 1, value, r, s, [*rows, (u, pivot)])

    def _unknown(self, state: State, at: int) -> State:
        """A state that decides nothing: every set of it is left to more bits."""
        i, nothing = state.start + at, arb("nan")
        left = [nothing] * (len(state.r) - at - 1)
        rows = [(old[at + 1 :], pivot) for old, pivot in state.rows]
        return State((*state.inside, i), i + 1, nothing, left, left, [*rows, (left, nothing)])

    def _insist(self, places: tuple[int, ...]) -> None:
        """Prove it of one set, by more bits unless it contains a listed one, or raise `Rejected`."""
        self.clock.check(self.progress)
        if self.listed.within(self.quadratic.name(places)):
            return
        values = self.quadratic.values(places)
        if any(value >= self.lower for value in values):
            return
        columns, claimed = sorted(self.quadratic.name(places)), show(self.lower)
        for value in values:
            if value < self.lower:
                raise Rejected(f"The set {columns} has F = {show(value)}, below the claimed lower bound {claimed}.")
        raise Rejected(
            f"The lower bound {claimed} could not be proved of the set {columns}: its F is about {show(values[-1])}."
        )
