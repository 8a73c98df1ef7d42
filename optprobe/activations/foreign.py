"""Activations that something else made: arrays, files, tensors, and the caches of TransformerLens and nnsight."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import ArrayLike, NDArray

from formulations.validation import dense
from optprobe.activations.store.activations import Activations
from optprobe.activations.store.matrix import NeuronMatrix
from optprobe.errors import InputError
from optprobe.names import HOOK_NAMES


def neuron_values(
    source: Any,
    name: str | None = None,
    *,
    layer: int | None = None,
    hook: str = "mlp.post",
    mask: ArrayLike | Sequence[ArrayLike] | None = None,
) -> NDArray[np.floating[Any]]:
    """
    Return the activation matrix that something holds.

    Parameters
    ----------
    source : array_like, torch.Tensor, list of these, path or mapping
        An array or tensor of shape (..., n_neurons), whose leading axes become rows, or a sparse matrix of scipy; a
        list of such batches, one after another; an `.npy`, `.npz` or `.safetensors` file; a TransformerLens cache; or
        any mapping of names to these, such as nnsight's cache, whose entries have an ``output``: of a tuple its first
        part, of several visits all.
    name : str, optional
        The entry of a file or mapping that holds several.
    layer : int, optional
        The layer of a TransformerLens cache.
    hook : {"mlp.post", "mlp.pre", "resid.post"}
        Its hook point, beside ``layer``.
    mask : array_like of bool or {0, 1}, or a list of them, or True
        Of which leading positions a row is made, such as the ``attention_mask`` of shape (n_texts, n_tokens) of a
        padded batch; a list has one for each batch of a list. Values of several texts need it: True says that nothing
        was padded.

    Returns
    -------
    ndarray of float16, float32 or float64, shape (n_rows, n_neurons)
        The values, text after text; bfloat16 becomes float32.

    Raises
    ------
    InputError
        If there is no such entry, it is no matrix of real numbers, a mask is missing or does not fit, or an argument
        has no effect.
    """
    values = _held(source, name, layer, hook)
    batches = _batches(values)
    return _rows(as_array(values), mask) if batches is None else _joined(batches, mask)


def activations_of(
    values: Mapping[int, Any] | Any,
    labels: Mapping[str, ArrayLike],
    group: ArrayLike | None = None,
    *,
    targets: Mapping[str, ArrayLike] | None = None,
    mask: ArrayLike | Sequence[ArrayLike] | None = None,
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
    targets : mapping of str to array_like of float, shape (n_rows,), optional
        Real numbers to be predicted, of each target; nan: the row does not belong to it.
    mask : optional
        Of which positions a row is made, in every layer, as in `neuron_values`.
    model, hook, name : str
        Model, hook point, and name of the dataset, as the manifest and certificates will say.

    Returns
    -------
    Activations
        In memory, float16 or float32 (float64 is rounded to float32).

    Raises
    ------
    InputError
        If an array cannot be used, is not finite, or has another number of rows, or a feature and a target have one
        name.
    """
    targets = targets or {}
    if twice := sorted(set(labels) & set(targets)):
        raise InputError(f"{twice[0]!r} is a feature and a target; give them different names")
    given = values if isinstance(values, Mapping) and all(type(key) is int for key in values) else {0: values}
    matrices = {layer: _finite(layer, neuron_values(value, mask=mask)) for layer, value in sorted(given.items())}
    if not matrices or not (labels or targets):
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
        **({"targets": dict.fromkeys(targets, "")} if targets else {}),
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
        targets=MappingProxyType({key: _numbers(key, t, n_rows) for key, t in targets.items()}),
    )


def _held(source: Any, name: str | None, layer: int | None, hook: str) -> Any:
    """Return the values, or list of batches, that a source holds under a name or at a layer."""
    source = read_arrays(Path(source)) if isinstance(source, str | Path) else dense(source)
    several = hasattr(source, "keys") and not hasattr(source, "__array__")
    if (name is not None or layer is not None) and not several:
        raise InputError("this is one matrix of activations: leave name= and layer= out")
    if (name is not None and layer is not None) or (layer is None and hook != "mlp.post"):
        raise InputError("an entry is chosen by name=, or by layer= and hook= of a TransformerLens cache: give one")
    if layer is not None:
        name = f"blocks.{layer}.{HOOK_NAMES[hook]}" if hook in HOOK_NAMES else hook
    return _entry(source, name) if several else source


def read_arrays(path: Path) -> Any:
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
    names = list(source.keys())
    if name is None:
        if len(names) != 1:
            raise InputError(f"there are {len(names)} entries ({_some(names)}); name one, or give the layer")
        name = names[0]
    if name not in names:
        raise InputError(f"there is no entry {name!r}, only {_some(names) or 'none'}")
    entry = source[name]
    if not hasattr(entry, "output"):
        return entry
    visits = entry.output if isinstance(entry.output, list) else [entry.output]
    outputs = [output[0] if isinstance(output, tuple) else output for output in visits]
    return outputs if len(outputs) != 1 else outputs[0]


