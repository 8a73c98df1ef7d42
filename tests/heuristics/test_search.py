"""The local searches: compared with brute force, on instances where the right answer is known or can be enumerated."""

from itertools import combinations

import numpy as np
import pytest

from formulations import InputError, fit_support, fit_supports, sparse_probe_problem
from optprobe.heuristics import Gram, beam_search, forward_selection, incumbent, moves, swap_descent, top
from optprobe.heuristics.moves import FITTED, Moves
from optprobe.heuristics.rankings import mean_difference

LOSSES = ("squared", "logistic", "hinge")
SEARCHES = {
    "forward": forward_selection,
    "beam": beam_search,
    "swap": lambda problem, **given: swap_descent(problem, problem.candidates[-problem.size :], **given),
    "incumbent": incumbent,
}


def instance(seed, loss="squared", n=60, p=10, k=3, ridge=0.03, **given):
    """Correlated neurons, noisy labels, and weights that differ from row to row."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p)) @ (np.eye(p) + 0.4 * rng.normal(size=(p, p)))
    y = np.where(X[:, :3] @ rng.normal(size=3) + X.std() * rng.normal(size=n) > 0, 1, -1)
    given.setdefault("sample_weight", rng.random(n) + 0.2)
    return sparse_probe_problem(X, y, k, loss=loss, ridge=ridge, **given)


def suppressors(loss, p=60, n=300):
    """Two neurons of correlation 0.98 whose difference is the label's; each of ten others tells more on its own."""
    rng = np.random.default_rng(5)
    shared, signal = rng.normal(size=n), rng.normal(size=n)
    X = rng.normal(size=(n, p))
    X[:, 20] = shared + 0.1 * signal
    X[:, 41] = shared - 0.1 * signal
    X[:, :10] += 0.4 * signal[:, None]
    y = np.where(signal + 0.1 * rng.normal(size=n) > 0, 1, -1)
    return sparse_probe_problem(X, y, 2, loss=loss, ridge=1e-4, sample_weight=rng.random(n) + 0.2)


def brute_force(problem):
    supports = np.array(list(combinations(problem.candidates, problem.size)))
    objective = fit_supports(problem, supports).objective
    return supports[objective.argmin()], objective.min()


def neighbours(problem, support):
    outside = np.setdiff1d(problem.candidates, support)
    return [sorted((set(support) - {leaves}) | {enters}) for leaves in support for enters in outside]


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("name", SEARCHES)
def test_what_a_search_returns(name, loss):
    problem = instance(0, loss)
    found = SEARCHES[name](problem)
    assert found.support.dtype == np.int64
    assert found.support.tolist() == sorted(set(found.support.tolist()))
    assert len(found.support) == 3
    assert found.objective == pytest.approx(fit_support(problem, found.support).objective[0], rel=1e-9)
    assert found.source
    assert str(found.support[0]) in str(found)


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("name", SEARCHES)
def test_the_same_problem_gives_the_same_answer(name, loss):
    first, second = (SEARCHES[name](instance(1, loss)) for _ in range(2))
    assert first.support.tolist() == second.support.tolist()
    assert first.objective == second.objective
    assert first.source == second.source


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("name", SEARCHES)
def test_only_candidates_are_used(name, loss):
    rng = np.random.default_rng(2)
    problem = instance(2, loss)
    X = problem.X.copy()
    X[:, 5] = 2.0
    weight = rng.random(60) + 0.1
    limited = sparse_probe_problem(X, problem.y, 3, loss=loss, sample_weight=weight, among=[1, 4, 5, 6, 8, 9])
    found = SEARCHES[name](limited)
    assert set(found.support.tolist()) <= {1, 4, 6, 8, 9}
    few = sparse_probe_problem(X, problem.y, 4, loss=loss, sample_weight=weight, among=[4, 5, 8])
    assert SEARCHES[name](few).support.tolist() == [4, 8]


