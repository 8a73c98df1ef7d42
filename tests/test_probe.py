"""The estimators: scikit-learn's own checks, and answers compared with brute force by its own classifiers and Ridge."""

import pickle
from itertools import combinations

import numpy as np
import pytest
from sklearn.base import clone
from sklearn.exceptions import NotFittedError
from sklearn.linear_model import LogisticRegression, Ridge
from sklearn.model_selection import GridSearchCV, cross_val_score
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from sklearn.svm import SVC
from sklearn.utils.estimator_checks import parametrize_with_checks

import optprobe as op
from optprobe import KSparseProbe, KSparseRegressor
from optprobe.comparison import predict
from optprobe.engines import Budget

LOSSES = ("logistic", "squared", "hinge")
RIDGE = 0.02


def sample(seed=0, n=90, p=8):
    """Correlated features of different scales and offsets; the labels are a noisy sum of three."""
    rng = np.random.default_rng(seed)
    X = rng.normal(size=(n, p)) @ (np.eye(p) + 0.4 * rng.normal(size=(p, p)))
    X = X * np.geomspace(0.01, 100, p) + 10 * rng.normal(size=p)
    score = StandardScaler().fit_transform(X)[:, [1, 4, 6]] @ [1.0, -1.0, 0.7] + 0.5 * rng.normal(size=n)
    return X, np.where(score > 0.3, "yes", "no"), rng.integers(0, 4, size=n)


def reference(loss, Z, y, w):
    """Objective, coefficients and intercept of a fit by scikit-learn; y in {-1, +1}, w of sum 1."""
    n = len(y)
    C, weights = 1 / (RIDGE * n), n * w
    if loss == "squared":
        model = Ridge(alpha=RIDGE * n, tol=1e-12).fit(Z, y, sample_weight=weights)
    elif loss == "logistic":
        model = LogisticRegression(C=C, tol=1e-10, max_iter=1000).fit(Z, y, sample_weight=weights)
    else:
        model = SVC(kernel="linear", C=C, tol=1e-6).fit(Z, y, sample_weight=weights)
    coef, intercept = model.coef_.ravel(), float(np.ravel(model.intercept_)[0])
    f = Z @ coef + intercept
    value = {
        "squared": lambda: (y - f) ** 2 / 2,
        "logistic": lambda: np.logaddexp(0, -y * f),
        "hinge": lambda: np.maximum(0, 1 - y * f),
    }[loss]()
    return w @ value + RIDGE / 2 * coef @ coef, coef, intercept


def brute_force(loss, X, y, w, k):
    """The best support by scikit-learn, its objective, and coefficients and intercept on the original scale."""
    mean = w @ X
    scale = np.sqrt(w @ (X - mean) ** 2)
    Z = (X - mean) / scale
    fits = {S: reference(loss, Z[:, S], y, w) for S in combinations(range(X.shape[1]), k)}
    best = min(fits, key=lambda S: fits[S][0])
    objective, coef, intercept = fits[best]
    columns = list(best)
    return best, objective, coef / scale[columns], intercept - coef @ (mean[columns] / scale[columns])


@parametrize_with_checks([KSparseProbe(loss=loss) for loss in LOSSES])
def test_scikit_learn_checks(estimator, check):
    check(estimator)


@pytest.mark.parametrize("weights", ["equal", "balanced", "sample", "mapping"])
@pytest.mark.parametrize("k", [1, 2])
@pytest.mark.parametrize("loss", LOSSES)
def test_is_the_best_of_all_supports_fitted_by_scikit_learn(loss, k, weights):
    X, labels, counts = sample()
    y = np.where(labels == "yes", 1.0, -1.0)
    w = {
        "equal": np.ones(len(y)),
        "balanced": np.where(y > 0, 1 / (y > 0).sum(), 1 / (y < 0).sum()),
        "sample": counts,
        "mapping": counts * np.where(y > 0, 3.0, 0.5),
    }[weights]
    class_weight = {"balanced": "balanced", "mapping": {"yes": 3.0, "no": 0.5}}.get(weights)
    sample_weight = counts if weights in ("sample", "mapping") else None
    probe = KSparseProbe(k, loss, RIDGE, class_weight).fit(X, labels, sample_weight)

    best, objective, coef, intercept = brute_force(loss, X, y, w / w.sum(), k)
    assert tuple(probe.support_) == best
    assert probe.coef_[0, probe.support_] == pytest.approx(coef, rel=1e-4)
    assert probe.intercept_ == pytest.approx([intercept], rel=1e-4, abs=1e-4)
    assert probe.lower_bound_ <= objective + 1e-9
    assert probe.upper_bound_ == pytest.approx(objective, rel=1e-6)
    assert probe.gap_ == probe.upper_bound_ - probe.lower_bound_ <= 1e-6
    assert probe.status_.startswith("optimal")


