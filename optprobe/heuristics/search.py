"""Good supports by local search: forward selection, beam search, swap descent, and the best of them all.

Each compares supports by the exact F, over the moves of `optprobe.heuristics.moves`, and proves nothing: it ends where
no move it fitted is better.

Sources: forward selection and the exchange of neurons are classical; exchanges of several neurons at once are the
splicing of Zhu, Wen, Zhu, Zhang, Wang, PNAS 2020 (abess); the beam search is that of Liu, Rosen, Zhong, Rudin,
NeurIPS 2023 (OKRidge).
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from formulations import InputError, ProbeProblem, with_rows
from optprobe.heuristics.moves import Gram, Moves, Support, as_support
from optprobe.heuristics.rankings import adaptive_thresholding, top
from optprobe.heuristics.sample import sampled
from optprobe.heuristics.stopping import Late, never

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

OTHER_SINGLES, RANDOM_STARTS, REFINED = 2, 2, 3
"""Of `incumbent`: next best single neurons and random supports to start from; local optima given exchanges of two."""
GIVEN = "a given start"
CARRIED = 8
"""Supports found on a sample of the rows, the best first, that are fitted on all of them."""
SWEPT = 2
"""Neurons of a support up to which nearly the best will do: a sweep of all sets is quick. Larger ones descend again."""
ROUGH = 1e-6
"""Tolerance of the fits of adaptive thresholding where its end is but a start."""


@dataclass(frozen=True, eq=False)
class Incumbent:
    """A support with its exact objective, which is an upper bound of F*_k.

    Attributes
    ----------
    support : ndarray, shape (k,)
        Sorted.
    objective : float
        F(support).
    source : str
        The search that found it.
    """

    support: Ints
    objective: float
    source: str

    def __str__(self) -> str:
        return f"neurons {', '.join(map(str, self.support))}: F = {self.objective:.6g}, by {self.source}"


def forward_selection(
    problem: ProbeProblem,
    k: int | None = None,
    start: Sequence[int] | Ints = (),
    *,
    gram: Gram | None = None,
    late: Late = never,
) -> Incumbent:
    """Add the neuron that lowers F most, from ``start``, until there are k.

    Parameters
    ----------
    problem : SparseProbeProblem or MomentProblem
        What F is.
    k : int, optional
        The size to reach; that of the problem unless given.
    start : sequence of int
        Neurons to begin with; they stay.
    gram : Gram, optional
        Of the same data; used by the squared loss.
    late : callable, optional
        Whether time is up, asked between steps; what is missing then is added by the mean difference.

    Returns
    -------
    Incumbent
        Of k neurons.

    Raises
    ------
    InputError
        ``start`` or k cannot be had from the candidates of the problem.
    """
    size = _checked_size(problem, k)
    first = _checked_support(problem, start, size)
    moves = Moves(problem, gram, late)
    return _incumbent(moves, _grow(moves, [first], size, 1)[0], "forward selection")


def beam_search(
    problem: ProbeProblem,
    k: int | None = None,
    width: int = 8,
    *,
    gram: Gram | None = None,
    late: Late = never,
) -> Incumbent:
    """Forward selection that keeps the ``width`` best supports of every size.

    Parameters
    ----------
    problem : SparseProbeProblem or MomentProblem
        What F is.
    k : int, optional
        The size to reach; that of the problem unless given.
    width : int
        Supports kept; with 1 this is forward selection.
    gram, late
        As in `forward_selection`.

    Returns
    -------
    Incumbent
        The best of k neurons.

    Raises
    ------
    InputError
        The width is not positive, or k exceeds the number of candidates.
    """
    if width < 1:
        raise InputError(f"the width of the beam is {width}: give a positive integer")
    size = _checked_size(problem, k)
    moves = Moves(problem, gram, late)
    return _incumbent(moves, _grow(moves, [()], size, width)[0], f"beam search of width {width}")


def swap_descent(
    problem: ProbeProblem,
    support: Sequence[int] | Ints,
    *,
    gram: Gram | None = None,
    late: Late = never,
) -> Incumbent:
    """Exchange one neuron, and where that does not help two, while F falls.

    For the squared loss no exchange of one neuron lowers the F of the result. For the other losses the same holds as
    far as the estimate ranks the improving exchange among the first, which are fitted. Exchanges of two are a sample.

    Parameters
    ----------
    problem : SparseProbeProblem or MomentProblem
        What F is.
    support : sequence of int, shape (k,)
        Where to start; the size is kept.
    gram : Gram, optional
        Of the same data; used by the squared loss.
    late : callable, optional
        Whether time is up, asked between steps; the support reached then is returned.

    Returns
    -------
    Incumbent
        Of the same size, never worse than the start.

    Raises
    ------
    InputError
        The support is empty or holds a neuron that is no candidate.
    """
    start = _checked_support(problem, support, len(problem.candidates))
    if not start:
        raise InputError("the support to start from is empty: name at least one neuron")
    moves = Moves(problem, gram, late)
    return _incumbent(moves, _descend(moves, start, pairs=True), "swap descent")


def incumbent(
    problem: ProbeProblem,
    late: Late = never,
    starts: Sequence[Sequence[int] | Ints] = (),
    *,
    gram: Gram | None = None,
) -> Incumbent:
    """The best support of `problem.size` neurons that all searches together find.

    Starts: those given, the top of the mean difference (the f statistic ranks alike), forward selection, the best of
    the squared loss and adaptive thresholding where the loss is another, forward selection from the next best single
    neurons, and random supports. Each descends by exchanges of one; the best local optima then by exchanges of two.
    Single neurons need no such starts: those of the best estimates are fitted.

    Where there are many rows and the loss is not the squared one, whose moves need no pass over them, all this happens
    on a sample of the rows (`sampled`), and the best supports found there are fitted on all of them. Of more than
    `SWEPT` neurons the best descends by exchanges of one on all rows.

    Parameters
    ----------
    problem : SparseProbeProblem or MomentProblem
        What F is, and the size.
    late : callable, optional
        Whether time is up, asked between steps: none is begun after it, but the first start is always fitted. Without
        it the answer depends on the arguments only.
    starts : sequence of supports
        Of at most `problem.size` neurons; forward selection adds what is missing.
    gram : Gram, optional
        Of the same data; used by the squared loss.

    Returns
    -------
    Incumbent
        Never worse than any start.

    Raises
    ------
    InputError
        A start is too large or holds a neuron that is no candidate.
    """
    given = [_checked_support(problem, start, problem.size) for start in starts]
    whole = Moves(problem, gram, late)
    small = problem if whole.exact else sampled(with_rows(problem))
    moves = whole if small is problem else Moves(small, late=late)
    sources: dict[Support, str] = {}
    optima: set[Support] = set()
    for source, start in _starts(moves, given):
        sources.setdefault(start, source)
        end = _descend(moves, start, pairs=False)
        sources.setdefault(end, f"swap descent from {source}")
        optima.add(end)
        if moves.late():
            break
    for support in moves.sorted(optima)[:REFINED]:
        end = _descend(moves, support, pairs=True)
        sources.setdefault(end, f"exchanges of two after {sources[support]}")
    found = moves.sorted(sources)
    if moves is not whole:
        found = whole.sorted([*found[:CARRIED], *(start for start in sources if sources[start] == GIVEN)])
    best = found[0]
    if moves is not whole and len(best) > SWEPT:
        best = _descend(whole, best, pairs=False)
        sources.setdefault(best, f"swap descent on all rows after {sources[found[0]]}")
    return _incumbent(whole, best, sources[best])


def _starts(moves: Moves, given: list[Support]) -> Iterator[tuple[str, Support]]:
    """The starts of `incumbent` with their names, computed one at a time; all have the full size."""
    problem = moves.problem
    size = problem.size
    for start in given:
        yield GIVEN, _grow(moves, [start], size, 1)[0]
    yield "mean difference", as_support(top(_strength(moves), size))
    yield "forward selection", _grow(moves, [()], size, 1)[0]
    if size == 1:
        return
    if not moves.exact:
        # at f = 0, log(1 + exp(-y f)) is (y - f / 2)^2 / 2 + a constant to second order, and |b|^2 is 4 |b / 2|^2
        squared = Moves(problem.restated(loss="squared", ridge=4 * problem.ridge), moves.gram, moves.late)
        yield "the squared loss", _descend(squared, _grow(squared, [()], size, 1)[0], pairs=True)
        scores = adaptive_thresholding(with_rows(problem), late=moves.late, tolerance=ROUGH)
        yield "adaptive thresholding", as_support(top(scores, size))
    if 0 < size < len(problem.candidates):
        for single in _grow(moves, [()], 1, 1 + OTHER_SINGLES)[1:]:
            yield f"forward selection from neuron {single[0]}", _grow(moves, [single], size, 1)[0]
        rng = np.random.default_rng(0)
        for _ in range(RANDOM_STARTS):
            yield "random neurons", as_support(rng.choice(problem.candidates, size, replace=False))


def _strength(moves: Moves) -> Floats:
    """``|Z' W (y - mean)|``: ranks the candidates as the mean difference does."""
    scores = np.full(moves.problem.n_neurons, -np.inf)
    scores[moves.problem.candidates] = np.abs(moves.gram.moments[moves.problem.candidates])
    return scores


