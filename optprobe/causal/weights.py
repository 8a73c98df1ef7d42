"""The weights of a layer's neurons: what each reads from the residual stream, and what it writes into it.

A neuron of a plain MLP is ``act(w_in . x + b)`` times its output vector; one of a gated MLP has two input vectors, that
of the gate and that of what is gated, and no bias but those of its two projections. The model's norms stand between
these vectors and the residual stream: that of the block is not folded in, that before the unembedding is where tokens
are named.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from formulations.shown import Shown, Table
from optprobe.activations.model.loading import device_of, inference, language_model
from optprobe.activations.model.neurons import NeuronLayer, NeuronMap, linear_modules, neuron_map
from optprobe.errors import InputError

if TYPE_CHECKING:
    import torch
    from torch import nn

Floats = NDArray[np.float32]


class InputWeights(NamedTuple):
    """Input vectors of neurons, (n_neurons, d_model), their biases (None: there are none), and the module's name."""

    module: str
    vectors: Floats
    bias: Floats | None


@dataclass(frozen=True, eq=False, repr=False)
class NeuronWeights(Shown):
    """
    The weights of the neurons of a layer.

    Attributes
    ----------
    layer : NeuronLayer
    inputs : tuple of InputWeights
        One of a plain MLP, two of a gated one, in the order in which its block has them; of a fused projection its two
        halves.
    output : ndarray, shape (n_neurons, d_model)
    unembedding : ndarray, shape (n_tokens, d_model), or None
        What turns the residual stream into logits, the final norm's gain included; None for a model without a head, or
        whose logits are not a final norm's output times a matrix.
    norm : str or None
        The name of the final norm whose gain that is.
    """

    layer: NeuronLayer
    inputs: tuple[InputWeights, ...]
    output: Floats
    unembedding: Floats | None
    norm: str | None

    @property
    def input_norms(self) -> Floats:
        """Lengths of the input vectors, shape (n_inputs, n_neurons)."""
        return np.array([np.linalg.norm(one.vectors, axis=1) for one in self.inputs])

    @property
    def output_norms(self) -> Floats:
        """Lengths of the output vectors, shape (n_neurons,)."""
        return np.asarray(np.linalg.norm(self.output, axis=1))

    @property
    def products(self) -> Floats:
        """Products of all lengths of a neuron, shape (n_neurons,): how much it can turn of what it reads."""
        return np.asarray(self.input_norms.prod(axis=0) * self.output_norms)

    @property
    def cosines(self) -> Floats:
        """Cosine of each input vector and the output vector, shape (n_inputs, n_neurons); 0 for a vector of zeros."""
        return np.array([_cosine(one.vectors, self.output) for one in self.inputs])

    @property
    def cosine_of_inputs(self) -> Floats | None:
        """Cosine of a gated neuron's two input vectors, shape (n_neurons,); None of a plain MLP."""
        return _cosine(self.inputs[0].vectors, self.inputs[1].vectors) if len(self.inputs) == 2 else None

    def logits(self, neuron: int) -> Floats:
        """
        What a neuron's output vector adds to the logit of each token, by its activation of 1, shape (n_tokens,).

        The final norm is taken as its gain alone: it divides by the same length for all tokens.

        Raises
        ------
        InputError
            If the model has no head, or there is no such neuron.
        """
        if self.unembedding is None:
            raise InputError(
                "the model has no head that reads its final norm, so its neurons have no output tokens: load one"
            )
        if not 0 <= neuron < len(self.output):
            raise InputError(f"there is no neuron {neuron}: the layer has {len(self.output)}, counted from 0")
        return np.asarray(self.unembedding @ self.output[neuron])

    def tokens(self, neuron: int, count: int = 10) -> tuple[list[tuple[int, float]], list[tuple[int, float]]]:
        """The ids and logits of the tokens that a neuron speaks for most, and of those against which, strongest first.

        Raises `InputError` as `logits` does.
        """
        logits = self.logits(neuron)
        order = np.argsort(-logits, kind="stable")
        top, bottom = order[:count], order[::-1][:count]
        return [(int(i), float(logits[i])) for i in top], [(int(i), float(logits[i])) for i in bottom]

    def _line(self) -> str:
        kind = "gated" if len(self.inputs) == 2 else "plain"
        head = "no head" if self.unembedding is None else f"final norm {self.norm}"
        return f"weights of {len(self.output):,} neurons of layer {self.layer.layer}: {kind} MLP, {head}"

    def _table(self) -> Table:
        def row(name: str, values: Floats) -> tuple[str, str, str, str]:
            low, middle, high = (f"{value:.4g}" for value in np.quantile(values, (0.05, 0.5, 0.95)))
            return name, low, middle, high

        rows = [("", "5%", "median", "95%")]
        for one, lengths, cosines in zip(self.inputs, self.input_norms, self.cosines):
            rows += [row(f"length of {one.module}", lengths), row("its cosine with the output", cosines)]
            rows += [] if one.bias is None else [row("its bias", one.bias)]
        if self.cosine_of_inputs is not None:
            rows.append(row("cosine of the two inputs", self.cosine_of_inputs))
        return [*rows, row("length of the output", self.output_norms), row("product of lengths", self.products)]


