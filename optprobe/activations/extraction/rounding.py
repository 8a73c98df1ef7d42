"""
Rounding to float16, and how much of a neuron it may take away.

A value becomes the nearest number of float16, except that what would become 0 becomes the smallest number of its sign:
a 0 that is kept was a 0. So the values that are kept bound their own rounding errors: half the distance to the next
number, 2^-24 for the smallest one, nothing for 0. A layer may be kept in float16 if, for every neuron, the root mean
square of these bounds over the rows is at most `COARSEST` of the neuron's deviation.

That is decided by the kept values alone, however a run was divided or stopped; and if it holds for the parts of some
rows, it holds for the rows together, whose deviation is at least that within the parts.
"""

from __future__ import annotations

from collections.abc import Iterable
from functools import cache
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    import torch

COARSEST = 0.01
"""Largest rounding error of a neuron, as a share of its deviation: both root mean squares."""
FINEST = 2.0**-24
"""The smallest positive number of float16."""
OVERFLOW = "a value is beyond float16"


def rounded(values: torch.Tensor, dtype: str) -> torch.Tensor:
    """Return values in "float32", or rounded to "float16" as this module says."""
    import torch

    if dtype != "float16":
        return values.to(getattr(torch, dtype))
    kept = values.to(torch.float16)
    lost = (kept == 0) & (values != 0)
    if not lost.is_cuda and not lost.any():  # on a GPU, to ask would be to wait
        return kept
    return kept.masked_fill_(lost & (values > 0), FINEST).masked_fill_(lost & (values < 0), -FINEST)


def rounded_array(values: NDArray[np.floating[Any]]) -> NDArray[np.float16]:
    """Return an array rounded to float16, to the same numbers as `rounded`."""
    with np.errstate(over="ignore"):
        kept = values.astype(np.float16)
    lost = (kept == 0) & (values != 0)
    kept[lost] = np.copysign(FINEST, values[lost])
    return kept


def coarseness(parts: Iterable[NDArray[np.float16]]) -> str | None:
    """
    Say why the values of a layer are not to be kept in float16; None if they may be.

    Parameters
    ----------
    parts : iterable of ndarray of float16, each of shape (n_neurons, n_rows of the part)
        The values as they are kept; none at all may be kept.
    """
    n_rows, mean, squares, errors = 0, np.zeros(1), np.zeros(1), np.zeros(1)
    for part in parts:
        values = part.astype(np.float64)
        if not np.isfinite(values).all():
            return OVERFLOW
        here, n = values.mean(axis=1), part.shape[1]
        difference = here - mean
        squares = squares + np.square(values - here[:, None]).sum(axis=1) + difference**2 * n_rows * n / (n_rows + n)
        mean = mean + difference * n / (n_rows + n)
        errors = errors + _squared_bounds()[part.view(np.uint16)].sum(axis=1)
        n_rows += n
    if n_rows == 0 or (errors <= COARSEST**2 * squares).all():
        return None
    with np.errstate(divide="ignore", invalid="ignore"):
        share = np.nan_to_num(np.sqrt(errors / squares), posinf=np.inf)
    worst = int(np.argmax(share))
    if share[worst] == np.inf:
        return f"float16 would make neuron {worst} a constant"
    return f"float16 would round neuron {worst} by {share[worst]:.1%} of its deviation"


@cache
def _squared_bounds() -> NDArray[np.float64]:
    """Return the squared bound on the rounding error of each float16, by its bits."""
    bits = np.arange(2**16) & 0x7FFF
    bounds: NDArray[np.float64] = 2.0 ** (np.maximum(bits >> 10, 1) - 26)
    bounds[bits == 0] = 0
    bounds[bits == 1] = FINEST
    return bounds * bounds
