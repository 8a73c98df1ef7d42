"""The moves of a local search: every support one or two neurons away, ranked by an estimate of F and fitted exactly.

Adding the neurons T to a prefix P lowers F by about

    c_T' A_TT^{-1} c_T / 2,    c = -(gradient of F in the coefficients of the free neurons, at the fit of P),
                               A = its second derivative there, the coefficients of P and the intercept projected out,

exactly so for the squared loss, where A is the Schur complement in ``Z' W Z + ridge I``, and up to one step of Newton's
method for the others. One neuron and two give

    c_i^2 / (2 A_ii),    (c_i^2 A_jj - 2 c_i c_j A_ij + c_j^2 A_ii) / (2 (A_ii A_jj - A_ij^2)).

The estimate only ranks: every value that decides is a value of F (MATH.md, sections 4 and 5).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import combinations

import numpy as np
from numpy.typing import NDArray

from formulations import ProbeProblem, fit_supports, with_rows
from formulations.losses import Hinge, Squared
from optprobe.heuristics.stopping import Late, never

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]
Support = tuple[int, ...]

FITTED = (16, 48)
"""Moves fitted at once, the best ranked first; the second batch only where the first brings nothing."""
BETTER = 1e-9
"""A move is taken where it lowers F by more than this share of it: above the error of a fit."""
DEPENDENT = 1e-10
"""A neuron adds nothing where less than this share of its curvature is left beside the prefix."""
LEADS, LEAVERS, PAIR_WORK = 64, 8, 2**28
"""Exchanges of two: neurons tried as the first to enter, as those to leave, and the values of Z read for the former."""
HINGE_WIDTH = 0.5
"""Margins over which the kink of the hinge is spread for its second derivative."""


def as_support(neurons: Iterable[int] | Ints) -> Support:
    """The neurons as a sorted tuple of int."""
    return tuple(sorted(int(j) for j in neurons))


class Gram:
    """``Z' W Z``, row by row as needed, and ``Z' W y``: all that the squared loss asks of the data.

    Independent of loss, ridge and k, so that one serves every problem `restated` from the same data.

    Parameters
    ----------
    problem : SparseProbeProblem or MomentProblem
        Whose moments these are.
    matrix : ndarray, shape (n_neurons, n_neurons), optional
        ``Z' W Z`` as a whole, where the caller has it.

    Attributes
    ----------
    moments : ndarray, shape (n_neurons,)
        ``Z' W (y - mean of y)``.
    variance : float
        The weighted variance of y: twice the squared loss of the constant fit.
    """

    def __init__(self, problem: ProbeProblem, matrix: Floats | None = None) -> None:
        self._problem = problem
        self._matrix = matrix
        self._rows: dict[int, Floats] = {}
        self.moments, self.variance = problem.cross, problem.variance

    def rows(self, neurons: Sequence[int] | Ints) -> Floats:
        """The rows of ``Z' W Z`` of some neurons, shape (len(neurons), n_neurons)."""
        if self._matrix is not None:
            return np.asarray(self._matrix[np.asarray(neurons, dtype=np.int64)])
        missing = [int(j) for j in neurons if int(j) not in self._rows]
        if missing:
            self._rows.update(zip(missing, self._problem.gram_rows(missing)))
        return np.stack([self._rows[int(j)] for j in neurons])


@dataclass(frozen=True, eq=False)
class Model:
    """The estimate of F(P + T) for one prefix P; the formulas are in the module's docstring.

    ``value`` is F(P), ``c`` and ``d`` (shape (n_neurons,)) are c and the diagonal of A with c = 0, d = 1 where a neuron
    cannot lower F, ``free`` marks the neurons that may enter, ``cross(leads)`` is the block of A of shape
    (len(leads), n_neurons).
    """

    value: float
    c: Floats
    d: Floats
    free: NDArray[np.bool_]
    cross: Callable[[Ints], Floats]

    def singles(self) -> Floats:
        """Estimates for every neuron, shape (n_neurons,); infinite where it may not enter."""
        return np.where(self.free, self.value - 0.5 * self.c**2 / self.d, np.inf)

    def pairs(self, leads: Ints) -> Floats:
        """Estimates for every pair of a lead and another neuron, shape (len(leads), n_neurons)."""
        x, c, d = self.cross(leads), self.c[leads, None], self.d[leads, None]
        product = d * self.d
        determinant = product - x * x
        apart = determinant > DEPENDENT * product
        both = (c * c * self.d - 2 * c * self.c * x + self.c**2 * d) / np.where(apart, determinant, 1.0)
        estimates = np.where(self.free, self.value - 0.5 * np.where(apart, both, c * c / d), np.inf)
        estimates[np.arange(len(leads)), leads] = np.inf
        return np.asarray(estimates)


