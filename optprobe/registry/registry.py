"""A folder of certificates by their sha256: added, found, and checked; append-only."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from formulations import ProbeProblem
from formulations.shown import Shown, Table, facts
from optprobe.certificates import Certificate, Verdict
from optprobe.certificates.checker import canonical, shown
from optprobe.certificates.checker.claim import SWEEPS
from optprobe.errors import CertificateRejected, InputError
from optprobe.files import file_digest, write_file
from optprobe.registry.checking import Finding, check
from optprobe.registry.folder import certificate_path, contents, note_path, resolved
from optprobe.registry.index import Query, column, select
from optprobe.registry.notes import read_note, states, write_note

if TYPE_CHECKING:
    from pandas import DataFrame

WIDEST = 32
"""Characters of a cell in a table."""
STATUS = {"optimal": 1, "gap": 0}
CHOICES = {"status": tuple(STATUS), "loss": tuple(SWEEPS), "class_weight": ("none", "balanced")}
"""Filters that have a few values."""


@dataclass(frozen=True, eq=False, repr=False)
class Records(Shown):
    """Records of certificates, each a plain dictionary.

    Attributes
    ----------
    rows : list of dict
    most : int
        Rows of the table that `str` gives.
    """

    rows: list[dict[str, Any]]
    most: int = 30

    def __len__(self) -> int:
        return len(self.rows)

    def __iter__(self) -> Iterator[dict[str, Any]]:
        return iter(self.rows)

    def __getitem__(self, at: int) -> dict[str, Any]:
        return self.rows[at]

    def to_pandas(self) -> DataFrame:
        """The records as a data frame; needs pandas."""
        try:
            from pandas import DataFrame
        except ImportError as error:
            raise InputError("a data frame needs pandas: pip install pandas, or iterate over the records") from error
        return DataFrame(self.rows)

    def _line(self) -> str:
        optimal = sum(row["optimal"] for row in self.rows)
        return f"Records of {len(self):,} certificates, {optimal:,} of optimal sets"

    def _table(self) -> Table:
        head = ("id", "model", "feature", "layer", "loss", "ridge", "k", "neurons", "objective", "status", "verified")
        rows = [tuple(map(cell, _cells(row))) for row in self.rows[: self.most]]
        left = len(self) - len(rows)
        return [head, *rows, *([(f"and {left:,} more", *[""] * (len(head) - 1))] if left else [])]


class Registry(Shown):
    """Certificates in a folder, each named by the sha256 of its file; append-only, and nothing else is truth.

    Many processes may add at once. Nothing is ever overwritten or deleted.

    Parameters
    ----------
    path : str or Path
        The folder; the first `add` makes it.
    """

    def __init__(self, path: str | Path) -> None:
        self.folder = Path(path)

    def add(self, certificate: Certificate | str | Path, verdict: Verdict | None = None) -> str:
        """Add a certificate, or the file of one, and remember its verdict. Returns its sha256.

        A certificate that is there is not added twice.

        Parameters
        ----------
        certificate : Certificate, str or Path
        verdict : Verdict, optional
            What the checker said of it. Accepted, it is noted as verified here; rejected, it is refused.

        Raises
        ------
        CertificateRejected
            Where the file is no certificate, or the verdict rejects it.
        InputError
            Where there is no such file, the verdict is about another certificate, the file that is there under this
            name is damaged, or the folder cannot be written.
        """
        if not isinstance(certificate, Certificate):
            certificate = Certificate.load(certificate)
        claim, content = certificate.claim, certificate.content
        sha256 = hashlib.sha256(content).hexdigest()
        if verdict is not None and verdict.outcome == "rejected":
            raise CertificateRejected(f"{sha256} was rejected, and is not added: {shown(verdict.reason)}")
        statement = None if verdict is None or verdict.statement is None else verdict.statement.as_json()
        if statement is not None and not states(statement, claim):
            raise InputError("the verdict is about another certificate: give that of `verify` on this one")
        path = certificate_path(self.folder, sha256)
        if not path.exists():
            write_file(path, content)
        elif not path.is_file() or file_digest(path) != sha256:
            raise InputError(f"{path} is damaged, and nothing is overwritten: move it away, and add again")
        if verdict is not None and verdict.accepted and statement is not None:
            write_note(note_path(self.folder, sha256), sha256, claim, verdict)
        return sha256

    def path(self, prefix: str) -> Path:
        """The file of the certificate whose sha256 begins with these six or more digits.

        Raises `InputError` where there is none, or there are several.
        """
        return certificate_path(self.folder, resolved(self.folder, prefix))

    def keeps(self, sha256: str) -> bool:
        """Whether the certificate of this sha256 is there, unaltered."""
        try:
            return file_digest(self.path(sha256)) == sha256
        except InputError:
            return False

    def certificate(self, prefix: str) -> Certificate:
        """The certificate of an id, as for `path`; raises `CertificateRejected` where the file is damaged, too."""
        path = self.path(prefix)
        certificate = Certificate.load(path)
        if hashlib.sha256(certificate.content).hexdigest() != path.stem:
            raise CertificateRejected(f"{path} holds another certificate than its name says: `optprobe registry check`")
        return certificate

    def record(self, prefix: str) -> dict[str, Any]:
        """The record of a certificate; raises as `certificate`."""
        sha256 = resolved(self.folder, prefix)
        found = select(self.folder, ("sha256 = ?", [sha256]))
        if not found:
            raise CertificateRejected(f"{certificate_path(self.folder, sha256)} is damaged: `optprobe registry check`")
        return found[0]

    def note(self, prefix: str) -> dict[str, Any] | None:
        """What was verified of a certificate on this machine: status, checker, when, of which data; None if nothing."""
        sha256 = resolved(self.folder, prefix)
        return read_note(note_path(self.folder, sha256), sha256, self.certificate(sha256).claim)

    def find(
        self,
        *,
        model: Any = None,
        layer: Any = None,
        feature: Any = None,
        dataset: Any = None,
        k: int | None = None,
        loss: str | None = None,
        ridge: float | None = None,
        class_weight: str | None = None,
        status: str | None = None,
        verified: bool | None = None,
        neuron: int | None = None,
        superseded: bool | None = False,
    ) -> Records:
        """The records of all certificates that meet every condition, sorted by what they are about, then by bounds.

        A certificate is superseded where another of the same problem (data by digest, loss, ridge, k, class weight,
        columns allowed) has no higher upper bound and no lower lower bound, and was verified here no worse.

        Parameters
        ----------
        model, layer, feature, dataset : optional
            Equal to what the author's scope says.
        k, loss, ridge, class_weight : optional
        status : {"optimal", "gap"}, optional
        verified : bool, optional
            Whether it was verified here, with success; not so are rejected ones and those that nobody checked.
        neuron : int, optional
            A neuron of the set.
        superseded : bool or None
            False for the best only, True for the superseded only, None for all.

        Raises
        ------
        InputError
            Where there is no such folder, status, loss or class weight.
        """
        equal = {"model": model, "layer": layer, "feature": feature, "dataset": dataset, "k": k, "loss": loss}
        equal |= {"ridge": ridge, "class_weight": class_weight}
        for name, value in {**equal, "status": status}.items():
            if value is not None and name in CHOICES and value not in CHOICES[name]:
                raise InputError(f"there is no {name} {value!r}; give one of {', '.join(CHOICES[name])}")
        conditions = [(f"{name} = ?", column(value)) for name, value in equal.items() if value is not None]
        if status is not None:
            conditions.append(("optimal = ?", STATUS[status]))
        if verified is not None:
            conditions.append(("(verified IS 1) = ?", int(verified)))
        if neuron is not None:
            within = "EXISTS (SELECT 1 FROM json_each(record, '$.support') AS support WHERE support.value = ?)"
            conditions.append((within, column(neuron)))
        if superseded is not None:
            conditions.append(("superseded = ?", int(superseded)))
        query: Query = " AND ".join(["1", *(where for where, _ in conditions)]), [value for _, value in conditions]
        return Records(select(self.folder, query))

    def check(
        self, sample: int | None = None, seed: int = 0, data: Iterable[ProbeProblem] = (), workers: int = 1
    ) -> list[Finding]:
        """Read everything again, and say what is wrong; nothing is altered but notes of what was verified.

        Parameters
        ----------
        sample : int, optional
            Read the whole of so many files, drawn at random, instead of all; of the others only the headers.
        seed : int
            Of that draw.
        data : iterable of SparseProbeProblem or MomentProblem
            Problems about data: whichever of the certificates read are about the same data, by digest, are verified.
        workers : int
            Processes that verify at once.

        Returns
        -------
        list of Finding
            Damaged, renamed, foreign and unfinished files, notes that are none, certificates that were rejected or
            could not be decided, and those that contradict another.
        """
        return check(self.folder, sample, seed, data, workers)

    def _line(self) -> str:
        number = len(contents(self.folder).certificates) if self.folder.is_dir() else 0
        return shown(f"Registry {self.folder}: {number:,} certificates")

    def _table(self) -> Table:
        if not self.folder.is_dir():
            return facts({})
        rows = self.find(superseded=None)
        counts = {
            "optimal": sum(row["optimal"] for row in rows),
            "verified here": sum(row["verified"] is True for row in rows),
            "rejected here": sum(row["verified"] is False for row in rows),
            "superseded": sum(row["superseded"] for row in rows),
        }
        return facts({name: f"{count:,}" for name, count in counts.items()})


def _cells(row: dict[str, Any]) -> tuple[Any, ...]:
    verified = {True: "yes", False: "rejected", None: "not here"}[row["verified"]]
    return (
        *(row[name] for name in ("id", "model", "feature", "layer", "loss")),
        *(f"{row['ridge']:g}", row["k"], row["neurons"], f"{row['upper_bound']:.9g}"),
        *(row["status"], verified + ("; superseded" if row["superseded"] else "")),
    )


def cell(value: Any) -> str:
    """A value of any JSON type, short and printable."""
    text = value if isinstance(value, str) else "" if value is None else canonical(value)
    return shown(text if len(text) <= WIDEST else f"{text[: WIDEST - 1]}…")
