"""
At which ridge is a certificate a statement about the neurons, and at which is it one about the ridge?

    python -m experiments.regimes --config experiments/configs/regimes/bundled.toml

Where the ridge is large, the dual vector of the constant fit, which knows of no neuron, bounds every set to within
rounding of the optimum: the regime is *separable*, the optimum is the top k of one ranking, and a proof that it is the
optimum says nothing that the ranking did not. The ridge of each loss is swept, and that of Gurnee et al. 2023, whose
gamma is a power of the number of rows, ``gamma = n^-p`` (p = 1/2 by default), hence ridge 100 n^(p - 1) here. Of each
optimum: the regime, the gap that the constant fit's vector and the relaxation at the root leave, the engine that closed
it, and F1 on held-out documents with an interval over documents.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np

from experiments.cases import about_config, write_pages
from experiments.experiment import Experiment, Job, Tables, command
from experiments.places import PlaceStudy, pages_of, place_config, results_of_places, rounded, score, store_of
from experiments.plots import Point, lines
from formulations import constant_point, node_bound
from formulations.models import paper_ridge
from optprobe.cases import Case
from optprobe.cases.config import Config
from optprobe.cases.study import REGISTRY
from optprobe.comparison import OPTIMUM
from optprobe.engines import Solution, root_bound
from optprobe.errors import InputError
from optprobe.report.figures import FigureOnPage
from optprobe.report.summary import RANKING, label
from optprobe.studies import Item
from optprobe.studies.keys import Keys, positive, several

TITLE = "Regimes of the ridge: where a certificate says something about neurons"
REGIMES = ("separable", "relaxation", "combinatorial")
TIMES = ((20.0, "seconds"), (600.0, "minutes"), (float("inf"), "more"))
"""Classes of time of a solve, and the seconds at which each ends: coarse, so that another run finds the same."""
PAPER = "hinge (paper)"
"""The paper's loss at its own ridge, in tables."""


@dataclass(frozen=True)
class RegimesConfig:
    """
    What is run.

    Attributes
    ----------
    cases : Config
    powers : tuple of float
        p of the paper's ``gamma = n^-p``.
    """

    cases: Config
    powers: tuple[float, ...]


@dataclass(frozen=True)
class Regimes(PlaceStudy):
    """Optima over a sweep of ridges, with the bounds that knew of no search."""

    powers: tuple[float, ...] = ()

    name = "regimes"

    def settings(self) -> Sequence[Mapping[str, Any]]:
        """Those of the configuration, and the paper's at each power."""
        paper = {"loss": "hinge", "ridge": None, "class_weight": "balanced"}
        stated = [{**setting._asdict(), "power": None} for setting in self.config.settings]
        return [*stated, *({**paper, "power": power} for power in self.powers)]

    def run(self, item: Item, earlier: Mapping[str, Any] | None) -> Mapping[str, Any]:
        """The case of an item, its bounds at the root, and the class of its time."""
        values, power = item.values, item.values["power"]
        if power is not None:
            n_rows = len(self.stated({**values, "ridge": 1.0})[0].y_train)
            values = {**values, "ridge": paper_ridge(n_rows, n_rows**-power)}
        rows, scores, stated = self.stated(values)
        solution = self.solved(stated)
        case = self.case(solution, rows, scores)
        spent = sum(solution.seconds.values())
        return {
            "cases": {OPTIMUM: case.record()},
            "registry": REGISTRY,
            "constant_bound": constant_bound(solution),
            "root_bound": root_bound(solution),
            "time": next(name for most, name in TIMES if spent <= most),
        }


def constant_bound(solution: Solution) -> float:
    """What the dual vector of the constant fit proves of every set."""
    problem = solution.problem
    return node_bound(constant_point(problem), np.zeros(0, dtype=np.int64), problem.candidates, problem.size)


def read(keys: Keys) -> RegimesConfig:
    """Take what a study of cases needs, and ``paper_powers``."""
    powers = keys.take("paper_powers", several(positive))
    config = place_config(keys)
    if config.grid:
        raise InputError(f"{keys.where}: a sweep states its ridges, and 'validate' is none")
    if RANKING not in (config.methods or (RANKING,)):
        raise InputError(f"{keys.where}: 'methods' must have {RANKING}, by which regimes are told apart")
    return RegimesConfig(config, powers)


def run(job: Job[RegimesConfig]) -> tuple[Tables, Sequence[FigureOnPage]]:
    """Certify every case of the sweep."""
    config = job.config.cases
    store = store_of(job, config)
    results = results_of_places(job, Regimes(config, store, job.folder, job.config.powers))
    write_pages(job, config, pages_of(job, config, store, [r["cases"][OPTIMUM] for r in results]), TITLE)
    rows = [case_row(result) for result in results]
    tables: Tables = {"sweep": sweep_rows(rows), "each": rows}
    return tables, figures(tables)


def case_row(result: Mapping[str, Any]) -> dict[str, Any]:
    """One optimum, and what was proved of it without a search."""
    case: Case = result["cases"][OPTIMUM]
    ranked = next(row for row in case.methods if row.method == RANKING)
    power, best = result["item"]["power"], case.upper_bound
    return rounded(
        {
            "feature": case.feature,
            "layer": case.layer,
            "n_neurons": case.n_neurons,
            "loss": case.loss if power is None else PAPER,
            "power": power,
            "ridge": case.ridge,
            "k": case.k,
            "regime": case.regime,
            "optimal": case.optimal,
            "constant_gap": gap_of(result["constant_bound"], best),
            "root_gap": gap_of(result["root_bound"], best),
            "engine": case.engine,
            "time": result["time"],
            "ranking_optimal": ranked.optimal is True,
            "neurons": " ".join(map(str, case.support)),
            "f1_test": case.best.test.f1,
            "f1_low": case.best.low.f1,
            "f1_high": case.best.high.f1,
            "auc_test": score(case.best.test, "auc"),
            "certificate": case.certificate[:12],
        }
    )


