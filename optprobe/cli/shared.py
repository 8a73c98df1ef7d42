"""What subcommands share: the DATA arguments, the problem arguments, a progress bar, and folders for output."""

from __future__ import annotations

import argparse
import json
import os
import re
import sys
import tempfile
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from optprobe.errors import InputError

if TYPE_CHECKING:
    from formulations import MomentProblem, Moments, ProbeProblem, SparseProbeProblem
    from optprobe.activations import LabelledActivations
    from optprobe.engines import Progress, Solution
    from optprobe.engines.budget import Report

INTERRUPTED = 130
"""The exit code after Ctrl-C: shells end their loops at it."""


def add_data_arguments(parser: argparse.ArgumentParser, *, positional: bool = True, required: bool = True) -> None:
    """``DATA [--feature F] [--layer L | --layers L ...] [--basis CALL]``."""
    about = "an .npz with X_train, y_train, or a folder from extract or moments"
    if positional:
        parser.add_argument("data", metavar="DATA", type=Path, help=about)
    else:
        parser.add_argument("--data", metavar="DATA", type=Path, required=required, help=about)
    parser.add_argument("--feature", "--target", help="the feature or target, where DATA is a folder")
    parser.add_argument("--layer", type=int, help="the layer, where DATA is a folder")
    add_layers_argument(parser, "several layers of the folder side by side, such as 0-29, 0 3 6, or all")
    parser.add_argument(
        "--basis",
        metavar="CALL",
        help="other columns than neurons: rotated:0 (a random rotation of that seed), principal (components), or "
        "latents:FILE (of a dictionary, an .npz or .safetensors)",
    )


def add_layers_argument(parser: argparse.ArgumentParser, about: str) -> None:
    """``[--layers L ...]``, which is read by `chosen_layers`."""
    parser.add_argument("--layers", type=layer_numbers, nargs="+", metavar="L", help=about)


def chosen_layers(arguments: argparse.Namespace) -> tuple[int, ...] | str | None:
    """The layers of ``--layers`` in the order given, "all", or None where it was not given."""
    given: list[tuple[int, ...] | str] | None = arguments.layers
    if given is None:
        return None
    if given == ["all"]:
        return "all"
    if "all" in given:
        raise InputError("--layers names all layers and others: give all alone, or numbers")
    return tuple(layer for part in given for layer in part if isinstance(layer, int))


def add_problem_arguments(parser: argparse.ArgumentParser, k: Callable[[str], Any] = int) -> None:
    """k, loss, ridge, weights, method, time limit, and the paper's setting."""
    parser.add_argument("--k", type=k, required=True, help="number of neurons" if k is int else "such as 1-5 or 1,3")
    parser.add_argument(
        "--loss", choices=("squared", "logistic", "hinge"), help="default: logistic; from moments squared"
    )
    parser.add_argument("--ridge", type=float, help="ridge on standardised neurons, mean-loss scale (default 0.01)")
    parser.add_argument("--class-weight", choices=("none", "balanced"), help="default: none; of moments theirs")
    parser.add_argument(
        "--method",
        choices=("auto", "enumeration", "dual_enumeration", "branch_and_cut", "milp", "outer_approximation"),
        help="default: auto",
    )
    parser.add_argument("--time-limit", type=float, metavar="S", help="seconds for everything after reading the data")
    parser.add_argument("--tolerance", type=float, default=1e-6, help="a gap that counts as closed (default 1e-6)")
    parser.add_argument(
        "--top",
        type=int,
        metavar="N",
        help="search only among the N neurons of largest mean difference, or correlation with a target",
    )
    parser.add_argument(
        "--forbid",
        type=named_columns,
        metavar="J",
        help="search without these neurons, such as 415 or 415,7, of several layers L24.N157: what then?",
    )
    parser.add_argument(
        "--force",
        type=named_columns,
        metavar="J",
        help="search sets with these neurons in them, such as 415, of several layers L24.N157; k counts them",
    )
    parser.add_argument(
        "--groups",
        metavar="RULE",
        help="cluster:0.9 allows one neuron of each cluster of correlation 0.9 or more, layer one of each layer",
    )
    parser.add_argument(
        "--paper",
        action="store_true",
        help="the setting of Gurnee et al. 2023: hinge loss, ridge 100 / sqrt(n_rows), balanced classes; and where "
        "nothing else is said, --top 50 and --method outer_approximation",
    )


def read_data(arguments: argparse.Namespace, split: Mapping[str, Any] | None = None) -> LabelledActivations:
    """The rows that DATA names, in the basis asked for; a folder is split as ``split`` says (test_share, seed)."""
    from optprobe.activations import in_basis, load_labelled
    from optprobe.activations.summaries.moments_store import is_moment_store

    if is_moment_store(arguments.data):
        raise InputError(f"{arguments.data} holds moments, and this needs the rows: give the store of activations")
    of_store = arguments.data.is_dir() and split
    chosen = {name: of_store[name] for name in ("test_share", "seed") if of_store and name in of_store}
    place = {"feature": arguments.feature, "layer": arguments.layer, "layers": chosen_layers(arguments)}
    rows = load_labelled(arguments.data, **place, **chosen)
    return rows if arguments.basis is None else in_basis(rows, arguments.basis)


