"""What is said of a ball holds of everything in it."""

from __future__ import annotations

import math

import pytest
from flint import arb

from optprobe.certificates.exact.balls import PRECISION, about, above, below, log_1_exp, precision, x_log_x


def test_float64_numbers_around_a_ball() -> None:
    for value in (
        arb(1) / 3,
        -arb(1) / 3,
        arb(0),
        arb(1, 1e-9),
        arb("1e-400"),
        arb("-1e-400"),
        arb("1e400"),
        arb("1e308"),
    ):
        assert arb(above(value)) >= value or above(value) == math.inf
        assert arb(below(value)) <= value or below(value) == -math.inf
    assert above(arb(0.1)) == below(arb(0.1)) == 0.1
    assert above(arb("nan")) == math.inf
    assert below(arb("nan")) == -math.inf


def test_about() -> None:
    ball = about(arb(1) / 3, arb(1) / 7)
    for inner in (arb(1) / 3 + arb(1) / 7, arb(1) / 3 - arb(1) / 7, arb(1) / 3):
        assert ball.contains(inner)


def test_x_log_x_next_to_zero() -> None:
    assert x_log_x(arb(0)).is_zero()
    near = x_log_x(arb(0, 1e-20))
    for x in (0.0, 1e-30, 1e-25, 0.9e-20):
        assert near.contains(x_log_x(arb(x)))
    assert not x_log_x(arb(0, 1)).is_finite()


@pytest.mark.parametrize("m", [-1e100, -800.0, -1.0, 0.0, 1.0, 800.0, 1e100])
def test_log_1_exp(m: float) -> None:
    with precision(PRECISION):
        value = log_1_exp(arb(m))
        assert value.is_finite()
        assert not value < max(m, 0.0)
        assert not value > arb(max(m, 0.0)) + arb(2).log()
