"""What a site is made of: certificates of a registry, each with the case that it belongs to where there is one."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any

from formulations.columns import Columns, columns_of
from optprobe.cases import Case, CaseStudy, Setting
from optprobe.cases.study import REGISTRY
from optprobe.certificates.checker import Claim, canonical
from optprobe.certificates.citation import without_folders
from optprobe.errors import CertificateRejected, InputError
from optprobe.registry import Registry
from optprobe.registry.folder import contents, note_path
from optprobe.registry.notes import read_note
from optprobe.report.styles import STYLES
from optprobe.studies.study import RECORDS, read_record

UNNAMED = "unnamed"
SHORTEST = 12
"""Digits of a sha256 that name a certificate's page, at least."""


@dataclass(frozen=True, eq=False)
class Entry:
    """
    A certificate, and the case that it belongs to.

    Attributes
    ----------
    record : mapping
        As `Registry.record` gives it.
    claim : Claim
    note : mapping or None
        As `Registry.note` gives it.
    path : Path
        The file.
    case : Case or None
    source : str
        Model and dataset, in the author's words.
    """

    record: Mapping[str, Any]
    claim: Claim
    note: Mapping[str, Any] | None
    path: Path
    case: Case | None
    source: str

    @property
    def sha256(self) -> str:
        """Of the file."""
        return str(self.record["sha256"])

    @property
    def feature(self) -> str:
        """Its name, in the author's words."""
        return words_of(self.record["feature"])

    @property
    def layer(self) -> str:
        """Its number, in the author's words; of several side by side such as 0-29."""
        return words_of(self.record["layer"])

    @property
    def columns(self) -> Columns:
        """What the columns are, in the author's words."""
        return columns_of(without_folders(self.claim.author.scope), self.claim.data.n_neurons)

    def of_layer(self, column: int) -> tuple[int, int]:
        """The layer of a column, which must be known, and the number of its neuron there."""
        return self.columns.place(column) if self.columns.layers else (int(self.layer), column)

    @property
    def setting(self) -> Setting:
        """Loss, ridge, class weights and number of neurons searched, as the claim has them."""
        problem = self.claim.problem
        return Setting(problem.loss, problem.ridge, problem.class_weight, _count(problem.among))

    @property
    def k(self) -> int:
        """Number of neurons."""
        return self.claim.problem.k

    @property
    def support(self) -> tuple[int, ...]:
        """The neurons of the set."""
        return self.claim.result.support

    @property
    def upper_bound(self) -> float:
        """The objective of the set is at most this."""
        return self.claim.result.upper_bound

    @property
    def lower_bound(self) -> float:
        """The objective of every set is at least this."""
        return self.claim.result.lower_bound

    @property
    def pooled(self) -> bool:
        """Whether its certificate lists near-optimal sets."""
        return self.claim.result.pool is not None

    @property
    def state(self) -> str:
        """Verified, unverified or rejected: a key of `words.STATES`."""
        if self.record["verified"] is False or (self.case is not None and not self.case.accepted):
            return "rejected"
        return "verified" if self.record["verified"] else "unverified"

    @property
    def mark(self) -> str:
        """What is proved: a key of `words.MARKS`."""
        if self.state == "rejected":
            return "rejected"
        if not self.claim.result.optimal:
            return "gap"
        return "optimal" if self.state == "verified" else "claimed"

    @property
    def place(self) -> tuple[str, str]:
        """Source and layer."""
        return self.source, self.layer

    @property
    def order(self) -> tuple[Any, ...]:
        """What entries are sorted by."""
        setting = (*self.setting[:-1], self.setting.among or 0)
        return self.feature, self.source, _natural(self.layer), setting, self.k, self.sha256

    @property
    def question(self) -> tuple[Any, ...]:
        """What entries share that answer one question: place, feature, setting, the sets searched, and k."""
        problem = self.claim.problem
        return *self.place, self.feature, self.setting, problem.among, problem.groups, problem.forced, self.k


@dataclass(frozen=True, eq=False)
class Results:
    """
    All that a site shows.

    Attributes
    ----------
    entries : tuple of Entry
        In order.
    left_out : tuple of str
        A sentence for each record or certificate that could not be used.
    draws : tuple of int
        Resamples of the test documents that intervals rest on.
    """

    entries: tuple[Entry, ...]
    left_out: tuple[str, ...] = ()
    draws: tuple[int, ...] = ()

    @cached_property
    def current(self) -> tuple[Entry, ...]:
        """Of the entries that answer one question, the one that says most."""
        best: dict[tuple[Any, ...], Entry] = {}
        for entry in self.entries:
            if entry.question not in best or _worth(entry) > _worth(best[entry.question]):
                best[entry.question] = entry
        return tuple(best.values())

    @property
    def answers(self) -> tuple[tuple[Entry, ...], ...]:
        """Of each question that several engines answered, the entries."""
        found: dict[tuple[Any, ...], list[Entry]] = {}
        for entry in self.entries:
            found.setdefault(entry.question, []).append(entry)
        return tuple(tuple(part) for part in found.values() if len({e.record["engine"] for e in part}) > 1)

    @property
    def others(self) -> tuple[Entry, ...]:
        """The entries that are not current."""
        current = {entry.sha256 for entry in self.current}
        return tuple(entry for entry in self.entries if entry.sha256 not in current)

    @property
    def cases(self) -> list[Case]:
        """The cases of the current entries."""
        return [entry.case for entry in self.current if entry.case is not None]

    @property
    def sources(self) -> tuple[str, ...]:
        """The sources, sorted."""
        return tuple(sorted({entry.source for entry in self.entries}))

    @cached_property
    def names(self) -> dict[str, str]:
        """Of each sha256, the digits that name its page."""
        found: dict[str, str] = {}
        ordered = sorted(entry.sha256 for entry in self.entries)
        for before, sha256, after in zip(["", *ordered], ordered, [*ordered[1:], ""]):
            length = next(n for n in range(SHORTEST, 65) if sha256[:n] not in (before[:n], after[:n]))
            found[sha256] = sha256[:length]
        return found

    def layer_name(self, entry: Entry) -> str:
        """The layer in words, with its source where there are several."""
        return f"layer{'s' if entry.columns.layers else ''} {entry.layer}" + (
            f", {entry.source}" if len(self.sources) > 1 else ""
        )


