"""
Do early layers hold n-grams in superposition: many n-grams in few neurons, each told by a sparse set?

    python -m experiments.ngram_superposition --config experiments/configs/ngram_superposition/smollm2.toml

Each feature is a compound word against its two words apart, read at the last token. For every layer the certified
optimum of k neurons is scored on held-out documents beside two controls, on the same rows and resamples: the certified
optimum of k directions of a random rotation of the layer, and that of k neurons for shuffled labels. Of each feature's
best single neuron, the number of different n-grams among the rows where it is largest says how many it answers to, and
pruning (the optimum is forbidden, the next one solved, and so on) how many neurons tell the n-gram as well.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from typing import Any

import numpy as np

from experiments.cases import about_config, best_cases, certified, values_digest, write_pages
from experiments.experiment import Experiment, Job, Tables, command
from experiments.held_out import rows_held_out, scored, stated
from experiments.plots import Point, lines
from optprobe.activations import Activations, LabelledActivations, load_labelled
from optprobe.cases.config import Config, config_of
from optprobe.engines import solve
from optprobe.features.controls import random_rotation, shuffled_labels
from optprobe.report.figures import FigureOnPage
from optprobe.scoring import GroupBootstrap
from optprobe.studies import Item
from optprobe.studies.keys import Keys, at_least

TITLE = "n-grams in superposition"
_rotation = lru_cache(maxsize=1)(random_rotation)  # one for all features and layers, whose widths are one
LARGEST = 50
"""Rows where a neuron is largest, in which n-grams are counted."""


@dataclass(frozen=True)
class Ngrams:
    """
    What the study of n-grams runs.

    Attributes
    ----------
    config : Config
        Its features are n-grams.
    pruned : int
        Optima that are forbidden, one after the other.
    """

    config: Config
    pruned: int


def ngrams_of(keys: Keys) -> Ngrams:
    """Take the configuration of this study."""
    pruned = keys.take("pruned", at_least(1), 10)
    return Ngrams(config_of(keys), pruned)


@dataclass(frozen=True)
class _Places:
    """What the two studies of this module know: activations, and the certified supports of each feature and layer."""

    given: Ngrams
    store: str
    supports: Mapping[tuple[str, int], Mapping[int, tuple[int, ...]]]

    version = 1

    def _item(self, kind: str, feature: str, layer: int, **values: Any) -> Item:
        config = self.given.config
        drawn = {"draws": config.bootstrap_draws, "seed": config.seed, "split_seed": config.split_seed}
        asked = {"setting": list(config.settings[0]), "test_share": config.test_share, **drawn}
        files = values_digest(self.store)
        named = {"feature": feature, "layer": layer, **values, **asked}
        return Item(named, {"activations": files}, f"{kind} of {feature}, layer {layer}", kind)

    def _rows(self, item: Item) -> LabelledActivations:
        config = self.given.config
        place = str(item.values["feature"]), int(item.values["layer"])
        return load_labelled(self.store, *place, config.test_share, config.split_seed)

    def sound(self, result: Mapping[str, Any]) -> bool:
        """A record names no other file."""
        return True


@dataclass(frozen=True)
class Controls(_Places):
    """The optima of each feature and layer beside those of a rotated basis and of shuffled labels."""

    name = "ngram_controls"

    def items(self) -> Sequence[Item]:
        """One a feature and layer."""
        return [
            self._item("controls", *place, supports={str(k): list(support) for k, support in own.items()})
            for place, own in self.supports.items()
        ]

    def run(self, item: Item, earlier: Mapping[str, Any] | None) -> Mapping[str, Any]:
        """A row for each k."""
        data, config = self._rows(item), self.given.config
        X, y, group = rows_held_out(data)
        resamples = GroupBootstrap.of(group, config.bootstrap_draws, config.seed)
        turn = _rotation(X.shape[1], config.seed)
        turned, turned_X = replace(data, X_train=data.X_train @ turn, X_test=X @ turn), X @ turn
        shuffled = replace(data, y_train=shuffled_labels(data.y_train, config.seed))
        rows = []
        for k, support in ((int(k), support) for k, support in item.values["supports"].items()):
            own = scored(stated(data, k, config.settings[0]), support, X, y, resamples, "f1")
            row = {"feature": item.values["feature"], "layer": item.values["layer"], "k": k}
            row |= {"f1": own.value, "f1_low": own.low, "f1_high": own.high}
            for name, other, held_out in (("rotated", turned, turned_X), ("shuffled", shuffled, X)):
                found = solve(problem_of := stated(other, k, config.settings[0]), time_limit=config.time_limit)
                score = scored(problem_of, found.support, held_out, y, resamples, "f1")
                difference, low, high = own.above(score)
                row |= {f"{name}_f1": score.value, f"{name}_optimal": found.optimal}
                row |= {f"above_{name}": difference, f"above_{name}_low": low, f"above_{name}_high": high}
            rows.append(row)
        return {"rows": rows}


@dataclass(frozen=True)
class Singles(_Places):
    """The best single neuron of each feature: what else it answers to, and what is left without it."""

    name = "ngram_singles"

    def items(self) -> Sequence[Item]:
        """One a feature, at the layer of its support."""
        pruned = self.given.pruned
        return [self._item("single", *place, neuron=own[1][0], pruned=pruned) for place, own in self.supports.items()]

    def run(self, item: Item, earlier: Mapping[str, Any] | None) -> Mapping[str, Any]:
        """Counts of n-grams, and a row for each neuron that is forbidden in turn."""
        config, feature = self.given.config, str(item.values["feature"])
        layer, neuron = int(item.values["layer"]), int(item.values["neuron"])
        data = self._rows(item)
        X, y, group = rows_held_out(data)
        resamples = GroupBootstrap.of(group, config.bootstrap_draws, config.seed)
        forbidden: list[int] = []
        path = []
        for turn in range(item.values["pruned"]):
            found = solve(of := stated(data, 1, config.settings[0], forbidden=forbidden), time_limit=config.time_limit)
            score = scored(of, found.support, X, y, resamples, "f1")
            path.append({"feature": feature, "layer": layer, "turn": turn, "neuron": int(found.support[0])}
                        | {"objective": found.upper_bound, "f1": score.value, "f1_low": score.low}
                        | {"f1_high": score.high, "optimal": found.optimal})  # fmt: skip
            forbidden.append(int(found.support[0]))
        store = Activations.open(self.store)
        sign = _sign(data, neuron)
        largest = np.argsort(-sign * store.matrices[layer].columns([neuron])[:, 0], kind="stable")[:LARGEST]
        met = {name: int((labels[largest] == 1).sum()) for name, labels in store.labels.items()}
        return {
            "feature": feature,
            "layer": layer,
            "neuron": neuron,
            "rows": int(min(LARGEST, store.n_rows)),
            "own": met[feature],
            "different": sum(count > 0 for count in met.values()),
            "path": path,
        }


def _sign(data: LabelledActivations, neuron: int) -> float:
    """Whether the neuron is larger (1) or smaller (-1) with the feature."""
    column = data.X_train[:, neuron]
    return 1.0 if column[data.y_train > 0].mean() >= column[data.y_train < 0].mean() else -1.0


def run(job: Job[Ngrams]) -> tuple[Tables, Sequence[FigureOnPage]]:
    """Certify the optima, then the controls, the single neurons' largest rows, and the pruning."""
    given = job.config
    found = certified(job, given.config)
    write_pages(job, given.config, found, TITLE)
    supports: dict[tuple[str, int], dict[int, tuple[int, ...]]] = {}
    for case in found.cases:
        supports.setdefault((case.feature, case.layer), {})[case.k] = case.support
    by_layer = [row for one in job.results(Controls(given, found.store, supports)) for row in one["rows"]]
    best = sorted((case.feature, case.layer) for case in best_cases(found.cases) if case.k == 1)
    places = {place: supports[place] for place in best}
    singles = job.results(Singles(given, found.store, places))
    pruned = [row for one in singles for row in one["path"]]
    plain = [{name: value for name, value in one.items() if name != "path"} for one in singles]
    tables = {
        "layers": layer_rows(by_layer),
        "singles": [row | {"pruned_f1": _last(pruned, row["feature"])} for row in plain],
        "pruned": pruned,
        "each": by_layer,
    }
    return tables, figures(tables)