def neuron_weights(model: nn.Module, layer: int, neurons: NeuronMap | None = None) -> NeuronWeights:
    """
    Return the weights of the neurons of a layer.

    Parameters
    ----------
    model : torch.nn.Module
        A transformers model; with its language-model head the neurons have output tokens.
    layer : int
        Position in the model's `neuron_map`.
    neurons : NeuronMap, optional
        That map, where it is at hand.

    Raises
    ------
    InputError
        If there is no such layer, or the input projections of its MLP are not found.
    """
    located = (neurons or neuron_map(model)).layers
    if not 0 <= layer < len(located):
        raise InputError(f"the model has no layer {layer}: its layers are 0 to {len(located) - 1}")
    place = located[layer]
    weight, _ = _weights(model, place.projection)
    unembedding, norm = _unembedding(model, located[-1])
    return NeuronWeights(place, _inputs(model, place), np.ascontiguousarray(weight.T), unembedding, norm)


def _inputs(model: nn.Module, layer: NeuronLayer) -> tuple[InputWeights, ...]:
    linears = linear_modules(layer.block, model.get_submodule(layer.block))
    reading = [x for x in linears if x.n_in == layer.d_model and x.name != layer.projection]
    fused = [x for x in reading if x.n_out == 2 * layer.d_mlp]
    single = [x for x in reading if x.n_out == layer.d_mlp]
    wanted = 2 if layer.gated else 1
    if layer.gated and len(fused) == 1:
        weight, bias = _weights(model, fused[0].name)
        halves = slice(0, layer.d_mlp), slice(layer.d_mlp, None)
        return tuple(
            InputWeights(f"{fused[0].name}:{at}", weight[half], None if bias is None else bias[half])
            for at, half in enumerate(halves)
        )
    if len(single) != wanted:
        names = ", ".join(map(str, reading)) or "none"
        raise InputError(f"the block {layer.block} has not exactly {wanted} input projections; it has: {names}")
    return tuple(InputWeights(x.name, *_weights(model, x.name)) for x in single)


def _weights(model: nn.Module, name: str) -> tuple[Floats, Floats | None]:
    """Weight (n_out, n_in) and bias of a linear module; Conv1D stores the former transposed."""
    module: Any = model.get_submodule(name)
    weight = _array(module.weight)
    bias = getattr(module, "bias", None)
    transposed = type(module).__name__ == "Conv1D"
    return np.ascontiguousarray(weight.T) if transposed else weight, None if bias is None else _array(bias)


def _unembedding(model: nn.Module, last: NeuronLayer) -> tuple[Floats | None, str | None]:
    """The head's matrix times the final norm's gain, and that norm's name; None where logits are not made so."""
    head: Any = model.get_output_embeddings() if hasattr(model, "get_output_embeddings") else None  # type: ignore[operator]
    weight = getattr(head, "weight", None)
    if weight is None or weight.ndim != 2 or weight.shape[1] != last.d_model:
        return None, None
    prefix, part = language_model(model)
    for name, module in reversed(list(part.named_modules(prefix=prefix))):
        outside = not any(piece.isdecimal() for piece in name.split("."))
        if outside and "norm" in type(module).__name__.lower() and _is_final(model, last.block, module, head):
            return _array(weight) * _gain(module, last.d_model), name
    return None, None


def _is_final(model: nn.Module, block: str, norm: nn.Module, head: nn.Module) -> bool:
    """Whether a norm reads what the last block puts out, the head what the norm does, and the logits are its output.

    By one forward pass of a few tokens.
    """
    import torch

    seen: dict[str, torch.Tensor] = {}

    def see(name: str, value: Any) -> None:
        seen[name] = value[0] if isinstance(value, tuple | list) else value

    with ExitStack() as hooks:
        written = model.get_submodule(block).register_forward_hook(lambda *given: see("block", given[2]))
        hooks.callback(written.remove)
        hooks.callback(norm.register_forward_pre_hook(lambda _, given: see("norm reads", given)).remove)
        hooks.callback(norm.register_forward_hook(lambda *given: see("norm", given[2])).remove)
        hooks.callback(head.register_forward_pre_hook(lambda _, given: see("head reads", given)).remove)
        hooks.callback(head.register_forward_hook(lambda *given: see("head", given[2])).remove)
        hooks.enter_context(inference(model))
        logits = model(input_ids=torch.arange(4, device=device_of(model))[None, :]).logits
    pairs = (seen.get("block"), seen.get("norm reads")), (seen.get("norm"), seen.get("head reads"))
    linked = all(a is not None and b is not None and a.shape == b.shape and torch.equal(a, b) for a, b in pairs)
    return linked and torch.equal(seen["head"].to(logits.dtype), logits)


def _gain(norm: nn.Module, d_model: int) -> Floats:
    """What a norm multiplies each entry by, beside dividing by the length: half of how two opposite vectors differ.

    Their entries are 1 and -1, so that no norm changes their length. Some norms add 1 to their weights.
    """
    import torch

    parameter = next(norm.parameters(), torch.zeros(()))
    signs = torch.ones(d_model, dtype=parameter.dtype, device=parameter.device)
    signs[1::2] = -1.0
    with torch.no_grad():
        both = norm(signs[None, None, :]) - norm(-signs[None, None, :])
    return _array((both[0, 0] / 2) * signs)


def _array(tensor: torch.Tensor) -> Floats:
    import torch

    return np.asarray(tensor.detach().to("cpu", torch.float32).numpy().copy())


def _cosine(a: Floats, b: Floats) -> Floats:
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.asarray(np.divide((a * b).sum(axis=1), lengths, out=np.zeros_like(lengths), where=lengths > 0))
