"""Other programs for the best k neurons, each called on the same rows and converted to the same objective.

    python -m benchmarks.peer_programs NAME ROWS.npz LOSS RIDGE K LIMIT

prints one line of JSON, an `Ended`. With w_i = 1/n the objective is F = sum_i w_i loss(y_i, f_i) + (ridge / 2) |b|^2,
and the programs' own, sums over rows without an intercept, are n F of centred labels at their penalty n ridge / 2.
Penalised programs get a lambda at which k neurons are best, where there is one: between what the k-th neuron gains and
what a further one would, by optprobe's optima; their lower bound minus lambda k bounds F of k neurons.
Every program runs on a few rows first, and what takes less than 15 s and the limit runs twice, so that compilation is
not counted.
"""

from __future__ import annotations

import contextlib
import io
import json
import math
import sys
import tempfile
import time
import warnings
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib import import_module
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks import batched_perspective
from benchmarks.engines import COMPILING
from formulations import SparseProbeProblem, constant_point, fit_support, sparse_probe_problem
from formulations.models import MODELS, place, refine, support_of
from optprobe.certificates import verify
from optprobe.engines import solve

Floats = NDArray[np.float64]

TOLERANCE = 1e-6
"""The gap on the mean-loss scale at which a program counts as done."""


@dataclass(frozen=True)
class Ended:
    """How a program ended.

    Attributes
    ----------
    support : tuple of int
        Of k neurons or fewer; empty where it found none.
    lower : float or None
        The lower bound of F that it claims, for any set of k; None if it claims none.
    seconds, checking : float
        Of the search, and of a checker that is not the program (0 where there is none).
    by : str
        Who vouches for the lower bound.
    """

    support: tuple[int, ...]
    lower: float | None
    seconds: float
    checking: float = 0.0
    by: str = "nobody"


@dataclass(frozen=True, eq=False)
class Question:
    """A problem and its neurons, the seconds for it, and a lambda (of n F) at which k neurons are best."""

    problem: SparseProbeProblem
    X: Floats
    limit: float
    price: float

    @property
    def rows(self) -> Floats:
        """Standardised neurons, shape (n_rows, n_neurons)."""
        return np.asfortranarray(self.problem.Z)

    @property
    def centred(self) -> Floats:
        """Labels less their mean: the squared loss then needs no intercept."""
        return np.asarray(self.problem.y - self.problem.y.mean())

    @property
    def penalty(self) -> float:
        """Of |b|^2 beside a sum over rows: n ridge / 2."""
        return self.problem.n_rows * self.problem.ridge / 2

    def bound(self, lower_with_price: float) -> float:
        """A lower bound of F, from one of n F + lambda |S|."""
        return (lower_with_price - self.price * self.problem.k) / self.problem.n_rows


def _nonzero(coef: Any) -> tuple[int, ...]:
    return tuple(map(int, np.flatnonzero(np.asarray(coef).ravel())))


def optprobe(question: Question) -> Ended:
    """This package: its certificate is checked."""
    started = time.perf_counter()
    solution = solve(question.problem, time_limit=question.limit)
    solved = time.perf_counter()
    with tempfile.TemporaryDirectory() as folder:
        path = solution.certificate().save(Path(folder) / "a.cert")
        verdict = verify(path, question.X, question.problem.y, fast=question.problem.loss.name == "squared")
    return Ended(
        solution.support,
        solution.lower_bound if verdict.accepted else None,
        solved - started,
        time.perf_counter() - solved,
        "an independent checker" if verdict.accepted else "nobody",
    )


def okridge(question: Question) -> Ended:
    """OKRidge: squared loss, k given; an empty queue counts as a gap of 0, whatever the gap at which it skips nodes.

    Where Z'Z is singular, version 0.1.1 tunes its ADMM steps by a function that it lacks: it then does without them.
    """
    make, singular = import_module("okridge.tree").BNBTree, question.rows.shape[1] >= question.problem.n_rows
    penalty, steps = 2 * question.penalty, not singular
    tree = make(question.rows, question.centred, lambda2=penalty, tighten_bound_via_ADMM=steps)
    tree.data.rho_ADMM_is_finetuned |= singular
    _, coef, _, lower, seconds = tree.solve(question.problem.k, gap_tol=TOLERANCE, time_limit=question.limit)
    value = (float(lower) + question.centred @ question.centred) / (2 * question.problem.n_rows)
    return Ended(_nonzero(coef), max(float(value), 0.0), float(seconds), by="itself")


