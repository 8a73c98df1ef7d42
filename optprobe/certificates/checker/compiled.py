"""The sweep of the squared loss compiled (by numba), for sets of two to six columns: the same theorem, another program.

Let P be a prefix, L the rows of its Cholesky factor times all columns, d and c the conditional variances and the
conditional covariances with y, so that the conditional covariance of i and j is ``A_ij - sum_t L_ti L_tj``. Everything
about a prefix is computed from A itself, never from another prefix's numbers.

*Rounding.* Computed so, a conditional covariance is the exact one of a matrix whose entries differ by at most 8 u for
up to six columns (Cholesky is backward stable: gamma_8 |L||L'|, rows of L of norm at most 1). Changing the entries by E
changes a Schur complement by at most ``|E| (1 + beta)^2``, beta the 1-norm of the coefficients of a column on P; these
have 2-norm at most ``least^-1/2``, so covariances, d, c and the missing gain err by less than ``E1 = 16 u (2 + 12 /
least)``, and correlations by less than ``E2 = 2 E1 / least``. The polynomial tests have derivatives of sum at most 100:
eta = 128 E1.

*Covering* of the sets T of r >= 4 columns that gain more than the gap: the strongest strong column of T, if it has one
(any threshold); else its pair of largest |R|, where R are the stored correlations of the node, if s |R| > sqrt(0.9), s
= r - 1; else an open pair (`pair_sweep`), where all pairs have s |R| <= sqrt(0.9). In the two latter cases no pair of T
is above the *cap*, the |R| of that pair or sqrt(0.9) / s; pairs above it, and those that earlier nodes excluded so, are
left out.

*Row test* (`pair_sweep`, for any r' = r - 2): with s = r' - 1 and theta = 2 gap / r', an open pair of an edge's child
has an end m with sigma > S, or s t >= 1, or U_m^2 > V^2, or U_m^2 + V^2 + 2 s t |U_m| V > theta (1 - s^2 t^2), where t
= cap w sqrt(1 + S^2) + sigma S and d, w, sigma are relative to the node. Where sigma <= S the conditional variance is
at least 0.7 of the node's, so all of it errs by less than 64 E2.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import partial
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from .limits import Limits, mapped
from .outcome import Undecided, require
from .pool import Closed
from .problem import U

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

SHARE = 0.25
HEAVY = 0.9
EXCLUDED, ANY = 3.0, 2.0
ROUNDED_UP = 1 + 1e-12
"""R_ij and R_ji may differ in their last bits; a cap is above both."""
AT_ONCE, CAPACITY, MOST = 512, 1 << 14, 1 << 20
"""Rows of a piece of work; sets that a list begins with, and may hold: of a true claim a handful is left."""
OPTIONS: dict[str, Any] = {
    "cache": True,
    "nogil": True,
    "error_model": "numpy",
    "fastmath": {"nsz", "contract", "reassoc", "arcp"},
}


@njit(**OPTIONS)
def project(A: Floats, v: int, L: Floats, t: int, d: Floats, c: Floats) -> float:
    """Column v joins a prefix of t columns: row t of L, and d and c, in place. Returns its gain."""
    root = 1.0 / np.sqrt(d[v])
    row, of_v = L[t], A[v]
    m, cv = len(d), c[v] * root
    for k in range(m):
        row[k] = of_v[k]
    for q in range(t):
        f, other = L[q, v], L[q]
        for k in range(m):
            row[k] -= f * other[k]
    for k in range(m):
        row[k] *= root
        d[k] -= row[k] * row[k]
        c[k] -= row[k] * cv
    return float(cv * cv)


@njit(**OPTIONS)
def _covariances(A: Floats, i: int, L: Floats, t: int, x: Floats) -> None:
    row = A[i]
    for k in range(len(x)):
        x[k] = row[k]
    for q in range(t):
        f, other = L[q, i], L[q]
        for k in range(len(x)):
            x[k] -= f * other[k]


@njit(**OPTIONS)
def correlations(A: Floats, parent: Floats, cap: float, L: Floats, t: int, d: Floats, out: Floats) -> None:
    """R of a prefix; `EXCLUDED` where the parent's is above the cap."""
    root = np.empty(len(d))
    for k in range(len(d)):
        root[k] = 1.0 / np.sqrt(max(d[k], 1e-300))
    for i in range(len(d)):
        x, before = out[i], parent[i]
        _covariances(A, i, L, t, x)
        for k in range(len(d)):
            x[k] = EXCLUDED if abs(before[k]) > cap else x[k] * root[i] * root[k]


