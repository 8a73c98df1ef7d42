"""
Texts from files and folders, and from parquet repositories of the Hugging Face hub: all of them, or one sentence.

A file is read by its suffix: `.jsonl` (one JSON object a line), `.csv` (a header line, commas), `.parquet`, `.txt` (one
text). A folder is all files in it that match a pattern and are not of size 0, in the order of their paths; what has
none of these suffixes is one text. Dataset scripts of the hub are not run.
"""

from __future__ import annotations

import csv
import hashlib
import json
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from fnmatch import fnmatch
from io import StringIO
from itertools import islice
from pathlib import Path
from types import MappingProxyType
from typing import IO, Any

import numpy as np
from numpy.typing import NDArray

from optprobe.errors import InputError
from optprobe.files import file_digest

_SUFFIXES = (".jsonl", ".csv", ".parquet", ".txt")
_REVISION = re.compile(r"[0-9a-f]{40}")
_HUB_NAME = re.compile(r"[\w.-]+/[\w.-]+")

Row = tuple[str, Mapping[str, Any]]
"""Where a row stands, for errors, and its columns."""


@dataclass(frozen=True, eq=False, repr=False)
class Texts:
    """
    Texts of a source, before anything of them is labelled.

    Parameters
    ----------
    texts : tuple of str
        The texts.
    group : ndarray of int32, shape (n_texts,)
        Document of each text, numbered in the order in which they come.
    columns : mapping of str to tuple of str, each of n_texts
        Further columns: "file", the file of each text, and those asked for; empty strings for what is missing.
    source : str
        Path, or name on the hub and revision.
    sha256 : str
        Of the file; of the lines "sha256  name" of several files; empty for the hub, whose revision says it.
    licence : str
        Licence of the texts.
    grouped_by : tuple of str
        Columns whose values name the documents; none where every text is one.
    """

    texts: tuple[str, ...]
    group: NDArray[np.int32]
    columns: Mapping[str, tuple[str, ...]]
    source: str
    sha256: str
    licence: str = ""
    grouped_by: tuple[str, ...] = ()

    @property
    def provenance(self) -> dict[str, str]:
        """Source, sha256 where there is one, and what the documents are, as `FeatureDataset` takes them."""
        sha256 = {"sha256": self.sha256} if self.sha256 else {}
        documents = {"documents": f"texts of one {' and '.join(self.grouped_by)}"} if self.grouped_by else {}
        return {"source": self.source, **sha256, **documents}

    def __repr__(self) -> str:
        """Say in one line what the texts are."""
        n_documents = len(np.unique(self.group))
        return (
            f"Texts of {self.source}: {len(self.texts):,} texts, {n_documents:,} documents, {', '.join(self.columns)}"
        )


def read_texts(
    source: str | Path,
    *,
    text_column: str = "text",
    group_column: str | None = None,
    document_columns: Sequence[str] = (),
    columns: Sequence[str] = (),
    pattern: str = "*",
    revision: str | None = None,
    licence: str = "",
    max_texts: int | None = None,
) -> Texts:
    """
    Read the texts of a file, a folder, or a dataset of the Hugging Face hub.

    Parameters
    ----------
    source : str or Path
        A file; a folder; or, where a revision is given, the name OWNER/NAME of a dataset on the hub.
    text_column : str, default="text"
        Column of the texts, in files of rows.
    group_column : str, optional
        Column that names the document of each text.
    document_columns : sequence of str
        Where no `group_column` is given, those of these columns that a row has name its document together; a row with
        none of them is a document of its own.
    columns : sequence of str
        Further columns to be kept; what is not a string is kept as JSON.
    pattern : str, default="*"
        Of a folder or a dataset on the hub: the files to be read, such as "*.py" or "data/train-*.parquet".
    revision : str, optional
        The 40-hex commit of a dataset on the hub, which is streamed: no more is fetched than is read.
    licence : str
        Licence of the texts.
    max_texts : int, optional
        Stop after so many.

    Returns
    -------
    Texts
        At least one text.

    Raises
    ------
    InputError
        If there is nothing to read, a column is missing, a line is broken, or text is not UTF-8: the sentence names the
        file and the line, row or byte.
    """
    wanted = _Wanted(text_column, group_column, tuple(document_columns), tuple(columns))
    sha256 = ""
    if revision is not None:
        files: Iterable[tuple[str, Iterable[Row]]] = _hub_files(str(source), revision, pattern, wanted)
        name = f"{source}@{revision}"
    else:
        root, name = Path(source), str(source)
        paths = _local_files(root, pattern)
        sha256 = _sha256(root, paths)
        files = ((_relative(path, root), _rows(path, wanted)) for path in paths)
    texts: list[str] = []
    groups: dict[object, int] = {}
    group: list[int] = []
    kept: dict[str, list[str]] = {column: [] for column in ("file", *columns)}
    grouped_by: dict[str, None] = {}
    for file, (where, row) in islice(((file, row) for file, rows in files for row in rows), max_texts):
        document = wanted.document(row, where)
        grouped_by |= dict.fromkeys(document)
        group.append(groups.setdefault(tuple(document.items()) or len(texts), len(groups)))
        texts.append(wanted.text(row, where))
        kept["file"].append(file)
        for column in columns:
            kept[column].append(_string(wanted.of(column, row, where)))
    if not texts:
        raise InputError(f"{name} holds no text; give a source with at least one row")
    frozen = {column: tuple(values) for column, values in kept.items()}
    return Texts(
        tuple(texts),
        np.array(group, dtype=np.int32),
        MappingProxyType(frozen),
        name,
        sha256,
        licence,
        tuple(grouped_by),
    )


