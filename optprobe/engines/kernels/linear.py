"""A small linear system, compiled."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from optprobe.engines.kernels.options import OPTIONS

Floats = NDArray[np.float64]


@njit(**OPTIONS)
def solve(H: Floats, g: Floats) -> None:
    """g = H^-1 g by Cholesky in place; the lower triangle of H is used."""
    m = len(g)
    for a in range(m):
        for b in range(a + 1):
            t = H[a, b]
            for q in range(b):
                t -= H[a, q] * H[b, q]
            H[a, b] = np.sqrt(max(t, 1e-18)) if a == b else t / H[b, b]
    for a in range(m):
        for q in range(a):
            g[a] -= H[a, q] * g[q]
        g[a] /= H[a, a]
    for a in range(m - 1, -1, -1):
        for q in range(a + 1, m):
            g[a] -= H[q, a] * g[q]
        g[a] /= H[a, a]
