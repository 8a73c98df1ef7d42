"""Ablations: neurons whose values are replaced while a model runs.

A neuron is an entry of the input of its MLP's down projection, and that entry is what an ablation replaces, at every
token: a hook before the projection hands it a copy. Nothing else in the model is changed, so what the ablation of some
neurons does to an output is all that they do to it.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from itertools import pairwise
from operator import index
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, Literal, get_args

import numpy as np
from numpy.typing import ArrayLike, NDArray

from optprobe.activations.model.loading import language_model, pad_token
from optprobe.activations.model.neurons import NeuronLayer, NeuronMap, neuron_map
from optprobe.activations.model.wrappers import unwrapped
from optprobe.activations.store.activations import Activations
from optprobe.activations.store.matrix import NeuronMatrix
from optprobe.errors import InputError

if TYPE_CHECKING:
    import torch
    from torch import nn

Kind = Literal["zero", "mean", "resample", "scale"]
Floats = NDArray[np.float32]
Words = NDArray[np.uint64]
Hook = Callable[..., "tuple[Any, ...]"]


@dataclass(frozen=True, eq=False)
class Reference:
    """
    Named rows of neuron values, from which an ablation takes what it puts in place of a neuron's own.

    Parameters
    ----------
    name : str
        What the rows are, such as "tokens of other languages": records have it.
    values : Activations, or mapping of int to array_like, shape (n_rows, n_neurons)
        A store, or for each layer the values of all its neurons; shape (n_neurons,) is one row, such as a mean.
    rows : array_like, optional
        Which rows, by number or by a mask; by default all.

    Raises
    ------
    InputError
        If there is no name, no row, or the store holds something else than neurons.
    """

    name: str
    values: Activations | Mapping[int, Any]
    rows: ArrayLike | None = None

    def __post_init__(self) -> None:
        """Validate, and hold every layer as a `NeuronMatrix`."""
        if not self.name:
            raise InputError("a reference has a name, which records state: say what its rows are")
        given: Any = self.values
        if isinstance(given, Activations):
            if given.manifest.get("hook") != "mlp.post":
                raise InputError(f"the values of a reference are neurons (mlp.post), not {given.manifest.get('hook')}")
            given = given.matrices
        matrices = {layer: _matrix(values, layer) for layer, values in given.items()}
        object.__setattr__(self, "values", MappingProxyType(matrices))
        if self.rows is not None:
            rows = np.asarray(self.rows)
            if rows.ndim != 1 or (rows.size and rows.dtype.kind not in "biu"):
                raise InputError(f"the rows of the reference {self.name!r} are neither numbers of rows nor a mask")
            if rows.dtype == bool and {len(rows)} != {one.shape[0] for one in matrices.values()}:
                raise InputError(f"the mask of the reference {self.name!r} has {len(rows)} entries, and not one a row")
            object.__setattr__(self, "rows", np.flatnonzero(rows) if rows.dtype == bool else rows.astype(np.int64))

    def columns(self, layer: int, neurons: Sequence[int]) -> Floats:
        """
        Return the values of some neurons, shape (n_rows, len(neurons)).

        Raises
        ------
        InputError
            If the layer, a neuron or a row is not there, there are no rows, or a value is not finite.
        """
        matrices: Mapping[int, NeuronMatrix] = self.values  # type: ignore[assignment]
        if layer not in matrices:
            raise InputError(f"the reference {self.name!r} has no values of layer {layer}: it has {_listed(matrices)}")
        n_rows, width = matrices[layer].shape
        if max(neurons) >= width:
            raise InputError(f"the reference {self.name!r} has no neuron {max(neurons)} in layer {layer}, only {width}")
        values = matrices[layer].columns(neurons)
        if self.rows is not None:
            rows: NDArray[np.int64] = self.rows  # type: ignore[assignment]
            if len(rows) and not (rows.min() >= 0 and rows.max() < n_rows):
                raise InputError(f"the reference {self.name!r} names a row that is not there: there are {n_rows}")
            values = values[rows]
        if len(values) == 0:
            raise InputError(f"the reference {self.name!r} has no row in layer {layer}: give at least one")
        if not np.isfinite(values).all():
            row, at = np.argwhere(~np.isfinite(values))[0]
            raise InputError(
                f"the reference {self.name!r} has the value {values[row, at]} for neuron {neurons[at]} of layer {layer}"
            )
        return values


@dataclass(frozen=True, eq=False)
class Ablation:
    """
    What is done to which neurons: a description, which knows no model and can be put in a record.

    Parameters
    ----------
    neurons : mapping of int to sequence of int
        For layers of a `neuron_map`, numbers of neurons in them.
    how : {"zero", "mean", "resample", "scale"}
        A neuron's value at a token becomes 0; its mean over the rows of the reference; its value in a row of the
        reference, drawn for that token; or itself times the factor. All neurons take theirs from the same drawn row.
        What is drawn for a token is a function of the seed and of the text up to it, whatever the batch.
    reference : Reference, optional
        For "mean" and "resample", where it is needed.
    factor : float, optional
        For "scale", where it is needed: finite, and not 1.
    seed : int, default=0
        For "resample".

    Attributes
    ----------
    values : mapping of int to ndarray of float32, shape (n_rows, n_neurons of the layer)
        The reference's values of the layer's neurons, and their mean in one row for "mean".
    n_rows : int
        Rows of the reference; 0 where there is none.

    Raises
    ------
    InputError
        If there are no neurons, one is named twice, an argument is missing or has no effect, a factor is not finite.
    """

    neurons: Mapping[int, Sequence[int]]
    how: Kind = "zero"
    reference: Reference | None = None
    factor: float | None = None
    seed: int | None = None
    values: Mapping[int, Floats] = field(init=False)
    n_rows: int = field(init=False, default=0)

    def __post_init__(self) -> None:
        """Validate, sort the neurons, and take their values from the reference."""
        if self.how not in get_args(Kind):
            raise InputError(f"an ablation is one of {', '.join(get_args(Kind))}, not {self.how!r}")
        neurons = {index(layer): _distinct(index(layer), self.neurons[layer]) for layer in sorted(self.neurons)}
        if not neurons:
            raise InputError("an ablation without neurons changes nothing: name at least one, such as {3: [415]}")
        object.__setattr__(self, "neurons", MappingProxyType(neurons))
        self._check_arguments()
        taken = {} if self.reference is None else {n: self.reference.columns(n, js) for n, js in neurons.items()}
        sizes = {len(rows) for rows in taken.values()}
        if len(sizes) > 1:
            raise InputError("the layers of a reference have different numbers of rows: give the same rows of each")
        object.__setattr__(self, "n_rows", max(sizes, default=0))
        if self.how == "mean":
            taken = {n: rows.mean(axis=0, dtype=np.float64, keepdims=True).astype("f4") for n, rows in taken.items()}
        object.__setattr__(self, "values", MappingProxyType(taken))

    def _check_arguments(self) -> None:
        needs = {"reference": self.how in ("mean", "resample"), "factor": self.how == "scale"}
        for name, needed in needs.items():
            if needed is (getattr(self, name) is None):
                what = f"needs a {name}" if needed else f"takes no {name}, which would have no effect"
                raise InputError(f"the ablation {self.how!r} {what}")
        if self.factor is not None and not (math.isfinite(self.factor) and self.factor != 1):
            raise InputError(f"the factor is {self.factor}: give a finite number other than 1, which changes nothing")
        if self.how != "resample" and self.seed is not None:
            raise InputError(f"the ablation {self.how!r} takes no seed, which would have no effect")
        if self.how == "resample":
            object.__setattr__(self, "seed", 0 if self.seed is None else int(self.seed))
            if not 0 <= self.seed < 2**64:  # type: ignore[operator]
                raise InputError(f"the seed is {self.seed}: give a number from 0 below 2^64")

    def record(self) -> dict[str, Any]:
        """Return the description in JSON values, and its sha256 as `digest`; of the reference name, rows and sha256."""
        stated: dict[str, Any] = {"how": self.how, "neurons": {str(n): list(js) for n, js in self.neurons.items()}}
        if self.reference is not None:
            sha = hashlib.sha256()
            for layer, values in self.values.items():
                sha.update(f"{layer} {values.shape}\n".encode())
                sha.update(np.ascontiguousarray(values, dtype="<f4").data)
            stated["reference"] = {"name": self.reference.name, "rows": self.n_rows, "sha256": sha.hexdigest()}
        stated |= {} if self.factor is None else {"factor": float(self.factor)}
        stated |= {} if self.seed is None else {"seed": self.seed}
        return stated | {"digest": hashlib.sha256(json.dumps(stated, sort_keys=True).encode()).hexdigest()}

    def __eq__(self, other: object) -> bool:
        """Whether another describes the same."""
        return isinstance(other, Ablation) and self.record() == other.record()

    def __hash__(self) -> int:
        """Of what equal ones share."""
        return hash(self.record()["digest"])

    def __str__(self) -> str:
        """In a word and the neurons, such as ``zero 3:12,415``."""
        return f"{self.how} " + " ".join(f"{n}:{','.join(map(str, js))}" for n, js in self.neurons.items())


@contextmanager
def ablate(
    model: Any,
    neurons: Ablation | Mapping[int, Sequence[int]],
    how: Kind | None = None,
    *,
    reference: Reference | None = None,
    factor: float | None = None,
    seed: int | None = None,
) -> Iterator[Ablation]:
    """
    Replace the values of neurons while a model runs inside a ``with``.

    Ablations inside each other add up: the inner one sees what the outer one left. Whatever ends the ``with``, the
    model is as it was.

    Parameters
    ----------
    model : torch.nn.Module
        Any model that `neuron_map` understands, by itself or wrapped.
    neurons : mapping of int to sequence of int, or Ablation
        Numbers of neurons by layer, such as ``{3: [415, 12], 5: [7]}``; or the whole description.
    how : {"zero", "mean", "resample", "scale"}, default="zero"
    reference, factor, seed
        As in `Ablation`. To know the text up to a token, "resample" looks at the ids that the embedding of tokens is
        given, without the padding tokens before the first other one; a text is what one call of the model reads.

    Yields
    ------
    Ablation
        The description.

    Raises
    ------
    InputError
        If a layer or neuron is not there, the model is compiled, and as `Ablation` does.
    """
    if isinstance(neurons, Ablation):
        if (how, reference, factor, seed) != (None, None, None, None):
            raise InputError("an Ablation says how already: leave how, reference, factor and seed out")
        ablation = neurons
    else:
        ablation = Ablation(neurons, "zero" if how is None else how, reference, factor, seed)
    inner = unwrapped(model)
    if any(_is_compiled(module) for module in (model, *inner.modules())):
        raise InputError(
            f"{type(inner).__name__} is compiled, and compiled code passes by what ablates: give it as it was"
        )
    with ablated(inner, ablation, neuron_map(inner)):
        yield ablation


@contextmanager
def ablated(model: nn.Module, ablation: Ablation, neurons: NeuronMap) -> Iterator[None]:
    """Have an ablation act on an unwrapped model whose neuron map is at hand; raises `InputError` as `ablate` does."""
    places = {layer: _place(neurons, layer, js) for layer, js in ablation.neurons.items()}
    with ExitStack() as hooks:
        draws: dict[str, Words] = {}
        if ablation.how == "resample":  # a call that is given no ids is not told apart by those of the call before
            forget = model.register_forward_hook(lambda *_: draws.clear(), always_call=True)
            hooks.callback(forget.remove)
        for stack in {place.stack for place in places.values()} if ablation.how == "resample" else ():
            embedding = _embedding(model, stack)
            see = _seeing(draws, stack, pad_token(model), ablation.seed or 0)
            hooks.callback(embedding.register_forward_pre_hook(see).remove)
        for layer, place in places.items():
            hook = _replacing(ablation, layer, place, draws)
            hooks.callback(model.get_submodule(place.projection).register_forward_pre_hook(hook).remove)
        yield


def check_there(ablation: Ablation, neurons: NeuronMap) -> None:
    """Raise `InputError` if a model's map lacks a layer or neuron of an ablation."""
    for layer, js in ablation.neurons.items():
        _place(neurons, layer, js)


