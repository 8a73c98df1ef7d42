"""The exact fit f(S): the best coefficients and intercept of one support, or of thousands at once.

    F(S) = min over b, b0 of  sum_i w_i loss(y_i, Z_iS b + b0) + (ridge / 2) |b|^2

Squared loss: one linear system. Logistic: damped Newton. Hinge: a primal-dual interior-point method whose systems have
k + 1 unknowns. All work on a batch of supports at once, and every fit carries the dual value at its own dual vector, so
that its distance to the true minimum is known, not assumed.

The same solvers take one penalty for each coefficient, which is what the perspective relaxation needs
(``sum_j ridge b_j^2 / (2 s_j)`` for fractional s).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import singledispatch

import numpy as np
from numpy.typing import NDArray

from formulations.losses import Hinge, Loss, Squared, log_odds
from formulations.problem import ProbeProblem, SparseProbeProblem

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

RELATIVE_GAP = 1e-10
MAX_ITERATIONS = 100
BATCH_VALUES = 2**21
"""Values of Z gathered at once: bounds the memory of a batch of fits."""


@dataclass(frozen=True, eq=False)
class Fits:
    """The fits of m supports.

    Attributes
    ----------
    supports : ndarray, shape (m, k)
    coef : ndarray, shape (m, k)
        Coefficients of the standardised neurons.
    intercept : ndarray, shape (m,)
    objective : ndarray, shape (m,)
        The penalised mean loss there: an upper bound of F(S).
    lower : ndarray, shape (m,)
        The dual value at ``dual``, without a rounding margin: a lower bound of F(S).
    dual : ndarray, shape (m, n_rows)
        Feasible dual vectors, equal to the derivative of the loss at the optimum; of shape (m, 0) from moments.
    """

    supports: Ints
    coef: Floats
    intercept: Floats
    objective: Floats
    lower: Floats
    dual: Floats


@singledispatch
def fit_supports(problem: ProbeProblem, supports: Sequence[Sequence[int]] | Ints) -> Fits:
    """Fit every row of ``supports`` (shape (m, k)) exactly, to a relative gap of about 1e-10."""
    raise NotImplementedError


@fit_supports.register(SparseProbeProblem)
def _fit_rows(problem: SparseProbeProblem, supports: Sequence[Sequence[int]] | Ints) -> Fits:
    sets = np.asarray(supports, dtype=np.int64)
    m, k = sets.shape
    coef, intercept = np.zeros((m, k)), np.zeros(m)
    objective, lower, dual = np.zeros(m), np.zeros(m), np.zeros((m, problem.n_rows))
    neurons = problem.Z.T
    chunk = max(1, BATCH_VALUES // (problem.n_rows * (k + 1)))
    for start in range(0, m, chunk):
        part = slice(start, min(m, start + chunk))
        Q = np.ones((part.stop - start, k + 1, problem.n_rows))
        Q[:, :k] = neurons[sets[part]]
        penalty = np.full((len(Q), k), problem.ridge)
        fitted = penalised_fit(problem.loss, Q, problem.y, problem.w, penalty)
        coef[part], intercept[part] = fitted.beta[:, :k], fitted.beta[:, k]
        objective[part], lower[part], dual[part] = fitted.objective, fitted.lower, fitted.dual
    return Fits(sets, coef, intercept, objective, lower, dual)


def fit_support(problem: ProbeProblem, support: Sequence[int] | Ints) -> Fits:
    """Fit one support: the batch of one of `fit_supports`."""
    return fit_supports(problem, np.asarray(support, dtype=np.int64)[None, :])


@dataclass(frozen=True, eq=False)
class PenalisedFit:
    """A batch of penalised fits: ``beta`` (m, q + 1; the intercept last), objectives, dual values, dual vectors."""

    beta: Floats
    objective: Floats
    lower: Floats
    dual: Floats


def penalised_fit(
    loss: Loss,
    Q: Floats,
    y: Floats,
    w: Floats,
    penalty: Floats,
    start: Floats | None = None,
    iterations: int = MAX_ITERATIONS,
) -> PenalisedFit:
    """Minimise ``sum_i w_i loss(y_i, f_i) + sum_j penalty_j b_j^2 / 2`` with ``f = Q' (b, b0)``, for a batch.

    Parameters
    ----------
    Q : ndarray, shape (m, q + 1, n_rows)
        The columns of each problem, the last one all ones (the intercept, not penalised).
    penalty : ndarray, shape (m, q)
        Non-negative.
    start : ndarray, shape (m, q + 1), optional
        First point of Newton's method (logistic loss).
    iterations : int
        At most so many steps; the dual value is valid after any number of them.
    """
    full = np.concatenate([penalty, np.zeros((len(Q), 1))], axis=1)
    if isinstance(loss, Squared):
        return _least_squares(loss, Q, y, w, full)
    if isinstance(loss, Hinge):
        return _interior_point(loss, Q, y, w, full, iterations)
    return _newton(loss, Q, y, w, full, start, iterations)


def _predict(Q: Floats, beta: Floats) -> Floats:
    return np.asarray(np.matmul(beta[:, None, :], Q)[:, 0, :])


def _primal(loss: Loss, f: Floats, y: Floats, w: Floats, penalty: Floats, beta: Floats) -> Floats:
    return np.asarray(loss.value(y, f) @ w + 0.5 * (penalty * beta * beta).sum(axis=1))


def _dual_value(loss: Loss, Q: Floats, y: Floats, w: Floats, penalty: Floats, a: Floats) -> Floats:
    """g(a) - sum_j v_j^2 / (2 penalty_j) for feasible a; columns without a penalty are orthogonal to ``w a``."""
    v = np.matmul(Q, (w * a)[:, :, None])[:, :, 0]
    with np.errstate(divide="ignore", invalid="ignore"):
        cost = np.where(penalty > 0, v * v / (2 * penalty), 0.0)
    return np.asarray(-(loss.conjugate(y, a) @ w) - cost.sum(axis=1))


def _finish(loss: Loss, Q: Floats, y: Floats, w: Floats, penalty: Floats, beta: Floats, a: Floats) -> PenalisedFit:
    a = loss.feasible(y, w, a)
    objective = _primal(loss, _predict(Q, beta), y, w, penalty, beta)
    return PenalisedFit(beta, objective, _dual_value(loss, Q, y, w, penalty, a), a)


def _least_squares(loss: Loss, Q: Floats, y: Floats, w: Floats, penalty: Floats) -> PenalisedFit:
    """The normal equations, refined once; the pseudo-inverse where the penalty leaves them singular."""
    H = _hessian(Q, np.broadcast_to(w, (len(Q), len(w))), penalty)
    singular = bool((penalty[:, :-1] == 0).any())
    inverse = np.linalg.pinv(H, hermitian=True) if singular else np.linalg.inv(H)
    beta = np.zeros(penalty.shape)
    for _ in range(2):
        gradient = np.matmul(Q, (w * (_predict(Q, beta) - y))[:, :, None])[:, :, 0] + penalty * beta
        beta = beta - np.matmul(inverse, gradient[:, :, None])[:, :, 0]
    return _finish(loss, Q, y, w, penalty, beta, loss.derivative(y, _predict(Q, beta)))


def _hessian(Q: Floats, curvature: Floats, penalty: Floats) -> Floats:
    H: Floats = np.matmul(Q * curvature[:, None, :], Q.transpose(0, 2, 1))
    diagonal = np.arange(Q.shape[1])
    H[:, diagonal, diagonal] += penalty
    return H


def _newton(
    loss: Loss, Q: Floats, y: Floats, w: Floats, penalty: Floats, start: Floats | None, iterations: int
) -> PenalisedFit:
    """Newton's method with step halving; ends when the decrement is far below the objective."""
    m, q1, _ = Q.shape
    if start is None:
        start = np.zeros((m, q1))
        start[:, -1] = log_odds(y, w)
    beta = start.copy()
    objective = _primal(loss, _predict(Q, beta), y, w, penalty, beta)
    active = np.arange(m)
    for _ in range(iterations):
        Qa, b, d = (Q, beta, penalty) if len(active) == m else (Q[active], beta[active], penalty[active])
        f = _predict(Qa, b)
        gradient = np.matmul(Qa, (w * loss.derivative(y, f))[:, :, None])[:, :, 0] + d * b
        H = _hessian(Qa, w * loss.curvature(y, f), d)
        H[:, -1, -1] += 1e-14
        step = _solve(H, gradient)
        decrement = (gradient * step).sum(axis=1)
        new, value = b - step, np.empty(len(b))
        value[:] = _primal(loss, _predict(Qa, new), y, w, d, new)
        scale = np.ones(len(b))
        for _ in range(40):
            worse = ~(value <= objective[active] + 1e-15)
            if not worse.any():
                break
            scale[worse] *= 0.5
            new[worse] = b[worse] - scale[worse, None] * step[worse]
            value[worse] = _primal(loss, _predict(Qa[worse], new[worse]), y, w, d[worse], new[worse])
        beta[active], objective[active] = new, value
        # a full Newton step with this decrement leaves an error of its square, far below the gap asked for
        active = active[decrement > 1e-8 * value * RELATIVE_GAP**0.5]
        if not len(active):
            break
    return _finish(loss, Q, y, w, penalty, beta, loss.derivative(y, _predict(Q, beta)))


