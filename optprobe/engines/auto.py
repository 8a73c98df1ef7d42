"""The choice of a method: what is sure to be quick, else a trial of branch and cut, then enumeration or more of it."""

from __future__ import annotations

from dataclasses import dataclass, replace

from threadpoolctl import threadpool_limits

from formulations import MomentProblem, ProbeProblem
from formulations.losses import Squared
from optprobe.engines.engine import Engine, Task
from optprobe.engines.outcome import Outcome
from optprobe.engines.sweeps import dual_enumeration, squared
from optprobe.engines.trees import branch_and_cut

QUICK_K = {"squared": 4, "logistic": 1, "hinge": 2}
"""Up to here enumeration is quicker than any trial."""
SCREENED = 0.3
"""A tree is worth a trial where screening at the root leaves at most this share of the neurons."""
TRIAL = 3.0
"""Seconds that a tree may grow before enumeration takes over."""


@dataclass(frozen=True)
class Choice:
    """What was found, by which engine, and why it was that one."""

    outcome: Outcome
    engine: Engine
    why: str


def run_engine(engine: Engine, task: Task) -> Outcome:
    """Run an engine with the threads of matrix products that suit it."""
    with threadpool_limits(engine.blas_threads, user_api="blas"):
        return engine.run(task)


def enumerator_of(problem: ProbeProblem) -> Engine | None:
    """The engine that enumerates all sets of this problem, if there is one."""
    engine = squared.ENGINE if isinstance(problem.loss, Squared) else dual_enumeration.ENGINE
    return engine if engine.refusal(problem) is None else None


def run(task: Task) -> Choice:
    """Solve a task by the method that suits its loss, k, ridge and the bound at its root.

    Branch and cut keeps its tree where enumeration does not apply; where it does, it gets a trial of a few seconds if
    screening at the root shows that the relaxation is tight, and its incumbent and bounds are kept.
    """
    problem = task.problem
    stated = f"{problem.loss.name} loss and k = {problem.k}"
    engine = enumerator_of(problem)
    if engine is None:
        outcome = run_engine(branch_and_cut.ENGINE, task)
        return Choice(outcome, branch_and_cut.ENGINE, f"for {stated}, dual bounds over all neurons prune one tree")
    if problem.size <= QUICK_K[problem.loss.name] or isinstance(problem, MomentProblem):
        return Choice(run_engine(engine, task), engine, f"for {stated}, all sets can be enumerated at once")
    with threadpool_limits(branch_and_cut.ENGINE.blas_threads, user_api="blas"):
        first_look = replace(task, budget=task.budget.part(TRIAL))
        tree = branch_and_cut.Search(first_look, effort=branch_and_cut.FIRST_LOOK)
        share = len(tree.live.columns) / len(problem.candidates)
        if share <= SCREENED:
            tree.grow()
    if tree.closed:
        why = f"for {stated}, screening left {share:.0%} of the neurons, and a small tree closed the gap"
        return Choice(tree.outcome(), branch_and_cut.ENGINE, why)
    known = tree.outcome()
    why = f"for {stated}, screening left {share:.0%} of the neurons: too many for a tree, so all sets are enumerated"
    task = replace(task, incumbent=known.support, objective=tree.found.objective, known=known)
    del tree  # which may hold a copy of all columns
    return Choice(run_engine(engine, task), engine, why)
