"""The time that is left, from what items of each kind have taken in this run."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence


class Clock:
    """
    An estimate that is given only once it can be.

    Parameters
    ----------
    kinds : sequence of str
        The kind of every item that is to be run.
    workers : int
        How many run at once.
    """

    def __init__(self, kinds: Sequence[str], workers: int) -> None:
        self._to_do, self._workers = Counter(kinds), workers
        self._took: dict[str, list[float]] = {kind: [] for kind in self._to_do}

    def ran(self, kind: str, seconds: float) -> None:
        """An item of this kind took so long."""
        self._to_do[kind] -= 1
        self._took[kind].append(seconds)

    @property
    def left(self) -> str:
        """The estimate in words; none before every kind that is still to come has run once."""
        kinds = [kind for kind, count in self._to_do.items() if count > 0]
        if not all(self._took[kind] for kind in kinds):
            return "time left unknown"
        work = sum(self._to_do[kind] * sum(self._took[kind]) / len(self._took[kind]) for kind in kinds)
        seconds = work / self._workers
        return f"about {seconds:.0f} s left" if seconds < 100 else f"about {seconds / 60:.0f} min left"
