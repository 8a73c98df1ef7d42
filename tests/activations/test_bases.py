"""Other columns than neurons: rotations, principal components and latents, against plain products and each other."""

from __future__ import annotations

import hashlib
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from safetensors.torch import save_file

import optprobe as op
from optprobe.activations import LabelledActivations, in_basis, load_labelled
from optprobe.activations.bases import GRID, _product
from optprobe.errors import InputError
from optprobe.features.controls import random_rotation

RNG = np.random.default_rng(11)
X = (RNG.standard_normal((90, 12)) @ RNG.standard_normal((12, 12)) + 3).astype(np.float32)
Y = np.where(X[:, 1] - X[:, 4] + RNG.standard_normal(90) > 0, 1.0, -1.0)
ROWS = LabelledActivations(
    X[:60], Y[:60], None, None, X[60:], Y[60:], None,
    MappingProxyType({"model": "made", "layer": 3, "feature": "red"}),
)  # fmt: skip
STATED: dict[str, Any] = {"loss": "squared", "ridge": 0.05}
W, B = RNG.standard_normal((12, 20)), RNG.standard_normal(20) - 4


def written(path: Path, **entries: Any) -> Path:
    arrays = {name: np.asarray(entry) for name, entry in {"W_enc": W, "b_enc": B, **entries}.items()}
    np.savez(path, **arrays)
    return path


@given(st.integers(0, 10_000), st.integers(1, 70), st.sampled_from([0, 5, 200]))
def test_a_product_is_summed_in_any_order_to_the_same_bits(seed: int, p: int, spread: int) -> None:
    rng = np.random.default_rng(seed)
    A = rng.standard_normal((7, p)) * 2.0 ** rng.integers(-spread, spread + 1, (7, 1))
    M = rng.standard_normal((p, 5)) * 2.0 ** rng.integers(-3, 4, (p, 5))
    found, order = _product(A, M), rng.permutation(p)
    np.testing.assert_array_equal(found, _product(A[:, order], M[order]))
    np.testing.assert_array_equal(found[:3], _product(A[:3], M))
    bound = p * 2.0**-35 * np.abs(A).max(axis=1)[:, None] * np.abs(M).max(axis=0)
    assert np.all(np.abs(found - A @ M) <= bound)


def test_products_of_the_largest_sums_stay_exact() -> None:
    p = 2**14 - 1
    A, M = np.full((1, p), 1 - 2.0**-40), np.full((p, 1), 1 - 2.0**-40)
    assert abs(_product(A, M)[0, 0] - p) <= p * 2.0**-35
    assert _product(np.zeros((2, 3)), np.ones((3, 1))).tolist() == [[0.0], [0.0]]


def test_a_rotation_is_the_orthogonal_matrix_of_its_seed() -> None:
    found, q = op.rotated(ROWS, 3), random_rotation(12, 3)
    W = op.rotated(replace(ROWS, X_train=np.eye(12), X_test=None), 3).X_train
    np.testing.assert_allclose(W, q, rtol=0, atol=GRID)
    np.testing.assert_allclose(W.T @ W, np.eye(12), rtol=0, atol=4 * GRID)
    np.testing.assert_array_equal(W, GRID * np.rint(W / GRID))
    assert found.X_test is not None
    assert found.X_train.dtype == np.float32
    np.testing.assert_allclose(found.X_train, X[:60] @ q, rtol=0, atol=1e-4)
    np.testing.assert_allclose(found.X_test, X[60:] @ q, rtol=0, atol=1e-4)
    np.testing.assert_allclose(found.X_train @ found.X_train.T, X[:60] @ X[:60].T, rtol=1e-4, atol=1e-3)
    basis = found.scope["basis"]
    assert (basis["call"], basis["of"]) == ("rotated:3", 12)
    assert basis == op.rotated(ROWS, 3).scope["basis"]
    assert basis["sha256"] == hashlib.sha256(b"(12, 12)" + W.tobytes()).hexdigest()
    assert basis["sha256"] == "2c8b53130693118c0ebd8611349a16778a13d1750aa91d46016c216a96ddfce5"
    assert basis["sha256"] != op.rotated(ROWS, 4).scope["basis"]["sha256"]
    assert {**found.scope, "basis": None} == {**ROWS.scope, "basis": None}


