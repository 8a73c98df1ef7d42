"""Branch and cut: any loss, any k. One tree, best bound first; every bound is a dual vector over all columns.

At each node the relaxation is raised by direct dual ascent; its dual vector then *screens*: a free neuron whose bound,
forced inside, reaches the incumbent leaves the node, and the same vector proves it. Nodes with one neuron left are
closed by the exact fits of what survives; for the logistic loss, nodes with two by the bounds of their pairs, and nodes
with three by those of their pairs after each first neuron, where that is cheap. Leaves and screens are the proof.

Sources: Bertsimas, Pauphilet, Van Parys 2021 (the relaxation and its cuts); Guyard, Herzet, Elvira, Arslan 2024 and
Hazimeh, Mazumder, Saab 2022 (branch and bound on first-order bounds).
"""

from __future__ import annotations

import heapq
import itertools
from collections.abc import Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import cached_property

import numpy as np
from joblib import cpu_count
from numpy.typing import NDArray

from formulations import Fits, ProbeProblem, fit_supports
from formulations.losses import Hinge, Logistic
from optprobe.engines.bounds.best_diagonal import split_of
from optprobe.engines.bounds.relaxation import Effort, LiveColumns, Point, Relax, ascend, top_sum
from optprobe.engines.budget import Budget, Progress
from optprobe.engines.engine import FITS_AT_ONCE, FITTED, SLACK, Engine, Task
from optprobe.engines.incumbents import Incumbents, Listed
from optprobe.engines.outcome import Outcome
from optprobe.engines.trees.pair_leaves import PairLeaves
from optprobe.engines.trees.tree import EMPTY, Node, preorder

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ROOT, FIRST_LOOK, NODE = Effort(60, 0.005), Effort(60, 0.02), Effort(8, 0.3)
"""Of the root, of one that only tells whether a tree is worth it, and of other nodes. Where the relaxation is loose,
branching raises next to nothing in seconds, and the root's bound is that of a search that ends at its limit."""
PAIR_LEAF_COST = np.array([0.4e-3, 1e-5, 3.3e-8])
"""Seconds of a pair leaf by the power of its columns, measured on 1,000 rows."""
LEAST_ROOT = 0.2
"""Seconds that the root may have even where the budget is over: without it there is no bound."""
AFFORDABLE = 0.2
"""Seconds of pair leaves that are worth the subtree of a node with three neurons left."""


def refuses(problem: ProbeProblem) -> str | None:
    if problem.ridge <= 0:
        return "branch and cut needs a positive ridge, since every dual bound divides by it"
    return None


def run(task: Task) -> Outcome:
    search = Search(task)
    search.grow()
    return search.outcome()


def root_outcome(task: Task, found: Incumbents, counts: Mapping[str, int]) -> Outcome:
    """The bounds known already, or else of the root alone: where the budget ended before an engine's own proof."""
    if task.known is None:
        known = Search(replace(task, incumbent=found.support, objective=found.objective)).outcome()
    else:
        known = replace(task.known, support=found.support)
    return replace(known, counts={**known.counts, **counts})


