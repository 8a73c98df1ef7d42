"""``optprobe quickstart``: the main job on the bundled model."""

from __future__ import annotations

import argparse

HELP = "the main job on the bundled model: extract, solve, verify, compare, and write one HTML page"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    pass


def run(arguments: argparse.Namespace) -> int:
    return 0
