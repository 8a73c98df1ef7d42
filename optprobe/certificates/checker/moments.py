"""Claims about moments: the squared loss without a row.

With C the covariance of the columns, s_j the reciprocal standard deviations, c the covariances with the target and v0
its variance, let A_ij = C_ij s_i s_j, and divide the target by its standard deviation: then v0 = 1, and

    2 F(S) / v0 = 1 - q(S),    q(S) = max over b of 2 c_S'b - b'(A_SS + ridge I) b.

*A box around the moments.* Every entry of A and c, and v0, may be off by eps: the ``error`` that the moments state of
themselves, and the rounding of what follows. All bounds hold for every A, c, v0 in that box; so they hold for the rows
that the moments were made from, if the record of their making is true.

*Positive semidefinite.* A Cholesky factor of the joint moments J + theta I, theta = min(1, ridge) / 200, has a backward
error of at most (p + 2)^2 u; so b'Mb >= 0.99 ridge |b|^2 for M = A + ridge I, q <= 1.01, and q's maximiser has
|b|^2 <= B^2 = 1.03 / ridge.

*Upper bound*: at coefficients b, (1 - 2 c'b + b'Mb) / 2, and eps (1 + |b|_1)^2 / 2 for the box.

*Sets that the sweep may leave out.* In the box q grows by at most 2 eps sqrt(k) |b| + eps k |b|^2 at its maximiser b.
Around the maximiser b0 of the stated q, of value q0, |b| <= B + t and q <= q0 - 0.99 ridge t^2, so q in the box is at
most q0 + 2 eps sqrt(k) B + 2 eps k B^2 + 0.02 eps if eps k <= ridge / 100 (maximise over t).

*Sets that stay open*: for any b, with r = c - Mb and M >= 0.98 ridge I in the box, q = 2 c'b - b'Mb + r'M^-1 r
<= 2 c'b - b'Mb + |r|^2 / (0.98 ridge), where the box adds 2 eps |b|_1 + eps |b|_1^2 to the former and eps (1 + |b|_1)
to every entry of r.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .bounds import UNDERFLOW, gamma
from .claim import LARGEST, LEAST, Claim, OfMoments
from .data import in_range, value_digest
from .exhaustive import check_number, check_sets_above
from .limits import Limits
from .outcome import Rejected, Undecided, Unusable, require
from .pair_sweep import sets_left_open
from .pool import EVERYTHING_LISTED, Listed, without_singles
from .problem import U, allowed, closed_by_groups
from .sets import all_sets, checked, counted
from .text import canonical

Array = NDArray[Any]
Floats = NDArray[np.float64]

FORMAT = "optprobe-moments/1"
SCALARS = ("n_rows", "target_mean", "target_variance", "error", "made")
ARRAYS = ("mean", "covariance", "cross")
CONSTANT = 1e-9
"""A column is left out where its deviation is at most this share of its mean."""
LARGEST_ERROR = 1e-3


class Moments(Protocol):
    """What the data are: numbers and arrays of a file of moments, or anything that has them."""

    @property
    def n_rows(self) -> int: ...
    @property
    def mean(self) -> Floats: ...
    @property
    def covariance(self) -> Floats: ...
    @property
    def cross(self) -> Floats: ...
    @property
    def target_mean(self) -> float: ...
    @property
    def target_variance(self) -> float: ...
    @property
    def error(self) -> float: ...
    @property
    def made(self) -> Mapping[str, Any]: ...


@dataclass(frozen=True)
class FileOfMoments:
    """The moments in a file."""

    n_rows: int
    mean: Floats
    covariance: Floats
    cross: Floats
    target_mean: float
    target_variance: float
    error: float
    made: Mapping[str, Any]


def read_moments(path: str) -> FileOfMoments:
    """The moments in a file of the layout of safetensors; raises `Unusable` where it is none."""
    try:
        with open(path, "rb") as file:
            content = file.read()
        end = 8 + int.from_bytes(content[:8], "little")
        header = json.loads(content[8:end])
        metadata = header.pop("__metadata__")
        if metadata["format"] != FORMAT:
            raise Unusable(f"{path} is no file of moments of the format {FORMAT!r}")
        stated, body = json.loads(metadata["moments"]), content[end:]
        read: dict[str, Any] = {name: _stored(header[name], body) for name in ARRAYS}
        return FileOfMoments(**{name: stated[name] for name in SCALARS}, **read)
    except OSError as error:
        raise Unusable(f"the file {path} cannot be read: {error.strerror}") from error
    except (KeyError, TypeError, ValueError, AttributeError, OverflowError, RecursionError, MemoryError) as error:
        raise Unusable(f"{path} is no file of moments, or it is damaged ({type(error).__name__})") from error


def _stored(entry: Mapping[str, Any], body: bytes) -> Floats:
    begin, end = entry["data_offsets"]
    if entry["dtype"] != "F64" or not all(type(x) is int for x in (begin, end, *entry["shape"])):
        raise ValueError("moments are float64")
    return np.frombuffer(body[begin:end], "<f8").reshape(entry["shape"])


def moments_digest(moments: Moments) -> str:
    """sha256 of the arrays' `value_digest` and, as canonical JSON, all else."""
    stated = {name: getattr(moments, name) for name in SCALARS} | {"made": dict(moments.made)}
    stated |= {name: value_digest(getattr(moments, name)) for name in ARRAYS}
    return hashlib.sha256(canonical(stated).encode()).hexdigest()


