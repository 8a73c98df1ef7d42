"""One case of a run: a certified optimum, the verdict of the checker, and every heuristic beside it."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from formulations import SparseProbeProblem
from optprobe.activations import LabelledActivations
from optprobe.certificates import verify
from optprobe.comparison import OPTIMUM, PARTS, ComparedSupport, Floats, compare
from optprobe.engines import Solution, solve
from optprobe.errors import InputError
from optprobe.registry import Registry
from optprobe.scoring import NAMES, GroupBootstrap, Scores


class Setting(NamedTuple):
    """What cases must share to be averaged.

    Loss, ridge (None: each case has a validated one), class weights, and how many neurons are searched (None: all).
    """

    loss: str
    ridge: float | None
    class_weight: str
    among: int | None = None

    def __str__(self) -> str:
        weights = "balanced classes" if self.class_weight == "balanced" else "unweighted rows"
        ridge = "validated ridge" if self.ridge is None else f"ridge {self.ridge:g}"
        among = "" if self.among is None else f", among {self.among} neurons"
        return f"{self.loss} loss, {ridge}, {weights}{among}"


@dataclass(frozen=True)
class MethodResult(ComparedSupport):
    """A `ComparedSupport` with scores of test rows, and their intervals over test documents."""

    test: Scores
    low: Scores
    high: Scores
    behind: Scores
    behind_low: Scores
    behind_high: Scores

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Self:
        """The result whose `record` this is; TypeError or KeyError for anything else."""
        rest = dict(record)
        parts = {part: Scores(**{name: rest.pop(f"{name}_{part}") for name in NAMES}) for part in PARTS}
        return cls(**(rest | parts))


@dataclass(frozen=True)
class Case:
    """
    What a run found for one feature, layer, loss and k.

    Attributes
    ----------
    feature, layer, k, loss, ridge, class_weight, among
        The problem; ``among`` is the number of neurons searched, None for all.
    n_rows, n_neurons, n_test : int
        Training rows, columns, test rows.
    support, upper_bound, lower_bound, tolerance, status, optimal, engine, regime
        The solution, as `Solution` has them; ``status`` is the sentence.
    start : str
        The heuristic whose support the engine started from.
    counts : mapping of str to int
        What the engine counted: nodes, and for a MIP the rounds of HiGHS and its cuts.
    certificate : str
        sha256 of the certificate's file, its name in the registry.
    accepted, verdict : bool and str
        What the independent checker said of that file.
    methods : tuple of MethodResult
        The solution and every heuristic, best objective first.
    validation : tuple of mapping
        What each ridge of a grid came to, where this one was chosen so: see `chosen_ridge`.
    """

    feature: str
    layer: int
    k: int
    loss: str
    ridge: float
    class_weight: str
    among: int | None
    n_rows: int
    n_neurons: int
    n_test: int
    support: tuple[int, ...]
    upper_bound: float
    lower_bound: float
    tolerance: float
    status: str
    optimal: bool
    engine: str
    regime: str
    start: str
    counts: Mapping[str, int]
    certificate: str
    accepted: bool
    verdict: str
    methods: tuple[MethodResult, ...]
    validation: tuple[Mapping[str, Any], ...] = ()

    @property
    def setting(self) -> Setting:
        """Loss, ridge and class weights."""
        return Setting(self.loss, None if self.validation else self.ridge, self.class_weight, self.among)

    @property
    def gap(self) -> float:
        """``upper_bound - lower_bound``."""
        return self.upper_bound - self.lower_bound

    @property
    def best(self) -> MethodResult:
        """The solution itself, among the methods."""
        return next(result for result in self.methods if result.method == OPTIMUM)

    @property
    def heuristics(self) -> tuple[MethodResult, ...]:
        """The methods without the solution."""
        return tuple(result for result in self.methods if result.method != OPTIMUM)

    def record(self) -> dict[str, Any]:
        """The case as plain dictionaries and lists, for JSON."""
        return asdict(self) | {
            "support": list(self.support),
            "counts": dict(self.counts),
            "methods": [result.record() for result in self.methods],
            "validation": list(self.validation),
        }

    @classmethod
    def of_record(cls, record: Mapping[str, Any]) -> Self:
        """The case that `record` wrote; TypeError or KeyError for anything else."""
        methods = tuple(map(MethodResult.of_record, record["methods"]))
        validation = tuple(record["validation"])
        return cls(**{**record, "support": tuple(record["support"]), "methods": methods, "validation": validation})


def certified_case(
    data: LabelledActivations,
    problem: SparseProbeProblem,
    registry: Registry,
    *,
    method: str = "auto",
    time_limit: float | None = None,
    methods: Collection[str] | None = None,
    draws: int = 1000,
    seed: int = 0,
    scores: Mapping[str, Floats] | None = None,
    incumbents: Sequence[Sequence[int]] = (),
    within: float | None = None,
) -> Case:
    """
    Solve a problem, have its certificate checked, keep it, and set every heuristic against the solution.

    Parameters
    ----------
    data : LabelledActivations
        The rows of the problem, with a test part and its documents.
    problem : SparseProbeProblem
        A problem about the training rows.
    registry : Registry
        Where the certificate goes.
    method : str
        As in `solve`.
    time_limit : float, optional
        Seconds for `solve`.
    methods : collection of str, optional
        Which heuristics; by default all.
    draws : int
        Resamples of the test documents.
    seed : int
        Of the resamples, and of the rankings that draw at random.
    scores : mapping, optional
        The `RankingScores` of these rows, where they serve several problems.
    incumbents : sequence of supports
        To start from, beside what the heuristics find.
    within : float, optional
        Certify also all near-optimal sets, up to this share of F above the optimum.

    Raises
    ------
    InputError
        If the data have no test rows with documents and a feature and layer of their own.
    KeyboardInterrupt
        If the solve was interrupted: an interrupted case is none.
    """
    _test_part(data)
    solution = solve(problem, method, time_limit, incumbents=incumbents, within=within)
    if solution.interrupted:
        raise KeyboardInterrupt
    return case_of(solution, data, registry, methods=methods, draws=draws, seed=seed, scores=scores)


def case_of(
    solution: Solution,
    data: LabelledActivations,
    registry: Registry,
    *,
    methods: Collection[str] | None = None,
    draws: int = 1000,
    seed: int = 0,
    scores: Mapping[str, Floats] | None = None,
    rankings: Mapping[str, Sequence[int]] | None = None,
) -> Case:
    """
    Have the certificate of a solution checked, keep it, and set every heuristic against the solution.

    Parameters
    ----------
    solution : Solution
        Of a problem about the training rows.
    data, registry, methods, draws, seed, scores
        As in `certified_case`.
    rankings : mapping of str to sequence of int, optional
        As in `optprobe.compare`: neurons that others name, the best first.

    Raises
    ------
    InputError
        If the data have no test rows with documents and a feature and layer of their own.
    """
    X_test, y_test, group_test = _test_part(data)
    problem = solution.problem
    certificate = solution.certificate()
    sha256 = registry.add(certificate)
    verdict = verify(registry.path(sha256), data.X_train, data.y_train, data.w_train)
    if verdict.accepted:
        registry.add(certificate, verdict)
    resamples = GroupBootstrap.of(group_test, draws, seed)
    own_seed = seed if scores is None else None
    compared = compare(solution, X_test, y_test, own_seed, scores, methods, rankings, resamples).rows
    return Case(
        feature=str(data.scope["feature"]),
        layer=int(data.scope["layer"]),
        k=problem.k,
        loss=problem.loss.name,
        ridge=problem.ridge,
        class_weight=problem.class_weight,
        among=None if problem.among is None else len(problem.among),
        n_rows=problem.n_rows,
        n_neurons=problem.n_neurons,
        n_test=len(y_test),
        support=solution.support,
        upper_bound=solution.upper_bound,
        lower_bound=solution.lower_bound,
        tolerance=solution.tolerance,
        status=solution.status_sentence,
        optimal=solution.optimal,
        engine=solution.engine,
        regime=solution.regime,
        start=solution.incumbent_source,
        counts=solution.counts,
        certificate=sha256,
        accepted=verdict.accepted,
        verdict=verdict.reason,
        methods=tuple(MethodResult(**vars(row)) for row in compared),
    )


def _test_part(data: LabelledActivations) -> tuple[NDArray[Any], Floats, NDArray[np.int64]]:
    """Values, labels and documents of the test rows, after a check."""
    X_test, y_test, group_test = data.X_test, data.y_test, data.group_test
    if X_test is None or y_test is None or group_test is None or not {"feature", "layer"} <= set(data.scope):
        raise InputError("a case needs test rows with documents, and the names of feature and layer: give a store")
    return X_test, y_test, group_test
