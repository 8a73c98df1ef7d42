"""The compiled twins of the logistic and hinge sweeps: exact arithmetic, brute force, and the checker's own numpy."""

from __future__ import annotations

import sys
from fractions import Fraction
from pathlib import Path

import numpy as np
import pytest
from adversarial import KINDS, Known, known
from hypothesis import given, settings
from hypothesis import strategies as st
from sealing import altered, both_bounds

from optprobe.certificates import verify
from optprobe.certificates.checker import Limits, Undecided, compiled_dual, dual_sweep, hinge_sweep
from optprobe.certificates.checker.compiled_dual import Twin
from optprobe.certificates.checker.minorant import Minorant, below, minorant_at
from optprobe.certificates.checker.problem import Problem
from optprobe.engines import solve
from optprobe.errors import InputError


def stated(instance: Known, loss: str) -> Problem:
    """The checker's problem of an instance."""
    problem = instance.problem
    allowed = np.isin(np.arange(problem.n_neurons), problem.candidates)
    return Problem(problem.Z, problem.y, problem.w, allowed, loss, problem.ridge, problem.size)


def made_minorant(rng: np.random.Generator, n: int, m: int) -> Minorant:
    """Any minorant, of few digits: x of few digits is exact in float32."""
    Z = rng.integers(-16, 17, (m, n)) / 8
    omega, zc = rng.integers(1, 9, n) / 64, rng.integers(-8, 9, n) / 4
    low, high = -rng.integers(1, 5, n) / 2, rng.integers(1, 5, n) / 2
    norm, zc_norm = np.sqrt(((Z * Z) @ omega).max()) * 1.001 + 0.1, np.sqrt(omega @ (zc * zc)) * 1.001
    r, ridge = Z @ (omega * zc), float(rng.choice([0.01, 1.0]))
    return Minorant(Z, omega, low, high, 3.0, zc, r, float(norm), float(zc_norm), ridge, 2.0, 1e-9)


def exact_bound(minorant: Minorant, x: np.ndarray, columns: np.ndarray, d: Fraction) -> Fraction:
    """The minorant of `checker.minorant` at x - d, in rational numbers."""
    point = [Fraction(float(v)) - d for v in x]
    omega = [Fraction(float(v)) for v in minorant.omega]
    value = Fraction(minorant.base) - sum(w * v * v for w, v in zip(omega, point)) / 2
    for column in columns:
        product = sum(w * Fraction(float(z)) * v for w, z, v in zip(omega, minorant.Z[column], point))
        value -= (Fraction(float(minorant.r[column])) - product) ** 2 / (2 * Fraction(minorant.ridge))
    e = abs(sum(w * v for w, v in zip(omega, point))) + Fraction(minorant.e0)
    return value - e * Fraction(minorant.cost_of_e)


@settings(max_examples=60, deadline=None)
@given(seed=st.integers(0, 2**32 - 1), n=st.sampled_from([3, 40, 300]), k=st.integers(1, 5))
def test_the_bound_of_a_set_is_below_the_minorant_by_little(seed: int, n: int, k: int) -> None:
    """In float32 and float64, at an x that both have exactly, shifted or not."""
    rng = np.random.default_rng(seed)
    minorant = made_minorant(rng, n, 6)
    columns = rng.choice(6, k, replace=False)
    s = np.append(rng.integers(-4, 5, k) / 8, 0.0)
    free = s[:k] @ minorant.Z[columns]
    shifts = np.linspace(-2, 2, 129)
    clipped = np.clip(free + shifts[:, None], minorant.low + 0.0625, minorant.high - 0.0625)
    s[k] = shifts[np.argmin(np.abs(clipped @ minorant.omega))]
    x = np.clip(free + s[k], minorant.low + 0.0625, minorant.high - 0.0625)
    twin = Twin(minorant, Limits())
    assert len(twin.passes) == 2
    for (Z, box, numbers), margin in zip(twin.passes, (0.02, 1e-9)):
        box[1:] = minorant.low + 0.0625, minorant.high - 0.0625
        v, work = np.empty(k), np.empty((3, compiled_dual.ROWS), Z.dtype)
        sums = compiled_dual._products(Z, columns, s.astype(Z.dtype), box, work, v)
        bound = compiled_dual._bound(k, sums, v, minorant.r[columns], twin.means[columns], numbers)
        d = sums[0] / numbers[6]
        if abs(d) >= compiled_dual.MOVED:
            assert bound == -np.inf
            continue
        exact = exact_bound(minorant, x, columns, Fraction(d))
        assert Fraction(bound) <= exact
        assert exact - Fraction(bound) <= Fraction(margin) * (4 + abs(exact))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(4))
