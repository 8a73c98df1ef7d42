"""Heuristics against the certified optimum: what every ranking and search loses, and what it loses on held-out rows."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray

from formulations import Fits, SparseProbeProblem, fit_supports, held_out_rows, with_rows
from formulations.shown import Shown, Table
from optprobe.activations.foreign import as_array, neuron_values
from optprobe.engines.solution import Solution
from optprobe.errors import InputError
from optprobe.heuristics import RANKINGS, RankingScores, beam_search, forward_selection, swap_descent, top
from optprobe.scoring import DRAWS, NAMES, GroupBootstrap, Scores, interval, score_values, scores_of

if TYPE_CHECKING:
    from pandas import DataFrame

Floats = NDArray[np.float64]

BEAM_WIDTH = 8
OPTIMUM = "optimum"
"""The name of the solution's own support, also where it is the best known one only."""
METHODS = (*RANKINGS, "forward_selection", "beam_search", "swap_descent")
"""What a solution is compared with."""
PARTS = ("train", "test", "low", "high", "behind", "behind_low", "behind_high")
"""The scores of a `ComparedSupport`: columns are called ``f1_test``, ``auc_behind_low`` and so on."""


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
    train : Scores
        Of the rows of positive weight that the support was fitted on, every row counted once.
    test : Scores or None
        Of held-out rows.
    low, high : Scores or None
        Ends of the intervals of ``test``, where the documents of the held-out rows are known.
    behind : Scores or None
        Scores of the solution's own support minus those of this one, on the held-out rows.
    behind_low, behind_high : Scores or None
        Ends of the intervals of ``behind``, on the same resamples as those of ``test``.
    """

    method: str
    support: list[int]
    objective: float
    regret: float
    overlap: int
    optimal: bool | None
    train: Scores
    test: Scores | None
    low: Scores | None
    high: Scores | None
    behind: Scores | None
    behind_low: Scores | None
    behind_high: Scores | None

    @property
    def relative_regret(self) -> float:
        """The regret as a share of the best objective."""
        best = self.objective - self.regret
        return self.regret / best if best > 0 else 0.0

    @property
    def f1_train(self) -> float:
        """F1 of ``train``."""
        return self.train.f1

    @property
    def f1_test(self) -> float | None:
        """F1 of ``test``."""
        return None if self.test is None else self.test.f1

    def record(self) -> dict[str, Any]:
        """All of it in one plain dictionary: a score is called ``auc_test``, an end of its interval ``auc_low``.

        Intervals and differences that are not known are left out; scores of held-out rows are None then.
        """
        flat = {name: value for name, value in vars(self).items() if name not in PARTS}
        for part in PARTS:
            found = getattr(self, part)
            if found is not None or part == "test":
                flat |= {f"{name}_{part}": getattr(found, name, None) for name in NAMES}
        return flat


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
        """The rows as plain dictionaries, see `ComparedSupport.record`."""
        return [row.record() for row in self.rows]

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
        shown = [("F1 train", "train", "f1"), ("F1 test", "test", "f1"), ("AUC test", "test", "auc")]
        rows = [
            (
                self._name(row),
                f"{row.objective:.6f}",
                f"{row.regret:.2e}",
                f"{row.regret / best:+.1%}" if best > 0 else "",
                f"{row.overlap}/{size}",
                *(_three_digits(getattr(getattr(row, part), name, None)) for _, part, name in shown),
            )
            for row in self.rows
        ]
        return [("method", "objective", "regret", "relative", "shared", *(head for head, *_ in shown)), *rows]

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
    resamples: GroupBootstrap | None = None,
) -> Comparison:
    """Refit the top k of every ranking and the result of every search, and set them against a solution.

    Parameters
    ----------
    solution : Solution
    X_test, y_test : array_like, shapes (n_test, n_neurons) and (n_test,), optional
        Held-out rows, with labels as those of the problem were given; standardised as the training rows. By default the
        test part of the problem's origin, where it has one.
    seed : int, optional
        Of the rankings and resamples that are drawn at random (default 0).
    scores : mapping, optional
        The `RankingScores` of these rows, where they serve several problems; they have their seed.
    methods : collection of str, optional
        Which of `METHODS`; by default all. The others are not computed.
    rankings : mapping of str to sequence of int, optional
        Neurons that others name, the best first (see `optprobe.heuristics.read_ranking`): the first k of each are
        compared too, under its name.
    resamples : GroupBootstrap, optional
        Of the documents of the held-out rows, for intervals of their scores. By default `DRAWS` resamples, where the
        held-out rows are those of the origin and it knows their documents.

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
    problem = with_rows(solution.problem)
    check_comparable(problem)
    test = _held_out(problem, X_test, y_test)
    if resamples is None and X_test is None and problem.origin.group_test is not None:
        resamples = GroupBootstrap.of(problem.origin.group_test, DRAWS, seed or 0)
    check_resamples(resamples, None if test is None else len(test[1]))
    scored = RankingScores(problem, seed or 0) if scores is None else scores
    named = dict(_supports(solution, scored, METHODS if methods is None else methods))
    named |= {name: _first(problem, name, neurons) for name, neurons in (rankings or {}).items()}
    sets = np.array(list(named.values()), dtype=np.int64).reshape(len(named), -1)
    distinct, place = np.unique(sets, axis=0, return_inverse=True)
    fits = fit_supports(problem, distinct)
    reference = float(fits.objective.min())
    best = set(fits.supports[int(fits.objective.argmin())]) if not solution.optimal else set(solution.support)
    judged = [_judged(problem, fits, at, test, resamples) for at in range(len(distinct))]
    rows = []
    for at, (method, support) in zip(place, named.items()):
        objective = float(fits.objective[at])
        within = objective <= solution.lower_bound + solution.tolerance
        beaten = objective > reference + solution.tolerance
        rows.append(
            ComparedSupport(
                method=method,
                support=list(support),
                objective=objective,
                regret=objective - reference,
                overlap=len(best & set(support)),
                optimal=True if within else (False if beaten else None),
                train=judged[at].train,
                **_held_out_scores(judged[at].held_out, judged[place[0]].held_out),
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


class _Judged(NamedTuple):
    """The scores of a support: of the rows that it was fitted on, and of held-out rows, as they are and resampled."""

    train: Scores
    held_out: Floats | None


def _judged(
    problem: SparseProbeProblem,
    fits: Fits,
    at: int,
    test: tuple[NDArray[Any], Floats] | None,
    resamples: GroupBootstrap | None,
) -> _Judged:
    """The scores of one fit; of held-out rows an array of `NAMES` by rows as they are, then every resample."""
    used, log_odds = problem.w > 0, problem.loss.name == "logistic"
    support, coef, intercept = tuple(map(int, fits.supports[at])), fits.coef[at], float(fits.intercept[at])
    fitted = problem.Z[:, list(support)] @ coef + intercept
    train = scores_of(problem.y[used], fitted[used], log_odds)
    if test is None:
        return _Judged(train, None)
    f = predict(problem, test[0], support, coef, intercept)
    whole = score_values(test[1], f, log_odds)
    drawn = [] if resamples is None else [resamples.scores(test[1], f, log_odds)]
    return _Judged(train, np.hstack([whole, *drawn]))


def _held_out_scores(own: Floats | None, best: Floats | None) -> dict[str, Scores | None]:
    """The `PARTS` about held-out rows, of the arrays of a support and of the solution's."""
    parts: dict[str, Scores | None] = dict.fromkeys(PARTS[1:])
    if own is None or best is None:
        return parts
    for (value, low, high), found in zip((PARTS[1:4], PARTS[4:]), (own, best - own)):
        parts[value] = Scores.of(found[:, 0])
        if found.shape[1] > 1:
            parts[low], parts[high] = interval(found[:, 1:])
    return parts


def check_resamples(resamples: GroupBootstrap | None, n_test: int | None) -> None:
    """Raise `InputError` for resamples of other rows than the held-out ones."""
    if resamples is not None and n_test is None:
        raise InputError("there are no held-out rows, and resamples= has no effect: leave it out, or give X_test")
    if resamples is not None and len(resamples.group) != n_test:
        raise InputError(f"the resamples are of {len(resamples.group)} rows, and {n_test} are held out: give theirs")


def check_comparable(problem: SparseProbeProblem) -> None:
    """Raise `InputError` for a problem that no heuristic is for."""
    if problem.groups is not None:
        raise InputError("heuristics know nothing of groups: compare the optimum of the problem without groups")
    if problem.targets is not None:
        raise InputError("heuristics rank neurons for labels: a problem of real targets has none to be compared by")


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


def _three_digits(value: float | None) -> str:
    return "" if value is None else f"{value:.3f}"


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
