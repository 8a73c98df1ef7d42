"""Heuristics against the certified optimum: what every ranking and search loses, and what it loses on held-out rows."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from formulations import SparseProbeProblem, fit_supports, held_out_rows, with_rows
from formulations.shown import Shown, Table
from optprobe.activations.foreign import as_array, neuron_values
from optprobe.engines.solution import Solution
from optprobe.errors import InputError
from optprobe.heuristics import RANKINGS, RankingScores, beam_search, forward_selection, swap_descent, top

if TYPE_CHECKING:
    from pandas import DataFrame

Floats = NDArray[np.float64]

BEAM_WIDTH = 8
OPTIMUM = "optimum"
"""The name of the solution's own support, also where it is the best known one only."""
METHODS = (*RANKINGS, "forward_selection", "beam_search", "swap_descent")
"""What a solution is compared with."""


@dataclass(frozen=True)
class ComparedSupport:
    """One method's support, refitted exactly.

    Attributes
    ----------
    method : str
        Name of the ranking or search; `OPTIMUM` is the solution itself, and ``optimal`` says whether that is proved.
    support : list of int
    objective : float
        F(support), on the mean-loss scale.
    regret : float
        ``F(support)`` minus F of the best support of all methods, which is the optimum where that is certified.
    overlap : int
        Neurons in common with that best support.
    optimal : bool or None
        Whether no set is better by more than the tolerance; None where the bounds leave it open.
    f1_train, f1_test : float or None
        F1 of the positive class at threshold 0, every row counted once: of the rows of positive weight that the support
        was fitted on, and of held-out rows.
    """

    method: str
    support: list[int]
    objective: float
    regret: float
    overlap: int
    optimal: bool | None
    f1_train: float
    f1_test: float | None


@dataclass(frozen=True, eq=False, repr=False)
class Comparison(Shown):
    """The best support known and every heuristic's, best objective first.

    Attributes
    ----------
    solution : Solution
    rows : tuple of ComparedSupport
    leakage : tuple of str
        What the held-out rows share with the training rows, a sentence each.
    """

    solution: Solution
    rows: tuple[ComparedSupport, ...]
    leakage: tuple[str, ...] = ()

    def records(self) -> list[dict[str, Any]]:
        """The rows as plain dictionaries."""
        return [asdict(row) for row in self.rows]

    def to_pandas(self) -> DataFrame:
        """The rows as a data frame, best objective first; needs pandas."""
        try:
            from pandas import DataFrame
        except ImportError as error:
            raise InputError("a data frame needs pandas: pip install pandas, or take records()") from error
        return DataFrame(self.records())

    def _line(self) -> str:
        losing = sum(row.optimal is False for row in self.rows)
        return f"Comparison of {len(self.rows)} sets of {len(self.solution.support)} neurons, {losing} not optimal"

    def _table(self) -> Table:
        best, size = self.solution.upper_bound, len(self.solution.support)
        rows = [
            (
                self._name(row),
                f"{row.objective:.6f}",
                f"{row.regret:.2e}",
                f"{row.regret / best:+.1%}" if best > 0 else "",
                f"{row.overlap}/{size}",
                f"{row.f1_train:.3f}",
                "" if row.f1_test is None else f"{row.f1_test:.3f}",
            )
            for row in self.rows
        ]
        return [("method", "objective", "regret", "relative", "shared", "F1 train", "F1 test"), *rows]

    def __str__(self) -> str:
        return "\n".join([super().__str__(), *self.leakage])

    def _name(self, row: ComparedSupport) -> str:
        """A method in words; the solution is an optimum where that is proved."""
        if row.method == OPTIMUM and not self.solution.optimal:
            return "best known"
        return row.method.replace("_", " ")