def _interior_point(loss: Loss, Q: Floats, y: Floats, w: Floats, penalty: Floats, iterations: int) -> PenalisedFit:
    """Mehrotra's predictor-corrector method for the weighted hinge loss.

    Unknowns: beta, t (the dual, in (0, 1)), s = 1 - t, xi >= max(0, 1 - y f) and r = xi - 1 + y f. At the optimum
    ``penalty * beta = Q (w t y)``, ``t r = 0`` and ``s xi = 0``; eliminating all but beta leaves a system of
    q + 1 unknowns: ``(diag(penalty) + Q W E Q') dbeta = rhs`` with ``E = 1 / (r / t + xi / s)``. s is carried along,
    since 1 - t loses it where t tends to 1.
    """
    m, q1, n = Q.shape
    best = PenalisedFit(np.zeros((m, q1)), np.full(m, np.inf), np.full(m, -np.inf), np.zeros((m, n)))
    beta = np.zeros((m, q1))
    t = np.broadcast_to(-y * loss.feasible(y, w, -0.5 * y), (m, n)).copy()
    s, xi, r = 1.0 - t, np.full((m, n), 1.5), np.full((m, n), 0.5)
    active = np.arange(m)
    for _ in range(iterations):
        Qa, d = (Q, penalty) if len(active) == m else (Q[active], penalty[active])
        found = _finish(loss, Qa, y, w, d, beta, -y * t)
        _keep_best(best, active, found)
        go = best.objective[active] - best.lower[active] > RELATIVE_GAP * best.objective[active] + 1e-15
        go &= (t * r + s * xi) @ w > 1e-15
        if not go.any():
            break
        if not go.all():
            active, Qa, d = active[go], Qa[go], d[go]
            beta, t, s, xi, r = beta[go], t[go], s[go], xi[go], r[go]
        beta, t, s, xi, r = _predict_and_correct(Qa, y, w, d, (beta, t, s, xi, r))
    return best


