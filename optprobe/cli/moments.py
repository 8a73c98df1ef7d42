"""``optprobe moments``: sufficient statistics of a store of activations."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "accumulate the moments of a store's training rows: all that the squared loss needs, whatever their number"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("store", metavar="STORE", type=Path, help="a folder from extract")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="new folder for the moments")
    parser.add_argument("--feature", nargs="+", help="features (default: all)")
    parser.add_argument("--layer", type=int, nargs="+", help="layers (default: all)")
    parser.add_argument("--class-weight", choices=("none", "balanced"), default="none")
    parser.add_argument(
        "--test-share", type=float, default=0.3, help="share of the rows that is left out (default 0.3)"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the split by document (default 0)")
    parser.add_argument("--device", default="cpu", help="a torch device with float64 (default: cpu)")


def run(arguments: argparse.Namespace) -> int:
    from rich.console import Console

    from optprobe.activations import Activations, accumulate

    store = Activations.open(arguments.store)
    with Console(stderr=True).status("accumulating") as status:
        moments = accumulate(
            store,
            arguments.out,
            arguments.feature,
            arguments.layer,
            class_weight=arguments.class_weight,
            test_share=arguments.test_share,
            seed=arguments.seed,
            device=arguments.device,
            report=lambda layer, feature: status.update(f"layer {layer}, {feature}"),
        )
    print(f"{arguments.out}: moments of {len(moments.features)} features at layers {list(moments.layers)}")
    return 0
