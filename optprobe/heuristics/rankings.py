"""The rankings of Gurnee et al. 2023: a score for every neuron on its own, of which the k largest make a support.

Every ranking is a function ``(problem, seed) -> scores`` of shape (n_neurons,): larger is better, ``-inf`` marks the
neurons that no support may contain (constant ones, and those outside `among`). Scores use the labels, the weights and
the standardised neurons of the problem; its loss, ridge and k play no part. What differs from the paper's code
(github.com/wesg52/sparse-probing-paper, experiments/probes.py and inner_loops.py) is said in each function.

The paper divides each neuron by ten standard deviations. Penalties are restated here for standardised neurons and the
mean loss, so that a coefficient b here is ten times smaller than its w: ``|w|_1 = 10 |b|_1``, ``|w|^2 = 100 |b|^2``.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from formulations import InputError, SparseProbeProblem, loss_named
from formulations.losses import log_odds
from optprobe.heuristics.stopping import Late, never

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

L1_SHARE = 0.1
"""Strength of the L1 penalty, as a share of the least strength at which every coefficient is 0."""
NEIGHBOURS = 3
"""Of the estimate of the mutual information, as in sklearn."""
TELESCOPE = (256, 128, 64, 32, 16, 12, 10, 8, 7, 6, 5, 4, 3, 2, 1)
"""Sizes of the kept set in adaptive thresholding: the paper's, from its ``max_k`` down."""


@dataclass(frozen=True)
class Ranking:
    """A named ranking: ``function(problem, seed)`` returns the scores, ``source`` says whose definition it is."""

    name: str
    function: Callable[[SparseProbeProblem, int], Floats]
    source: str


PAPER_TOP = 50
"""So many neurons of largest mean difference are searched by the paper."""


def top(scores: Floats, k: int) -> Ints:
    """The k neurons of largest score, sorted by index, shape (k,); ties go to the smaller index.

    Raises
    ------
    InputError
        Fewer than k scores are above ``-inf``.
    """
    eligible = int((scores > -np.inf).sum())
    if k > eligible:
        raise InputError(f"{k} neurons are asked for and {eligible} may be chosen: lower k or allow more columns")
    return np.sort(np.argsort(-scores, kind="stable")[:k]).astype(np.int64)


def mean_difference(problem: SparseProbeProblem, seed: int = 0) -> Floats:
    """``|m_j+ - m_j-|``: the distance of the weighted class means of each standardised neuron.

    The paper's ``mean_dif``, which is nan in its feature_selection_experiment.py, where every label becomes True.
    """
    positive = problem.y > 0
    share = np.where(positive, problem.w @ positive, -(problem.w @ ~positive))
    return _of_candidates(problem, np.abs((problem.w / share) @ problem.Z))


def f_statistic(problem: SparseProbeProblem, seed: int = 0) -> Floats:
    """``(n_rows - 2) r_j^2 / (1 - r_j^2)``, r_j the weighted correlation with the label: the F of two classes.

    It ranks as `mean_difference` does, and as F({j}) of the squared loss: on standardised neurons
    ``|r_j| = |m_j+ - m_j-| sqrt(W+ W-)``, W the weights of the classes.
    """
    centred = problem.y - problem.w @ problem.y
    square = ((problem.w * centred) @ problem.Z) ** 2 / (problem.w @ centred**2)
    with np.errstate(divide="ignore"):
        ratio = square / np.maximum(1.0 - square, 0.0)
    return _of_candidates(problem, (problem.n_rows - 2) * ratio)


