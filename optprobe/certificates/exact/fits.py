"""Fits in float64: hints of where a bound is good. Nothing here decides; whatever comes out, bounds hold.

The objective of many sets at once is minimised by damped Newton steps: the logistic loss as it is, the hinge loss with
its kink replaced by a parabola that grows ever narrower.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from optprobe.certificates.exact.standard import Problem

WIDTHS = (4.0, 1.0, 0.1, 1e-2, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7)
"""Widths of the parabola in place of the kink, one after the other."""
NARROWER = (*WIDTHS, 1e-8, 1e-9)
MOST_KINKS = 200


@dataclass(frozen=True, eq=False)
class Fits:
    """One fit for each of m sets of s columns: m x s coefficients, m intercepts, m x n derivatives of the loss."""

    coef: np.ndarray
    intercept: np.ndarray
    dual: np.ndarray


def derivative(loss: str, y: np.ndarray, f: np.ndarray) -> np.ndarray:
    """The derivative of the loss in f, as a tree's points define it; numbers that overflow become 0."""
    with np.errstate(all="ignore"):
        if loss == "squared":
            a = f - y
        elif loss == "logistic":
            a = -y / (1 + np.exp(y * f))
        else:
            a = np.where(y * f < 1, -y, 0.0)
    return np.where(np.isfinite(a), a, 0.0)


def _slopes(loss: str, margin: np.ndarray, width: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Loss, minus its slope, and curvature as functions of the margin ``y f``."""
    if loss == "logistic":
        t = 1 / (1 + np.exp(np.clip(margin, -700, 700)))
        return np.logaddexp(0.0, -margin), t, t * (1 - t)
    if loss == "squared":
        return (1 - margin) ** 2 / 2, 1 - margin, np.ones_like(margin)
    short = 1 - margin
    t = np.clip(short / width, 0.0, 1.0)
    return t * (short - width * t / 2), t, ((t > 0) & (t < 1)) / width


def fit(problem: Problem, sets: np.ndarray, steps: int = 40, *, narrower: bool = False) -> Fits:
    """Fits of m sets of s columns each; with narrower parabolas, if that is asked for."""
    m, s = sets.shape
    with np.errstate(all="ignore"):
        columns = np.concatenate([problem.Z.T[sets], np.ones((m, 1, len(problem.y)))], axis=1)
        columns *= problem.y
        beta = np.zeros((m, s + 1))
        widths = NARROWER if narrower else WIDTHS
        for width in widths if problem.loss == "hinge" else (1.0,):
            beta = _minimise(problem, columns, beta, width, steps)
            last = width
        margin = np.einsum("ms,msn->mn", beta, columns)
        t = _slopes(problem.loss, margin, last)[1]
        if problem.loss == "hinge":
            for i in range(m):
                _polish(problem, columns[i], beta[i], t[i])
        dual = -problem.y * t
    clean = [np.where(np.isfinite(each), each, 0.0) for each in (beta[:, :-1], beta[:, -1], dual)]
    return Fits(*clean)


def _polish(problem: Problem, columns: np.ndarray, beta: np.ndarray, t: np.ndarray) -> None:
    """Replace a fit of the hinge loss by the minimum that has the same rows at the kink, if there is one."""
    kinks = np.flatnonzero((t > 0) & (t < 1) & (problem.w > 0))
    m, size = len(kinks), len(beta)
    if not 0 < m <= MOST_KINKS:
        return
    at, w = columns[:, kinks], problem.w
    curvature = np.diag(np.append(np.full(size - 1, problem.ridge), 0.0))
    system = np.block([[np.zeros((m, m)), at.T], [-at * w[kinks], curvature]])
    right = np.append(np.ones(m), columns @ (w * (t == 1)))
    solved = _solve(system[None], right[None])[0]
    if solved.any() and (np.abs(solved[:m] - 0.5) <= 0.5 + 1e-9).all():
        t[kinks], beta[:] = np.clip(solved[:m], 0.0, 1.0), solved[m:]


def _minimise(problem: Problem, columns: np.ndarray, beta: np.ndarray, width: float, steps: int) -> np.ndarray:
    """Damped Newton steps for all sets, until none of them descends.

    A set whose step does not descend, however short, gets a larger multiple of the identity in the next.
    """
    m, size, _ = columns.shape
    ridge = np.full(size, problem.ridge)
    ridge[-1] = 0.0
    extra = np.full(m, 1e-10)
    value, slope, hessian = _expand(problem, columns, beta, ridge, width)
    for _ in range(steps):
        step = _solve(hessian + extra[:, None, None] * np.eye(size), slope)
        length, moved = np.ones(m), np.zeros(m, dtype=bool)
        for _ in range(8):
            trial = beta - length[:, None] * step
            better = ~moved & (_value(problem, columns, trial, ridge, width) < value)
            moved |= better
            beta = np.where(better[:, None], trial, beta)
            if moved.all():
                break
            length = np.where(moved, length, length / 4)
        extra = np.where(moved, np.maximum(extra / 10, 1e-14), np.minimum(extra * 100, 1e6))
        still = (np.abs(slope) > 1e-15).any(axis=1) & (moved | (extra < 1e6))
        if not still.any():
            break
        value, slope, hessian = _expand(problem, columns, beta, ridge, width)
    return beta


def _value(problem: Problem, columns: np.ndarray, beta: np.ndarray, ridge: np.ndarray, width: float) -> np.ndarray:
    """Every set's objective."""
    loss = _slopes(problem.loss, np.einsum("ms,msn->mn", beta, columns), width)[0]
    return np.asarray(loss @ problem.w + (beta**2 @ ridge) / 2)


def _expand(
    problem: Problem, columns: np.ndarray, beta: np.ndarray, ridge: np.ndarray, width: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Value, gradient and Hessian of every set's objective."""
    loss, t, curvature = _slopes(problem.loss, np.einsum("ms,msn->mn", beta, columns), width)
    value = loss @ problem.w + (beta**2 @ ridge) / 2
    slope = ridge * beta - np.einsum("msn,mn->ms", columns, problem.w * t)
    hessian = np.einsum("msn,mn,mtn->mst", columns, problem.w * curvature, columns, optimize=True)
    return value, slope, hessian + np.diag(ridge)


def _solve(matrices: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Solutions of linear systems, 0 where there is none."""
    try:
        solved = np.linalg.solve(matrices, right[..., None])[..., 0]
    except np.linalg.LinAlgError:
        return np.zeros_like(right)
    return np.where(np.isfinite(solved), solved, 0.0)