def read_problem(arguments: argparse.Namespace, data: LabelledActivations) -> SparseProbeProblem:
    """The problem that the arguments state about the training rows; the rest is as in `optprobe.problem`."""
    from optprobe.data import grouped, problem
    from optprobe.heuristics import RANKINGS, top

    for sentence in data.leakage:
        print(f"optprobe {arguments.command}: {sentence}", file=sys.stderr)
    if arguments.paper:
        _set_paper(arguments, *data.X_train.shape)
    given = {name: getattr(arguments, name) for name in ("loss", "ridge", "class_weight")}
    stated = {name: value for name, value in given.items() if value is not None} | {"forced": arguments.force}
    found = problem(data, arguments.k, **stated, forbidden=arguments.forbid)
    if arguments.top is not None:
        _check_top(arguments, found)
        ranking = RANKINGS["mean_difference" if found.targets is None else "f_statistic"]  # the same, for labels
        among = top(ranking.function(found, 0), arguments.top)
        found = problem(data, arguments.k, **stated, among=among)
    return found if arguments.groups is None else grouped(found, arguments.groups)


def _set_paper(arguments: argparse.Namespace, n_rows: int, n_neurons: int) -> None:
    """Fill in the setting of the paper; what contradicts its problem is refused."""
    from formulations.models import paper_ridge
    from optprobe.heuristics import PAPER_TOP

    for name, value in (("loss", "hinge"), ("ridge", paper_ridge(n_rows)), ("class_weight", "balanced")):
        given = getattr(arguments, name)
        if given not in (None, value):
            option = name.replace("_", "-")
            raise InputError(f"--paper states --{option} {value}, and --{option} is {given}: leave one of the two out")
        setattr(arguments, name, value)
    arguments.method = arguments.method or "outer_approximation"
    arguments.top = min(PAPER_TOP, n_neurons) if arguments.top is None else arguments.top


def read_moments(arguments: argparse.Namespace) -> tuple[Moments, dict[str, Any]] | None:
    """The moments that DATA names, and their scope; None where DATA is no folder of moments."""
    from optprobe.activations.summaries.moments_store import MomentStore, is_moment_store

    if not is_moment_store(arguments.data):
        return None
    if arguments.basis is not None:
        raise InputError(f"{arguments.data} holds moments, and --basis needs the rows: give the store of activations")
    if arguments.layers is not None:
        raise InputError(
            f"{arguments.data} holds moments, each of one layer: give --layer, or the store of activations"
        )
    return MomentStore.open(arguments.data).load(arguments.feature, arguments.layer)


def read_stated(arguments: argparse.Namespace) -> ProbeProblem:
    """The problem that the arguments state about DATA, rows or moments."""
    if (found := read_moments(arguments)) is not None:
        return _moment_problem(arguments, *found)
    return read_problem(arguments, read_data(arguments))


def _moment_problem(arguments: argparse.Namespace, moments: Moments, scope: Mapping[str, Any]) -> MomentProblem:
    from formulations import Origin, moment_problem
    from formulations.columns import columns_of
    from optprobe.data import grouped, numbered
    from optprobe.heuristics import top

    if arguments.paper or arguments.loss not in (None, "squared"):
        other = "--paper" if arguments.paper else f"{arguments.loss} loss"
        raise InputError(f"{arguments.data} holds moments, which state the squared loss alone, not {other}: give rows")
    if arguments.force is not None:
        raise InputError(
            f"{arguments.data} holds moments, and sets with forced neurons are searched by rows: give rows"
        )
    stated: dict[str, Any] = {"origin": Origin(scope)}
    if arguments.ridge is not None:
        stated["ridge"] = arguments.ridge
    forbidden = numbered(arguments.forbid, columns_of(scope, moments.n_neurons))
    problem = moment_problem(moments, arguments.k, **stated, forbidden=forbidden)
    if arguments.class_weight not in (None, problem.class_weight):
        raise InputError(
            f"{arguments.data} holds moments of class weights {problem.class_weight}, not {arguments.class_weight}: "
            "leave --class-weight out, or accumulate others"
        )
    if arguments.top is None:
        return problem if arguments.groups is None else grouped(problem, arguments.groups)
    _check_top(arguments, problem)
    scores = np.where(np.isin(np.arange(problem.n_neurons), problem.candidates), np.abs(problem.cross), -np.inf)
    narrow = moment_problem(moments, arguments.k, **stated, among=top(scores, arguments.top))
    return narrow if arguments.groups is None else grouped(narrow, arguments.groups)


