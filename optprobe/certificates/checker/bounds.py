"""Bounds with every rounding counted against the claim: the objective from above, dual vectors from below."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .problem import Problem, U

Array = NDArray[Any]
Floats = NDArray[np.float64]

UNDERFLOW = 1e-250
"""Above what underflow adds to any sum here: 2^-1075 for each operation."""
SUBNORMAL = 2.0**-1022
"""Above what underflow takes off a square."""
ABOVE = 1.01
"""More than rounded sums of numbers that are not negative err by, and squares of columns and W differ from 1."""


def gamma(n: int) -> float:
    """n u / (1 - n u), n u < 1: the relative error of n roundings, if nothing overflows and no product underflows."""
    return n * U / (1 - n * U)


def objective(problem: Problem, support: tuple[int, ...], coef: Floats, intercept: float) -> tuple[float, float]:
    """The objective at one point, and a bound of its rounding error.

    A squared loss (y - f)^2 / 2 errs by |y - f| times the error of f, by half the square of that, and by 3 u of itself,
    whatever y is.
    """
    terms = problem.Z[:, list(support)] * coef
    f = terms.sum(axis=1) + intercept
    error_f = gamma(len(support) + 4) * (np.abs(terms).sum(axis=1) + abs(intercept))
    if problem.loss == "squared":
        loss = 0.5 * (problem.y - f) ** 2
        slope = np.abs(problem.y - f) + error_f
    else:
        loss = np.logaddexp(0.0, -problem.y * f) if problem.loss == "logistic" else np.maximum(0.0, 1.0 - problem.y * f)
        slope = np.ones_like(f)
    penalty = 0.5 * problem.ridge * float(coef @ coef)
    value = float(problem.w @ loss) + penalty
    error = float(problem.w @ (slope * (error_f + 16 * U * (1 + np.abs(f))))) * (1 + 1e-6)
    return value, error + gamma(len(f) + 24) * value + UNDERFLOW


@dataclass(frozen=True)
class Duals:
    """A block of feasible dual vectors: their values rounded down, their discounts rounded up."""

    value: Floats
    discount: Floats


def intercept_bound(problem: Problem) -> float:
    """B >= |b0| at the optimum of every support.

    F(S) <= F(empty) <= F0 = (1/2, log 2, 1) W at the zero fit, so |b| <= sqrt(2 F0 / ridge). Logistic and hinge loss
    are at least -y f, so over one class W_c (|b0| - |m_c'b|) <= F0 with the class mean m_c, whose entries are at most
    sqrt(W / W_c) for columns of unit square (Cauchy and Schwarz). For the squared loss b0 = mean y - (mean z)'b is
    smaller still.

    A target has no classes, but unit square, so F0 = W / 2 again, and a mean next to 0; those of the columns are at
    most 1 in absolute value. Hence |b0| <= |mean y| + |mean z| |b| <= 1/2 + sqrt(size) |b|: the bound for labels with
    W in place of the smaller W_c. What unit squares and means err by, 1e-9, is far below the factor 1.01.
    """
    total = float(problem.w.sum())
    smaller = total
    if not problem.target:
        smaller = min(float(problem.w[problem.y > 0].sum()), float(problem.w[problem.y < 0].sum()))
    start = {"squared": 0.5, "logistic": math.log(2.0), "hinge": 1.0}[problem.loss] * total
    slope = math.sqrt(problem.size * total / smaller) * math.sqrt(2 * start / problem.ridge)
    return 1.01 * (start / smaller + slope)


def duals_of(problem: Problem, a: Floats) -> Duals:
    """Make the rows of ``a`` (m, n_rows) feasible, then bound value and discounts from the safe side."""
    a, value = _feasible(problem, a)
    return Duals(value, _discount(problem, a, (problem.w * a) @ problem.Z))


def duals_at(problem: Problem, taken: Floats, a: Floats, b: Floats, spread: Floats) -> Duals:
    """Values and discounts of points with a diagonal taken out, by the theorem of `diagonal`, from the safe side.

    ``a`` (m, n_rows) are their derivatives as computed from at most n_neurons coefficients each, ``b`` (m, n_neurons)
    the coefficients by column, ``spread`` (m,) the sums of their absolute values and of the intercept's.

    The theorem is about Z b and the constant that makes sum w a = 0, and ``a`` differs from that: by the rounding of
    predictions and of equal columns added up, gamma_{2p+8} (|Z| |b| + |b0| + |y|) + 2 u |a| in each row, ``rough`` in
    the weighted norm, and by a constant, which is as large as what is left of sum w a. What they add up to, ``off``,
    changes g by off (|y| + |a|) + off^2 / 2, and v_j by off times the norm of a column.
    """
    a, value = _feasible(problem, a)
    w, (n, p) = problem.w, problem.Z.shape
    root = ABOVE * math.sqrt(w.sum())
    norm = ABOVE * np.sqrt((a * a) @ w + SUBNORMAL)
    unbalanced = np.abs(a @ w) + gamma(n + 4) * (np.abs(a) @ w) + UNDERFLOW
    rough = gamma(2 * p + 16) * root * (spread + ABOVE) + 4 * U * norm
    off = ABOVE * (2 * rough + ABOVE * unbalanced / root) + UNDERFLOW
    squares = 0.5 * b * b
    kept, error = squares @ taken, gamma(p + 8) * (squares @ np.abs(taken))
    error += off * (norm + ABOVE * root + off) + 8 * U * (np.abs(value) + np.abs(kept)) + UNDERFLOW
    v, shared = (w * a) @ problem.Z, taken * b
    size = np.abs(v) + np.abs(shared)
    rest = np.abs(v - shared) + 4 * U * size + (root * (gamma(n + 8) * norm + off) + UNDERFLOW)[:, None]
    discount = (rest * rest + SUBNORMAL) * ((1 + 16 * U) / (2 * (problem.ridge + taken)))
    return Duals(value + kept - ABOVE * error, discount)


def own_bounds(problem: Problem, sets: NDArray[np.int64], a: Floats) -> Floats:
    """Lower bounds of F of the rows of ``sets`` (m, k), each by its own row of ``a`` (m, n_rows), made feasible."""
    a, value = _feasible(problem, a)
    v = (problem.Z.T[sets] @ (problem.w * a)[:, :, None])[:, :, 0]
    taken = _discount(problem, a, v).sum(axis=1) * (1 + gamma(problem.size + 4))
    return np.asarray(value - taken - 4 * U * (np.abs(value) + taken))


def _feasible(problem: Problem, a: Floats) -> tuple[Floats, Floats]:
    """The rows of ``a`` in the domain of the conjugate and balanced; their g - |e| B, rounded down.

    The squared loss errs by gamma times its terms a y and a^2 / 2, whatever y is.
    """
    y, w, n = problem.y, problem.w, len(problem.y)
    if problem.loss == "squared":
        a = a - (a @ w)[:, None] / w.sum()
        value = -((a * y + 0.5 * a * a) @ w)
        error = gamma(n + 8) * ((np.abs(a * y) + 0.5 * a * a) @ w)
    else:
        t = np.clip(-y * a, 0.0, 1.0)
        positive = y > 0
        sums = t @ (w * positive), t @ (w * ~positive)
        target = np.minimum(*sums)
        scale = [np.divide(target, part, out=np.zeros_like(part), where=part > 0)[:, None] for part in sums]
        t = np.minimum(t * np.where(positive, scale[0], scale[1]), 1.0)
        a = -y * t
        value = (_entropy(t) if problem.loss == "logistic" else t) @ w
        error = gamma(n + 32) * value
    unbalanced = np.abs(a @ w) + gamma(n + 4) * (np.abs(a) @ w) + UNDERFLOW
    return a, value - error - unbalanced * intercept_bound(problem) - 8 * U * np.abs(value) - UNDERFLOW


def _discount(problem: Problem, a: Floats, v: Floats) -> Floats:
    """Discounts rounded up, for v = Z'(w a) in any order of summation.

    A small ridge magnifies what underflows: v^2, or sum w a^2, where v^2 <= W sum w a^2 is below SUBNORMAL.
    """
    n = len(problem.w)
    norm = np.sqrt((a * a) @ problem.w) * (1 + gamma(n + 8)) * 1.001 * math.sqrt(problem.w.sum())
    v_up = np.abs(v) + (gamma(n + 8) * norm + UNDERFLOW)[:, None]
    return np.asarray((v_up * v_up + SUBNORMAL) * ((1 + 16 * U) / (2 * problem.ridge)))


def _entropy(t: Floats) -> Floats:
    """-t log t - (1 - t) log(1 - t) on [0, 1]: two non-negative terms, each to a relative error of a few u."""
    tiny = np.finfo(np.float64).tiny
    return np.asarray(-t * np.log(np.maximum(t, tiny)) - (1.0 - t) * np.log1p(-np.minimum(t, 1.0 - U)))


def node_bound(problem: Problem, value: float, discount: Floats, inside: list[int], free: Array) -> tuple[float, float]:
    """Node bound rounded down, and the smallest discount counted among the free columns."""
    need = problem.size - len(inside)
    if need > len(free):
        return math.inf, 0.0
    top = np.partition(discount[free], len(free) - need)[len(free) - need :] if need else np.zeros(0)
    taken = (float(discount[inside].sum()) + float(top.sum())) * (1 + gamma(problem.size + 4))
    return value - taken - 4 * U * (abs(value) + taken), float(top.min()) if need else 0.0


def derivative(loss: str, y: Floats, f: Floats) -> Floats:
    """The derivative of the loss at the predictions f."""
    if loss == "squared":
        return np.asarray(f - y)
    if loss == "hinge":
        return np.where(y * f < 1.0, -y, 0.0)
    e = np.exp(-np.abs(f))
    return np.asarray(-y * np.where(y * f < 0, 1.0, e) / (1.0 + e))
