"""Heuristics against the optimum, on the rows of the problem and on others."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from adversarial import known

import optprobe as op
from formulations import fit_support, sparse_probe_problem
from optprobe import comparison
from optprobe.comparison import predict
from optprobe.heuristics import RANKINGS, Ranking
from optprobe.scoring import GroupBootstrap, interval


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
    assert "mean difference" in str(compared)


def test_only_the_methods_asked_for_are_computed(monkeypatch: pytest.MonkeyPatch) -> None:
    solution = op.solve(known("plain", 2, "logistic", largest_k=3).problem)
    whole = {row.method: row for row in op.compare(solution).rows}

    def fail(*_: object, **__: object) -> None:
        raise AssertionError("this method was not asked for")

    monkeypatch.setattr(comparison, "forward_selection", fail)
    for name in ("adaptive_thresholding", "linear_svm"):
        monkeypatch.setitem(RANKINGS, name, Ranking(name, fail, ""))
    some = op.compare(solution, methods=["mean_difference", "beam_search"]).rows
    assert {row.method for row in some} == {"optimum", "mean_difference", "beam_search"}
    assert all(row.support == whole[row.method].support for row in some)
    with pytest.raises(op.InputError, match="there is no method 'beem_search' to compare: there are mean_difference"):
        op.compare(solution, methods=["beem_search"])


def test_an_open_gap_leaves_optimality_open() -> None:
    instance = known("plain", 2, "logistic", largest_k=3)
    solution = op.solve(instance.problem.restated(ridge=1e-3, k=3), time_limit=1e-9)
    assert not solution.optimal
    comparison = op.compare(solution)
    rows = comparison.rows
    assert "optimum" in {row.method for row in rows}
    assert "best known" in str(comparison)
    assert "optimum" not in str(comparison)
    assert rows[0].regret == 0
    assert rows[0].optimal is None
    assert all(row.optimal is False for row in rows if row.regret > 1e-6)


@pytest.mark.parametrize("loss", ["squared", "logistic", "hinge"])
def test_every_row_counts_once_in_scores_whatever_it_weighs_in_the_loss(loss: str) -> None:
    """The same rows, once fitted and once held out, have the same scores; rows of weight 0 are not fitted."""
    rng = np.random.default_rng(1)
    X = rng.standard_normal((200, 6))
    y = np.where(X[:, 0] + rng.standard_normal(200) > 1.8, 1, -1)
    weight = rng.integers(0, 3, 200)
    stated = sparse_probe_problem(X, y, 2, loss=loss, class_weight="balanced", sample_weight=weight)
    for row in op.compare(op.solve(stated), X[weight > 0], y[weight > 0]).rows:
        assert row.f1_train == row.f1_test
        train, test = (np.array([*vars(scores).values()], dtype=float) for scores in (row.train, row.test))
        np.testing.assert_allclose(train, test, rtol=1e-9)
        assert (row.train.log_loss is None) == (loss != "logistic")


TEST_X, TEST_Y = np.ones((4, 6)), np.array([0, 1, 1, 0])
BAD_ROWS: dict[str, tuple[Any, Any, str]] = {
    "labels": (TEST_X, [1, 2, 2, 1], "y_test is 2 at row 1, and the labels of y are 0 and 1"),
    "nan label": (TEST_X, [0, 1, np.nan, 0], "y_test is nan at row 2"),
    "true label": (TEST_X, np.array([True, False, True, False]).astype(object), "y_test holds values of type object"),
    "text labels": (TEST_X, list("yesn"), "y_test holds values of type <U1"),
    "few labels": (TEST_X, [0, 1], r"y_test has shape \(2,\) and X_test has 4 rows"),
    "no labels": (TEST_X, None, "give X_test and y_test together"),
    "no rows": (None, TEST_Y, "give X_test and y_test together"),
    "nan": (np.full((4, 6), np.nan), TEST_Y, "X_test is nan at row 0, column 0"),
    "width": (TEST_X[:, :5], TEST_Y, "X_test has 5 columns and X has 6"),
    "text": (TEST_X.astype(str), TEST_Y, "the activations are <U"),
    "string": ("rows.npy", TEST_Y, "there is no file rows.npy"),
    "ragged": ([[1.0, 2.0], [3.0]], [0, 1], "this list is no array"),
    "one row": (TEST_X[0], TEST_Y, r"of shape \(6,\)"),
}


@pytest.fixture(scope="module")
def solved() -> op.Solution:
    """Six neurons, labels 0 and 1."""
    rng = np.random.default_rng(3)
    X = rng.standard_normal((60, 6)).astype(np.float32)
    return op.solve(op.problem(X, 1, labels=(X[:, 2] > 0.3).astype(int), loss="squared"))


@pytest.mark.parametrize("case", BAD_ROWS)
def test_held_out_rows_are_checked(case: str, solved: op.Solution) -> None:
    X, y, sentence = BAD_ROWS[case]
    with pytest.raises(op.InputError, match=sentence):
        op.compare(solved, X, y)


def test_held_out_rows_may_be_what_training_rows_may_be(solved: op.Solution) -> None:
    """Lists, tensors and halves; labels as the training labels were given, also of one class only."""
    rng = np.random.default_rng(4)
    X = rng.standard_normal((30, 6)).astype(np.float16)
    y = (X[:, 2] > 0.3).astype(int)
    expected = op.compare(solved, X, y).records()
    assert expected[0]["f1_test"] > 0.9
    for matrix, labels in ((X.tolist(), y.tolist()), (torch.from_numpy(X).requires_grad_(), torch.from_numpy(y == 1))):
        assert op.compare(solved, matrix, labels).records() == expected
    assert op.compare(solved, X[y == 0], y[y == 0]).rows[0].f1_test == 0.0


def test_the_table_says_what_the_problems_own_test_rows_share() -> None:
    from optprobe.activations import LabelledActivations

    rng = np.random.default_rng(5)
    X, y = rng.standard_normal((40, 4)), rng.choice([-1.0, 1.0], 40)
    best = op.solve(op.problem(LabelledActivations(X, y, None, None, X[:7], y[:7], None, {}), 1, loss="squared"))
    shared = "7 of 7 test rows have the activation vector of a training row"
    assert str(op.compare(best)).endswith(shared)
    assert shared not in str(op.compare(best, X + 1, y))


def test_an_argument_without_effect_is_refused(solved: op.Solution) -> None:
    from optprobe.heuristics import RankingScores

    scores = RankingScores(solved.problem, 0)
    with pytest.raises(op.InputError, match="seed= has no effect"):
        op.compare(solved, seed=1, scores=scores)


def test_new_rows_are_standardised_as_the_training_rows() -> None:
    instance = known("weighted", 4, "logistic")
    solution = op.solve(instance.problem)
    again = predict(instance.problem, instance.X, solution.support, solution.coef, solution.intercept)
    used = instance.problem.w > 0
    Z = instance.problem.Z[np.ix_(used, list(solution.support))]
    np.testing.assert_allclose(again[used], Z @ solution.coef + solution.intercept)


def test_intervals_come_with_documents_and_are_paired() -> None:
    """From the problem's origin, or as resamples; without documents a record has none."""
    from optprobe.activations import LabelledActivations

    rng = np.random.default_rng(6)
    X = rng.standard_normal((120, 5))
    y = np.where(X[:, 0] - X[:, 3] + rng.standard_normal(120) > 0, 1.0, -1.0)
    documents = np.arange(40) // 4
    data = LabelledActivations(X[40:], y[40:], None, None, X[:40], y[:40], documents, {})
    best = op.solve(op.problem(data, 2, loss="logistic"))
    rows = op.compare(best, seed=3).rows
    resamples = GroupBootstrap.of(documents, 1000, 3)
    assert op.compare(best, X[:40], y[:40], seed=3, resamples=resamples).rows == rows
    apart = next(row for row in rows if row.support != rows[0].support)
    values = []
    for row in (rows[0], apart):
        fit = fit_support(best.problem, row.support)
        f = predict(best.problem, X[:40], tuple(row.support), fit.coef[0], float(fit.intercept[0]))
        assert row.test == op.scores(y[:40], f, log_odds=True)
        values.append(resamples.scores(y[:40], f, log_odds=True))
        assert (row.low, row.high) == interval(values[-1])
    assert rows[0].method == "optimum"
    assert (apart.behind_low, apart.behind_high) == interval(values[0] - values[1])
    assert apart.behind is not None
    assert apart.behind.auc == rows[0].test.auc - apart.test.auc
    record = op.compare(best, X[:40], y[:40]).records()[0]
    assert record["auc_test"] == rows[0].test.auc
    assert record["auc_behind"] == 0
    assert not [name for name in record if name.endswith(("_low", "_high"))]
    assert {name for name in op.compare(best).records()[0] if name.endswith("_high")} >= {"auc_high", "f1_behind_high"}
    table = str(op.compare(best))
    assert "AUC test" in table
    assert f"{rows[0].test.auc:.3f}" in table


def test_resamples_of_other_rows_are_refused(solved: op.Solution) -> None:
    with pytest.raises(op.InputError, match="there are no held-out rows, and resamples= has no effect"):
        op.compare(solved, resamples=GroupBootstrap.of([0, 0, 1], 5, 0))
    with pytest.raises(op.InputError, match="the resamples are of 3 rows, and 4 are held out"):
        op.compare(solved, TEST_X, TEST_Y, resamples=GroupBootstrap.of([0, 0, 1], 5, 0))
