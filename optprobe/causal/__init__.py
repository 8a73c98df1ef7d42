"""What neurons do to a model: their weights, from the residual stream and back into it."""

from __future__ import annotations

from optprobe.causal.weights import InputWeights, NeuronWeights, neuron_weights

__all__ = ["InputWeights", "NeuronWeights", "neuron_weights"]
