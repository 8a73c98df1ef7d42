"""
Do the weights tell which neurons encode features?

    python -m experiments.weight_fingerprint --config experiments/configs/weight_fingerprint/bundled.toml

Lengths of input and output vectors, their product and cosines, and biases, of every neuron, layer by layer, as they are
and with the norm before the MLP folded in; and where the neurons of certified optima stand among the others of their
layer. Neurons drawn at random, as many from each layer, would have a mean percentile of 0.5 with the variance of draws
without replacement; p is that of the normal distribution with these moments, and Holm's correction counts the
quantities that were looked at.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np
from numpy.typing import NDArray

from experiments.cases import about_config, certified, located_model, write_pages
from experiments.experiment import Experiment, Job, Tables, command
from experiments.plots import Point, lines, values
from optprobe.activations import Activations, load_model
from optprobe.cases.config import Config, config_of
from optprobe.causal import NeuronWeights, neuron_weights
from optprobe.report.figures import FigureOnPage
from optprobe.studies import Item

TITLE = "The fingerprint of features in the weights"
LEVELS = (0.05, 0.25, 0.5, 0.75, 0.95)
LEVEL = 0.05
NORMAL = 1.959963984540054
"""Standard deviations that hold 95% of a normal distribution to both sides."""
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Fingerprint:
    """
    The weights of some layers: quantiles over all neurons, and the percentiles of chosen ones.

    Parameters
    ----------
    model : str
        As `optprobe.extract` takes it.
    digest : str
        Of its weights.
    neurons : mapping of int to tuple of int
        Of each layer, the neurons of certified optima.
    """

    model: str
    digest: str
    neurons: Mapping[int, tuple[int, ...]]

    name = "weight_fingerprint"
    version = 1

    @cached_property
    def _loaded(self) -> Any:
        return load_model(self.model, device="cpu")

    def __getstate__(self) -> dict[str, Any]:
        """Without the model, which a worker loads itself."""
        return {name: value for name, value in vars(self).items() if name != "_loaded"}

    def items(self) -> Sequence[Item]:
        """One a layer."""
        return [
            Item(
                {"layer": layer, "neurons": list(chosen)},
                {"weights": self.digest},
                f"weights of layer {layer}",
                "weights",
            )
            for layer, chosen in self.neurons.items()
        ]

    def run(self, item: Item, earlier: Mapping[str, Any] | None) -> Mapping[str, Any]:
        """Quantiles of every quantity; percentiles of the neurons, and the variance that chance gives to their sum."""
        layer, chosen = int(item.values["layer"]), np.array(item.values["neurons"], dtype=np.int64)
        found = quantities(neuron_weights(self._loaded, layer))
        ranks = {name: percentiles(column) for name, column in found.items()}
        return {
            "layer": layer,
            "quantiles": {name: np.quantile(column, LEVELS).tolist() for name, column in found.items()},
            "percentiles": {name: rank[chosen].tolist() for name, rank in ranks.items()},
            "variance": {name: variance_of_sum(rank, len(chosen)) for name, rank in ranks.items()},
        }

    def sound(self, result: Mapping[str, Any]) -> bool:
        """A record names no other file."""
        return True


def quantities(weights: NeuronWeights) -> dict[str, Floats]:
    """What is measured of every neuron of a layer, each of shape (n_neurons,)."""
    names = ("gate", "up") if len(weights.inputs) == 2 else ("input",)
    found: dict[str, Any] = {}
    for name, one, lengths, cosines in zip(names, weights.inputs, weights.input_norms, weights.cosines):
        found |= {f"length of {name}": lengths, f"cosine of {name} and output": cosines}
        found |= {} if one.bias is None else {f"bias of {name}": one.bias}
    if weights.reads is not None:
        folded = weights.folded()
        for name, one, lengths in zip(names, folded.inputs, folded.input_norms):
            found[f"length of {name}, norm folded in"] = lengths
            found |= {} if one.bias is None else {f"bias of {name}, norm folded in": one.bias}
    if weights.cosine_of_inputs is not None:
        found["cosine of gate and up"] = weights.cosine_of_inputs
    found |= {"length of output": weights.output_norms, "product of lengths": weights.products}
    columns = {name: np.asarray(column, dtype=np.float64) for name, column in found.items()}
    return {name: column for name, column in columns.items() if np.ptp(column) > 0}


def percentiles(column: Floats) -> Floats:
    """The share of the other neurons that are below each, ties one half, shape (n_neurons,)."""
    ordered = np.sort(column)
    below, upto = (np.searchsorted(ordered, column, side) for side in ("left", "right"))
    return np.asarray((below + upto - 1) / 2 / max(1, len(column) - 1))


def variance_of_sum(ranks: Floats, count: int) -> float:
    """The variance of the sum of ``count`` values drawn without replacement."""
    left = (len(ranks) - count) / max(1, len(ranks) - 1)
    return float(count * ranks.var() * left)


def holm(p: Sequence[float]) -> list[float]:
    """Holm's correction of some p for their number."""
    order, worst, found = np.argsort(p, kind="stable"), 0.0, [0.0] * len(p)
    for at, place in enumerate(order):
        worst = max(worst, min(1.0, (len(p) - at) * p[place]))
        found[place] = worst
    return found


