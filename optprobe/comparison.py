"""Heuristics against the certified optimum: what every ranking and search loses, and what it loses on held-out rows."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from formulations import SparseProbeProblem, fit_supports, with_rows
from optprobe.engines.solution import Solution
from optprobe.errors import InputError
from optprobe.heuristics import RANKINGS, RankingScores, beam_search, forward_selection, swap_descent, top

Floats = NDArray[np.float64]

BEAM_WIDTH = 8
METHODS = (*RANKINGS, "forward_selection", "beam_search", "swap_descent")
"""What a solution is compared with."""


@dataclass(frozen=True)
class ComparedSupport:
    """One method's support, refitted exactly.

    Attributes
    ----------
    method : str
        Name of the ranking or search, or "optimum".
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
        F1 of the positive class at threshold 0.
    """

    method: str
    support: list[int]
    objective: float
    regret: float
    overlap: int
    optimal: bool | None
    f1_train: float
    f1_test: float | None


@dataclass(frozen=True, eq=False)
class Comparison:
    """The best support known and every heuristic's, best objective first."""

    solution: Solution
    rows: tuple[ComparedSupport, ...]

    def records(self) -> list[dict[str, Any]]:
        """The rows as plain dictionaries."""
        return [asdict(row) for row in self.rows]

    def __str__(self) -> str:
        lines = [f"{'method':24}{'objective':>12}{'regret':>11}{'':>8}{'shared':>8}{'F1 train':>10}{'F1 test':>9}"]
        best = self.solution.upper_bound
        for row in self.rows:
            test = "" if row.f1_test is None else f"{row.f1_test:.3f}"
            lines.append(
                f"{row.method:24}{row.objective:12.6f}{row.regret:11.2e}{row.regret / best:+8.1%}"
                f"{row.overlap:5d}/{len(self.solution.support):<2d}{row.f1_train:10.3f}{test:>9}"
            )
        return "\n".join(lines)


def compare(
    solution: Solution,
    X_test: NDArray[Any] | None = None,
    y_test: Floats | None = None,
    seed: int = 0,
    scores: Mapping[str, Floats] | None = None,
    methods: Collection[str] | None = None,
) -> Comparison:
    """Refit the top k of every ranking and the result of every search, and set them against a solution.

    Parameters
    ----------
    solution : Solution
    X_test, y_test : ndarray, shapes (n_test, n_neurons) and (n_test,), optional
        Held-out rows, labels in {-1, +1}; standardised as the training rows.
    seed : int
        Of the rankings that draw at random.
    scores : mapping, optional
        The `RankingScores` of these rows, where they serve several problems.
    methods : collection of str, optional
        Which of `METHODS`; by default all. The others are not computed.

    Raises
    ------
    InputError
        If there is no such method.
    """
    check_methods(methods)
    problem = with_rows(solution.problem)
    scored = RankingScores(problem, seed) if scores is None else scores
    named = dict(_supports(solution, scored, METHODS if methods is None else methods))
    sets = np.array(list(named.values()), dtype=np.int64).reshape(len(named), -1)
    distinct, place = np.unique(sets, axis=0, return_inverse=True)
    fits = fit_supports(problem, distinct)
    reference = float(fits.objective.min())
    best = set(fits.supports[int(fits.objective.argmin())]) if not solution.optimal else set(solution.support)
    rows = []
    for at, (method, support) in zip(place, named.items()):
        coef, intercept, objective = fits.coef[at], float(fits.intercept[at]), float(fits.objective[at])
        within = objective <= solution.lower_bound + solution.tolerance
        beaten = objective > reference + solution.tolerance
        held_out = None
        if X_test is not None and y_test is not None:
            held_out = f1(y_test, predict(problem, X_test, support, coef, intercept))
        rows.append(
            ComparedSupport(
                method=method,
                support=list(support),
                objective=objective,
                regret=objective - reference,
                overlap=len(best & set(support)),
                optimal=True if within else (False if beaten else None),
                f1_train=f1(problem.y, problem.Z[:, list(support)] @ coef + intercept, problem.w),
                f1_test=held_out,
            )
        )
    order = sorted(rows, key=lambda row: (round(row.objective, 9), row.method != "optimum", row.method))
    return Comparison(solution, tuple(order))


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


def f1(y: Floats, f: Floats, w: Floats | None = None) -> float:
    """F1 of the positive class where f > 0 is a positive prediction; 0 where there is no true positive."""
    weight = np.ones(len(y)) if w is None else w
    hits = weight[(f > 0) & (y > 0)].sum()
    wrong = weight[(f > 0) != (y > 0)].sum()
    return float(2 * hits / (2 * hits + wrong)) if hits > 0 else 0.0


def _supports(
    solution: Solution, scores: Mapping[str, Floats], methods: Collection[str]
) -> Iterator[tuple[str, tuple[int, ...]]]:
    """The solution's support and that of each method asked for; swap descent begins at forward selection's."""
    problem = solution.problem
    yield "optimum" if solution.optimal else "best known", solution.support
    for name in scores:
        if name in methods:
            yield name, tuple(map(int, top(scores[name], problem.size)))
    if {"forward_selection", "swap_descent"} & set(methods):
        forward = forward_selection(problem).support
    if "forward_selection" in methods:
        yield "forward selection", tuple(map(int, forward))
    if "beam_search" in methods:
        yield "beam search", tuple(map(int, beam_search(problem, width=BEAM_WIDTH).support))
    if "swap_descent" in methods:
        yield "swap descent", tuple(map(int, swap_descent(problem, forward).support))
