"""The record of a certificate: plain values from its claim, what was proved about what, and what the author says."""

from __future__ import annotations

from typing import Any

from formulations.columns import columns_of, layer_of
from optprobe.certificates.checker import Claim, Rows, canonical
from optprobe.certificates.citation import achieved, relative_gap

ID = 12
"""Digits of a sha256 that stand for a certificate in tables."""
SCOPE = ("model", "revision", "layer", "feature", "hook", "dataset", "split")
"""What a record takes from the author's scope: shown as it is, of whatever type, and never trusted."""


def record_of(sha256: str, claim: Claim) -> dict[str, Any]:
    """Everything but what was verified here, and whether another certificate proves more."""
    problem, result, scope = claim.problem, claim.result, claim.author.scope
    return {
        "id": sha256[:ID],
        "sha256": sha256,
        **{name: scope.get(name) for name in SCOPE},
        "layer": layer_of(scope),
        "k": problem.k,
        "loss": problem.loss,
        "ridge": problem.ridge,
        "class_weight": problem.class_weight,
        "among": None if problem.among is None else list(problem.among),
        "forced": list(problem.forced),
        "n_rows": claim.data.n_rows,
        "n_neurons": claim.data.n_neurons,
        "support": list(result.support),
        "neurons": columns_of(scope, claim.data.n_neurons).names(result.support),
        "upper_bound": result.upper_bound,
        "lower_bound": result.lower_bound,
        "gap": result.upper_bound - result.lower_bound,
        "relative_gap": relative_gap(result),
        "optimal": result.optimal,
        "status": achieved(result),
        "pool": None if result.pool is None else {"sets": len(result.pool.sets), "rest": result.pool.rest},
        "engine": claim.author.engine,
        "regime": claim.author.regime,
        "proof": claim.proof.kind,
        "data": digests(claim),
    }


def digests(claim: Claim) -> dict[str, str]:
    """The sha256 of what the claim is about: X, y or targets and, where there are such, weights; or moments."""
    data = claim.data
    if not isinstance(data, Rows):
        return {"moments": data.moments}
    weights = {} if data.weights is None else {"weights": data.weights}
    return {"X": data.X, "targets" if data.target else "y": data.y, **weights}


def problem_key(claim: Claim) -> str:
    """What two certificates of one problem have in common: the data by digest, and the problem's parameters."""
    return canonical({"data": digests(claim), "problem": vars(claim.problem)})


def pool_key(claim: Claim) -> str:
    """The listed sets of a claim and the bound of the rest; empty where there is no pool."""
    pool = claim.result.pool
    return "" if pool is None else canonical([sorted(list(one.support) for one in pool.sets), pool.rest])
