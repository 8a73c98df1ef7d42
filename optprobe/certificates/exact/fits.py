"""Fits in float64: hints of where a bound is good. Nothing here decides; whatever comes out, bounds hold.

The objective of many sets at once is minimised by damped Newton steps: the logistic loss as it is, the hinge loss with
its kink replaced by a parabola that grows ever narrower.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from optprobe.certificates.exact.standard import Problem

ROUGH = (4.0, 1.0, 0.1, 1e-2)
"""Widths of the parabola in place of the kink, one after the other, where there is room above the lower bound."""
FINE = (*ROUGH, 1e-3, 1e-4, 1e-5, 1e-6, 1e-7)
"""Widths after which the rows at the kink are known, in most cases."""
FINEST = (*FINE, 1e-8, 1e-9)
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


def fit(problem: Problem, sets: np.ndarray, steps: int = 40, widths: Sequence[float] = FINE) -> Fits:
    """Fits of m sets of s columns each: rough ones for the widths that are, else as good as float64 allows."""
    m, s = sets.shape
    enough = 1e-8 if widths is ROUGH else 1e-15
    with np.errstate(all="ignore"):
        columns = np.concatenate([problem.Z.T[sets], np.ones((m, 1, len(problem.y)))], axis=1)
        columns *= problem.y
        beta = np.zeros((m, s + 1))
        for width in widths if problem.loss == "hinge" else (1.0,):
            beta = _minimise(problem, columns, beta, width, steps, enough)
            last = width
        t = _slopes(problem.loss, _product(beta, columns), last)[1]
        if problem.loss == "hinge" and widths is not ROUGH:
            for i in range(m):
                _polish(problem, columns[i], beta[i], t[i])
        dual = -problem.y * t
    clean = [np.where(np.isfinite(each), each, 0.0) for each in (beta[:, :-1], beta[:, -1], dual)]
    return Fits(*clean)


def _product(beta: np.ndarray, columns: np.ndarray) -> np.ndarray:
    """The margins of every set's fit."""
    return np.asarray((beta[:, None, :] @ columns)[:, 0, :])


def _polish(problem: Problem, columns: np.ndarray, beta: np.ndarray, t: np.ndarray) -> None:
    """Replace a fit of the hinge loss by the nearest minimum that has the same rows at the kink, if there is one.

    Equal rows make many: the least change keeps t within [0, 1] in most cases.
    """
    kinks = np.flatnonzero((t > 0) & (t < 1) & (problem.w > 0))
    m, size = len(kinks), len(beta)
    if not 0 < m <= MOST_KINKS:
        return
    at, w = columns[:, kinks], problem.w
    curvature = np.diag(np.append(np.full(size - 1, problem.ridge), 0.0))
    system = np.block([[np.zeros((m, m)), at.T], [-at * w[kinks], curvature]])
    right = np.append(np.ones(m), columns @ (w * (t == 1)))
    solved = np.append(t[kinks], beta)
    try:
        solved += np.linalg.lstsq(system, right - system @ solved)[0]
    except np.linalg.LinAlgError:
        return
    if (np.abs(solved[:m] - 0.5) <= 0.5 + 1e-9).all():
        t[kinks], beta[:] = np.clip(solved[:m], 0.0, 1.0), solved[m:]


def _minimise(
    problem: Problem, columns: np.ndarray, beta: np.ndarray, width: float, steps: int, enough: float
) -> np.ndarray:
    """Damped Newton steps for all sets, until no entry of a set's gradient is above ``enough``, or none descends.

    A set whose step does not descend, however short, gets a larger multiple of the identity in the next.
    """
    size = columns.shape[1]
    beta, left, extra = beta.copy(), np.arange(len(beta)), np.full(len(beta), 1e-10)
    for _ in range(steps):
        value, slope, hessian = _expand(problem, columns, beta[left], width)
        going = (np.abs(slope) > enough).any(axis=1) & (extra[left] < 1e6)
        if not going.all():
            left, value, slope, hessian = left[going], value[going], slope[going], hessian[going]
            columns = columns[going]
        if not len(left):
            break
        step = _solve(hessian + extra[left, None, None] * np.eye(size), slope)
        length, moved = np.ones(len(left)), np.zeros(len(left), dtype=bool)
        start = beta[left]
        for _ in range(8):
            trial = start - length[:, None] * step
            better = ~moved & (_value(problem, columns, trial, width) < value)
            moved |= better
            beta[left[better]] = trial[better]
            if moved.all():
                break
            length = np.where(moved, length, length / 4)
        stuck = ~moved & (np.abs(slope) < 1e-10).all(axis=1)
        grown = np.where(stuck, 1e6, np.minimum(extra[left] * 100, 1e6))
        extra[left] = np.where(moved, np.maximum(extra[left] / 10, 1e-14), grown)
    return beta


def _penalty(problem: Problem, size: int) -> np.ndarray:
    """The ridge of every coefficient; the intercept has none."""
    ridge = np.full(size, problem.ridge)
    ridge[-1] = 0.0
    return ridge


def _value(problem: Problem, columns: np.ndarray, beta: np.ndarray, width: float) -> np.ndarray:
    """Every set's objective."""
    loss = _slopes(problem.loss, _product(beta, columns), width)[0]
    return np.asarray(loss @ problem.w + (beta**2 @ _penalty(problem, beta.shape[1])) / 2)


def _expand(
    problem: Problem, columns: np.ndarray, beta: np.ndarray, width: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Value, gradient and Hessian of every set's objective."""
    ridge = _penalty(problem, beta.shape[1])
    loss, t, curvature = _slopes(problem.loss, _product(beta, columns), width)
    value = loss @ problem.w + (beta**2 @ ridge) / 2
    slope = ridge * beta - (columns @ (problem.w * t)[:, :, None])[:, :, 0]
    hessian = (columns * (problem.w * curvature)[:, None, :]) @ columns.transpose(0, 2, 1)
    return value, slope, hessian + np.diag(ridge)


def _solve(matrices: np.ndarray, right: np.ndarray) -> np.ndarray:
    """Solutions of linear systems, 0 where there is none."""
    try:
        solved = np.linalg.solve(matrices, right[..., None])[..., 0]
    except np.linalg.LinAlgError:
        return np.zeros_like(right)
    return np.where(np.isfinite(solved), solved, 0.0)
