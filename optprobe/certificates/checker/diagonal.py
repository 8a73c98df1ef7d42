"""A diagonal taken out of the curvature of the squared loss, by which the points of a tree bound more.

*Theorem.* Let m = Z'w and G = Z'WZ - m m' / W, on the candidates, and let D be diagonal with G - D positive
semidefinite and ridge + D_j > 0. For every b^ on candidates, ``a = Z b^ + a constant - y`` with sum w a = 0,
v = Z'(w a), and every set S of candidates,

    F(S) >= g(a) + b^'D b^ / 2 - sum_{j in S} (v_j - D_j b^_j)^2 / (2 (ridge + D_j)).

*Proof.* The squared loss is ``a f - l*(a) + (f - y - a)^2 / 2``. Let f = Z b + b0, b zero outside S. Weighted and
summed, the last term is half the square of Z (b - b^) and a constant, so at least (b - b^)'D (b - b^) / 2; the others
are g(a) + v'b. Each b_j is then minimised alone: ``v_j b_j + D_j (b_j - b^_j)^2 / 2 + ridge b_j^2 / 2`` is at least
``D_j b^_j^2 / 2 - (v_j - D_j b^_j)^2 / (2 (ridge + D_j))``, and outside S, where b_j = 0, it is D_j b^_j^2 / 2. QED.

D = 0 is the bound of `bounds.duals_of`, and at one b^ the bound never falls where a D_j grows: what was minimised grows
by (b_j - b^_j)^2 / 2 times that.

*That G - D is positive semidefinite* is shown up to a ``lack``, which is taken off every D_j. With A the computed
G - D + shift I and L any matrix (a Cholesky factor, which nobody needs to trust), LL' is positive semidefinite, so
G - D >= - (shift + the norms of A - LL' and of the errors of A) I.  The errors, in any order of summation:

- a product of columns by gamma_{n+2} |z_i| |z_j| <= 1.01 gamma_{n+2} W, so a matrix of these by m times that in norm;
- m m' / W is left out: at most |m|^2 / W in norm, where m_j errs by gamma_{n+1} W;
- the shifted diagonal by 4 u (1 + |A_jj|);
- an entry of LL' by gamma_{m+1} |l_i| |l_j|, the difference by u times it and |A_ij|: in the Frobenius norm at most
  gamma_{m+4} (2 |L|^2 + |A|), since the sum of |l_i|^2 |l_j|^2 is |L|^4; the norm itself by gamma_{m^2+8} of itself.

These are the sizes of Rump's bound (Verification of positive definiteness, BIT 46, 2006) and of Higham, Accuracy and
Stability of Numerical Algorithms, theorem 10.3; the product in place of a theorem about the factorisation makes matrix
products and elementwise operations all that is believed.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .bounds import ABOVE, UNDERFLOW, gamma
from .limits import mapped
from .outcome import Rejected, require
from .problem import BLOCK, Problem, U

Floats = NDArray[np.float64]


def taken_out(problem: Problem, stored: Floats) -> Floats:
    """The stored D less its lack, shape (n_neurons,): for this, G - D is positive semidefinite; or a rejection.

    Columns that are no candidates have 0.
    """
    columns, w = np.flatnonzero(problem.candidates), problem.w
    D = stored[columns]
    require(((D >= 0) & (D <= 1)).all(), "the diagonal has a number that is not within [0, 1]")
    outside = stored[~problem.candidates]
    require((outside == 0).all(), "the diagonal has a column that is no candidate")
    n, m = len(w), len(columns)
    problem.limits.work(2.0 * n * m * m + 3.0 * m**3, "the diagonal of the tree")
    problem.limits.room(3.0 * m * m + 2.0 * n * m, "the diagonal of the tree")
    Z, W = problem.Z[:, columns], float(w.sum())
    starts = range(0, m, BLOCK)
    parts = mapped(lambda at: (Z[:, at : at + BLOCK] * w[:, None]).T @ Z, starts, problem.limits)
    A = np.concatenate([np.zeros((0, m)), *parts])
    shift = m * gamma(n + m + 64)
    A[np.arange(m), np.arange(m)] += shift - D
    try:
        L = np.linalg.cholesky(A)
    except np.linalg.LinAlgError as error:
        raise Rejected("the diagonal is too large: what it leaves is not positive semidefinite") from error
    squares = mapped(lambda at: _squares(A[at : at + BLOCK] - L[at : at + BLOCK] @ L.T), starts, problem.limits)
    misfit, factor, norm = math.sqrt(sum(squares)), _squares(L), math.sqrt(_squares(A))
    means = _squares(np.abs(w @ Z) + ABOVE * gamma(n + 8) * W) / W
    of_products = gamma(m + 4) * (2 * factor + norm) + m * gamma(n + 8) * W + 4 * U * (2 + norm)
    lack = shift + ABOVE * (misfit + means + ABOVE * of_products) + UNDERFLOW
    require(lack <= problem.ridge / 2, f"the diagonal is shown up to {lack:.2g} alone, and the ridge is too small")
    taken = np.zeros(len(stored))
    taken[columns] = np.nextafter(D - lack, -1.0)
    return taken


def _squares(values: Floats) -> float:
    return float((values * values).sum())
