"""
How well do k neurons tell the position of a token in its context?

    python -m experiments.position --config experiments/configs/position/bundled.toml

Positions are real numbers to be predicted, by exact least squares with a certificate for each layer and k. Contexts are
all of one length, so that a document tells nothing of the positions in it. R^2 is that of held-out documents,
1 - sum (t - f)^2 / sum (t - mean t)^2, with intervals over documents; the layer of each k is the one of smallest
certified objective on the training documents. The control is the same on positions that are shuffled among the training
rows, scored on the true positions held out; its R^2 on the training rows is what selection among so many neurons finds
in noise. The reference is dense: all neurons of a layer together, by ridge regression whose penalty is the best one by
leave-one-out on the training rows.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.cases import PACKAGE, are_kept, checked_certificate, located_model, values_digest
from experiments.experiment import Experiment, Job, Tables, command
from experiments.plots import Point, lines
from optprobe.activations import LabelledActivations, load_labelled, load_tokenizer
from optprobe.data import problem
from optprobe.engines import solve_path
from optprobe.features import FeatureDataset
from optprobe.features.catalogue import BuildOptions, build
from optprobe.features.controls import shuffled_labels
from optprobe.quickstart import extracted
from optprobe.report.figures import FigureOnPage
from optprobe.scoring import GroupBootstrap, middle
from optprobe.studies import Item
from optprobe.studies.keys import Keys, at_least, positive, several, share, text

TITLE = "The position of a token by exact sparse least squares"
PENALTIES = tuple(10.0 ** (exponent / 2) for exponent in range(2, 13))
"""Of the sum of squares, for ridge regression on standardised neurons."""
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Positions:
    """
    What is predicted, and how.

    Attributes
    ----------
    model : str
        As in every experiment.
    source : str
        Of the texts, as ``optprobe features build position`` takes it; the tokens are those of the model.
    rows : int
        Tokens, at most.
    targets : tuple of str
        Scales of position, such as "abs_pos".
    layers, ks : tuple of int
    ridge : float
        Of the squared loss in units of the target's variance.
    time_limit : float
        Seconds for each optimum.
    test_share, split_seed, bootstrap_draws, seed
        As in every experiment; the seed is also that of the rows drawn and of the control.
    """

    model: str
    source: str
    rows: int
    targets: tuple[str, ...]
    layers: tuple[int, ...]
    ks: tuple[int, ...]
    ridge: float
    time_limit: float
    test_share: float
    split_seed: int
    bootstrap_draws: int
    seed: int


def positions_of(keys: Keys) -> Positions:
    """Take it from a configuration."""
    return Positions(
        model=keys.take("model", text),
        source=keys.take("source", text),
        rows=keys.take("rows", at_least(1)),
        targets=keys.take("targets", several(text)),
        layers=keys.take("layers", several(at_least(0))),
        ks=tuple(sorted(keys.take("ks", several(at_least(1))))),
        ridge=keys.take("ridge", positive, 0.001),
        time_limit=keys.take("time_limit", positive, 60.0),
        test_share=keys.take("test_share", share, 0.3),
        split_seed=keys.take("split_seed", at_least(0), 0),
        bootstrap_draws=keys.take("bootstrap_draws", at_least(1), 1000),
        seed=keys.take("seed", at_least(0), 0),
    )


@dataclass(frozen=True)
class PositionStudy:
    """
    The certified optima of every target, layer and k, of the positions as they are and shuffled.

    Parameters
    ----------
    config : Positions
    folder : Path
        Gets ``registry/``.
    store : str
        Folder of the activations.
    """

    config: Positions
    folder: Path
    store: str

    name = "position"
    version = 1

    def items(self) -> Sequence[Item]:
        """One a target, layer, and kind of positions; all k together."""
        config = self.config
        options = {"ks": list(config.ks), "ridge": config.ridge, "time_limit": config.time_limit}
        options |= {"test_share": config.test_share, "split_seed": config.split_seed}
        options |= {"draws": config.bootstrap_draws, "seed": config.seed}
        inputs = {"activations": values_digest(self.store)}
        return [
            Item(
                {"target": target, "layer": layer, "shuffled": shuffled, **options},
                inputs,
                f"{'shuffled ' if shuffled else ''}{target}, layer {layer}",
                "shuffled" if shuffled else "true",
            )
            for target in config.targets
            for layer in config.layers
            for shuffled in (False, True)
        ]

    def run(self, item: Item, earlier: Mapping[str, Any] | None) -> Mapping[str, Any]:
        """A row for each k; its certificate is in the registry."""
        v, config = item.values, self.config
        data = _rows(self.store, v["target"], v["layer"], config.test_share, config.split_seed)
        X_test, t_test, group_test = _held_out(data)
        if v["shuffled"]:
            data = replace(data, y_train=shuffled_labels(data.y_train, config.seed))
        t, stated = data.y_train, problem(data, 1, ridge=config.ridge)
        rows = []
        resamples = GroupBootstrap.of(group_test, config.bootstrap_draws, config.seed)
        for k, best in solve_path(stated, config.ks, config.time_limit).items():
            slope, constant = stated.probe_as_given(best.support, best.coef, best.intercept)
            f, f_train = (X[:, list(best.support)] @ slope + constant for X in (X_test, data.X_train))
            low, found, high = r_squared(t_test, f, resamples)
            rows.append({
                "k": k, "neurons": " ".join(map(str, best.support)), "searched": stated.n_neurons,
                "n_rows": len(t), "n_test": len(f), "optimal": best.optimal,
                "objective": best.upper_bound, "lower_bound": best.lower_bound,
                "r2_train": r_squared(t, f_train)[1], "r2": found, "r2_low": low, "r2_high": high,
                "certificate": checked_certificate(best, self.folder, data),
            })  # fmt: skip
        return {"rows": rows}

    def sound(self, result: Mapping[str, Any]) -> bool:
        """Whether the certificates are in the registry, unaltered."""
        return are_kept((row["certificate"] for row in result["rows"]), self.folder)


@dataclass(frozen=True)
class AllNeurons:
    """
    Ridge regression on all neurons of a layer, without a bound on their number.

    Parameters
    ----------
    config : Positions
    store : str
        Folder of the activations.
    """

    config: Positions
    store: str

    name = "position_all_neurons"
    version = 1

    def items(self) -> Sequence[Item]:
        """One a target and layer."""
        config = self.config
        options = {"test_share": config.test_share, "split_seed": config.split_seed}
        options |= {"draws": config.bootstrap_draws, "seed": config.seed}
        inputs = {"activations": values_digest(self.store)}
        return [
            Item({"target": target, "layer": layer, **options}, inputs, f"all of layer {layer}, {target}", "all")
            for target in config.targets
            for layer in config.layers
        ]

    def run(self, item: Item, earlier: Mapping[str, Any] | None) -> Mapping[str, Any]:
        """R^2 of the training rows and of held-out documents."""
        from sklearn.linear_model import RidgeCV

        v, config = item.values, self.config
        data = _rows(self.store, v["target"], v["layer"], config.test_share, config.split_seed)
        X_test, t_test, group_test = _held_out(data)
        stated = problem(data, 1, ridge=config.ridge)
        fitted = RidgeCV(PENALTIES).fit(stated.Z, data.y_train)
        f, f_train = (fitted.predict(stated.standardisation.apply(X)) for X in (X_test, data.X_train))
        low, found, high = r_squared(t_test, f, GroupBootstrap.of(group_test, config.bootstrap_draws, config.seed))
        r2_train = r_squared(data.y_train, f_train)[1]
        return {
            "n_neurons": stated.n_neurons, "penalty": float(fitted.alpha_),
            "r2_train": r2_train, "r2": found, "r2_low": low, "r2_high": high,
        }  # fmt: skip

    def sound(self, result: Mapping[str, Any]) -> bool:
        """A record names no other file."""
        return True


def _held_out(data: LabelledActivations) -> tuple[NDArray[Any], Floats, NDArray[np.int64]]:
    """Rows, values and documents of the test part, which a store always has."""
    assert data.X_test is not None
    assert data.y_test is not None
    assert data.group_test is not None
    return data.X_test, data.y_test, data.group_test


@lru_cache(maxsize=1)
def _rows(store: str, target: str, layer: int, test_share: float, seed: int) -> LabelledActivations:
    return load_labelled(store, target, layer, test_share, seed)


def r_squared(t: Floats, f: Floats, resamples: GroupBootstrap | None = None) -> tuple[float, float, float]:
    """
    The explained share of the variance, 1 - sum (t - f)^2 / sum (t - mean t)^2, and its interval over documents.

    Parameters
    ----------
    t, f : ndarray, shape (n_rows,)
        Values, not all equal, and predictions.
    resamples : GroupBootstrap, optional
        Of the documents of these rows; without it the interval is the value. The mean is that of the resample.

    Returns
    -------
    tuple of float
        Lower end, value, upper end.
    """
    mean = t.mean()
    parts = np.stack([np.ones(len(t)), t - mean, (t - mean) ** 2, (t - f) ** 2])
    value = float(1 - parts[3].sum() / parts[2].sum())
    if resamples is None:
        return value, value, value
    times = resamples.times
    n, first, second, error = (times @ np.bincount(resamples.group, part, times.shape[1]) for part in parts)
    drawn = 1 - error / (second - first**2 / n)
    low, high = middle(drawn[np.isfinite(drawn)])
    return low, value, high


def run(job: Job[Positions]) -> tuple[Tables, Sequence[FigureOnPage]]:
    """Draw the tokens, extract, and certify."""
    store = _store(job)
    study, dense = PositionStudy(job.config, job.folder, store), AllNeurons(job.config, store)
    results = job.results(study)
    rows = [
        {**{name: item.values[name] for name in ("target", "layer", "shuffled")}, **row}
        for item, result in zip(study.items(), results)
        for row in result["rows"]
    ]
    together = [
        {**{name: item.values[name] for name in ("target", "layer")}, **result}
        for item, result in zip(dense.items(), job.results(dense))
    ]
    tables = {"best": best_rows(rows), "layers": rows, "all_neurons": together}
    return tables, figures(tables)


def _store(job: Job[Positions]) -> str:
    """The folder of the activations at the drawn tokens."""
    config, model = job.config, located_model(job.config.model)
    options = BuildOptions(config.source, load_tokenizer(model), max_rows=config.rows, seed=config.seed)
    data: FeatureDataset = build("position", options)
    extracted(job.folder / "activations", model, data, config.layers, job.report)
    return str(job.folder / "activations")


def best_rows(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Of each target and k the layer of smallest objective, beside the best layer of the control."""
    found = []
    for target, k in dict.fromkeys((row["target"], row["k"]) for row in rows):
        own = [row for row in rows if (row["target"], row["k"]) == (target, k)]
        best, control = (
            min((row for row in own if row["shuffled"] is kind), key=lambda row: (row["objective"], row["layer"]))
            for kind in (False, True)
        )
        names = ("layer", "neurons", "optimal", "objective", "r2_train", "r2", "r2_low", "r2_high")
        shuffled = {f"{name}_shuffled": control[name] for name in ("r2_train", "r2", "r2_low", "r2_high")}
        all_layers = [row for row in own if row["shuffled"] is False]
        found.append({
            "target": target, "k": k, "searched": sum(row["searched"] for row in all_layers),
            **{name: best[name] for name in names}, **shuffled,
        })  # fmt: skip
    return found


