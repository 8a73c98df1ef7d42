"""What `solve` returns: a support, bounds that hold, how the search ended, and the certificate."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import Enum

import numpy as np

from formulations import ProbeProblem
from formulations.columns import Columns
from formulations.shown import Shown, Table, facts
from optprobe.certificates import Certificate, checker
from optprobe.certificates.checker import Author, Result
from optprobe.certificates.format import described
from optprobe.engines.certify import certificate_of, versions
from optprobe.engines.outcome import Floats, Proof
from optprobe.engines.pool import Pool
from optprobe.errors import InputError


class Status(Enum):
    """How a search ended, as a sentence; `Solution.status_sentence` fills in ``{sets}`` and ``{tolerance}``."""

    OPTIMAL = "optimal: no set of {sets} is better by more than {tolerance:g}"
    TIME_LIMIT = "time limit: the bounds hold, and the gap is not closed"
    INTERRUPTED = "interrupted: the bounds hold, and the gap is not closed"
    UNFINISHED = "unfinished: the bounds hold, and the engine could not close the gap"


@dataclass(frozen=True, eq=False, repr=False)
class Solution(Shown):
    """A support with a lower bound for all others.

    Attributes
    ----------
    problem : SparseProbeProblem or MomentProblem
    support : tuple of int
        Columns of X, sorted.
    coef : ndarray, shape (len(support),)
        Coefficients of the standardised neurons.
    intercept : float
    upper_bound, lower_bound : float
        ``F(support) <= upper_bound`` and ``F(T) >= lower_bound`` for every T of at most k neurons, rounding included,
        on the mean-loss scale.
    tolerance : float
        The gap below which the status is optimal.
    status : Status
    interrupted : bool
        Whether Ctrl-C ended the search: the bounds hold, and whoever works through many problems should stop.
    engine, why : str
        The engine that ran, and the reason it was chosen.
    regime : str
        "separable", "relaxation" or "combinatorial".
    incumbent_source : str
        The heuristic that gave the starting support.
    proof : Proof
    seconds : mapping of str to float
        Seconds of each phase.
    counts : mapping of str to int
        Nodes, leaves, pairs scanned: what the engine counted.
    solver : callable
        `solve`, which answers what would be without a neuron.
    pool : Pool or None
        The near-optimal sets, where they were asked for and time was enough.
    """

    problem: ProbeProblem
    support: tuple[int, ...]
    coef: Floats
    intercept: float
    upper_bound: float
    lower_bound: float
    tolerance: float
    status: Status
    interrupted: bool
    engine: str
    why: str
    regime: str
    incumbent_source: str
    proof: Proof
    seconds: Mapping[str, float]
    counts: Mapping[str, int]
    solver: Callable[..., Solution]
    pool: Pool | None = None

    @property
    def gap(self) -> float:
        """``upper_bound - lower_bound``, on the mean-loss scale."""
        return self.upper_bound - self.lower_bound

    @property
    def optimal(self) -> bool:
        return self.status is Status.OPTIMAL

    @property
    def status_sentence(self) -> str:
        forced = self.problem.columns.names(self.problem.forced)
        sets = f"{self.problem.k} neurons" + (f" with {forced} in it" if forced else "")
        return self.status.value.format(sets=sets, tolerance=self.tolerance)

    def certificate(self, scope: Mapping[str, object] | None = None) -> Certificate:
        """The certificate of this solution.

        Its scope, which says in words and numbers what the data are, is that of the problem's origin; ``scope`` adds to
        it.
        """
        described_scope = described({**self.problem.origin.scope, **(scope or {})})
        bounds = self.upper_bound, self.lower_bound, self.tolerance
        return certificate_of(
            self.problem,
            Result(tuple(self.support), self.intercept, *bounds, None if self.pool is None else _stated(self.pool)),
            self._arrays,
            self.proof,
            Author(self.engine, self.regime, described_scope, versions()),
        )

    def without(self, *neurons: int | str, time_limit: float | None = None) -> Solution:
        """The best support if some neurons, by number or name, may not be used, with a certificate of its own.

        Raises `InputError` for neurons that may not be used anyway, or where none would be left.
        """
        columns = self.problem.columns
        left_out = sorted(map(columns.column, neurons))
        if forced := sorted(set(left_out) & set(self.problem.forced)):
            raise InputError(f"neuron {columns.name(forced[0])} is forced: state a problem that does not force it")
        if strange := sorted(set(left_out) - set(map(int, self.problem.candidates))):
            raise InputError(f"neuron {strange[0]} is none of those that may be used: leave it out")
        if not len(np.setdiff1d(self.problem.candidates, left_out)):
            raise InputError("no neuron would be left: name fewer")
        allowed = self.problem.among or range(self.problem.n_neurons)
        stated = self.problem.narrowed(np.setdiff1d(allowed, left_out))
        kept = [neuron for neuron in self.support if neuron not in left_out][: stated.size]
        return self.solver(stated, "auto", time_limit, self.tolerance, (kept,))

    def indispensability(self, time_limit: float | None = None) -> dict[int, tuple[float, float]]:
        """What each neuron of the support is worth: by how much the best set without it is worse, from and to.

        Neurons that are forced are left out: no set of the problem is without them.
        Both numbers are bounds, on the mean-loss scale: F of the best set without the neuron minus F of the best set.
        ``time_limit`` is for each neuron, in seconds. `without` has the certificates.
        """
        worth = {}
        for neuron in self.support:
            if neuron in self.problem.forced:
                continue
            other = self.without(neuron, time_limit=time_limit)
            if other.interrupted:
                raise KeyboardInterrupt
            worth[neuron] = (
                max(0.0, other.lower_bound - self.upper_bound),
                max(0.0, other.upper_bound - self.lower_bound),
            )
        return worth

    @property
    def _arrays(self) -> dict[str, Floats]:
        """The coefficients, of the pool those of all its sets one after the other."""
        of_pool = {} if self.pool is None else {"pool.coef": np.concatenate([one.coef for one in self.pool.sets])}
        return {"coef": self.coef, **of_pool}

    def _line(self) -> str:
        return f"neurons [{self.problem.columns.names(self.support)}]: {self.status_sentence}"

    def _table(self) -> Table:
        return facts(
            {
                "objective": f"{self.upper_bound:.9g}",
                "every other set": f"at least {self.lower_bound:.9g} (gap {self.gap:.2g})",
                **({} if self.pool is None else _facts(self.pool, self.problem.columns)),
                "engine": f"{self.engine}: {self.why}",
                "regime": self.regime,
                "seconds": f"{sum(self.seconds.values()):.2f}",
            }
        )


def _stated(pool: Pool) -> checker.Pool:
    """A pool as a claim states it."""
    return checker.Pool(
        tuple(checker.Member(one.support, one.intercept, one.upper_bound) for one in pool.sets), pool.rest
    )


def _facts(pool: Pool, columns: Columns) -> dict[str, str]:
    """What is printed of a pool."""
    best, roles = columns.names(pool.sets[0].support), pool.roles
    needed = [neuron for neuron, role in roles.items() if role == "indispensable"]
    return {
        "near-optimal sets": f"{len(pool.sets):,}, of {len(roles):,} neurons; the best is [{best}]",
        "without them": f"every set is at least {pool.rest:.9g}",
        **({} if pool.margin is None else {"margin": f"{pool.margin:.3g}" + (": unique" if pool.unique else "")}),
        "indispensable": columns.names(needed) if needed else "no neuron",
    }
