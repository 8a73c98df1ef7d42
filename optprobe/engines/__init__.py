"""How the problem is solved: exact engines behind `solve`."""

from optprobe.engines.budget import Budget, Progress
from optprobe.engines.engine import METHODS
from optprobe.engines.outcome import SweepProof, TreeProof
from optprobe.engines.path import SolutionPath, Solutions, solve_path
from optprobe.engines.pool import NearOptimal, Pool
from optprobe.engines.root import root_bound
from optprobe.engines.solution import Solution, Status
from optprobe.engines.solve import solve

__all__ = [
    "METHODS",
    "Budget",
    "NearOptimal",
    "Pool",
    "Progress",
    "Solution",
    "SolutionPath",
    "Solutions",
    "Status",
    "SweepProof",
    "TreeProof",
    "root_bound",
    "solve",
    "solve_path",
]
