"""Next-token losses of a model, as it is and under ablations, in one pass over texts.

A batch runs once as it is. Each ablation then runs from the first block that it touches, since the blocks before give
what they gave (see `optprobe.causal.replay`). A loss is ``-log p(token | the tokens before it)`` in nats, from the
logits of that batch alone. Who has a loss: every token of a text but the first that the model reads, and but the
tokenizer's special tokens; so a text's own first token has one where a begin-of-text token stands before it.
"""

from __future__ import annotations

import inspect
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from optprobe.activations.extraction.extract import BATCH_TOKENS
from optprobe.activations.extraction.forward import in_halves
from optprobe.activations.extraction.plan import Batch, Chunk, Plan
from optprobe.activations.extraction.run import ExtractionProgress, Memory, Report, Sink
from optprobe.activations.model.loading import (
    AUTO,
    check_vocabulary,
    context_length,
    device_of,
    inference,
    language_model,
    model_and_tokenizer,
    pad_token,
    vocabulary_size,
)
from optprobe.activations.model.neurons import NeuronMap, neuron_map
from optprobe.activations.model.provenance import manifest_of
from optprobe.activations.store.activations import Activations
from optprobe.activations.store.matrix import NeuronMatrix
from optprobe.activations.store.writer import StoreWriter
from optprobe.causal.ablation import Ablation, ablated, check_there
from optprobe.causal.replay import Replay
from optprobe.causal.scored import scored_tokens
from optprobe.causal.table import CLEAN, LOSS, Losses
from optprobe.errors import InputError
from optprobe.features.dataset import FeatureDataset

if TYPE_CHECKING:
    import torch
    from torch import nn

LOGITS = 2**27
"""Logits that a batch may have; a single text has as many as it needs."""


def losses(
    model: str | Path | nn.Module,
    data: FeatureDataset,
    ablations: Mapping[str, Ablation | Mapping[int, Sequence[int]]] | None = None,
    out: str | Path | None = None,
    *,
    tokenizer: Any = None,
    begin: int | None = None,
    context: int | None = None,
    batch_tokens: int | None = None,
    revision: str | None = None,
    device: str = AUTO,
    dtype: str = "float32",
    progress: Report | None = None,
) -> Losses:
    """
    Run a model over texts and keep the loss of every token, as the model is and under each ablation.

    With `out`, a run that was interrupted goes on where it was: shards that are there and whole are not run again.

    Parameters
    ----------
    model : str, Path or torch.nn.Module
        As `extract` takes it, with its language-model head. Ablations that hold outside hold in every pass.
    data : FeatureDataset
        The texts that its rows lie in, their documents, and the labels by which tokens are grouped.
    ablations : mapping of str to Ablation, or to a mapping of layers to neurons, which are set to 0
        By names of one's own; none by default.
    out : str or Path, optional
        Folder of the losses; by default they stay in memory.
    tokenizer : transformers tokenizer, str or Path
        By default the model's own; a loaded model needs it.
    begin : int, optional
        Id of a begin-of-text token that is put before every text, where the tokenizer puts none: the text's first token
        has a loss then. By default the texts are as the tokenizer makes them.
    context : int, optional
        Tokens of a text that are read, `begin` apart; by default as many as the model can.
    batch_tokens : int, optional
        Tokens of a batch, padding included; by default 4,096 on a CPU and 32,768 on a GPU, and at most `LOGITS` logits.
        Losses depend on it up to rounding.
    revision, device, dtype : str
        As in `extract`.
    progress : callable, optional
        Called with an `ExtractionProgress` after each chunk of texts.

    Returns
    -------
    Losses
        One row a token, one column a pass; memory-mapped if `out` is given.

    Raises
    ------
    InputError
        If the model has no next-token loss, an ablation does not fit it, no token has a loss, a loss is not finite, or
        the model, tokenizer, device or folder cannot be used.
    KeyboardInterrupt
        After Ctrl-C; the folder holds whole shards, and the same call goes on.
    """
    named = {name: x if isinstance(x, Ablation) else Ablation(x) for name, x in (ablations or {}).items()}
    if CLEAN in named:
        raise InputError(f"{CLEAN!r} is the name of the pass without an ablation: give this one another")
    if batch_tokens is not None and batch_tokens < 1:
        raise InputError(f"a batch has a number of tokens from 1, not {batch_tokens}")
    loaded, tokenizer = model_and_tokenizer(model, tokenizer, revision, device, dtype, head=True)
    check_next_token(loaded)
    neurons = neuron_map(loaded)
    for ablation in named.values():
        check_there(ablation, neurons)
    read = _tokens_read(loaded, tokenizer, begin, context)
    tokens = scored_tokens(data, tokenizer, read, begin)
    check_vocabulary(loaded, tokens.input_ids, tokenizer)
    plan = tokens.plan(batch_tokens or _batch_tokens(loaded))
    manifest = manifest_of(model, loaded, tokenizer, revision, data) | {
        "hook": LOSS,
        "layers": [0],
        "d_mlp": [1 + len(named)],
        "values": ["float32"],
        "ablations": {name: ablation.record() for name, ablation in named.items()},
        "begin": begin,
        "context": read,
        "tokens": plan.digest(),
        "batch_tokens": plan.batch_tokens,
        "n_rows": plan.n_rows,
        "dropped_rows": 0,
    }
    passes = _Passes(loaded, plan, tuple(named.values()), neurons)
    rows: dict[str, Any] = tokens.arrays()
    if out is None:
        memory = Memory(plan.n_rows, {0: 1 + len(named)}, {0: "float32"})
        _run(passes, memory, progress)
        labels = dict(zip(manifest["features"], rows.pop("labels")))
        matrices = {0: NeuronMatrix.of(memory.arrays[0])}
        found = Activations(MappingProxyType(manifest), **rows, labels=labels, matrices=matrices)
    else:
        with StoreWriter(out, manifest, rows) as writer:
            _run(passes, writer, progress)
            writer.finish()
        found = Activations.open(out)
    return Losses(found, data, tokenizer)


