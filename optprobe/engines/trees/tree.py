"""The branch-and-bound tree while it grows, and its preorder form, which is the proof."""

from __future__ import annotations

from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from optprobe.engines.bounds.relaxation import Point
from optprobe.engines.outcome import Reference, TreeProof

Ints = NDArray[np.int64]
LEAF, BRANCH, SCREEN, PAIRS = 0, 1, 2, 3
EMPTY: Ints = np.zeros(0, dtype=np.int64)


@dataclass(eq=False)
class Node:
    """All supports that contain ``inside`` and otherwise use ``free`` (positions among the live columns).

    ``bound`` holds for the whole node by ``point`` alone (None where free is too small to fill a support). A node
    without children is a leaf; ``screens`` are the points that removed columns from ``free``, in that order; ``branch``
    is the index in X of the neuron that the children differ in; ``s`` is where the relaxation ended, kept as the
    positions ``likely`` of its support and the values there. ``by_pairs`` marks a leaf whose bound is that of its pairs
    (`pair_leaves`), not of its point.
    """

    inside: Ints
    free: Ints
    bound: float
    point: Point | None
    screens: list[Point] = field(default_factory=list)
    branch: int = -1
    children: tuple[Node, Node] | None = None
    likely: Ints = field(default_factory=lambda: EMPTY)
    s: NDArray[np.float64] = field(default_factory=lambda: np.zeros(0))
    by_pairs: bool = False

    @property
    def settled(self) -> bool:
        """Whether it has one support at most, so that no branch can raise its bound."""
        return not len(self.free)

    def start(self, m: int) -> NDArray[np.float64]:
        """s over all m live columns."""
        dense = np.zeros(m)
        dense[self.likely] = self.s
        return dense

    def forget(self) -> None:
        """Drop what only an open node needs: the tree may hold very many closed ones."""
        self.free = self.likely = EMPTY
        self.s = self.s[:0].copy()


def preorder(root: Node, n_rows: int, reference: Reference | None = None) -> TreeProof:
    """Flatten a tree; every point that its leaves and screens use is stored once."""
    kind: list[int] = []
    argument: list[int] = []
    points: list[Point] = []
    vectors: list[Point] = []
    place: dict[int, tuple[bool, int]] = {}

    def number(point: Point | None) -> int:
        if point is None:
            return -1
        if id(point) not in place:
            store = points if point.a is None else vectors
            place[id(point)] = (point.a is None, len(store))
            store.append(point)
        primal, index = place[id(point)]
        return index if primal else -2 - index

    stack = [root]
    while stack:
        node = stack.pop()
        for screen in node.screens:
            kind.append(SCREEN)
            argument.append(number(screen))
        if node.by_pairs:
            kind.append(PAIRS)
            argument.append(-1)
        elif node.children is None:
            kind.append(LEAF)
            argument.append(number(node.point))
        else:
            kind.append(BRANCH)
            argument.append(node.branch)
            stack.extend(reversed(node.children))
    kinds, arguments = np.array(kind, dtype=np.int8), np.array(argument, dtype=np.int32)
    explicit = (kinds != BRANCH) & (arguments <= -2)
    arguments[explicit] = len(points) - 2 - arguments[explicit]
    start = np.zeros(len(points) + 1, dtype=np.int64)
    np.cumsum([len(point.columns) for point in points], out=start[1:])
    return TreeProof(
        kind=kinds,
        argument=arguments,
        point_start=start,
        point_columns=np.concatenate([np.zeros(0), *(point.columns for point in points)]).astype(np.int32),
        point_coef=np.concatenate([np.zeros(0), *(point.coef for point in points)]),
        point_intercept=np.array([point.intercept for point in points], dtype=np.float64),
        duals=np.array([point.a for point in vectors], dtype=np.float64).reshape(len(vectors), n_rows),
        reference=reference,
    )


def nothing_left(n_rows: int) -> TreeProof:
    """The tree of a problem all of whose sets are closed."""
    return preorder(Node(EMPTY, EMPTY, np.inf, None), n_rows)


def joined(first: TreeProof, second: TreeProof) -> TreeProof:
    """Two trees, one after the other, with their points and vectors in common; a reference and a diagonal serve both.

    The second was grown with the first one's diagonal, or with none where there is none (`Task.diagonal`).
    """
    points, vectors = len(first.point_intercept), len(first.duals)
    both = points + len(second.point_intercept)
    arguments = []
    for tree, of_points, of_vectors in ((first, 0, both), (second, points, both + vectors)):
        own = len(tree.point_intercept)
        moved = np.where(tree.argument < own, tree.argument + of_points, tree.argument - own + of_vectors)
        named = (tree.kind != BRANCH) & (tree.argument >= 0)
        arguments.append(np.where(named, moved, tree.argument).astype(np.int32))
    return TreeProof(
        kind=np.concatenate([first.kind, second.kind]),
        argument=np.concatenate(arguments),
        point_start=np.concatenate([first.point_start, first.point_start[-1] + second.point_start[1:]]),
        point_columns=np.concatenate([first.point_columns, second.point_columns]),
        point_coef=np.concatenate([first.point_coef, second.point_coef]),
        point_intercept=np.concatenate([first.point_intercept, second.point_intercept]),
        duals=np.concatenate([first.duals, second.duals]),
        reference=second.reference or first.reference,
        diagonal=first.diagonal,
    )
