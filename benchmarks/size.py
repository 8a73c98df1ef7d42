"""Many rows and whole models: seconds, gaps at a limit, memory, and what the sample of the rows saves a search.

    python -m benchmarks.size [--rows N] [--neurons P ...] [--out DIR]

Gated neurons with heavy tails and common factors, made from a seed: a layer, six layers and thirty of 1,536 each. Every
case is searched for an incumbent twice in one run, on a sample of the rows and on all of them, then solved within a
minute or, where it is to be closed, without a limit; ``excess`` says by how much F is larger at the set found on the
sample, as a share, and ``gap`` what a limit leaves of F. Seconds are those of the processor, all threads together, and
of the clock: on a busy machine this one counts what others do. The squared loss searches all rows either way. Results
go to ``benchmarks/results/size.json`` with a description of the machine, and to a figure; what the same machine has
measured of other numbers of neurons, at as many rows, stays there.
"""

from __future__ import annotations

import argparse
import json
import resource
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from benchmarks.engines import RESULTS, machine
from formulations import SparseProbeProblem, sparse_probe_problem
from optprobe.engines import solve
from optprobe.files import write_file
from optprobe.heuristics import incumbent, sample

Floats = NDArray[np.float64]

CASES = {
    1536: (
        *(("squared", 3), ("logistic", 1), ("logistic", 2), ("hinge", 1), ("hinge", 2), ("logistic", 3)),
        *(("squared", 8), ("squared", 16)),
    ),
    9216: (("squared", 3), ("logistic", 1)),
    46080: (("squared", 2), ("squared", 3), ("logistic", 1), ("logistic", 2), ("hinge", 1)),
}
"""Loss and k by the number of neurons; balanced classes."""
RIDGE = 0.01
ENUMERATED, LIMIT = 3, 60.0
"""Up to this k a case is closed; beyond, what is left after so many seconds is measured."""
MADE_AT_ONCE = 1536
"""Neurons that are drawn together."""
FACTORS, PLANTED, SHARE = 48, 6, 0.15
"""Common factors, neurons that the label depends on, and the share of the positive class."""


@dataclass(frozen=True)
class Measured:
    """One case: seconds of the processor, and of the clock; the gap as a share of F; GiB held at most until then."""

    neurons: int
    loss: str
    k: int
    search: float
    search_on_all_rows: float | None
    excess: float | None
    solve: float
    clock: float
    gap: float
    memory: float


def gated(n: int, p: int, seed: int = 0) -> tuple[NDArray[np.float32], Floats]:
    """SiLU of one random projection of the factors times another, plus noise; labels by a few neurons and factors."""
    rng = np.random.default_rng(seed)
    factors = rng.standard_normal((n, FACTORS)) * np.exp(0.5 * rng.standard_normal((n, 1)))

    def projected(m: int) -> Floats:
        directions = 0.9 * rng.standard_normal((FACTORS, m)) / np.sqrt(FACTORS)
        return np.asarray(factors @ directions + 0.8 * rng.standard_normal((n, m)))

    X = np.empty((n, p), dtype=np.float32, order="F")
    for start in range(0, p, MADE_AT_ONCE):
        gate = projected(min(MADE_AT_ONCE, p - start))
        X[:, start : start + MADE_AT_ONCE] = gate / (1.0 + np.exp(-gate)) * projected(gate.shape[1])
    signal = X[:, rng.choice(p, PLANTED, replace=False)] @ rng.choice([-1.0, 1.0], PLANTED)
    signal += 1.2 * factors[:, 0] + 0.8 * factors[:, 1] * np.tanh(factors[:, 2]) + 1.5 * rng.standard_normal(n)
    return X, np.where(signal > np.quantile(signal, 1 - SHARE), 1.0, -1.0)


@contextmanager
def rows_sampled(rows: int) -> Iterator[None]:
    """Samples of so many rows."""
    before, sample.SAMPLED = sample.SAMPLED, rows
    try:
        yield
    finally:
        sample.SAMPLED = before