def mutual_information(problem: SparseProbeProblem, seed: int = 0) -> Floats:
    """The k-nearest-neighbour estimate of the mutual information of each neuron and the label, in nats.

    That of sklearn's ``mutual_info_classif`` (Ross, Mutual information between discrete and continuous data sets, PLoS
    ONE 2014), with the noise it adds drawn from ``seed``, but on sorted values: 25 times faster on 20,000 rows, and
    exact in classes of fewer than 8 rows too. Still, 16,384 neurons of 20,000 rows take about a minute and a half. Its
    definition has no weights: rows of weight 0 are left out, the others count alike.
    """
    from scipy.special import digamma

    scores = np.full(problem.n_neurons, -np.inf)
    used, columns = problem.w > 0, problem.candidates
    X, positive = np.array(problem.Z[np.ix_(used, columns)], dtype=np.float64), problem.y[used] > 0
    X /= np.where(np.ptp(X, axis=0) > 0, X.std(axis=0), 1.0)
    size, noise = 1e-10 * np.maximum(1.0, np.abs(X).mean(axis=0)), np.random.RandomState(seed)
    for row in X:
        row += size * noise.standard_normal(len(columns))
    kept = np.isin(positive, [c for c in (True, False) if np.count_nonzero(positive == c) > 1])
    n, logs = np.count_nonzero(kept), digamma(np.arange(1, len(X) + 2))
    for j, column in zip(columns, X.T):
        order = np.argsort(column[kept])
        values, classes = column[kept][order], positive[kept][order]
        own = 0.0
        for chosen in np.unique(classes):
            v = values[classes == chosen]
            k = min(NEIGHBOURS, len(v) - 1)
            around = _nearer(values, v, _distance_to_neighbour(v, k))
            own += len(v) * (logs[k - 1] - logs[len(v) - 1]) - logs[around - 1].sum()
        scores[j] = max(0.0, logs[n - 1] + own / n)
    return scores


def _distance_to_neighbour(v: Floats, k: int) -> Floats:
    """The distance of each of the sorted values to its k-th nearest among the others."""
    edge = np.full(k, np.inf)
    padded = np.concatenate([-edge, v, edge])
    windows = [
        np.maximum(v - padded[k - j : len(v) + k - j], padded[2 * k - j : len(v) + 2 * k - j] - v) for j in range(k + 1)
    ]
    return np.asarray(np.min(windows, axis=0))


def _nearer(values: Floats, v: Floats, distance: Floats) -> Ints:
    """How many of the sorted values are nearer to each v than the distance, or equal to it; its own is one of them."""
    last = len(values) - 1
    low, high = np.searchsorted(values, v - distance, "right"), np.searchsorted(values, v + distance, "left")
    low += v - values[np.minimum(low, last)] >= distance
    low -= (low > 0) & (v - values[low - 1] < distance)
    high -= values[high - 1] - v >= distance
    high += (high <= last) & (values[np.minimum(high, last)] - v < distance)
    tied = distance == 0
    low[tied], high[tied] = np.searchsorted(values, v[tied], "left"), np.searchsorted(values, v[tied], "right")
    return np.asarray(high - low, dtype=np.int64)


def l1_logistic(problem: SparseProbeProblem, seed: int = 0) -> Floats:
    """``|b_j|`` of the logistic regression with the penalty ``L1_SHARE * (strength where b = 0) * |b|_1``.

    The intercept is free. Neurons of coefficient 0 follow by the gradient of the loss, with scores from -1 to 0; the
    paper leaves them in arbitrary order. Its strength is 100 / n_rows in these units, which chooses nothing at all on
    a few hundred rows and hundreds of neurons on many; a share of the critical strength lies between.
    """
    coef, intercept = np.zeros(problem.n_neurons), log_odds(problem.y, problem.w)
    strength = L1_SHARE * _critical_strength(problem)
    coef, intercept = _lasso(problem, strength, coef, intercept, 1e-13)
    working = np.flatnonzero(coef)
    gradient = np.abs(_gradient(problem, working, coef[working], intercept))
    rest = np.minimum(gradient / strength, 1.0) - 1.0 if strength > 0 else np.zeros_like(coef)
    return _of_candidates(problem, np.where(coef != 0, np.abs(coef), rest))


def lasso_path(
    problem: SparseProbeProblem, shares: Iterable[float], late: Late = never
) -> Iterator[tuple[Floats, float]]:
    """Coefficients (n_neurons,) and intercepts of L1-penalised logistic regressions, to a few digits, one from another.

    ``shares`` of the least strength at which every coefficient is 0, in falling order. The first is always fitted,
    roughly where time is up at once; once it is up, no other is.
    """
    coef, intercept = np.zeros(problem.n_neurons), log_odds(problem.y, problem.w)
    critical = _critical_strength(problem)
    for share in shares:
        coef, intercept = _lasso(problem, share * critical, coef, intercept, 1e-6, late)
        yield coef, intercept
        if late():
            return


