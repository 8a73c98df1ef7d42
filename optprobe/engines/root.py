"""The bound at the root: what the relaxation proves of all sets together, before any neuron is set apart."""

from __future__ import annotations

import numpy as np
from threadpoolctl import threadpool_limits

from formulations import constant_point, node_bound, rounding_margin
from optprobe.engines.engine import Task
from optprobe.engines.solution import Solution


def root_bound(solution: Solution) -> float:
    """
    The bound that a branch and cut starts from, whichever engine found the solution.

    The best of the constant fit's dual vector (`formulations.constant_point`) and of the ascent on the boolean
    relaxation over all candidates, which screens neurons by the solution's own objective and stops where it reaches
    it: every set screened, and every set left, has F of at least this. ``upper_bound`` minus this is what a search has
    to close by branching or enumeration.

    Parameters
    ----------
    solution : Solution

    Returns
    -------
    float
        At most F of every set of at most k neurons, rounding counted; on the mean-loss scale.
    """
    from optprobe.engines.trees.branch_and_cut import Search  # here, since the trees' loops load a compiler

    problem = solution.problem
    none = np.zeros(0, dtype=np.int64)
    constant = node_bound(constant_point(problem), none, problem.candidates, problem.size)
    with threadpool_limits(1, user_api="blas"):
        search = Search(Task(problem, solution.support, solution.upper_bound, solution.tolerance))
    relaxed = min(search.root.bound, search.screened, search.found.upper)
    return max(constant, relaxed) - rounding_margin(problem)
