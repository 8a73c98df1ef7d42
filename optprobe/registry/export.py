"""A registry for others: a table of its records, an RO-Crate, or files of other programs. No local path goes along."""

from __future__ import annotations

import io
import json
import math
from collections.abc import Iterator, Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import quote

from optprobe.certificates import Certificate
from optprobe.certificates.checker import canonical
from optprobe.certificates.citation import sentence, swhid, without_folders
from optprobe.errors import InputError
from optprobe.files import new_folder, write_file
from optprobe.registry.interchange import FORMS, Proved
from optprobe.registry.record import digests
from optprobe.registry.registry import Registry
from optprobe.scoring import Scores

METADATA = "ro-crate-metadata.json"
CRATE = "https://w3id.org/ro/crate/1.1"
SCORED = ("saebench", "saeprobes")
"""Forms that say how a set does on held-out rows."""
NUMBERS = {
    **dict.fromkeys(("k", "n_rows", "n_neurons"), "int64"),
    **dict.fromkeys(("ridge", "upper_bound", "lower_bound", "gap", "relative_gap"), "float64"),
    **dict.fromkeys(("optimal", "verified", "superseded"), "bool_"),
}
"""Types of columns, as pyarrow names them; all others are texts, and JSON where a value is none."""
COLUMNS = (
    *("id", "sha256", "model", "revision", "layer", "feature", "hook", "dataset", "split", "k", "loss", "ridge"),
    *("class_weight", "among", "n_rows", "n_neurons", "support", "upper_bound", "lower_bound", "gap", "relative_gap"),
    *(
        "optimal",
        "status",
        "pool",
        "engine",
        "regime",
        "proof",
        "X",
        "y",
        "weights",
        "moments",
        "verified",
        "superseded",
    ),
)


def export(
    registry: Registry, to: str | Path, form: str | None = None, test: Mapping[str, Scores] | None = None
) -> Path:
    """Write a registry for others, whole or not at all. Returns the path.

    Parameters
    ----------
    registry : Registry
    to : str or Path
        A new ``.csv`` or ``.parquet`` file for all records, or a new folder for the certificates, an RO-Crate.
    form : {"saebench", "saeprobes", "neuronpedia"}, optional
        A new folder gets documents of that program instead: of what is neither superseded nor was rejected here.
    test : mapping of str to Scores, optional
        Scores of the set on held-out rows by the sha256 of a certificate, for the first two forms.

    Raises
    ------
    InputError
        Where there is something already, the name has another ending, there is no such form, nothing to export, or an
        argument has no effect.
    CertificateRejected
        Where a certificate is damaged.
    """
    path = Path(to)
    if form not in (None, *FORMS):
        raise InputError(f"there is no form {form!r}; give one of {', '.join(FORMS)}")
    if test is not None and form not in SCORED:
        raise InputError(f"held-out scores are for the forms {' and '.join(SCORED)} alone: leave test= out")
    if path.exists():
        raise InputError(f"{path} exists already; remove it or give another name")
    if form is None and path.suffix in (".csv", ".parquet"):
        return write_file(path, _table(registry, path.suffix))
    if path.suffix:
        wanted = (
            "neither a .csv nor a .parquet file nor a folder" if form is None else f"no folder, and {form} needs one"
        )
        raise InputError(f"{path} is {wanted}: give such a name")
    documents = {} if form is None else FORMS[form](_proved(registry, test or {}))
    with new_folder(path) as folder:
        if form is None:
            _write_crate(registry, folder)
        for name, document in documents.items():
            write_file(folder / name, json.dumps(document, indent=1, allow_nan=False))
    return path


def _proved(registry: Registry, test: Mapping[str, Scores]) -> list[Proved]:
    """What other programs get: every problem's best certificates that nothing speaks against, the best first."""
    for sha256, scores in test.items():
        for name, value in vars(scores).items():
            if value is not None and not math.isfinite(value):
                raise InputError(f"the held-out {name} of {sha256} is {value}: give a number, or None")
    found = [record["sha256"] for record in registry.find() if record["verified"] is not False]
    if not found:
        raise InputError(f"{registry.folder} has no certificate to export that was not rejected: add some")
    proved = [Proved.of(registry.certificate(sha256), sha256, test.get(sha256)) for sha256 in found]
    return sorted(proved, key=lambda one: [one.record[name] for name in ("k", "upper_bound", "gap", "sha256")])


