"""
All findings that are kept, as a site and as ``experiments/README.md``.

    python -m experiments.overview --out DIR
    python -m experiments.overview --readme
"""

from __future__ import annotations

import argparse
import inspect
import json
import sys
import textwrap
from collections.abc import Iterator, Sequence
from importlib import import_module
from pathlib import Path
from typing import Any

from experiments.experiment import FOLDER, RESULTS, TOOK, Experiment
from optprobe.cli.shared import writable_folder
from optprobe.errors import OptprobeError
from optprobe.files import write_file
from optprobe.report.finding import Finding, keep_finding, read_finding
from optprobe.report.html import Link, rendered

README = FOLDER / "README.md"
NAMES = (
    *("heuristic_vs_optimal", "selection_regret", "regimes", "prefilter", "uniqueness", "context_neurons"),
    *("ngram_superposition", "weight_fingerprint", "scaling", "follow_up", "basis", "position", "synthetic_recovery"),
)
"""The experiments, in the order in which one reads them."""
TITLE = "What certified neurons say about language models"
BESIDE_THE_PAPER = {
    "heuristic_vs_optimal": (
        "as there, the mean difference ranks well, and less so the more neurons are asked for. That local search "
        "finds every optimum, and that this is often worth little on held-out documents, needs a proof to say."
    ),
    "selection_regret": "not there, which has no optimum over a whole layer to compare with.",
    "regimes": (
        "at its default gamma the certificate is true and cheap, and says of neurons only what the ranking by mean "
        "difference says; the exact choice begins at ridges a hundred times smaller."
    ),
    "prefilter": (
        "its prefilter drops neurons of the optimum as k grows, and loses nothing on held-out documents: a sound "
        "choice in practice, and no proof about the layer."
    ),
    "uniqueness": "agrees with its pruning: without the best neuron the next one is often nearly as good.",
    "context_neurons": (
        "agrees for natural languages and LaTeX, where single neurons exist whose deletion hurts their context and "
        "nothing else. For code, models of this size show none."
    ),
    "ngram_superposition": (
        "that sets of few neurons tell n-grams is no evidence for neurons as such: random directions must be "
        "beaten too. They are in SmolLM2; in the small model neurons are hardly more often ahead than behind."
    ),
    "weight_fingerprint": (
        "agrees that input biases are negative nearly everywhere. That neurons of features have large weights does "
        "not hold in the small model, where those of certified optima have smaller ones than the rest of their "
        "layers; in SmolLM2 they have slightly larger ones."
    ),
    "scaling": (
        "none of its kinds of dynamics shows over these sizes and steps; most features never have a neuron of "
        "their own by the criterion, and some have one from the first steps on."
    ),
    "follow_up": "agrees, and more so: most neurons that do best on labelled words respond to much else.",
    "basis": (
        "neurons are ahead of random rotations by objective and F1, hardly by AUC; principal components are ahead "
        "of neurons."
    ),
    "position": "not there. A negative result: no few neurons tell the position.",
    "synthetic_recovery": "not there.",
}
"""What agrees with the paper and what does not, in words."""
INTRODUCTION = """
One module a claim, one configuration a model, one paragraph a finding. `python -m experiments.NAME --config FILE` runs
one, goes on where it was stopped, and leaves certificates, pages of features and neurons, tables, figures and a page of
the finding in `runs/NAME/CONFIG` (`--out`); `--keep` writes tables, figures and paragraph to `experiments/results`,
from which this page and the site of all findings are made (`python -m experiments.overview --readme`, `--out DIR`).
Splits are by document, intervals over documents. Seconds are those of a run from nothing, on a machine with other work,
and of most that were stopped half-way and went on.
A certificate is about encoding, not about use: that the best probe reads a neuron does not say that the model does.
"""


def experiment_named(name: str) -> Experiment[Any]:
    """The experiment of a module."""
    found = import_module(f"experiments.{name}").EXPERIMENT
    assert isinstance(found, Experiment)
    return found


def kept(name: str) -> Iterator[tuple[str, Finding, str]]:
    """Of an experiment's kept findings the name of the configuration, the finding, and the time that it took."""
    for folder in sorted(path.parent for path in (RESULTS / name).glob("*/finding.json")):
        took = folder / TOOK
        seconds = json.loads(took.read_text(encoding="utf-8"))["seconds"] if took.is_file() else None
        yield folder.name, read_finding(folder), "" if seconds is None else f", {seconds:,} s"


def readme() -> str:
    """The text of ``experiments/README.md``."""
    parts = [f"# {TITLE}", INTRODUCTION.strip()]
    for name in NAMES:
        experiment = experiment_named(name)
        parts += [f"## {experiment.title}", question(name), f"In the paper: {experiment.paper}."]
        parts.append(f"Beside the paper: {BESIDE_THE_PAPER[name]}")
        for config, finding, took in kept(name):
            where = f"{finding.about.get('model', 'no model')} (`{name}/{config}.toml`{took})"
            parts.append(f"**{where}.** {finding.paragraph}")
    return "\n\n".join("\n".join(_wrapped(part)) for part in parts) + "\n"


def question(name: str) -> str:
    """What an experiment asks: the first paragraph of its module."""
    return " ".join((inspect.getdoc(import_module(f"experiments.{name}")) or "").split("\n\n")[0].split())


def _wrapped(part: str) -> list[str]:
    return [part] if part.startswith("#") else textwrap.wrap(" ".join(part.split()), 120, break_on_hyphens=False)


def write_overview(folder: Path) -> Path:
    """Write the site of all findings; returns its first page."""
    studies = []
    write_file(folder / "style.css", rendered("style.css"))
    for name in NAMES:
        experiment = experiment_named(name)
        found = []
        for config, finding, _ in kept(name):
            place = folder / f"{name}-{config}"
            keep_finding(finding, place)
            write_file(place / "index.html", finding.page(root="../", site_title=TITLE))
            model = finding.about.get("model", "no model")
            found.append((Link(model, f"{name}-{config}/index.html"), finding.paragraph))
        about = {"question": question(name), "paper": experiment.paper, "beside": BESIDE_THE_PAPER[name]}
        studies.append({"title": experiment.title, **about, "findings": found})
    page = rendered("studies.html", root="", title=TITLE, site_title=TITLE, studies=studies)
    write_file(folder / "index.html", page)
    return folder / "index.html"


def main(arguments: Sequence[str] | None = None) -> int:
    """The command; exit code 0, or 2 where something cannot be read or written."""
    parser = argparse.ArgumentParser(prog="python -m experiments.overview", description=__doc__)
    what = parser.add_mutually_exclusive_group(required=True)
    what.add_argument("--out", type=Path, metavar="DIR", help="folder of the site")
    what.add_argument("--readme", action="store_true", help=f"write {README.name}")
    parsed = parser.parse_args(arguments)
    try:
        if parsed.readme:
            write_file(README, readme())
            print(README)
        else:
            print(write_overview(writable_folder(parsed.out)))
    except OptprobeError as error:
        print(f"overview: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())
