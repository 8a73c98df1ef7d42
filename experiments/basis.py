"""
Are neurons a privileged basis for features, or do other directions do as well?

    python -m experiments.basis --config experiments/configs/basis/bundled.toml

For every feature and layer the certified optimum of k columns: neurons, several random rotations of them, and their
principal components (of the training rows). Differences in held-out F1 and AUC are paired, on the same resamples of
documents. The control is the same on shuffled labels of the training rows: what is found there on the training rows is
what a choice among so many columns finds in noise.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.cases import about_config, are_kept, checked_certificate, prepared_store, values_digest
from experiments.experiment import Experiment, Job, Tables, command
from experiments.plots import Point, lines
from experiments.plots import values as rows_of_values
from optprobe.activations import Activations, LabelledActivations, in_basis, load_labelled
from optprobe.cases.config import Config, config_of
from optprobe.comparison import predict
from optprobe.data import problem
from optprobe.engines import solve_path
from optprobe.errors import InputError
from optprobe.features.controls import shuffled_labels
from optprobe.report.figures import FigureOnPage
from optprobe.scoring import GroupBootstrap, Scores, interval, scores
from optprobe.studies import Item
from optprobe.studies.keys import Keys, at_least, several

TITLE = "Neurons, random rotations, and principal components"
NEURONS, ROTATED, PRINCIPAL = "neurons", "rotated", "principal"
KINDS = {NEURONS: "neurons", ROTATED: "rotations", PRINCIPAL: "principal components"}
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Bases:
    """The features, layers and numbers of columns, and the seeds of the rotations."""

    config: Config
    rotations: tuple[int, ...]


def bases_of(keys: Keys) -> Bases:
    """Take them from a configuration."""
    return Bases(config_of(keys), keys.take("rotations", several(at_least(0)), (0, 1, 2)))


@dataclass(frozen=True)
class BasisStudy:
    """
    The certified optima of every feature and layer in every basis.

    Parameters
    ----------
    config : Config
        Its first loss, and no ridge that is validated.
    bases : tuple of str
        "neurons" first, then calls of `optprobe.activations.in_basis`.
    folder : Path
        Gets ``registry/``.
    store : str
        Folder of the activations.
    """

    config: Config
    bases: tuple[str, ...]
    folder: Path
    store: str

    name = "basis"
    version = 1

    def items(self) -> Sequence[Item]:
        """One a feature, layer, and kind of labels; all bases and k together, since they are compared in pairs."""
        config, store = self.config, Activations.open(self.store)
        options = {"bases": list(self.bases), "ks": list(config.ks), "setting": list(config.settings[0])}
        options |= {"test_share": config.test_share, "split_seed": config.split_seed, "method": config.method}
        options |= {"time_limit": config.time_limit, "draws": config.bootstrap_draws, "seed": config.seed}
        inputs = {"activations": values_digest(store)}
        return [
            Item(
                {"feature": feature, "layer": layer, "shuffled": shuffled, **options},
                inputs,
                f"{feature}, layer {layer}{', shuffled' if shuffled else ''}",
                "shuffled" if shuffled else "true",
            )
            for feature in config.features or store.features
            for layer in config.layers or store.layers
            for shuffled in (False, True)
        ]

    def run(self, item: Item, earlier: Mapping[str, Any] | None) -> Mapping[str, Any]:
        """A row for each basis and k; the certificates are in the registry."""
        config, v = self.config, item.values
        data = load_labelled(self.store, v["feature"], v["layer"], config.test_share, config.split_seed)
        if v["shuffled"]:
            data = replace(data, y_train=shuffled_labels(data.y_train, config.seed))
        assert data.group_test is not None
        resamples = GroupBootstrap.of(data.group_test, config.bootstrap_draws, config.seed)
        rows: list[dict[str, Any]] = []
        of_neurons: dict[int, Floats] = {}
        for basis in self.bases:
            for k, (f, row) in self._solved(data if basis == NEURONS else in_basis(data, basis)).items():
                assert data.y_test is not None
                whole = GroupBootstrap(resamples.group, np.ones((1, resamples.times.shape[1])))
                found = np.hstack([one.scores(data.y_test, f) for one in (whole, resamples)])
                rows.append({"basis": basis, "k": k, **row})
                for end, values in (("", found), ("_behind", of_neurons.setdefault(k, found) - found)):
                    low, high = interval(values[:, 1:])
                    for name in ("auc", "f1"):
                        rows[-1] |= {f"{name}{end}": getattr(Scores.of(values[:, 0]), name)}
                        rows[-1] |= {f"{name}{end}_low": getattr(low, name), f"{name}{end}_high": getattr(high, name)}
        return {"rows": rows}

    def _solved(self, data: LabelledActivations) -> dict[int, tuple[Floats, dict[str, Any]]]:
        """Of each k the decision values of held-out rows, and what is proved."""
        config, found = self.config, {}
        loss, ridge, class_weight, _ = config.settings[0]
        assert ridge is not None
        assert data.X_test is not None
        stated = problem(data, 1, loss=loss, ridge=ridge, class_weight=class_weight)
        for k, best in solve_path(stated, config.ks, config.time_limit, method=config.method).items():
            f, f_train = (
                predict(stated, X, best.support, best.coef, best.intercept) for X in (data.X_test, data.X_train)
            )
            found[k] = f, {
                "columns": " ".join(map(str, best.support)), "searched": stated.n_neurons, "optimal": best.optimal,
                "objective": best.upper_bound, "lower_bound": best.lower_bound,
                "auc_train": scores(data.y_train, f_train).auc,
                "certificate": checked_certificate(best, self.folder, data),
            }  # fmt: skip
        return found

    def sound(self, result: Mapping[str, Any]) -> bool:
        """Whether the certificates are in the registry, unaltered."""
        return are_kept((row["certificate"] for row in result["rows"]), self.folder)


def run(job: Job[Bases]) -> tuple[Tables, Sequence[FigureOnPage]]:
    """Extract, and certify in every basis."""
    config = job.config.config
    if len(config.settings) > 1 or config.settings[0].ridge is None or config.settings[0].among is not None:
        raise InputError(
            "bases are compared by one loss and one ridge among all columns: state one of each, and no top"
        )
    store = prepared_store(job, config)
    bases = (NEURONS, *(f"{ROTATED}:{seed}" for seed in job.config.rotations), PRINCIPAL)
    study = BasisStudy(config, bases, job.folder, store)
    results = job.results(study)
    rows = [
        {**{name: item.values[name] for name in ("feature", "layer", "shuffled")}, **row}
        for item, result in zip(study.items(), results)
        for row in result["rows"]
    ]
    tables = {"summary": summary_rows(rows), "each": rows}
    return tables, figures(tables)


def kind_of(basis: str) -> str:
    """What kind of basis a name is of."""
    return basis.partition(":")[0]


def summary_rows(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """
    Means over features and layers (and rotations), and in how many the neurons are better or worse.

    ``smaller`` counts the cases in which the neurons' objective is below what is proved of every set of this basis.
    """
    place = ("feature", "layer", "shuffled", "k")
    of_neurons = {tuple(map(row.get, place)): row["objective"] for row in rows if row["basis"] == NEURONS}
    found = []
    for shuffled, kind, k in dict.fromkeys((row["shuffled"], kind_of(row["basis"]), row["k"]) for row in rows):
        own = [row for row in rows if (row["shuffled"], kind_of(row["basis"]), row["k"]) == (shuffled, kind, k)]
        found.append({
            "labels": "shuffled" if shuffled else "true", "basis": kind, "k": k, "cases": len(own),
            "proved": sum(row["optimal"] for row in own),
            **{name: _mean(own, name) for name in ("objective", "auc_train", "auc", "f1")},
            **{f"{name}_behind": _mean(own, f"{name}_behind") for name in ("auc", "f1")},
            "smaller": sum(of_neurons[tuple(map(row.get, place))] < row["lower_bound"] for row in own),
            "neurons_better": sum(_beyond(row, 1) for row in own),
            "neurons_worse": sum(_beyond(row, -1) for row in own),
        })  # fmt: skip
    return found


def _mean(rows: Sequence[Mapping[str, Any]], name: str) -> float:
    """The mean of what is known."""
    return float(np.mean([row[name] for row in rows if row[name] is not None] or [0.0]))


def _beyond(row: Mapping[str, Any], side: int) -> bool:
    """Whether the whole interval of the difference in AUC lies above (1) or below (-1) 0."""
    end = row["auc_behind_low"] if side > 0 else row["auc_behind_high"]
    return end is not None and side * end > 0


def said(tables: Tables) -> str:
    """What each basis gives, where the difference is, and what noise gives."""
    summary, cases = tables["summary"], tables["each"]
    proved, count = (sum(row[name] for row in summary) for name in ("proved", "cases"))
    by = {(row["labels"], row["basis"], row["k"]): row for row in summary}
    ks = sorted({row["k"] for row in summary})
    places = len({(row["feature"], row["layer"]) for row in cases})
    scored = [
        f"k = {k}, " + ", ".join(f"{r['auc']:.2f} and {r['f1']:.2f} by {KINDS[kind]}" for kind, r in _by_kind(by, k))
        for k in ks
    ]
    sentences = [
        f"{proved} of {count} optima are proved, and the checker accepts every certificate. Mean held-out AUC and F1 "
        f"over {places} pairs of feature and layer of {cases[0]['searched']:,} columns: {'; '.join(scored)}."
    ]
    for kind in (ROTATED, PRINCIPAL):
        true, shuffled = ([by[labels, kind, k] for k in ks] for labels in ("true", "shuffled"))
        smaller = ", ".join(f"{row['smaller']} of {row['cases']} at k = {row['k']}" for row in true)
        told, in_noise = (
            ", ".join(f"{row['neurons_better']} ({row['neurons_worse']})" for row in found)
            for found in (true, shuffled)
        )
        sentences.append(
            f"Against {KINDS[kind]}, the objective of neurons is smaller in {smaller}; by the whole interval of the "
            f"paired difference in AUC they are better (worse) in {told}, and on shuffled labels in {in_noise}."
        )
    by_depth = ", ".join(f"{value:+.3f} at layer {layer}" for layer, value in by_layer(cases, ks[0]).items())
    noise = [by["shuffled", kind, ks[-1]]["auc_train"] for kind in KINDS]
    sentences += [
        f"By layer, the mean AUC of k = {ks[0]} neurons minus that of rotations is {by_depth}.",
        f"On shuffled labels the optima of k = {ks[-1]} have a mean AUC of {min(noise):.3f} to {max(noise):.3f} on "
        "their own rows.",
    ]
    return " ".join(sentences)


def _by_kind(by: Mapping[tuple[str, str, int], Mapping[str, Any]], k: int) -> list[tuple[str, Mapping[str, Any]]]:
    """The rows of true labels at k, a kind of basis each."""
    return [(kind, by["true", kind, k]) for kind in KINDS]


def by_layer(cases: Sequence[Mapping[str, Any]], k: int) -> dict[int, float]:
    """The mean difference in AUC of neurons from rotations, a layer each."""
    own = [row for row in cases if kind_of(row["basis"]) == ROTATED and row["k"] == k and row["shuffled"] is False]
    layers = sorted({row["layer"] for row in own})
    return {layer: _mean([row for row in own if row["layer"] == layer], "auc_behind") for layer in layers}


def figures(tables: Tables) -> list[FigureOnPage]:
    """AUC by layer and basis for the smallest k, and every difference from the first rotation."""
    cases = tables["each"]
    k, first = min(row["k"] for row in cases), next(b for row in cases if kind_of(b := row["basis"]) == ROTATED)
    true = [row for row in cases if row["shuffled"] is False]
    layers = sorted({row["layer"] for row in true})

    def mean(kind: str, layer: int, name: str) -> float:
        return _mean([r for r in true if (kind_of(r["basis"]), r["layer"], r["k"]) == (kind, layer, k)], name)

    series = {words: [Point(layer, mean(kind, layer, "auc")) for layer in layers] for kind, words in KINDS.items()}
    groups = {
        f"k = {one}": {
            f"{row['feature']}, layer {row['layer']}": Point(
                0, row["auc_behind"], row["auc_behind_low"], row["auc_behind_high"]
            )
            for row in true
            if (row["basis"], row["k"]) == (first, one) and row["auc_behind"] is not None
        }
        for one in sorted({row["k"] for row in true})
    }
    caption = f"Mean held-out AUC of the certified optimum of k = {k}."
    return [
        lines("layers", caption, series, "layer", "AUC", whole_x=True),
        rows_of_values("differences", f"AUC of neurons minus that of {first}, paired.", groups, "difference in AUC"),
    ]


def about(bases: Bases) -> Mapping[str, str]:
    """Where the numbers come from."""
    return {**about_config(bases.config), "rotations": f"of the seeds {', '.join(map(str, bases.rotations))}"}


EXPERIMENT = Experiment(
    name="basis",
    title=TITLE,
    paper="its reason to probe neurons, that their basis is privileged",
    read=bases_of,
    run=run,
    about=about,
    captions={
        "summary": "Means over features and layers; behind: that of neurons minus this one, paired.",
        "each": "Every feature, layer, basis and k, of true and of shuffled labels.",
    },
    said=said,
)

if __name__ == "__main__":
    sys.exit(command(EXPERIMENT))