def _tokens_read(model: nn.Module, tokenizer: Any, begin: int | None, context: int | None) -> int | None:
    """The tokens of a text that are read beside ``begin``, None for all; `InputError` where the model cannot."""
    known, limit = vocabulary_size(model), context_length(model, tokenizer)
    if begin is not None and not 0 <= begin < known:
        raise InputError(f"the begin-of-text token is {begin}, and the model knows ids 0 to {known - 1}")
    most = None if limit is None else limit - (begin is not None)
    if context is not None and not 1 <= context <= (most or context):
        raise InputError(f"the context is {context} tokens, and the model reads 1 to {most or 'any number'}")
    return context or most


def check_next_token(model: nn.Module) -> None:
    """Raise `InputError` unless a model's logits at a token depend on no later one: they predict the next."""
    import torch

    kind = type(model).__name__
    _, part = language_model(model)
    if getattr(part.config, "is_encoder_decoder", False):
        raise InputError(f"{kind} writes a second text, which a dataset of single texts does not have: it has no loss")
    ids = torch.arange(min(4, vocabulary_size(model)), device=device_of(model))[None, :]
    changed = ids.clone()
    changed[0, -1] = 0
    with inference(model):
        if not hasattr(_output(model, ids), "logits") or model.get_output_embeddings() is None:  # type: ignore[operator]
            raise InputError(
                f"{kind} has no language-model head, so it has no next-token loss: load it with "
                "load_model(name, head=True); an encoder has none"
            )
        one, other = (_output(model, x).logits[0, :-1].float() for x in (ids, changed))
    eps = torch.finfo(next(model.parameters()).dtype).eps
    if not (one - other).abs().max() <= 10 * eps * one.abs().max():
        raise InputError(f"{kind} reads the tokens after a token too, so it does not predict it: give a causal model")