def test_the_problem_of_a_basis_is_that_of_the_product() -> None:
    """Support and bounds are those of the matrix that one multiplies oneself; k = all of them is as good as before."""
    found = op.rotated(replace(ROWS, X_train=X[:60].astype(np.float64)), 0)
    by_hand = X[:60].astype(np.float64) @ (GRID * np.rint(random_rotation(12, 0) / GRID))
    best = op.solve(op.problem(found, 2, **STATED))
    same = op.solve(op.sparse_probe_problem(by_hand, Y[:60], 2, **STATED))
    assert best.optimal
    assert best.support == same.support
    assert best.upper_bound == pytest.approx(same.upper_bound, abs=1e-8)
    everything = [op.solve(op.problem(rows, 12, loss="squared", ridge=1e-9)).upper_bound for rows in (ROWS, found)]
    assert everything[0] == pytest.approx(everything[1], abs=1e-6)
    compared = op.compare(best, methods=["mean_difference"]).records()
    assert all(0 <= row["f1_test"] <= 1 for row in compared)


@pytest.mark.parametrize("weighted", [False, True])
def test_principal_components_diagonalise_the_covariance_of_the_training_rows(weighted: bool) -> None:
    w = RNG.uniform(0.1, 3.0, 60) if weighted else None
    found = op.principal(replace(ROWS, w_train=w, X_train=X[:60].astype(np.float64)))
    share = np.full(60, 1 / 60) if w is None else w / w.sum()
    T = found.X_train - share @ found.X_train
    covariance = T.T @ (share[:, None] * T)
    variances = np.diag(covariance)
    np.testing.assert_allclose(covariance, np.diag(variances), atol=1e-8 * variances.max())
    assert np.all(np.diff(variances) < 0)
    centred = X[:60] - share @ X[:60]
    assert variances.sum() == pytest.approx(float((share @ centred**2).sum()))
    assert found.X_test is not None
    direction = np.linalg.lstsq(X[:60].astype(float), found.X_train, rcond=None)[0]
    np.testing.assert_allclose(found.X_test, X[60:] @ direction, rtol=1e-4, atol=1e-4)
    assert np.all(direction[np.abs(direction).argmax(axis=0), np.arange(12)] > 0)
    assert found.scope["basis"]["call"] == "principal"


def test_components_that_rounding_left_of_none_are_left_out() -> None:
    rank = replace(ROWS, X_train=np.hstack([X[:60, :4], X[:60, :4], np.ones((60, 2), np.float32)]), X_test=None)
    assert op.principal(rank).X_train.shape == (60, 4)
    few = replace(ROWS, X_train=X[:5], y_train=Y[:5])
    assert op.principal(few).X_train.shape == (5, 4)
    with pytest.raises(InputError, match="the training rows are all equal, and have no principal components"):
        op.principal(replace(ROWS, X_train=np.ones((60, 3), np.float32), X_test=None))


@pytest.mark.parametrize("suffix", ["npz", "safetensors"])
def test_latents_are_the_encoders(suffix: str, tmp_path: Path) -> None:
    path = written(tmp_path / "d.npz")
    if suffix == "safetensors":
        tensors = {"W_enc": torch.from_numpy(W.T.copy()).T.contiguous(), "b_enc": torch.from_numpy(B)}
        save_file({**tensors, "W_dec": torch.zeros(2, 2)}, path := tmp_path / "d.safetensors")
    found = op.latents(ROWS, path)
    assert found.X_test is not None
    for rows, made in ((X[:60], found.X_train), (X[60:], found.X_test)):
        np.testing.assert_allclose(made, np.maximum(rows @ W + B, 0), rtol=0, atol=1e-4)
    basis = found.scope["basis"]
    assert (basis["call"], basis["of"]) == (f"latents:{path.name}", 12)
    assert 0 < np.count_nonzero(found.X_train) < found.X_train.size
    assert op.solve(op.problem(found, 2, **STATED)).optimal


def test_a_threshold_a_mean_and_k_do_what_they_say(tmp_path: Path) -> None:
    z = X[:60] @ W + B
    theta = np.linspace(0, 6, 20)
    found = op.latents(ROWS, written(tmp_path / "a.npz", threshold=theta)).X_train
    np.testing.assert_allclose(found, np.where(z > theta, z, 0), rtol=0, atol=1e-4)
    mean = X[:60].mean(axis=0)
    found = op.latents(ROWS, written(tmp_path / "b.npz", b_dec=mean)).X_train
    np.testing.assert_allclose(found, np.maximum((X[:60] - mean) @ W + B, 0), rtol=0, atol=1e-4)
    found = op.latents(ROWS, written(tmp_path / "c.npz", k=3)).X_train
    cut = np.sort(z, axis=1)[:, -3:-2]
    np.testing.assert_allclose(found, np.where((z >= cut) & (z > 0), z, 0), rtol=0, atol=1e-4)
    assert np.count_nonzero(found, axis=1).max() == 3
    ties = op.latents(ROWS, written(tmp_path / "d.npz", W_enc=np.zeros((12, 4)), b_enc=np.ones(4), k=2)).X_train
    np.testing.assert_array_equal(ties, np.tile([1, 1, 0, 0], (60, 1)))


