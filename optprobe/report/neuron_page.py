"""The page of a neuron: the optima in which it stands and, from a store of activations, what it does at words."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from optprobe.activations import (
    Activations,
    Context,
    NeuronStatistics,
    accumulate_statistics,
    contexts,
    load_model,
    load_tokenizer,
    read_statistics,
)
from optprobe.causal import NeuronWeights, neuron_weights
from optprobe.features import FeatureDataset, load
from optprobe.report import words
from optprobe.report.entries import Entry
from optprobe.report.figures import FigureOnPage, histogram_figure, weights_figure

if TYPE_CHECKING:
    from torch import nn

HEATS = 4
"""Steps of colour behind tokens."""
CORRELATED = 10
"""Neurons that are listed as correlated."""
TOKENS = 10
"""Output tokens that are named, for each side."""
TOP = 20
"""Contexts that are shown."""


@dataclass(frozen=True)
class Token:
    """A token of a context, the neuron's value there if the store has it, and the step of its colour, from 0."""

    text: str
    value: float | None
    heat: int
    own: bool


@dataclass(frozen=True)
class TopRow:
    """A row at which a neuron is large: its value, and its tokens where the texts are at hand."""

    row: int
    value: float
    tokens: tuple[Token, ...]


@dataclass(frozen=True)
class NeuronDetails:
    """What a store says of a neuron: facts, histograms, largest rows, and correlated neurons of its layer.

    And what its model says, where that is at hand: its weights, and the tokens that it speaks for and against.
    """

    facts: tuple[tuple[str, str], ...]
    figures: tuple[FigureOnPage, ...]
    top: tuple[TopRow, ...]
    correlated: tuple[tuple[int, float], ...]
    weights: tuple[tuple[str, str], ...]


@dataclass(frozen=True, eq=False)
class Texts:
    """The dataset that a store was extracted from, and the tokenizer."""

    data: FeatureDataset
    tokenizer: Any


@dataclass(frozen=True, eq=False)
class Store:
    """
    Activations that neurons are described from.

    Attributes
    ----------
    activations : Activations
    texts : Texts or None
    model : torch.nn.Module or None
        The model with its language-model head.
    """

    activations: Activations
    texts: Texts | None = None
    model: nn.Module | None = None

    @classmethod
    def of(
        cls,
        activations: Activations,
        dataset: str | None = None,
        tokenizer: str | None = None,
        weights: bool = False,
        model: str | None = None,
    ) -> Store:
        """A store with the texts of a dataset, by name or folder, a tokenizer, by default that of its model, and that.

        The model is loaded, with its head, where the ``weights`` of its neurons are wanted: from where the manifest
        says that it is, or from ``model``, such as the path of a GGUF file.
        """
        manifest = activations.manifest
        own = model or manifest["model"], manifest.get("revision")
        loaded = load_model(*own, device="cpu", head=True) if weights else None
        if dataset is None:
            return cls(activations, model=loaded)
        source = own if tokenizer is None else (tokenizer,)
        return cls(activations, Texts(load(dataset), load_tokenizer(*source)), loaded)

    def has(self, entry: Entry) -> bool:
        """Whether a certificate says that it is about the model, hook and dataset of this store, at layers of it."""
        manifest, scope = self.activations.manifest, entry.claim.author.scope
        here = {
            "model": manifest.get("model"),
            "revision": manifest.get("revision"),
            "hook": manifest.get("hook"),
            "dataset_digest": manifest["dataset"].get("digest"),
        }
        same = all(scope[name] == value for name, value in here.items() if scope.get(name) is not None)
        of_one = ((layer, entry.claim.data.n_neurons),) if type(layer := scope.get("layer")) is int else ()
        layers, matrices = entry.columns.layers or of_one, self.activations.matrices
        there = all(layer in matrices and matrices[layer].shape[1] == width for layer, width in layers)
        return same and there and bool(layers)

    def describe(self, layer: int, neurons: Sequence[int], features: Sequence[Sequence[str]]) -> list[NeuronDetails]:
        """
        Describe some neurons of a layer over all rows.

        Parameters
        ----------
        layer : int
        neurons : sequence of int
        features : sequence of sequences of str
            Of each neuron, the features whose words its histograms tell apart.

        Raises
        ------
        StoreDamaged
            If a value of the store was altered.
        """
        statistics = read_statistics(self.activations, layer) or accumulate_statistics(self.activations, layer, TOP)
        values = self.activations.matrices[layer].columns(np.asarray(neurons, dtype=np.int64))
        related = _correlations(self.activations, layer, neurons, statistics)
        weights = None if self.model is None else neuron_weights(self.model, layer)
        return [
            NeuronDetails(
                _facts(statistics, neuron),
                (*self._histograms(values[:, at], features[at]), *_weights_figures(weights, neuron)),
                tuple(self._largest(statistics, neuron, values[:, at])),
                _strongest(neuron, related[:, at]),
                () if weights is None else tuple(self._weights(weights, neuron)),
            )
            for at, neuron in enumerate(neurons)
        ]

    def _histograms(self, values: NDArray[np.float32], features: Sequence[str]) -> list[FigureOnPage]:
        found = []
        for at, feature in enumerate(name for name in features if name in self.activations.labels):
            labels = self.activations.labels[feature]
            svg = histogram_figure(values[labels > 0], values[labels < 0], f"histogram{at}")
            found.append(FigureOnPage(f"histogram{at}", svg, words.CAPTIONS["histogram"].format(feature=feature)))
        return found

    def _weights(self, weights: NeuronWeights, neuron: int) -> Iterator[tuple[str, str]]:
        """Its weights against those of its layer, and its output tokens where the model has a head."""
        folded = _folded(weights)
        of_inputs = zip(weights.inputs, folded.inputs, weights.input_norms, weights.cosines)
        for one, with_norm, lengths, cosines in of_inputs:
            yield f"length of {one.module}", _placed(lengths, neuron)
            yield "its cosine with the output", _placed(cosines, neuron)
            if one.bias is not None:
                yield "its bias", _placed(one.bias, neuron)
            if with_norm.bias is not None and with_norm is not one:
                yield "its bias and what the norm's shift adds", _placed(with_norm.bias, neuron)
        if weights.cosine_of_inputs is not None:
            yield "cosine of the two inputs", _placed(weights.cosine_of_inputs, neuron)
        yield "length of the output", _placed(weights.output_norms, neuron)
        yield "product of lengths, with the norm's gain", _placed(folded.products, neuron)
        if weights.unembedding is not None and self.texts is not None:
            for name, tokens in zip(("speaks for", "speaks against"), weights.tokens(neuron, TOKENS)):
                words_of_tokens = (f"{_one_line(self.texts.tokenizer.decode([i]))} {value:+.2f}" for i, value in tokens)
                yield name, " · ".join(words_of_tokens)

    def _largest(self, statistics: NeuronStatistics, neuron: int, values: NDArray[np.float32]) -> list[TopRow]:
        rows, heights = (array[:TOP].tolist() for array in statistics.top_rows(neuron))
        if self.texts is None:
            return [TopRow(row, height, ()) for row, height in zip(rows, heights)]
        found = contexts(self.activations, rows, self.texts.data, self.texts.tokenizer)
        largest = float(np.abs(values).max())
        return [
            TopRow(context.row, height, tuple(self._tokens(context, values, largest)))
            for context, height in zip(found, heights)
        ]

    def _tokens(self, context: Context, values: NDArray[np.float32], largest: float) -> list[Token]:
        """The tokens of a context, each with the value of the row that ends where it ends."""
        rows = np.flatnonzero(self.activations.text == context.text)
        ends = dict(zip(self.activations.end[rows].tolist(), values[rows].tolist()))
        own = int(self.activations.end[context.row])
        at = own - len(context.token) - sum(map(len, context.before))
        found = []
        for text in (*context.before, context.token, *context.after):
            at += len(text)
            value = ends.get(at)
            heat = 0 if value is None or largest == 0 else round(HEATS * max(value, 0.0) / largest)
            found.append(Token(_one_line(text), value, heat, at == own))
        return found


