r"""Pairs of very many columns, logistic loss: the screen of `minorant` by short products, nothing p x p is kept.

Notation and theorems of `optprobe.engines.bounds.minorant`, with no prefix and x_P = 0. Let a_i and b_i be z_i and h_i,
times ``sqrt(w D)`` and divided by their norms |z_i| and |h_i| and as little more as keeps their own norms from passing
1; coefficients s are those of b, so that M_i and N_i are divided by |h_i|. With ``q_i = r_i / |z_i|``, theorem 2 says

    F({i, j}) >= base - Q / (2 ridge),
    Q = ridge (s_i^2 + s_j^2 + 2 <b_i, b_j> s_i s_j) + |z_i|^2 f_i^2 + |z_j|^2 f_j^2,
    f_i = q_i - <a_i, b_i> s_i - <a_i, b_j> s_j,    f_j likewise,

for every s with ``max(s_i M_i, -s_i N_i) + max(s_j M_j, -s_j N_j) <= 1``, where <b_i, b_i> <= 1 has been put in. So a
pair of ``Q <= limit := 2 ridge (base - threshold)`` is closed, if x = 0 lies in the box.

**Theorem 1 (no products).** Pairs with ``r_i^2 + r_j^2 <= limit`` are closed. *Proof.* That is Q at s = 0. QED
So neurons are sorted by |r|; those that close with every other have no vectors, and row blocks end early.

**Theorem 2 (short products).** `short.Short`, and `short.Half`, give T with ``|T - <., .>| <= delta`` for all three
products of a pair. Q at T, with ``2 ridge delta |s_i s_j|`` added, and |f_i| and |f_j| made larger by delta |s_j| and
delta |s_i|, is at least Q. *Proof.* Q grows with the two |f|, which err by so much, and its first term by as much as is
added. QED
Any s serves. It minimises Q at T: a system of two equations; and where it would leave the box, it is shortened.

*Float32.* What is computed of s is the s of the theorem, whose other uses differ from it by 3 roundings at most. The
share of the box is made of at most 16 roundings of terms of one sign, so that 1 + 2^-18 is above them, and of numbers
below 2^-126, for which 2^-100 is added before anything is divided by it: M and N are at most 2^60. f_i has terms of
absolute sum at most ``|q_i| + |s_i| + 2 |s_j|`` and at most 8 roundings of each, those of its inputs included: 2^-21
``(|q_i| + 2 |s_i| + 2 |s_j|)`` is added to |f_i|. The first term of Q has terms of absolute sum at most 4 ridge (s_i^2
+ s_j^2) and at most 16 roundings of each: 2^-18 ridge (s_i^2 + s_j^2) is added. All else is a sum of positive numbers,
of at most 32 roundings: the limit is lowered by 2^-18 of it; and where it is below 1e-20, so that underflow might
count, nothing is closed.

    place:    r of all neurons, by one product; the live ones, strongest first
    vectors:  blocks of these, all cores: h, then b and a in the short type
    pass:     row blocks, all cores: three products a tile, columns from the block on; list what is open, bound it from
              all rows at its own x (theorem 1 of `minorant`), in float64
    fits:     of what that leaves, while the pass goes on

So the time is at most that of three products of all pairs, the memory that of two vectors a live neuron.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import numpy as np
from joblib import cpu_count
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from formulations import ProbeProblem
from optprobe.engines.bounds.minorant import NEWTON_PASSES, SHRUNK, Minorant, directions
from optprobe.engines.budget import Progress
from optprobe.engines.kernels import wide_logistic as kernels
from optprobe.engines.kernels.minorant import raise_minorant
from optprobe.engines.sweeps import wide
from optprobe.engines.sweeps.gains import CAPACITY
from optprobe.engines.sweeps.logistic import MinorantSweep
from optprobe.engines.sweeps.short import Half, Short, fastest, one_thread_a_product

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Ints = NDArray[np.int64]

ROWS, COLUMNS = 1024, 4096
"""Of a tile."""
PAIRS_AT_ONCE = 1 << 12
"""Open pairs that are bounded between two looks at the budget."""
FAINT, LARGEST_SHARE, LEAST_LIMIT = 1e-3, 2.0**60, 1e-20
"""A direction is none whose norm is below this share of |z|, or of which a unit takes up more than this of the box."""
NONE = np.zeros(0, dtype=np.int64)


def suits(problem: ProbeProblem) -> bool:
    """Whether a problem is swept in one pass."""
    return problem.loss.name == "logistic" and problem.size == 2 and len(problem.candidates) > wide.WIDE


class WidePairSweep(MinorantSweep):
    """Pairs of very many neurons.

    Attributes
    ----------
    minorant : Minorant
        At the reference, of no neurons.
    rows : ndarray, shape (3, n_rows)
        Weights w D, 0 where w is, and the box of x less what its shift to <1, x> = 0 may take.
    r, means : ndarray, shape (n_neurons,)
        ``<z, zc>`` and ``<z, 1>`` of all columns of X.
    live : ndarray
        Positions of the neurons that theorem 1 leaves in a pair, that of largest |r| first. What follows is of these.
    strength : ndarray, shape (n_live,)
        |r|.
    known : ndarray, shape (5, n_live)
        ``|z|^2``, ``<a, b>``, q, M and N, in float32.
    """

    largest_k = 2

    def finished(self) -> bool:
        """Sweep; False if the budget ended before the end."""
        if self.task.budget.over:
            return False
        self._place()
        m, n = len(self.live), len(self.used)
        if not m:
            return True
        with threadpool_limits(1, user_api="blas"), one_thread_a_product(), ThreadPoolExecutor(cpu_count()) as pool:
            short = fastest(n)(2 * m, n, self._vectors, pool)
            tops = range(0, m, ROWS)
            for top, sets in zip(tops, pool.map(partial(self._left, short), tops)):
                for part in sets:
                    self.fit(self.live[part])
                done = 1 - (max(0, m - top - ROWS) / m) ** 2
                self.task.report(Progress("dual enumeration", self.task.proved, self.found.upper, done))
        return not self.task.budget.over

    @property
    def _missing(self) -> float:
        """What the minorant of a pair must reach without its base."""
        return self.threshold - self.minorant.base

    @property
    def _limit(self) -> float:
        """What Q of a pair must not exceed; -inf where no pair may be closed by it."""
        limit = -2 * self.ridge * self._missing
        return limit if self.minorant.centred and limit > LEAST_LIMIT else -np.inf

    def _place(self) -> None:
        """Find the live neurons, and what bounds of their pairs need of all of them."""
        problem, shape = self.task.rows, (2, self.task.rows.n_rows)
        self.minorant = self._at(NONE)
        weight, sums, self.rows = self.minorant.weight, np.zeros(shape), np.zeros((3, shape[1]))
        self.rows[:, self.used] = weight, self.minorant.low + SHRUNK, self.minorant.high - SHRUNK
        sums[:, self.used] = weight * self.minorant.zc, weight
        self.r, self.means = sums @ problem.Z
        strength = np.abs(self.r[self.columns])
        order = np.argsort(-strength, kind="stable")
        self.live = order[: self._ends(strength[order], strength[order[:1]])[0]]
        self.strength, self.known = strength[self.live], np.zeros((5, len(self.live)), dtype=np.float32)

    def _at(self, positions: Ints) -> Minorant:
        return self._minorant(self.gathered(positions), self.reference)

    def _ends(self, strength: Floats, own: Floats) -> Ints:
        """Of neurons of falling |r|, how many theorem 1 does not close with one of |r| ``own``, for each of these."""
        return np.searchsorted(-(strength**2), own**2 - self._limit)

    def _vectors(self, part: slice) -> Floats:
        """The vectors b of the live neurons, and after the last of them their vectors a."""
        m, places = len(self.live), np.arange(part.start, part.stop)
        if self.task.budget.over:
            return np.zeros((len(places), len(self.used)))
        return np.concatenate([self._b(places[places < m]), self._a(places[places >= m] - m)])

    def _b(self, places: Ints) -> Floats:
        """Vectors b, shape (n_places, n_used_rows), which makes known what there is to know of their neurons."""
        minorant = self._at(self.live[places])
        z, root, zero = minorant.neurons, np.sqrt(minorant.weight), np.zeros(len(self.used))
        r, h, sides = directions(minorant, self.ridge, NONE, zero, slice(None))
        norms = []
        for vectors in (z, h):
            vectors *= root
            norms.append(np.sqrt(np.einsum("mi,mi->m", vectors, vectors)))
        norm, length = norms
        with np.errstate(divide="ignore", invalid="ignore"):
            sides /= length
        some = (length > FAINT * norm) & (sides <= LARGEST_SHARE).all(axis=0)
        sides[:, ~some], length[~some], h[~some] = 0.0, 1.0, 0.0
        h /= length[:, None] * (1 + 1e-12)
        self.known[:, places] = norm * norm, np.einsum("mi,mi->m", z, h) / norm, r / norm, *sides
        return h

    def _a(self, places: Ints) -> Floats:
        """Vectors a, shape (n_places, n_used_rows)."""
        z = self.gathered(self.live[places])
        z *= np.sqrt(self.minorant.weight)
        z /= np.sqrt(np.einsum("mi,mi->m", z, z))[:, None] * (1 + 1e-12)
        return z

    def _left(self, short: Short | Half, top: int) -> list[Ints]:
        """The pairs that no bound closes, and whose first neuron is in a block of rows; of the live neurons."""
        m, found = len(self.live), list[Ints]()
        rows = slice(top, min(top + ROWS, m))
        for left in range(top, m, COLUMNS):
            ends = self._ends(self.strength, self.strength[rows])
            if ends[0] <= left:
                break
            T = self._products(short, rows, slice(left, min(left + COLUMNS, int(ends[0]))))
            if T is None:
                break
            found += self._not_closed(self._open_pairs(T, top, left, ends, short.delta))
        return found

    def _products(self, short: Short | Half, rows: slice, columns: slice) -> tuple[Singles, Singles, Singles] | None:
        """Short products ``<b_i, b_j>``, ``<a_i, b_j>`` and ``<b_i, a_j>`` of a tile; None where time is up."""
        m, late = len(self.live), self.task.budget.late
        of_a = [slice(m + part.start, m + part.stop) for part in (rows, columns)]
        b = short.product(rows, columns, late)
        c = short.product(of_a[0], columns, late)
        a = short.product(rows, of_a[1], late)
        return None if a is None or b is None or c is None else (b, c, a)

    def _open_pairs(self, T: tuple[Singles, ...], top: int, left: int, ends: Ints, delta: float) -> Ints:
        """The pairs that the screen leaves open of a tile, shape (n_pairs, 2)."""
        of = T, top, left, ends, self.known, np.array([self.ridge, delta, self._limit * (1 - 2.0**-18)])
        out = np.empty((CAPACITY, 2), dtype=np.int64)
        n = kernels.open_in_tile(*of, out)
        if n > len(out):
            out = np.empty((n, 2), dtype=np.int64)
            kernels.open_in_tile(*of, out)
        self.counts["open"] += n
        return out[:n]

    def _not_closed(self, pairs: Ints) -> Iterator[Ints]:
        """Those of open pairs that the minorant at an x of their own does not close either."""
        for start in range(0, len(pairs), PAIRS_AT_ONCE):
            if self.task.budget.over:
                return
            part, missing = pairs[start : start + PAIRS_AT_ONCE], self._missing
            bounds = np.empty(len(part))
            of = self.columns[self.live[part]], self.task.rows.Z.T, self.r, self.means, self.rows, SHRUNK
            raise_minorant(*of, missing, self.ridge, NEWTON_PASSES, bounds, np.empty((0, len(self.rows[0]))))
            yield part[~(bounds >= missing)]
