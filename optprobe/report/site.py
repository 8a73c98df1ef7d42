"""The site: which pages there are, what each shows, and how they are written."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cached_property
from itertools import groupby
from pathlib import Path
from typing import Any

from optprobe.cases import Case
from optprobe.cases.table import csv_text
from optprobe.errors import InputError
from optprobe.files import write_file
from optprobe.report import words
from optprobe.report.about import about
from optprobe.report.certificate_page import certificate_page
from optprobe.report.entries import Entry, Results
from optprobe.report.figures import FigureOnPage, legend_figure, overview_figures, path_figure
from optprobe.report.html import Cell, Link, Row, Table, rendered
from optprobe.report.links import Links
from optprobe.report.neuron_page import NeuronDetails, Store
from optprobe.report.styles import STYLES
from optprobe.report.summary import by_setting, headline, held_out, label
from optprobe.report.tables import (
    case_table,
    certified_table,
    engines_table,
    map_table,
    methods_table,
    neurons_table,
    pool_table,
    roles_table,
)

MANIFEST = "site.json"
FORMAT = "optprobe-site/1"
INDEX, STYLE, TABLE = "index.html", "style.css", "cases.csv"
OWN = re.compile(rf"(feature|neuron|certificate)/[a-z0-9_-]+\.(html|cert)|{re.escape(TABLE)}")
"""Files of a site that may be removed when it is written again, beside those that every site has."""


@dataclass(frozen=True, eq=False)
class Site:
    """
    The pages of some results.

    Attributes
    ----------
    results : Results
    title : str
    store : Store or None
        Activations from which neurons are described.
    """

    results: Results
    title: str
    store: Store | None = None

    @cached_property
    def links(self) -> Links:
        """Where each page lies."""
        return Links(self.results)

    @property
    def n_pages(self) -> int:
        """Number of pages."""
        features = {entry.feature for entry in self.results.current}
        return 1 + len(features) + len(self.links.shown) + len(self.results.entries)

    def files(self) -> Iterator[tuple[str, str | bytes]]:
        """Path and content of every file, the overview last, so that its links lead to something."""
        yield STYLE, rendered("style.css")
        yield from self._certificates()
        yield from self._neurons()
        yield from self._features()
        if self.results.cases:
            yield TABLE, csv_text(self.results.cases)
        yield INDEX, self._overview()

    def _page(self, kind: str, path: str, title: str, **values: Any) -> str:
        root = "../" * path.count("/")
        return rendered(f"{kind}.html", root=root, title=title, site_title=self.title, **values)

    def _overview(self) -> str:
        results = self.results
        groups: dict[str, list[Entry]] = {}
        for entry in results.current:
            groups.setdefault(str(entry.setting), []).append(entry)
        captions = [
            ("Certified results", results.current),
            ("Further certificates of the same problems", results.others),
        ]
        return self._page(
            "index",
            INDEX,
            self.title,
            headline=headline(results.cases) if results.cases else _counted(results),
            held_out=held_out(results.cases) if results.cases else None,
            left_out=results.left_out,
            rejected=[entry for entry in results.current if entry.state == "rejected"],
            maps=[map_table(setting, group, self.links) for setting, group in groups.items()],
            methods=[methods_table(str(setting), cases) for setting, cases in by_setting(results.cases).items()],
            tolerance=max(entry.claim.result.tolerance for entry in results.entries),
            figures=overview_figures(results.cases),
            engines=[engines_table(answers, self.links) for answers in results.answers],
            certified=[certified_table(part, self.links, said, True) for said, part in captions if part],
            data=TABLE if results.cases else None,
            about=about(results, None if self.store is None else self.store.activations),
            check=f"optprobe verify {self.links.file(results.current[0])} --data {words.DATA}",
        )

    def _features(self) -> Iterator[tuple[str, str]]:
        for feature, group in groupby(sorted(self.results.current, key=lambda e: e.order), lambda e: e.feature):
            entries, path = list(group), self.links.feature(feature)
            settings: dict[str, list[Entry]] = {}
            for entry in entries:
                settings.setdefault(str(entry.setting), []).append(entry)
            there = {row.method for e in entries if e.case for row in e.case.methods}
            yield (
                path,
                self._page(
                    "feature",
                    path,
                    f"feature {feature}",
                    legend=[(method, legend_figure(method)) for method in STYLES if method in there],
                    settings=[self._setting(setting, part, at) for at, (setting, part) in enumerate(settings.items())],
                ),
            )

    def _setting(self, setting: str, entries: list[Entry], number: int) -> dict[str, Any]:
        """What a feature's page shows of a setting."""
        figures, places = [], {entry.place: entry for entry in entries}
        for at, (place, entry) in enumerate(places.items()):
            cases = [e.case for e in entries if e.place == place and e.case is not None]
            if len({case.k for case in cases}) < 2:
                continue
            for quantity, name in (("objective", "path_objective"), ("f1", "path_f1")):
                svg = path_figure(cases, quantity, f"{quantity}{number}-{at}")
                caption = words.CAPTIONS[name].format(layer=self.results.layer_name(entry))
                figures.append(FigureOnPage(name, svg, caption))
        caption = f"{setting}: the optima"
        return {
            "name": setting,
            "figures": figures,
            "certified": certified_table(entries, self.links, caption, False),
            "neurons": neurons_table(entries, self.links),
            "pools": [(pool_table(e, self.links), roles_table(e, self.links)) for e in entries if e.pooled],
            "cases": [case_table(e, e.case, self.links) for e in entries if e.case is not None],
        }

    def _neurons(self) -> Iterator[tuple[str, str]]:
        standing: dict[tuple[str, str], dict[int, list[Entry]]] = {}
        for entry in self.results.current:
            for neuron in entry.support:
                standing.setdefault(entry.place, {}).setdefault(neuron, []).append(entry)
        for place, of_layer in standing.items():
            neurons = sorted(of_layer)
            details = self._details([of_layer[neuron] for neuron in neurons], neurons)
            for neuron, found in zip(neurons, details):
                entries, path = of_layer[neuron], self.links.neuron(place, neuron)
                title = f"neuron {entries[0].columns.name(neuron)} of {self.results.layer_name(entries[0])}"
                yield (
                    path,
                    self._page(
                        "neuron",
                        path,
                        title,
                        optima=certified_table(entries, self.links, "Optima in which it stands", True),
                        details=found,
                        has_texts=self.store is not None and self.store.texts is not None,
                        correlated=None if found is None else self._correlated(found, entries[0], neuron),
                    ),
                )

    def _details(self, standing: list[list[Entry]], neurons: list[int]) -> list[NeuronDetails | None]:
        """What the store says of neurons of one place; None each, where it is about something else."""
        first = standing[0][0]
        if self.store is None or not self.store.has(first):
            return [None] * len(neurons)
        features = [list(dict.fromkeys(entry.feature for entry in entries)) for entries in standing]
        found: dict[int, NeuronDetails | None] = {}
        for layer, part in groupby(zip(neurons, features), lambda one: first.of_layer(one[0])[0]):
            of_layer = dict(part)
            within = [first.of_layer(neuron)[1] for neuron in of_layer]
            found |= zip(of_layer, self.store.describe(layer, within, [*of_layer.values()]))
        return [found[neuron] for neuron in neurons]

    def _correlated(self, found: NeuronDetails, entry: Entry, neuron: int) -> Table:
        start = neuron - entry.of_layer(neuron)[1]
        rows = [
            Row.of((Cell.of(self.links.neurons(entry, [start + other])), f"{value:+.3f}"))
            for other, value in found.correlated
        ]
        return Table("Neurons of this layer that go with it most", ("neuron", "correlation"), rows)

    def _certificates(self) -> Iterator[tuple[str, str | bytes]]:
        for entry in self.results.entries:
            path, file = self.links.certificate(entry), self.links.file(entry)
            page = certificate_page(entry, file)
            yield file, page.content
            name = self.results.names[entry.sha256]
            yield (
                path,
                self._page(
                    "certificate",
                    path,
                    f"certificate {name}",
                    page=page,
                    entry=entry,
                    file=Link(f"{name}.cert", file),
                    layer=self.results.layer_name(entry),
                    feature=Link(entry.feature, self.links.feature(entry.feature)),
                    neurons=self.links.neurons(entry, entry.support),
                    state=words.STATES[entry.state],
                    found=[] if entry.case is None else _found(entry.case),
                    verdict=entry.case.verdict if entry.case is not None and entry.state == "rejected" else None,
                ),
            )


