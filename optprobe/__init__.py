"""Certified optimal k-sparse probes: which k neurons of a language model encode a feature, with a proof.

    data = op.features.load("is_french")
    acts = op.extract("bundled", data, layers=[3])
    best = op.solve(op.problem(acts, feature="is_french", layer=3, k=2, loss="squared", ridge=0.01))
    best.certificate().save("french.cert")

Names are imported when first used: ``import optprobe`` imports neither torch nor transformers nor pyomo.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from formulations import SparseProbeProblem, sparse_probe_problem
    from optprobe import activations, features
    from optprobe.activations import Activations, extract, load_labelled, neuron_map
    from optprobe.certificates import Certificate, Verdict, verify
    from optprobe.comparison import Comparison, compare
    from optprobe.engines import Solution, Status, solve
    from optprobe.errors import CertificateRejected, InputError, OptprobeError, StoreDamaged, UnsupportedProblem
    from optprobe.data import problem
    from optprobe.probe import KSparseProbe

_HOMES = {
    "SparseProbeProblem": "formulations",
    "sparse_probe_problem": "formulations",
    "Activations": "optprobe.activations",
    "extract": "optprobe.activations",
    "load_labelled": "optprobe.activations",
    "neuron_map": "optprobe.activations",
    "Certificate": "optprobe.certificates",
    "Verdict": "optprobe.certificates",
    "verify": "optprobe.certificates",
    "Comparison": "optprobe.comparison",
    "compare": "optprobe.comparison",
    "Solution": "optprobe.engines",
    "Status": "optprobe.engines",
    "solve": "optprobe.engines",
    "CertificateRejected": "optprobe.errors",
    "InputError": "optprobe.errors",
    "OptprobeError": "optprobe.errors",
    "StoreDamaged": "optprobe.errors",
    "UnsupportedProblem": "optprobe.errors",
    "KSparseProbe": "optprobe.probe",
    "problem": "optprobe.data",
}

__all__ = [*_HOMES, "activations", "features"]


def __getattr__(name: str) -> Any:
    if name in ("activations", "features"):
        return import_module(f"optprobe.{name}")
    if name not in _HOMES:
        raise AttributeError(f"module 'optprobe' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted(__all__)
