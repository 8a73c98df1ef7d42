"""What a check may take, and how its work is spread: limits of time and memory, strict arithmetic, threads."""

from __future__ import annotations

import os
import time
from collections import deque
from collections.abc import Callable, Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import chain, islice
from typing import TypeVar

import numpy as np

from .outcome import Undecided

Item = TypeVar("Item")
Found = TypeVar("Found")

SECONDS, GIB = 3600.0, 16.0
OPERATIONS = 2e9
"""Floating-point operations of a second, at least, in matrix products."""
THREADS = os.cpu_count() or 1


@dataclass(frozen=True)
class Limits:
    """Seconds from now on, and bytes."""

    seconds: float = SECONDS
    memory: float = GIB * 2**30
    started: float = field(default_factory=time.monotonic)

    def check(self) -> None:
        """Raise `Undecided` where the time is over."""
        if time.monotonic() - self.started >= self.seconds:
            raise Undecided(f"not decided within {self.seconds:g} s: give a longer --time-limit")

    def work(self, operations: float, what: str) -> None:
        """Raise `Undecided` where so many floating-point operations take longer than the time that is left."""
        needed = operations / (OPERATIONS * THREADS)
        if time.monotonic() - self.started + needed >= self.seconds:
            raise Undecided(f"{what} needs about {needed:,.0f} s, and the limit is {self.seconds:g} s: --time-limit")

    def room(self, numbers: float, what: str) -> None:
        """Raise `Undecided` where so many float64 numbers at once are more than the memory allowed."""
        if 8 * numbers > self.memory:
            needed, most = 8 * numbers / 2**30, self.memory / 2**30
            raise Undecided(f"{what} needs about {needed:,.1f} GiB, and the limit is {most:g} GiB: --memory-limit")


def strict() -> np.errstate:
    """Overflow, division by zero and invalid operations raise FloatingPointError instead of giving a number."""
    return np.errstate(divide="raise", over="raise", invalid="raise", under="ignore")


def mapped(function: Callable[[Item], Found], items: Iterable[Item], limits: Limits) -> Iterator[Found]:
    """``map`` on all cores, in order and under `strict`; only a few results wait at any time."""

    def strictly(item: Item) -> Found:
        limits.check()
        with strict():
            return function(item)

    remaining = iter(items)
    first = list(islice(remaining, 2))
    if len(first) < 2:  # a pool would cost more than it gives
        yield from map(strictly, first)
        return
    waiting: deque[Future[Found]] = deque()
    with ThreadPoolExecutor(THREADS) as pool:
        try:
            for item in chain(first, remaining):
                waiting.append(pool.submit(strictly, item))
                if len(waiting) > 2 * THREADS:
                    yield waiting.popleft().result()
            while waiting:
                yield waiting.popleft().result()
        finally:
            for future in waiting:
                future.cancel()
