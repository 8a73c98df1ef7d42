"""From the options of a build to documents with their labels."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from optprobe.bundled import corpus
from optprobe.errors import InputError
from optprobe.features.bundled import LICENCE
from optprobe.features.catalogue import BuildOptions
from optprobe.features.labelling import Document
from optprobe.features.sources.texts import read_texts

BUNDLED = "bundled"
"""The source that is the probing corpus of the package, where no file has that name."""
REPOSITORY = ("repo", "repo_name")
"""Columns that name the document of a source file: those of one repository share names, habits and headers."""


@dataclass(frozen=True)
class Documents:
    """The documents of a source, where they come from, and their licence."""

    documents: tuple[Document, ...]
    provenance: dict[str, str]
    licence: str


def read_documents(
    options: BuildOptions,
    suffix: str = "",
    text_column: str = "text",
    label_column: str | None = None,
    document_columns: Sequence[str] = ("repo", "path"),
) -> Documents:
    """
    Read the texts of a source as documents.

    Parameters
    ----------
    options : BuildOptions
        The source and its columns.
    suffix : str
        Of the files to be read of a folder, if it has any; else those of rows (`.jsonl`, `.parquet`), or else all.
    text_column, label_column : str
        The columns where the options name none; "meta.kind" is the value of kind in the objects of the column meta.
        Without a column, the label of a text is the name of its folder within the source, or else of its file without
        the suffix.
    document_columns : sequence of str
        Where the options name no column of the documents, those of these that there are name them together.

    Returns
    -------
    Documents
        In the order of the source; texts of white space only are left out. Of `BUNDLED` the documents of the probing
        corpus, each labelled by its language.

    Raises
    ------
    InputError
        As `read_texts`; or if columns or a revision are given of the bundled texts.
    """
    if options.source == BUNDLED and not Path(BUNDLED).exists():
        return _bundled(options)
    column, _, key = (options.label_column or label_column or "").partition(".")
    texts = read_texts(
        options.source,
        text_column=options.text_column or text_column,
        group_column=options.group_column,
        document_columns=document_columns,
        columns=[column] if column else [],
        pattern=_pattern(Path(options.source), suffix),
        revision=options.revision,
    )
    files = [PurePosixPath(file) for file in texts.columns["file"]]
    kinds = list(texts.columns[column]) if column else [f.parts[0] if len(f.parts) > 1 else f.stem for f in files]
    if key:
        kinds = [_value(kind, key, f"{texts.source}: {f}, text {i}") for i, (kind, f) in enumerate(zip(kinds, files))]
    documents = tuple(
        Document(text, str(group), kind, f"{texts.source}: {file}, text {number}")
        for number, (text, group, kind, file) in enumerate(zip(texts.texts, texts.group.tolist(), kinds, files))
        if text.strip()
    )
    return Documents(documents, texts.provenance, texts.licence)


def _bundled(options: BuildOptions) -> Documents:
    """Return the documents of the probing corpus."""
    for name in ("text_column", "group_column", "label_column", "revision"):
        if getattr(options, name) is not None:
            raise InputError(f"the bundled texts have no {name.replace('_', ' ')}: leave it out")
    documents = [Document(d.text, f"{d.language}/{d.slug}", d.language, f"{BUNDLED}: {d.slug}") for d in corpus()]
    digest = hashlib.sha256("\0".join(d.text for d in documents).encode()).hexdigest()
    return Documents(tuple(documents), {"source": BUNDLED, "sha256": digest}, LICENCE)


def _pattern(folder: Path, suffix: str) -> str:
    """Return the pattern of the files of a folder that are texts."""
    own = [f"*{suffix}"] if suffix and any(folder.rglob(f"*{suffix}")) else []
    rows = [pattern for pattern in ("*.jsonl", "*.parquet") if any(folder.glob(pattern))]
    return [*own, *rows, "*"][0]


def provenance_of(source: str | Path, paths: Iterable[Path]) -> dict[str, str]:
    """Return a source and the sha256 of its files, one after the other."""
    digest = hashlib.sha256()
    for path in paths:
        digest.update(path.read_bytes())
    return {"source": str(source), "sha256": digest.hexdigest()}


def _value(content: str, key: str, where: str) -> str:
    """Return a value of an object in JSON."""
    try:
        return str(json.loads(content)[key])
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{where}: {content[:40]!r} is no object with a value of {key!r}") from error
