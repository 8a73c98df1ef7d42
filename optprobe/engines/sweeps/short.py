"""Products of many vectors in a short type, with a bound of their error."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from functools import cache
from typing import Any

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
WORTH = 0.7
"""Of the time of float32 products: bfloat16 is used where it takes less."""
MOST_SUMMED = 1 << 16
"""Entries up to which one sum of products of bfloat16 errs little."""


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
        return self.times(self.vectors[rows], columns, late)

    def rounded(self, given: Floats) -> tuple[Singles, float]:
        """Other vectors of norm at most 1, shape (m, n), for `times`, and the delta of their products."""
        return given.astype(np.float32), self.delta

    def times(self, a: Singles, columns: slice, late: Late) -> Singles | None:
        """T of rounded vectors with some of these; None where time is up."""
        b = self.vectors[columns]
        T = np.zeros((len(a), len(b)), dtype=np.float32)
        for start in range(0, a.shape[1], SUMMED):
            if late():
                return None
            part = slice(start, start + SUMMED)
            T += a[:, part] @ b[:, part].T
        return T


class Half:
    """The same in bfloat16, by the units for it that some processors have; needs torch.

    *Proof.* ``|a_i - b_i| <= e``, which is computed. ``<a_i, a_j> - <b_i, b_j>``, the sum of ``<a_i - b_i, a_j>`` and
    ``<b_i, a_j - b_j>``, is at most e (2 + e) in absolute value. Products of two numbers of 8 bits are exact in
    float32, and n of them, of absolute sum at most (1 + e)^2, are added in float32, which errs by gamma_n of that. A
    sum below 1 is rounded to bfloat16, of spacing 2^-8 at most there, by 2^-9; one above, to which rounding might do
    more, becomes 1, which is nearer to <a_i, a_j> than the sum was. Underflow is as in `Short`, also where numbers
    below 2^-126 count as 0. QED
    """

    def __init__(self, m: int, n: int, block: Callable[[slice], Floats], pool: ThreadPoolExecutor) -> None:
        import torch

        self.vectors = torch.empty((m, n), dtype=torch.bfloat16)

        def fill(start: int) -> float:
            part = slice(start, min(start + BLOCK, m))
            self.vectors[part], error = _rounded(block(part))
            return error

        self.error = max(pool.map(fill, range(0, m, BLOCK)))
        self.delta = self._delta(self.error)

    def _delta(self, e: float) -> float:
        """What a product errs by, of vectors that err by e at most."""
        n = self.vectors.shape[1]
        return e * (2 + e) + 1.02 * (n + 4) * 2.0**-24 * (1 + e) ** 2 + 2.0**-9

    def product(self, rows: slice | Ints, columns: slice, late: Late) -> Singles | None:
        """T of some vectors with others, shape (len(rows), len(columns)); None where time is up."""
        return self.times(self.vectors[rows], columns, late)

    def rounded(self, given: Floats) -> tuple[Any, float]:
        """Other vectors of norm at most 1, shape (m, n), for `times`, and the delta of their products."""
        a, error = _rounded(given)
        return a, self._delta(max(self.error, error))

    def times(self, a: Any, columns: slice, late: Late) -> Singles | None:
        """T of rounded vectors with some of these; None where time is up."""
        return None if late() else _product(a, self.vectors[columns])


def _rounded(given: Floats) -> tuple[Any, float]:
    """Vectors in bfloat16, and the largest norm of what rounding takes."""
    import torch

    short = torch.from_numpy(given).to(torch.bfloat16)
    apart = short.double().numpy() - given
    return short, 1.001 * float(np.sqrt(np.einsum("mi,mi->m", apart, apart).max()))


def _product(a: Any, b: Any) -> Singles:
    """``a b'`` of matrices in torch, by one thread and within [-1, 1], in float32."""
    import torch

    torch.set_num_threads(1)
    return np.asarray((a @ b.T).clamp_(-1.0, 1.0).float().numpy())


@contextmanager
def one_thread_a_product() -> Iterator[None]:
    """Give torch its threads back at the end: every product here takes one, since others are made beside it."""
    try:
        import torch
    except ImportError:
        yield
        return
    threads = torch.get_num_threads()
    try:
        yield
    finally:
        torch.set_num_threads(threads)


def fastest(n: int) -> type[Short] | type[Half]:
    """The type of products of vectors of n entries: bfloat16 where that is measured to be worth it here."""
    return Half if n <= MOST_SUMMED and _half_is_worth_it() else Short


@cache
def _half_is_worth_it() -> bool:
    """Whether a product in bfloat16 takes this thread less time than one in float32, and is added up in float32.

    A sum of equal terms in bfloat16 would stand still at 256 of them.
    """
    try:
        import torch
    except ImportError:
        return False
    whole = torch.full((512, 2048), 2048**-0.5)
    seconds = []
    with one_thread_a_product():
        for a in (whole, whole.to(torch.bfloat16)):
            tried = []
            for _ in range(4):
                started = time.thread_time()
                T = _product(a, a)
                tried.append(time.thread_time() - started)
            seconds.append(min(tried))
    return bool(np.abs(T - 1).max() <= 0.01) and seconds[1] < WORTH * seconds[0]
