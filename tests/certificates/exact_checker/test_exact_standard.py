"""The standardisation of the page, against itself in rational numbers, where float64 has the hardest time."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from drafts import case, draft

from optprobe.certificates.exact import verify_exact
from optprobe.certificates.exact.standard import as_rows, standardised, total, weights

N = 33
BASE = np.random.default_rng(2).standard_normal(N)
ULP = np.where(np.arange(N) % 3 == 0, np.nextafter(1.0, 2.0), 1.0)
COLUMNS = {
    "plain": BASE,
    "far": 2.0**30 + BASE,
    "tiny": 1e-90 * BASE,
    "huge": 1e99 * BASE,
    "one ulp": ULP,
    "one ulp, tiny": 1e-99 * ULP,
    "one ulp, huge": 1e99 * ULP,
    "one row": np.where(np.arange(N) == 4, 1e-90, 0.0),
    "wide": BASE * 10.0 ** np.linspace(-90, 90, N),
}
WEIGHTS = {
    "none": None,
    "zeros": np.where(np.arange(N) % 4 == 1, 0.0, 1.0),
    "wide": 10.0 ** np.random.default_rng(3).uniform(-100, 100, N),
}


def test_halving_sum() -> None:
    def slow(values: list[float]) -> float:
        while len(values) > 1:
            half = math.ceil(len(values) / 2)
            values = [v + (values[half + r] if half + r < len(values) else 0.0) for r, v in enumerate(values[:half])]
        return values[0] if values else 0.0

    for n in (0, 1, 2, 3, 5, 8, 13, 100):
        values = np.random.default_rng(n).standard_normal(n) * 10.0 ** np.arange(n)
        assert float(total(values)) == slow(values.tolist())
        assert values[:, None].repeat(2, 1).shape == (n, 2)
        assert total(values[:, None].repeat(2, 1)).tolist() == [slow(values.tolist())] * 2


@pytest.mark.parametrize("weight", WEIGHTS)
def test_mean_and_mean_square(weight: str) -> None:
    """0 and 1 up to a few units, whatever the column."""
    y = np.where(np.arange(N) < 15, 1.0, 0.0)
    X = np.column_stack(list(COLUMNS.values()))
    rows = as_rows(X, y, WEIGHTS[weight])
    w = weights(rows.y, rows.g, "none")
    Z, varies = standardised(rows.X, w)
    assert varies.all()
    exact = [Fraction(x) for x in w.tolist()]
    for name, z in zip(COLUMNS, Z.T):
        column = [Fraction(x) for x in z.tolist()]
        square = sum(a * x * x for a, x in zip(exact, column))
        size = sum(a * abs(x) for a, x in zip(exact, column))
        assert abs(float(square) - 1) < 1e-13, name
        assert abs(float(sum(a * x for a, x in zip(exact, column)))) < 1e-14 * max(1.0, float(size)), name
        assert (z[w == 0] == 0).all()


def test_constant_columns_are_those_of_the_rows_that_count() -> None:
    y = np.where(np.arange(N) < 15, 1.0, 0.0)
    g = WEIGHTS["zeros"]
    assert g is not None
    only_where_nothing_counts = np.where(g == 0, BASE, -0.0)
    only_where_nothing_counts[g > 0] = np.where(np.arange((g > 0).sum()) % 2, 0.0, -0.0)
    X = np.column_stack([BASE, np.full(N, 1e100), only_where_nothing_counts, ULP])
    rows = as_rows(X, y, g)
    Z, varies = standardised(rows.X, weights(rows.y, rows.g, "balanced"))
    assert varies.tolist() == [True, False, False, True]
    assert not Z[:, 1:3].any()


@pytest.mark.parametrize("loss", ["squared", "logistic", "hinge"])
@pytest.mark.parametrize("weight", ["none", "zeros"])
def test_claims_about_such_columns(loss: str, weight: str, tmp_path: Path) -> None:
    X = np.column_stack([COLUMNS[name] for name in ("plain", "far", "tiny", "one ulp", "one row")] + [np.ones(N)])
    of = case(loss, 3, X=X, g=WEIGHTS[weight])
    assert of.problem.candidates == [0, 1, 2, 3, 4]
    found = verify_exact(draft(of, 1e-8).write(tmp_path / "a.cert"), *of.data)
    assert found.accepted, found
    made = draft(of, -1e-8)
    made.claim["result"]["upper_bound"] += 1e-7
    assert verify_exact(made.write(tmp_path / "a.cert"), *of.data).outcome == "rejected"
