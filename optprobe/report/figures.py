"""The figures of a page: SVG to be placed in HTML, text kept as text, ink in the colour of the page.

A method has the colour, marker and line of `styles`; numbers of neurons are told apart by their digits.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator
from numpy.typing import NDArray

from optprobe.cases.case import Case, Setting
from optprobe.comparison import OPTIMUM
from optprobe.report import words
from optprobe.report.styles import INK, style_of
from optprobe.report.summary import RANKING, by_method, by_setting, label
from optprobe.report.svg import STYLE, svg_of

Floats = NDArray[np.floating[Any]]
CONTROL = "random"
UP, DOWN = "#0072b2", "#d55e00"
"""Words with a feature and without it, which the figure also tells apart by their side of the axis."""
LEAST_SHOWN = 1e-3
"""Relative regrets from 0 to this one lie on a linear stretch of the axis, larger ones on a logarithmic one."""


def regret_figure(cases: Sequence[Case]) -> str:
    """Relative regret of every heuristic: a faint point a case, a large one for the mean of each k."""
    ks = _ks(cases)

    def draw(axes: Axes, of_setting: Sequence[Case]) -> None:
        results = by_method(of_setting)
        for place, (method, pairs) in enumerate(results.items()):
            for at, k in enumerate(ks):
                regrets = [result.relative_regret for case, result in pairs if case.k == k]
                if not regrets:
                    continue
                height = place + 0.72 / len(ks) * (at - (len(ks) - 1) / 2)
                style: Any = {"color": style_of(method).colour, "marker": f"${k}$", "linestyle": "none"}
                axes.plot(regrets, np.full(len(regrets), height), markersize=5, alpha=0.5, mew=0, **style)
                axes.plot([np.mean(regrets)], [height], markersize=8, mew=0, **style)
        axes.set_xscale("symlog", linthresh=LEAST_SHOWN, linscale=0.5)
        axes.xaxis.set_major_locator(FixedLocator([0, 1e-3, 1e-2, 1e-1, 1.0]))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g}%"))
        axes.set_xlim(-0.2 * LEAST_SHOWN, None)
        axes.set_xlabel("objective above the optimum (digits: k; large: mean)")
        _name_rows(axes, list(results))
        axes.grid(axis="x")

    return _panels(cases, draw, "regret", height=lambda n: 1.3 + 0.16 * len(ks) * n)


def optimal_share_figure(cases: Sequence[Case]) -> str:
    """For every heuristic and k, the share of the (feature, layer) pairs in which it finds the optimum."""
    ks = _ks(cases)

    def draw(axes: Axes, of_setting: Sequence[Case]) -> None:
        results = by_method(of_setting)
        for place, pairs in enumerate(results.values()):
            for column, k in enumerate(ks):
                found = [result.optimal is True for case, result in pairs if case.k == k]
                if not found:
                    continue
                share = float(np.mean(found))
                axes.add_patch(Rectangle((column - 0.47, place - 0.44), 0.94, 0.88, color=_shade(share), lw=0))
                ink = "#ffffff" if share > 0.68 else "#111111"
                text = f"{share:.0%} ({sum(found)}/{len(found)})"
                axes.text(column, place, text, ha="center", va="center", color=ink, fontsize=10)
        axes.set_xlim(-0.5, len(ks) - 0.5)
        axes.set_xticks(range(len(ks)), [f"k = {k}" for k in ks])
        axes.tick_params(length=0)
        axes.spines[["left", "bottom"]].set_visible(False)
        _name_rows(axes, list(results))

    return _panels(cases, draw, "share", height=lambda n: 0.9 + 0.36 * n)


def held_out_figure(cases: Sequence[Case]) -> str:
    """Held-out F1 of the optimum against that of the mean-difference ranking, with intervals over documents."""
    colour = style_of(RANKING).colour

    def draw(axes: Axes, of_setting: Sequence[Case]) -> None:
        axes.plot([0, 1], [0, 1], color=INK, lw=0.8, alpha=0.5)
        for k in _ks(cases):
            pairs = [(result, case.best) for case, result in by_method(of_setting).get(RANKING, []) if case.k == k]
            if not pairs:
                continue
            x, y = (np.array([pair[side].test.f1 for pair in pairs]) for side in (0, 1))
            spread = [np.array([[p[s].low.f1, p[s].high.f1] for p in pairs]).T for s in (0, 1)]
            lines: Any = {"fmt": "none", "ecolor": colour, "elinewidth": 0.8, "alpha": 0.35}
            axes.errorbar(x, y, xerr=np.abs(spread[0] - x), yerr=np.abs(spread[1] - y), **lines)
            axes.plot(x, y, marker=f"${k}$", color=colour, markersize=8, mew=0, linestyle="none")
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
        axes.set_xlabel("F1 of the mean-difference ranking (digits: k)")
        axes.set_ylabel("F1 of the optimum")
        axes.grid()

    return _panels(cases, draw, "heldout", height=lambda n: 4.6)


def objective_figure(cases: Sequence[Case]) -> tuple[str, Case]:
    """
    Objective against k for the optimum and every heuristic, where a heuristic loses most.

    Returns the figure and the case that it is about; the random control is left out, since it would dwarf the others.
    """
    longest = max(len({c.k for c in group}) for group in _by_place(cases))
    candidates = [group for group in _by_place(cases) if len({c.k for c in group}) == longest]
    chosen = sorted(max(candidates, key=lambda group: max(map(_loss, group))), key=lambda case: case.k)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.6, 4.2), layout="constrained")
        axes = figure.add_subplot()
        _paths(axes, chosen, "objective")
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=10)
        return svg_of(figure, "objective"), chosen[-1]


def path_figure(cases: Sequence[Case], quantity: str, name: str) -> str:
    """Objective or held-out F1 against k at one place: a small figure without a legend."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(4.3, 3.1))
        figure.subplots_adjust(left=0.17, right=0.97, bottom=0.17, top=0.96)
        _paths(figure.add_subplot(), cases, quantity)
        return svg_of(figure, name)


