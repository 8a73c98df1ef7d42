"""What an extraction says of itself: model, weights, tokenizer, dataset and versions."""

from __future__ import annotations

import hashlib
import json
import platform
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optprobe.features.dataset import FeatureDataset

if TYPE_CHECKING:
    from torch import nn

STATED_VERSIONS = ("optprobe", "numpy", "torch", "transformers", "tokenizers")


def manifest_of(
    model: str | Path | nn.Module, loaded: nn.Module, tokenizer: Any, revision: str | None, data: FeatureDataset
) -> dict[str, Any]:
    """
    Return the entries of a manifest that say what ran on what.

    Two extractions with the same entries may be parts of one store; so a model is named by the sha256 of its weights,
    a tokenizer by that of its definition, and versions and the kind of device are among them.

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
    parameter = next(loaded.parameters())
    return {
        "model": str(model) if isinstance(model, str | Path) else type(model).__name__,
        "model_class": type(loaded).__name__,
        "revision": revision,
        "commit": getattr(loaded.config, "_commit_hash", None),
        "weights": weights_digest(loaded),
        "tokenizer": {"class": type(tokenizer).__name__, "sha256": tokenizer_digest(tokenizer)},
        "dtype": str(parameter.dtype).removeprefix("torch."),
        "device": parameter.device.type,
        "dataset": {"name": data.name, "digest": data.digest, "licence": data.licence},
        "features": {name: data.rules[name] for name in data.features},
        "versions": _versions(),
    }


def weights_digest(model: nn.Module) -> str:
    """Return the sha256 over name, type, shape and bytes of every parameter and buffer, in order of their names."""
    import torch

    sha = hashlib.sha256()
    for name, value in sorted(model.state_dict().items()):
        sha.update(f"{name} {value.dtype} {tuple(value.shape)}\n".encode())
        if not value.is_meta:
            sha.update(value.detach().cpu().contiguous().reshape(-1).view(torch.uint8).numpy())
    return sha.hexdigest()


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