def searched(problem: SparseProbeProblem) -> tuple[float, float | None, float | None]:
    """Seconds of a search on the sample, and on all rows, and the excess; only the first over more than a layer."""
    with threadpool_limits(1, user_api="blas"):  # as `solve` does
        marks = [time.process_time()]
        found = incumbent(problem)
        marks.append(time.process_time())
        if problem.n_neurons > MADE_AT_ONCE:
            return marks[1] - marks[0], None, None
        with rows_sampled(problem.n_rows):
            on_all = incumbent(problem)
        marks.append(time.process_time())
    return marks[1] - marks[0], marks[2] - marks[1], found.objective / on_all.objective - 1


def measure(X: NDArray[np.float32], y: Floats, loss: str, k: int) -> Measured:
    problem = sparse_probe_problem(X, y, k, loss=loss, ridge=RIDGE, class_weight="balanced")
    assert problem.cross is not None  # standardised once, for all that follows
    search = searched(problem)
    clock, started = time.perf_counter(), time.process_time()
    solution = solve(problem, time_limit=None if k <= ENUMERATED else LIMIT)
    took = time.process_time() - started, time.perf_counter() - clock
    gap = max(solution.upper_bound - solution.lower_bound, 0.0) / solution.upper_bound
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20
    return Measured(problem.n_neurons, loss, k, *search, *took, gap, memory)


def show(measured: list[Measured]) -> None:
    print(
        f"{'neurons':>8} {'loss':9}{'k':>3}{'search':>9}{'all rows':>10}{'solve':>9}{'clock':>9}{'gap':>10}{'GiB':>7}"
    )
    for case in measured:
        on_all = "" if case.search_on_all_rows is None else f"{case.search_on_all_rows:.2f}"
        seconds = f"{case.search:9.2f}{on_all:>10}{case.solve:9.2f}{case.clock:9.2f}"
        print(f"{case.neurons:8,d} {case.loss:9}{case.k:3d}{seconds}{case.gap:10.1e}{case.memory:7.1f}")


def draw(measured: list[Measured], path: Path) -> None:
    """Seconds of the processor, a bar a case, with the gap where one is left."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(figsize=(8, 0.5 + 0.35 * len(measured)), layout="constrained")
    labels = [f"{case.neurons:,} neurons, {case.loss}, k = {case.k}" for case in measured]
    bars = axes.barh(range(len(measured)), [case.solve for case in measured], color="tab:blue")
    left = [f"{case.gap:.1%} of F left" if case.k > ENUMERATED else "" for case in measured]
    axes.bar_label(bars, left, padding=3, fontsize=8)
    axes.set_yticks(range(len(measured)), labels)
    axes.invert_yaxis()
    axes.set(xscale="log", xlabel="seconds of the processor, all threads together")
    figure.savefig(path, dpi=150)
    plt.close(figure)


def kept(path: Path, rows: int) -> list[Measured]:
    """What this machine has measured before at so many rows."""
    if not path.is_file():
        return []
    record = json.loads(path.read_text(encoding="utf-8"))
    if (record["rows"], record["machine"]) != (rows, machine()):
        return []
    return [Measured(**case) for case in record["cases"]]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=16_000)
    parser.add_argument("--neurons", type=int, nargs="*", choices=CASES, default=list(CASES))
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    path, few = arguments.out / "size.json", gated(300, 32)
    measured = [case for case in kept(path, arguments.rows) if case.neurons not in arguments.neurons]
    for neurons in arguments.neurons:
        many = gated(arguments.rows, neurons)
        for loss, k in CASES[neurons]:
            measure(*few, loss, min(k, ENUMERATED))  # compiles
            measured = sorted([*measured, measure(*many, loss, k)], key=lambda case: case.neurons)
            cases = [asdict(done) for done in measured]
            record = {"machine": machine(), "rows": arguments.rows, "cases": cases}
            write_file(path, (json.dumps(record, indent=1) + "\n").encode())
    show(measured)
    draw(measured, arguments.out / "size.png")


if __name__ == "__main__":
    main()
