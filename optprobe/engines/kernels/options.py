"""How every kernel is compiled."""

from __future__ import annotations

from typing import Any

OPTIONS: dict[str, Any] = {
    "cache": True,
    "nogil": True,
    "error_model": "numpy",
    "fastmath": {"nsz", "contract", "reassoc", "arcp"},
}
"""Sums may be reordered, since every result is used with a margin; NaN and infinity keep their meaning."""
