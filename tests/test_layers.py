"""Several layers as one problem: the neurons side by side, named by layer, and at most one of each."""

from __future__ import annotations

from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import sparse

import optprobe as op
from formulations import fit_supports
from optprobe.activations import Activations, LabelledActivations, activations_of, in_basis, load_labelled
from optprobe.certificates import Certificate

RNG = np.random.default_rng(21)
WIDTHS = {0: 7, 2: 5, 3: 6}
VALUES = {layer: RNG.standard_normal((150, width)).astype(np.float32) for layer, width in WIDTHS.items()}
SIGNAL = VALUES[0][:, 4] - VALUES[3][:, 1] + 0.8 * VALUES[3][:, 2]
Y = np.where(SIGNAL + 0.5 * RNG.standard_normal(150) > 0, 1, -1)
Y[::9] = 0
STATED: dict[str, Any] = {"feature": "red", "ridge": 0.05}


@pytest.fixture
def store(tmp_path: Path) -> Activations:
    labels, group = {"red": Y, "blue": np.where(VALUES[2][:, 0] > 0, 1, -1)}, np.arange(150) // 3
    activations_of(VALUES, labels, group, targets={"depth": SIGNAL}, model="made").save(tmp_path / "acts")
    return Activations.open(tmp_path / "acts")


def by_hand(store: Activations, layers: tuple[int, ...], feature: str = "red") -> tuple[np.ndarray, np.ndarray]:
    """The rows of one layer after the other, as they are read alone, next to each other."""
    alone = [load_labelled(store, feature, layer) for layer in layers]
    return np.hstack([rows.X_train for rows in alone]), alone[0].y_train


@pytest.mark.parametrize("layers", [(0, 2), (0, 3), (0, 2, 3)])
@pytest.mark.parametrize("feature", ["red", "depth"])
def test_rows_side_by_side(store: Activations, layers: tuple[int, ...], feature: str) -> None:
    rows = load_labelled(store, feature, layers=layers)
    X, y = by_hand(store, layers, feature)
    np.testing.assert_array_equal(rows.X_train, X)
    np.testing.assert_array_equal(rows.y_train, y)
    alone = load_labelled(store, feature, layers[-1])
    assert rows.X_test is not None
    np.testing.assert_array_equal(rows.X_test[:, -WIDTHS[layers[-1]] :], alone.X_test)
    np.testing.assert_array_equal(rows.group_train, alone.group_train)
    assert rows.X_train.dtype == np.float32
    assert rows.X_train.flags.f_contiguous
    assert "layer" not in rows.scope


