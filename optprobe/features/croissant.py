"""The metadata of a dataset's folder in Croissant 1.0, for catalogues and loaders of data sets."""

from __future__ import annotations

import json
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from optprobe.errors import InputError
from optprobe.features.dataset import CARD, ROWS, TEXTS, FeatureDataset
from optprobe.files import file_digest, write_file
from optprobe.names import slug

METADATA = "croissant.json"
CONFORMS = "http://mlcommons.org/croissant/1.0"
OWN = (
    *("citeAs", "column", "extract", "field", "fileObject", "fileProperty", "fileSet", "format", "includes"),
    *("isLiveDataset", "jsonPath", "key", "md5", "parentField", "path", "recordSet", "references", "regex", "repeated"),
    *("replace", "samplingRate", "separator", "source", "subField", "transform", "equivalentProperty"),
)
"""Terms that Croissant adds to schema.org."""
CONTEXT = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "sc": "https://schema.org/",
    "cr": "http://mlcommons.org/croissant/",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "dct": "http://purl.org/dc/terms/",
    "conformsTo": "dct:conformsTo",
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    **{name: {"@id": f"cr:{name}", "@type": "@json"} for name in ("data", "examples")},
    **{name: f"cr:{name}" for name in OWN},
}
FORMATS = {CARD: "application/json", TEXTS: "application/x-parquet", ROWS: "application/x-parquet"}
COLUMNS = {
    "text": "The number of the row's text, from 0, in the order of the texts.",
    "start": "The first character of the row's word in its text.",
    "end": "The character after the last of the row's word.",
    "group": "The document of the row; a split keeps a document on one side.",
}


def write_croissant(folder: str | Path, url: str | None = None) -> Path:
    """Write ``croissant.json`` beside the files of a dataset that `FeatureDataset.save` wrote. Returns its path.

    Parameters
    ----------
    folder : str or Path
    url : str, optional
        Where the dataset is published; by default the folder of the file itself.

    Raises
    ------
    InputError
        If the folder holds no dataset, there is a ``croissant.json`` already, or the url is none.
    StoreDamaged
        If a file is missing or was altered.
    """
    path = Path(folder) / METADATA
    if url is not None and not url.startswith(("https://", "http://")):
        raise InputError(f"the url {url!r} is none: give one that begins with https://")
    data = FeatureDataset.open(folder)
    if path.exists():
        raise InputError(f"{path} exists already; remove it to write it anew")
    described = {
        "@context": CONTEXT,
        "@type": "sc:Dataset",
        "conformsTo": CONFORMS,
        "name": data.name,
        "description": f"{data.n_rows} labelled words or passages of {len(data.texts)} texts, for sparse probes of "
        f"language models. The sha256 over everything it holds, which certificates name, is {data.digest}.",
        "license": data.licence or "Not stated: ask whoever publishes this dataset.",
        "url": url or "./",
        "creator": {"@type": "sc:Organization", "name": "Not stated: ask whoever publishes this dataset."},
        "datePublished": datetime.now(UTC).date().isoformat(),
        "isLiveDataset": False,
        "distribution": [_file(path.with_name(name), encoding) for name, encoding in FORMATS.items()],
        "recordSet": [
            _records("texts", TEXTS, [_field("texts", TEXTS, "text", "A text, read as one context.", "sc:Text")]),
            _records("rows", ROWS, _fields(data)),
        ],
    }
    return write_file(path, json.dumps(described, indent=1, allow_nan=False), "\n")


def _file(path: Path, encoding: str) -> dict[str, Any]:
    return {
        "@type": "cr:FileObject",
        "@id": path.name,
        "name": path.name,
        "contentUrl": path.name,
        "contentSize": f"{path.stat().st_size} B",
        "encodingFormat": encoding,
        "sha256": file_digest(path),
    }


def _records(name: str, file: str, fields: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "@type": "cr:RecordSet",
        "@id": name,
        "name": name,
        "description": f"The rows of {file}, in their order.",
        "field": fields,
    }


def _fields(data: FeatureDataset) -> list[dict[str, Any]]:
    """Of the rows: where each lies in which text, then its labels and values, with their rules."""
    columns: Mapping[str, tuple[str, str]] = {
        **{name: (text, "sc:Integer") for name, text in COLUMNS.items()},
        **{f"labels/{name}": (f"+1, -1, or 0 for none: {data.rules[name]}", "sc:Integer") for name in data.labels},
        **{f"values/{name}": (f"A number, or nan for none: {data.rules[name]}", "sc:Float") for name in data.values},
    }
    return [_field("rows", ROWS, column, *described) for column, described in columns.items()]


def _field(records: str, file: str, column: str, description: str, kind: str) -> dict[str, Any]:
    return {
        "@type": "cr:Field",
        "@id": f"{records}/{'/'.join(map(slug, column.split('/', 1)))}",
        "name": column,
        "description": description,
        "dataType": kind,
        "source": {"fileObject": {"@id": file}, "extract": {"column": column}},
    }
