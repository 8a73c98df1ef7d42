r"""Enumeration for the squared loss: open-pair branching, k <= 4.

With the intercept eliminated, ``F(S) = (v0 - q(S)) / 2`` and ``q(S) = u_S' A_SS^{-1} u_S`` for a matrix A of unit
diagonal; maximise q. Let a prefix be projected out, r neurons T be left, s = r - 1, and let gap be what T must gain to
beat the incumbent.

**Theorem 1 (pair bound).** If s |rho_ij| < 1 for every pair of T, then gain(T) <= (1/s) sum_{i<j} phi_s(i, j) with
``phi_s(i, j) = (u_i^2 + u_j^2 - 2 s rho_ij u_i u_j) / (1 - s^2 rho_ij^2)``.
*Proof.* ``2 u'b - b'Ab = (1/s) sum_{i<j} [2 (u_i b_i + u_j b_j) - (b_i^2 + b_j^2 + 2 s rho_ij b_i b_j)]``, since every
i is in s pairs; maximise every bracket on its own.

**Corollary.** T with gain(T) > gap contains an *open* pair: one with phi_s > 2 gap / r, or a heavy one, |rho| > tau
(any tau < 1/s).

**Theorem 2 (covering for k = 4).** Every better T is in one of: (V) a strong neuron v and three weaker ones; (H) a
heavy pair e of the rest, no pair of T being heavier than e; (L) an open pair of the rest, no pair of T being heavy.
*Proof.* Take the strongest strong neuron of T if there is one; else its heaviest pair if that is heavy; else the
corollary.

**Theorem 3 (touch).** In (H) and (L) let a, b be projected out, d_m the conditional variances, w_m = d_m^{-1/2},
sigma_m^2 = w_m^2 - 1. Then |rho'_mn| <= |rho_mn| w_m w_n + sigma_m sigma_n <= t_m := cap w_m sqrt(1 + S^2) + sigma_m S
if sigma <= S at both ends, so one end of every pair that closes the gap is flagged: sigma_m > S, or |u_m| > U, or
t_m >= 1, or ``u_m^2 + U^2 + 2 t_m |u_m| U > gap (1 - t_m^2)``. Any S and U will do; only flagged rows are scanned.

k = 2 is one exact scan of all pairs (s = 1); k = 3 is one scan with s = 2 and one pass over the third neuron for each
open pair; k = 4 follows theorem 2. The proof is a `SweepProof`: the checker sweeps again.
"""

from __future__ import annotations

from collections.abc import Callable
from math import comb

import numpy as np
from numpy.typing import NDArray

from formulations import SparseProbeProblem
from formulations.losses import Squared
from optprobe.engines import branch_and_cut
from optprobe.engines.budget import Progress
from optprobe.engines.engine import Engine, Task
from optprobe.engines.kernels import cpu
from optprobe.engines.solution import Outcome, SweepProof

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

LARGEST_K = 4
LEAST_RIDGE = {1: 1e-8, 2: 1e-8, 3: 1e-8, 4: 1e-5}
"""By size: below it, rounding would be visible next to the variance of near-duplicates."""
TAU = 0.95
"""Heavy: (r - 1) |rho| > TAU."""
STRONG = 0.2
"""A neuron is strong that gains more than this share of the gap alone (k = 4)."""
LOOSENED = 1 - 1e-9
"""Gaps are multiplied by this before a comparison; rounding is far smaller, and every hit is evaluated exactly."""
CAPACITY = 1 << 16
EDGES_A_CALL = 4096


def refuses(problem: SparseProbeProblem) -> str | None:
    if not isinstance(problem.loss, Squared):
        return f"enumeration is for the squared loss, not the {problem.loss.name} loss: use branch_and_cut"
    if problem.k > LARGEST_K:
        return f"enumeration is for k <= {LARGEST_K}, and k is {problem.k}: use branch_and_cut"
    if not problem.size:
        return "enumeration needs a column that is not constant: use branch_and_cut"
    least = LEAST_RIDGE[min(problem.size, 4)]
    if problem.ridge < least:
        return f"enumeration needs a ridge of at least {least:g} for {problem.size} neurons, to tell them apart"
    return None


def run(task: Task) -> Outcome:
    """Sweep all supports. If the budget ends first, the lower bound is that of the relaxation at the root."""
    sweep = Sweep(task)
    if sweep.finished():
        counts = {"sets": comb(len(task.problem.candidates), task.problem.size), **sweep.counts}
        return Outcome(sweep.support, sweep.value, SweepProof(), counts)
    root = branch_and_cut.Search(Task(task.problem, sweep.support, sweep.value, task.tolerance)).outcome()
    return Outcome(root.support, root.lower, root.proof, {**root.counts, **sweep.counts})


