"""
How much does a heuristic choice of k neurons lose against the certified optimum?

    python -m experiments.heuristic_vs_optimal --config experiments/configs/bundled.toml [--out DIR]

Every ranking of Gurnee et al. 2023 and every search, for each feature, layer, loss and k of the configuration: the
objective it reaches, its regret, the neurons it shares with the optimum, its F1 on held-out documents with an interval
over documents, and the share of features where it finds an optimum.

The folder DIR gets ``results.csv`` (one row a case and method), ``index.html``, ``figures/``, ``certificates/``,
``activations/`` and ``cases/``: one record a finished case, named by the digest of all that it depends on. Another run
goes on where the last one ended.
"""

from __future__ import annotations

import argparse
import csv
import hashlib
import io
import json
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from experiments.config import Config, LossSetting, read_config
from formulations import SparseProbeProblem
from formulations.problem import value_digest
from optprobe.activations import LabelledActivations, load_labelled
from optprobe.cli.quickstart import phase_bar
from optprobe.cli.shared import writable_folder
from optprobe.data import problem
from optprobe.errors import InputError, OptprobeError
from optprobe.features import load
from optprobe.files import write_file
from optprobe.heuristics import RankingScores
from optprobe.quickstart import Report, about, extracted
from optprobe.report import Case, MethodResult, certified_case, headline, write_page
from optprobe.report.page import page_figures

TITLE = "Heuristic choices of neurons against the certified optimum"
RECORD = "optprobe-case/2"
RESULTS = Path("experiments/results/heuristic_vs_optimal")


@dataclass(frozen=True)
class PlannedCase:
    """A case to be run: its rows, problem, rankings and kind, and the digest of all that its result depends on."""

    data: LabelledActivations
    problem: SparseProbeProblem
    scores: RankingScores
    kind: tuple[LossSetting, int]
    key: str


def run(config: Config, folder: Path, report: Report) -> list[Case]:
    """
    Run every case that has no sound record yet, and write results, figures and page.

    Parameters
    ----------
    config : Config
    folder : Path
        Empty, new, or left by an earlier run of the same configuration.
    report : callable
        Receives the progress; what it raises ends the run.

    Raises
    ------
    InputError
        If the folder belongs to another configuration, or a feature, layer or k does not exist.
    """
    claim_folder(config, folder)
    data = load(config.dataset)
    if unknown := sorted(set(config.features) - set(data.features)):
        raise InputError(f"there is no feature {unknown[0]!r} in {data.name!r}; there are {', '.join(data.features)}")
    extracted(folder / "activations", config.model, data, config.layers, report)
    cases: list[Case] = []
    clock = Clock(config)
    for planned in plan(config, folder / "activations"):
        case = read_case(folder, planned.key)
        if case is None:
            report(f"{len(cases) + 1} of {config.n_cases}, {clock.left}", len(cases) / config.n_cases)
            started = time.perf_counter()
            case = certified_case(
                planned.data,
                planned.problem,
                folder / "certificates",
                time_limit=config.time_limit,
                draws=config.bootstrap_draws,
                seed=config.seed,
                scores=planned.scores,
            )
            clock.ran(planned.kind, time.perf_counter() - started)
            write_case(folder, planned.key, case)
        else:
            clock.skipped(planned.kind)
        cases.append(case)
    report("writing results, figures and page", 1.0)
    write_file(folder / "results.csv", results_csv(cases))
    for figure in page_figures(cases):
        text = figure.svg.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1)
        write_file(folder / "figures" / f"{figure.name}.svg", text)
    write_page(folder / "index.html", TITLE, cases, about(folder / "activations", planned.data, config.bootstrap_draws))
    return cases