@pytest.mark.parametrize("loss", LOSSES)
def test_a_problem_without_candidates_has_the_empty_incumbent(loss):
    y = np.array([1, -1, 1, 1])
    problem = sparse_probe_problem(np.ones((4, 3)), y, 2, loss=loss, sample_weight=[0.1, 0.2, 0.3, 0.25])
    found = incumbent(problem)
    assert found.support.tolist() == []
    assert found.objective == pytest.approx(fit_support(problem, []).objective[0])


@pytest.mark.parametrize("loss", LOSSES)
def test_forward_selection_of_one_neuron_is_brute_force(loss):
    for seed in range(5):
        problem = instance(seed, loss, k=1, p=40)
        support, objective = brute_force(problem)
        found = forward_selection(problem)
        assert found.support.tolist() == support.tolist()
        assert found.objective == pytest.approx(objective, rel=1e-9)


@pytest.mark.parametrize("loss", LOSSES)
def test_forward_selection_adds_the_best_neuron_each_time(loss):
    problem = instance(3, loss, k=4)
    chosen: list[int] = []
    for k in range(1, 5):
        options = [[*chosen, j] for j in range(10) if j not in chosen]
        chosen = options[fit_supports(problem, options).objective.argmin()]
        assert forward_selection(problem, k).support.tolist() == sorted(chosen)


def test_forward_selection_keeps_its_start():
    found = forward_selection(instance(4), 4, start=[7, 2])
    assert {2, 7} <= set(found.support.tolist())
    assert len(found.support) == 4


@pytest.mark.parametrize("loss", LOSSES)
def test_a_wide_beam_is_brute_force(loss):
    problem = instance(5, loss, p=7)
    support, objective = brute_force(problem)
    found = beam_search(problem, width=35)
    assert found.support.tolist() == support.tolist()
    assert found.objective == pytest.approx(objective, rel=1e-9)
    assert beam_search(problem, width=1).support.tolist() == forward_selection(problem).support.tolist()


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("seed", range(4))
def test_swap_descent_ends_where_no_exchange_of_one_helps(loss, seed):
    problem = instance(seed, loss, p=30 if loss == "hinge" else 50, n=80, ridge=(0.003, 0.03, 0.3, 0.01)[seed])
    start = np.random.default_rng(seed).choice(30, 3, replace=False)
    found = swap_descent(problem, start)
    assert found.objective <= fit_support(problem, start).objective[0]
    assert fit_supports(problem, neighbours(problem, found.support)).objective.min() >= found.objective * (1 - 1e-8)


@pytest.mark.parametrize("loss", LOSSES)
def test_suppressors_are_found_where_the_mean_difference_misses_them(loss):
    problem = suppressors(loss)
    by_means = top(mean_difference(problem), 2)
    assert not {20, 41} & set(by_means.tolist())
    assert 20 not in top(mean_difference(problem), 10)
    for found in (swap_descent(problem, by_means), beam_search(problem, width=60), incumbent(problem)):
        assert found.support.tolist() == [20, 41]


@pytest.mark.parametrize("loss", LOSSES)
def test_incumbents_never_beat_brute_force_and_mostly_reach_it(loss):
    reached = 0
    for seed in range(8):
        problem = instance(100 + seed, loss, n=50, p=9, k=2 + seed % 3, ridge=(0.001, 0.01, 0.1, 1.0)[seed % 4])
        least = brute_force(problem)[1]
        found = incumbent(problem).objective
        assert found >= least * (1 - 1e-9)
        reached += found <= least * (1 + 1e-8)
    assert reached >= 7


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("name", SEARCHES)
def test_weights_are_repeated_rows(name, loss):
    weighted = instance(6, loss, n=80)
    times = np.random.default_rng(6).integers(0, 3, 80)
    rows = np.repeat(np.arange(80), times)
    fine = 1.0 + 0.1 * np.random.default_rng(7).random(80)
    repeated = sparse_probe_problem(
        weighted.X[rows], weighted.y[rows], 3, loss=loss, ridge=0.03, sample_weight=fine[rows]
    )
    weighted = sparse_probe_problem(weighted.X, weighted.y, 3, loss=loss, ridge=0.03, sample_weight=fine * times)
    found, expected = SEARCHES[name](weighted), SEARCHES[name](repeated)
    assert found.support.tolist() == expected.support.tolist()
    assert found.objective == pytest.approx(expected.objective, rel=1e-8)


