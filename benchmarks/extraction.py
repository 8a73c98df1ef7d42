"""Tokens a second of an extraction against the bare forward pass of the same batches, memory, and moments.

    python -m benchmarks.extraction [--shapes NAME ...] [--tokens N] [--out DIR]

Models are built from the shapes of Pythia with random weights, so nothing is downloaded; texts are drawn word by word.
The bare pass is that of the model without the blocks after the last probed one, on the very batches of the extraction,
padding included. Passes take turns, and the fastest of each kind counts. Without a GPU, only the smallest shapes run.
Results go to ``benchmarks/results/extraction.json`` with a description of the machine.
"""

from __future__ import annotations

import argparse
import copy
import json
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.engines import RESULTS, machine
from optprobe.activations import Extraction, load_tokenizer, prepare
from optprobe.activations.extraction.forward import Forward
from optprobe.activations.model.loading import inference
from optprobe.activations.summaries.moments import GramAccumulator
from optprobe.features import FeatureDataset
from optprobe.files import write_file

if TYPE_CHECKING:
    from torch import nn

SHAPES: dict[str, tuple[int, int, int, int]] = {
    "70m": (512, 6, 8, 2048),
    "160m": (768, 12, 12, 3072),
    "410m": (1024, 24, 16, 4096),
    "1.4b": (2048, 24, 16, 8192),
    "2.8b": (2560, 32, 32, 10240),
    "6.9b": (4096, 32, 32, 16384),
}
"""d_model, layers, heads, d_mlp."""
ON_CPU = ("70m",)
SHARES = (0.01, 1.0)
"""Of the tokens: labelled."""
ROUNDS = 3
GRAM_NEURONS = 4096
GRAM_ROWS = 4096


@dataclass(frozen=True)
class Measured:
    """One setting: tokens a second of both passes, and what share of the bare pass the extraction reaches."""

    shape: str
    device: str
    dtype: str
    layers: str
    labelled: float
    n_tokens: int
    n_rows: int
    padding: float
    bare: float
    to_memory: float
    to_store: float
    peak_gpu_bytes: int
    flops_per_second: float

    @property
    def ratios(self) -> tuple[float, float]:
        """Share of the bare pass reached into memory and into a store."""
        return self.to_memory / self.bare, self.to_store / self.bare


def model_of(shape: str, device: str, dtype: str, head: bool = False) -> nn.Module:
    """A GPT-NeoX of a Pythia's shape with random weights, for the bundled tokenizer; as `load_model`, with its head."""
    import torch
    from transformers import GPTNeoXConfig, GPTNeoXForCausalLM, GPTNeoXModel

    d_model, n_layers, n_heads, d_mlp = SHAPES[shape]
    torch.manual_seed(0)
    config = GPTNeoXConfig(
        vocab_size=4096,
        hidden_size=d_model,
        num_hidden_layers=n_layers,
        num_attention_heads=n_heads,
        intermediate_size=d_mlp,
        max_position_embeddings=2048,
        dtype=dtype,
    )
    with torch.device(device):
        model: nn.Module = (GPTNeoXForCausalLM if head else GPTNeoXModel)(config).to(getattr(torch, dtype)).eval()
    return model


def texts_of(n_tokens: int, share: float, seed: int = 0) -> FeatureDataset:
    """Texts of 50 to 400 words of the vocabulary, about ``n_tokens`` in all, with a share of the words labelled."""
    rng = np.random.default_rng(seed)
    vocabulary = np.array(["neuron", "probe", "token", "sparse", "layer", "model", "certificate", "of", "the", "a"])
    texts: list[str] = []
    spans: list[tuple[int, int, int]] = []
    while n_tokens > 0:
        words = rng.choice(vocabulary, size=rng.integers(50, 401))
        ends = np.cumsum([len(word) + 1 for word in words]) - 1
        for word, end in zip(words, ends):
            if rng.random() < share:
                spans.append((len(texts), int(end) - len(word), int(end)))
        texts.append(" ".join(words))
        n_tokens -= 2 * len(words)
    text, start, end = np.array(spans, dtype=np.int32).T
    y = np.where(rng.random(len(text)) < 0.5, 1, -1).astype(np.int8)
    return FeatureDataset("drawn", tuple(texts), text, start, end, text, {"coin": y}, {"coin": "+1 at random"})


