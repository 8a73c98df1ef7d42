r"""Enumeration for the squared loss over very many columns, k <= 3: one pass of short products, nothing p x p is kept.

Notation and theorem 1 of `optprobe.engines.sweeps.squared`. Let a_i be the normalised neurons, ``z_i sqrt(w)`` by the
root of their square plus the ridge, so that ``rho_ij = <a_i, a_j>`` and |a_i| < 1; r neurons are missing, s = r - 1,
theta = 2 gap / r. What is forced (one neuron v, where two are missing) is projected out: with x_i = rho_iv and m =
|a_v|^2, the vectors ``a_i - c x_i a_v``, ``c = (1 - sqrt(1 - m)) / m``, have the products ``rho_ij - x_i x_j`` since
``2 c - c^2 m = 1``; divided by ``sqrt(1 - x_i^2)`` they are the a_i of what is left, of norm below 1 again.

**Theorem 1 (short products).** `short.Short`, and `short.Half`, give T with ``|T_ij - rho_ij| <= delta``.

u and the gap are in units of max|u| and its square, so that |u| <= 1.

**Theorem 2 (open pairs).** A set that gains more than the gap has a pair that is listed: one with ``|T_ij| > tau -
delta`` (for s = 2, tau = 0.95 / s), or with ``u_i^2 + u_j^2 - theta + T (theta s^2 T - 2 s u_i u_j) > -eta_i``,
``eta_i = 2 s delta (|theta| + |u_i|) + s^2 |theta| delta^2``.
*Proof.* The set has an open pair: |rho| > tau, which the first test lists, or else s |rho| <= 1 and the polynomial is
positive at rho. It is quadratic, so at T it is less by at most ``delta (|theta| s^2 (2 |rho| + delta) + 2 s |u_i
u_j|)``. QED
In float32 the polynomial has terms of absolute sum at most ``4 + 3 |theta|`` and at most 8 roundings of each, those of
its inputs included; 2^-18 (2 + |theta|) is above that, and is added to eta.

**Theorem 3 (third neurons).** Let rho be that of an open pair, x = R^-1 u its coefficients, left what it leaves of the
gap, at least 0. A neuron l of short products a, b with it is no third one if ``(|u_l - x_i a - x_j b| + delta (|x_i| +
|x_j|))^2 <= left (d - 2.83 delta (1 - |rho|)^-1/2)``, ``d = 1 - r'R^-1 r``, r = (a, b).
*Proof.* Let r be exact and h the error. ``beta = R^-1 r`` has beta'R beta <= 1, since l has a variance left, and R >=
(1 - |rho|) I: so |beta|_1 <= (2 / (1 - |rho|))^1/2, and d at r + h is d - 2 h'beta - h'R^-1 h, whose last term only
lowers it. QED
In float32: the coefficient errs by less than 2^-20 (1 + |x_i| + |x_j|), eight roundings of each term; where |y| <= 2,
``y = (b - rho a) (1 - rho^2)^-1/2``, d errs by less than 73 2^-24 (1 - rho^2)^-1/2, and 2^-17 of the same is added;
where |y| is more, d is negative, and nothing is left out.

    pass:    row blocks, all cores: T = B[rows] B[columns]', columns from the block on; list what is open
    k = 2:   evaluate it in float64
    k = 3:   rho in float64, which closes what only delta left open; column blocks, all cores: T of the neurons of all
             those pairs again, one vector pass a pair; evaluate what is left in float64

So an entry of T is made at most three times, and mostly once: few neurons are in an open pair. The proof is a
`SweepProof`.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from functools import partial
from itertools import combinations
from threading import Lock
from typing import Any

import numpy as np
from joblib import cpu_count
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from formulations import ProbeProblem, SparseProbeProblem
from optprobe.engines.budget import Progress
from optprobe.engines.kernels import wide as kernels
from optprobe.engines.kernels.squared import TAU
from optprobe.engines.sweeps.gains import CAPACITY, LOOSENED, GainSearch, gains
from optprobe.engines.sweeps.short import fastest, one_thread_a_product

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Ints = NDArray[np.int64]

LARGEST_K = 3
WIDE = 8192
"""Columns above which their matrix is not made."""
ROWS, COLUMNS = 1024, 4096
"""Of a tile."""
PAIRS_AT_ONCE, MOST_PAIRS = 1 << 12, 1 << 22
"""Open pairs between two looks at the budget, and those that are kept until the end of the pass."""


def suits(problem: ProbeProblem) -> bool:
    """Whether a problem is swept in one pass."""
    return isinstance(problem, SparseProbeProblem) and problem.size <= LARGEST_K and len(problem.candidates) > WIDE


class WideSweep(GainSearch):
    """Sets of up to three of very many neurons.

    Attributes
    ----------
    rest : ndarray
        Positions of the neurons that are not forced. What follows is of these, in their order.
    x, width : ndarray
        Products with the forced neuron, and reciprocal conditional standard deviations; 0 and 1 where there is none.
    unit : float
        The largest conditional |u|.
    c, single : ndarray
        Conditional u in that unit, and the same in float32.
    short : Short or Half
        Their normalised rows in a short type.
    """

    def _normalise(self) -> None:
        problem = self.task.rows
        self.neurons, self.w = problem.Z.T, problem.w
        self.scale = np.ones(len(self.columns))
        every = np.arange(len(self.columns))
        self.scale = 1.0 / np.sqrt(self._products(np.stack([every, every], axis=1)) + problem.ridge)
        self.u = problem.cross[self.columns] * self.scale
        self.pending = [(np.zeros((0, 2), dtype=np.int64), np.zeros(0))]
        self.lock = Lock()

    def _products(self, pairs: Ints) -> Floats:
        """A of pairs of different positions, shape (n_pairs,), in float64."""
        out = np.empty(len(pairs))
        kernels.products(self.neurons, self.w, self.columns[pairs], out)
        return np.asarray(out * self.scale[pairs[:, 0]] * self.scale[pairs[:, 1]])

    def _gains(self, sets: Ints) -> Floats:
        k = sets.shape[1]
        A = np.empty((len(sets), k, k))
        A[:, range(k), range(k)] = 1.0
        for a, b in combinations(range(k), 2):
            A[:, a, b] = A[:, b, a] = self._products(sets[:, [a, b]])
        return gains(A, self.u[sets])

    def finished(self) -> bool:
        """Sweep; False if the budget ended before the end."""
        if self._at_most_one_is_missing():
            return True
        blas = threadpool_limits(1, user_api="blas")
        with blas, one_thread_a_product(), ThreadPoolExecutor(cpu_count()) as pool:
            self._shorten(pool)
            m = len(self.rest)
            whole = 1.0 if self.missing == 2 else 0.5
            for start, _ in zip(range(0, m, ROWS), pool.map(self._scan, range(0, m, ROWS))):
                self._report(whole * (1 - (max(0, m - start - ROWS) / m) ** 2))
            if self.missing == 3:
                pairs, rho = self._taken()
                lefts = range(0, m, COLUMNS)
                for left, _ in zip(lefts, pool.map(partial(self._complete, pairs, rho), lefts)):
                    self._report(whole + (1 - whole) * min(1.0, (left + COLUMNS) / m))
        return not self.task.budget.over

    def _report(self, done: float) -> None:
        self.task.report(Progress("enumeration", self.task.proved, self.value, done))

    def _shorten(self, pool: ThreadPoolExecutor) -> None:
        """Project out what is forced, and round what is left."""
        self.rest = np.delete(np.arange(len(self.columns)), self.forced)
        self.missing, self.gained = self.size - len(self.forced), 0.0
        self.x, self.width, self.c = np.zeros(len(self.rest)), np.ones(len(self.rest)), self.u[self.rest]
        roots = np.sqrt(self.w)
        v = np.zeros(len(self.w))
        for position in self.forced:  # at most one, since two are missing
            v = self._normal(np.array([position]), roots)[0]
            self.x = self._products(np.stack([np.full(len(self.rest), position), self.rest], axis=1))
            self.width = 1.0 / np.sqrt(np.maximum(1.0 - self.x**2, 1e-14))
            self.gained = float(self.u[position] ** 2)
            self.c = (self.c - self.x * self.u[position]) * self.width
            v *= (1.0 - np.sqrt(1.0 - v @ v)) / (v @ v)
        self.unit = float(np.abs(self.c).max(initial=0.0)) or 1.0
        self.c = self.c / self.unit
        self.single = self.c.astype(np.float32)

        def block(part: slice) -> Floats:
            rows = self._normal(self.rest[part], roots)
            if len(self.forced):
                rows -= self.x[part, None] * v
                rows *= self.width[part, None]
            return rows

        self.short = fastest(len(self.w))(len(self.rest), len(self.w), block, pool)

    def _normal(self, positions: Ints, roots: Floats) -> Floats:
        """The vectors a of the module's text."""
        rows = self.neurons[self.columns[positions]]
        rows *= roots
        rows *= self.scale[positions, None]
        return rows

    def _scan(self, top: int) -> None:
        """The sets whose first open pair begins in a block of rows."""
        rows, m = slice(top, min(top + ROWS, len(self.rest))), len(self.rest)
        for left in range(top, m, COLUMNS):
            T = self.short.product(rows, slice(left, min(left + COLUMNS, m)), self.task.budget.late)
            if T is None:
                return
            if self.missing == 2:
                self._offer_all(tuple(self.forced.tolist()), 2, partial(self._pairs_of_tile, T, top, left))
            else:
                self._complete_later(self._open_pairs(T, top, left))

    def _open_pairs(self, T: Singles, top: int, left: int) -> Ints:
        """All open pairs of a tile, shape (n_pairs, 2)."""
        out, q = np.empty((CAPACITY, 2), dtype=np.int64), self.q
        n = self._list(T, top, left, q, out)
        if n > len(out):
            out = np.empty((n, 2), dtype=np.int64)
            self._list(T, top, left, q, out)
        return out[:n]

    def _pairs_of_tile(self, T: Singles, top: int, left: int, q: float, out: Ints) -> int:
        """List the open pairs of a tile by their positions among all neurons."""
        n = self._list(T, top, left, q, out)
        self.counts["pairs"] += n
        listed = out[: min(n, len(out))]
        listed[:] = self.rest[listed]
        return n

    def _list(self, T: Singles, top: int, left: int, q: float, out: Ints) -> int:
        """List the open pairs of a tile; returns their number, which may be above what ``out`` has room for."""
        test, delta = self._test(q, self.short.delta), self.short.delta
        s, theta, size = test[0], test[1], abs(test[1])
        u = self.c[top : top + len(T)]
        eta = 2 * s * delta * (size + np.abs(u)) + s * s * size * delta**2 + 2.0**-18 * (2 + size)
        start = (u * u - theta + eta).astype(np.float32)
        return int(kernels.open_in_tile(T, top, left, self.single, start, test, out))

    def _gap(self, q: float) -> float:
        """What is to be gained, in the unit of c, loosened."""
        gap = (q - self.gained) / self.unit**2
        return gap * LOOSENED if gap > 0 else gap / LOOSENED

    def _test(self, q: float, delta: float) -> Floats:
        """s, theta and the square that is heavy, of products within ``delta``.

        A gain is at least 0, so that a gap of -1 stands for all that are negative.
        """
        s, theta = self.missing - 1.0, 2 * max(self._gap(q), -1.0) / self.missing
        heavy = max(TAU / s - delta, 0.0) ** 2 * (1 - 2.0**-20) if self.missing > 2 else 4.0
        return np.array([s, theta, heavy])

    def _complete_later(self, pairs: Ints) -> None:
        """Keep the pairs that are open by their rho in float64, and complete those kept once they are many."""
        for start in range(0, len(pairs), PAIRS_AT_ONCE):
            if self.task.budget.over:
                return
            part = pairs[start : start + PAIRS_AT_ONCE]
            if self.found.listed.passes_over:
                part = part[~self.found.listed.within(np.sort(self.columns[part], axis=1))]
            rho, kept = self._products(part), np.empty(len(part), dtype=np.bool_)
            kernels.still_open(part, rho, self.c, self._test(self.q, 0.0), kept)
            self.counts["pairs"] += int(kept.sum())
            with self.lock:
                self.pending.append((part[kept], rho[kept]))
                enough = sum(len(part) for part, _ in self.pending) >= MOST_PAIRS
                taken = self._taken() if enough else None
            if taken is not None:
                for left in range(0, len(self.rest), COLUMNS):
                    self._complete(*taken, left)

    def _taken(self) -> tuple[Ints, Floats]:
        """The pairs kept until now, which are kept no longer."""
        kept, self.pending = self.pending, [(np.zeros((0, 2), dtype=np.int64), np.zeros(0))]
        pairs, rho = zip(*kept)
        return np.concatenate(pairs), np.concatenate(rho)

    def _complete(self, pairs: Ints, rho: Floats, left: int) -> None:
        """Every pair with every third neuron of a block."""
        columns = slice(left, min(left + COLUMNS, len(self.rest)))
        ends, place = np.unique(pairs), np.zeros(len(self.rest), dtype=np.int64)
        place[ends] = np.arange(len(ends))
        rows = np.empty((len(ends), columns.stop - left), dtype=np.float32)
        for start in range(0, len(ends), ROWS):
            T = self.short.product(ends[start : start + ROWS], columns, self.task.budget.late)
            if T is None:
                return
            rows[start : start + ROWS] = T
        for start in range(0, len(pairs), PAIRS_AT_ONCE):
            if self.task.budget.over:
                return
            part = slice(start, start + PAIRS_AT_ONCE)
            of = rows, place, left, pairs[part], rho[part], self.c, self.single
            self._offer_all((), 3, partial(self._third, of))

    def _third(self, of: tuple[Any, ...], q: float, out: Ints) -> int:
        """List the third neurons of pairs; see `kernels.third_neurons`."""
        return int(kernels.third_neurons(*of, self._gap(q), self.short.delta, out))