class Moves:
    """The supports near a support of one problem, most promising first, and the exact values met so far.

    Parameters
    ----------
    problem : SparseProbeProblem or MomentProblem
        What F is.
    gram : Gram, optional
        Of the same data; made here unless given.
    late : callable, optional
        Whether time is up, asked between steps.
    """

    def __init__(self, problem: ProbeProblem, gram: Gram | None = None, late: Late = never) -> None:
        self.problem = problem
        self.exact = isinstance(problem.loss, Squared)
        self.gram = Gram(problem) if gram is None else gram
        self.late = late
        self._candidate = np.zeros(problem.n_neurons, dtype=bool)
        self._candidate[problem.candidates] = True
        self._known: dict[Support, float] = {}

    def objectives(self, supports: Sequence[Support]) -> Floats:
        """F of supports of one size, each fitted once; shape (len(supports),)."""
        new = [support for support in dict.fromkeys(supports) if support not in self._known]
        if new:
            fits = fit_supports(self.problem, np.array(new, dtype=np.int64).reshape(len(new), -1))
            self._known.update(zip(new, map(float, fits.objective)))
        return np.array([self._known[support] for support in supports])

    def sorted(self, supports: Iterable[Support]) -> list[Support]:
        """Supports of one size by F, ties by index."""
        distinct = sorted(set(supports))
        return [distinct[q] for q in np.argsort(self.objectives(distinct), kind="stable")]

    def grown(self, beam: Sequence[Support], width: int) -> list[Support]:
        """The ``width`` best supports, best first, that have one neuron more than those of the beam."""
        fitted = width if self.exact else max(width, FITTED[0] if beam[0] else sum(FITTED))
        estimates = np.stack([model.singles() for model in self.models(beam)])
        rows, neurons = _lowest(estimates, fitted * (len(beam[0]) + 1))
        supports = dict.fromkeys(as_support((*beam[r], j)) for r, j in zip(rows, neurons))
        return self.sorted(list(supports)[:fitted])[:width]

    def exchanged(self, support: Support, pairs: bool) -> Support | None:
        """A support of smaller F one exchange away, else, where ``pairs``, two exchanges away, else None."""
        prefixes = list(combinations(support, len(support) - 1))
        models = self.models(prefixes)
        better = self._better(support, self._single_moves(prefixes, models))
        if better is None and pairs and not self.late():
            # prefixes[i] is the support without its neuron len - 1 - i
            cheapest = np.argsort([model.value for model in models], kind="stable")[:LEAVERS]
            leavers = sorted(support[len(support) - 1 - i] for i in cheapest)
            better = self._better(support, self._pair_moves(support, leavers))
        return better

    def _better(self, support: Support, moves: list[Support]) -> Support | None:
        """The best of the first moves, in two batches, that has a smaller F than the support."""
        target = self.objectives([support])[0] * (1.0 - BETTER)
        moves = [move for move in moves if move != support]
        first = 1 if self.exact else FITTED[0]
        for batch in (moves[:first], moves[first : sum(FITTED)]):
            if batch and not self.late() and self.objectives(batch).min() < target:
                return self.sorted(batch)[0]
        return None

    def _single_moves(self, prefixes: list[Support], models: list[Model]) -> list[Support]:
        """The supports one exchange away, the most promising first."""
        estimates = np.stack([model.singles() for model in models])
        rows, neurons = _lowest(estimates, sum(FITTED) + len(prefixes))
        return [as_support((*prefixes[r], j)) for r, j in zip(rows, neurons)]

    def _pair_moves(self, support: Support, leavers: list[int]) -> list[Support]:
        """The supports two exchanges away, the most promising first; one of the two who enter is a lead."""
        n_leads = min(LEADS, PAIR_WORK // self.problem.gram_row_work)
        prefixes = [tuple(j for j in support if j not in pair) for pair in combinations(leavers, 2)]
        moves: list[tuple[float, Support]] = []
        for prefix, model in zip(prefixes, self.models(prefixes) if n_leads and prefixes else []):
            if self.late():
                break
            leads = _lowest(model.singles()[None, :], n_leads)[1]
            estimates = model.pairs(leads)
            rows, neurons = _lowest(estimates, 2 * sum(FITTED))
            values = estimates[rows, neurons]
            moves += [(v, as_support((*prefix, leads[r], j))) for v, r, j in zip(values, rows, neurons)]
        return list(dict.fromkeys(move for _, move in sorted(moves)))

    def models(self, prefixes: Sequence[Support]) -> list[Model]:
        """The estimates for prefixes of one size."""
        return [self._squared(prefix) for prefix in prefixes] if self.exact else self._curved(prefixes)

    def _squared(self, prefix: Support) -> Model:
        """From the rows of the Gram matrix: exact, and without a pass over the data."""
        gram, ridge, inside = self.gram, self.problem.ridge, list(prefix)
        curvature = self._candidate + ridge
        if not inside:
            return self._model(prefix, 0.5 * gram.variance, gram.moments, curvature, curvature, gram.rows)
        rows = gram.rows(inside)
        inverse = np.linalg.pinv(rows[:, inside] + ridge * np.eye(len(inside)), hermitian=True)
        solved, moments = inverse @ rows, gram.moments[inside]
        return self._model(
            prefix,
            0.5 * (gram.variance - float(moments @ inverse @ moments)),
            gram.moments - moments @ solved,
            curvature - (rows * solved).sum(axis=0),
            curvature,
            lambda leads: gram.rows(leads) - solved[:, leads].T @ rows,
        )

    def _curved(self, prefixes: Sequence[Support]) -> list[Model]:
        """One Newton step from the fit of every prefix; one pass over the data for all of them."""
        problem = with_rows(self.problem)
        Z, fits = problem.Z, fit_supports(problem, np.array(prefixes, dtype=np.int64).reshape(len(prefixes), -1))
        m, size = fits.supports.shape
        Q = np.ones((m, size + 1, problem.n_rows))
        Q[:, :size] = Z.T[fits.supports]
        f = np.matmul(fits.coef[:, None, :], Q[:, :size])[:, 0] + fits.intercept[:, None]
        D = problem.w * self._curvature(f)
        QD = Q * D[:, None, :]
        H = np.matmul(QD, Q.transpose(0, 2, 1))
        H[:, range(size), range(size)] += problem.ridge
        H[:, size, size] += 1e-12
        c, curvature, K = self._products(-problem.w * fits.dual, D, QD.reshape(m * (size + 1), -1))
        K = K.reshape(m, size + 1, -1)
        solved = np.matmul(np.linalg.inv(H), K)
        curvature += problem.ridge
        d = curvature - (K * solved).sum(axis=1)

        def cross(t: int) -> Callable[[Ints], Floats]:
            return lambda leads: np.asarray((Z.T[leads] * D[t]) @ Z - solved[t][:, leads].T @ K[t])

        values = map(float, fits.objective)
        return [self._model(P, v, c[t], d[t], curvature[t], cross(t)) for t, (P, v) in enumerate(zip(prefixes, values))]

    def _products(self, first: Floats, second: Floats, mixed: Floats) -> tuple[Floats, Floats, Floats]:
        """``first @ Z``, ``second @ Z**2`` and ``mixed @ Z`` in one pass over blocks of neurons."""
        neurons = with_rows(self.problem).Z.T
        linear = np.empty((len(first) + len(mixed), len(neurons)))
        squares = np.empty((len(second), len(neurons)))
        together = np.concatenate([first, mixed])
        for start in range(0, len(neurons), 512):
            block = slice(start, start + 512)
            linear[:, block] = together @ neurons[block].T
            squares[:, block] = second @ (neurons[block] ** 2).T
        return linear[: len(first)], squares, linear[len(first) :]

    def _curvature(self, f: Floats) -> Floats:
        """The second derivative of the loss; of the hinge loss, that of its softplus of width `HINGE_WIDTH`."""
        problem = with_rows(self.problem)
        if not isinstance(problem.loss, Hinge):
            return problem.loss.curvature(problem.y, f)
        e = np.exp(-np.abs(1.0 - problem.y * f) / HINGE_WIDTH)
        return np.asarray(e / (1.0 + e) ** 2 / HINGE_WIDTH)

    def _model(
        self, prefix: Support, value: float, c: Floats, d: Floats, before: Floats, cross: Callable[[Ints], Floats]
    ) -> Model:
        """A model whose neurons that depend on the prefix, or may not enter, add nothing."""
        free = self._candidate.copy()
        free[list(prefix)] = False
        adds = free & (d > DEPENDENT * before)
        return Model(value, np.where(adds, c, 0.0), np.where(adds, d, 1.0), free, cross)


def _lowest(estimates: Floats, count: int) -> tuple[Ints, Ints]:
    """Row and column of the ``count`` lowest finite estimates, lowest first, ties by index."""
    flat = estimates.ravel()
    count = min(count, int(np.isfinite(flat).sum()))
    bound = np.partition(flat, count - 1)[count - 1] if count else -np.inf
    among = np.flatnonzero(flat <= bound)
    chosen = among[np.argsort(flat[among], kind="stable")[:count]]
    rows, columns = np.divmod(chosen, estimates.shape[1])
    return rows, columns