def said(tables: Tables) -> str:
    """How much of the variance k neurons explain, and what they find in noise."""
    best, rows = tables["best"], tables["layers"]
    proved = sum(row["optimal"] is True for row in rows)
    sentences = [f"{proved} of {len(rows)} optima are proved, and the checker accepts every certificate."]
    for target in dict.fromkeys(row["target"] for row in best):
        own = [row for row in best if row["target"] == target]
        told = " and ".join(f"{_shown(row)} for k = {row['k']} (layer {row['layer']})" for row in (own[0], own[-1]))
        every = max((row for row in tables["all_neurons"] if row["target"] == target), key=lambda row: row["r2"])
        sentences.append(
            f"R^2 of {target} on held-out documents: {told}; at most {_shown(every)} for all {every['n_neurons']:,} "
            f"neurons of a layer together (layer {every['layer']})."
        )
    names = ("r2_train", "r2_train_shuffled", "r2_shuffled")
    own_rows, noise, held_out = (max(row[name] for row in best) for name in names)
    sentences.append(
        f"On their own rows the optima reach at most {own_rows:.3f}; on shuffled positions {noise:.3f} there, and "
        f"{held_out:.3f} held out. {best[0]['searched']:,} neurons were looked at, layer by layer."
    )
    return " ".join(sentences)


