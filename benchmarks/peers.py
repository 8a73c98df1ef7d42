"""Other programs beside this one: seconds, gap, and who vouches for it, on one objective.

    python -m benchmarks.peers [--data DIR] [--instances NAME ...] [--ks K ...] [--ridges R ...] [--limit S] [--out DIR]

``DIR`` holds .npz files with X_train and y_train. Each program runs alone in a process of its own with the same limit
(``benchmarks/peer_programs.py`` says how its objective is converted), and the sets that it returns are fitted again by
``formulations``. Programs are run where they are installed, which users never need:

    pip install --no-deps okridge l0bnb el0ps pybnb mpi4py mpich abess pandas skscope fastsparsegams requests psutil
    pip install jax

A program that has once not closed a gap within the limit is not asked for more neurons of the same instance, loss and
ridge. Results go to ``benchmarks/results/peers.json`` case by case, so that a run that was stopped goes on, and to a
figure.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rich.console import Console
from rich.progress import track
from rich.table import Table

from benchmarks.engines import RESULTS, Instance, instances, machine
from benchmarks.peer_programs import PROGRAMS, TOLERANCE
from benchmarks.size import gated
from formulations import fit_support, sparse_probe_problem
from optprobe.engines import solve
from optprobe.files import write_file
from optprobe.heuristics import incumbent

Floats = NDArray[np.float64]

GRACE = 900.0
"""Seconds beyond the limit until a program is stopped from outside: for its start, compiling, and a checker."""
LARGE = 16_000, 1536
"""Rows and neurons of the large synthetic instances."""


@dataclass(frozen=True)
class Asked:
    """One question to one program."""

    instance: str
    loss: str
    ridge: float
    k: int
    program: str


@dataclass(frozen=True)
class Measured:
    """How it ended: F of its set, fitted by us; the bound it claims; seconds; who vouches; or what went wrong."""

    asked: Asked
    upper: float | None
    lower: float | None
    seconds: float | None
    checking: float
    by: str
    size: int
    failed: str = ""

    @property
    def closed(self) -> bool:
        """Whether the set is of the size asked for, and its bounds meet."""
        bounded = self.upper is not None and self.lower is not None and self.size == self.asked.k
        return bounded and self.upper - self.lower <= 2 * TOLERANCE  # type: ignore[operator]


def all_instances(folder: Path | None) -> Iterator[Instance]:
    """The instances of a folder, and synthetic ones: planted supports, and two of many rows."""
    yield from instances(folder, [1024])
    for seed in (0, 1):
        X, y = gated(*LARGE, seed=seed)
        yield Instance(f"gated {LARGE[0]:,} rows, seed {seed}", X.astype(np.float64), y)


def prices(instance: Instance, loss: str, ridge: float, ks: list[int], limit: float) -> Floats:
    """For each number of neurons from 1 a lambda of n F at which it is best, where there is one.

    Between the gains of the k-th neuron and of one more, by the best sets known: any lambda gives a valid lower bound.
    """
    values = []
    for k in range(max(ks) + 2):
        problem = sparse_probe_problem(instance.X, instance.y, max(k, 1), loss=loss, ridge=ridge)
        if k == 0:
            values.append(float(np.var(instance.y)) / 2)
        elif k in ks:
            values.append(solve(problem, time_limit=limit).upper_bound)
        else:
            values.append(incumbent(problem).objective)
    gains = np.maximum(-np.diff(values), 1e-12) * len(instance.y)
    return np.asarray(np.sqrt(gains[:-1] * gains[1:]))


def answer(asked: Asked, rows: Path, instance: Instance, limit: float) -> Measured:
    """Ask one program."""
    told = [asked.program, str(rows), asked.loss, str(asked.ridge), str(asked.k), str(limit)]
    command = [sys.executable, "-W", "ignore", "-m", "benchmarks.peer_programs", *told]
    failed = Measured(asked, None, None, None, 0.0, "nobody", 0)
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=limit + GRACE, env=os.environ)
    except subprocess.TimeoutExpired:
        return Measured(**{**vars(failed), "failed": f"stopped after {limit + GRACE:g} s"})
    if done.returncode:
        return Measured(**{**vars(failed), "failed": (done.stderr.strip().splitlines() or ["no message"])[-1]})
    ended = json.loads(done.stdout.strip().splitlines()[-1])
    size, upper = len(ended["support"]), None
    if 0 < size <= asked.k:
        problem = sparse_probe_problem(instance.X, instance.y, size, loss=asked.loss, ridge=asked.ridge)
        upper = float(fit_support(problem, tuple(ended["support"])).objective[0])
    return Measured(asked, upper, ended["lower"], ended["seconds"], ended["checking"], ended["by"], size)


def asked_of(instance: Instance, losses: list[str], ridges: list[float], ks: list[int]) -> Iterator[Asked]:
    """The questions about an instance: a program's from few neurons to many."""
    for loss in losses:
        for ridge in ridges:
            for name, program in PROGRAMS.items():
                if loss in program.losses and (program.package is None or find_spec(program.package)):
                    yield from (Asked(instance.name, loss, ridge, k, name) for k in ks)


def run(instance: Instance, questions: list[Asked], done: dict[Asked, Measured], limit: float) -> Iterator[Measured]:
    """The answers that are not there yet."""
    given: dict[tuple[str, float], Path] = {}
    ks = sorted({asked.k for asked in questions})
    with tempfile.TemporaryDirectory() as folder:
        for asked in track(questions, description=instance.name):
            if asked in done or gave_up(asked, done, limit):
                continue
            key = (asked.loss, asked.ridge)
            if key not in given:
                stated = prices(instance, *key, ks, limit) if asked.loss == "squared" else np.ones(max(ks))
                given[key] = Path(folder) / f"{asked.loss}-{asked.ridge}.npz"
                np.savez(given[key], X=instance.X, y=instance.y, prices=stated)
            done[asked] = answer(asked, given[key], instance, limit)
            yield done[asked]


