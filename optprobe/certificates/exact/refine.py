"""Better vectors for one set, where the fit in float64 did not do: hints too, of more bits."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from flint import arb, arb_mat

from optprobe.certificates.exact.balls import Balls, column, exactly, matrix
from optprobe.certificates.exact.duality import Duality
from optprobe.certificates.exact.fits import MOST_KINKS, Fits


def refined(duality: Duality, columns: Sequence[int], fits: Fits) -> Balls | None:
    """Numbers t in [0, 1] for one set (the first of the fits), or None if there are no better ones."""
    try:
        if duality.problem.loss == "logistic":
            return _newton(duality, columns, fits)
        return _at_the_kinks(duality, columns, fits)
    except (ZeroDivisionError, ValueError):
        return None


def _signed(duality: Duality, columns: Sequence[int]) -> arb_mat:
    """The rows ``y_i (z_i, 1)``."""
    z = duality.problem.Z[np.ix_(duality.rows, np.asarray(columns, dtype=np.int64))]
    values = np.column_stack([z, np.ones(len(z))]) * duality.y[:, None]
    return matrix(values)


def _newton(duality: Duality, columns: Sequence[int], fits: Fits, steps: int = 2) -> Balls:
    """Newton steps for the logistic loss from the float64 fit."""
    M = _signed(duality, columns)
    beta = column(exactly(np.append(fits.coef[0], fits.intercept[0])))
    size = M.ncols()
    ridge = [duality.ridge] * (size - 1) + [arb(0)]
    entries = M.tolist()
    for step in range(steps + 1):
        t = [1 / (1 + x.exp()) for x in (M * beta).entries()]
        if step == steps:
            break
        slope = M.transpose() * column([w * x for w, x in zip(duality.w, t)])
        curved = [w * x * (1 - x) for w, x in zip(duality.w, t)]
        H = M.transpose() * arb_mat([[c * x for x in own] for c, own in zip(curved, entries)])
        for i in range(size):
            H[i, i] += ridge[i]
        residual = column([r * b - s for r, b, s in zip(ridge, beta.entries(), slope.entries())])
        beta = (beta - H.solve(residual)).mid()
    return t


def _at_the_kinks(duality: Duality, columns: Sequence[int], fits: Fits) -> Balls | None:
    """The conditions of a minimum for the hinge loss, solved with t of the other rows as it is: 0 or 1."""
    hint = np.clip(-duality.y * fits.dual[0][duality.rows], 0.0, 1.0)
    kinks = np.flatnonzero((hint > 0) & (hint < 1))
    if not 0 < len(kinks) <= MOST_KINKS:
        return None
    M, size, m = _signed(duality, columns), len(columns) + 1, len(kinks)
    fixed = [w if h == 1 else arb(0) for w, h in zip(duality.w, hint.tolist())]
    pull = (M.transpose() * column(fixed)).entries()
    system, right = arb_mat(m + size, m + size), arb_mat(m + size, 1)
    for i, at in enumerate(kinks.tolist()):
        right[i, 0] = arb(1)
        for s in range(size):
            system[i, m + s] = M[at, s]
            system[m + s, i] = -duality.w[at] * M[at, s]
    for s in range(size):
        right[m + s, 0] = pull[s]
        if s < size - 1:
            system[m + s, m + s] = duality.ridge
    solved = system.solve(right)
    t = exactly(np.round(hint))
    for i, at in enumerate(kinks.tolist()):
        t[at] = solved[i, 0].mid().max(arb(0)).min(arb(1))
    return t
