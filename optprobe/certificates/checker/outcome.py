"""The ways in which a check ends before it has proved anything, and the one way to demand that a statement is true."""

from __future__ import annotations

from typing import Any


class Rejected(Exception):
    """A statement of the certificate does not hold."""


class Undecided(Exception):
    """A limit was reached before the certificate was accepted or rejected."""


class Unusable(Exception):
    """There is nothing to check: a file is missing or is not what it should be."""


def require(holds: Any, otherwise: str) -> None:
    """Go on where a statement is true, and reject the certificate where it is anything else, NaN included."""
    if not holds:
        raise Rejected(otherwise)