class Search:
    """The state of one search: incumbents, live columns, tree and open nodes.

    ``relax`` raises the bound of a node; the outer approximation brings its own. ``effort`` is that of the root.
    """

    def __init__(self, task: Task, relax: Relax = ascend, effort: Effort = ROOT) -> None:
        self.task, self.problem, self.relax = task, task.rows, relax
        self.slack = SLACK * task.tolerance
        self.found = task.incumbents()
        self.live = self._columns()
        self.screened = np.inf
        self.tried: set[tuple[int, ...]] = {task.incumbent}
        self.nodes = self.fits = self.pair_leaves = 0
        self.root = self._root(effort)
        self.heap: list[tuple[float, int, Node]] = []
        self.order = itertools.count()
        self._push(self.root)

    @property
    def target(self) -> float:
        """A node whose bound reaches this is closed."""
        return self.found.upper - self.slack

    @property
    def closed(self) -> bool:
        """Whether no open node is below the target."""
        return not self.heap or self.heap[0][0] >= self.target

    def _columns(self) -> LiveColumns:
        """All candidates, with a diagonal taken out of their curvature where it is of use."""
        columns = self.problem.candidates
        split = split_of(self.problem, columns, self.task.diagonal, self.target, self.task.budget)
        self.diagonal = None if split is None else split.spread(columns, self.problem.n_neurons)
        return LiveColumns(self.problem, columns, split)

    @cached_property
    def pairs(self) -> PairLeaves:
        found = self.found
        return PairLeaves(self.problem, self.live, found.support, found.upper, self.task.budget.late)

    def grow(self) -> None:
        """Split the open node of least bound until none is below the target, or the budget is over."""
        while not self.closed and not self.task.budget.over:
            bound, _, node = heapq.heappop(self.heap)
            self.task.report(Progress("branch and cut", bound, self.found.upper))
            need = self.problem.size - len(node.inside)
            close = {1: self._close_by_fits, 2: self._close_by_pairs, 3: self._close_by_firsts}.get(need)
            if close is None or not close(node):
                if self.task.budget.over:
                    self._push(node)
                else:
                    self._split(node)

    def outcome(self) -> Outcome:
        listed = Listed((*self.found.listed.sets, *self._apart()), self.problem.groups)
        leaves, stack = list[float](), [self.root]
        while stack:
            node = stack.pop()
            if node.children is not None:
                stack.extend(node.children)
            elif not self._contains(listed, node.inside):
                leaves.append(node.bound)
        counts = {"nodes": self.nodes, "leaves": len(leaves), "fits": self.fits, "live": len(self.live.columns)}
        counts["pair_leaves"] = self.pair_leaves
        lower = min([*leaves, self.screened, self.found.upper])
        reference = self.pairs.reference if counts["pair_leaves"] else None
        proof = replace(preorder(self.root, self.problem.n_rows, reference), diagonal=self.diagonal)
        return Outcome(self.found.support, lower, proof, counts, self.found.kept)

    def _apart(self) -> tuple[tuple[int, ...], ...]:
        """The sets that the bound is not about: of a search for many, those that were found."""
        return self.found.kept if self.task.most > 1 else ()

    def _contains(self, listed: Listed, inside: Ints) -> bool:
        """Whether all sets of a node are passed over, since ``inside`` (positions) is."""
        return listed.passes_over and bool(listed.within(np.sort(self.live.columns[inside])[None, :])[0])

    def _root(self, effort: Effort) -> Node:
        """Ascend and screen on all candidates, and again on what is left for as long as that is much less.

        Forced neurons are inside from the beginning.
        The ascent starts from the bound 0 of the dual vector 0: no loss is negative.
        """
        budget = self.task.budget.at_least(LEAST_ROOT)
        start = self._first_guess()
        zero = Point.explicit(np.zeros(self.problem.n_rows))
        root = self._evaluate(*self._first_node(), start, 0.0, zero, effort, budget)
        while self._open(root) and not budget.over:
            kept, screens = np.sort(np.concatenate([root.inside, root.free])), root.screens
            if not len(kept) < 0.7 * len(self.live.columns):
                break
            start = root.start(len(self.live.columns))[kept]
            self.live = self.live.restricted(kept)
            root = self._evaluate(*self._first_node(), start, root.bound, root.point, effort, budget)
            root.screens = screens + root.screens
        return root

    def _first_node(self) -> tuple[Ints, Ints]:
        """What is inside at the root, and what is free, by position."""
        forced = np.isin(self.live.columns, self.problem.forced)
        return np.flatnonzero(forced), np.flatnonzero(~forced)

    def _first_guess(self) -> Floats:
        """A fractional s on the incumbent and on the neurons that correlate most with the labels."""
        split = self.live.split
        cross = self.live.neurons @ (self.problem.w * self.problem.y) if split is None else split.cross
        correlation = np.abs(cross)
        start = np.zeros(len(correlation))
        start[np.argsort(-correlation, kind="stable")[: 8 * self.problem.size]] = 0.125
        start[np.searchsorted(self.live.columns, self.found.support)] = 1.0
        return start

    def _open(self, node: Node) -> bool:
        """Whether a node must be split; the bound of one support stays below a target finer than its fit's own gap."""
        return node.bound < self.target and not node.settled

    def _push(self, node: Node) -> None:
        if self._open(node):
            heapq.heappush(self.heap, (node.bound, next(self.order), node))
        else:
            node.forget()

    def _evaluate(
        self,
        inside: Ints,
        free: Ints,
        start: Floats,
        bound: float,
        point: Point | None,
        effort: Effort = NODE,
        budget: Budget | None = None,
    ) -> Node:
        """Bound and screen a node; ``bound`` and ``point`` are its parent's, and hold for it too."""
        self.nodes += 1
        need = self.problem.size - len(inside)
        if need == len(free):
            inside, free, need = np.concatenate([inside, free]), EMPTY, 0
        if need > len(free) or self._contains(self.found.listed, inside):
            return Node(inside, EMPTY, np.inf, None)
        if need == 0:
            (leaf,) = self._leaves(inside[None, :])
            return Node(inside, EMPTY, *leaf)
        relaxed = self.relax(self.live, inside, free, start, self.target, effort, budget or self.task.budget)
        if relaxed.bound < self.target:
            self._round(inside, free, relaxed.s, need)
        counted = relaxed.discount[free]
        least = np.partition(counted, len(free) - need)[len(free) - need]
        forced = relaxed.bound + np.maximum(least - counted, 0.0)
        screened = (forced >= self.target) & (counted < least)
        screens = []
        if screened.any() and relaxed.bound < self.target and not self._singles:
            self.screened = min(self.screened, float(forced[screened].min()))
            free = free[~screened]
            screens.append(relaxed.point)
        own = relaxed.bound
        if own >= bound:
            bound, point = own, relaxed.point
        likely = np.flatnonzero(relaxed.s)
        return Node(inside, free, bound, point, screens, likely=likely, s=relaxed.s[likely])

    @property
    def _singles(self) -> bool:
        """Whether sets are listed that are one column beside the forced ones.

        The checker drops these columns, so that a screen whose counted discount is one of theirs would not be its own.
        """
        return self.task.most > 1 and self.problem.size == len(self.problem.forced) + 1

    def _round(self, inside: Ints, free: Ints, s: Floats, need: int) -> None:
        """Fit the support that the relaxation points at, if it is new."""
        best = free[np.argsort(-s[free], kind="stable")[:need]]
        support = tuple(sorted(map(int, self.live.columns[np.concatenate([inside, best])])))
        if support not in self.tried:
            self.tried.add(support)
            self.fit(np.concatenate([inside, best])[None, :])

    def fit(self, sets: Ints) -> Fits:
        """Exact fits of supports given by position; the best ones may become incumbents."""
        fits = fit_supports(self.problem, np.sort(self.live.columns[sets], axis=1))
        self.fits += len(sets)
        self.found.offer(np.array(fits.supports), fits.objective)
        return fits

    def _leaves(self, sets: Ints) -> list[tuple[float, Point]]:
        """A bound and a point for each of the supports, from their exact fits."""
        fits = self.fit(sets)
        if isinstance(self.problem.loss, Hinge):
            points = list(map(Point.explicit, fits.dual))
        else:
            points = list(map(Point, fits.supports, fits.coef, map(float, fits.intercept)))
        return list(zip(map(float, fits.lower), points))

    def _split(self, node: Node) -> None:
        """Branch on the most undecided of the ten neurons of largest s."""
        start = node.start(len(self.live.columns))
        likely = node.free[np.argsort(-start[node.free], kind="stable")[:10]]
        neuron = likely[np.argmin(np.abs(start[likely] - 0.6))]
        rest = node.free[node.free != neuron]
        node.branch = int(self.live.columns[neuron])
        node.children = (
            self._evaluate(np.append(node.inside, neuron), rest, start, node.bound, node.point),
            self._evaluate(node.inside, rest, start, node.bound, node.point),
        )
        node.forget()
        for child in node.children:
            self._push(child)

    def _close_by_pairs(self, node: Node) -> bool:
        """Two neurons are left: bound every pair, fit what stays below the target; False where that cannot be done."""
        if not isinstance(self.problem.loss, Logistic):
            return False
        return self._closed_by(node, self.pairs.open_sets(node.inside, node.free, self.target + self.slack / 2))

    def _close_all_by_pairs(self, nodes: list[Node]) -> None:
        """`_close_by_pairs` on all cores; nodes where it cannot be done stay open."""
        target, pairs = self.target + self.slack / 2, self.pairs
        with ThreadPoolExecutor(cpu_count()) as pool:
            for node, sets in zip(nodes, pool.map(lambda node: pairs.open_sets(node.inside, node.free, target), nodes)):
                if not self._closed_by(node, sets):
                    self._push(node)

    def _closed_by(self, node: Node, sets: Ints | None) -> bool:
        """Close a node, once the sets that its pair leaf leaves are fitted; False where the budget ends before."""
        if sets is None:
            return False
        for start in range(0, len(sets), FITS_AT_ONCE):
            if self.task.budget.over:
                return False
            self.fit(sets[start : start + FITS_AT_ONCE])
        node.by_pairs, node.bound = True, min(self.target, self.found.upper * (1 - FITTED))
        node.forget()
        self.pair_leaves += 1
        return True

    def _close_by_firsts(self, node: Node) -> bool:
        """Three neurons are left: one pair leaf for each first of them, by falling discount; False if that is dear.

        With d the discounts of the node's own dual vector and g the bound without them, a set of three beats the target
        only if its d sum to more than g - target. So the two after q lie among the later l with
        ``d_q + d_l + (the largest later d) > g - target``, which is what screening the child with q leaves.
        """
        if not isinstance(self.problem.loss, Logistic) or node.point is None:
            return False
        value, discount = self.live.value_and_discounts(node.point.dual(self.problem))
        free = node.free[np.argsort(-discount[node.free], kind="stable")]
        d, room = discount[free], value - float(discount[node.inside].sum()) - self.target
        later = []
        for q in range(len(free) - 2):
            rest = 1 + q + np.flatnonzero(d[q] + d[q + 1] + d[q + 1 :] > room)
            if len(rest) < 2:
                break
            later.append(free[rest])
        target, sizes = self.target, np.array([len(rest) for rest in later], dtype=np.float64)
        if float((PAIR_LEAF_COST * np.vander(sizes, 3, increasing=True)).sum()) > AFFORDABLE:
            return False
        self.screened, place, children = min(self.screened, self.target), node, list[Node]()
        for q, rest in enumerate(later):
            inside = np.append(node.inside, free[q])
            child = Node(inside, rest, node.bound, node.point, [node.point])
            after = Node(node.inside, free[q + 1 :], node.bound, node.point)
            place.branch, place.children = int(self.live.columns[free[q]]), (child, after)
            children.append(child)
            place.forget()
            place = after
        none_left = len(place.free) < 3
        place.bound = np.inf if none_left else target + room - top_sum(discount[place.free], 3)
        place.forget()
        self._close_all_by_pairs(children)
        return True

    def _close_by_fits(self, node: Node) -> bool:
        """One neuron is left: fit all completions; a chain of branches carries the leaves. False as in `_closed_by`."""
        sets = np.concatenate([np.tile(node.inside, (len(node.free), 1)), node.free[:, None]], axis=1)
        leaves: list[tuple[float, Point]] = []
        for start in range(0, len(sets), FITS_AT_ONCE):
            if self.task.budget.over:
                return False
            leaves += self._leaves(sets[start : start + FITS_AT_ONCE])
        place = node
        for neuron, leaf in zip(node.free, leaves):
            place.branch = int(self.live.columns[neuron])
            after = Node(node.inside, EMPTY, np.inf, None)
            place.children = (Node(np.append(node.inside, neuron), EMPTY, *leaf), after)
            place = after
        return True


ENGINE = Engine("branch_and_cut", refuses, run)