def _critical_strength(problem: SparseProbeProblem) -> float:
    """The least L1 penalty at which every coefficient of the logistic regression is 0."""
    none = np.zeros(0, dtype=np.int64)
    gradient = _gradient(problem, none, np.zeros(0), log_odds(problem.y, problem.w))
    return float(np.abs(gradient[problem.candidates]).max(initial=0.0))


def _lasso(
    problem: SparseProbeProblem,
    strength: float,
    coef: Floats,
    intercept: float,
    tolerance: float,
    late: Late = never,
) -> tuple[Floats, float]:
    """Minimise ``sum_i w_i logistic(y_i, Z b + b0) + strength |b|_1`` by working sets, from the coefficients given."""
    columns, coef = problem.candidates, coef.copy()
    working, fitted = np.flatnonzero(coef), False
    while True:
        gradient = np.abs(_gradient(problem, working, coef[working], intercept))
        loose = strength * (1 + max(1e-6, 1000 * tolerance))
        violating = np.setdiff1d(columns[gradient[columns] > loose], working)
        if fitted and (not len(violating) or late()):
            return coef, intercept
        first = violating[np.argsort(-gradient[violating], kind="stable")[:100]]
        working = np.sort(np.concatenate([working, first]))
        if not len(working):
            return coef, intercept
        start = coef[working], intercept
        coef[working], intercept = _elastic_net(problem, working, (strength, 0.0), start, tolerance, late)
        fitted = True


def linear_svm(problem: SparseProbeProblem, seed: int = 0) -> Floats:
    """``|b_j|`` of the linear support vector machine: the paper's ``svm``, sklearn's ``LinearSVC(loss="hinge")``.

    On neurons divided by ten standard deviations, with C = 1 for a row of average weight; as there, the intercept is
    penalised too. 20,000 rows of 16,384 neurons take about a minute and a half. The paper sorts the coefficients along
    an axis of length 1 and so "chooses" every neuron.
    """
    from sklearn.svm import LinearSVC

    scores = np.full(problem.n_neurons, -np.inf)
    columns = problem.candidates
    if len(columns):
        machine = LinearSVC(loss="hinge", C=1.0, max_iter=100_000, random_state=seed)
        machine.fit(0.1 * problem.Z[:, columns], problem.y, sample_weight=problem.n_rows * problem.w)
        scores[columns] = np.abs(machine.coef_[0]) / 10
    return scores


def adaptive_thresholding(
    problem: SparseProbeProblem, seed: int = 0, late: Late = never, tolerance: float = 1e-13
) -> Floats:
    """The paper's telescoping sweep: fit the kept neurons, keep those of largest ``|b|``, and again with fewer.

    The neurons of largest mean difference enter, and the sizes fall through `TELESCOPE`. At size m the kept neurons
    are fitted by logistic regression with the elastic net of the paper, C = m / 20 and
    ``l1_ratio = clip(exp(-m / 20), 0.1, 0.9)``, here to convergence, and ordered by ``|b|``. A larger ``tolerance``
    ends the fits earlier, for a search that only starts here.

    The scores are the places in that order, n_neurons for the best: the top m of them are the neurons kept at size m,
    nested by construction. In the paper a neuron of coefficient 0 ties with those dropped before, which can return.
    Once time is up, the fits that are left take one step each.
    """
    order = np.argsort(-mean_difference(problem), kind="stable")[: len(problem.candidates)]
    coef, intercept = np.zeros(problem.n_neurons), log_odds(problem.y, problem.w)
    for size in sorted({min(m, len(order)) for m in TELESCOPE} - {0}, reverse=True):
        kept = order[:size]
        l1_ratio = float(np.clip(np.exp(-size / 20), 0.1, 0.9))
        scale = 20.0 / (size * problem.n_rows)
        penalties = 10 * l1_ratio * scale, 100 * (1 - l1_ratio) * scale
        coef[kept], intercept = _elastic_net(problem, kept, penalties, (coef[kept], intercept), tolerance, late)
        order[:size] = kept[np.argsort(-np.abs(coef[kept]), kind="stable")]
    scores = np.full(problem.n_neurons, -np.inf)
    scores[order] = problem.n_neurons - np.arange(len(order))
    return scores


