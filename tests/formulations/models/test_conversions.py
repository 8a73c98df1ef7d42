"""The table of docs/formulations.md: each program's objective, as its sources state it, against the mean loss."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest
from instances import instance
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression

from formulations import SparseProbeProblem, fit_support

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Point:
    """A probe on three standardised neurons, with what the formulas of the table need."""

    problem: SparseProbeProblem
    b: Floats
    b0: float

    @property
    def n(self) -> int:
        return self.problem.n_rows

    @property
    def residual(self) -> Floats:
        return self.problem.y - self.problem.Z[:, :3] @ self.b - self.b0

    @property
    def margin(self) -> Floats:
        return self.problem.y * (self.problem.Z[:, :3] @ self.b + self.b0)

    @property
    def ours(self) -> float:
        return self.problem.objective([0, 1, 2], self.b, self.b0)


def point(loss: str, b0: float = 0.0) -> Point:
    return Point(instance(50, loss=loss), np.random.default_rng(50).normal(size=3), b0)


def test_subset_selection_cio() -> None:
    for loss, rows in (("squared", lambda p: p.residual**2 / 2), ("logistic", lambda p: np.log1p(np.exp(-p.margin)))):
        p = point(loss)
        gamma = 1 / (p.n * p.problem.ridge)
        assert rows(p).sum() + p.b @ p.b / (2 * gamma) == pytest.approx(p.n * p.ours)


def test_okridge() -> None:
    p = point("squared")
    y = p.problem.y
    theirs = p.residual @ p.residual + p.n * p.problem.ridge * (p.b @ p.b) - y @ y
    assert (theirs + y @ y) / (2 * p.n) == pytest.approx(p.ours)


def test_l0bnb_and_el0ps() -> None:
    for loss, rows in (("squared", lambda p: p.residual**2 / 2), ("logistic", lambda p: np.log1p(np.exp(-p.margin)))):
        p, price = point(loss), 0.7
        theirs = rows(p).sum() + price * 3 + p.n * p.problem.ridge / 2 * (p.b @ p.b)
        assert (theirs - price * 3) / p.n == pytest.approx(p.ours)


def test_abess() -> None:
    p = point("squared", 0.3)
    assert p.residual @ p.residual / (2 * p.n) + p.problem.ridge / 2 * (p.b @ p.b) == pytest.approx(p.ours)
    p = point("logistic", 0.3)
    theirs = np.log1p(np.exp(-p.margin)).sum() + p.n * p.problem.ridge / 2 * (p.b @ p.b)
    assert theirs / p.n == pytest.approx(p.ours)


def test_scikit_learn_logistic_regression() -> None:
    problem = instance(51, "weighted", "logistic")
    n = problem.n_rows
    C = 1 / (n * problem.ridge)
    fitted = LogisticRegression(C=C, tol=1e-10, max_iter=10_000).fit(
        problem.Z[:, :3], problem.y, sample_weight=n * problem.w
    )
    ours = fit_support(problem, [0, 1, 2])
    losses = problem.loss.value(problem.y, fitted.decision_function(problem.Z[:, :3]))
    theirs = C * n * problem.w @ losses + fitted.coef_[0] @ fitted.coef_[0] / 2
    assert problem.ridge * theirs == pytest.approx(ours.objective[0], rel=1e-9)
    assert fitted.coef_[0] == pytest.approx(ours.coef[0], abs=1e-6)
    assert fitted.intercept_[0] == pytest.approx(ours.intercept[0], abs=1e-6)


def test_the_papers_refit_with_c_of_one_is_a_ridge_of_100_over_n() -> None:
    problem = instance(52, loss="logistic")
    problem = problem.restated(ridge=100 / problem.n_rows)
    fitted = LogisticRegression(C=1.0, tol=1e-10, max_iter=10_000).fit(problem.Z[:, :2] / 10, problem.y)
    ours = fit_support(problem, [0, 1])
    losses = problem.loss.value(problem.y, fitted.decision_function(problem.Z[:, :2] / 10))
    theirs = losses.sum() + fitted.coef_[0] @ fitted.coef_[0] / 2
    assert theirs / problem.n_rows == pytest.approx(ours.objective[0], rel=1e-9)
    assert fitted.coef_[0] / 10 == pytest.approx(ours.coef[0], abs=1e-6)
