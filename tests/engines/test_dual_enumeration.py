"""No bound of a dual sweep exceeds F, for solver and checker alike."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pytest
from adversarial import KINDS, known

from formulations import fit_supports, sparse_probe_problem
from optprobe.certificates.checker import Rejected, dual_sweep, hinge_sweep
from optprobe.certificates.checker.minorant import below, minorant_at
from optprobe.certificates.checker.problem import Problem
from optprobe.certificates.checker.sets import check_sets
from optprobe.engines.bounds.minorant import Closing, Minorant, Screen
from optprobe.engines.bounds.relaxation import LiveColumns
from optprobe.engines.engine import Task
from optprobe.engines.kernels import minorant as kernels
from optprobe.engines.outcome import Reference
from optprobe.engines.sweeps.hinge import HingeSweep
from optprobe.engines.sweeps.logistic import MinorantSweep
from optprobe.engines.sweeps.short import one_thread_a_product
from optprobe.engines.sweeps.wide_hinge import WideHingeSweep
from optprobe.engines.trees.pair_leaves import PairLeaves


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_what_the_solver_closes_is_not_below_the_target(kind: str, seed: int) -> None:
    """Whatever the reference, the box and the target: no set below the target is closed by a screen or a minorant."""
    instance = known(kind, seed, "logistic", largest_k=3)
    problem, rng = instance.problem, np.random.default_rng(seed)
    if problem.size == 1:  # test_singles
        return
    task = Task(problem, tuple(map(int, instance.supports[0])), float(instance.objectives[0]), 1e-6)
    sweep = MinorantSweep(task)
    place = {int(column): at for at, column in enumerate(sweep.columns)}
    m, size = len(sweep.columns), problem.size
    for target in np.quantile(instance.objectives, [0.1, 0.5, 0.9]):
        sweep.found.upper = float(target) + sweep.slack
        fit = rng.normal(0.0, 1.5, problem.n_rows) if rng.integers(2) else sweep.reference.fit
        minorant = sweep._minorant(sweep.gathered(), Reference(fit, float(rng.choice([0.2, 0.5]))))
        screen = Screen.of(minorant, problem.ridge)
        close = Closing.of(minorant, screen.E, problem.ridge)
        left = {
            tuple(row[:size])
            for sets in sweep._open(minorant, screen, (0, m), sweep.threshold)
            for row in sets[close.below(sets, sweep.threshold - minorant.base)].tolist()
        }
        for support, objective in zip(instance.supports, instance.objectives):
            if objective < sweep.target:
                assert tuple(sorted(place[int(j)] for j in support)) in left


def test_few_positives_and_heavy_tails_have_a_centred_reference() -> None:
    """Fits of natural weights are moved towards the constant one until x = 0 is in the box, on all rows."""
    for seed in range(4):
        rng = np.random.default_rng(seed)
        X = rng.standard_t(2.5, (6000, 12))
        signal = X[:, 0] + 0.5 * X[:, 1] + rng.standard_normal(6000)
        problem = sparse_probe_problem(X, np.where(signal > np.quantile(signal, 0.94), 1, -1), 2, loss="logistic")
        sweep = MinorantSweep(Task(problem, (0, 1), float(fit_supports(problem, [(0, 1)]).objective[0]), 1e-6))
        minorant = sweep._minorant(sweep.gathered(), sweep.reference)
        assert minorant.centred
        assert minorant.base >= sweep.threshold
        assert sweep.finished()
        assert sweep.counts["open"] < 30


def test_the_minorant_is_below_the_objective_everywhere() -> None:
    """Theorem 1 at random x of the box, for random references: no better than F of any set."""
    for seed in range(12):
        instance = known(KINDS[seed % len(KINDS)], seed, "logistic", largest_k=3)
        problem, rng = instance.problem, np.random.default_rng(seed)
        used = problem.w > 0
        y, w, Z = problem.y[used], problem.w[used], problem.Z[used].T
        minorant = Minorant.at(Z, y, w, rng.normal(0, 2, len(y)).clip(-6, 6), float(rng.uniform(0.1, 0.6)))
        for _ in range(200):
            x = rng.uniform(minorant.low, minorant.high)
            x -= (x @ minorant.weight) / minorant.weight.sum()
            if (x < minorant.low).any() or (x > minorant.high).any():
                continue
            value = minorant.base - 0.5 * minorant.weight @ (x * x)
            cost = (minorant.r - Z @ (minorant.weight * x)) ** 2 / (2 * problem.ridge)
            bounds = value - cost[instance.supports].sum(axis=1)
            assert (bounds <= instance.objectives + 1e-12).all()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(3))
def test_what_the_checker_closes_is_not_below_the_target(kind: str, seed: int) -> None:
    instance = known(kind, seed, "logistic", largest_k=3)
    stated, rng = instance.problem, np.random.default_rng(seed)
    allowed = np.isin(np.arange(stated.n_neurons), stated.candidates)
    problem = Problem(stated.Z, stated.y, stated.w, allowed, "logistic", stated.ridge, stated.size)
    columns, size = stated.candidates, stated.size
    m = len(columns)
    minorant = minorant_at(problem, columns, rng.normal(0.0, 1.0, stated.n_rows), 0.4)
    for lower in np.quantile(instance.objectives, [0.2, 0.6]):
        holds = minorant.holds_zero and size > 1
        none, zero = np.zeros(0, np.int64), np.zeros(len(minorant.omega))
        screen = dual_sweep._screen(minorant, none, zero, np.arange(m), lower) if holds else None
        for i in range(m - size + 1):
            opened = [np.array([[i]])] if size == 1 else dual_sweep._open_sets(minorant, screen, size, i, lower)
            sets = np.concatenate([np.zeros((0, size), np.int64), *opened])
            if size == 3 and len(sets):
                sets = sets[dual_sweep._open_by_prefix(minorant, np.array([i]), sets[:, 1:], lower)]
            left = {tuple(row) for row in sets[below(minorant, sets, lower)].tolist()} if len(sets) else set()
            for support, objective in zip(instance.supports, instance.objectives):
                places = tuple(np.searchsorted(columns, support))
                assert places[0] != i or objective >= lower or places in left


def test_a_full_list_goes_on_where_it_stopped() -> None:
    """Kernels that fill their buffer say where to go on, and lose nothing."""
    rng = np.random.default_rng(1)
    m, n = 30, 40
    Z = rng.standard_normal((m, n))
    y, w = np.where(rng.random(n) < 0.5, 1.0, -1.0), np.full(n, 1 / n)
    minorant = Minorant.at(Z, y, w, 0.3 * y, 0.5)
    screen = Screen.of(minorant, 0.1)
    pairs, triples = (screen.E, screen.C), (screen.E, screen.C, screen.D)
    for kernel, prefixes, products in ((kernels.open_pairs, (0, m), pairs), (kernels.open_triples, (2, 5), triples)):
        found = []
        for capacity in (5 * m, 100 * m):
            rows, j = [], prefixes[0] + 1
            while j < m:
                out = np.empty((capacity, 3), dtype=np.int64)
                shares = *products, screen.r, screen.lin, screen.sides
                n_found, j = kernel(prefixes, j, *shares, 0.9 - minorant.base, 0.1, out)
                rows += [tuple(row) for row in out[:n_found].tolist()]
            found.append(rows)
        assert len(found[0]) > 100
        assert found[0] == found[1]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(4))
def test_what_a_hinge_sweep_closes_is_not_below_the_target(kind: str, seed: int) -> None:
    """Solver and checker leave every set below the target open, whatever the target, and close most of the others."""
    instance = known(kind, seed, "hinge", largest_k=2)
    stated = instance.problem
    task = Task(stated, tuple(map(int, instance.supports[0])), float(instance.objectives[0]), 1e-6)
    sweeps = [HingeSweep(task), WideHingeSweep(task)]
    with ThreadPoolExecutor(1) as pool:
        for sweep in sweeps:
            sweep._prepare(pool)
    allowed = np.isin(np.arange(stated.n_neurons), stated.candidates)
    problem = Problem(stated.Z, stated.y, stated.w, allowed, "hinge", stated.ridge, stated.size)
    rows = hinge_sweep.Rows.of(problem)
    for target in np.quantile(instance.objectives, [0.0, 0.1, 0.5, 0.9]) + 1e-4:
        below = {tuple(map(int, s)) for s, f in zip(instance.supports, instance.objectives) if f < target - 1e-9}
        if stated.size == 1:
            opened = [[hinge_sweep._open_singles(problem, stated.candidates, float(target))]]
        else:
            opened = [[rows.columns[part] for part in hinge_sweep._open(rows, 0, float(target))]]
        for sweep in sweeps:
            sweep.found.upper = float(target) + sweep.slack / 2
            starts = range(0, len(sweep.columns), sweep.firsts)
            with one_thread_a_product():
                opened.append([sweep.columns[part] for start in starts for part in sweep._open(start)])
        for left in opened:
            found = {tuple(sorted(row)) for part in left for row in part.tolist()}
            assert below <= found
            assert len(found - below) <= 0.5 * (len(instance.supports) - len(below)) + 1


def test_single_neurons_of_the_hinge_loss_are_taken_block_by_block(monkeypatch: pytest.MonkeyPatch) -> None:
    """No copy of them all is made, and none below the target is passed over."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((50, 3 * HingeSweep.firsts + 5))
    problem = sparse_probe_problem(X, np.where(X[:, 40] + rng.standard_normal(50) > 0, 1, -1), 1, loss="hinge")
    objectives = fit_supports(problem, problem.candidates[:, None]).objective
    sweep, fitted, gathered = HingeSweep(Task(problem, (0,), float(objectives[0]), 1e-6)), list[int](), list[int]()
    whole = sweep.gathered
    monkeypatch.setattr(sweep, "gathered", lambda some: gathered.append(len(some)) or whole(some))
    monkeypatch.setattr(sweep, "fit", lambda sets: fitted.extend(sweep.columns[sets[:, 0]].tolist()))
    for share in (0.0, 0.1, 0.7):
        sweep.found.upper = float(np.quantile(objectives, share)) + sweep.slack
        fitted.clear()
        assert sweep.finished()
        assert set(np.flatnonzero(objectives < sweep.target)) <= set(fitted)
        assert set(np.flatnonzero(objectives < sweep.threshold + 1e-4)) >= set(fitted)
    assert max(gathered) == HingeSweep.firsts


