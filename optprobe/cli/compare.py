"""``optprobe compare``: every ranking and search against the optimum."""

from __future__ import annotations

import argparse

from optprobe.cli.shared import (
    add_data_arguments,
    add_problem_arguments,
    print_json,
    read_data,
    read_problem,
    solve_from,
)

HELP = "set every ranking and search against the certified optimum: objective, regret, overlap, held-out F1"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    add_data_arguments(parser)
    add_problem_arguments(parser)
    parser.add_argument("--seed", type=int, default=0, help="of the rankings that draw at random (default 0)")
    parser.add_argument(
        "--methods", nargs="+", metavar="M", help="compare with these only, such as mean_difference beam_search"
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")


def run(arguments: argparse.Namespace) -> int:
    from optprobe.comparison import check_methods, compare

    check_methods(arguments.methods)
    problem = read_problem(arguments, read_data(arguments))
    solution = solve_from(arguments, problem)
    if solution.interrupted:
        raise KeyboardInterrupt
    comparison = compare(solution, seed=arguments.seed, methods=arguments.methods)
    if not arguments.json:
        print(f"{problem!r}\n{solution}\n\n{comparison}")
        return 0
    print_json(
        {
            "support": list(solution.support),
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
