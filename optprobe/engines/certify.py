"""From a solution to its certificate: the claim, and the arrays that prove it."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib import metadata
from typing import Any

import numpy as np
from numpy.typing import NDArray

from formulations import MomentProblem, ProbeProblem, with_rows
from optprobe.certificates import Certificate
from optprobe.engines.solution import Solution, TreeProof

STATED_VERSIONS = ("optprobe", "numpy", "highspy", "numba")


def certificate_of(solution: Solution, scope: Mapping[str, object]) -> Certificate:
    """The certificate of a solution; docs/certificates.md says what each part means.

    Parameters
    ----------
    solution : Solution
    scope : mapping
        What the data are: file, or model, revision, layer, hook point, feature, dataset digest, split. JSON values.
    """
    problem = solution.problem
    claim = {
        "data": {**_data(problem), "n_rows": problem.n_rows, "n_neurons": problem.n_neurons},
        "problem": {
            "k": problem.k,
            "loss": problem.loss.name,
            "ridge": problem.ridge,
            "class_weight": problem.class_weight,
            "weighted": problem.weighted,
            "among": None if problem.among is None else list(problem.among),
        },
        "result": {
            "support": list(solution.support),
            "intercept": solution.intercept,
            "upper_bound": solution.upper_bound,
            "lower_bound": solution.lower_bound,
            "tolerance": solution.tolerance,
            "optimal": solution.optimal,
            "status": solution.status_sentence,
            "engine": solution.engine,
            "regime": solution.regime,
        },
        "proof": "tree" if isinstance(solution.proof, TreeProof) else "sweep",
        "scope": dict(scope),
        "versions": _versions(),
    }
    arrays: dict[str, NDArray[Any]] = {
        "shift": problem.shift,
        "inv_scale": problem.inv_scale,
        "coef": solution.coef,
    }
    if problem.weighted:
        arrays["w"] = with_rows(problem).w
    if isinstance(solution.proof, TreeProof):
        arrays |= _tree_arrays(solution.proof)
    if (reference := solution.proof.reference) is not None:
        arrays |= {"reference": reference.fit, "reference.box": np.array([reference.box])}
    return Certificate(claim, arrays)


def _data(problem: ProbeProblem) -> dict[str, object]:
    """What the data are: digests and, of moments, how they were made and how far they may be from those of the rows."""
    if isinstance(problem, MomentProblem):
        return {**problem.digests, "made": dict(problem.moments.made), "error": problem.moments.error}
    return {**problem.digests}


def _tree_arrays(proof: TreeProof) -> dict[str, NDArray[Any]]:
    return {
        "tree.kind": proof.kind,
        "tree.argument": proof.argument,
        "points.start": proof.point_start,
        "points.columns": proof.point_columns,
        "points.coef": proof.point_coef,
        "points.intercept": proof.point_intercept,
        "duals": proof.duals,
    }


def _versions() -> dict[str, str]:
    versions = {"python": platform.python_version()}
    for name in STATED_VERSIONS:
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            versions[name] = "not installed"
    return versions
