"""What an engine is: a name, what it refuses and why, and a search."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field
from importlib import import_module

from formulations import MomentProblem, ProbeProblem, SparseProbeProblem, rounding_margin, with_rows
from optprobe.engines.budget import Budget, Progress, Report
from optprobe.engines.incumbents import Incumbents, Listed
from optprobe.engines.outcome import Floats, Outcome
from optprobe.errors import InputError

_HOMES = {
    "enumeration": "sweeps.squared",
    "dual_enumeration": "sweeps.dual_enumeration",
    "branch_and_cut": "trees.branch_and_cut",
    "outer_approximation": "mips.outer_approximation",
    "milp": "mips.milp",
}
"""Module of each method, with its ENGINE; imported when asked for, since some compile or load solvers."""
METHODS = tuple(_HOMES)
SLACK = 0.1
"""Nodes and sets are closed at the incumbent minus this share of the tolerance."""
FITTED = 2e-10
"""Share of the incumbent's objective that a claim must leave where the checker fits sets anew: every fit has a gap."""
FITS_AT_ONCE = 128
"""Supports that are fitted between two looks at the budget; every fit carries a dual vector."""
BOUNDED_AT_ONCE = 2048
"""Sets that get a dual vector of their own between two looks at the budget."""


def closing_slack(problem: ProbeProblem, objective: float, tolerance: float) -> float:
    """How much below its F a set may be claimed to be where the checker fits it anew."""
    return max(SLACK * tolerance, 4 * rounding_margin(problem), FITTED * objective)


def silent(_: Progress) -> None:
    """A report that nobody reads."""


@dataclass(frozen=True, eq=False)
class Task:
    """A problem to solve from an incumbent within a budget.

    Attributes
    ----------
    problem : SparseProbeProblem or MomentProblem
    incumbent : tuple of int
        A support of ``problem.size`` candidates.
    objective : float
        F(incumbent).
    tolerance : float
        A gap that counts as closed, on the mean-loss scale.
    known : Outcome, optional
        Bounds that hold already, for an engine whose own proof the budget does not let it finish.
    most : int
        How many sets are searched: 1 for an optimum.
    cap : float
        Sets whose F reaches this are of no interest.
    listed : Listed
        Nor are sets that contain one of these.
    diagonal : ndarray, shape (n_neurons,), optional
        That of a tree whose proof this one's joins (`TreeProof`), 0 where it has none: the same is taken here.
    """

    problem: ProbeProblem
    incumbent: tuple[int, ...]
    objective: float
    tolerance: float
    budget: Budget = field(default_factory=Budget)
    report: Report = silent
    known: Outcome | None = None
    most: int = 1
    cap: float = math.inf
    listed: Listed = field(default_factory=Listed)
    diagonal: Floats | None = None

    @property
    def proved(self) -> float:
        """The lower bound that holds before the search: that of ``known``, or 0, since no loss is negative."""
        return 0.0 if self.known is None else self.known.lower

    def incumbents(self) -> Incumbents:
        """Where the search begins."""
        listed = Listed(self.listed.sets, self.problem.groups)
        return Incumbents(self.incumbent, self.objective, self.most, self.cap, listed)

    @property
    def rows(self) -> SparseProbeProblem:
        """The problem, for engines that need its rows."""
        return with_rows(self.problem)


@dataclass(frozen=True)
class Engine:
    """An exact method.

    Attributes
    ----------
    name : str
    refuses : callable
        Takes a problem; returns the sentence that says what this engine cannot do with it, or None.
    run : callable
        Takes a `Task`; returns an `Outcome` whose lower bound is valid, also when the budget ended first.
    blas_threads : int or None
        Threads of matrix products while it runs; None leaves them as they are. Trees make many small products, whose
        threads would mostly wait for each other.
    needs_rows : bool
        Whether the problem must be stated by rows.
    """

    name: str
    refuses: Callable[[ProbeProblem], str | None]
    run: Callable[[Task], Outcome]
    blas_threads: int | None = 1
    needs_rows: bool = True

    def refusal(self, problem: ProbeProblem) -> str | None:
        """The sentence that says why this engine cannot solve a problem, or None."""
        if self.needs_rows and isinstance(problem, MomentProblem):
            return f"{self.name} needs the rows, and the problem is stated by moments: use enumeration"
        return self.refuses(problem)


def engine_named(name: str) -> Engine:
    """The engine called ``name``; raises `InputError` for a name that is none."""
    if name not in METHODS:
        raise InputError(f"the method {name!r} is unknown: use auto, {', '.join(METHODS)}")
    engine = import_module(f"optprobe.engines.{_HOMES[name]}").ENGINE
    assert isinstance(engine, Engine)
    return engine
