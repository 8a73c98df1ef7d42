"""Features of LaTeX source, on sources written here."""

from __future__ import annotations

from pathlib import Path

import pytest

from optprobe.features.catalogue import BuildOptions
from optprobe.features.categories.latex import CATEGORY, RULES, latex, mark
from optprobe.features.labelling import MIRROR, Document
from tests.features.categories.rules import check_real, words

PAPER = r"""\title{Odd {nested} things}
\author{A. Person}
\begin{abstract}
Short words.
\end{abstract}
Text costs \$5, see~\cite[p. 2]{key1,key2} and \eqref{eq:a}; \href{no}{link}. % $hidden$ \frac{1}{2}
Inline $a_{i}^2 + \frac{p+q}{r}$ and \(z\).
\[ E = \frac{\frac{u}{v}}{w_1} \tag{x} \]
\begin{verbatim}
$not$ math
\end{verbatim}
\verb|$x$| under_score \\ end
"""


def labelled(feature: str, label: int, source: str = PAPER) -> list[str]:
    found = mark(Document(source, "d"))
    return [source[a:b] for a, b, y in zip(found.start, found.end, found.labels[feature]) if y == label]


POSITIVE = {
    "is_title": ["Odd", "{", "nested", "}", "things"],
    "is_author": ["A", ".", "Person"],
    "is_abstract": ["Short", "words", "."],
    "is_reference": ["key1", ",", "key2", "eq", ":", "a"],
    "is_numerator": ["p", "+", "q", r"\frac", "{", "u", "}", "{", "}"],
    "is_denominator": ["r", "v", "w", "_", "1"],
    "is_subscript": ["i", "1"],
    "is_superscript": ["2"],
    "start_math": ["$", r"\(", r"\["],
    "end_math": ["$", r"\)", r"\]"],
}
MIRRORED = {
    "is_numerator": "is_denominator",
    "is_subscript": "is_superscript",
    "is_inline_math": "is_display_math",
    "start_math": "end_math",
}


@pytest.mark.parametrize("feature", POSITIVE)
def test_positives_by_hand(feature: str) -> None:
    assert labelled(feature, 1) == POSITIVE[feature]


@pytest.mark.parametrize(("feature", "opposite"), [*MIRRORED.items(), *((b, a) for a, b in MIRRORED.items())])
def test_the_mirrored_negatives_are_the_positives_of_the_opposite(feature: str, opposite: str) -> None:
    assert labelled(feature, MIRROR) == labelled(opposite, 1)
    assert labelled(feature, MIRROR)


def test_mathematics_is_inline_or_displayed() -> None:
    assert labelled("is_inline_math", 1) == [*"a_{i}^2+", r"\frac", *"{p+q}{r}", "z"]
    assert set(labelled("is_display_math", 1)) >= {"E", "=", r"\tag"}
    assert labelled("is_math", 1) == labelled("is_inline_math", 1) + labelled("is_display_math", 1)
    assert labelled("is_math", 0) == ["$", "$", r"\(", r"\)", r"\[", r"\]"]
    outside = labelled("is_math", -1)
    assert {r"\$", "5", "under", "score", r"\\"} <= set(outside)


def test_a_fraction_has_everything_between_its_braces() -> None:
    assert labelled("is_frac", 1)[:6] == ["p", "+", "q", "}", "{", "r"]
    assert labelled("is_numerator", 1, r"$\frac xy \\frac{a}{b} \dfrac {p} {q} \fraction{c}{d}$") == ["xy", "p"]


def test_comments_and_verbatim_text_have_no_rows() -> None:
    every = [w for label in (1, 0, -1) for w in labelled("is_math", label)]
    assert not {"hidden", "not", "verb", "x|"} & set(every)
    assert r"\verb" not in every


def test_what_follows_a_lost_dollar_has_no_rows() -> None:
    assert labelled("is_math", -1, "a $b$ c\n\nd $ e\n\nf $g$ h") == ["a", "c", "d"]
    assert labelled("is_math", 1, "a $b$ c $d") == ["b"]
    assert labelled("is_math", 1, "a $b\n% comment\n+ c$") == ["b", "+", "c"]


@pytest.mark.parametrize("source", [r"\frac", r"$\frac{a}$", r"$a_$", r"\title{", r"\cite", "", r"$x^}$", "\\"])
def test_broken_source_is_labelled_without_a_fall(source: str) -> None:
    assert set(mark(Document(source, "d")).labels) == set(RULES)


def test_windows_line_ends_change_no_label() -> None:
    assert labelled("is_title", 1, PAPER.replace("\n", "\r\n")) == POSITIVE["is_title"]
    assert labelled("is_inline_math", 1, PAPER.replace("\n", "\r\n")) == labelled("is_inline_math", 1)


def test_half_of_the_negatives_are_mirrored() -> None:
    data = latex([Document(PAPER, "d"), Document(PAPER, "e")], skip=0)
    negatives = words(data, "start_math", -1)
    assert sum(w in ("$", r"\)", r"\]") for w in negatives) == len(negatives) // 2 == 6


def test_real_books(shared: Path) -> None:
    data = CATEGORY.build(BuildOptions(str(shared / "data" / "tex")))
    check_real(data, {"is_abstract", "is_author"})
