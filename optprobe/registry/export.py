"""A registry for others: its records as a table, or its certificates as an RO-Crate. No local path goes with them."""

from __future__ import annotations

import io
import json
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
from optprobe.registry.record import digests
from optprobe.registry.registry import Registry

METADATA = "ro-crate-metadata.json"
CRATE = "https://w3id.org/ro/crate/1.1"
NUMBERS = {
    **dict.fromkeys(("k", "n_rows", "n_neurons"), "int64"),
    **dict.fromkeys(("ridge", "upper_bound", "lower_bound", "gap", "relative_gap"), "float64"),
    **dict.fromkeys(("optimal", "verified", "superseded"), "bool_"),
}
"""Types of columns, as pyarrow names them; all others are texts, and JSON where a value is none."""
COLUMNS = (
    *("id", "sha256", "model", "revision", "layer", "feature", "hook", "dataset", "split", "k", "loss", "ridge"),
    *("class_weight", "among", "n_rows", "n_neurons", "support", "upper_bound", "lower_bound", "gap", "relative_gap"),
    *("optimal", "status", "engine", "regime", "proof", "X", "y", "weights", "moments", "verified", "superseded"),
)


def export(registry: Registry, to: str | Path) -> Path:
    """Write all records to a new ``.csv`` or ``.parquet`` file, or the certificates to a new folder, an RO-Crate.

    Returns the path.

    Raises
    ------
    InputError
        Where there is something already, the name has another ending, or a certificate is damaged.
    """
    path = Path(to)
    if path.exists():
        raise InputError(f"{path} exists already; remove it or give another name")
    if path.suffix in (".csv", ".parquet"):
        return write_file(path, _table(registry, path.suffix))
    if path.suffix:
        raise InputError(f"{path} is neither a .csv nor a .parquet file nor a folder: give such a name")
    with new_folder(path) as folder:
        _write_crate(registry, folder)
    return path


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