@njit(**OPTIONS)
def _hits(
    x: Floats, R: Floats, cap: float, d: Floats, c: Floats, alive: Floats, di: float, ci: float, s: float, theta: float,
    heavy: float, eta: float,
) -> int:  # fmt: skip
    n = 0
    for j in range(len(x)):
        square, both = x[j] * x[j], di * d[j]
        test = ci * ci * d[j] + c[j] * c[j] * di - 2.0 * s * ci * c[j] * x[j] - theta * (both - s * s * square)
        closed = (test <= -eta) & (s * s * square <= heavy * both - eta)
        n += int(not (closed | (abs(R[j]) > cap) | (alive[j] == 0.0)))
    return n


@njit(**OPTIONS)
def open_pairs(
    A: Floats, R: Floats, cap: float, L: Floats, t: int, d: Floats, c: Floats, alive: Floats, rows: Ints, ordered: bool,
    r: int, gap: float, eta: float, out: Ints,
) -> int:  # fmt: skip
    """List the open pairs of a prefix of t columns with first end in ``rows``, r missing; returns their number."""
    m, s, theta, n = len(d), r - 1.0, 2.0 * gap / r, 0
    heavy = HEAVY if r > 2 else 2.0
    x = np.empty(m)
    for i in rows:
        f = i + 1 if ordered else 0
        _covariances(A, i, L, t, x)
        if _hits(x[f:], R[i][f:], cap, d[f:], c[f:], alive[f:], d[i], c[i], s, theta, heavy, eta) == 0:
            continue
        for j in range(f, m):
            k = slice(j, j + 1)
            if i != j and _hits(x[k], R[i][k], cap, d[k], c[k], alive[k], d[i], c[i], s, theta, heavy, eta) > 0:
                if n < len(out):
                    out[n, 0] = i
                    out[n, 1] = j
                n += 1
    return n


@njit(**OPTIONS)
def _thirds(
    x: Floats, root: float, cv: float, R1: Floats, R2: Floats, cap: float, d: Floats, c: Floats, alive: Floats,
    gap: float, eta: float,
) -> int:  # fmt: skip
    """How many columns may gain more than the gap once a column with covariances x joins the prefix, as in `project`.

    ``root`` is its standard deviation's reciprocal, ``cv`` its normalised covariance with y.
    """
    n = 0
    for k in range(len(d)):
        row = x[k] * root
        rest, variance = c[k] - row * cv, d[k] - row * row
        outside = (abs(R1[k]) > cap) | (abs(R2[k]) > cap) | (alive[k] == 0.0)
        n += int(not ((rest * rest <= gap * variance - eta) | outside))
    return n


@njit(**OPTIONS)
def triples(
    A: Floats, R: Floats, cap: float, L: Floats, t: int, d: Floats, c: Floats, alive: Floats, pairs: Ints, gap: float,
    eta: float, out: Ints,
) -> int:  # fmt: skip
    """List the sets {i, j, l}, (i, j) one of the pairs, that may gain more than the gap; returns their number.

    Pairs that share i should follow each other.
    """
    m, n, last, gained = len(d), 0, -1, 0.0
    d2, c2, x = np.empty(m), np.empty(m), np.empty(m)
    for q in range(len(pairs)):
        i, j = pairs[q, 0], pairs[q, 1]
        if i != last:
            last = i
            d2[:] = d
            c2[:] = c
            gained = project(A, i, L, t, d2, c2)
            d2[i], c2[i] = 1.0, 0.0
        root = 1.0 / np.sqrt(d2[j])
        cv = c2[j] * root
        left = gap - gained - cv * cv
        _covariances(A, j, L, t + 1, x)
        kept_d, kept_c = d2[j], c2[j]
        d2[j], c2[j], x[i], x[j] = 1.0, 0.0, 0.0, 0.0
        if not left > eta or _thirds(x, root, cv, R[i], R[j], cap, d2, c2, alive, left, eta) > 0:
            for k in range(m):
                one = slice(k, k + 1)
                if k in (i, j):
                    continue
                if _thirds(x[one], root, cv, R[i][one], R[j][one], cap, d2[one], c2[one], alive[one], left, eta) > 0:
                    if n < len(out):
                        out[n, 0] = i
                        out[n, 1] = j
                        out[n, 2] = k
                    n += 1
        d2[j], c2[j] = kept_d, kept_c
    return n


