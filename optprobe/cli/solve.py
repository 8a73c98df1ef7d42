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
    share,
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
        "--within",
        type=share,
        metavar="E",
        help="list all minimal sets within E of the optimum, a share of it such as 1%% or 0.01, with a proof that no "
        "other set is",
    )
    parser.add_argument("--within-absolute", type=float, metavar="E", help="the same, E on the mean-loss scale")
    parser.add_argument(
        "--pool", type=int, metavar="M", help="list at most M sets (default 1000); alone: the M best sets of k neurons"
    )
    parser.add_argument(
        "--out", type=Path, default=Path(), metavar="DIR", help="folder of the certificate (default: here)"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")


def run(arguments: argparse.Namespace) -> int:
    started = time.perf_counter()
    folder = writable_folder(arguments.out)
    problem = read_stated(arguments)
    asked = {name: getattr(arguments, name) for name in ("within", "within_absolute", "pool")}
    solution = solve_from(arguments, problem, **asked)
    pooled = any(value is not None for value in asked.values())
    certificate = solution.certificate()
    path = certificate.save_beside(folder)
    if path.name != certificate.file_name:
        print(f"optprobe solve: {certificate.file_name} is another certificate and is kept", file=sys.stderr)
    seconds = time.perf_counter() - started
    if not arguments.json:
        print(f"{problem!r}\n{solution}\ncertificate      {path}")
        if pooled and solution.pool is None:
            print("optprobe solve: nothing is proved of other sets: there was no time, or some are as good as the best")
    else:
        print_json(record(solution, path, seconds) | (of_pool(solution) if pooled else {}))
    return INTERRUPTED if solution.interrupted else 0


def of_pool(solution: Solution) -> dict[str, Any]:
    """What ``--json`` prints of a pool that was asked for; null where time was up before anything was proved of it."""
    pool = solution.pool
    if pool is None:
        return dict.fromkeys(("pool", "rest", "margin", "unique", "roles"))
    return {
        "pool": [{"support": list(one.support), "upper_bound": one.upper_bound} for one in pool.sets],
        "rest": pool.rest,
        "margin": pool.margin,
        "unique": pool.unique,
        "roles": {solution.problem.columns.name(neuron): role for neuron, role in pool.roles.items()},
    }


def record(solution: Solution, path: Path, seconds: float) -> dict[str, Any]:
    """What ``--json`` prints."""
    problem = solution.problem
    return {
        "support": list(solution.support),
        "neurons": list(map(problem.columns.name, solution.support)),
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
        "forced": list(problem.forced),
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
