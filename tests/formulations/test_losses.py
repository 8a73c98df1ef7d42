"""Conjugates, derivatives and domains of the losses."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from formulations import LOSSES, InputError, Loss, loss_named

finite = st.floats(-30, 30)
label = st.sampled_from([-1.0, 1.0])
losses = pytest.mark.parametrize("loss", LOSSES.values(), ids=LOSSES)


def domain(loss: Loss, y: float, t: float) -> float:
    """A dual value in the domain, from t in [0, 1]."""
    return 8 * t - 4 if loss.name == "squared" else -y * t


@losses
@given(y=label, f=finite, t=st.floats(0, 1))
def test_fenchel_young(loss: Loss, y: float, f: float, t: float) -> None:
    a = np.array([domain(loss, y, t)])
    labels, fit = np.array([y]), np.array([f])
    assert loss.value(labels, fit) + loss.conjugate(labels, a) >= a * f - 1e-9 * (1 + abs(f))


@losses
@given(y=label, f=finite)
def test_fenchel_young_is_tight_at_the_derivative(loss: Loss, y: float, f: float) -> None:
    labels, fit = np.array([y]), np.array([f])
    a = loss.derivative(labels, fit)
    gap = loss.value(labels, fit) + loss.conjugate(labels, a) - a * fit
    assert abs(gap) <= 1e-9 * (1 + abs(f))


@losses
@given(y=label, f=finite, g=finite)
def test_derivative_is_a_subgradient(loss: Loss, y: float, f: float, g: float) -> None:
    labels = np.array([y])
    at, to = np.array([f]), np.array([g])
    line = loss.value(labels, at) + loss.derivative(labels, at) * (to - at)
    assert loss.value(labels, to) >= line - 1e-9 * (1 + abs(f) + abs(g)) ** 2


@pytest.mark.parametrize("name", ["squared", "logistic"])
@given(y=label, f=st.floats(-15, 15))
def test_curvature_is_the_derivative_of_the_derivative(name: str, y: float, f: float) -> None:
    loss, labels, h = LOSSES[name], np.array([y]), 1e-5
    slope = (loss.derivative(labels, np.array([f + h])) - loss.derivative(labels, np.array([f - h]))) / (2 * h)
    np.testing.assert_allclose(slope, loss.curvature(labels, np.array([f])), atol=1e-6)


@losses
@given(seed=st.integers(0, 10_000))
def test_feasible_vectors_are_in_the_domain_and_balanced(loss: Loss, seed: int) -> None:
    rng = np.random.default_rng(seed)
    n = int(rng.integers(2, 40))
    y = rng.choice([-1.0, 1.0], n)
    y[:2] = -1.0, 1.0
    w = rng.random(n)
    w /= w.sum()
    a = loss.feasible(y, w, rng.standard_normal((3, n)) * 10.0 ** rng.uniform(-3, 2))
    np.testing.assert_allclose(a @ w, 0, atol=1e-12 * (1 + np.abs(a).max()))
    if loss.name != "squared":
        assert ((-y * a >= 0) & (-y * a <= 1)).all()


@losses
def test_a_feasible_vector_stays(loss: Loss) -> None:
    y, w = np.array([1.0, 1.0, -1.0, -1.0]), np.full(4, 0.25)
    a = np.array([-0.25, -0.75, 0.5, 0.5])
    np.testing.assert_allclose(loss.feasible(y, w, a), a, atol=1e-15)


def test_an_unknown_loss_is_refused() -> None:
    with pytest.raises(InputError, match="squared, logistic, hinge"):
        loss_named("absolute")
