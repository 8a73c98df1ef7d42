"""The statements of a claim, checked one after the other."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray

from .bounds import objective
from .dual_sweep import check_dual_sweep
from .exhaustive import check_exhaustively
from .file import read
from .hinge_sweep import check_hinge_sweep
from .pair_sweep import check_pair_sweep
from .problem import Problem, problem_of
from .tree import check_tree
from .verdict import Rejected, Verdict

Array = NDArray[Any]


def verify(
    path: str,
    X: Array,
    y: Array,
    sample_weight: Array | None = None,
    fast: bool = False,
    exhaustive: bool = False,
) -> Verdict:
    """Check the certificate at ``path`` against X (n_rows, n_neurons), y and, where it used them, weights (n_rows,).

    ``fast`` replays sweeps of the squared loss by compiled loops; ``exhaustive`` does without the certificate's proof,
    and evaluates every set.
    """
    try:
        claim, arrays = read(path)
        try:
            problem = problem_of(claim, arrays, X, y, sample_weight)
            return Verdict(True, _check(claim, arrays, problem, fast, exhaustive))
        except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
            raise Rejected(f"the claim cannot be read ({type(error).__name__}: {error})") from error
    except Rejected as rejected:
        return Verdict(False, str(rejected))


def _check(claim: dict[str, Any], arrays: dict[str, Array], problem: Problem, fast: bool, exhaustive: bool) -> str:
    result = claim["result"]
    support, upper, lower = result["support"], float(result["upper_bound"]), float(result["lower_bound"])
    if support != sorted(set(support)) or not all(isinstance(j, int) for j in support):
        raise Rejected(f"the support {support} is not a sorted list of distinct columns")
    allowed = set(map(int, np.flatnonzero(problem.candidates)))
    if len(support) > problem.size or not allowed.issuperset(support):
        raise Rejected(f"the support {support} is not among the sets of the claim")
    coef = arrays["coef"]
    if coef.shape != (len(support),):
        raise Rejected(f"there are {len(coef)} coefficients for a support of {len(support)}")
    value, error = objective(problem, support, coef, float(result["intercept"]))
    if not value + error <= upper:
        raise Rejected(f"the support reaches {value:.12g} (rounding {error:.1g}), and the claim is {upper:.12g}")
    if not lower <= upper:
        raise Rejected(f"the lower bound {lower:.12g} is above the upper bound {upper:.12g}")
    tolerance = float(result["tolerance"])
    if result["optimal"] and not upper - lower <= tolerance:
        raise Rejected(f"the gap is {upper - lower:.3g}, and the claim of optimality has tolerance {tolerance:g}")
    if exhaustive:
        proved = check_exhaustively(problem, lower)
    elif claim["proof"] == "tree":
        proved = f"tree: {check_tree(problem, arrays, lower)}"
    elif claim["proof"] == "sweep":
        proved = f"sweep: {_check_sweep(problem, arrays, lower, fast)}"
    else:
        raise Rejected(f"the proof {claim['proof']!r} is of no known kind")
    scope = "" if claim["problem"]["among"] is None else f" among {int(problem.candidates.sum())} columns"
    return (
        f"the support {support} reaches {value:.9g}, and no set of {claim['problem']['k']} columns{scope} "
        f"is below {lower:.9g} ({proved})"
    )


def _check_sweep(problem: Problem, arrays: dict[str, Array], lower: float, fast: bool) -> str:
    if problem.loss == "squared":
        return check_pair_sweep(problem, lower, fast)
    if problem.loss == "hinge":
        return check_hinge_sweep(problem, lower)
    return check_dual_sweep(problem, arrays, lower)