def l0bnb(question: Question) -> Ended:
    """L0BnB: squared loss, penalised, coefficients in a box: twice the largest of optprobe's ridge regression here."""
    box = 2 * float(np.abs(fit_support(question.problem, strongest(question.problem)).coef).max())
    vars(np)["Inf"] = np.inf  # a name that it uses, and that numpy 2 dropped
    tree = import_module("l0bnb").BNBTree(question.rows, question.centred)
    ended = tree.solve(question.price, question.penalty, box, gap_tol=TOLERANCE, time_limit=question.limit)
    lower = question.bound(float(ended.cost) * (1 - max(float(ended.gap), 0.0)))
    return Ended(_nonzero(ended.beta), max(lower, 0.0), float(ended.sol_time), by="itself, in a box")


def el0ps(question: Question) -> Ended:
    """El0ps: squared loss (its logistic loss has no intercept), penalised."""
    datafit = import_module("el0ps.datafit").Leastsquares(question.centred)
    penalty = import_module("el0ps.penalty").L2norm(question.penalty)
    solver = import_module("el0ps.solver").BnbSolver(time_limit=question.limit)
    ended = solver.solve(datafit, penalty, question.rows, question.price)
    lower = question.bound(float(ended.objective_value)) if ended.status.value == "optimal" else None
    return Ended(_nonzero(ended.x), lower, float(ended.solve_time), by="nobody" if lower is None else "itself")


def abess(question: Question) -> Ended:
    """abess: splicing, no bound."""
    problem, module = question.problem, import_module("abess")
    squared = problem.loss.name == "squared"
    make = module.LinearRegression if squared else module.LogisticRegression
    alpha = problem.ridge / 2 if squared else question.penalty
    started = time.perf_counter()
    model = make(support_size=problem.k, alpha=alpha).fit(question.rows, problem.y if squared else problem.y > 0)
    return Ended(_nonzero(model.coef_), None, time.perf_counter() - started)


def skscope(question: Question) -> Ended:
    """skscope: splicing on a function of its user's, no bound; the intercept is a parameter that it always keeps."""
    jnp, problem = import_module("jax.numpy"), question.problem
    Z, y = jnp.asarray(question.rows), jnp.asarray(problem.y)

    def objective(params: Any) -> Any:
        f = Z @ params[:-1] + params[-1]
        losses = 0.5 * (f - y) ** 2 if problem.loss.name == "squared" else jnp.logaddexp(0.0, -y * f)
        return losses.sum() + question.penalty * (params[:-1] ** 2).sum()

    p = question.rows.shape[1]
    started = time.perf_counter()
    solver = import_module("skscope").ScopeSolver(p + 1, problem.k + 1, preselect=[p])
    found = _nonzero(solver.solve(objective, jit=True)[:-1])
    return Ended(found, None, time.perf_counter() - started)


def fastsparsegams(question: Question) -> Ended:
    """fastsparsegams (of the family of L0Learn): coordinate descent and swaps along a path, no bound."""
    problem, module = question.problem, import_module("fastsparsegams")
    loss = "SquaredError" if problem.loss.name == "squared" else "Logistic"
    started = time.perf_counter()
    path = module.fit(
        np.array(question.rows),
        problem.y,
        loss=loss,
        penalty="L0L2",
        algorithm="CDPSI",
        num_gamma=1,
        gamma_min=question.penalty,
        gamma_max=question.penalty,
        max_support_size=problem.k,
    )
    seconds = time.perf_counter() - started
    coefs = path.coeff(include_intercept=False).toarray()
    sizes = (coefs != 0).sum(axis=0)
    sizes[sizes > problem.k] = -1
    return Ended(_nonzero(coefs[:, int(np.argmax(sizes))]), None, seconds)


