"""``optprobe extract``: activations of a model's MLP neurons at labelled tokens."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

HELP = "extract the post-activation MLP neurons of a model at the labelled tokens of a dataset, to a folder"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help='a model folder or hub name, or "bundled"')
    parser.add_argument(
        "--dataset",
        default="bundled",
        help="a dataset or feature by name, or a folder from features build (default: bundled)",
    )
    parser.add_argument("--layers", type=int, nargs="+", help="layers to extract (default: all)")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="new folder for the activations")
    parser.add_argument("--revision", help="revision of a hub model")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda ... (default: auto)")
    parser.add_argument("--batch-size", type=int, default=32)


def run(arguments: argparse.Namespace) -> int:
    from rich.console import Console
    from rich.progress import Progress, TimeRemainingColumn

    from optprobe.activations import ExtractionProgress, extract
    from optprobe.features import load

    data = load(arguments.dataset)
    console = Console(stderr=True)
    columns = (*Progress.get_default_columns()[:3], TimeRemainingColumn())
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("extracting", total=None)

        def report(moment: ExtractionProgress) -> None:
            bar.update(task, completed=moment.done, total=moment.total)

        activations = extract(
            arguments.model,
            data,
            arguments.layers,
            arguments.out,
            revision=arguments.revision,
            device=arguments.device,
            batch_size=arguments.batch_size,
            progress=report,
        )
    print(f"{arguments.out}: {activations.n_rows} rows, layers {list(activations.layers)}", file=sys.stdout)
    return 0
