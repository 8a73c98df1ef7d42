"""Which sets contain a listed one: both checkers' ways, which share nothing, against the definition."""

from __future__ import annotations

import itertools
import time
from collections.abc import Callable, Iterable, Sequence

import numpy as np
import pytest

from optprobe.certificates.checker.pool import Listed as Looked
from optprobe.certificates.exact.pool import Listed as Paths

Holds = Callable[[Sequence[int]], bool]
WAYS: dict[str, Callable[[Iterable[tuple[int, ...]]], Holds]] = {
    "float64": lambda sets: Looked(frozenset(sets)).inside,
    "balls": lambda sets: Paths(sets).within,
}


@pytest.mark.parametrize("way", WAYS)
def test_as_by_definition(way: str) -> None:
    rng = np.random.default_rng(0)
    everything = [one for size in range(6) for one in itertools.combinations(range(7), size)]
    for count in (0, 1, 2, 5, 20, 60):
        listed = [everything[i] for i in rng.choice(len(everything), count, replace=False)]
        holds = WAYS[way](listed)
        for one in everything:
            assert holds(one[::-1]) == any(set(part) <= set(one) for part in listed), (one, listed)
    assert WAYS[way]([()])(())
    assert not WAYS[way]([])(())


@pytest.mark.parametrize("way", WAYS)
def test_large_sets_take_no_time(way: str) -> None:
    """There are more parts of 30 among 60 columns than anything could look up."""
    holds, started = WAYS[way]([(*range(29), 99), tuple(range(40, 101))]), time.perf_counter()
    assert not holds(range(60))
    assert holds(range(40, 102))
    assert time.perf_counter() - started < 1
