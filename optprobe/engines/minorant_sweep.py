r"""The dual sweep of the logistic loss, k <= 3: a minorant of F at one dense reference fit.

Write ``t = -y a``. Let f be a *reference fit*, ``t = sigma(-y f)``, ``D = t (1 - t)`` and ``zeta = f + y t / D``.

**Majorant.** On the box ``lo <= t' <= 1 - lo``, ``lo = box min(t, 1 - t)``, the conjugate is at most ``A + zeta a + a^2
/ (2 D)`` with ``A = max(h(t), h(lo), h(1 - lo))``, ``h(s) = s log s + (1 - s) log(1 - s) + zeta y s - s^2 / (2 D)``.
*Proof.* h'' is negative exactly between t and 1 - t, and h'(t) = 0: on the concave piece h falls from h(t), on the two
convex pieces it is largest at an end, and the inner ends are at most h(t).

**Theorem 1 (minorant).** With ``<u, v> = sum w D u v``, ``zc = zeta - <1, zeta> / <1, 1>``, ``r_l = <z_l, zc>`` and
``base = sum w (D zc^2 / 2 - A)``, for every S and every x in the box ``lo <= -y D (x - zc) <= 1 - lo`` with <1, x> = 0

    F(S) >= base - <x, x> / 2 - sum_{l in S} (r_l - <z_l, x>)^2 / (2 ridge).

*Proof.* ``a = D (x - zc)`` is in the domain, ``sum w a = 0``, and weak duality with the majorant gives the right side.

**Theorem 2 (screen).** Let directions h_m have <1, h_m> = 0 and take up at most M_m (forwards) and N_m (backwards) of
the box: ``x_low N.. <= s h <= x_high M..`` for a step s. For every s with ``sum_S max(s_m M_m, -s_m N_m) <= 1``, put
``x = sum_S s_m h_m``: it lies in the box, and theorem 1 needs only ``E = <h, h>`` and ``C = <z, h>``.

We take h_m = z_m clipped to a multiple of its sign's side of the box and centred; s of a pair by its 2 x 2 system,
scaled into the box, then one exact coordinate step for each third neuron. What the screen leaves open gets the x of
theorem 1 for its own set, x = clip(sum s z + s0), by Newton's method (the classical reweighted step at f, turned into a
bound by the box); what that leaves is fitted exactly. The proof is the reference: the checker sweeps again with its own
s and x.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from math import comb

import numpy as np
from joblib import cpu_count
from numpy.typing import NDArray

from optprobe.engines.budget import Progress
from optprobe.engines.dual_sweep import DualSweep
from optprobe.engines.engine import Task
from optprobe.engines.kernels import minorant as kernels
from optprobe.engines.solution import SweepProof
from optprobe.heuristics.rankings import lasso_path

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

BOXES = (0.5, 0.3)
STRENGTHS = 0.75 ** np.arange(2, 15)
"""Reference fits: L1 penalties, as shares of the least one at which every coefficient is 0."""
LARGEST_FIT = 6.0
"""Reference fits are clipped to this many log-odds, so that D stays away from 0."""
LEAST_ROOM = 0.05
"""Rows of less room on either side stay where they are."""
SHRUNK = 0.05
"""Of the box, on both sides, in the bound of a single set: what the shift to <1, x> = 0 may take."""
NEWTON_PASSES = 5
SAMPLE = 96
"""Neurons, strong ones more densely, on which references are compared."""
PREFIXES = 16
CAPACITY = 1 << 18
CLOSED_AT_MOST = 4096
"""Sets whose bounds are computed to judge a reference."""
FIT_COST = 60.0
"""Of an exact fit, in bounds of a single set."""


@dataclass(frozen=True, eq=False)
class Minorant:
    """Theorem 1 at one reference fit, for m neurons (rows of ``neurons``, shape (m, n_rows)).

    Attributes
    ----------
    weight : ndarray, shape (n_rows,)
        w D.
    low, high : ndarray, shape (n_rows,)
        The box of x.
    base : float
    r : ndarray, shape (m,)
    """

    neurons: Floats
    weight: Floats
    low: Floats
    high: Floats
    base: float
    r: Floats

    @classmethod
    def at(cls, neurons: Floats, y: Floats, w: Floats, fit: Floats, box: float) -> Minorant:
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
        return cls(neurons, weight, np.minimum(*ends), np.maximum(*ends), base, neurons @ (weight * zc))

    @property
    def centred(self) -> bool:
        """Whether x = 0 lies in the box, as theorem 2 needs."""
        return bool((self.low <= 0).all() and (self.high >= 0).all())


@dataclass(frozen=True, eq=False)
class Screen:
    """Theorem 2 at a centred minorant: ``E = <h, h>``, ``C = <z, h>``, D = C', and M, N (``sides``)."""

    E: Floats
    C: Floats
    D: Floats
    sides: Floats

    @classmethod
    def of(cls, minorant: Minorant, ridge: float) -> Screen:
        Z, weight = minorant.neurons, minorant.weight
        moves = np.minimum(-minorant.low, minorant.high) >= LEAST_ROOM
        below, above = np.where(moves, -minorant.low, 0.0), np.where(moves, minorant.high, 0.0)
        needed = np.abs(minorant.r) / ((Z * Z) @ weight + ridge)
        share = np.clip(0.25 / np.maximum(needed, 1e-9), 0.4, 1.5)[:, None]
        forwards = (minorant.r > 0)[:, None]
        h = np.clip(Z, -share * np.where(forwards, below, above), share * np.where(forwards, above, below))
        centre = np.where(moves, np.minimum(1.0, np.minimum(below, above)), 0.0)
        h -= ((h @ weight) / max(float(centre @ weight), 1e-300))[:, None] * centre
        upwards = (h[:, moves] / above[moves]), (h[:, moves] / below[moves])
        M = np.maximum(upwards[0].max(axis=1, initial=0.0), -upwards[1].min(axis=1, initial=0.0))
        N = np.maximum(upwards[1].max(axis=1, initial=0.0), -upwards[0].min(axis=1, initial=0.0))
        root = np.sqrt(weight)
        h *= root
        C = (Z * root) @ h.T
        return cls(h @ h.T, C, np.ascontiguousarray(C.T), np.array([M, N]))


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
    def of(cls, minorant: Minorant, ridge: float) -> Closing:
        weight = minorant.weight
        rows = np.array([weight, minorant.low + SHRUNK, minorant.high - SHRUNK])
        means = minorant.neurons @ weight
        rooted = minorant.neurons * np.sqrt(weight)
        gram = rooted @ rooted.T
        norm = float(np.sqrt(np.diagonal(gram).max()))
        gram -= np.outer(means, means) / weight.sum()
        neurons = np.concatenate([minorant.neurons, np.zeros((1, len(weight)))])
        padded = np.pad(gram, (0, 1)), np.append(minorant.r, 0.0), np.append(means, 0.0)
        return cls(neurons, neurons.astype(np.float32), *padded, rows, norm * (1 + 1e-6), ridge)

    def below(self, sets: Ints, missing: float) -> Ints:
        """The sets, by index, whose minorant does not reach ``missing`` (target - base)."""
        out = np.empty(len(sets), dtype=np.int64)
        arrays = self.neurons, self.single, self.gram, self.r, self.means, self.rows, self.rows.astype(np.float32)
        n = kernels.below_minorant(sets, *arrays, self.norm, SHRUNK, missing, self.ridge, NEWTON_PASSES, out)
        return out[:n]


