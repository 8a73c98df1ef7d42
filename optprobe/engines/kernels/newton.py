"""Newton's method for one penalised logistic fit, compiled: the inner step of the tree's dual ascent."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from optprobe.engines.kernels.options import OPTIONS

Floats = NDArray[np.float64]

TINY = 1e-300


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
    """H^-1 gradient at the fit whose slopes are a, by Cholesky."""
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
    for c in range(q + 1):
        for d in range(c + 1):
            h = H[c, d]
            for b in range(d):
                h -= H[c, b] * H[d, b]
            H[c, d] = np.sqrt(max(h, TINY)) if c == d else h / H[d, d]
        for b in range(c):
            step[c] -= H[c, b] * step[b]
        step[c] /= H[c, c]
    for c in range(q, -1, -1):
        for b in range(c + 1, q + 1):
            step[c] -= H[b, c] * step[b]
        step[c] /= H[c, c]
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