def _batches(values: Any) -> list[NDArray[Any]] | None:
    """Return the arrays of a list of batches; None for what is one array, a list of rows for example."""
    if not isinstance(values, list | tuple) or not any(hasattr(part, "shape") for part in values):
        return None
    batches = [as_array(part) for part in values]
    return None if {batch.ndim for batch in batches} == {1} else batches


def _joined(batches: list[NDArray[Any]], mask: Any) -> NDArray[np.floating[Any]]:
    """Return the rows of several batches, one after another."""
    masks = list(mask) if isinstance(mask, list | tuple) else [mask] * len(batches)
    if len(masks) != len(batches) or (len(batches) > 1 and getattr(mask, "ndim", 0) > 0):
        raise InputError(f"there are {len(batches)} batches: give a list of as many masks, or mask=True")
    matrices = [_rows(batch, one) for batch, one in zip(batches, masks)]
    widths = [matrix.shape[1] for matrix in matrices]
    for number, width in enumerate(widths):
        if width != widths[0]:
            raise InputError(f"batch {number} has {width} neurons, and batch 0 has {widths[0]}")
    return np.concatenate(matrices)


def _rows(values: NDArray[Any], mask: Any) -> NDArray[np.floating[Any]]:
    """Return the rows of one batch, without its padding."""
    if values.dtype.kind not in "fiu" or values.ndim < 2 or 0 in values.shape:
        raise InputError(
            f"the activations are {values.dtype} of shape {values.shape}; give numbers, one row a token and one column "
            "a neuron"
        )
    if values.dtype not in (np.float16, np.float32, np.float64):
        values = values.astype(np.float64)
    if mask is None and values.ndim > 2 and len(values) > 1:
        raise InputError(
            f"these are {len(values)} texts of {values.shape[1]} positions, and their padding would become rows: give "
            "neuron_values the mask=, 1 where a token is and 0 where none is, or mask=True if nothing was padded"
        )
    if mask is not None:
        tokens = _token_mask(as_array(mask), values.shape[:-1])
        values = values[tokens] if tokens.ndim else values
    return values.reshape(-1, values.shape[-1])


def _token_mask(mask: NDArray[Any], positions: tuple[int, ...]) -> NDArray[np.bool_]:
    """Return which positions are tokens, from a mask of their shape, of the first of its axes, or True."""
    if mask.shape != positions[: mask.ndim] or (mask.ndim == 0 and not mask):
        raise InputError(f"the mask has the shape {mask.shape}, and the values have the positions {positions}")
    if not np.isin(mask, (0, 1)).all():
        raise InputError("the mask has values beside 0 and 1: give 1 where a token is, and 0 where none is")
    if not mask.any():
        raise InputError("the mask leaves no token: give 1 where a token is, and 0 where none is")
    return mask.astype(bool)


def as_array(value: Any) -> NDArray[Any]:
    """The array of an array, a tensor of any device, a list of such, or a proxy that has it as its ``value``.

    Raises `InputError` where there is none, as in a list of rows of several lengths.
    """
    value = dense(getattr(value, "value", value) if not hasattr(value, "shape") else value)
    if isinstance(value, list | tuple) and any(hasattr(part, "detach") for part in value):
        value = [as_array(part) for part in value]
    try:
        if hasattr(value, "detach"):
            value = value.detach().cpu()
            value = (value.float() if str(value.dtype) == "torch.bfloat16" else value).numpy()
        return np.asarray(value)
    except (ValueError, TypeError, RuntimeError) as error:
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


def _numbers(target: str, t: ArrayLike, n_rows: int) -> NDArray[np.float64]:
    given = as_array(t)
    if given.shape != (n_rows,) or given.dtype.kind not in "biuf":
        raise InputError(f"the target {target!r} is {given.dtype} of shape {given.shape}; give {n_rows} numbers")
    if np.isinf(given).any():
        row = int(np.argmax(np.isinf(given)))
        raise InputError(f"the target {target!r} is infinite in row {row}; give finite numbers, or nan")
    return given.astype(np.float64)


def _column(what: str, values: ArrayLike, n_rows: int, dtype: type[np.generic]) -> NDArray[Any]:
    given = np.asarray(values)
    column = given.astype(dtype)
    if given.shape != (n_rows,) or not np.array_equal(column, given):
        raise InputError(f"{what} have the shape {given.shape}; give one whole number for each of the {n_rows} rows")
    return column


def _some(names: list[Any]) -> str:
    return ", ".join(map(str, names[:5])) + (", ..." if len(names) > 5 else "")
