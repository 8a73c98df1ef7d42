"""What an engine returns, what `solve` returns, and the proofs they carry."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from formulations import ProbeProblem
from formulations.shown import Shown, Table, facts

if TYPE_CHECKING:
    from optprobe.certificates import Certificate

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]


class Status(Enum):
    """How a search ended, as a sentence; ``{k}`` and ``{tolerance}`` are filled in by `Solution.status_sentence`."""

    OPTIMAL = "optimal: no set of {k} neurons is better by more than {tolerance:g}"
    TIME_LIMIT = "time limit: the bounds hold, and the gap is not closed"
    INTERRUPTED = "interrupted: the bounds hold, and the gap is not closed"
    UNFINISHED = "unfinished: the bounds hold, and the engine could not close the gap"


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
    are bounded from ``reference``.
    """

    kind: NDArray[np.int8]
    argument: NDArray[np.int32]
    point_start: Ints
    point_columns: NDArray[np.int32]
    point_coef: Floats
    point_intercept: Floats
    duals: Floats
    reference: Reference | None = None


@dataclass(frozen=True, eq=False)
class SweepProof:
    """An enumeration of all supports; whoever checks it sweeps again.

    For squared and hinge loss the claim alone is the proof; for the logistic loss the checker needs the reference.
    """

    reference: Reference | None = None


Proof = TreeProof | SweepProof


@dataclass(frozen=True, eq=False)
class Outcome:
    """What an engine found: its best support, the lower bound it proved (in plain float64), and the proof."""

    support: tuple[int, ...]
    lower: float
    proof: Proof
    counts: Mapping[str, int] = field(default_factory=dict)


@dataclass(frozen=True, eq=False, repr=False)
class Solution(Shown):
    """A support with a lower bound for all others.

    Attributes
    ----------
    problem : SparseProbeProblem or MomentProblem
    support : tuple of int
        Columns of X, sorted.
    coef : ndarray, shape (len(support),)
        Coefficients of the standardised neurons.
    intercept : float
    upper_bound, lower_bound : float
        ``F(support) <= upper_bound`` and ``F(T) >= lower_bound`` for every T of at most k neurons, rounding included,
        on the mean-loss scale.
    tolerance : float
        The gap below which the status is optimal.
    status : Status
    interrupted : bool
        Whether Ctrl-C ended the search: the bounds hold, and whoever works through many problems should stop.
    engine, why : str
        The engine that ran, and the reason it was chosen.
    regime : str
        "separable", "relaxation" or "combinatorial".
    incumbent_source : str
        The heuristic that gave the starting support.
    proof : Proof
    seconds : mapping of str to float
        Seconds of each phase.
    counts : mapping of str to int
        Nodes, leaves, pairs scanned: what the engine counted.
    """

    problem: ProbeProblem
    support: tuple[int, ...]
    coef: Floats
    intercept: float
    upper_bound: float
    lower_bound: float
    tolerance: float
    status: Status
    interrupted: bool
    engine: str
    why: str
    regime: str
    incumbent_source: str
    proof: Proof
    seconds: Mapping[str, float]
    counts: Mapping[str, int]

    @property
    def gap(self) -> float:
        """``upper_bound - lower_bound``, on the mean-loss scale."""
        return self.upper_bound - self.lower_bound

    @property
    def optimal(self) -> bool:
        return self.status is Status.OPTIMAL

    @property
    def status_sentence(self) -> str:
        return self.status.value.format(k=self.problem.k, tolerance=self.tolerance)

    def certificate(self, scope: Mapping[str, object] | None = None) -> Certificate:
        """The certificate of this solution.

        Its scope, which says in words and numbers what the data are, is that of the problem's origin; ``scope`` adds to
        it.
        """
        from optprobe.engines.certify import certificate_of

        return certificate_of(self, {**self.problem.origin.scope, **(scope or {})})

    def _line(self) -> str:
        return f"neurons {list(self.support)}: {self.status_sentence}"

    def _table(self) -> Table:
        return facts(
            {
                "objective": f"{self.upper_bound:.9g}",
                "every other set": f"at least {self.lower_bound:.9g} (gap {self.gap:.2g})",
                "engine": f"{self.engine}: {self.why}",
                "regime": self.regime,
                "seconds": f"{sum(self.seconds.values()):.2f}",
            }
        )
