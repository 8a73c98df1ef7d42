"""
Neuron activations of a model at labelled words.

A pre-hook on each probed down projection takes the rows' tokens out of the batch where it lies, on the device. The hook
of the last probed layer then ends the forward pass, so that no later block runs. transformers' own forward pass is the
reference: nothing in the model is changed.
"""

from __future__ import annotations

import platform
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, suppress
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from optprobe.activations.loading import inference, load_model, load_tokenizer
from optprobe.activations.neurons import NeuronLayer, neuron_map, run_tokens
from optprobe.activations.store import FORMAT, Activations, StoreWriter
from optprobe.errors import InputError
from optprobe.features.alignment import TokenChoice, align_rows
from optprobe.features.dataset import FeatureDataset

if TYPE_CHECKING:
    import torch
    from torch import nn

HOOK = "mlp.post"


@dataclass(frozen=True)
class ExtractionProgress:
    """
    How far an extraction is.

    Parameters
    ----------
    done, total : int
        Tokens run and tokens to be run.
    seconds : float
        Seconds since the first batch began.
    """

    done: int
    total: int
    seconds: float

    @property
    def share(self) -> float:
        """Share of the tokens that were run, 0 to 1."""
        return self.done / self.total

    @property
    def seconds_left(self) -> float:
        """Seconds left if the tokens to come take as long as those done (the longest texts come first)."""
        return self.seconds * (self.total - self.done) / self.done


class _EndOfPass(Exception):
    """Ends a forward pass after the last probed layer; it never leaves this module."""


def extract(
    model: str | Path | nn.Module,
    data: FeatureDataset,
    layers: Sequence[int] | None = None,
    out: str | Path | None = None,
    *,
    tokenizer: Any = None,
    revision: str | None = None,
    device: str = "auto",
    batch_size: int = 32,
    dtype: str = "float32",
    token: TokenChoice = "last",
    progress: Callable[[ExtractionProgress], object] | None = None,
) -> Activations:
    """
    Run a model over a dataset and keep its MLP neurons' post-activation values at the labelled words.

    Texts longer than the model's context are cut there; the rows beyond are dropped and counted in the manifest.

    Parameters
    ----------
    model : str, Path or torch.nn.Module
        "bundled", a folder, a name on the Hugging Face hub, or a loaded model (used on its own device, in its own type,
        and left as it was).
    data : FeatureDataset
        The labelled words.
    layers : sequence of int, optional
        Layers of the model's neuron map; by default all (of an encoder-decoder model: the encoder's).
    out : str or Path, optional
        Folder to be written, whole or not at all; by default the activations stay in memory.
    tokenizer : transformers tokenizer, str or Path, optional
        By default the model's own; a loaded model needs it.
    revision : str, optional
        Branch, tag or commit of a hub model.
    device : str, default="auto"
        A torch device; "auto" is the GPU if there is one.
    batch_size : int, default=32
        Texts a batch. Texts of like length share a batch.
    dtype : {"float32", "bfloat16", "float16"}
        Type of the weights while they run; the activations are float32 in any case.
    token : {"last", "first", "every"}
        The token of a word is the last (or first) one that overlaps it; "every" makes each of them a row.
    progress : callable, optional
        Called with an `ExtractionProgress` after each batch.

    Returns
    -------
    Activations
        One matrix a layer; memory-mapped if `out` is given.

    Raises
    ------
    InputError
        If the model, tokenizer, device, layers or folder cannot be used, or an activation is not finite.
    """
    if batch_size < 1:
        raise InputError(f"the batch size is a number of texts from 1, not {batch_size}")
    with ExitStack() as stack:
        writer = stack.enter_context(StoreWriter(out)) if out is not None else None
        loaded, tokenizer = _prepare(model, tokenizer, revision, device, dtype)
        chosen = _choose_layers(loaded, layers)
        if data.aggregation != "none":
            raise InputError(f"dataset {data.name!r} takes the {data.aggregation} over tokens, which extract does not")
        aligned = align_rows(data, tokenizer, _context_length(loaded, tokenizer), token)
        _check_vocabulary(loaded, aligned.input_ids, tokenizer)
        rows = aligned.row
        if len(rows) == 0:
            raise InputError(f"no row of dataset {data.name!r} lies within the context of the model")
        room = writer.matrix if writer else _new_matrix
        matrices = {x.layer: room(x.layer, len(rows), x.d_mlp) for x in chosen}
        work = _Work(data.text[rows], aligned.token, aligned.input_ids, batch_size)
        _fill(loaded, chosen, matrices, work, progress)
        activations = Activations(
            manifest=MappingProxyType(
                _describe(model, loaded, revision, chosen, data, len(rows), aligned.n_dropped, token)
            ),
            text=data.text[rows],
            start=data.start[rows],
            end=data.end[rows],
            token=aligned.token,
            group=data.group[rows],
            labels=MappingProxyType({name: y[rows] for name, y in data.labels.items()}),
            matrices=MappingProxyType(matrices),
        )
        if writer is None or out is None:
            return activations
        writer.commit(activations)
    return Activations.open(out)


