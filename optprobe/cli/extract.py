"""``optprobe extract``: values of a model's neurons at labelled tokens."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from optprobe.cli.shared import add_layers_argument, chosen_layers
from optprobe.errors import InputError

if TYPE_CHECKING:
    from optprobe.activations import ExtractionProgress
    from optprobe.activations.extraction.run import Report

HELP = "extract the values of a model's neurons at the labelled tokens of a dataset, to a folder; goes on where it was"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help='a model folder, GGUF file or hub name, or "bundled"')
    parser.add_argument(
        "--dataset",
        default="bundled",
        help="a dataset or feature by name, or a folder from features build (default: bundled)",
    )
    add_layers_argument(parser, "layers to extract, such as 3, 0 3 6, 0-29, or all (default: all)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="folder of the values")
    parser.add_argument("--hook", choices=("mlp.post", "mlp.pre", "attn.heads", "resid.post"), default="mlp.post")
    parser.add_argument("--token", choices=("last", "first", "every"), default="last", help="which token of a word")
    parser.add_argument("--tokenizer", metavar="T", help="a folder or hub name (default: the model's own)")
    parser.add_argument("--revision", help="revision of a hub model: 40 hex digits pin it")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda ..., or split: all GPUs (default: auto)")
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), default="float32", help="of the weights")
    parser.add_argument("--values", choices=("float16", "float32"), default="float16", help="type of the values kept")
    parser.add_argument("--context", type=int, metavar="N", help="tokens of a text that are read (default: all it can)")
    parser.add_argument("--batch-tokens", type=int, metavar="N", help="tokens of a batch (default: 4096, GPU 32768)")
    parser.add_argument(
        "--statistics", action="store_true", help="keep statistics of every neuron beside the values; see statistics"
    )
    parser.add_argument(
        "--shard", type=part_of, metavar="I/N", help="part I of N, for many machines; see optprobe join"
    )
    parser.add_argument(
        "--moments",
        choices=("none", "balanced"),
        help="keep no values but the moments of every feature's training rows, with these class weights: all that the "
        "squared loss needs",
    )


def run(arguments: argparse.Namespace) -> int:
    from optprobe.activations import accumulate, prepare, save_statistics
    from optprobe.activations.store.manifest import read_manifest
    from optprobe.features import load

    if arguments.shard is not None and arguments.moments is not None:
        raise InputError("moments are accumulated in one run: leave --shard out, or extract parts and use moments")
    if arguments.statistics and arguments.shard is not None:
        raise InputError("--statistics are of the whole store, not of a part: join it, then optprobe statistics --keep")
    if arguments.statistics and arguments.moments is not None:
        raise InputError("--statistics are of the values of a store, and --moments keeps none: leave one of them out")
    layers = chosen_layers(arguments)
    with token_bar("extracting") as report:
        extraction = prepare(
            arguments.model,
            load(arguments.dataset),
            None if isinstance(layers, str) else layers,
            hook=arguments.hook,
            tokenizer=arguments.tokenizer,
            revision=arguments.revision,
            device=arguments.device,
            dtype=arguments.dtype,
            values=arguments.values,
            token=arguments.token,
            context=arguments.context,
            batch_tokens=arguments.batch_tokens,
            progress=report,
        )
        try:
            if arguments.moments is not None:
                accumulate(extraction, arguments.out, class_weight=arguments.moments)
            elif arguments.shard is not None:
                extraction.to_part(arguments.out, *arguments.shard)
            else:
                activations = extraction.to_store(arguments.out)
                for layer in activations.layers if arguments.statistics else ():
                    save_statistics(activations, layer)
        except KeyboardInterrupt:
            print(f"optprobe extract: interrupted; the same command goes on with {arguments.out}", file=sys.stderr)
            return 130
    what = f"{extraction.plan.n_rows} rows, layers {extraction.manifest['layers']}"
    if arguments.shard is not None:
        what = "part {} of {} of {}; when all are there: optprobe join STORE PART ...".format(*arguments.shard, what)
    if arguments.moments is not None:
        what = f"moments of {what}"
    print(f"{arguments.out}: {what}")
    if arguments.moments is None:
        for layer, reason in read_manifest(arguments.out)["promoted"].items():
            print(f"layer {layer} is kept in float32: {reason}")
    return 0


def part_of(text: str) -> tuple[int, int]:
    """Parse I/N."""
    number, slash, of = text.partition("/")
    if not (slash and number.isdecimal() and of.isdecimal() and 1 <= int(number) <= int(of)):
        raise argparse.ArgumentTypeError(f"the part {text!r} is not of the form I/N with I from 1 to N, such as 2/8")
    return int(number), int(of)


@contextmanager
def token_bar(what: str) -> Iterator[Report]:
    """A bar on standard error: tokens, tokens a second and the time left; a line each tenth where it is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TextColumn("{task.fields[speed]:,.0f} tokens/s"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=None, speed=0.0)
        said = 0

        def report(moment: ExtractionProgress) -> None:
            nonlocal said
            if not console.is_terminal and moment.total and (tenths := 10 * moment.done // moment.total) > said:
                said = tenths
                tokens = f"{moment.done:,} of {moment.total:,} tokens, {moment.tokens_per_second:,.0f} tokens/s"
                print(f"{what}: {tokens}", file=sys.stderr, flush=True)
            bar.update(task, completed=moment.done, total=moment.total, speed=moment.tokens_per_second)

        yield report
