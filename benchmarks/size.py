"""Many rows: what the sample of the rows saves a search, and where the rest of the time goes.

    python -m benchmarks.size [--rows N] [--neurons P] [--out DIR]

Gated neurons with heavy tails and common factors, made from a seed. Every case is searched for an incumbent twice in
one run, on a sample of the rows and on all of them, then solved; the ratio is that of the two searches, and ``excess``
by how much F is larger at the set found on the sample, as a share. Seconds are those of the processor, all threads
together: on a busy machine the clock counts what others do. The squared loss searches all rows either way. Results go
to ``benchmarks/results/size.json`` with a description of the machine.
"""

from __future__ import annotations

import argparse
import json
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from threadpoolctl import threadpool_limits

from benchmarks.engines import RESULTS, machine
from formulations import sparse_probe_problem
from optprobe.engines import solve
from optprobe.files import write_file
from optprobe.heuristics import incumbent, sample

Floats = NDArray[np.float64]

CASES = (("squared", 3), ("logistic", 1), ("logistic", 2), ("hinge", 1), ("hinge", 2), ("logistic", 3))
"""Loss and k; balanced classes."""
RIDGE = 0.01
FACTORS, PLANTED, SHARE = 48, 6, 0.15
"""Common factors, neurons that the label depends on, and the share of the positive class."""


@dataclass(frozen=True)
class Measured:
    """One case in processor seconds."""

    loss: str
    k: int
    search: float
    search_on_all_rows: float
    excess: float
    solve: float
    optimal: bool


def gated(n: int, p: int, seed: int = 0) -> tuple[NDArray[np.float32], Floats]:
    """SiLU of one random projection of the factors times another, plus noise; labels by a few neurons and factors."""
    rng = np.random.default_rng(seed)
    factors = rng.standard_normal((n, FACTORS)) * np.exp(0.5 * rng.standard_normal((n, 1)))

    def projected() -> Floats:
        directions = 0.9 * rng.standard_normal((FACTORS, p)) / np.sqrt(FACTORS)
        return np.asarray(factors @ directions + 0.8 * rng.standard_normal((n, p)))

    gate = projected()
    X = (gate / (1.0 + np.exp(-gate)) * projected()).astype(np.float32)
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


def measure(X: NDArray[np.float32], y: Floats, loss: str, k: int) -> Measured:
    problem = sparse_probe_problem(X, y, k, loss=loss, ridge=RIDGE, class_weight="balanced")
    assert problem.cross is not None  # standardised once, for both searches
    with threadpool_limits(1, user_api="blas"):  # as `solve` does
        marks = [time.process_time()]
        found = incumbent(problem)
        marks.append(time.process_time())
        with rows_sampled(problem.n_rows):
            on_all = incumbent(problem)
        marks.append(time.process_time())
    solution = solve(problem)
    marks.append(time.process_time())
    search, search_on_all_rows, solving = map(float, np.diff(marks))
    excess = found.objective / on_all.objective - 1
    return Measured(loss, k, search, search_on_all_rows, excess, solving, solution.optimal)


def show(measured: list[Measured]) -> None:
    print(f"{'loss':9}{'k':>2}{'search':>9}{'all rows':>10}{'ratio':>7}  {'excess':8}{'solve':>7}  optimal")
    for case in measured:
        ratio = case.search_on_all_rows / max(case.search, 1e-9)
        searches = f"{case.search:9.2f}{case.search_on_all_rows:10.2f}{ratio:7.1f}  {case.excess:8.1e}"
        print(f"{case.loss:9}{case.k:2d}{searches}{case.solve:7.2f}  {case.optimal}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--rows", type=int, default=16_000)
    parser.add_argument("--neurons", type=int, default=1536)
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    few, many = gated(300, 32), gated(arguments.rows, arguments.neurons)
    measured: list[Measured] = []
    for loss, k in CASES:
        measure(*few, loss, k)  # compiles
        measured.append(measure(*many, loss, k))
        record = {
            "machine": machine(),
            "rows": arguments.rows,
            "neurons": arguments.neurons,
            "cases": [asdict(done) for done in measured],
        }
        write_file(arguments.out / "size.json", (json.dumps(record, indent=1) + "\n").encode())
    show(measured)


if __name__ == "__main__":
    main()
