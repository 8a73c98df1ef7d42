"""The statements of a claim, checked one after the other."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .bounds import objective
from .dual_sweep import check_dual_sweep
from .exhaustive import check_exhaustively
from .file import read
from .hinge_sweep import check_hinge_sweep
from .moments import MomentProblem, Moments, moment_problem_of
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

    def check(claim: dict[str, Any], arrays: dict[str, Array]) -> str:
        problem = problem_of(claim, arrays, X, y, sample_weight)
        return _check(
            claim,
            arrays["coef"],
            problem,
            partial(objective, problem),
            lambda lower: _prove(claim, arrays, problem, lower, fast, exhaustive),
        )

    return _verdict(path, check)


def verify_from_moments(path: str, moments: Moments, fast: bool = False, exhaustive: bool = False) -> Verdict:
    """Check the certificate at ``path``, of the squared loss, against the moments that it is about."""

    def check(claim: dict[str, Any], arrays: dict[str, Array]) -> str:
        problem = moment_problem_of(claim, arrays, moments)
        proved = _check(
            claim, arrays["coef"], problem, problem.objective, lambda lower: problem.prove(lower, fast, exhaustive)
        )
        return f"from the moments of {moments.n_rows} rows, {proved}"

    return _verdict(path, check)


def _verdict(path: str, check: Callable[[dict[str, Any], dict[str, Array]], str]) -> Verdict:
    try:
        claim, arrays = read(path)
        try:
            return Verdict(True, check(claim, arrays))
        except (KeyError, TypeError, ValueError, IndexError, AttributeError, OverflowError) as error:
            raise Rejected(f"the claim cannot be read ({type(error).__name__}: {error})") from error
    except Rejected as rejected:
        return Verdict(False, str(rejected))


def _check(
    claim: dict[str, Any],
    coef: Array,
    problem: Problem | MomentProblem,
    evaluate: Callable[[list[int], Array, float], tuple[float, float]],
    prove: Callable[[float], str],
) -> str:
    """The statements that claims of all kinds make; ``evaluate`` gives the objective and its error."""
    result = claim["result"]
    support, upper, lower = result["support"], float(result["upper_bound"]), float(result["lower_bound"])
    if support != sorted(set(support)) or not all(isinstance(j, int) for j in support):
        raise Rejected(f"the support {support} is not a sorted list of distinct columns")
    allowed = set(map(int, np.flatnonzero(problem.candidates)))
    if len(support) > problem.size or not allowed.issuperset(support):
        raise Rejected(f"the support {support} is not among the sets of the claim")
    if coef.shape != (len(support),):
        raise Rejected(f"there are {len(coef)} coefficients for a support of {len(support)}")
    value, error = evaluate(support, coef, float(result["intercept"]))
    if not value + error <= upper:
        raise Rejected(f"the support reaches {value:.12g} (rounding {error:.1g}), and the claim is {upper:.12g}")
    if not lower <= upper:
        raise Rejected(f"the lower bound {lower:.12g} is above the upper bound {upper:.12g}")
    tolerance = float(result["tolerance"])
    if result["optimal"] and not upper - lower <= tolerance:
        raise Rejected(f"the gap is {upper - lower:.3g}, and the claim of optimality has tolerance {tolerance:g}")
    proved = prove(lower)
    scope = "" if claim["problem"]["among"] is None else f" among {int(problem.candidates.sum())} columns"
    return (
        f"the support {support} reaches {value:.9g}, and no set of {claim['problem']['k']} columns{scope} "
        f"is below {lower:.9g} ({proved})"
    )


def _prove(
    claim: dict[str, Any], arrays: dict[str, Array], problem: Problem, lower: float, fast: bool, exhaustive: bool
) -> str:
    if exhaustive:
        return check_exhaustively(problem, lower)
    if claim["proof"] == "tree":
        return f"tree: {check_tree(problem, arrays, lower)}"
    if claim["proof"] == "sweep":
        return f"sweep: {_check_sweep(problem, arrays, lower, fast)}"
    raise Rejected(f"the proof {claim['proof']!r} is of no known kind")


def _check_sweep(problem: Problem, arrays: dict[str, Array], lower: float, fast: bool) -> str:
    if problem.loss == "squared":
        return check_pair_sweep(problem, lower, fast)
    if problem.loss == "hinge":
        return check_hinge_sweep(problem, lower)
    return check_dual_sweep(problem, arrays, lower)