def truncated(model: nn.Module, last: int) -> nn.Module:
    """The model without the blocks after ``last``; its weights are shared."""
    shorter = copy.copy(model)
    shorter._modules = dict(model._modules)
    blocks: Any = model.layers
    shorter._modules["layers"] = type(blocks)(list(blocks)[: last + 1])
    config: Any = copy.deepcopy(model.config)
    config.num_hidden_layers = last + 1
    shorter.config = config
    return shorter


def bare_pass(model: nn.Module, extraction: Extraction) -> None:
    """Run every batch of an extraction through the model without a hook."""
    import torch

    forward = Forward(model, extraction.sites, extraction.plan)
    with inference(model):
        for chunk in extraction.plan.chunks():
            for batch in chunk.batches:
                forward.pass_over(batch)
    if torch.cuda.is_available():
        torch.cuda.synchronize()


def fastest(runs: dict[str, Callable[[], object]]) -> dict[str, float]:
    """Seconds of the fastest of some rounds of each run, taking turns."""
    seconds = dict.fromkeys(runs, float("inf"))
    for _ in range(ROUNDS):
        for name, run in runs.items():
            started = time.perf_counter()
            run()
            seconds[name] = min(seconds[name], time.perf_counter() - started)
    return seconds


def measure(shape: str, device: str, dtype: str, n_tokens: int, share: float, middle: bool) -> Measured:
    """Extract from all layers or from the middle one, and run the bare pass, in turns."""
    import torch

    model = model_of(shape, device, dtype)
    n_layers = SHAPES[shape][1]
    layers = [n_layers // 2] if middle else list(range(n_layers))
    tokenizer = load_tokenizer("bundled")
    token: Any = "every" if share == 1 else "last"
    extraction = prepare(
        model, texts_of(n_tokens, share), layers, tokenizer=tokenizer, token=token, context=512, dtype=dtype
    )
    shorter = truncated(model, layers[-1])
    plan = extraction.plan
    batches = [batch for chunk in plan.chunks() for batch in chunk.batches]
    lengths = [np.array([len(plan.input_ids[t]) for t in batch.texts]) for batch in batches]
    run = sum(int(part.sum()) for part in lengths)
    padded = sum(len(part) * int(part.max()) for part in lengths)

    def to_store() -> None:
        with tempfile.TemporaryDirectory() as folder:
            extraction.to_store(Path(folder) / "store")

    bare_pass(shorter, extraction)
    if device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    seconds = fastest(
        {"bare": lambda: bare_pass(shorter, extraction), "memory": extraction.to_memory, "store": to_store}
    )
    d_model, _, _, d_mlp = SHAPES[shape]
    per_token = 2 * (layers[-1] + 1) * (4 * d_model**2 + 2 * d_model * d_mlp)
    return Measured(
        shape,
        device if device == "cpu" else torch.cuda.get_device_name(),
        dtype,
        f"middle ({layers[0]})" if middle else f"all {n_layers}",
        share,
        run,
        plan.n_rows,
        padded / run - 1,
        run / seconds["bare"],
        run / seconds["memory"],
        run / seconds["store"],
        torch.cuda.max_memory_allocated() if device == "cuda" else 0,
        per_token * run / seconds["store"],
    )


def gram(device: str) -> dict[str, float]:
    """Seconds of `GramAccumulator` on rows of 4,096 neurons, and of one general matrix product of the same size."""
    import torch

    X = torch.randn(GRAM_ROWS, GRAM_NEURONS, device=device, dtype=torch.float32)
    y = torch.sign(torch.randn(GRAM_ROWS, 1, device=device))
    double = X.double()

    def synchronised(run: Callable[[], object]) -> Callable[[], None]:
        def timed() -> None:
            run()
            if device == "cuda":
                torch.cuda.synchronize()

        return timed

    accumulator = GramAccumulator(GRAM_NEURONS, 1, device)
    seconds = fastest(
        {
            "product": synchronised(lambda: torch.mm(double.T, double)),
            "accumulator": synchronised(lambda: accumulator.add(X, y)),
        }
    )
    return {"n_rows": GRAM_ROWS, "n_neurons": GRAM_NEURONS, **seconds}


def peak_memory(n_tokens: int) -> tuple[int, int]:
    """Rows, and bytes of memory that extracting them to a store takes beyond what the model took, in a process."""
    done = subprocess.run(
        [sys.executable, "-m", "benchmarks.extraction", "--memory", str(n_tokens)],
        capture_output=True,
        text=True,
        check=True,
    )
    n_rows, taken = json.loads(done.stdout.splitlines()[-1])
    return n_rows, taken


def report_memory(n_tokens: int) -> None:
    extraction = prepare(
        model_of("70m", "cpu", "float32"),
        texts_of(n_tokens, 1.0),
        tokenizer=load_tokenizer("bundled"),
        token="every",
        context=512,
    )
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with tempfile.TemporaryDirectory() as folder:
        extraction.to_store(Path(folder) / "store")
    taken = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before
    print(json.dumps([extraction.plan.n_rows, 1024 * taken]))


def show(measured: list[Measured], moments: list[dict[str, float]], memory: list[tuple[int, int]]) -> None:
    from rich.console import Console
    from rich.table import Table

    console = Console(width=None if Console().is_terminal else 150)
    table = Table(title="Tokens a second; share of the bare pass in brackets", title_justify="left")
    for name in (
        "shape",
        "device",
        "dtype",
        "layers",
        "labelled",
        "rows",
        "padding",
        "bare",
        "to memory",
        "to a store",
    ):
        table.add_column(name, justify="right")
    for one in measured:
        memory_ratio, store_ratio = one.ratios
        table.add_row(
            one.shape,
            one.device,
            one.dtype,
            one.layers,
            f"{one.labelled:.0%}",
            f"{one.n_rows:,}",
            f"{one.padding:.1%}",
            f"{one.bare:,.0f}",
            f"{one.to_memory:,.0f} ({memory_ratio:.2f})",
            f"{one.to_store:,.0f} ({store_ratio:.2f})",
        )
    console.print(table)
    for found in moments:
        console.print(
            f"moments of {found['n_rows']:.0f} rows of {found['n_neurons']:.0f} neurons: {found['accumulator']:.2f} s, "
            f"{found['accumulator'] / found['product']:.2f} times one matrix product in float64 of that size"
        )
    for n_rows, taken in memory:
        console.print(f"extracting {n_rows:,} rows takes {taken / 2**20:.0f} MiB beyond model and texts")


def main() -> None:
    import torch

    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--shapes", nargs="+", choices=SHAPES, help="default: all on a GPU, 70m on a CPU")
    parser.add_argument("--tokens", type=int, default=20_000, help="tokens of a run (default 20,000; GPU: 50 times)")
    parser.add_argument("--memory", type=int, help=argparse.SUPPRESS)
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    if arguments.memory is not None:
        report_memory(arguments.memory)
        return
    on_gpu = torch.cuda.is_available()
    if not on_gpu:
        print("there is no GPU here: the CPU part runs, and nothing below is said of a GPU")
    device, dtype = ("cuda", "bfloat16") if on_gpu else ("cpu", "float32")
    n_tokens = arguments.tokens * (50 if on_gpu else 1)
    measured = [
        measure(shape, device, dtype, n_tokens, share, middle)
        for shape in arguments.shapes or (SHAPES if on_gpu else ON_CPU)
        for share in SHARES
        for middle in (False, True)
    ]
    moments = [gram(device)]
    memory = [peak_memory(n) for n in (40_000, 160_000)]
    show(measured, moments, memory)
    record = {
        "machine": machine(),
        "gpu": torch.cuda.get_device_name() if on_gpu else None,
        "extraction": [asdict(one) | {"ratios": one.ratios} for one in measured],
        "moments": moments,
        "memory": [{"n_rows": n, "bytes": taken} for n, taken in memory],
    }
    write_file(arguments.out / "extraction.json", (json.dumps(record, indent=1) + "\n").encode())


if __name__ == "__main__":
    main()