@pytest.mark.parametrize("loss", LOSSES)
def test_the_coefficients_are_those_of_the_features_as_given(loss):
    X, y, _ = sample()
    probe = KSparseProbe(3, loss).fit(X, y)
    best = probe.solution_
    assert probe.coef_.shape == (1, X.shape[1])
    assert probe.intercept_.shape == (1,)
    assert np.flatnonzero(probe.coef_[0]).tolist() == probe.support_.tolist() == list(best.support)
    f = probe.decision_function(X)
    assert f == pytest.approx((X @ probe.coef_.T + probe.intercept_).ravel(), abs=1e-9)
    assert f == pytest.approx(predict(best.problem, X, best.support, best.coef, best.intercept), abs=1e-9)
    assert probe.classes_.tolist() == ["no", "yes"]
    assert probe.predict(X).tolist() == np.where(f > 0, "yes", "no").tolist()


@pytest.mark.parametrize("loss", LOSSES)
def test_the_bounds_hold_at_the_time_limit(loss):
    X, labels, _ = sample()
    y = np.where(labels == "yes", 1.0, -1.0)
    objective = brute_force(loss, X, y, np.full(len(y), 1 / len(y)), 2)[1]
    probe = KSparseProbe(2, loss, RIDGE, method="branch_and_cut", time_limit=1e-6, tolerance=1e-12).fit(X, labels)
    assert probe.lower_bound_ <= objective <= probe.upper_bound_ + 1e-9
    assert "the bounds hold" in probe.status_


@pytest.mark.parametrize("weighted", [False, True], ids=["equal", "weighted"])
@pytest.mark.parametrize("loss", LOSSES)
def test_the_certificate_is_accepted_on_its_data_only(loss, weighted, tmp_path):
    X, y, counts = sample()
    probe = KSparseProbe(2, loss, class_weight={"yes": 2.0} if weighted else None)
    probe.fit(X, y, counts if weighted else None)
    path = probe.certificate_.save(tmp_path / "probe.cert")
    w = probe.solution_.problem.sample_weight
    assert op.verify(path, X, y, w).accepted
    changed = X.copy()
    changed[3, 5] += 1e-9
    assert not op.verify(path, changed, y, w).accepted
    assert not op.verify(path, X, np.where(y == "yes", "no", "yes"), w).accepted


@pytest.mark.parametrize("loss", LOSSES)
def test_weights_count_rows(loss):
    X, y, counts = sample(1)
    weighted = KSparseProbe(2, loss).fit(X, y, counts)
    repeated = KSparseProbe(2, loss).fit(X.repeat(counts, axis=0), y.repeat(counts))
    assert weighted.support_.tolist() == repeated.support_.tolist()
    assert weighted.decision_function(X) == pytest.approx(repeated.decision_function(X), rel=1e-5, abs=1e-6)
    assert weighted.upper_bound_ == pytest.approx(repeated.upper_bound_, rel=1e-9)


def test_probabilities_are_those_of_the_log_odds():
    X, y, _ = sample()
    probe = KSparseProbe(2).fit(X, y)
    probabilities = probe.predict_proba(X)
    assert probabilities.sum(axis=1) == pytest.approx(1)
    assert np.log(probabilities[:, 1] / probabilities[:, 0]) == pytest.approx(probe.decision_function(X))
    assert probe.classes_[probabilities.argmax(axis=1)].tolist() == probe.predict(X).tolist()


@pytest.mark.parametrize("loss", ["squared", "hinge"])
def test_only_the_logistic_loss_has_probabilities(loss):
    probe = KSparseProbe(loss=loss)
    assert not hasattr(probe, "predict_proba")
    with pytest.raises(AttributeError) as refusal:
        _ = probe.predict_proba
    assert "need the logistic loss" in str(refusal.value.__cause__)


def test_selects_its_support():
    X, y, _ = sample()
    probe = KSparseProbe(3, "squared").fit(X, y)
    assert probe.get_support(indices=True).tolist() == probe.support_.tolist()
    assert np.array_equal(probe.transform(X), X[:, probe.support_])
    assert probe.get_feature_names_out().tolist() == [f"x{j}" for j in probe.support_]
    refitted = make_pipeline(KSparseProbe(3, "squared"), StandardScaler(), LogisticRegression()).fit(X, y)
    assert refitted[-1].n_features_in_ == 3