@pytest.mark.parametrize("loss", LOSSES)
def test_the_order_of_the_neurons_does_not_matter(loss):
    problem = instance(8, loss)
    order = np.random.default_rng(8).permutation(10)
    shuffled = sparse_probe_problem(problem.X[:, order], problem.y, 3, loss=loss, ridge=0.03, sample_weight=problem.w)
    assert sorted(order[incumbent(shuffled).support]) == incumbent(problem).support.tolist()


@pytest.mark.parametrize("loss", LOSSES)
def test_duplicates_go_to_the_smaller_index(loss):
    problem = instance(9, loss)
    best = forward_selection(problem, 1).support[0]
    X = np.concatenate([problem.X, problem.X], axis=1)
    doubled = sparse_probe_problem(X, problem.y, 3, loss=loss, ridge=0.03, sample_weight=problem.w)
    assert forward_selection(doubled, 1).support.tolist() == [best]
    assert incumbent(doubled).objective <= incumbent(problem).objective * (1 + 1e-9)


def test_without_a_ridge_dependent_neurons_add_nothing():
    rng = np.random.default_rng(10)
    base = rng.normal(size=(40, 3))
    X = np.concatenate([base, base, base[:, :1] + base[:, 1:2]], axis=1)
    y = np.where(base @ [1.0, -1.0, 0.5] + 0.3 * rng.normal(size=40) > 0, 1, -1)
    problem = sparse_probe_problem(X, y, 5, loss="squared", ridge=0.0)
    found = incumbent(problem)
    assert len(found.support) == 5
    assert found.objective == pytest.approx(fit_support(problem, [0, 1, 2]).objective[0], rel=1e-9)


@pytest.mark.parametrize("prefix", [(), (2,), (0, 4, 7)])
def test_the_estimates_of_the_squared_loss_are_exact(prefix):
    problem = instance(11)
    model = Moves(problem).models([prefix])[0]
    free = np.setdiff1d(np.arange(10), prefix)
    exact = fit_supports(problem, [[*prefix, j] for j in free]).objective
    np.testing.assert_allclose(model.singles()[free], exact, rtol=1e-10)
    assert np.isinf(model.singles()[list(prefix)]).all()
    pairs = model.pairs(free)
    for a, first in enumerate(free):
        assert np.isinf(pairs[a, [first, *prefix]]).all()
        others = np.setdiff1d(free, first)
        exact = fit_supports(problem, [[*prefix, first, j] for j in others]).objective
        np.testing.assert_allclose(pairs[a, others], exact, rtol=1e-10)


@pytest.mark.parametrize("loss", ["logistic", "hinge"])
def test_the_estimates_of_the_other_losses_put_the_best_neuron_first_to_be_fitted(loss):
    for seed in range(6):
        problem = instance(20 + seed, loss, n=100, p=150, ridge=0.01)
        prefix = tuple(sorted(np.random.default_rng(seed).choice(150, 2, replace=False).tolist()))
        model = Moves(problem).models([prefix])[0]
        free = np.setdiff1d(np.arange(150), prefix)
        best = free[fit_supports(problem, [sorted((*prefix, j)) for j in free]).objective.argmin()]
        assert best in np.argsort(model.singles())[: FITTED[0]]
        assert model.value == pytest.approx(fit_support(problem, prefix).objective[0])


