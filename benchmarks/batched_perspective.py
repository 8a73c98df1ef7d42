"""Branch and bound with perspective bounds of many nodes at once by first-order steps.

Our own implementation of the idea of Liu and Lodi (arXiv 2605.22188), whose code is not to be had: the nodes of a batch
are relaxed together, by accelerated proximal gradient steps whose work is two matrix products for all of them, as
graphics processors like it. The relaxation of a node (inside, free) is

    min over b, b0, s of sum_i w_i loss(y_i, f_i) + (ridge / 2) sum_j b_j^2 / s_j

with s = 1 inside, 0 <= s <= 1 and sum s = k. The proximal step of its last term with weight rho is ``b = x s / (s +
rho)`` with ``s = min(1, max(0, c |x| - rho))`` and the c at which s sums to what is left. The derivative of the loss at
the end of the steps is a dual vector, which bounds the node (`formulations.node_bound`). It is a peer to compare with,
not a part of the package.
"""

from __future__ import annotations

import heapq
import itertools
import time
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from formulations import SparseProbeProblem, dual_points, fit_supports, node_bound

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BATCH, STEPS, HALVINGS = 32, 60, 40
"""Nodes relaxed at once, steps for each batch, and halvings of the interval of c."""
CURVATURE = {"squared": 1.0, "logistic": 0.25}
"""Of the loss, at most."""


@dataclass(frozen=True)
class Node:
    """Neurons inside, neurons outside, and a lower bound of all sets between."""

    inside: tuple[int, ...]
    outside: tuple[int, ...]
    bound: float


def search(problem: SparseProbeProblem, limit: float, tolerance: float) -> tuple[tuple[int, ...], float]:
    """The best set found, and the least lower bound of an open node, once they meet or the seconds are over."""
    deadline = time.perf_counter() + limit
    best, upper = tuple[int, ...](), np.inf
    order, heap = itertools.count(), [(0.0, 0, Node((), (), 0.0))]
    while heap and heap[0][0] < upper - tolerance and time.perf_counter() < deadline:
        batch = [heapq.heappop(heap)[2] for _ in range(min(BATCH, len(heap)))]
        bounds, coefs, shares = relaxed(problem, batch)
        rounded = np.array([_rounded(node, coef, problem.k) for node, coef in zip(batch, coefs)], dtype=np.int64)
        fits = fit_supports(problem, rounded)
        at = int(np.argmin(fits.objective))
        if fits.objective[at] < upper:
            best, upper = tuple(map(int, fits.supports[at])), float(fits.objective[at])
        for node, bound, share in zip(batch, bounds, shares):
            for child in _children(node, max(bound, node.bound), share, problem):
                heapq.heappush(heap, (child.bound, next(order), child))
    return best, min(upper, heap[0][0] if heap else upper)


def relaxed(problem: SparseProbeProblem, nodes: list[Node]) -> tuple[Floats, Floats, Floats]:
    """Bounds (m,), coefficients and s (m, p) of nodes after the steps."""
    Z, y, w, m = problem.Z, problem.y, problem.w, len(nodes)
    inside, free = np.zeros((m, Z.shape[1]), dtype=bool), np.ones((m, Z.shape[1]), dtype=bool)
    for i, node in enumerate(nodes):
        inside[i, list(node.inside)] = True
        free[i, [*node.inside, *node.outside]] = False
    left = problem.k - inside.sum(axis=1)
    curvature = CURVATURE[problem.loss.name] * _largest_eigenvalue(problem)
    rho = problem.ridge / curvature
    b, b0 = np.zeros((m, Z.shape[1])), np.zeros(m)
    x, x0, momentum = b, b0, 1.0
    s = b
    for _ in range(STEPS):
        a = problem.loss.derivative(y, x @ Z.T + x0[:, None])
        new, s = _proximal(x - ((w * a) @ Z) / curvature, inside, free, left, rho)
        new0 = x0 - (a @ w) / (CURVATURE[problem.loss.name] * w.sum())
        following = (1 + np.sqrt(1 + 4 * momentum**2)) / 2
        x, x0 = new + (momentum - 1) / following * (new - b), new0 + (momentum - 1) / following * (new0 - b0)
        b, b0, momentum = new, new0, following
    duals = dual_points(problem, problem.loss.derivative(y, b @ Z.T + b0[:, None]))
    bounds = [
        node_bound(point, np.flatnonzero(inside[i]), np.flatnonzero(free[i]), problem.k)
        for i, point in enumerate(duals)
    ]
    return np.array(bounds), b, s


def _proximal(
    x: Floats, inside: NDArray[np.bool_], free: NDArray[np.bool_], left: Ints, rho: float
) -> tuple[Floats, Floats]:
    """The proximal step of the nodes' last terms, and its s."""
    magnitude = np.where(free, np.abs(x), 0.0)
    low, high = np.zeros(len(x)), (1 + rho) / np.maximum(_kth_largest(magnitude, left), 1e-300)
    for _ in range(HALVINGS):
        c = (low + high) / 2
        over = np.clip(c[:, None] * magnitude - rho, 0.0, 1.0).sum(axis=1) > left
        low, high = np.where(over, low, c), np.where(over, c, high)
    s = np.where(inside, 1.0, np.clip(low[:, None] * magnitude - rho, 0.0, 1.0))
    return x * s / (s + rho), s


def _kth_largest(magnitude: Floats, left: Ints) -> Floats:
    ordered = -np.sort(-magnitude, axis=1)
    return np.asarray(ordered[np.arange(len(left)), np.maximum(left - 1, 0)])


def _largest_eigenvalue(problem: SparseProbeProblem, steps: int = 30) -> float:
    """Of Z'WZ, by power iterations, with a little room."""
    v: Floats = np.random.default_rng(0).standard_normal((problem.Z.shape[1],))
    for _ in range(steps):
        v = np.asarray((problem.w * (problem.Z @ (v / np.linalg.norm(v)))) @ problem.Z)
    return 1.05 * float(np.linalg.norm(v))


def _rounded(node: Node, coef: Floats, k: int) -> list[int]:
    """The neurons inside, and those of largest coefficient."""
    others = np.argsort(-np.abs(coef), kind="stable")
    others = others[~np.isin(others, [*node.inside, *node.outside])]
    return sorted([*node.inside, *map(int, others[: k - len(node.inside)])])


def _children(node: Node, bound: float, share: Floats, problem: SparseProbeProblem) -> list[Node]:
    """The two children at the neuron of most undecided s; none where no neuron is left to choose."""
    taken = [*node.inside, *node.outside]
    if len(node.inside) == problem.k or len(taken) == problem.Z.shape[1]:
        return []
    undecided = np.minimum(share, 1 - share)
    undecided[taken] = -1.0
    neuron = int(np.argmax(undecided))
    with_it = Node((*node.inside, neuron), node.outside, bound)
    if len(with_it.inside) == problem.k:
        fit = fit_supports(problem, np.array([sorted(with_it.inside)], dtype=np.int64))
        with_it = Node(with_it.inside, with_it.outside, float(fit.lower[0]))
    without = Node(node.inside, (*node.outside, neuron), bound)
    return [with_it, without] if problem.Z.shape[1] - len(without.outside) >= problem.k else [with_it]
