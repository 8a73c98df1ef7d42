"""
Does "the" neuron for a feature exist, or are there others as good?

    python -m experiments.uniqueness --config experiments/configs/uniqueness/bundled.toml

Beside each optimum all sets within a share of its objective are listed and certified: whether the optimum is unique and
by what margin, how many sets are as good for practical purposes, and which neurons stand in all of them. The listed
sets are scored on held-out documents too: sets that nobody can tell apart there are one answer with several names.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from experiments.cases import about_config, write_pages
from experiments.experiment import Experiment, Job, Tables, command
from experiments.places import PlaceStudy, pages_of, place_config, results_of_places, rounded, score, store_of
from experiments.plots import Point, lines, shades
from formulations import SparseProbeProblem
from optprobe.activations import LabelledActivations
from optprobe.cases import Case
from optprobe.cases.config import Config
from optprobe.cases.study import REGISTRY
from optprobe.comparison import OPTIMUM, predict
from optprobe.engines import Pool, Solution
from optprobe.errors import InputError
from optprobe.report.figures import FigureOnPage
from optprobe.scoring import scores
from optprobe.studies import Item
from optprobe.studies.keys import Keys

TITLE = "Near-optimal sets: does the neuron of a feature exist?"
SHOWN = 8
"""Listed sets of a case that a table names."""


@dataclass(frozen=True)
class Uniqueness(PlaceStudy):
    """Optima with the near-optimal sets that their certificates list."""

    name = "uniqueness"

    def run(self, item: Item, earlier: Mapping[str, Any] | None) -> Mapping[str, Any]:
        """The case of an item, and its listed sets; none where time was not enough to list them."""
        rows, ranked, stated = self.stated(item.values)
        solution = self.solved(stated)
        case = self.case(solution, rows, ranked)
        listed = None if solution.pool is None else stated_pool(solution, solution.pool, rows, self.config.within or 0)
        return {"cases": {OPTIMUM: case.record()}, "registry": REGISTRY, "pool": listed}


def stated_pool(solution: Solution, pool: Pool, rows: LabelledActivations, within: float) -> dict[str, Any]:
    """What a pool says, and the held-out AUC of its sets."""
    assert isinstance(solution.problem, SparseProbeProblem)
    if rows.X_test is None or rows.y_test is None:
        raise InputError("the sets are scored on held-out documents, and these rows have no test part")
    roles = pool.roles
    areas = []
    for one in pool.sets:
        f = predict(solution.problem, rows.X_test, one.support, one.coef, one.intercept)
        areas.append(score(scores(rows.y_test, f), "auc"))
    best = pool.sets[0].upper_bound
    return {
        "sets": len(pool.sets),
        "complete": pool.rest >= (1 + within) * best,
        "listed_up_to": pool.rest / best - 1,
        "margin": None if pool.margin is None else pool.margin / best,
        "unique": pool.unique,
        "neurons": len(roles),
        "indispensable": [neuron for neuron, role in roles.items() if role == "indispensable"],
        "first": [list(one.support) for one in pool.sets[:SHOWN]],
        "auc": areas,
    }


def read(keys: Keys) -> Config:
    """Take what a study of cases needs; ``within`` must be there."""
    config = place_config(keys)
    if config.within is None:
        raise InputError(f"{keys.where} has no key 'within', the share of F up to which sets are listed: give 0.01")
    return config


def run(job: Job[Config]) -> tuple[Tables, Sequence[FigureOnPage]]:
    """Certify every optimum with its near-optimal sets."""
    store = store_of(job, job.config)
    results = results_of_places(job, Uniqueness(job.config, store, job.folder))
    write_pages(job, job.config, pages_of(job, job.config, store, [r["cases"][OPTIMUM] for r in results]), TITLE)
    rows = [case_row(result["cases"][OPTIMUM], result["pool"], result["item"]["within"]) for result in results]
    tables: Tables = {"summary": summary_rows(rows), "each": rows}
    return tables, figures(tables)


def case_row(case: Case, pool: Mapping[str, Any] | None, within: float) -> dict[str, Any]:
    """One optimum and its company; what was not listed is empty."""
    row: dict[str, Any] = {
        "feature": case.feature,
        "layer": case.layer,
        "n_neurons": case.n_neurons,
        "loss": case.loss,
        "ridge": case.ridge,
        "k": case.k,
        "within": within,
        "optimal": case.optimal,
        "best": " ".join(map(str, case.support)),
        "auc_test": score(case.best.test, "auc"),
        "auc_low": case.best.low.auc,
        "auc_high": case.best.high.auc,
    }
    columns = ("sets", "complete", "listed_up_to", "margin", "unique", "neurons")
    row |= {name: None if pool is None else pool[name] for name in columns}
    row["indispensable"] = None if pool is None else len(pool["indispensable"])
    row["auc_least"] = None if pool is None else min(pool["auc"])
    row["auc_most"] = None if pool is None else max(pool["auc"])
    row["first_sets"] = "" if pool is None else "; ".join(" ".join(map(str, one)) for one in pool["first"])
    return rounded(row | {"certificate": case.certificate[:12]})


def summary_rows(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row a loss, k and layer, and one for all layers of each loss and k."""
    groups: dict[tuple[str, int, Any], list[Mapping[str, Any]]] = {}
    for row in rows:
        for layer in ("all", row["layer"]):
            groups.setdefault((row["loss"], row["k"], layer), []).append(row)
    order = sorted(groups, key=lambda key: (key[0], key[1], key[2] != "all", -1 if key[2] == "all" else key[2]))
    return [_summary(*key, groups[key]) for key in order]


