"""The loop over the rows of single neurons by the logistic loss, compiled: every sum of `sweeps.singles`' theorem.

Rows are taken in parts that stay in the nearest cache, and no step branches, so that every one becomes vector
instructions. exp and log1p are made here of series, since calls of a library are made for one number at a time. For x
in [-FAR, 0], with k the integer next to ``x / log 2`` and ``r = x - k log 2``, ``exp(x) = 2^k exp(r)``: k times the
first part of log 2 is exact, the difference from x too (Sterbenz), so that r errs by ``u (|r| + 2^-28)``; the series to
r^13 leaves 2^-57 of exp(r), and its evaluation errs by less than 3 u of it. For e in [0, 1], ``log1p(e) = 2 artanh(s)``
with ``s = e / (2 + e) <= 1/3``, whose series to s^33 leaves less than 2^-57 of it.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from optprobe.engines.kernels.options import OPTIONS

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

PART = 512
"""Rows that are worked on at once."""
FAR = 700.0
"""Margins farther from 0 than this are taken to be there: any vector of predictions has a bound."""
EXACT = OPTIONS | {"fastmath": {"nsz", "contract"}}
"""Sums in the order that is written, which the rounding to integers needs."""
PER_LOG2, FIRST, SECOND = 1 / math.log(2), float.fromhex("0x1.62e42fefap-1"), float.fromhex("0x1.cf79abc9e3b3ap-40")
"""1 / log 2; and log 2 in two parts, the first of 36 bits."""
WHOLE = 1.5 * 2.0**52
"""A number added to this is rounded to an integer, which its last bits then are."""


@njit(**EXACT)
def _exponentials(x: Floats, e: Floats, rest: Floats) -> None:
    """Set e to exp(x), x in [-FAR, 0]; ``rest`` is room."""
    bits = e.view(np.int64)
    for i in range(len(x)):
        shifted = x[i] * PER_LOG2 + WHOLE
        k = shifted - WHOLE
        e[i] = shifted
        rest[i] = (x[i] - k * FIRST) - k * SECOND
    for i in range(len(x)):
        bits[i] = (bits[i] + 1023) << 52
    for i in range(len(x)):
        r = rest[i]
        p = 1 / 39916800 + r * (1 / 479001600 + r * (1 / 6227020800))
        p = 1 / 40320 + r * (1 / 362880 + r * (1 / 3628800 + r * p))
        p = 1 / 120 + r * (1 / 720 + r * (1 / 5040 + r * p))
        p = 0.5 + r * (1 / 6 + r * (1 / 24 + r * p))
        e[i] *= 1.0 + r * (1.0 + r * p)


@njit(**EXACT)
def _logarithm(e: float) -> float:
    """log1p(e), e in [0, 1]."""
    s = e / (2.0 + e)
    z = s * s
    p = 1 / 27 + z * (1 / 29 + z * (1 / 31 + z * (1 / 33)))
    p = 1 / 19 + z * (1 / 21 + z * (1 / 23 + z * (1 / 25 + z * p)))
    p = 1 / 11 + z * (1 / 13 + z * (1 / 15 + z * (1 / 17 + z * p)))
    p = 1 / 3 + z * (1 / 5 + z * (1 / 7 + z * (1 / 9 + z * p)))
    return 2.0 * s * (1.0 + z * p)


@njit(**OPTIONS)
def _added(z: Floats, y: Floats, w: Floats, e: Floats, margin: Floats, sums: Floats) -> None:
    """Add what some rows have to the sums of a neuron; e is exp(-|margin|)."""
    s0 = s1 = s2 = s3 = s4 = s5 = s6 = 0.0
    for i in range(len(z)):
        q, m = 1.0 / (1.0 + e[i]), margin[i]
        wa = -y[i] * w[i] * q * (e[i] if m > 0 else 1.0)
        wD = w[i] * (e[i] * q * q)
        s0 += wa
        s1 += wa * z[i]
        s2 += wD
        s3 += wD * z[i]
        s4 += wD * z[i] * z[i]
        s5 += wD * (y[i] * m)
        s6 += w[i] * (abs(m) * e[i] * q + _logarithm(e[i]))
    sums[0] += s0
    sums[1] += s1
    sums[2] += s2
    sums[3] += s3
    sums[4] += s4
    sums[5] += s5
    sums[6] += s6


@njit(**EXACT)
def sums_of_singles(neurons: Floats, columns: Ints, y: Floats, w: Floats, points: Floats) -> Floats:
    """Sums over the rows, shape (m, 7), of some neurons, each at its coefficient and intercept.

    Parameters
    ----------
    neurons : ndarray, shape (n_neurons, n_rows)
    columns : ndarray, shape (m,)
    y, w : ndarray, shape (n_rows,)
        Labels of -1 and +1, and weights.
    points : ndarray, shape (m, 2)

    Returns those of ``w a``, ``w a z``, ``w D``, ``w D z``, ``w D z^2``, ``w D f`` and ``w H``, in which f is a
    prediction within [-FAR, FAR].
    """
    sums = np.zeros((len(columns), 7))
    x, e, rest, margin = np.empty(PART), np.empty(PART), np.empty(PART), np.empty(PART)
    for number in range(len(columns)):
        neuron, b, b0 = neurons[columns[number]], points[number, 0], points[number, 1]
        for start in range(0, len(y), PART):
            z, labels, weights = neuron[start : start + PART], y[start : start + PART], w[start : start + PART]
            n = len(z)
            for i in range(n):
                m = labels[i] * (b * z[i] + b0)
                m = m if m < FAR else FAR
                m = m if m > -FAR else -FAR
                margin[i] = m
                x[i] = -abs(m)
            _exponentials(x[:n], e[:n], rest[:n])
            _added(z, labels, weights, e[:n], margin[:n], sums[number])
    return sums
