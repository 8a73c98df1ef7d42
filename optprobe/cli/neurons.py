"""``optprobe neurons``: where a model's MLP neurons are."""

from __future__ import annotations

import argparse
from dataclasses import asdict

from optprobe.cli.shared import print_json

HELP = "print where a model's MLP neurons are: layers, projections, sizes, hook points"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("model", metavar="MODEL", help='a model folder, GGUF file or hub name, or "bundled"')
    parser.add_argument("--revision", help="revision of a hub model")
    parser.add_argument("--check", action="store_true", help="check the map by numbers: zero neurons, one at a time")
    parser.add_argument("--json", action="store_true", help="print one JSON object")


def run(arguments: argparse.Namespace) -> int:
    from optprobe.activations import hook_points, load_model, neuron_map, verify_neuron_map

    model = load_model(arguments.model, revision=arguments.revision)
    neurons = neuron_map(model)
    hooks = hook_points(model, neurons)
    deviation = verify_neuron_map(model, neurons) if arguments.check else None
    if arguments.json:
        checked = {} if deviation is None else {"deviation": deviation}
        print_json(asdict(neurons) | {"hooks": hooks} | checked)
        return 0
    print(neurons)
    print(f"hook points: {', '.join(hooks)}")
    if deviation is not None:
        print(f"checked: zeroing a neuron takes its row of the projection away, to {deviation:.1e} of the output")
    return 0
