"""Seconds of every engine: solving by phase, checking, size of the proof.

    python -m benchmarks.engines [--data DIR] [--planted P ...] [--limit S] [--out DIR]

``DIR`` holds .npz files with X_train and y_train; without it, only instances with planted supports are measured. A case
that takes less than 15 s is solved twice, so that compilation is not counted, and the second run is kept. Results go to
``benchmarks/results/engines.json`` with a description of the machine, and to a figure.
"""

from __future__ import annotations

import argparse
import json
import platform
import tempfile
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from importlib import metadata
from pathlib import Path

import numpy as np
from joblib import cpu_count
from numpy.typing import NDArray

from formulations import UnsupportedProblem, sparse_probe_problem
from optprobe.certificates import verify
from optprobe.engines import solve
from optprobe.files import write_file

Floats = NDArray[np.float64]

CASES: tuple[tuple[str, str, float, tuple[int, ...]], ...] = (
    ("enumeration", "squared", 0.01, (2, 3, 4, 5)),
    ("dual_enumeration", "logistic", 0.1, (1, 2, 3)),
    ("dual_enumeration", "logistic", 0.01, (2, 3)),
    ("dual_enumeration", "hinge", 0.1, (1, 2)),
    ("dual_enumeration", "hinge", 0.01, (2,)),
    ("branch_and_cut", "logistic", 0.5, (3, 5)),
    ("branch_and_cut", "logistic", 0.3, (5,)),
    ("branch_and_cut", "logistic", 0.1, (5,)),
    ("branch_and_cut", "logistic", 0.03, (4,)),
    ("branch_and_cut", "squared", 0.5, (3,)),
    ("outer_approximation", "logistic", 0.5, (3,)),
    ("branch_and_cut", "hinge", 0.5, (3,)),
)
"""Method, loss, ridge, ks."""
COMPILING = 15.0
"""Seconds of a solve that compiling may have been much of: it is solved again."""
RESULTS = Path(__file__).parent / "results"
SHORT_TYPES = {"amx_bf16", "avx512_bf16", "avx512f"}
"""What a processor may say of matrix units, of products in bfloat16, and of long vectors."""


@dataclass(frozen=True)
class Instance:
    """Rows and labels under a name."""

    name: str
    X: Floats
    y: Floats


@dataclass(frozen=True)
class Measured:
    """One case: what was solved, how it ended, and where the time went (seconds; bytes of the certificate)."""

    instance: str
    n_rows: int
    n_neurons: int
    method: str
    loss: str
    ridge: float
    k: int
    optimal: bool
    gap: float
    upper_bound: float
    seconds: dict[str, float]
    counts: dict[str, int]
    proof_bytes: int
    checking: float
    accepted: bool


def planted(p: int, n: int = 1500, size: int = 4, seed: int = 0) -> Instance:
    """Correlated Gaussian neurons (twenty common factors), labels of ``size`` of them and noise."""
    rng = np.random.default_rng(seed)
    X = rng.standard_normal((n, 20)) @ rng.standard_normal((20, p)) * 0.15 + rng.standard_normal((n, p))
    y = X[:, rng.choice(p, size, replace=False)].sum(axis=1) + rng.standard_normal(n)
    return Instance(f"planted {p}", X, np.where(y > 0, 1.0, -1.0))


def instances(folder: Path | None, planted_sizes: list[int]) -> Iterator[Instance]:
    for path in sorted(folder.glob("*.npz")) if folder else ():
        with np.load(path, allow_pickle=False) as data:
            yield Instance(path.stem, data["X_train"].astype(np.float64), data["y_train"].astype(np.float64))
    yield from map(planted, planted_sizes)


def measure(instance: Instance, method: str, loss: str, ridge: float, k: int, limit: float) -> Measured | None:
    """Solve, save and check; None where the engine refuses."""
    problem = sparse_probe_problem(instance.X, instance.y, k, loss=loss, ridge=ridge)
    try:
        first = solve(problem, method, limit)
    except UnsupportedProblem:
        return None
    again = first.optimal and sum(first.seconds.values()) < COMPILING
    solution = solve(problem, method, limit) if again else first
    with tempfile.TemporaryDirectory() as folder:
        path = solution.certificate().save(Path(folder) / "a.cert")
        size, started = path.stat().st_size, time.perf_counter()
        verdict = verify(path, instance.X, instance.y, fast=method == "enumeration")
        checking = time.perf_counter() - started
    return Measured(
        instance=instance.name,
        n_rows=problem.n_rows,
        n_neurons=problem.n_neurons,
        method=method,
        loss=loss,
        ridge=ridge,
        k=k,
        optimal=solution.optimal,
        gap=solution.gap,
        upper_bound=solution.upper_bound,
        seconds=dict(solution.seconds),
        counts=dict(solution.counts),
        proof_bytes=size,
        checking=checking,
        accepted=verdict.accepted,
    )