@dataclass(frozen=True)
class _Wanted:
    """The columns to be read."""

    text_column: str
    group_column: str | None
    document_columns: tuple[str, ...]
    columns: tuple[str, ...]

    @property
    def names(self) -> list[str]:
        """Every column once."""
        return list(dict.fromkeys(c for c in (self.text_column, self.group_column, *self.columns) if c is not None))

    def check(self, present: Sequence[str], where: str) -> None:
        """Raise `InputError` where one of the columns is not there."""
        for column in self.names:
            if column not in present:
                raise InputError(f"{where} has no column {column!r}; it has {', '.join(map(repr, present)) or 'none'}")

    def document(self, row: Mapping[str, Any], where: str) -> dict[str, str]:
        """Return the columns that name the document of a row, with their values; none where nothing does."""
        if self.group_column is not None:
            return {self.group_column: _string(self.of(self.group_column, row, where))}
        return {column: _string(row[column]) for column in self.document_columns if row.get(column)}

    def of(self, column: str, row: Mapping[str, Any], where: str) -> Any:
        """Return a value that is not missing, or an empty string."""
        self.check(list(row), where)
        return "" if row[column] is None else row[column]

    def text(self, row: Mapping[str, Any], where: str) -> str:
        """Return the text of a row, which must be one."""
        text = self.of(self.text_column, row, where)
        if not isinstance(text, str):
            raise InputError(f"{where}: the column {self.text_column!r} holds {str(text)[:40]!r}, which is no text")
        return text


def _string(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value, ensure_ascii=False, default=str)


def _local_files(root: Path, pattern: str) -> list[Path]:
    """Return the files of a source, in the order of their paths."""
    if root.is_dir():
        found = (path for path in root.rglob(pattern) if path.is_file() and not path.name.startswith("."))
        paths = sorted(path for path in found if path.stat().st_size > 0)
        if not paths:
            raise InputError(f"the folder {root} has no file that matches {pattern!r}")
        return paths
    if not root.exists():
        hint = (
            "; to read it from the Hugging Face hub, give its 40-hex revision" if _HUB_NAME.fullmatch(str(root)) else ""
        )
        raise InputError(f"there is no file or folder {root}{hint}")
    if root.suffix not in _SUFFIXES:
        raise InputError(
            f"{root} has the suffix {root.suffix!r}; texts are read from {', '.join(_SUFFIXES)} or a folder"
        )
    return [root]


def _relative(path: Path, root: Path) -> str:
    return path.name if path == root else path.relative_to(root).as_posix()


def _sha256(root: Path, paths: list[Path]) -> str:
    digests = []
    for path in paths:
        try:
            digests.append(file_digest(path))
        except OSError as error:
            raise InputError(f"{path} cannot be read: {error.strerror}") from error
    if len(paths) == 1 and paths[0] == root:
        return digests[0]
    lines = (f"{digest}  {_relative(path, root)}\n" for digest, path in zip(digests, paths))
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _rows(path: Path, wanted: _Wanted) -> Iterator[Row]:
    """Yield the rows of one file; what is no file of rows is one text."""
    if path.suffix == ".jsonl":
        return _json_rows(path)
    if path.suffix == ".csv":
        return _csv_rows(path, wanted)
    if path.suffix == ".parquet":
        return _parquet_file(path, wanted)
    return _whole_file(path, wanted)


def _decode(content: bytes, path: Path, offset: int = 0) -> str:
    try:
        return content.decode("utf-8-sig" if offset == 0 else "utf-8")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not UTF-8: the byte {offset + error.start} is 0x{content[error.start]:02x}; convert it to UTF-8"
        ) from error


def _whole_file(path: Path, wanted: _Wanted) -> Iterator[Row]:
    content = _decode(path.read_bytes(), path).replace("\r\n", "\n")
    if not content.strip():
        raise InputError(f"{path} is empty; remove it, or give a file with text")
    yield str(path), {wanted.text_column: content}