def test_what_the_twin_of_the_logistic_loss_leaves(kind: str, seed: int) -> None:
    """Every set below the bound, and of the others none that numpy closes for a bound a little higher."""
    instance = known(kind, seed, "logistic", largest_k=3)
    problem, rng = stated(instance, "logistic"), np.random.default_rng(seed)
    columns, size = instance.problem.candidates, problem.size
    m = len(columns)
    minorant = minorant_at(problem, columns, rng.normal(0.0, 1.0, len(problem.y)), float(rng.choice([0.1, 0.4])))
    every = np.searchsorted(columns, instance.supports)
    for lower in np.quantile(instance.objectives, [0.0, 0.2, 0.6]) + 1e-9:
        better = {tuple(row) for row in every[instance.objectives < lower].tolist()}
        twin = Twin(minorant, Limits())
        alone = {tuple(row) for row in every[twin.below(every, lower)].tolist()}
        by_numpy = {tuple(row) for row in every[below(minorant, every, lower + 1e-2 * abs(lower) + 1e-6)].tolist()}
        assert better <= alone <= by_numpy
        if not (size > 1 and minorant.holds_zero):
            continue
        nothing, zero = np.zeros(0, np.int64), np.zeros(len(minorant.omega))
        screen = dual_sweep._screen(minorant, nothing, zero, np.arange(m), lower)
        opened, step = dual_sweep._compiled(minorant, screen, size, lower, Limits())
        parts = [part for i in range(0, m - size + 1, step) for part in opened(i)]
        assert better <= {tuple(row) for part in parts for row in part.tolist()}
        if size == 3:
            products = screen.E, screen.C, screen.D, screen.rho, np.array([screen.M, screen.N])
            fixed = products, screen.base, lower + screen.eta
            twins = {
                tuple(row) for i in range(0, m - 2, 8) for part in twin.triples(*fixed, i) for row in part.tolist()
            }
            numpys = dual_sweep._screen(minorant, nothing, zero, np.arange(m), lower + 1e-9)
            sets = [p for i in range(m - 2) for p in dual_sweep._open_sets(minorant, numpys, 3, i, lower + 1e-9)]
            assert better <= twins <= {tuple(row) for part in sets for row in part.tolist()}


def test_full_lists_go_on_where_they_stopped(monkeypatch: pytest.MonkeyPatch) -> None:
    rng = np.random.default_rng(1)
    m, n = 40, 60
    y, w = np.where(rng.random(n) < 0.5, 1.0, -1.0), np.full(n, 1 / n)
    problem = Problem(rng.standard_normal((n, m)), y, w, np.ones(m, np.bool_), "logistic", 0.1, 3)
    minorant = minorant_at(problem, np.arange(m), 0.3 * y, 0.5)
    lower = minorant.base - 0.003
    screen = dual_sweep._screen(minorant, np.zeros(0, np.int64), np.zeros(n), np.arange(m), lower)
    products, found = (screen.E, screen.C, screen.D, screen.rho, np.array([screen.M, screen.N])), []
    for capacity, at_once in ((1 << 20, 8), (1, 8), (100, 3)):
        monkeypatch.setattr(compiled_dual, "CAPACITY", capacity)
        monkeypatch.setattr(compiled_dual, "FIRSTS", at_once)
        twin = Twin(minorant, Limits())
        parts = [part for i in range(0, m - 2, at_once) for part in twin.triples(products, screen.base, lower, i)]
        assert all(len(set(part[:, 0].tolist())) <= 1 for part in parts)
        found.append(sorted(tuple(row) for part in parts for row in part.tolist()))
    assert found[0] == found[1] == found[2]
    assert 100 < len(found[0]) < 9880
    assert len(set(found[0])) == len(found[0])


@pytest.mark.parametrize("poison", [np.nan, np.inf, -np.inf, 1e300])
def test_what_is_no_number_closes_nothing(poison: float) -> None:
    """Wherever it stands: no comparison with it is true, and no bound is infinite."""
    rng = np.random.default_rng(3)
    whole = made_minorant(rng, 30, 5)
    sets, products = np.array([[0, 1, 2], [1, 2, 4]]), [rng.standard_normal((5, 5)) for _ in range(3)]
    twin, low = Twin(whole, Limits()), -1e9
    assert len(twin.below(sets, low)) == 0
    given = *products, whole.r, np.ones((2, 5))
    assert not sum(map(len, twin.triples(given, 3.0, -1e9, 0)))
    for name in ("Z", "omega", "r"):
        array = getattr(whole, name).copy()
        array[(2, ...) if name == "Z" else 2] = poison
        parts = {**vars(whole), name: array}
        with np.errstate(all="ignore"):
            left = Twin(Minorant(**parts), Limits()).below(sets, low)
        assert len(left) == 2 or (np.isfinite(poison) and name == "omega")
    for place in range(4):
        poisoned = [array.copy() for array in given]
        poisoned[place][...] = poison
        with np.errstate(all="ignore"):
            left = list(twin.triples(tuple(poisoned), 3.0, -1e9, 0))
        assert sum(map(len, left)) == 10 or np.isfinite(poison)


