"""Small probe problems of known optimum, of the kinds that break solvers."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from formulations import SparseProbeProblem, fit_supports, sparse_probe_problem

KINDS = (
    "plain",
    "ties",
    "duplicates",
    "suppressors",
    "constant",
    "unbalanced",
    "heavy",
    "full",
    "weighted",
    "separable",
)


@dataclass(frozen=True, eq=False)
class Known:
    """A problem with F of every support."""

    name: str
    problem: SparseProbeProblem
    X: np.ndarray
    y: np.ndarray
    sample_weight: np.ndarray | None
    supports: np.ndarray
    objectives: np.ndarray

    @property
    def optimum(self) -> float:
        return float(self.objectives.min())


def known(kind: str, seed: int, loss: str, largest_k: int = 4) -> Known:
    """The instance of a kind and seed, solved by fitting every support."""
    rng = np.random.default_rng([KINDS.index(kind), seed])
    n, p = int(rng.integers(14, 40)), int(rng.integers(4, 10))
    k = int(rng.integers(1, min(largest_k, p) + 1))
    X = rng.standard_normal((n, p))
    y = np.where(X @ rng.standard_normal(p) + 0.7 * rng.standard_normal(n) > 0, 1.0, -1.0)
    ridge, balanced, weight = float(10 ** rng.uniform(-3, 0.3)), bool(rng.integers(2)), None
    if kind == "ties":
        X = np.round(X)
    elif kind == "duplicates":
        X[:, 1], X[:, 2] = X[:, 0], -X[:, 3]
    elif kind == "suppressors":
        hidden = rng.standard_normal(n)
        y = np.where(hidden + 0.1 * rng.standard_normal(n) > 0, 1.0, -1.0)
        X[:, 0] = 5 * rng.standard_normal(n)
        X[:, 1], k, ridge = X[:, 0] + hidden, max(2, min(k, 3)), 0.01
    elif kind == "constant":
        X[:, 0], X[:, p - 1] = 1.0, -3.5
    elif kind == "unbalanced":
        y = -np.ones(n)
        y[: 2 + seed % 2] = 1.0
    elif kind == "heavy":
        X = rng.standard_t(1.5, (n, p))
    elif kind == "full":
        X, k = X[:, :4], min(largest_k, 3 + seed % 2)
    elif kind == "weighted":
        weight = rng.integers(0, 4, n).astype(float)
        weight[[0, 1]] = 1.0
    elif kind == "separable":
        X[:, 0] = 3 * y + 0.1 * rng.standard_normal(n)
    if len(np.unique(y)) == 1 or weight is not None:
        y[0], y[1] = 1.0, -1.0
    problem = sparse_probe_problem(
        X, y, k, loss=loss, ridge=ridge, class_weight="balanced" if balanced else "none", sample_weight=weight
    )
    supports = np.array(list(itertools.combinations(problem.candidates, problem.size)), dtype=np.int64)
    return Known(f"{kind}-{seed}", problem, X, y, weight, supports, fit_supports(problem, supports).objective)


def instances(loss: str, seeds: range, kinds: tuple[str, ...] = KINDS, largest_k: int = 4) -> Iterator[Known]:
    """One instance of every kind for each seed."""
    for seed in seeds:
        for kind in kinds:
            yield known(kind, seed, loss, largest_k)
