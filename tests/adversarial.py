"""Small probe problems of known optimum, of the kinds that break solvers."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np

from formulations import MomentProblem, SparseProbeProblem, fit_supports, moment_problem, sparse_probe_problem
from optprobe.activations import GramAccumulator

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
SHAPES = (*(kind for kind in KINDS if kind not in ("full", "weighted")), "correlated", "nearly_equal", "plain")
"""Kinds of data for `mixed`, which has its own k and weights; their number is coprime to those of its grid."""
LOSSES = ("squared", "logistic", "hinge")
HABITS = ("near ties", "near duplicates", "denormals", "constants", "scales", "outliers", "low rank", "noise")
"""Kinds of rows for `awkward`."""


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
    X, y = shaped(kind, seed, rng, X, y)
    if kind == "suppressors":
        k, ridge = max(2, min(k, 3)), 0.01
    elif kind == "full":
        k = min(largest_k, 3 + seed % 2)
    elif kind == "weighted":
        weight = rng.integers(0, 4, n).astype(float)
        weight[[0, 1]] = 1.0
    if len(np.unique(y)) == 1 or weight is not None:
        y[0], y[1] = 1.0, -1.0
    problem = sparse_probe_problem(
        X, y, k, loss=loss, ridge=ridge, class_weight="balanced" if balanced else "none", sample_weight=weight
    )
    supports = np.array(list(itertools.combinations(problem.candidates, problem.size)), dtype=np.int64)
    return Known(f"{kind}-{seed}", problem, X, y, weight, supports, fit_supports(problem, supports).objective)


def shaped(
    kind: str, seed: int, rng: np.random.Generator, X: np.ndarray, y: np.ndarray
) -> tuple[np.ndarray, np.ndarray]:
    """Data of a kind, made of plain data; ``X`` may be changed in place."""
    n, p = X.shape
    if kind == "ties":
        X = np.round(X)
    elif kind == "duplicates":
        X[:, 1], X[:, 2] = X[:, 0], -X[:, 3]
    elif kind == "suppressors":
        hidden = rng.standard_normal(n)
        y = np.where(hidden + 0.1 * rng.standard_normal(n) > 0, 1.0, -1.0)
        X[:, 0] = 5 * rng.standard_normal(n)
        X[:, 1] = X[:, 0] + hidden
    elif kind == "constant":
        X[:, 0], X[:, p - 1] = 1.0, -3.5
    elif kind == "unbalanced":
        y = -np.ones(n)
        y[: 2 + seed % 2] = 1.0
    elif kind == "heavy":
        X = rng.standard_t(1.5, (n, p))
    elif kind == "full":
        X = X[:, :4]
    elif kind == "separable":
        X[:, 0] = 3 * y + 0.1 * rng.standard_normal(n)
    elif kind == "correlated":
        X = 0.1 * X + rng.standard_normal((n, 1))
    elif kind == "nearly_equal":
        X[:, 1:4] = X[:, :1] + 1e-5 * X[:, 1:4]
    return X, y


def mixed(seed: int) -> Known:
    """One instance of a grid: by 72 successive seeds every loss, k <= 6, and kind of weights; kinds of data in turn.

    The ridge is log-uniform on [1e-4, 1], and at most 0.01 where columns nearly agree, since a large one hides that.
    """
    kind, k, loss = SHAPES[seed % len(SHAPES)], 1 + seed % 6, LOSSES[seed // 6 % 3]
    by_class, by_row = seed // 18 % 2 == 1, seed // 36 % 2 == 1
    rng = np.random.default_rng([len(KINDS), seed])
    n, p = int(rng.integers(20, 61)), int(rng.integers(6, 13))
    X = rng.standard_normal((n, p))
    y = np.where(X @ rng.standard_normal(p) + 0.7 * rng.standard_normal(n) > 0, 1.0, -1.0)
    X, y = shaped(kind, seed, rng, X, y)
    y[0], y[-1] = 1.0, -1.0
    ridge, weight = float(10 ** rng.uniform(-4, -2 if kind in ("correlated", "nearly_equal") else 0)), None
    if by_row:
        weight = rng.integers(0, 4, n).astype(float) if seed % 2 else rng.lognormal(0, 2, n)
        weight[[0, -1]] = 1.0
    problem = sparse_probe_problem(
        X, y, k, loss=loss, ridge=ridge, class_weight="balanced" if by_class else "none", sample_weight=weight
    )
    supports = np.array(list(itertools.combinations(problem.candidates, problem.size)), dtype=np.int64)
    name = f"mixed-{seed} ({kind}, {loss}, k = {k}, ridge {ridge:.2g})"
    return Known(name, problem, X, y, weight, supports, fit_supports(problem, supports).objective)


def stated_by_moments(instance: Known, k: int | None = None) -> MomentProblem:
    """The same problem, from moments accumulated in three parts."""
    problem = instance.problem
    total = GramAccumulator(problem.n_neurons)
    for part in np.array_split(np.arange(problem.n_rows), 3):
        total.add(problem.X[part], problem.y[part], problem.w[part])
    moments = total.moments(made={"class_weight": problem.class_weight})
    return moment_problem(moments, problem.k if k is None else k, ridge=problem.ridge)


def instances(loss: str, seeds: range, kinds: tuple[str, ...] = KINDS, largest_k: int = 4) -> Iterator[Known]:
    """One instance of every kind for each seed."""
    for seed in seeds:
        for kind in kinds:
            yield known(kind, seed, loss, largest_k)


def awkward(habit: str, seed: int, n: int, p: int) -> tuple[np.ndarray, np.ndarray]:
    """Rows and labels that a short type might not survive."""
    rng = np.random.default_rng([HABITS.index(habit), seed])
    X = rng.standard_normal((n, p))
    y = np.where(X @ rng.standard_normal(p) + rng.standard_normal(n) > 0, 1.0, -1.0)
    y[:2] = 1.0, -1.0
    if habit == "near ties":  # columns that gain alike, to a few units in the last place of float32
        X = np.where(y[:, None] > 0, 1.0, -1.0) * np.where(rng.random((n, p)) < 0.3, -1.0, 1.0)
        X *= 1 + 1e-7 * rng.standard_normal((n, p))
    elif habit == "near duplicates":
        X[:, 1::2] = X[:, ::2][:, : p // 2] * rng.choice([-1.0, 1.0], p // 2)
        X[:, 1::2] += 10.0 ** rng.uniform(-9, -2, p // 2) * rng.standard_normal((n, p // 2))
    elif habit == "denormals":  # standardised, most entries are below what float32 can hold
        X *= 10.0 ** rng.uniform(-60, 0, (n, p))
    elif habit == "constants":
        X[:, rng.random(p) < 0.4] = 7.0
        X[:, 0], X[0, 1:3] = X[:, 1], 1e6
    elif habit == "scales":
        X *= 10.0 ** rng.uniform(-30, 30, p)
        X += 10.0 ** rng.uniform(-3, 6, p) * X.std(axis=0)
    elif habit == "outliers":
        X = rng.standard_t(1.1, (n, p))
    elif habit == "low rank":
        X = rng.standard_normal((n, 2)) @ rng.standard_normal((2, p)) + 1e-3 * X
    elif habit == "noise":  # labels that no column says much of
        y = rng.permutation(np.where(np.arange(n) < max(1, n // 8), 1.0, -1.0))
    return X, y


def model_like(seed: int, p: int) -> tuple[np.ndarray, np.ndarray]:
    """Gated columns of a few layers over one hidden state, of which one feature is to be read."""
    rng = np.random.default_rng([7, seed])
    n, width = int(rng.integers(20, 90)), int(rng.integers(4, 30))
    hidden = rng.standard_normal((n, width)) * rng.uniform(0.2, 2, width)
    gate, up = hidden @ rng.standard_normal((width, p)) - rng.uniform(0, 2, p), hidden @ rng.standard_normal((width, p))
    X = gate / (1 + np.exp(-gate)) * up
    y = np.where(hidden[:, 0] + rng.choice([0.1, 1.0]) * rng.standard_normal(n) > 0, 1, -1)
    y[:2] = 1, -1
    return X.astype(np.float32), y