def _place(neurons: NeuronMap, layer: int, js: Sequence[int]) -> NeuronLayer:
    if not 0 <= layer < len(neurons.layers):
        raise InputError(f"the model has no layer {layer}: its layers are 0 to {len(neurons.layers) - 1}")
    place = neurons.layers[layer]
    if max(js) >= place.d_mlp:
        raise InputError(f"there is no neuron {max(js)} in layer {layer}: it has {place.d_mlp}, counted from 0")
    return place


def _replacing(ablation: Ablation, layer: int, place: NeuronLayer, draws: Mapping[str, Words]) -> Hook:
    """The hook that gives a projection a copy of its input in which the neurons of a layer are replaced."""
    import torch

    columns = torch.tensor(ablation.neurons[layer])
    values = torch.from_numpy(np.ascontiguousarray(ablation.values[layer])) if ablation.values else None

    def replace(_: nn.Module, given: tuple[Any, ...]) -> tuple[Any, ...]:
        nonlocal columns, values
        own: torch.Tensor = given[0]
        columns = columns.to(own.device)
        changed = own.clone()
        if ablation.factor is not None:
            changed[..., columns] = own[..., columns] * ablation.factor
        elif values is None:
            changed[..., columns] = 0.0
        else:
            values = values.to(own.device, own.dtype)
            rows = values[0] if ablation.how == "mean" else values[_drawn(draws, place, own, len(values))]
            changed[..., columns] = rows
        return (changed, *given[1:])

    return replace


