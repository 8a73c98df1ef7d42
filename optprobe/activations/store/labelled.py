"""A labelled activation matrix from a file: an `.npz` of arrays, or one feature and layer of a store of activations."""

from __future__ import annotations

import io
import json
import zipfile
import zlib
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property
from itertools import pairwise
from os import cpu_count
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
from numpy.typing import NDArray

from formulations import Origin
from formulations.columns import columns_of, layer_of, layers_of, stated_layers
from formulations.shown import Shown, Table, facts
from formulations.validation import dense
from optprobe.activations.store.activations import Activations
from optprobe.activations.store.manifest import hook_of
from optprobe.errors import InputError
from optprobe.features.splits import grouped_split
from optprobe.files import write_file

TEST_SHARE, SEED = 0.3, 0
"""The split of a store where nothing else is said."""
MOST_RUNS = 64
"""Entries that a certificate's scope has room for."""
_ARRAYS = ("X_train", "y_train", "sample_weight", "group_train", "X_test", "y_test", "group_test")
_WORDS = ("feature", "target", "layer", "layers", "basis")
"""Entries of a file that say what its arrays are."""
_FIELDS = {"sample_weight": "w_train"}
"""Arrays of a file whose attributes have another name."""


@dataclass(frozen=True, eq=False, repr=False)
class LabelledActivations(Shown):
    """
    The rows of one feature or target at one layer, or several, for training and, where given, for testing.

    Parameters
    ----------
    X_train : ndarray of float, shape (n_rows, n_neurons)
        Neuron values, in the type in which they are stored; of several layers side by side, the lowest first. A sparse
        matrix of scipy becomes its array.
    y_train : ndarray of float64, shape (n_rows,)
        Labels, -1 or +1; of a target its values.
    w_train : ndarray of float64, shape (n_rows,), or None
        Positive weights of the rows.
    group_train : ndarray of int64, shape (n_rows,), or None
        Document of each row.
    X_test, y_test, group_test : ndarray or None
        The same for the rows of the test part.
    scope : mapping
        Where the rows come from: file, or model, revision, layer, hook, feature, dataset, digest and split; in place of
        layer the widths of several ``layers`` (`formulations.columns.stated_layers`); and the basis of columns that are
        no neurons (`optprobe.activations.bases`).
    of_target : bool
        Whether what is called feature is a target: y holds real numbers to be predicted, in place of labels.
    """

    X_train: NDArray[np.floating[Any]]
    y_train: NDArray[np.float64]
    w_train: NDArray[np.float64] | None
    group_train: NDArray[np.int64] | None
    X_test: NDArray[np.floating[Any]] | None
    y_test: NDArray[np.float64] | None
    group_test: NDArray[np.int64] | None
    scope: Mapping[str, Any]
    of_target: bool = False

    def __post_init__(self) -> None:
        """Make arrays of sparse matrices."""
        for name in ("X_train", "X_test"):
            object.__setattr__(self, name, dense(getattr(self, name)))

    @cached_property
    def leakage(self) -> tuple[str, ...]:
        """What the test part has in common with the training part, a sentence each; nothing where all is well."""
        if self.X_test is None:
            return ()
        from optprobe.features.leakage import equal_activations

        found = []
        if self.group_train is not None and self.group_test is not None:
            documents = np.unique(self.group_test)
            shared = np.count_nonzero(np.isin(documents, self.group_train))
            if shared:
                found.append(f"{shared:,} of {len(documents):,} test groups are groups of training rows too")
        both = np.result_type(self.X_train, self.X_test)
        equal = equal_activations(self.X_train.astype(both, copy=False), self.X_test.astype(both, copy=False))
        return (*found, str(equal)) if equal.rows else tuple(found)

    @cached_property
    def origin(self) -> Origin:
        """What a problem about the training rows keeps of the rest."""
        return Origin(self.scope, self.X_test, self.y_test, self.leakage, self.group_test)

    def save(self, path: str | Path) -> Path:
        """Write an `.npz` that `load_labelled` reads and the checker takes as data. Returns the path.

        Raises `InputError` where the file cannot be written.
        """
        arrays = {name: getattr(self, _FIELDS.get(name, name)) for name in _ARRAYS}
        arrays |= (
            {"target": self.scope.get("feature", "")} if self.of_target else {"feature": self.scope.get("feature")}
        )
        arrays["layer"] = self.scope.get("layer")
        for name in ("layers", "basis"):
            arrays[name] = json.dumps(dict(self.scope[name])) if name in self.scope else None
        content = io.BytesIO()
        np.savez(content, allow_pickle=False, **{name: array for name, array in arrays.items() if array is not None})
        return write_file(Path(path), content.getbuffer())

    def _line(self) -> str:
        test = "no test rows" if self.y_test is None else f"{len(self.y_test):,} test rows"
        said = "with targets" if self.of_target else f"({np.mean(self.y_train > 0):.0%} positive)"
        return (
            f"LabelledActivations: {len(self.y_train):,} training rows {said} of "
            f"{self.X_train.shape[1]:,} {columns_of(self.scope, self.X_train.shape[1]).all}, {test}"
        )

    def _table(self) -> Table:
        return facts({**self.scope, "leakage": "; ".join(self.leakage) or None})