def machine() -> dict[str, object]:
    """What the figures depend on."""
    names = [line.split(":", 1)[1].strip() for line in _lines("/proc/cpuinfo") if line.startswith("model name")]
    flags = {flag for line in _lines("/proc/cpuinfo") if line.startswith("flags") for flag in line.split()}
    versions = {name: metadata.version(name) for name in ("numpy", "numba", "highspy", "scipy")}
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": cpu_count(),
        "short_types": sorted(flags & SHORT_TYPES),
        "python": platform.python_version(),
        **versions,
    }


def _lines(path: str) -> list[str]:
    try:
        return Path(path).read_text(encoding="utf-8").splitlines()
    except OSError:
        return []


def show(measured: list[Measured]) -> None:
    from rich.console import Console
    from rich.table import Table

    table = Table(title="Seconds: heuristics, engine, checking")
    for column in ("instance", "p", "method", "loss", "ridge", "k", "gap", "heuristics", "engine", "check", "proof"):
        table.add_column(column, justify="left" if column in ("instance", "method", "loss") else "right")
    for case in measured:
        table.add_row(
            case.instance,
            str(case.n_neurons),
            case.method,
            case.loss,
            f"{case.ridge:g}",
            str(case.k),
            f"{case.gap:.0e}" if case.optimal else f"[bold]{case.gap:.0e}[/bold]",
            f"{case.seconds['heuristics']:.2f}",
            f"{case.seconds[case.method]:.2f}",
            f"{case.checking:.2f}" if case.accepted else "REJECTED",
            f"{case.proof_bytes / 1024:.0f} KiB",
        )
    Console(width=140).print(table)


def draw(measured: list[Measured], path: Path) -> None:
    """Seconds of the engine (bars) and of the checker (marks), one panel for each method and loss."""
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    groups = sorted({(case.method, case.loss, case.ridge) for case in measured})
    figure, axes = plt.subplots(len(groups), 1, figsize=(9, 2.4 * len(groups)), squeeze=False, layout="constrained")
    for axis, group in zip(axes[:, 0], groups):
        cases = [case for case in measured if (case.method, case.loss, case.ridge) == group]
        labels = [f"{case.instance}, k = {case.k}" for case in cases]
        axis.bar(range(len(cases)), [case.seconds[case.method] for case in cases], color="tab:blue", label="engine")
        axis.plot(range(len(cases)), [case.checking for case in cases], "k_", markersize=9, label="checker")
        axis.set(yscale="log", ylabel="seconds", title=f"{group[0]}, {group[1]} loss, ridge {group[2]:g}")
        axis.set_xticks(range(len(cases)), labels, rotation=60, ha="right", fontsize=6)
        axis.legend(fontsize=7)
    figure.savefig(path, dpi=150)
    plt.close(figure)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", type=Path, help="a folder of .npz files with X_train and y_train")
    parser.add_argument(
        "--planted", type=int, nargs="*", default=[2048], help="numbers of neurons of planted instances"
    )
    parser.add_argument("--limit", type=float, default=60.0, help="seconds for one solve (default 60)")
    parser.add_argument("--out", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    arguments.out.mkdir(parents=True, exist_ok=True)
    measured: list[Measured] = []
    for instance in instances(arguments.data, arguments.planted):
        for method, loss, ridge, ks in CASES:
            for k in ks:
                case = measure(instance, method, loss, ridge, k, arguments.limit)
                measured += [case] if case else []
                record = {"machine": machine(), "cases": [asdict(done) for done in measured]}
                write_file(arguments.out / "engines.json", (json.dumps(record, indent=1) + "\n").encode())
    show(measured)
    draw(measured, arguments.out / "engines.png")


if __name__ == "__main__":
    main()
