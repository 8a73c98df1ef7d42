"""Proof "tree": a branch-and-bound tree in preorder, whose leaves and screens carry a dual vector each.

A leaf of logistic loss with two columns missing may carry none: then every pair that completes it must have a bound of
its own (`dual_sweep.PairLeaves`).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .bounds import Duals, derivative, duals_of, node_bound
from .dual_sweep import PairLeaves
from .problem import BLOCK, Problem, U
from .verdict import Rejected

Array = NDArray[Any]
Floats = NDArray[np.float64]
LEAF, BRANCH, SCREEN, PAIRS = 0, 1, 2, 3


def check_tree(problem: Problem, arrays: dict[str, Array], lower: float) -> str:
    """Walk the tree in preorder; every leaf's node bound must reach ``lower``. Returns a sentence of counts.

    The walk itself rebuilds the nodes, so the leaves cover the search space by construction: a branch has exactly two
    subtrees, and the preorder must end exactly with the last of them.
    """
    kind, argument = arrays["tree.kind"], arrays["tree.argument"]
    if kind.shape != argument.shape or kind.ndim != 1 or not len(kind):
        raise Rejected("the tree is empty, or its arrays differ in length")
    duals = _DualReader(problem, arrays)
    pair_leaves, pairs = None, 0
    stack: list[tuple[list[int], NDArray[np.bool_]]] = [([], problem.candidates)]
    leaves = 0
    for position in range(len(kind)):
        if not stack:
            raise Rejected(f"the tree is complete after {position} nodes, and {len(kind)} are stored")
        inside, allowed = stack.pop()
        what, index = int(kind[position]), int(argument[position])
        if what == BRANCH:
            if not (0 <= index < len(allowed)) or index in inside:
                raise Rejected(f"node {position} branches on column {index}, which is not free")
            without = allowed.copy()
            without[index] = False
            stack.append((inside, without))
            if len(inside) < problem.size:
                stack.append(([*inside, index], without))
            continue
        if what == PAIRS:
            if pair_leaves is None:
                pair_leaves = PairLeaves(problem, arrays["reference"], float(arrays["reference.box"][0]))
            pairs += pair_leaves.check(inside, np.flatnonzero(allowed), lower)
            continue
        value, discount = duals[index] if index >= 0 else (-math.inf, np.zeros(len(allowed)))
        free = np.flatnonzero(allowed)
        bound, counted = node_bound(problem, value, discount, inside, free)
        if what == LEAF:
            leaves += 1
            if bound < lower:
                raise Rejected(f"leaf {leaves} (node {position}) proves {bound:.12g}, and the claim is {lower:.12g}")
        elif what == SCREEN:
            slack = 8 * U * (abs(value) + abs(bound)) if math.isfinite(bound) else 0.0
            forced = bound + (counted - discount) * (1 - 4 * U) - slack
            kept = allowed & ~((discount < counted) & (forced >= lower))
            stack.append((inside, kept))
        else:
            raise Rejected(f"node {position} has the unknown kind {what}")
    if stack:
        raise Rejected(f"the tree is incomplete: {len(stack)} subtrees are missing after {len(kind)} nodes")
    by_pairs = f", {pairs} sets bounded as pairs after a prefix" if pair_leaves else ""
    return f"{leaves} leaves, {duals.count} dual vectors{by_pairs}"


class _DualReader:
    """The dual vectors of a tree by number: first the primal points, then the vectors stored as they are."""

    def __init__(self, problem: Problem, arrays: dict[str, Array]) -> None:
        self.problem, self.arrays = problem, arrays
        self.points = len(arrays["points.intercept"])
        self.count = self.points + len(arrays["duals"])
        self.blocks: dict[int, Duals] = {}

    def __getitem__(self, index: int) -> tuple[float, Floats]:
        if not 0 <= index < self.count:
            raise Rejected(f"the dual vector {index} is missing: {self.count} are stored")
        number = index // BLOCK
        if number not in self.blocks:
            while len(self.blocks) >= 16:
                del self.blocks[next(iter(self.blocks))]
            rows = [self._vector(i) for i in range(number * BLOCK, min(self.count, (number + 1) * BLOCK))]
            self.blocks[number] = duals_of(self.problem, np.array(rows))
        block = self.blocks[number]
        return float(block.value[index % BLOCK]), block.discount[index % BLOCK]

    def _vector(self, index: int) -> Floats:
        """Any vector may serve, since the bound is taken where it ends after `_duals`; so rounding here is harmless."""
        if index >= self.points:
            return np.asarray(self.arrays["duals"][index - self.points], dtype=np.float64)
        part = slice(self.arrays["points.start"][index], self.arrays["points.start"][index + 1])
        columns, coef = self.arrays["points.columns"][part], self.arrays["points.coef"][part]
        f = self.problem.Z[:, columns] @ coef + self.arrays["points.intercept"][index]
        return derivative(self.problem.loss, self.problem.y, f)
