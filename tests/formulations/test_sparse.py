"""Sparse matrices state the problem of their arrays, bit for bit; and matrices in any order of memory one problem."""

from __future__ import annotations

from importlib import import_module
from typing import Any

import numpy as np
import pytest
from scipy import sparse

from formulations import InputError, sparse_probe_problem

RNG = np.random.default_rng(6)
X = np.where(RNG.random((50, 30)) < 0.2, RNG.standard_normal((50, 30)), 0.0).astype(np.float32)
Y = np.where(X[:, 3] + X[:, 7] + 0.3 * RNG.standard_normal(50) > 0, 1, -1)


@pytest.mark.parametrize("form", ["csc", "csr", "coo", "lil", "dok", "bsr"])
@pytest.mark.parametrize("dtype", [np.float32, np.float64, np.int32, np.bool_])
@pytest.mark.parametrize("kind", [sparse.csr_matrix, sparse.csr_array])
def test_the_problem_of_the_array(form: str, dtype: Any, kind: Any) -> None:
    values = (10 * X).astype(dtype)
    held = kind(values).asformat(form)
    found, expected = (sparse_probe_problem(matrix, Y, 2, loss="squared") for matrix in (held, values))
    assert found.digests == expected.digests
    assert found.X.dtype == expected.X.dtype
    np.testing.assert_array_equal(found.Z, expected.Z)
    np.testing.assert_array_equal(held.toarray(), values)


def test_entries_that_stand_twice_are_summed() -> None:
    twice = sparse.coo_array(([1.0, 2.0, 5.0], ([0, 0, 1], [0, 0, 1])), shape=(50, 2))
    np.testing.assert_array_equal(sparse_probe_problem(twice, Y, 1).X, twice.toarray())


def test_an_entry_that_is_no_number_is_found() -> None:
    odd = sparse.csc_array(X.astype(np.float64))
    odd.data[0] = np.nan
    with pytest.raises(InputError, match="X is nan at row"):
        sparse_probe_problem(odd, Y, 1)
    with pytest.raises(InputError, match="holds values of type complex"):
        sparse_probe_problem(sparse.csc_array(X.astype(complex)), Y, 1)


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
@pytest.mark.parametrize("block", [1, 7, 64])
def test_no_column_depends_on_another(dtype: Any, block: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """In blocks of any size, on several cores, in either order of memory and alone: the same bits."""
    weights = RNG.random(50) * (RNG.random(50) < 0.8)
    values = (X + 1e6 * RNG.random(30)).astype(dtype)
    monkeypatch.setattr(import_module("formulations.standardisation"), "VALUES", 50 * block)
    stated = [
        sparse_probe_problem(matrix, Y, 1, sample_weight=weights) for matrix in (values, np.asfortranarray(values))
    ]
    alone = [sparse_probe_problem(values[:, [j]], Y, 1, sample_weight=weights).Z[:, 0] for j in range(30)]
    for problem in stated:
        assert problem.Z.tobytes("F") == np.stack(alone, axis=1).tobytes("F")
        assert problem.digests == stated[0].digests


@pytest.mark.parametrize("order", ["C", "F"])
@pytest.mark.parametrize("odd", [np.nan, np.inf, 1e-200, 1e200])
def test_an_odd_value_is_found_wherever_it_is(order: Any, odd: float, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("formulations.validation.AT_ONCE", 40)
    for row, column in ((0, 0), (49, 29), (20, 13)):
        values = X.astype(np.float64, order=order)
        values[row, column] = odd
        with pytest.raises(InputError, match=f"at row {row}, column {column}"):
            sparse_probe_problem(values, Y, 1)
