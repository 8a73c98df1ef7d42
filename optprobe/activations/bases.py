r"""
Columns other than neurons: the rows of a layer in another basis, or as the latents of a dictionary.

Every row x becomes :math:`x W`, held-out rows as those for training: W orthogonal and drawn at random (`rotated`), the
principal directions of the training rows (`principal`), or the encoder of a dictionary and what it does then
(`latents`). The columns are taken as given and not standardised first: a change of basis keeps the distances and angles
of rows as the model has them, a column is the same function of the activations whatever the feature, and a problem
standardises the columns that it is given in any case.

The scope says under ``basis`` by which call the columns were made, of how many columns, and the sha256 of W, or of the
dictionary's file. The same call makes them again, to the bit where W is the same: products are summed exactly. The last
digits of W, which LAPACK computes for `rotated` and `principal`, may be others on another machine. Those of a rotation
are rounded away; of components they are not, since nearly equal variances make any digit a matter of rounding. Another
sha256 says so, and the rows as `LabelledActivations.save` writes them are what a certificate can be checked against
anywhere.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from optprobe.activations.foreign import as_array, read_arrays
from optprobe.activations.store.labelled import LabelledActivations
from optprobe.errors import InputError
from optprobe.features.controls import random_rotation
from optprobe.files import file_digest

Floats = NDArray[np.float64]

OF_VARIANCE, OF_LENGTH = 1e-8, 1e-12
"""The shares, of all variance and of the mean squared length of rows, that a component's variance is to be above.

Less is what rounding may leave of none.
"""
ENTRIES = ("W_enc", "b_enc", "b_dec", "threshold", "k")
"""What is read of a dictionary's file; the decoder's weights, and whatever else is in it, are not."""
GRID = 2.0**-20
"""The entries of a rotation are whole multiples of it, so that it is orthogonal to about a millionth.

