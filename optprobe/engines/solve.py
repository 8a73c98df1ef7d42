"""`solve`: one call, one budget; chooses the engine, says why, and returns a solution whose bounds hold."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import replace
from typing import TYPE_CHECKING

import numpy as np
from threadpoolctl import threadpool_limits

from formulations import (
    MomentProblem,
    ProbeProblem,
    UnsupportedProblem,
    constant_point,
    fit_support,
    fit_supports,
    node_bound,
    objective_bound,
    rounding_margin,
)
from optprobe.engines.allowed import descended, first_allowed
from optprobe.engines.budget import Budget, Progress, Report
from optprobe.engines.engine import Engine, Task, engine_named, silent
from optprobe.engines.pool import Wanted
from optprobe.engines.solution import Solution, Status
from optprobe.errors import InputError
from optprobe.heuristics import incumbent

if TYPE_CHECKING:
    from optprobe.engines.auto import Choice

LARGEST_TOLERANCE = 0.01
"""In units of the loss (or of the target's variance): with a larger one everything would be optimal."""
HEURISTIC_SHARE = 0.5
"""Of the budget: the rest is for bounds."""
SEPARABLE = 1e-9
"""The regime is separable where the constant fit's dual vector bounds every set to within this of the optimum."""


def solve(
    problem: ProbeProblem,
    method: str = "auto",
    time_limit: float | None = None,
    tolerance: float = 1e-6,
    incumbents: Sequence[Sequence[int]] = (),
    progress: Report | None = None,
    *,
    within: float | None = None,
    within_absolute: float | None = None,
    pool: int | None = None,
) -> Solution:
    """Find the best support of at most k neurons, and prove how good it is; where asked, the near-optimal sets too.

    Parameters
    ----------
    problem : SparseProbeProblem or MomentProblem
        A problem stated by moments is solved by enumeration (k <= 6).
    method : {"auto", "enumeration", "dual_enumeration", "branch_and_cut", "outer_approximation", "milp"}
    time_limit : float, optional
        Seconds for heuristics, root and engine together. At the limit, and after Ctrl-C, the bounds still hold.
    tolerance : float
        A gap that counts as closed, on the mean-loss scale.
    incumbents : sequence of supports, optional
        Sets to start from, besides what the heuristics find.
    progress : callable, optional
        Receives a `Progress` now and then.
    within, within_absolute : float, optional
        List all minimal sets whose F is above the optimum by at most this, as a share of F or in units of F, with a
        bound of every set that contains none of them: `Solution.pool`. Where they are more than 1,000, or than
        ``pool``, the best are listed, and the bound says up to where the list is complete.
    pool : int, optional
        List at most so many sets; without a threshold the best sets of k neurons.

    Raises
    ------
    InputError
        For an unknown method, a tolerance that is not positive, or a threshold or number that is none.
    UnsupportedProblem
        If the engine cannot solve this problem; the sentence names one that can.
    """
    most = LARGEST_TOLERANCE * (problem.variance if isinstance(problem, MomentProblem) else 1.0)
    if not 0 < tolerance <= most:
        raise InputError(f"the tolerance is {tolerance:g}: give a positive number, at most {most:g}")
    if time_limit is not None and not time_limit > 0:
        raise InputError(f"the time limit is {time_limit:g} s: give a positive number")
    if problem.ridge == 0:
        raise UnsupportedProblem(
            "the ridge is 0, and every lower bound divides by it: give a positive one, such as 1e-05"
        )
    wanted = Wanted.of(within, within_absolute, pool)
    asked = None if method == "auto" else engine_named(method)
    if refusal := (asked or engine_named(_default(problem))).refusal(problem):
        raise UnsupportedProblem(refusal)
    report = progress or silent
    from optprobe.engines import auto  # here, since the trees' loops load a compiler
    from optprobe.engines.pool_search import near_optimal

    with Budget(time_limit) as budget:
        started = time.perf_counter()
        with threadpool_limits(1, user_api="blas"):
            support, objective, source = _start(problem, incumbents, budget, report)
        found = time.perf_counter()
        task = Task(problem, support, objective, tolerance, budget, report)
        choice = auto.run(task) if asked is None else auto.Choice(auto.run_engine(asked, task), asked, "asked for")
        seconds = {"heuristics": found - started, choice.engine.name: time.perf_counter() - found}
        solution = _solution(problem, choice, source, tolerance, seconds, budget)
        if wanted is None or not solution.optimal or budget.over:
            return solution
        solved = time.perf_counter()
        pooled = near_optimal(task, choice, wanted)
        seconds["pool"] = time.perf_counter() - solved
        solution = replace(solution, interrupted=budget.interrupted)
    if pooled is None:
        return solution
    best = pooled.pool.sets[0]
    solution = replace(solution, pool=pooled.pool, lower_bound=pooled.lower, proof=pooled.proof)
    if len(best.support) < problem.size or best.upper_bound >= solution.upper_bound:
        return solution
    return replace(
        solution, support=best.support, coef=best.coef, intercept=best.intercept, upper_bound=best.upper_bound
    )


def _default(problem: ProbeProblem) -> str:
    """The engine that must be able to solve a problem for `auto` to."""
    return "enumeration" if isinstance(problem, MomentProblem) else "branch_and_cut"


def _start(
    problem: ProbeProblem, given: Sequence[Sequence[int]], budget: Budget, report: Report
) -> tuple[tuple[int, ...], float, str]:
    """The best of the given supports and of what the heuristics find, filled up to the full size."""
    report(Progress("heuristics", 0.0, float("inf")))
    found = incumbent(problem, late=budget.part(HEURISTIC_SHARE * budget.left).late)
    best, objective, source = tuple(sorted(map(int, found.support))), float(found.objective), found.source
    if problem.groups is not None or problem.forced:
        best, objective = descended(problem, best)
        source = f"exchanges of what may be exchanged after {source}"
    for support in given:
        columns = sorted(set(map(int, support)))
        whole = set(columns) | set(problem.forced)
        if len(whole) > problem.size or not whole <= set(map(int, problem.candidates)):
            besides = " with the forced ones" if problem.forced else ""
            raise InputError(f"the incumbent {columns} is no set of at most {problem.size} usable columns{besides}")
        spare = [int(j) for j in problem.candidates if j not in columns]
        full = first_allowed(problem, np.array(columns + spare, dtype=np.int64))
        value = float(fit_support(problem, full).objective[0])
        if value < objective:
            best, objective, source = full, value, "given"
    return best, objective, source


def _solution(
    problem: ProbeProblem,
    choice: Choice,
    source: str,
    tolerance: float,
    seconds: dict[str, float],
    budget: Budget,
) -> Solution:
    """Refit the support, round both bounds to the safe side, and name status and regime."""
    outcome, engine = choice.outcome, choice.engine
    fits = fit_supports(problem, np.array([outcome.support], dtype=np.int64).reshape(1, -1))
    coef, intercept = fits.coef[0], float(fits.intercept[0])
    upper = objective_bound(problem, outcome.support, coef, intercept)
    lower = min(outcome.lower, float(fits.objective[0])) - rounding_margin(problem)
    if upper - lower <= tolerance:
        status = Status.OPTIMAL
    elif budget.interrupted:
        status = Status.INTERRUPTED
    else:
        status = Status.TIME_LIMIT if budget.over else Status.UNFINISHED
    return Solution(
        problem=problem,
        support=outcome.support,
        coef=coef,
        intercept=intercept,
        upper_bound=upper,
        lower_bound=lower,
        tolerance=tolerance,
        status=status,
        interrupted=budget.interrupted,
        engine=engine.name,
        why=choice.why,
        regime=_regime(problem, upper, engine),
        incumbent_source=source,
        proof=outcome.proof,
        seconds=seconds,
        counts=outcome.counts,
        solver=solve,
    )


def _regime(problem: ProbeProblem, upper: float, engine: Engine) -> str:
    """Separable where the constant fit's dual vector alone closes the gap: then the optimum is its ranking's top k."""
    inside = np.array(problem.forced, dtype=np.int64)
    bound = node_bound(constant_point(problem), inside, np.setdiff1d(problem.candidates, inside), problem.size)
    if upper - bound <= SEPARABLE:
        return "separable"
    return "combinatorial" if engine.name.endswith("enumeration") else "relaxation"
