r"""Proof "sweep" of the logistic loss where no matrix of products is kept: k = 1, and k = 2 over very many columns.

Whatever is left open gets an x of its own (`minorant.below`), by the columns of a few sets at a time; of single columns
that is everything. Pairs are screened before by the theorem of `dual_sweep` with the empty prefix and x_P = 0, by tiles
of products in float32.

*Theorem.* Signs of columns do not matter: let all r_l >= 0. With |u|^2 = <u, u>, let ``zeta_l = |z_l|``, ``a_l = z_l
sqrt(omega) / zeta_l``, ``b_l = h_l sqrt(omega) / |h_l|`` for directions h_l, ``kappa = ridge^-1/2``. Each unit of b_l
takes at most M_l of the box forwards and N_l backwards. For every s_i, s_j with ``sum max(s M, -s N) <= 1``, E =
<b_i, b_j>, C = <a_i, b_j>, D = <a_j, b_i>, c_l = <a_l, b_l>, in plain products, the minorant at x = s_i b_i + s_j b_j
(times omega^-1/2, which is in the box) is

    F(i, j) >= base - |e| (B + |c|) - (s_i^2 + 2 s_i s_j E + s_j^2 + rho_i^2 + rho_j^2) / 2
    rho_i = kappa (r_i - zeta_i (c_i s_i + C s_j)),    rho_j = kappa (r_j - zeta_j (D s_i + c_j s_j)).

Let E, C and D be known within delta, ``S = |s_i| + |s_j|``. Then the first three terms are at most delta S^2 / 2 above
those at the known E, and |rho_i| at most kappa zeta_i delta S above that at the known C. Any s and any directions are
valid: s solves the 2 x 2 system ``rho = ridge s / zeta |h|``, scaled into the box.

*Products.* The norms of a and b are 1 up to 1e-9, so rounding them to float32 and adding up their products in blocks
errs by less than ``delta`` of `wide_sweep.error_of_products`, and so do the c_l, which are made in float64 (n + 16
roundings). A direction of norm below LEAST_NORM is dropped: b = 0, for which the formulas hold as well.

*Rounding*, v = 2^-24. The numbers of a column are rounded to float32, M and N upwards. What a product has as terms
(|r|, zeta |s|) is added up after at most 6 roundings of each: rho errs by less than 8 v kappa (|r| + zeta S) beside the
errors of E, C and D, the quadratic form by less than 8 v S^2. So with ``T = (delta + 32 v) S`` and ``k = 16 v kappa |r|
+`` kappa times the error of r in float64, |rho| + kappa zeta T + k and the form + T S are above the exact ones, but for
the roundings of these last sums, of terms that are not negative: the room that they must not exceed is narrowed by
2^-16, and |e| (B + |c|) is raised by as much, for the rounding of their difference. Scaling: the shares of s add up to
at most 1 / (1 + 2^-18), of 8 roundings. What underflows errs by 2^-126 in each operation; where that is multiplied by
kappa zeta, the 2^-120 in T is above it, and anywhere else it is below 2^-90, by which the room is narrowed too. No
scale exceeds 1 / LEAST_DETERMINANT.

*The shift.* |s_l| |h_l|^-1 is at most 1 / LEAST_SHARE, since M and N are at least LEAST_SHARE for a unit of h. Hence
``|e| <= (largest |<1, h>|, rounding counted) / LEAST_SHARE + e0``, e0 that of the minorant.

Numbers that are too large for float32 become infinite, or no numbers, and leave their pairs open: a pair is closed by a
comparison that is true.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .limits import THREADS, Limits, mapped
from .minorant import TINY, Minorant, below
from .problem import Problem
from .sets import check_open_sets
from .wide_sweep import FASTER, SINGLE, WIDE, Singles, error_of_products, short_products

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

ROWS, COLUMNS, CHUNK = 1024, 2048, 32
"""Of a tile, and the rows of it that are tested at once."""
VALUES = 1 << 17
"""Of columns, that are made into directions, or bounded by themselves, at once: what a core keeps near."""
LEAST_SHARE, LEAST_ROOM, LEAST_NORM = 0.05, 0.05, 1e-20
LEAST_DETERMINANT, LARGEST_REGULAR, LARGEST_ROOM = 2.0**-12, 1e15, 1e30
"""Of the 2 x 2 systems, and of what a pair must not exceed; they decide the time only."""
OF_SHARE, OF_ROOM, UNDER_PRODUCTS, UNDER_SUMS, UP = 2.0**-18, 2.0**-16, 2.0**-120, 2.0**-90, 1 + 2.0**-22
PAIR, SET = 200.0, 400.0
"""Operations of a pair in a tile, and of a set that is bounded by itself for each row of the data."""


def is_blockwise(m: int, size: int) -> bool:
    """Whether sets of ``size`` of m columns are swept so."""
    return size == 1 or (size == 2 and m > WIDE)


def check_in_blocks(problem: Problem, columns: Ints, around: Minorant, lower: float) -> int:
    """No set of one or two ``columns`` has F below ``lower``; returns how many needed bounds of their own.

    ``around`` is the minorant of no columns.
    """
    n, m, size, limits = len(problem.y), len(columns), problem.size, problem.limits
    at_once = max(1, VALUES // (n * size))
    held = 1.5 * problem.Z.size + THREADS * 32.0 * max(VALUES, n * size)
    limits.room(held, "the sweep")
    screen = None
    if size == 2 and around.holds_zero:
        limits.room(held + 1.0 * n * m + THREADS * 12.0 * ROWS * COLUMNS, "the sweep")
        limits.work(3.0 * n * m * m / FASTER + 0.5 * PAIR * m * m, "the sweep")
        screen = Screen.of(problem, columns, around, lower)
    else:
        limits.work(SET * n * math.comb(m, size), "the sweep")

    def left(top: int) -> Iterator[Ints]:
        for sets in _every(m, size, top) if screen is None else screen.open_pairs(top):
            for at in range(0, len(sets), at_once):
                limits.check()
                own, places = np.unique(sets[at : at + at_once], return_inverse=True)
                part = places.reshape(-1, size)
                yield own[part[below(around.of(problem, columns[own]), part, lower)]]

    def check(top: int) -> int:
        return check_open_sets(problem, columns, left(top), lower)

    return sum(mapped(check, range(0, m, ROWS), limits))


def _every(m: int, size: int, top: int) -> Iterator[Ints]:
    """The sets of one or two of m positions whose first is in the block of rows from ``top`` on."""
    rows = np.arange(top, min(top + ROWS, m))
    if size == 1:
        yield rows[:, None]
        return
    for i in rows.tolist():
        later = np.arange(i + 1, m)
        yield np.stack([np.full(len(later), i), later], axis=1)


@dataclass(frozen=True)
class Screen:
    """The directions of all columns, and what the text says of each, in float32.

    Attributes
    ----------
    a, b : ndarray, shape (m, n_rows)
    of_columns : ndarray, shape (8, m)
        Of the 2 x 2 system r / zeta and c + ridge / (zeta |h|); then kappa r, kappa zeta, kappa zeta c, k; and M, N.
    error : float32
        delta + 32 v.
    room : float32
        What form + T S + rho^2 + rho^2 must not exceed; negative where nothing is closed.
    limits : Limits
    """

    a: Singles
    b: Singles
    of_columns: Singles
    error: np.float32
    room: np.float32
    limits: Limits

    @classmethod
    def of(cls, problem: Problem, columns: Ints, around: Minorant, lower: float) -> Screen:
        """The screen of some columns; ``around`` is the minorant of none, and has 0 in its box."""
        m, n = len(columns), len(around.omega)
        a, b = np.empty((m, n), dtype=np.float32), np.empty((m, n), dtype=np.float32)
        box, at_once = Box.of(around), max(1, VALUES // n)

        def make(at: int) -> tuple[Floats, float]:
            part = slice(at, at + at_once)
            return box.directions(around.of(problem, columns[part]), a[part], b[part])

        found = list(mapped(make, range(0, m, at_once), problem.limits))
        shift = float(np.max([kept for _, kept in found])) * (1 + TINY) / LEAST_SHARE + around.e0
        taken = shift * around.cost_of_e * (1 + OF_ROOM)
        room = 2 * (around.base - lower - taken) * (1 - OF_ROOM) - UNDER_SUMS
        error = error_of_products(n) + 32 * SINGLE
        with np.errstate(all="ignore"):
            of_columns = np.concatenate([part for part, _ in found], axis=1).astype(np.float32)
        most = np.float32(min(room * (1 - 4 * SINGLE), LARGEST_ROOM) if room > 0 else -1.0)
        return cls(a, b, of_columns, np.float32(error * UP), most, problem.limits)

    def open_pairs(self, top: int) -> Iterator[Ints]:
        """The pairs i < j, i in the block of rows from ``top`` on, that are not closed, shape (n_pairs, 2)."""
        m = len(self.a)
        rows = slice(top, min(top + ROWS, m))
        for left in range(top, m, COLUMNS):
            columns = slice(left, min(left + COLUMNS, m))
            E = short_products(self.b[rows], self.b[columns], self.limits)
            C = short_products(self.a[rows], self.b[columns], self.limits)
            D = short_products(self.b[rows], self.a[columns], self.limits)
            found = []
            for start in range(0, len(E), CHUNK):
                few = slice(start, start + CHUNK)
                first = np.arange(top + start, top + start + len(E[few]))
                total = self.bounded(E[few], C[few], D[few], first, columns)[-1]
                i, j = np.nonzero(~(total <= self.room))
                i, j = first[i], left + j
                found.append(np.stack([i[i < j], j[i < j]], axis=1))
            yield np.concatenate(found)

    def bounded(self, E: Singles, C: Singles, D: Singles, rows: Ints, columns: slice) -> tuple[Singles, ...]:
        """Of the pairs of a part of a tile: s_i, s_j, and what the form and rho^2 of both are at most, by the text."""
        q1, g1, r1, z1, u1, k1, M1, N1 = self.of_columns[:, rows, None]
        q2, g2, r2, z2, u2, k2, M2, N2 = self.of_columns[:, None, columns]
        with np.errstate(all="ignore"):
            s1, s2 = g2 * q1 - C * q2, g1 * q2 - D * q1
            shares = np.maximum(s1 * M1, s1 * -N1) + np.maximum(s2 * M2, s2 * -N2)
            least = np.maximum(shares * np.float32(1 + OF_SHARE), np.float32(LEAST_DETERMINANT))
            scale = 1 / np.maximum(g1 * g2 - C * D, least)
            s1 *= scale
            s2 *= scale
            S = np.abs(s1) + np.abs(s2)
            T = S * self.error + np.float32(UNDER_PRODUCTS)
            rho1 = np.abs(r1 - u1 * s1 - (z1 * s2) * C) + (z1 * T + k1)
            rho2 = np.abs(r2 - u2 * s2 - (z2 * s1) * D) + (z2 * T + k2)
            return s1, s2, s1 * (s1 + 2 * (E * s2)) + s2 * s2 + T * S + rho1 * rho1 + rho2 * rho2


@dataclass(frozen=True)
class Box:
    """What x = 0 leaves of the box, and what restores <1, x> = 0.

    Attributes
    ----------
    below, above, back : ndarray, shape (n_rows,)
        0 in rows that leave less than `LEAST_ROOM` on a side: no direction moves there.
    of_below, of_above : ndarray, shape (n_rows,)
        The reciprocals, or 0.
    """

    below: Floats
    above: Floats
    back: Floats
    of_below: Floats
    of_above: Floats

    @classmethod
    def of(cls, around: Minorant) -> Box:
        room = np.minimum(-around.low, around.high)
        on = room >= LEAST_ROOM
        below, above = np.where(on, -around.low, 0.0), np.where(on, around.high, 0.0)
        of_below, of_above = (np.divide(1.0, side, out=np.zeros_like(side), where=on) for side in (below, above))
        return cls(below, above, np.where(on, np.minimum(1.0, room), 0.0), of_below, of_above)

    def directions(self, part: Minorant, a: Singles, b: Singles) -> tuple[Floats, float]:
        """Fill in a and b of some columns; their numbers, shape (8, n_columns), and the largest |<1, h>|.

        The columns are clipped to a multiple of their sign's side of the box.
        """
        omega, root, kappa = part.omega, np.sqrt(part.omega), 1 / math.sqrt(part.ridge)
        r, sign = np.abs(part.r), np.where(part.r < 0, -1.0, 1.0)
        Z = part.Z * sign[:, None]
        zeta = np.sqrt((Z * Z) @ omega)
        share = np.clip(0.3 / np.maximum(r / (zeta * zeta + part.ridge), 1e-9), 0.3, 1.5)[:, None]
        h = np.clip(Z, -share * self.below, share * self.above)
        h -= ((h @ omega) / max(float(self.back @ omega), LEAST_NORM))[:, None] * self.back
        norm = np.sqrt((h * h) @ omega)
        h[~(norm >= LEAST_NORM)] = 0.0
        norm = np.where(norm >= LEAST_NORM, norm, 1.0)
        up, down = h * self.of_above, h * self.of_below
        M = np.maximum(up.max(axis=1), -down.min(axis=1)) * (1 + TINY)
        N = np.maximum(down.max(axis=1), -up.min(axis=1)) * (1 + TINY)
        sides = np.maximum([M, N], LEAST_SHARE) / norm * UP
        a[:], b[:] = Z * (root / zeta[:, None]), h * (root / norm[:, None])
        c = ((h * Z) @ omega) / (norm * zeta)
        regular = c + np.minimum(part.ridge / (zeta * norm), LARGEST_REGULAR)
        k = (16 * SINGLE * r + 2 * part.error * zeta * part.zc_norm) * UP
        mass = math.sqrt(float(omega.sum()))
        kept = float((np.abs(h @ omega) + part.error * norm * mass).max())
        return np.stack([r / zeta, regular, kappa * r, kappa * zeta, kappa * zeta * c, kappa * k, *sides]), kept
