"""How a certificate is cited: a BibTeX entry and one sentence, which say what was verified and what is only claimed."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from optprobe.certificates.format import Certificate

ENTRY = """@misc{{optprobe-{identity},
  title        = {{Certificate of a {k}-sparse probe: neurons {support}}},
  author       = {{{{optprobe {version}}}}},
  howpublished = {{optprobe certificate, sha256:{digest}}},
  note         = {{{sentence}}},
}}"""

LATEX = {
    "\\": r"\textbackslash{}",
    "{": r"\textbraceleft{}",
    "}": r"\textbraceright{}",
    "~": r"\textasciitilde{}",
    "^": r"\textasciicircum{}",
    **{character: f"\\{character}" for character in "$&#%_"},
}
"""What LaTeX and BibTeX would take for something else; BibTeX counts braces even behind a backslash."""


def bibtex(certificate: Certificate, digest: str, certified: bool) -> str:
    """A BibTeX entry for a certificate file of this sha256; ``certified`` as in `sentence`."""
    claim = certificate.claim
    return ENTRY.format(
        identity=digest[:12],
        k=claim.problem.k,
        support=", ".join(map(str, claim.result.support)),
        version=_escaped(str(claim.author.versions.get("optprobe", ""))),
        digest=digest,
        sentence=_escaped(sentence(certificate, certified)),
    )


def sentence(certificate: Certificate, certified: bool) -> str:
    """One sentence with scope and bounds, fit for a paper.

    Parameters
    ----------
    certificate : Certificate
    certified : bool
        Whether a checker accepted this certificate; otherwise everything is claimed, and nothing certified.
    """
    claim = certificate.claim
    problem, result = claim.problem, claim.result
    neurons = "neuron" if len(result.support) == 1 else "neurons"
    support = ", ".join(map(str, result.support)) or "none"
    rows = (
        f"from the moments of {claim.data.n_rows} rows" if claim.data.kind == "moments" else f"{claim.data.n_rows} rows"
    )
    setting = f"{problem.loss} loss, ridge {problem.ridge:g}, class weights {problem.class_weight}; {rows}"
    sure, unsure = ("certified", "") if certified else ("claimed", "; claimed, not verified here")
    among = f"Among {_among(certificate)}{_where(claim.author.scope)}"
    feature = f" for the feature {claim.author.scope['feature']!r}" if claim.author.scope.get("feature") else ""
    upper, lower = result.upper_bound, result.lower_bound
    if result.optimal:
        return (
            f"{among}, no set of {problem.k}{feature} has a {problem.loss} objective below {lower:.9g}; the {neurons} "
            f"{support} attain {upper:.9g} ({sure} optimal to {upper - lower:.1g}; {setting}{unsure})."
        )
    gap = (upper - lower) / abs(upper) if upper else 0.0
    return (
        f"{among}, the {neurons} {support} are the best known set of {problem.k}{feature}, gap {100 * gap:.1f}%: "
        f"objective {upper:.9g}, {sure} lower bound {lower:.9g} ({setting}{unsure})."
    )


def _among(certificate: Certificate) -> str:
    among, p = certificate.claim.problem.among, certificate.claim.data.n_neurons
    return f"the {p} neurons" if among is None else f"these {len(among)} of the {p} neurons"


def _where(scope: Mapping[str, Any]) -> str:
    layer = f" of layer {scope['layer']}" if scope.get("layer") is not None else ""
    return layer + (f" of {scope['model']}" if scope.get("model") is not None else "")


def _escaped(text: str) -> str:
    return "".join(LATEX.get(character, character) for character in text)
