"""Heuristics against the optimum, and the short way from activations to a problem."""

from __future__ import annotations

import numpy as np
import pytest
from adversarial import known
from sklearn.metrics import f1_score

import optprobe as op
from optprobe import comparison
from optprobe.comparison import f1, predict
from optprobe.heuristics import RANKINGS, Ranking


@pytest.mark.parametrize("loss", ["squared", "logistic", "hinge"])
def test_nothing_is_better_than_the_optimum_and_regret_is_exact(loss: str) -> None:
    instance = known("plain", 2, loss, largest_k=3)
    values = {tuple(map(int, support)): value for support, value in zip(instance.supports, instance.objectives)}
    compared = op.compare(op.solve(instance.problem))
    assert {row.method for row in compared.rows} >= {"optimum", *RANKINGS}
    for row in compared.rows:
        assert abs(row.objective - values[tuple(row.support)]) < 1e-7
        assert abs(row.regret - (values[tuple(row.support)] - instance.optimum)) < 1e-6
        assert row.optimal == (row.regret <= 1e-6)
        assert row.f1_test is None
    assert compared.rows[0].method == "optimum"
    assert "mean_difference" in str(compared)


def test_only_the_methods_asked_for_are_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    solution = op.solve(known("plain", 2, "logistic", largest_k=3).problem)
    whole = {row.method: row for row in op.compare(solution).rows}

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("this method was not asked for")

    monkeypatch.setattr(comparison, "forward_selection", fail)
    for name in ("adaptive_thresholding", "linear_svm"):
        monkeypatch.setitem(RANKINGS, name, Ranking(name, fail, ""))
    some = op.compare(solution, methods=["mean_difference", "beam_search"]).rows
    assert {row.method.replace(" ", "_") for row in some} == {"optimum", "mean_difference", "beam_search"}
    assert all(row.support == whole[row.method].support for row in some)
    with pytest.raises(op.InputError, match="there is no method 'beem_search' to compare: there are mean_difference"):
        op.compare(solution, methods=["beem_search"])


def test_an_open_gap_leaves_optimality_open() -> None:
    instance = known("plain", 2, "logistic", largest_k=3)
    solution = op.solve(instance.problem.restated(ridge=1e-3, k=3), time_limit=1e-9)
    assert not solution.optimal
    rows = op.compare(solution).rows
    assert "best known" in {row.method for row in rows}
    assert rows[0].regret == 0
    assert rows[0].optimal is None
    assert all(row.optimal is False for row in rows if row.regret > 1e-6)


def test_f1_is_that_of_sklearn() -> None:
    rng = np.random.default_rng(0)
    y, f, w = rng.choice([-1.0, 1.0], 50), rng.standard_normal(50), rng.random(50)
    assert abs(f1(y, f) - f1_score(y, np.sign(f))) < 1e-12
    assert abs(f1(y, f, w) - f1_score(y, np.sign(f), sample_weight=w)) < 1e-12
    assert f1(y, -np.ones(50)) == 0.0


def test_new_rows_are_standardised_as_the_training_rows() -> None:
    instance = known("weighted", 4, "logistic")
    solution = op.solve(instance.problem)
    again = predict(instance.problem, instance.X, solution.support, solution.coef, solution.intercept)
    used = instance.problem.w > 0
    Z = instance.problem.Z[np.ix_(used, list(solution.support))]
    np.testing.assert_allclose(again[used], Z @ solution.coef + solution.intercept)


def test_problem_of_labelled_rows() -> None:
    from optprobe.activations import LabelledActivations

    instance = known("plain", 0, "squared")
    rows = LabelledActivations(instance.X, instance.y, None, None, None, None, None, {})
    stated = op.problem(rows, 2, loss="squared", ridge=0.5, class_weight="balanced", among=[0, 1, 2])
    assert (stated.k, stated.ridge, stated.among) == (2, 0.5, (0, 1, 2))


def test_problem_of_a_store_needs_feature_and_layer() -> None:
    acts = op.extract("bundled", op.features.load("is_german"), layers=[0])
    with pytest.raises(op.InputError, match="feature and layer"):
        op.problem(acts, 1)
    stated = op.problem(acts, 1, feature="is_german", layer=0, loss="squared")
    assert stated.n_neurons == acts.matrices[0].shape[1]
    assert op.solve(stated).optimal
