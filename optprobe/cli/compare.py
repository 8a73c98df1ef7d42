"""``optprobe compare``: every ranking and search against the optimum."""

from __future__ import annotations

import argparse
from pathlib import Path

from optprobe.cli.shared import (
    add_data_arguments,
    add_problem_arguments,
    print_json,
    read_data,
    read_problem,
    solve_from,
)
from optprobe.errors import InputError

HELP = "set every ranking and search against the certified optimum: objective, regret, overlap, held-out scores"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_data_arguments(parser)
    add_problem_arguments(parser)
    parser.add_argument("--seed", type=int, default=0, help="of the rankings that draw at random (default 0)")
    parser.add_argument(
        "--methods",
        nargs="+",
        metavar="M",
        help="compare with these only, such as mean_difference beam_search; where there are many rows and neurons, "
        "mutual_information and linear_svm take longest",
    )
    parser.add_argument(
        "--ranking",
        nargs="+",
        type=Path,
        default=[],
        metavar="FILE",
        help="neurons that others name, best first: a CSV with a column neuron, or sae-probes' JSON",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")


def run(arguments: argparse.Namespace) -> int:
    from optprobe.comparison import check_comparable, check_methods, compare
    from optprobe.heuristics import read_ranking

    check_methods(arguments.methods)
    problem = read_problem(arguments, read_data(arguments))
    check_comparable(problem)
    scope = problem.origin.scope
    if problem.columns.layers and (of_neurons := [path for path in arguments.ranking if path.suffix != ".json"]):
        raise InputError(f"the ranking {of_neurons[0]} numbers neurons of one layer: give --layer, not --layers")
    place = scope.get("feature"), scope.get("layer")
    rankings = {path.stem: read_ranking(path, *place, k=problem.size) for path in arguments.ranking}
    solution = solve_from(arguments, problem)
    if solution.interrupted:
        raise KeyboardInterrupt
    comparison = compare(solution, seed=arguments.seed, methods=arguments.methods, rankings=rankings)
    if not arguments.json:
        print(f"{problem!r}\n{solution}\n\n{comparison}")
        return 0
    print_json(
        {
            "support": list(solution.support),
            "neurons": list(map(problem.columns.name, solution.support)),
            "upper_bound": solution.upper_bound,
            "lower_bound": solution.lower_bound,
            "gap": solution.gap,
            "status": solution.status_sentence,
            "optimal": solution.optimal,
            "engine": solution.engine,
            "regime": solution.regime,
            "methods": comparison.records(),
        }
    )
    return 0
