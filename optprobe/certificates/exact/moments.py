"""Claims about moments: section 9 of docs/certificates.md, for every matrix within the stated error.

The entries of A, the correlations with the target and v0 are balls whose radius is the error, so whatever is certain in
balls holds for all matrices within it. Where the page leaves open whether A is a product of real numbers or of float64
ones, the balls hold both.
"""

from __future__ import annotations

import copy
import hashlib
import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from flint import arb, arb_mat

from optprobe.certificates.exact.balls import Balls, about, add, dot, exactly, matrix
from optprobe.certificates.exact.claim import Claim
from optprobe.certificates.exact.pool import Groups, room
from optprobe.certificates.exact.quadratic import value_of
from optprobe.certificates.exact.reading import canonical, digest_of
from optprobe.certificates.exact.standard import check_range
from optprobe.certificates.exact.verdict import Clock, Rejected, Undecided
from optprobe.errors import InputError

CONSTANT = 1e-9
ROWS_AT_A_TIME = 64
MOST_COLUMNS = 5000


@dataclass(frozen=True, eq=False)
class Stated:
    """Moments as they are stated: float64 numbers."""

    n_rows: int
    mean: np.ndarray
    covariance: np.ndarray
    cross: np.ndarray
    target_mean: float
    target_variance: float
    error: float
    made: Mapping[str, Any]

    def digest(self) -> str:
        """The digest by which a claim names them."""
        record = {
            "n_rows": self.n_rows,
            "target_mean": self.target_mean,
            "target_variance": self.target_variance,
            "error": self.error,
            "made": dict(self.made),
            **{name: digest_of(getattr(self, name)) for name in ("mean", "covariance", "cross")},
        }
        try:
            return hashlib.sha256(canonical(record).encode()).hexdigest()
        except (TypeError, ValueError, RecursionError):
            raise InputError("The record of how the moments were made is no JSON.") from None


def as_stated(moments: object) -> Stated:
    """The moments that an object has as attributes, or `InputError` with what cannot be used."""
    try:
        arrays = [np.asarray(getattr(moments, name)) for name in ("mean", "covariance", "cross")]
        numbers = [float(getattr(moments, name)) for name in ("target_mean", "target_variance", "error")]
        n_rows, made = (getattr(moments, name) for name in ("n_rows", "made"))
        n_rows = operator.index(n_rows)
    except (AttributeError, TypeError, ValueError):
        raise InputError("The moments lack one of the numbers that they consist of.") from None
    if not all(each.dtype.kind in "biuf" for each in arrays) or not isinstance(made, Mapping):
        raise InputError("The moments have an entry of a wrong type.")
    mean, covariance, cross = (each.astype(np.float64) for each in arrays)
    target_mean, target_variance, error = numbers
    stated = Stated(n_rows, mean, covariance, cross, target_mean, target_variance, error, made)
    p = len(stated.mean) if stated.mean.ndim == 1 else 0
    if p == 0 or stated.cross.shape != (p,) or stated.covariance.shape != (p, p):
        raise InputError("The moments do not have the shapes p, p x p and p.")
    check_range(stated.mean, "mean")
    check_range(np.array([stated.target_mean]), "target_mean")
    for name in ("covariance", "cross"):
        check_range(getattr(stated, name), name, power=2)
    check_range(np.array([stated.target_variance]), "target_variance", power=2)
    if (stated.covariance != stated.covariance.T).any() or (np.diag(stated.covariance) < 0).any():
        raise InputError("The covariance is not symmetric, or has a negative variance.")
    if not (stated.target_variance > 0 and 0 <= stated.error < math.inf):
        raise InputError("The target's variance must be above 0, and the error a finite number that is at least 0.")
    return stated


