"""How certificates are cited: BibTeX, CSL-JSON, one sentence, a LaTeX table, an SWHID.

They say what was verified and what is only claimed. A local path is cited by its last component.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Mapping
from pathlib import PureWindowsPath
from typing import Any

from formulations.columns import Columns, columns_of, layer_of
from formulations.validation import allowed_in_words
from optprobe.certificates.checker import Result, canonical
from optprobe.certificates.checker.claim import LEAST
from optprobe.certificates.format import Certificate

Cited = tuple[Certificate, str, bool]
"""A certificate, the sha256 of its file, and whether a checker accepted it."""

ENTRY = """@misc{{optprobe-{identity},
  title        = {{{title}}},
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
    "<": r"\textless{}",
    ">": r"\textgreater{}",
    "|": r"\textbar{}",
    **{character: f"\\{character}" for character in "$&#%_"},
}
"""What LaTeX and BibTeX would take for something else; BibTeX counts braces even behind a backslash."""
LOCAL = re.compile(r"(file:|[A-Za-z]:)?[/\\]|~|\.{1,2}([/\\]|$)|file:")
"""How a local path begins; ``organisation/model`` is the name of a model."""
COLUMNS = dict(
    zip(
        (
            "certificate",
            "model",
            "layer",
            "feature",
            "k",
            "loss",
            "ridge",
            "neurons",
            "objective",
            "lower bound",
            "status",
        ),
        "llrlrlrlrrl",
    )
)
"""Columns of the table with their alignment.

The first is of digits, since LaTeX reads a bracket or a star at the beginning of a row as its own.
"""


def bibtex(certificate: Certificate, digest: str, certified: bool) -> str:
    """A BibTeX entry for a certificate file of this sha256; ``certified`` as in `sentence`."""
    claim = certificate.claim
    return ENTRY.format(
        identity=digest[:12],
        title=_title(certificate),
        version=_escaped(_text(without_folders(claim.author.versions.get("optprobe", "")))),
        digest=digest,
        sentence=_escaped(sentence(certificate, certified)),
    )


def csl_json(certificate: Certificate, digest: str, certified: bool) -> dict[str, Any]:
    """An item of CSL-JSON, which reference managers and pandoc read; arguments as those of `bibtex`."""
    version = without_folders(certificate.claim.author.versions.get("optprobe", ""))
    return {
        "id": f"optprobe-{digest[:12]}",
        "type": "dataset",
        "title": _title(certificate),
        "author": [{"literal": f"optprobe {version}".strip()}],
        "genre": "optprobe certificate",
        "number": f"sha256:{digest}",
        "note": sentence(certificate, certified),
    }


def latex_table(selection: Iterable[Cited]) -> str:
    """A plain ``tabular`` of several certificates, one a row."""
    rows = [" & ".join(map(_escaped, _cells(*cited))) for cited in selection]
    lines = [rf"{row} \\" for row in (" & ".join(COLUMNS), *rows)]
    lines.insert(1, r"\hline")
    return "\n".join([rf"\begin{{tabular}}{{{''.join(COLUMNS.values())}}}", *lines, r"\end{tabular}"])


def _cells(certificate: Certificate, digest: str, certified: bool) -> tuple[str, ...]:
    claim = certificate.claim
    problem, result = claim.problem, claim.result
    scope = without_folders(claim.author.scope)
    said = [_text(value) for value in (scope.get("model"), layer_of(scope), scope.get("feature"))]
    return (
        *(digest[:12], *said, str(problem.k), problem.loss, f"{problem.ridge:g}"),
        _named(_columns(certificate), result.support),
        *(f"{result.upper_bound:.9g}", f"{result.lower_bound:.9g}"),
        f"{'certified' if certified else 'claimed'}: {achieved(result)}",
    )


def swhid(content: bytes) -> str:
    """The Software Heritage identifier of a file with this content, which is git's name of it."""
    blob = hashlib.sha1(b"blob %d\0" % len(content) + content, usedforsecurity=False)
    return f"swh:1:cnt:{blob.hexdigest()}"


def relative_gap(result: Result) -> float:
    """The gap as a share of the upper bound; 0 where that is no larger than the least number of a claim."""
    upper = result.upper_bound
    return (upper - result.lower_bound) / abs(upper) if abs(upper) >= LEAST else 0.0


def achieved(result: Result) -> str:
    """What the bounds say of the set, in words."""
    if result.optimal:
        return f"optimal to {result.upper_bound - result.lower_bound:.1g}"
    return f"best known, gap {100 * relative_gap(result):.1f}%"


def without_folders(value: Any) -> Any:
    """A value of a scope as others may see it: of every text that is a local path, the last component."""
    if isinstance(value, Mapping):
        return {without_folders(name): without_folders(part) for name, part in value.items()}
    if isinstance(value, list | tuple):
        return [without_folders(part) for part in value]
    if isinstance(value, str) and LOCAL.match(value):
        return PureWindowsPath(value).name or "a local path"
    return value


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
    columns, one = _columns(certificate), len(result.support) == 1
    neurons, attain, are = (columns.noun, "attains", "is") if one else (f"{columns.noun}s", "attain", "are")
    support = ", ".join(map(columns.item, result.support)) or "none"
    rows = (
        f"from the moments of {claim.data.n_rows} rows" if claim.data.kind == "moments" else f"{claim.data.n_rows} rows"
    )
    unit = "in units of the target's variance" if claim.of_target else f"class weights {problem.class_weight}"
    setting = f"{problem.loss} loss, ridge {problem.ridge:g}, {unit}; {rows}"
    sure, unsure = ("certified", "") if certified else ("claimed", "; claimed, not verified here")
    scope = without_folders(claim.author.scope)
    among = f"Among {_among(certificate)}{_where(scope)}{_conditions(certificate, columns)}"
    predicted = "target" if claim.of_target else "feature"
    feature = f" for the {predicted} {scope['feature']!r}" if scope.get("feature") else ""
    upper, lower = result.upper_bound, result.lower_bound
    if result.optimal:
        return (
            f"{among}, no set of {problem.k}{feature} has a {problem.loss} objective below {lower:.9g}; the {neurons} "
            f"{support} {attain} {upper:.9g} ({sure} optimal to {upper - lower:.1g}; {setting}{unsure})."
            f"{_of_pool(result, problem.forced, sure, columns)}"
        )
    return (
        f"{among}, the {neurons} {support} {are} the best known set of {problem.k}{feature}, "
        f"gap {100 * relative_gap(result):.1f}%: "
        f"objective {upper:.9g}, {sure} lower bound {lower:.9g} ({setting}{unsure})."
    )


def _of_pool(result: Result, forced: tuple[int, ...], sure: str, columns: Columns) -> str:
    """What a pool adds to the sentence."""
    if result.pool is None:
        return ""
    n, rest = len(result.pool.sets), result.pool.rest
    if result.pool.sets[0].support == forced:
        what = f"With the forced {columns.noun}s alone" if forced else f"Without any {columns.noun}"
        return f" {what} the objective is at most {result.pool.sets[0].upper_bound:.9g} ({sure})."
    if n == 1:
        sets = f"a set without {', '.join(map(columns.item, result.pool.sets[0].support))} in it"
    else:
        sets = f"a set that contains none of {n} listed ones"
    return f" The objective of {sets} is at least {rest:.9g} ({sure})."


def _title(certificate: Certificate) -> str:
    claim, columns = certificate.claim, _columns(certificate)
    support = ", ".join(map(columns.item, claim.result.support))
    return f"Certificate of a {claim.problem.k}-sparse probe: {columns.noun}s {support}"


def _among(certificate: Certificate) -> str:
    claim = certificate.claim
    return allowed_in_words(claim.problem.among, claim.data.n_neurons, _columns(certificate))


def _columns(certificate: Certificate) -> Columns:
    return columns_of(without_folders(certificate.claim.author.scope), certificate.claim.data.n_neurons)


def _named(columns: Columns, support: Iterable[int]) -> str:
    """The columns of a set in a cell, under the heading of neurons."""
    named = ", ".join(map(columns.item, support))
    return named if columns.noun == Columns.noun or not named else f"{columns.noun}s {named}"


def _conditions(certificate: Certificate, columns: Columns) -> str:
    """Of which groups a set may have one neuron each, and which neurons it has."""
    problem, grouped = certificate.claim.problem, ""
    if problem.groups is not None:
        groups = len(set(certificate.arrays["groups"].tolist()) - {-1})
        grouped = f", at most one of {'the one group' if groups == 1 else f'each of {groups} groups'}"
    return grouped + (f", with {', '.join(map(columns.item, problem.forced))} in every set" if problem.forced else "")


def _where(scope: Mapping[str, Any]) -> str:
    layer = f" of layer {scope['layer']}" if scope.get("layer") is not None else ""
    return layer + (f" of {scope['model']}" if scope.get("model") is not None else "")


def _escaped(text: str) -> str:
    return "".join(LATEX.get(character, character) for character in text)


def _text(value: Any) -> str:
    """A value of any JSON type in a cell."""
    return value if isinstance(value, str) else "" if value is None else canonical(value)
