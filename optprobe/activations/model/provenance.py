"""
What an extraction says of itself: its identity, everything that decides a value.

Two extractions of the same identity may be parts of one store, or one the continuation of the other. A model is its
configuration, the modules that it is built of, and the sha256 of its weights; a tokenizer its definition, its settings,
and the tokens that it made of these texts; and versions, number types and the kind of device are among the entries.
"""

from __future__ import annotations

import hashlib
import json
import platform
import re
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optprobe.activations.model.gguf_file import is_gguf, stated
from optprobe.activations.model.loading import devices_of
from optprobe.activations.model.wrappers import unwrapped
from optprobe.errors import InputError
from optprobe.features.dataset import FeatureDataset

if TYPE_CHECKING:
    import torch
    from torch import nn

STATED_VERSIONS = ("optprobe", "numpy", "torch", "transformers", "tokenizers")
FLEETING = re.compile("dynamic|longrope")
"""Types of rotary embeddings that set their frequencies anew in a forward pass."""
UNDECIDING = (
    *("architectures", "dtype", "id2label", "label2id", "output_attentions", "output_hidden_states", "return_dict"),
    *("torch_dtype", "transformers_version", "use_cache", "_commit_hash", "_name_or_path"),
)
"""Entries of a configuration that decide no value, or are stated elsewhere in a manifest."""


def manifest_of(
    model: str | Path | nn.Module, loaded: nn.Module, tokenizer: Any, revision: str | None, data: FeatureDataset
) -> dict[str, Any]:
    """
    Return the entries of a manifest that say what ran on what.

    Parameters
    ----------
    model : str, Path or torch.nn.Module
        The model as it was asked for.
    loaded : torch.nn.Module
        The model that runs.
    tokenizer : transformers tokenizer
        Its tokenizer.
    revision : str or None
        The revision asked for.
    data : FeatureDataset
        The labelled words.

    Returns
    -------
    dict
        JSON values.
    """
    import torch

    config: Any = loaded.config
    return {
        "model": stated_model(model),
        "model_class": type(loaded).__name__,
        "revision": revision,
        "commit": getattr(config, "_commit_hash", None),
        "configuration": _deciding(json.loads(config.to_json_string(use_diff=False))),
        "attention": getattr(config, "_attn_implementation", None),
        "structure": hashlib.sha256(str(loaded).encode()).hexdigest(),
        "weights": weights_digest(loaded),
        "tokenizer": tokenizer_identity(tokenizer),
        "dtype": str(next(loaded.parameters()).dtype).removeprefix("torch."),
        "matmul": torch.get_float32_matmul_precision(),
        "device": "+".join(devices_of(loaded)),
        "dataset": {"name": data.name, "digest": data.digest, "licence": data.licence},
        "features": {name: data.rules[name] for name in data.features},
        **({"targets": {name: data.rules[name] for name in data.targets}} if data.targets else {}),
        "versions": _versions(),
    }


def stated_model(model: Any) -> str:
    """Return the name of a model: as it was asked for, of a file with its sha256, of a loaded one its class."""
    if not isinstance(model, str | Path):
        return type(unwrapped(model)).__name__
    return stated(Path(model)) if is_gguf(model) else str(model)


def _deciding(entry: Any) -> Any:
    """Return a configuration, and those in it, without what decides no value."""
    if not isinstance(entry, dict):
        return entry
    return {name: _deciding(value) for name, value in entry.items() if name not in UNDECIDING}


def weights_digest(model: nn.Module) -> str:
    """
    Return the sha256 over name, type, shape and bytes of every parameter and buffer, in order of their names.

    Buffers that are not saved (rotary frequencies) count, and weights that accelerate keeps elsewhere are fetched. Of
    frequencies that a model sets anew by the length of what it reads, the original ones count.
    """
    import torch

    names = {name for of in (model.named_parameters, model.named_buffers) for name, _ in of(remove_duplicate=False)}
    sha = hashlib.sha256()
    for name in sorted(names):
        path, _, leaf = name.rpartition(".")
        owner = model.get_submodule(path)
        original = f"{name.removesuffix('inv_freq')}original_inv_freq"
        if original in names and name.endswith("inv_freq") and FLEETING.search(str(getattr(owner, "rope_type", ""))):
            continue
        with _at_hand(owner, name):
            value: torch.Tensor = getattr(owner, leaf).detach()
            sha.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
            sha.update(value.cpu().contiguous().reshape(-1).view(torch.uint8).numpy().data)
    return sha.hexdigest()


@contextmanager
def _at_hand(module: nn.Module, name: str) -> Iterator[None]:
    """Have a module's own weights in memory, of which `name` is one; fetch those that accelerate offloaded."""
    if not getattr(module, name.rpartition(".")[2]).is_meta:
        yield
        return
    if not getattr(getattr(module, "_hf_hook", None), "offload", False):
        raise InputError(
            f"the weight {name} of the model has no values (it is on the device 'meta'); "
            "load the model whole (nnsight: dispatch=True)"
        )
    from accelerate.utils import align_module_device

    with align_module_device(module, "cpu"):
        yield


def tokenizer_identity(tokenizer: Any) -> dict[str, Any]:
    """Return what decides the tokens of a text: definition and settings of a fast tokenizer, in JSON values."""
    return {
        "class": type(tokenizer).__name__,
        "sha256": tokenizer_digest(tokenizer),
        "truncation_side": tokenizer.truncation_side,
        "split_special_tokens": bool(getattr(tokenizer, "split_special_tokens", False)),
    }


def tokenizer_digest(tokenizer: Any) -> str:
    """Return the sha256 of a fast tokenizer's definition, whatever truncation and padding it was last used with."""
    stated = json.loads(tokenizer.backend_tokenizer.to_str())
    stated |= {"truncation": None, "padding": None}
    return hashlib.sha256(json.dumps(stated, sort_keys=True).encode()).hexdigest()


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in STATED_VERSIONS:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "unknown"
    return found