LAPACK's last digits are a billionth of it: of a million entries one is rounded elsewhere on another machine once in a
thousand seeds.
"""
BLOCK = 4096
"""Rows that are multiplied at once."""


def rotated(rows: LabelledActivations, seed: int = 0) -> LabelledActivations:
    """
    Return rows in a random orthogonal basis: what k directions do that are no neurons.

    Parameters
    ----------
    rows : LabelledActivations
        With p columns.
    seed : int
        Of the p x p orthogonal matrix, `optprobe.features.controls.random_rotation` rounded to `GRID`. Its cost grows
        with the third power of p.

    Raises
    ------
    InputError
        If the seed is negative, or the rows are of another basis already.
    """
    if isinstance(seed, bool) or not isinstance(seed, int | np.integer) or seed < 0:
        raise InputError(f"the seed of a rotation is a whole number from 0, not {seed!r}")
    n_columns = _fresh(rows)
    with threadpool_limits(1, user_api="blas"):
        W = GRID * np.rint(random_rotation(n_columns, int(seed)) / GRID)
    return _changed(rows, W, f"rotated:{int(seed)}", _digest(W))


def principal(rows: LabelledActivations) -> LabelledActivations:
    """
    Return rows in the basis of their principal components, the one of largest variance first.

    They are the eigenvectors of the covariance of the training rows, weighted where those are, each with a sign that
    makes its largest entry positive. Rows are not centred by it, which a problem does. Components with no more than
    `OF_VARIANCE` and `OF_LENGTH` are left out, so that there are fewer than rows.

    Parameters
    ----------
    rows : LabelledActivations
        With p columns; the covariance is a p x p matrix in memory.

    Raises
    ------
    InputError
        If all training rows are equal, or the rows are of another basis already.
    """
    _fresh(rows)
    X = rows.X_train.astype(np.float64)
    w = np.ones(len(X)) if rows.w_train is None else rows.w_train
    w = w / w.sum()
    with threadpool_limits(1, user_api="blas"):
        length = float(w @ np.square(X).sum(axis=1))
        X -= w @ X
        X *= np.sqrt(w)[:, None]
        variances, vectors = np.linalg.eigh(X.T @ X)
    kept = np.flatnonzero(variances > max(OF_VARIANCE * float(variances.sum()), OF_LENGTH * length))[::-1]
    if len(kept) == 0:
        raise InputError("the training rows are all equal, and have no principal components: give rows that differ")
    W = vectors[:, kept]
    W = W * np.sign(W[np.abs(W).argmax(axis=0), np.arange(W.shape[1])])
    return _changed(rows, W, "principal", _digest(W))


def latents(rows: LabelledActivations, dictionary: str | Path) -> LabelledActivations:
    r"""
    Return rows as the latents of a dictionary (a sparse autoencoder, or a transcoder): of the row x

    .. math:: z = (x - b_{dec}) W_{enc} + b_{enc}, \quad a_j = z_j\,[z_j > \theta_j]

    with :math:`\theta = 0` (ReLU) where the file has no threshold; with k, of each row only the k largest are kept, the
    first of equal ones.

    Parameters
    ----------
    rows : LabelledActivations
        Of the values that the dictionary was trained on; they are not scaled.
    dictionary : str or Path
        An `.npz` or `.safetensors` with the entries ``W_enc``, shape (n_columns, n_latents), and where there are such
        ``b_enc`` and ``threshold`` (JumpReLU), shape (n_latents,), ``b_dec``, shape (n_columns,), and ``k``, a number.
        Programs differ in whether b_dec is subtracted where there is a threshold, so a file has one of the two.

    Raises
    ------
    InputError
        If the file cannot be read, an entry is missing, not finite or of another shape, or the rows are of another
        basis already.
    """
    path = Path(dictionary)
    n_columns = _fresh(rows)
    entries = _dictionary(path, n_columns)
    W, shift = entries["W_enc"], entries["b_enc"]
    if "b_dec" in entries:
        shift = shift - _product(entries["b_dec"][None, :], W)[0]
    threshold, k = entries.get("threshold", np.zeros(1)), entries.get("k")

    def active(z: Floats) -> Floats:
        z += shift
        z[~(z > threshold)] = 0.0
        if k is not None:
            order = np.argsort(-z, axis=1, kind="stable")
            np.put_along_axis(z, order[:, int(k) :], 0.0, axis=1)
        return z

    return _changed(rows, W, f"latents:{path.name}", file_digest(path), active)


def in_basis(rows: LabelledActivations, call: str) -> LabelledActivations:
    """
    Return rows by a call in words, as the command line and scopes have it.

    Parameters
    ----------
    rows : LabelledActivations
    call : str
        ``rotated:SEED``, ``principal`` or ``latents:FILE``.

    Raises
    ------
    InputError
        For another call, and as the function does that it names.
    """
    kind, colon, argument = call.partition(":")
    if kind == "rotated" and argument.isascii() and argument.isdecimal():
        return rotated(rows, int(argument))
    if kind == "principal" and not colon:
        return principal(rows)
    if kind == "latents" and argument:
        return latents(rows, argument)
    raise InputError(f"there is no basis {call!r}: give rotated:0 with its seed, principal, or latents:FILE")


def _fresh(rows: LabelledActivations) -> int:
    """Return the number of columns, of rows that are of no other basis."""
    if "basis" in rows.scope:
        raise InputError(
            "these rows are of another basis already, and its columns are no neurons: give them as extracted"
        )
    return int(rows.X_train.shape[1])


def _changed(
    rows: LabelledActivations, W: Floats, call: str, sha256: str, then: Callable[[Floats], Floats] | None = None
) -> LabelledActivations:
    def change(X: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
        kept = np.empty((len(X), W.shape[1]), dtype=np.float64 if X.dtype == np.float64 else np.float32)
        for start in range(0, len(X), BLOCK):
            made = _product(X[start : start + BLOCK], W)
            with np.errstate(over="ignore"):
                kept[start : start + BLOCK] = made if then is None else then(made)
        if not np.isfinite(kept).all():
            row, column = np.argwhere(~np.isfinite(kept))[0]
            raise InputError(f"column {column} of the basis {call} is beyond {kept.dtype} in row {row}: scale the rows")
        return kept

    basis = {"call": call, "of": int(rows.X_train.shape[1]), "sha256": sha256}
    return replace(
        rows,
        X_train=change(rows.X_train),
        X_test=None if rows.X_test is None else change(rows.X_test),
        scope=MappingProxyType({**rows.scope, "basis": basis}),
    )


def _product(X: NDArray[np.floating[Any]], W: Floats) -> Floats:
    """
    Return X W, the same bits in whatever order it is summed.

    Each factor is cut into two parts of whole numbers, at a power of two of a row's or column's own, such that p
    products of two parts stay under 2^53 together: their sums are exact in any order, and what remains is one
    expression an entry. For p under 2^14, an entry is off by at most p 2^-35 times the largest entries of its row of X
    and its column of W.
    """
    bits = (52 - int(W.shape[0]).bit_length()) // 2
    x, x_high, x_low = _cut(X.astype(np.float64), bits, 1)
    w, w_high, w_low = _cut(W, bits, 0)
    middle = x_high @ w_low + x_low @ w_high
    whole = x_high @ w_high + (np.ldexp(middle, -bits) + np.ldexp(x_low @ w_low, -2 * bits))
    with np.errstate(over="ignore"):
        return np.asarray(np.ldexp(whole, x + w - 2 * bits))


def _cut(values: Floats, bits: int, axis: int) -> tuple[NDArray[np.int32], Floats, Floats]:
    """Return exponents and two parts: values are about 2^(exponent - bits) (high + 2^-bits low), of whole numbers."""
    exponent = np.frexp(np.abs(values).max(axis=axis, keepdims=True))[1]
    scaled = np.ldexp(values, bits - exponent)
    high = np.rint(scaled)
    return exponent, high, np.rint(np.ldexp(scaled - high, bits))


def _digest(W: Floats) -> str:
    """Return the sha256 of a matrix: of its shape, and its numbers row after row."""
    return hashlib.sha256(f"{W.shape}".encode() + np.ascontiguousarray(W, dtype="<f8").tobytes()).hexdigest()


def _dictionary(path: Path, n_columns: int) -> Mapping[str, Floats]:
    """Return the entries of a dictionary's file, after a check; `b_enc` is there in any case."""
    held = read_arrays(path)
    if not isinstance(held, Mapping) or "W_enc" not in held:
        there = ", ".join(list(held)[:8]) if isinstance(held, Mapping) else "one array"
        raise InputError(f"{path} has no entry 'W_enc', the weights of an encoder; it has {there or 'none'}")
    entries = {name: as_array(held[name]) for name in ENTRIES if name in held}
    for name, array in entries.items():
        if array.dtype.kind not in "fiu" or not np.isfinite(array).all():
            raise InputError(f"{path}: {name!r} has something other than finite numbers, such as nan; give the weights")
    shape = entries["W_enc"].shape
    if len(shape) != 2 or shape[0] != n_columns or shape[1] == 0:
        hint = ": it seems to be transposed" if shape[-1:] == (n_columns,) else ""
        raise InputError(f"{path}: W_enc has the shape {shape}, and the rows have {n_columns} columns{hint}")
    shapes = {"b_enc": (shape[1],), "b_dec": (n_columns,), "threshold": (shape[1],), "k": ()}
    for name, wanted in shapes.items():
        if name in entries and entries[name].shape != wanted:
            raise InputError(f"{path}: {name!r} has the shape {entries[name].shape}, and it must be {wanted}")
    if {"b_dec", "threshold"} <= set(entries):
        raise InputError(
            f"{path} has b_dec and threshold, and programs differ in whether b_dec is subtracted then: write a file "
            "without b_dec, and with b_enc - b_dec W_enc as its b_enc where it is subtracted"
        )
    if "k" in entries and entries["k"] not in range(1, shape[1] + 1):
        raise InputError(f"{path}: k is {entries['k']}, and there are {shape[1]} latents: give a number from 1 to that")
    return {"b_enc": np.zeros(shape[1]), **{name: array.astype(np.float64) for name, array in entries.items()}}
