"""
Where the neurons of a transformer are.

The neuron activations of a block are the input of its MLP's down projection: the activation function's values, or for
a gated MLP their products act(gate) * up. The down projection is found by structure, without a table of architectures:

1. the blocks are the longest `ModuleList` of the language model outside any other whose children share one class (one
   list for an encoder and one for a decoder);
2. the candidates in a block are its linear modules with output size d_model that are not inside an attention module;
3. the down projection is the candidate whose input size is not d_model, or, if d_mlp = d_model, the one executed last;
4. what does not fit is refused: several such candidates, another candidate executed after it, or linear modules that
   neither read nor write the residual stream, as in blocks whose MLP works at a width of its own.
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from formulations.shown import Shown, Table
from optprobe.activations.model.loading import device_of, inference, language_model, vocabulary_size
from optprobe.errors import InputError

if TYPE_CHECKING:
    import torch
    from torch import nn

_ATTENTION = re.compile("attention|attn", re.IGNORECASE)
_MIXTURE_CLASS = re.compile("Mo[eE](Block)?$|MOE|Expert|Router")
_MIXTURE_NAME = re.compile(r"(^|\.)(experts|router)(\.|$)")


@dataclass(frozen=True)
class NeuronLayer:
    """
    The neurons of one block.

    Parameters
    ----------
    layer : int
        Position in the map, from 0; the blocks of an encoder come before those of its decoder.
    stack : {"single", "encoder", "decoder"}
        Which of a model's stacks of blocks the block is in.
    block, projection : str
        Qualified names of the block and of its MLP's down projection, whose input the neurons are.
    d_model, d_mlp : int
        Size of the residual stream, and number of neurons.
    gated : bool
        Whether a neuron is the product act(gate) * up.
    """

    layer: int
    stack: str
    block: str
    projection: str
    d_model: int
    d_mlp: int
    gated: bool


@dataclass(frozen=True, repr=False)
class NeuronMap(Shown):
    """
    The neurons of a model, block by block.

    Parameters
    ----------
    model_class : str
        Class of the model.
    layers : tuple of NeuronLayer
        One a block.
    n_parameters : int
        Number of parameters of the model as it was given (with its head, if it has one).
    """

    model_class: str
    layers: tuple[NeuronLayer, ...]
    n_parameters: int

    def _line(self) -> str:
        n_neurons = sum(layer.d_mlp for layer in self.layers)
        return f"{self.model_class}: {len(self.layers)} blocks, {n_neurons:,} neurons, {self.n_parameters:,} parameters"

    def _table(self) -> Table:
        rows = [
            (str(x.layer), x.stack, x.projection, str(x.d_model), str(x.d_mlp), "yes" if x.gated else "no")
            for x in self.layers
        ]
        return [("layer", "stack", "neurons are the input of", "d_model", "d_mlp", "gated"), *rows]


@dataclass(frozen=True)
class Linear:
    """A linear module of a block: its qualified name and sizes."""

    name: str
    n_in: int
    n_out: int

    def __str__(self) -> str:
        return f"{self.name} ({self.n_in} to {self.n_out})"


def neuron_map(model: nn.Module) -> NeuronMap:
    """
    Find the neurons of a dense transformer.

    Parameters
    ----------
    model : torch.nn.Module
        A transformers model, with or without a head.

    Returns
    -------
    NeuronMap
        The down projection of every block.

    Raises
    ------
    InputError
        If the model is not a transformer, is a mixture of experts, uses one block more than once, or a block has
        not exactly one down projection: the sentence lists the candidates.
    """
    kind = type(model).__name__
    _, part = language_model(model)
    config: Any = getattr(part, "config", None)
    text_config = config.get_text_config() if hasattr(config, "get_text_config") else config
    d_model = getattr(text_config, "hidden_size", None)
    if not isinstance(d_model, int):
        raise InputError(
            f"{kind} has no config.hidden_size, so its neurons cannot be located; give a transformers model"
        )
    if not any(is_attention(name, module) for name, module in part.named_modules()):
        raise InputError(
            f"{kind} has no attention module, so it is not a transformer: there is no MLP to be located in it"
        )
    located = []
    for stack, blocks in _stacks(model, d_model):
        expected = getattr(text_config, "num_hidden_layers", None)
        if stack == "single" and expected is not None and expected != len(blocks):
            raise InputError(
                f"{kind} runs {expected} layers with {len(blocks)} blocks: shared blocks are not supported"
            )
        located += [(stack, name, linear_modules(name, block)) for name, block in blocks]
    order = Order(model, [x.name for _, _, linears in located for x in linears if x.n_out == d_model])
    layers = tuple(
        _locate(i, stack, block, linears, d_model, order) for i, (stack, block, linears) in enumerate(located)
    )
    return NeuronMap(kind, layers, sum(p.numel() for p in model.parameters()))


def verify_neuron_map(model: nn.Module, neurons: NeuronMap | None = None, per_layer: int = 2, seed: int = 0) -> float:
    """
    Check a map by numbers: zeroing neuron j must change the projection's output by -a_j times its row j.

    Parameters
    ----------
    model : torch.nn.Module
        The model.
    neurons : NeuronMap, optional
        Its map; by default `neuron_map(model)`.
    per_layer : int, default=2
        Number of neurons checked in each layer.
    seed : int, default=0
        Seed of their choice and of the tokens.

    Returns
    -------
    float
        The largest deviation, relative to the largest entry of the projection's output.

    Raises
    ------
    InputError
        If a projection does not run exactly once in a forward pass, on the tokens text by text, or a deviation is
        beyond rounding.
    """
    import torch

    neurons = neurons or neuron_map(model)
    rng = np.random.default_rng(seed)
    tokens = torch.from_numpy(rng.integers(0, vocabulary_size(model), size=(2, 5)))
    worst = 0.0
    for layer in neurons.layers:
        projection = model.get_submodule(layer.projection)
        weight: torch.Tensor = projection.weight.detach()  # type: ignore[operator]
        rows = weight if type(projection).__name__ == "Conv1D" else weight.T
        before, after = _projection_io(model, projection, tokens, None)
        if before.shape[:-1] not in ((2, 5), (10,)):
            raise InputError(
                f"{layer.projection} is given {tuple(before.shape)} for 2 texts of 5 tokens: {neurons.model_class} "
                "does not run it on all tokens, text by text, so its rows cannot be told apart"
            )
        for j in rng.choice(layer.d_mlp, size=min(per_layer, layer.d_mlp), replace=False):
            _, changed = _projection_io(model, projection, tokens, int(j))
            deviation = (changed - after + before[..., j, None] * rows[j]).abs().max() / after.abs().max()
            worst = max(worst, float(deviation))
    eps = float(torch.finfo(next(model.parameters()).dtype).eps)
    if not worst <= 100 * eps:
        raise InputError(
            f"{neurons.model_class}: zeroing a neuron changes the MLP's output by {worst:.1e} (relative) more than its "
            "row of the projection; this model's neurons are not the input of that projection"
        )
    return worst


def run_tokens(model: nn.Module, ids: torch.Tensor, mask: torch.Tensor | None = None, stack: str = "single") -> None:
    """
    Run the stack of a model's language model on token ids, for what its hooks see.

    Parameters
    ----------
    model : torch.nn.Module
        The model.
    ids : Tensor of int64, shape (n_texts, n_tokens)
        Token ids.
    mask : Tensor of int64, shape (n_texts, n_tokens), optional
        1 for tokens, 0 for padding; by default there is no padding.
    stack : {"single", "encoder", "decoder"}
        An encoder runs alone; a decoder after its encoder, on the same tokens.

    Raises
    ------
    InputError
        If the model reads no token ids.
    """
    import torch

    device = device_of(model)
    _, part = language_model(model)
    if "input_ids" not in inspect.signature(part.forward).parameters:
        raise InputError(f"{type(model).__name__} reads no token ids, so it is not a language model")
    ids = ids.to(device)
    mask = torch.ones_like(ids) if mask is None else mask.to(device)
    target: Any = part.get_encoder() if stack == "encoder" else part  # type: ignore[operator]
    options: dict[str, Any] = {"decoder_input_ids": ids} if stack == "decoder" else {}
    if "use_cache" in inspect.signature(target.forward).parameters:
        options["use_cache"] = False
    target(input_ids=ids, attention_mask=mask, **options)


def _is_pair(model: nn.Module) -> bool:
    """Return whether the language model is an encoder with a decoder."""
    return bool(getattr(language_model(model)[1].config, "is_encoder_decoder", False))


def _stacks(model: nn.Module, d_model: int) -> list[tuple[str, list[tuple[str, nn.Module]]]]:
    """Return the stacks of a model, each with its blocks and their qualified names."""
    names = {id(module): name for name, module in model.named_modules()}
    name, part = language_model(model)
    if not _is_pair(model):
        return [("single", _blocks(part, name, d_model))]
    parts: dict[str, nn.Module] = {
        "encoder": part.get_encoder(),  # type: ignore[operator]
        "decoder": part.get_decoder(),  # type: ignore[operator]
    }
    return [(stack, _blocks(part, names[id(part)], d_model)) for stack, part in parts.items()]


def _blocks(model: nn.Module, prefix: str, d_model: int) -> list[tuple[str, nn.Module]]:
    """Return the children of the longest outermost list of modules of one class that has linear modules to d_model."""
    from torch import nn

    lists: list[tuple[str, list[nn.Module]]] = []
    for name, module in model.named_modules(prefix=prefix):
        inside = any(name.startswith(f"{outer}.") for outer, _ in lists)
        if isinstance(module, nn.ModuleList) and not inside and len({type(child) for child in module}) == 1:
            lists.append((name, list(module)))
    lists.sort(key=lambda item: -len(item[1]))
    for name, blocks in lists:
        if len(blocks) < len(lists[0][1]):
            break
        named = [(f"{name}.{i}", block) for i, block in enumerate(blocks)]
        inner = [item for item in blocks[0].named_modules() if item[0]]
        if is_attention("", blocks[0]) and not any(is_attention(*item) for item in inner):
            continue
        _refuse_mixture(named)
        if any(x.n_out == d_model for x in linear_modules(*named[0])):
            return named
    raise InputError(
        f"{type(model).__name__} has no list of like blocks with an MLP in them, so no neurons are located"
    )


def _refuse_mixture(blocks: Sequence[tuple[str, nn.Module]]) -> None:
    for block_name, block in blocks:
        for name, module in block.named_modules(prefix=block_name):
            if _MIXTURE_CLASS.search(type(module).__name__) or _MIXTURE_NAME.search(name):
                raise InputError(
                    f"{name} ({type(module).__name__}) is a mixture of experts: a token passes only some "
                    "of its neurons, so a probe over all of them is not defined; give a dense model"
                )


def is_attention(name: str, module: nn.Module) -> bool:
    """Return whether a module is attention, by its class or the last part of its name."""
    return bool(_ATTENTION.search(name.rpartition(".")[2]) or _ATTENTION.search(type(module).__name__))


def linear_modules(block_name: str, block: nn.Module) -> list[Linear]:
    """Return the linear modules of a block that are not inside an attention module."""
    return _linear_modules(block_name, block)[""]


def attention_modules(block_name: str, block: nn.Module) -> dict[str, list[Linear]]:
    """Return the outermost attention modules of a block by name, each with the linear modules in it."""
    return {f"{block_name}.{name}": found for name, found in _linear_modules(block_name, block).items() if name}


def _linear_modules(block_name: str, block: nn.Module) -> dict[str, list[Linear]]:
    """Return the linear modules of a block by the outermost attention module that holds them, "" for none."""
    from torch import nn
    from transformers.pytorch_utils import Conv1D

    found: dict[str, list[Linear]] = {"": []}
    for name, module in block.named_modules():
        outer = next((other for other in found if other and name.startswith(f"{other}.")), "")
        if name and not outer and is_attention(name, module):
            found[outer := name] = []
        if isinstance(module, nn.Linear):
            found[outer].append(Linear(f"{block_name}.{name}", module.in_features, module.out_features))
        elif isinstance(module, Conv1D):
            found[outer].append(Linear(f"{block_name}.{name}", *module.weight.shape))
    return found


def _locate(
    index: int, stack: str, block: str, linears: list[Linear], d_model: int, order: Callable[[], list[str]]
) -> NeuronLayer:
    """Return the down projection among the linear modules of a block; `order` gives names as they run."""
    inner = [x for x in linears if d_model not in (x.n_in, x.n_out)]
    if inner:
        raise InputError(
            f"the block {block} has linear modules that neither read nor write its residual stream of {d_model}, such "
            f"as {inner[0]}, so it is not attention and one MLP"
        )
    candidates = [x for x in linears if x.n_out == d_model]
    wide = [x for x in candidates if x.n_in != d_model]
    found = wide or candidates
    if len(wide) < 2 and len(candidates) > 1:
        executed = [name for name in order() if name in {x.name for x in candidates}]
        found = [x for x in found if executed and x.name == executed[-1]]
    if len(found) != 1:
        names = ", ".join(map(str, candidates)) or "none"
        raise InputError(f"the block {block} has not exactly one down projection; its candidates are: {names}")
    down = found[0]
    others = [x for x in linears if x.n_in == d_model and x.name != down.name]
    gated = any(x.n_out == 2 * down.n_in for x in others) or sum(x.n_out == down.n_in for x in others) > 1
    return NeuronLayer(index, stack, block, down.name, d_model, down.n_in, gated)


class Order:
    """The names of modules in the order in which a forward pass of one token runs them; traced when first asked.

    Then `inputs` has what each was given.
    """

    def __init__(self, model: nn.Module, names: list[str]) -> None:
        self._model, self._names, self._traced = model, names, False
        self._executed: list[str] = []
        self.inputs: dict[str, torch.Tensor] = {}

    def __call__(self) -> list[str]:
        if not self._traced:
            self._trace()
            self._traced = True
        return self._executed

    def _trace(self) -> None:
        import torch

        def see(name: str, inputs: tuple[torch.Tensor, ...]) -> None:
            self._executed.append(name)
            self.inputs |= {name: inputs[0]} if inputs else {}

        with ExitStack() as hooks:
            for name in self._names:
                handle = self._model.get_submodule(name).register_forward_pre_hook(
                    lambda _, inputs, name=name: see(name, inputs)
                )
                hooks.callback(handle.remove)
            hooks.enter_context(inference(self._model))
            stack = "decoder" if _is_pair(self._model) else "single"
            run_tokens(self._model, torch.zeros((1, 1), dtype=torch.int64), stack=stack)


def _projection_io(
    model: nn.Module, projection: nn.Module, tokens: torch.Tensor, zeroed: int | None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Return input and output of a projection in one forward pass, with neuron `zeroed` of the input set to 0."""
    seen: list[torch.Tensor] = []

    def before(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...] | None:
        seen.append(inputs[0].clone())
        if zeroed is None:
            return None
        changed = inputs[0].clone()
        changed[..., zeroed] = 0
        return (changed, *inputs[1:])

    def after(_: nn.Module, inputs: tuple[torch.Tensor, ...], output: torch.Tensor) -> None:
        seen.append(output.clone())

    with ExitStack() as hooks:
        hooks.callback(projection.register_forward_pre_hook(before).remove)
        hooks.callback(projection.register_forward_hook(after).remove)
        hooks.enter_context(inference(model))
        run_tokens(model, tokens, stack="decoder" if _is_pair(model) else "single")
    if len(seen) != 2:
        raise InputError(f"{type(model).__name__} runs a down projection {len(seen) // 2} times in one forward pass")
    return seen[0], seen[1]