def gap_of(bound: float, best: float) -> float:
    """What a bound leaves open, as a share of F of the optimum: at most all of it, since no loss is negative."""
    return min(1.0, max(0.0, 1 - bound / best))


def sweep_rows(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row a loss, ridge and k."""
    groups: dict[tuple[Any, ...], list[Mapping[str, Any]]] = {}
    for row in rows:
        stated = row["ridge"] if row["power"] is None else None
        groups.setdefault((row["loss"], row["power"], stated, row["k"]), []).append(row)
    found = []
    for (loss, power, _, k), group in groups.items():
        summary: dict[str, Any] = {"loss": loss, "power": power, "ridge": _mean(group, "ridge"), "k": k}
        summary |= {"cases": len(group), "proved": sum(one["optimal"] for one in group)}
        summary |= {regime: sum(one["regime"] == regime for one in group) for regime in REGIMES}
        summary["ranking_optimal"] = sum(one["ranking_optimal"] for one in group)
        summary |= {name: _mean(group, name) for name in ("constant_gap", "root_gap", "f1_test", "auc_test")}
        summary["engines"] = ", ".join(sorted({one["engine"] for one in group}))
        summary["time"] = max((one["time"] for one in group), key=[name for _, name in TIMES].index)
        found.append(rounded(summary))
    return sorted(found, key=lambda row: (row["loss"], row["ridge"], row["k"]))


def _mean(rows: Sequence[Mapping[str, Any]], name: str) -> float:
    return float(np.mean([row[name] for row in rows]))


def figures(tables: Tables) -> list[FigureOnPage]:
    """Gaps and F1 against the ridge."""
    found = []
    last = max(row["k"] for row in tables["sweep"])
    for name, caption, unit in (
        ("constant_gap", "The gap that the constant fit's dual vector leaves, as a share of the optimum", "gap"),
        ("root_gap", "The gap that the relaxation at the root leaves, as a share of the optimum", "gap"),
        ("f1_test", "F1 of the optimum on held-out documents", "F1"),
    ):
        series = {
            loss: [Point(row["ridge"], row[name]) for row in rows if row["k"] == last]
            for loss, rows in ((loss, list(group)) for loss, group in groupby(tables["sweep"], lambda r: r["loss"]))
        }
        found.append(lines(name, f"{caption}; k = {last}, means over cases.", series, "ridge", unit, log_x=True))
    return found


def said(tables: Tables) -> str:
    """Which ridges are separable, what the root leaves elsewhere, and what the ridge does to F1."""
    cases, sweep = tables["each"], tables["sweep"]
    proved = sum(row["optimal"] for row in cases)
    neurons = " or ".join(f"{count:,}" for count in sorted({row["n_neurons"] for row in cases}))
    places = {(row["feature"], row["layer"]) for row in cases}
    sentences = [
        f"{proved} of {len(cases)} optima are proved over all {neurons} neurons of a layer ({len(places)} pairs of "
        "feature and layer), and the checker accepts every certificate."
    ]
    sentences += [_of_loss(loss, list(rows)) for loss, rows in groupby(sweep, key=lambda row: row["loss"])]
    separable = [row for row in cases if row["regime"] == "separable"]
    if separable:
        ranked = sum(row["ranking_optimal"] for row in separable)
        sentences.append(
            f"In the {len(separable)} separable cases the constant fit closes the gap before a neuron is looked at, "
            f"and the {label(RANKING)} ranking finds an optimum in {ranked} of them."
        )
    return " ".join(sentences)


def _of_loss(loss: str, rows: Sequence[Mapping[str, Any]]) -> str:
    """A loss over its ridges: from where on search proves nothing, and what the ridge does to F1."""
    ridges: dict[tuple[Any, float], list[Mapping[str, Any]]] = {}
    for row in rows:
        ridges.setdefault((row["power"], row["ridge"]), []).append(row)
    gaps, scores = {}, []
    for (power, ridge), group in ridges.items():
        cases, separable = (sum(row[name] for row in group) for name in ("cases", "separable"))
        gap, f1 = (sum(row[name] * row["cases"] for row in group) / cases for name in ("root_gap", "f1_test"))
        named = f"{ridge:.3g}" if power is None else f"{ridge:.3g} (gamma = n^-{power:.3g})"
        gaps[named] = f"{gap:.1%}" + (", separable" if separable == cases else "")
        scores.append(f1)
    listed = "; ".join(f"{ridge}: {gap}" for ridge, gap in gaps.items())
    return (
        f"{loss.capitalize()} loss, mean gap that the root leaves to search, by ridge: {listed}; held-out F1 "
        f"{min(scores):.2f} to {max(scores):.2f}."
    )


def about(config: RegimesConfig) -> Mapping[str, str]:
    """Where the numbers come from."""
    powers = ", ".join(f"{power:g}" for power in config.powers)
    return {**about_config(config.cases), "paper": f"hinge loss, balanced classes, gamma = n^-p for p = {powers}"}


EXPERIMENT = Experiment(
    name="regimes",
    title=TITLE,
    paper="its gamma and the gaps of its solver",
    read=read,
    run=run,
    about=about,
    captions={
        "sweep": "Every loss, ridge and k: cases by regime, and in which the mean-difference ranking is optimal; mean "
        "gaps as shares of the optimum; the paper's ridge depends on the number of rows, and its mean is shown.",
        "each": "Every optimum; intervals over documents.",
    },
    said=said,
)

if __name__ == "__main__":
    sys.exit(command(EXPERIMENT))
