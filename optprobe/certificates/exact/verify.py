"""The check of a certificate from beginning to end."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from optprobe.certificates.exact.claim import Claim, read_claim
from optprobe.certificates.exact.pool import Groups, Listed, Part, check_listed, full, parts, read_groups, supports
from optprobe.certificates.exact.reading import Sealed, read
from optprobe.certificates.exact.standard import as_rows, state
from optprobe.certificates.exact.verdict import Clock, ExactVerdict, Proved, Rejected, Report, Undecided
from optprobe.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from flint import arb

    from optprobe.certificates.exact.duality import Duality
    from optprobe.certificates.exact.quadratic import SquaredSweep
    from optprobe.certificates.exact.sweep import Sweep

MOST_COLUMNS = 8192
"""Of a sweep over rows: the products of more are too many for balls."""

Facts = dict[str, str | int | float | bool]
Objective = Callable[[list[int], "np.ndarray", float], "arb"]


def verify_exact(
    path: str | Path,
    X: object = None,
    y: object = None,
    sample_weight: object = None,
    *,
    moments: object = None,
    source: Mapping[str, object] | None = None,
    time_limit: float = 3600.0,
    report: Report | None = None,
) -> ExactVerdict:
    """The verdict on a certificate: whether both statements of its claim hold for the data, proved in ball arithmetic.

    Parameters
    ----------
    path : str or Path
        The file.
    X, y, sample_weight : array-like, optional
        The data of a claim about rows; y as it was given, labels or a target.
    moments : object, optional
        The data of a claim about moments, as attributes n_rows, mean, covariance, cross, target_mean, target_variance,
        error and made.
    source : mapping, optional
        What a store's manifest says of the rows; where the author's scope says otherwise, the certificate is rejected.
    time_limit : float
        In seconds; a check that does not end within it is undecided.
    report : callable, optional
        Gets a line of progress now and then.

    Raises
    ------
    InputError
        There is no such file, the data cannot be used, or python-flint is not installed.
    """
    try:
        from optprobe.certificates.exact.balls import PRECISION, precision
    except ModuleNotFoundError:
        raise InputError("The exact checker needs python-flint: install optprobe[exact].") from None
    clock = Clock(time_limit, report)
    try:
        sealed = read(path)
        claim = read_claim(sealed)
        _check_scope(claim, source or {})
        with precision(PRECISION):
            check = _verify_moments if claim.of_moments else _verify_rows
            proved = check(sealed, claim, (X, y, sample_weight, moments), clock)
    except Rejected as refusal:
        return ExactVerdict("rejected", str(refusal))
    except Undecided as pause:
        return ExactVerdict("undecided", str(pause))
    reason = f"Both statements of the claim{' and its pool' if 'pool' in claim.result else ''} are proved."
    return ExactVerdict("accepted", reason, MappingProxyType(dict(proved)))


def _check_scope(claim: Claim, source: Mapping[str, object]) -> None:
    for name, said in claim.author["scope"].items():
        if name in source and json.dumps(said, sort_keys=True) != json.dumps(source[name], sort_keys=True):
            raise Rejected(f"The scope says {name} {said!r}, and the store's manifest says {source[name]!r}.")


Arrays = dict[str, "np.ndarray"]
Data = tuple[object, object, object, object]


def _verify_rows(sealed: Sealed, claim: Claim, data: Data, clock: Clock) -> Proved:
    from optprobe.certificates.exact.duality import Duality

    X, y, sample_weight, _ = data
    if X is None or y is None:
        raise InputError("The claim is about rows: give X and y.")
    among = claim.problem["among"]
    swept = claim.data["n_neurons"] if among is None else len(among)
    if claim.proof["kind"] == "sweep" and swept > MOST_COLUMNS:
        raise Undecided(
            f"A sweep over {swept:,} columns, more than {MOST_COLUMNS:,}, takes too long in ball arithmetic."
        )
    rows = as_rows(X, y, sample_weight, claim.of_target)
    stated = claim.data
    if rows.X.shape != (stated["n_rows"], stated["n_neurons"]):
        raise Rejected(f"The claim is about other data: X has the shape {rows.X.shape}.")
    for name, digest in rows.digests().items():
        if stated[name] != digest:
            raise Rejected(f"The claim is about other data: the digest of {name} differs.")
    arrays, of = sealed.arrays(claim.layout), claim.problem
    groups = read_groups(arrays.get("groups"), of.get("groups"))
    forced = of.get("forced", [])
    problem = state(rows, of["loss"], of["ridge"], of["k"], of["class_weight"], of["among"], groups, forced)
    _check_forced(forced, problem.candidates, groups)
    duality = Duality(problem)
    needed = problem.size - len(forced)
    proved = _check_upper(claim, arrays, (problem.candidates, needed, groups), duality.objective, clock)
    facts = _stated(claim, stated["n_neurons"] - len(problem.candidates) if of["among"] is None else None)
    return {**facts, **proved, **_lower_of_rows(claim, arrays, duality, clock), "seconds": round(clock.spent, 3)}


def _check_forced(forced: list[int], candidates: list[int], groups: Groups) -> None:
    """Some set of the claim can have all of them."""
    outside = sorted(set(forced).difference(candidates))
    if outside:
        raise Rejected(f"The column {outside[0]} is forced, and no set of the claim can have it.")
    if Listed((), groups).within(forced):
        raise Rejected("Two columns of one group are forced, as no set of the claim has.")


def _lower_of_rows(claim: Claim, arrays: Arrays, duality: Duality, clock: Clock) -> Facts:
    from optprobe.certificates.exact.gram import Gram
    from optprobe.certificates.exact.quadratic import SquaredSweep
    from optprobe.certificates.exact.sweep import Sweep
    from optprobe.certificates.exact.tree import Tree

    candidates, size = duality.problem.candidates, duality.problem.size

    def sweep(part: Part) -> SquaredSweep | Sweep:
        if claim.problem["loss"] == "squared":
            fixed = len(duality.problem.forced)
            return SquaredSweep(Gram(duality, part.candidates), size, part, clock, fixed)
        return Sweep(duality, part, clock)

    _check_own(claim, size, sweep)
    to_prove = parts(claim.result, candidates, size, duality.problem.groups, duality.problem.forced)
    if claim.proof["kind"] == "tree":
        tree = Tree(duality, arrays, claim.proof["box"], to_prove, clock)
        tree.check()
        return {"entries of the tree": len(tree.kinds), "vectors used": tree.vectors.used}
    return _check_sweeps(to_prove, sweep)


def _check_own(claim: Claim, size: int, sweep: Callable[[Part], SquaredSweep | Sweep]) -> None:
    """The listed sets have bounds of their own, where no part of the proof is about them."""
    own = full(claim.result, size)
    if own:
        columns = sorted({j for one in own for j in one})
        sweep(Part(claim.result["lower_bound"], columns)).these(own)


def _check_sweeps(to_prove: list[Part], sweep: Callable[[Part], SquaredSweep | Sweep]) -> Facts:
    """Every part by a sweep."""
    facts: dict[str, int] = {}
    for part in to_prove:
        done = sweep(part)
        done.all_sets()
        for name, count in done.counts.items():
            facts[name] = facts.get(name, 0) + count
    return {**facts}


def _verify_moments(sealed: Sealed, claim: Claim, data: Data, clock: Clock) -> Proved:
    from optprobe.certificates.exact.moments import MomentForm, as_stated, check_semidefinite
    from optprobe.certificates.exact.quadratic import SquaredSweep

    if data[3] is None:
        raise InputError("The claim is about moments: give them.")
    stated = as_stated(data[3])
    if (stated.n_rows, len(stated.mean)) != (claim.data["n_rows"], claim.data["n_neurons"]):
        raise Rejected("The claim is about other moments: the number of rows or of neurons differs.")
    if stated.digest() != claim.data["moments"]:
        raise Rejected("The claim is about other moments: the digest differs.")
    if stated.made.get("class_weight", "none") != claim.problem["class_weight"]:
        raise Rejected("The class weight of the claim is not that of the moments' record.")
    arrays = sealed.arrays(claim.layout)
    groups = read_groups(arrays.get("groups"), claim.problem.get("groups"))
    form = MomentForm(stated, claim, groups)
    check_semidefinite(form, clock)
    proved = _check_upper(claim, arrays, (form.candidates, form.size, groups), form.objective, clock)

    def sweep(part: Part) -> SquaredSweep:
        return SquaredSweep(form.among(part.candidates), form.size, part, clock)

    _check_own(claim, form.size, sweep)
    swept = _check_sweeps(parts(claim.result, form.candidates, form.size, groups), sweep)
    facts = _stated(claim, len(stated.mean) - len(form.candidates) if claim.problem["among"] is None else None)
    return {**facts, **proved, **swept, "seconds": round(clock.spent, 3)}


def _stated(claim: Claim, left_out: int | None) -> Facts:
    """What both statements are about."""
    data, of = claim.data, claim.problem
    digests = {f"sha256 of {name}": data[name] for name in ("X", "y", "weights", "moments") if data.get(name)}
    constant = {} if left_out is None else {"constant columns left out": left_out}
    among = {} if of["among"] is None else {"among": len(of["among"])}
    stated = {name: of[name] for name in ("loss", "ridge", "class_weight", "k")}
    digests |= {"sha256 of the groups": of["groups"]} if "groups" in of else {}
    digests |= {"columns in every set": ", ".join(map(str, of["forced"]))} if "forced" in of else {}
    digests |= {"y": "a target: F is in units of its variance"} if claim.of_target else {}
    return {**digests, "rows": data["n_rows"], "columns": data["n_neurons"], **constant, **stated, **among}


def _check_upper(
    claim: Claim, arrays: Arrays, sets: tuple[list[int], int, Groups], objective: Objective, clock: Clock
) -> Facts:
    """Statement 1, and that the listed sets are ones that may be listed and reach their upper bounds."""
    result, (candidates, needed, groups) = claim.result, sets
    outside = sorted(set(result["support"]).difference(candidates))
    if outside:
        raise Rejected(f"The support has a column that no set of the claim has: {outside[0]}.")
    if Listed((), groups).within(result["support"]):
        raise Rejected("The support has two columns of one group, as no set of the claim has.")
    value = _reached(result, arrays["coef"], objective)
    proved: Facts = {
        "support": str(result["support"]),
        "objective": value,
        "upper bound": result["upper_bound"],
        "lower bound": result["lower_bound"],
        "tolerance": result["tolerance"],
        "optimal": _optimal(result),
    }
    if "pool" not in result:
        return proved
    check_listed(supports(result), candidates, needed, groups, clock)
    at, listed = 0, result["pool"]["sets"]
    for number, one in enumerate(listed):
        clock.check(lambda: f"{number:,} of {len(listed):,} listed sets reach their upper bounds")  # noqa: B023
        _reached(one, arrays["pool.coef"][at : at + len(one["support"])], objective)
        at += len(one["support"])
    bounds = "; ".join(f"{one['support']} at most {one['upper_bound']!r}" for one in listed)
    return {**proved, "sets listed": len(listed), "listed": bounds, "lower bound of the rest": result["pool"]["rest"]}


def _reached(one: dict[str, Any], coef: np.ndarray, objective: Objective) -> float:
    """The objective at a set's coefficients, at most its upper bound: by more bits if fewer cannot decide it."""
    from flint import arb

    from optprobe.certificates.exact.balls import FINER, PRECISION, precision, show

    upper, of = arb(one["upper_bound"]), f"The objective of the set {one['support']}"
    for bits in (PRECISION, *FINER):
        with precision(bits):
            value = objective(one["support"], coef, one["intercept"])
            if value <= upper:
                return float(value.mid())
            if value > upper:
                raise Rejected(f"{of}, {show(value)}, is above the upper bound {one['upper_bound']!r}.")
    raise Rejected(f"{of}, {show(value)}, is not certainly at most the upper bound {one['upper_bound']!r}.")


def _optimal(result: dict[str, Any]) -> bool:
    from flint import arb

    return bool(arb(result["upper_bound"]) - arb(result["lower_bound"]) <= arb(result["tolerance"]))
