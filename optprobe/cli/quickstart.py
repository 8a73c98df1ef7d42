"""``optprobe quickstart``: the main job on the bundled model."""

from __future__ import annotations

import argparse
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from optprobe.cli.shared import phase_bar, print_json, writable_folder

if TYPE_CHECKING:
    from rich.table import Table

    from optprobe.cases import Case
    from optprobe.quickstart import Quickstart

HELP = "the main job on the bundled model: extract, solve, verify, compare, and write one HTML page"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--out",
        type=Path,
        default=Path("quickstart"),
        metavar="DIR",
        help="folder of the results (default: quickstart)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")


def run(arguments: argparse.Namespace) -> int:
    folder = writable_folder(arguments.out)
    with phase_bar() as report:
        from optprobe.quickstart import quickstart

        found = quickstart(folder, report=report)
    if arguments.json:
        print_json(
            {
                "accepted": found.accepted,
                "page": str(found.page),
                "cases": [case.record() for case in found.cases],
            }
        )
    else:
        print_tables(found)
    return 0 if found.accepted else 1


def print_tables(found: Quickstart) -> None:
    """The certified optima, each method against them, and the sentence that sums them up."""
    from rich.console import Console

    from optprobe.report import headline, one_each

    console = Console(width=None if Console().is_terminal else 120)
    console.print(found.activations, soft_wrap=True)
    console.print(optima(found.cases))
    console.print(_methods(one_each(found.cases)))
    console.print(headline(one_each(found.cases)))
    console.print(f"page: {found.page}", soft_wrap=True)


def optima(cases: Sequence[Case]) -> Table:
    """Every optimum with its bounds and what the checker says."""
    from rich.table import Table

    from optprobe.report.summary import label

    weights = " and ".join(sorted({case.class_weight for case in cases}))
    table = Table(title=f"Certified optima, class weights {weights}", title_justify="left")
    for name in ("feature", "layer", "k", "loss", "ridge", "neurons", "objective", "gap", "engine", "certificate"):
        left = name in ("feature", "loss", "neurons", "engine", "certificate")
        table.add_column(name, justify="left" if left else "right")
    for case in cases:
        table.add_row(
            case.feature,
            str(case.layer),
            str(case.k),
            case.loss,
            f"{case.ridge:g}",
            ", ".join(map(str, case.support)),
            f"{case.upper_bound:.6f}",
            f"{case.gap:.0e}",
            label(case.engine) + ("" if case.among is None else f", among {case.among}"),
            "accepted" if case.accepted else f"REJECTED: {case.verdict}",
        )
    return table


def _methods(cases: Sequence[Case]) -> Table:
    from rich.table import Table

    from optprobe.report.summary import label, summaries

    table = Table(title="Heuristics against the optimum: regret, relative regret, held-out F1", title_justify="left")
    table.add_column("method")
    for name in ("optimal", "regret", "relative", "at worst", "neurons shared", "F1", "optimum's F1 more by"):
        table.add_column(name, justify="right")
    for row in summaries(cases):
        table.add_row(
            label(row.method),
            f"{row.n_optimal} of {row.n_cases}",
            f"{row.mean_regret:.1e}",
            f"{row.mean_relative_regret:.2%}",
            f"{row.worst_relative_regret:.2%}",
            f"{row.shared:.0%}",
            f"{row.f1_test:.3f}",
            f"{row.f1_behind:+.3f}",
        )
    return table
