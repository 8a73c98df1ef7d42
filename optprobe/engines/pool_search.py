"""Near-optimal sets: all minimal ones below a threshold, or the m best, and a bound of every set without one in it.

F never grows with a set, so the sets of at most k neurons below a threshold are those that contain a *minimal* one, of
which no proper subset is below it (POOL.md, section 1). The minimal sets are found by size, each size by a search at
the fixed threshold; a search passes over what contains a set that is listed already. The proof is that of the last
size: the checker shows that no smaller one is needed, if enough neurons stand in no listed set, and so the worst sets
are left out where there would be too few. Whatever is left out, the rest is bounded by it.

Where neurons are forced, every set here contains them, and a set contains a listed one if it contains the other neurons
of that. So what stands for the empty set is the set of the forced ones, and they stand in every listed set.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from formulations import Fits, ProbeProblem, fit_support, fit_supports, objective_bound, rounding_margin
from formulations.losses import Squared
from optprobe.engines import auto
from optprobe.engines.allowed import exchanged, first_allowed
from optprobe.engines.engine import Engine, Task, closing_slack
from optprobe.engines.incumbents import Listed, Support
from optprobe.engines.outcome import Outcome, Proof, SweepProof, TreeProof
from optprobe.engines.pool import NearOptimal, Pool, Wanted
from optprobe.engines.trees import branch_and_cut
from optprobe.engines.trees.tree import joined, nothing_left

Ints = NDArray[np.int64]

TRIED = 2
"""Neighbours of the optimum that are fitted for each set wanted, to begin with a threshold near the last one's F."""


@dataclass(frozen=True, eq=False)
class Found:
    """A pool, the bound of all sets that follows from it or was known before, and the proof of both."""

    pool: Pool
    lower: float
    proof: Proof


def near_optimal(task: Task, choice: auto.Choice, wanted: Wanted) -> Found | None:
    """
    The pool of a problem that is solved.

    Parameters
    ----------
    task : Task
        As it was solved.
    choice : Choice
        What solved it; the same engine searches the pool.
    wanted : Wanted

    Returns
    -------
    Found or None
        None where the budget ended before anything was proved beyond the optimum.
    """
    problem, support, proof = task.problem, choice.outcome.support, choice.outcome.proof
    if isinstance(proof, TreeProof):
        task = replace(task, diagonal=np.zeros(problem.n_neurons) if proof.diagonal is None else proof.diagonal)
    search = _Search(task, support, wanted.most)
    best = float(fit_support(problem, support).objective[0])
    epsilon = wanted.epsilon(best)
    cap = float(fit_support(problem, problem.forced).objective[0]) + task.tolerance
    if epsilon is None:
        cap = min(cap, _worst_neighbour(problem, support, wanted.most + 1) + task.tolerance)
        short: tuple[Support, ...] = ()
    else:
        cap = min(cap, best + epsilon + task.tolerance)
        minimal = search.smaller(cap)
        if minimal is None:
            return None
        short, cap = minimal
    outcome = search.outcome(problem, choice.engine, short, cap)
    return _found(problem, choice.outcome, outcome, short, cap, wanted.most, task.tolerance)


@dataclass(frozen=True, eq=False)
class _Search:
    """Searches at a fixed threshold, each from the optimum's own neurons."""

    task: Task
    support: Support
    most: int

    def smaller(self, cap: float) -> tuple[tuple[Support, ...], float] | None:
        """The minimal sets of fewer than k neurons below a threshold, and the threshold; None where time is up.

        The threshold falls where they are too many.
        """
        problem = self.task.problem
        if float(fit_support(problem, problem.forced).objective[0]) < cap:
            return (problem.forced,), cap
        short: tuple[Support, ...] = ()
        for size in range(len(problem.forced) + 1, problem.size):
            smaller = problem.restated(k=size)
            engine = auto.enumerator_of(smaller) or branch_and_cut.ENGINE
            kept = self.outcome(smaller, engine, short, cap).kept
            if self.task.budget.over:
                return None
            short, cap = _cut(problem, (), (*short, *kept), self.most, cap, self.task.tolerance)
        return short, cap

    def outcome(self, problem: ProbeProblem, engine: Engine, short: Sequence[Support], cap: float) -> Outcome:
        """The sets of a problem's size below a threshold, beside those that contain a listed one."""
        if problem.forced in short:
            return Outcome(self.support, cap, SweepProof())
        others = [tuple(j for j in one if j not in problem.forced) for one in short]
        alone = [one[0] for one in others if len(one) == 1]
        problem = problem.narrowed(np.setdiff1d(problem.candidates, alone)) if alone else problem
        order = problem.candidates[np.argsort(-np.abs(problem.cross[problem.candidates]), kind="stable")]
        own = np.isin(order, self.support)
        start = first_allowed(problem, np.concatenate([order[own], order[~own]]))
        objective = float(fit_support(problem, start).objective[0])
        task = replace(
            self.task,
            problem=problem,
            incumbent=start,
            objective=objective,
            known=None,
            most=self.most - len(short) + 1,
            cap=cap,
            listed=Listed(one for one in others if len(one) > 1),
        )
        return auto.run_engine(engine, task)


