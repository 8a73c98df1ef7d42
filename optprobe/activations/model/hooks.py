"""
Hook points: the values of a block that can be probed, and the module where each is seen.

- ``mlp.post``: the neurons, the input of the MLP's down projection;
- ``mlp.pre``: what the activation function is given, the output of the MLP's up projection (MLPs without a gate only);
- ``resid.post``: the residual stream after the block, the block's output.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal

from optprobe.activations.model.neurons import NeuronLayer, NeuronMap, is_attention, linear_modules
from optprobe.errors import InputError

if TYPE_CHECKING:
    from torch import nn

HOOKS = ("mlp.post", "mlp.pre", "resid.post")


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
    """

    module: str
    side: Literal["input", "output"]
    width: int


def hook_site(model: nn.Module, layer: NeuronLayer, hook: str) -> HookSite:
    """
    Find where a hook point of a layer is seen.

    Parameters
    ----------
    model : torch.nn.Module
        The model.
    layer : NeuronLayer
        A layer of its neuron map.
    hook : {"mlp.post", "mlp.pre", "resid.post"}
        The hook point.

    Returns
    -------
    HookSite
        The module, its side and the width.

    Raises
    ------
    InputError
        If there is no such hook point in the layer: a gated MLP has no "mlp.pre", a block without its attention has no
        "resid.post".
    """
    if hook == "mlp.post":
        return HookSite(layer.projection, "input", layer.d_mlp)
    if hook == "mlp.pre":
        return HookSite(_up_projection(model, layer), "output", layer.d_mlp)
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
