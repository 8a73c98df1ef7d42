"""A pool: near-optimal sets, what follows from them for each neuron, and which of them are wanted."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

from optprobe.engines.incumbents import Support
from optprobe.engines.outcome import Floats
from optprobe.errors import InputError

MOST = 1000
"""Sets that are listed where a threshold alone is given."""
LARGEST_MOST = 10**5


@dataclass(frozen=True)
class Wanted:
    """Which sets: those above the optimum by a share of F, or by so much, or whatever they are; at most so many."""

    within: float | None
    within_absolute: float | None
    most: int

    @classmethod
    def of(cls, within: float | None, within_absolute: float | None, most: int | None) -> Wanted | None:
        """What the arguments of `solve` ask for, None where it is no pool; raises `InputError` for what makes none."""
        if within is not None and within_absolute is not None:
            raise InputError("a threshold is relative (within) or absolute (within_absolute): give one of the two")
        for name, value in (("within", within), ("within_absolute", within_absolute)):
            if value is not None and not 0 <= value < math.inf:
                raise InputError(f"{name} is {value:g}: give a number from 0")
        if most is not None and not (isinstance(most, int) and 1 <= most <= LARGEST_MOST):
            raise InputError(f"pool is {most}: give a number of sets from 1 to {LARGEST_MOST:,}")
        nothing = within is None and within_absolute is None and most is None
        return None if nothing else cls(within, within_absolute, most or MOST)

    def epsilon(self, best: float) -> float | None:
        """How much above the optimum's F; None where there is no threshold."""
        return self.within_absolute if self.within is None else self.within * best


@dataclass(frozen=True, eq=False)
class NearOptimal:
    """
    A listed set.

    Attributes
    ----------
    support : tuple of int
    coef : ndarray, shape (len(support),)
    intercept : float
    upper_bound, lower_bound : float
        Of F(support), rounding included.
    """

    support: Support
    coef: Floats
    intercept: float
    upper_bound: float
    lower_bound: float


@dataclass(frozen=True, eq=False)
class Pool:
    """
    Near-optimal sets, and a bound of all others.

    Attributes
    ----------
    sets : tuple of NearOptimal
        None contains another; best first.
    rest : float
        Every set of at most k neurons, the forced ones among them, that contains none of these sets has F of at least
        this, rounding included.
    size : int
        Neurons of the largest sets there are.
    forced : tuple of int
        Neurons that every set of the problem contains.
    """

    sets: tuple[NearOptimal, ...]
    rest: float
    size: int
    forced: Support = ()

    @property
    def margin(self) -> float | None:
        """By how much every other set is worse than the best, at least, rounding counted; not positive for ties.

        None where a listed set has fewer neurons than allowed: of sets with more neurons beside it, which may be
        better, the pool says nothing one by one.
        """
        if self.least_size < self.size:
            return None
        others = [one.lower_bound for one in self.sets[1:]]
        return min(self.rest, *others, math.inf) - self.sets[0].upper_bound

    @property
    def unique(self) -> bool | None:
        """Whether no other set of at most k neurons is as good; None where the margin is."""
        return None if self.margin is None else self.margin > 0

    @property
    def least_size(self) -> int:
        """The least number of neurons of a listed set."""
        return min(len(one.support) for one in self.sets)

    @property
    def roles(self) -> dict[int, str]:
        """Of every neuron of a listed set: whether it is forced, or stands in all of them."""
        return roles([one.support for one in self.sets], self.forced)

    def role(self, neuron: int) -> str:
        """What a neuron is for the sets below ``rest``.

        "forced" where the problem puts it in every set; else "indispensable" where it stands in every listed set,
        "replaceable" where it stands in some, and "irrelevant" where it stands in none, so that it occurs beside a set
        that is good enough without it.
        """
        return self.roles.get(neuron, "irrelevant")


def roles(sets: Sequence[Support], forced: Support = ()) -> dict[int, str]:
    """Of every neuron of some sets: forced, or else indispensable, if it stands in all of them, or replaceable."""
    standing = Counter(neuron for one in sets for neuron in one)
    found = {j: "indispensable" if standing[j] == len(sets) else "replaceable" for j in sorted(standing)}
    return found | dict.fromkeys(forced, "forced")
