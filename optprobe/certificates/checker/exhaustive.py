"""Every set, one by one, by no theorem but linear algebra and weak duality: slow, and the plainest proof there is.

Squared loss: the gain of a set is that of its columns one after the other, each conditional on those before,

    q(S) = c_1^2 / d_1 + c_2^2 / d_2 + ...,

with the conditional variance d, and covariance c with y, of each; the last two columns together gain ``(c_i^2 d_j - 2
m_ij c_i c_j + c_j^2 d_i) / (d_i d_j - m_ij^2)``. Conditional on v, these are ``m_ij - m_iv m_jv / d_v`` and ``c_i -
m_iv c_v / d_v``.

*Rounding.* Let delta bound the error of the numbers before a column v is projected out; they are at most 1, d_v is at
least ``least``, and |m_iv|^2 <= d_v d_i, c_v^2 <= d_v. So the numbers after it err by at most ``delta (1 + 2 /
sqrt(least) + 1 / least) + 4 u <= 4 delta / least + 4 u``, and the gain of v by at most ``3 delta / least``. The test of
the last two columns, ``c_i^2 d_j - 2 m c_i c_j + c_j^2 d_i > gap (d_i d_j - m^2)``, errs by at most 32 delta plus the
error of the gap. Sets that pass it, that much slack included, must have a dual bound of their own that reaches
``lower``, like all sets of the other losses.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from math import comb

import numpy as np
from numpy.typing import NDArray

from .limits import Limits, mapped
from .outcome import Undecided, Unusable
from .pair_sweep import moments
from .problem import Problem, U
from .sets import all_sets, check_open_sets, check_sets, checked, counted, with_first

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

MOST_SQUARED, MOST_OTHERS = 10**12, 2 * 10**5
"""Sets that an exhaustive check takes on: about an hour on two cores."""


def check_exhaustively(problem: Problem, lower: float) -> str:
    """No set has F below ``lower``: all of them are evaluated. Returns a sentence of counts."""
    columns, k, fixed = problem.columns, problem.size, len(problem.forced)
    m, need = len(columns) - fixed, k - fixed
    check_number(m, need, problem.loss)
    if problem.loss == "squared" and need > 1:
        given = moments(problem, lower)
        count = check_sets_above(
            *given, k, lambda sets: check_sets(problem, columns[sets], lower), problem.limits, fixed
        )
    else:
        count = check_open_sets(problem, columns, with_first(fixed, all_sets(m, need)), lower)
    return counted("every set evaluated", m, need, count)


def check_number(m: int, k: int, loss: str) -> None:
    """Raise `Undecided` where the sets are too many."""
    count, most = comb(m, k), MOST_SQUARED if loss == "squared" else MOST_OTHERS
    if count > most:
        raise Undecided(f"an exhaustive check takes on {most:,} sets of {loss} loss, and these are {count:,}")


def check_sets_above(
    A: Floats,
    u: Floats,
    Q: float,
    least: float,
    k: int,
    check: Callable[[Ints], None],
    limits: Limits,
    fixed: int = 0,
) -> int:
    """``check`` the sets of k columns that the test of the text leaves; returns their number.

    All have the first ``fixed`` columns, at most k - 2.
    """
    try:
        from .exhaustive_loops import pairs_above
    except ImportError as error:
        raise Unusable(f"an exhaustive check of the squared loss needs numba: {error}") from error
    m = len(A)
    delta = [8 * U]
    for _ in range(k - 2):
        delta.append(4 * delta[-1] / least + 4 * U)
    slack = 32 * delta[-1] + 3 * sum(delta) / least

    def below(prefix: tuple[int, ...], A: Floats, u: Floats, gap: float) -> Iterator[Ints]:
        """The sets that begin with a prefix; A and u are of the columns after it, conditional on it."""
        limits.check()
        after = m - len(A)
        if len(prefix) == k - 2:
            for pairs in pairs_above(A, u, gap, slack):
                yield np.concatenate([np.tile(np.array(prefix, np.int64), (len(pairs), 1)), pairs + after], axis=1)
            return
        for v in range(len(A) - (k - len(prefix)) + 1):
            yield from below((*prefix, after + v), *_after(A, u, gap, v))

    head = tuple(range(fixed))
    for _ in head:
        A, u, Q = _after(A, u, Q, 0)
    if k - fixed == 2:
        return checked(below(head, A, u, Q), check, limits)

    def after_first(first: int) -> int:
        return checked(below((*head, fixed + first), *_after(A, u, Q, first)), check, limits)

    return sum(mapped(after_first, range(m - k + 1), limits))


def _after(A: Floats, u: Floats, gap: float, v: int) -> tuple[Floats, Floats, float]:
    """A and u of the columns after v, conditional on it, and what is missing of the gap."""
    rest, d = A[v, v + 1 :], A[v, v]
    return A[v + 1 :, v + 1 :] - np.outer(rest, rest / d), u[v + 1 :] - rest * (u[v] / d), gap - float(u[v] ** 2 / d)
