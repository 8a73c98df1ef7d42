"""What neurons do to a model: their weights, and its losses without them."""

from __future__ import annotations

from optprobe.causal.ablation import Ablation, Reference, ablate
from optprobe.causal.loss import losses
from optprobe.causal.table import Difference, Hurt, Losses
from optprobe.causal.weights import InputWeights, NeuronWeights, neuron_weights

__all__ = [
    "Ablation",
    "Difference",
    "Hurt",
    "InputWeights",
    "Losses",
    "NeuronWeights",
    "Reference",
    "ablate",
    "losses",
    "neuron_weights",
]