def claim_folder(config: Config, folder: Path) -> None:
    """Write the configuration into the folder, or compare it with the one that is there; InputError if they differ."""
    path = folder / "config.json"
    if path.is_file():
        try:
            there = json.loads(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise InputError(f"{path} cannot be read ({error}): choose another folder with --out") from error
        if there != config.record:
            key = next((key for key, value in config.record.items() if there.get(key) != value), "more")
            raise InputError(f"{folder} has results of another configuration ({key} differs): choose another --out")
        return
    write_file(path, json.dumps(config.record, indent=1) + "\n")


def plan(config: Config, activations: Path) -> Iterator[PlannedCase]:
    """Every case of the configuration: features, then layers, then losses, then k."""
    for feature in config.features:
        for layer in config.layers:
            data = load_labelled(activations, feature, layer, seed=config.split_seed)
            assert data.X_test is not None
            assert data.y_test is not None
            assert data.group_test is not None
            test = [value_digest(part) for part in (data.X_test, data.y_test, data.group_test)]
            for loss in config.losses:
                whole = problem(data, config.ks[0], loss=loss.name, ridge=loss.ridge, class_weight=loss.class_weight)
                scores = RankingScores(whole, config.seed)
                for k in config.ks:
                    stated = whole.restated(k=k)
                    depends = [RECORD, config.digest, feature, layer, k, *vars(loss).values(), stated.digests, test]
                    key = hashlib.sha256(json.dumps(depends, sort_keys=True).encode()).hexdigest()
                    yield PlannedCase(data, stated, scores, (loss, k), key)


def write_case(folder: Path, key: str, case: Case) -> None:
    """Write the record of a finished case."""
    record = case.record()
    sealed = {"format": RECORD, "key": key, "sha256": _digest(record), "case": record}
    write_file(folder / "cases" / f"{key}.json", json.dumps(sealed, indent=1, allow_nan=False) + "\n")


def read_case(folder: Path, key: str) -> Case | None:
    """The finished case of this key, if its record and its certificate are there and unaltered."""
    try:
        sealed = json.loads((folder / "cases" / f"{key}.json").read_text(encoding="utf-8"))
        if (sealed["format"], sealed["key"], sealed["sha256"]) != (RECORD, key, _digest(sealed["case"])):
            return None
        case = Case.of_record(sealed["case"])
        certificate = (folder / "certificates" / case.certificate).read_bytes()
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return case if hashlib.sha256(certificate).hexdigest() == case.sha256 else None


def _digest(record: object) -> str:
    return hashlib.sha256(json.dumps(record, sort_keys=True).encode()).hexdigest()


class Clock:
    """The time left, from what cases of the same loss and k have taken in this run."""

    def __init__(self, config: Config) -> None:
        places = len(config.features) * len(config.layers)
        self._to_do = {(loss, k): places for loss in config.losses for k in config.ks}
        self._took: dict[tuple[LossSetting, int], list[float]] = {kind: [] for kind in self._to_do}

    def ran(self, kind: tuple[LossSetting, int], seconds: float) -> None:
        """A case of this kind took so long."""
        self._to_do[kind] -= 1
        self._took[kind].append(seconds)

    def skipped(self, kind: tuple[LossSetting, int]) -> None:
        """A case of this kind was done already."""
        self._to_do[kind] -= 1

    @property
    def left(self) -> str:
        """The estimate in words; none before every kind that is still to come has run once."""
        open_kinds = [kind for kind, count in self._to_do.items() if count]
        if not all(self._took[kind] for kind in open_kinds):
            return "time left unknown"
        seconds = sum(self._to_do[kind] * sum(self._took[kind]) / len(self._took[kind]) for kind in open_kinds)
        return f"about {seconds:.0f} s left" if seconds < 100 else f"about {seconds / 60:.0f} min left"


def results_csv(cases: Sequence[Case]) -> str:
    """
    One row a case and method, floats so that they read back as they were.

    Times are not among the columns, so that two runs write the same file; the records of the cases have them.
    """
    rows = [csv_row(case, result) for case in cases for result in case.methods]
    text = io.StringIO()
    writer = csv.DictWriter(text, fieldnames=list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def csv_row(case: Case, result: MethodResult) -> dict[str, object]:
    """The row of one method in one case; supports as numbers with spaces between them."""
    return {
        "feature": case.feature,
        "layer": case.layer,
        "loss": case.loss,
        "ridge": case.ridge,
        "class_weight": case.class_weight,
        "k": case.k,
        "n_rows": case.n_rows,
        "n_neurons": case.n_neurons,
        "n_test": case.n_test,
        "method": result.method,
        "support": " ".join(map(str, result.support)),
        "objective": result.objective,
        "regret": result.regret,
        "relative_regret": result.relative_regret,
        "overlap": result.overlap,
        "optimal": result.optimal,
        "f1_train": result.f1_train,
        "f1_test": result.f1_test,
        "f1_low": result.f1_low,
        "f1_high": result.f1_high,
        "f1_behind": result.f1_behind,
        "f1_behind_low": result.f1_behind_low,
        "f1_behind_high": result.f1_behind_high,
        "best_support": " ".join(map(str, case.support)),
        "upper_bound": case.upper_bound,
        "lower_bound": case.lower_bound,
        "status": case.status,
        "engine": case.engine,
        "regime": case.regime,
        "certificate": case.certificate,
        "certificate_accepted": case.accepted,
    }


def main(arguments: list[str] | None = None) -> int:
    """The command; exit code 0, 1 where a certificate was rejected, 2 for unusable input."""
    parser = argparse.ArgumentParser(prog="python -m experiments.heuristic_vs_optimal", description=TITLE)
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="a .toml in experiments/configs")
    parser.add_argument("--out", type=Path, metavar="DIR", help=f"default: {RESULTS}/NAME of the configuration")
    parsed = parser.parse_args(arguments)
    try:
        config = read_config(parsed.config)
        folder = writable_folder(parsed.out or RESULTS / parsed.config.stem)
        with phase_bar() as report:
            cases = run(config, folder, report)
    except OptprobeError as error:
        print(f"heuristic_vs_optimal: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print("heuristic_vs_optimal: interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    print(f"{headline(cases)}\n{folder / 'results.csv'}\n{folder / 'index.html'}")
    return 0 if all(case.accepted for case in cases) else 1


if __name__ == "__main__":
    sys.exit(main())