@dataclass(frozen=True)
class MomentProblem:
    """What the claim is about: A, c and the target's deviation as in the module's text, and the parameters.

    A and c are of ``columns``, the candidates; eps is the size of the box.
    """

    A: Floats
    c: Floats
    columns: NDArray[np.int64]
    candidates: NDArray[np.bool_]
    target_mean: float
    deviation: float
    eps: float
    ridge: float
    size: int
    constant: int
    limits: Limits
    listed: Listed = field(default_factory=Listed)
    """Sets whose supersets no proof is about."""

    def besides(self, listed: Listed) -> MomentProblem:
        """The same for the sets that contain no listed one: columns listed alone are not allowed."""
        candidates = without_singles(self.candidates, listed)
        kept = np.flatnonzero(candidates[self.columns])
        A, c = self.A[np.ix_(kept, kept)], self.c[kept]
        closed = Listed(listed.sets, self.listed.groups)
        return replace(self, A=A, c=c, columns=self.columns[kept], candidates=candidates, listed=closed)

    def objective(self, support: tuple[int, ...], coef: Floats, intercept: float) -> tuple[float, float]:
        """The objective at one point, and a bound of its rounding error and of the box."""
        at, b = np.searchsorted(self.columns, support), coef / self.deviation
        A, c = self.A[np.ix_(at, at)], self.c[at]
        value = 0.5 * float(1 - 2 * (c @ b) + b @ A @ b + self.ridge * (b @ b))
        sizes = float(1 + 2 * np.abs(c) @ np.abs(b) + np.abs(b) @ np.abs(A) @ np.abs(b) + self.ridge * (b @ b))
        error = gamma(3 * len(at) + 16) * sizes + 0.51 * self.eps * (1 + float(np.abs(b).sum())) ** 2
        unit, shift = self.deviation**2, 0.5 * (self.target_mean - intercept) ** 2
        total = unit * value + shift
        return total, unit * error * 1.01 + 16 * U * (abs(unit * value) + shift + total) + UNDERFLOW

    def prove(self, lower: float, fast: bool, exhaustive: bool) -> str:
        """No set that contains no listed one has F below ``lower``. Returns a sentence of counts."""
        if self.listed.inside(()):
            return EVERYTHING_LISTED
        k, ridge, eps = self.size, self.ridge, self.eps
        require(eps * k <= 0.01 * ridge, f"the error of the moments ({eps * k:.1g}) is not small against the ridge")
        least = self._scaled(lower)
        reach = math.sqrt(1.03 / ridge)
        Q = 1 - 2 * least - eps * (1.02 + 2 * math.sqrt(k) * reach + 2 * k * reach**2) * (1 + 1e-9)
        A = (self.A + ridge * np.eye(len(self.A))) / (1 + ridge)
        np.fill_diagonal(A, 1.0)
        moments = A, self.c / math.sqrt(1 + ridge), Q, 0.97 * ridge / (1 + ridge)
        kind = "every set evaluated" if exhaustive else "sweep"

        def check(sets: NDArray[np.int64]) -> None:
            self._check_sets(sets[self.listed.free(self.columns[sets])] if self.listed.closes else sets, 2 * least)

        closed = self.listed.of_positions(self.columns)
        open_sets: Iterable[NDArray[np.int64]]
        if exhaustive:
            check_number(len(A), k, "squared")
            if k > 1:
                return counted(kind, len(A), k, check_sets_above(*moments, k, check, self.limits))
            open_sets = all_sets(len(A), k)
        else:
            open_sets = sets_left_open(*moments, k, fast, self.limits, closed) if k else all_sets(len(A), k)
        return counted(kind, len(A), k, checked(open_sets, check, self.limits))

    def check_own(self, sets: NDArray[np.int64], lower: float) -> None:
        """Every set (n_sets, size) of columns has a bound of its own that reaches ``lower``."""
        twice = 2 * self._scaled(lower)
        checked([np.searchsorted(self.columns, sets)], lambda part: self._check_sets(part, twice), self.limits)

    def _scaled(self, lower: float) -> float:
        """A bound of F in units of the target's variance, rounded up."""
        return max(lower, 0.0) / self.deviation**2 * (1 + 8 * U)

    def _check_sets(self, sets: NDArray[np.int64], twice: float) -> None:
        """1 - q of every set (positions) is at least ``twice``, in all of the box."""
        k, eps = self.size, self.eps
        M = self.A[sets[:, :, None], sets[:, None, :]] + self.ridge * np.eye(k)
        c = self.c[sets]
        b = np.linalg.solve(M, c[:, :, None])[:, :, 0]
        products = (M @ b[:, :, None])[:, :, 0]
        absolute = np.abs(b).sum(axis=1)
        sizes = 2 * (np.abs(c) * np.abs(b)).sum(axis=1) + (1 + self.ridge) * absolute**2
        r = np.abs(c - products) + (eps + gamma(k + 4)) * (1 + (1 + self.ridge) * absolute)[:, None]
        q = (b * (2 * c - products)).sum(axis=1) + gamma(2 * k + 8) * sizes + eps * (2 * absolute + absolute**2)
        bounds = 1 - eps - q - (r * r).sum(axis=1) / (0.98 * self.ridge) * (1 + 1e-9) - 8 * U
        unit = 0.5 * self.deviation**2
        for support, bound in zip(sets, bounds):
            require(
                bound >= twice,
                f"the columns {self.columns[support].tolist()} reach F = {unit * bound:.12g}, below the claimed bound "
                f"{unit * twice:.12g}",
            )