def _keep_best(best: PenalisedFit, active: Ints, found: PenalisedFit) -> None:
    better, higher = found.objective < best.objective[active], found.lower > best.lower[active]
    best.beta[active[better]], best.objective[active[better]] = found.beta[better], found.objective[better]
    best.dual[active[higher]], best.lower[active[higher]] = found.dual[higher], found.lower[higher]


def _predict_and_correct(
    Q: Floats, y: Floats, w: Floats, penalty: Floats, point: tuple[Floats, Floats, Floats, Floats, Floats]
) -> tuple[Floats, Floats, Floats, Floats, Floats]:
    """One step of the interior-point method from (beta, t, s, xi, r); the equations are in `_interior_point`."""
    beta, t, s, xi, r = point
    E = 1.0 / (r / t + xi / s)
    H = _hessian(Q, w * E, np.where(penalty > 0, penalty, 1e-14))
    residual = penalty * beta - np.matmul(Q, (w * t * y)[:, :, None])[:, :, 0]

    def direction(c1: Floats, c2: Floats) -> tuple[Floats, Floats, Floats, Floats]:
        target = c1 / t - c2 / s
        rhs = np.matmul(Q, (w * y * E * target)[:, :, None])[:, :, 0] - residual
        dbeta = _solve(H, rhs)
        along = y * _predict(Q, dbeta)
        dt = E * (target - along)
        dxi = (c2 + xi * dt) / s
        return dbeta, dt, dxi, dxi + along

    mu = ((t * r + s * xi) @ w) / (2 * w.sum())
    _, dt, dxi, dr = direction(-t * r, -s * xi)
    reach = _reach(1.0, (t, dt), (s, -dt), (xi, dxi), (r, dr))
    left = (((t + reach * dt) * (r + reach * dr) + (s - reach * dt) * (xi + reach * dxi)) @ w) / (2 * w.sum())
    centre = (mu * np.clip(left / mu, 1e-6, 1.0) ** 3)[:, None]
    dbeta, dt, dxi, dr = direction(centre - t * r - dt * dr, centre - s * xi + dt * dxi)
    reach = _reach(0.995, (t, dt), (s, -dt), (xi, dxi), (r, dr))
    return beta + reach * dbeta, t + reach * dt, s - reach * dt, xi + reach * dxi, r + reach * dr


def _solve(H: Floats, rhs: Floats) -> Floats:
    """``H^{-1} rhs`` for a batch; where rounding has made a matrix singular, with its diagonals raised a little."""
    try:
        return np.asarray(np.linalg.solve(H, rhs[:, :, None])[:, :, 0])
    except np.linalg.LinAlgError:
        raised = H * (1 + 1e-12 * np.eye(H.shape[1]))
        return np.asarray(np.linalg.solve(raised, rhs[:, :, None])[:, :, 0])


def _reach(fraction: float, *pairs: tuple[Floats, Floats]) -> Floats:
    """The longest step in (0, 1], times ``fraction``, that keeps every ``x + step dx`` positive; shape (m, 1)."""
    longest = np.full(len(pairs[0][0]), np.inf)
    for x, dx in pairs:
        with np.errstate(divide="ignore", invalid="ignore"):
            ratio = np.where(dx < 0, -x / dx, np.inf)
        longest = np.minimum(longest, ratio.min(axis=1))
    return np.asarray(np.minimum(1.0, fraction * longest)[:, None])
