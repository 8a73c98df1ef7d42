"""The figures of a page: SVG to be placed in HTML, text kept as text, ink in the colour of the page.

Series are told apart by colour (Okabe and Ito's palette) and by marker.
"""

from __future__ import annotations

import io
import re
from collections.abc import Callable, Sequence
from typing import Any

import matplotlib
import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Rectangle
from matplotlib.ticker import FixedLocator, FuncFormatter, MaxNLocator, NullLocator

from optprobe.cases.case import Case, Setting
from optprobe.report.summary import RANKING, by_method, by_setting, label

PALETTE = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9", "#7f7f7f")
MARKERS = ("o", "s", "^", "D", "v", "P", "X")
INK = "#010203"
"""A colour that stands for the text colour of the page and is replaced by ``currentColor``."""
STYLE: Any = {
    "svg.fonttype": "none",
    "font.size": 11,
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.facecolor": "none",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "axes.titlesize": 11,
    "axes.titlelocation": "left",
    "xtick.color": INK,
    "ytick.color": INK,
    "grid.color": INK,
    "grid.alpha": 0.13,
    "legend.frameon": False,
    "figure.facecolor": "none",
}
CONTROL = "random"
LEAST_SHOWN = 1e-3
"""Relative regrets from 0 to this one lie on a linear stretch of the axis, larger ones on a logarithmic one."""


def regret_figure(cases: Sequence[Case]) -> str:
    """Relative regret of every heuristic: a faint point a case, a large one for the mean of each k."""
    ks = _ks(cases)

    def draw(axes: Axes, of_setting: Sequence[Case]) -> None:
        results = by_method(of_setting)
        for place, pairs in enumerate(results.values()):
            for at, k in enumerate(ks):
                regrets = [result.relative_regret for case, result in pairs if case.k == k]
                if not regrets:
                    continue
                height = place + 0.24 * (at - (len(ks) - 1) / 2)
                style: Any = {"color": PALETTE[at % 7], "marker": MARKERS[at % 7], "linestyle": "none"}
                axes.plot(regrets, np.full(len(regrets), height), markersize=3.5, alpha=0.3, mew=0, **style)
                name = f"k = {k}" if place == 0 else None
                axes.plot([np.mean(regrets)], [height], markersize=8, mew=0, label=name, **style)
        axes.set_xscale("symlog", linthresh=LEAST_SHOWN, linscale=0.5)
        axes.xaxis.set_major_locator(FixedLocator([0, 1e-3, 1e-2, 1e-1, 1.0]))
        axes.xaxis.set_minor_locator(NullLocator())
        axes.xaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{100 * value:g}%"))
        axes.set_xlim(-0.2 * LEAST_SHOWN, None)
        axes.set_xlabel("objective above the optimum (mean: large marker)")
        _name_rows(axes, list(results))
        axes.grid(axis="x")

    return _panels(cases, draw, "regret", height=lambda n: 1.3 + 0.42 * n, legend=True)


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
    ks = _ks(cases)

    def draw(axes: Axes, of_setting: Sequence[Case]) -> None:
        axes.plot([0, 1], [0, 1], color=INK, lw=0.8, alpha=0.5)
        for at, k in enumerate(ks):
            pairs = [(result, case.best) for case, result in by_method(of_setting)[RANKING] if case.k == k]
            if not pairs:
                continue
            x, y = (np.array([pair[side].f1_test for pair in pairs]) for side in (0, 1))
            spread = [np.array([[p[s].f1_low, p[s].f1_high] for p in pairs]).T for s in (0, 1)]
            axes.errorbar(
                x,
                y,
                xerr=np.abs(spread[0] - x),
                yerr=np.abs(spread[1] - y),
                fmt="none",
                ecolor=PALETTE[at % 7],
                elinewidth=0.8,
                alpha=0.35,
            )
            axes.plot(
                x, y, MARKERS[at % 7], color=PALETTE[at % 7], markersize=6, mew=0, linestyle="none", label=f"k = {k}"
            )
        axes.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
        axes.set_xlabel("F1 of the mean-difference ranking")
        axes.set_ylabel("F1 of the optimum")
        axes.grid()

    return _panels(cases, draw, "heldout", height=lambda n: 4.6, legend=True)


def objective_figure(cases: Sequence[Case]) -> tuple[str, Case]:
    """
    Objective against k for the optimum and every heuristic, where the mean-difference ranking loses most.

    Returns the figure and the case that it is about; the random control is left out, since it would dwarf the others.
    """
    longest = max(len({c.k for c in group}) for group in _by_place(cases))
    candidates = [group for group in _by_place(cases) if len({c.k for c in group}) == longest]
    chosen = sorted(max(candidates, key=lambda group: max(map(_ranking_regret, group))), key=lambda case: case.k)
    ks = [case.k for case in chosen]
    names = [name for name in by_method(chosen) if name != CONTROL]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(7.6, 4.2), layout="constrained")
        axes = figure.add_subplot()
        axes.plot(ks, [c.upper_bound for c in chosen], color=INK, lw=3, marker="o", ms=8, label="optimum", zorder=1)
        for at, name in enumerate(names):
            heights = [next(r.objective for r in case.heuristics if r.method == name) for case in chosen]
            style: Any = {
                "linestyle": ("-", "--", ":")[at // 7 % 3],
                "marker": MARKERS[at % 7],
                "color": PALETTE[at % 7],
            }
            axes.plot(ks, heights, lw=1.4, ms=5.5, mew=0, label=label(name), zorder=2, **style)
        axes.xaxis.set_major_locator(MaxNLocator(integer=True))
        axes.set(xlabel="neurons k", ylabel="objective")
        axes.grid(axis="y")
        axes.legend(loc="center left", bbox_to_anchor=(1.0, 0.5), fontsize=10)
        return _svg(figure, "objective"), chosen[-1]


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
    legend: bool = False,
) -> str:
    """One panel for each shown setting, side by side, as high as its number of methods asks."""
    settings = shown_settings(cases)
    rows = max(len(by_method(group)) for group in settings.values())
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(6.2 * len(settings), height(rows)), layout="constrained")
        for axes, (setting, group) in zip(figure.subplots(1, len(settings), squeeze=False)[0], settings.items()):
            draw(axes, group)
            axes.set_title(str(setting))
        if legend:
            handles, labels = axes.get_legend_handles_labels()
            figure.legend(handles, labels, loc="outside upper right", ncols=len(labels), handletextpad=0.2)
        return _svg(figure, name)


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


def _ranking_regret(case: Case) -> float:
    return next(result.relative_regret for result in case.heuristics if result.method == RANKING)


def _svg(figure: Figure, name: str) -> str:
    """The figure as an element to be placed in HTML: no prolog, no namespaces, its identifiers its own."""
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.hashsalt": name}):
        figure.savefig(buffer, format="svg", metadata={"Date": None, "Creator": None, "Format": None, "Type": None})
    text = buffer.getvalue()
    text = text[text.index("<svg") :]
    text = re.sub(r"\s*<metadata>.*?</metadata>", "", text, flags=re.DOTALL)
    text = re.sub(r'\sxmlns(:\w+)?="[^"]*"', "", text).replace("xlink:href", "href")
    text = re.sub(r'\sid="([^"]*)"', rf' id="{name}-\1"', text)
    text = re.sub(r'href="#([^"]*)"', rf'href="#{name}-\1"', text)
    text = re.sub(r"url\(#([^)]*)\)", rf"url(#{name}-\1)", text)
    return text.replace(INK, "currentColor").strip()
