"""What many cases say together: one line a method, and one sentence for all."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from optprobe.cases.case import Case, MethodResult, Setting
from optprobe.comparison import OPTIMUM

RANKING = "mean_difference"
"""The ranking that the headline speaks of: the usual choice of neurons."""


@dataclass(frozen=True)
class MethodSummary:
    """
    One method over the cases of one setting.

    Attributes
    ----------
    method : str
    n_cases, n_optimal : int
        Cases, and those in which no set is better by more than the tolerance.
    relative_regret : dict of int to float
        For each k, the mean over its cases.
    mean_regret, mean_relative_regret, worst_relative_regret : float
        Over all cases.
    shared : float
        Mean share of neurons in common with the best support.
    f1_test, f1_behind : float
        Means on the test rows.
    auc_test : float or None
        Likewise, over the cases whose test rows have both classes.
    n_above, n_below : int
        Cases in which the whole interval of ``f1_behind`` lies above or below 0.
    """

    method: str
    n_cases: int
    n_optimal: int
    relative_regret: dict[int, float]
    mean_regret: float
    mean_relative_regret: float
    worst_relative_regret: float
    shared: float
    f1_test: float
    f1_behind: float
    auc_test: float | None
    n_above: int
    n_below: int


def by_setting(cases: Sequence[Case]) -> dict[Setting, list[Case]]:
    """The cases of each setting, in the order in which the settings first occur."""
    found: dict[Setting, list[Case]] = {}
    for case in cases:
        found.setdefault(case.setting, []).append(case)
    return found


def by_method(cases: Sequence[Case]) -> dict[str, list[tuple[Case, MethodResult]]]:
    """The results of each heuristic with their cases, smallest mean relative regret first."""
    found: dict[str, list[tuple[Case, MethodResult]]] = {}
    for case in cases:
        for result in case.heuristics:
            found.setdefault(result.method, []).append((case, result))
    return dict(sorted(found.items(), key=lambda item: np.mean([result.relative_regret for _, result in item[1]])))


def summaries(cases: Sequence[Case]) -> list[MethodSummary]:
    """The solution, then every heuristic, smallest mean relative regret first."""
    solved = {OPTIMUM: [(case, case.best) for case in cases]}
    return [_summary(method, pairs) for method, pairs in (solved | by_method(cases)).items()]


def _summary(method: str, pairs: Sequence[tuple[Case, MethodResult]]) -> MethodSummary:
    results = [result for _, result in pairs]
    areas = [result.test.auc for result in results if result.test.auc is not None]
    return MethodSummary(
        method=method,
        n_cases=len(pairs),
        n_optimal=sum(result.optimal is True for result in results),
        relative_regret={
            k: float(np.mean([result.relative_regret for case, result in pairs if case.k == k]))
            for k in sorted({case.k for case, _ in pairs})
        },
        mean_regret=float(np.mean([result.regret for result in results])),
        mean_relative_regret=float(np.mean([result.relative_regret for result in results])),
        worst_relative_regret=max(result.relative_regret for result in results),
        shared=float(np.mean([result.overlap / len(case.support) for case, result in pairs])),
        f1_test=float(np.mean([result.test.f1 for result in results])),
        f1_behind=float(np.mean([result.behind.f1 for result in results])),
        auc_test=float(np.mean(areas)) if areas else None,
        n_above=sum(result.behind_low.f1 > 0 for result in results),
        n_below=sum(result.behind_high.f1 < 0 for result in results),
    )


def one_each(cases: Sequence[Case]) -> list[Case]:
    """The first case of every question: several engines that answer one count once."""
    found: dict[tuple[object, ...], Case] = {}
    for case in cases:
        found.setdefault((case.feature, case.layer, case.setting, case.k), case)
    return list(found.values())


def headline(cases: Sequence[Case]) -> str:
    """What was certified and checked, and what the mean-difference ranking and the best heuristic make of it."""
    n, n_optimal = len(cases), sum(case.optimal for case in cases)
    rejected = sum(not case.accepted for case in cases)
    neurons = ", ".join(str(size) for size in sorted({case.n_neurons for case in cases}))
    narrow = sum(case.among is not None for case in cases)
    part = f" ({narrow} of them over the neurons searched alone)" if narrow else ""
    proved = (
        f"Each of the {n} optima is proved over all {neurons} neurons of its layer{part}"
        if n_optimal == n
        else f"{n_optimal} of {n} supports are proved optimal over all {neurons} neurons of their layer{part}, the "
        "others have certified bounds"
    )
    checked = "the independent checker accepts every certificate"
    if rejected:
        checked = f"THE INDEPENDENT CHECKER REJECTS {rejected} OF {n} CERTIFICATES"
    rows = {row.method: row for row in summaries(cases)[1:]}
    said = [f"{proved}, and {checked}."]
    if usual := rows.get(RANKING):
        said.append(
            f"The {label(RANKING)} ranking finds an optimum in {usual.n_optimal} of {usual.n_cases} cases; "
            f"the objective of its neurons is {usual.mean_relative_regret:.1%} higher on average and "
            f"{usual.worst_relative_regret:.1%} at worst."
        )
    if rows:
        most = max(row.n_optimal for row in rows.values())
        finders = " and ".join(label(row.method) for row in rows.values() if row.n_optimal == most)
        said.append(f"Most often right: {finders}, in {most} of {n}.")
    return " ".join(said)


def held_out(cases: Sequence[Case]) -> str | None:
    """What the optimum is worth on held-out documents against the mean-difference ranking; None without that one."""
    row = next((row for row in summaries(cases)[1:] if row.method == RANKING), None)
    if row is None:
        return None
    side = "higher" if row.f1_behind >= 0 else "lower"
    return (
        f"On held-out documents the F1 of the optimum is {abs(row.f1_behind):.3f} {side} than that of the "
        f"{label(RANKING)} ranking on average; the whole interval of the difference lies above 0 in {row.n_above} and "
        f"below 0 in {row.n_below} of {row.n_cases} cases."
    )


def label(method: str) -> str:
    """The method's name in words."""
    return method.replace("_", " ")
