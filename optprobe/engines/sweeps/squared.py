r"""Enumeration for the squared loss: open-pair branching, k <= 6.

With the intercept eliminated, ``F(S) = (v0 - q(S)) / 2`` and ``q(S) = u_S' A_SS^{-1} u_S`` for a matrix A of unit
diagonal; maximise q. Let a prefix be projected out, r neurons T be left, s = r - 1, and let gap be what T must gain to
beat the incumbent.

**Theorem 1 (pair bound).** If s |rho_ij| < 1 for every pair of T, then gain(T) <= (1/s) sum_{i<j} phi_s(i, j) with
``phi_s(i, j) = (u_i^2 + u_j^2 - 2 s rho_ij u_i u_j) / (1 - s^2 rho_ij^2)``.
*Proof.* ``2 u'b - b'Ab = (1/s) sum_{i<j} [2 (u_i b_i + u_j b_j) - (b_i^2 + b_j^2 + 2 s rho_ij b_i b_j)]``, since every
i is in s pairs; maximise every bracket on its own.

**Corollary.** T with gain(T) > gap contains an *open* pair: one with phi_s > 2 gap / r, or a heavy one, |rho| > tau
(any tau < 1/s).

**Theorem 2 (covering, r >= 4).** Every better T is in one of: (V) a strong neuron v and r - 1 weaker ones; (H) a
heavy pair e of the rest, no pair of T being heavier than e; (L) an open pair of the rest, no pair of T being heavy.
*Proof.* Take the strongest strong neuron of T if there is one; else its heaviest pair if that is heavy; else the
corollary. A child inherits the pairs that its ancestors excluded, since T is the rest of one and the same set.

**Theorem 3 (touch).** In (H) and (L) let a, b be projected out, r' = r - 2 >= 2, s = r' - 1, theta = 2 gap / r', d_m
the conditional variances, w_m = d_m^{-1/2}, sigma_m^2 = w_m^2 - 1. Then |rho'_mn| <= |rho_mn| w_m w_n + sigma_m
sigma_n <= t_m := cap w_m sqrt(1 + S^2) + sigma_m S if sigma <= S at both ends, so one end of every open pair is
flagged: sigma_m > S, or |u_m| > U, or s t_m >= 1, or ``u_m^2 + U^2 + 2 s t_m |u_m| U > theta (1 - s^2 t_m^2)``. Any S
and U will do; only flagged rows are scanned.

r = 2 is one exact scan of all pairs (s = 1); r = 3 is one scan with s = 2 and one pass over the third neuron for each
open pair; r >= 4 follows theorem 2, and an edge child with r' = 4 that has an open pair becomes a node with a matrix of
its own. What is forced is projected out first. The proof is a `SweepProof`: the checker sweeps again.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from math import comb

import numpy as np
from joblib import cpu_count
from numpy.typing import NDArray

from formulations import MomentProblem, ProbeProblem
from formulations.losses import Squared
from optprobe.engines.budget import Budget, Progress
from optprobe.engines.engine import Engine, Task
from optprobe.engines.incumbents import Incumbents
from optprobe.engines.kernels import squared as kernels
from optprobe.engines.outcome import Outcome, SweepProof
from optprobe.engines.sweeps import wide
from optprobe.engines.sweeps.gains import LOOSENED, GainSearch, gains
from optprobe.engines.sweeps.wide import WideSweep
from optprobe.engines.trees import branch_and_cut

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Ints = NDArray[np.int64]

LARGEST_K = 6
MOST_COLUMNS = 1 << 15
"""Whose matrix has 8 GiB."""
LEAST_RIDGE = {1: 1e-8, 2: 1e-8, 3: 1e-8, 4: 1e-5, 5: 1e-4, 6: 1e-4}
"""By size: below it, rounding would be visible next to the variance of near-duplicates."""
STRONG = {4: 0.2, 5: 0.3, 6: 0.3}
"""By the number of neurons missing: a neuron is strong that gains more than this share of the gap alone."""
EDGES_A_CALL, PAIRS_A_CALL = 128, 1 << 14
"""Edges, and pairs that are tried with every third neuron, between two looks at the budget."""
EPSILON = float(np.finfo(np.float64).eps)
DENSE_STEPS, LEAST_DENSE = 50, 0.2
"""Steps of conjugate gradients for the bound that is left when the budget ends, and the seconds that they may have."""
WORTH_ROUNDING = 64
"""Edges of a node that pay for its matrix in float32."""
ANY = 2.0
"""A cap that leaves out only the pairs marked as excluded."""


def refuses(problem: ProbeProblem) -> str | None:
    if not isinstance(problem.loss, Squared):
        return f"enumeration is for the squared loss, not the {problem.loss.name} loss: use branch_and_cut"
    if problem.k > LARGEST_K:
        return f"enumeration is for k <= {LARGEST_K}, and k is {problem.k}: use branch_and_cut, with the rows"
    if not problem.size:
        return "enumeration needs a column that is not constant: use branch_and_cut"
    m = len(problem.candidates)
    if m > MOST_COLUMNS and not (isinstance(problem, MomentProblem) or wide.suits(problem)):
        return f"enumeration of {problem.size} of {m:,} neurons needs {8e-9 * m * m:.0f} GB: use branch_and_cut"
    least = LEAST_RIDGE[problem.size]
    if problem.ridge < least:
        return f"enumeration needs a ridge of at least {least:g} for {problem.size} neurons, to tell them apart"
    return None


def run(task: Task) -> Outcome:
    """Sweep all supports. If the budget ends first, the lower bound is that of the relaxation at the root.

    From moments it is then that of the ridge regression on all neurons, which a sweep proves as well.
    """
    if task.budget.over:
        return _unfinished(task, task.incumbents(), {})
    sweep = WideSweep(task) if wide.suits(task.problem) else Sweep(task)
    if sweep.finished():
        n_forced = len(task.problem.forced)
        n_sets = comb(len(task.problem.candidates) - n_forced, task.problem.size - n_forced)
        counts = {"sets": n_sets, **sweep.counts}
        return Outcome(sweep.found.support, sweep.value, SweepProof(), counts, sweep.found.kept)
    found, counts = sweep.found, sweep.counts
    del sweep  # what it knows of the products of neurons, which may be most of the memory
    return _unfinished(task, found, counts)


def _unfinished(task: Task, found: Incumbents, counts: Mapping[str, int]) -> Outcome:
    """What holds where the budget ended first."""
    if isinstance(task.problem, MomentProblem):
        return Outcome(found.support, dense_bound(task), SweepProof(), counts)
    return branch_and_cut.root_outcome(task, found, counts)


def dense_bound(task: Task) -> float:
    """A lower bound of all sets, from coefficients b of all neurons near the ridge regression's.

    The derivative of the loss at b is a dual vector: with ``A = Z'WZ``, ``c = Z'Wy`` and ``v = c - A b`` it bounds F of
    every set by ``v0 / 2 - b'Ab / 2`` minus the k largest ``v_j^2 / (2 ridge)``.
    """
    problem = task.problem
    A, c = problem.gram(problem.candidates), problem.cross[problem.candidates]
    diagonal = np.diag_indices(len(c))
    A[diagonal] += problem.ridge
    b = _near_solution(A, c, task.budget.at_least(LEAST_DENSE))
    A[diagonal] -= problem.ridge
    products = A @ b
    discounts = np.sort((c - products) ** 2)[len(c) - problem.size :] / (2 * problem.ridge)
    return max(0.0, float(problem.variance - b @ products) / 2 - float(discounts.sum()))


def _near_solution(A: Floats, c: Floats, budget: Budget) -> Floats:
    """x with A x near c, by conjugate gradients from 0, at most `DENSE_STEPS` of them, until the budget is over."""
    x, residual, direction = np.zeros_like(c), c.copy(), c.copy()
    square = residual @ residual
    least = square * EPSILON**2
    for _ in range(DENSE_STEPS):
        if not square > least or budget.over:
            break
        product = A @ direction
        step = square / (direction @ product)
        x += step * direction
        residual -= step * product
        square, before = residual @ residual, square
        direction = residual + square / before * direction
    return x


@dataclass(frozen=True, eq=False)
class Node:
    """A prefix, and what it leaves.

    Attributes
    ----------
    A : ndarray, shape (m, m)
        Correlations given an earlier prefix; `kernels.squared.EXCLUDED` where no set may contain a pair.
    arrays : ndarray, shape (4, m)
        (w, u, l1, l2) of the kernels, relative to A; w = 0 for neurons that no set may contain.
    prefix : tuple of int
    gained : float
        The gain of the prefix.
    missing : int
        The number of neurons to choose.
    """

    A: Floats
    arrays: Floats
    prefix: tuple[int, ...]
    gained: float
    missing: int

    @property
    def w(self) -> Floats:
        w: Floats = self.arrays[0]
        return w

    @property
    def u(self) -> Floats:
        u: Floats = self.arrays[1]
        return u


class Sweep(GainSearch):
    """Sets of up to six neurons, from the normalised moments of all of them.

    Attributes
    ----------
    A : ndarray, shape (m, m)
        Normalised moments.
    """

    def _normalise(self) -> None:
        problem = self.task.problem
        self.A = problem.gram(self.columns)
        self.A[np.diag_indices(len(self.columns))] += problem.ridge
        scale = 1.0 / np.sqrt(np.diagonal(self.A))
        self.A *= scale[:, None]
        self.A *= scale
        self.u = problem.cross[self.columns] * scale

    def finished(self) -> bool:
        """Sweep; False if the budget ended before the end."""
        if self._at_most_one_is_missing():
            return True
        root = Node(self.A, np.array([np.ones(len(self.u)), self.u, 0 * self.u, 0 * self.u]), (), 0.0, self.size)
        for v in self.forced.tolist():
            arrays = self._given(root, v)
            A, arrays = self._conditioned(root, arrays, ANY)
            root = Node(A, arrays, (*root.prefix, v), root.gained + float(root.u[v] ** 2), root.missing - 1)
        pieces = list(self._pieces(root))
        with ThreadPoolExecutor(cpu_count()) as pool:
            for done, _ in enumerate(pool.map(lambda piece: piece(), pieces), 1):
                self.task.report(Progress("enumeration", self.task.proved, self.value, done / len(pieces)))
        return not self.task.budget.over

    def _gains(self, sets: Ints) -> Floats:
        return gains(self.A[sets[:, :, None], sets[:, None, :]], self.u[sets])

    def _search(self, node: Node) -> None:
        for piece in self._pieces(node):
            piece()

    def _pieces(self, node: Node) -> Iterator[Callable[[], None]]:
        """What is to be done at a node, in parts that any thread may do in any order."""
        self.counts["nodes"] += 1
        if node.missing <= 3:
            m = len(node.A)
            rows = np.flatnonzero(node.w)
            step = max(1, 2**20 // m)
            yield from (partial(self._scan, node, rows[at : at + step]) for at in range(0, len(rows), step))
            return
        gains = np.where(node.w > 0, node.u**2, 0.0)
        strong = np.flatnonzero(gains > STRONG[node.missing] * (self.q - node.gained))
        strong = strong[np.argsort(-gains[strong], kind="stable")]
        for place in range(len(strong)):
            yield partial(self._vertex, node, strong[: place + 1])
        alive = node.w.copy()
        alive[strong] = 0.0
        edges = self._edges(node, alive)
        single = node.A.astype(np.float32) if len(edges) >= WORTH_ROUNDING else np.zeros((0, 0), np.float32)
        for at in range(0, len(edges), EDGES_A_CALL):
            yield partial(self._edge_children, node, single, alive, edges[at : at + EDGES_A_CALL])

    def _scan(self, node: Node, rows: Ints) -> None:
        """The pairs or triples of a node whose first open pair begins in one of the rows."""
        if self.task.budget.over:
            return
        found = self._open_pairs(node, node.arrays, rows)
        self.counts["pairs"] += len(found)
        if node.missing == 2:
            self._offer(np.insert(found, 0, np.array(node.prefix)[:, None], axis=1) if node.prefix else found)
            return

        for at in range(0, len(found), PAIRS_A_CALL):
            if self.task.budget.over:
                return
            pairs = found[at : at + PAIRS_A_CALL]

            def third(q: float, out: Ints, pairs: Ints = pairs) -> int:
                return int(kernels.third_neurons(node.A, pairs, node.arrays, (q - node.gained) * LOOSENED, ANY, out))

            self._offer_all(node.prefix, 3, third)

    def _vertex(self, node: Node, strong: Ints) -> None:
        """All sets of the last of the strong neurons and none of the others."""
        v = int(strong[-1])
        arrays = self._given(node, v)
        arrays[:, strong] = 0.0
        self._child(node, (v,), arrays, float(node.u[v] ** 2), ANY)

    @staticmethod
    def _given(node: Node, v: int) -> Floats:
        """What is left once v joins the prefix, relative to the node; nothing of v itself."""
        x = node.A[v] * (np.abs(node.A[v]) <= ANY)
        w = np.where((node.w > 0) & (np.abs(node.A[v]) <= ANY), 1.0 / np.sqrt(np.maximum(1.0 - x * x, 1e-14)), 0.0)
        w[v] = 0.0
        return np.array([w, (node.u - x * node.u[v]) * w, x * w, 0 * w])

    @staticmethod
    def _conditioned(node: Node, arrays: Floats, cap: float) -> tuple[Floats, Floats]:
        """The matrix that arrays relative to a node leave, and the arrays relative to that."""
        A = np.empty_like(node.A)
        kernels.conditioned(node.A, arrays, cap, A)
        w = (arrays[0] > 0).astype(np.float64)
        return A, np.array([w, arrays[1], 0 * w, 0 * w])

    def _child(self, node: Node, more: tuple[int, ...], arrays: Floats, gain: float, cap: float) -> None:
        """Search what is left once ``more`` joins the prefix; ``arrays`` are (w, u, l1, l2) relative to the node."""
        if self.task.budget.over:
            return
        missing, A = node.missing - len(more), node.A
        if missing > 3:
            A, arrays = self._conditioned(node, arrays, cap)
        self._search(Node(A, arrays, node.prefix + more, node.gained + gain, missing))

    def _edges(self, node: Node, alive: Floats) -> Ints:
        """The heavy or open pairs of a node without its strong neurons."""
        arrays = np.array([alive, node.u * alive, 0 * alive, 0 * alive])
        edges = self._open_pairs(node, arrays, np.flatnonzero(alive)).copy()
        self.counts["edges"] += len(edges)
        return edges

    def _open_pairs(self, node: Node, arrays: Floats, rows: Ints) -> Ints:
        """The pairs i < j, i in ``rows``, that are heavy or open; ``arrays`` are the node's (w, u, l1, l2) or fewer."""
        r, m = node.missing, len(node.A)
        pairs = np.empty((int((m - 1 - rows).sum()), 2), dtype=np.int64)
        theta, heavy = 2 * (self.q - node.gained) / r * LOOSENED, (kernels.TAU / (r - 1)) ** 2 if r > 2 else 1.0
        n = kernels.open_pairs(node.A, rows, True, arrays, np.array([r - 1.0, theta, heavy, ANY]), pairs)
        return pairs[:n]

    def _edge_children(self, node: Node, single: Singles, alive: Floats, edges: Ints) -> None:
        """All sets of an edge without a heavier pair and without a strong neuron."""
        if self.task.budget.over:
            return
        left, light = node.missing - 2, kernels.TAU / (node.missing - 1)

        def children(q: float, out: Ints) -> int:
            gap = q - node.gained
            return int(kernels.edge_children(node.A, single, node.u, alive, edges, left, light, gap, LOOSENED, out))

        if left < 4:
            self._offer_all(node.prefix, left + 2, children)
            return
        still_open = np.empty_like(edges)
        for a, b in still_open[: children(self.q, still_open)]:
            arrays = np.empty((4, len(alive)))
            cap = kernels.edge_cap(node.A, a, b, light)
            gain = kernels.edge_node(node.A, node.u, alive, a, b, cap, arrays)
            self._child(node, (int(a), int(b)), arrays, gain, cap)


ENGINE = Engine("enumeration", refuses, run, blas_threads=None, needs_rows=False)
