"""A stored tree covers all sets by leaves whose bounds reach the lower bound: section 6 of docs/certificates.md.

Of a claim whose proof has two parts, two trees are stored one after the other. A leaf needs no bound if every set of
its node contains a listed one.
"""

from __future__ import annotations

from collections import OrderedDict

import numpy as np
from flint import arb

from optprobe.certificates.exact.balls import show
from optprobe.certificates.exact.diagonal import bounds_at, taken_out
from optprobe.certificates.exact.duality import Bound, Duality
from optprobe.certificates.exact.fits import derivative
from optprobe.certificates.exact.nodes import node_bound, reaches, screened
from optprobe.certificates.exact.pool import Part
from optprobe.certificates.exact.sweep import Sweep
from optprobe.certificates.exact.verdict import Clock, Rejected

LEAF, BRANCH, SCREEN, PAIRS = range(4)
VECTORS_AT_A_TIME = 64
KEPT_DISCOUNTS = 50_000_000
"""Discounts that are kept, 8 bytes each; others are made anew."""

Arrays = dict[str, np.ndarray]
Inside = tuple[int, ...]


class Vectors:
    """The bounds of a tree's vectors by their numbers, made in blocks when they are first asked for.

    Where a diagonal is ``taken`` out of the curvature, points bound by it.
    """

    def __init__(self, duality: Duality, arrays: Arrays) -> None:
        self.duality, self.arrays = duality, arrays
        self.taken: np.ndarray | None = None
        self.points, self.used = len(arrays["points.intercept"]), 0
        self._blocks: OrderedDict[int, list[Bound]] = OrderedDict()
        self._check()

    def __len__(self) -> int:
        return self.points + len(self.arrays["duals"])

    def __getitem__(self, number: int) -> Bound:
        block = number // VECTORS_AT_A_TIME
        if block not in self._blocks:
            first = block * VECTORS_AT_A_TIME
            numbers = range(first, min(len(self), first + VECTORS_AT_A_TIME))
            self._blocks[block] = self._bounds(numbers)
            self.used += len(numbers)
            if len(self._blocks) * VECTORS_AT_A_TIME * self.duality.problem.Z.shape[1] > KEPT_DISCOUNTS:
                self._blocks.popitem(last=False)
        return self._blocks[block][number % VECTORS_AT_A_TIME]

    def _bounds(self, numbers: range) -> list[Bound]:
        if self.taken is None:
            return self.duality.bounds([self._hint(each) for each in numbers])
        points = [self._point(each) for each in numbers if each < self.points]
        stored = self.duality.bounds([self._hint(each) for each in numbers if each >= self.points])
        return [*bounds_at(self.duality, self.taken, points), *stored]

    def _point(self, number: int) -> tuple[np.ndarray, np.ndarray]:
        begin, end = (int(self.arrays["points.start"][number + i]) for i in (0, 1))
        return self.arrays["points.columns"][begin:end], self.arrays["points.coef"][begin:end]

    def _hint(self, number: int) -> np.ndarray:
        """The vector as it is stored, or as its point gives it."""
        if number >= self.points:
            return np.asarray(self.arrays["duals"][number - self.points])
        columns, coef = self._point(number)
        with np.errstate(all="ignore"):
            f = self.duality.problem.Z[:, columns] @ coef + self.arrays["points.intercept"][number]
        return derivative(self.duality.problem.loss, self.duality.problem.y, f)

    def _check(self) -> None:
        start, columns = self.arrays["points.start"], self.arrays["points.columns"]
        p = self.duality.problem.Z.shape[1]
        if start[0] != 0 or start[-1] != len(columns) or (start[1:] < start[:-1]).any():
            raise Rejected("The starts of the points do not divide their entries.")
        if (np.diff(start) > p).any():
            raise Rejected("A point has more entries than there are neurons.")
        if len(columns) and not (columns.min() >= 0 and columns.max() < p):
            raise Rejected("A point has a column that does not exist.")


