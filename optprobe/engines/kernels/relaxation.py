"""Newton's method for one penalised fit, logistic or hinge, compiled: the inner step of the tree's dual ascent."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from optprobe.engines.kernels.linear import solve
from optprobe.engines.kernels.options import OPTIONS

Floats = NDArray[np.float64]

TINY = 1e-300
LONGEST_STEP = 4.0
DAMPED = 1e-6
"""Hinge loss: added to the curvature in the intercept, times sigma; it is 0 where no row is inside the box."""


@njit(**OPTIONS)
def _loss(Q: Floats, y: Floats, w: Floats, penalty: Floats, beta: Floats, e: Floats, f: Floats) -> float:
    """The penalised loss at beta; fills the predictions f and e = exp(-|f|)."""
    f[:] = np.dot(beta, Q)
    total = 0.0
    for c in range(len(penalty)):
        total += 0.5 * penalty[c] * beta[c] * beta[c]
    for i in range(len(f)):
        e[i] = np.exp(-abs(f[i]))
        total += w[i] * (max(-y[i] * f[i], 0.0) + np.log1p(e[i]))
    return total


@njit(**OPTIONS)
def _slope(y: Floats, e: Floats, f: Floats, a: Floats) -> None:
    """a = -y t, t = sigma(-y f)."""
    for i in range(len(f)):
        a[i] = -y[i] * (e[i] if y[i] * f[i] > 0.0 else 1.0) / (1.0 + e[i])


@njit(**OPTIONS)
def _newton_step(Q: Floats, w: Floats, penalty: Floats, beta: Floats, a: Floats) -> Floats:
    """H^-1 gradient at the fit whose slopes are a."""
    q, n = len(penalty), len(w)
    weighted = np.empty_like(Q)
    for c in range(q + 1):
        for i in range(n):
            weighted[c, i] = Q[c, i] * w[i] * abs(a[i]) * (1.0 - abs(a[i]))
    H, step = np.dot(weighted, Q.T), np.dot(Q, w * a)
    H[q, q] += 1e-14
    for c in range(q):
        H[c, c] += penalty[c]
        step[c] += penalty[c] * beta[c]
    solve(H, step)
    return np.asarray(step)


@njit(**OPTIONS)
def _dual_value(y: Floats, w: Floats, a: Floats) -> float:
    """Balance the classes of a in place (`formulations.losses.base.balance_classes`); returns g(a)."""
    of_positive = of_negative = 0.0
    for i in range(len(y)):
        if y[i] > 0.0:
            of_positive -= w[i] * a[i]
        else:
            of_negative += w[i] * a[i]
    least = min(of_positive, of_negative)
    total = 0.0
    for i in range(len(y)):
        a[i] *= least / max(of_positive if y[i] > 0.0 else of_negative, TINY)
        t = min(abs(a[i]), 1.0 - 2.0**-53)
        total -= w[i] * (t * np.log(max(t, TINY)) + (1.0 - t) * np.log1p(-t))
    return total


@njit(**OPTIONS)
def logistic_fit(
    Q: Floats, y: Floats, w: Floats, penalty: Floats, beta: Floats, steps: int, a: Floats
) -> tuple[float, float]:
    """Newton's method with step halving on ``sum w loss + sum penalty b^2 / 2``, from beta, at most ``steps`` times.

    Parameters
    ----------
    Q : ndarray, shape (q + 1, n_rows)
        The columns, the last one all ones (the intercept, not penalised).
    penalty : ndarray, shape (q,)
    beta : ndarray, shape (q + 1,)
        Coefficients and intercept; changed in place.
    a : ndarray, shape (n_rows,)
        Filled with the slopes of the loss at the end, the classes balanced.

    Returns
    -------
    The objective there and g(a).
    """
    e, f = np.empty(len(y)), np.empty(len(y))
    value = _loss(Q, y, w, penalty, beta, e, f)
    for _ in range(steps):
        _slope(y, e, f, a)
        step = _newton_step(Q, w, penalty, beta, a)
        beta -= step
        new = _loss(Q, y, w, penalty, beta, e, f)
        for _ in range(30):
            if new <= value + 1e-15:
                break
            step *= 0.5
            beta += step
            new = _loss(Q, y, w, penalty, beta, e, f)
        done = value - new < 1e-13
        value = new
        if done:
            break
    _slope(y, e, f, a)
    return float(value), float(_dual_value(y, w, a))


@njit(**OPTIONS)
def _margins(
    P: Floats, w: Floats, penalty: Floats, beta: Floats, centre: Floats, sigma: float, m: Floats, t: Floats
) -> float:
    """Fill the margins m and ``t = clip(centre + sigma m, 0, 1)``; returns the function that beta minimises."""
    m[:] = 1.0 - np.dot(beta, P)
    total = 0.0
    for c in range(len(penalty)):
        total += 0.5 * penalty[c] * beta[c] * beta[c]
    for i in range(len(m)):
        t[i] = min(max(centre[i] + sigma * m[i], 0.0), 1.0)
        moved = t[i] - centre[i]
        total += w[i] * (t[i] * m[i] - moved * moved * (0.5 / sigma))
    return total


@njit(**OPTIONS)
def _proximal_step(P: Floats, w: Floats, penalty: Floats, beta: Floats, sigma: float, t: Floats) -> Floats:
    """The Newton step of the function of `_margins`, none of its entries above `LONGEST_STEP`."""
    q, n = len(penalty), len(w)
    weighted = np.zeros_like(P)
    for c in range(q + 1):
        for i in range(n):
            weighted[c, i] = P[c, i] * w[i] * sigma if (t[i] > 0.0) & (t[i] < 1.0) else 0.0
    H, step = np.dot(weighted, P.T), -np.dot(P, w * t)
    H[q, q] += DAMPED * sigma
    for c in range(q):
        H[c, c] += penalty[c]
        step[c] += penalty[c] * beta[c]
    solve(H, step)
    step *= min(1.0, LONGEST_STEP / max(np.abs(step).max(), TINY))
    return np.asarray(step)


@njit(**OPTIONS)
def hinge_fit(
    P: Floats, y: Floats, w: Floats, penalty: Floats, beta: Floats, t: Floats, sigma: float, steps: int, rounds: int,
    a: Floats,
) -> tuple[float, float]:  # fmt: skip
    """Proximal steps (`optprobe.engines.sweeps.hinge`) on ``sum w loss + sum penalty b^2 / 2``, from t and beta.

    Parameters
    ----------
    P : ndarray, shape (q + 1, n_rows)
        The columns times the label, the last one the label itself (the intercept, not penalised).
    beta, t : ndarray, shape (q + 1,) and (n_rows,)
        Coefficients with intercept, and the dual, in [0, 1]; changed in place.
    sigma, steps, rounds : float, int, int
        The first step size, which doubles; Newton steps of a proximal step, and proximal steps, at most.
    a : ndarray, shape (n_rows,)
        Filled with ``-y t``, the classes balanced.

    Returns
    -------
    The objective at beta and g(a).
    """
    n = len(y)
    m, centre = np.empty(n), np.empty(n)
    for _ in range(rounds):
        centre[:] = t
        value = _margins(P, w, penalty, beta, centre, sigma, m, t)
        for _ in range(steps):
            step = _proximal_step(P, w, penalty, beta, sigma, t)
            beta -= step
            new = _margins(P, w, penalty, beta, centre, sigma, m, t)
            for _ in range(30):
                if new <= value + 1e-15:
                    break
                step *= 0.5
                beta += step
                new = _margins(P, w, penalty, beta, centre, sigma, m, t)
            done = value - new < 1e-12
            value = new
            if done:
                break
        sigma *= 2.0
        if np.abs(t - centre).max() < 1e-9:
            break
    objective, of_positive, of_negative = 0.0, 0.0, 0.0
    for c in range(len(penalty)):
        objective += 0.5 * penalty[c] * beta[c] * beta[c]
    for i in range(n):
        objective += w[i] * max(m[i], 0.0)
        if y[i] > 0.0:
            of_positive += w[i] * t[i]
        else:
            of_negative += w[i] * t[i]
    least = min(of_positive, of_negative)
    for i in range(n):
        a[i] = -y[i] * t[i] * least / max(of_positive if y[i] > 0.0 else of_negative, TINY)
    return objective, 2.0 * least