def _json_rows(path: Path) -> Iterator[Row]:
    offset, number = 0, 0
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            where = f"{path}, line {number}"
            content = _decode(line, path, offset)
            offset += len(line)
            if not content.strip():
                continue
            try:
                row = json.loads(content)
            except ValueError as error:
                raise InputError(f"{where} is not JSON ({error}); give one object a line") from error
            if not isinstance(row, dict):
                raise InputError(f"{where} holds {content.strip()[:40]!r}, which is no JSON object")
            yield where, row
    if number == 0:
        raise InputError(f"{path} is empty; give a file with at least one line")


def _csv_rows(path: Path, wanted: _Wanted) -> Iterator[Row]:
    content = _decode(path.read_bytes(), path)
    with _long_fields():
        reader = csv.reader(StringIO(content, newline=""), strict=True)
        try:
            header = next(reader, None)
            if header is None:
                raise InputError(f"{path} is empty; give a file with a header line and rows")
            wanted.check(header, str(path))
            for fields in reader:
                where = f"{path}, line {reader.line_num}"
                if fields and len(fields) != len(header):
                    raise InputError(f"{where} has {len(fields)} columns, and the header has {len(header)}")
                if fields:
                    yield where, dict(zip(header, fields))
        except csv.Error as error:
            raise InputError(f"{path}, line {reader.line_num} is broken: {error}") from error


@contextmanager
def _long_fields() -> Iterator[None]:
    """Let the csv module read texts of any length."""
    limit = csv.field_size_limit(2**31 - 1)
    try:
        yield
    finally:
        csv.field_size_limit(limit)


def _parquet_file(path: Path, wanted: _Wanted) -> Iterator[Row]:
    with path.open("rb") as file:
        yield from _parquet_rows(file, str(path), wanted)


def _parquet_rows(file: IO[bytes], name: str, wanted: _Wanted) -> Iterator[Row]:
    """Yield the rows of a parquet file, of the wanted columns only, a batch at a time."""
    import pyarrow as pa
    import pyarrow.parquet as parquet

    number = 0
    try:
        table = parquet.ParquetFile(file)
        wanted.check(table.schema_arrow.names, name)
        there = [column for column in wanted.document_columns if column in table.schema_arrow.names]
        columns = list(dict.fromkeys([*wanted.names, *there]))
        for batch in table.iter_batches(batch_size=1_000, columns=columns):
            for row in batch.to_pylist():
                yield f"{name}, row {number}", row
                number += 1
    except pa.ArrowException as error:
        raise InputError(f"{name} cannot be read as parquet after row {number}: {error}") from error
    if number == 0:
        raise InputError(f"{name} is empty; give a file with at least one row")


def _hub_files(name: str, revision: str, pattern: str, wanted: _Wanted) -> Iterator[tuple[str, Iterator[Row]]]:
    """Yield the name and the rows of each parquet file of a dataset on the hub."""
    if not _HUB_NAME.fullmatch(name):
        raise InputError(f"{name!r} is no name on the Hugging Face hub; give OWNER/NAME")
    if not _REVISION.fullmatch(revision):
        raise InputError(f"the revision {revision!r} may change; give the 40-hex commit of {name}")
    with _hub_errors(name, revision):
        there = hub_files(name, revision)
    files = sorted(f for f in there if f.endswith(".parquet") and fnmatch(f, pattern))
    if not files:
        raise InputError(
            f"{name}@{revision} has no parquet file that matches {pattern!r}; dataset scripts are not run, so convert "
            "the dataset, or give another revision, such as that of its branch refs/convert/parquet"
        )
    for path in files:
        yield path, _hub_rows(name, revision, path, wanted)


def _hub_rows(name: str, revision: str, path: str, wanted: _Wanted) -> Iterator[Row]:
    with _hub_errors(name, revision), open_hub_file(name, revision, path) as file:
        yield from _parquet_rows(file, f"{name}@{revision}/{path}", wanted)


def hub_files(name: str, revision: str) -> list[str]:
    """Return the paths of all files of a dataset on the hub."""
    from huggingface_hub import HfApi

    return list(HfApi().list_repo_files(name, revision=revision, repo_type="dataset"))


def open_hub_file(name: str, revision: str, path: str) -> IO[bytes]:
    """Open a file of a dataset on the hub for reading; what is not read is not fetched."""
    from huggingface_hub import HfFileSystem

    file: IO[bytes] = HfFileSystem().open(f"datasets/{name}@{revision}/{path}", "rb")
    return file


@contextmanager
def _hub_errors(name: str, revision: str) -> Iterator[None]:
    """Say in a sentence why the hub gives nothing; the types of the errors differ with the version of its client."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        reason = str(error).strip().partition("\n")[0] or type(error).__name__
        raise InputError(f"{name}@{revision} cannot be read from the Hugging Face hub: {reason}") from error
