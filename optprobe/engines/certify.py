"""From a solution to its certificate: the claim, and the arrays that prove it."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib import metadata
from typing import Any

from numpy.typing import NDArray

from formulations import MomentProblem, ProbeProblem
from optprobe.certificates import Certificate
from optprobe.certificates.checker import Author, Claim, OfMoments, Result, Rows, Stated, Sweep, Tree
from optprobe.certificates.format import described
from optprobe.engines.solution import Proof, Solution, TreeProof

STATED_VERSIONS = ("optprobe", "numpy", "highspy", "numba")


def certificate_of(solution: Solution, scope: Mapping[str, object]) -> Certificate:
    """The certificate of a solution; docs/certificates.md says what each part means.

    Parameters
    ----------
    solution : Solution
    scope : mapping
        What the data are: file, or model, revision, layer, hook point, feature, dataset digest, split. JSON values.
    """
    problem, proof = solution.problem, solution.proof
    among = None if problem.among is None else tuple(problem.among)
    claim = Claim(
        _data(problem),
        Stated(problem.loss.name, problem.ridge, problem.k, problem.class_weight, among),
        Result(
            tuple(solution.support),
            solution.intercept,
            solution.upper_bound,
            solution.lower_bound,
            solution.tolerance,
        ),
        _proof(proof),
        Author(solution.engine, solution.regime, described(scope), _versions()),
    )
    arrays: dict[str, NDArray[Any]] = {"coef": solution.coef}
    if isinstance(proof, TreeProof):
        arrays |= _tree_arrays(proof)
    if proof.reference is not None:
        arrays["reference"] = proof.reference.fit
    return Certificate(claim, arrays)


def _data(problem: ProbeProblem) -> Rows | OfMoments:
    """What the data are, by digest."""
    digests, sizes = problem.digests, (problem.n_rows, problem.n_neurons)
    if isinstance(problem, MomentProblem):
        return OfMoments(digests["moments"], *sizes)
    return Rows(digests["X"], digests["y"], digests.get("weights"), *sizes)


def _proof(proof: Proof) -> Sweep | Tree:
    box = None if proof.reference is None else proof.reference.box
    if not isinstance(proof, TreeProof):
        return Sweep(box)
    return Tree(box, len(proof.kind), len(proof.point_intercept), len(proof.point_coef), len(proof.duals))


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
