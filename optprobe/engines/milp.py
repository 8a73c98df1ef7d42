"""MILP: a model of the literature in Pyomo, solved by HiGHS from the heuristic incumbent, for a few dozen neurons.

The model is refined at every support that HiGHS returns (`formulations.models`), and solved again from the best one,
until HiGHS says that nothing better is left. HiGHS may keep silent about a start that it rejects, so its log is read
for the acceptance. Its word is not the proof: branch and cut proves the lower bound from the incumbent found.
"""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

from formulations import ProbeProblem, SparseProbeProblem, UnsupportedProblem
from formulations.losses import Hinge
from optprobe.engines import branch_and_cut
from optprobe.engines.budget import Progress
from optprobe.engines.cut_pool import ACCEPTED
from optprobe.engines.engine import Engine, Task
from optprobe.engines.solution import Outcome

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
    if search.heap:
        _rounds(task, search, counts)
    search.grow()
    found = search.outcome()
    return Outcome(found.support, found.lower, found.proof, {**found.counts, **counts})


def _rounds(task: Task, search: branch_and_cut.Search, counts: dict[str, int]) -> None:
    """Solve, refine, solve again, until HiGHS finds nothing below the incumbent or repeats itself."""
    from formulations.models import place, refine, support_of

    problem = task.rows
    model = _model(problem)
    refine(model, search.support)
    seen = {search.support}
    limit = min(SHARE * task.budget.left, SECONDS)
    started = task.budget.spent
    while task.budget.spent - started < limit:
        place(model, search.support)
        accepted, bound = _solve(model, task.tolerance, limit - (task.budget.spent - started))
        counts["rounds"] += 1
        counts["starts_accepted"] += accepted
        task.report(Progress("milp", bound, search.upper))
        support = tuple(sorted(map(int, support_of(model))))
        if support in seen or len(support) != problem.size:
            return
        seen.add(support)
        value = refine(model, support)
        if value < search.upper:
            search.upper, search.support = value, support


def _model(problem: SparseProbeProblem) -> Any:
    """Big M for the hinge loss where M is small enough, else the perspective model; the cut master for many rows."""
    from formulations.models import MODELS

    if problem.n_rows > MANY_ROWS:
        return MODELS["cut_master"].build(problem)
    if isinstance(problem.loss, Hinge):
        try:
            return MODELS["big_m_hinge"].build(problem)
        except UnsupportedProblem:
            pass
    return MODELS["perspective"].build(problem)


def _solve(model: Any, tolerance: float, seconds: float) -> tuple[bool, float]:
    """One run of HiGHS from the model's values: whether it took them as its start, and the bound that it claims."""
    from pyomo.contrib.appsi.solvers.highs import Highs

    solver = Highs()
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "highs.log"
        solver.config.time_limit = min(seconds, 1e9)
        solver.config.load_solution = False
        solver.config.warmstart = True
        solver.highs_options = {
            "threads": 1,
            "parallel": "off",
            "mip_rel_gap": 0.0,
            "mip_abs_gap": tolerance / 10,
            "log_file": str(log),
            "log_to_console": False,
        }
        results = solver.solve(model)
        if results.best_feasible_objective is not None:
            results.solution_loader.load_vars()
        accepted = log.exists() and ACCEPTED in log.read_text(encoding="utf-8", errors="replace")
    return accepted, float(results.best_objective_bound)


ENGINE = Engine("milp", refuses, run)
