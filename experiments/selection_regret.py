"""
What does it cost to choose k neurons as published code does, in place of the certified optimum?

    python -m experiments.selection_regret --config experiments/configs/selection_regret/bundled.toml

Every ranking and search of the package and the selectors of SAEBench and sae-probes, for each feature, layer and k: the
objective above the optimum, and F1 and AUC on held-out documents with intervals over documents. Two controls. On labels
that are shuffled within the training part nothing is to be found, and what optimum and selectors reach there is the
luck of choosing. On other splits of the same documents everything is done again: the variance of the held-out AUC, over
methods and splits, is divided into what the split changes for all methods alike and what the choice of neurons changes.
Optima are checked for holding one another as k grows. ``saeprobes/`` has the optima as results of sae-probes.
"""

from __future__ import annotations

import shutil
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import numpy as np
from numpy.typing import ArrayLike

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
from experiments.plots import Point, lines, values
from experiments.selectors import SELECTORS
from optprobe.cases import Case, MethodResult
from optprobe.cases.config import Config
from optprobe.cases.study import REGISTRY
from optprobe.comparison import OPTIMUM
from optprobe.registry import Registry
from optprobe.registry.export import export
from optprobe.report.figures import FigureOnPage
from optprobe.report.summary import RANKING, label
from optprobe.studies import Item
from optprobe.studies.keys import Keys, at_least, several

TITLE = "Published choices of neurons against the certified optimum, beside their noise"
CONTROLS = "controls"
"""The registry of optima for shuffled labels and other splits."""
SAE_PROBES = "saeprobes"
SEARCHES = ("random", "forward_selection", "beam_search", "swap_descent")
"""Methods that choose by the objective, or by nothing: no published selectors."""

Pair = tuple[Case, MethodResult]


@dataclass(frozen=True)
class SelectionConfig:
    """
    What is run.

    Attributes
    ----------
    cases : Config
    splits : tuple of int
        Seeds of the other splits.
    shuffles : tuple of int
        Seeds of the permutations of the training labels.
    """

    cases: Config
    splits: tuple[int, ...]
    shuffles: tuple[int, ...]


@dataclass(frozen=True)
class Selection(PlaceStudy):
    """Certified optima with all methods beside them: on true labels, shuffled ones, and other splits."""

    splits: tuple[int, ...] = ()
    shuffles: tuple[int, ...] = ()

    name = "selection"

    def variants(self) -> Sequence[Mapping[str, Any]]:
        """The rows as they are, then the controls."""
        known = self.rows_as_they_are
        splits = [{**known, "split_seed": seed, "registry": CONTROLS} for seed in self.splits]
        shuffles = [{**known, "shuffled": seed, "registry": CONTROLS} for seed in self.shuffles]
        return [known, *splits, *shuffles]

    def run(self, item: Item, earlier: Mapping[str, Any] | None) -> Mapping[str, Any]:
        """The case of an item."""
        rows, scores, stated = self.stated(item.values)
        orders = {name: order(rows.X_train, rows.y_train) for name, order in SELECTORS.items()}
        named = {name: order[np.isin(order, stated.candidates)].tolist() for name, order in orders.items()}
        case = self.case(self.solved(stated), rows, scores, named, item.values["registry"])
        return {"cases": {OPTIMUM: case.record()}, "registry": item.values["registry"]}


@dataclass(frozen=True)
class Done:
    """A case, and whose labels and which split it has."""

    case: Case
    split_seed: int
    shuffled: bool


def read(keys: Keys) -> SelectionConfig:
    """Take what a study of cases needs, ``splits`` and ``shuffles``."""
    splits = keys.take("splits", several(at_least(0)))
    return SelectionConfig(place_config(keys), splits, keys.take("shuffles", several(at_least(0))))


def run(job: Job[SelectionConfig]) -> tuple[Tables, Sequence[FigureOnPage]]:
    """Certify every case, and set every selector against the optima."""
    config = job.config.cases
    store = store_of(job, config)
    splits = tuple(seed for seed in job.config.splits if seed != config.split_seed)
    study = Selection(config, store, job.folder, splits, job.config.shuffles)
    done = [
        Done(result["cases"][OPTIMUM], result["item"]["split_seed"], result["item"]["shuffled"] is not None)
        for result in results_of_places(job, study)
    ]
    true = [one for one in done if not one.shuffled]
    cases = [one.case for one in true if one.split_seed == config.split_seed]
    write_pages(job, config, pages_of(job, config, store, cases), TITLE)
    shutil.rmtree(job.folder / SAE_PROBES, ignore_errors=True)
    scores = {case.certificate: case.best.test for case in cases}
    export(Registry(job.folder / REGISTRY), job.folder / SAE_PROBES, "saeprobes", scores)
    tables: Tables = {
        "selectors": selector_rows(cases, config),
        "noise": noise_rows(cases, [one.case for one in done if one.shuffled]),
        "spread": spread_rows(true),
        "nested": nested_rows(cases),
        "results": result_rows(cases),
    }
    return tables, figures(tables)


