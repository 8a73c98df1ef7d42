"""``optprobe join``: one store of the parts that several machines extracted."""

from __future__ import annotations

import argparse
from pathlib import Path

HELP = "join the parts of an extraction (extract --shard I/N) to one store, after checking every file"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("store", metavar="STORE", type=Path, help="new folder of the whole")
    parser.add_argument("parts", metavar="PART", type=Path, nargs="+", help="the folders of all parts, in any order")


def run(arguments: argparse.Namespace) -> int:
    from optprobe.activations import join

    activations = join(arguments.parts, arguments.store)
    print(f"{arguments.store}: {activations.n_rows} rows, layers {list(activations.layers)}")
    return 0
