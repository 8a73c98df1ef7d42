"""Small seeded problems, their optimum by brute force, and the solution of a model by HiGHS through Pyomo."""

from __future__ import annotations

from itertools import combinations
from typing import Any

import numpy as np
from pyomo.contrib.solver.solvers.highs import Highs

from formulations import DualPoint, SparseProbeProblem, dual_points, fit_supports, sparse_probe_problem
from formulations.models import refine, support_of

KINDS = ("plain", "duplicates", "ties", "constant", "unbalanced", "weighted", "collinear")
TOLERANCE = 1.01e-6
"""HiGHS's tolerance of feasibility and integrality, and rounding: its optima may be lower than the truth by as much."""
SETTINGS = {"threads": 1, "rel_gap": 0.0, "abs_gap": 0.0, "time_limit": 60}


def instance(seed: int, kind: str = "plain", loss: str = "hinge") -> SparseProbeProblem:
    """A problem of 15 to 40 rows, 5 to 9 neurons, and k from 1 to 3."""
    rng = np.random.default_rng([seed, KINDS.index(kind)])
    n, p, k = int(rng.integers(15, 41)), int(rng.integers(5, 10)), int(rng.integers(1, 4))
    X = rng.normal(size=(n, p))
    score = X[:, 0] - X[:, 1] + 0.8 * rng.normal(size=n)
    weights = None
    match kind:
        case "duplicates":
            X[:, 2:4] = X[:, :2]
            X[n // 2 :] = X[: n - n // 2]
        case "ties":
            X = np.round(X)
            score = X[:, 0] + X[:, 1]
        case "constant":
            X[:, 1] = 3.0
        case "unbalanced":
            score -= np.sort(score)[-4]
        case "weighted":
            weights = rng.integers(0, 3, size=n)
        case "collinear":
            X[:, 2] = X[:, 0] + 1e-3 * rng.normal(size=n)
    y = np.where(score > 0, 1, -1)
    y[:2], y[-2:] = (1, -1), (1, -1)
    if weights is not None:
        weights[:2] = 1
    return sparse_probe_problem(
        X,
        y,
        k,
        loss=loss,
        ridge=float(10 ** rng.uniform(-2, 0)),
        class_weight="balanced" if kind in ("unbalanced", "weighted") else "none",
        sample_weight=weights,
    )


def all_supports(problem: SparseProbeProblem) -> list[tuple[int, ...]]:
    """Every support of the full size."""
    return list(combinations(problem.candidates.tolist(), problem.size))


def optimum(problem: SparseProbeProblem) -> float:
    """F*_k by fitting every support."""
    return float(fit_supports(problem, all_supports(problem)).objective.min())


def all_points(problem: SparseProbeProblem) -> list[DualPoint]:
    """The dual point of every support of the full size."""
    return dual_points(problem, fit_supports(problem, all_supports(problem)).dual)


def minimum(model: Any, **options: Any) -> float:
    """The model's optimal value, by HiGHS with one thread and no gap; raises where it is not proved optimal."""
    result = Highs().solve(model, **SETTINGS, solver_options={"parallel": "off"} | options)
    return float(result.incumbent_objective)


def outer_approximation(model: Any, tolerance: float = TOLERANCE) -> tuple[float, float, int]:
    """Solve and refine until the bounds meet: the lower bound, the upper bound, and the number of solves."""
    upper = float("inf")
    for solves in range(1, 200):
        lower = minimum(model)
        upper = min(upper, refine(model, support_of(model)))
        if upper - lower <= tolerance:
            return lower, upper, solves
    raise AssertionError(f"the bounds {lower} and {upper} do not meet")
