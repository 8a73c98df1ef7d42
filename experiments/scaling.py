"""
What changes with scale: do features need fewer neurons, do they appear at a size, do their neurons split?

    python -m experiments.scaling --config experiments/configs/scaling/sizes.toml

The same rows go through models of several sizes, or of several steps of training. For every feature and k the layer is
the one whose certified optimum has the smallest objective on the training documents; its scores are those of documents
held out. Three criteria, written down before anything was run:

- *sparsity*: the mean over features of the held-out F1 of k neurons, by model;
- *quantisation*: a feature appears at the first model for which the whole interval of the F1 of its certified single
  neuron lies above ``least_f1``;
- *splitting*: the neuron of a coarse feature splits between a model and the next if, for at least two of its fine
  features, the fine feature's neuron in the later model is nearest, by its profile of F1 over the coarse and all fine
  features, to the coarse neuron of the earlier one, and the whole interval of its F1 on its own feature lies above that
  of the coarse neuron there.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np

from experiments.cases import Cases, about_config, best_cases, certified, values_digest
from experiments.experiment import Experiment, Job, Tables, command
from experiments.held_out import Scored, rows_held_out, scored, stated
from experiments.places import rounded
from experiments.plots import Point, lines, shades
from optprobe.activations import Activations, load_labelled
from optprobe.cases import Case
from optprobe.cases.config import Config, config_of
from optprobe.report.figures import FigureOnPage
from optprobe.scoring import GroupBootstrap
from optprobe.studies import Item
from optprobe.studies.keys import Keys, Wrong, at_least, several, share, text

NOWHERE = "nowhere"
LEAST_SPLIT = 2
"""So many fine features must come of a coarse neuron for it to be split."""


@dataclass(frozen=True)
class Rung:
    """A model of the ladder: its name here, where it is, and the layers that are searched."""

    name: str
    model: str
    layers: tuple[int, ...]


@dataclass(frozen=True)
class Ladder:
    """
    Models of one kind, the smallest or earliest first.

    Attributes
    ----------
    config : Config
        Dataset, features, losses and numbers of neurons; its model and layers are those of the last rung.
    rungs : tuple of Rung
    coarse : mapping of str to tuple of str
        Of each coarse feature, the fine ones within it.
    least_f1 : float
        A feature is there where the interval of its F1 lies above this.
    """

    config: Config
    rungs: tuple[Rung, ...]
    coarse: Mapping[str, tuple[str, ...]]
    least_f1: float


def ladder_of(keys: Keys) -> Ladder:
    """Take a ladder from a configuration: ``[[before]]`` has the rungs below the model that it names."""
    config = config_of(keys)
    name = keys.take("name", text)
    before = keys.take("before", several(lambda value: _rung(keys.where, value)))
    coarse = keys.take("coarse", _coarse, _coarse({}))
    last = Rung(name, config.model or "", config.layers or ())
    return Ladder(config, (*before, last), coarse, keys.take("least_f1", share, 0.8))


def _rung(where: str, value: Any) -> Rung:
    keys = Keys(f"{where}, before", value)
    found = Rung(keys.take("name", text), keys.take("model", text), keys.take("layers", several(at_least(0))))
    keys.done()
    return found


def _coarse(value: Any) -> dict[str, tuple[str, ...]]:
    if not isinstance(value, dict):
        raise Wrong("a table of coarse features, each with a list of its fine ones")
    return {name: several(text)(fine) for name, fine in value.items()}


@dataclass(frozen=True)
class Profiles:
    """
    The F1 of the neuron of every feature on every feature, of each rung: its fit on the training rows, scored held out.

    Parameters
    ----------
    config : Config
    stores : mapping of str to str
        The folder of each rung's activations.
    neurons : mapping of str to mapping of str to (int, int)
        Of each rung, the layer and neuron of each feature.
    """

    config: Config
    stores: Mapping[str, str]
    neurons: Mapping[str, Mapping[str, tuple[int, int]]]

    name = "scaling_profiles"
    version = 1

    def items(self) -> Sequence[Item]:
        """One a rung."""
        draws, seed = self.config.bootstrap_draws, self.config.seed
        return [
            Item(
                {
                    "rung": rung,
                    "neurons": {name: list(place) for name, place in own.items()},
                    "draws": draws,
                    "seed": seed,
                },
                {"activations": values_digest(self.stores[rung])},
                f"profiles of {rung}",
                "profiles",
            )
            for rung, own in self.neurons.items()
        ]

    def run(self, item: Item, earlier: Mapping[str, Any] | None) -> Mapping[str, Any]:
        """A row for each neuron and feature."""
        rung = str(item.values["rung"])
        store, own = Activations.open(self.stores[rung]), item.values["neurons"]
        rows = []
        for of, (layer, neuron) in own.items():
            for on in own:
                f1 = self._f1(store, on, int(layer), int(neuron))
                rows.append({"rung": rung, "of": of, "layer": layer, "neuron": neuron, "on": on}
                            | {"f1": f1.value, "f1_low": f1.low, "f1_high": f1.high})  # fmt: skip
        return {"rows": rows}

    def sound(self, result: Mapping[str, Any]) -> bool:
        """A record names no other file."""
        return True

    def _f1(self, store: Activations, feature: str, layer: int, neuron: int) -> Scored:
        """F1 of one neuron on the held-out rows of a feature."""
        data = load_labelled(store, feature, layer, self.config.test_share, self.config.split_seed)
        X, y, group = rows_held_out(data)
        resamples = GroupBootstrap.of(group, self.config.bootstrap_draws, self.config.seed)
        return scored(stated(data, 1, self.config.settings[0], among=[neuron]), (neuron,), X, y, resamples, "f1")


def run(job: Job[Ladder]) -> tuple[Tables, Sequence[FigureOnPage]]:
    """Certify every rung, then make the profiles of its single neurons."""
    ladder, found = job.config, dict[str, Cases]()
    for rung in ladder.rungs:
        config = replace(ladder.config, model=rung.model, layers=rung.layers)
        found[rung.name] = certified(job, config, f"activations/{Path(rung.name).name}")
    features = [row for rung in found for row in feature_rows(rung, found[rung].cases)]
    neurons = {
        rung: {
            row["feature"]: (row["layer"], int(row["neurons"]))
            for row in features
            if row["rung"] == rung and row["k"] == 1
        }
        for rung in found
    }
    profiles = Profiles(ladder.config, {rung: cases.store for rung, cases in found.items()}, neurons)
    rows = [row for result in job.results(profiles) for row in result["rows"]]
    tables = {
        "appearance": appearance_rows(features, ladder.least_f1),
        "splits": split_rows(rows, ladder.coarse),
        "features": features,
        "profiles": [rounded(row) for row in rows],
    }
    return {name: found for name, found in tables.items() if found}, figures(tables, ladder.least_f1)


def feature_rows(rung: str, cases: Sequence[Case]) -> list[dict[str, Any]]:
    """For each feature and k the layer of smallest certified objective, with its scores."""
    rows = []
    for case in sorted(best_cases(cases), key=lambda one: (one.feature, one.k)):
        group = [one for one in cases if (one.feature, one.k) == (case.feature, case.k)]
        best = case.best
        rows.append({
            "rung": rung, "feature": case.feature, "k": case.k, "layer": case.layer,
            "neurons": " ".join(map(str, case.support)), "searched": sum(one.n_neurons for one in group),
            "optimal": all(one.optimal for one in group), "objective": case.upper_bound,
            "f1": best.test.f1, "f1_low": best.low.f1, "f1_high": best.high.f1,
            "auc": best.test.auc, "certificate": case.certificate,
        })  # fmt: skip
    return rows


def appearance_rows(features: Sequence[Mapping[str, Any]], least: float) -> list[dict[str, Any]]:
    """Where each feature appears, and whether it stays."""
    rows = []
    for feature in sorted({row["feature"] for row in features}):
        own = [row for row in features if row["feature"] == feature and row["k"] == 1]
        there = [row["f1_low"] > least for row in own]
        rows.append({
            "feature": feature,
            "appears_at": own[there.index(True)]["rung"] if any(there) else NOWHERE,
            "stays": all(there[there.index(True) :]) if any(there) else False,
            **{f"f1_{row['rung']}": row["f1"] for row in own},
        })  # fmt: skip
    return rows


def split_rows(profiles: Sequence[Mapping[str, Any]], coarse: Mapping[str, Sequence[str]]) -> list[dict[str, Any]]:
    """Whether the neuron of a coarse feature splits between a rung and the next."""
    by = {(row["rung"], row["of"], row["on"]): row for row in profiles}
    rungs = list(dict.fromkeys(row["rung"] for row in profiles))
    rows = []
    for name, fine in coarse.items():
        labels = [name, *fine]
        for smaller, larger in pairwise(rungs):
            profile = {
                (rung, of): np.array([by[rung, of, on]["f1"] for on in labels])
                for rung in (smaller, larger)
                for of in labels
            }
            of_coarse = []
            for one in fine:
                far = {of: np.linalg.norm(profile[smaller, of] - profile[larger, one]) for of in labels}
                better = by[larger, one, one]["f1_low"] > by[smaller, name, one]["f1_high"]
                if min(far, key=far.__getitem__) == name and better:
                    of_coarse.append(one)
            rows.append({
                "coarse": name, "from": smaller, "to": larger, "n_fine": len(fine), "n_from_coarse": len(of_coarse),
                "which": " ".join(of_coarse), "split": len(of_coarse) >= LEAST_SPLIT,
            })  # fmt: skip
    return rows


def mean_f1(features: Sequence[Mapping[str, Any]]) -> dict[str, dict[int, float]]:
    """The mean over features of the held-out F1, by rung and k."""
    found: dict[str, dict[int, list[float]]] = {}
    for row in features:
        found.setdefault(row["rung"], {}).setdefault(row["k"], []).append(row["f1"])
    return {rung: {k: float(np.mean(values)) for k, values in by_k.items()} for rung, by_k in found.items()}


def said(tables: Tables) -> str:
    """The three criteria, decided."""
    features, appearance = tables["features"], tables["appearance"]
    means = mean_f1(features)
    first, last = next(iter(means)), list(means)[-1]
    ks = sorted(means[last])
    path = ", ".join(f"{rung} {by_k[1]:.2f}" for rung, by_k in means.items())
    appeared: dict[str, int] = {}
    for row in appearance:
        appeared[row["appears_at"]] = appeared.get(row["appears_at"], 0) + 1
    gain = {rung: by_k[ks[-1]] - by_k[1] for rung, by_k in means.items()}
    places = ", ".join(
        f"{appeared[rung]} {'' if rung == NOWHERE else 'at '}{rung}" for rung in (*means, NOWHERE) if rung in appeared
    )
    sentences = [
        f"Over {len(appearance)} features, the certified single neuron has a mean held-out F1 of {path}; "
        f"{ks[-1]} neurons add {gain[first]:.2f} at {first} and {gain[last]:.2f} at {last}.",
        f"By the criterion, features appear: {places}; "
        f"{sum(row['stays'] for row in appearance)} of them stay from there on.",
    ]
    if splits := tables.get("splits"):
        split = [row for row in splits if row["split"]]
        which = "; ".join(f"{row['coarse']} from {row['from']} to {row['to']} ({row['which']})" for row in split)
        sentences.append(f"Coarse neurons that split: {len(split)} of {len(splits)}{f': {which}' if which else ''}.")
    searched = max(row["searched"] for row in features)
    sentences.append(f"Each F1 is that of the best layer by the training documents, among up to {searched:,} neurons.")
    return " ".join(sentences)


def figures(tables: Tables, least: float) -> list[FigureOnPage]:
    """F1 by rung and k, and of every single neuron."""
    means = mean_f1(tables["features"])
    rungs = list(means)
    ks = sorted(next(iter(means.values())))
    series = {f"k = {k}": [Point(at, means[rung][k]) for at, rung in enumerate(rungs)] for k in ks}
    single = {(row["rung"], row["feature"]): row["f1"] for row in tables["features"] if row["k"] == 1}
    names = [row["feature"] for row in tables["appearance"]]
    order = f"Models in order: {', '.join(rungs)}."
    return [
        lines("sparsity", f"Mean held-out F1 of the certified optimum. {order}", series, "model", "F1", whole_x=True),
        shades(
            "single",
            f"Held-out F1 of the certified single neuron; a feature is there where the interval lies above {least:g}.",
            names,
            rungs,
            [[single[rung, name] for rung in rungs] for name in names],
        ),
    ]


def about(ladder: Ladder) -> Mapping[str, str]:
    """Where the numbers come from."""
    names = ", ".join(rung.name for rung in ladder.rungs)
    return {**about_config(ladder.config), "model": names, "layers": "all that are named for each model"}


EXPERIMENT = Experiment(
    name="scaling",
    title="Sparsity, quantisation and splitting of features across sizes and steps",
    paper="its section on scale: sparsity on average, quantisation and neuron splitting, there by eye",
    read=ladder_of,
    run=run,
    about=about,
    captions={
        "appearance": "Where the single neuron of each feature appears, and its held-out F1 at each model.",
        "splits": "Of each coarse feature and step of the ladder, how many fine neurons come of its neuron.",
        "features": "The certified optimum of each model, feature and k at its best layer.",
        "profiles": "Every feature's single neuron on every feature: F1 held out, with its interval.",
    },
    said=said,
)

if __name__ == "__main__":
    sys.exit(command(EXPERIMENT))
