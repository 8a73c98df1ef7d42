"""The wide sweep of pairs by the logistic loss, forced on small problems: against brute force and the other sweep."""

from __future__ import annotations

import itertools
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import conformance
import numpy as np
import pytest
from adversarial import HABITS, KINDS, awkward, instances, known, model_like
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from formulations import SparseProbeProblem, UnsupportedProblem, fit_supports, sparse_probe_problem
from formulations.losses import log_odds
from optprobe.certificates import verify
from optprobe.engines import solve
from optprobe.engines.bounds.minorant import Screen
from optprobe.engines.budget import Budget, Progress
from optprobe.engines.engine import Task, engine_named
from optprobe.engines.outcome import Reference, TreeProof
from optprobe.engines.sweeps import dual_enumeration, short, wide, wide_logistic
from optprobe.engines.sweeps.logistic import MinorantSweep
from optprobe.engines.sweeps.wide_logistic import WidePairSweep


@pytest.fixture(autouse=True)
def small_tiles(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every problem is wide, and many tiles."""
    monkeypatch.setattr(wide, "WIDE", 0)
    for name, value in {"ROWS": 5, "COLUMNS": 7, "PAIRS_AT_ONCE": 11, "CAPACITY": 4}.items():
        monkeypatch.setattr(wide_logistic, name, value)
    monkeypatch.setattr(short, "SUMMED", 16)


class Recording(WidePairSweep):
    """A sweep around any reference that keeps what it would fit, and never lowers its threshold."""

    fitted: set[tuple[int, ...]]

    def _best_reference(self) -> Reference:
        return Reference(np.zeros(self.task.problem.n_rows), 0.5)

    def fit(self, sets: np.ndarray) -> None:
        self.fitted |= {tuple(sorted(row)) for row in self.columns[sets].tolist()}


def awkward_problem(habit: str, seed: int, n: int, ridge: float) -> SparseProbeProblem | None:
    """A problem of a habit and weights that are natural, balanced, or far apart with rows of weight 0."""
    rng = np.random.default_rng([seed, 1])
    X, y = awkward(habit, seed, n, 14)
    weight = None
    if rng.integers(3) == 0:
        weight = rng.lognormal(0, 3, n) * (rng.random(n) < 0.7)
        weight[[np.argmax(y), np.argmin(y)]] = 1.0
    balanced = "balanced" if rng.integers(2) else "none"
    problem = sparse_probe_problem(X, y, 2, ridge=ridge, class_weight=balanced, sample_weight=weight)
    return problem if problem.size == 2 else None


def pairs_of(problem: SparseProbeProblem) -> np.ndarray:
    return np.array(list(itertools.combinations(problem.candidates, 2)))


def recording(problem: SparseProbeProblem) -> Recording:
    first = pairs_of(problem)[:1]
    return Recording(Task(problem, tuple(map(int, first[0])), float(fit_supports(problem, first).objective[0]), 1e-6))


def some_reference(sweep: Recording, rng: np.random.Generator) -> Reference:
    """A random one, not far from the constant fit where a screen needs that."""
    problem, box = sweep.task.rows, float(rng.choice([0.2, 0.5]))
    noise, constant = rng.standard_normal(problem.n_rows), log_odds(problem.y, problem.w)
    for size in (1.0, 0.5, 0.2, 0.05):
        sweep.reference = Reference(constant + size * noise, box)
        if sweep._at(np.zeros(0, dtype=np.int64)).centred:
            break
    return sweep.reference


@pytest.mark.usefixtures("short_type")
@given(st.sampled_from(HABITS), st.integers(0, 10**6), st.floats(-4, 0), st.integers(6, 40))
@settings(max_examples=60, deadline=None)
def test_every_pair_below_a_threshold_is_fitted(habit: str, seed: int, ridge: float, n: int) -> None:
    """Whatever the reference, the box and the threshold."""
    problem, rng = awkward_problem(habit, seed, n, 10**ridge), np.random.default_rng(seed)
    assume(problem is not None)
    assert problem is not None
    sets, sweep = pairs_of(problem), recording(problem)
    objectives = fit_supports(problem, sets).objective
    if rng.integers(2):
        sweep.reference = MinorantSweep(sweep.task).reference
    else:
        sweep.reference = some_reference(sweep, rng)
    for share in (0.0, 0.1, 0.5, 0.9):
        sweep.found.upper, sweep.fitted = float(np.quantile(objectives, share)) + sweep.slack, set()
        assert sweep.finished()
        for row in sets[objectives < sweep.target].tolist():
            assert tuple(row) in sweep.fitted, (row, share)


def least_Q(screen: Screen, ridge: float) -> np.ndarray:
    """The least Q of theorem 2 over all s that stay in the box, for every pair of a screen, in float64."""
    m = len(screen.r)
    Q = np.full((m, m), np.inf)
    for i, j in itertools.combinations(range(m), 2):
        pair = np.ix_([i, j], [i, j])
        E, C, r = screen.E[pair], screen.C[pair], screen.r[[i, j]]
        H, g = ridge * E + C.T @ C, C.T @ r
        room = 1 / np.maximum(screen.sides[:, [i, j]], 1e-300)
        points = [np.linalg.lstsq(H, g, rcond=None)[0]]
        ends = [(room[side, place] * (1, -1)[side], place) for place in (0, 1) for side in (0, 1)]
        for (one, _), (two, _) in itertools.product(ends[:2], ends[2:]):  # an edge of the box
            start, along = np.array([one, 0.0]), np.array([-one, two])
            t = (along @ (g - H @ start)) / max(along @ H @ along, 1e-300)
            points.append(start + np.clip(t, 0.0, 1.0) * along)
        s = np.array(points)
        inside = (np.maximum(s / room[0], -s / room[1])).sum(axis=1) <= 1 + 1e-9
        Q[i, j] = np.min([r @ r - 2 * g @ p + p @ H @ p for p in s[inside]])
    return Q


@given(st.sampled_from(HABITS), st.integers(0, 10**6), st.floats(-4, 0), st.integers(6, 40))
@settings(max_examples=40, deadline=None)
def test_no_tile_closes_what_theorem_2_leaves_open(
    short_type: type, habit: str, seed: int, ridge: float, n: int
) -> None:
    """At limits that are next to nothing below the least Q of a pair."""
    problem, rng = awkward_problem(habit, seed, n, 10**ridge), np.random.default_rng(seed)
    assume(problem is not None)
    assert problem is not None
    sweep = recording(problem)
    sweep.reference = some_reference(sweep, rng)
    sweep.found.upper = 10.0  # nothing is closed: all neurons are live
    sweep._place()
    assume(sweep.minorant.centred)
    m = len(sweep.live)
    assert m == len(problem.candidates)
    with ThreadPoolExecutor(1) as pool:
        made = short_type(2 * m, len(sweep.used), sweep._vectors, pool)
    with short.one_thread_a_product():
        tiles = sweep._products(made, slice(0, m), slice(0, m))
    assert tiles is not None
    screen = Screen.of(sweep._at(sweep.live), problem.ridge)
    Q = least_Q(screen, problem.ridge)
    limits = np.quantile(Q[np.triu_indices(m, 1)], [0.0, 0.2, 0.5, 0.8, 1.0], method="lower") * (1 - 1e-9)
    for limit in limits[limits > wide_logistic.LEAST_LIMIT]:
        sweep.found.upper = sweep.minorant.base - limit / (2 * problem.ridge) + sweep.slack / 2
        found = sweep._open_pairs(tiles, 0, 0, np.full(m, m), made.delta)
        listed = {tuple(row) for row in found.tolist()}
        for i, j in np.argwhere(limit * (1 + 5e-10) < Q).tolist():
            assert i >= j or (i, j) in listed, (i, j, limit, Q[i, j])


@pytest.mark.usefixtures("short_type")
def test_the_screen_leaves_hardly_more_open_than_that_of_the_other_sweep() -> None:
    for seed in range(4):
        X, y = model_like(seed, 60)
        problem = sparse_probe_problem(X, y, 2, ridge=0.02)
        optimum = solve(problem, "dual_enumeration")
        task = Task(problem, optimum.support, optimum.upper_bound, 1e-6)
        one, other = WidePairSweep(task), MinorantSweep(task)
        assert one.finished()
        assert other.finished()
        assert one.counts["open"] <= 1.5 * other.counts["open"] + 20
        assert one.counts["fits"] <= 1.2 * other.counts["fits"] + 3
        assert other.counts["open"] < 0.5 * 60 * 59 / 2


@pytest.mark.usefixtures("short_type")
@given(st.sampled_from(HABITS), st.integers(0, 10**6), st.floats(-4, -0.5), st.integers(6, 40))
@settings(max_examples=15, deadline=None)
def test_both_sweeps_agree(habit: str, seed: int, ridge: float, n: int) -> None:
    problem = awkward_problem(habit, seed, n, 10**ridge)
    assume(problem is not None)
    assert problem is not None
    worst = tuple(map(int, problem.candidates[:2]))
    task = Task(problem, worst, float(fit_supports(problem, [worst]).objective[0]), 1e-6)
    one, other = WidePairSweep(task), MinorantSweep(task)
    assert one.finished()
    assert other.finished()
    assert abs(one.found.upper - other.found.upper) <= one.slack


@pytest.mark.parametrize("kind", KINDS)
def test_optima_and_certificates(kind: str, tmp_path: Path) -> None:
    for instance in instances("logistic", range(4), (kind,), 2):
        conformance.check_optimum("dual_enumeration", instance, tmp_path)


@pytest.mark.parametrize("check", list(conformance.checks()), ids=lambda check: check.__name__)
def test_conformance(check: conformance.Check, tmp_path: Path) -> None:
    for kind in ("plain", "duplicates", "weighted"):
        check("dual_enumeration", known(kind, 101, "logistic", 2), tmp_path)


@pytest.mark.parametrize("wanted", [{}, {"pool": 5}, {"within": 0.02}], ids=str)
@pytest.mark.parametrize("conditions", [{"forbidden": [0, 3]}, {"groups": np.arange(30) // 4}], ids=str)
def test_conditions_and_pools(
    conditions: dict[str, object], wanted: dict[str, object], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As without the wide sweep, and by certificates that the checker accepts."""
    for seed in range(2):
        X, y = model_like(seed, 30)
        problem = sparse_probe_problem(X, y, 2, ridge=0.02, **conditions)  # type: ignore[arg-type]
        solution = solve(problem, "dual_enumeration", **wanted)  # type: ignore[arg-type]
        assert verify(solution.certificate().save(tmp_path / "a.cert"), X, y).accepted
        with monkeypatch.context() as patch:
            patch.setattr(wide, "WIDE", 100)
            other = solve(problem, "dual_enumeration", **wanted)  # type: ignore[arg-type]
        assert solution.support == other.support
        assert abs(solution.upper_bound - other.upper_bound) < 1e-9
        if solution.pool is not None:
            assert other.pool is not None
            assert [one.support for one in solution.pool.sets] == [one.support for one in other.pool.sets]


def test_neurons_that_say_little_have_no_vectors() -> None:
    """Theorem 1 leaves them out, and tiles end before pairs that it closes; the optimum is that of brute force."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((400, 60))
    y = np.where(X[:, 7] + X[:, 30] + 0.5 * rng.standard_normal(400) > 0, 1, -1)
    problem = sparse_probe_problem(X, y, 2, ridge=0.1)
    sweep = recording(problem)
    sweep.found.upper = float(fit_supports(problem, pairs_of(problem)).objective.min()) + 1e-3
    sweep.fitted = set()
    assert sweep.finished()
    assert sweep.fitted == {(7, 30)}
    assert 2 <= len(sweep.live) <= 60
    assert sweep._ends(sweep.strength, sweep.strength)[-1] < len(sweep.live)


def test_wide_problems_are_swept_in_one_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    X, y = model_like(0, 30)
    problem = sparse_probe_problem(X, y, 2, ridge=0.02)
    assert dual_enumeration._sweep_of(problem) is WidePairSweep
    assert dual_enumeration._sweep_of(problem.restated(k=3)) is MinorantSweep
    monkeypatch.setattr(wide, "WIDE", 30)
    assert dual_enumeration._sweep_of(problem) is MinorantSweep


@pytest.mark.parametrize("ends_in", ["product", "_vectors", "raise_minorant"])
def test_a_budget_that_ends_in_the_pass_leaves_a_bound(
    ends_in: str, short_type: type, monkeypatch: pytest.MonkeyPatch
) -> None:
    X, y = model_like(3, 60)
    problem = sparse_probe_problem(X, y, 2, ridge=0.02)
    optimum, budget = float(fit_supports(problem, pairs_of(problem)).objective.min()), Budget()
    owner = {"product": short_type, "_vectors": WidePairSweep, "raise_minorant": wide_logistic}[ends_in]
    whole = getattr(owner, ends_in)

    def ending(*of: object) -> object:
        budget.interrupted = True
        return whole(*of)

    monkeypatch.setattr(owner, ends_in, ending)
    start = fit_supports(problem, [[0, 1]])
    outcome = dual_enumeration.run(Task(problem, (0, 1), float(start.objective[0]), 1e-6, budget))
    assert isinstance(outcome.proof, TreeProof)
    assert 0 <= outcome.lower <= optimum


def test_progress_ends_at_1() -> None:
    X, y = model_like(1, 40)
    problem, told = sparse_probe_problem(X, y, 2, ridge=0.02), list[Progress]()
    solve(problem, "dual_enumeration", progress=told.append)
    done = [one.done for one in told if one.phase == "dual enumeration" and one.done is not None]
    assert done == sorted(done)
    assert done[-1] == 1


def test_too_many_columns_for_the_matrices_of_triples_are_one_sentence(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dual_enumeration, "MOST_COLUMNS", 20)
    X, y = model_like(0, 30)
    problem = sparse_probe_problem(X, y, 3, ridge=0.5)
    with pytest.raises(UnsupportedProblem, match="dual enumeration of 3 of 30 neurons needs"):
        solve(problem, "dual_enumeration")
    assert engine_named("dual_enumeration").refusal(problem.restated(k=2)) is None
    assert engine_named("dual_enumeration").refusal(problem.restated(loss="hinge", k=2)) is None
    assert solve(problem).engine == "branch_and_cut"