def compare(
    solution: Solution,
    X_test: ArrayLike | None = None,
    y_test: ArrayLike | None = None,
    seed: int | None = None,
    scores: Mapping[str, Floats] | None = None,
    methods: Collection[str] | None = None,
    rankings: Mapping[str, Sequence[int]] | None = None,
) -> Comparison:
    """Refit the top k of every ranking and the result of every search, and set them against a solution.

    Parameters
    ----------
    solution : Solution
    X_test, y_test : array_like, shapes (n_test, n_neurons) and (n_test,), optional
        Held-out rows, with labels as those of the problem were given; standardised as the training rows. By default the
        test part of the problem's origin, where it has one.
    seed : int, optional
        Of the rankings that draw at random (default 0).
    scores : mapping, optional
        The `RankingScores` of these rows, where they serve several problems; they have their seed.
    methods : collection of str, optional
        Which of `METHODS`; by default all. The others are not computed.
    rankings : mapping of str to sequence of int, optional
        Neurons that others name, the best first (see `optprobe.heuristics.read_ranking`): the first k of each are
        compared too, under its name.

    Raises
    ------
    InputError
        If the held-out rows do not fit the problem, there is no such method, or an argument has no effect.
    UnsupportedProblem
        If the problem is stated by moments.
    """
    if seed is not None and scores is not None:
        raise InputError("the rankings are given by scores=, and seed= has no effect beside them: leave it out")
    check_methods(methods)
    if solution.problem.groups is not None:
        raise InputError("heuristics know nothing of groups: compare the optimum of the problem without groups")
    problem = with_rows(solution.problem)
    if problem.targets is not None:
        raise InputError("heuristics rank neurons for labels: a problem of real targets has none to be compared by")
    test = _held_out(problem, X_test, y_test)
    scored = RankingScores(problem, seed or 0) if scores is None else scores
    named = dict(_supports(solution, scored, METHODS if methods is None else methods))
    named |= {name: _first(problem, name, neurons) for name, neurons in (rankings or {}).items()}
    sets = np.array(list(named.values()), dtype=np.int64).reshape(len(named), -1)
    distinct, place = np.unique(sets, axis=0, return_inverse=True)
    fits = fit_supports(problem, distinct)
    reference = float(fits.objective.min())
    best = set(fits.supports[int(fits.objective.argmin())]) if not solution.optimal else set(solution.support)
    rows, used = [], problem.w > 0
    for at, (method, support) in zip(place, named.items()):
        coef, intercept, objective = fits.coef[at], float(fits.intercept[at]), float(fits.objective[at])
        within = objective <= solution.lower_bound + solution.tolerance
        beaten = objective > reference + solution.tolerance
        fitted = problem.Z[:, list(support)] @ coef + intercept
        rows.append(
            ComparedSupport(
                method=method,
                support=list(support),
                objective=objective,
                regret=objective - reference,
                overlap=len(best & set(support)),
                optimal=True if within else (False if beaten else None),
                f1_train=f1(problem.y[used], fitted[used]),
                f1_test=None if test is None else f1(test[1], predict(problem, test[0], support, coef, intercept)),
            )
        )
    order = sorted(rows, key=lambda row: (round(row.objective, 9), row.method != OPTIMUM, row.method))
    return Comparison(solution, tuple(order), problem.origin.leakage if X_test is None else ())


def _held_out(
    problem: SparseProbeProblem, X_test: ArrayLike | None, y_test: ArrayLike | None
) -> tuple[NDArray[Any], Floats] | None:
    """The held-out rows that are given, or those of the problem's origin, after a check."""
    if (X_test is None) != (y_test is None):
        raise InputError("test rows need their labels: give X_test and y_test together, or neither")
    if X_test is not None and y_test is not None:
        return held_out_rows(problem, neuron_values(X_test), as_array(y_test))
    if problem.origin.X_test is None or problem.origin.y_test is None:
        return None
    return held_out_rows(problem, problem.origin.X_test, problem.origin.y_test)


def check_methods(methods: Collection[str] | None) -> None:
    """Raise `InputError` for a name that is none of `METHODS`."""
    for name in methods or ():
        if name not in METHODS:
            raise InputError(f"there is no method {name!r} to compare: there are {', '.join(METHODS)}")


def predict(
    problem: SparseProbeProblem, X: NDArray[Any], support: tuple[int, ...], coef: Floats, intercept: float
) -> Floats:
    """The decision value ``f = Z_S b + b0`` of new rows, standardised as the problem's, shape (len(X),)."""
    columns = list(support)
    Z = problem.standardisation.apply(X[:, columns], columns)
    return np.asarray(Z @ coef + intercept)


def f1(y: Floats, f: Floats) -> float:
    """F1 of the positive class where f > 0 is a positive prediction; 0 where there is no true positive."""
    hits = np.count_nonzero((f > 0) & (y > 0))
    wrong = np.count_nonzero((f > 0) != (y > 0))
    return 2 * hits / (2 * hits + wrong) if hits else 0.0


def _first(problem: SparseProbeProblem, name: str, neurons: Sequence[int]) -> tuple[int, ...]:
    """The first neurons of somebody's ranking, as many as a support has."""
    if name in (OPTIMUM, *METHODS):
        raise InputError(f"a ranking cannot be called {name!r}, which names a method of its own: rename it")
    if strange := sorted(set(neurons) - set(map(int, problem.candidates))):
        raise InputError(f"the ranking {name} has the neuron {strange[0]}, no column that may be used")
    if len(set(neurons)) < problem.size:
        raise InputError(f"the ranking {name} names {len(set(neurons))} neurons: compare it at a k up to that")
    return tuple(sorted(list(dict.fromkeys(neurons))[: problem.size]))


def _supports(
    solution: Solution, scores: Mapping[str, Floats], methods: Collection[str]
) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The solution's support and that of each method asked for; swap descent begins at forward selection's."""
    problem = solution.problem
    yield OPTIMUM, solution.support
    for name in scores:
        if name in methods:
            yield name, tuple(map(int, top(scores[name], problem.size)))
    if {"forward_selection", "swap_descent"} & set(methods):
        forward = forward_selection(problem).support
    if "forward_selection" in methods:
        yield "forward_selection", tuple(map(int, forward))
    if "beam_search" in methods:
        yield "beam_search", tuple(map(int, beam_search(problem, width=BEAM_WIDTH).support))
    if "swap_descent" in methods:
        yield "swap_descent", tuple(map(int, swap_descent(problem, forward).support))
