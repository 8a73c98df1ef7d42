"""Activations that something else made: arrays, files, tensors, and the caches of TransformerLens and nnsight."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from optprobe.activations.matrix import NeuronMatrix
from optprobe.activations.store import Activations
from optprobe.errors import InputError

HOOK_NAMES = {"mlp.post": "mlp.hook_post", "mlp.pre": "mlp.hook_pre", "resid.post": "hook_resid_post"}
"""Names of the hook points in a TransformerLens cache, below ``blocks.<layer>.``."""


def neuron_values(
    source: Any, name: str | None = None, *, layer: int | None = None, hook: str = "mlp.post"
) -> NDArray[np.floating[Any]]:
    """
    Return the activation matrix that something holds.

    Parameters
    ----------
    source : array_like, torch.Tensor, path or mapping
        An array or tensor of shape (..., n_neurons), whose leading axes become rows; an `.npy`, `.npz` or
        `.safetensors` file; a TransformerLens cache; or any mapping of names to tensors, such as nnsight's caches,
        whose entries have an ``output``.
    name : str, optional
        The entry of a file or mapping that holds several.
    layer : int, optional
        The layer of a TransformerLens cache.
    hook : {"mlp.post", "mlp.pre", "resid.post"}
        Its hook point, beside ``layer``.

    Returns
    -------
    ndarray of float16, float32 or float64, shape (n_rows, n_neurons)
        The values; bfloat16 becomes float32.

    Raises
    ------
    InputError
        If there is no such entry, it is no matrix of real numbers, or an argument has no effect.
    """
    if isinstance(source, str | Path):
        source = _read(Path(source))
    several = isinstance(source, Mapping) or hasattr(source, "cache_dict")
    if (name is not None or layer is not None) and not several:
        raise InputError("this is one matrix of activations: leave name= and layer= out")
    if (name is not None and layer is not None) or (layer is None and hook != "mlp.post"):
        raise InputError("an entry is chosen by name=, or by layer= and hook= of a TransformerLens cache: give one")
    if several:
        if layer is not None:
            name = f"blocks.{layer}.{HOOK_NAMES[hook]}" if hook in HOOK_NAMES else hook
        source = _entry(source, name)
    values = as_array(source)
    if values.dtype.kind not in "fiu" or values.ndim < 2 or 0 in values.shape:
        raise InputError(
            f"the activations are {values.dtype} of shape {values.shape}; give numbers, one row a token and one column "
            "a neuron"
        )
    if values.dtype not in (np.float16, np.float32, np.float64):
        values = values.astype(np.float64)
    return values.reshape(-1, values.shape[-1])


def activations_of(
    values: Mapping[int, Any] | Any,
    labels: Mapping[str, ArrayLike],
    group: ArrayLike | None = None,
    *,
    model: str = "unknown",
    hook: str = "mlp.post",
    name: str = "unknown",
) -> Activations:
    """
    Return activations made of arrays, which `save` writes to a store.

    Parameters
    ----------
    values : mapping of int to what `neuron_values` takes, or one such thing
        The values of each layer, of the same number of rows; one alone is layer 0.
    labels : mapping of str to array_like of int, shape (n_rows,)
        Labels in {-1, 0, +1} of each feature; 0: the row does not belong to it.
    group : array_like of int, shape (n_rows,), optional
        Document of each row, for splits; by default every row is one of its own.
    model, hook, name : str
        Model, hook point, and name of the dataset, as the manifest and certificates will say.

    Returns
    -------
    Activations
        In memory, float16 or float32 (float64 is rounded to float32).

    Raises
    ------
    InputError
        If an array cannot be used, is not finite, or has another number of rows.
    """
    given = values if isinstance(values, Mapping) and all(type(key) is int for key in values) else {0: values}
    matrices = {layer: _finite(layer, neuron_values(value)) for layer, value in sorted(given.items())}
    if not matrices or not labels:
        raise InputError("activations need at least one layer and one feature; give values and labels")
    n_rows = len(next(iter(matrices.values())))
    for layer, matrix in matrices.items():
        if len(matrix) != n_rows:
            raise InputError(f"layer {layer} has {len(matrix)} rows, and another layer has {n_rows}")
    numbers = np.arange(n_rows, dtype=np.int32)
    manifest = {
        "model": model,
        "revision": None,
        "hook": hook,
        "dataset": {"name": name, "digest": None, "licence": ""},
        "features": dict.fromkeys(labels, ""),
        "layers": list(matrices),
        "d_mlp": [matrix.shape[1] for matrix in matrices.values()],
        "values": [str(matrix.dtype) for matrix in matrices.values()],
        "n_rows": n_rows,
        "dropped_rows": 0,
    }
    return Activations(
        MappingProxyType(manifest),
        row=numbers,
        text=numbers,
        start=np.zeros(n_rows, dtype=np.int32),
        end=np.ones(n_rows, dtype=np.int32),
        token=np.zeros(n_rows, dtype=np.int32),
        group=numbers if group is None else _column("the groups", group, n_rows, np.int32),
        labels=MappingProxyType({key: _signs(key, y, n_rows) for key, y in labels.items()}),
        matrices=MappingProxyType({layer: NeuronMatrix.of(matrix) for layer, matrix in matrices.items()}),
    )


def _read(path: Path) -> Any:
    """Return the array of an `.npy`, or the arrays of an `.npz` or `.safetensors`, without executing anything."""
    if not path.is_file():
        raise InputError(f"there is no file {path}")
    try:
        if path.suffix == ".safetensors":
            from safetensors.torch import load_file

            return load_file(path)
        if path.suffix == ".npz":
            with np.load(path, allow_pickle=False) as file:
                return {name: file[name] for name in file.files}
        if path.suffix == ".npy":
            return np.load(path, allow_pickle=False)
    except Exception as error:
        raise InputError(f"{path} cannot be read: {str(error).splitlines()[0] if str(error) else error!r}") from error
    raise InputError(f"{path} is not an .npy, .npz or .safetensors file; save the activations as one of these")


def _entry(source: Any, name: str | None) -> Any:
    """Return one entry of a mapping or a cache."""
    names = list(getattr(source, "cache_dict", source))
    if name is None:
        if len(names) != 1:
            raise InputError(f"there are {len(names)} entries ({_some(names)}); name one, or give the layer")
        name = names[0]
    if name not in names:
        raise InputError(f"there is no entry {name!r}, only {_some(names) or 'none'}")
    entry = source[name]
    entry = getattr(entry, "output", entry)
    return entry[0] if isinstance(entry, tuple | list) else entry


def as_array(value: Any) -> NDArray[Any]:
    """The array of an array, a tensor of any device, or a proxy that has it as its ``value``.

    Raises `InputError` where there is none, as in a list of rows of several lengths.
    """
    value = getattr(value, "value", value) if not hasattr(value, "shape") else value
    if hasattr(value, "detach"):
        value = value.detach().cpu()
        if str(value.dtype) == "torch.bfloat16":
            value = value.float()
        return np.asarray(value.numpy())
    try:
        return np.asarray(value)
    except (ValueError, TypeError) as error:
        said = str(error).partition("\n")[0]
        raise InputError(f"this {type(value).__name__} is no array ({said}): give rows of one length") from error


def _finite(layer: int, values: NDArray[np.floating[Any]]) -> NDArray[np.floating[Any]]:
    if values.dtype == np.float64:
        values = values.astype(np.float32)
    if not np.isfinite(values).all():
        row, neuron = np.argwhere(~np.isfinite(values))[0]
        raise InputError(f"layer {layer}: neuron {neuron} is {values[row, neuron]} in row {row}; give finite numbers")
    return values


def _signs(feature: str, y: ArrayLike, n_rows: int) -> NDArray[np.int8]:
    labels: NDArray[np.int8] = _column(f"the labels of {feature!r}", y, n_rows, np.int8)
    if not np.isin(labels, (-1, 0, 1)).all():
        row = int(np.argmin(np.isin(labels, (-1, 0, 1))))
        raise InputError(f"the label of {feature!r} is {labels[row]} in row {row}; labels are -1, 0 or +1")
    return labels


def _column(what: str, values: ArrayLike, n_rows: int, dtype: type[np.generic]) -> NDArray[Any]:
    given = np.asarray(values)
    column = given.astype(dtype)
    if given.shape != (n_rows,) or not np.array_equal(column, given):
        raise InputError(f"{what} have the shape {given.shape}; give one whole number for each of the {n_rows} rows")
    return column


def _some(names: list[Any]) -> str:
    return ", ".join(map(str, names[:5])) + (", ..." if len(names) > 5 else "")
