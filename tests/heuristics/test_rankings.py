"""The rankings of the paper: each against its definition, and right where the paper's code is not."""

import subprocess
import sys

import numpy as np
import pytest

from formulations import InputError, sparse_probe_problem
from optprobe.heuristics import RANKINGS, top
from optprobe.heuristics.rankings import L1_SHARE, TELESCOPE

NAMES = [pytest.param(name, id=name) for name in RANKINGS]


def data(seed, n=120, p=15):
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p)) @ (np.eye(p) + 0.3 * rng.normal(size=(p, p))) + rng.normal(size=p)
    y = np.where(X[:, 0] - X[:, 1] + rng.normal(size=n) > np.median(X[:, 0] - X[:, 1]) + 0.5, 1, -1)
    return X, y, rng


def scores(name, problem, seed=0):
    return RANKINGS[name].function(problem, seed)


def test_the_registry_says_what_each_ranking_is():
    assert list(RANKINGS) == [
        "mean_difference",
        "f_statistic",
        "mutual_information",
        "l1_logistic",
        "linear_svm",
        "adaptive_thresholding",
        "random",
    ]
    for name, ranking in RANKINGS.items():
        assert ranking.name == name
        assert "Gurnee" in ranking.source


def test_importing_the_heuristics_is_light():
    code = "import sys, optprobe.heuristics; print({'torch', 'pyomo', 'sklearn', 'scipy'} & set(sys.modules))"
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert shown.strip() == "set()"


@pytest.mark.parametrize("name", NAMES)
def test_scores_are_finite_on_candidates_and_lowest_elsewhere(name):
    X, y, _ = data(0)
    X[:, 4] = 7.0
    problem = sparse_probe_problem(X, y, 2, among=[1, 2, 4, 5, 9])
    found = scores(name, problem)
    assert found.shape == (15,)
    assert np.flatnonzero(np.isfinite(found)).tolist() == [1, 2, 5, 9]
    assert (found[[0, 4, 14]] == -np.inf).all()


@pytest.mark.parametrize("name", NAMES)
def test_scores_are_reproduced(name):
    X, y, _ = data(1)
    problem = sparse_probe_problem(X, y, 2)
    np.testing.assert_array_equal(scores(name, problem, 3), scores(name, problem, 3))


