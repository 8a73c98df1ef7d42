"""What a check ends with."""

from __future__ import annotations

from dataclasses import dataclass


class Rejected(Exception):
    """A statement of the certificate does not hold."""


class Unusable(Exception):
    """There is nothing to check: a file is missing or is not what it should be."""


@dataclass(frozen=True)
class Verdict:
    """Whether a certificate is accepted, and the sentence that says why."""

    accepted: bool
    reason: str

    def __str__(self) -> str:
        return f"{'accepted' if self.accepted else 'rejected'}: {self.reason}"