def _last(pruned: Sequence[Mapping[str, Any]], feature: str) -> float:
    """F1 of the last neuron of a feature's pruning."""
    return float([row["f1"] for row in pruned if row["feature"] == feature][-1])


def layer_rows(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Means over features, by layer and k; and in how many features the interval of a difference lies above 0."""
    found = []
    for layer, k in sorted({(row["layer"], row["k"]) for row in rows}):
        own = [row for row in rows if (row["layer"], row["k"]) == (layer, k)]
        found.append({
            "layer": layer, "k": k, "n_features": len(own),
            **{name: float(np.mean([row[name] for row in own])) for name in ("f1", "rotated_f1", "shuffled_f1")},
            "least_f1": min(row["f1"] for row in own), "largest_f1": max(row["f1"] for row in own),
            "above_rotated": sum(row["above_rotated_low"] > 0 for row in own),
            "below_rotated": sum(row["above_rotated_high"] < 0 for row in own),
            "above_shuffled": sum(row["above_shuffled_low"] > 0 for row in own),
        })  # fmt: skip
    return found


def said(tables: Tables) -> str:
    """Where n-grams are told best, by neurons or by any directions, and how many a neuron answers to."""
    layers, singles = tables["layers"], tables["singles"]
    single = {row["layer"]: row for row in layers if row["k"] == 1}
    most = max(row["k"] for row in layers)
    several = {row["layer"]: row for row in layers if row["k"] == most}
    first, last = min(single), max(single)
    best = max(single, key=lambda layer: (single[layer]["f1"], -layer))
    gain = max(single, key=lambda layer: several[layer]["f1"] - single[layer]["f1"])
    different = sorted(row["different"] for row in singles)
    ahead = sum(row["above_rotated"] for row in single.values())
    behind = sum(row["below_rotated"] for row in single.values())
    cells = sum(row["n_features"] for row in single.values())
    falls = np.mean([row["pruned_f1"] for row in singles])
    starts = np.mean([row["f1"] for row in tables["pruned"] if row["turn"] == 0])
    turns = 1 + max(row["turn"] for row in tables["pruned"])
    return " ".join([
        f"Over {single[first]['n_features']} n-grams, the certified single neuron has a mean held-out F1 of "
        f"{single[first]['f1']:.2f} at layer {first}, {single[best]['f1']:.2f} at layer {best} (the best) and "
        f"{single[last]['f1']:.2f} at layer {last}; {most} neurons add most at layer {gain}, "
        f"{several[gain]['f1'] - single[gain]['f1']:.2f}.",
        f"The best direction of a random rotation has {single[best]['rotated_f1']:.2f} at layer {best}: over all "
        f"layers the neuron is ahead of it beyond the interval in {ahead} and behind in {behind} of {cells} cases. "
        f"Shuffled labels give {single[best]['shuffled_f1']:.2f}.",
        f"Among the {singles[0]['rows']} rows where the best neuron of an n-gram is largest there are {different[0]} "
        f"to {different[-1]} different n-grams, {different[len(different) // 2]} in the middle.",
        f"Forbidding the best neuron again and again, the F1 of the one that is left falls from {starts:.2f} to "
        f"{falls:.2f} at neuron {turns}.",
    ])  # fmt: skip


def figures(tables: Tables) -> list[FigureOnPage]:
    """F1 by layer, neurons beside directions, and by pruning."""
    layers = tables["layers"]
    series = {
        f"k = {k}": [Point(row["layer"], row["f1"]) for row in layers if row["k"] == k]
        for k in sorted({row["k"] for row in layers})
    }
    for name in ("rotated", "shuffled"):
        series[f"{name}, k = 1"] = [Point(row["layer"], row[f"{name}_f1"]) for row in layers if row["k"] == 1]
    turns = sorted({row["turn"] for row in tables["pruned"]})
    falls = [
        Point(1 + turn, float(np.mean([row["f1"] for row in tables["pruned"] if row["turn"] == turn])))
        for turn in turns
    ]
    said_of_falls = "The best single neuron, then the best of the others, and so on: mean held-out F1 over n-grams."
    return [
        lines("layers", "Mean held-out F1 over n-grams.", series, "layer", "F1", whole_x=True),
        lines("pruning", said_of_falls, {"": falls}, "neuron", "F1", whole_x=True),
    ]


def about(given: Ngrams) -> Mapping[str, str]:
    """Where the numbers come from."""
    return about_config(given.config)


EXPERIMENT = Experiment(
    name="ngram_superposition",
    title=TITLE,
    paper="its case study of compound words: sparse combinations of polysemantic neurons in early layers",
    read=ngrams_of,
    run=run,
    about=about,
    captions={
        "layers": "Means over n-grams by layer and k; and how many n-grams lie beyond a control by the whole interval.",
        "singles": f"The best single neuron of each n-gram: n-grams among its {LARGEST} largest rows.",
        "pruned": "The best single neuron, then the best of the others, and so on.",
        "each": "Every n-gram, layer and k beside the rotated basis and shuffled labels.",
    },
    said=said,
)

if __name__ == "__main__":
    sys.exit(command(EXPERIMENT))
