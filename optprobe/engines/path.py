"""The optima of several k of one problem: a certificate each, and from which k on a target is reached."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, ClassVar, TypeVar

from formulations import ProbeProblem
from formulations.shown import Shown, Table
from optprobe.engines.solution import Solution
from optprobe.engines.solve import solve
from optprobe.errors import InputError

Name = TypeVar("Name")


@dataclass(frozen=True, eq=False, repr=False)
class Solutions(Shown, Mapping[Name, Solution]):
    """
    Several solutions by a name, and their table.

    Attributes
    ----------
    solutions : mapping
    """

    solutions: Mapping[Name, Solution]

    name_of_names: ClassVar[str]

    def __getitem__(self, name: Name) -> Solution:
        return self.solutions[name]

    def __iter__(self) -> Iterator[Name]:
        return iter(self.solutions)

    def __len__(self) -> int:
        return len(self.solutions)

    @property
    def n_optimal(self) -> int:
        """How many are proved optimal."""
        return sum(solution.optimal for solution in self.values())

    def _table(self) -> Table:
        rows = [
            (str(name), s.problem.columns.names(s.support), f"{s.upper_bound:.9g}", f"{s.lower_bound:.9g}", s.engine)
            for name, s in self.items()
        ]
        return [(self.name_of_names, "neurons", "objective", "at least", "engine"), *rows]


class SolutionPath(Solutions[int]):
    """The solution of each k, rising."""

    name_of_names = "k"

    @property
    def nested(self) -> bool:
        """Whether each support contains the one before it."""
        return all(set(a.support) <= set(b.support) for a, b in pairwise(self.values()))

    def smallest(self, objective: float) -> int | None:
        """The smallest number of neurons with which some set reaches an objective; None where the bounds do not tell.

        It is proved from both sides: some set of so many reaches it, and no set of one neuron less does. That needs k
        less one among the solutions, or k = 1.
        """
        for k, solution in self.items():
            if solution.upper_bound <= objective:
                below = self.get(k - 1)
                proved = k == 1 or (below is not None and below.lower_bound > objective)
                return k if proved else None
        return None

    def smallest_by(self, score: Callable[[Solution], float], least: float) -> int | None:
        """The smallest k whose optimum has at least a score, such as a held-out F1; None where none has."""
        return next((k for k, solution in self.items() if score(solution) >= least), None)

    def _line(self) -> str:
        ks, nested = ", ".join(map(str, self)), "nested" if self.nested else "not nested"
        return f"{len(self)} optima for k = {ks}, {self.n_optimal} of them proved; sets {nested}"


def solve_path(
    problem: ProbeProblem, ks: Sequence[int], time_limit: float | None = None, **options: Any
) -> SolutionPath:
    """
    Solve a problem for several k, each from the optimum of the one before.

    Parameters
    ----------
    problem : SparseProbeProblem or MomentProblem
        Its own k plays no part.
    ks : sequence of int
        Each once.
    time_limit : float, optional
        Seconds for each k.
    **options
        As `solve` takes them: method, tolerance, progress, within, pool ...

    Raises
    ------
    InputError
        If there is no k, one is named twice or cannot be used, or as `solve` does.
    KeyboardInterrupt
        After Ctrl-C: a path is whole or none.
    """
    if not ks or len(set(ks)) < len(ks):
        raise InputError("give numbers of neurons, each once, such as range(1, 6)")
    found: dict[int, Solution] = {}
    before: list[tuple[int, ...]] = []
    for stated in [problem.restated(k=k) for k in sorted(ks)]:
        found[stated.k] = solve(stated, time_limit=time_limit, incumbents=before, **options)
        if found[stated.k].interrupted:
            raise KeyboardInterrupt
        before = [found[stated.k].support]
    return SolutionPath(found)
