"""Certificates that claim anything, made without solving: the mathematics would reject most of them."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np

from optprobe.certificates import Certificate
from optprobe.certificates.checker import Author, Claim, Result, Rows, Stated, Sweep

BOUNDS = (0.5, 0.4)


def claimed(
    bounds: tuple[float, float] = BOUNDS,
    scope: Mapping[str, Any] | None = None,
    *,
    data: str = "data",
    support: tuple[int, ...] = (1, 2),
    k: int = 2,
    loss: str = "squared",
    ridge: float = 0.01,
    class_weight: str = "none",
    among: tuple[int, ...] | None = None,
    intercept: float = 0.0,
    versions: Mapping[str, Any] | None = None,
) -> Certificate:
    """A certificate of an upper and a lower bound, about data that only their name says."""
    digest = hashlib.sha256(data.encode()).hexdigest()
    claim = Claim(
        Rows(digest, digest, None, 20, 9),
        Stated(loss, ridge, k, class_weight, among),
        Result(support, intercept, *bounds, 1e-6),
        Sweep(0.3 if loss == "logistic" else None),
        Author("none", "none", scope or {}, versions or {"optprobe": "1"}),
    )
    reference = {"reference": np.zeros(20)} if loss == "logistic" else {}
    return Certificate(claim, {"coef": np.linspace(1, 2, len(support)), **reference})
