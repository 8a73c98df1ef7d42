"""``optprobe run``: certified optima of many features, layers, losses and k."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from optprobe.cli.shared import INTERRUPTED, numbers, phase_bar, print_json, share, writable_folder
from optprobe.errors import InputError

if TYPE_CHECKING:
    from optprobe.cases import Case, CaseStudy
    from optprobe.cases.config import Config
    from optprobe.studies import Outcome
    from optprobe.studies.run import Report

HELP = "certify the optimum of every feature, layer, loss and k of a configuration or of stores; goes on where it was"
STATED = (
    *("k", "loss", "ridge", "grid", "class_weight", "feature", "layer", "top", "within"),
    *("method", "methods", "time_limit"),
)
"""What a configuration file states, and the command line for stores."""
T = TypeVar("T")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("sources", metavar="CONFIG.toml | DATA", nargs="+", type=Path)
    parser.add_argument("--k", type=numbers, help="numbers of neurons, such as 1-5 or 1,3")
    parser.add_argument("--loss", type=listed(str), help="squared, logistic, hinge: one or several (default logistic)")
    parser.add_argument("--ridge", type=ridges, help="one or several (default 0.01), or validate: chosen from --grid")
    parser.add_argument("--grid", type=listed(float), help="ridges to choose from (default 0.001,0.01,0.1,1)")
    parser.add_argument("--class-weight", choices=("none", "balanced"), help="default: none")
    parser.add_argument("--feature", nargs="+", help="features (default: all)")
    parser.add_argument("--layer", type=numbers, help="layers, such as 0-3 (default: all)")
    parser.add_argument("--top", type=int, metavar="N", help="search among the N neurons of largest mean difference")
    parser.add_argument(
        "--within", type=share, metavar="E", help="certify all sets within E of the optimum too, such as 1%%"
    )
    parser.add_argument("--method", help="as in optprobe solve (default: auto)")
    parser.add_argument("--methods", nargs="+", metavar="M", help="heuristics to compare with (default: all)")
    parser.add_argument("--time-limit", type=float, metavar="S", help="seconds for each optimum")
    parser.add_argument("--out", type=Path, required=True, metavar="DIR", help="gets records, failures and registry")
    parser.add_argument("--backend", choices=("here", "loky", "dask", "slurm"), default="here", help="default: here")
    parser.add_argument("--workers", type=int, metavar="N", help="how many at once (default 2)")
    parser.add_argument("--scheduler", metavar="S", help="address of a Dask scheduler; partition of Slurm, or local")
    parser.add_argument("--memory-limit", type=float, metavar="GIB", help="data that an item may hold (loky)")
    parser.add_argument("--dry-run", action="store_true", help="say what would be run, and run nothing")
    parser.add_argument("--to-csv", type=Path, metavar="FILE", help="a row a case and method")
    parser.add_argument("--to-parquet", type=Path, metavar="FILE", help="the same")
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")


def run(arguments: argparse.Namespace) -> int:
    from optprobe.cases.table import csv_text, parquet
    from optprobe.files import write_file
    from optprobe.studies import run_study
    from optprobe.studies.backends import backend_named
    from optprobe.studies.run import missing_items

    backend = backend_named(
        arguments.backend,
        arguments.workers,
        memory_limit=arguments.memory_limit,
        scheduler=arguments.scheduler,
    )
    config = configuration(arguments)
    if arguments.dry_run and (idle := next((n for n in ("to_csv", "to_parquet") if getattr(arguments, n)), None)):
        raise InputError(f"--{idle.replace('_', '-')} has no effect beside --dry-run: leave one of them out")
    folder = writable_folder(arguments.out)
    with phase_bar() as report:
        study = prepared(config, folder, report)
        to_do = missing_items(study, folder)
        said = f"{len(study.items())} cases, {len(study.items()) - len(to_do)} of them done"
        print(f"{said}: {describe(config, study)}", file=sys.stderr)
        if arguments.dry_run:
            return 0
        try:
            outcome = run_study(study, folder, backend, report)
        except KeyboardInterrupt:
            print(f"optprobe run: interrupted; the same command goes on with {folder}", file=sys.stderr)
            return INTERRUPTED
    cases = study.cases()
    for path, content in ((arguments.to_csv, csv_text), (arguments.to_parquet, parquet)):
        if path is not None:
            write_file(path, content(cases))
    show(arguments, cases, outcome)
    return 1 if outcome.failed or not all(case.accepted for case in cases) else 0


def configuration(arguments: argparse.Namespace) -> Config:
    """What is to be run, from a file or from stores and options."""
    from optprobe.cases import Setting
    from optprobe.cases.config import Config, read_config
    from optprobe.cases.validation import GRID

    files = [path for path in arguments.sources if path.suffix == ".toml"]
    if files:
        if len(arguments.sources) > 1:
            raise InputError("a configuration stands alone: give one .toml, or stores")
        if idle := next((name for name in STATED if getattr(arguments, name) is not None), None):
            raise InputError(f"--{idle.replace('_', '-')} is stated by {files[0]}: change it there")
        return read_config(files[0])
    if arguments.k is None:
        raise InputError("give the numbers of neurons, such as --k 1-5")
    losses = arguments.loss or ("logistic",)
    weights = arguments.class_weight or "none"
    validated = arguments.ridge == (None,)
    return Config(
        model=None,
        dataset=None,
        stores=tuple(map(str, arguments.sources)),
        settings=tuple(
            Setting(loss, ridge, weights, arguments.top) for loss in losses for ridge in arguments.ridge or (0.01,)
        ),
        ks=arguments.k,
        features=_once(arguments.feature),
        layers=arguments.layer,
        method=arguments.method or "auto",
        methods=_once(arguments.methods),
        time_limit=arguments.time_limit,
        within=arguments.within,
        grid=arguments.grid or (GRID if validated else ()),
    )


def prepared(config: Config, folder: Path, report: Report) -> CaseStudy:
    """The study, its activations extracted where the configuration names a model and a dataset."""
    if config.model is None or config.dataset is None or config.layers is None:
        return config.study(folder)
    from optprobe.features import load
    from optprobe.quickstart import extracted

    activations = folder / "activations"
    extracted(activations, config.model, load(config.dataset), config.layers, report)
    return config.study(folder, (str(activations),))


def describe(config: Config, study: CaseStudy) -> str:
    """What is run, in words."""
    values = [item.values for item in study.items()]
    places = {(value["feature"], value["layer"]) for value in values}
    settings = "; ".join(map(str, config.settings))
    return f"{len(places)} pairs of feature and layer, {settings}, k = {', '.join(map(str, config.ks))}"


def show(arguments: argparse.Namespace, cases: Sequence[Case], outcome: Outcome) -> None:
    """The table and what failed, or one JSON object."""
    for failure in outcome.failures:
        print(f"optprobe run: {failure}", file=sys.stderr)
    optimal = sum(case.optimal for case in cases)
    if arguments.json:
        counts = {name: getattr(outcome, name) for name in ("items", "done", "skipped", "failed")}
        print_json({**counts, "optimal": optimal, "seconds": outcome.seconds})
        return
    from rich.console import Console

    from optprobe.cli.quickstart import optima

    if cases:
        Console(width=None if Console().is_terminal else 120).print(optima(cases))
    print(
        f"{outcome.items} cases: {outcome.done} run, {outcome.skipped} there before, {outcome.failed} failed; "
        f"{optimal} optima proved; {outcome.seconds:.1f} s; {arguments.out}"
    )


def _once(names: Sequence[str] | None) -> tuple[str, ...] | None:
    """Names in their order, each once."""
    return None if names is None else tuple(dict.fromkeys(names))


def ridges(text: str) -> tuple[float | None, ...]:
    """Parse ridges, or the word that asks for validated ones."""
    return (None,) if text == "validate" else listed(float)(text)


def listed(kind: Callable[[str], T]) -> Callable[[str], tuple[T, ...]]:
    """Parse values with commas between them."""

    def parse(text: str) -> tuple[T, ...]:
        values: list[Any] = []
        for part in text.split(","):
            try:
                value = kind(part.strip())
            except ValueError as error:
                raise argparse.ArgumentTypeError(f"{part!r} in {text!r} is no number") from error
            if part.strip() == "" or value in values:
                raise argparse.ArgumentTypeError(f"{text!r} has an empty or repeated value")
            values.append(value)
        return tuple(values)

    return parse