def _drawn(draws: Mapping[str, Words], place: NeuronLayer, own: torch.Tensor, n_rows: int) -> torch.Tensor:
    """The drawn row of each token, in the shape of the tokens as a projection is given them."""
    import torch

    seen, outer = draws.get(place.stack), own.shape[:-1]
    if seen is None or outer not in (seen.shape, (seen.size,)):
        raise InputError(
            f"{place.projection} is given {tuple(outer)} tokens, and no ids of as many tokens went before: its tokens "
            "cannot be told apart, so no value can be drawn for each"
        )
    return torch.from_numpy((seen % np.uint64(n_rows)).astype(np.int64)).reshape(outer).to(own.device)


def _seeing(draws: dict[str, Words], stack: str, pad: int, seed: int) -> Callable[..., None]:
    """The hook that makes a number of every token which the embedding is given."""

    def see(_: nn.Module, given: tuple[Any, ...]) -> None:
        draws[stack] = draws_of(given[0].detach().cpu().numpy(), pad, seed)

    return see


def draws_of(ids: NDArray[np.int64], pad: int, seed: int) -> Words:
    """
    Return a number of 64 bits for every token, from the seed and the ids of its text up to it.

    Parameters
    ----------
    ids : ndarray of int64, shape (n_texts, n_tokens)
        Padded on either side.
    pad : int
        The id that pads: those before the first other token are no part of the text.
    seed : int
        Of the draw.

    Returns
    -------
    ndarray of uint64, shape (n_texts, n_tokens)
        The sum of one hash for each (id, place) so far, hashed with the seed.
    """
    begins = (ids != pad).argmax(axis=1)
    places = np.arange(ids.shape[1]) - begins[:, None]
    pairs = np.where(places < 0, 0, _mixed((ids.astype(np.uint64) << np.uint64(32)) + places.astype(np.uint64)))
    return _mixed(np.cumsum(pairs, axis=1, dtype=np.uint64) ^ _mixed(np.full(1, seed, dtype=np.uint64)))


