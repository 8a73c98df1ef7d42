"""One budget of time for heuristics, root and engine; Ctrl-C ends it early, and the bounds stay valid."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from types import FrameType, TracebackType
from typing import Any, Self


@dataclass(frozen=True)
class Progress:
    """A moment of a solve.

    Attributes
    ----------
    phase : str
    lower, upper : float
        Bounds at this moment, on the mean-loss scale.
    done : float or None
        Share of the work done, where the engine knows it.
    seconds_left : float or None
        Estimate of the time left, where there is an honest one.
    """

    phase: str
    lower: float
    upper: float
    done: float | None = None
    seconds_left: float | None = None


Report = Callable[[Progress], None]


class Budget:
    """Seconds left until the time limit; over at once after Ctrl-C.

    As a context manager in the main thread it takes Ctrl-C over: the first one ends the budget, so that the engine
    returns with valid bounds; the second one raises KeyboardInterrupt. Where Ctrl-C is ignored, it stays ignored.
    """

    def __init__(self, time_limit: float | None = None, whole: Budget | None = None, *, longer: bool = False) -> None:
        self.whole, self.longer = whole, longer
        self.started = time.perf_counter()
        self.time_limit = float("inf") if time_limit is None else time_limit
        self.interrupted = False
        self._previous: Any = None

    @property
    def spent(self) -> float:
        return time.perf_counter() - self.started

    @property
    def left(self) -> float:
        own = 0.0 if self.interrupted else self.time_limit - self.spent
        if self.whole is None:
            return own
        return max(own, self.whole.left) if self.longer else min(own, self.whole.left)

    def part(self, seconds: float) -> Budget:
        """A budget of so many seconds from now, within this one."""
        return Budget(seconds, self)

    def at_least(self, seconds: float) -> Budget:
        """A budget that ends with this one, but not before so many seconds from now."""
        return Budget(seconds, self, longer=True)

    @property
    def over(self) -> bool:
        return self.left <= 0

    def late(self) -> bool:
        """`over`, for searches that ask."""
        return self.over

    def __enter__(self) -> Self:
        taken_by_python = signal.getsignal(signal.SIGINT) not in (signal.SIG_IGN, None)
        if taken_by_python and threading.current_thread() is threading.main_thread():
            self._previous = signal.signal(signal.SIGINT, self._interrupt)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, traceback: TracebackType | None
    ) -> None:
        if self._previous is not None:
            signal.signal(signal.SIGINT, self._previous)
            self._previous = None

    def _interrupt(self, number: int, frame: FrameType | None) -> None:
        if self.interrupted:
            raise KeyboardInterrupt
        self.interrupted = True
