r"""
LaTeX: 14 features of the source of papers and books (Gurnee et al. 2023, there on the Pile's arXiv).

A row is a lexical unit: a command such as ``\frac``, a run of letters and digits, one other character, or a whole
delimiter of mathematics (``$``, ``\[``, ``\begin{align}``). Comments and verbatim text have no rows. The label of a
unit is that of its first character. Where the opposite of a feature exists, half of the negatives are of it.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Iterable, Mapping

import numpy as np
from numpy.typing import NDArray

from optprobe.features.catalogue import BuildOptions, Category, Feature
from optprobe.features.dataset import FeatureDataset
from optprobe.features.labelling import CONTEXT, MIRROR, Document, Passage, join, signs
from optprobe.features.latex import Formula, argument, formulas, hide
from optprobe.features.sources.documents import read_documents

NAME = "latex"
SKIP = 5
"""Units left out at the beginning of each context, as in the paper."""

_HALF = "half of the negatives are {}, half are other units"
RULES = {
    "is_frac": r"+1 for units in a \frac, numerator and denominator, -1 for all others",
    "is_numerator": "+1 for units in the numerator of the innermost fraction; " + _HALF.format("in a denominator"),
    "is_denominator": "+1 for units in the denominator of the innermost fraction; " + _HALF.format("in a numerator"),
    "is_title": r"+1 for units in the argument of \title, -1 for all others",
    "is_abstract": "+1 for units in the environment abstract, -1 for all others",
    "is_author": r"+1 for units in the argument of \author, -1 for all others",
    "is_subscript": "+1 for units of mathematics whose innermost script is a subscript; "
    + _HALF.format("in a superscript"),
    "is_superscript": "+1 for units of mathematics whose innermost script is a superscript; "
    + _HALF.format("in a subscript"),
    "is_reference": r"+1 for units in the keys of \cite, \ref and their relatives, -1 for all others",
    "is_math": "+1 for units of mathematics, -1 for units outside, 0 for its delimiters",
    "is_inline_math": "+1 for units of inline mathematics, 0 for delimiters; " + _HALF.format("in displays"),
    "is_display_math": "+1 for units of displayed mathematics, 0 for delimiters; " + _HALF.format("inline"),
    "start_math": "+1 for opening delimiters of mathematics; " + _HALF.format("closing delimiters"),
    "end_math": "+1 for closing delimiters of mathematics; " + _HALF.format("opening delimiters"),
}

_UNIT = re.compile(r"\\[A-Za-z]+\*?|\\.|[^\W_]+|\S", re.DOTALL)
_FRACTION = re.compile(r"\\\\|\\(?:[dtc]|nice|s)?frac(?![A-Za-z])")
_SCRIPT = re.compile(r"\\.|[_^]", re.DOTALL)
_HEAD = re.compile(r"\\\\|\\(?P<name>title|author)(?![A-Za-z])\*?")
_ABSTRACT = re.compile(r"\\begin\{abstract\}(?P<content>.*?)\\end\{abstract\}", re.DOTALL)
_REFERENCE = re.compile(r"\\\\|\\(?:[A-Za-z]*[Cc]ite[A-Za-z]*|(?:eq|page|auto|name|[cCvV])?ref|Autoref)(?![A-Za-z])\*?")
_OPTION = re.compile(r"\s*\[[^\]\n]*\]")


def latex(
    documents: Iterable[Document],
    *,
    features: Collection[str] | None = None,
    characters: int = CONTEXT,
    skip: int = SKIP,
    seed: int = 0,
    provenance: Mapping[str, str] | None = None,
    licence: str = "",
) -> FeatureDataset:
    """
    Label the units of LaTeX source.

    Parameters
    ----------
    documents : iterable of Document
        LaTeX source. What follows inline mathematics that is not closed in its paragraph has no rows, because one lost
        dollar turns text and mathematics around.
    features, skip, seed, provenance, licence
        As in `join`; the spans left out are units.
    characters : int
        Length of a context at most.

    Returns
    -------
    FeatureDataset
        One row a lexical unit.

    Raises
    ------
    InputError
        If nothing can be labelled, or a feature asked for has one class only.
    """
    passages = (piece for document in documents for piece in mark(document).cut(characters))
    given = {**(provenance or {}), "context characters": str(characters)}
    return join(NAME, passages, RULES, features=features, skip=skip, seed=seed, provenance=given, licence=licence)


def mark(document: Document) -> Passage:
    """Return the units of a document with the labels of every feature."""
    hidden = hide(document.text)
    found = list(formulas(hidden))
    lost = next((f.open for f in found if _is_lost(document.text, f)), len(hidden))
    hidden = hidden[:lost]
    found = [f for f in found if f.open < lost]
    opening, closing, inline, display = (np.zeros(len(hidden), dtype=bool) for _ in range(4))
    for f in found:
        opening[f.open : f.begin] = True
        closing[f.end : f.close] = True
        (display if f.display else inline)[f.begin : f.end] = True
    delimiters = [(f.open, f.begin) for f in found] + [(f.end, f.close) for f in found]
    between = [m.span() for m in _UNIT.finditer(hidden) if not (opening | closing)[m.start()]]
    spans = np.array(sorted([*between, *delimiters]), dtype=np.int64).reshape(-1, 2)
    at = spans[:, 0]
    fraction, numerator, denominator = (mask[at] for mask in _fractions(hidden))
    subscript, superscript = (mask[at] for mask in _scripts(hidden, inline | display))
    opening, closing, inline, display = opening[at], closing[at], inline[at], display[at]
    masks = _arguments(hidden)
    labels = {
        "is_frac": signs(fraction),
        "is_numerator": _mirrored(numerator, denominator),
        "is_denominator": _mirrored(denominator, numerator),
        "is_title": signs(masks["title"][at]),
        "is_abstract": signs(masks["abstract"][at]),
        "is_author": signs(masks["author"][at]),
        "is_subscript": _mirrored(subscript, superscript),
        "is_superscript": _mirrored(superscript, subscript),
        "is_reference": signs(masks["reference"][at]),
        "is_math": np.where(opening | closing, 0, signs(inline | display)).astype(np.int8),
        "is_inline_math": np.where(opening | closing, 0, _mirrored(inline, display)).astype(np.int8),
        "is_display_math": np.where(opening | closing, 0, _mirrored(display, inline)).astype(np.int8),
        "start_math": _mirrored(opening, closing),
        "end_math": _mirrored(closing, opening),
    }
    return Passage(document.text, document.name, at, spans[:, 1], labels)


def _is_lost(source: str, formula: Formula) -> bool:
    """Whether mathematics is not closed, or inline mathematics goes on over the end of a paragraph."""
    content = source[formula.begin : formula.end]
    return formula.end == formula.close or (not formula.display and bool(re.search(r"\n[ \t]*\n", content)))


def _mirrored(positive: NDArray[np.bool_], mirror: NDArray[np.bool_]) -> NDArray[np.int8]:
    """Return +1, `MIRROR` for the opposite, and -1 elsewhere."""
    return np.where(positive, 1, np.where(mirror, MIRROR, -1)).astype(np.int8)


def _fractions(hidden: str) -> tuple[NDArray[np.bool_], NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which characters are in a fraction, its numerator and its denominator; the innermost argument decides."""
    inside, above, below = (np.zeros(len(hidden), dtype=bool) for _ in range(3))
    for command in _FRACTION.finditer(hidden):
        first = None if command[0] == r"\\" else argument(hidden, _past_options(hidden, command.end()))
        second = argument(hidden, first[2]) if first else None
        if first and second:
            inside[first[0] : second[2]] = True
            for mask, own in ((above, first), (below, second)):
                for content in (first, second):
                    mask[content[0] : content[1]] = content is own
    return inside, above, below


