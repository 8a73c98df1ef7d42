"""Forgeries of trees with a diagonal: one that is too large, or none at all, or where there can be none."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import numpy as np
from forgeries import FORGERIES, Forged, file_of
from forging import Case, Draft, plain

from optprobe.certificates.checker.bounds import duals_at, node_bound

N, P = 24, 5
Change = Callable[[np.ndarray], np.ndarray]


def case() -> Case:
    """More rows than columns, which correlate and are all needed: what is left for other columns is much."""
    rng = np.random.default_rng(0)
    X = rng.standard_normal((N, 1)) + 0.7 * rng.standard_normal((N, P))
    y = np.where(X @ np.array([1.0, -1.0, 1.0, -1.0, 0.5]) + 0.2 * rng.standard_normal(N) > 0, 1.0, -1.0)
    return Case(X, y, "squared", 0.01, 2)


def honest() -> Draft:
    """A claim by a tree with a diagonal, which is accepted."""
    stated = case()
    assert stated.largest_diagonal is not None
    return stated.grown(diagonal=0.9 * stated.largest_diagonal)


def _changed(change: Change, says: str) -> Forged:
    draft = honest()
    draft.arrays["tree.diagonal"] = change(draft.arrays["tree.diagonal"])
    return file_of(case(), draft, says=says)


def _one(value: float) -> Change:
    def change(D: np.ndarray) -> np.ndarray:
        D[2] = value
        return D

    return change


CHANGES: dict[str, tuple[Change, str]] = {
    "a diagonal all but too large, and a little more": (lambda D: D * (1.001 / 0.9), "positive semidefinite"),
    "a diagonal twice as large": (lambda D: np.minimum(2 * D, 1.0), "positive semidefinite"),
    "a diagonal of ones": (np.ones_like, "positive semidefinite"),
    "a diagonal above one": (lambda D: D + 1, "within"),
    "a diagonal of 1e100": (lambda D: D + 1e100, "within"),
    "a diagonal of 1e101": (lambda D: D + 1e101, "not finite"),
    "a diagonal below zero": (np.negative, "within"),
    "a diagonal with a number just below zero": (_one(-5e-324), "within"),
    "a diagonal with NaN": (_one(np.nan), "not finite"),
    "a diagonal with infinity": (_one(np.inf), "not finite"),
    "a diagonal with minus infinity": (_one(-np.inf), "not finite"),
    "a diagonal with a one": (_one(1.0), "positive semidefinite"),
    "a diagonal of too few columns": (lambda D: D[:-1], "arrays"),
    "a diagonal of too many columns": (lambda D: np.append(D, 0.0), "arrays"),
    "a diagonal as a matrix": (lambda D: D[None, :], "arrays"),
    "a diagonal as f4": (lambda D: D.astype(np.float32), "arrays"),
    "a diagonal as i8": (lambda D: D.astype(np.int64), "arrays"),
}
for _name, (_change, _says) in CHANGES.items():
    FORGERIES[_name] = partial(_changed, _change, _says)


def false_bound() -> tuple[Draft, float]:
    """One leaf whose bound would be far above the optimum if its diagonal were one, and that bound."""
    stated, D = case(), np.ones(P)
    p = stated.problem
    columns = p.candidates
    b = np.linalg.solve(p.gram(columns) + p.ridge * np.eye(P), p.cross)
    draft = stated.grown(diagonal=D)
    draft.arrays |= {
        "tree.kind": np.zeros(1, np.int8),
        "tree.argument": np.zeros(1, np.int32),
        "points.start": np.array([0, P], np.int64),
        "points.columns": columns.astype(np.int32),
        "points.coef": b,
        "points.intercept": np.zeros(1),
    }
    found = duals_at(stated.checked, D, (p.Z @ b - p.y)[None, :], b[None, :], np.abs(b).sum()[None])
    bound, _ = node_bound(stated.checked, float(found.value[0]), found.discount[0], [], columns)
    draft.claim["result"].update(lower_bound=bound, upper_bound=max(bound, draft.claim["result"]["upper_bound"]))
    return draft.sized(), bound


def _false() -> Forged:
    draft, _ = false_bound()
    return file_of(case(), draft, says="positive semidefinite")


def _unsaid() -> Forged:
    draft = honest()
    del draft.claim["proof"]["diagonal"]
    return file_of(case(), draft, says="arrays")


def _not_there() -> Forged:
    draft = honest()
    del draft.arrays["tree.diagonal"]
    return file_of(case(), draft, says="arrays")


def _said(word: object) -> Forged:
    draft = honest()
    draft.claim["proof"]["diagonal"] = word
    return file_of(case(), draft, says="by true")


def _of_loss(loss: str) -> Forged:
    stated = plain(loss, 2, N, P)
    draft = stated.grown()
    draft.claim["proof"]["diagonal"], draft.arrays["tree.diagonal"] = True, np.full(P, 1e-6)
    return file_of(stated, draft, says="squared loss")


def _of_a_sweep() -> Forged:
    stated = case()
    draft = stated.swept()
    draft.claim["proof"]["diagonal"], draft.arrays["tree.diagonal"] = True, np.zeros(P)
    return file_of(stated, draft, says="the proof")


def _outside(where: str) -> Forged:
    """Columns that no set of the claim has: in the diagonal, or in a point."""
    stated = plain("squared", 2, N, P, among=(0, 1, 3, 4))
    assert stated.largest_diagonal is not None
    draft = stated.grown(diagonal=0.9 * stated.largest_diagonal)
    if where == "diagonal":
        draft.arrays["tree.diagonal"][2] = 1e-3
    else:
        draft.arrays["points.columns"][0] = 2
    return file_of(stated, draft, says="no candidate")


def _of_copies() -> Forged:
    """Two columns that agree: what is taken out of one is too much."""
    stated = case()
    X = stated.X.copy()
    X[:, 1] = X[:, 0]
    twice = Case(X, stated.y, "squared", 0.05, 2)
    return file_of(twice, twice.grown(diagonal=np.full(P, 1e-3)), says="positive semidefinite")


def _of_few_rows() -> Forged:
    stated = plain("squared", 2, 8, 9)
    return file_of(stated, stated.grown(diagonal=np.full(9, 1e-6)), says="positive semidefinite")


FORGERIES |= {
    "a false bound by a diagonal of ones": _false,
    "a diagonal that the claim does not mention": _unsaid,
    "a diagonal that is not there": _not_there,
    "a diagonal of a logistic tree": partial(_of_loss, "logistic"),
    "a diagonal of a hinge tree": partial(_of_loss, "hinge"),
    "a diagonal of a sweep": _of_a_sweep,
    "a diagonal on a column that is not allowed": partial(_outside, "diagonal"),
    "a point on a column that is not allowed, with a diagonal": partial(_outside, "point"),
    "a diagonal on two columns that agree": _of_copies,
    "a diagonal with fewer rows than columns": _of_few_rows,
}
for _word in (False, 1, 1.0, None, "true", [True]):
    FORGERIES[f"a diagonal said by {_word!r}"] = partial(_said, _word)