def _output(model: nn.Module, ids: torch.Tensor, mask: torch.Tensor | None = None) -> Any:
    import torch

    options = {"use_cache": False} if "use_cache" in inspect.signature(model.forward).parameters else {}
    return model(input_ids=ids, attention_mask=torch.ones_like(ids) if mask is None else mask, **options)


def _batch_tokens(model: nn.Module) -> int:
    usual = BATCH_TOKENS.get(device_of(model).type, BATCH_TOKENS["cpu"])
    return max(1, min(usual, LOGITS // vocabulary_size(model)))


@dataclass(frozen=True, eq=False)
class _Passes:
    """A model, the tokens that have a loss, and the ablations under which they have another."""

    model: nn.Module
    plan: Plan
    ablations: tuple[Ablation, ...]
    neurons: NeuronMap

    def over(self, chunk: Chunk, replay: Replay) -> NDArray[np.float32]:
        """The losses of a chunk, shape (n_rows, 1 + n_ablations)."""
        found = np.empty((chunk.stop - chunk.start, 1 + len(self.ablations)), dtype=np.float32)
        ran = (in_halves(lambda batch: self._once(batch, replay), batch, self.plan) for batch in chunk.batches)
        for batch, values in chain.from_iterable(ran):
            found[batch.rows - chunk.start] = values
            self._check(values, batch)
        return found

    def _once(self, batch: Batch, replay: Replay) -> NDArray[np.float32]:
        import torch

        ids, mask = (torch.from_numpy(x) for x in self.plan.padded(batch, pad_token(self.model)))
        device = device_of(self.model)
        ids, mask = ids.to(device), mask.to(device)
        replay.keep()
        found = [self._losses(batch, ids, mask)]
        for ablation in self.ablations:
            replay.replay(min(ablation.neurons))
            with ablated(self.model, ablation, self.neurons):
                found.append(self._losses(batch, ids, mask))
        return torch.stack(found, dim=1).cpu().numpy()

    def _losses(self, batch: Batch, ids: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """The losses of a batch's rows; one text after another, so that logits are there once."""
        import torch
        from torch.nn.functional import cross_entropy

        logits = _output(self.model, ids, mask).logits
        places = self.plan.first[batch.rows]
        stops = np.flatnonzero(np.diff(self.plan.text[batch.rows])) + 1
        of_texts = [torch.from_numpy(x.astype(np.int64)).to(logits.device) for x in np.split(places, stops)]
        return torch.cat(
            [
                cross_entropy(
                    logits[line, place - 1].float(), ids[line, place.to(ids.device)].to(logits.device), reduction="none"
                )
                for line, place in enumerate(of_texts)
            ]
        )

    def _check(self, values: NDArray[np.float32], batch: Batch) -> None:
        if np.isfinite(values).all():
            return
        i, at = np.argwhere(~np.isfinite(values))[0]
        row = batch.rows[i]
        raise InputError(
            f"the loss of token {self.plan.first[row]} of text {self.plan.text[row]} is {values[i, at]}"
            f"{f' under {self.ablations[at - 1]}' if at else ''}: the model overflows or its weights are damaged; try "
            "dtype='float32'"
        )


def _run(passes: _Passes, sink: Sink, progress: Callable[[ExtractionProgress], object] | None) -> None:
    """Run what the sink misses."""
    blocks = [passes.model.get_submodule(layer.block) for layer in passes.neurons.layers]
    replay = Replay(blocks, {min(ablation.neurons) for ablation in passes.ablations})
    while missing := sink.missing():
        chunks = passes.plan.chunks_of(missing[0])
        done, total, began = 0, sum(chunk.n_tokens for chunk in chunks), time.perf_counter()
        with inference(passes.model), replay.installed():
            for chunk in chunks:
                sink.add(0, chunk.start, passes.over(chunk, replay))
                done += chunk.n_tokens
                if progress is not None:
                    progress(ExtractionProgress(done, total, time.perf_counter() - began))