def _check_top(arguments: argparse.Namespace, problem: ProbeProblem) -> None:
    if not arguments.k <= arguments.top <= len(problem.candidates):
        raise InputError(
            f"--top is {arguments.top}: give a number between k = {arguments.k} and {len(problem.candidates)}"
        )


def solve_from(arguments: argparse.Namespace, problem: ProbeProblem, **wanted: Any) -> Solution:
    """`solve` with the arguments' method and limits, and the pool that is wanted, under a progress line."""
    from optprobe.engines import solve

    with progress_line() as report:
        method, limit = arguments.method or "auto", arguments.time_limit
        return solve(problem, method, limit, arguments.tolerance, progress=report, **wanted)


@contextmanager
def progress_line() -> Iterator[Report]:
    """A line on standard error that says phase, bounds and time; silent where that is no terminal."""
    from rich.console import Console

    console = Console(stderr=True)
    with console.status("reading") as status:

        def report(moment: Progress) -> None:
            share = "" if moment.done is None else f", {moment.done:.0%} done"
            bounds = (
                f"between {moment.lower:.6g} and {moment.upper:.6g}" if moment.lower else f"at most {moment.upper:.6g}"
            )
            status.update(f"{moment.phase}: optimum {bounds}{share}")

        yield report


@contextmanager
def phase_bar() -> Iterator[Callable[[str, float], None]]:
    """A bar on standard error that says what is being done; a line each tenth where that is no terminal."""
    from rich.console import Console
    from rich.progress import BarColumn, Progress, TextColumn, TimeElapsedColumn

    console = Console(stderr=True)
    columns = TextColumn("{task.description:40}"), BarColumn(), TimeElapsedColumn()
    with Progress(*columns, console=console, disable=not console.is_terminal) as bar:
        task = bar.add_task("starting", total=1.0)
        said = -1

        def report(what: str, share: float) -> None:
            nonlocal said
            if not console.is_terminal and (tenths := int(10 * share)) != said:
                said = tenths
                print(f"{share:4.0%} {what}", file=sys.stderr, flush=True)
            bar.update(task, description=what, completed=share)
            bar.tasks[0].finished_time = None

        yield report


MOST_NUMBERS = 10_000
"""Numbers that a list may name."""


def numbers(text: str) -> tuple[int, ...]:
    """Parse 1-5, 3 or 1,3,5-7."""
    found: list[int] = []
    for part in text.split(","):
        ends = re.fullmatch(r"(\d{1,6})(?:-(\d{1,6}))?", part)
        if ends is None or int(ends[2] or ends[1]) < int(ends[1]):
            raise argparse.ArgumentTypeError(f"{text!r} is no list of numbers such as 1-5 or 1,3")
        found += range(int(ends[1]), int(ends[2] or ends[1]) + 1)
        if len(found) > MOST_NUMBERS:
            raise argparse.ArgumentTypeError(f"{text[:40]!r} names more than {MOST_NUMBERS:,} numbers")
    if len(set(found)) < len(found):
        raise argparse.ArgumentTypeError(f"{text!r} names a number twice")
    return tuple(sorted(found))


def layer_numbers(text: str) -> tuple[int, ...] | str:
    """Parse numbers of layers, such as 3, 0-29 or 0,3, or the word all."""
    return text if text == "all" else numbers(text)


def named_columns(text: str) -> tuple[str, ...]:
    """Parse numbers or names of columns, such as 415,7 or L24.N157; whether there are such is seen with the data."""
    names = tuple(text.split(","))
    for name in names:
        if not re.fullmatch(r"-?\d+|L\d+\.N\d+", name, re.ASCII):
            raise argparse.ArgumentTypeError(f"{text!r} is no list of columns such as 415, 415,7 or L24.N157")
    return names


def columns(text: str) -> tuple[int, ...]:
    """Parse numbers of columns, such as 415 or 415,7."""
    try:
        return tuple(map(int, text.split(",")))
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no list of columns such as 415 or 415,7") from error


def share(text: str) -> float:
    """Parse a share, such as 1% or 0.01."""
    try:
        return float(text[:-1]) / 100 if text.endswith("%") else float(text)
    except ValueError as error:
        raise argparse.ArgumentTypeError(f"{text!r} is no share such as 1% or 0.01") from error


def writable_folder(path: Path) -> Path:
    """Make the folder, and prove that a file can be written there before any work is done.

    Raises `InputError` where it cannot.
    """
    try:
        path.mkdir(parents=True, exist_ok=True)
        with tempfile.TemporaryFile(dir=path):
            pass
    except OSError as error:
        raise InputError(
            f"the folder {path} cannot be written: {error.strerror or os.strerror(error.errno or 0)}"
        ) from error
    return path


def print_json(record: dict[str, Any] | list[dict[str, Any]]) -> None:
    """One JSON object, or one list of them, on one line of standard output."""
    print(json.dumps(record, allow_nan=False))
