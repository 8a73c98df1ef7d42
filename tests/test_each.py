"""One against the rest, for every class or feature, is the problem of that class stated by hand."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

import optprobe as op
from optprobe.activations import activations_of
from optprobe.errors import InputError

RNG = np.random.default_rng(6)
X = RNG.standard_normal((90, 7))
KINDS = np.array(["noun", "verb", "other"])[np.argmax(X[:, [1, 4, 6]] + 0.4 * RNG.standard_normal((90, 3)), axis=1)]


@pytest.mark.parametrize("labels", [KINDS, np.unique(KINDS, return_inverse=True)[1], KINDS.tolist()])
def test_every_class_against_the_others(labels: Any) -> None:
    each = op.solve_each(X, 2, labels=labels, stated={"loss": "squared", "ridge": 0.05}, within=0.01)
    assert set(each) == set(np.unique(labels).tolist())
    for name, solution in each.items():
        alone = op.solve(op.problem(X, 2, labels=np.asarray(labels) == name, loss="squared", ridge=0.05))
        assert (solution.support, solution.upper_bound) == (alone.support, alone.upper_bound)
        assert solution.pool is not None
    said = str(each)
    assert said.startswith(f"{len(each)} classes, {len(each)} of their optima proved")
    assert all(str(name) in said for name in each)


def test_the_features_of_a_store() -> None:
    features = {name: np.where(name == KINDS, 1, -1) for name in ("noun", "verb")}
    store = activations_of({3: X.astype(np.float32)}, features, np.arange(90) // 3, model="made")
    each = op.solve_each(store, 1, stated={"loss": "squared"})
    assert list(each) == ["noun", "verb"]
    for name, solution in each.items():
        alone = op.solve(op.problem(store, 1, feature=name, layer=3, loss="squared"))
        assert solution.support == alone.support
        assert solution.certificate().claim == alone.certificate().claim
    assert list(op.solve_each(store, 1, features=["verb"], layer=3)) == ["verb"]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({}, "give labels=, one for each row"),
        ({"labels": KINDS, "features": ["noun"]}, "features= has no effect beside it"),
        ({"labels": KINDS[:-1]}, "there are 90 rows: give one for each"),
        ({"labels": np.zeros(90)}, "one class only"),
        ({"labels": KINDS, "stated": {"loss": "cubic"}}, "the loss 'cubic' is unknown"),
    ],
)
def test_what_makes_no_classes(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        op.solve_each(X, 2, **arguments)
