"""A diagonal taken out of the curvature of the squared loss: section 6 of docs/certificates.md, in balls.

With G the second moments of the candidates about their means, a matrix L of float64 numbers and any t >= 0,

    G - D  =  L L' - t I + E,      E = G - D + t I - L L',

so G - D + lack I is positive semidefinite where lack is t and the largest sum of absolute values of a row of E, which
bounds the norm of the symmetric E. L is a hint: a Cholesky factor in float64. The bounds are taken with D - lack.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from flint import arb

from optprobe.certificates.exact.balls import Balls, above, add, below, column, exactly, matrix
from optprobe.certificates.exact.duality import Bound, Duality
from optprobe.certificates.exact.verdict import Clock, Rejected

ROWS_AT_A_TIME = 64
UNIT = 2.0**-53


def taken_out(
    duality: Duality, candidates: Sequence[int], stored: np.ndarray, clock: Clock, progress: Callable[[], str]
) -> np.ndarray:
    """Float64 numbers, certainly at most D less its lack, and 0 where a column is no candidate."""
    chosen = np.zeros(len(stored), dtype=bool)
    chosen[list(candidates)] = True
    if not (stored[~chosen] == 0).all():
        raise Rejected("The diagonal has a column that no set of the claim has.")
    if not ((stored >= 0) & (stored <= 1)).all():
        raise Rejected("The diagonal has a number that is not within [0, 1].")
    columns = np.flatnonzero(chosen)
    m, n = len(columns), len(duality.rows)
    shift = m * (n + m + 64) * UNIT
    L = _hint(duality, columns, stored[columns], shift)
    means, lack = duality.times([duality.w])[0], arb(0)
    right = matrix(L).transpose()
    for first in range(0, m, ROWS_AT_A_TIME):
        clock.check(progress)
        some = columns[first : first + ROWS_AT_A_TIME].tolist()
        product = (matrix(L[first : first + ROWS_AT_A_TIME]) * right).tolist()
        moments = duality.times([[w * x for w, x in zip(duality.w, duality.column(j))] for j in some])
        for at, (j, own, modelled) in enumerate(zip(some, moments, product)):
            share = means[j] / duality.total
            row = [own[other] - share * means[other] - x for other, x in zip(columns.tolist(), modelled)]
            row[first + at] += arb(shift) - arb(float(stored[j]))
            lack = lack.max(add(x.abs_upper() for x in row))
    lack += arb(shift)
    if not lack <= duality.ridge / 2:
        raise Rejected("The diagonal is too large: what it leaves is not certainly positive semidefinite.")
    taken = np.zeros(len(stored))
    taken[columns] = [below(arb(float(stored[j])) - lack) for j in columns]
    return taken


def _hint(duality: Duality, columns: np.ndarray, D: np.ndarray, shift: float) -> np.ndarray:
    Z, w = duality.problem.Z[np.ix_(duality.rows, columns)], duality.problem.w[duality.rows]
    try:
        with np.errstate(all="ignore"):
            return np.asarray(np.linalg.cholesky((Z * w[:, None]).T @ Z + np.diag(shift - D)))
    except np.linalg.LinAlgError:
        raise Rejected("The diagonal is too large: what it leaves is not positive semidefinite.") from None


def bounds_at(duality: Duality, taken: np.ndarray, points: Sequence[tuple[np.ndarray, np.ndarray]]) -> list[Bound]:
    """The bounds of points, columns and coefficients each, for all columns at once.

    For ``b^`` and the vector of its predictions, with the intercept that makes its sum 0, g grows by
    sum D_j b^_j^2 / 2, and the discounts are (v_j - D_j b^_j)^2 / (2 (ridge + D_j)).
    """
    made = [duality.centred(_residual(duality, *each)) for each in points]
    kept, found = exactly(taken), []
    scales = [1 / (2 * (duality.ridge + d)) for d in kept]
    for (columns, coef), each, v in zip(points, made, duality.times([each.weighted for each in made])):
        b = [arb(0)] * len(kept)
        for j, x in zip(columns.tolist(), exactly(coef)):
            b[j] += x
        g = each.g + add(d * x * x for d, x in zip(kept, b)) / 2
        rest = [p - d * x for p, d, x in zip(v, kept, b)]
        found.append(Bound(g, np.array([above(r * r * s) if r != 0 else 0.0 for r, s in zip(rest, scales)])))
    return found


def _residual(duality: Duality, columns: np.ndarray, coef: np.ndarray) -> Balls:
    """Predictions without the intercept, less y."""
    y = exactly(duality.y)
    if not len(columns):
        return [-s for s in y]
    products = matrix(duality.problem.Z[np.ix_(duality.rows, columns)]) * column(exactly(coef))
    return [x - s for x, s in zip(products.entries(), y)]
