"""The k-sparse probe problem of the squared loss, stated by moments: no row is needed to solve or to certify it.

With neurons standardised to mean 0 and variance 1, A their weighted covariance, c their covariance with the target
and v0 the target's variance (the intercept is eliminated),

    F(S) = min over b in R^S, b0 of  sum_i w_i (y_i - Z_iS b - b0)^2 / 2 + (ridge / 2) |b|^2
         = (v0 - c_S' (A_SS + ridge I)^{-1} c_S) / 2.

`fit_supports`, `objective_bound`, `rounding_margin` and `constant_point` answer for both kinds of problem.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray

from formulations.bounds import DualPoint, constant_point, objective_bound, rounding_margin
from formulations.errors import InputError, UnsupportedProblem
from formulations.fit import Fits, fit_supports
from formulations.losses import Loss, Squared
from formulations.origin import Origin
from formulations.problem import ProbeProblem, SparseProbeProblem
from formulations.shown import Shown, Table, facts
from formulations.validation import (
    LARGEST,
    LEAST,
    checked_among,
    checked_groups,
    checked_k,
    checked_ridge,
    in_range,
    value_digest,
)

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

U = 2.0**-53
INDEFINITE = 1 / 200
"""The moments must be positive semidefinite up to this share of the ridge (or of 1), in units of variance."""
LARGEST_ERROR = 1e-3
CONSTANT = 1e-9
"""A column whose standard deviation is at most this share of its mean is left out."""


@dataclass(frozen=True, eq=False, repr=False)
class Moments(Shown):
    """Weighted moments of some rows: means, covariance of the neurons, covariance with a target.

    With weights w of sum 1 and m the weighted mean of a column: ``covariance_ij = sum w (x_i - m_i)(x_j - m_j)``.

    Attributes
    ----------
    n_rows : int
        Rows they were made from.
    mean : ndarray, shape (n_neurons,), float64
    covariance : ndarray, shape (n_neurons, n_neurons), float64
        Symmetric.
    cross : ndarray, shape (n_neurons,), float64
        Covariance of every neuron with the target.
    target_mean, target_variance : float
    error : float
        Bound of the distance of every second moment from the exact one of the rows, in units of the standard
        deviations of its two columns; constant columns are exempt. 0 states that they are exact.
    made : mapping of str to JSON values
        How they were made.

    Raises
    ------
    InputError
        If shapes do not fit, a number is not finite, a variance is negative, the covariance is not symmetric or beyond
        the product of two standard deviations, the target is constant, or ``made`` is not JSON.
    """

    n_rows: int
    mean: Floats
    covariance: Floats
    cross: Floats
    target_mean: float
    target_variance: float
    error: float = 0.0
    made: Mapping[str, Any] = field(default_factory=dict)

    def __post_init__(self) -> None:
        """Validate."""
        for name in ("mean", "covariance", "cross"):
            object.__setattr__(self, name, _checked_array(name, getattr(self, name), len(np.atleast_1d(self.mean))))
        if isinstance(self.n_rows, bool) or not isinstance(self.n_rows, int) or self.n_rows < 1:
            raise InputError(f"the number of rows is {self.n_rows!r}: give a positive integer")
        for name in ("target_mean", "target_variance", "error"):
            if not isinstance(getattr(self, name), float) or not np.isfinite(getattr(self, name)):
                raise InputError(f"{name} is {getattr(self, name)!r}: give a finite number")
        if not self.target_variance > 0:
            raise InputError(f"the target's variance is {self.target_variance:g}: give a target that is not constant")
        if not 0 <= self.error < LARGEST_ERROR:
            raise InputError(
                f"the error of the moments is {self.error:g}: give a bound between 0 and {LARGEST_ERROR:g}"
            )
        for name, value in (("mean", self.mean), ("deviation", np.sqrt(np.abs(np.diagonal(self.covariance))))):
            if not in_range(value).all():
                j = int(np.argmin(in_range(value)))
                raise InputError(f"the {name} of column {j} is {value[j]:g}: rescale it into {LEAST:g} to {LARGEST:g}")
        self._check_second_moments()
        try:
            json.dumps(dict(self.made), allow_nan=False)
        except (TypeError, ValueError) as error:
            raise InputError(f"how the moments were made cannot be kept as JSON: {error}") from error

    def _check_second_moments(self) -> None:
        variances = np.diagonal(self.covariance)
        if (variances < 0).any():
            j = int(np.argmin(variances))
            raise InputError(f"the variance of column {j} is {variances[j]:g}: variances are not negative")
        deviations, slack = np.sqrt(variances), 1 + 1e-9 + self.error
        for j, row in enumerate(self.covariance):
            if not (row == self.covariance[:, j]).all():
                i = int(np.argmax(row != self.covariance[:, j]))
                raise InputError(f"the covariance is not symmetric at row {j}, column {i}: give both halves alike")
            if (np.abs(row) > slack * deviations[j] * deviations).any():
                i = int(np.argmax(np.abs(row) > slack * deviations[j] * deviations))
                raise InputError(f"columns {j} and {i} have a correlation above 1: these are moments of no rows")
        beyond = np.abs(self.cross) > slack * deviations * np.sqrt(self.target_variance)
        if beyond.any():
            raise InputError(f"column {int(np.argmax(beyond))} has a correlation above 1 with the target")

    @property
    def n_neurons(self) -> int:
        """The number of neurons."""
        return len(self.mean)

    @cached_property
    def digest(self) -> str:
        """sha256 of everything: the `value_digest` of the arrays and, as canonical JSON, all else."""
        stated = {
            "n_rows": self.n_rows,
            "target_mean": self.target_mean,
            "target_variance": self.target_variance,
            "error": self.error,
            "made": dict(self.made),
            **{name: value_digest(getattr(self, name)) for name in ("mean", "covariance", "cross")},
        }
        text = json.dumps(stated, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def _line(self) -> str:
        return f"Moments of {self.n_neurons} neurons on {self.n_rows} rows (error at most {self.error:.1g})"

    def _table(self) -> Table:
        return facts(self.made)


@dataclass(frozen=True, eq=False, repr=False)
class MomentProblem(ProbeProblem):
    """Find k neurons that predict the target best in squared loss, from its moments.

    Made by `moment_problem`, which validates. A column is in no support where its standard deviation is at most
    `CONSTANT` times its mean: moments cannot tell it from a constant one.

    Attributes
    ----------
    moments : Moments
    k : int
        Largest size of a support.
    ridge : float
        Coefficient of ``|b|^2 / 2`` on the standardised neurons, on the scale of the mean loss.
    among : tuple of int, or None
        The columns a support may use; None means all of them.
    class_weight : str
        That of the rows, as far as the record of how the moments were made says so.
    origin : Origin
        Where the rows came from.
    groups : ndarray, shape (n_neurons,), or None
        The group of each column, -1 for none: a support may have one of each.
    """

    moments: Moments
    k: int
    ridge: float
    among: tuple[int, ...] | None = None
    class_weight: str = "none"
    loss: Loss = field(default_factory=Squared, init=False)
    origin: Origin = field(default_factory=Origin)
    groups: Ints | None = None

    @property
    def n_rows(self) -> int:
        return self.moments.n_rows

    @cached_property
    def inv_scale(self) -> Floats:
        return inverse_scale(self.moments.mean, np.diagonal(self.moments.covariance))

    @cached_property
    def cross(self) -> Floats:
        return self.moments.cross * self.inv_scale

    @property
    def variance(self) -> float:
        return self.moments.target_variance

    @property
    def gram_row_work(self) -> int:
        return self.n_neurons

    def gram(self, columns: Ints) -> Floats:
        scale = self.inv_scale[columns]
        product = self.moments.covariance[np.ix_(columns, columns)]
        product *= scale[:, None]
        product *= scale
        return product

    def gram_rows(self, columns: Sequence[int] | Ints) -> Floats:
        chosen = np.asarray(columns, dtype=np.int64)
        return np.asarray(self.moments.covariance[chosen] * self.inv_scale[chosen][:, None] * self.inv_scale)

    @cached_property
    def digests(self) -> dict[str, str]:
        return {"moments": self.moments.digest}

    def restated(self, *, k: int | None = None, ridge: float | None = None, loss: str | None = None) -> Self:
        """The same moments with another k or ridge.

        Raises `InputError` for another loss: moments say nothing of it.
        """
        if loss not in (None, self.loss.name):
            raise InputError(f"moments state problems of squared loss alone, not of {loss} loss: give the rows")
        new = replace(
            self,
            k=self.k if k is None else checked_k(k, self.n_neurons),
            ridge=self.ridge if ridge is None else _checked_positive_ridge(ridge),
        )
        for name in ("inv_scale", "candidates", "cross", "digests"):
            if name in self.__dict__:
                new.__dict__[name] = self.__dict__[name]
        return new

    def objective(self, support: Sequence[int] | Ints, coef: Floats, intercept: float) -> float:
        columns = np.asarray(support, dtype=np.int64)
        gradient = self.gram(columns) @ coef + self.ridge * coef - 2 * self.cross[columns]
        return float(self.variance + coef @ gradient + (self.moments.target_mean - intercept) ** 2) / 2

    @property
    def _rows(self) -> str:
        return f"from the moments of {self.n_rows} rows"


def moment_problem(
    moments: Moments,
    k: int,
    *,
    ridge: float = 0.01,
    among: Sequence[int] | Ints | None = None,
    forbidden: Sequence[int] | Ints | None = None,
    groups: ArrayLike | None = None,
    origin: Origin | None = None,
) -> MomentProblem:
    """Validate moments and parameters into a `MomentProblem`.

    Parameters
    ----------
    moments : Moments
    k : int
        1 <= k <= n_neurons.
    ridge : float
        Positive.
    among : sequence of int, optional
        The only columns that a support may use.
    forbidden : sequence of int, optional
        Columns that a support may not use.
    groups : array_like of int, shape (n_neurons,), optional
        The group of each column, -1 for none: a support may have at most one of each.
    origin : Origin, optional
        Where the rows came from.

    Raises
    ------
    InputError
        One sentence that says what is wrong, where, and what to do; also where the moments are those of no rows, since
        they are not positive semidefinite.
    """
    problem = MomentProblem(
        moments,
        checked_k(k, moments.n_neurons),
        _checked_positive_ridge(ridge),
        checked_among(among, forbidden, moments.n_neurons),
        str(moments.made.get("class_weight", "none")),
        origin or Origin(),
        checked_groups(groups, moments.n_neurons),
    )
    columns = problem.candidates
    joint = np.empty((len(columns) + 1, len(columns) + 1))
    joint[:-1, :-1] = problem.gram(columns)
    joint[-1, :-1] = joint[:-1, -1] = problem.cross[columns] / np.sqrt(problem.variance)
    joint[np.diag_indices(len(joint))] = 1 + INDEFINITE * min(1.0, problem.ridge)
    try:
        np.linalg.cholesky(joint)
    except np.linalg.LinAlgError as error:
        raise InputError(
            f"the moments are not positive semidefinite to {INDEFINITE:g} of the ridge {problem.ridge:g}, so they are "
            "moments of no rows: accumulate them again in float64"
        ) from error
    return problem


def inverse_scale(mean: Floats, variance: Floats) -> Floats:
    """``1 / sqrt(variance)``, or 0 where the deviation is at most `CONSTANT` times the mean, or 0."""
    deviation = np.sqrt(variance)
    varies = (deviation > 0) & (deviation > CONSTANT * np.abs(mean))
    return np.where(varies, 1.0 / np.where(varies, deviation, 1.0), 0.0)


def with_rows(problem: ProbeProblem) -> SparseProbeProblem:
    """The problem, where it is stated by rows.

    Raises `UnsupportedProblem` where it is stated by moments.
    """
    if not isinstance(problem, SparseProbeProblem):
        raise UnsupportedProblem("this needs the rows, and the problem is stated by moments: give the activations")
    return problem


@fit_supports.register(MomentProblem)
def _fit_from_moments(problem: MomentProblem, supports: Sequence[Sequence[int]] | Ints) -> Fits:
    """The normal equations of every set, refined once; there are no rows for a dual vector to have."""
    sets = np.asarray(supports, dtype=np.int64)
    scale, k = problem.inv_scale[sets], sets.shape[1]
    M = problem.moments.covariance[sets[:, :, None], sets[:, None, :]] * scale[:, :, None] * scale[:, None, :]
    M[:, range(k), range(k)] += problem.ridge
    c = problem.cross[sets]
    coef = np.linalg.solve(M, c[:, :, None])[:, :, 0]
    coef = coef + np.linalg.solve(M, (c - np.matmul(M, coef[:, :, None])[:, :, 0])[:, :, None])[:, :, 0]
    products = np.matmul(M, coef[:, :, None])[:, :, 0]
    objective = (problem.variance + (coef * (products - 2 * c)).sum(axis=1)) / 2
    lower = objective - ((c - products) ** 2).sum(axis=1) / (2 * problem.ridge)
    intercept = np.full(len(sets), problem.moments.target_mean)
    return Fits(sets, np.asarray(coef), intercept, objective, lower, np.zeros((len(sets), 0)))


@objective_bound.register(MomentProblem)
def _objective_bound(problem: MomentProblem, support: Sequence[int], coef: Floats, intercept: float) -> float:
    """The objective, and above it what rounding and the error of the moments can add: ``e (sd + |b|_1)^2 / 2``."""
    reach = np.sqrt(problem.variance) + float(np.abs(coef).sum())
    return float(problem.objective(support, coef, intercept) + 2 * (problem.moments.error + 128 * U) * reach**2)


@rounding_margin.register(MomentProblem)
def _rounding_margin(problem: MomentProblem) -> float:
    """``2 e v0 (1 + sqrt(k / ridge))^2``, e the error of a standardised moment.

    An error e in every entry changes ``q = max 2 c'b - b'Mb`` by at most ``2 e sd |b|_1 + e |b|_1^2`` at coefficients
    with ``|b|_1 <= sqrt(k v0 / ridge)``, and v0 by e v0; F is half of that, and the factor leaves room for both sides.
    """
    error = problem.moments.error + 128 * U
    return float(2 * error * problem.variance * (1 + np.sqrt(problem.size / problem.ridge)) ** 2)


@constant_point.register(MomentProblem)
def _constant_point(problem: MomentProblem) -> DualPoint:
    return DualPoint(np.zeros(0), problem.variance / 2, problem.cross**2 / (2 * problem.ridge))


def _checked_array(name: str, given: Any, n_neurons: int) -> Floats:
    array = np.asarray(given)
    shape = (n_neurons,) if name != "covariance" else (n_neurons, n_neurons)
    if array.dtype.kind not in "fiu" or array.shape != shape or not n_neurons:
        raise InputError(f"{name} is {array.dtype} of shape {array.shape}: give numbers of shape {shape}")
    if not np.isfinite(array).all():
        place = tuple(map(int, np.argwhere(~np.isfinite(array))[0]))
        raise InputError(f"{name} is {array[place]} at {place}: give finite numbers")
    return array.astype(np.float64, copy=False)


def _checked_positive_ridge(ridge: float) -> float:
    checked = checked_ridge(ridge, Squared())
    if checked == 0:
        raise InputError("the ridge is 0: from moments it must be positive")
    return checked
