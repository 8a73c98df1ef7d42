"""The weights of a layer's neurons: what each reads from the residual stream, and what it writes into it.

A neuron of a plain MLP is ``act(w_in . x + b)`` times its output vector; one of a gated MLP has two input vectors, that
of the gate and that of what is gated, and no bias but those of its two projections. The model's norms stand between
these vectors and the residual stream. A norm ``g * x / |x| + s`` before the MLP can be folded in: ``w . (g * z + s) + b
= (g * w) . z + (b + w . s)``. That before the unembedding is where tokens are named.
"""

from __future__ import annotations

from contextlib import ExitStack
from dataclasses import dataclass, replace
from functools import partial
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from formulations.shown import Shown, Table
from optprobe.activations.model.loading import device_of, inference, language_model
from optprobe.activations.model.neurons import NeuronLayer, NeuronMap, linear_modules, neuron_map, run_tokens
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


class InputNorm(NamedTuple):
    """The norm that an MLP reads: its name, and what it multiplies by and adds once it divided, shape (d_model,)."""

    module: str
    gain: Floats
    shift: Floats


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
    reads : InputNorm or None
        The norm whose output the input vectors read; None where they read none's, or it is folded in.
    """

    layer: NeuronLayer
    inputs: tuple[InputWeights, ...]
    output: Floats
    unembedding: Floats | None
    norm: str | None
    reads: InputNorm | None = None

    def folded(self) -> NeuronWeights:
        """
        The same neurons with the norm before the MLP folded in: its gain in their input vectors, its shift in a bias.

        Lengths, cosines and products of these say what a neuron reads of the residual stream, centred and scaled.

        Raises
        ------
        InputError
            If the MLP reads no norm's output, or it is folded in already.
        """
        norm = self.reads
        if norm is None:
            raise InputError(f"no norm is to be folded into {self.layer.block}: its MLP reads none's output")
        inputs = tuple(
            InputWeights(one.module, one.vectors * norm.gain, _added(one.bias, one.vectors @ norm.shift))
            for one in self.inputs
        )
        return replace(self, inputs=inputs, reads=None)

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
        reads = "" if self.reads is None else f", reads {self.reads.module}"
        return f"weights of {len(self.output):,} neurons of layer {self.layer.layer}: {kind} MLP{reads}, {head}"

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
    inputs, output = _inputs(model, place), np.ascontiguousarray(weight.T)
    return NeuronWeights(place, inputs, output, unembedding, norm, _input_norm(model, place, inputs))


def _input_norm(model: nn.Module, layer: NeuronLayer, inputs: tuple[InputWeights, ...]) -> InputNorm | None:
    """The norm of a block whose output its input projections are given, by one forward pass of a few tokens."""
    import torch

    prefix = f"{layer.block}."
    norms = [n for n, m in model.named_modules() if n.startswith(prefix) and "norm" in type(m).__name__.lower()]
    reader = inputs[0].module.partition(":")[0]
    seen: dict[str, torch.Tensor] = {}
    with ExitStack() as hooks:
        for name in norms:
            see = partial(_see_output, seen, name)
            hooks.callback(model.get_submodule(name).register_forward_hook(see).remove)
        see_input = partial(_see_input, seen, reader)
        hooks.callback(model.get_submodule(reader).register_forward_pre_hook(see_input).remove)
        hooks.enter_context(inference(model))
        run_tokens(model, torch.arange(4)[None, :], stack=layer.stack)
    read = seen[reader]
    for name in norms:
        if name in seen and seen[name].numel() == read.numel() and torch.equal(seen[name].reshape(read.shape), read):
            norm = model.get_submodule(name)
            plus, minus, signs = _of_opposites(norm, layer.d_model)
            return InputNorm(name, _array((plus - minus) / 2 * signs), _array((plus + minus) / 2))
    return None


def _see_output(seen: dict[str, Any], name: str, module: nn.Module, given: Any, output: Any) -> None:
    seen[name] = output[0] if isinstance(output, tuple | list) else output


def _see_input(seen: dict[str, Any], name: str, module: nn.Module, given: Any) -> None:
    seen[name] = given[0]


def _added(bias: Floats | None, shift: Floats) -> Floats | None:
    """The sum of a bias and a shift; None where there is neither."""
    if bias is None:
        return shift if shift.any() else None
    return np.asarray(bias + shift)


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
    """What a norm multiplies each entry by, beside dividing by the length: half of how two opposite vectors differ."""
    plus, minus, signs = _of_opposites(norm, d_model)
    return _array((plus - minus) / 2 * signs)


def _of_opposites(norm: nn.Module, d_model: int) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
    """What a norm makes of a vector and of its opposite, and that vector.

    Its entries are 1 and -1, so that no norm changes its length. Some norms add 1 to their weights.
    """
    import torch

    parameter = next(norm.parameters(), torch.zeros(()))
    signs = torch.ones(d_model, dtype=parameter.dtype, device=parameter.device)
    signs[1::2] = -1.0
    with torch.no_grad():
        return norm(signs[None, None, :])[0, 0], norm(-signs[None, None, :])[0, 0], signs


def _array(tensor: torch.Tensor) -> Floats:
    import torch

    return np.asarray(tensor.detach().to("cpu", torch.float32).numpy().copy())


def _cosine(a: Floats, b: Floats) -> Floats:
    lengths = np.linalg.norm(a, axis=1) * np.linalg.norm(b, axis=1)
    return np.asarray(np.divide((a * b).sum(axis=1), lengths, out=np.zeros_like(lengths), where=lengths > 0))