def histogram_figure(with_feature: Floats, without: Floats, name: str) -> str:
    """Two histograms on one axis: upwards the values of one class, downwards those of the other, as shares of each."""
    values = np.concatenate([with_feature, without])
    edges = np.histogram_bin_edges(values, bins=50)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(5.6, 2.9))
        figure.subplots_adjust(left=0.14, right=0.97, bottom=0.19, top=0.96)
        axes = figure.add_subplot()
        for part, sign, colour, text in ((with_feature, 1, UP, "with"), (without, -1, DOWN, "without")):
            counts = np.histogram(part, edges)[0] / max(1, len(part))
            axes.stairs(sign * counts, edges, fill=True, color=colour, lw=0)
            axes.text(0.99, 0.5 + 0.42 * sign, text, ha="right", va="center", transform=axes.transAxes)
        axes.axhline(0, color=INK, lw=0.8)
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{abs(value):.0%}"))
        axes.set(xlabel="value of the neuron", ylabel="share of the words")
        return svg_of(figure, name)


def weights_figure(quantities: Mapping[str, Floats], neuron: int, name: str) -> str:
    """A histogram over a layer's neurons of each quantity, side by side, with a line where one neuron is."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(2.5 * len(quantities), 2.1), layout="constrained")
        for axes, (what, values) in zip(figure.subplots(1, len(quantities), squeeze=False)[0], quantities.items()):
            axes.stairs(*np.histogram(values, bins=40), fill=True, color=INK, alpha=0.35, lw=0)
            axes.axvline(float(values[neuron]), color=DOWN, lw=2)
            axes.xaxis.set_major_locator(MaxNLocator(3))
            axes.yaxis.set_major_locator(MaxNLocator(2, integer=True))
            axes.set_xlabel(what)
        return svg_of(figure, name)


def legend_figure(method: str) -> str:
    """The marker and the line of a method, as they are in every figure."""
    look = style_of(method)
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(0.5, 0.2))
        axes = figure.add_axes((0, 0, 1, 1), frameon=False, xticks=[], yticks=[], xlim=(0, 2), ylim=(-1, 1))
        axes.plot([0, 1, 2], [0, 0, 0], color=look.colour, marker=look.marker, linestyle=look.line, markevery=[1], ms=6)
        return svg_of(figure, f"legend-{method}")


def _paths(axes: Axes, cases: Sequence[Case], quantity: str) -> None:
    """A line for each method against k; under the objective of the optimum, bars down to its lower bound."""
    at = {case.k: case for case in sorted(cases, key=lambda case: case.k)}
    names = [OPTIMUM, *by_method(cases)]
    for order, name in enumerate(names):
        found = {k: result for k, case in at.items() for result in case.methods if result.method == name}
        if name == CONTROL and quantity == "objective":
            continue
        values = [result.objective if quantity == "objective" else result.test.f1 for result in found.values()]
        heights = np.array(values, dtype=np.float64)
        look = style_of(name)
        weight: Any = (
            {"lw": 3, "ms": 9, "zorder": 1} if name == OPTIMUM else {"lw": 1.4, "ms": 5.5, "zorder": 2 + order}
        )
        line: Any = {"color": look.colour, "marker": look.marker, "linestyle": look.line, "mew": 0}
        axes.plot(list(found), heights, label=label(name), **line, **weight)
    if quantity == "objective":
        lower, upper = ([getattr(case, side) for case in at.values()] for side in ("lower_bound", "upper_bound"))
        axes.vlines(list(at), lower, upper, color=INK, lw=6, alpha=0.4)
    axes.xaxis.set_major_locator(MaxNLocator(integer=True))
    axes.set(xlabel="neurons k", ylabel="objective" if quantity == "objective" else "held-out F1")
    axes.grid(axis="y")


@dataclass(frozen=True)
class FigureOnPage:
    """A figure with its name, its SVG element, and the sentence below it."""

    name: str
    svg: str
    caption: str


def overview_figures(cases: Sequence[Case]) -> list[FigureOnPage]:
    """The figures of the overview, in order; none where there is nothing to compare."""
    if not any(case.heuristics for case in cases):
        return []
    shown = list(shown_settings(cases))
    only = f" Shown: {'; '.join(map(str, shown))}." if len(by_setting(cases)) > len(shown) else ""
    path, place = objective_figure(cases)
    drawn = {
        "regret": regret_figure(cases),
        "optimal_share": optimal_share_figure(cases),
        "held_out_f1": held_out_figure(cases) if RANKING in by_method(cases) else None,
    }
    figures = [FigureOnPage(name, svg, words.CAPTIONS[name] + only) for name, svg in drawn.items() if svg is not None]
    where = f"{place.feature}, layer {place.layer}, {place.setting}"
    return [*figures, FigureOnPage("objective", path, words.CAPTIONS["objective"].format(place=where))]


def shown_settings(cases: Sequence[Case]) -> dict[Setting, list[Case]]:
    """The settings with more than one feature or layer; all of them where none has."""
    settings = by_setting(cases)
    several = {
        name: group for name, group in settings.items() if len({(case.feature, case.layer) for case in group}) > 1
    }
    return several or settings


def _panels(
    cases: Sequence[Case],
    draw: Callable[[Axes, Sequence[Case]], None],
    name: str,
    height: Callable[[int], float],
) -> str:
    """One panel for each shown setting, side by side, as high as its number of methods asks."""
    settings = shown_settings(cases)
    rows = max(len(by_method(group)) for group in settings.values())
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6.2 * len(settings), height(rows)), layout="constrained")
        for axes, (setting, group) in zip(figure.subplots(1, len(settings), squeeze=False)[0], settings.items()):
            draw(axes, group)
            axes.set_title(str(setting))
        return svg_of(figure, name)


def _name_rows(axes: Axes, methods: Sequence[str]) -> None:
    """One row a method, the first on top."""
    axes.set_ylim(len(methods) - 0.5, -0.5)
    axes.set_yticks(range(len(methods)), [label(method) for method in methods])
    axes.tick_params(axis="y", length=0)


def _shade(share: float) -> tuple[float, float, float]:
    """From a pale to a deep blue, both readable under their ink."""
    pale, deep = np.array([0.87, 0.92, 0.97]), np.array([0.03, 0.30, 0.55])
    red, green, blue = pale + share * (deep - pale)
    return float(red), float(green), float(blue)


def _ks(cases: Sequence[Case]) -> list[int]:
    return sorted({case.k for case in cases})


def _by_place(cases: Sequence[Case]) -> list[list[Case]]:
    """The cases of each feature, layer and setting."""
    found: dict[tuple[Any, ...], list[Case]] = {}
    for case in cases:
        found.setdefault((case.feature, case.layer, case.loss, case.ridge, case.class_weight), []).append(case)
    return list(found.values())


def _loss(case: Case) -> float:
    """What the usual ranking loses or, without it, the heuristic that loses most."""
    losses = {result.method: result.relative_regret for result in case.heuristics}
    return losses.get(RANKING, max(losses.values(), default=0.0))