def load_labelled(
    source: str | Path | Activations,
    feature: str | None = None,
    layer: int | None = None,
    test_share: float | None = None,
    seed: int | None = None,
    *,
    layers: Iterable[int] | str | None = None,
) -> LabelledActivations:
    """
    Read a labelled activation matrix.

    Parameters
    ----------
    source : str, Path or Activations
        An `.npz` with the arrays X_train and y_train and, where wanted, X_test, y_test, group_train, group_test,
        sample_weight, feature and layer or layers; or a store of activations, open or by its folder. An `.npz` that
        names a target in place of its feature has real numbers as y_train and y_test.
    feature : str, optional
        Feature, or target, of the rows. A store of several needs it; an `.npz` that names its own must agree.
    layer : int, optional
        Layer of the neurons, likewise.
    test_share : float, optional
        For a store: share of the rows in the test part of `grouped_split` (default 0.3). An `.npz` has its parts.
    seed : int, optional
        For a store: seed of that split (default 0).
    layers : iterable of int, or "all", optional
        In place of layer: several of a store, whose neurons are put side by side, the lowest layer first. One layer is
        as ``layer``. An `.npz` that names its own must agree.

    Returns
    -------
    LabelledActivations
        The smaller of the two label values is -1, the larger +1; values of targets stay as they are.

    Raises
    ------
    InputError
        If the file cannot be used: the sentence names file, array, row and column.
    StoreDamaged
        If a file of the folder is missing, truncated or altered.
    """
    if isinstance(source, Activations) or Path(source).is_dir():
        store = source if isinstance(source, Activations) else Activations.open(source)
        share = TEST_SHARE if test_share is None else test_share
        return _from_store(store, feature, _chosen(store, layer, layers), share, SEED if seed is None else seed)
    if test_share is not None or seed is not None:
        raise InputError(f"{source} is no store, and is not split: leave test_share and seed out")
    return _from_npz(Path(source), feature, layer, layers)


def _chosen(store: Activations, layer: int | None, layers: Iterable[int] | str | None) -> tuple[int, ...]:
    """Return the layers of a store that are asked for, ascending."""
    if layer is not None and layers is not None:
        raise InputError("layer names one layer and layers several side by side: give one of the two")
    if layers is None and layer is None and len(store.layers) > 1:
        there = ", ".join(map(str, store.layers))
        raise InputError(
            f"{store.folder or 'this store'} holds several layers; give one of {there}, or several as layers"
        )
    if layers is None:
        chosen = store.layers[:1] if layer is None else (layer,)
    else:
        chosen = store.layers if isinstance(layers, str) and layers == "all" else _numbers_of_layers(layers)
    store.check_layers(chosen)
    return chosen