def _scripts(hidden: str, math: NDArray[np.bool_]) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
    """Return which characters of mathematics are in a subscript and in a superscript; the innermost decides."""
    below, above = np.zeros(len(hidden), dtype=bool), np.zeros(len(hidden), dtype=bool)
    for sign in _SCRIPT.finditer(hidden):
        if sign[0] not in "_^" or not math[sign.start()]:
            continue
        if content := argument(hidden, sign.end()):
            for mask, own in ((below, "_"), (above, "^")):
                mask[content[0] : content[1]] = sign[0] == own
    return below, above


def _arguments(hidden: str) -> dict[str, NDArray[np.bool_]]:
    """Return which characters are in a title, an author, an abstract and a reference."""
    masks = {name: np.zeros(len(hidden), dtype=bool) for name in ("title", "author", "abstract", "reference")}
    for command in _HEAD.finditer(hidden):
        if command["name"]:
            _mark_group(hidden, command.end(), masks[command["name"]])
    for command in _REFERENCE.finditer(hidden):
        if command[0] != r"\\":
            _mark_group(hidden, command.end(), masks["reference"])
    for environment in _ABSTRACT.finditer(hidden):
        masks["abstract"][slice(*environment.span("content"))] = True
    return masks


def _mark_group(hidden: str, position: int, mask: NDArray[np.bool_]) -> None:
    """Mark the group in braces that follows a command and its options."""
    begin = _past_options(hidden, position)
    content = argument(hidden, begin)
    if content and hidden[content[0] - 1] == "{":
        mask[content[0] : content[1]] = True


def _past_options(hidden: str, position: int) -> int:
    """Return the position after the optional arguments of a command."""
    while option := _OPTION.match(hidden, position):
        position = option.end()
    return position


def _build(options: BuildOptions) -> FeatureDataset:
    found = read_documents(options, ".tex")
    return latex(
        found.documents,
        characters=options.characters or CONTEXT,
        seed=options.seed,
        provenance=found.provenance,
        licence=found.licence,
    )


CATEGORY = Category(NAME, tuple(Feature(name, NAME, rule, "LaTeX source") for name, rule in RULES.items()), _build)