def random(problem: SparseProbeProblem, seed: int = 0) -> Floats:
    """Independent uniform numbers in [0, 1) drawn from ``seed``: the control that every ranking must beat."""
    return _of_candidates(problem, np.random.default_rng(seed).random(problem.n_neurons))


def _of_candidates(problem: SparseProbeProblem, values: Floats) -> Floats:
    scores = np.full(problem.n_neurons, -np.inf)
    scores[problem.candidates] = values[problem.candidates]
    return scores


def _gradient(problem: SparseProbeProblem, neurons: Ints, coef: Floats, intercept: float) -> Floats:
    """The gradient of the mean logistic loss in every coefficient, shape (n_neurons,)."""
    f = problem.Z[:, neurons] @ coef + intercept
    return np.asarray((problem.w * loss_named("logistic").derivative(problem.y, f)) @ problem.Z)


def _elastic_net(
    problem: SparseProbeProblem,
    neurons: Ints,
    penalties: tuple[float, float],
    start: tuple[Floats, float],
    tolerance: float = 1e-13,
    late: Late = never,
) -> tuple[Floats, float]:
    """Minimise ``sum_i w_i logistic(y_i, Z b + b0) + l1 |b|_1 + l2 |b|^2 / 2`` over the neurons given.

    ``penalties`` are (l1, l2), ``start`` is (b, b0). With ``b = s - t`` and s, t >= 0 the objective is smooth: L-BFGS-B
    from the start, to convergence or until time is up. Exact zeros are zeros.
    """
    from scipy.optimize import minimize

    (l1, l2), (coef, intercept) = penalties, start
    Z, y, w, q = problem.Z[:, neurons], problem.y, problem.w, len(neurons)
    loss = loss_named("logistic")

    def objective(point: Floats) -> tuple[float, Floats]:
        b = point[:q] - point[q : 2 * q]
        f = Z @ b + point[-1]
        weighted = w * loss.derivative(y, f)
        smooth = weighted @ Z + l2 * b
        value = w @ loss.value(y, f) + l1 * point[:-1].sum() + 0.5 * l2 * (b @ b)
        return float(value), np.concatenate([smooth + l1, l1 - smooth, [weighted.sum()]])

    def stop(_: Floats) -> None:
        if late():
            raise StopIteration

    first = np.concatenate([np.maximum(coef, 0.0), np.maximum(-coef, 0.0), [intercept]])
    bounds = [(0.0, None)] * (2 * q) + [(None, None)]
    options = {"maxiter": 5000, "maxfun": 10_000, "ftol": tolerance, "gtol": max(1e-7, tolerance)}
    found = minimize(objective, first, jac=True, method="L-BFGS-B", bounds=bounds, options=options, callback=stop).x
    return np.asarray(found[:q] - found[q : 2 * q]), float(found[-1])


_PAPER = "Gurnee, Nanda, Pauly, Harvey, Troitskii, Bertsimas, Finding neurons in a haystack, TMLR 2023"

RANKINGS: dict[str, Ranking] = {
    function.__name__: Ranking(function.__name__, function, f"{_PAPER}: {theirs}")
    for function, theirs in (
        (mean_difference, "mean_dif"),
        (f_statistic, "f_stat"),
        (mutual_information, "mi"),
        (l1_logistic, "lr"),
        (linear_svm, "svm"),
        (adaptive_thresholding, "telescopic_sparsity_sweep"),
        (random, "random"),
    )
}
"""Every ranking by name."""


class RankingScores(Mapping[str, Floats]):
    """The scores of every ranking for the rows of a problem, each computed when it is first asked for.

    k, loss and ridge play no part in them, so one serves every restatement of the problem.
    """

    def __init__(self, problem: SparseProbeProblem, seed: int = 0) -> None:
        if problem.targets is not None:
            raise InputError("rankings are for labels, and the problem has real targets")
        self.problem, self.seed = problem, seed
        self._known: dict[str, Floats] = {}

    def __getitem__(self, name: str) -> Floats:
        if name not in self._known:
            self._known[name] = RANKINGS[name].function(self.problem, self.seed)
        return self._known[name]

    def __iter__(self) -> Iterator[str]:
        return iter(RANKINGS)

    def __len__(self) -> int:
        return len(RANKINGS)
