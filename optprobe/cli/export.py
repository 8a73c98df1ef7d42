"""``optprobe export``: the rows that a certificate is about, as one file."""

from __future__ import annotations

import argparse
from pathlib import Path

from optprobe.cli.shared import add_layers_argument, chosen_layers
from optprobe.errors import InputError

HELP = "write the rows of a feature at a layer to an .npz: with it, anyone can check a certificate about them"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("store", metavar="STORE", type=Path, help="a folder from extract")
    parser.add_argument("--feature", "--target", help="the feature or target, where there are several")
    parser.add_argument("--layer", type=int, help="the layer, where there are several")
    add_layers_argument(parser, "several layers side by side, such as 0-29, 0 3 6, or all")
    parser.add_argument("--basis", metavar="CALL", help="other columns than neurons, as for optprobe solve")
    parser.add_argument("--out", type=Path, required=True, metavar="DATA.npz", help="new file of the rows")
    parser.add_argument("--test-share", type=float, metavar="S", help="share of the rows held out (default 0.3)")
    parser.add_argument("--seed", type=int, help="of the split by document (default 0)")


def run(arguments: argparse.Namespace) -> int:
    from optprobe.activations import Activations, in_basis, load_labelled

    if arguments.out.suffix != ".npz":
        raise InputError(f"{arguments.out} is no name of an .npz file: give one that ends in .npz")
    if arguments.out.exists():
        raise InputError(f"{arguments.out} exists already; remove it or give another name")
    store = Activations.open(arguments.store)
    layers, split = chosen_layers(arguments), (arguments.test_share, arguments.seed)
    rows = load_labelled(store, arguments.feature, arguments.layer, *split, layers=layers)
    rows = rows if arguments.basis is None else in_basis(rows, arguments.basis)
    print(f"{rows.save(arguments.out)}: {rows!r}")
    return 0
