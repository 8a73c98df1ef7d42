"""MILP: a model of the literature in Pyomo, solved by HiGHS from the heuristic incumbent, for a few dozen neurons.

The model is refined at every support that HiGHS returns (`formulations.models`), and solved again from the best one,
until HiGHS says that nothing better is left. HiGHS may keep silent about a start that it rejects, so its log is read
for the acceptance. Its word is not the proof: branch and cut proves the lower bound from the incumbent found.
"""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import highspy
import numpy as np
from pyomo.opt import WriterFactory

from formulations import ProbeProblem, SparseProbeProblem, UnsupportedProblem
from formulations.losses import Hinge
from formulations.models import MODELS, place, refine, support_of
from optprobe.engines.budget import Budget, Progress
from optprobe.engines.engine import Engine, Task
from optprobe.engines.mips.highs import INFINITY, Highs
from optprobe.engines.outcome import Outcome
from optprobe.engines.trees import branch_and_cut

LARGEST = 64
"""Beyond so many candidates the row-wise models are too large to be of use."""
MANY_ROWS = 200
"""Beyond so many rows the model is the cut master, since the others have a variable for each row."""
SHARE, SECONDS = 0.5, 20.0
"""The model may take this share of the budget, and no more than these seconds; the rest is for the proof."""


def refuses(problem: ProbeProblem) -> str | None:
    if len(problem.candidates) > LARGEST:
        return (
            f"milp is for at most {LARGEST} neurons, and {len(problem.candidates)} are in play: "
            "use outer_approximation or branch_and_cut, or restrict the search with --top"
        )
    return branch_and_cut.refuses(problem)


def run(task: Task) -> Outcome:
    search = branch_and_cut.Search(task)
    counts = {"rounds": 0, "starts_accepted": 0}
    if search.heap and not task.budget.over:
        _rounds(task, search, counts)
    search.grow()
    found = search.outcome()
    return replace(found, counts={**found.counts, **counts})


def _rounds(task: Task, search: branch_and_cut.Search, counts: dict[str, int]) -> None:
    """Solve, refine, solve again, until HiGHS finds nothing below the incumbent or repeats itself."""
    problem = task.rows
    model = _model(problem)
    refine(model, search.found.support)
    seen = {search.found.support}
    budget = task.budget.part(min(SHARE * task.budget.left, SECONDS))
    while not budget.over:
        place(model, search.found.support)
        accepted, bound = _solve(model, task.tolerance / 10, budget)
        counts["rounds"] += 1
        counts["starts_accepted"] += accepted
        task.report(Progress("milp", bound, search.found.upper))
        support = tuple(sorted(map(int, support_of(model))))
        if support in seen or len(support) != problem.size or not set(problem.forced) <= set(support):
            return
        seen.add(support)
        value = refine(model, support)
        search.found.offer(np.array([support], dtype=np.int64), np.array([value]))


def _model(problem: SparseProbeProblem) -> Any:
    """Big M for the hinge loss where M is small enough, else the perspective model; the cut master for many rows."""
    if problem.n_rows > MANY_ROWS:
        return MODELS["cut_master"].build(problem)
    if isinstance(problem.loss, Hinge):
        try:
            return MODELS["big_m_hinge"].build(problem)
        except UnsupportedProblem:
            pass
    return MODELS["perspective"].build(problem)


def _solve(model: Any, tolerance: float, budget: Budget) -> tuple[bool, float]:
    """One run of HiGHS from the model's values: whether it took them as its start, and the bound that it claims.

    The values become those that it ends with. Pyomo's own interface to HiGHS redirects the file descriptors of the
    process, so that two threads wait for each other; the compiled model is passed on directly instead.
    """
    form = WriterFactory("compile_standard_form").write(model, mixed_form=True)
    lp, matrix = highspy.HighsLp(), form.A.tocsc()
    lp.num_row_, lp.num_col_ = matrix.shape
    lp.col_cost_, lp.offset_ = form.c.toarray()[0], float(form.c_offset[0])
    bounds = [variable.bounds for variable in form.columns]
    lp.col_lower_ = np.array([-INFINITY if low is None else low for low, _ in bounds], dtype=np.float64)
    lp.col_upper_ = np.array([INFINITY if high is None else high for _, high in bounds], dtype=np.float64)
    kinds = np.array([row.bound_type for row in form.rows])
    lp.row_lower_ = np.where(kinds <= 0, form.rhs, -INFINITY)
    lp.row_upper_ = np.where(kinds >= 0, form.rhs, INFINITY)
    kind = highspy.HighsVarType
    lp.integrality_ = [kind.kContinuous if variable.is_continuous() else kind.kInteger for variable in form.columns]
    lp.a_matrix_.format_ = highspy.MatrixFormat.kColwise
    lp.a_matrix_.start_, lp.a_matrix_.index_, lp.a_matrix_.value_ = matrix.indptr, matrix.indices, matrix.data
    solver = Highs()
    solver.passModel(lp)
    run = solver.search(np.array([variable.value for variable in form.columns], dtype=np.float64), tolerance, budget)
    for variable, value in zip(form.columns, run.visited[-1]):
        variable.set_value(value, skip_validation=True)
    return run.start_accepted, run.bound


ENGINE = Engine("milp", refuses, run)