def test_works_in_pipelines_and_searches():
    X, y, _ = sample(n=300)
    pipeline = make_pipeline(StandardScaler(), KSparseProbe(k=2, loss="squared"))
    assert cross_val_score(pipeline, X, y, cv=3).mean() > 0.7
    search = GridSearchCV(KSparseProbe(loss="squared"), {"k": [1, 2, 3]}, cv=3).fit(X, y)
    assert search.best_params_ == {"k": 3}
    assert len(search.best_estimator_.support_) == 3
    assert search.score(X, y) > 0.8


@pytest.mark.parametrize("loss", LOSSES)
def test_copies(loss, tmp_path):
    X, y, _ = sample()
    probe = KSparseProbe(2, loss, ridge=0.05, tolerance=1e-5).fit(X, y)
    fresh = clone(probe)
    assert fresh.get_params() == probe.get_params()
    with pytest.raises(NotFittedError):
        fresh.predict(X)
    same = pickle.loads(pickle.dumps(probe))
    assert np.array_equal(same.decision_function(X), probe.decision_function(X))
    assert same.status_ == probe.status_
    assert op.verify(same.certificate_.save(tmp_path / "same.cert"), X, y).accepted


def test_constant_columns_are_never_chosen():
    X, y, _ = sample()
    X[:, 2:] = 7.0
    probe = KSparseProbe(4).fit(X, y)
    assert probe.support_.tolist() == [0, 1]
    nothing = KSparseProbe().fit(np.ones_like(X), y)
    assert nothing.support_.tolist() == []
    assert nothing.predict(X).tolist() == [max("no", "yes", key=y.tolist().count)] * len(y)


@pytest.mark.parametrize(
    ("parameters", "sentence"),
    [
        ({"k": 9}, "k is 9 and there are 8 neurons"),
        ({"k": 0}, "k is 0"),
        ({"k": 1.5}, "k is 1.5: give an integer"),
        ({"loss": "log"}, "the loss 'log' is unknown"),
        ({"ridge": 0}, "the ridge is 0: with the logistic loss it must be finite and positive"),
        ({"class_weight": "heavy"}, "the class weight 'heavy' is unknown"),
        ({"method": "magic"}, "the method 'magic' is unknown"),
        ({"time_limit": 0}, "the time limit is 0 s"),
        ({"tolerance": -1}, "the tolerance is -1"),
    ],
    ids=lambda given: next(iter(given)) if isinstance(given, dict) else "",
)
def test_bad_parameters_are_refused_at_fit(parameters, sentence):
    X, y, _ = sample()
    with pytest.raises(op.InputError, match=sentence):
        KSparseProbe(**parameters).fit(X, y)


@pytest.mark.parametrize("class_weight", [None, {"yes": 2.0}], ids=["equal", "mapping"])
@pytest.mark.parametrize(
    ("weights", "sentence"),
    [
        (np.ones(89), r"the weights have shape \(89,\)"),
        (np.ones((90, 1)), r"the weights have shape \(90, 1\)"),
        (-np.ones(90), "the weight of row 0 is -"),
        (np.zeros(90), "weight"),
    ],
    ids=["short", "column", "negative", "zero"],
)
def test_bad_weights_are_refused(weights, sentence, class_weight):
    X, y, _ = sample()
    with pytest.raises(op.InputError, match=sentence):
        KSparseProbe(class_weight=class_weight).fit(X, y, weights)


def test_only_two_classes_are_possible():
    X, y, _ = sample()
    with pytest.raises(op.InputError, match=r"one class only \(no\)"):
        KSparseProbe().fit(X, np.full(len(y), "no"))
    y[:5] = "maybe"
    with pytest.raises(op.InputError, match="Only binary classification"):
        KSparseProbe().fit(X, y)


def test_a_method_that_cannot_solve_the_problem_names_one_that_can():
    X, y, _ = sample()
    with pytest.raises(op.UnsupportedProblem, match="use branch_and_cut"):
        KSparseProbe(method="enumeration").fit(X, y)


def test_an_interrupt_ends_a_loop_of_fits(monkeypatch):
    X, y = np.random.default_rng(0).normal(size=(60, 6)), np.arange(60) % 2
    began = []

    def interrupt(budget):
        began.append(budget)
        budget.interrupted = True
        return budget

    monkeypatch.setattr(Budget, "__enter__", interrupt)
    with pytest.raises(KeyboardInterrupt):
        cross_val_score(KSparseProbe(k=2), X, y, cv=5)
    assert len(began) == 1