def _table(registry: Registry, suffix: str) -> memoryview:
    """The records as the bytes of a file."""
    import pyarrow as pa
    from pyarrow import csv, parquet

    rows = [{**without_folders(row), **row["data"]} for row in registry.find(superseded=None)]
    schema = pa.schema([(name, getattr(pa, NUMBERS.get(name, "string"))()) for name in COLUMNS])
    plain = [{name: row.get(name) if name in NUMBERS else _text(row.get(name)) for name in COLUMNS} for row in rows]
    table, content = pa.Table.from_pylist(plain, schema), io.BytesIO()
    if suffix == ".csv":
        csv.write_csv(table, content)
    else:
        parquet.write_table(table, content)
    return content.getbuffer()


def _text(value: Any) -> str | None:
    return value if value is None or isinstance(value, str) else canonical(value)


def _write_crate(registry: Registry, folder: Path) -> None:
    """Copy every certificate, and describe them: files by sha256, what they are about by digest, what made them."""
    records = registry.find(superseded=None)
    entities: dict[str, dict[str, Any]] = {}
    for record in records:
        certificate = registry.certificate(record["sha256"])
        write_file(folder / f"{record['sha256']}.cert", certificate.content)
        for entity in _entities(certificate, record):
            entities.setdefault(entity["@id"], entity)
    actions = [_reference(name) for name, entity in entities.items() if entity["@type"] == "CreateAction"]
    root = {
        "@id": "./",
        "@type": "Dataset",
        "name": "Certificates of sparse probes",
        "description": f"{len(records)} certificates of k-sparse probes, with what each is about by digest. "
        "Whether one is true is decided by `optprobe verify CERTIFICATE --data DATA`, and by nothing here.",
        "datePublished": datetime.now(UTC).date().isoformat(),
        "license": "Not stated: ask whoever published these certificates.",
        "hasPart": [_reference(f"{record['sha256']}.cert") for record in records],
        "mentions": actions,
    }
    about = {
        "@id": METADATA,
        "@type": "CreativeWork",
        "conformsTo": _reference(CRATE),
        "about": _reference("./"),
    }
    crate = {
        "@context": [f"{CRATE}/context", {"sha256": "https://schema.org/sha256"}],
        "@graph": [about, root, *entities.values()],
    }
    write_file(folder / METADATA, json.dumps(crate, indent=1, allow_nan=False))


def _entities(certificate: Certificate, record: Mapping[str, Any]) -> Iterator[dict[str, Any]]:
    """The file of a certificate, its inputs, the programs, and the action that made it of them."""
    claim, name = certificate.claim, f"{record['sha256']}.cert"
    inputs = [
        {"@id": f"#input-{digest}", "@type": "CreativeWork", "name": f"{part} of the claim", "sha256": digest}
        for part, digest in digests(claim).items()
    ]
    programs = [
        {
            "@id": f"#program-{quote(program, safe='')}-{quote(version, safe='')}",
            "@type": "SoftwareApplication",
            "name": program,
            "version": version,
        }
        for program, version in without_folders(claim.author.versions).items()
        if isinstance(version, str) and version
    ]
    yield {
        "@id": name,
        "@type": "File",
        "name": f"Certificate {record['id']}",
        "description": sentence(certificate, certified=False),
        "encodingFormat": "application/octet-stream",
        "contentSize": str(len(certificate.content)),
        "sha256": record["sha256"],
        "identifier": swhid(certificate.content),
    }
    yield from inputs
    yield from programs
    yield {
        "@id": f"#made-{record['id']}",
        "@type": "CreateAction",
        "name": f"Certificate {record['id']} was made",
        "object": [_reference(entity["@id"]) for entity in inputs],
        "instrument": [_reference(entity["@id"]) for entity in programs],
        "result": _reference(name),
    }


def _reference(name: str) -> dict[str, str]:
    return {"@id": name}