def _from_store(
    store: Activations, feature: str | None, layers: tuple[int, ...], test_share: float, seed: int
) -> LabelledActivations:
    """Read one feature of a store at some layers, and split its rows by document."""
    where = store.folder or "this store"
    names = (*store.features, *store.targets)
    if feature is None and len(names) > 1:
        raise InputError(f"{where} holds several features; give one of {', '.join(names)}")
    feature = names[0] if feature is None else feature
    rows, labels = store.rows_of(feature)
    y, groups = labels.astype(np.float64), store.group[rows].astype(np.int64)
    of_target = feature in store.targets
    place = _place(store, layers)
    test = grouped_split(groups, None if of_target else y, test_share, seed)
    train = ~test
    X_train, X_test = _side_by_side(store, layers, (rows[train], rows[test]))
    dataset = store.manifest["dataset"]
    scope = {
        "model": store.manifest["model"],
        "revision": store.manifest.get("revision"),
        **place,
        "feature": feature,
        "dataset": dataset.get("name"),
        "dataset_digest": dataset.get("digest"),
        "split": {"seed": seed, "test_share": test_share},
    }
    return LabelledActivations(
        X_train=X_train,
        y_train=y[train],
        w_train=None,
        group_train=groups[train],
        X_test=X_test,
        y_test=y[test],
        group_test=groups[test],
        scope=MappingProxyType(scope),
        of_target=of_target,
    )


def _place(store: Activations, layers: tuple[int, ...]) -> dict[str, Any]:
    """Return what a scope says of layers and hook point."""
    hook = hook_of(store.manifest, layers[0])
    if len(layers) == 1:
        return {"layer": layers[0], **hook}
    if "heads" in hook:
        raise InputError(
            f"{store.folder or 'this store'} is of attention heads, which are named by their layer: give one"
        )
    stated = stated_layers(tuple((layer, store.matrices[layer].shape[1]) for layer in layers))
    if len(stated) > MOST_RUNS:
        raise InputError(
            f"these layers are {len(stated)} runs of neighbours of one width, and a certificate names at most "
            f"{MOST_RUNS}: give layers that follow each other"
        )
    return {"layers": stated, **hook}


def _side_by_side(
    store: Activations, layers: tuple[int, ...], parts: Sequence[NDArray[np.int64]]
) -> list[NDArray[np.float32]]:
    """Return some parts of the rows of layers, each neuron contiguous as it is stored, after a check of the files."""
    widths = [store.matrices[layer].shape[1] for layer in layers]
    starts = np.cumsum([0, *widths])
    wholes = [np.empty((starts[-1], len(rows)), dtype=np.float32).T for rows in parts]

    def read(place: int) -> None:
        store.check(layers[place : place + 1])
        for rows, whole in zip(parts, wholes):
            store.matrices[layers[place]].rows(rows, whole[:, starts[place] : starts[place + 1]])

    with ThreadPoolExecutor(min(len(layers), cpu_count() or 1)) as pool:
        list(pool.map(read, range(len(layers))))
    return wholes


def _from_npz(
    path: Path, feature: str | None, layer: int | None, layers: Iterable[int] | str | None
) -> LabelledActivations:
    """Read and validate the arrays of an `.npz`."""
    arrays = _read_npz(path)
    for name in ("X_train", "y_train"):
        if name not in arrays:
            raise InputError(f"{path} has no array {name!r}; it has {', '.join(arrays) or 'none'}")
    if ("X_test" in arrays) != ("y_test" in arrays):
        alone = "X_test" if "X_test" in arrays else "y_test"
        raise InputError(f"{path} has {alone!r} alone; give X_test and y_test together, or neither")
    train = _matrix(path, "X_train", arrays["X_train"])
    of_target = "target" in arrays
    y_train, values = (_targets if of_target else _labels)(path, "y_train", arrays["y_train"], len(train))
    test = y_test = None
    if "X_test" in arrays:
        test = _matrix(path, "X_test", arrays["X_test"])
        if test.shape[1] != train.shape[1]:
            raise InputError(f"{path}: X_test has {test.shape[1]} columns and X_train has {train.shape[1]}")
        y_test, _ = (_targets if of_target else _labels)(path, "y_test", arrays["y_test"], len(test), values)
    weight = _vector(path, "sample_weight", arrays, len(train), np.float64)
    if weight is not None and not np.all(weight > 0):
        row = int(np.argmin(weight > 0))
        raise InputError(f"{path}: sample_weight is {weight[row]} in row {row}; weights are positive")
    return LabelledActivations(
        X_train=train,
        y_train=y_train,
        w_train=weight,
        group_train=_vector(path, "group_train", arrays, len(train), np.int64),
        X_test=test,
        y_test=y_test,
        group_test=None if test is None else _vector(path, "group_test", arrays, len(test), np.int64),
        scope=MappingProxyType(_npz_scope(path, arrays, feature, layer, layers)),
        of_target=of_target,
    )


