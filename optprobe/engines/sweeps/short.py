"""Products of many vectors in a short type, with a bound of their error."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import numpy as np
from numpy.typing import NDArray

from optprobe.heuristics.stopping import Late

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
Ints = NDArray[np.int64]

BLOCK = 256
"""Vectors that are rounded together."""
SUMMED = 4096
"""Entries of two vectors whose products a library adds up; these sums are then added one after the other."""


class Short:
    """Vectors a_i of norm at most 1, rounded to float32, whose products T are within ``delta`` of <a_i, a_j>.

    *Proof.* ``b_i = a_i (1 + e)`` entry by entry, |e| <= v = 2^-24. A sum of at most N = `SUMMED` products errs, in
    whatever order it is made and whether or not a product is rounded before it is added, by at most gamma_N times the
    sum of absolute values; adding q = n / N such sums by gamma_q more. The absolute values add up to at most
    ``|b_i| |b_j| <= (1 + v)^2``. Altogether ``(N + q + 2) v`` and terms of second order, for which there are 2% and
    2 v. Underflow takes at most 2^-126 of an entry or a product, n 2^-125 of a sum; and the a_i themselves err by what
    float64 arithmetic makes of them, far below the 2 v. QED

    Parameters
    ----------
    m, n : int
        Vectors, and entries of each.
    block : callable
        The vectors in a slice, shape (n_vectors, n).
    pool : ThreadPoolExecutor
    """

    def __init__(self, m: int, n: int, block: Callable[[slice], Floats], pool: ThreadPoolExecutor) -> None:
        self.vectors = np.empty((m, n), dtype=np.float32)

        def fill(start: int) -> None:
            part = slice(start, min(start + BLOCK, m))
            self.vectors[part] = block(part)

        list(pool.map(fill, range(0, m, BLOCK)))
        self.delta = 1.02 * (min(n, SUMMED) + -(-n // SUMMED) + 4) * 2.0**-24

    def product(self, rows: slice | Ints, columns: slice, late: Late) -> Singles | None:
        """T of some vectors with others, shape (len(rows), len(columns)); None where time is up."""
        a, b = self.vectors[rows], self.vectors[columns]
        T = np.zeros((len(a), len(b)), dtype=np.float32)
        for start in range(0, a.shape[1], SUMMED):
            if late():
                return None
            part = slice(start, start + SUMMED)
            T += a[:, part] @ b[:, part].T
        return T
