"""What an experiment is: a configuration, a run that resumes, tables, and what the tables say.

The folder of a run gets what every study leaves (``records/``, ``failures/``, ``registry/``), activations, the pages of
certificates, features and neurons (``index.html``), and the finding: a CSV a table, ``figures/``, ``finding.json``
and its page, ``study.html``. The paragraph follows from the tables alone.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Generic, TypeVar

from optprobe.cli.shared import INTERRUPTED, phase_bar, writable_folder
from optprobe.errors import CertificateRejected, InputError, OptprobeError
from optprobe.files import write_file
from optprobe.report.figures import FigureOnPage
from optprobe.report.finding import PAGE, Finding, Rows, keep_finding
from optprobe.studies import Study, records_of, run_study
from optprobe.studies.backends import BACKENDS, Backend, backend_named
from optprobe.studies.keys import Keys, read_keys
from optprobe.studies.run import Report

FOLDER = Path(__file__).parent
RUNS, RESULTS, TOOK = Path("runs"), FOLDER / "results", "took.json"
T = TypeVar("T")
Tables = Mapping[str, Rows]


@dataclass(frozen=True)
class Job(Generic[T]):
    """
    One run of an experiment.

    Attributes
    ----------
    config : T
        What the configuration file states.
    folder : Path
        Gets everything.
    report : callable
        Receives the progress.
    backend : Backend
        Who runs the items.
    """

    config: T
    folder: Path
    report: Report
    backend: Backend

    def results(self, study: Study) -> list[dict[str, Any]]:
        """
        The results of all items of a study, of which those without a sound record are run first.

        Raises
        ------
        InputError
            If an item has failed.
        """
        outcome = run_study(study, self.folder, self.backend, self.report)
        if outcome.failures:
            where = self.folder / "failures"
            raise InputError(f"{outcome.failed} cases failed, the first: {outcome.failures[0]} ({where})")
        return [record["result"] for record in records_of(study, self.folder)]


@dataclass(frozen=True)
class Experiment(Generic[T]):
    """
    A claim, and how it is decided.

    Attributes
    ----------
    name, title : str
    paper : str
        The figure or table of Gurnee et al. 2023 that it answers to.
    read : callable
        Takes from `Keys` what its configuration states.
    run : callable
        Takes a `Job`; runs its items and returns the tables and figures.
    about : callable
        Takes the configuration; returns where the numbers come from, in words.
    captions : mapping of str to str
        A sentence for each table.
    said : callable
        The paragraph that the tables give.
    """

    name: str
    title: str
    paper: str
    read: Callable[[Keys], T]
    run: Callable[[Job[T]], tuple[Tables, Sequence[FigureOnPage]]]
    about: Callable[[T], Mapping[str, str]]
    captions: Mapping[str, str]
    said: Callable[[Tables], str]

    def finding(self, job: Job[T]) -> Finding:
        """Run, and say what the tables say."""
        tables, figures = self.run(job)
        assert "cases" not in tables, "cases.csv is a file of the site in the same folder"
        about = self.about(job.config)
        return Finding(self.name, self.title, self.said(tables), about, tables, self.captions, figures)

    def config(self, path: Path) -> T:
        """Read a configuration; `InputError` names the file and the key."""
        keys = read_keys(path)
        config = self.read(keys)
        keys.done()
        return config


def command(experiment: Experiment[Any], arguments: Sequence[str] | None = None) -> int:
    """``python -m experiments.NAME``: exit code 0, 1 for a rejected certificate, 2 for bad input, 130 on Ctrl-C."""
    parser = argparse.ArgumentParser(prog=f"python -m experiments.{experiment.name}", description=experiment.title)
    parser.add_argument("--config", type=Path, required=True, metavar="FILE", help="a .toml in experiments/configs")
    parser.add_argument("--out", type=Path, metavar="DIR", help=f"default: {RUNS}/{experiment.name}/NAME of the file")
    parser.add_argument("--keep", action="store_true", help="write the finding to experiments/results too")
    parser.add_argument("--backend", choices=BACKENDS, default="here", help="who runs the items (default: here)")
    parser.add_argument("--workers", type=int, metavar="N", help="how many at once (default 2)")
    parsed = parser.parse_args(arguments)
    place = Path(experiment.name) / parsed.config.stem
    try:
        backend = backend_named(parsed.backend, parsed.workers)
        config = experiment.config(parsed.config)
        folder, started = writable_folder(parsed.out or RUNS / place), time.perf_counter()
        with phase_bar() as report:
            finding = experiment.finding(Job(config, folder, report, backend))
        keep_finding(finding, folder)
        if parsed.keep:
            keep_finding(finding, RESULTS / place)
            took = {"seconds": round(time.perf_counter() - started), "cores": os.cpu_count()}
            write_file(RESULTS / place / TOOK, json.dumps(took) + "\n")
        pages = "index.html" if (folder / "index.html").is_file() else None
        write_file(folder / PAGE, finding.page(pages=pages))
    except OptprobeError as error:
        print(f"{experiment.name}: {error}", file=sys.stderr)
        return 1 if isinstance(error, CertificateRejected) else 2
    except KeyboardInterrupt:
        print(f"{experiment.name}: interrupted; the same command goes on from here", file=sys.stderr)
        return INTERRUPTED
    print(f"{finding.paragraph}\n{folder / PAGE}")
    return 0
