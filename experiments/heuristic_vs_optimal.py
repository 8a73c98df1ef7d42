"""
How much does a heuristic choice of k neurons lose against the certified optimum?

    python -m experiments.heuristic_vs_optimal --config experiments/configs/bundled.toml [--out DIR]

Every ranking of Gurnee et al. 2023 and every search, for each feature, layer, loss and k of the configuration: the
objective it reaches, its regret, the neurons it shares with the optimum, its F1 on held-out documents with an interval
over documents, and the share of features where it finds an optimum.

The folder DIR gets ``results.csv`` (one row a case and method), ``index.html``, ``figures/``, ``activations/``, and
what every study leaves: ``records/``, ``failures/`` and ``registry/``. Another run goes on where the last one ended.
"""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from optprobe.activations import Activations
from optprobe.cases import Case
from optprobe.cases.config import Config, read_config
from optprobe.cases.study import REGISTRY
from optprobe.cases.table import csv_text
from optprobe.cli.shared import phase_bar, writable_folder
from optprobe.errors import InputError, OptprobeError
from optprobe.features import load
from optprobe.files import write_file
from optprobe.quickstart import extracted
from optprobe.registry import Registry
from optprobe.report import Site, Store, headline, results_of, write_site
from optprobe.report.figures import overview_figures
from optprobe.studies import run_study
from optprobe.studies.run import Report

TITLE = "Heuristic choices of neurons against the certified optimum"
RESULTS = Path("experiments/results/heuristic_vs_optimal")


def run(config: Config, folder: Path, report: Report) -> list[Case]:
    """
    Run every case that has no sound record yet, and write results, figures and site.

    Parameters
    ----------
    config : Config
        With a model and a dataset.
    folder : Path
    report : callable
        Receives the progress; what it raises ends the run.

    Raises
    ------
    InputError
        If a feature, layer or k does not exist, or a case has failed.
    """
    if config.model is None or config.dataset is None or config.layers is None:
        raise InputError("this experiment extracts its activations: give model, dataset and layers in place of stores")
    data = load(config.dataset)
    if unknown := sorted(set(config.features or ()) - set(data.features)):
        raise InputError(f"there is no feature {unknown[0]!r} in {data.name!r}; there are {', '.join(data.features)}")
    activations = folder / "activations"
    extracted(activations, config.model, data, config.layers, report)
    study = config.study(folder, (str(activations),))
    outcome = run_study(study, folder, report=report)
    if outcome.failures:
        raise InputError(f"{outcome.failed} cases failed, the first: {outcome.failures[0]} ({folder / 'failures'})")
    cases = study.cases()
    report("writing results, figures and site", 1.0)
    write_file(folder / "results.csv", csv_text(cases))
    for figure in overview_figures(cases):
        text = figure.svg.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1)
        write_file(folder / "figures" / f"{figure.name}.svg", text)
    results = results_of(cases, Registry(folder / REGISTRY), (config.bootstrap_draws,))
    write_site(Site(results, TITLE, Store.of(Activations.open(activations), config.dataset)), folder)
    return cases


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