def moment_problem_of(claim: Claim, arrays: Mapping[str, Array], moments: Moments, limits: Limits) -> MomentProblem:
    """The problem of a claim, rebuilt from the moments."""
    data, stated = claim.data, claim.problem
    require(isinstance(data, OfMoments), "the claim is about rows, and moments were given")
    assert isinstance(data, OfMoments)
    mean, C, cross = (np.asarray(getattr(moments, name)) for name in ARRAYS)
    p, n = data.n_neurons, moments.n_rows
    require(
        C.shape == (p, p) and mean.shape == cross.shape == (p,) and type(n) is int and n == data.n_rows,
        f"the moments are of {n!r} rows and {len(np.atleast_1d(mean))} neurons, and the claim is of other ones",
    )
    limits.room(6.0 * p * p, "the moments")
    _check_kinds(moments, (mean, C, cross))
    digest = moments_digest(moments)
    require(digest == data.moments, f"the moments are not the claim's: digest {digest[:16]}..., not the one claimed")
    _check_numbers(moments, mean, C, cross)
    made = moments.made.get("class_weight", "none")
    require(made == stated.class_weight, f"the moments have class weights {made!r}, the claim {stated.class_weight!r}")
    v0, error, ridge = moments.target_variance, moments.error, stated.ridge
    deviations = np.sqrt(np.diagonal(C))
    varies = (deviations > 0) & (deviations > CONSTANT * np.abs(mean))
    candidates = allowed(varies, stated.among)
    columns, deviation = np.flatnonzero(candidates), math.sqrt(v0)
    scale = 1.0 / deviations[columns]
    A = C[np.ix_(columns, columns)] * scale[:, None] * scale
    A = (A + A.T) / 2
    c = cross[columns] * scale / deviation
    _check_joint_moments(A, c, ridge)
    eps = 1.01 * (error + 16 * U * (1 + ridge))
    listed = closed_by_groups(claim, arrays)
    size, constant = min(stated.k, listed.count(columns)), int((~varies).sum())
    of_target = moments.target_mean, deviation
    return MomentProblem(A, c, columns, candidates, *of_target, eps, ridge, size, constant, limits, listed)


