"""Activations of a language model's MLP neurons: where the neurons are, extraction, storage, and labelled matrices."""

from __future__ import annotations

from optprobe.activations.extract import ExtractionProgress, extract
from optprobe.activations.labelled import LabelledActivations, load_labelled
from optprobe.activations.loading import load_model, load_tokenizer
from optprobe.activations.moments import GramAccumulator
from optprobe.activations.moments_store import MomentStore, accumulate
from optprobe.activations.neurons import NeuronLayer, NeuronMap, neuron_map, verify_neuron_map
from optprobe.activations.store import Activations

__all__ = [
    "Activations",
    "ExtractionProgress",
    "GramAccumulator",
    "LabelledActivations",
    "MomentStore",
    "NeuronLayer",
    "NeuronMap",
    "accumulate",
    "extract",
    "load_labelled",
    "load_model",
    "load_tokenizer",
    "neuron_map",
    "verify_neuron_map",
]
