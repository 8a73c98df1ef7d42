"""The checker against a second one in exact arithmetic: neither accepts what the other refutes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from adversarial import KINDS, known
from exact import ExactProblem, Truth
from flint import arb
from sealing import altered, claiming

from optprobe.certificates import verify
from optprobe.engines import solve


@pytest.mark.parametrize("loss", ["squared", "logistic", "hinge"])
@pytest.mark.parametrize("kind", KINDS)
def test_two_checkers_agree(kind: str, loss: str, tmp_path: Path) -> None:
    """On what a certificate claims, and on claims that are moved by a little: the float64 checker is on the safe side.

    Whatever it accepts, exact arithmetic proves, up to the accuracy of the fits that it starts from.
    """
    for seed in range(2):
        instance = known(kind, 700 + seed, loss, largest_k=3)
        problem, path = instance.problem, tmp_path / "a.cert"
        data = instance.X, instance.y, instance.sample_weight
        truth, stated = Truth(problem), ExactProblem(problem)
        certificate = solve(problem).certificate()
        result, coef = certificate.claim.result, certificate.arrays["coef"]
        assert verify(certificate.save(path), *data).accepted
        assert truth.proves(result.lower_bound - 1e-10)
        assert stated.objective(result.support, coef, result.intercept) <= arb(result.upper_bound)
        for moved in (-1e-6, 1e-12, 1e-10, 1e-8, 1e-6):
            lower = instance.optimum + moved
            bounds = {"lower_bound": lower, "upper_bound": max(result.upper_bound, lower)}
            accepted = verify(altered(certificate, claiming(bounds), path), *data).accepted
            assert not (accepted and truth.refutes(instance.optimum + moved))
            assert not accepted or truth.proves(instance.optimum + moved - 1e-10)
        assert truth.refutes(instance.optimum + 1e-8)


@pytest.mark.parametrize("loss", ["squared", "logistic", "hinge"])
def test_the_upper_bound_is_above_the_exact_objective(loss: str, tmp_path: Path) -> None:
    """A claimed objective one unit in the last place below the exact one is rejected, whatever float64 says."""
    for seed in range(4):
        instance = known("heavy", 800 + seed, loss, largest_k=3)
        certificate = solve(instance.problem).certificate()
        result = certificate.claim.result
        stated = ExactProblem(instance.problem)
        value = stated.objective(result.support, certificate.arrays["coef"], result.intercept)
        below = float(np.nextafter(float(value.mid()), -1.0))
        bounds = {"upper_bound": below, "lower_bound": min(result.lower_bound, below - 1e-9)}
        path = altered(certificate, claiming(bounds), tmp_path / "a.cert")
        assert "reaches" in verify(path, instance.X, instance.y).reason
