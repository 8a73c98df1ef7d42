"""The scores against scikit-learn, their identities, and where they are undefined."""

from __future__ import annotations

import json
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from scipy.special import expit
from sklearn import metrics

import optprobe as op
from optprobe.scoring import NAMES

VALUES = st.one_of(
    st.integers(-2, 2).map(float),
    st.floats(-1e300, 1e300, allow_nan=False),
    st.sampled_from([0.0, -0.0, 5e-324, -5e-324, 1.7e308, -1.7e308]),
)


@st.composite
def rows(draw: st.DrawFn) -> tuple[np.ndarray, np.ndarray]:
    """Labels of both classes, and values with ties and extremes."""
    n = draw(st.integers(2, 30))
    positive = draw(arrays.arrays(np.bool_, n))
    positive[:2] = True, False
    return positive, draw(arrays.arrays(np.float64, n, elements=VALUES))


@given(rows())
def test_scores_of_both_classes_are_those_of_sklearn(given_rows: tuple[np.ndarray, np.ndarray]) -> None:
    positive, f = given_rows
    called, found = f > 0, op.scores(positive, f)
    expected = {
        "accuracy": metrics.accuracy_score(positive, called),
        "balanced_accuracy": metrics.balanced_accuracy_score(positive, called),
        "precision": metrics.precision_score(positive, called, zero_division=0),
        "recall": metrics.recall_score(positive, called),
        "f1": metrics.f1_score(positive, called, zero_division=0),
        "f1_weighted": metrics.f1_score(positive, called, average="weighted", zero_division=0),
        "matthews": metrics.matthews_corrcoef(positive, called),
        "auc": metrics.roc_auc_score(positive, f),
        "average_precision": metrics.average_precision_score(positive, f),
        "log_loss": None,
    }
    assert list(expected) == list(NAMES)
    own, theirs = (np.array([*one.values()], dtype=float) for one in (vars(found), expected))
    np.testing.assert_allclose(own, theirs, rtol=1e-12, atol=1e-12)
    assert all(0 <= value <= 1 for name, value in vars(found).items() if value is not None and name != "matthews")


@given(rows())
def test_auc_counts_pairs(given_rows: tuple[np.ndarray, np.ndarray]) -> None:
    """Exactly, the numbers being whole; and rows of opposite sign turn it around."""
    positive, f = given_rows
    above = f[positive][:, None] > f[~positive]
    equal = f[positive][:, None] == f[~positive]
    pairs = 2 * above.size
    auc = op.scores(positive, f).auc
    assert auc == (2 * np.count_nonzero(above) + np.count_nonzero(equal)) / pairs
    assert auc == pytest.approx(1 - op.scores(positive, -f).auc, abs=1e-15)


@given(rows(), st.randoms())
def test_the_order_of_rows_and_an_increasing_map_change_no_rank(
    given_rows: tuple[np.ndarray, np.ndarray], random: Any
) -> None:
    positive, f = given_rows
    order = list(range(len(f)))
    random.shuffle(order)
    again = op.scores(positive[order], np.searchsorted(np.unique(f), f)[order] - 1)
    found = op.scores(positive, f)
    assert found.auc == again.auc
    assert found.average_precision == pytest.approx(again.average_precision, rel=1e-14)


def test_log_loss_is_that_of_sklearn_and_goes_on_where_probabilities_end() -> None:
    rng = np.random.default_rng(0)
    positive, f = rng.random(200) < 0.3, 4 * rng.standard_normal(200)
    found = op.scores(positive, f, log_odds=True).log_loss
    assert found == pytest.approx(metrics.log_loss(positive, expit(f)), rel=1e-12)
    assert op.scores([True, False], [-800.0, 0.0], log_odds=True).log_loss == pytest.approx((800 + np.log(2)) / 2)
    assert op.scores([True, False], [1e308, -1e308], log_odds=True).log_loss == 0.0
    assert op.scores([True, False], [-1.5e308, 1.5e308], log_odds=True).log_loss == pytest.approx(1.5e308)


@pytest.mark.parametrize("log_odds", [False, True])
@pytest.mark.parametrize("label", [-1, 1])
@pytest.mark.parametrize("value", [-2.0, 0.0, 3.0])
def test_one_class_alone_has_no_score_that_needs_the_other(label: int, value: float, log_odds: bool) -> None:
    """And a record of it is JSON all the same: 0 is no positive prediction."""
    found = op.scores([label] * 3, [value] * 3, log_odds)
    right = (value > 0) == (label > 0)
    assert found.accuracy == found.f1_weighted == float(right)
    assert found.f1 == found.precision == float(right and label > 0)
    assert found.balanced_accuracy is found.matthews is found.auc is None
    assert (found.recall, found.average_precision) == ((float(right), 1.0) if label > 0 else (None, None))
    assert (found.log_loss is None) is not log_odds
    assert json.loads(json.dumps(vars(found), allow_nan=False)) == vars(found)


def test_nothing_called_positive_is_zero_by_convention() -> None:
    found = op.scores([-1, 1, 1, -1], [-1.0, -3.0, 0.0, -2.0])
    assert (found.precision, found.recall, found.f1, found.matthews) == (0.0, 0.0, 0.0, 0.0)
    assert (found.balanced_accuracy, found.auc) == (0.5, 0.5)
    assert found.average_precision == pytest.approx((1 / 1 + 2 / 4) / 2)


BAD: dict[str, tuple[Any, Any, str]] = {
    "no rows": ([], [], "give one"),
    "lengths": ([1, -1], [0.5], "there are 2 labels and 1 decision values"),
    "labels": ([1, 0], [0.5, 0.5], r"y is 0 at row 1: give labels -1 and \+1, or booleans"),
    "nan label": ([1, np.nan], [0.5, 0.5], "y is nan at row 1"),
    "nan": ([1, -1], [0.5, np.nan], "f is nan at row 1"),
    "infinite": ([1, -1], [np.inf, 0.0], "f is inf at row 0"),
    "matrix": ([1, -1], [[0.5], [0.5]], r"f has shape \(2, 1\) and type float64"),
    "text": (["yes", "no"], [0.5, 0.5], "y has shape"),
    "predictions": ([True, False], [True, False], "f has shape .* and type bool"),
}


@pytest.mark.parametrize("case", BAD)
def test_rows_that_have_no_scores_are_refused(case: str) -> None:
    y, f, sentence = BAD[case]
    with pytest.raises(op.InputError, match=sentence):
        op.scores(y, f)
