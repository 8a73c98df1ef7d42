"""Groups of neurons, of which a support may have one each: those that go together."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from formulations.errors import InputError
from formulations.problem import ProbeProblem

Ints = NDArray[np.int64]

AT_ONCE = 256


def clusters(problem: ProbeProblem, least: float) -> Ints:
    """
    The clusters of neurons whose absolute correlation is at least a number, shape (n_neurons,); -1 for a neuron alone.

    Two neurons are in one cluster where a chain of such pairs leads from one to the other.

    Parameters
    ----------
    problem : SparseProbeProblem or MomentProblem
        Whose rows and weights the correlations are of; neurons that it cannot use are alone.
    least : float
        Above 0, at most 1.

    Raises
    ------
    InputError
        For another number.
    """
    from scipy.sparse import coo_array  # here, since whoever asks for no clusters needs numpy alone
    from scipy.sparse.csgraph import connected_components

    if not 0 < least <= 1:
        raise InputError(f"the least correlation of a cluster is {least:g}: give a number above 0, at most 1")
    columns = problem.candidates
    first, second = [], []
    for start in range(0, len(columns), AT_ONCE):
        rows = columns[start : start + AT_ONCE]
        near = np.abs(problem.gram_rows(rows)[:, columns]) >= least - 1e-12
        a, b = np.nonzero(near)
        first.append(a + start)
        second.append(b)
    pairs = np.concatenate(first), np.concatenate(second)
    graph = coo_array((np.ones(len(pairs[0])), pairs), shape=(len(columns), len(columns)))
    _, labels = connected_components(graph, directed=False)
    sizes = np.bincount(labels, minlength=1)
    found = np.full(problem.n_neurons, -1, dtype=np.int64)
    found[columns] = np.where(sizes[labels] > 1, labels, -1)
    _, numbered = np.unique(found[found >= 0], return_inverse=True)
    found[found >= 0] = numbered
    return found
