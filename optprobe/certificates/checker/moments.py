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
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from .bounds import gamma
from .exhaustive import all_sets, check_number, sets_above
from .file import arrays_of, parts
from .pair_sweep import sets_left_open
from .problem import BLOCK, U, value_digest
from .verdict import Rejected, Unusable

Array = NDArray[Any]
Floats = NDArray[np.float64]

FORMAT = "optprobe-moments/1"
SCALARS = ("n_rows", "target_mean", "target_variance", "error", "made")
CONSTANT = 1e-9
"""A column is constant where its deviation is at most this share of its root mean square."""


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
        header, body = parts(path)
        metadata = header.pop("__metadata__")
        if metadata["format"] != FORMAT:
            raise Unusable(f"{path} has the format {metadata['format']!r}, and this checker reads {FORMAT!r}")
        stated = json.loads(metadata["moments"])
        entries: dict[str, Any] = {**{name: stated[name] for name in SCALARS}, **arrays_of(header, body)}
        return FileOfMoments(**entries)
    except (Rejected, KeyError, TypeError, ValueError) as error:
        raise Unusable(f"{path} is no file of moments, or it is damaged: {error}") from error


def moments_digest(moments: Moments) -> str:
    """sha256 of the arrays' `value_digest` and, as canonical JSON, all else."""
    stated = {name: getattr(moments, name) for name in SCALARS} | {"made": dict(moments.made)}
    stated |= {name: value_digest(getattr(moments, name)) for name in ("mean", "covariance", "cross")}
    text = json.dumps(stated, sort_keys=True, separators=(",", ":"), ensure_ascii=False)
    return hashlib.sha256(text.encode()).hexdigest()


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

    def objective(self, support: list[int], coef: Floats, intercept: float) -> tuple[float, float]:
        """The objective at one point, and a bound of its rounding error and of the box."""
        at, b = np.searchsorted(self.columns, support), coef / self.deviation
        A, c = self.A[np.ix_(at, at)], self.c[at]
        value = 0.5 * float(1 - 2 * (c @ b) + b @ A @ b + self.ridge * (b @ b))
        sizes = float(1 + 2 * np.abs(c) @ np.abs(b) + np.abs(b) @ np.abs(A) @ np.abs(b) + self.ridge * (b @ b))
        error = gamma(3 * len(at) + 16) * sizes + 0.51 * self.eps * (1 + float(np.abs(b).sum())) ** 2
        unit = self.deviation**2
        return unit * value + 0.5 * (self.target_mean - intercept) ** 2, unit * error * 1.01

    def prove(self, lower: float, fast: bool, exhaustive: bool) -> str:
        """No set has F below ``lower``. Returns a sentence of counts."""
        k, ridge, eps = self.size, self.ridge, self.eps
        if not 1 <= k <= 6:
            raise Rejected(f"from moments a sweep proves k <= 6, not k = {k}")
        if eps * k > 0.01 * ridge:
            raise Rejected(f"the error of the moments ({eps * k:.1g}) is not small against the ridge {ridge:g}")
        least = max(lower, 0.0) / self.deviation**2 * (1 + 8 * U)
        reach = math.sqrt(1.03 / ridge)
        Q = 1 - 2 * least - eps * (1.02 + 2 * math.sqrt(k) * reach + 2 * k * reach**2) * (1 + 1e-9)
        A = (self.A + ridge * np.eye(len(self.A))) / (1 + ridge)
        np.fill_diagonal(A, 1.0)
        moments = A, self.c / math.sqrt(1 + ridge), Q, 0.97 * ridge / (1 + ridge)
        open_sets: Iterable[NDArray[np.int64]]
        if exhaustive:
            check_number(len(A), k, "squared")
            open_sets = sets_above(*moments, k) if k > 1 else all_sets(len(A), k)
        else:
            open_sets = sets_left_open(*moments, k, fast)
        count = 0
        for sets in open_sets:
            count += len(sets)
            for start in range(0, len(sets), BLOCK):
                self._check_sets(sets[start : start + BLOCK], 2 * least)
        counted = f"{math.comb(len(A), k)} sets, {count} of them by coefficients of their own"
        return f"every set evaluated: {counted}" if exhaustive else f"sweep: {counted}"

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
        for at in np.flatnonzero(~(bounds >= twice))[:1]:
            unit, support = 0.5 * self.deviation**2, self.columns[sets[at]].tolist()
            raise Rejected(
                f"the columns {support} reach F = {unit * bounds[at]:.12g}, below the claimed bound {unit * twice:.12g}"
            )


