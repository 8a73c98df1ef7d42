"""Proof "tree": a branch-and-bound tree in preorder, whose leaves and screens carry a dual vector each.

A leaf of logistic loss with two columns missing may carry none: then every pair that completes it must have a bound of
its own (`dual_sweep.PairLeaves`). The walk is `Tree.walk` of the machine-checked proofs, rule by rule.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .bounds import Duals, derivative, duals_at, duals_of, node_bound
from .claim import Tree
from .diagonal import taken_out
from .dual_sweep import PairLeaves
from .outcome import Rejected, require
from .problem import BLOCK, Problem, U

Array = NDArray[Any]
Floats = NDArray[np.float64]
LEAF, BRANCH, SCREEN, PAIRS = 0, 1, 2, 3
KEPT = 8
"""Blocks of dual vectors that are kept: preorder uses neighbours together."""


def check_trees(
    problem: Problem,
    parts: Sequence[tuple[Problem, float]],
    proof: Tree,
    arrays: dict[str, Array],
    fast: bool = False,
) -> str:
    """Walk a tree for each part, a problem and the bound of its leaves, in preorder. Returns a sentence of counts.

    ``problem`` is that of all parts: they may leave candidates out. ``fast`` bounds pairs by compiled loops.

    The walk itself rebuilds the nodes, so the leaves cover the search space by construction: a branch has exactly two
    subtrees, and the preorder must end exactly with the last of them, where the tree of the next part begins.
    """
    n, p = problem.Z.shape
    problem.limits.work(2.0 * n * p * (proof.points + proof.duals) + 10.0 * p * proof.nodes, "the tree")
    duals = _DualVectors(problem, proof, arrays)
    nodes = enumerate(zip(arrays["tree.kind"].tolist(), arrays["tree.argument"].tolist()))
    leaves = pairs = 0
    for of_part, lower in parts:
        more_leaves, more_pairs = _walk(of_part, lower, proof, arrays, duals, nodes, fast)
        leaves, pairs = leaves + more_leaves, pairs + more_pairs
    end = next(nodes, None)
    require(end is None, f"the tree is complete after {end and end[0]} nodes, and {proof.nodes} are stored")
    by_pairs = f", {pairs} sets bounded as pairs after a prefix" if pairs else ""
    taken = ", a diagonal taken out of the curvature" if proof.diagonal else ""
    return f"tree: {leaves} leaves, {duals.count} dual vectors{by_pairs}{taken}"


def _walk(
    problem: Problem,
    lower: float,
    proof: Tree,
    arrays: dict[str, Array],
    duals: _DualVectors,
    nodes: Iterator[tuple[int, tuple[int, int]]],
    fast: bool,
) -> tuple[int, int]:
    """One tree: every leaf's node bound reaches ``lower``. Returns the numbers of leaves, and of sets bounded as pairs.

    A leaf is closed as well if all sets of its node contain a listed one.
    """
    pair_leaves, pairs, leaves = None, 0, 0
    stack: list[tuple[list[int], NDArray[np.bool_]]] = [problem.root]
    for position, (what, index) in nodes:
        problem.limits.check()
        inside, free = stack.pop()
        if what == BRANCH:
            stack.extend(_children(inside, free, index, problem.size))
        elif what == PAIRS:
            require(index == -1, f"node {position} is a pair leaf with the argument {index}, and must have -1")
            if pair_leaves is None:
                pair_leaves = PairLeaves(problem, proof.box, arrays, fast)
            pairs += pair_leaves.check(inside, np.flatnonzero(free), lower)
        elif what == SCREEN:
            require(index != -1, f"node {position} screens by no vector")
            stack.append((inside, free & ~_screened(problem, duals[index], inside, free, lower)))
        elif what == LEAF:
            leaves += 1
            if not (problem.listed.closes and problem.listed.inside(_common(inside, free, problem.size))):
                bound, _ = node_bound(problem, *duals[index], inside, np.flatnonzero(free))
                sentence = f"leaf {leaves} (node {position}) proves {bound:.12g}, and the claim is {lower:.12g}"
                require(bound >= lower, sentence)
        else:
            raise Rejected(f"node {position} has the unknown kind {what}")
        if not stack:
            break
    require(not stack, f"the tree is incomplete: {len(stack)} subtrees are missing after {proof.nodes} nodes")
    return leaves, pairs


def _common(inside: list[int], free: NDArray[np.bool_], size: int) -> list[int]:
    """Columns of every set of ``size`` columns of a node."""
    return [*inside, *np.flatnonzero(free).tolist()] if int(free.sum()) == size - len(inside) else inside


def _children(
    inside: list[int], free: NDArray[np.bool_], index: int, size: int
) -> list[tuple[list[int], NDArray[np.bool_]]]:
    """Without the column, and with it where there is room: the latter is walked first."""
    require(0 <= index < len(free) and index not in inside, f"a branch on column {index}, which is not free")
    without = free.copy()
    without[index] = False
    children = [(inside, without)]
    if len(inside) < size:
        children.append(([*inside, index], without))
    return children


def _screened(
    problem: Problem, dual: tuple[float, Floats], inside: list[int], free: NDArray[np.bool_], lower: float
) -> NDArray[np.bool_]:
    """The columns whose node bound reaches ``lower`` once they are forced inside, rounded down.

    Forcing a column that is counted changes nothing, so the fewer columns are free, the more are screened: what a
    larger lower bound screened, a smaller one screens too, whatever it had screened before.
    """
    value, discount = dual
    if not 1 <= problem.size - len(inside) <= int(free.sum()):
        return np.zeros_like(free)
    bound, counted = node_bound(problem, value, discount, inside, np.flatnonzero(free))
    slack = 8 * U * (abs(value) + abs(bound)) if math.isfinite(bound) else 0.0
    forced = bound + np.maximum(counted - discount, 0.0) * (1 - 4 * U) - slack
    return np.asarray(forced >= lower)


class _DualVectors:
    """Value and discounts of the dual vectors of a tree by number: first the points, then the vectors stored as such.

    A block is evaluated as a whole when it is first met; what is asked for again later is evaluated alone. So no order
    of the nodes takes more than one evaluation a node and one a vector. Number -1 is no vector: it bounds nothing.
    Where there is a diagonal, points bound by it; their columns are candidates then.
    """

    def __init__(self, problem: Problem, proof: Tree, arrays: dict[str, Array]) -> None:
        self.problem, self.arrays = problem, arrays
        self.points, self.count = proof.points, proof.points + proof.duals
        start, columns, p = arrays["points.start"], arrays["points.columns"], problem.Z.shape[1]
        sizes = np.diff(start)
        rises = start[0] == 0 and start[-1] == proof.entries and (sizes >= 0).all() and (sizes <= p).all()
        require(rises, "the points do not follow each other, or have more entries than there are columns")
        require(((columns >= 0) & (columns < p)).all(), "a point has a column that is not there")
        problem.limits.room((KEPT + 4.0) * BLOCK * (p + problem.Z.shape[0]), "the dual vectors of the tree")
        self.taken: Floats | None = None
        if proof.diagonal:
            require(problem.candidates[columns].all(), "a point has a column that is no candidate")
            self.taken = taken_out(problem, arrays["tree.diagonal"])
        self.blocks: dict[int, Duals] = {}
        self.met: set[int] = set()

    def __getitem__(self, index: int) -> tuple[float, Floats]:
        if index == -1:
            return -math.inf, np.zeros(self.problem.Z.shape[1])
        require(0 <= index < self.count, f"the dual vector {index} is missing: {self.count} are stored")
        number, place = divmod(index, BLOCK)
        if number in self.blocks:
            block = self.blocks[number]
        elif number in self.met:
            block, place = self._evaluated(index, index + 1), 0
        else:
            if len(self.blocks) >= KEPT:
                del self.blocks[next(iter(self.blocks))]
            block = self.blocks[number] = self._evaluated(number * BLOCK, min(self.count, (number + 1) * BLOCK))
            self.met.add(number)
        return float(block.value[place]), block.discount[place]

    def _evaluated(self, begin: int, end: int) -> Duals:
        first = begin if self.taken is None else min(max(begin, self.points), end)
        vectors = [self._vector(i) for i in range(begin, end)]
        stored = duals_of(self.problem, self._rows(vectors[first - begin :]))
        if self.taken is None or first == begin:
            return stored
        p = self.problem.Z.shape[1]
        b, spread = np.zeros((first - begin, p)), np.zeros(first - begin)
        for at in range(first - begin):
            columns, coef, intercept = self._point(begin + at)
            np.add.at(b[at], columns, coef)
            spread[at] = np.abs(coef).sum() + abs(intercept)
        points = duals_at(self.problem, self.taken, self._rows(vectors[: first - begin]), b, spread)
        return Duals(np.concatenate([points.value, stored.value]), np.concatenate([points.discount, stored.discount]))

    def _rows(self, vectors: list[Floats]) -> Floats:
        return np.array(vectors).reshape(len(vectors), len(self.problem.y))

    def _point(self, index: int) -> tuple[Array, Floats, float]:
        part = slice(self.arrays["points.start"][index], self.arrays["points.start"][index + 1])
        intercept = float(self.arrays["points.intercept"][index])
        return self.arrays["points.columns"][part], self.arrays["points.coef"][part], intercept

    def _vector(self, index: int) -> Floats:
        """Any vector may serve: the bound is taken where it ends once made feasible, so rounding here is harmless.

        With a diagonal a point stands for its own predictions, and rounding is counted (`diagonal.duals_at`).
        """
        if index >= self.points:
            return np.asarray(self.arrays["duals"][index - self.points])
        columns, coef, intercept = self._point(index)
        return derivative(self.problem.loss, self.problem.y, self.problem.Z[:, columns] @ coef + intercept)
