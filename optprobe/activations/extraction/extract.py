"""Values of a model's neurons at labelled words: from a model and a dataset to a store, or to memory."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, TypedDict, Unpack

import numpy as np

from optprobe.activations.extraction.plan import BATCH_BYTES, Plan
from optprobe.activations.extraction.run import Extraction, Report
from optprobe.activations.model.hooks import hook_site
from optprobe.activations.model.loading import AUTO, check_vocabulary, context_length, device_of, model_and_tokenizer
from optprobe.activations.model.neurons import NeuronLayer, neuron_map
from optprobe.activations.model.provenance import manifest_of
from optprobe.activations.store.activations import Activations
from optprobe.activations.store.shards import DTYPES
from optprobe.errors import InputError
from optprobe.features.alignment import TokenChoice, align_rows
from optprobe.features.dataset import FeatureDataset

if TYPE_CHECKING:
    from torch import nn

BATCH_TOKENS = {"cpu": 4096, "cuda": 32768}
"""Tokens and padding of a batch, by kind of device."""


class Options(TypedDict, total=False):
    """
    How an extraction is done.

    Attributes
    ----------
    hook : {"mlp.post", "mlp.pre", "attn.heads", "resid.post"}
        Which values: see `optprobe.activations.model.hooks`.
    tokenizer : transformers tokenizer, str or Path
        By default the model's own; a loaded model needs it.
    revision : str
        Branch, tag or commit of a hub model.
    device : str
        A torch device; "auto" (the default) is the GPU if there is one; "split" divides the model among all GPUs.
    dtype : {"float32", "bfloat16", "float16"}
        Type of the weights while they run.
    values : {"float16", "float32"}
        Type of the values as they are kept. A layer with a value beyond float16 is kept in float32 in any case.
    token : {"last", "first", "every"}
        Which token of a word makes its row.
    context : int
        Tokens of a text that are read; by default as many as the model can.
    batch_tokens : int
        Tokens of a batch, padding included; by default 4,096 on a CPU and 32,768 on a GPU. A batch that does not fit
        in memory is halved.
    progress : callable
        Called with an `ExtractionProgress` after each chunk of texts.
    """

    hook: str
    tokenizer: Any
    revision: str | None
    device: str
    dtype: str
    values: Literal["float16", "float32"]
    token: TokenChoice
    context: int | None
    batch_tokens: int | None
    progress: Report | None


def extract(
    model: str | Path | nn.Module,
    data: FeatureDataset,
    layers: Sequence[int] | None = None,
    out: str | Path | None = None,
    **options: Unpack[Options],
) -> Activations:
    """
    Run a model over a dataset and keep the values of its neurons at the labelled words.

    Texts longer than the context are cut there; the rows beyond are dropped and counted in the manifest. With `out`,
    an extraction that was interrupted goes on where it was: shards that are there and whole are not run again.

    Parameters
    ----------
    model : str, Path or torch.nn.Module
        "bundled", a folder, a GGUF file, a name on the Hugging Face hub, or a loaded model (used on its own device, in
        its own type, and left as it was).
    data : FeatureDataset
        The labelled words.
    layers : sequence of int, optional
        Layers of the model's neuron map; by default all (of an encoder-decoder model: the encoder's).
    out : str or Path, optional
        Folder of the store; by default the activations stay in memory.
    **options
        See `Options`.

    Returns
    -------
    Activations
        One matrix a layer; memory-mapped if `out` is given.

    Raises
    ------
    InputError
        If the model, tokenizer, device, layers or folder cannot be used, or an activation is not finite.
    KeyboardInterrupt
        After Ctrl-C; the store holds whole shards, and the same call goes on.
    """
    extraction = prepare(model, data, layers, **options)
    return extraction.to_memory() if out is None else extraction.to_store(out)


def prepare(
    model: str | Path | nn.Module,
    data: FeatureDataset,
    layers: Sequence[int] | None = None,
    **options: Unpack[Options],
) -> Extraction:
    """
    Load what an extraction needs and plan it, as `extract` does before it runs.

    Parameters
    ----------
    model, data, layers, **options
        As in `extract`.

    Returns
    -------
    Extraction
        Ready to run into memory, a store, or a part of one.

    Raises
    ------
    InputError
        If the model, tokenizer, device or layers cannot be used.
    """
    values, batch_tokens = options.get("values", "float16"), options.get("batch_tokens")
    context, hook, token = options.get("context"), options.get("hook", "mlp.post"), options.get("token", "last")
    revision = options.get("revision")
    if values not in DTYPES:
        raise InputError(f"the type of the values is one of {', '.join(DTYPES)}, not {values!r}")
    if batch_tokens is not None and batch_tokens < 1:
        raise InputError(f"a batch has a number of tokens from 1, not {batch_tokens}")
    loaded, tokenizer = model_and_tokenizer(
        model, options.get("tokenizer"), revision, options.get("device", AUTO), options.get("dtype", "float32")
    )
    sites = {layer: hook_site(loaded, layer, hook) for layer in choose_layers(loaded, layers)}
    limit = context_length(loaded, tokenizer)
    if context is not None and not 1 <= context <= (limit or context):
        raise InputError(f"the context is {context} tokens, and the model reads 1 to {limit or 'any number'}")
    aligned = align_rows(data, tokenizer, context or limit, token)
    check_vocabulary(loaded, aligned.input_ids, tokenizer)
    if len(aligned.row) == 0:
        raise InputError(f"no row of dataset {data.name!r} lies within the context of the model")
    order = np.argsort(data.text[aligned.row], kind="stable")
    plan = Plan(
        row=aligned.row[order],
        text=data.text[aligned.row[order]],
        first=aligned.first[order],
        last=aligned.last[order],
        input_ids=aligned.input_ids,
        batch_tokens=batch_tokens or BATCH_TOKENS.get(device_of(loaded).type, BATCH_TOKENS["cpu"]),
        batch_rows=max(1, BATCH_BYTES // (4 * sum(site.width for site in sites.values()))),
    )
    manifest = manifest_of(model, loaded, tokenizer, revision, data) | {
        "hook": hook,
        "layers": [layer.layer for layer in sites],
        "d_mlp": [site.width for site in sites.values()],
        "modules": [site.module for site in sites.values()],
        **({"heads": [site.heads for site in sites.values()]} if hook == "attn.heads" else {}),
        "values": [values for _ in sites],
        "token": token,
        "aggregation": data.aggregation,
        "context": context or limit,
        "tokens": plan.digest(),
        "batch_tokens": plan.batch_tokens,
        "n_rows": plan.n_rows,
        "dropped_rows": aligned.n_dropped,
    }
    if isinstance(model, str | Path):
        _drop_blocks(loaded, sites)
    return Extraction(loaded, sites, data, plan, manifest, options.get("progress"))


def _drop_blocks(model: nn.Module, sites: Iterable[NeuronLayer]) -> None:
    """Free the memory of the blocks after the last probed one, which never run."""
    from torch import nn

    last = max(layer.layer for layer in sites)
    for layer in neuron_map(model).layers[last + 1 :]:
        model.set_submodule(layer.block, nn.Identity())


def choose_layers(model: nn.Module, layers: Sequence[int] | None = None) -> list[NeuronLayer]:
    """
    Return the probed layers of a model's neuron map, ascending.

    Parameters
    ----------
    model : torch.nn.Module
        The model.
    layers : sequence of int, optional
        Which; by default all, of an encoder-decoder model the encoder's.

    Raises
    ------
    InputError
        If there is no such layer, or it is a decoder's that writes a second text.
    """
    located = neuron_map(model).layers
    if layers is None:
        return [x for x in located if x.stack != "decoder"]
    unknown = [n for n in layers if n not in range(len(located))]
    if unknown or len(layers) == 0:
        what = f"no layer {unknown[0]}" if unknown else "no layer in an empty list"
        raise InputError(f"the model has {what}: its layers are 0 to {len(located) - 1}")
    chosen = [located[n] for n in sorted(set(layers))]
    if any(x.stack == "decoder" for x in chosen):
        first = next(x.layer for x in located if x.stack == "decoder")
        raise InputError(
            f"layers {first} to {len(located) - 1} are a decoder that writes a second text, which a dataset of single "
            f"texts does not have; probe the encoder's layers 0 to {first - 1}"
        )
    return chosen
