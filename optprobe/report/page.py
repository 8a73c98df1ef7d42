"""One self-contained page of HTML that tells what a run found."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from jinja2 import Environment, PackageLoader, StrictUndefined

from optprobe.cases.bootstrap import LEVEL
from optprobe.cases.case import Case
from optprobe.files import write_file
from optprobe.report import figures
from optprobe.report.summary import RANKING, by_setting, headline, label, summaries


@dataclass(frozen=True)
class FigureOnPage:
    """A figure with its name, its SVG element, and the sentence below it."""

    name: str
    svg: str
    caption: str


def write_page(path: Path, title: str, cases: Sequence[Case], about: Mapping[str, str]) -> Path:
    """
    Write the page: headline, heuristics against the optimum, figures, certified results, and what the words mean.

    Parameters
    ----------
    path : Path
        The file; its certificates lie in the folder ``registry`` beside it.
    title : str
    cases : sequence of Case
        At least one.
    about : mapping of str to str
        Where the numbers come from: model, dataset, split, versions.
    """
    settings = {setting: (group, summaries(group), _ks(group)) for setting, group in by_setting(cases).items()}
    text = (
        _environment()
        .get_template("page.html.j2")
        .render(
            title=title,
            headline=headline(cases),
            cases=cases,
            settings=settings,
            figures=page_figures(cases),
            about=about,
            level=LEVEL,
            tolerance=max(case.tolerance for case in cases),
        )
    )
    return write_file(path, text)


def page_figures(cases: Sequence[Case]) -> list[FigureOnPage]:
    """The figures of the page, in order."""
    shown = list(figures.shown_settings(cases))
    rest = len(by_setting(cases)) - len(shown)
    only = f" Shown: {'; '.join(map(str, shown))}." if rest else ""
    path_svg, place = figures.objective_figure(cases)
    return [
        FigureOnPage(
            "regret",
            figures.regret_figure(cases),
            f"How much larger the objective of each heuristic's neurons is than the optimum.{only}",
        ),
        FigureOnPage(
            "optimal_share",
            figures.optimal_share_figure(cases),
            f"Share of the feature and layer pairs in which each heuristic finds an optimal set.{only}",
        ),
        FigureOnPage(
            "held_out_f1",
            figures.held_out_figure(cases),
            f"F1 on documents that no probe was fitted on. Lines: {LEVEL:.0%} intervals over test documents. "
            f"Above the diagonal the optimum predicts better.{only}",
        ),
        FigureOnPage(
            "objective",
            path_svg,
            f"The objective as neurons are added: {place.feature}, layer {place.layer}, "
            f"{place.setting}, where the {label(RANKING)} ranking loses most. "
            "Random neurons are left out.",
        ),
    ]


def number(value: float) -> str:
    """A small number as a reader wants it: 0, or two significant digits."""
    return "0" if abs(value) < 1e-12 else f"{value:.1e}"


def percent(value: float) -> str:
    """A regret as a share: two digits after the point, and 0 only where it is none."""
    return "0" if value < 1e-12 else "< 0.01%" if value < 5e-5 else f"{value:.2%}"


def signed(value: float) -> str:
    """A difference with its sign, 0 without."""
    return "0" if abs(value) < 5e-4 else f"{value:+.3f}"


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("optprobe.report"),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"number": number, "percent": percent, "signed": signed, "label": label}
    return environment


def _ks(cases: Sequence[Case]) -> list[int]:
    return sorted({case.k for case in cases})
