"""Nodes (inside, free) and what the bound of one vector says of them, section 6 of docs/certificates.md."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from flint import arb

from optprobe.certificates.exact.balls import add, below
from optprobe.certificates.exact.duality import Bound


def node_bound(bound: Bound, inside: Sequence[int], free: np.ndarray, need: int) -> arb | None:
    """The node bound; None, which is infinity, if there are fewer than ``need`` free columns."""
    if len(free) < need:
        return None
    return _without(bound, inside) - add(map(arb, _largest(bound.d[free], need).tolist()))


def reaches(bound: Bound, inside: Sequence[int], free: np.ndarray, need: int, lower: arb) -> bool:
    """Whether the node bound is certainly at least ``lower``."""
    value = node_bound(bound, inside, free, need)
    return value is None or bool(value >= lower)


def screened(bound: Bound, inside: Sequence[int], free: np.ndarray, need: int, lower: arb) -> np.ndarray:
    """The free columns that stay: those whose node bound, forced inside, is not certainly at least ``lower``."""
    if need == 0:
        return free
    if len(free) < need:
        return free[:0]
    d = bound.d[free]
    largest = _largest(d, need)
    room = below(_without(bound, inside) - add(map(arb, largest[1:].tolist())) - lower)
    if largest[0] <= room:
        return free[:0]
    return np.asarray(free[~(d <= room)])


def _without(bound: Bound, inside: Sequence[int]) -> arb:
    return bound.g - add(arb(float(bound.d[j])) for j in inside)


def _largest(d: np.ndarray, need: int) -> np.ndarray:
    """The ``need`` largest numbers, the smallest of them first."""
    if need == 0:
        return d[:0]
    at = len(d) - need
    return np.sort(np.partition(d, at)[at:])