@njit(**OPTIONS)
def _relative(d: Floats, c: Floats, before: Floats, on: Floats, slack: float, out: Floats) -> None:
    """Rows of ``out``: w, sigma and |U| of the row test, rounded up; 0 for columns that are off."""
    w, sigma, a = out[0], out[1], out[2]
    for k in range(len(d)):
        ratio = before[k] / d[k]
        w[k] = np.sqrt(ratio) * on[k]
        sigma[k] = np.sqrt(max(ratio - 1.0, 0.0) + slack) * on[k]
        a[k] = (abs(c[k]) / np.sqrt(d[k]) + slack) * on[k]


@njit(**OPTIONS)
def _is_flagged(
    w: float, sigma: float, a: float, s: float, theta: float, cap: float, S: float, V: float, root: float
) -> bool:
    t = s * (cap * w * root + sigma * S)
    return not ((sigma <= S) & (t < 1.0) & (a <= V) & (a * a + V * V + 2.0 * t * a * V <= theta * (1.0 - t * t)))


@njit(**OPTIONS)
def _count_flagged(
    w: Floats, sigma: Floats, a: Floats, s: float, theta: float, cap: float, S: float, V: float, root: float
) -> int:
    n = 0
    for k in range(len(w)):
        n += int(_is_flagged(w[k], sigma[k], a[k], s, theta, cap, S, V, root) & (w[k] != 0.0))
    return n


