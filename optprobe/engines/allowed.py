"""Sets that a problem allows: with the forced neurons in them, and at most one neuron of each group."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from formulations import ProbeProblem, SparseProbeProblem, fit_supports
from optprobe.engines.incumbents import Listed, Support
from optprobe.heuristics.sample import sampled

Ints = NDArray[np.int64]

MOST_TRIED = 512
"""Neurons that are tried in place of each one of a set, the strongest first."""


def first_allowed(problem: ProbeProblem, order: Ints) -> Support:
    """The forced columns and the first of an order that make an allowed set of full size with them."""
    chosen: list[int] = []
    taken: set[int] = set()
    for column in (*problem.forced, *(int(j) for j in order if j not in problem.forced)):
        label = -1 if problem.groups is None else int(problem.groups[column])
        if len(chosen) < problem.size and label not in taken:
            chosen.append(column)
            taken |= {label} - {-1}
    return tuple(sorted(chosen))


def exchanged(problem: ProbeProblem, support: Support, others: Ints) -> Ints:
    """A set, and every allowed one with one of ``others`` in place of one of its own, shape (n_sets, size)."""
    places = [place for place, column in enumerate(support) if column not in problem.forced]
    sets = np.tile(np.array(support, dtype=np.int64), (1 + len(places) * len(others), 1))
    for at, place in enumerate(places):
        sets[1 + at * len(others) : 1 + (at + 1) * len(others), place] = others
    sets = np.sort(sets, axis=1)
    return sets if problem.groups is None else sets[~Listed((), problem.groups).within(sets)]


def descended(problem: ProbeProblem, support: Support) -> tuple[Support, float]:
    """A set of full size that is allowed and no exchange of one neuron improves, from any set; and its F.

    What the set has beside one of each group, or too many beside the forced ones, gives way to the strongest neurons.
    Where there are many rows, exchanges are compared on a sample of them.
    """
    small = sampled(problem) if isinstance(problem, SparseProbeProblem) else problem
    strength = np.abs(small.cross[small.candidates])
    order = small.candidates[np.argsort(-strength, kind="stable")]
    own = np.isin(order, support)
    best = first_allowed(small, np.concatenate([order[own], order[~own]]))
    value = float(fit_supports(small, [best]).objective[0])
    while True:
        fits = fit_supports(small, exchanged(small, best, order[~np.isin(order, best)][:MOST_TRIED]))
        at = int(np.argmin(fits.objective))
        if not fits.objective[at] < value * (1 - 1e-9):
            return best, float(fit_supports(problem, [best]).objective[0])
        best, value = tuple(map(int, fits.supports[at])), float(fits.objective[at])