class MinorantSweep(DualSweep):
    """The reference fit, and the sweep around it.

    Attributes
    ----------
    reference, box : ndarray, shape (n_rows,), and float
        The reference fit and its box; any are valid, these leave the fewest sets to the later stages.
    """

    largest_k = 3

    def __init__(self, task: Task) -> None:
        super().__init__(task)
        self.reference, self.box = self._best_reference()

    def proof(self) -> SweepProof:
        return SweepProof(self.reference, self.box)

    def _best_reference(self) -> tuple[Floats, float]:
        """Of the fits of an L1 path and two boxes, the one that is cheapest on a sample of neurons."""
        m = len(self.columns)
        places = np.unique(np.geomspace(1, m, min(m, SAMPLE)).astype(np.int64)) - 1
        stand_for = np.append(np.diff(np.append(places, m)), 1.0).astype(np.float64)
        best, least, worse = (np.zeros(len(self.task.problem.y)), BOXES[0]), np.inf, 0
        if self.size == 1:  # few sets, and any reference is valid
            return best
        for fit in lasso_path(self.task.problem, map(float, STRENGTHS)):
            found = np.inf
            for box in BOXES:
                minorant = self._minorant(fit, box, places)
                if not minorant.centred or minorant.base < self.threshold:
                    continue
                cost = self._cost(minorant, stand_for, least)
                found = min(found, cost)
                if cost < least:
                    best, least = (fit, box), cost
            worse = 0 if found <= least else worse + 1
            if worse > 1 or self.task.budget.over:
                break
        return best

    def _cost(self, minorant: Minorant, stand_for: Floats, limit: float) -> float:
        """Of the sets that the screen leaves open, in bounds of a single set, estimated from a sample of neurons.

        Only a lower bound where it exceeds the limit.
        """
        opened = list(self._open(minorant, Screen.of(minorant, self.ridge), (0, len(minorant.r))))
        sets = np.concatenate([np.zeros((0, 3), dtype=np.int64), *opened])
        shares = stand_for[sets].prod(axis=1)
        total = float(shares.sum())
        if total > limit:
            return total
        every = 1 + len(sets) // CLOSED_AT_MOST
        tried = np.ascontiguousarray(sets[::every])
        left = Closing.of(minorant, self.ridge).below(tried, self.threshold - minorant.base)
        return total + FIT_COST * every * float(shares[::every][left].sum())

    def _minorant(self, fit: Floats, box: float, places: Ints | slice) -> Minorant:
        clipped = np.clip(fit[self.used], -LARGEST_FIT, LARGEST_FIT)
        return Minorant.at(self.neurons[places], self.y, self.w, clipped, box)

    def finished(self) -> bool:
        """Sweep; False if the budget ended before the end."""
        minorant = self._minorant(self.reference, self.box, slice(None))
        screen = Screen.of(minorant, self.ridge)
        close = Closing.of(minorant, self.ridge)
        m = len(self.columns)
        starts = range(0, m, PREFIXES * (1 if self.size == MinorantSweep.largest_k else 8))

        def left(start: int) -> list[Ints]:
            opened = self._open(minorant, screen, (start, min(start + starts.step, m)))
            return [sets[close.below(sets, self.threshold - minorant.base)] for sets in opened]

        with ThreadPoolExecutor(cpu_count()) as pool:
            for start, sets in zip(starts, pool.map(left, starts)):
                for part in sets:
                    self.fit(part[:, : self.size])
                done = 1 - comb(m - start, self.size) / comb(m, self.size)
                self.task.report(Progress("dual enumeration", 0.0, self.upper, done))
        return not self.task.budget.over

    def _open(self, minorant: Minorant, screen: Screen, prefixes: tuple[int, int]) -> Iterator[Ints]:
        """The sets whose first neuron is in ``prefixes`` and that the screen leaves open, in parts of shape (., 3).

        Smaller sets are filled up with m. Ends early where the budget is over.
        """
        m = len(minorant.r)
        if self.size == 1:
            yield np.array([[i, m, m] for i in range(*prefixes)])
            return
        missing = self.threshold - minorant.base if minorant.centred else np.inf
        out = np.empty((max(CAPACITY, (PREFIXES + 1) * m), 3), dtype=np.int64)
        j = prefixes[0] + 1
        while j < m and not self.task.budget.over:
            arguments = (prefixes, j, screen.E, screen.C, screen.D, minorant.r, screen.sides, missing, self.ridge, out)
            n, j = (kernels.open_pairs if self.size == 2 else kernels.open_triples)(*arguments)
            self.counts["open"] += n
            yield out[:n].copy()
