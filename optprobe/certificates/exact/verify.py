"""The check of a certificate from beginning to end."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING

from optprobe.certificates.exact.claim import Claim, read_claim
from optprobe.certificates.exact.reading import Sealed, read
from optprobe.certificates.exact.standard import as_rows, state
from optprobe.certificates.exact.verdict import Clock, ExactVerdict, Proved, Rejected, Report, Undecided
from optprobe.errors import InputError

if TYPE_CHECKING:
    import numpy as np
    from flint import arb

    from optprobe.certificates.exact.duality import Duality

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
        The data of a claim about rows.
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
    return ExactVerdict("accepted", "Both statements of the claim are proved.", MappingProxyType(dict(proved)))


def _check_scope(claim: Claim, source: Mapping[str, object]) -> None:
    for name, said in claim.author["scope"].items():
        if name in source and json.dumps(said, sort_keys=True) != json.dumps(source[name], sort_keys=True):
            raise Rejected(f"The scope says {name} {said!r}, and the store's manifest says {source[name]!r}.")


Data = tuple[object, object, object, object]


def _verify_rows(sealed: Sealed, claim: Claim, data: Data, clock: Clock) -> Proved:
    from optprobe.certificates.exact.duality import Duality

    X, y, sample_weight, _ = data
    if X is None or y is None:
        raise InputError("The claim is about rows: give X and y.")
    rows = as_rows(X, y, sample_weight)
    stated = claim.data
    if rows.X.shape != (stated["n_rows"], stated["n_neurons"]):
        raise Rejected(f"The claim is about other data: X has the shape {rows.X.shape}.")
    for name, digest in rows.digests().items():
        if stated[name] != digest:
            raise Rejected(f"The claim is about other data: the digest of {name} differs.")
    arrays, of = sealed.arrays(claim.layout), claim.problem
    problem = state(rows, of["loss"], of["ridge"], of["k"], of["class_weight"], of["among"])
    _check_support(claim, problem.candidates)
    duality = Duality(problem)
    proved = _check_upper(claim, arrays["coef"], duality.objective)
    facts = _stated(claim, stated["n_neurons"] - len(problem.candidates) if of["among"] is None else None)
    return {**facts, **proved, **_lower_of_rows(claim, arrays, duality, clock), "seconds": round(clock.spent, 3)}


def _lower_of_rows(
    claim: Claim, arrays: dict[str, np.ndarray], duality: Duality, clock: Clock
) -> dict[str, str | int | float | bool]:
    from optprobe.certificates.exact.gram import Gram
    from optprobe.certificates.exact.quadratic import SquaredSweep
    from optprobe.certificates.exact.sweep import Sweep
    from optprobe.certificates.exact.tree import Tree

    lower = claim.result["lower_bound"]
    if claim.proof["kind"] == "tree":
        tree = Tree(duality, arrays, claim.proof["box"], lower, clock)
        tree.check()
        return {"entries of the tree": len(tree.kinds), "vectors used": tree.vectors.used}
    if claim.problem["loss"] == "squared":
        squared = SquaredSweep(Gram(duality), duality.problem.size, lower, clock)
        squared.all_sets()
        return {"sets": squared.proved}
    sweep = Sweep(duality, lower, clock)
    sweep.all_sets()
    return {"sets": sweep.proved, "sets that needed a fit of their own": sweep.fitted}


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
    form = MomentForm(stated, claim)
    _check_support(claim, form.candidates)
    check_semidefinite(form, clock)
    proved = _check_upper(claim, arrays["coef"], form.objective)
    sweep = SquaredSweep(form, form.size, claim.result["lower_bound"], clock)
    sweep.all_sets()
    facts = _stated(claim, len(stated.mean) - len(form.candidates) if claim.problem["among"] is None else None)
    return {**facts, **proved, "sets": sweep.proved, "seconds": round(clock.spent, 3)}


def _stated(claim: Claim, left_out: int | None) -> dict[str, str | int | float | bool]:
    """What both statements are about."""
    data, of = claim.data, claim.problem
    digests = {f"sha256 of {name}": data[name] for name in ("X", "y", "weights", "moments") if data.get(name)}
    constant = {} if left_out is None else {"constant columns left out": left_out}
    among = {} if of["among"] is None else {"among": len(of["among"])}
    stated = {name: of[name] for name in ("loss", "ridge", "class_weight", "k")}
    return {**digests, "rows": data["n_rows"], "columns": data["n_neurons"], **constant, **stated, **among}


def _check_support(claim: Claim, candidates: list[int]) -> None:
    outside = sorted(set(claim.result["support"]) - set(candidates))
    if outside:
        raise Rejected(f"The support has a column that no set of the claim has: {outside[0]}.")


def _check_upper(claim: Claim, coef: np.ndarray, objective: Objective) -> dict[str, str | int | float | bool]:
    """Statement 1, by more bits if fewer cannot decide it."""
    from flint import arb

    from optprobe.certificates.exact.balls import FINER, PRECISION, precision, show

    result = claim.result
    upper = arb(result["upper_bound"])
    for bits in (PRECISION, *FINER):
        with precision(bits):
            value = objective(result["support"], coef, result["intercept"])
            if value <= upper:
                break
            if value > upper:
                raise Rejected(f"The objective {show(value)} is above the upper bound {result['upper_bound']!r}.")
    else:
        raise Rejected(f"The objective {show(value)} is not certainly at most {result['upper_bound']!r}.")
    gap = upper - arb(result["lower_bound"])
    return {
        "support": str(result["support"]),
        "objective": float(value.mid()),
        "upper bound": result["upper_bound"],
        "lower bound": result["lower_bound"],
        "tolerance": result["tolerance"],
        "optimal": bool(gap <= arb(result["tolerance"])),
    }