def _grow(moves: Moves, beam: list[Support], size: int, width: int) -> list[Support]:
    """Add neurons to supports of one size until they have ``size``; the ``width`` best, best first."""
    while len(beam[0]) < size:
        if moves.late():
            scores = _strength(moves)
            scores[list(beam[0])] = -np.inf
            return [as_support((*beam[0], *top(scores, size - len(beam[0]))))]
        beam = moves.grown(beam, width)
    return beam


def _descend(moves: Moves, support: Support, pairs: bool) -> Support:
    """Exchange one neuron, and two where ``pairs``, while F falls and time is left."""
    while support and not moves.late():
        better = moves.exchanged(support, pairs)
        if better is None:
            break
        support = better
    return support


def _incumbent(moves: Moves, support: Support, source: str) -> Incumbent:
    return Incumbent(np.array(support, dtype=np.int64), float(moves.objectives([support])[0]), source)


def _checked_size(problem: ProbeProblem, k: int | None) -> int:
    size, most = problem.size if k is None else int(k), len(problem.candidates)
    if not 0 <= size <= most:
        raise InputError(f"k is {size} and a support may use {most} neurons: lower k or allow more columns")
    return size


def _checked_support(problem: ProbeProblem, neurons: Sequence[int] | Ints, most: int) -> Support:
    support = as_support(neurons)
    if len(support) > most:
        raise InputError(f"the support has {len(support)} neurons: give at most {most}")
    if len(set(support)) < len(support):
        raise InputError(f"the support {support} names a neuron twice: name each once")
    strange = np.setdiff1d(support, problem.candidates)
    if len(strange):
        raise InputError(f"neuron {int(strange[0])} cannot be in a support: it is constant, not allowed, or not there")
    return support
