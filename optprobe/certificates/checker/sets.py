"""Sets that no bound for many closes: each must have a dual vector of its own."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator
from itertools import combinations, islice

import numpy as np
from numpy.typing import NDArray

from .bounds import derivative, own_bounds
from .limits import Limits
from .outcome import require
from .problem import BLOCK, Problem
from .proximal import Proximal

Floats = NDArray[np.float64]

LEAST_SHARE = 1e-9
"""Of a class, where a fit begins."""


def check_open_sets(
    problem: Problem, columns: NDArray[np.int64], open_sets: Iterable[NDArray[np.int64]], lower: float
) -> int:
    """`check_sets` for what a sweep leaves open, sets of positions in ``columns``. Returns their number."""
    return checked(open_sets, lambda sets: check_sets(problem, columns[sets], lower), problem.limits)


def checked(open_sets: Iterable[NDArray[np.int64]], check: Callable[[NDArray[np.int64]], None], limits: Limits) -> int:
    """``check`` sets in blocks as they come, so that none of them waits; returns their number."""
    count = 0
    for sets in open_sets:
        for start in range(0, len(sets), BLOCK):
            limits.check()
            check(sets[start : start + BLOCK])
        count += len(sets)
    return count


def all_sets(m: int, k: int) -> Iterator[NDArray[np.int64]]:
    """All sets of k of m positions, in blocks."""
    sets = combinations(range(m), k)
    while part := list(islice(sets, BLOCK)):
        yield np.array(part, dtype=np.int64).reshape(len(part), k)


def with_first(fixed: int, sets: Iterable[NDArray[np.int64]]) -> Iterator[NDArray[np.int64]]:
    """Sets of the positions after the first ``fixed``, joined by these."""
    for part in sets:
        yield np.concatenate([np.tile(np.arange(fixed), (len(part), 1)), part + fixed], axis=1)


def counted(kind: str, m: int, size: int, count: int) -> str:
    """The sentence of counts of a proof that goes through all sets."""
    return f"{kind}: {math.comb(m, size):,} sets, {count:,} of them by bounds of their own"


def check_sets(problem: Problem, sets: NDArray[np.int64], lower: float) -> None:
    """Every set (n_sets, k) of columns has a dual bound that reaches ``lower``: the derivative at its own fit.

    Sets that contain a listed one, or two columns of a group, are closed.
    """
    if problem.listed.closes:
        sets = sets[problem.listed.free(sets)]
    if not len(sets):
        return
    dual = {"squared": _least_squares, "logistic": _logistic, "hinge": _hinge}[problem.loss]
    bounds = own_bounds(problem, sets, dual(problem, sets))
    for support, bound in zip(sets.tolist(), bounds):
        require(bound >= lower, f"the columns {support} reach F = {bound:.12g}, below the claimed bound {lower:.12g}")


def _least_squares(problem: Problem, sets: NDArray[np.int64]) -> Floats:
    Z, w = problem.Z, problem.w
    centred = problem.y - (w @ problem.y) / w.sum()
    duals = np.empty((len(sets), len(w)))
    for row, support in enumerate(sets):
        part = Z[:, support]
        M = part.T @ (part * w[:, None]) + problem.ridge * np.eye(len(support))
        duals[row] = part @ np.linalg.solve(M, part.T @ (w * centred)) - centred
    return duals


def _logistic(problem: Problem, sets: NDArray[np.int64]) -> Floats:
    """Newton's method with step halving on all sets at once; wherever it ends, the dual vector is valid."""
    y, w, size = problem.y, problem.w, sets.shape[1]
    Q = np.ones((len(sets), size + 1, len(w)))
    Q[:, :size] = problem.Z.T[sets]
    penalty = np.full(size + 1, problem.ridge)
    penalty[size] = 1e-14

    def values(beta: Floats) -> tuple[Floats, Floats]:
        f = (beta[:, None, :] @ Q)[:, 0]
        return f, np.logaddexp(0.0, -y * f) @ w + 0.5 * (penalty * beta * beta).sum(axis=1)

    positive = min(max(float(w[y > 0].sum() / w.sum()), LEAST_SHARE), 1 - LEAST_SHARE)
    beta = np.zeros((len(sets), size + 1))
    beta[:, size] = np.log(positive / (1 - positive))
    f, value = values(beta)
    for _ in range(30):
        a = derivative("logistic", y, f)
        t = -y * a
        gradient = (Q @ (w * a)[:, :, None])[:, :, 0] + penalty * beta
        H = (Q * (w * t * (1 - t))[:, None, :]) @ Q.transpose(0, 2, 1)
        H[:, np.arange(size + 1), np.arange(size + 1)] += penalty
        step = np.linalg.solve(H, gradient[:, :, None])[:, :, 0]
        if ((gradient * step).sum(axis=1) < 1e-13).all():
            break
        new = beta - step
        for _ in range(30):
            f_new, value_new = values(new)
            worse = value_new > value + 1e-14
            if not worse.any():
                break
            new[worse] = 0.5 * (new[worse] + beta[worse])
        beta, f, value = new, f_new, value_new
    return derivative("logistic", y, f)


def _hinge(problem: Problem, sets: NDArray[np.int64]) -> Floats:
    """Proximal steps until the dual vector stands still, each by Newton's method with step halving."""
    steps = Proximal.of(problem, sets)
    t = np.broadcast_to(steps.start(problem), (len(sets), len(problem.y)))
    s = np.zeros((len(sets), sets.shape[1] + 1))
    sigma = 0.5
    for _ in range(80):
        centre = t
        s, t = steps.minimise(s, centre, sigma)
        if np.abs(t - centre).max() < 1e-10:
            break
        sigma = min(2 * sigma, 1e4)
    return np.asarray(-problem.y * t)
