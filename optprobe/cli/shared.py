"""What subcommands share: the DATA arguments, the problem arguments, a progress bar, and folders for output."""

from __future__ import annotations

import argparse
import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from optprobe.errors import InputError

if TYPE_CHECKING:
    from formulations import Moments, ProbeProblem, SparseProbeProblem
    from optprobe.activations import LabelledActivations
    from optprobe.engines import Progress, Solution
    from optprobe.engines.budget import Report

PAPER_TOP = 50
INTERRUPTED = 130
"""The exit code after Ctrl-C: shells end their loops at it."""


def add_data_arguments(parser: argparse.ArgumentParser, *, positional: bool = True, required: bool = True) -> None:
    """``DATA [--feature F] [--layer L]``."""
    about = "an .npz with X_train, y_train, or a folder from extract or moments"
    if positional:
        parser.add_argument("data", metavar="DATA", type=Path, help=about)
    else:
        parser.add_argument("--data", metavar="DATA", type=Path, required=required, help=about)
    parser.add_argument("--feature", help="the feature, where DATA is a folder")
    parser.add_argument("--layer", type=int, help="the layer, where DATA is a folder")


def add_problem_arguments(parser: argparse.ArgumentParser) -> None:
    """k, loss, ridge, weights, method, time limit, and the paper's setting."""
    parser.add_argument("--k", type=int, required=True, help="number of neurons")
    parser.add_argument(
        "--loss", choices=("squared", "logistic", "hinge"), help="default: logistic; from moments squared"
    )
    parser.add_argument(
        "--ridge", type=float, default=0.01, help="ridge on standardised neurons, mean-loss scale (default 0.01)"
    )
    parser.add_argument("--class-weight", choices=("none", "balanced"), help="default: none; of moments theirs")
    parser.add_argument(
        "--method",
        choices=("auto", "enumeration", "dual_enumeration", "branch_and_cut", "milp", "outer_approximation"),
        default="auto",
    )
    parser.add_argument("--time-limit", type=float, metavar="S", help="seconds for everything after reading the data")
    parser.add_argument("--tolerance", type=float, default=1e-6, help="a gap that counts as closed (default 1e-6)")
    parser.add_argument(
        "--top", type=int, metavar="N", help="search only among the N neurons of largest mean difference"
    )
    parser.add_argument(
        "--paper",
        action="store_true",
        help="the setting of Gurnee et al. 2023: hinge loss, ridge 100 / sqrt(n_rows), balanced classes, --top 50, "
        "outer_approximation",
    )


def read_data(arguments: argparse.Namespace, split: Mapping[str, Any] | None = None) -> LabelledActivations:
    """The rows that DATA names; a folder is split as ``split`` says (test_share, seed), where it says so."""
    from optprobe.activations import load_labelled, moments_store

    if moments_store.is_moment_store(arguments.data):
        raise InputError(f"{arguments.data} holds moments, and this needs the rows: give the store of activations")
    chosen = {name: split[name] for name in ("test_share", "seed") if split and name in split}
    return load_labelled(arguments.data, feature=arguments.feature, layer=arguments.layer, **chosen)


def read_problem(arguments: argparse.Namespace, data: LabelledActivations) -> SparseProbeProblem:
    """The problem that the arguments state about the training rows."""
    from formulations import sparse_probe_problem
    from optprobe.heuristics import RANKINGS, top

    if arguments.paper:
        from formulations.models import paper_ridge

        arguments.loss, arguments.class_weight, arguments.method = "hinge", "balanced", "outer_approximation"
        arguments.ridge = paper_ridge(len(data.y_train))
        arguments.top = min(PAPER_TOP, data.X_train.shape[1]) if arguments.top is None else arguments.top

    def problem(among: Any = None) -> SparseProbeProblem:
        return sparse_probe_problem(
            data.X_train,
            data.y_train,
            arguments.k,
            loss=arguments.loss or "logistic",
            ridge=arguments.ridge,
            class_weight=arguments.class_weight or "none",
            sample_weight=data.w_train,
            among=among,
        )

    whole = problem()
    if arguments.top is None:
        return whole
    _check_top(arguments, whole)
    return problem(top(RANKINGS["mean_difference"].function(whole, 0), arguments.top))


def read_moments(arguments: argparse.Namespace) -> tuple[Moments, dict[str, Any]] | None:
    """The moments that DATA names, and their scope; None where DATA is no folder of moments."""
    from optprobe.activations.moments_store import MomentStore, is_moment_store

    if not is_moment_store(arguments.data):
        return None
    return MomentStore.open(arguments.data).load(arguments.feature, arguments.layer)


def read_stated(arguments: argparse.Namespace) -> tuple[ProbeProblem, Mapping[str, Any]]:
    """The problem that the arguments state about DATA, rows or moments, and the scope of its certificate."""
    if (found := read_moments(arguments)) is not None:
        return _moment_problem(arguments, found[0]), found[1]
    data = read_data(arguments)
    return read_problem(arguments, data), data.scope


def _moment_problem(arguments: argparse.Namespace, moments: Moments) -> ProbeProblem:
    from formulations import moment_problem
    from optprobe.heuristics import top

    if arguments.paper or arguments.loss not in (None, "squared"):
        stated = "--paper" if arguments.paper else f"{arguments.loss} loss"
        raise InputError(f"{arguments.data} holds moments, which state the squared loss alone, not {stated}: give rows")
    problem = moment_problem(moments, arguments.k, ridge=arguments.ridge)
    if arguments.class_weight not in (None, problem.class_weight):
        raise InputError(
            f"{arguments.data} holds moments of class weights {problem.class_weight}, not {arguments.class_weight}: "
            "leave --class-weight out, or accumulate others"
        )
    if arguments.top is None:
        return problem
    _check_top(arguments, problem)
    scores = np.where(problem.inv_scale > 0, np.abs(problem.cross), -np.inf)
    return moment_problem(moments, arguments.k, ridge=arguments.ridge, among=top(scores, arguments.top))


def _check_top(arguments: argparse.Namespace, problem: ProbeProblem) -> None:
    if not arguments.k <= arguments.top <= len(problem.candidates):
        raise InputError(
            f"--top is {arguments.top}: give a number between k = {arguments.k} and {len(problem.candidates)}"
        )


def solve_from(arguments: argparse.Namespace, problem: ProbeProblem) -> Solution:
    """`solve` with the arguments' method and limits, under a progress line."""
    from optprobe.engines import solve

    with progress_line() as report:
        return solve(problem, arguments.method, arguments.time_limit, arguments.tolerance, progress=report)


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


def print_json(record: dict[str, Any]) -> None:
    """One JSON object on one line of standard output."""
    print(json.dumps(record, allow_nan=False))
