"""The certified k-sparse probe as a scikit-learn classifier, `KSparseProbe`, and regressor, `KSparseRegressor`."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any, Self

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import expit
from sklearn.base import BaseEstimator, ClassifierMixin, RegressorMixin
from sklearn.feature_selection import SelectorMixin
from sklearn.utils.class_weight import compute_sample_weight
from sklearn.utils.metaestimators import available_if
from sklearn.utils.multiclass import check_classification_targets, type_of_target
from sklearn.utils.validation import check_is_fitted, validate_data

from formulations import SparseProbeProblem, sparse_probe_problem
from optprobe.engines import solve
from optprobe.errors import InputError

if TYPE_CHECKING:
    from sklearn.utils import Tags

Floats = NDArray[np.float64]


def _has_probabilities(probe: KSparseProbe) -> bool:
    """Whether the decision values are log-odds; raises AttributeError, with the reason, where they are not."""
    if probe.loss != "logistic":
        raise AttributeError(f"probabilities need the logistic loss, and the loss is {probe.loss!r}")
    return True


class _Certified(SelectorMixin, BaseEstimator):  # type: ignore[misc]
    """What both estimators share: they solve a problem, keep its certificate, and select its support."""

    def _solve(self, problem: SparseProbeProblem) -> tuple[Floats, float]:
        """Set what does not depend on what is predicted; returns coefficients and intercept for X as given."""
        solution = solve(problem, self.method, self.time_limit, self.tolerance)
        if solution.interrupted:
            raise KeyboardInterrupt
        self.support_ = np.array(solution.support, dtype=np.int64)
        self.lower_bound_, self.upper_bound_, self.gap_ = solution.lower_bound, solution.upper_bound, solution.gap
        self.status_ = solution.status_sentence
        self.solution_ = solution
        self.certificate_ = solution.certificate()
        coef = np.zeros(problem.n_neurons)
        coef[self.support_], intercept = problem.probe_as_given(solution.support, solution.coef, solution.intercept)
        return coef, intercept

    def __getstate__(self) -> dict[str, Any]:
        state: dict[str, Any] = super().__getstate__()
        return {name: value for name, value in state.items() if name != "solution_"}

    def _get_support_mask(self) -> NDArray[np.bool_]:
        check_is_fitted(self)
        return np.isin(np.arange(self.n_features_in_), self.support_)


class KSparseProbe(ClassifierMixin, _Certified):  # type: ignore[misc]
    r"""The linear classifier on the best k features, with a bound on every other choice.

    .. math:: \min_{|S| \le k,\; b \in \mathbb R^S,\; b_0}
        \sum_i w_i \ell(y_i, Z_{iS} b + b_0) + \tfrac{\rho}{2} |b|^2

    over the standardised features Z, for labels in {-1, +1} and weights of sum 1. As a selector, it keeps the columns
    of S.

    Parameters
    ----------
    k : int
        Largest number of features.
    loss : {"logistic", "squared", "hinge"}
    ridge : float
        The coefficient rho; scikit-learn's C is ``1 / (ridge * n_samples)``.
    class_weight : {None, "balanced"} or mapping of label to weight
        With "balanced" both classes weigh one half; the weights of a mapping multiply those of the samples.
    method : {"auto", "enumeration", "dual_enumeration", "branch_and_cut", "outer_approximation", "milp"}
        The engine, as in `optprobe.solve`.
    time_limit : float, optional
        Seconds; at the limit the bounds still hold, and `gap_` says how far apart they are.
    tolerance : float
        A gap that counts as closed, on the mean-loss scale.

    Attributes
    ----------
    classes_ : ndarray, shape (2,)
        The labels, sorted; the second is the positive class.
    support_ : ndarray of int, shape (at most k,)
        The chosen columns, sorted.
    coef_ : ndarray, shape (1, n_features)
        Coefficients of the features as given, zero outside the support.
    intercept_ : ndarray, shape (1,)
    lower_bound_, upper_bound_, gap_ : float
        The objective of the support is at most ``upper_bound_``, that of every other at least ``lower_bound_``; the gap
        is their difference.
    status_ : str
        How the search ended, in a sentence.
    solution_ : Solution
        With the problem and its rows; a pickle leaves it out, and keeps the rest.
    certificate_ : Certificate
        The proof; ``certificate_.save(path)`` writes the file that `optprobe.verify` checks against X, y and, where
        samples or classes had weights, ``solution_.problem.w``.
    n_features_in_ : int
    feature_names_in_ : ndarray of str, shape (n_features_in_,)
        Only where X names its columns.
    """

    def __init__(
        self,
        k: int = 1,
        loss: str = "logistic",
        ridge: float = 0.01,
        class_weight: str | Mapping[Any, float] | None = None,
        method: str = "auto",
        time_limit: float | None = None,
        tolerance: float = 1e-6,
    ) -> None:
        self.k = k
        self.loss = loss
        self.ridge = ridge
        self.class_weight = class_weight
        self.method = method
        self.time_limit = time_limit
        self.tolerance = tolerance

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Find the best features and prove how good they are.

        Parameters
        ----------
        X : array_like, shape (n_samples, n_features)
        y : array_like, shape (n_samples,)
            Two distinct labels.
        sample_weight : array_like, shape (n_samples,), optional
            Non-negative; both classes must keep a positive weight.

        Raises
        ------
        InputError
            A ValueError: the sentence says which parameter, label, weight or value cannot be used.
        UnsupportedProblem
            If the method cannot solve this problem; the sentence names one that can.
        KeyboardInterrupt
            After Ctrl-C, so that a loop of fits ends too.
        """
        X, y = validate_data(self, X, y)
        check_classification_targets(y)
        classes, encoded = np.unique(y, return_inverse=True)
        if len(classes) == 1:
            raise InputError(f"y has one class only ({classes[0]}): give rows of both classes")
        if len(classes) > 2:
            raise InputError(f"Only binary classification is supported. The type of the target is {type_of_target(y)}.")
        class_weight = self.class_weight
        if isinstance(class_weight, Mapping):
            of_class = compute_sample_weight(dict(class_weight), y)
            given = np.ones(len(encoded)) if sample_weight is None else np.asarray(sample_weight, dtype=np.float64)
            # a wrong shape is left to the refusal below
            sample_weight = given * of_class if given.shape == of_class.shape else given
            class_weight = None
        problem = sparse_probe_problem(
            X,
            np.where(encoded, 1.0, -1.0),
            self.k,
            loss=self.loss,
            ridge=self.ridge,
            class_weight="none" if class_weight is None else class_weight,
            sample_weight=sample_weight,
        )
        coef, intercept = self._solve(problem)
        self.classes_ = classes
        self.coef_, self.intercept_ = coef[None, :], np.array([intercept])
        return self

    def decision_function(self, X: ArrayLike) -> Floats:
        """``X @ coef_.T + intercept_``, shape (n_samples,): positive for the second class; log-odds if logistic."""
        check_is_fitted(self)
        matrix = validate_data(self, X, reset=False)
        return np.asarray(matrix[:, self.support_] @ self.coef_[0, self.support_] + self.intercept_[0])

    def predict(self, X: ArrayLike) -> NDArray[Any]:
        """The label of each row of X, shape (n_samples,)."""
        positive = self.decision_function(X) > 0
        return np.asarray(self.classes_[positive.astype(np.int64)])

    @available_if(_has_probabilities)  # type: ignore[untyped-decorator]
    def predict_proba(self, X: ArrayLike) -> Floats:
        """The probability of each class, in the order of ``classes_``, shape (n_samples, 2); logistic loss only."""
        log_odds = self.decision_function(X)
        return np.asarray(expit(np.column_stack([-log_odds, log_odds])))

    def __sklearn_tags__(self) -> Tags:
        tags = super().__sklearn_tags__()
        tags.classifier_tags.multi_class = False
        return tags