@dataclass(frozen=True, eq=False)
class _Work:
    """The rows to be filled: their texts and tokens, the token ids of all texts, and the texts a batch."""

    text: NDArray[np.int32]
    token: NDArray[np.int32]
    input_ids: tuple[NDArray[np.int64], ...]
    batch_size: int

    def batches(self) -> Iterator[tuple[NDArray[np.int32], NDArray[np.intp]]]:
        """Yield the texts of each batch, the longest first, and the rows in them, text by text."""
        texts = np.unique(self.text)
        lengths = np.array([len(self.input_ids[t]) for t in texts])
        texts = texts[np.argsort(-lengths, kind="stable")]
        order = np.argsort(self.text, kind="stable")
        sorted_text = self.text[order]
        for i in range(0, len(texts), self.batch_size):
            batch = texts[i : i + self.batch_size]
            bounds = zip(np.searchsorted(sorted_text, batch), np.searchsorted(sorted_text, batch, side="right"))
            yield batch, np.concatenate([order[a:b] for a, b in bounds])

    def n_tokens(self) -> int:
        """Return the number of tokens of the texts with rows."""
        return sum(len(self.input_ids[t]) for t in np.unique(self.text))


def _prepare(
    model: str | Path | nn.Module, tokenizer: Any, revision: str | None, device: str, dtype: str
) -> tuple[nn.Module, Any]:
    """Return the loaded model and its tokenizer."""
    from torch import nn

    if isinstance(tokenizer, str | Path):
        tokenizer = load_tokenizer(tokenizer)
    if not isinstance(model, nn.Module):
        if tokenizer is None:
            tokenizer = load_tokenizer(model, revision)
        return load_model(model, revision, device, dtype), tokenizer
    if tokenizer is None:
        raise InputError("a loaded model comes without its tokenizer; give tokenizer= as well")
    own = next(model.parameters()).device
    if device not in ("auto", str(own), own.type):
        raise InputError(f"the loaded model is on {own}, not on {device!r}; move it there first, or leave device out")
    return model, tokenizer


def _choose_layers(model: nn.Module, layers: Sequence[int] | None) -> list[NeuronLayer]:
    """Return the probed layers of a model's neuron map, ascending."""
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


def _context_length(model: nn.Module, tokenizer: Any) -> int | None:
    """Return the number of tokens that a model can read, None if there is no limit."""
    from torch import nn

    config: Any = model.config
    limits = [getattr(config.get_text_config(), "max_position_embeddings", None), tokenizer.model_max_length]
    for name, module in model.named_modules():
        if isinstance(module, nn.Embedding) and name.endswith("position_embeddings") and module.padding_idx is not None:
            limits.append(module.num_embeddings - module.padding_idx - 1)
    known = [int(n) for n in limits if n is not None and 0 < n < 10**9]
    return min(known, default=None)


def _check_vocabulary(model: nn.Module, input_ids: tuple[NDArray[np.int64], ...], tokenizer: Any) -> None:
    embeddings: Any = model.get_input_embeddings()  # type: ignore[operator]
    largest = max((int(ids.max()) for ids in input_ids if len(ids)), default=0)
    if largest >= embeddings.num_embeddings:
        raise InputError(
            f"the tokenizer {type(tokenizer).__name__} gives the token id {largest}, and {type(model).__name__} knows "
            f"ids 0 to {embeddings.num_embeddings - 1}; give the tokenizer that belongs to the model"
        )


def _new_matrix(_: int, n_rows: int, d_mlp: int) -> NDArray[np.float32]:
    return np.zeros((n_rows, d_mlp), dtype=np.float32)


