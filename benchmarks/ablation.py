"""What an ablation costs: a model with one ablated layer against the bare forward pass, and losses in one pass.

    python -m benchmarks.ablation [--shapes NAME ...] [--tokens N] [--out DIR]

Models are built from the shapes of Pythia with random weights and a head, so nothing is downloaded; texts are drawn
word by word. The bare pass is that of the model alone on the very same batches, and the ablation is of ten neurons of
the middle layer. Losses are those of `op.losses` as the model is, and under that ablation and as many as there are in
`ABLATIONS`, against as many whole passes. Runs take turns; what counts is the median over rounds of the ratio within a
round, so that what else the machine does weighs on both sides. Without a GPU, only the smallest shape runs. Results go
to ``benchmarks/results/ablation.json`` with a description of the machine.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.engines import RESULTS, machine
from benchmarks.extraction import ON_CPU, SHAPES, model_of, texts_of
from optprobe.activations import load_tokenizer
from optprobe.causal import Ablation, Reference, ablate, losses
from optprobe.files import write_file

if TYPE_CHECKING:
    pass

ROUNDS = 7
NEURONS = tuple(range(10))
ABLATIONS = 4
BATCH, LENGTH = 2, 256


def ratios(runs: dict[str, Callable[[], object]], rounds: int) -> dict[str, dict[str, float]]:
    """Median seconds of each run, and the median over rounds, which take turns, of its ratio to the first."""
    seconds: dict[str, list[float]] = {name: [] for name in runs}
    for at in range(rounds + 1):
        for name, run in runs.items():
            started = time.perf_counter()
            run()
            if at:  # the first round warms up
                seconds[name].append(time.perf_counter() - started)
    bare = np.array(next(iter(seconds.values())))
    return {
        name: {"seconds": float(np.median(taken)), "ratio": float(np.median(np.array(taken) / bare))}
        for name, taken in seconds.items()
    }


def passes(shape: str, device: str, dtype: str) -> dict[str, dict[str, float]]:
    """Forward passes of one batch with one layer ablated, of every kind, against the bare one."""
    import torch

    model, middle = model_of(shape, device, dtype, head=True), SHAPES[shape][1] // 2
    ids = torch.from_numpy(np.random.default_rng(0).integers(1, 4096, size=(BATCH, LENGTH))).to(device)
    values = np.random.default_rng(0).normal(size=(500, SHAPES[shape][3])).astype(np.float32)
    reference = Reference("drawn", {middle: values})

    def run() -> None:
        with torch.no_grad():
            model(input_ids=ids, use_cache=False)
        if device == "cuda":
            torch.cuda.synchronize()

    found: dict[str, dict[str, float]] = {}
    kinds: dict[str, dict[str, Any]] = {
        "zero": {},
        "scale": {"factor": 2.0},
        "mean": {"reference": reference},
        "resample": {"reference": reference},
    }
    for how, options in kinds.items():
        kind: Any = how

        def ablated(kind: Any = kind, options: dict[str, Any] = options) -> None:
            with ablate(model, {middle: NEURONS}, kind, **options):
                run()

        found |= ratios({"bare": run, how: ablated}, ROUNDS)
    return found


def one_pass(shape: str, device: str, dtype: str, n_tokens: int) -> dict[str, dict[str, float]]:
    """Losses as the model is, and under ablations of the middle layer, in one pass and in passes of their own."""
    model, middle = model_of(shape, device, dtype, head=True), SHAPES[shape][1] // 2
    tokenizer, data = load_tokenizer("bundled"), texts_of(n_tokens, 0.01)
    several = {str(at): Ablation({middle: [10 * at + j for j in NEURONS]}) for at in range(ABLATIONS)}

    def apart() -> None:
        losses(model, data, tokenizer=tokenizer, context=512)
        for ablation in several.values():
            with ablate(model, ablation):
                losses(model, data, tokenizer=tokenizer, context=512)

    def together(ablations: dict[str, Ablation]) -> Callable[[], object]:
        return lambda: losses(model, data, ablations, tokenizer=tokenizer, context=512)

    runs = {
        "clean": together({}),
        "1 ablation": together({"0": several["0"]}),
        f"{ABLATIONS} ablations": together(several),
        f"{ABLATIONS} ablations, whole passes": apart,
    }
    return ratios(runs, 2)


def main() -> None:
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, help="default: all on a GPU, 70m on a CPU")
    parser.add_argument("--tokens", type=int, default=600, help="tokens of losses (default 600; GPU: 500 times)")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    on_gpu = torch.cuda.is_available()
    if not on_gpu:
        print("there is no GPU here: the CPU part runs, and nothing below is said of a GPU")
    device, dtype = ("cuda", "bfloat16") if on_gpu else ("cpu", "float32")
    n_tokens = arguments.tokens * (500 if on_gpu else 1)
    measured = []
    for shape in arguments.shapes or (SHAPES if on_gpu else ON_CPU):
        one = {"passes": passes(shape, device, dtype), "losses": one_pass(shape, device, dtype, n_tokens)}
        measured.append({"shape": shape, "device": device, "dtype": dtype, **one})
        for what, found in one.items():
            for name, taken in found.items():
                print(f"{shape}, {what}, {name}: {taken['seconds']:.3f} s, {taken['ratio']:.3f} of the first")
    record = {"machine": machine(), "gpu": torch.cuda.get_device_name() if on_gpu else None, "ablation": measured}
    write_file(arguments.out / "ablation.json", json.dumps(record, indent=1) + "\n")


if __name__ == "__main__":
    main()
