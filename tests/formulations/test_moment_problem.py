"""Problems stated by moments: what is refused, and agreement with the same problem stated by rows."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
from adversarial import KINDS, Known, known

from formulations import (
    InputError,
    Moments,
    SparseProbeProblem,
    UnsupportedProblem,
    constant_point,
    fit_supports,
    moment_problem,
    objective_bound,
    rounding_margin,
    with_rows,
)


def moments_of(problem: SparseProbeProblem) -> Moments:
    """Centred first, in extended precision."""
    V = np.column_stack([problem.X, problem.y]).astype(np.longdouble)
    w = problem.w.astype(np.longdouble) / problem.w.sum(dtype=np.longdouble)
    mean = w @ V
    joint = ((V - mean).T @ ((V - mean) * w[:, None])).astype(np.float64)
    joint = (joint + joint.T) / 2
    return Moments(
        problem.n_rows,
        mean[:-1].astype(np.float64),
        joint[:-1, :-1],
        joint[:-1, -1],
        float(mean[-1]),
        float(joint[-1, -1]),
        1e-14,
        {"class_weight": problem.class_weight},
    )


@pytest.fixture(scope="module", params=KINDS)
def instance(request: pytest.FixtureRequest) -> Known:
    return known(request.param, 40, "squared")


def test_agrees_with_the_rows(instance: Known) -> None:
    rows = instance.problem
    stated = moment_problem(moments_of(rows), rows.k, ridge=rows.ridge)
    assert (stated.k, stated.ridge, stated.size, stated.n_rows) == (rows.k, rows.ridge, rows.size, rows.n_rows)
    assert (stated.n_neurons, stated.loss.name, stated.class_weight) == (rows.n_neurons, "squared", rows.class_weight)
    assert (stated.candidates == rows.candidates).all()
    np.testing.assert_allclose(stated.inv_scale, rows.inv_scale, rtol=1e-9)
    np.testing.assert_allclose(stated.cross, rows.cross, atol=1e-9)
    np.testing.assert_allclose(stated.gram(rows.candidates), rows.gram(rows.candidates), atol=1e-9)
    np.testing.assert_allclose(stated.gram_rows([0, 1]), rows.gram_rows([0, 1]), atol=1e-9)
    one, other = fit_supports(stated, instance.supports), fit_supports(rows, instance.supports)
    np.testing.assert_allclose(one.objective, other.objective, atol=1e-11)
    np.testing.assert_allclose(one.lower, other.lower, atol=1e-10)
    np.testing.assert_allclose(one.coef, other.coef, atol=1e-6)
    assert constant_point(stated).value == pytest.approx(constant_point(rows).value)
    np.testing.assert_allclose(constant_point(stated).discount, constant_point(rows).discount, rtol=1e-6, atol=1e-9)
    support, coef, intercept = tuple(one.supports[0]), one.coef[0], float(one.intercept[0])
    assert stated.objective(support, coef, intercept + 0.1) == pytest.approx(
        rows.objective(support, coef, intercept + 0.1), abs=1e-11
    )
    assert one.objective[0] < objective_bound(stated, support, coef, intercept) < one.objective[0] + 1e-8
    assert 0 < rounding_margin(stated) < 1e-8


def test_what_moments_cannot_be(instance: Known) -> None:
    good = moments_of(instance.problem)
    p = good.n_neurons
    j = int(instance.problem.candidates[0])

    def changed(name: str, place: tuple[int, ...], value: float) -> Moments:
        array = getattr(good, name).copy()
        array[place] = value
        return replace(good, **{name: array})

    wrong = {
        "shape": lambda: replace(good, cross=good.cross[1:]),
        "finite": lambda: changed("mean", (0,), np.nan),
        "positive integer": lambda: replace(good, n_rows=0),
        "not constant": lambda: replace(good, target_variance=0.0),
        "error": lambda: replace(good, error=-1e-9),
        "variance of column": lambda: changed("covariance", (j, j), -1.0),
        "symmetric": lambda: changed("covariance", (0, 1), good.covariance[0, 1] + 1e-3),
        "correlation above 1 with": lambda: changed("cross", (j,), 1e3 * (1 + good.covariance[j, j])),
        "JSON": lambda: replace(good, made={"when": {1, 2}}),
    }
    for sentence, make in wrong.items():
        with pytest.raises(InputError, match=sentence):
            make()
    for arguments, sentence in (
        ({"k": 0}, "k is 0"),
        ({"k": p + 1}, "k is"),
        ({"k": 1, "ridge": 0.0}, "positive"),
        ({"k": 1, "among": [p]}, "does not exist"),
    ):
        with pytest.raises(InputError, match=sentence):
            moment_problem(good, **arguments)  # type: ignore[arg-type]


def test_moments_of_no_rows_are_refused() -> None:
    """Three columns, each pair correlated by -0.9: every pair is possible, the triple is not."""
    covariance = np.where(np.eye(3) > 0, 1.0, -0.9)
    moments = Moments(9, np.zeros(3), covariance, np.zeros(3), 0.0, 1.0)
    with pytest.raises(InputError, match="semidefinite"):
        moment_problem(moments, 2, ridge=0.1)


def test_digest_is_of_everything(instance: Known) -> None:
    good = moments_of(instance.problem)
    others = [
        replace(good, n_rows=good.n_rows + 1),
        replace(good, error=2e-14),
        replace(good, made={}),
        replace(good, target_mean=good.target_mean + 1e-3),
        replace(good, cross=good.cross * 0.5),
    ]
    digests = {moments.digest for moments in (good, *others)}
    assert len(digests) == 6
    assert replace(good).digest == good.digest


def test_restated_keeps_the_moments(instance: Known) -> None:
    problem = moment_problem(moments_of(instance.problem), 1, ridge=0.1)
    again = problem.restated(k=2, ridge=0.5, loss="squared")
    assert (again.k, again.ridge, again.moments) == (2, 0.5, problem.moments)
    with pytest.raises(InputError, match="squared loss alone"):
        problem.restated(loss="hinge")
    with pytest.raises(UnsupportedProblem, match="rows"):
        with_rows(problem)
    assert "moments of" in str(problem)