def test_the_gram_matrix_may_be_given_and_serves_every_k_and_ridge():
    problem = instance(12)
    whole = problem.Z.T @ (problem.w[:, None] * problem.Z)
    lazy, given = Gram(problem), Gram(problem, whole)
    np.testing.assert_allclose(lazy.rows([3, 8]), whole[[3, 8]], atol=1e-12)
    np.testing.assert_allclose(lazy.rows([8, 3, 0]), given.rows([8, 3, 0]), atol=1e-12)
    assert lazy.variance == pytest.approx(2 * fit_support(problem, []).objective[0])
    for changed in (problem, problem.restated(k=4), problem.restated(ridge=0.5)):
        expected = incumbent(changed)
        for gram in (lazy, given):
            found = incumbent(changed, gram=gram)
            assert found.support.tolist() == expected.support.tolist()
            assert found.objective == pytest.approx(expected.objective, rel=1e-12)


@pytest.mark.parametrize("loss", LOSSES)
def test_given_starts_are_used_and_never_made_worse(loss):
    problem = instance(13, loss, p=40)
    best = incumbent(problem)
    again = incumbent(problem, starts=[best.support])
    assert again.objective <= best.objective
    assert again.source == "a given start"
    assert len(incumbent(problem, starts=[[5], []]).support) == 3


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("name", SEARCHES)
def test_once_time_is_up_the_first_support_is_returned(name, loss, monkeypatch):
    problem, fitted = instance(14, loss, n=40, p=60, k=5), []
    fit_supports = moves.fit_supports
    monkeypatch.setattr(moves, "fit_supports", lambda *given: fitted.extend(given[1]) or fit_supports(*given))
    found = SEARCHES[name](problem, late=lambda: True)
    assert len(fitted) == 1
    assert len(found.support) == 5
    assert found.objective == pytest.approx(fit_support(problem, found.support).objective[0], rel=1e-9)
    assert incumbent(problem, lambda: True, [[1, 2, 3, 4, 6]]).support.tolist() == [1, 2, 3, 4, 6]


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("n", [1, 2, 3, 5, 9, 17, 33])
def test_whenever_time_is_up_no_further_step_is_begun(n, loss, monkeypatch):
    """Time is up at the n-th question: from then on only what has been reached, and not yet fitted, is fitted."""
    problem, asked, after = instance(14, loss, n=40, p=30, k=3), [], []
    fit_supports = moves.fit_supports

    def late():
        asked.append(None)
        return len(asked) >= n

    def spy(problem, supports):
        after.extend(supports if len(asked) >= n else ())
        return fit_supports(problem, supports)

    monkeypatch.setattr(moves, "fit_supports", spy)
    found = incumbent(problem, late)
    assert len(asked) >= n
    assert len(after) <= 2
    assert found.objective == pytest.approx(fit_support(problem, found.support).objective[0], rel=1e-9)


@pytest.mark.parametrize(
    ("call", "words"),
    [
        (lambda problem: swap_descent(problem, []), "empty"),
        (lambda problem: swap_descent(problem, [1, 1]), "names a neuron twice"),
        (lambda problem: swap_descent(problem, [0, 10]), "neuron 10 cannot be in a support"),
        (lambda problem: swap_descent(problem, [-1]), "neuron -1 cannot be in a support"),
        (lambda problem: incumbent(problem, starts=[[0, 1, 2, 3]]), "has 4 neurons: give at most 3"),
        (lambda problem: forward_selection(problem, 11), "k is 11 and a support may use 10 neurons"),
        (lambda problem: forward_selection(problem, 1, start=[3, 4]), "has 2 neurons: give at most 1"),
        (lambda problem: beam_search(problem, width=0), "width of the beam is 0"),
    ],
)
def test_what_cannot_be_searched_is_refused_in_a_sentence(call, words):
    with pytest.raises(InputError, match=words):
        call(instance(15))