@pytest.mark.parametrize("kind", KINDS)
def test_what_the_twin_of_the_hinge_loss_leaves(kind: str) -> None:
    """Every set below the bound, and few others; a balanced t that is as good as numpy's."""
    for seed in range(4):
        instance = known(kind, seed, "hinge", largest_k=2)
        if instance.problem.size < 2:  # numpy alone
            continue
        rows = hinge_sweep.Rows.of(stated(instance, "hinge"))
        block = np.arange(len(rows.columns))
        t, s = hinge_sweep._twin(rows).singles(block)
        expected, coef = hinge_sweep._singles(rows, block)
        assert ((t >= 0) & (t <= 1)).all()
        assert np.abs(t - expected).max() < 1e-4
        assert np.abs(s - coef).max() < 1e-4 * (1 + np.abs(coef).max())
        for lower in np.quantile(instance.objectives, [0.0, 0.1, 0.5, 0.9]) + 1e-4:
            better = {
                tuple(map(int, one)) for one, f in zip(instance.supports, instance.objectives) if f < lower - 1e-9
            }
            parts = [rows.columns[part] for part in hinge_sweep._open(rows, 0, lower, hinge_sweep._twin(rows))]
            found = {tuple(sorted(row)) for part in parts for row in part.tolist()}
            assert better <= found
            assert len(found - better) <= 0.5 * (len(instance.supports) - len(better)) + 1


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("loss", ["logistic", "hinge"])
def test_both_checkers_accept_the_truth_and_nothing_better(kind: str, loss: str, tmp_path: Path) -> None:
    path = tmp_path / "a.cert"
    for seed in range(20, 24):
        instance = known(kind, seed, loss, largest_k=3 if loss == "logistic" else 2)
        data = instance.X, instance.y, instance.sample_weight
        certificate = solve(instance.problem, "dual_enumeration").certificate()
        certificate.save(path)
        assert verify(path, *data).accepted
        assert verify(path, *data, fast=True).accepted
        for more in (3e-7, 1e-3):
            altered(certificate, both_bounds(more), path)
            assert "below" in verify(path, *data).reason
            assert "below" in verify(path, *data, fast=True).reason


def test_pair_leaves_by_compiled_loops_leave_every_better_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Of four and five columns, whose first ones are fixed."""
    left: list[tuple[int, ...]] = []
    monkeypatch.setattr(dual_sweep, "check_sets", lambda problem, sets, lower: left.extend(map(tuple, sets.tolist())))
    closed = 0
    for seed in range(24):
        instance = known(KINDS[seed % len(KINDS)], 80 + seed, "logistic", largest_k=5)
        problem, rng = stated(instance, "logistic"), np.random.default_rng(seed)
        if problem.size < 2:
            continue
        candidates = instance.problem.candidates
        leaves = dual_sweep.PairLeaves(problem, 0.4, {"reference": rng.normal(0.0, 1.0, len(problem.y))}, fast=True)
        for lower in np.quantile(instance.objectives, [0.1, 0.6]):
            inside = rng.choice(candidates, problem.size - 2, replace=False)
            leaves.check(inside.tolist(), np.setdiff1d(candidates, inside), float(lower))
            found = {tuple(sorted(row)) for row in left}
            left.clear()
            prefix = set(inside.tolist())
            of_leaf = [at for at, row in enumerate(instance.supports) if prefix <= set(row.tolist())]
            assert {tuple(instance.supports[at].tolist()) for at in of_leaf if instance.objectives[at] < lower} <= found
            closed += len(of_leaf) - len(found)
    assert closed > 50


def test_limits_and_a_missing_numba_end_a_fast_check(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    minorant = made_minorant(np.random.default_rng(0), 20, 4)
    with pytest.raises(Undecided, match="not decided within"):
        Twin(minorant, Limits(seconds=0.0)).below(np.array([[0, 1, 2]]), 0.0)
    for loss, module in (("logistic", "compiled_dual"), ("hinge", "compiled_hinge")):
        instance = known("plain", 1, loss, largest_k=2)
        path = solve(instance.problem.restated(k=2), "dual_enumeration").certificate().save(tmp_path / "a.cert")
        monkeypatch.setitem(sys.modules, f"optprobe.certificates.checker.{module}", None)
        with pytest.raises(InputError, match="need numba"):
            verify(path, instance.X, instance.y, fast=True)
        assert verify(path, instance.X, instance.y).accepted
