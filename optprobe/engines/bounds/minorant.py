r"""A minorant of F at one dense reference fit (logistic loss): every set gets a dual vector of its own, cheaply.

Write ``t = -y a``. Let f be a *reference fit*, ``t = sigma(-y f)``, ``D = t (1 - t)`` and ``zeta = f + y t / D``.

**Majorant.** On the box ``lo <= t' <= 1 - lo``, ``lo = box min(t, 1 - t)``, the conjugate is at most ``A + zeta a + a^2
/ (2 D)`` with ``A = max(h(t), h(lo), h(1 - lo))``, ``h(s) = s log s + (1 - s) log(1 - s) + zeta y s - s^2 / (2 D)``.
*Proof.* h'' is negative exactly between t and 1 - t, and h'(t) = 0: on the concave piece h falls from h(t), on the two
convex pieces it is largest at an end, and the inner ends are at most h(t).

**Theorem 1 (minorant).** With ``<u, v> = sum w D u v``, ``zc = zeta - <1, zeta> / <1, 1>``, ``r_l = <z_l, zc>`` and
``base = sum w (D zc^2 / 2 - A)``, for every S and every x in the box ``lo <= -y D (x - zc) <= 1 - lo`` with <1, x> = 0

    F(S) >= base - <x, x> / 2 - sum_{l in S} (r_l - <z_l, x>)^2 / (2 ridge).

*Proof.* ``a = D (x - zc)`` is in the domain, ``sum w a = 0``, and weak duality with the majorant gives the right side.

**Theorem 2 (screen).** Let P be a prefix, x_P in the box with <1, x_P> = 0, and h_m directions with <1, h_m> = 0 and
<z_q, h_m> = 0 for q in P, a unit of which takes up at most M_m (forwards) or N_m (backwards) of the room that x_P
leaves in the box. For every T disjoint from P and every s with ``sum_T max(s_m M_m, -s_m N_m) <= 1``, with ``rho_m =
r_m - <z_m, x_P>``, ``E = <h, h>``, ``C = <z, h>`` and base_P the right side of theorem 1 for P at x_P,

    F(P + T) >= base_P - <x_P, h_T> s - s' E_TT s / 2 - |rho_T - C_TT s|^2 / (2 ridge).

*Proof.* ``x = x_P + sum_T s_m h_m`` lies in the box, and <1, x> = 0. In theorem 1, <x, x> expands to the first terms;
those of P stay as they are, since <z_q, h> = 0; those of T are ``rho_T - C_TT s``.

We take h_m = z_m clipped to a multiple of its sign's side of the room, less a multiple of the room that restores the
products with 1 and z_P. What a screen leaves open gets the x of theorem 1 for its own set, x = clip(sum s z + s0), by
Newton's method (the classical reweighted step at f, turned into a bound by the box).
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property

import numpy as np
from numpy.typing import NDArray

from formulations import SparseProbeProblem
from formulations.products import gram
from optprobe.engines.kernels import minorant as kernels
from optprobe.engines.outcome import Reference

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BOXES = (0.5, 0.3)
STRENGTHS = 0.75 ** np.arange(2, 15)
"""Reference fits to try: L1 penalties, as shares of the least one at which every coefficient is 0."""
LARGEST_FIT = 6.0
"""Reference fits are clipped to this many log-odds, so that D stays away from 0."""
SHRUNK = 0.05
"""Of the box, on both sides, in the bound of a single set: what the shift to <1, x> = 0 may take."""
NEWTON_PASSES = 5
SINGULAR = 1e5
"""Condition of the products with 1 and z_P above which a prefix has no screen."""


def reference_at(
    problem: SparseProbeProblem, small: SparseProbeProblem, coef: Floats, intercept: float, box: float
) -> Reference:
    """The fit of a sample (coefficients on its neurons, shape (n_neurons,)), carried over to all rows of a problem.

    Values that are huge in rows outside the sample may leave no number; any one serves there.
    """
    chosen = np.flatnonzero(coef)
    with np.errstate(over="ignore", invalid="ignore"):
        fit = small.standardisation.apply(problem.X[:, chosen], chosen) @ coef[chosen] + intercept
    return Reference(np.clip(np.nan_to_num(fit), -LARGEST_FIT, LARGEST_FIT), box)


@dataclass(frozen=True, eq=False)
class Minorant:
    """Theorem 1 at one reference fit, for m neurons (rows of ``neurons``, shape (m, n_rows)).

    Attributes
    ----------
    weight : ndarray, shape (n_rows,)
        w D.
    zc : ndarray, shape (n_rows,)
    low, high : ndarray, shape (n_rows,)
        The box of x.
    base : float
    """

    neurons: Floats
    weight: Floats
    zc: Floats
    low: Floats
    high: Floats
    base: float

    @classmethod
    def at(cls, neurons: Floats, y: Floats, w: Floats, fit: Floats, box: float) -> Minorant:
        fit = np.clip(fit, -LARGEST_FIT, LARGEST_FIT)
        t = 1.0 / (1.0 + np.exp(y * fit))
        D = t * (1.0 - t)
        zeta = fit + y * t / D
        lo = box * np.minimum(t, 1.0 - t)

        def h(s: Floats) -> Floats:
            return np.asarray(s * np.log(s) + (1 - s) * np.log1p(-s) + zeta * y * s - s * s / (2 * D))

        A = np.maximum(h(t), np.maximum(h(lo), h(1.0 - lo)))
        weight = w * D
        zc = zeta - (weight @ zeta) / weight.sum()
        ends = zc - y * lo / D, zc - y * (1.0 - lo) / D
        base = float(w @ (0.5 * D * zc * zc - A))
        return cls(neurons, weight, zc, np.minimum(*ends), np.maximum(*ends), base)

    @cached_property
    def r(self) -> Floats:
        """``<z, zc>`` of every neuron."""
        return np.asarray(self.neurons @ (self.weight * self.zc))

    @cached_property
    def squares(self) -> Floats:
        """<z, z> of every neuron."""
        return np.asarray(np.einsum("mi,mi,i->m", self.neurons, self.neurons, self.weight))

    @property
    def centred(self) -> bool:
        """Whether x = 0 lies in the box, as theorem 2 needs."""
        return bool((self.low <= 0).all() and (self.high >= 0).all())


def directions(
    minorant: Minorant, ridge: float, prefix: Ints, x: Floats, J: Ints | slice
) -> tuple[Floats, Floats, Floats]:
    """rho of theorem 2, h (m, n_rows), and M and N (2, m), of the columns J after a prefix, at its x_P.

    h = 0 where 1 and z_P are nearly dependent on the room that x_P leaves.
    """
    weight = minorant.weight
    below, above = np.maximum(x - minorant.low, 0.0), np.maximum(minorant.high - x, 0.0)
    room = np.minimum(below, above)
    fixed = np.concatenate([np.ones((1, len(x))), minorant.neurons[prefix]])
    back = np.concatenate([np.minimum(room, 1.0)[None, :], np.clip(fixed[1:], -room, room)])
    products = (fixed * weight) @ back.T
    neurons = minorant.neurons[J]
    r = minorant.r[J] - neurons @ (weight * x)
    needed = np.maximum(np.abs(r) / (minorant.squares[J] + ridge), 1e-9)
    share = np.clip((0.35 if len(prefix) else 0.25) / needed, 0.3, 1.5)
    h, sides = np.zeros_like(neurons), np.zeros((2, len(r)))
    if np.linalg.cond(products) < SINGULAR:
        sign, inverse = (r > 0).astype(np.float64), np.linalg.inv(products)
        kernels.directions(neurons, share, sign, below, above, fixed * weight, back, inverse, h, sides)
    return r, h, sides


@dataclass(frozen=True, eq=False)
class Screen:
    """Theorem 2 for one prefix and m columns: its products, ``r`` for rho, ``sides`` for M and N."""

    E: Floats
    C: Floats
    r: Floats
    lin: Floats
    sides: Floats
    base: float

    @cached_property
    def D(self) -> Floats:
        """C', contiguous."""
        return np.ascontiguousarray(self.C.T)

    @classmethod
    def of(cls, minorant: Minorant, ridge: float) -> Screen:
        """With no prefix, all columns and x_P = 0, which a centred minorant allows."""
        x = np.zeros(len(minorant.weight))
        return cls.after(minorant, ridge, np.zeros(0, dtype=np.int64), x, slice(None))

    @classmethod
    def after(cls, minorant: Minorant, ridge: float, prefix: Ints, x: Floats, J: Ints | slice) -> Screen:
        """After a prefix, at its x_P."""
        weight, neurons = minorant.weight, minorant.neurons[J]
        r, h, sides = directions(minorant, ridge, prefix, x, J)
        lin = h @ (weight * x)
        residual = minorant.r[prefix] - minorant.neurons[prefix] @ (weight * x)
        base = minorant.base - 0.5 * float(weight @ (x * x)) - float(residual @ residual) / (2 * ridge)
        h *= np.sqrt(weight)
        E = gram(h)
        h *= np.sqrt(weight)
        return cls(E, neurons @ h.T, r, lin, sides, base)


