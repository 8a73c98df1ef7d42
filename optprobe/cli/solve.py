"""``optprobe solve``: the best k neurons, with a certificate."""

from __future__ import annotations

import argparse
import sys
import time
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optprobe.cli.shared import (
    INTERRUPTED,
    add_data_arguments,
    add_problem_arguments,
    print_json,
    read_stated,
    solve_from,
    writable_folder,
)

if TYPE_CHECKING:
    from optprobe.engines import Solution

HELP = "find the best k neurons and write the certificate that proves it; Ctrl-C: as it stands, exit 130"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_data_arguments(parser)
    add_problem_arguments(parser)
    parser.add_argument(
        "--out", type=Path, default=Path(), metavar="DIR", help="folder of the certificate (default: here)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")


def run(arguments: argparse.Namespace) -> int:
    started = time.perf_counter()
    folder = writable_folder(arguments.out)
    problem = read_stated(arguments)
    solution = solve_from(arguments, problem)
    certificate = solution.certificate()
    path = certificate.save_beside(folder)
    if path.name != certificate.file_name:
        print(f"optprobe solve: {certificate.file_name} is another certificate and is kept", file=sys.stderr)
    seconds = time.perf_counter() - started
    if not arguments.json:
        print(f"{problem!r}\n{solution}\ncertificate      {path}")
    else:
        print_json(record(solution, path, seconds))
    return INTERRUPTED if solution.interrupted else 0


def record(solution: Solution, path: Path, seconds: float) -> dict[str, Any]:
    """What ``--json`` prints."""
    problem = solution.problem
    return {
        "support": list(solution.support),
        "upper_bound": solution.upper_bound,
        "lower_bound": solution.lower_bound,
        "gap": solution.gap,
        "relative_gap": solution.gap / abs(solution.upper_bound) if solution.upper_bound else 0.0,
        "status": solution.status_sentence,
        "optimal": solution.optimal,
        "engine": solution.engine,
        "why": solution.why,
        "regime": solution.regime,
        "scope": f"among these {len(problem.among)} neurons" if problem.among is not None else "among all neurons",
        "k": problem.k,
        "loss": problem.loss.name,
        "ridge": problem.ridge,
        "class_weight": problem.class_weight,
        "coef": list(map(float, solution.coef)),
        "intercept": solution.intercept,
        "seconds": seconds,
        "phases": dict(solution.seconds),
        "counts": dict(solution.counts),
        "certificate": str(path),
    }
