"""From a solution to its certificate: the claim, and the arrays that prove it."""

from __future__ import annotations

import platform
from collections.abc import Mapping
from importlib import metadata
from typing import Any

import numpy as np
from numpy.typing import NDArray

from formulations import MomentProblem, ProbeProblem, value_digest
from optprobe.certificates import Certificate
from optprobe.certificates.checker import Author, Claim, OfMoments, Result, Rows, Stated, Sweep, Tree
from optprobe.engines.outcome import Floats, Proof, TreeProof

STATED_VERSIONS = ("optprobe", "numpy", "highspy", "numba")


def certificate_of(
    problem: ProbeProblem, result: Result, fits: Mapping[str, Floats], proof: Proof, author: Author
) -> Certificate:
    """The certificate of a result; docs/certificates.md says what each part means.

    Parameters
    ----------
    problem : SparseProbeProblem or MomentProblem
    result : Result
        Support, intercept, bounds, tolerance and pool.
    fits : mapping of str to ndarray
        "coef", shape (len(result.support),), and of a pool "pool.coef".
    proof : Proof
    author : Author
        What nobody checks: engine, regime, scope, versions.
    """
    among = None if problem.among is None else tuple(problem.among)
    arrays: dict[str, NDArray[Any]] = {**fits}
    groups = None
    if problem.groups is not None:
        groups, arrays["groups"] = value_digest(problem.groups), problem.groups.astype(np.int32)
    forced = tuple(problem.forced)
    stated = Stated(problem.loss.name, problem.ridge, problem.k, problem.class_weight, among, groups, forced)
    if isinstance(proof, TreeProof):
        arrays |= _tree_arrays(proof)
    if proof.reference is not None:
        arrays["reference"] = proof.reference.fit
    return Certificate(Claim(_data(problem), stated, result, _proof(proof), author), arrays)


def _data(problem: ProbeProblem) -> Rows | OfMoments:
    """What the data are, by digest."""
    digests, sizes = problem.digests, (problem.n_rows, problem.n_neurons)
    if isinstance(problem, MomentProblem):
        return OfMoments(digests["moments"], *sizes)
    y = digests["targets"] if "targets" in digests else digests["y"]
    return Rows(digests["X"], y, digests.get("weights"), *sizes, target="targets" in digests)


def _proof(proof: Proof) -> Sweep | Tree:
    box = None if proof.reference is None else proof.reference.box
    if not isinstance(proof, TreeProof):
        return Sweep(box)
    sizes = len(proof.kind), len(proof.point_intercept), len(proof.point_coef), len(proof.duals)
    return Tree(box, *sizes, proof.diagonal is not None)


def _tree_arrays(proof: TreeProof) -> dict[str, NDArray[Any]]:
    diagonal = {} if proof.diagonal is None else {"tree.diagonal": proof.diagonal}
    return {
        **diagonal,
        "tree.kind": proof.kind,
        "tree.argument": proof.argument,
        "points.start": proof.point_start,
        "points.columns": proof.point_columns,
        "points.coef": proof.point_coef,
        "points.intercept": proof.point_intercept,
        "duals": proof.duals,
    }


def versions() -> dict[str, str]:
    """The versions of Python and of what computes, as a certificate states them."""
    found = {"python": platform.python_version()}
    for name in STATED_VERSIONS:
        try:
            found[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            found[name] = "not installed"
    return found