def _worst_neighbour(problem: ProbeProblem, support: Support, count: int) -> float:
    """The F of the last of ``count`` good sets: the optimum, and sets with one strong neuron in place of one of it.

    Infinite where there are not so many.
    """
    order = problem.candidates[np.argsort(-np.abs(problem.cross[problem.candidates]), kind="stable")]
    others = order[~np.isin(order, support)][: TRIED * count // max(len(support), 1) + 1]
    objectives = np.sort(fit_supports(problem, exchanged(problem, support, others)).objective)
    return float(objectives[count - 1]) if count <= len(objectives) else math.inf


def _cut(
    problem: ProbeProblem, fixed: Sequence[Support], sets: Sequence[Support], most: int, rest: float, tolerance: float
) -> tuple[tuple[Support, ...], float]:
    """Leave out the worst of ``sets`` until all are few enough and enough neurons stand in none; bound the rest by it.

    Returns what is left, best first, and the bound.
    """
    objectives = {one: float(fit_support(problem, one).objective[0]) for one in sets}
    ordered = sorted(sets, key=lambda one: (objectives[one], one))
    used = np.zeros(problem.n_neurons, dtype=np.int64)
    for one in (*fixed, *ordered):
        used[list(one)] += 1
    while ordered:
        outside = problem.n_selectable(problem.candidates[used[problem.candidates] == 0])
        if len(fixed) + len(ordered) <= most and outside >= problem.size - len(problem.forced):
            break
        left_out = ordered.pop()
        used[list(left_out)] -= 1
        rest = min(rest, objectives[left_out] - closing_slack(problem, objectives[left_out], tolerance))
    return tuple(ordered), rest


def _found(
    problem: ProbeProblem,
    solved: Outcome,
    outcome: Outcome,
    short: tuple[Support, ...],
    cap: float,
    most: int,
    tolerance: float,
) -> Found | None:
    """The pool with every rounding counted against it."""
    margin = rounding_margin(problem)
    whole, rest = _cut(problem, short, outcome.kept, most, min(outcome.lower, cap), tolerance)
    listed = [_member(problem, one, margin, tolerance) for one in (*short, *whole)]
    members = sorted(listed, key=lambda one: (one.upper_bound, one.support))
    rest -= margin
    if not members or not rest > members[0].lower_bound:
        return None
    pool = Pool(tuple(members), rest, problem.size, problem.forced)
    everything = problem.forced in short
    second = nothing_left(problem.n_rows) if everything else outcome.proof
    if not any(len(one.support) < problem.size for one in members):
        lower = min(rest, *(one.lower_bound for one in members))
        return Found(pool, lower, second)
    if isinstance(solved.proof, SweepProof):
        proof: Proof | None = solved.proof if everything or isinstance(second, SweepProof) else None
    else:
        proof = joined(solved.proof, second) if isinstance(second, TreeProof) else None
    return None if proof is None else Found(pool, solved.lower - margin, proof)


def _member(problem: ProbeProblem, support: Support, margin: float, tolerance: float) -> NearOptimal:
    fits: Fits = fit_support(problem, support)
    coef, intercept, objective = fits.coef[0], float(fits.intercept[0]), float(fits.objective[0])
    upper = objective_bound(problem, support, coef, intercept)
    slack = 0.0 if isinstance(problem.loss, Squared) else closing_slack(problem, objective, tolerance)
    return NearOptimal(support, coef, intercept, upper, min(float(fits.lower[0]), objective - slack) - margin)
