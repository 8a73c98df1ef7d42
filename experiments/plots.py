"""The figures of experiments: lines with intervals, values with intervals, and tables of shades."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

from optprobe.report.figures import FigureOnPage
from optprobe.report.styles import INK, STYLES
from optprobe.report.svg import STYLE, svg_of

LOOKS = tuple(STYLES.values())
"""Colours, markers and lines, in turn."""
FLAT = 6
"""Letters of a column's name that stand side by side; longer ones are turned."""


class Point(NamedTuple):
    """A value at a place, and the ends of its interval where it has one."""

    x: float
    y: float
    low: float | None = None
    high: float | None = None


def lines(
    name: str,
    caption: str,
    series: Mapping[str, Sequence[Point]],
    x_label: str,
    y_label: str,
    *,
    log_x: bool = False,
    whole_x: bool = False,
) -> FigureOnPage:
    """
    A line for each series, with bars for its intervals.

    Parameters
    ----------
    name, caption : str
    series : mapping of str to sequence of Point
    x_label, y_label : str
        Quantity and unit of each axis.
    log_x, whole_x : bool
        Whether the places are drawn on a logarithmic axis, and whether they are whole numbers.
    """

    def draw(axes: Axes) -> None:
        for (label, points), look in zip(series.items(), _looks(len(series))):
            x, y = [point.x for point in points], [point.y for point in points]
            axes.plot(x, y, label=label, color=look.colour, marker=look.marker, linestyle=look.line, mew=0, ms=6)
            _bars(axes, points, look.colour)
        if log_x:
            axes.set_xscale("log")
        if whole_x:
            axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(xlabel=x_label, ylabel=y_label)
        axes.grid(axis="y")
        if len(series) > 1:
            axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=10)

    return FigureOnPage(name, _drawn(name, draw, (7.6 if len(series) > 1 else 5.6, 3.6)), caption)


def values(
    name: str, caption: str, groups: Mapping[str, Mapping[str, Point]], x_label: str, *, zero: bool = True
) -> FigureOnPage:
    """
    A row for each label, with a mark and an interval for each group; the point's ``x`` is not used.

    Parameters
    ----------
    name, caption : str
    groups : mapping of str to mapping of str to Point
        Of each group, the point of each label.
    x_label : str
        Quantity and unit.
    zero : bool
        Whether a line marks 0.
    """
    labels = list(dict.fromkeys(label for points in groups.values() for label in points))

    def draw(axes: Axes) -> None:
        step = 0.7 / max(1, len(groups))
        for at, ((group, points), look) in enumerate(zip(groups.items(), _looks(len(groups)))):
            heights = [labels.index(label) + step * (at - (len(groups) - 1) / 2) for label in points]
            found = list(points.values())
            turned = [Point(height, point.y, point.low, point.high) for height, point in zip(heights, found)]
            axes.plot(
                [p.y for p in found], heights, label=group, color=look.colour, marker=look.marker, ls="none", mew=0
            )
            _bars(axes, turned, look.colour, upright=False)
        if zero:
            axes.axvline(0, color=INK, lw=0.8, alpha=0.5)
        axes.set_ylim(len(labels) - 0.5, -0.5)
        axes.set_yticks(range(len(labels)), labels)
        axes.tick_params(axis="y", length=0)
        axes.set_xlabel(x_label)
        axes.grid(axis="x")
        if len(groups) > 1:
            axes.figure.legend(loc="outside upper left", fontsize=10, ncols=min(3, len(groups)))

    height = 1.2 + len(labels) * max(0.3, 0.14 * len(groups))
    return FigureOnPage(name, _drawn(name, draw, (7.2, height)), caption)


def shades(
    name: str, caption: str, rows: Sequence[str], columns: Sequence[str], cells: Sequence[Sequence[float | None]]
) -> FigureOnPage:
    """A table of values between 0 and 1, each on a shade of its own; None stays empty."""

    def draw(axes: Axes) -> None:
        array = np.array([[np.nan if cell is None else cell for cell in row] for row in cells])
        axes.imshow(array, cmap="Blues", vmin=0.0, vmax=1.3, aspect="auto")
        for (i, j), value in np.ndenumerate(array):
            if value == value:
                ink = "#ffffff" if value > 0.75 else "#111111"
                axes.text(j, i, f"{value:.2f}", ha="center", va="center", color=ink, fontsize=9)
        axes.set_xticks(range(len(columns)), columns, rotation=90 if max(map(len, columns)) > FLAT else 0)
        axes.set_yticks(range(len(rows)), rows)
        axes.tick_params(length=0)
        axes.spines[["left", "bottom"]].set_visible(False)

    size = (1.8 + 0.62 * len(columns), 0.9 + 0.32 * len(rows))
    return FigureOnPage(name, _drawn(name, draw, size), caption)


def _bars(axes: Axes, points: Sequence[Point], colour: str, *, upright: bool = True) -> None:
    """The intervals of points that have one."""
    for point in points:
        if point.low is not None and point.high is not None:
            draw = axes.vlines if upright else axes.hlines
            draw(point.x, point.low, point.high, color=colour, lw=1.2, alpha=0.6)


def _looks(count: int) -> Sequence[Any]:
    return [LOOKS[at % len(LOOKS)] for at in range(count)]


def _drawn(name: str, draw: Any, size: tuple[float, float]) -> str:
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=size, layout="constrained")
        draw(figure.add_subplot())
        return svg_of(figure, name)
