"""Forgeries about moments: of what they say, of how they were made, and of what is claimed about them."""

from __future__ import annotations

import copy
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from typing import Any

import numpy as np
from forgeries import FORGERIES, Forged
from forging import Draft, plain

from optprobe.certificates.checker import FileOfMoments
from optprobe.certificates.checker.moments import moments_digest

NO_DIGEST = {
    "made a number",
    "made a list of text",
    "a mean target of NaN",
    "an error of NaN",
    "an infinite variance",
    "made with a lone surrogate",
}
"""Records and numbers that no canonical JSON states."""


def true_moments() -> FileOfMoments:
    case = plain("squared", 1, n=60)
    w, y = np.full(60, 1 / 60), case.y
    mean = w @ case.X
    c, t = case.X - mean, y - w @ y
    C = c.T @ (c * w[:, None])
    made = {"class_weight": "none"}
    return FileOfMoments(60, mean, (C + C.T) / 2, c.T @ (w * t), float(w @ y), float(w @ (t * t)), 1e-12, made)


def claim_about(moments: FileOfMoments, digest: str | None = None, k: int = 1) -> Draft:
    """A true claim about moments, of one column."""
    true = true_moments()
    s = 1 / np.sqrt(np.diagonal(true.covariance))
    c = true.cross * s
    values = (true.target_variance - c * c / 1.01) / 2
    best = int(np.argmin(values))
    about = {"kind": "moments", "moments": digest or moments_digest(moments), "n_rows": 60, "n_neurons": len(c)}
    result = {
        "support": [best],
        "intercept": true.target_mean,
        "upper_bound": float(values[best]) + 1e-9,
        "lower_bound": float(values[best]) - 1e-7 if k == 1 else 0.0,
        "tolerance": 1e-3,
    }
    problem = {"loss": "squared", "ridge": 0.01, "k": k, "class_weight": "none", "among": None}
    author = {"engine": "none", "regime": "none", "scope": {}, "versions": {}}
    claim = {"data": about, "problem": problem, "result": result, "author": author}
    return Draft({**claim, "proof": {"kind": "sweep", "box": None}}, {"coef": c[[best]] / 1.01})


def about(moments: FileOfMoments, says: str = "", digest: str | None = None, exhaustive: bool = False) -> Forged:
    return Forged(claim_about(moments, digest).sealed(), moments=moments, exhaustive=exhaustive, says=says)


def changed(**changes: Any) -> FileOfMoments:
    """True moments but for these; a callable gets a copy of what was there."""
    true = true_moments()
    values = {n: v(copy.deepcopy(getattr(true, n))) if callable(v) else v for n, v in changes.items()}
    return replace(true, **values)


def at(i: int, j: int, value: float) -> Callable[[np.ndarray], np.ndarray]:
    def change(array: np.ndarray) -> np.ndarray:
        array[(i, j)[: array.ndim]] = value
        return array

    return change


def both(i: int, j: int, value: float) -> Callable[[np.ndarray], np.ndarray]:
    return lambda C: at(j, i, value)(at(i, j, value)(C))


def no_sum_of_squares(C: np.ndarray) -> np.ndarray:
    """Correlations that no rows have: three columns each against the others."""
    for i, j in ((0, 1), (0, 2), (1, 2)):
        C = both(i, j, -0.9 * float(np.sqrt(C[i, i] * C[j, j])))(C)
    return C