def _check_kinds(moments: Moments, arrays: tuple[Array, ...]) -> None:
    """Arrays of float64, finite floats, and a record of JSON values that has a digest; raises `Unusable` otherwise."""
    if any(array.dtype != np.float64 for array in arrays):
        raise Unusable("the moments are not float64")
    scalars = moments.target_mean, moments.target_variance, moments.error
    if not all(type(x) is float and math.isfinite(x) for x in scalars):
        raise Unusable("target mean, variance and error of the moments must be finite floats")
    try:
        if not isinstance(moments.made, Mapping):
            raise TypeError("it is no object")
        canonical(dict(moments.made)).encode()
    except (TypeError, ValueError, RecursionError) as error:
        raise Unusable(f"the record of how the moments were made has no digest ({type(error).__name__})") from error


def _check_numbers(moments: Moments, mean: Floats, C: Floats, cross: Floats) -> None:
    """Every number is in the range of docs/certificates.md; the covariance is symmetric."""
    scalars = moments.target_mean, moments.target_variance, moments.error
    require((np.diagonal(C) >= 0).all(), "a variance is negative")
    ranged = in_range(mean) and in_range(np.sqrt(np.diagonal(C))) and in_range(np.sqrt(np.abs(np.array(scalars[1]))))
    small = (np.abs(C) <= LARGEST**2).all() and (np.abs(cross) <= LARGEST**2).all()
    require(ranged and small, f"a mean or deviation is neither 0 nor from {LEAST:g} to {LARGEST:g}")
    require((C == C.T).all(), "the covariance is not symmetric")
    target_mean, v0, error = scalars
    possible = v0 > 0 and abs(target_mean) <= LARGEST and 0 <= error < LARGEST_ERROR
    require(possible, f"the target's variance {v0:g} or the error {error:g} cannot be")


def _check_joint_moments(A: Floats, c: Floats, ridge: float) -> None:
    """Of unit diagonal, and positive semidefinite to a hundredth of the ridge."""
    theta, p = min(1.0, ridge) / 200, len(c)
    unit = (np.abs(np.diagonal(A) - 1) <= 8 * U).all() and (np.abs(A) <= 1 + 1e-3).all()
    require(unit and (np.abs(c) <= 1 + 1e-3).all(), "a correlation is above 1: these are the moments of no rows")
    if not (p + 2) ** 2 * 1.1 * U <= theta / 2:
        raise Undecided(f"the ridge {ridge:g} is too small to check moments of {p} columns in float64")
    joint = np.empty((p + 1, p + 1))
    joint[:p, :p], joint[p, :p], joint[:p, p] = A, c, c
    joint[np.diag_indices(p + 1)] = 1 + theta
    try:
        factor = np.linalg.cholesky(joint)
    except np.linalg.LinAlgError as error:
        raise Rejected("the moments are not positive semidefinite: these are the moments of no rows") from error
    require(np.isfinite(factor).all(), "the moments are not positive semidefinite: a factor of theirs is not finite")
