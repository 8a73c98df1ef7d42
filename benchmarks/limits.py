"""By how much `solve` exceeds its time limit: every engine and loss on one layer's size, at several limits.

    python -m benchmarks.limits [--data FILE.npz] [--limits S ...]

Without data, neurons with planted supports. Every case is solved once before, so that compiled code is loaded; wall and
processor time are printed, since on a busy machine the former also counts what others do.
"""

from __future__ import annotations

import argparse
import time
from pathlib import Path

import numpy as np

from formulations import sparse_probe_problem
from optprobe.engines import solve

N_ROWS, N_NEURONS, RIDGE = 1000, 1536, 0.003
LIMITS = (0.01, 0.5, 2.0)
CASES = (
    ("squared", 5, "auto"),
    ("squared", 3, "enumeration"),
    ("squared", 6, "enumeration"),
    ("logistic", 3, "auto"),
    ("logistic", 3, "dual_enumeration"),
    ("logistic", 4, "branch_and_cut"),
    ("hinge", 2, "dual_enumeration"),
    ("hinge", 3, "branch_and_cut"),
    ("hinge", 3, "outer_approximation"),
)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--data", type=Path)
    parser.add_argument("--limits", type=float, nargs="+", default=LIMITS)
    arguments = parser.parse_args()
    if arguments.data is None:
        rng = np.random.default_rng(0)
        X = rng.standard_normal((N_ROWS, 40)) @ rng.standard_normal((40, N_NEURONS))
        X += 3 * rng.standard_normal(X.shape)
        y = np.where(X[:, :4].sum(axis=1) + 5 * rng.standard_normal(N_ROWS) > 0, 1.0, -1.0)
    else:
        arrays = np.load(arguments.data)
        X, y = arrays["X_train"], np.where(arrays["y_train"] > arrays["y_train"].min(), 1.0, -1.0)
    print(f"{'loss':9}{'k':>2}  {'method':20}{'limit':>6}{'over':>7}{'cpu':>6}  lower     upper")
    for loss, k, method in CASES:
        problem = sparse_probe_problem(X, y, k, loss=loss, ridge=RIDGE)
        solve(problem, method, arguments.limits[0])
        for limit in arguments.limits:
            started, worked = time.perf_counter(), time.process_time()
            solution = solve(problem, method, limit)
            over, cpu = time.perf_counter() - started - limit, time.process_time() - worked
            bounds = f"{solution.lower_bound:.5f}   {solution.upper_bound:.5f}"
            print(f"{loss:9}{k:2d}  {method:20}{limit:6.2f}{over:7.2f}{cpu:6.2f}  {bounds}", flush=True)


if __name__ == "__main__":
    main()
