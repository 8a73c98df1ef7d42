"""``optprobe report``: a site of static pages about what a run found."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import TYPE_CHECKING

from optprobe.cli.shared import print_json
from optprobe.errors import InputError

if TYPE_CHECKING:
    from optprobe.report import Results, Store

HELP = "write a static site about what optprobe run left: overview, features, neurons, certificates"
TITLE = "Certified optimal sparse probes"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("folder", metavar="FOLDER", type=Path, help="what optprobe run or quickstart left; a registry")
    parser.add_argument("--out", type=Path, required=True, metavar="SITE", help="new, empty or a site already")
    parser.add_argument("--title", default=TITLE, help=f"default: {TITLE}")
    parser.add_argument(
        "--activations",
        type=Path,
        metavar="STORE",
        help="describes the neurons (default: FOLDER/activations, if there)",
    )
    parser.add_argument("--dataset", help="the dataset of the store, by name or folder: show the texts of its rows")
    parser.add_argument("--tokenizer", metavar="T", help="a folder or hub name (default: that of the store's model)")
    parser.add_argument(
        "--weights", action="store_true", help="load the store's model with its head: weights and output tokens"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    from optprobe.report import Site, read_results, write_site
    from optprobe.report.site import check_place

    check_place(arguments.out)
    results = read_results(arguments.folder)
    site = Site(results, arguments.title, _store(arguments, results))
    index = write_site(site, arguments.out)
    counts = {"pages": site.n_pages, "certificates": len(results.entries), "neurons": len(site.links.shown)}
    if arguments.json:
        print_json(counts)
    else:
        print(", ".join(f"{count} {name}" for name, count in counts.items()) + f": {index}")
    return 0


def _store(arguments: argparse.Namespace, results: Results) -> Store | None:
    """The activations that describe the neurons, and their texts where a dataset is named."""
    from optprobe.activations import Activations
    from optprobe.report import Store

    if arguments.tokenizer is not None and arguments.dataset is None:
        raise InputError("--tokenizer is for the texts, and there are none: give --dataset as well")
    beside = arguments.folder / "activations"
    path = arguments.activations or (beside if beside.is_dir() else None)
    if path is None:
        for name in ("dataset", "weights"):
            if getattr(arguments, name):
                raise InputError(f"--{name} is about a store, and there is none: give --activations as well")
        return None
    store = Store.of(Activations.open(path), arguments.dataset, arguments.tokenizer, arguments.weights)
    if not any(store.has(entry) for entry in results.current):
        raise InputError(f"{path} holds other activations than those that the certificates name: give theirs")
    return store