def moment_problem_of(claim: dict[str, Any], arrays: dict[str, Array], moments: Moments) -> MomentProblem:
    """The problem of a claim, rebuilt from the moments."""
    data, stated = claim["data"], claim["problem"]
    if "moments" not in data:
        raise Rejected("the claim is about rows, and moments were given")
    mean, C, cross = (np.asarray(getattr(moments, name), np.float64) for name in ("mean", "covariance", "cross"))
    p, v0, error = len(mean), float(moments.target_variance), float(moments.error)
    if C.shape != (p, p) or cross.shape != (p,) or (moments.n_rows, p) != (data["n_rows"], data["n_neurons"]):
        raise Rejected(f"the moments are of {moments.n_rows} rows and {p} neurons, and the claim is of other ones")
    if (digest := moments_digest(moments)) != data["moments"]:
        raise Rejected(f"the moments are not the claim's: digest {digest[:16]}..., not {data['moments'][:16]}...")
    if data["error"] != error or data["made"] != dict(moments.made):
        raise Rejected("the claim states another error of the moments, or another making, than the moments do")
    if not (np.isfinite(mean).all() and np.isfinite(C).all() and np.isfinite(cross).all()):
        raise Rejected("the moments hold a value that is not finite")
    if not (0 < v0 < math.inf and 0 <= error < 1e-3 and math.isfinite(moments.target_mean)):
        raise Rejected(f"the target's variance {v0:g} or the error {error:g} cannot be")
    k, ridge = stated["k"], float(stated["ridge"])
    if stated["loss"] != "squared" or stated["weighted"] or claim["proof"] != "sweep":
        raise Rejected("moments prove the squared loss alone, by a sweep, and have no weights of rows")
    if not (isinstance(k, int) and k >= 1) or not 0 < ridge < math.inf:
        raise Rejected(f"k = {k} or the ridge {ridge:g} is not positive")
    variance = np.diagonal(C)
    constant = ~(variance > CONSTANT**2 * (mean**2 + variance))
    scale = np.where(constant, 0.0, 1.0 / np.sqrt(np.where(constant, 1.0, variance)))
    if not np.array_equal(arrays["shift"], mean) or not np.allclose(arrays["inv_scale"], scale, rtol=1e-15, atol=0.0):
        raise Rejected("shift and inv_scale are not those of the moments")
    candidates = ~constant
    if stated["among"] is not None:
        among = np.asarray(stated["among"], dtype=np.int64)
        if len(among) and not 0 <= among.min() <= among.max() < p:
            raise Rejected("the columns allowed are not all columns of the data")
        candidates &= np.isin(np.arange(p), among)
    columns, deviation = np.flatnonzero(candidates), math.sqrt(v0)
    if not np.array_equal(C, C.T):
        raise Rejected("the covariance is not symmetric")
    A = C[np.ix_(columns, columns)] * scale[columns, None] * scale[columns]
    A = (A + A.T) / 2
    c = cross[columns] * scale[columns] / deviation
    _check_joint_moments(A, c, ridge)
    eps = 1.01 * (error + 16 * U * (1 + ridge))
    size = min(k, len(columns))
    return MomentProblem(A, c, columns, candidates, float(moments.target_mean), deviation, eps, ridge, size)


def _check_joint_moments(A: Floats, c: Floats, ridge: float) -> None:
    """Of unit diagonal, and positive semidefinite to a hundredth of the ridge."""
    theta, p = min(1.0, ridge) / 200, len(c)
    if (np.abs(np.diagonal(A) - 1) > 8 * U).any() or (np.abs(A) > 1 + 1e-3).any() or (np.abs(c) > 1 + 1e-3).any():
        raise Rejected("a correlation is above 1: these are the moments of no rows")
    if (p + 2) ** 2 * 1.1 * U > theta / 2:
        raise Unusable(f"the ridge {ridge:g} is too small to check moments of {p} columns in float64")
    joint = np.empty((p + 1, p + 1))
    joint[:p, :p], joint[p, :p], joint[:p, p] = A, c, c
    joint[np.diag_indices(p + 1)] = 1 + theta
    try:
        np.linalg.cholesky(joint)
    except np.linalg.LinAlgError as error:
        raise Rejected("the moments are not positive semidefinite: these are the moments of no rows") from error