def _fill(
    model: nn.Module,
    layers: list[NeuronLayer],
    matrices: Mapping[int, NDArray[np.float32]],
    work: _Work,
    progress: Callable[[ExtractionProgress], object] | None,
) -> None:
    """Run the texts in batches and write the rows' neurons into the matrices."""
    import torch

    capture = _Capture(layers)
    pad = getattr(model.config, "pad_token_id", None)
    done, total, began = 0, work.n_tokens(), time.perf_counter()
    with ExitStack() as hooks:
        for layer in layers:
            projection = model.get_submodule(layer.projection)
            hooks.callback(projection.register_forward_pre_hook(capture.hook(layer)).remove)
        hooks.enter_context(inference(model))
        for texts, rows in work.batches():
            lengths = np.array([len(work.input_ids[t]) for t in texts])
            width = int(lengths.max())
            ids = np.full((len(texts), width), pad if isinstance(pad, int) and pad >= 0 else 0, dtype=np.int64)
            for i, t in enumerate(texts):
                ids[i, : lengths[i]] = work.input_ids[t]
            mask = (np.arange(width) < lengths[:, None]).astype(np.int64)
            line = np.repeat(np.arange(len(texts)), [np.count_nonzero(work.text[rows] == t) for t in texts])
            capture.begin(ids.size, line * width + work.token[rows])
            with suppress(_EndOfPass):
                run_tokens(model, torch.from_numpy(ids), torch.from_numpy(mask), layers[0].stack)
            for layer in layers:
                values = capture.values(layer)
                _check_finite(values, layer, work, rows)
                matrices[layer.layer][rows] = values
            done += int(lengths.sum())
            if progress is not None:
                progress(ExtractionProgress(done, total, time.perf_counter() - began))


class _Capture:
    """The hooks of one extraction: they take the wanted tokens out of a batch, and end the pass at the last layer."""

    def __init__(self, layers: list[NeuronLayer]) -> None:
        self._last = layers[-1].layer
        self._n_positions = 0
        self._index: NDArray[np.intp] = np.empty(0, dtype=np.intp)
        self._seen: dict[int, torch.Tensor] = {}

    def begin(self, n_positions: int, index: NDArray[np.intp]) -> None:
        """Await a batch of `n_positions` tokens and padding; those at the flat positions `index` are wanted."""
        self._n_positions, self._index = n_positions, index
        self._seen.clear()

    def hook(self, layer: NeuronLayer) -> Callable[[nn.Module, tuple[torch.Tensor, ...]], None]:
        """Return the pre-hook of a layer's down projection."""

        def take(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            import torch

            neurons = inputs[0].reshape(-1, inputs[0].shape[-1])
            if neurons.shape != (self._n_positions, layer.d_mlp) or layer.layer in self._seen:
                raise InputError(
                    f"{layer.projection} does not run once on all tokens of a batch (it was given "
                    f"{tuple(inputs[0].shape)}), so its rows cannot be told apart; switch off chunking in its config"
                )
            index = torch.from_numpy(self._index).to(neurons.device)
            self._seen[layer.layer] = neurons.index_select(0, index).float()
            if layer.layer == self._last:
                raise _EndOfPass

        return take

    def values(self, layer: NeuronLayer) -> NDArray[np.float32]:
        """Return the wanted neurons of a layer in this batch, shape (n_rows of the batch, d_mlp)."""
        if layer.layer not in self._seen:
            raise InputError(
                f"{layer.projection} did not run in the forward pass, so layer {layer.layer} has no values"
            )
        return self._seen[layer.layer].cpu().numpy()


def _check_finite(values: NDArray[np.float32], layer: NeuronLayer, work: _Work, rows: NDArray[np.intp]) -> None:
    """Report the first activation that is not a number."""
    if np.isfinite(values).all():
        return
    i, neuron = np.argwhere(~np.isfinite(values))[0]
    row = rows[i]
    raise InputError(
        f"neuron {neuron} of layer {layer.layer} is {values[i, neuron]} at token {work.token[row]} of text "
        f"{work.text[row]}: the model overflows or its weights are damaged; try dtype='float32'"
    )


def _describe(
    model: str | Path | nn.Module,
    loaded: nn.Module,
    revision: str | None,
    layers: list[NeuronLayer],
    data: FeatureDataset,
    n_rows: int,
    n_dropped: int,
    token: TokenChoice,
) -> dict[str, Any]:
    """Return the manifest of an extraction, without its files."""
    is_name = isinstance(model, str | Path)
    return {
        "format": FORMAT,
        "model": str(model) if is_name else type(model).__name__,
        "model_class": type(loaded).__name__,
        "revision": revision,
        "commit": getattr(loaded.config, "_commit_hash", None),
        "hook": HOOK,
        "dtype": str(next(loaded.parameters()).dtype).removeprefix("torch."),
        "layers": [x.layer for x in layers],
        "d_mlp": [x.d_mlp for x in layers],
        "projections": [x.projection for x in layers],
        "token": token,
        "dataset": {"name": data.name, "digest": data.digest, "licence": data.licence},
        "features": {name: data.rules[name] for name in data.features},
        "n_rows": n_rows,
        "dropped_rows": n_dropped,
        "versions": _versions(),
    }


def _versions() -> dict[str, str]:
    found = {"python": platform.python_version()}
    for name in ("optprobe", "numpy", "torch", "transformers", "tokenizers"):
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            found[name] = "unknown"
    return found