def by_method(cases: Sequence[Case]) -> dict[tuple[int, str], list[Pair]]:
    """Cases and results of each k and method, the least mean objective first."""
    found: dict[tuple[int, str], list[Pair]] = {}
    for case in cases:
        for result in case.methods:
            found.setdefault((case.k, result.method), []).append((case, result))
    return dict(sorted(found.items(), key=lambda item: (item[0][0], np.mean([r.objective for _, r in item[1]]))))


def selector_rows(cases: Sequence[Case], config: Config) -> list[dict[str, Any]]:
    """One row a k and method: means over the cases, and of the optimum's gain an interval over features."""
    rows = []
    for (k, method), pairs in by_method(cases).items():
        results = [result for _, result in pairs]
        features = [case.feature for case, _ in pairs]
        gains: dict[str, float] = {}
        for name in ("f1", "auc"):
            behind = [score(result.behind, name) for result in results]
            found = mean_interval(behind, features, config.bootstrap_draws, config.seed)
            gains |= dict(zip((f"{name}_gain", f"{name}_gain_low", f"{name}_gain_high"), found))
        rows.append(
            {
                "k": k,
                "method": method,
                "cases": len(pairs),
                "optimal": sum(result.optimal is True for result in results),
                "relative_regret": float(np.mean([result.relative_regret for result in results])),
                "worst_relative_regret": max(result.relative_regret for result in results),
                "f1_test": float(np.mean([result.test.f1 for result in results])),
                "auc_test": float(np.mean([score(result.test, "auc") for result in results])),
                **gains,
                "auc_above": sum(score(result.behind_low, "auc") > 0 for result in results),
                "auc_below": sum(score(result.behind_high, "auc") < 0 for result in results),
            }
        )
    return [rounded(row) for row in rows]


def noise_rows(cases: Sequence[Case], shuffled: Sequence[Case]) -> list[dict[str, Any]]:
    """One row a k and method: AUC on training and held-out rows, with true labels and with shuffled ones."""
    noise = by_method(shuffled)
    return [_noise_row(*key, pairs, noise[key]) for key, pairs in by_method(cases).items()]


def _noise_row(k: int, method: str, true: Sequence[Pair], shuffled: Sequence[Pair]) -> dict[str, Any]:
    row: dict[str, Any] = {"k": k, "method": method, "cases": len(true), "shuffled_cases": len(shuffled)}
    for name, pairs in (("", true), ("_shuffled", shuffled)):
        row[f"auc_train{name}"] = float(np.mean([score(result.train, "auc") for _, result in pairs]))
        row[f"auc_test{name}"] = float(np.mean([score(result.test, "auc") for _, result in pairs]))
    row["auc_train_shuffled_most"] = max(score(result.train, "auc") for _, result in shuffled)
    return rounded(row)


def variance_parts(scores: ArrayLike) -> dict[str, float]:
    """
    The variance of scores, shape (n_methods, n_splits), in parts that add up to it.

    ``split`` is that of the means of the splits, ``method`` that of the means of the methods, and ``both`` the rest:
    methods whose order changes from split to split.
    """
    values = np.asarray(scores, dtype=np.float64)
    whole, split, method = values.var(), values.mean(axis=0).var(), values.mean(axis=1).var()
    return {
        "whole": float(whole),
        "split": float(split),
        "method": float(method),
        "both": float(whole - split - method),
    }


def spread_rows(done: Sequence[Done]) -> list[dict[str, Any]]:
    """One row a feature, layer and k: the parts of the variance of the held-out AUC of the published selectors."""
    groups: dict[tuple[str, int, int], list[Done]] = {}
    for one in done:
        groups.setdefault((one.case.feature, one.case.layer, one.case.k), []).append(one)
    rows = []
    for (feature, layer, k), group in groups.items():
        of_split = [{result.method: score(result.test, "auc") for result in one.case.methods} for one in group]
        selectors = [method for method in of_split[0] if method not in SEARCHES]
        parts = variance_parts([[found[method] for found in of_split] for method in selectors])
        best = [found[OPTIMUM] for found in of_split]
        supports = [set(one.case.support) for one in group]
        same = [len(one & other) / k for i, one in enumerate(supports) for other in supports[:i]]
        rows.append(
            {
                "feature": feature,
                "layer": layer,
                "k": k,
                "splits": len(group),
                "methods": len(selectors),
                "deviation": float(np.sqrt(parts["whole"])),
                **{name: _share(parts[name], parts["whole"]) for name in ("split", "method", "both")},
                "reseed_common": _share(parts["split"], parts["split"] + parts["both"]),
                "optimum_deviation": float(np.std(best)),
                "optimum_shared": float(np.mean(same)) if same else None,
            }
        )
    return [rounded(row) for row in rows]


