"""Open-pair branching for up to six neurons, and the compiled replay, against brute force."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from sealing import altered, both_bounds

from formulations import SparseProbeProblem, products, sparse_probe_problem
from optprobe.certificates import verify
from optprobe.certificates.checker import Limits
from optprobe.certificates.checker.compiled import Replay
from optprobe.engines import solve
from optprobe.engines.engine import Task
from optprobe.engines.sweeps import squared as enumeration

KINDS = ("plain", "mixed", "duplicates", "low rank", "ties", "common factor", "suppressors")


def data(kind: str, seed: int) -> tuple[np.ndarray, np.ndarray, float]:
    """Rows, labels and a ridge; up to 13 neurons, correlated in the ways that make pairs heavy."""
    rng = np.random.default_rng([KINDS.index(kind), seed])
    p, n = int(rng.integers(8, 14)), int(rng.integers(12, 80))
    X = rng.standard_normal((n, p))
    if kind == "mixed":
        X = X @ rng.standard_normal((p, p))
    elif kind == "duplicates":
        X[:, 1], X[:, 2], X[:, 4] = X[:, 0], -X[:, 3], X[:, 0] + 1e-3 * rng.standard_normal(n)
    elif kind == "low rank":
        X = rng.standard_normal((n, 2)) @ rng.standard_normal((2, p)) + 0.1 * X
    elif kind == "ties":
        X = np.round(X)
    elif kind == "common factor":
        X[:, : p // 2] += 3 * rng.standard_normal((n, 1))
    signal = X @ rng.standard_normal(p)
    if kind == "suppressors":  # three pairs, each of which says much of y together and nothing apart
        hidden, noise = rng.standard_normal((n, 3)), rng.standard_normal((n, 3)) * rng.uniform(1, 6, 3)
        X[:, 0:6:2], X[:, 1:6:2], signal = noise - hidden, noise + hidden, hidden.sum(axis=1)
    y = np.where(signal + rng.choice([0.1, 1, 5]) * rng.standard_normal(n) > 0, 1, -1)
    y[:2] = 1, -1
    return X, y, float(10 ** rng.uniform(-3, -0.5))


def brute_force(problem: SparseProbeProblem) -> tuple[np.ndarray, np.ndarray]:
    """Every support, and F of it by the normal equations."""
    sets = np.array(list(itertools.combinations(problem.candidates, problem.size)))
    Z, w = problem.Z, problem.w
    centred = problem.y - w @ problem.y / w.sum()
    M = Z.T @ (Z * w[:, None]) + problem.ridge * np.eye(problem.n_neurons)
    c = (Z.T @ (w * centred))[sets][:, :, None]
    gains = (c * np.linalg.solve(M[sets[:, :, None], sets[:, None, :]], c)).sum(axis=(1, 2))
    return sets, (w @ centred**2 - gains) / 2


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("k", [4, 5, 6])
def test_equals_brute_force_from_any_start(kind: str, k: int, tmp_path: Path) -> None:
    for seed in range(6):
        X, y, ridge = data(kind, seed)
        problem = sparse_probe_problem(X, y, k, loss="squared", ridge=ridge)
        sets, objectives = brute_force(problem)
        for start in (int(np.argmin(objectives)), int(np.argmax(objectives)), len(sets) // 2):
            task = Task(problem, tuple(map(int, sets[start])), float(objectives[start]), 1e-6)
            assert abs(enumeration.run(task).lower - objectives.min()) < 1e-10


class Recording(enumeration.Sweep):
    """A sweep that keeps what it is offered and never lowers its gap."""

    def _offer(self, sets: np.ndarray) -> bool:
        self.offered = getattr(self, "offered", set()) | {tuple(sorted(row)) for row in sets.tolist()}
        return False


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("k", [3, 4, 5, 6])
def test_every_set_above_a_threshold_is_listed(kind: str, k: int) -> None:
    """By the solver and by the compiled replay, for thresholds that leave few sets and many."""
    for seed in range(6):
        X, y, ridge = data(kind, 100 + seed)
        problem = sparse_probe_problem(X, y, k, loss="squared", ridge=ridge)
        sets, objectives = brute_force(problem)
        sweep = Recording(Task(problem, tuple(map(int, sets[0])), float(objectives[0]), 1e-6))
        gains = sweep.v0 - 2 * objectives
        place = {int(column): at for at, column in enumerate(sweep.columns)}
        smaller = sweep.v0 - 2 * brute_force(problem.restated(k=k - 1))[1].min()
        for share in (0.0, 0.3, 0.9):
            sweep.q = threshold = float(smaller + share * (gains.max() - smaller)) + 1e-9
            sweep.offered = set()
            assert sweep.finished()
            replay = Replay(sweep.A, sweep.u, threshold, k, 0.98 * ridge / (1 + ridge), Limits())
            replayed = {tuple(sorted(row)) for found in replay.sets() for row in found.tolist()}
            for row in sets[gains > threshold + 1e-9]:
                better = tuple(sorted(place[int(j)] for j in row))
                assert better in sweep.offered
                assert better in replayed


@pytest.mark.parametrize("kind", KINDS)
def test_both_replays_accept_the_truth_and_nothing_better(kind: str, tmp_path: Path) -> None:
    path = tmp_path / "a.cert"
    for seed, k in itertools.product(range(3), (2, 3, 4, 5, 6)):
        X, y, ridge = data(kind, 50 + seed)
        certificate = solve(sparse_probe_problem(X, y, k, loss="squared", ridge=ridge), "enumeration").certificate()
        certificate.save(path)
        assert verify(path, X, y).accepted
        assert verify(path, X, y, fast=True).accepted
        altered(certificate, both_bounds(3e-7), path)
        assert "below" in verify(path, X, y).reason
        assert "below" in verify(path, X, y, fast=True).reason


@pytest.mark.parametrize(("k", "name"), [(5, "minilm_L3_social_security"), (6, "minilm_L2_is_python")])
def test_part_of_a_real_layer(shared: Path, k: int, name: str, tmp_path: Path) -> None:
    """The 25 strongest neurons and 5 others: heavy pairs in plenty."""
    with np.load(shared / "data" / "activations" / f"{name}.npz", allow_pickle=False) as file:
        X, y = file["X_train"].astype(np.float64), file["y_train"]
    scores = np.abs((X - X.mean(axis=0)).T @ y / X.std(axis=0).clip(1e-9))
    order = np.argsort(-scores)
    X = X[:, np.concatenate([order[:25], order[500:505]])]
    problem = sparse_probe_problem(X, y, k, loss="squared", ridge=0.01)
    _, objectives = brute_force(problem)
    solution = solve(problem, "enumeration")
    assert abs(solution.upper_bound - objectives.min()) < 1e-9
    assert verify(solution.certificate().save(tmp_path / "a.cert"), X, y).accepted


@pytest.mark.parametrize("m", [1, 6, 7, 20])
def test_a_gram_matrix_in_blocks_is_the_gram_matrix(m: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(products, "BLOCK", 6)
    rows = np.random.default_rng(m).standard_normal((m, 9))
    np.testing.assert_allclose(products.gram(rows), rows @ rows.T, atol=1e-14)
