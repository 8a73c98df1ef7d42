"""The statements of a claim, checked one after the other; docs/certificates.md, section 2."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .bounds import objective
from .claim import LARGEST_TOLERANCE, Claim, Tree
from .dual_sweep import check_dual_sweep
from .exhaustive import check_exhaustively
from .file import read
from .hinge_sweep import check_hinge_sweep
from .limits import Limits, strict
from .moments import MomentProblem, Moments, moment_problem_of
from .outcome import Rejected, Undecided, require
from .pair_sweep import check_pair_sweep
from .pool import EVERYTHING_LISTED, Goal, Sets, check_pool, goals, listed_alone
from .problem import Problem, problem_of
from .sets import all_sets, check_open_sets, counted
from .text import canonical
from .tree import check_trees
from .verdict import SHOWN, Statement, Verdict

Array = NDArray[Any]
Floats = NDArray[np.float64]


def verify(
    path: str,
    X: Array,
    y: Array,
    sample_weight: Array | None = None,
    fast: bool = False,
    exhaustive: bool = False,
    limits: Limits | None = None,
    source: Mapping[str, Any] | None = None,
) -> Verdict:
    """Check the certificate at ``path`` against X (n_rows, n_neurons), y and, where it used them, weights (n_rows,).

    ``fast`` replays sweeps and pair leaves by compiled loops; ``exhaustive`` does without the certificate's proof, and
    evaluates every set. ``source`` is what a store's manifest says of the rows; what the author says of the same
    must be the same, and is then proved too.
    """
    most = limits or Limits()

    def check(claim: Claim, arrays: dict[str, Array]) -> Statement:
        compared = compared_with(source or {}, claim.author.scope)
        problem = problem_of(claim, arrays, X, y, sample_weight, most)
        data = {**vars(claim.data), "kind": "rows", "constant": problem.constant}
        if not problem.target:
            del data["target"]
        evaluate = partial(objective, problem)
        prove = partial(_prove, claim, arrays, problem, fast, exhaustive)
        sets = Sets(problem.size, problem.candidates, problem.forced, problem.listed)
        proved = _statement(claim, arrays, sets, data, evaluate, prove, most)
        return replace(proved, source=compared)

    return _verdict(path, most, check)


def verify_from_moments(
    path: str,
    moments: Moments,
    fast: bool = False,
    exhaustive: bool = False,
    limits: Limits | None = None,
    source: Mapping[str, Any] | None = None,
) -> Verdict:
    """Check the certificate at ``path``, of the squared loss, against the moments that it is about."""
    most = limits or Limits()

    def check(claim: Claim, arrays: dict[str, Array]) -> Statement:
        compared = compared_with(source or {}, claim.author.scope)
        problem: MomentProblem = moment_problem_of(claim, arrays, moments, most)
        stated = {name: getattr(moments, name) for name in ("error", "target_mean", "target_variance")}
        stated |= {"made": dict(moments.made), "constant": problem.constant}
        data = {**vars(claim.data), "kind": "moments", **stated}
        prove = partial(_prove_from_moments, claim, problem, fast, exhaustive)
        sets = Sets(problem.size, problem.candidates, (), problem.listed)
        proved = _statement(claim, arrays, sets, data, problem.objective, prove, most)
        return replace(proved, source=compared)

    return _verdict(path, most, check)


def _verdict(path: str, limits: Limits, check: Callable[[Claim, dict[str, Array]], Statement]) -> Verdict:
    """Whatever happens in a check ends as one of three verdicts, and only a statement as an acceptance."""
    author = None
    try:
        with strict():
            claim, arrays = read(path, limits)
            author = claim.author
            statement = check(claim, arrays)
        return Verdict("accepted", statement.sentence, statement, author)
    except Rejected as rejected:
        reason = str(rejected)
    except (ArithmeticError, np.linalg.LinAlgError) as error:
        reason = f"a number of the check is beyond float64 ({error})"
    except (Undecided, MemoryError) as ended:
        reason = str(ended) or "not decided: there is no more memory"
        return Verdict("undecided", reason, None, author)
    return Verdict("rejected", reason, None, author)


def compared_with(source: Mapping[str, Any], scope: Mapping[str, Any]) -> dict[str, Any]:
    """What the author's scope says of the rows and the store's manifest says alike; a difference is a rejection."""
    said = {name: value for name, value in scope.items() if name in source}
    for name, value in said.items():
        same = canonical(value) == canonical(source[name])
        require(same, f"the scope says {name} {value!r}, and the store's manifest says {source[name]!r}")
    return said


def _statement(
    claim: Claim,
    arrays: dict[str, Array],
    sets: Sets,
    data: dict[str, Any],
    evaluate: Callable[[tuple[int, ...], Floats, float], tuple[float, float]],
    prove: Callable[[], str],
    limits: Limits,
) -> Statement:
    """The statements that claims of both kinds make; ``evaluate`` gives the objective and its error."""
    result, stated = claim.result, claim.problem
    require(sets.allow(result.support), f"the support {list(result.support)} is not among the sets of the claim")
    value, error = evaluate(result.support, arrays["coef"], result.intercept)
    require(
        value + error <= result.upper_bound,
        f"the support reaches {value:.12g} (rounding {error:.1g}), and the claim is {result.upper_bound:.12g}",
    )
    unit = data.get("target_variance", 1.0)
    within = result.tolerance <= LARGEST_TOLERANCE * unit
    require(within, f"the tolerance is {result.tolerance:g}, more than a hundredth of the target's variance")
    if result.pool is not None:
        check_pool(result.pool, arrays["pool.coef"], sets, evaluate, limits)
        rest = result.pool.rest
        require(rest >= result.lower_bound, f"the bound of the rest is {rest:.12g}, below that of all sets")
    proof = prove()
    require(result.lower_bound <= result.upper_bound, "the lower bound is above the upper bound")
    return Statement(
        data=data,
        loss=stated.loss,
        ridge=stated.ridge,
        class_weight=stated.class_weight,
        k=stated.k,
        among=None if stated.among is None else len(stated.among),
        support=result.support,
        objective=value,
        upper_bound=result.upper_bound,
        lower_bound=result.lower_bound,
        tolerance=result.tolerance,
        proof=proof,
        pool=result.pool,
        size=sets.size,
        groups=None if sets.closed.groups is None else len(set(sets.closed.groups) - {-1}),
        without=_without(stated.among, data["n_neurons"]),
        forced=stated.forced,
    )


def _without(among: tuple[int, ...] | None, n_neurons: int) -> tuple[int, ...]:
    """The columns that are not allowed, where they are few enough to be printed."""
    allowed = range(n_neurons) if among is None else among
    few = n_neurons - len(allowed) <= min(SHOWN, len(allowed) // 2)
    return tuple(sorted(set(range(n_neurons)) - set(allowed))) if few else ()


def _prove(claim: Claim, arrays: dict[str, Array], problem: Problem, fast: bool, exhaustive: bool) -> str:
    """Every part of the claim's lower bounds; returns how that was proved."""
    parts = goals(claim.result, problem.size, problem.forced)
    own = listed_alone(claim.result, problem.size)
    if len(own):
        check_open_sets(problem, np.arange(len(problem.candidates)), [own], claim.result.lower_bound)
    if isinstance(claim.proof, Tree) and not exhaustive:
        left = [(problem.besides(part.listed), part.lower) for part in parts]
        return check_trees(problem, left, claim.proof, arrays, fast)
    return "; ".join(_prove_part(claim, arrays, problem, fast, exhaustive, part) for part in parts)