def _summary(loss: str, k: int, layer: Any, group: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    listed = [row for row in group if row["sets"] is not None]
    ranges = [row["auc_most"] - row["auc_least"] for row in listed if row["sets"] > 1]
    margins = [row["margin"] for row in listed if row["margin"] is not None]
    return rounded(
        {
            "loss": loss,
            "k": k,
            "layer": layer,
            "cases": len(group),
            "listed": len(listed),
            "unique": sum(row["unique"] is True for row in listed),
            "alone": sum(row["sets"] == 1 and row["complete"] for row in listed),
            "median_margin": float(np.median(margins)) if margins else None,
            "median_sets": float(np.median([row["sets"] for row in listed])) if listed else None,
            "most_sets": max((row["sets"] for row in listed), default=None),
            "incomplete": sum(not row["complete"] for row in listed),
            "with_indispensable": sum(row["indispensable"] > 0 for row in listed),
            "indispensable": float(np.mean([row["indispensable"] for row in listed])) if listed else None,
            "auc_range": float(np.mean(ranges)) if ranges else None,
        }
    )


def figures(tables: Tables) -> list[FigureOnPage]:
    """Numbers of sets by k, and the share of unique company by feature and layer."""
    whole = [row for row in tables["summary"] if row["layer"] == "all" and row["median_sets"] is not None]
    series = {
        f"{loss} loss": [Point(row["k"], row["median_sets"]) for row in whole if row["loss"] == loss]
        for loss in dict.fromkeys(row["loss"] for row in whole)
    }
    cases = tables["each"]
    features = list(dict.fromkeys(row["feature"] for row in cases))
    columns = list(dict.fromkeys((row["layer"], row["k"]) for row in cases if row["loss"] == cases[0]["loss"]))
    needed = {
        (row["feature"], row["layer"], row["k"]): row["indispensable"] / row["k"]
        for row in cases
        if row["loss"] == cases[0]["loss"] and row["indispensable"] is not None
    }
    cells = [[needed.get((feature, *column)) for column in columns] for feature in features]
    names = [f"L{layer} k{k}" for layer, k in columns]
    within = f"{cases[0]['within']:.0%}"
    return [
        lines("sets", f"Sets within {within} of the optimum: medians over cases.", series, "k", "sets", whole_x=True),
        shades(
            "indispensable",
            f"Neurons that stand in every set within {within}, as a share of k; {cases[0]['loss']} loss.",
            features,
            names,
            cells,
        ),
    ]


def said(tables: Tables) -> str:
    """How often there is one answer."""
    cases = tables["each"]
    proved = sum(row["optimal"] for row in cases)
    places = {(row["feature"], row["layer"]) for row in cases}
    neurons = " or ".join(f"{count:,}" for count in sorted({row["n_neurons"] for row in cases}))
    within = f"{cases[0]['within']:.0%}"
    sentences = [
        f"{proved} of {len(cases)} optima are proved over all {neurons} neurons of a layer ({len(places)} pairs of "
        "feature and layer), and the checker accepts every certificate with the sets that it lists."
    ]
    whole = [row for row in tables["summary"] if row["layer"] == "all" and row["listed"]]
    losses = dict.fromkeys(row["loss"] for row in whole)
    sentences += [_of_loss([row for row in whole if row["loss"] == loss], within) for loss in losses]
    if first := [row for row in whole if row["k"] == 1]:
        alone, listed = (sum(row[name] for row in first) for name in ("alone", "listed"))
        sentences.append(
            f'So "the" neuron, with no other within {within}, exists in {alone} of {listed} cases of k = 1; elsewhere '
            "the neuron that is named is one of several."
        )
    return " ".join(sentences)


def _of_loss(rows: Sequence[Mapping[str, Any]], within: str) -> str:
    """The rows of a loss, one a k."""
    ks = ", ".join(str(row["k"]) for row in rows)
    unique, listed = (sum(row[name] for row in rows) for name in ("unique", "listed"))
    alone, common = (", ".join(str(row[name]) for row in rows) for name in ("alone", "with_indispensable"))
    spans = [row["auc_range"] for row in rows if row["auc_range"] is not None]
    spread = f"; where there are several, their held-out AUC spans {max(spans):.2f} at most on average" if spans else ""
    most, cut = max(row["most_sets"] for row in rows), sum(row["incomplete"] for row in rows)
    return (
        f"{rows[0]['loss'].capitalize()} loss, k = {ks}: the optimum is unique in {unique} of {listed} cases, and "
        f"alone within {within} in {alone} of {rows[0]['listed']}; the largest list has {most} sets"
        f"{f' (cut in {cut} cases)' if cut else ''}, and some neuron stands in all sets in {common}{spread}."
    )


def about(config: Config) -> Mapping[str, str]:
    """Where the numbers come from."""
    return {**about_config(config), "near-optimal": f"up to {config.within:.1%} above the optimum, at most 1,000 sets"}


EXPERIMENT = Experiment(
    name="uniqueness",
    title=TITLE,
    paper="its iterative pruning, which forbids one neuron after the other",
    read=read,
    run=run,
    about=about,
    captions={
        "summary": "Every loss and k, for all layers and for each: cases in which the optimum is unique, in which no "
        "other set is as near, and in which some neuron stands in all listed sets; the range of their held-out AUC.",
        "each": "Every optimum, the sets listed, and of them the first.",
    },
    said=said,
)

if __name__ == "__main__":
    sys.exit(command(EXPERIMENT))
