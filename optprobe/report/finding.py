"""A finding: what a study found, as tables, figures and one paragraph, kept in a folder and shown on a page."""

from __future__ import annotations

import csv
import io
import json
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optprobe.cases.table import csv_of
from optprobe.errors import InputError
from optprobe.files import write_file
from optprobe.report.figures import FigureOnPage
from optprobe.report.html import Link, Row, Table, rendered

FORMAT = "optprobe-finding/1"
FINDING, PAGE = "finding.json", "study.html"
MOST_SHOWN = 60
"""Rows of a table on the page; all of them are in its CSV."""
SHA256, DIGITS = re.compile("[0-9a-f]{64}"), 12
"""Of a sha256 the page shows so many digits; all of them are in the CSV."""
Rows = Sequence[Mapping[str, Any]]


@dataclass(frozen=True, eq=False)
class Finding:
    """
    What a study found.

    Attributes
    ----------
    name, title : str
    paragraph : str
        What a reader should know, of which every number follows from the tables.
    about : mapping of str to str
        Where the numbers come from: model, dataset, configuration, limits.
    tables : mapping of str to sequence of mappings
        Rows of plain values, by the table's name; all rows of a table have the same columns.
    captions : mapping of str to str
        A sentence for each table.
    figures : sequence of FigureOnPage
    """

    name: str
    title: str
    paragraph: str
    about: Mapping[str, str]
    tables: Mapping[str, Rows]
    captions: Mapping[str, str]
    figures: Sequence[FigureOnPage]

    def page(self, root: str = "", site_title: str = "", pages: str | None = None) -> str:
        """
        The page.

        Parameters
        ----------
        root, site_title : str
            The way to the site that it is part of, and its title.
        pages : str, optional
            Where the pages of its certificates begin.
        """
        tables = [_shown(name, self.captions[name], rows) for name, rows in self.tables.items()]
        values = {"paragraph": self.paragraph, "figures": self.figures, "tables": tables, "about": self.about}
        return rendered("study.html", root=root, title=self.title, site_title=site_title, pages=pages, **values)


def keep_finding(finding: Finding, folder: Path) -> None:
    """Write a finding: ``finding.json``, a CSV a table, and ``figures/``. Raises `InputError` where it cannot be."""
    for name, rows in finding.tables.items():
        write_file(folder / f"{name}.csv", csv_of(rows))
    for figure in finding.figures:
        text = figure.svg.replace("<svg", '<svg xmlns="http://www.w3.org/2000/svg"', 1)
        write_file(folder / "figures" / f"{figure.name}.svg", text + "\n")
    stated = {
        "format": FORMAT,
        "name": finding.name,
        "title": finding.title,
        "paragraph": finding.paragraph,
        "about": dict(finding.about),
        "tables": {name: finding.captions[name] for name in finding.tables},
        "figures": {figure.name: figure.caption for figure in finding.figures},
    }
    write_file(folder / FINDING, json.dumps(stated, indent=1, ensure_ascii=False) + "\n")


def read_finding(folder: Path) -> Finding:
    """Read what `keep_finding` wrote. Raises `InputError` where a file is missing or is none."""
    try:
        stated = json.loads((folder / FINDING).read_text(encoding="utf-8"))
        if stated["format"] != FORMAT:
            raise InputError(f"{folder / FINDING} is of the format {stated['format']!r}, not {FORMAT!r}: run it again")
        tables = {name: rows_of((folder / f"{name}.csv").read_text(encoding="utf-8")) for name in stated["tables"]}
        figures = [
            FigureOnPage(name, _without_namespace(folder / "figures" / f"{name}.svg"), caption)
            for name, caption in stated["figures"].items()
        ]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise InputError(f"{folder} holds no whole finding ({error}): run the study again") from error
    parts = {name: stated[name] for name in ("name", "title", "paragraph", "about")}
    return Finding(**parts, tables=tables, captions=stated["tables"], figures=figures)


def rows_of(text: str) -> list[dict[str, Any]]:
    """The rows that `csv_of` wrote: what reads as a number or truth value is one, what is empty is None."""
    return [{name: _value(cell) for name, cell in row.items()} for row in csv.DictReader(io.StringIO(text))]


def _value(cell: str) -> Any:
    if cell in ("", "True", "False"):
        return {"": None, "True": True, "False": False}[cell]
    for kind in (int, float):
        try:
            return kind(cell)
        except ValueError:
            continue
    return cell


def _without_namespace(path: Path) -> str:
    return path.read_text(encoding="utf-8").replace(' xmlns="http://www.w3.org/2000/svg"', "", 1).rstrip("\n")


def _shown(name: str, caption: str, rows: Rows) -> Table:
    more = f" The first {MOST_SHOWN} of {len(rows):,} rows." if len(rows) > MOST_SHOWN else ""
    columns = tuple(rows[0]) if rows else ()
    texts = {column for column in columns if any(isinstance(row[column], str) for row in rows)}
    heads = tuple(f"{'<' if column in texts else ''}{column.replace('_', ' ')}" for column in columns)
    shown = [Row.of(_cell(value) for value in row.values()) for row in rows[:MOST_SHOWN]]
    return Table(caption + more, heads, shown, Link(f"{name}.csv", f"{name}.csv"))


def _cell(value: Any) -> str:
    if value is None or isinstance(value, bool):
        return {None: "", True: "yes", False: "no"}[value]
    if isinstance(value, str) and SHA256.fullmatch(value):
        return value[:DIGITS]
    return f"{value:.4g}" if isinstance(value, float) else str(value)
