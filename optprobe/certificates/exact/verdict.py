"""What a check ends with: accepted, rejected, or undecided within the time that it was given."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import Literal

Proved = Mapping[str, str | int | float | bool]
Report = Callable[[str], None]


@dataclass(frozen=True)
class ExactVerdict:
    """The end of a check.

    Attributes
    ----------
    outcome : {"accepted", "rejected", "undecided"}
        Undecided is neither: the check did not end within its limits.
    reason : str
        One sentence.
    proved : mapping
        What was proved, from the checker's own numbers; empty unless something was.
    """

    outcome: Literal["accepted", "rejected", "undecided"]
    reason: str
    proved: Proved = field(default_factory=lambda: MappingProxyType({}))

    @property
    def accepted(self) -> bool:
        """Whether the statements of the claim are proved."""
        return self.outcome == "accepted"

    @property
    def exit_code(self) -> int:
        """0 accepted, 1 rejected, 3 undecided."""
        return {"accepted": 0, "rejected": 1, "undecided": 3}[self.outcome]

    def as_json(self) -> dict[str, object]:
        """JSON values: accepted, outcome, reason, proved."""
        return {
            "accepted": self.accepted,
            "outcome": self.outcome,
            "reason": self.reason,
            "proved": dict(self.proved),
        }

    def __str__(self) -> str:
        facts = [f"{name}: {value}" for name, value in self.proved.items()]
        return "\n  ".join([f"{self.outcome}: {self.reason}", *facts])


class Rejected(Exception):
    """A statement of the file or of the claim does not hold, or could not be proved: the sentence says which."""


class Undecided(Exception):
    """The check would not end within its limits: the sentence says how far it came."""


class Clock:
    """The time that a check may take, and the lines that it reports meanwhile.

    Parameters
    ----------
    limit : float
        In seconds, from now on.
    report : callable, optional
        Gets a line about every ten seconds.
    """

    def __init__(self, limit: float, report: Report | None = None) -> None:
        self.begun = self.told = time.monotonic()
        self.limit, self.report = limit, report

    @property
    def spent(self) -> float:
        """Seconds since the check began."""
        return time.monotonic() - self.begun

    def check(self, progress: Callable[[], str]) -> None:
        """Raise `Undecided` with the progress, once the time is up."""
        now = time.monotonic()
        if now - self.begun > self.limit:
            raise Undecided(f"{progress()} in {self.limit:g} s")
        if self.report is not None and now - self.told > 10:
            self.told = now
            self.report(progress())
