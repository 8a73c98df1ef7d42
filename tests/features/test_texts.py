"""Texts from files, folders and the hub: what they hold, and the sentence for what cannot be read."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable
from pathlib import Path
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as parquet
import pytest

from optprobe.errors import InputError
from optprobe.features.sources import texts as module
from optprobe.features.sources.texts import Texts, read_texts

ROWS: list[dict[str, Any]] = [
    {"text": 'one, "two"\nthree\u2028four', "author": "ann", "year": 1},
    {"text": "été 🙂", "author": "bo", "year": 2},
    {"text": "again", "author": "ann", "year": 3},
]


def write_jsonl(path: Path) -> Path:
    path.write_text("\n".join(json.dumps(row) for row in ROWS) + "\n\n", encoding="utf-8")
    return path


def write_csv(path: Path) -> Path:
    lines = ["\ufefftext,author,year", '"one, ""two""\nthree\u2028four",ann,1', "été 🙂,bo,2", "", "again,ann,3"]
    path.write_bytes("\n".join(lines).encode())
    return path


def write_parquet(path: Path) -> Path:
    parquet.write_table(pa.Table.from_pylist(ROWS), path)
    return path


@pytest.mark.parametrize("write", [write_jsonl, write_csv, write_parquet])
def test_files_of_rows_give_the_same_texts(write: Callable[[Path], Path], tmp_path: Path) -> None:
    path = write(tmp_path / f"data.{write.__name__.removeprefix('write_')}")
    found = read_texts(path, group_column="author", columns=["year"], licence="CC0")
    assert found.texts == tuple(row["text"] for row in ROWS)
    np.testing.assert_array_equal(found.group, [0, 1, 0])
    assert dict(found.columns) == {"file": (path.name,) * 3, "year": ("1", "2", "3")}
    sha256 = hashlib.sha256(path.read_bytes()).hexdigest()
    assert found.provenance == {"source": str(path), "sha256": sha256, "documents": "texts of one author"}
    assert found.licence == "CC0"
    np.testing.assert_array_equal(read_texts(path).group, [0, 1, 2])
    assert read_texts(path, max_texts=2).texts == found.texts[:2]
    assert "3 texts, 2 documents, file, year" in repr(found)


@pytest.mark.parametrize("write", [write_jsonl, write_csv, write_parquet])
def test_documents_are_named_by_the_columns_that_there_are(write: Callable[[Path], Path], tmp_path: Path) -> None:
    path = write(tmp_path / f"data.{write.__name__.removeprefix('write_')}")
    found = read_texts(path, document_columns=("repo", "author"))
    np.testing.assert_array_equal(found.group, [0, 1, 0])
    assert found.grouped_by == ("author",)
    np.testing.assert_array_equal(read_texts(path, document_columns=("author", "year")).group, [0, 1, 2])
    assert read_texts(path, document_columns=("repo",)).grouped_by == ()


def test_a_folder_is_a_document_a_file(tmp_path: Path) -> None:
    for name, text in {
        "b.py": "x = 1\r\n",
        "a/c.py": "y = 2\n",
        "a/d.c": "int z;",
        ".hidden.py": "no",
        "a/e.c": "",
    }.items():
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        path.write_bytes(text.encode())
    found = read_texts(tmp_path, pattern="*.py")
    assert found.texts == ("y = 2\n", "x = 1\n")
    assert found.columns["file"] == ("a/c.py", "b.py")
    np.testing.assert_array_equal(found.group, [0, 1])
    before = found.sha256
    (tmp_path / "b.py").rename(tmp_path / "e.py")
    assert read_texts(tmp_path, pattern="*.py").sha256 != before


def test_a_folder_of_files_of_rows_is_their_rows(tmp_path: Path) -> None:
    write_jsonl(tmp_path / "x.jsonl")
    write_parquet(tmp_path / "y.parquet")
    found = read_texts(tmp_path, group_column="author")
    assert found.columns["file"] == ("x.jsonl",) * 3 + ("y.parquet",) * 3
    np.testing.assert_array_equal(found.group, [0, 1, 0, 0, 1, 0])


def test_a_long_field_of_a_csv_is_read(tmp_path: Path) -> None:
    (tmp_path / "long.csv").write_text("text\n" + "x" * 300_000 + "\n")
    assert len(read_texts(tmp_path / "long.csv").texts[0]) == 300_000


REVISION = "0123456789abcdef" * 2 + "01234567"


@pytest.fixture
def hub(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """A dataset of two parquet files on a hub that is a folder; the list says which were opened."""
    opened: list[str] = []

    def open_file(name: str, revision: str, path: str) -> IO[bytes]:
        assert (name, revision) == ("owner/data", REVISION)
        opened.append(path)
        return (tmp_path / path).open("rb")

    for part in range(2):
        write_parquet(tmp_path / f"train-{part}.parquet")
    monkeypatch.setattr(module, "open_hub_file", open_file)
    monkeypatch.setattr(module, "hub_files", lambda *_: ["README.md", "train-1.parquet", "train-0.parquet"])
    return opened


def test_a_dataset_of_the_hub_is_streamed_file_by_file(hub: list[str]) -> None:
    found = read_texts("owner/data", revision=REVISION, columns=["author"])
    assert len(found.texts) == 6
    assert found.columns["file"] == ("train-0.parquet",) * 3 + ("train-1.parquet",) * 3
    assert found.provenance == {"source": f"owner/data@{REVISION}"}
    hub.clear()
    assert len(read_texts("owner/data", revision=REVISION, max_texts=2).texts) == 2
    assert hub == ["train-0.parquet"]
    hub.clear()
    read_texts("owner/data", revision=REVISION, pattern="train-1*")
    assert hub == ["train-1.parquet"]


@pytest.mark.parametrize(
    ("options", "sentence"),
    [
        ({"source": "data"}, "'data' is no name on the Hugging Face hub; give OWNER/NAME"),
        ({"revision": "main"}, "the revision 'main' may change; give the 40-hex commit of owner/data"),
        ({"pattern": "test-*"}, r"has no parquet file that matches 'test-\*'; dataset scripts are not run"),
        ({"text_column": "body"}, "train-0.parquet has no column 'body'; it has 'text', 'author', 'year'"),
    ],
)
def test_what_the_hub_does_not_have_is_said(options: dict[str, Any], sentence: str, hub: list[str]) -> None:
    with pytest.raises(InputError, match=sentence):
        read_texts(**{"source": "owner/data", "revision": REVISION, **options})


def test_an_unreachable_hub_is_one_sentence(hub: list[str], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: str) -> list[str]:
        raise ConnectionError("no route\nto host")

    monkeypatch.setattr(module, "hub_files", fail)
    with pytest.raises(InputError, match=r"cannot be read from the Hugging Face hub: no route$"):
        read_texts("owner/data", revision=REVISION)


@pytest.mark.parametrize(
    ("name", "content", "options", "sentence"),
    [
        ("a.jsonl", b'{"text": "x"}\n{"text": \n', {}, "a.jsonl, line 2 is not JSON"),
        ("a.jsonl", b'{"text": "x"}\n\n[1]\n', {}, r"a.jsonl, line 3 holds '\[1\]', which is no JSON object"),
        ("a.jsonl", b'{"text": "x"}\n{"txt": "x"}\n', {}, "a.jsonl, line 2 has no column 'text'; it has 'txt'"),
        ("a.jsonl", b'{"text": 5}\n', {}, "a.jsonl, line 1: the column 'text' holds '5', which is no text"),
        ("a.jsonl", b'{"text": "x"}\n{"text": "\xe9"}\n', {}, "a.jsonl is not UTF-8: the byte 24 is 0xe9"),
        ("a.jsonl", b"", {}, "a.jsonl is empty"),
        ("a.jsonl", b"\n\n", {}, "a.jsonl holds no text"),
        ("a.csv", b"text,label\nx,1\n", {"group_column": "doc"}, "a.csv has no column 'doc'; it has 'text', 'label'"),
        ("a.csv", b"text,label\nx,1\ny\n", {}, "a.csv, line 3 has 1 columns, and the header has 2"),
        ("a.csv", b'text,label\n"x,1\n', {}, "a.csv, line 2 is broken"),
        ("a.csv", b"text\ncaf\xe9\n", {}, "a.csv is not UTF-8: the byte 8 is 0xe9"),
        ("a.csv", b"", {}, "a.csv is empty"),
        ("a.csv", b"text\n", {}, "a.csv holds no text"),
        ("a.parquet", b"PAR1 but no more", {}, "a.parquet cannot be read as parquet"),
        ("a.parquet", b"", {}, "a.parquet cannot be read as parquet"),
        ("a.txt", b" \n", {}, "a.txt is empty"),
        ("a.txt", b"ab\xff", {}, "a.txt is not UTF-8: the byte 2 is 0xff"),
        ("a.doc", b"x", {}, r"a.doc has the suffix '.doc'; texts are read from .jsonl, .csv, .parquet, .txt or a fold"),
    ],
)
def test_bad_input_is_one_sentence(
    name: str, content: bytes, options: dict[str, Any], sentence: str, tmp_path: Path
) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=sentence):
        read_texts(tmp_path / name, **options)


def test_what_is_not_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="there is no file or folder owner/data; to read it from the Hugging Face hub"):
        read_texts("owner/data")
    with pytest.raises(InputError, match=r"has no file that matches '\*\.py'"):
        read_texts(tmp_path, pattern="*.py")


def test_real_files_are_read(shared: Path) -> None:
    code = read_texts(shared / "data" / "code", pattern="*.jsonl", group_column="repo")
    assert isinstance(code, Texts)
    assert (len(code.texts), len(np.unique(code.group)), len(set(code.columns["file"]))) == (858, 60, 9)
    prompts = read_texts(shared / "data" / "sae_probes" / "67_social-security.csv", text_column="prompt")
    assert len(prompts.texts) == 3200
