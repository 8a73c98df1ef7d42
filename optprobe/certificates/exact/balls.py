"""Balls: real numbers that are known to lie within a radius of a midpoint (python-flint's ``arb``).

A comparison of balls is true only if it holds for all numbers in them, so what is decided by one is certain.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from contextlib import contextmanager

import numpy as np
from flint import arb, arb_mat, ctx

PRECISION = 128
"""Bits of the midpoints, unless a comparison asks for more."""
FINER = (256, 1024, 4096)
"""Bits of the midpoints for comparisons that fewer could not decide."""

Balls = list[arb]


@contextmanager
def precision(bits: int) -> Iterator[None]:
    """Balls of so many bits inside; what was set before, after."""
    before = ctx.prec
    ctx.prec = bits
    try:
        yield
    finally:
        ctx.prec = before


def exactly(values: np.ndarray) -> Balls:
    """Float64 numbers as balls of radius 0."""
    return list(map(arb, values.tolist()))


def matrix(values: np.ndarray) -> arb_mat:
    """A matrix of float64 numbers as balls of radius 0."""
    return arb_mat(int(values.shape[0]), int(values.shape[1]), list(map(arb, values.ravel().tolist())))


def column(values: Balls) -> arb_mat:
    """A matrix of one column."""
    return arb_mat(len(values), 1, values)


def row(values: Balls) -> arb_mat:
    """A matrix of one row."""
    return arb_mat(1, len(values), values)


def dot(one: Balls, other: Balls) -> arb:
    """The sum of products."""
    return (row(one) * column(other))[0, 0] if one else arb(0)


def add(values: Iterable[arb]) -> arb:
    """The sum."""
    return sum(values, arb(0))


def above(ball: arb) -> float:
    """A float64 number, or infinity, that is certainly at least everything in the ball."""
    if not ball.is_finite():
        return math.inf
    value = float(ball.upper())
    while value != math.inf and not arb(value) >= ball:
        value = math.nextafter(value, math.inf)
    return value


def below(ball: arb) -> float:
    """A float64 number, or minus infinity, that is certainly at most everything in the ball."""
    return -above(-ball)


def about(center: arb, radius: arb) -> arb:
    """The ball that holds everything within a radius of everything in another."""
    return center + arb(0, radius.abs_upper())


def x_log_x(x: arb) -> arb:
    """``x log x``, which is 0 at 0, of the numbers of a ball that are at least 0.

    A ball that meets 0 must lie below 1/e, up to where the function falls; else this is not a number.
    """
    if x > 0:
        return x * x.log()
    if x.is_zero():
        return arb(0)
    end = x.upper()
    if not (end > 0 and end < arb("0.36")):
        return arb("nan")
    return arb(0).union(end * end.log())


def log_1_exp(m: arb) -> arb:
    """``log(1 + exp(m))``."""
    if m.upper() > 0:
        return m + (-m).exp().log1p()
    return m.exp().log1p()


def show(ball: arb) -> str:
    """The midpoint, for a sentence."""
    return repr(float(ball.mid())) if ball.is_finite() else "an unknown number"