class Tree:
    """The check of the trees of all parts, entry by entry.

    Attributes
    ----------
    stack : list
        The nodes of the part at hand that are still to be closed: (inside, free), the free columns in order.
    """

    def __init__(self, duality: Duality, arrays: Arrays, box: float | None, parts: list[Part], clock: Clock) -> None:
        self.duality, self.problem, self.clock, self.box = duality, duality.problem, clock, box
        self.kinds, self.arguments = arrays["tree.kind"], arrays["tree.argument"]
        self.parts, self.at = parts, 0
        self.vectors = Vectors(duality, arrays)
        if "tree.diagonal" in arrays:
            candidates = self.problem.candidates
            if not np.isin(arrays["points.columns"], candidates).all():
                raise Rejected("A point has a column that no set of the claim has.")
            self.vectors.taken = taken_out(duality, candidates, arrays["tree.diagonal"], clock, self.progress)

    def progress(self) -> str:
        """How far the check has come."""
        return f"{self.at:,} of {len(self.kinds):,} entries of the tree checked; none refuted"

    def check(self) -> None:
        """Close every node of every part, or raise `Rejected` or `Undecided`."""
        for part in self.parts:
            self._check_part(part)
        if self.at != len(self.kinds):
            raise self._refuse("has no node left to work on")

    def _check_part(self, part: Part) -> None:
        self.lower, self.listed = arb(part.lower), part.listed
        self.sweep = Sweep(self.duality, part, self.clock, self.progress)
        inside = tuple(self.problem.forced)
        free = np.array([j for j in part.candidates if j not in inside], dtype=np.int64)
        self.stack: list[tuple[Inside, np.ndarray]] = [(inside, free)]
        steps = {LEAF: self._leaf, BRANCH: self._branch, SCREEN: self._screen, PAIRS: self._pairs}
        while self.stack:
            self.clock.check(self.progress)
            if self.at == len(self.kinds):
                raise Rejected(f"The tree ends with {len(self.stack):,} open node(s).")
            kind, argument = int(self.kinds[self.at]), int(self.arguments[self.at])
            if kind not in steps:
                raise self._refuse("is of no kind of the format")
            inside, free = self.stack.pop()
            steps[kind](argument, inside, free)
            self.at += 1

    def _refuse(self, what: str) -> Rejected:
        return Rejected(f"Entry {self.at:,} of the tree {what}.")

    def _vector(self, argument: int) -> Bound:
        if not 0 <= argument < len(self.vectors):
            raise self._refuse("names a vector that does not exist")
        return self.vectors[argument]

    def _leaf(self, argument: int, inside: Inside, free: np.ndarray) -> None:
        need = self.problem.size - len(inside)
        if self.listed.within(inside) or (len(free) == need and self.listed.within([*inside, *free.tolist()])):
            return
        if argument == -1:
            if len(free) >= need:
                raise self._refuse("is a leaf without a vector, but its node has sets")
            return
        bound = self._vector(argument)
        if not reaches(bound, inside, free, need, self.lower):
            value = node_bound(bound, inside, free, need)
            assert value is not None
            raise self._refuse(
                f"is a leaf whose bound {show(value)} does not certainly reach the lower bound {show(self.lower)}"
            )

    def _branch(self, argument: int, inside: Inside, free: np.ndarray) -> None:
        if not 0 <= argument < self.problem.Z.shape[1] or argument in inside:
            raise self._refuse("branches on a column that does not exist or is inside")
        rest = free[free != argument]
        self.stack.append((inside, rest))
        if len(inside) < self.problem.size:
            self.stack.append(((*inside, argument), rest))

    def _screen(self, argument: int, inside: Inside, free: np.ndarray) -> None:
        need = self.problem.size - len(inside)
        self.stack.append((inside, screened(self._vector(argument), inside, free, need, self.lower)))

    def _pairs(self, argument: int, inside: Inside, free: np.ndarray) -> None:
        need = self.problem.size - len(inside)
        if self.problem.loss != "logistic" or self.box is None or need != 2 or argument != -1:
            raise self._refuse("is a pair leaf where there can be none")
        self.sweep.node(inside, free)
