"""
The forward pass of an extraction: batches of texts in, the values of the labelled tokens out.

Hooks on the probed modules take the rows' tokens out of a batch where it lies, on the device. The hook of the last
probed layer then ends the pass, so that no later block runs. transformers' own forward pass is the reference: nothing
in the model is changed.
"""

from __future__ import annotations

import gc
import math
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, suppress
from types import TracebackType
from typing import TYPE_CHECKING, Any, Self, TypeVar

import numpy as np
from numpy.typing import NDArray

from optprobe.activations.extraction.plan import Batch, Plan
from optprobe.activations.extraction.rounding import rounded
from optprobe.activations.model.hooks import HookSite
from optprobe.activations.model.loading import inference, pad_token
from optprobe.activations.model.neurons import NeuronLayer, run_tokens
from optprobe.errors import InputError

if TYPE_CHECKING:
    import torch
    from torch import nn


class _EndOfPass(Exception):
    """Ends a forward pass after the last probed layer; it never leaves this module."""


T = TypeVar("T")


def in_halves(once: Callable[[Batch], T], batch: Batch, plan: Plan) -> Iterator[tuple[Batch, T]]:
    """
    Run a batch; where it does not fit in memory, its halves.

    Yields what ran at once, and what came of it. Raises `InputError` if a single text does not fit.
    """
    import torch

    try:
        yield batch, once(batch)
        return
    except torch.OutOfMemoryError as error:
        if len(batch.texts) == 1:
            n_tokens = len(plan.input_ids[batch.texts[0]])
            raise InputError(
                f"text {batch.texts[0]} of {n_tokens} tokens does not fit in the memory of the device; give a "
                "smaller context, a smaller dtype, or another device"
            ) from error
    gc.collect()
    if torch.cuda.is_available():
        torch.cuda.empty_cache()
    for half in batch.halves(plan.text):
        yield from in_halves(once, half, plan)


class Forward:
    """
    A model with hooks on some layers: a context manager, which leaves the model as it was.

    Parameters
    ----------
    model : torch.nn.Module
        The model.
    sites : mapping of NeuronLayer to HookSite
        Where the values of each layer are, the layers in the order in which they run.
    plan : Plan
        The rows and the token ids.
    aggregation : {"none", "mean", "max"}
        What becomes of the tokens of a row: "none" for rows of one token.

    Attributes
    ----------
    dtypes : mapping of int to str
        The type in which the values of each layer are given; float32 unless set.
    """

    def __init__(
        self, model: nn.Module, sites: Mapping[NeuronLayer, HookSite], plan: Plan, aggregation: str = "none"
    ) -> None:
        self._model, self._sites, self._plan, self._aggregation = model, sites, plan, aggregation
        self._pad = pad_token(model)
        self._stack = next(iter(sites)).stack
        self._last = list(sites)[-1]
        self.dtypes: Mapping[int, str] = {}
        self._seen: dict[int, torch.Tensor] = {}
        self._shape = 0, 0
        self._positions: NDArray[np.int64] = np.empty(0, dtype=np.int64)
        self._lengths: NDArray[np.int64] | None = None
        self._hooks = ExitStack()

    def __enter__(self) -> Self:
        """Place the hooks."""
        for layer, site in self._sites.items():
            module = self._model.get_submodule(site.module)
            if site.side == "input":
                handle = module.register_forward_pre_hook(self._before(layer, site))
            else:
                handle = module.register_forward_hook(self._after(layer, site))
            self._hooks.callback(handle.remove)
        self._hooks.enter_context(inference(self._model))
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Remove the hooks."""
        self._hooks.close()
        self._seen.clear()

    def run(self, batch: Batch) -> Iterator[tuple[Batch, dict[int, torch.Tensor]]]:
        """
        Run a batch; where it does not fit in memory, its halves.

        Parameters
        ----------
        batch : Batch
            The texts and rows.

        Yields
        ------
        Batch, dict of int to Tensor, shape (n_rows of the batch, width)
            What ran at once, and the values of each layer, on the device.

        Raises
        ------
        InputError
            If a single text does not fit in memory, or a module does not run once on all tokens.
        """
        return in_halves(self._once, batch, self._plan)

    def pass_over(self, batch: Batch) -> None:
        """Run a batch through the model for what its hooks see, as far as they let it."""
        import torch

        ids, mask = self._plan.padded(batch, self._pad)
        self._shape = ids.shape[0], ids.shape[1]
        with suppress(_EndOfPass):
            run_tokens(self._model, torch.from_numpy(ids), torch.from_numpy(mask), self._stack)

    def _once(self, batch: Batch) -> dict[int, torch.Tensor]:
        self._positions, self._lengths = self._places(batch)
        self._seen = {}
        self.pass_over(batch)
        for layer, site in self._sites.items():
            if layer.layer not in self._seen:
                raise InputError(f"{site.module} did not run in the forward pass, so layer {layer.layer} has no values")
        seen, self._seen = self._seen, {}
        return seen

    def _places(self, batch: Batch) -> tuple[NDArray[np.int64], NDArray[np.int64] | None]:
        """Return the flat places of the rows' tokens in the padded batch, and tokens a row where they are several."""
        plan = self._plan
        width = max(len(plan.input_ids[t]) for t in batch.texts)
        line = np.empty(int(batch.texts.max()) + 1, dtype=np.int64)
        line[batch.texts] = np.arange(len(batch.texts))
        begin = line[plan.text[batch.rows]] * width + plan.first[batch.rows]
        if self._aggregation == "none":
            return begin, None
        lengths = (plan.last[batch.rows] - plan.first[batch.rows] + 1).astype(np.int64)
        within = np.arange(lengths.sum()) - np.repeat(np.cumsum(lengths) - lengths, lengths)
        return np.repeat(begin, lengths) + within, lengths

    def _before(self, layer: NeuronLayer, site: HookSite) -> Callable[..., None]:
        def take(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
            self._take(layer, site, inputs[0])

        return take

    def _after(self, layer: NeuronLayer, site: HookSite) -> Callable[..., None]:
        def take(_: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
            self._take(layer, site, output[0] if isinstance(output, tuple | list) else output)

        return take

    def _take(self, layer: NeuronLayer, site: HookSite, value: torch.Tensor) -> None:
        """Keep the rows of one layer, and end the pass if it was the last."""
        import torch

        values = value.reshape(-1, value.shape[-1])
        outer = value.shape[:-1]
        shape_fits = outer == self._shape if len(outer) == 2 else outer.numel() == math.prod(self._shape)
        if not shape_fits or value.shape[-1] != site.width or layer.layer in self._seen:
            raise InputError(
                f"{site.module} does not run once on all tokens of a batch, text by text (its value has the shape "
                f"{tuple(value.shape)}), so its rows cannot be told apart; switch off chunking in its config"
            )
        kept = self.dtypes.get(layer.layer, "float32")
        index = torch.from_numpy(self._positions).to(values.device)
        if self._lengths is not None:
            lengths = torch.from_numpy(self._lengths).to(values.device)
            tokens = values.index_select(0, index).float()
            taken = rounded(torch.segment_reduce(tokens, self._aggregation, lengths=lengths), kept)
        elif 2 * len(index) > len(values):  # most tokens are rows: convert all, and move smaller numbers
            taken = rounded(values, kept).index_select(0, index)
        else:
            taken = rounded(values.index_select(0, index), kept)
        self._seen[layer.layer] = taken
        if layer is self._last:
            raise _EndOfPass
