"""
Controls: what a probe finds where there is nothing to be found.

Shuffled labels keep the shares of the classes and lose the feature; shuffled within documents they keep also what the
documents tell. Random neurons of a layer show what any k neurons do, and a random rotation of the basis what k
directions do that are no neurons.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from optprobe.errors import InputError


def shuffled_labels(y: ArrayLike, seed: int, group: ArrayLike | None = None) -> NDArray[Any]:
    """
    Permute labels at random, or within each document.

    Parameters
    ----------
    y : array_like, shape (n_rows,)
        Labels or values.
    seed : int
        Of the permutation.
    group : array_like, shape (n_rows,), optional
        Documents: where given, a label stays in its own.

    Returns
    -------
    ndarray, shape (n_rows,)
        The same labels in another order.

    Raises
    ------
    InputError
        If the lengths differ.
    """
    y = np.asarray(y)
    draw = np.random.default_rng(seed).random(len(y))
    if group is None:
        return y[np.argsort(draw)]
    group = np.asarray(group)
    if group.shape != y.shape:
        raise InputError(f"group and y must be of one length, not {len(group)} and {len(y)}")
    shuffled = np.empty_like(y)
    shuffled[np.argsort(group, kind="stable")] = y[np.lexsort((draw, group))]
    return shuffled


def random_neurons(n_neurons: int, size: int, seed: int) -> NDArray[np.int64]:
    """
    Draw neurons of a layer, each set as likely as any other.

    Parameters
    ----------
    n_neurons : int
        Neurons of the layer.
    size : int
        Neurons to draw.
    seed : int
        Of the draw.

    Returns
    -------
    ndarray of int64, shape (size,)
        Ascending.

    Raises
    ------
    InputError
        If there are not that many.
    """
    if not 0 <= size <= n_neurons:
        raise InputError(f"{size} of {n_neurons} neurons cannot be drawn")
    return np.sort(np.random.default_rng(seed).choice(n_neurons, size, replace=False)).astype(np.int64)


def random_rotation(n_neurons: int, seed: int) -> NDArray[np.float64]:
    """
    Draw an orthogonal matrix Q from the Haar measure; ``X @ Q`` has the same geometry and no neurons.

    The Q of the QR decomposition of a Gaussian matrix, with the signs that make the diagonal of R positive (Mezzadri,
    How to generate random matrices from the classical compact groups, 2007). Its cost grows with the third power of
    n_neurons: seconds at 2,048, many minutes at 16,384.

    Parameters
    ----------
    n_neurons : int
        Size of the basis.
    seed : int
        Of the draw.

    Returns
    -------
    ndarray of float64, shape (n_neurons, n_neurons)
        ``Q.T @ Q`` is the identity.
    """
    q, r = np.linalg.qr(np.random.default_rng(seed).standard_normal((n_neurons, n_neurons)))
    return np.asarray(q * np.where(np.diag(r) < 0, -1.0, 1.0))