@pytest.mark.parametrize("layers", ["all", [3, 0, 2], range(4), np.array([2, 3, 0]), (n for n in (0, 2, 3))])
def test_layers_in_whatever_order_are_ascending(layers: Any) -> None:
    values = VALUES | {1: -VALUES[2]} if isinstance(layers, range) else VALUES
    made = activations_of(values, {"red": Y}, np.arange(150) // 3)
    rows = load_labelled(made, layers=layers)
    expected = {"0": 7, "1-2": 5, "3": 6} if isinstance(layers, range) else {"0": 7, "2": 5, "3": 6}
    assert rows.scope["layers"] == expected
    np.testing.assert_array_equal(rows.X_train[:, -6:], load_labelled(made, layer=3).X_train)


def test_one_of_several_is_that_layer(store: Activations) -> None:
    several, one = load_labelled(store, "red", layers=[2]), load_labelled(store, "red", 2)
    assert several.scope == one.scope
    np.testing.assert_array_equal(several.X_train, one.X_train)
    alone = activations_of(VALUES[0], {"red": Y})
    assert load_labelled(alone, layers="all").scope["layer"] == 0


@pytest.mark.parametrize(("loss", "k"), [("squared", 1), ("squared", 2), ("squared", 3), ("logistic", 2), ("hinge", 1)])
def test_the_optimum_over_all_layers(store: Activations, loss: str, k: int, tmp_path: Path) -> None:
    """Equal to the problem by hand and to the best of all sets; no layer alone is as good."""
    problem = op.problem(store, k, layers="all", loss=loss, **STATED)
    X, y = by_hand(store, (0, 2, 3))
    same = op.problem(X, k, labels=y, loss=loss, ridge=0.05)
    assert problem.digests == same.digests
    best = op.solve(problem)
    assert best.optimal
    fits = fit_supports(same, np.array([*combinations(range(18), k)]))
    assert best.support == tuple(fits.supports[fits.objective.argmin()])
    assert op.solve(same).support == best.support
    named = [f"L{layer}.N{neuron}" for layer, width in WIDTHS.items() for neuron in range(width)]
    names = ", ".join(named[column] for column in best.support)
    assert repr(best).startswith(f"neurons [{names}]: optimal")
    assert f"{k}-sparse probe of 18 neurons of layers 0, 2-3 on " in repr(problem)
    path = best.certificate().save(tmp_path / "a.cert")
    rows = load_labelled(store, "red", layers="all")
    assert op.verify(path, rows.X_train, rows.y_train).accepted
    assert f"neurons [{names}]" in repr(Certificate.load(path))
    if k > 1:
        of_layers = [op.solve(op.problem(store, k, layer=layer, loss=loss, **STATED)) for layer in WIDTHS]
        assert all(one.lower_bound > best.upper_bound for one in of_layers)


def test_one_neuron_of_each_layer(store: Activations, tmp_path: Path) -> None:
    problem = op.problem(store, 3, layers="all", loss="squared", groups="layer", **STATED)
    assert problem.groups is not None
    assert problem.groups.tolist() == [0] * 7 + [2] * 5 + [3] * 6
    assert problem.origin.scope["groups"] == "layer"
    best = op.solve(problem)
    sets = np.array([(a, b, c) for a in range(7) for b in range(7, 12) for c in range(12, 18)])
    fits = fit_supports(problem, sets)
    assert best.support == tuple(fits.supports[fits.objective.argmin()])
    free = op.solve(op.problem(store, 3, layers="all", loss="squared", **STATED))
    assert free.upper_bound < best.lower_bound
    path = best.certificate().save(tmp_path / "a.cert")
    rows = load_labelled(store, "red", layers="all")
    assert op.verify(path, rows.X_train, rows.y_train).accepted
    more = op.problem(store, 5, layers="all", loss="squared", groups="layer", **STATED)
    assert op.solve(more).support == best.support, "there are no more than three layers"


def test_names_in_place_of_numbers(store: Activations) -> None:
    free = op.solve(op.problem(store, 2, layers="all", loss="squared", **STATED))
    name = free.problem.columns.name(free.support[0])
    without = op.problem(store, 2, layers="all", loss="squared", forbidden=[name, 17], **STATED)
    assert set(range(18)) - set(without.candidates) == {free.support[0], 17}
    assert f"of the 18 neurons without {name}, L3.N5)" in repr(without)
    assert free.without(name).support == free.without(free.support[0]).support
    forced = op.solve(op.problem(store, 2, layers="all", loss="squared", forced=["L2.N4"], **STATED))
    assert forced.problem.forced == (11,)
    assert "with L2.N4 in it" in forced.status_sentence
    among = op.problem(store, 1, layers="all", among=["L0.N1", 8, "L3.N0"], **STATED)
    assert among.among == (1, 8, 12)
    with pytest.raises(op.InputError, match=r"column L2\.N4 is forced, and is not among"):
        op.problem(store, 1, layers="all", forced=["L2.N4"], among=[0], **STATED)
    with pytest.raises(op.InputError, match=r"neuron L2\.N4 is forced"):
        forced.without("L2.N4")


def test_pools_and_paths_name_layers(store: Activations) -> None:
    problem = op.problem(store, 1, layers="all", loss="squared", **STATED)
    pooled = op.solve(problem, pool=3)
    assert f"the best is [{problem.columns.names(pooled.support)}]" in str(pooled)
    assert problem.columns.names(pooled.support) in str(op.solve_path(problem, [1, 2]))


def test_rows_are_saved_with_their_layers(store: Activations, tmp_path: Path) -> None:
    rows = load_labelled(store, "red", layers="all")
    again = load_labelled(rows.save(tmp_path / "rows.npz"))
    assert again.scope["layers"] == rows.scope["layers"] == {"0": 7, "2": 5, "3": 6}
    np.testing.assert_array_equal(again.X_train, rows.X_train)
    for layers in ("all", [3, 2, 0]):
        assert load_labelled(tmp_path / "rows.npz", layers=layers).scope == again.scope
    assert op.problem(again, 1, groups="layer").groups is not None


def test_another_basis_of_several_layers(store: Activations, tmp_path: Path) -> None:
    rows = in_basis(load_labelled(store, "red", layers=[0, 3]), "rotated:1")
    again = load_labelled(rows.save(tmp_path / "rows.npz"))
    assert again.scope["layers"] == {"0": 7, "3": 6}
    problem = op.problem(again, 1, loss="squared")
    assert "13 columns of a random rotation (seed 1) of the 13 neurons of layers 0, 3" in repr(problem)
    with pytest.raises(op.InputError, match="need the neurons of several"):
        op.problem(rows, 1, groups="layer")


def test_sparse_rows_are_their_arrays(store: Activations) -> None:
    dense = load_labelled(store, "red", layers="all")
    given = {name: getattr(dense, name) for name in ("y_train", "w_train", "group_train", "y_test", "group_test")}
    rows = LabelledActivations(
        X_train=sparse.csr_array(dense.X_train),  # type: ignore[arg-type]
        X_test=sparse.csc_matrix(dense.X_test),  # type: ignore[arg-type]
        scope=dense.scope,
        **given,
    )
    problem, expected = (op.problem(one, 2, loss="squared") for one in (rows, dense))
    assert problem.digests == expected.digests
    assert problem.origin.leakage == expected.origin.leakage
    latents = sparse.random_array((60, 40), density=0.1, rng=np.random.default_rng(3), dtype=np.float32)
    y = np.where(latents.toarray()[:, 0] + RNG.standard_normal(60) > 0, 1, -1)
    for form in ("csc", "csr", "coo", "dok"):
        found = op.solve(op.problem(latents.asformat(form), 2, labels=y, loss="squared"))
        assert found.support == op.solve(op.problem(latents.toarray(), 2, labels=y, loss="squared")).support


WRONG: dict[str, tuple[dict[str, Any], str]] = {
    "both": ({"layer": 0, "layers": [2]}, "layer names one layer and layers several side by side: give one of the two"),
    "empty": ({"layers": []}, r"layers are \[\]: give the numbers of some"),
    "repeated": ({"layers": [0, 2, 0]}, "layers names the layer 0 twice"),
    "unknown": ({"layers": [0, 1]}, "there is no layer 1 among these activations, only 0, 2, 3"),
    "a word": ({"layers": "every"}, "layers are 'every': give the numbers of some"),
    "no numbers": ({"layers": [0, 2.0]}, "give the numbers of some, such as"),
    "none chosen": ({}, "holds several layers; give one of 0, 2, 3, or several as layers"),
    "groups of one": ({"layer": 0, "groups": "layer"}, "need the neurons of several side by side: give layers"),
    "a rule": ({"layers": "all", "groups": "layers"}, "the rule 'layers' makes no groups: give layer, or cluster:0.9"),
    "no such neuron": ({"layers": "all", "forced": ["L1.N0"]}, "there is no neuron L1.N0"),
    "a name at one layer": ({"layer": 0, "forbidden": ["L0.N1"]}, "L0.N1 names a neuron of several layers"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_cannot_be_is_one_sentence(case: str, store: Activations) -> None:
    given, sentence = WRONG[case]
    with pytest.raises(op.InputError, match=sentence):
        op.problem(store, 1, **STATED, **given)


def test_layers_are_those_of_a_store(store: Activations, tmp_path: Path) -> None:
    with pytest.raises(op.InputError, match=r"layers= are those of a store, and labels= is for values alone"):
        op.problem(VALUES[0], 1, labels=np.sign(SIGNAL), layers=[0])
    with pytest.raises(op.InputError, match="these rows are of one feature and layer"):
        op.problem(load_labelled(store, "red", 0), 1, layers=[0])
    path = load_labelled(store, "red", layers=[0, 2]).save(tmp_path / "two.npz")
    for layers, sentence in (([0, 3], "names layers 0, 2, and is not chosen from"), ([0], "names layers 0, 2")):
        with pytest.raises(op.InputError, match=sentence):
            load_labelled(path, layers=layers)
    with pytest.raises(op.InputError, match="is of several layers, and of the layer 0 too"):
        load_labelled(path, layer=0)
    one = load_labelled(store, "red", 0).save(tmp_path / "one.npz")
    with pytest.raises(op.InputError, match="names no several layers by their widths"):
        load_labelled(one, layers="all")
    with np.load(path) as arrays:
        held = dict(arrays)
    for odd in ('{"0": 7, "2": 6}', '{"0-1": 7}', '{"0": 12}', "[7, 5]", "7", '{"2": 7, "1-0": 5}'):
        np.savez(tmp_path / "odd.npz", **held | {"layers": odd})
        with pytest.raises(op.InputError, match=r"'layers' (are no widths of several layers|is no JSON object)"):
            load_labelled(tmp_path / "odd.npz")


def test_layers_that_no_certificate_can_name_are_refused_at_once() -> None:
    values = {2 * layer: VALUES[0][:, :2] for layer in range(65)}
    apart = activations_of(values, {"red": Y}, np.arange(150) // 3)
    with pytest.raises(op.InputError, match="these layers are 65 runs of neighbours of one width"):
        op.problem(apart, 1, feature="red", layers="all")
    assert op.problem(apart, 1, feature="red", layers=range(0, 128, 2)).n_neurons == 128


def test_heads_are_named_within_a_layer() -> None:
    made = activations_of({0: VALUES[0], 1: VALUES[0]}, {"red": Y}, hook="attn.heads")
    manifest = {**made.manifest, "heads": [7, 7]}
    with pytest.raises(op.InputError, match="is of attention heads, which are named by their layer: give one"):
        op.problem(Activations(**{**vars(made), "manifest": manifest}), 1, layers="all")
