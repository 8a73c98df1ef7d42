"""``optprobe neurons``: where a model's MLP neurons are."""

from __future__ import annotations

import argparse

HELP = "print where a model's MLP neurons are: layers, projections, sizes"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help='a model folder or hub name, or "bundled"')
    parser.add_argument("--revision", help="revision of a hub model")


def run(arguments: argparse.Namespace) -> int:
    from optprobe.activations import load_model, neuron_map

    print(neuron_map(load_model(arguments.model, revision=arguments.revision)))
    return 0