def real_sample(seed=0, n=90, p=8):
    """The features of `sample`, and a noisy sum of three of them, far from 0."""
    X, _, counts = sample(seed, n, p)
    noise = np.random.default_rng(seed).normal(size=n)
    return X, 3e4 + 50 * (StandardScaler().fit_transform(X)[:, [1, 4, 6]] @ [1.0, -1.0, 0.7] + 0.5 * noise), counts


@parametrize_with_checks([KSparseRegressor(), KSparseRegressor(ridge=1e-4, method="branch_and_cut")])
def test_scikit_learn_checks_of_the_regressor(estimator, check):
    check(estimator)


@pytest.mark.parametrize("weighted", [False, True], ids=["equal", "sample"])
@pytest.mark.parametrize("k", [1, 2, 3])
def test_the_regressor_is_the_best_of_all_supports_fitted_by_scikit_learn(k, weighted):
    X, y, counts = real_sample()
    w = (counts if weighted else np.ones(len(y))) / (counts.sum() if weighted else len(y))
    mean, unit = w @ y, np.sqrt(w @ (y - w @ y) ** 2)
    best, objective, coef, intercept = brute_force("squared", X, (y - mean) / unit, w, k)
    found = KSparseRegressor(k, RIDGE).fit(X, y, counts if weighted else None)
    assert tuple(found.support_) == best
    assert found.coef_.shape == (X.shape[1],)
    assert np.flatnonzero(found.coef_).tolist() == list(best)
    assert found.coef_[found.support_] == pytest.approx(unit * coef, rel=1e-7)
    assert found.intercept_ == pytest.approx(mean + unit * intercept, rel=1e-9)
    assert found.lower_bound_ <= objective + 1e-9
    assert found.upper_bound_ == pytest.approx(objective, rel=1e-9)
    assert found.gap_ == found.upper_bound_ - found.lower_bound_ <= 1e-6
    assert found.status_.startswith("optimal")
    unexplained = w @ (y - found.predict(X)) ** 2 / unit**2
    assert found.score(X, y, w) == pytest.approx(1 - unexplained)


def test_the_unit_of_the_target_does_not_change_what_the_regressor_finds():
    X, y, _ = real_sample()
    first = KSparseRegressor(2).fit(X, y)
    for scale in (1e-6, 1e6):
        other = KSparseRegressor(2).fit(X, scale * y)
        assert other.support_.tolist() == first.support_.tolist()
        assert other.upper_bound_ == pytest.approx(first.upper_bound_, rel=1e-9)
        assert other.predict(X) == pytest.approx(scale * first.predict(X), rel=1e-9)


@pytest.mark.parametrize("weighted", [False, True], ids=["equal", "weighted"])
def test_the_certificate_of_the_regressor_is_accepted_on_its_data_only(weighted, tmp_path):
    X, y, counts = real_sample()
    weights = counts if weighted else None
    found = pickle.loads(pickle.dumps(KSparseRegressor(2).fit(X, y, weights)))
    path = found.certificate_.save(tmp_path / "regressor.cert")
    assert op.verify(path, X, y, weights).accepted
    assert not op.verify(path, X, y * 2, weights).accepted
    assert not op.verify(path, X, (y > y.mean()).astype(float), weights).accepted


def test_the_regressor_selects_and_works_in_searches():
    X, y, _ = real_sample(n=300)
    found = KSparseRegressor(3).fit(X, y)
    assert np.array_equal(found.transform(X), X[:, found.support_])
    search = GridSearchCV(make_pipeline(StandardScaler(), KSparseRegressor()), {"ksparseregressor__k": [1, 2, 3]}, cv=3)
    assert search.fit(X, y).best_params_ == {"ksparseregressor__k": 3}
    assert search.score(X, y) > 0.8


@pytest.mark.parametrize(
    ("parameters", "y", "sentence"),
    [
        ({"k": 0}, np.arange(90.0), "k is 0"),
        ({"ridge": -1.0}, np.arange(90.0), "the ridge is -1"),
        ({"ridge": 0}, np.arange(90.0), "the ridge is 0"),
        ({"method": "magic"}, np.arange(90.0), "the method 'magic' is unknown"),
        ({}, np.full(90, 4.0), "every target is 4"),
        ({}, np.full(90, 1e101), "the target of row 0"),
    ],
    ids=["k", "ridge", "no ridge", "method", "constant", "huge"],
)
def test_what_the_regressor_cannot_use_is_refused(parameters, y, sentence):
    X, _, _ = real_sample()
    with pytest.raises((op.InputError, op.UnsupportedProblem), match=sentence):
        KSparseRegressor(**parameters).fit(X, y)
