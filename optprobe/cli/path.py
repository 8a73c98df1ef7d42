"""``optprobe path``: the best neurons for several k, a certificate each."""

from __future__ import annotations

import argparse
from pathlib import Path
from typing import Any

from optprobe.cli.shared import (
    add_data_arguments,
    add_problem_arguments,
    numbers,
    print_json,
    progress_line,
    read_stated,
    writable_folder,
)
from optprobe.errors import InputError

HELP = "find the best neurons for several k, each from the one before, and the k from which on an objective is reached"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_data_arguments(parser)
    add_problem_arguments(parser, k=numbers)
    parser.add_argument("--reach", type=float, metavar="F", help="an objective: how few neurons reach it?")
    parser.add_argument(
        "--out", type=Path, default=Path(), metavar="DIR", help="folder of the certificates (default: here)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")


def run(arguments: argparse.Namespace) -> int:
    from optprobe.engines import solve_path

    folder, ks = writable_folder(arguments.out), arguments.k
    problem = read_stated(argparse.Namespace(**{**vars(arguments), "k": max(ks)}))
    if min(ks) < 1:
        raise InputError(f"k is {min(ks)}: give numbers from 1")
    with progress_line() as report:
        method, limit = arguments.method or "auto", arguments.time_limit
        path = solve_path(problem, ks, limit, method=method, tolerance=arguments.tolerance, progress=report)
    saved = {k: solution.certificate().save_beside(folder) for k, solution in path.items()}
    reached = None if arguments.reach is None else path.smallest(arguments.reach)
    if arguments.json:
        rows = [
            {
                "k": k,
                "support": list(solution.support),
                "neurons": list(map(problem.columns.name, solution.support)),
                "upper_bound": solution.upper_bound,
                "lower_bound": solution.lower_bound,
                "optimal": solution.optimal,
                "engine": solution.engine,
                "certificate": str(saved[k]),
            }
            for k, solution in path.items()
        ]
        record: dict[str, Any] = {"path": rows, "nested": path.nested}
        print_json(record if arguments.reach is None else {**record, "reached": reached})
        return 0
    print(f"{problem!r}\n{path}")
    if arguments.reach is not None:
        said = "the bounds do not tell" if reached is None else f"{reached} neurons, and no fewer"
        print(f"an objective of {arguments.reach:g}: {said}")
    print(*(f"certificate      {one}" for one in saved.values()), sep="\n")
    return 0