def results_of(cases: Iterable[Case], registry: Registry, draws: Sequence[int] = ()) -> Results:
    """
    The results of some cases, whose certificates are in a registry.

    Raises
    ------
    InputError
        If a certificate is not there.
    CertificateRejected
        If a certificate is damaged.
    """
    entries = [_entry(registry, registry.record(case.certificate), case) for case in cases]
    return Results(tuple(sorted(entries, key=lambda entry: entry.order)), draws=tuple(draws))


def read_results(folder: Path) -> Results:
    """
    Read what a run left: its records, and all certificates of its registry; or a registry alone.

    Raises
    ------
    InputError
        If there are no certificates, or the folder is neither.
    """
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}: give what optprobe run wrote, or a registry")
    bare = not (folder / REGISTRY).is_dir()
    registry = Registry(folder if bare else folder / REGISTRY)
    rows = list(registry.find(superseded=None))
    if not rows:
        raise InputError(f"{folder} holds no certificates: give what optprobe run wrote, or a registry")
    cases, left_out, draws = ({}, [], set()) if bare else _read_cases(folder)
    entries = []
    damaged = set(contents(registry.folder).certificates) - {row["sha256"] for row in rows}
    for row in rows:
        case = cases.pop(row["sha256"], None)
        if case is not None and not _agrees(case, row):
            left_out.append(f"A record says other things than its certificate {row['id']}: run the study again.")
            case = None
        try:
            entries.append(_entry(registry, row, case))
        except CertificateRejected:
            damaged.add(row["sha256"])
    for sha256 in sorted(damaged | set(cases)):
        why = "damaged" if sha256 in damaged else "not in the registry, and a record names it"
        left_out.append(f"The certificate {sha256[:SHORTEST]} is {why}: optprobe registry check says more.")
    entries.sort(key=lambda entry: entry.order)
    return Results(tuple(entries), tuple(sorted(left_out)), tuple(sorted(draws)))


def _read_cases(folder: Path) -> tuple[dict[str, Case], list[str], set[int]]:
    """The case of each certificate that records name, what is no record, and the numbers of resamples.

    A record of another version is passed over where its certificate has a record of this one.
    """
    found: dict[str, Case] = {}
    unread: dict[str, str] = {}
    draws = set()
    for path in sorted((folder / RECORDS).glob("*.json")):
        record = read_record(folder, path.stem)
        if record is not None and record.get("study") != CaseStudy.name:
            continue
        try:
            case = Case.of_record(record["result"])  # type: ignore[index]
            draws.add(int(record["item"]["values"]["draws"]))  # type: ignore[index]
        except (TypeError, KeyError, ValueError):
            what = "damaged" if record is None else "of another version"
            result = None if record is None else record["result"]
            certificate = str(result.get("certificate")) if isinstance(result, dict) else ""
            unread[f"The record {path.stem[:SHORTEST]} is {what}: run the study again."] = certificate
            continue
        before = found.get(case.certificate)
        if before is None or _said(case) > _said(before):
            found[case.certificate] = case
    return found, [sentence for sentence, sha256 in unread.items() if sha256 not in found], draws


def _agrees(case: Case, record: Mapping[str, Any]) -> bool:
    """Whether a case says of its problem and its solution what its certificate says."""
    names = ("feature", "layer", *Setting._fields, "k", "n_rows", "n_neurons", "upper_bound", "lower_bound", "optimal")
    stated = {**record, "among": _count(record["among"])}
    same = all(getattr(case, name) == stated[name] for name in names)
    return same and list(case.support) == record["support"] and {row.method for row in case.methods} <= set(STYLES)


def _said(case: Case) -> tuple[int, str]:
    """How much a case says; the text decides between equals, so that the order of files does not."""
    return len(case.methods), repr(case)


def _entry(registry: Registry, record: Mapping[str, Any], case: Case | None) -> Entry:
    sha256 = str(record["sha256"])
    claim = registry.certificate(sha256).claim
    source = f"{words_of(record['model'])} on {words_of(record['dataset'])}"
    columns = columns_of(without_folders(claim.author.scope), claim.data.n_neurons)
    source = source if columns.noun == Columns.noun else f"{columns.all} of {source}"
    note = read_note(note_path(registry.folder, sha256), sha256, claim)
    return Entry(record, claim, note, registry.path(sha256), case, source)


def _worth(entry: Entry) -> tuple[Any, ...]:
    methods = 0 if entry.case is None else len(entry.case.methods)
    trust = ("rejected", "unverified", "verified").index(entry.state)
    return methods > 0, trust, entry.pooled, entry.lower_bound - entry.upper_bound, methods, entry.sha256


def _count(among: Sequence[int] | None) -> int | None:
    return None if among is None else len(among)


def words_of(value: Any) -> str:
    """A value of an author's scope as a text: local paths by their last component."""
    if value is None or value == "":
        return UNNAMED
    plain = without_folders(value)
    return plain if isinstance(plain, str) else canonical(plain)


def _natural(layer: str) -> tuple[int, int, str]:
    """Numbers before words, in their order."""
    return (0, int(layer), "") if layer.isascii() and layer.isdecimal() and len(layer) < 10 else (1, 0, layer)
