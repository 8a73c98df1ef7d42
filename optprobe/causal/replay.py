"""Passes that share their beginning: blocks that ran once give again what they gave, and the rest runs anew.

The model's own forward pass does everything else (embedding, masks, rotary angles, what stands between blocks, final
norm, head), so that nothing of an architecture is known here. What a block puts out is all that others read of it, so a
pass whose first blocks are replayed is that of the whole model, bit by bit, wherever those blocks would have been given
the same.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from torch import nn


class Replay:
    """
    The first blocks of a model, in a pass that is kept and in passes that replay it.

    Parameters
    ----------
    blocks : sequence of nn.Module
        The blocks in the order in which they run.
    starts : collection of int
        Numbers of blocks, each the first to run anew in some later pass.
    """

    def __init__(self, blocks: Sequence[nn.Module], starts: Collection[int]) -> None:
        self._blocks, self._starts = blocks[: max(starts, default=0)], frozenset(starts)
        self._kept: dict[int, Any] = {}
        self._start: int | None = None

    def keep(self) -> None:
        """Run all blocks in the next pass, and keep what they put out."""
        self._start = None

    def replay(self, start: int) -> None:
        """Replay the blocks before `start` in the passes to come, as they were kept."""
        self._start = start

    @contextmanager
    def installed(self) -> Iterator[None]:
        """Have the blocks kept and replayed; they are as they were afterwards."""
        with ExitStack() as restored:
            restored.callback(self._kept.clear)
            for number, block in enumerate(self._blocks):
                restored.callback(_restore, block, vars(block).get("forward"))  # accelerate has one, for one
                block.forward = self._wrapped(number, block.forward)
            yield

    def _wrapped(self, number: int, forward: Callable[..., Any]) -> Callable[..., Any]:
        copied = _copied if number + 1 in self._starts else _as_it_is

        def run(*args: Any, **kwargs: Any) -> Any:
            if self._start is not None and number < self._start:
                return copied(self._kept[number])
            given = forward(*args, **kwargs)
            if self._start is None:
                self._kept[number] = copied(given)
            return given

        return run


def _restore(block: nn.Module, own: Any) -> None:
    vars(block).pop("forward", None)
    if own is not None:
        block.forward = own


def _as_it_is(given: Any) -> Any:
    return given


def _copied(given: Any) -> Any:
    """A copy of a block's output, which the next block may change in place."""
    import torch

    if isinstance(given, torch.Tensor):
        return given.clone()
    if isinstance(given, tuple) and not hasattr(given, "_fields"):
        return tuple(map(_copied, given))
    return list(map(_copied, given)) if isinstance(given, list) else given
