"""``optprobe statistics``: what the neurons of a store do over its rows, and where one of them is largest."""

from __future__ import annotations

import argparse
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from optprobe.cli.shared import print_json

if TYPE_CHECKING:
    from collections.abc import Sequence

    from optprobe.activations import Activations, Context, NeuronStatistics

HELP = "print mean, deviation and extremes of a store's neurons, or one neuron's histogram and largest contexts"
BAR = 40


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("store", metavar="STORE", type=Path, help="a folder from extract")
    parser.add_argument("--layer", type=int, metavar="L", help="the layer, where there are several")
    parser.add_argument("--neuron", type=int, metavar="J", help="this neuron alone, with histogram and contexts")
    parser.add_argument("--top", type=int, metavar="M", help="rows of a neuron, largest first (default 20)")
    parser.add_argument(
        "--dataset", help="the dataset of the store, by name or folder: print the text of a neuron's rows"
    )
    parser.add_argument("--tokenizer", metavar="T", help="a folder or hub name (default: that of the store's model)")
    parser.add_argument("--keep", action="store_true", help="keep the statistics of the layer in the folder")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    from optprobe.activations import Activations
    from optprobe.errors import InputError

    activations = Activations.open(arguments.store)
    if arguments.layer is None and len(activations.layers) > 1:
        there = ", ".join(map(str, activations.layers))
        raise InputError(f"{arguments.store} holds several layers; give one of {there}")
    layer = activations.layers[0] if arguments.layer is None else arguments.layer
    if arguments.dataset is not None and arguments.neuron is None:
        raise InputError("--dataset is for the rows of one neuron: give --neuron as well")
    statistics = _statistics(activations, layer, arguments.top, arguments.keep)
    if arguments.neuron is None:
        _print_all(layer, statistics, arguments.json)
        return 0
    rows, _ = statistics.top_rows(arguments.neuron)
    found = _contexts(activations, rows[: arguments.top], arguments) if arguments.dataset is not None else []
    _print_one(layer, arguments.neuron, statistics, arguments.top, found, arguments.json)
    return 0


def _statistics(activations: Activations, layer: int, top: int | None, keep: bool) -> NeuronStatistics:
    """The statistics that the store keeps, if they are enough; otherwise new ones."""
    from rich.console import Console

    from optprobe.activations import accumulate_statistics, read_statistics, save_statistics
    from optprobe.activations.summaries.statistics import TOP

    found = read_statistics(activations, layer) if layer in activations.layers else None
    if found is not None and (top is None or 1 <= top <= found.top):
        return found
    made = save_statistics if keep else accumulate_statistics
    with Console(stderr=True).status(f"layer {layer}"):
        return made(activations, layer, TOP if top is None else top)


def _contexts(activations: Activations, rows: Any, arguments: argparse.Namespace) -> list[Context]:
    from optprobe.activations import contexts, load_tokenizer
    from optprobe.features import load

    if arguments.tokenizer is not None:
        tokenizer = load_tokenizer(arguments.tokenizer)
    else:
        tokenizer = load_tokenizer(activations.manifest["model"], activations.manifest.get("revision"))
    return list(contexts(activations, rows, load(arguments.dataset), tokenizer))


def _records(statistics: NeuronStatistics) -> list[dict[str, Any]]:
    """One record of numbers a neuron."""
    columns = {
        "neuron": np.arange(statistics.n_neurons),
        "mean": statistics.mean,
        "sd": np.sqrt(statistics.variance),
        "fraction_positive": statistics.fraction_positive,
        "minimum": statistics.minimum,
        "maximum": statistics.maximum,
    }
    return [dict(zip(columns, row)) for row in zip(*(column.tolist() for column in columns.values()))]


def _print_all(layer: int, statistics: NeuronStatistics, as_json: bool) -> None:
    records = _records(statistics)
    if as_json:
        print_json({"layer": layer, "n_rows": statistics.n_rows, "neurons": records})
        return
    print(f"layer {layer}, {statistics.n_rows:,} rows")
    print(f"{'neuron':>6} {'mean':>10} {'sd':>10} {'positive':>8} {'min':>10} {'max':>10}")
    for r in records:
        print(
            f"{r['neuron']:>6} {r['mean']:>10.4g} {r['sd']:>10.4g} {r['fraction_positive']:>8.1%} "
            f"{r['minimum']:>10.4g} {r['maximum']:>10.4g}"
        )


def _print_one(
    layer: int, neuron: int, statistics: NeuronStatistics, top: int | None, found: Sequence[Context], as_json: bool
) -> None:
    from rich.console import Console
    from rich.text import Text

    from optprobe.activations.summaries.statistics import BIN_NAMES

    rows, values = (array[:top].tolist() for array in statistics.top_rows(neuron))
    numbers, counts = _records(statistics)[neuron], statistics.histogram[neuron]
    if as_json:
        texts = [asdict(context) for context in found] or [{"row": row} for row in rows]
        print_json(
            {"layer": layer, "n_rows": statistics.n_rows, **numbers}
            | {"histogram": dict(zip(BIN_NAMES, counts.tolist()))}
            | {"top": [{"value": value, **text} for value, text in zip(values, texts)]}
        )
        return
    print(
        f"layer {layer}, neuron {neuron}, {statistics.n_rows:,} rows: mean {numbers['mean']:.4g}, "
        f"sd {numbers['sd']:.4g}, {numbers['fraction_positive']:.1%} positive, "
        f"from {numbers['minimum']:.4g} to {numbers['maximum']:.4g}"
    )
    for place in np.flatnonzero(counts):
        bar = "█" * max(1, round(BAR * counts[place] / counts.max()))
        print(f"{BIN_NAMES[place]:>16} {counts[place]:>10,} {bar}")
    console = Console(highlight=False, soft_wrap=True)
    for i, (row, value) in enumerate(zip(rows, values)):
        line = Text(f"{value:>10.4g}  row {row}")
        if found:
            line.append(f"  text {found[i].text}, token {found[i].position}  ")
            line.append(_one_line("".join(found[i].before)), "dim")
            line.append(f"[{_one_line(_shortened(found[i].token))}]", "bold reverse")
            line.append(_one_line("".join(found[i].after)), "dim")
        console.print(line)


def _shortened(text: str) -> str:
    return text if len(text) <= 120 else f"{text[:60]} ... {text[-60:]}"


def _one_line(text: str) -> str:
    return text.replace("\n", "⏎").replace("\t", "⇥")
