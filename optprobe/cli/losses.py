"""``optprobe losses``: next-token losses of a model over texts, as it is and without some neurons."""

from __future__ import annotations

import argparse
import sys
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optprobe.cli.extract import token_bar
from optprobe.cli.shared import INTERRUPTED, columns, print_json
from optprobe.errors import InputError

if TYPE_CHECKING:
    from optprobe.causal import Ablation, Hurt, Losses

HELP = "compare a model's next-token loss with and without some neurons, on the texts of a dataset"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help='a model folder, GGUF file or hub name, or "bundled"')
    parser.add_argument("dataset", metavar="DATASET", help="a dataset or feature by name, or a folder of one")
    parser.add_argument(
        "--ablate",
        type=neurons_of_layer,
        nargs="+",
        action="append",
        default=[],
        metavar="LAYER:NEURONS",
        help="neurons that are ablated together, such as 3:415,12 5:7; again for another ablation beside it",
    )
    parser.add_argument("--how", choices=("zero", "mean", "resample", "scale"), help="default: zero")
    parser.add_argument("--factor", type=float, help="for scale: what values are multiplied by")
    parser.add_argument("--reference", type=Path, metavar="ACTS", help="for mean and resample: a folder from extract")
    parser.add_argument("--seed", type=int, help="for resample (default: 0)")
    parser.add_argument("--feature", help="a feature of the dataset: differences by its labels as well")
    parser.add_argument("--top", type=int, default=5, metavar="N", help="tokens hurt most that are shown (default: 5)")
    parser.add_argument("--begin", type=int, metavar="ID", help="a begin-of-text token to be put before every text")
    parser.add_argument("--out", type=Path, metavar="DIR", help="folder of the losses; goes on with what is there")
    parser.add_argument("--tokenizer", metavar="T", help="a folder or hub name (default: the model's own)")
    parser.add_argument("--revision", help="revision of a hub model: 40 hex digits pin it")
    parser.add_argument("--device", default="auto", help="auto, cpu, cuda ..., or split: all GPUs (default: auto)")
    parser.add_argument("--dtype", choices=("float32", "bfloat16", "float16"), default="float32", help="of the weights")
    parser.add_argument("--context", type=int, metavar="N", help="tokens of a text that are read (default: all it can)")
    parser.add_argument("--batch-tokens", type=int, metavar="N", help="tokens of a batch (default: 4096, GPU 32768)")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    from optprobe.causal import losses
    from optprobe.features import load

    data = load(arguments.dataset)
    if arguments.feature is not None:
        data.rows(arguments.feature)
    ablations = {str(one): one for one in ablations_of(arguments)}
    options = ("begin", "tokenizer", "revision", "device", "dtype", "context", "batch_tokens")
    with token_bar(f"losses of {arguments.dataset}") as report:
        try:
            found = losses(
                arguments.model,
                data,
                ablations,
                arguments.out,
                progress=report,
                **{name: getattr(arguments, name) for name in options},
            )
        except KeyboardInterrupt:
            more = "" if arguments.out is None else f"; the same command goes on with {arguments.out}"
            print(f"optprobe losses: interrupted{more}", file=sys.stderr)
            return INTERRUPTED
    record = record_of(found, arguments.feature, arguments.top)
    if arguments.json:
        print_json(record)
        return 0
    print(found)
    for name, one in record["ablations"].items():
        for label, difference in one.get("by_label", {}).items():
            print(f"{name}, {arguments.feature} {label}: {difference['mean']:+.4f} nats a token")
        for hurt in one["hurt_most"]:
            around = "".join(hurt["before"]), hurt["token"], "".join(hurt["after"])
            line = "{}[{}]{}".format(*around).replace("\n", "⏎")
            print(f"{hurt['ablated'] - hurt['clean']:+.2f}  {line}")
    return 0


def ablations_of(arguments: argparse.Namespace) -> list[Ablation]:
    """The ablations that the arguments name, all of one kind."""
    from optprobe.activations import Activations
    from optprobe.causal import Ablation, Reference

    kind: Any = "zero" if arguments.how is None else arguments.how
    given = {name: getattr(arguments, name) for name in ("how", "factor", "reference", "seed")}
    if idle := [name for name, value in given.items() if value is not None and not arguments.ablate]:
        raise InputError(f"--{idle[0]} says how neurons are ablated, and none is named: give --ablate 3:415,12")
    path = arguments.reference
    reference = None if path is None else Reference(path.name, Activations.open(path))
    found = []
    for pairs in arguments.ablate:
        if len(dict(pairs)) < len(pairs):
            raise InputError("--ablate names a layer twice: give all its neurons at once, such as 3:415,12")
        found.append(Ablation(dict(pairs), kind, reference, arguments.factor, arguments.seed))
    if len({str(one) for one in found}) < len(found):
        raise InputError("--ablate names the same neurons twice: give them once")
    return found


def record_of(found: Losses, feature: str | None, top: int) -> dict[str, Any]:
    """What is printed, in JSON values: differences in nats a token, each with its interval."""
    ablations = {}
    for name, record in found.ablations.items():
        by_label = {}
        for label in (1, -1) if feature is not None else ():
            if (found.tokens.labels[feature] == label).any():  # type: ignore[index]
                by_label[f"{label:+d}"] = asdict(found.difference(name, feature, label))
        ablations[name] = {
            "ablation": dict(record),
            **asdict(found.difference(name)),
            **({} if feature is None else {"by_label": by_label}),
            "hurt_most": [_hurt(one) for one in found.hurt_most(name, top)],
        }
    return {
        "model": found.tokens.manifest["model"],
        "dataset": found.tokens.manifest["dataset"],
        "tokens": found.tokens.n_rows,
        "clean": float(found.of().mean()),
        "ablations": ablations,
    }


def _hurt(one: Hurt) -> dict[str, Any]:
    return {**asdict(one.context), "clean": one.clean, "ablated": one.ablated}


def neurons_of_layer(text: str) -> tuple[int, tuple[int, ...]]:
    """Parse a layer and numbers of neurons in it, such as 3:415,12."""
    layer, colon, neurons = text.partition(":")
    if not (colon and layer.isdecimal()):
        raise argparse.ArgumentTypeError(f"{text!r} is no layer with its neurons, such as 3:415,12")
    return int(layer), columns(neurons)
