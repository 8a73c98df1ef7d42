"""What every engine must pass, whatever it does inside: named checks of (method, known instance)."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from adversarial import Known

from formulations import SparseProbeProblem, sparse_probe_problem
from optprobe.certificates import verify
from optprobe.engines import solve

Check = Callable[[str, Known, Path], None]
CLOSE = 1e-7


def restated(instance: Known, X: np.ndarray, y: np.ndarray, **changes: object) -> SparseProbeProblem:
    problem = instance.problem
    stated: dict[str, object] = {
        "loss": problem.loss.name,
        "ridge": problem.ridge,
        "class_weight": problem.class_weight,
        "sample_weight": instance.sample_weight,
        "k": problem.k,
    }
    return sparse_probe_problem(X, y, **(stated | changes))  # type: ignore[arg-type]


def largest_k(method: str, loss: str) -> int:
    """The largest k that a method is tried with."""
    return {("dual_enumeration", "logistic"): 3, ("dual_enumeration", "hinge"): 2}.get((method, loss), 4)


def check_optimum(method: str, instance: Known, folder: Path) -> None:
    """The optimum of brute force, from the worst incumbent too, and a certificate that is accepted."""
    worst = instance.supports[int(np.argmax(instance.objectives))]
    for incumbents in ((), (tuple(map(int, worst)),)):
        solution = solve(instance.problem, method, incumbents=incumbents)
        assert solution.optimal, (instance.name, str(solution))
        assert abs(solution.upper_bound - instance.optimum) < CLOSE, instance.name
        assert solution.lower_bound <= instance.optimum + 1e-12, instance.name
    path = solution.certificate().save(folder / "a.cert")
    verdict = verify(path, instance.X, instance.y, instance.sample_weight)
    assert verdict.accepted, (instance.name, str(verdict))


def check_permutation(method: str, instance: Known, folder: Path) -> None:
    """The order of the neurons does not matter."""
    order = np.random.default_rng(0).permutation(instance.X.shape[1])
    solution = solve(restated(instance, instance.X[:, order], instance.y), method)
    assert abs(solution.upper_bound - instance.optimum) < CLOSE
    value = instance.problem.objective(*_fit(instance, order[list(solution.support)]))
    assert abs(value - instance.optimum) < CLOSE


def check_scaling(method: str, instance: Known, folder: Path) -> None:
    """Units and offsets of the neurons do not matter: they are standardised."""
    rng = np.random.default_rng(1)
    scale, offset = 10.0 ** rng.uniform(-3, 3, instance.X.shape[1]), rng.normal(size=instance.X.shape[1])
    solution = solve(restated(instance, instance.X * scale + offset * scale, instance.y), method)
    assert abs(solution.upper_bound - instance.optimum) < CLOSE


def check_label_flip(method: str, instance: Known, folder: Path) -> None:
    """Which class is called positive does not matter."""
    solution = solve(restated(instance, instance.X, -instance.y), method)
    assert abs(solution.upper_bound - instance.optimum) < CLOSE


def check_duplicate_rows(method: str, instance: Known, folder: Path) -> None:
    """Every row twice is the same problem."""
    weight = instance.sample_weight
    twice = None if weight is None else np.tile(weight, 2)
    problem = restated(instance, np.tile(instance.X, (2, 1)), np.tile(instance.y, 2), sample_weight=twice)
    assert abs(solve(problem, method).upper_bound - instance.optimum) < CLOSE


def check_larger_k(method: str, instance: Known, folder: Path) -> None:
    """One more neuron never makes the optimum worse."""
    k = instance.problem.k + 1
    if k <= min(largest_k(method, instance.problem.loss.name), instance.X.shape[1]):
        solution = solve(restated(instance, instance.X, instance.y, k=k), method)
        assert solution.lower_bound <= instance.optimum + 1e-12
        assert solution.upper_bound <= instance.optimum + CLOSE


def check_among(method: str, instance: Known, folder: Path) -> None:
    """Restricted to some columns, the optimum is the best support of those, and the certificate says so."""
    allowed = [int(j) for j in instance.problem.candidates[::2]]
    inside = np.isin(instance.supports, allowed).all(axis=1)
    if not inside.any():
        return
    problem = restated(instance, instance.X, instance.y, among=allowed)
    solution = solve(problem, method)
    assert set(solution.support) <= set(allowed)
    assert abs(solution.upper_bound - instance.objectives[inside].min()) < CLOSE
    path = solution.certificate().save(folder / "a.cert")
    assert verify(path, instance.X, instance.y, instance.sample_weight).accepted


def check_no_time(method: str, instance: Known, folder: Path) -> None:
    """With no time at all the bounds still hold, and their certificate is accepted."""
    solution = solve(instance.problem, method, time_limit=1e-9)
    assert solution.lower_bound <= instance.optimum + 1e-12
    assert solution.upper_bound >= instance.optimum
    path = solution.certificate().save(folder / "a.cert")
    assert verify(path, instance.X, instance.y, instance.sample_weight).accepted


def checks() -> Iterator[Check]:
    """The checks, by name."""
    for name, check in sorted(globals().items()):
        if name.startswith("check_"):
            yield check


def _fit(instance: Known, support: np.ndarray) -> tuple[list[int], np.ndarray, float]:
    from formulations import fit_support

    fit = fit_support(instance.problem, np.sort(support))
    return [int(j) for j in np.sort(support)], fit.coef[0], float(fit.intercept[0])