class KSparseRegressor(RegressorMixin, _Certified):  # type: ignore[misc]
    r"""The least-squares fit on the best k features, with a bound on every other choice.

    .. math:: \min_{|S| \le k,\; b \in \mathbb R^S,\; b_0}
        \sum_i w_i \tfrac12 (y_i - Z_{iS} b - b_0)^2 + \tfrac{\rho}{2} |b|^2

    over the standardised features Z and the standardised target y, for weights of sum 1: half the share of the variance
    that is not explained, and the penalty. As a selector, it keeps the columns of S.

    Parameters
    ----------
    k : int
        Largest number of features.
    ridge : float
        The coefficient rho; scikit-learn's alpha, on standardised features, is ``ridge * n_samples``.
    method : {"auto", "enumeration", "branch_and_cut", "outer_approximation", "milp"}
        The engine, as in `optprobe.solve`.
    time_limit : float, optional
        Seconds; at the limit the bounds still hold, and `gap_` says how far apart they are.
    tolerance : float
        A gap that counts as closed, in units of the target's variance.

    Attributes
    ----------
    support_ : ndarray of int, shape (at most k,)
        The chosen columns, sorted.
    coef_ : ndarray, shape (n_features,)
        Coefficients of the features as given in the units of the target, zero outside the support.
    intercept_ : float
    lower_bound_, upper_bound_, gap_ : float
        In units of the target's variance: the objective of the support is at most ``upper_bound_``, that of every other
        at least ``lower_bound_``; the gap is their difference.
    status_ : str
        How the search ended, in a sentence.
    solution_ : Solution
        With the problem and its rows; a pickle leaves it out, and keeps the rest.
    certificate_ : Certificate
        The proof; ``certificate_.save(path)`` writes the file that `optprobe.verify` checks against X, y and, where
        samples had weights, those.
    n_features_in_ : int
    feature_names_in_ : ndarray of str, shape (n_features_in_,)
        Only where X names its columns.
    """

    def __init__(
        self,
        k: int = 1,
        ridge: float = 0.01,
        method: str = "auto",
        time_limit: float | None = None,
        tolerance: float = 1e-6,
    ) -> None:
        self.k = k
        self.ridge = ridge
        self.method = method
        self.time_limit = time_limit
        self.tolerance = tolerance

    def fit(self, X: ArrayLike, y: ArrayLike, sample_weight: ArrayLike | None = None) -> Self:
        """Find the best features and prove how good they are.

        Parameters
        ----------
        X : array_like, shape (n_samples, n_features)
        y : array_like, shape (n_samples,)
            Real numbers that vary.
        sample_weight : array_like, shape (n_samples,), optional
            Non-negative; the targets of positive weight must vary.

        Raises
        ------
        InputError
            A ValueError: the sentence says which parameter, target, weight or value cannot be used.
        UnsupportedProblem
            If the method cannot solve this problem; the sentence names one that can.
        KeyboardInterrupt
            After Ctrl-C, so that a loop of fits ends too.
        """
        X, y = validate_data(self, X, y, y_numeric=True, ensure_min_samples=2)
        problem = sparse_probe_problem(X, targets=y, k=self.k, ridge=self.ridge, sample_weight=sample_weight)
        self.coef_, self.intercept_ = self._solve(problem)
        return self

    def predict(self, X: ArrayLike) -> Floats:
        """``X @ coef_ + intercept_``, shape (n_samples,)."""
        check_is_fitted(self)
        matrix = validate_data(self, X, reset=False)
        return np.asarray(matrix[:, self.support_] @ self.coef_[self.support_] + self.intercept_)
