"""Logistic loss: around one reference fit, every set gets a dual vector of its own.

Let f be the stored reference, ``t = sigma(-y f)``, ``D = t (1 - t)``, ``zeta = f + y t / D``, ``lo = box min(t, 1 -
t)``.

*Majorant.* With ``h(s) = s log s + (1 - s) log(1 - s) + zeta y s - s^2 / (2 D)`` and ``A = max(h(t), h(lo), h(1 -
lo))``, the conjugate is at most ``A + zeta a + a^2 / (2 D)`` for ``lo <= -y a <= 1 - lo``: h'' = 1 / (s (1 - s)) - 1 /
D is negative exactly between t and 1 - t, and h'(t) = 0. On the concave piece h falls from h(t), on the two convex ones
it is largest at an end, and the inner ends are at most h(t).

*Rounding of the majorant.* The D that counts is omega / w, with omega = w D as stored: three roundings from t (1 - t)
for the computed t. Then A must be raised by ``|h'(t)| + 2 |1 / D - 1 / (t (1 - t))|`` for the D, zeta and t that are
used (`Majorant.h_majorised_rounded` of the machine-checked proofs): the latter is at most 6.1 u / D, and h'(t), which
t's and zeta's roundings move from 0, at most 64 u (1 + |zeta|) + 16 u / D. The values of h err by 16 u (1 + |zeta| + 1
/ D), and by 2 u / D for D. All that is below 128 u (1 + |zeta| + 1 / D); A is raised by twice that.

*Minorant.* Let ``<u, v> = sum omega u v``, zc = zeta - c, and for any x with ``lo <= -y D (x - zc) <= 1 - lo`` let ``a
= D (x - zc)``, ``e = sum w a = <1, x> - <1, zc>``. The dual bound of the checker, the majorant, and ``zc a + a^2 / (2
D) = D (x^2 - zc^2) / 2`` give for every S

    F(S) >= base - <x, x> / 2 - sum_{l in S} (r_l - <z_l, x>)^2 / (2 ridge) - |e| (B + |c|) - eta0

with ``base = sum (omega zc^2 / 2 - w A)``, ``r_l = <z_l, zc>``; eta0 bounds the rounding of zc, since |w a| <= w.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from .bounds import UNDERFLOW, gamma, intercept_bound
from .problem import Problem, U

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

TINY = 1e-9
"""Relative: shares of the box are raised, and the box is narrowed, by this much more than their rounding."""
SHRUNK = 0.05
"""Of the box, on both sides, for the x of a single set; its shift to <1, x> = 0 must stay below."""


@dataclass(frozen=True)
class Minorant:
    """The minorant of the module's text, for the m columns (rows of Z, shape (m, n)) in the order of the sweep."""

    Z: Floats
    omega: Floats
    low: Floats
    high: Floats
    base: float
    zc: Floats
    r: Floats
    norm: float
    zc_norm: float
    ridge: float
    cost_of_e: float
    e0: float

    @property
    def error(self) -> float:
        """Relative error of a product <u, v>, against |u| |v|."""
        return gamma(len(self.omega) + 8)

    @property
    def holds_zero(self) -> bool:
        """Whether x = 0 lies in the box, as a screen without a prefix needs."""
        return bool((self.low <= 0).all() and (self.high >= 0).all())

    def of(self, problem: Problem, columns: Ints) -> Minorant:
        """The same for other columns: omega, the box and zc are the reference's alone."""
        used, Z = problem.w > 0, problem.Z.T[columns]
        Z = Z if used.all() else Z[:, used]
        norm = math.sqrt(float(((Z * Z) @ self.omega).max(initial=0.0))) * (1 + TINY)
        return replace(self, Z=Z, r=Z @ (self.omega * self.zc), norm=norm)


def minorant_at(problem: Problem, columns: Ints, reference: Floats, box: float) -> Minorant:
    """The minorant of a reference, for columns in the order of a sweep."""
    used = problem.w > 0
    y, w, f = problem.y[used], problem.w[used], np.clip(reference[used], -6.0, 6.0)
    t = 1.0 / (1.0 + np.exp(y * f))
    D = t * (1.0 - t)
    zeta = f + y * t / D
    lo = box * np.minimum(t, 1.0 - t)

    def h(s: Floats) -> Floats:
        return np.asarray(s * np.log(s) + (1 - s) * np.log1p(-s) + zeta * y * s - s * s / (2 * D))

    A = np.maximum(h(t), np.maximum(h(lo), h(1.0 - lo))) + 256 * U * (1 + np.abs(zeta) + 1 / D)
    omega = w * D
    shift = float(omega @ zeta) / float(omega.sum())
    zc = zeta - shift
    ends = zc - y * lo / D, zc - y * (1.0 - lo) / D
    low, high = np.minimum(*ends), np.maximum(*ends)
    error = gamma(len(y) + 8)
    squares = float(omega @ (zc * zc))
    base = 0.5 * squares - float(w @ A)
    base -= error * (squares + float(w @ np.abs(A))) + 4 * U * float(w @ (np.abs(zeta) + np.abs(zc))) + UNDERFLOW
    of_none = Minorant(
        np.zeros((0, len(w))),
        omega,
        low + TINY * (1 + np.abs(low)),
        high - TINY * (1 + np.abs(high)),
        base,
        zc,
        np.zeros(0),
        0.0,
        math.sqrt(squares) * (1 + TINY),
        problem.ridge,
        intercept_bound(problem) + abs(shift) * (1 + TINY),
        abs(float(omega @ zc)) + error * float(omega @ np.abs(zc)) + UNDERFLOW,
    )
    return of_none.of(problem, columns)


