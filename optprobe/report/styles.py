"""How a method looks, wherever it is drawn: its colour, marker and line, in one mapping."""

from __future__ import annotations

from typing import NamedTuple

from optprobe.comparison import OPTIMUM

INK = "#010203"
"""A colour that stands for the text colour of the page."""


class MethodStyle(NamedTuple):
    """
    A method's look: no two have the same colour or marker, and neighbours no line in common.

    Attributes
    ----------
    colour, dark : str
        On a light and on a dark page.
    marker, line : str
        As matplotlib names them.
    """

    colour: str
    dark: str
    marker: str
    line: str


STYLES = {
    OPTIMUM: MethodStyle(INK, INK, "o", "-"),
    "mean_difference": MethodStyle("#d55e00", "#d55e00", "s", "--"),
    "f_statistic": MethodStyle("#e69f00", "#e69f00", "^", ":"),
    "mutual_information": MethodStyle("#cc79a7", "#cc79a7", "D", "-."),
    "l1_logistic": MethodStyle("#56b4e9", "#56b4e9", "v", "--"),
    "linear_svm": MethodStyle("#0072b2", "#4a9fd4", "P", ":"),
    "adaptive_thresholding": MethodStyle("#009e73", "#009e73", "X", "-."),
    "random": MethodStyle("#7f7f7f", "#9a9a9a", "d", ":"),
    "forward_selection": MethodStyle("#a39600", "#f0e442", "<", "--"),
    "beam_search": MethodStyle("#882255", "#dd7eb0", "p", "-."),
    "swap_descent": MethodStyle("#332288", "#a99cf0", ">", ":"),
}
"""Okabe and Ito's palette, its yellow darker on a light page, and two dark colours of Tol's that differ from it."""
UNKNOWN = MethodStyle("#6b6f73", "#a5a9ad", "h", "-")
"""Of a method that has no look of its own."""


def style_of(method: str) -> MethodStyle:
    """The look of a method."""
    return STYLES.get(method, UNKNOWN)


def themed(svg: str) -> str:
    """A figure whose colours are those of the page that it stands on, light or dark."""
    for name, style in (*STYLES.items(), ("unknown", UNKNOWN)):
        if style.colour != INK:
            svg = svg.replace(style.colour, f"var(--{name.replace('_', '-')})")
    return svg