def _share(part: float, whole: float) -> float | None:
    """A part of a variance, None where there is none."""
    return part / whole if whole > 0 else None


def nested_rows(cases: Sequence[Case]) -> list[dict[str, Any]]:
    """One row a feature, layer and step from one k to the next: whether the larger optimum holds the smaller one."""
    chains: dict[tuple[str, int], list[Case]] = {}
    for case in cases:
        chains.setdefault((case.feature, case.layer), []).append(case)
    return [
        {
            "feature": feature,
            "layer": layer,
            "k": small.k,
            "next_k": large.k,
            "nested": set(small.support) <= set(large.support),
            "proved": small.optimal and large.optimal,
        }
        for (feature, layer), chain in chains.items()
        for small, large in pairwise(sorted(chain, key=lambda case: case.k))
    ]


def result_rows(cases: Sequence[Case]) -> list[dict[str, Any]]:
    """One row a case and method."""
    return [row for case in cases for row in _result_rows(case)]


def _result_rows(case: Case) -> Iterator[dict[str, Any]]:
    for result in case.methods:
        row: dict[str, Any] = {
            "feature": case.feature,
            "layer": case.layer,
            "k": case.k,
            "loss": case.loss,
            "ridge": case.ridge,
            "n_neurons": case.n_neurons,
            "method": result.method,
            "neurons": " ".join(map(str, result.support)),
            "objective": result.objective,
            "relative_regret": result.relative_regret,
            "optimal": result.optimal,
        }
        for name in ("f1", "auc"):
            for part in ("test", "low", "high", "behind", "behind_low", "behind_high"):
                row[f"{name}_{part}"] = getattr(getattr(result, part), name)
        yield rounded(row | {"certificate": case.certificate[:12]})


def figures(tables: Tables) -> list[FigureOnPage]:
    """Regret by k, the optimum's gain in AUC, and the noise floor."""
    rows = [row for row in tables["selectors"] if row["method"] not in (OPTIMUM, "random")]
    methods = list(dict.fromkeys(row["method"] for row in rows))
    regret = {
        label(name): [Point(row["k"], row["relative_regret"]) for row in rows if row["method"] == name]
        for name in methods
    }
    last = max(row["k"] for row in rows)
    gains = {
        f"k = {k}": {
            label(row["method"]): Point(0.0, row["auc_gain"], row["auc_gain_low"], row["auc_gain_high"])
            for row in rows
            if row["k"] == k
        }
        for k in sorted({1, last} & {row["k"] for row in rows})
    }
    floor = {
        f"{label(name)}, {what}": [Point(row["k"], row[column]) for row in tables["noise"] if row["method"] == name]
        for name in (OPTIMUM, RANKING)
        for what, column in (("true labels", "auc_train"), ("shuffled labels", "auc_train_shuffled"))
        if any(row["method"] == name for row in tables["noise"])
    }
    return [
        lines("regret", "Mean objective above the optimum.", regret, "k", "relative regret", whole_x=True),
        values(
            "auc_gain",
            "AUC of the optimum minus that of each method on held-out documents: means, intervals over features.",
            gains,
            "gain in AUC",
        ),
        lines("noise_floor", "Training AUC on true and on shuffled labels.", floor, "k", "AUC", whole_x=True),
    ]


def said(tables: Tables) -> str:
    """What the choices cost, how much of that is noise, and whether optima hold one another."""
    results, rows = tables["results"], {(row["k"], row["method"]): row for row in tables["selectors"]}
    optima = [row for row in results if row["method"] == OPTIMUM]
    proved = sum(row["optimal"] is True for row in optima)
    places, features = {(row["feature"], row["layer"]) for row in optima}, {row["feature"] for row in optima}
    neurons = " or ".join(f"{count:,}" for count in sorted({row["n_neurons"] for row in optima}))
    ks = sorted({row["k"] for row in optima})
    named = [name for name in SAID if all((k, name) in rows for k in ks)]
    told = [_of_method([rows[k, name] for k in ks], SAID[name]) for name in named]
    sentences = [
        f"{proved} of {len(optima)} optima are proved, each over all {neurons} neurons of a layer ({len(places)} pairs "
        f"of feature and layer, k = {', '.join(map(str, ks))}), and the checker accepts every certificate.",
        f"Over all k, each selector is optimal in so many of {len(optima)} cases, and its objective lies so far above "
        f"the optimum on average; at k = {ks[-1]} the optimum has so much more AUC on held-out documents (95% over "
        f"{len(features)} features): {'; '.join(told)}.",
    ]
    if ks[0] == 1 and all(row["loss"] == "squared" for row in optima):
        sentences.append("At k = 1 and squared loss the F statistic's neuron is the optimum by definition.")
    return " ".join([*sentences, _of_noise(tables, ks), _of_spread(tables), _of_nesting(tables)])


