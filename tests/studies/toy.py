"""A study of numbers, some of which misbehave."""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optprobe.errors import InputError
from optprobe.studies import Item


@dataclass(frozen=True)
class Numbers:
    """
    The squares of some numbers, each after the one before it.

    Parameters
    ----------
    n : int
        How many.
    seconds : float
        How long each takes.
    raising, dying, greedy, interrupted : tuple of int
        Those that raise, end their process, take 3 GiB, or press Ctrl-C.
    refused : tuple of int
        Those whose result is not sound.
    version : int
    """

    n: int = 6
    seconds: float = 0.0
    raising: tuple[int, ...] = ()
    dying: tuple[int, ...] = ()
    greedy: tuple[int, ...] = ()
    interrupted: tuple[int, ...] = ()
    refused: tuple[int, ...] = ()
    version: int = 1
    trace: Path | None = None

    name = "numbers"

    def items(self) -> Sequence[Item]:
        return [
            Item({"number": i}, {"data": "d" * 64}, f"number {i}", "even" if i % 2 == 0 else "odd")
            for i in range(self.n)
        ]

    def run(self, item: Item, earlier: Mapping[str, Any] | None) -> Mapping[str, Any]:
        number = item.values["number"]
        if self.trace is not None:
            with self.trace.open("a") as file:
                file.write(f"{number}\n")
        time.sleep(self.seconds)
        if number in self.raising:
            raise InputError(f"{number} is not wanted\nat all")
        if number in self.dying:
            os.kill(os.getpid(), signal.SIGKILL)
        if number in self.greedy:
            bytearray(3 * 2**30)
        if number in self.interrupted:
            raise KeyboardInterrupt
        return {"square": number**2, "third": number / 3, "earlier": None if earlier is None else earlier["square"]}

    def sound(self, result: Mapping[str, Any]) -> bool:
        return result["square"] not in self.refused
