"""Newton's method for one penalised logistic fit, compiled: the inner step of the tree's dual ascent."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from optprobe.engines.kernels.options import OPTIONS

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

TINY = 1e-300


@njit(**OPTIONS)
def _loss(neurons: Floats, support: Ints, y: Floats, w: Floats, penalty: Floats, beta: Floats, f: Floats) -> float:
    """The penalised loss at beta; fills the predictions f."""
    q = len(support)
    f[:] = beta[q]
    total = 0.0
    for c in range(q):
        b, z = beta[c], neurons[support[c]]
        total += 0.5 * penalty[c] * b * b
        for i in range(len(f)):
            f[i] += b * z[i]
    for i in range(len(f)):
        m = -y[i] * f[i]
        total += w[i] * (max(m, 0.0) + np.log1p(np.exp(-abs(m))))
    return total


@njit(**OPTIONS)
def _slope(y: Floats, f: Floats, a: Floats) -> None:
    """a = -y t, t = sigma(-y f)."""
    for i in range(len(f)):
        m = -y[i] * f[i]
        e = np.exp(-abs(m))
        a[i] = -y[i] * (1.0 if m > 0.0 else e) / (1.0 + e)


@njit(**OPTIONS)
def _newton_step(
    neurons: Floats, support: Ints, w: Floats, penalty: Floats, beta: Floats, a: Floats, H: Floats, step: Floats
) -> None:
    """step = H^-1 gradient at the fit whose slopes are a, by Cholesky."""
    q, n = len(support), len(w)
    D, wa, zD = np.empty(n), np.empty(n), np.empty(n)
    for i in range(n):
        t = abs(a[i])
        D[i] = w[i] * t * (1.0 - t)
        wa[i] = w[i] * a[i]
    for c in range(q + 1):
        if c < q:
            z = neurons[support[c]]
            g = penalty[c] * beta[c]
            intercept = 0.0
            for i in range(n):
                g += z[i] * wa[i]
                zD[i] = z[i] * D[i]
                intercept += zD[i]
            step[c], H[q, c] = g, intercept
            for d in range(c + 1):
                other, h = neurons[support[d]], 0.0
                for i in range(n):
                    h += zD[i] * other[i]
                H[c, d] = h
            H[c, c] += penalty[c]
        else:
            step[c], H[c, c] = wa.sum(), D.sum() + 1e-14
    for c in range(q + 1):
        for d in range(c + 1):
            h = H[c, d]
            for e in range(d):
                h -= H[c, e] * H[d, e]
            H[c, d] = np.sqrt(max(h, TINY)) if c == d else h / H[d, d]
        for e in range(c):
            step[c] -= H[c, e] * step[e]
        step[c] /= H[c, c]
    for c in range(q, -1, -1):
        for e in range(c + 1, q + 1):
            step[c] -= H[e, c] * step[e]
        step[c] /= H[c, c]


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
    neurons: Floats, support: Ints, y: Floats, w: Floats, penalty: Floats, beta: Floats, steps: int, a: Floats
) -> tuple[float, float]:
    """Newton's method with step halving on ``sum w loss + sum penalty b^2 / 2``, from beta, at most ``steps`` times.

    Parameters
    ----------
    neurons : ndarray, shape (m, n_rows)
        Of which the rows ``support``, shape (q,), are used.
    beta : ndarray, shape (q + 1,)
        Coefficients and intercept; changed in place.
    a : ndarray, shape (n_rows,)
        Filled with the slopes of the loss at the end, the classes balanced.

    Returns
    -------
    The objective there and g(a).
    """
    q, n = len(support), len(y)
    H, step, f = np.empty((q + 1, q + 1)), np.empty(q + 1), np.empty(n)
    value = _loss(neurons, support, y, w, penalty, beta, f)
    for _ in range(steps):
        _slope(y, f, a)
        _newton_step(neurons, support, w, penalty, beta, a, H, step)
        beta -= step
        new = _loss(neurons, support, y, w, penalty, beta, f)
        for _ in range(30):
            if new <= value + 1e-15:
                break
            step *= 0.5
            beta += step
            new = _loss(neurons, support, y, w, penalty, beta, f)
        done = value - new < 1e-13
        value = new
        if done:
            break
    _slope(y, f, a)
    return float(value), float(_dual_value(y, w, a))
