"""The product of many neurons with each other."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]

BLOCK = 4096
"""OpenBLAS's symmetric product (0.3.31, two threads) crashes at 16,384 rows; products of blocks do not."""


def gram(rows: Floats) -> Floats:
    """``rows @ rows.T`` for rows of shape (m, n): half the work of a general product, also where m is large."""
    m = len(rows)
    if m <= BLOCK:
        return np.asarray(rows @ rows.T)
    product = np.empty((m, m))
    for start in range(0, m, BLOCK):
        part, rest = slice(start, start + BLOCK), slice(start, m)
        np.matmul(rows[part], rows[rest].T, out=product[part, rest])
        product[rest, part] = product[part, rest].T
    return product
