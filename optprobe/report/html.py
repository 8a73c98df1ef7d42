"""From values to pages: the templates, tables whose cells are links, and numbers as a reader wants them."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup

from optprobe.report import words
from optprobe.report.styles import STYLES, UNKNOWN, themed
from optprobe.report.summary import label
from optprobe.scoring import LEVEL

LONGEST = 2000
"""Characters of a text that are shown."""


@dataclass(frozen=True)
class Link:
    """A text with the page that it leads to, as a path from the root of the site; without one, plain text."""

    text: str
    to: str | None = None
    title: str = ""
    css: str = ""


@dataclass(frozen=True)
class Cell:
    """What stands in a cell of a table, in order."""

    parts: tuple[Link, ...]
    css: str = ""

    @classmethod
    def of(cls, value: Any, css: str = "") -> Cell:
        """A cell of a text, a link, several of them, or a cell itself."""
        if isinstance(value, Cell):
            return value
        values = value if isinstance(value, list | tuple) else [value]
        return cls(tuple(part if isinstance(part, Link) else Link(str(part)) for part in values), css)


@dataclass(frozen=True)
class Row:
    """A row of a table; the first cell is its head."""

    cells: tuple[Cell, ...]
    css: str = ""

    @classmethod
    def of(cls, values: Iterable[Any], css: str = "") -> Row:
        """A row of whatever `Cell.of` takes."""
        return cls(tuple(map(Cell.of, values)), css)


@dataclass(frozen=True)
class Table:
    """
    A table.

    Attributes
    ----------
    caption : str
    columns : tuple of str
        Their names; one that begins with ``<`` is of text, to the left.
    rows : sequence of Row
    link : Link, optional
        Where all of its numbers are from.
    """

    caption: str
    columns: tuple[str, ...]
    rows: Sequence[Row]
    link: Link | None = None

    @property
    def heads(self) -> list[tuple[str, str]]:
        """Name and class of each column."""
        return [(name.removeprefix("<"), "text" if name.startswith("<") or at == 0 else "")
                for at, name in enumerate(self.columns)]  # fmt: skip

    @property
    def wide(self) -> bool:
        """Whether its rows are stacked already on a small window."""
        return len(self.columns) > 6


def printable(text: str) -> str:
    """A text with everything that cannot be printed escaped, and cut where it is too long for a page."""
    cut = text if len(text) <= LONGEST else f"{text[:LONGEST]}…"
    return "".join(c if c.isprintable() or c == "\n" else c.encode("unicode_escape").decode("ascii") for c in cut)


def number(value: float) -> str:
    """A small number as a reader wants it: 0, or two significant digits."""
    return "0" if abs(value) < 1e-12 else f"{value:.1e}"


def percent(value: float) -> str:
    """A regret as a share: two digits after the point, and 0 only where it is none."""
    return "0" if value < 1e-12 else "< 0.01%" if value < 5e-5 else f"{value:.2%}"


def score(value: float | None) -> str:
    """A score, nothing where it is undefined."""
    return "" if value is None else f"{value:.3f}"


def signed(value: float) -> str:
    """A difference with its sign, 0 without."""
    return "0" if abs(value) < 5e-4 else f"{value:+.3f}"


def titled(svg: str, title: str) -> Markup:
    """A figure in the colours of its page, with a title for those who hear it."""
    start = Markup('<svg role="img" aria-label="{0}"').format(printable(title))
    return Markup(themed(svg).replace("<svg", start, 1))


def rendered(template: str, **values: Any) -> str:
    """The page, or the style of all pages, that a template makes of some values."""
    return _ENVIRONMENT.get_template(f"{template}.j2").render(words=words, level=LEVEL, **values)


def _finalized(value: Any) -> Any:
    """What a template may print: texts made printable; markup is what templates and figures wrote themselves."""
    return printable(value) if isinstance(value, str) and not isinstance(value, Markup) else value


def _environment() -> Environment:
    environment = Environment(
        loader=PackageLoader("optprobe.report"),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_finalized,
        trim_blocks=True,
        lstrip_blocks=True,
        keep_trailing_newline=True,
    )
    environment.filters |= {"label": label, "titled": titled}
    environment.globals |= {"method_styles": {**STYLES, "unknown": UNKNOWN}}
    return environment


_ENVIRONMENT = _environment()
