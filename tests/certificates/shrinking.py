"""A failing trial made small: rows, columns, nodes, vectors and digits are taken away while it still fails."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
from forging import Draft
from random_proofs import Trial, judged

from formulations import OptprobeError
from optprobe.certificates import checker
from optprobe.certificates.checker.tree import BRANCH, LEAF, SCREEN

Fails = Callable[[Trial], bool]


def still_wrong(path: Path) -> Fails:
    """Whether a trial is accepted though false, or ends in a traceback."""

    def fails(trial: Trial) -> bool:
        try:
            with np.errstate(all="ignore"):
                return judged(trial, trial.case(), path)[1] is not None
        except (OptprobeError, ValueError, TypeError, IndexError, KeyError, np.linalg.LinAlgError):
            return False

    return fails


def shrunk(trial: Trial, fails: Fails, rounds: int = 6) -> Trial:
    """The smallest trial that is found by one change after the other, and still fails."""
    for _ in range(rounds):
        before = size_of(trial)
        for changes in (_rows, _columns, _nodes, _vectors, _digits, _claims):
            trial = _reduced(trial, changes, fails)
        if size_of(trial) >= before:
            break
    return trial


def size_of(trial: Trial) -> int:
    """Numbers and digits of a trial."""
    return len(pasted(trial))


def _reduced(trial: Trial, changes: Callable[[Trial], Iterator[Trial | None]], fails: Fails) -> Trial:
    """Apply the changes of a kind, begun anew after each that works, until none does."""
    works = True
    while works:
        works = False
        for smaller in changes(trial):
            if smaller is not None and size_of(smaller) < size_of(trial) and fails(smaller):
                trial, works = smaller, True
                break
    return trial


def restated(trial: Trial) -> Trial:
    """The digests and sizes of the data, and the sizes of a tree, said anew."""
    if trial.weight is not None and (trial.weight == 1).all():
        trial.weight = None
    labels = np.where(trial.y == trial.y.max(), 1.0, -1.0)
    weights = None if trial.weight is None else checker.value_digest(trial.weight)
    n, p = trial.X.shape
    trial.claim["data"] |= {"X": checker.value_digest(trial.X), "y": checker.value_digest(labels)}
    trial.claim["data"] |= {"weights": weights, "n_rows": n, "n_neurons": p}
    if "tree.kind" in trial.arrays:
        Draft(trial.claim, trial.arrays).sized()
    return trial


def _rows(trial: Trial) -> Iterator[Trial | None]:
    for row in range(len(trial.y)):
        new = copy.deepcopy(trial)
        new.X, new.y = np.delete(new.X, row, axis=0), np.delete(new.y, row)
        new.weight = None if new.weight is None else np.delete(new.weight, row)
        for name, axis in (("duals", 1), ("reference", 0)):
            if name in new.arrays:
                new.arrays[name] = np.delete(new.arrays[name], row, axis=axis)
        yield restated(new) if len(np.unique(new.y)) == 2 else None
    if trial.weight is not None:
        new = copy.deepcopy(trial)
        new.weight = np.ones(len(trial.y))
        yield restated(new)


def _columns(trial: Trial) -> Iterator[Trial | None]:
    p = trial.X.shape[1]
    for column in range(p if p > 1 else 0):
        new = copy.deepcopy(trial)
        new.X = np.delete(new.X, column, axis=1)
        result, problem, arrays = new.claim["result"], new.claim["problem"], new.arrays
        problem["k"] = min(problem["k"], p - 1)
        if column in result["support"]:
            arrays["coef"] = np.delete(arrays["coef"], result["support"].index(column))
        result["support"] = _without(result["support"], column)
        if problem["among"] is not None:
            problem["among"] = _without(problem["among"], column)
        if "tree.kind" in arrays:
            _renumber(arrays, column)
        if "tree.diagonal" in arrays:
            arrays["tree.diagonal"] = np.delete(arrays["tree.diagonal"], column)
        yield restated(new)


def _without(columns: list[int], column: int) -> list[int]:
    return [j - (j > column) for j in columns if j != column]


def _renumber(arrays: dict[str, np.ndarray], column: int) -> None:
    """The columns of branches and points after one is gone; points lose what they had of it."""
    branch, argument = arrays["tree.kind"] == BRANCH, arrays["tree.argument"]
    argument[branch & (argument > column)] -= 1
    columns, start = arrays["points.columns"], arrays["points.start"]
    kept = columns != column
    before = np.concatenate([[0], np.cumsum(kept)])
    arrays["points.start"] = before[np.clip(start, 0, len(columns))].astype(np.int64)
    arrays["points.columns"] = (columns - (columns > column))[kept].astype(np.int32)
    arrays["points.coef"] = arrays["points.coef"][kept]


def _nodes(trial: Trial) -> Iterator[Trial | None]:
    kinds = trial.arrays.get("tree.kind", np.zeros(0, np.int8))
    for begin in range(len(kinds)):
        for end in (len(kinds), begin + 2, begin + 1):
            new = copy.deepcopy(trial)
            for name in ("tree.kind", "tree.argument"):
                new.arrays[name] = np.delete(new.arrays[name], slice(begin, end))
            yield restated(new)


def _vectors(trial: Trial) -> Iterator[Trial | None]:
    """Without one stored vector, or with every point before it gone."""
    if "tree.kind" not in trial.arrays:
        return
    points = len(trial.arrays["points.intercept"])
    for number in range(points + len(trial.arrays["duals"])):
        new = copy.deepcopy(trial)
        arrays = new.arrays
        if number < points:
            begin, end = arrays["points.start"][number : number + 2].tolist()
            arrays["points.columns"] = np.delete(arrays["points.columns"], slice(begin, end))
            arrays["points.coef"] = np.delete(arrays["points.coef"], slice(begin, end))
            arrays["points.intercept"] = np.delete(arrays["points.intercept"], number)
            later = np.delete(arrays["points.start"], number + 1)
            arrays["points.start"] = later - np.where(np.arange(len(later)) > number, end - begin, 0)
        else:
            arrays["duals"] = np.delete(arrays["duals"], number - points, axis=0)
        uses = np.isin(arrays["tree.kind"], (LEAF, SCREEN)) & (arrays["tree.argument"] > number)
        arrays["tree.argument"][uses] -= 1
        yield restated(new)


def _digits(trial: Trial) -> Iterator[Trial | None]:
    """All numbers of an array, or of the claim, to fewer digits."""
    for digits in (0, 1, 2, 3, 5, 8):
        new = copy.deepcopy(trial)
        new.X = _rounded(new.X, digits)
        yield restated(new)
        if trial.weight is not None:
            new = copy.deepcopy(trial)
            new.weight = _rounded(new.weight, digits)
            yield restated(new)
        for name, array in trial.arrays.items():
            if array.dtype == np.float64:
                new = copy.deepcopy(trial)
                new.arrays[name] = _rounded(array, digits)
                yield new
        for part, name in (
            ("problem", "ridge"),
            ("result", "intercept"),
            ("result", "lower_bound"),
            ("result", "upper_bound"),
        ):
            new = copy.deepcopy(trial)
            new.claim[part][name] = float(_rounded(np.array(new.claim[part][name]), digits))
            yield new


def _rounded(values: np.ndarray, digits: int) -> np.ndarray:
    return np.array([float(f"{x:.{digits}e}") for x in np.ravel(values)]).reshape(np.shape(values))


def _claims(trial: Trial) -> Iterator[Trial | None]:
    """Plainer parameters."""
    for name, value in (
        ("among", None),
        ("class_weight", "none"),
        ("ridge", 1.0),
        ("k", trial.claim["problem"]["k"] - 1),
    ):
        new = copy.deepcopy(trial)
        new.claim["problem"][name] = value
        yield new


def pasted(trial: Trial) -> str:
    """The trial as a test, ready to paste beside those of the random proofs."""
    arrays = "".join(
        f"        {name!r}: np.array({array.tolist()}, {array.dtype.name!r}).reshape({array.shape}),\n"
        for name, array in sorted(trial.arrays.items())
    )
    weight = "None" if trial.weight is None else f"np.array({trial.weight.tolist()})"
    return (
        (
            "def test_found_by_random_proofs(tmp_path: Path) -> None:\n"
            f"    X = np.array({trial.X.tolist()})\n"
            f"    y = np.array({trial.y.tolist()})\n"
            f"    claim = json.loads({json.dumps(trial.claim)!r})\n"
            f"    arrays = {{\n{arrays}    }}\n"
            f"    trial = Trial(X, y, {weight}, claim, arrays, {trial.exhaustive}, fast={trial.fast})\n"
            '    assert judged(trial, trial.case(), tmp_path / "a.cert")[1] is None\n'
        )
        .replace("nan", "np.nan")
        .replace("inf,", "np.inf,")
    )