def _shown(row: Mapping[str, Any]) -> str:
    """R^2 and its interval, without negative zeros."""
    value, low, high = (round(row[name], 2) + 0.0 for name in ("r2", "r2_low", "r2_high"))
    return f"{value:.2f} [{low:.2f}, {high:.2f}]"


def figures(tables: Tables) -> list[FigureOnPage]:
    """R^2 by layer, a figure for each target, and the control of the largest k."""
    rows = tables["layers"]
    found = []
    for target in dict.fromkeys(row["target"] for row in rows):
        own = [row for row in rows if row["target"] == target]
        ks = sorted({row["k"] for row in own})
        series = {f"k = {k}": _points(own, k, shuffled=False) for k in ks}
        series[f"k = {ks[-1]}, shuffled"] = _points(own, ks[-1], shuffled=True)
        series["all neurons"] = [
            Point(row["layer"], row["r2"], row["r2_low"], row["r2_high"])
            for row in tables["all_neurons"]
            if row["target"] == target
        ]
        caption = f"Held-out R^2 of {target} by certified optima, by all neurons together, and of the control."
        found.append(lines(f"r2_{target}", caption, series, "layer", "R^2", whole_x=True))
    return found


def _points(rows: Sequence[Mapping[str, Any]], k: int, *, shuffled: bool) -> list[Point]:
    return [
        Point(row["layer"], row["r2"], row["r2_low"], row["r2_high"])
        for row in rows
        if row["k"] == k and row["shuffled"] is shuffled
    ]


def about(config: Positions) -> Mapping[str, str]:
    """Where the numbers come from."""
    return {
        "model": Path(config.model.removeprefix(PACKAGE)).name,
        "texts": f"{Path(config.source).name}, at most {config.rows:,} tokens of contexts of 128",
        "layers": ", ".join(map(str, config.layers)),
        "problems": f"squared loss, ridge {config.ridge:g}; k = {', '.join(map(str, config.ks))}",
        "split": f"by document, {config.test_share:.0%} held out, seed {config.split_seed}",
        "intervals": f"95%, {config.bootstrap_draws:,} resamples of documents",
    }


EXPERIMENT = Experiment(
    name="position",
    title=TITLE,
    paper="its features of position, which it lists and does not probe sparsely in the main text",
    read=positions_of,
    run=run,
    about=about,
    captions={
        "best": "Of each target and k the best layer by the training documents, and the best of the shuffled control.",
        "layers": "Every target, layer and k, of true and of shuffled positions.",
        "all_neurons": "All neurons of a layer together, by ridge regression.",
    },
    said=said,
)

if __name__ == "__main__":
    sys.exit(command(EXPERIMENT))