def _read_npz(path: Path) -> dict[str, NDArray[Any]]:
    """Return the arrays of an `.npz` that this module knows, and its entries that say what they are."""
    if not path.exists():
        raise InputError(f"there is no file {path}")
    if not zipfile.is_zipfile(path):
        raise InputError(f"{path} is not an .npz file, or it is truncated; write it with numpy.savez")
    arrays: dict[str, NDArray[Any]] = {}
    name = "its directory"
    try:
        with np.load(path, allow_pickle=False) as file:
            known = [name for name in file.files if name in (*_ARRAYS, *_WORDS)]
            if not known:
                raise InputError(f"{path} has no array 'X_train'; it has {', '.join(file.files) or 'none'}")
            for name in known:
                arrays[name] = file[name]
    except InputError:
        raise
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error) as error:
        if "allow_pickle" in str(error):
            raise InputError(f"{path}: {name!r} holds Python objects; store an array of numbers") from error
        raise InputError(f"{path}: {name!r} cannot be read ({error}); write the file again") from error
    return arrays


def _numbers(path: Path, name: str, array: NDArray[Any], n_axes: int) -> NDArray[Any]:
    """Return an array after checking that it holds finite real numbers on `n_axes` axes."""
    if array.dtype.kind not in "biuf":
        kind = "text" if array.dtype.kind in "US" else str(array.dtype)
        raise InputError(f"{path}: {name!r} holds {kind}; store numbers")
    if array.ndim != n_axes or array.size == 0:
        wanted = "rows and columns" if n_axes == 2 else "one entry a row"
        raise InputError(f"{path}: {name!r} has the shape {array.shape}; it needs {wanted}, at least one")
    _check_finite(path, name, array)
    return array


def _matrix(path: Path, name: str, array: NDArray[Any]) -> NDArray[np.floating[Any]]:
    """Return a matrix of real numbers, whole numbers as float64."""
    numbers = _numbers(path, name, array, 2)
    return numbers if numbers.dtype.kind == "f" else numbers.astype(np.float64)


def _labels(
    path: Path, name: str, array: NDArray[Any], n_rows: int, values: NDArray[Any] | None = None
) -> tuple[NDArray[np.float64], NDArray[Any]]:
    """Return labels as -1 and +1, and the two values they had; `values` are those of the training rows, if known."""
    numbers = _numbers(path, name, array, 1)
    _check_length(path, name, numbers, n_rows)
    found = np.unique(numbers)
    if values is None:
        values = found
        if len(values) != 2:
            shown = ", ".join(map(str, found[:5].tolist())) + (", ..." if len(found) > 5 else "")
            number = "one class" if len(found) == 1 else f"{len(found)} values"
            raise InputError(f"{path}: {name!r} has {number} ({shown}); a feature needs exactly two")
    unknown = found[~np.isin(found, values)]
    if len(unknown):
        row = int(np.argmax(numbers == unknown[0]))
        raise InputError(f"{path}: {name!r} has the label {unknown[0]} in row {row}; y_train has {values.tolist()}")
    return np.where(numbers == values[1], 1.0, -1.0), values


def _targets(
    path: Path, name: str, array: NDArray[Any], n_rows: int, values: NDArray[Any] | None = None
) -> tuple[NDArray[np.float64], NDArray[Any] | None]:
    """Return the values of a target as float64; they have none that test rows must keep to."""
    numbers = _numbers(path, name, array, 1)
    _check_length(path, name, numbers, n_rows)
    return numbers.astype(np.float64), values


def _vector(
    path: Path, name: str, arrays: Mapping[str, NDArray[Any]], n_rows: int, dtype: type[np.generic]
) -> NDArray[Any] | None:
    """Return an optional array of one entry a row as `dtype`."""
    if name not in arrays:
        return None
    numbers = _numbers(path, name, arrays[name], 1)
    _check_length(path, name, numbers, n_rows)
    converted = numbers.astype(dtype)
    if not np.array_equal(converted, numbers):
        row = int(np.argmax(converted != numbers))
        raise InputError(f"{path}: {name!r} is {numbers[row]} in row {row}; groups are whole numbers")
    return converted


