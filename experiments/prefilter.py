"""
What does the paper's prefilter cost: k neurons chosen exactly, but among the few of largest mean difference?

    python -m experiments.prefilter --config experiments/configs/prefilter/bundled.toml

Gurnee et al. 2023 search the 50 neurons of largest mean difference. For each feature, layer, loss and k the optimum is
certified over the whole layer and over each prefilter: how often a neuron of the whole optimum is dropped, by how much
the objective of the best set that is left is larger, and what that is on held-out documents, on the same resamples of
documents. A set that drops a neuron may be as good; the objective says whether it is.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from experiments.cases import about_config, write_pages
from experiments.experiment import Experiment, Job, Tables, command
from experiments.places import (
    PlaceStudy,
    mean_interval,
    pages_of,
    place_config,
    results_of_places,
    rounded,
    score,
    store_of,
)
from experiments.plots import Point, lines
from optprobe.cases import Case
from optprobe.cases.config import Config
from optprobe.cases.study import REGISTRY
from optprobe.comparison import OPTIMUM
from optprobe.errors import InputError
from optprobe.heuristics import PAPER_TOP, top
from optprobe.report.figures import FigureOnPage
from optprobe.report.summary import RANKING
from optprobe.studies import Item
from optprobe.studies.keys import Keys, at_least, several

TITLE = "The paper's prefilter against the whole layer"


@dataclass(frozen=True)
class PrefilterConfig:
    """
    What is run.

    Attributes
    ----------
    cases : Config
    tops : tuple of int
        Numbers of neurons of largest mean difference that are searched beside the whole layer.
    """

    cases: Config
    tops: tuple[int, ...]


@dataclass(frozen=True)
class Prefilter(PlaceStudy):
    """The optimum of the whole layer, beside it those of each prefilter as if it were a ranking."""

    tops: tuple[int, ...] = ()

    name = "prefilter"

    def variants(self) -> Sequence[Mapping[str, Any]]:
        """The prefilters are part of each item."""
        return [{**self.rows_as_they_are, "tops": list(self.tops)}]

    def run(self, item: Item, earlier: Mapping[str, Any] | None) -> Mapping[str, Any]:
        """The case of the whole layer, in which the optimum of a prefilter is a method, and the cases of prefilters."""
        rows, scores, stated = self.stated(item.values)
        narrow = {n: self.solved(stated.narrowed(top(scores[RANKING], n))) for n in self.tops}
        searched = {f"top_{n}": solution.support for n, solution in narrow.items()}
        whole = self.case(self.solved(stated), rows, scores, searched)
        cases = {str(n): self.case(solution, rows, None).record() for n, solution in narrow.items()}
        return {"cases": {OPTIMUM: whole.record(), **cases}, "registry": REGISTRY}


def read(keys: Keys) -> PrefilterConfig:
    """Take what a study of cases needs, and ``tops`` (by default the paper's)."""
    paper: tuple[int, ...] = (PAPER_TOP,)
    tops = tuple(sorted(keys.take("tops", several(at_least(1)), paper)))
    config = place_config(keys)
    if tops[0] < max(config.ks):
        raise InputError(f"{keys.where}: a prefilter of {tops[0]} neurons holds no set of {max(config.ks)}")
    return PrefilterConfig(config, tops)


def run(job: Job[PrefilterConfig]) -> tuple[Tables, Sequence[FigureOnPage]]:
    """Certify every case over the layer and over each prefilter."""
    config = job.config.cases
    store = store_of(job, config)
    results = results_of_places(job, Prefilter(config, store, job.folder, job.config.tops))
    cases = [case for result in results for case in result["cases"].values()]
    write_pages(job, config, pages_of(job, config, store, cases), TITLE)
    rows = [case_row(result["cases"], n) for n in job.config.tops for result in results]
    tables: Tables = {"prefilters": prefilter_rows(rows, config), "each": rows}
    return tables, figures(tables)


def case_row(cases: Mapping[str, Case], n: int) -> dict[str, Any]:
    """What a prefilter of n neurons does in one case."""
    whole, narrow = cases[OPTIMUM], cases[str(n)]
    left = next(result for result in whole.methods if result.method == f"top_{n}")
    row: dict[str, Any] = {
        "feature": whole.feature,
        "layer": whole.layer,
        "loss": whole.loss,
        "ridge": whole.ridge,
        "k": whole.k,
        "searched": n,
        "n_neurons": whole.n_neurons,
        "proved": whole.optimal and narrow.optimal,
        "shared": left.overlap,
        "neurons": " ".join(map(str, whole.support)),
        "left": " ".join(map(str, narrow.support)),
        "worse": whole.optimal and narrow.lower_bound > whole.upper_bound + whole.tolerance,
        "objective": whole.upper_bound,
        "relative_regret": left.relative_regret,
    }
    for name in ("f1", "auc"):
        row[f"{name}_test"] = score(whole.best.test, name)
        for part in ("behind", "behind_low", "behind_high"):
            row[f"{name}_{part}"] = score(getattr(left, part), name)
    return rounded(row | {"certificate": whole.certificate[:12], "narrow_certificate": narrow.certificate[:12]})


def prefilter_rows(rows: Sequence[Mapping[str, Any]], config: Config) -> list[dict[str, Any]]:
    """One row a prefilter, loss and k."""
    groups: dict[tuple[int, str, int], list[Mapping[str, Any]]] = {}
    for row in rows:
        groups.setdefault((row["searched"], row["loss"], row["k"]), []).append(row)
    found = []
    for (n, loss, k), group in groups.items():
        gains: dict[str, float] = {}
        for name in ("f1", "auc"):
            behind = [row[f"{name}_behind"] for row in group]
            ends = mean_interval(behind, [row["feature"] for row in group], config.bootstrap_draws, config.seed)
            gains |= dict(zip((f"{name}_gain", f"{name}_gain_low", f"{name}_gain_high"), ends))
        found.append(
            {
                "searched": n,
                "loss": loss,
                "k": k,
                "cases": len(group),
                "proved": sum(row["proved"] for row in group),
                "dropped": sum(row["shared"] < k for row in group),
                "worse": sum(row["worse"] for row in group),
                "relative_regret": float(np.mean([row["relative_regret"] for row in group])),
                "worst_relative_regret": max(row["relative_regret"] for row in group),
                **gains,
                "auc_above": sum(row["auc_behind_low"] > 0 for row in group),
                "auc_below": sum(row["auc_behind_high"] < 0 for row in group),
            }
        )
    return [rounded(row) for row in found]


def figures(tables: Tables) -> list[FigureOnPage]:
    """What is lost, by k."""
    rows = tables["prefilters"]
    names = list(dict.fromkeys((row["searched"], row["loss"]) for row in rows))
    regret, gain = (
        {
            f"top {n}, {loss} loss": [point(row) for row in rows if (row["searched"], row["loss"]) == (n, loss)]
            for n, loss in names
        }
        for point in (_regret, _gain)
    )
    return [
        lines("regret", "Mean objective above that of the whole layer.", regret, "k", "relative regret", whole_x=True),
        lines(
            "auc_gain",
            "AUC of the whole layer's optimum minus that of the prefilter's, on held-out documents: means, 95% "
            "intervals over features.",
            gain,
            "k",
            "gain in AUC",
            whole_x=True,
        ),
    ]


def _regret(row: Mapping[str, Any]) -> Point:
    return Point(row["k"], row["relative_regret"])


def _gain(row: Mapping[str, Any]) -> Point:
    return Point(row["k"], row["auc_gain"], row["auc_gain_low"], row["auc_gain_high"])


def said(tables: Tables) -> str:
    """How often each prefilter drops a neuron, and what that costs."""
    rows = tables["each"]
    first = [row for row in rows if row["searched"] == rows[0]["searched"]]
    proved = sum(row["proved"] for row in rows)
    places = {(row["feature"], row["layer"]) for row in first}
    neurons = " or ".join(f"{count:,}" for count in sorted({row["n_neurons"] for row in rows}))
    sentences = [
        f"In {proved} of {len(rows)} comparisons both optima are proved, that of the whole layer ({neurons} neurons, "
        f"{len(places)} pairs of feature and layer) and that of the prefilter; the checker accepts every certificate."
    ]
    groups: dict[tuple[int, str], list[Mapping[str, Any]]] = {}
    for row in tables["prefilters"]:
        groups.setdefault((row["searched"], row["loss"]), []).append(row)
    return " ".join([*sentences, *map(_of_prefilter, groups.values())])


def _of_prefilter(rows: Sequence[Mapping[str, Any]]) -> str:
    """A prefilter with one loss, at each k."""

    def listed(name: str, kind: str = "") -> str:
        return ", ".join(f"{row[name]:{kind}}" for row in rows)

    gains = ", ".join(
        f"{row['auc_gain']:+.3f} [{row['auc_gain_low']:+.3f}, {row['auc_gain_high']:+.3f}]" for row in rows
    )
    mean, worst = (listed(name, ".1%") for name in ("relative_regret", "worst_relative_regret"))
    return (
        f"Of k = {listed('k')} ({rows[0]['loss']} loss) the top {rows[0]['searched']} drop a neuron of the optimum in "
        f"{listed('dropped')} of {rows[0]['cases']} cases and are provably worse in {listed('worse')}; their objective "
        f"is {mean} above on average and {worst} at worst. "
        f"On held-out documents the whole layer's optimum has {gains} more AUC (95% over features), with an interval "
        f"over documents above 0 in {listed('auc_above')} cases and below it in {listed('auc_below')}."
    )


def about(config: PrefilterConfig) -> Mapping[str, str]:
    """Where the numbers come from."""
    return {**about_config(config.cases), "prefilters": f"the {', '.join(map(str, config.tops))} of largest difference"}


EXPERIMENT = Experiment(
    name="prefilter",
    title=TITLE,
    paper="its optimal sparse probing, which searches among 50 neurons of each layer",
    read=read,
    run=run,
    about=about,
    captions={
        "prefilters": "Every prefilter by loss and k: cases in which it drops a neuron of the optimum, and in which "
        "what is left is worse by more than the tolerance; gains of the whole layer's optimum on held-out documents "
        "with 95% intervals over features.",
        "each": "Every case; differences with intervals over documents.",
    },
    said=said,
)

if __name__ == "__main__":
    sys.exit(command(EXPERIMENT))
