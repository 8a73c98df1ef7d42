"""When a search stops: a question that it asks between its steps."""

from __future__ import annotations

from collections.abc import Callable

Late = Callable[[], bool]
"""Whether time is up. Once it says True, no step is begun."""


def never() -> bool:
    """The `Late` of a search that goes on to its own end."""
    return False