@pytest.mark.parametrize("kind", KINDS)
def test_the_checkers_proximal_steps_reach_the_dual_of_the_hinge_loss(kind: str) -> None:
    """`check_sets` accepts F of every set, less a millionth, and rejects anything above it."""
    for seed in range(3):
        instance = known(kind, seed, "hinge")
        stated = instance.problem
        allowed = np.isin(np.arange(stated.n_neurons), stated.candidates)
        problem = Problem(stated.Z, stated.y, stated.w, allowed, "hinge", stated.ridge, stated.size)
        for support, objective in zip(instance.supports[:20], instance.objectives):
            check_sets(problem, support[None, :], float(objective) - 1e-7)
            with pytest.raises(Rejected, match="below"):
                check_sets(problem, support[None, :], float(objective) + 1e-8)


@pytest.mark.parametrize("kind", KINDS)
def test_a_pair_leaf_closes_no_set_below_the_target(kind: str) -> None:
    """For any prefix, any reference and any target: solver and checker leave every better set open."""
    for seed in range(6):
        instance = known(kind, 50 + seed, "logistic", largest_k=5)
        stated, rng = instance.problem, np.random.default_rng(seed)
        if stated.size < 2:
            continue
        allowed = np.isin(np.arange(stated.n_neurons), stated.candidates)
        problem = Problem(stated.Z, stated.y, stated.w, allowed, "logistic", stated.ridge, stated.size)
        live = LiveColumns(stated, stated.candidates)
        best = tuple(map(int, instance.supports[np.argmin(instance.objectives)]))
        solver = PairLeaves(stated, live, best, instance.optimum)
        fit = solver.reference.fit if seed % 2 else rng.normal(0.0, 1.5, stated.n_rows)
        checker = dual_sweep.PairLeaves(problem, 0.4, {"reference": fit})
        for target in np.quantile(instance.objectives, [0.1, 0.6]):
            inside = rng.choice(len(live.columns), stated.size - 2, replace=False)
            free = np.setdiff1d(np.arange(len(live.columns)), inside)
            prefix = {int(live.columns[at]) for at in inside}
            completions = [q for q, row in enumerate(instance.supports) if prefix <= set(row.tolist())]
            better = {tuple(instance.supports[q].tolist()) for q in completions if instance.objectives[q] < target}
            left = solver.open_sets(inside, free, float(target))
            if left is not None:
                assert better <= {tuple(sorted(row)) for row in live.columns[left].tolist()}
            least = instance.objectives[completions].min()
            columns = [int(j) for j in live.columns[inside]]
            assert checker.check(columns, live.columns[free], float(least) - 1e-7) == len(completions)
            with pytest.raises(Rejected, match="below"):
                checker.check(columns, live.columns[free], float(least) + 1e-7)


def test_pair_leaves_do_without_an_incumbent_that_was_screened() -> None:
    """Live columns need not hold the incumbent: nothing in play is better then."""
    instance = known("plain", 3, "logistic", largest_k=3)
    columns = instance.problem.candidates
    problem = instance.problem.restated(k=3)
    leaves = PairLeaves(problem, LiveColumns(problem, columns[2:]), tuple(map(int, columns[:3])), 0.5)
    left = leaves.open_sets(np.array([0]), np.arange(1, len(columns) - 2), 10.0)
    assert left is not None
    assert len(left) == (len(columns) - 3) * (len(columns) - 4) // 2


def test_pair_leaves_have_a_reference_before_any_is_tried() -> None:
    """Any reference is valid; with no time to compare some, no leaf is bounded, and the search goes on."""
    problem = known("plain", 3, "logistic", largest_k=3).problem.restated(k=3)
    columns = problem.candidates
    leaves = PairLeaves(problem, LiveColumns(problem, columns), tuple(map(int, columns[:3])), 0.5, lambda: True)
    assert leaves.reference.fit.shape == (problem.n_rows,)
    assert leaves.open_sets(np.array([0]), np.arange(1, len(columns)), 10.0) is None