CHANGES: dict[str, tuple[dict[str, Any], str]] = {
    "rows as text": ({"n_rows": "1000000 verified\x1b[8m"}, "rows"),
    "rows as a float": ({"n_rows": 60.0}, "rows"),
    "rows of true": ({"n_rows": True}, "rows"),
    "other rows": ({"n_rows": 61}, "rows"),
    "another class weight": ({"made": {"class_weight": "balanced"}}, "class weights"),
    "a class weight that is a list": ({"made": {"class_weight": ["none"]}}, "class weights"),
    "a mean of NaN": ({"mean": at(0, 0, np.nan)}, "mean"),
    "a mean of 1e101": ({"mean": at(0, 0, 1e101)}, "mean"),
    "a covariance of NaN": ({"covariance": both(0, 1, np.nan)}, "mean"),
    "a variance of NaN": ({"covariance": at(1, 1, np.nan)}, "variance"),
    "a variance below 0": ({"covariance": at(1, 1, -1.0)}, "negative"),
    "a variance of 1e-300": ({"covariance": at(1, 1, 1e-300)}, "mean"),
    "a variance of 1e300": ({"covariance": at(1, 1, 1e300)}, "mean"),
    "half a covariance": ({"covariance": at(0, 1, 0.5)}, "symmetric"),
    "a correlation above 1": ({"covariance": both(0, 1, 9.0)}, "correlation"),
    "moments of no rows": ({"covariance": no_sum_of_squares}, "semidefinite"),
    "a cross of NaN": ({"cross": at(0, 0, np.nan)}, "mean"),
    "a cross of infinity": ({"cross": at(0, 0, np.inf)}, "mean"),
    "a correlation with the target above 1": ({"cross": lambda c: c * 100}, "correlation"),
    "a target of no variance": ({"target_variance": 0.0}, "cannot"),
    "a target of variance below 0": ({"target_variance": -1.0}, "cannot"),
    "a target's mean beyond all": ({"target_mean": 1e101}, "cannot"),
    "a target's mean as text": ({"target_mean": "0.0"}, "floats"),
    "a variance as a whole number": ({"target_variance": 1}, "floats"),
    "an error below 0": ({"error": -1e-12}, "cannot"),
    "an error of a half": ({"error": 0.5}, "cannot"),
    "an error above a hundredth of the ridge": ({"error": 5e-4}, "reaches"),
    "float32 moments": ({"covariance": lambda C: C.astype(np.float32)}, "float64"),
    "moments of another shape": ({"covariance": lambda C: C[:-1]}, "neurons"),
    "a mean on two axes": ({"mean": lambda m: m[None]}, "neurons"),
    "an impossible target": ({"target_variance": 1e4, "target_mean": -8.0}, ""),
    "columns left out by a huge mean": ({"mean": lambda m: m + 1e12}, "not among"),
    "made a number": ({"made": 5}, ""),
    "made a list of text": ({"made": ["class_weight"]}, ""),
    "a mean target of NaN": ({"target_mean": np.nan}, ""),
    "an error of NaN": ({"error": np.nan}, ""),
    "an infinite variance": ({"target_variance": np.inf}, ""),
    "made with a lone surrogate": ({"made": {"class_weight": "none", "x": "\ud800"}}, ""),
}


def by_name(name: str, exhaustive: bool = False) -> Forged:
    changes, says = CHANGES[name]
    return about(changed(**changes), says, "0" * 64 if name in NO_DIGEST else None, exhaustive)


for _name in CHANGES:
    FORGERIES[_name] = partial(by_name, _name)
    if _name not in NO_DIGEST:
        FORGERIES[f"{_name}, exhaustive"] = partial(by_name, _name, True)


def claimed(says: str, edit: Callable[[dict[str, Any]], Any], exhaustive: bool = False) -> Forged:
    moments = true_moments()
    draft = claim_about(moments)
    edit(draft.claim)
    return Forged(draft.sealed(), moments=moments, exhaustive=exhaustive, says=says)


def _set(part: str, **entries: Any) -> Callable[[dict[str, Any]], Any]:
    return lambda claim: claim[part].update(entries)


CLAIMS = {
    "a class weight that the moments have not": ("class weights", _set("problem", class_weight="balanced")),
    "moments of logistic loss": ("moments", _set("problem", loss="logistic")),
    "moments of hinge loss": ("moments", _set("problem", loss="hinge")),
    "a bound raised a little, of moments": ("below", _set("result", lower_bound=0.5, upper_bound=0.5)),
    "an intercept moved, of moments": ("reaches", _set("result", intercept=0.4)),
    "other moments": ("digest", _set("data", moments="0" * 64)),
    "moments by a tree": ("", _set("proof", kind="tree")),
    "moments of seven columns": ("", _set("problem", k=7)),
}
for _name, (_says, _edit) in CLAIMS.items():
    FORGERIES[_name] = partial(claimed, _says, _edit)
    FORGERIES[f"{_name}, exhaustive"] = partial(claimed, _says, _edit, True)


def _rows_for_moments() -> Forged:
    moments = true_moments()
    case = plain("squared", 1, n=60)
    return Forged(claim_about(moments).sealed(), case.X, case.y, says="moments")


def _moments_for_rows() -> Forged:
    return Forged(plain("squared", 1, n=60).swept().sealed(), moments=true_moments(), says="rows")


def _rounded() -> Forged:
    """A target of tiny variance far from the intercept: the objective is a square whose rounding is all there is."""
    true = true_moments()
    unit = 2.0**-60
    for target in (1 / 3 + i / 64 for i in range(1000)):
        square = target * target
        exact = np.longdouble(target) * np.longdouble(target)
        if np.longdouble(square) < exact - np.longdouble(square) * np.longdouble(2.0) ** -55:
            break
    moments = replace(
        true, target_mean=target, target_variance=unit * true.target_variance, cross=true.cross * 2.0**-30
    )
    draft = claim_about(moments)
    draft.arrays["coef"] = np.zeros(1)
    upper = float(0.5 * square + unit * true.target_variance)
    draft.claim["result"].update(intercept=0.0, upper_bound=upper, lower_bound=0.0)
    assert np.longdouble(upper) < exact / 2 + np.longdouble(unit * true.target_variance) / 2
    return Forged(draft.sealed(), moments=moments)


FORGERIES |= {
    "rows given for moments": _rows_for_moments,
    "moments given for rows": _moments_for_rows,
    "an upper bound below the objective by rounding": _rounded,
}
