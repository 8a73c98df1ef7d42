"""A validated ridge: the best of its grid on documents of its own, as computed by hand."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from formulations import fit_supports, sparse_probe_problem
from optprobe.activations import LabelledActivations
from optprobe.cases.validation import VALIDATION_SHARE, chosen_ridge
from optprobe.data import problem
from optprobe.errors import InputError
from optprobe.features import grouped_split

Rows = Callable[[str, int], LabelledActivations]
GRID = (0.003, 0.03, 0.3, 3.0)


@pytest.mark.parametrize(("loss", "weights"), [("logistic", "none"), ("logistic", "balanced"), ("squared", "none")])
def test_each_ridge_comes_to_what_brute_force_says(loss: str, weights: str, rows: Rows) -> None:
    data = rows("is_plain", 0)
    stated = problem(data, 2, loss=loss, class_weight=weights)
    found = chosen_ridge(data, stated, GRID, seed=4)
    assert data.group_train is not None
    aside = grouped_split(data.group_train, data.y_train, VALIDATION_SHARE, 4)
    y = data.y_train[aside]
    every = np.array(list(itertools.combinations(range(data.X_train.shape[1]), 2)))
    for one in found:
        part = sparse_probe_problem(
            data.X_train[~aside], data.y_train[~aside], 2, loss=loss, ridge=one["ridge"], class_weight=weights
        )
        fits = fit_supports(part, every)
        best = int(np.argmin(fits.objective))
        assert one["support"] == every[best].tolist()
        assert one["optimal"]
        Z = part.standardisation.apply(data.X_train[aside][:, every[best]], every[best])
        f = Z @ fits.coef[best] + fits.intercept[best]
        losses = np.log1p(np.exp(-y * f)) if loss == "logistic" else (y - f) ** 2 / 2
        share = np.where(y > 0, np.mean(data.y_train > 0), np.mean(data.y_train < 0))
        expected = np.average(losses, weights=1 / share if weights == "balanced" else None)
        assert one["loss"] == pytest.approx(expected, rel=1e-6)
    assert [one["loss"] for one in found] == sorted(one["loss"] for one in found)
    assert sorted(one["ridge"] for one in found) == list(GRID)


def test_of_equal_losses_the_largest_ridge_is_chosen(rows: Rows) -> None:
    data = rows("is_plain", 0)
    assert chosen_ridge(data, problem(data, 1), (0.1, 0.1 + 1e-300, 0.1))[0]["ridge"] == 0.1
    aside = replace(data, group_train=None)
    with pytest.raises(InputError, match="a ridge is validated on documents of its own"):
        chosen_ridge(aside, problem(data, 1), GRID)


def test_test_rows_take_no_part(rows: Rows) -> None:
    data = rows("is_plain", 0)
    without = replace(data, X_test=None, y_test=None, group_test=None)
    stated = problem(data, 1)
    assert chosen_ridge(data, stated, GRID) == chosen_ridge(without, stated, GRID)