def highs(question: Question) -> Ended:
    """The cut master in HiGHS through Pyomo, refined at each of its supports: outer approximation."""
    from pyomo.contrib.appsi.solvers import Highs

    problem, started = question.problem, time.perf_counter()
    model = MODELS["cut_master"].build(problem)
    best = strongest(problem)
    upper, lower, seen = refine(model, best), 0.0, {best}
    solver = Highs()
    while upper - lower > TOLERANCE and (left := question.limit - (time.perf_counter() - started)) > 0:
        place(model, best)
        solver.config.time_limit, solver.config.load_solution = left, False
        solver.highs_options = {"mip_rel_gap": 0.0, "mip_abs_gap": TOLERANCE / 10, "threads": 1}
        ended = solver.solve(model)
        if ended.best_objective_bound is not None:
            lower = max(lower, float(ended.best_objective_bound))
        if ended.best_feasible_objective is None:
            break
        ended.solution_loader.load_vars()
        support = tuple(sorted(map(int, support_of(model))))
        if support in seen:
            break
        seen.add(support)
        value = refine(model, support)
        if value < upper:
            best, upper = support, value
    return Ended(best, lower, time.perf_counter() - started, by="itself")


def batched(question: Question) -> Ended:
    """Batched perspective bounds by first-order steps: our implementation of Liu and Lodi's idea."""
    started = time.perf_counter()
    support, lower = batched_perspective.search(question.problem, question.limit, TOLERANCE)
    return Ended(support, lower, time.perf_counter() - started, by="itself")


@dataclass(frozen=True)
class Program:
    """A program, the package that it needs (None: none), and the losses that it has."""

    run: Callable[[Question], Ended]
    package: str | None
    losses: tuple[str, ...] = ("squared", "logistic")
    penalised: bool = False


PROGRAMS = {
    "optprobe": Program(optprobe, None),
    "HiGHS, cut master": Program(highs, None),
    "batched perspective": Program(batched, None),
    "OKRidge": Program(okridge, "okridge", ("squared",)),
    "L0BnB": Program(l0bnb, "l0bnb", ("squared",), penalised=True),
    "El0ps": Program(el0ps, "el0ps", ("squared",), penalised=True),
    "abess": Program(abess, "abess"),
    "skscope": Program(skscope, "skscope"),
    "fastsparsegams": Program(fastsparsegams, "fastsparsegams"),
}


def strongest(problem: SparseProbeProblem) -> tuple[int, ...]:
    """The k neurons of largest discount at the constant fit: where programs that need a start begin."""
    order = np.argsort(-constant_point(problem).discount, kind="stable")
    return tuple(sorted(map(int, order[: problem.k])))


def few(loss: str, ridge: float) -> tuple[SparseProbeProblem, Floats]:
    """A small problem and its neurons, on which a program compiles."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 8))
    y = np.where(X[:, 0] + X[:, 1] + rng.standard_normal(60) > 0, 1.0, -1.0)
    return sparse_probe_problem(X, y, 2, loss=loss, ridge=ridge), X


def main() -> None:
    name, path, loss, ridge, k, limit = sys.argv[1:]
    program, warnings_off = PROGRAMS[name], warnings.catch_warnings()
    with np.load(Path(path), allow_pickle=False) as rows:
        X = rows["X"].astype(np.float64)
        problem = sparse_probe_problem(X, rows["y"], int(k), loss=loss, ridge=float(ridge))
        prices = rows["prices"] if "prices" in rows else np.ones(1)
    price = float(prices[min(int(k), len(prices)) - 1])
    with warnings_off, contextlib.redirect_stdout(io.StringIO()):
        warnings.simplefilter("ignore")
        program.run(Question(*few(loss, float(ridge)), 5.0, 1.0))
        question = Question(problem, X, float(limit), price)
        ended = program.run(question)
        if ended.seconds < min(COMPILING, question.limit):
            ended = program.run(question)
    lower = ended.lower if ended.lower is not None and math.isfinite(ended.lower) else None
    print(json.dumps({**asdict(ended), "lower": lower}))


if __name__ == "__main__":
    main()
