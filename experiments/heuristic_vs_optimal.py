"""
How much does a heuristic choice of k neurons lose against the certified optimum?

    python -m experiments.heuristic_vs_optimal --config experiments/configs/heuristic_vs_optimal/bundled.toml

Every ranking of Gurnee et al. 2023 and every search, for each feature, layer, loss and k of the configuration: the
objective it reaches, its regret, the neurons it shares with the optimum, its F1 on held-out documents with an interval
over documents, and the share of features where it finds an optimum.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from experiments.cases import about_config, certified, write_pages
from experiments.experiment import Experiment, Job, Tables, command
from optprobe.cases import Case
from optprobe.cases.config import Config, config_of
from optprobe.cases.table import rows_of
from optprobe.comparison import OPTIMUM, PARTS
from optprobe.report.figures import FigureOnPage, overview_figures
from optprobe.report.summary import RANKING, by_setting, label, summaries
from optprobe.scoring import NAMES

SHOWN = ("f1", "auc")
TITLE = "Heuristic choices of neurons against the certified optimum"


def run(job: Job[Config]) -> tuple[Tables, Sequence[FigureOnPage]]:
    """Certify every case, and set every method against the optima."""
    found = certified(job, job.config)
    write_pages(job, job.config, found, TITLE)
    return {"methods": method_rows(found.cases), "results": result_rows(found.cases)}, overview_figures(found.cases)


def method_rows(cases: Sequence[Case]) -> list[dict[str, Any]]:
    """One row a setting and method: means over its cases."""
    rows = []
    for setting, group in by_setting(cases).items():
        for row in summaries(group):
            plain = {name: value for name, value in asdict(row).items() if name != "relative_regret"}
            by_k = {f"relative_regret_k{k}": value for k, value in row.relative_regret.items()}
            rows.append({"setting": str(setting), **plain, **by_k})
    return rows


def result_rows(cases: Sequence[Case]) -> list[dict[str, Any]]:
    """One row a case and method, with the scores that are `SHOWN`; the pages' ``cases.csv`` has all of them."""
    left_out = {f"{name}_{part}" for name in NAMES for part in PARTS if name not in SHOWN or part == "train"}
    rows = [row for case in cases for row in rows_of(case)]
    return [{name: value for name, value in row.items() if name not in left_out} for row in rows]


def said(tables: Tables) -> str:
    """How often each method is right, and what the usual one loses."""
    results = tables["results"]
    optima = [row for row in results if row["method"] == OPTIMUM]
    proved = sum(row["optimal"] is True for row in optima)
    usual = [row for row in results if row["method"] == RANKING]
    count: dict[str, int] = {}
    for row in results:
        if row["method"] != OPTIMUM:
            count[row["method"]] = count.get(row["method"], 0) + (row["optimal"] is True)
    sentences = [f"{proved} of {len(optima)} optima are proved, and the checker accepts every certificate."]
    if usual:
        regrets, gains = ([row[name] for row in usual] for name in ("relative_regret", "f1_behind"))
        above, below = (sum(_beyond(row, side) for row in usual) for side in (1, -1))
        sentences += [
            f"The {label(RANKING)} ranking finds an optimum in {count[RANKING]} of {len(usual)} cases; its objective "
            f"is {sum(regrets) / len(regrets):.1%} above the optimum on average and {max(regrets):.1%} at worst.",
            f"On held-out documents the F1 of the optimum minus that of the ranking is {sum(gains) / len(gains):+.3f} "
            f"on average; the whole interval lies above 0 in {above} and below 0 in {below} cases.",
        ]
    if count:
        most = max(count.values())
        finders = " and ".join(label(name) for name in sorted(count) if count[name] == most)
        sentences.append(f"Most often right: {finders}, in {most} of {len(optima)}.")
    return " ".join(sentences)


def _beyond(row: Mapping[str, Any], side: int) -> bool:
    """Whether the whole interval of the difference in F1 lies above (1) or below (-1) 0."""
    end = row["f1_behind_low"] if side > 0 else row["f1_behind_high"]
    return bool(side * end > 0)


EXPERIMENT = Experiment(
    name="heuristic_vs_optimal",
    title=TITLE,
    paper="its comparison of rankings and probes, there by F1, here against the optimum",
    read=config_of,
    run=run,
    about=about_config,
    captions={
        "methods": "Every method over the cases of each setting: how often it is optimal, what it loses, F1 held out.",
        "results": "Every case and method.",
    },
    said=said,
)

if __name__ == "__main__":
    sys.exit(command(EXPERIMENT))