def _prove_from_moments(claim: Claim, problem: MomentProblem, fast: bool, exhaustive: bool) -> str:
    """The same from moments."""
    parts, own = goals(claim.result, problem.size), listed_alone(claim.result, problem.size)
    if len(own):
        problem.check_own(own, claim.result.lower_bound)
    return "; ".join(problem.besides(part.listed).prove(part.lower, fast, exhaustive) for part in parts)


def _prove_part(
    claim: Claim, arrays: dict[str, Array], whole: Problem, fast: bool, exhaustive: bool, part: Goal
) -> str:
    """No set that contains no listed one has F below the part's bound, by a sweep."""
    problem, lower = whole.besides(part.listed), part.lower
    if part.listed.inside(()):
        return EVERYTHING_LISTED
    if exhaustive:
        return check_exhaustively(problem, lower)
    if problem.size == 0:
        nothing = np.zeros(0, dtype=np.int64)
        return counted("sweep", 0, 0, check_open_sets(problem, nothing, all_sets(0, 0), lower))
    if problem.loss == "squared":
        return check_pair_sweep(problem, lower, fast)
    if problem.loss == "hinge":
        return check_hinge_sweep(problem, lower, fast)
    assert claim.proof.box is not None
    return check_dual_sweep(problem, claim.proof.box, arrays, lower, fast)