@pytest.mark.parametrize("name", NAMES)
def test_any_two_labels_will_do(name):
    """Defect 5 of the paper's code: labels -1 and +1 both became True, and the mean difference nan."""
    X, y, _ = data(2)
    expected = scores(name, sparse_probe_problem(X, y, 2))
    assert not np.isnan(expected).any()
    for labels in (y > 0, (y + 1) // 2, (y + 3) / 2.0):
        np.testing.assert_array_equal(scores(name, sparse_probe_problem(X, labels, 2)), expected)


@pytest.mark.parametrize("name", [name for name in RANKINGS if name != "random"])
def test_the_loss_ridge_and_k_play_no_part(name):
    X, y, _ = data(3)
    problem = sparse_probe_problem(X, y, 2)
    other = problem.restated(k=5, ridge=1.0, loss="squared")
    np.testing.assert_array_equal(scores(name, problem), scores(name, other))


@pytest.mark.parametrize(
    "name", ["mean_difference", "f_statistic", "l1_logistic", "linear_svm", "adaptive_thresholding"]
)
def test_the_order_of_the_neurons_does_not_matter(name):
    X, y, rng = data(4)
    shuffled = rng.permutation(15)
    expected = scores(name, sparse_probe_problem(X, y, 2))[shuffled]
    np.testing.assert_allclose(scores(name, sparse_probe_problem(X[:, shuffled], y, 2)), expected, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize("name", ["mean_difference", "f_statistic", "l1_logistic"])
def test_weights_are_repeated_rows(name):
    X, y, rng = data(5)
    times = rng.integers(0, 4, len(y))
    repeated = np.repeat(np.arange(len(y)), times)
    weighted = scores(name, sparse_probe_problem(X, y, 2, sample_weight=times))
    plain = scores(name, sparse_probe_problem(X[repeated], y[repeated], 2))
    if name == "f_statistic":
        plain *= (len(y) - 2) / (len(repeated) - 2)
    np.testing.assert_allclose(weighted, plain, rtol=1e-4, atol=1e-5)


def test_mean_difference_is_the_distance_of_the_class_means():
    X, y, rng = data(6)
    w = rng.random(len(y))
    problem = sparse_probe_problem(X, y, 2, sample_weight=w)
    for j in range(15):
        mean = np.average(X[:, j], weights=w)
        z = (X[:, j] - mean) / np.sqrt(np.average((X[:, j] - mean) ** 2, weights=w))
        means = [np.average(z[y == label], weights=w[y == label]) for label in (-1, 1)]
        assert scores("mean_difference", problem)[j] == pytest.approx(abs(means[1] - means[0]), rel=1e-9)


def test_f_statistic_is_that_of_sklearn_and_ranks_as_the_mean_difference():
    from sklearn.feature_selection import f_classif

    X, y, _ = data(7)
    problem = sparse_probe_problem(X, y, 2)
    found = scores("f_statistic", problem)
    np.testing.assert_allclose(found, f_classif(X, y)[0], rtol=1e-9)
    np.testing.assert_array_equal(np.argsort(found), np.argsort(scores("mean_difference", problem)))


def test_f_statistic_of_a_neuron_that_is_the_label_is_huge():
    X, y, _ = data(8)
    X[:, 6] = 3.0 * y + 1
    found = scores("f_statistic", sparse_probe_problem(X, y, 2))
    assert found[6] > 1e12
    assert top(found, 1).tolist() == [6]


def test_mutual_information_is_that_of_sklearn():
    from sklearn.feature_selection import mutual_info_classif

    X, y, _ = data(9)
    problem = sparse_probe_problem(X, y, 2)
    expected = mutual_info_classif(problem.Z, y, random_state=5)
    np.testing.assert_allclose(scores("mutual_information", problem, 5), expected, atol=1e-12)
    for values in (np.maximum(X, 0), np.round(X, 1)):
        tied = sparse_probe_problem(values, y, 2)
        expected = mutual_info_classif(tied.Z, y, random_state=5)
        np.testing.assert_allclose(scores("mutual_information", tied, 5), expected, atol=1e-12)
    ignored = np.ones(len(y))
    ignored[::3] = 0
    some = sparse_probe_problem(X, y, 2, sample_weight=ignored)
    fewer = sparse_probe_problem(X[ignored > 0], y[ignored > 0], 2)
    np.testing.assert_allclose(scores("mutual_information", some), scores("mutual_information", fewer), atol=1e-9)


def test_mutual_information_is_its_definition_by_brute_force():
    """On values with ties, a class of two rows, and ones that differ in their last bits."""
    from scipy.special import digamma

    rng = np.random.default_rng(2)
    for n_positive in (2, 3, 5, 20):
        values = rng.choice([0.7, 1.3], (40, 6)) + rng.integers(-9, 9, (40, 6)) * 2.0**-52
        values[:, 3:] = rng.choice([0.0, 1.0, 2.0], (40, 3))
        y = np.where(np.arange(40) < n_positive, 1, -1)
        problem = sparse_probe_problem(values, y, 2)
        found = scores("mutual_information", problem, 7)
        X = problem.Z / problem.Z.std(axis=0)
        size = 1e-10 * np.maximum(1.0, np.abs(X).mean(axis=0))
        X += size * np.random.RandomState(7).standard_normal(X.shape)
        for j in range(6):
            apart = np.abs(X[:, j, None] - X[:, j])
            parts = [digamma(40)]
            for i in range(40):
                own = np.flatnonzero(y == y[i])
                k = min(3, len(own) - 1)
                radius = np.nextafter(np.sort(apart[i, own])[k], 0)
                around = np.count_nonzero(apart[i] <= radius)
                parts.append((digamma(k) - digamma(len(own)) - digamma(around)) / 40)
            np.testing.assert_allclose(found[j], max(0.0, sum(parts)), atol=1e-12)


def test_l1_logistic_meets_its_optimality_conditions():
    """With b the minimiser: |gradient| <= strength, and equal with opposite sign where b is not 0."""
    from sklearn.linear_model import LogisticRegression

    X, y, rng = data(10)
    problem = sparse_probe_problem(X, y, 2, sample_weight=rng.random(len(y)))
    Z, w = problem.Z, problem.w
    positive = w @ (y > 0)
    strength = L1_SHARE * np.abs((w * (np.where(y > 0, 1.0, 0.0) - positive)) @ Z).max()
    found = scores("l1_logistic", problem)
    chosen = found > 0
    assert 2 <= chosen.sum() < 15
    free = LogisticRegression(C=1e6, tol=1e-10, max_iter=10_000)
    free.fit(Z[:, chosen], y, sample_weight=w)
    signs = np.sign(free.coef_[0])
    f = Z[:, chosen] @ (found[chosen] * signs)
    for _ in range(50):
        t = 1 / (1 + np.exp(-f))
        f -= w @ (t - (y > 0)) / (w @ (t * (1 - t)))
    gradient = (w * (t - (y > 0))) @ Z
    np.testing.assert_allclose(gradient[chosen], -strength * signs, atol=1e-5)
    assert (np.abs(gradient[~chosen]) <= strength + 1e-5).all()
    np.testing.assert_allclose(found[~chosen], np.abs(gradient[~chosen]) / strength - 1, atol=1e-3)


def test_l1_logistic_orders_the_neurons_it_leaves_out():
    X, y, _ = data(11, p=40)
    found = scores("l1_logistic", sparse_probe_problem(X, y, 2))
    assert (found <= 0).sum() > 5
    assert len(np.unique(found)) == 40
    assert found.min() >= -1


def test_linear_svm_has_one_score_a_neuron():
    """Defect 4 of the paper's code: an argsort along an axis of length 1 returned every neuron."""
    from sklearn.svm import LinearSVC

    X, y, _ = data(12)
    problem = sparse_probe_problem(X, y, 2)
    found = scores("linear_svm", problem)
    assert found.shape == (15,)
    assert len(top(found, 4)) == 4
    machine = LinearSVC(loss="hinge", max_iter=100_000, tol=1e-6).fit(problem.Z / 10, y)
    np.testing.assert_allclose(found, np.abs(machine.coef_[0]) / 10, atol=1e-3 * found.max())


def test_adaptive_thresholding_is_the_telescoping_sweep():
    from sklearn.linear_model import LogisticRegression

    X, y, _ = data(13, p=14)
    problem = sparse_probe_problem(X, y, 2, class_weight="balanced")
    found = scores("adaptive_thresholding", problem)
    kept = np.argsort(-scores("mean_difference", problem))
    for size in (14, *(size for size in TELESCOPE if size < 14)):
        assert top(found, size).tolist() == sorted(kept[:size].tolist())
        kept = kept[:size]
        net = LogisticRegression(
            solver="saga", C=size / 20, l1_ratio=np.clip(np.exp(-size / 20), 0.1, 0.9), tol=1e-9, max_iter=100_000
        )
        net.fit(problem.Z[:, kept] / 10, y, sample_weight=problem.w * len(y))
        kept = kept[np.argsort(-np.abs(net.coef_[0]), kind="stable")]


def test_adaptive_thresholding_orders_every_candidate_once():
    """In the paper a neuron dropped before could return, tied at coefficient 0 with one that was kept."""
    X, y, _ = data(14, n=60, p=300)
    X[:, 7] = 1.0
    problem = sparse_probe_problem(X, y, 2)
    found = scores("adaptive_thresholding", problem)
    assert sorted(found[np.isfinite(found)]) == list(range(2, 301))
    entering = set(top(scores("mean_difference", problem), 256).tolist())
    assert set(top(found, 256).tolist()) == entering


def test_random_scores_come_from_the_seed():
    X, y, _ = data(15)
    problem = sparse_probe_problem(X, y, 2)
    assert not np.array_equal(scores("random", problem, 0), scores("random", problem, 1))


def test_top_breaks_ties_by_index_and_sorts():
    chosen = top(np.array([1.0, 3.0, 2.0, 3.0, -np.inf, 2.0]), 3)
    assert chosen.tolist() == [1, 2, 3]
    assert chosen.dtype == np.int64
    assert top(np.array([np.inf, 0.0, np.inf]), 2).tolist() == [0, 2]
    assert top(np.array([1.0]), 0).tolist() == []


def test_duplicates_go_to_the_smaller_index():
    X, y, _ = data(16)
    X[:, 9] = X[:, 0]
    problem = sparse_probe_problem(X, y, 2)
    for name in ("mean_difference", "f_statistic"):
        found = scores(name, problem)
        assert found[0] == found[9]
        best = top(found, int((found >= found[0]).sum()) - 1)
        assert 0 in best
        assert 9 not in best


def test_top_refuses_more_than_there_are():
    with pytest.raises(InputError, match=r"3 neurons are asked for and 2 may be chosen"):
        top(np.array([1.0, -np.inf, 2.0]), 3)