def _found(case: Case) -> list[tuple[str, str]]:
    """What the record says of how a set was found and its bound proved."""
    counts = ((words.COUNTS[name], f"{case.counts[name]:,}") for name in words.COUNTS if name in case.counts)
    return [("engine", label(case.engine)), ("started from", case.start), *counts]


def _counted(results: Results) -> str:
    """What certificates without cases say together."""
    entries = results.current
    optimal = sum(entry.claim.result.optimal for entry in entries)
    verified = sum(entry.state == "verified" for entry in entries)
    return (
        f"{len(entries)} problems, {optimal} of them with a set that its certificate proves optimal; {verified} of the "
        f"{len(entries)} certificates were verified on the machine that made this page. No heuristics were compared."
    )


def check_place(folder: Path) -> None:
    """Raise `InputError` where a folder holds something, and no site."""
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())) and _manifest(folder) is None:
        raise InputError(f"{folder} is not empty and no site of optprobe: give another folder with --out")


def write_site(site: Site, folder: Path) -> Path:
    """
    Write the pages of a site to a folder, each whole or not at all, and remove those of an earlier site there.

    Anything else in the folder is left alone.

    Returns
    -------
    Path
        The overview.

    Raises
    ------
    InputError
        If the folder cannot be written.
    """
    before = _manifest(folder) or {}
    files = dict(site.files())
    stated = {"format": FORMAT, "files": sorted({*files, *before})}
    write_file(folder / MANIFEST, json.dumps(stated, indent=1))  # whatever is there is a site's, if this run ends early
    for name, content in files.items():
        write_file(folder / name, content)
    for name in before:
        if name not in files and OWN.fullmatch(name):
            (folder / name).unlink(missing_ok=True)
    write_file(folder / MANIFEST, json.dumps({**stated, "files": sorted(files)}, indent=1))
    return folder / INDEX


def _manifest(folder: Path) -> Mapping[str, None] | None:
    """The names of the files of the site that is there; None where there is none."""
    try:
        stated = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
        if stated["format"] != FORMAT:
            return None
        return dict.fromkeys(map(str, stated["files"]))
    except (OSError, ValueError, KeyError, TypeError):
        return None