def _folded(weights: NeuronWeights) -> NeuronWeights:
    """Weights with the norm before the MLP, where there is one."""
    return weights if weights.reads is None else weights.folded()


def _weights_figures(weights: NeuronWeights | None, neuron: int) -> Iterator[FigureOnPage]:
    if weights is None:
        return
    folded = _folded(weights)
    names = [one.module.rpartition(".")[2] for one in folded.inputs]
    lengths = {f"length, {name}": values for name, values in zip(names, folded.input_norms)}
    cosines = {f"cos({name}, out)": values for name, values in zip(names, folded.cosines)}
    biases = {f"bias, {name}": one.bias for name, one in zip(names, folded.inputs) if one.bias is not None}
    quantities = {**lengths, "length, out": folded.output_norms, **cosines, **biases}
    yield FigureOnPage("weights", weights_figure(quantities, neuron, "weights"), words.CAPTIONS["weights"])


def _placed(values: NDArray[np.float32], neuron: int) -> str:
    """A value, and the share of its layer's neurons that have less."""
    return f"{values[neuron]:.3g}, above {(values < values[neuron]).mean():.0%} of its layer"


def _facts(statistics: NeuronStatistics, neuron: int) -> tuple[tuple[str, str], ...]:
    deviation = float(np.sqrt(statistics.variance[neuron]))
    return (
        ("words", f"{statistics.n_rows:,}, of all features and of both parts of the split"),
        ("mean, standard deviation", f"{statistics.mean[neuron]:.4g}, {deviation:.4g}"),
        ("least, largest", f"{statistics.minimum[neuron]:.4g}, {statistics.maximum[neuron]:.4g}"),
        ("above 0", f"{statistics.fraction_positive[neuron]:.1%} of the words"),
    )


def _correlations(
    activations: Activations, layer: int, neurons: Sequence[int], statistics: NeuronStatistics
) -> NDArray[np.float64]:
    """The correlation of every neuron of a layer with some, shape (n_neurons, len(neurons)); 0 with a constant one."""
    mean, deviation = statistics.mean[:, None], np.sqrt(statistics.variance)
    products = np.zeros((statistics.n_neurons, len(neurons)))
    for part in activations.matrices[layer].parts:
        centred = np.asarray(part, dtype=np.float64) - mean
        products += centred @ centred[list(neurons)].T
    scale = statistics.n_rows * np.outer(deviation, deviation[list(neurons)])
    return np.where(scale > 0, products / np.where(scale > 0, scale, 1.0), 0.0)


def _strongest(neuron: int, correlation: NDArray[np.float64]) -> tuple[tuple[int, float], ...]:
    """The neurons of largest absolute correlation, to three digits so that roundings do not decide."""
    rounded = np.round(correlation, 3)
    order = sorted((other for other in range(len(rounded)) if other != neuron), key=lambda j: (-abs(rounded[j]), j))
    return tuple((other, float(rounded[other])) for other in order[:CORRELATED])


def _one_line(text: str) -> str:
    return text.replace("\n", "⏎").replace("\t", "⇥")
