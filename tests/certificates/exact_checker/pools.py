"""Pools for tests: real ones by every engine, and ones written by hand for any listed sets."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import cache, partial
from pathlib import Path
from typing import Any

import numpy as np
from adversarial import Known, stated_by_moments
from drafts import Case, Draft, fit, objective, plant

from formulations import ProbeProblem, fit_supports, sparse_probe_problem
from optprobe.certificates import Certificate, verify
from optprobe.certificates.exact import verify_exact
from optprobe.engines import solve

Support = tuple[int, ...]
CHECKERS: dict[str, Callable[..., Any]] = {
    "float64": verify,
    "every set": partial(verify, exhaustive=True),
    "balls": verify_exact,
}
SOURCES = {
    "squared, sweep": "enumeration",
    "squared, tree": "branch_and_cut",
    "squared, moments": "enumeration",
    "logistic, sweep": "dual_enumeration",
    "logistic, tree": "branch_and_cut",
    "hinge, sweep": "dual_enumeration",
    "hinge, tree": "branch_and_cut",
}
SHAPES = ("whole", "mixed")
"""All listed sets of k columns, or some of fewer."""
CONSTANT = 8


@dataclass(frozen=True, eq=False)
class Made:
    """A certificate with a pool, what it is checked against, and the fits of every set, by their columns."""

    certificate: Certificate
    data: Mapping[str, Any]
    fits: Mapping[Support, tuple[float, np.ndarray, float]]
    loss: str

    def outcomes(self, path: Path) -> dict[str, tuple[str, str]]:
        """Outcome and reason of every checker, and that the reason is one line."""
        found = {name: check(path, **self.data) for name, check in CHECKERS.items()}
        assert all(one.reason.isprintable() for one in found.values()), found
        return {name: (one.outcome, one.reason) for name, one in found.items()}

    def least(self, listed: list[Support] | None = None) -> float:
        """The smallest F of the sets that contain none of these (those of the certificate)."""
        pool = self.certificate.claim.result.pool
        assert pool is not None
        sets = [one.support for one in pool.sets] if listed is None else listed
        return min(f for one, (f, _, _) in self.fits.items() if not any(set(part) <= set(one) for part in sets))

    def member(self, support: Support) -> tuple[dict[str, Any], np.ndarray]:
        """A set as a pool lists it, with an upper bound that it reaches, and its coefficients."""
        value, coef, intercept = self.fits[support]
        return {"support": list(support), "intercept": intercept, "upper_bound": value + 1e-9}, coef


@cache
def made(source: str, shape: str) -> Made:
    """A real pool of k = 2 on data where one column, and a pair of others, are nearly as good as anything."""
    rng = np.random.default_rng(5)
    X = rng.standard_normal((30, 9))
    y = np.where(rng.standard_normal(30) > 0, 1.0, -1.0)
    X[:, 0] = y + 0.7 * X[:, 0]
    X[:, 1] *= 4
    X[:, 2] = X[:, 1] + y + 0.55 * X[:, 2]
    X[:, CONSTANT] = 2.5
    loss = source.split(",")[0]
    rows = sparse_probe_problem(X, y, 2, loss=loss, ridge=0.02)
    fits = every_fit(rows)
    problem: ProbeProblem = rows
    data: dict[str, Any] = {"X": X, "y": y}
    if "moments" in source:
        stated = stated_by_moments(Known(source, rows, X, y, None, np.zeros((0, 2)), np.zeros(0)))
        problem, data = stated, {"moments": stated.moments}
    best = min(value for value, _, _ in fits.values())
    wanted: dict[str, Any] = {"pool": 3}
    if shape == "mixed":
        wanted = {"within_absolute": max(fits[(0,)][0], fits[(1, 2)][0]) - best + 1e-3}
    solution = solve(problem, SOURCES[source], **wanted)
    return Made(solution.certificate(), data, fits, loss)


def every_fit(problem: Any) -> dict[Support, tuple[float, np.ndarray, float]]:
    """F, coefficients and intercept of every set of at most k columns."""
    found = {}
    for size in range(problem.size + 1):
        listed = list(itertools.combinations(problem.candidates.tolist(), size))
        fits = fit_supports(problem, np.array(listed, dtype=np.int64).reshape(len(listed), size))
        for one, value, coef, intercept in zip(listed, fits.objective, fits.coef, fits.intercept):
            found[one] = float(value), coef, float(intercept)
    return found


def values_of(of: Case) -> dict[Support, float]:
    """F of every set of at most ``size`` candidates, to the accuracy of a fit."""
    found: dict[Support, float] = {}
    for size in range(of.problem.size + 1):
        listed = list(itertools.combinations(of.problem.candidates, size))
        array = np.array(listed, dtype=np.int64).reshape(len(listed), size)
        fits = fit(of.problem, array)
        for one, columns, b, b0 in zip(listed, array, fits.coef, fits.intercept):
            found[one] = objective(of.problem, columns, b, float(b0))
    return found


def pooled(of: Case, plain: Draft, sets: list[Support], rest: float) -> Draft:
    """A certificate with a pool added to its claim, and to its tree if it has one."""
    members, coefs = [], [np.zeros(0)]
    for one in sets:
        columns = np.array([one], dtype=np.int64).reshape(1, -1)
        found = fit(of.problem, columns)
        b, b0 = found.coef[0], float(found.intercept[0])
        upper = objective(of.problem, columns[0], b, b0) + 1e-9
        members.append({"support": list(one), "intercept": b0, "upper_bound": upper})
        coefs.append(b)
    claim = {**plain.claim, "result": {**plain.claim["result"], "pool": {"sets": members, "rest": rest}}}
    made = Draft(claim, {**plain.arrays, "pool.coef": np.concatenate(coefs)})
    if claim["proof"]["kind"] == "tree":
        plant(of, claim, made.arrays, sets)
    return made
