"""Activations of a language model's neurons: where the neurons are, extraction, storage, and labelled matrices."""

from __future__ import annotations

from optprobe.activations.bases import in_basis, latents, principal, rotated
from optprobe.activations.extraction.extract import Options, extract, prepare
from optprobe.activations.extraction.joining import join
from optprobe.activations.extraction.run import Extraction, ExtractionProgress
from optprobe.activations.foreign import activations_of, neuron_values
from optprobe.activations.model.hooks import HOOKS, HookSite, hook_points, hook_site
from optprobe.activations.model.loading import load_model, load_tokenizer
from optprobe.activations.model.neurons import NeuronLayer, NeuronMap, neuron_map, verify_neuron_map
from optprobe.activations.store.activations import Activations
from optprobe.activations.store.contexts import Context, contexts
from optprobe.activations.store.labelled import LabelledActivations, load_labelled
from optprobe.activations.store.matrix import NeuronMatrix
from optprobe.activations.summaries.accumulation import accumulate
from optprobe.activations.summaries.moments import GramAccumulator
from optprobe.activations.summaries.moments_store import MomentStore
from optprobe.activations.summaries.statistics import NeuronStatistics
from optprobe.activations.summaries.statistics_store import accumulate_statistics, read_statistics, save_statistics

__all__ = [
    "HOOKS",
    "Activations",
    "Context",
    "Extraction",
    "ExtractionProgress",
    "GramAccumulator",
    "HookSite",
    "LabelledActivations",
    "MomentStore",
    "NeuronLayer",
    "NeuronMap",
    "NeuronMatrix",
    "NeuronStatistics",
    "Options",
    "accumulate",
    "accumulate_statistics",
    "activations_of",
    "contexts",
    "extract",
    "hook_points",
    "hook_site",
    "in_basis",
    "join",
    "latents",
    "load_labelled",
    "load_model",
    "load_tokenizer",
    "neuron_map",
    "neuron_values",
    "prepare",
    "principal",
    "read_statistics",
    "rotated",
    "save_statistics",
    "verify_neuron_map",
]