@dataclass(frozen=True, eq=False)
class Closing:
    """Theorem 1 for listed sets, each at its own x; arrays have a last neuron of zeros, which fills up smaller sets."""

    neurons: Floats
    single: NDArray[np.float32]
    gram: Floats
    r: Floats
    means: Floats
    rows: Floats
    norm: float
    ridge: float

    @classmethod
    def of(cls, minorant: Minorant, products: Floats, ridge: float) -> Closing:
        """``products``, shape (m, m), are those of the screen's directions: near those of the neurons, for a start."""
        weight = minorant.weight
        rows = np.array([weight, minorant.low + SHRUNK, minorant.high - SHRUNK])
        means, norm = minorant.neurons @ weight, float(np.sqrt(minorant.squares.max()))
        neurons = np.concatenate([minorant.neurons, np.zeros((1, len(weight)))])
        products = products.copy()
        np.fill_diagonal(products, minorant.squares - means * means / weight.sum())
        padded = np.pad(products, (0, 1)), np.append(minorant.r, 0.0), np.append(means, 0.0)
        return cls(neurons, neurons.astype(np.float32), *padded, rows, norm * (1 + 1e-6), ridge)

    def below(self, sets: Ints, missing: float) -> Ints:
        """The sets, by index, whose minorant does not reach ``missing`` (target - base)."""
        out = np.empty(len(sets), dtype=np.int64)
        arrays = self.neurons, self.single, self.gram, self.r, self.means, self.rows, self.rows.astype(np.float32)
        n = kernels.below_minorant(sets, *arrays, self.norm, SHRUNK, missing, self.ridge, NEWTON_PASSES, out)
        return out[:n]
