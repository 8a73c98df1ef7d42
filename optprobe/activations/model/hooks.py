"""
Hook points: the values of a block that can be probed, and the module where each is seen.

- ``mlp.post``: the neurons, the input of the MLP's down projection;
- ``mlp.pre``: what the activation function is given, the output of the MLP's up projection (MLPs without a gate only);
- ``attn.heads``: what the heads of the block's attention give, one after another: the input of its output projection;
- ``resid.post``: the residual stream after the block, the block's output.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal

from optprobe.activations.model.loading import language_model
from optprobe.activations.model.neurons import (
    NeuronLayer,
    NeuronMap,
    Order,
    attention_modules,
    is_attention,
    linear_modules,
)
from optprobe.errors import InputError

if TYPE_CHECKING:
    from torch import nn

HOOKS = ("mlp.post", "mlp.pre", "attn.heads", "resid.post")


@dataclass(frozen=True)
class HookSite:
    """
    Where a hook sees its value.

    Parameters
    ----------
    module : str
        Qualified name of the hooked module.
    side : {"input", "output"}
        Whether the value is the module's first positional input, or its output (a tensor, or the first of a tuple
        or list).
    width : int
        Size of the last axis of the value.
    heads : int, optional
        How many heads it is made of, each of as many dimensions; None where it is made of none.
    """

    module: str
    side: Literal["input", "output"]
    width: int
    heads: int | None = None


def hook_site(model: nn.Module, layer: NeuronLayer, hook: str) -> HookSite:
    """
    Find where a hook point of a layer is seen.

    Parameters
    ----------
    model : torch.nn.Module
        The model.
    layer : NeuronLayer
        A layer of its neuron map.
    hook : {"mlp.post", "mlp.pre", "attn.heads", "resid.post"}
        The hook point.

    Returns
    -------
    HookSite
        The module, its side and the width.

    Raises
    ------
    InputError
        If there is no such hook point in the layer: a gated MLP has no "mlp.pre", a block without its attention, or
        with a second one, no "attn.heads", and one without its attention no "resid.post".
    """
    if hook == "mlp.post":
        return HookSite(layer.projection, "input", layer.d_mlp)
    if hook == "mlp.pre":
        return HookSite(_up_projection(model, layer), "output", layer.d_mlp)
    if hook == "attn.heads":
        return _heads(model, layer)
    if hook == "resid.post":
        block = model.get_submodule(layer.block)
        if not any(is_attention(*item) for item in block.named_modules()):
            raise InputError(
                f"{layer.block} is an MLP without its attention, so its output is not the residual stream after a "
                "block: use mlp.post"
            )
        return HookSite(layer.block, "output", layer.d_model)
    raise InputError(f"the hook point is one of {', '.join(HOOKS)}, not {hook!r}")


def hook_points(model: nn.Module, neurons: NeuronMap) -> tuple[str, ...]:
    """
    Return the hook points that every layer of a model has.

    Parameters
    ----------
    model : torch.nn.Module
        The model.
    neurons : NeuronMap
        Its neuron map.

    Returns
    -------
    tuple of str
        Those of `HOOKS`, in their order.
    """

    def exists(layer: NeuronLayer, hook: str) -> bool:
        try:
            hook_site(model, layer, hook)
        except InputError:
            return False
        return True

    return tuple(hook for hook in HOOKS if all(exists(layer, hook) for layer in neurons.layers))


def _heads(model: nn.Module, layer: NeuronLayer) -> HookSite:
    """Return the input of the output projection: the linear module of attention that runs last.

    It writes d_model numbers, once, and reads what no other linear module of the attention reads.
    """
    inside = attention_modules(layer.block, model.get_submodule(layer.block))
    writing = [name for name, found in inside.items() if any(x.n_out == layer.d_model for x in found)]
    if len(writing) != 1:
        raise InputError(
            f"the block {layer.block} has not exactly one attention module that writes its residual stream, so "
            f"attn.heads is not defined; there are: {', '.join(writing) or 'none'}"
        )
    linears = {x.name: x for x in inside[writing[0]]}
    order = Order(model, list(linears))
    executed = order() or [""]
    last, read = linears.get(executed[-1]), order.inputs
    given = read.get(executed[-1])
    shared = [name for name in read if name != executed[-1] and read[name] is given]
    if last is None or given is None or last.n_out != layer.d_model or executed.count(last.name) != 1 or shared:
        names = ", ".join(map(str, linears.values()))
        raise InputError(
            f"{writing[0]} has no output projection, which would run once, last, on what the heads give and no other "
            f"module reads; its linear modules are: {names}"
        )
    config: Any = language_model(model)[1].config
    heads = getattr(config.get_text_config(), "num_attention_heads", None)
    if not isinstance(heads, int) or heads < 1 or last.n_in % heads:
        raise InputError(f"the input of {last} is not that of the {heads} heads which the configuration states")
    return HookSite(last.name, "input", last.n_in, heads)


def _up_projection(model: nn.Module, layer: NeuronLayer) -> str:
    """Return the name of the one linear module from d_model to d_mlp outside attention."""
    if layer.gated:
        raise InputError(
            f"mlp.pre does not exist in the gated MLP of {layer.block}, where a neuron is a product of two "
            "pre-activations and has no single value before the activation function: use mlp.post"
        )
    found = [
        x
        for x in linear_modules(layer.block, model.get_submodule(layer.block))
        if x.name != layer.projection and (x.n_in, x.n_out) == (layer.d_model, layer.d_mlp)
    ]
    if len(found) != 1:
        names = ", ".join(map(str, found)) or "none"
        raise InputError(f"the block {layer.block} has not exactly one up projection; its candidates are: {names}")
    return found[0].name
