"""What others wrap a transformers model in, and the model in it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from optprobe.errors import InputError

if TYPE_CHECKING:
    from torch import nn

REBUILT = {
    "peft": "holds an adapter, whose weights are apart from the model's: give what peft's merge_and_unload() returns",
    "transformer_lens": "runs a transformers model through modules of its own: give the name of that model, or what "
    "transformers' AutoModel.from_pretrained makes of it",
}
"""Packages whose modules are not where, or what, transformers' own are, and what to give instead."""


def unwrapped(model: Any) -> nn.Module:
    """
    Return the transformers model in what was given: the same modules, which run as transformers wrote them.

    Parameters
    ----------
    model : torch.nn.Module, or nnsight model
        A model, by itself or in torch.compile, torch's DataParallel or DistributedDataParallel, or nnsight.

    Raises
    ------
    InputError
        If there is none, or another package has changed its modules: the sentence says what to give.
    """
    from torch import nn

    kind = type(model).__name__
    while (inner := _inner(model)) is not None:
        model = inner
    if not isinstance(model, nn.Module):
        raise InputError(f"{kind} is no model: give a name, a folder, a GGUF file, or a loaded transformers model")
    for name, module in model.named_modules():
        if hasattr(module, "_orig_mod"):
            raise InputError(f"{kind} has a compiled part, {name}: give the model as it is without torch.compile")
        if (package := _package(module)) in REBUILT:
            raise InputError(f"{kind} {REBUILT[package]}")
    return model


def _inner(model: Any) -> Any:
    """Return what is wrapped; None if nothing is."""
    from torch import nn

    if hasattr(model, "_orig_mod"):  # torch.compile
        return model._orig_mod
    if isinstance(model, nn.DataParallel | nn.parallel.DistributedDataParallel):
        return model.module
    return model._module if _package(model) == "nnsight" else None


def _package(model: Any) -> str:
    return type(model).__module__.partition(".")[0]
