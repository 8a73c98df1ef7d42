"""How every kernel is compiled."""

from __future__ import annotations

import warnings
from typing import Any

from numba import njit


def _nothing() -> None:
    """Stands for every kernel: where its compiled code can be kept, theirs can."""


def _can_be_kept() -> bool:
    """Whether compiled code can be kept from one run to the next; says it once where not."""
    try:
        njit(cache=True)(_nothing)
    except RuntimeError:
        warnings.warn(
            "neither the package's folder nor the home folder can be written, so the loops are compiled anew in every "
            "run, which takes a minute: name a folder for them in the environment variable NUMBA_CACHE_DIR",
            stacklevel=2,
        )
        return False
    return True


OPTIONS: dict[str, Any] = {
    "cache": _can_be_kept(),
    "nogil": True,
    "error_model": "numpy",
    "fastmath": {"nsz", "contract", "reassoc", "arcp"},
}
"""Sums may be reordered, since every result is used with a margin; NaN and infinity keep their meaning."""