class MomentForm:
    """F of the squared loss from stated moments: the places are the candidates, strongest correlation first."""

    semidefinite = False

    def __init__(self, stated: Stated, claim: Claim, groups: Groups = None) -> None:
        self.ridge, self.error = arb(claim.problem["ridge"]), arb(stated.error)
        self.stated = stated
        deviation = np.sqrt(np.diag(stated.covariance))
        kept = (deviation > CONSTANT * np.abs(stated.mean)) & (deviation != 0)
        self.kept = np.flatnonzero(kept).tolist()
        among = claim.problem["among"]
        columns = range(len(stated.mean)) if among is None else among
        self.candidates = [j for j in columns if kept[j]]
        self.size = min(claim.problem["k"], room(self.candidates, groups))
        variance = arb(stated.target_variance)
        self.deviation = variance.sqrt()
        self.scale = {j: 1 / arb(float(stated.covariance[j, j])).sqrt() for j in self.kept}
        with np.errstate(all="ignore"):
            self.rounded = np.where(kept, 1 / deviation, 0.0)
        self.v0 = variance * about(arb(1), self.error)
        self._place(self.candidates)

    def _place(self, columns: list[int]) -> None:
        """Give places to columns alone."""
        scale, cross = self.scale, self.stated.cross
        self.places = sorted(columns, key=lambda j: -abs(float((scale[j] * float(cross[j])).mid())))
        self.c = [self.covariance_with_target(j) for j in self.places]
        self.diagonal = [self.entry(j, j) + self.ridge for j in self.places]
        self._rows: dict[int, Balls] = {}

    def among(self, columns: list[int]) -> MomentForm:
        """The same form, with places for some of the candidates."""
        form = copy.copy(self)
        form._place(columns)
        return form

    def correlation(self, j: int) -> arb:
        """With the target, as stated."""
        return arb(float(self.stated.cross[j])) * self.scale[j] / self.deviation

    def covariance_with_target(self, j: int) -> arb:
        """Of a standardised column, for everything within the error."""
        return about(self.correlation(j), self.error) * self.deviation

    def exact_entry(self, i: int, j: int) -> arb:
        """Of A as stated, both as a product of real numbers and as one of float64 numbers."""
        C = self.stated.covariance[i, j]
        rounded = float(C * self.rounded[i] * self.rounded[j])
        return (arb(float(C)) * self.scale[i] * self.scale[j]).union(arb(rounded))

    def entry(self, i: int, j: int) -> arb:
        """Of A, for everything within the error."""
        return about(self.exact_entry(i, j), self.error)

    def row(self, i: int) -> Balls:
        """The entries of the row i at the places above i."""
        if i not in self._rows:
            self._rows[i] = [self.entry(self.places[i], j) for j in self.places[i + 1 :]]
        return self._rows[i]

    def values(self, places: Sequence[int]) -> list[arb]:
        """F of one set."""
        columns = self.name(places)
        A = [[self.entry(i, j) + (self.ridge if i == j else 0) for j in columns] for i in columns]
        return [value_of(self.v0, [self.covariance_with_target(j) for j in columns], A)]

    def name(self, places: Sequence[int]) -> list[int]:
        """The columns at these places."""
        return [self.places[i] for i in places]

    def objective(self, columns: Sequence[int], coef: np.ndarray, intercept: float) -> arb:
        """The objective at stored coefficients of the standardised columns and a stored intercept."""
        b, ball = exactly(coef), arb(intercept) - arb(self.stated.target_mean)
        products = [dot([self.entry(i, j) for j in columns], b) for i in columns]
        quadratic = dot(b, products) - 2 * dot([self.covariance_with_target(j) for j in columns], b)
        return (self.v0 + ball * ball + quadratic + self.ridge * dot(b, b)) / 2


def check_semidefinite(form: MomentForm, clock: Clock) -> None:
    """Whether A, joined by the correlations with the target, is positive semidefinite up to a hundredth of the ridge.

    With L from float64, a hint, and ``M + t I = L L' + R``: M + t I is positive semidefinite if no row of
    ``M + t I / 2 - L L'`` sums to more than t / 2 in absolute values.
    """
    if len(form.kept) > MOST_COLUMNS:
        raise Undecided(f"Moments of more than {MOST_COLUMNS:,} columns need more memory than they get.")
    theta = min(1.0, float(form.ridge.mid())) / 100
    joint = _joint(form)
    m = len(joint)
    hint = np.array([[float(x.mid()) for x in own] for own in joint])
    try:
        factor = np.linalg.cholesky(hint + theta / 2 * np.eye(m))
    except np.linalg.LinAlgError:
        raise Rejected(f"The moments are not positive semidefinite up to {theta:g}, as far as can be proved.") from None
    transposed = matrix(np.ascontiguousarray(factor.T))
    for start in range(0, m, ROWS_AT_A_TIME):
        clock.check(lambda: f"{start:,} of {m:,} rows of the moments shown to be positive semidefinite")  # noqa: B023
        rows = range(start, min(m, start + ROWS_AT_A_TIME))
        product: arb_mat = matrix(factor[rows.start : rows.stop]) * transposed
        for i, own in zip(rows, product.tolist()):
            rest = [x - y for x, y in zip(joint[i], own)]
            rest[i] += arb(theta) / 2
            if not add(abs(x) for x in rest) <= arb(theta) / 2:
                raise Rejected(f"The moments are not positive semidefinite up to {theta:g}, as far as can be proved.")


def _joint(form: MomentForm) -> list[Balls]:
    """A and the correlations with the target, as stated."""
    rows = [[form.exact_entry(i, j) for j in form.kept] + [form.correlation(i)] for i in form.kept]
    return [*rows, [own[-1] for own in rows] + [arb(1)]]