BAD: dict[str, tuple[dict[str, Any], str]] = {
    "no encoder": ({"W_enc": None}, "has no entry 'W_enc', the weights of an encoder; it has b_enc"),
    "transposed": ({"W_enc": W.T}, r"W_enc has the shape \(20, 12\), and the rows have 12 columns: it seems to be tr"),
    "other width": ({"W_enc": W[:5]}, r"W_enc has the shape \(5, 20\), and the rows have 12 columns$"),
    "one number": ({"W_enc": 1.0}, r"W_enc has the shape \(\), and the rows have 12 columns"),
    "no latents": ({"W_enc": W[:, :0]}, r"W_enc has the shape \(12, 0\)"),
    "nan": ({"W_enc": np.where(np.eye(12, 20), np.nan, W)}, "'W_enc' has something other than finite numbers"),
    "infinite threshold": ({"threshold": np.full(20, np.inf)}, "'threshold' has something other than finite numbers"),
    "text": ({"b_enc": ["a"] * 20}, "'b_enc' has something other than finite numbers"),
    "short": ({"b_enc": B[:3]}, r"'b_enc' has the shape \(3,\), and it must be \(20,\)"),
    "a mean of latents": ({"b_dec": B}, r"'b_dec' has the shape \(20,\), and it must be \(12,\)"),
    "both": ({"b_dec": np.ones(12), "threshold": B}, "programs differ in whether b_dec is subtracted then"),
    "k of none": ({"k": 0}, "k is 0, and there are 20 latents"),
    "k of all and more": ({"k": 21}, "k is 21, and there are 20 latents"),
    "half a k": ({"k": 2.5}, r"k is 2\.5, and there are 20 latents"),
    "overflow": ({"W_enc": 1e300 * W}, "of the basis latents:d.npz is beyond float32 in row 0: scale the rows"),
}


@pytest.mark.parametrize("case", BAD)
def test_a_bad_dictionary_is_named(case: str, tmp_path: Path) -> None:
    entries, sentence = BAD[case]
    arrays = {"W_enc": W, "b_enc": B, **entries}
    np.savez(tmp_path / "d.npz", **{name: np.asarray(a) for name, a in arrays.items() if a is not None})
    with pytest.raises(InputError, match=sentence) as caught:
        op.latents(ROWS, tmp_path / "d.npz")
    assert "\n" not in str(caught.value)


def test_what_is_no_dictionary_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no file"):
        op.latents(ROWS, tmp_path / "none.npz")
    (tmp_path / "d.safetensors").write_bytes(b"\xff" * 40)
    with pytest.raises(InputError, match="cannot be read"):
        op.latents(ROWS, tmp_path / "d.safetensors")
    np.save(tmp_path / "d.npy", W)
    with pytest.raises(InputError, match="has no entry 'W_enc', the weights of an encoder; it has one array"):
        op.latents(ROWS, tmp_path / "d.npy")


@pytest.mark.parametrize(
    "call", ["", "rotated", "rotated:", "rotated:-1", "rotated:1.5", "principal:", "latents:", "a:b"]
)
def test_an_unknown_call_is_refused(call: str) -> None:
    with pytest.raises(InputError, match="give rotated:0 with its seed, principal, or latents:FILE"):
        in_basis(ROWS, call)


def test_seeds_are_whole_numbers_and_a_basis_is_made_of_neurons() -> None:
    for seed in (-1, 0.5, True):
        with pytest.raises(InputError, match="the seed of a rotation is a whole number from 0, not"):
            op.rotated(ROWS, seed)  # type: ignore[arg-type]
    for again in (op.rotated, op.principal):
        with pytest.raises(InputError, match="of another basis already"):
            again(op.rotated(ROWS))


def test_saved_rows_keep_their_basis(tmp_path: Path) -> None:
    rows = in_basis(ROWS, "rotated:7")
    found = load_labelled(rows.save(tmp_path / "rows.npz"))
    np.testing.assert_array_equal(found.X_train, rows.X_train)
    assert found.scope["basis"] == rows.scope["basis"]
    for basis in ("[1]", "no JSON", ["{}"]):
        np.savez(tmp_path / "bad.npz", X_train=X, y_train=Y, basis=basis)
        with pytest.raises(InputError, match="'basis' is no JSON object in one string"):
            load_labelled(tmp_path / "bad.npz")