def gave_up(asked: Asked, done: Mapping[Asked, Measured], limit: float) -> bool:
    """Whether the program claims bounds, or takes all its time, and left a gap with fewer neurons."""
    return any(
        not measured.closed and (measured.lower is not None or measured.failed or (measured.seconds or 0.0) >= limit)
        for before, measured in done.items()
        if (before.instance, before.loss, before.ridge, before.program)
        == (asked.instance, asked.loss, asked.ridge, asked.program)
        and before.k < asked.k
    )


def summary(measured: list[Measured]) -> Table:
    """A line for each program and loss: what it was asked, closed, found, and how many times as long it took."""
    ours = {measure_key(one.asked): one for one in measured if one.asked.program == "optprobe"}
    table = Table(title="Beside optprobe: where both close the gap, and where only the sets can be compared")
    for column in ("program", "loss", "asked", "closed", "optprobe closed", "best sets", "times as long", "vouches"):
        table.add_column(column)
    for name in PROGRAMS:
        for loss in ("squared", "logistic"):
            own = [one for one in measured if one.asked.program == name and one.asked.loss == loss]
            if not own:
                continue
            pairs = [(one, ours[measure_key(one.asked)]) for one in own if measure_key(one.asked) in ours]
            ratios = [a.seconds / b.seconds for a, b in pairs if a.closed and b.closed and a.seconds and b.seconds]
            best = sum(
                one.upper is not None and one.size == one.asked.k and one.upper <= (us.upper or np.inf) + TOLERANCE
                for one, us in pairs
            )
            spread = f"{min(ratios):.2g} to {max(ratios):.2g}" if ratios else "-"
            closed = [sum(one.closed for one in part) for part in (own, [us for _, us in pairs])]
            vouches = ", ".join(sorted({one.by for one in own if one.closed})) or "nobody"
            table.add_row(name, loss, str(len(own)), *map(str, closed), str(best), spread, vouches)
    return table


def measure_key(asked: Asked) -> tuple[str, str, float, int]:
    """A question without the program."""
    return asked.instance, asked.loss, asked.ridge, asked.k


def draw(measured: list[Measured], limit: float, path: Path) -> None:
    """Seconds against optprobe's, a mark a case: full where the gap closed, hollow at the limit where it did not."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    ours = {measure_key(one.asked): one for one in measured if one.asked.program == "optprobe"}
    figure, axes = plt.subplots(1, 2, figsize=(11, 5), sharey=True, layout="constrained")
    for axis, loss in zip(axes, ("squared", "logistic")):
        for number, name in enumerate(list(PROGRAMS)[1:]):
            points = [
                (ours[measure_key(one.asked)].seconds, one.seconds if one.closed else limit, one.closed)
                for one in measured
                if one.asked.program == name and one.asked.loss == loss and one.lower is not None
                if measure_key(one.asked) in ours and ours[measure_key(one.asked)].closed
            ]
            for full, face in ((True, f"C{number}"), (False, "none")):
                x, y = [p[0] for p in points if p[2] is full], [p[1] for p in points if p[2] is full]
                axis.scatter(
                    x, y, 24, facecolors=face, edgecolors=f"C{number}", label=name if full and points else None
                )
        ends = np.array([1e-2, limit])
        for factor, style in ((1, "-"), (100, ":")):
            axis.plot(ends, factor * ends, style, color="grey", linewidth=0.8)
        axis.set(xscale="log", yscale="log", xlabel="optprobe, seconds", title=f"{loss} loss", ylim=(1e-2, 2 * limit))
        axis.legend(fontsize=7, title="full: gap closed; hollow: at the limit", title_fontsize=7)
    axes[0].set_ylabel("the other program, seconds")
    figure.savefig(path, dpi=150)
    plt.close(figure)


def kept(path: Path) -> dict[Asked, Measured]:
    """What an earlier run has measured."""
    if not path.is_file():
        return {}
    cases: list[dict[str, Any]] = json.loads(path.read_text(encoding="utf-8"))["cases"]
    read = [Measured(**{**case, "asked": Asked(**case["asked"])}) for case in cases]
    return {measured.asked: measured for measured in read}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a folder of .npz files with X_train and y_train")
    parser.add_argument("--instances", nargs="*", help="only those whose name contains one of these")
    parser.add_argument("--losses", nargs="*", default=["squared", "logistic"])
    parser.add_argument("--ridges", type=float, nargs="*", default=[0.1, 0.01, 0.001])
    parser.add_argument("--ks", type=int, nargs="*", default=[1, 2, 3, 4, 5, 6])
    parser.add_argument("--limit", type=float, default=60.0)
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    path = arguments.out / "peers.json"
    done = kept(path)
    for instance in all_instances(arguments.data):
        if arguments.instances and not any(part in instance.name for part in arguments.instances):
            continue
        questions = list(asked_of(instance, arguments.losses, arguments.ridges, sorted(arguments.ks)))
        for _ in run(instance, questions, done, arguments.limit):
            record = {"machine": machine(), "limit": arguments.limit, "cases": [asdict(one) for one in done.values()]}
            write_file(path, (json.dumps(record, indent=1) + "\n").encode())
    Console(width=140).print(summary(list(done.values())))
    draw(list(done.values()), arguments.limit, arguments.out / "peers.png")


if __name__ == "__main__":
    main()