def run(job: Job[Config]) -> tuple[Tables, Sequence[FigureOnPage]]:
    """Certify the optima, then measure the weights of every layer."""
    found = certified(job, job.config)
    write_pages(job, job.config, found, TITLE, weights=True)
    neurons: dict[int, set[int]] = {layer: set() for layer in job.config.layers or ()}
    for case in found.cases:
        neurons[case.layer] |= set(case.support)
    chosen = {layer: tuple(sorted(own)) for layer, own in neurons.items()}
    weights = Activations.open(found.store).manifest["weights"]
    study = Fingerprint(located_model(job.config.model or ""), str(weights), chosen)
    results = job.results(study)
    tables = {"optimal": optimal_rows(results), "layers": layer_rows(results)}
    return tables, figures(tables)


def layer_rows(results: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Quantiles of every quantity in every layer."""
    names = [f"q{round(100 * level):02d}" for level in LEVELS]
    return [
        {"quantity": name, "layer": result["layer"], **dict(zip(names, quantiles))}
        for name in results[0]["quantiles"]
        for result in results
        for quantiles in [result["quantiles"][name]]
    ]


def optimal_rows(results: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Where the neurons of optima stand, by quantity, and whether chance would put them there."""
    rows = []
    for name in results[0]["percentiles"]:
        own = np.concatenate([result["percentiles"][name] for result in results])
        deviation = math.sqrt(sum(result["variance"][name] for result in results)) / len(own)
        z = (own.mean() - 0.5) / deviation if deviation else 0.0
        rows.append({
            "quantity": name, "n_neurons": len(own), "mean_percentile": float(own.mean()),
            "chance_low": 0.5 - NORMAL * deviation, "chance_high": 0.5 + NORMAL * deviation,
            "p": math.erfc(abs(z) / math.sqrt(2)),
        })  # fmt: skip
    return [row | {"p_holm": corrected} for row, corrected in zip(rows, holm([row["p"] for row in rows]))]


def said(tables: Tables) -> str:
    """What distinguishes optimal neurons, if anything does, and what grows with depth."""
    rows, layers = tables["optimal"], tables["layers"]
    beyond = [row for row in rows if row["p_holm"] < LEVEL]
    told = ", ".join(
        f"{row['quantity']} (mean percentile {row['mean_percentile']:.2f}, p = {row['p_holm']:.2g})" for row in beyond
    )
    none = "none of them by more than chance would"
    medians = [row["q50"] for row in layers if row["quantity"] == "product of lengths"]
    biases = [row for row in layers if row["quantity"] == "bias of input"]
    sentences = [
        f"{rows[0]['n_neurons']} neurons stand in certified optima; {len(rows)} quantities of their weights were "
        f"compared with the rest of their layers, and they differ in {told or none}.",
        f"The median product of lengths is {medians[0]:.2f} in the first layer looked at and {medians[-1]:.2f} in the "
        "last.",
    ]
    if biases:
        negative = sum(row["q95"] < 0 for row in biases)
        sentences.append(f"In {negative} of {len(biases)} layers at least 95% of the input biases are negative.")
    return " ".join(sentences)


def figures(tables: Tables) -> list[FigureOnPage]:
    """Percentiles of optimal neurons beside chance, and medians by layer."""
    rows = tables["optimal"]
    own = {row["quantity"]: Point(0, row["mean_percentile"] - 0.5) for row in rows}
    chance = {row["quantity"]: Point(0, 0.0, row["chance_low"] - 0.5, row["chance_high"] - 0.5) for row in rows}
    lengths = [name for name in own if "length" in name]
    series = {
        name: [Point(row["layer"], row["q50"]) for row in tables["layers"] if row["quantity"] == name]
        for name in lengths
    }
    groups = {"neurons of optima": own, "95% of chance": chance}
    return [
        values("percentiles", "Where neurons of optima stand in their layers.", groups, "mean percentile minus 0.5"),
        lines("lengths", "Medians over all neurons of a layer.", series, "layer", "median", whole_x=True),
    ]


EXPERIMENT = Experiment(
    name="weight_fingerprint",
    title=TITLE,
    paper="its signature of superposition: large input norms and negative biases in early layers",
    read=config_of,
    run=run,
    about=about_config,
    captions={
        "optimal": "Neurons of optima among those of their layer: mean percentile, 95% of what chance gives, and p.",
        "layers": "Quantiles over all neurons of a layer.",
    },
    said=said,
)

if __name__ == "__main__":
    sys.exit(command(EXPERIMENT))
