"""The scanner of mathematics in LaTeX, on sources marked by hand."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from optprobe.features.latex import math_spans

# Below each source: m for mathematics, . for text, | for a delimiter.
CASES = {
    "inline": (r"a $x+1$ b", "..|mmm|.."),
    "inline twice": (r"$x$ a $y$", "|m|...|m|"),
    "display dollars": (r"$$x$$ a", "||m||.."),
    "round brackets": (r"a \(x\) b", "..||m||.."),
    "square brackets": (r"\[x\]y", "||m||."),
    "escaped dollar in text": (r"\$5 $x$", "....|m|"),
    "escaped dollar in mathematics": (r"$x\$y$ a", "|mmmm|.."),
    "line break with a length": (r"a\\[2pt] b", ".........."),
    "escaped backslash, then mathematics": (r"a\\$x$", "...|m|"),
    "comment": ("a % $x\n$y$", ".......|m|"),
    "escaped per cent": (r"5\% $y$", "....|m|"),
    "comment in mathematics": ("$x % $\ny$ a", "|mmmmmmm|.."),
    "brackets inside dollars": (r"$(x) [y]$", "|mmmmmmm|"),
    "dollars inside brackets": (r"\[a \mbox{if $x$}\] b", "||" + "m" * 15 + "||.."),
    "verbatim": (r"\begin{verbatim}$x$\end{verbatim}$y$", "." * 33 + "|m|"),
    "verb": (r"\verb|$x| $y$", "." * 10 + "|m|"),
    "unclosed": (r"a $x + 1", "..|mmmmm"),
    "no mathematics": (r"\section{One} text", "." * 18),
}


@pytest.mark.parametrize("case", CASES)
def test_marked_sources(case: str) -> None:
    source, marks = CASES[case]
    assert len(source) == len(marks)
    found = "".join({1: "m", -1: ".", 0: "|"}[mode] for mode in math_spans(source).tolist())
    assert found == marks


@pytest.mark.parametrize(
    "name",
    ["equation", "equation*", "align", "align*", "gather", "gather*", "multline", "eqnarray", "math", "displaymath"],
)
def test_environments(name: str) -> None:
    source = rf"a \begin{{{name}}}x &= \frac{{1}}{{2}} \\ \$ y\end{{{name}}} b"
    modes = math_spans(source)
    inside = slice(source.index("x &="), source.index(r"\end"))
    assert np.all(modes[inside] == 1)
    assert np.all(modes[: source.index(r"\begin")] == -1)
    assert np.all(modes[-2:] == -1)
    assert np.count_nonzero(modes == 0) == len(rf"\begin{{{name}}}\end{{{name}}}")


def test_an_argument_of_an_environment_is_a_delimiter() -> None:
    source = r"\begin{alignat}{2}x\end{alignat}"
    assert [source[i] for i in np.flatnonzero(math_spans(source) == 1)] == ["x"]


def test_other_environments_are_text() -> None:
    assert np.all(math_spans(r"\begin{itemize}\item one\end{itemize}") == -1)
    assert np.all(math_spans(r"\begin{aligned}") == -1)


@settings(deadline=None)
@given(st.text(alphabet=r"ab \$%(){}[]" + "\n", max_size=40))
def test_any_source_is_scanned_to_its_end(source: str) -> None:
    modes = math_spans(source)
    assert len(modes) == len(source)
    assert set(modes.tolist()) <= {-1, 0, 1}
