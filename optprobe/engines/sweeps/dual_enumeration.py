"""Dual enumeration: logistic loss, k <= 3, and hinge loss, k <= 2, at any ridge.

Every set gets a dual vector of its own; the sweeps that find them, with their theorems, are `singles`, `logistic`,
`wide_logistic`, `hinge` and `wide_hinge`. What their bounds leave open is fitted exactly. The checker sweeps again,
with vectors of its own.
"""

from __future__ import annotations

from math import comb

from formulations import ProbeProblem
from optprobe.engines.engine import Engine, Task
from optprobe.engines.outcome import Outcome
from optprobe.engines.sweeps import wide_hinge, wide_logistic
from optprobe.engines.sweeps.dual_sweep import DualSweep
from optprobe.engines.sweeps.hinge import HingeSweep
from optprobe.engines.sweeps.logistic import MinorantSweep
from optprobe.engines.sweeps.singles import SingleSweep
from optprobe.engines.trees import branch_and_cut

SWEEPS: dict[str, type[DualSweep]] = {"logistic": MinorantSweep, "hinge": HingeSweep}
MOST_COLUMNS = 1 << 14
"""Of triples by the logistic loss: their three matrices of products then take 6.4 GB."""


def refuses(problem: ProbeProblem) -> str | None:
    sweep = SWEEPS.get(problem.loss.name)
    if sweep is None:
        return f"dual enumeration is for logistic and hinge loss, not the {problem.loss.name} loss: use enumeration"
    if problem.forced:
        return "dual enumeration goes through all sets, and knows nothing of forced neurons: use branch_and_cut"
    if problem.size > sweep.largest_k:
        stated = f"dual enumeration of the {problem.loss.name} loss is for k <= {sweep.largest_k}"
        return f"{stated}, and k is {problem.k}: use branch_and_cut"
    m = len(problem.candidates)
    if sweep is MinorantSweep and problem.size == 3 and m > MOST_COLUMNS:
        need = f"dual enumeration of 3 of {m:,} neurons needs three matrices of {24 * m * m / 1e9:.0f} GB in all"
        return f"{need}: use branch_and_cut, fewer columns, or k <= 2"
    if not problem.size:
        return "dual enumeration needs a column that is not constant: use branch_and_cut"
    return None


def run(task: Task) -> Outcome:
    """Sweep all supports. If the budget ends first, the lower bound is that of the relaxation at the root."""
    if task.budget.over:
        return branch_and_cut.root_outcome(task, task.incumbents(), {})
    sweep = _sweep_of(task.problem)(task)
    if sweep.finished():
        counts = {"sets": comb(len(task.problem.candidates), task.problem.size), **sweep.counts}
        return Outcome(sweep.found.support, sweep.target, sweep.proof(), counts, sweep.found.kept)
    return branch_and_cut.root_outcome(task, sweep.found, sweep.counts)


def _sweep_of(problem: ProbeProblem) -> type[DualSweep]:
    """The sweep that suits a problem."""
    if problem.loss.name == "logistic" and problem.size == 1:
        return SingleSweep
    for module, sweep in ((wide_logistic, wide_logistic.WidePairSweep), (wide_hinge, wide_hinge.WideHingeSweep)):
        if module.suits(problem):
            return sweep
    return SWEEPS[problem.loss.name]


ENGINE = Engine("dual_enumeration", refuses, run, blas_threads=None)