def _check_length(path: Path, name: str, array: NDArray[Any], n_rows: int) -> None:
    if len(array) != n_rows:
        other = "X_test" if name.endswith("test") else "X_train"
        raise InputError(f"{path}: {name!r} has {len(array)} rows and {other} has {n_rows}")


def _check_finite(path: Path, name: str, array: NDArray[Any]) -> None:
    if not np.isfinite(array).all():
        place = np.argwhere(~np.isfinite(array))[0]
        column = f", column {place[1]}" if len(place) > 1 else ""
        raise InputError(f"{path}: {name!r} is {array[tuple(place)]} in row {place[0]}{column}; store finite numbers")


def _npz_scope(
    path: Path,
    arrays: Mapping[str, NDArray[Any]],
    feature: str | None,
    layer: int | None,
    layers: Iterable[int] | str | None,
) -> dict[str, Any]:
    """Return the file's name, and feature and layer where the file or the caller names them; they must agree."""
    scope: dict[str, Any] = {"file": path.name}
    if {"feature", "target"} <= set(arrays):
        raise InputError(f"{path} names a feature and a target, and y_train is of one of them; leave one name out")
    for name, asked, kinds in (("feature", feature, "US"), ("layer", layer, "iu")):
        own = arrays.get("target") if name == "feature" and "target" in arrays else arrays.get(name)
        if own is not None and (own.shape != () or own.dtype.kind not in kinds):
            kind = "a single string" if name == "feature" else "a single whole number"
            raise InputError(f"{path}: {name!r} must be {kind}, and is {own.dtype} of shape {own.shape}")
        stored = None if own is None else (int(own) if name == "layer" else str(own))
        if asked is not None and stored is not None and asked != stored:
            raise InputError(
                f"{path} holds the {name} {stored!r}, not {asked!r}; leave {name} out, or give another file"
            )
        if (value := stored if stored is not None else asked) is not None:
            scope[name] = value
    scope |= {name: _object(path, name, arrays[name]) for name in ("layers", "basis") if name in arrays}
    _check_layers(path, scope, arrays["X_train"].shape[1], layers)
    return scope


def _check_layers(path: Path, scope: Mapping[str, Any], n_columns: int, asked: Iterable[int] | str | None) -> None:
    """Raise `InputError` where a file names layers that its columns are not of, or others than are asked for."""
    own = layers_of(scope)
    if "layers" in scope:
        if "layer" in scope:
            raise InputError(f"{path} is of several layers, and of the layer {scope['layer']} too; leave layer out")
        of = scope.get("basis", {}).get("of", n_columns)
        if not own or sum(width for _, width in own) != of:
            raise InputError(f"{path}: 'layers' are no widths of several layers with {of} neurons together")
    if asked is None or (own and isinstance(asked, str) and asked == "all"):
        return
    if not own or _numbers_of_layers(asked) != tuple(layer for layer, _ in own):
        held = f"layers {layer_of(scope)}" if own else "no several layers by their widths"
        raise InputError(f"{path} names {held}, and is not chosen from; leave layers out, or give a store")


def _numbers_of_layers(layers: Iterable[int] | str) -> tuple[int, ...]:
    """Return numbers of layers, ascending, after a check."""
    given = [] if isinstance(layers, str) else list(layers)
    if not given or not all(isinstance(layer, int | np.integer) and not isinstance(layer, bool) for layer in given):
        raise InputError(f"layers are {layers!r}: give the numbers of some, such as range(30) or [0, 3], or 'all'")
    chosen = tuple(sorted(map(int, given)))
    for one, other in pairwise(chosen):
        if one == other:
            raise InputError(f"layers names the layer {one} twice: name it once")
    return chosen


def _object(path: Path, name: str, entry: NDArray[Any]) -> dict[str, Any]:
    """Return what a file says of its layers or basis."""
    try:
        stated = json.loads(str(entry))
    except (ValueError, RecursionError):
        stated = None
    if entry.shape != () or not isinstance(stated, dict):
        raise InputError(f"{path}: {name!r} is no JSON object in one string, as LabelledActivations.save writes it")
    return stated