class Sweep:
    """The normalised moments, sorted by strength, and the incumbent while it improves.

    Attributes
    ----------
    columns : ndarray, shape (m,)
        Indices in X, the neuron of largest |u| first; everything else speaks of positions in this order.
    A, u : ndarray, shape (m, m) and (m,)
        Normalised moments.
    place, q : tuple of int, float
        The incumbent and its gain.
    """

    def __init__(self, task: Task) -> None:
        problem = task.problem
        self.task, self.size = task, problem.size
        weighted = problem.Z[:, problem.candidates] * np.sqrt(problem.w)[:, None]
        centred = problem.y - problem.w @ problem.y / problem.w.sum()
        M = weighted.T @ weighted
        M[np.diag_indices(len(M))] += problem.ridge
        scale = 1.0 / np.sqrt(np.diagonal(M))
        u = (weighted.T @ (np.sqrt(problem.w) * centred)) * scale
        order = np.argsort(-np.abs(u), kind="stable")
        self.columns, self.u, scale = problem.candidates[order], u[order], scale[order]
        self.A = M[np.ix_(order, order)] * scale[:, None] * scale
        self.v0 = float(problem.w @ centred**2)
        position = {int(column): at for at, column in enumerate(self.columns)}
        self.place = tuple(position[j] for j in task.incumbent)
        self.q = float(self._gains(np.array([self.place], dtype=np.int64))[0])
        self.counts = {"pairs": 0, "edges": 0, "evaluated": 0}

    @property
    def support(self) -> tuple[int, ...]:
        return tuple(sorted(int(self.columns[at]) for at in self.place))

    @property
    def value(self) -> float:
        """F of the incumbent."""
        return (self.v0 - self.q) / 2

    def finished(self) -> bool:
        """Sweep; False if the budget ended before the end."""
        if self.size <= 1:
            self._offer(np.zeros((self.size, 1), dtype=np.int64))
            return True
        ones, zeros = np.ones(len(self.u)), np.zeros(len(self.u))
        if self.size <= 3:
            return self._node(self.A, np.array([ones, self.u, zeros, zeros]), (), 0.0)
        strong = int((self.u**2 > STRONG * self.q).sum())
        return all(self._vertex(v) for v in range(strong)) and self._edges(strong)

    def _gains(self, sets: Ints) -> Floats:
        """q of every row of ``sets`` (positions), shape (len(sets),)."""
        u = self.u[sets][:, :, None]
        return np.asarray((u * np.linalg.solve(self.A[sets[:, :, None], sets[:, None, :]], u)).sum(axis=(1, 2)))

    def _offer(self, sets: Ints) -> bool:
        """Evaluate candidate sets; True if one is a new incumbent."""
        self.counts["evaluated"] += len(sets)
        if not len(sets):
            return False
        gains = self._gains(sets)
        best = int(np.argmax(gains))
        if gains[best] <= self.q:
            return False
        self.q, self.place = float(gains[best]), tuple(map(int, sets[best]))
        return True

    def _offer_all(self, prefix: tuple[int, ...], offset: int, width: int, fill: Callable[[float, Ints], int]) -> None:
        """Offer every set that ``fill(q, out)`` lists (positions from ``offset`` on, which join the prefix).

        Where the list is longer than its buffer, offer its beginning, and list again against the better incumbent.
        """
        out = np.empty((CAPACITY, width), dtype=np.int64)
        while True:
            n = fill(self.q, out)
            found = out[: min(n, len(out))] + offset
            improved = self._offer(np.insert(found, 0, np.array(prefix)[:, None], axis=1) if prefix else found)
            if n <= len(out):
                return
            if not improved:
                out = np.empty((4 * len(out), width), dtype=np.int64)

    def _node(self, A: Floats, node: Floats, prefix: tuple[int, ...], gained: float) -> bool:
        """The pairs (no prefix) or triples of a node: the correlations A, and (w, u, l1, l2) of the kernels."""
        r, m = self.size - len(prefix), len(A)
        if m < r:
            return True
        offset, heavy = len(self.u) - m, (TAU / (r - 1)) ** 2 if r > 2 else 1.0
        rows_a_call = max(1, 2**20 // m)
        pairs = np.empty((min(m, rows_a_call) * m, 2), dtype=np.int64)
        for start in range(0, m, rows_a_call):
            if self._over(start / m if not prefix else None):
                return False
            rows = np.arange(start, min(m, start + rows_a_call))
            theta = 2 * (self.q - gained) / r * LOOSENED
            n = cpu.open_pairs(A, rows, True, node, np.array([r - 1.0, theta, heavy, 2.0]), pairs)
            self.counts["pairs"] += n
            if r == 2:
                self._offer(pairs[:n])
                continue

            def third(q: float, out: Ints, listed: Ints = pairs[:n]) -> int:
                return int(cpu.third_neurons(A, listed, node, (q - gained) * LOOSENED, out))

            self._offer_all(prefix, offset, 3, third)
        return True

    def _vertex(self, v: int) -> bool:
        """All sets of a strong neuron and three weaker ones."""
        x = self.A[v, v + 1 :]
        w = 1.0 / np.sqrt(np.maximum(1.0 - x * x, 1e-14))
        node = np.array([w, (self.u[v + 1 :] - x * self.u[v]) * w, x * w, np.zeros(len(x))])
        return self._node(np.ascontiguousarray(self.A[v + 1 :, v + 1 :]), node, (v,), float(self.u[v] ** 2))

    def _edges(self, strong: int) -> bool:
        """All sets of four without a strong neuron, by their heavy or open pairs."""
        A, u = np.ascontiguousarray(self.A[strong:, strong:]), self.u[strong:]
        m, light = len(u), TAU / 3
        if m < self.size:
            return True
        node = np.array([np.ones(m), u, np.zeros(m), np.zeros(m)])
        edges = np.empty((m * (m - 1) // 2, 2), dtype=np.int64)
        n = cpu.open_pairs(A, np.arange(m), True, node, np.array([3.0, self.q / 2 * LOOSENED, light**2, 2.0]), edges)
        self.counts["edges"] += n
        for start in range(0, n, EDGES_A_CALL):
            if self._over(start / n):
                return False
            listed = edges[start : min(n, start + EDGES_A_CALL)]

            def children(q: float, out: Ints, part: Ints = listed) -> int:
                return int(cpu.edge_children(A, u, part, light, q, LOOSENED, out))

            self._offer_all((), strong, 4, children)
        return True

    def _over(self, done: float | None) -> bool:
        self.task.report(Progress("enumeration", 0.0, self.value, done))
        return self.task.budget.over


ENGINE = Engine("enumeration", refuses, run, blas_threads=None)
