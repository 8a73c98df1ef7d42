"""Certified optimal k-sparse probes: which k neurons of a language model encode a feature, with a proof.

    data = op.features.load("is_french")
    acts = op.extract("bundled", data, layers=[3])
    best = op.solve(op.problem(acts, feature="is_french", layer=3, k=2, loss="squared", ridge=0.01))
    best.certificate().save("french.cert")

Names are imported when first used: ``import optprobe`` imports neither torch nor transformers nor pyomo.
"""

from __future__ import annotations

from importlib import import_module, metadata
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    __version__: str
    from formulations import MomentProblem, Moments, SparseProbeProblem, moment_problem, sparse_probe_problem
    from optprobe import activations, features
    from optprobe.activations import (
        Activations,
        activations_of,
        extract,
        latents,
        load_labelled,
        neuron_map,
        neuron_values,
        principal,
        rotated,
    )
    from optprobe.causal import NeuronWeights, neuron_weights
    from optprobe.certificates import Certificate, Verdict, verify
    from optprobe.comparison import Comparison, compare
    from optprobe.data import problem
    from optprobe.each import SolutionOfEach, solve_each
    from optprobe.engines import Solution, SolutionPath, Status, solve, solve_path
    from optprobe.errors import CertificateRejected, InputError, OptprobeError, StoreDamaged, UnsupportedProblem
    from optprobe.probe import KSparseProbe, KSparseRegressor
    from optprobe.registry import Registry
    from optprobe.scoring import Scores, scores

_HOMES = {
    "Activations": "activations",
    "Certificate": "certificates",
    "CertificateRejected": "errors",
    "Comparison": "comparison",
    "InputError": "errors",
    "KSparseProbe": "probe",
    "KSparseRegressor": "probe",
    "MomentProblem": "data",
    "Moments": "data",
    "NeuronWeights": "causal",
    "OptprobeError": "errors",
    "Registry": "registry",
    "Scores": "scoring",
    "Solution": "engines",
    "SolutionOfEach": "each",
    "SolutionPath": "engines",
    "SparseProbeProblem": "data",
    "Status": "engines",
    "StoreDamaged": "errors",
    "UnsupportedProblem": "errors",
    "Verdict": "certificates",
    "activations_of": "activations",
    "compare": "comparison",
    "extract": "activations",
    "latents": "activations",
    "load_labelled": "activations",
    "moment_problem": "data",
    "neuron_map": "activations",
    "neuron_values": "activations",
    "neuron_weights": "causal",
    "principal": "activations",
    "problem": "data",
    "rotated": "activations",
    "scores": "scoring",
    "solve": "engines",
    "solve_each": "each",
    "solve_path": "engines",
    "sparse_probe_problem": "data",
    "verify": "certificates",
}

__all__ = [
    "Activations",
    "Certificate",
    "CertificateRejected",
    "Comparison",
    "InputError",
    "KSparseProbe",
    "KSparseRegressor",
    "MomentProblem",
    "Moments",
    "NeuronWeights",
    "OptprobeError",
    "Registry",
    "Scores",
    "Solution",
    "SolutionOfEach",
    "SolutionPath",
    "SparseProbeProblem",
    "Status",
    "StoreDamaged",
    "UnsupportedProblem",
    "Verdict",
    "activations",
    "activations_of",
    "compare",
    "extract",
    "features",
    "latents",
    "load_labelled",
    "moment_problem",
    "neuron_map",
    "neuron_values",
    "neuron_weights",
    "principal",
    "problem",
    "rotated",
    "scores",
    "solve",
    "solve_each",
    "solve_path",
    "sparse_probe_problem",
    "verify",
]


def __getattr__(name: str) -> Any:
    if name == "__version__":
        return metadata.version("optprobe")
    if name in ("activations", "features"):
        return import_module(f"optprobe.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'optprobe' has no attribute {name!r}")
    return getattr(import_module(f"optprobe.{_HOMES[name]}"), name)


def __dir__() -> list[str]:
    return sorted(__all__)