@njit(**OPTIONS)
def _flagged(relative: Floats, s: float, theta: float, cap: float, rows: Ints) -> int:
    """The rows that the row test leaves, for the best S and V of a few."""
    w, sigma, a = relative[0], relative[1], relative[2]
    m, best, S, V, n = len(w), len(w) + 1, 0.5, 0.0, 0
    largest = a.max()
    for trial in range(8):
        size, strong = 0.2 + 0.15 * (trial // 2), np.sqrt(max(theta, 0.0) * (0.3 if trial % 2 == 0 else 0.12))
        strong = min(strong, largest)
        n = _count_flagged(w, sigma, a, s, theta, cap, size, strong, np.sqrt(1.0 + size * size))
        if n < best:
            best, S, V = n, size, strong
    n = 0
    for k in range(m):
        if w[k] != 0.0 and _is_flagged(w[k], sigma[k], a[k], s, theta, cap, S, V, np.sqrt(1.0 + S * S)):
            rows[n] = k
            n += 1
    return n


@njit(**OPTIONS)
def edge_cap(R: Floats, a: int, b: int, left: int) -> float:
    """The cap below an edge, with ``left`` columns missing there."""
    return float(max(abs(R[a, b]), np.sqrt(HEAVY) / (left + 1.0)) * ROUNDED_UP)


@njit(**OPTIONS)
def edge_children(
    A: Floats, R: Floats, L: Floats, t: int, d: Floats, c: Floats, alive: Floats, edges: Ints, left: int, gap: float,
    eta: float, slack: float, out: Ints,
) -> int:  # fmt: skip
    """Children of edges with ``left`` columns missing: list sets (2 or 3), or the edges that stay open (4).

    Returns their number, or one that is above the room of ``out`` once that is too small.
    """
    m, n, width = len(d), 0, 2
    d2, c2, on, rows = np.empty(m), np.empty(m), np.empty(m), np.empty(m, np.int64)
    pairs, found = np.empty((m, 2), np.int64), np.empty((len(out), 3), np.int64)
    relative = np.empty((3, m))
    for q in range(len(edges)):
        if n > len(out):  # a longer list is wanted
            break
        a, b = edges[q, 0], edges[q, 1]
        cap = edge_cap(R, a, b, left)
        d2[:] = d
        c2[:] = c
        missing = gap - project(A, a, L, t, d2, c2)
        missing -= project(A, b, L, t + 1, d2, c2)
        for k in range(m):
            on[k] = 0.0 if (abs(R[a, k]) > cap) | (abs(R[b, k]) > cap) else alive[k]
        on[a] = on[b] = 0.0
        d2[a] = d2[b] = 1.0
        _relative(d2, c2, d, on, slack, relative)
        theta = 2.0 * missing / left - slack
        n_rows = _flagged(relative, left - 1.0, theta - slack * abs(theta), cap * (1.0 + slack) + slack, rows)
        for f in range(n_rows):
            one = rows[f : f + 1]
            n_pairs = open_pairs(A, R, cap, L, t + 2, d2, c2, on, one, False, left, missing, eta, pairs)
            if n_pairs == 0:
                continue
            if left == 4:
                if n < len(out):
                    out[n, 0] = a
                    out[n, 1] = b
                n += 1
                break
            listed, width = pairs[:n_pairs], 2
            if left == 3:
                n_found = triples(A, R, cap, L, t + 2, d2, c2, on, listed, missing, eta, found)
                listed, width = found[: min(n_found, len(found))], 3
                n += max(0, n_found - len(found))
            for h in range(len(listed)):
                if n < len(out):
                    out[n, 0] = a
                    out[n, 1] = b
                    for place in range(width):
                        out[n, 2 + place] = listed[h, place]
                n += 1
    return n


@dataclass(frozen=True)
class Node:
    """A prefix and what it leaves: factor rows L (7, m), d, c, the columns alive, the gap, R, and columns missing."""

    prefix: tuple[int, ...]
    L: Floats
    d: Floats
    c: Floats
    alive: Floats
    gap: float
    R: Floats
    missing: int

    def child(self, A: Floats, more: tuple[int, ...], alive: Floats, cap: float) -> Node:
        """``more`` joins the prefix; pairs above the cap are left out from here on."""
        L, d, c, gap = self.L.copy(), self.d.copy(), self.c.copy(), self.gap
        alive = alive.copy()
        for place, v in enumerate(more):
            gap -= project(A, v, L, len(self.prefix) + place, d, c)
            alive[np.abs(self.R[v]) > cap] = 0.0
        alive[list(more)] = 0.0
        d[alive == 0] = 1.0
        R = self.R
        if self.missing - len(more) > 3:
            R = np.empty_like(A)
            correlations(A, self.R, cap, L, len(self.prefix) + len(more), d, R)
        return Node(self.prefix + more, L, d, c, alive, gap, R, self.missing - len(more))


class Replay:
    """All sets of k columns that the theorem does not close; ``least`` is below every conditional variance.

    Prefixes that are ``closed`` have no sets to be listed, whatever they gain.
    """

    def __init__(
        self, A: Floats, u: Floats, gap: float, k: int, least: float, limits: Limits, closed: Closed | None = None
    ) -> None:
        error = 16 * U * (2 + 12 / least)
        self.A, self.eta, self.slack, self.limits, self.closed = A, 128 * error, 128 * error / least, limits, closed
        require(self.slack <= 1e-3, "the ridge is too small for a sweep")
        m = len(u)
        self.root = Node((), np.zeros((7, m)), np.ones(m), u.copy(), np.ones(m), gap, A, k)

    def sets(self) -> Iterator[Ints]:
        """Shape (n, k) each."""
        if len(self.root.d) < self.root.missing:
            return
        for found in mapped(lambda piece: piece(), self._pieces(self.root), self.limits):
            yield found
            if len(found) >= MOST:  # and those that were listed have all been checked by now
                raise Undecided(f"more than {MOST:,} sets are within rounding of the lower bound: claim a lower one")

    def _pieces(self, node: Node) -> Iterator[Callable[[], Ints]]:
        self.limits.check()
        if self.closed is not None and self.closed(node.prefix):
            return
        finite = np.isfinite(node.gap) and np.isfinite(node.d).all() and np.isfinite(node.c).all()
        require(finite, "a number of the sweep is not finite")
        require(node.gap > 0, "some set of fewer columns is below the claimed lower bound already")
        rows = np.flatnonzero(node.alive)
        if node.missing <= 3:
            yield from (partial(self._scan, node, rows[at : at + AT_ONCE]) for at in range(0, len(rows), AT_ONCE))
            return
        gains = np.where(node.alive > 0, node.c * node.c / node.d, 0.0)
        order = np.argsort(-gains, kind="stable")
        strong = order[: int((gains > SHARE * node.gap).sum())]
        alive = node.alive.copy()
        for v in strong:
            alive[v] = 0.0
            yield partial(self._vertex, node, int(v), alive.copy())
        edges = self._open_pairs(node, alive, np.flatnonzero(alive))
        at_once = max(1, min(AT_ONCE, AT_ONCE * 1000 // len(alive)))
        for at in range(0, len(edges), at_once):
            yield partial(self._edges, node, alive, edges[at : at + at_once])

    def _all(self, node: Node) -> Ints:
        return self._together(piece() for piece in self._pieces(node))

    def _together(self, parts: Iterable[Ints]) -> Ints:
        """All parts, or the first of them with `MOST` sets or more."""
        taken, n = [np.zeros((0, self.root.missing), dtype=np.int64)], 0
        for part in parts:
            taken.append(part)
            n += len(part)
            if n >= MOST:
                break
        return np.concatenate(taken)

    def _vertex(self, node: Node, v: int, alive: Floats) -> Ints:
        return self._all(node.child(self.A, (v,), alive, ANY))

    def _open_pairs(self, node: Node, alive: Floats, rows: Ints) -> Ints:
        out = np.empty((len(rows) * len(alive), 2), dtype=np.int64)
        t, r = len(node.prefix), node.missing
        fixed = node.R, ANY, node.L, t, node.d, node.c, alive, rows, True, r, node.gap, self.eta
        return out[: open_pairs(self.A, *fixed, out)].copy()

    def _scan(self, node: Node, rows: Ints) -> Ints:
        pairs = self._open_pairs(node, node.alive, rows)
        if node.missing == 2:
            return _joined(node, pairs)
        work = node.L.copy()
        fixed = node.R, ANY, work, len(node.prefix), node.d, node.c, node.alive, pairs, node.gap, self.eta
        return _joined(node, _listed(3, lambda out: triples(self.A, *fixed, out)))

    def _edges(self, node: Node, alive: Floats, edges: Ints) -> Ints:
        if self.closed is not None:
            edges = edges[[not self.closed((*node.prefix, a, b)) for a, b in edges.tolist()]]
        left, work = node.missing - 2, node.L.copy()
        fixed = node.R, work, len(node.prefix), node.d, node.c, alive, edges, left, node.gap, self.eta, self.slack
        found = _listed(min(left, 3) + 2 if left < 4 else 2, lambda out: edge_children(self.A, *fixed, out))
        if left < 4:
            return _joined(node, found)
        caps = [edge_cap(node.R, a, b, left) for a, b in found]
        children = (node.child(self.A, (int(a), int(b)), alive, cap) for (a, b), cap in zip(found, caps))
        return self._together(map(self._all, children))


def _joined(node: Node, sets: Ints) -> Ints:
    return np.concatenate([np.tile(np.array(node.prefix, dtype=np.int64), (len(sets), 1)), sets], axis=1)


def _listed(width: int, fill: Callable[[Ints], int]) -> Ints:
    """What ``fill`` lists, at most `MOST` rows, with a buffer as large as it needs."""
    out = np.empty((CAPACITY, width), dtype=np.int64)
    n = fill(out)
    while len(out) < min(n, MOST):
        out = np.empty((min(max(4 * len(out), n), MOST), width), dtype=np.int64)
        n = fill(out)
    return out[: min(n, len(out))].copy()