def _start(minorant: Minorant, Z: Floats, r: Floats) -> tuple[Floats, Floats]:
    """Coefficients and shift of sets (Z of shape (n_sets, size, n)) by their unclipped normal equations."""
    weighted = Z * minorant.omega
    means, total = weighted.sum(axis=2), float(minorant.omega.sum())
    H = weighted @ Z.transpose(0, 2, 1) - means[:, :, None] * means[:, None, :] / total
    s = np.linalg.solve(H + minorant.ridge * np.eye(Z.shape[1]), r[:, :, None])[:, :, 0]
    return s, -(s * means).sum(axis=1) / total


def _clipped(minorant: Minorant, Z: Floats, s: Floats, s0: Floats) -> Floats:
    return np.clip((s[:, None, :] @ Z)[:, 0] + s0[:, None], minorant.low + SHRUNK, minorant.high - SHRUNK)


def _step(minorant: Minorant, Z: Floats, r: Floats, s: Floats, s0: Floats) -> tuple[Floats, Floats]:
    """One Newton step of the Huberised ridge regression whose residuals are the x of the sets."""
    omega, size = minorant.omega, Z.shape[1]
    free = (s[:, None, :] @ Z)[:, 0] + s0[:, None]
    x = np.clip(free, minorant.low + SHRUNK, minorant.high - SHRUNK)
    active = np.where(free == x, omega, 0.0)
    H = np.empty((len(Z), size + 1, size + 1))
    weighted = Z * active[:, None, :]
    H[:, :size, :size] = weighted @ Z.transpose(0, 2, 1) + minorant.ridge * np.eye(size)
    H[:, size, :size] = H[:, :size, size] = weighted.sum(axis=2)
    H[:, size, size] = active.sum(axis=1) + 1e-12
    gradient = np.empty((len(Z), size + 1, 1))
    gradient[:, :size, 0] = (Z @ (omega * x)[:, :, None])[:, :, 0] + minorant.ridge * s - r
    gradient[:, size, 0] = x @ omega
    step = np.linalg.solve(H, gradient)[:, :, 0]
    return s - step[:, :size], s0 - step[:, size]


def fit(minorant: Minorant, prefix: Ints) -> Floats:
    """The x of a set of columns alone."""
    Z, r = minorant.Z[None, prefix], minorant.r[None, prefix]
    s, s0 = _start(minorant, Z, r)
    for _ in range(30):
        s, s0 = _step(minorant, Z, r, s, s0)
    x = _clipped(minorant, Z, s, s0)[0]
    return np.asarray(x - float(minorant.omega @ x) / float(minorant.omega.sum()))


def below(minorant: Minorant, sets: Ints, lower: float) -> Ints:
    """The sets, by index, whose minorant does not reach ``lower`` at the x of a few Newton steps."""
    Z, r, left = minorant.Z[sets], minorant.r[sets], np.arange(len(sets))
    s, s0 = _start(minorant, Z, r)
    for last in (False, False, False, False, False, True):
        open_still = ~(_bounds(minorant, Z, r, s, s0) >= lower)
        left = left[open_still]
        Z, r, s, s0 = (each[open_still] for each in (Z, r, s, s0))
        if last or not len(left):
            break
        s, s0 = _step(minorant, Z, r, s, s0)
    return left


def _bounds(minorant: Minorant, Z: Floats, r: Floats, s: Floats, s0: Floats) -> Floats:
    """The minorant at the clipped x of each set, shifted to <1, x> = 0, less its rounding."""
    omega, ridge, error = minorant.omega, minorant.ridge, minorant.error
    total = float(omega.sum())
    x = _clipped(minorant, Z, s, s0)
    shift = x @ omega / total
    x -= shift[:, None]
    squares = (x * x) @ omega
    residuals = np.abs(r - (Z @ (omega * x)[:, :, None])[:, :, 0])
    xi = (error * minorant.norm * (minorant.zc_norm + np.sqrt(squares)) + 8 * U * (1 + np.abs(r).max()))[:, None]
    costs = ((residuals + xi) ** 2).sum(axis=1) * (1 + 16 * U) / (2 * ridge)
    e = np.abs(x @ omega) + error * np.sqrt(squares * total) + minorant.e0
    bounds = minorant.base - 0.5 * squares * (1 + error) - costs - e * minorant.cost_of_e
    return np.where(np.abs(shift) < SHRUNK * (1 - TINY), bounds - 8 * U * (abs(minorant.base) + costs), -np.inf)
