"""What an engine returns: a support, the bound it proved, and the proof."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Reference:
    """A fit that the bounds of many sets start from: predictions, shape (n_rows,), and a fraction; see `minorant`."""

    fit: Floats
    box: float


@dataclass(frozen=True, eq=False)
class TreeProof:
    """A branch-and-bound tree in preorder, whose leaves and screens name a dual vector each.

    ``kind[i]`` is 0 for a leaf, 1 for a branch (``argument`` is the neuron; the subtree with it comes first), 2 for a
    screen (the free neurons whose bound, forced inside, reaches the lower bound leave). Dual vectors are numbered:
    first the primal points (sparse coefficients on the standardised neurons and an intercept, whose derivative of the
    loss is the dual vector), then explicit vectors. ``kind`` 3 is a leaf with two neurons missing, all of whose pairs
    are bounded from ``reference``. Where there is a ``diagonal``, shape (n_neurons,), points bound by what it leaves of
    the curvature.
    """

    kind: NDArray[np.int8]
    argument: NDArray[np.int32]
    point_start: Ints
    point_columns: NDArray[np.int32]
    point_coef: Floats
    point_intercept: Floats
    duals: Floats
    reference: Reference | None = None
    diagonal: Floats | None = None


@dataclass(frozen=True, eq=False)
class SweepProof:
    """An enumeration of all supports; whoever checks it sweeps again.

    For squared and hinge loss the claim alone is the proof; for the logistic loss the checker needs the reference.
    """

    reference: Reference | None = None


Proof = TreeProof | SweepProof


@dataclass(frozen=True, eq=False)
class Outcome:
    """What an engine found: its best support, the lower bound it proved (in plain float64), and the proof.

    The bound is of all sets but those that were kept, and those that contain a listed one. ``kept`` are the best sets,
    of which the task says how many.
    """

    support: tuple[int, ...]
    lower: float
    proof: Proof
    counts: Mapping[str, int] = field(default_factory=dict)
    kept: tuple[tuple[int, ...], ...] = ()