def _mixed(words: Words) -> Words:
    """The finaliser of SplitMix64 (Steele, Lea and Flood 2014) of each number, one step of its counter on."""
    z = words + np.uint64(0x9E3779B97F4A7C15)
    z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
    z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
    return z ^ (z >> np.uint64(31))


def _embedding(model: nn.Module, stack: str) -> nn.Module:
    """The module that a stack of blocks gives its token ids to."""
    _, part = language_model(model)
    of: Any = {"encoder": "get_encoder", "decoder": "get_decoder"}.get(stack)
    reader: Any = part if of is None else getattr(part, of)()
    embedding: nn.Module = reader.get_input_embeddings()
    return embedding


def _is_compiled(module: Any) -> bool:
    return hasattr(module, "_orig_mod") or getattr(module, "_compiled_call_impl", None) is not None


def _matrix(values: Any, layer: int) -> NeuronMatrix:
    if isinstance(values, NeuronMatrix):
        return values
    array = np.atleast_2d(np.asarray(values))
    if array.ndim != 2 or array.dtype.kind not in "fiu":
        raise InputError(
            f"the values of layer {layer} are {array.dtype} of shape {array.shape}: give numbers, a row each"
        )
    return NeuronMatrix.of(array)


def _distinct(layer: int, neurons: Sequence[int]) -> tuple[int, ...]:
    found = tuple(sorted(map(index, neurons)))
    if not found or layer < 0 or found[0] < 0:
        what = f"neuron {found[0]} of layer {layer}" if found else f"no neuron of layer {layer}"
        raise InputError(f"an ablation names {what}: give numbers from 0, at least one of each layer")
    twice = [a for a, b in pairwise(found) if a == b]
    if twice:
        raise InputError(f"an ablation names neuron {twice[0]} of layer {layer} twice: name it once")
    return found


def _listed(layers: Mapping[int, object]) -> str:
    return ", ".join(map(str, layers)) or "none"