SAID = {
    "mean_difference": "the standardised mean difference",
    "mean_difference_raw": "the raw one of SAEBench",
    "mean_difference_by_mean": "that of sae-probes",
    "mutual_information": "mutual information",
    "l1_logistic": "L1",
    "linear_svm": "SVM",
    "adaptive_thresholding": "adaptive thresholding",
    "swap_descent": "swap descent",
}
"""The methods that the paragraph speaks of."""


def _of_method(rows: Sequence[Mapping[str, Any]], name: str) -> str:
    """What a method loses over all k, and what its last set lacks."""
    right, cases = (sum(row[part] for row in rows) for part in ("optimal", "cases"))
    lost = sum(row["relative_regret"] * row["cases"] for row in rows) / cases
    gain, low, high = (rows[-1][part] for part in ("auc_gain", "auc_gain_low", "auc_gain_high"))
    return f"{name} {right}, {lost:.1%}, {gain:+.3f} [{low:+.3f}, {high:+.3f}]"


def _of_noise(tables: Tables, ks: Sequence[int]) -> str:
    noise = {(row["k"], row["method"]): row for row in tables["noise"]}
    best = [noise[k, OPTIMUM] for k in ks]
    floor = ", ".join(f"{row['auc_train_shuffled']:.3f}" for row in best)
    true = ", ".join(f"{row['auc_train']:.3f}" for row in best)
    held_out = ", ".join(f"{row['auc_test_shuffled']:.3f}" for row in best)
    sentence = (
        f"On shuffled labels the optimum reaches a training AUC of {floor}, on true ones {true}; held out, "
        f"where nothing was found, {held_out}."
    )
    if usual := [noise[k, RANKING] for k in ks if (k, RANKING) in noise]:
        least = ", ".join(f"{row['auc_train_shuffled']:.3f}" for row in usual)
        sentence += f" The {label(RANKING)} ranking reaches {least} there."
    return sentence


def _of_spread(tables: Tables) -> str:
    rows = [row for row in tables["spread"] if row["reseed_common"] is not None]
    if not rows:
        return "No method's held-out AUC changes with the split."
    method, common = (sum(row[part] for row in rows) / len(rows) for part in ("method", "reseed_common"))
    shared = sum(row["optimum_shared"] for row in rows) / len(rows)
    return (
        f"Over {rows[0]['splits']} splits, {method:.0%} of the variance of the held-out AUC lies between selectors; "
        f"of what changes with the split, {common:.0%} is the split, alike for all of them, and {1 - common:.0%} what "
        f"each chooses then (means over {len(rows)} problems; two splits' optima share {shared:.0%} of their neurons)."
    )


def _of_nesting(tables: Tables) -> str:
    rows = tables["nested"]
    held = sum(row["nested"] for row in rows)
    return f"The optimum for the next k holds the smaller one in {held} of {len(rows)} steps."


def about(config: SelectionConfig) -> Mapping[str, str]:
    """Where the numbers come from."""
    controls = {
        "other splits": f"seeds {', '.join(map(str, config.splits))}",
        "shuffled labels": f"within the training part, seeds {', '.join(map(str, config.shuffles))}",
        "ridge": f"validated ones of {', '.join(map(str, config.cases.grid))}" if config.cases.grid else "as stated",
    }
    return {**about_config(config.cases), **controls}


EXPERIMENT = Experiment(
    name="selection_regret",
    title=TITLE,
    paper="its comparison of selectors by F1, here against the optimum, with controls",
    read=read,
    run=run,
    about=about,
    captions={
        "selectors": "Every method by k: how often it is optimal, what it loses, and the optimum's gain on held-out "
        "documents with a 95% interval over features; in how many cases its interval over documents lies above or "
        "below 0.",
        "noise": "AUC on training and held-out rows, and on labels shuffled within the training part.",
        "spread": "The variance of the held-out AUC over published selectors and splits: the shares of the split, the "
        "same for all selectors, of the selector, and of both together; of a selector's own variance over splits the "
        "part that all share; and the share of its neurons that the optimum keeps on another split.",
        "nested": "Whether the optimum for the next k holds the smaller one.",
        "results": "Every case and method on true labels; intervals over documents.",
    },
    said=said,
)

if __name__ == "__main__":
    sys.exit(command(EXPERIMENT))
