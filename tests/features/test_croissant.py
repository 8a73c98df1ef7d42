"""A dataset described in Croissant 1.0: what the format requires is there and true, whatever the names are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow.parquet as parquet
import pytest

from optprobe.cli.main import main
from optprobe.errors import InputError, StoreDamaged
from optprobe.features import FeatureDataset
from optprobe.features.croissant import write_croissant
from optprobe.files import file_digest

NAMES = ("is_x", 'a/../b "c" \n', "a b", "A B", "é")
REQUIRED = {"@context", "@type", "conformsTo", "description", "license", "name", "url", "creator", "datePublished"}
"""Of a dataset: docs.mlcommons.org/croissant/docs/croissant-spec-1.0.html."""


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Three words of two texts, with hostile names."""
    labels = {name: np.array([1, -1, number % 3 - 1]) for number, name in enumerate(NAMES)}
    data = FeatureDataset(
        'hostile/<b> "q"',
        ("Hello world", "naïve “text”"),
        np.array([0, 0, 1]),
        np.array([0, 6, 0]),
        np.array([5, 11, 5]),
        np.array([0, 0, 1]),
        labels,
        {**dict.fromkeys(NAMES, "+1 for x"), "position": "from 0"},
        provenance={"source": "/home/alice/texts.jsonl"},
        values={"position": np.array([0.0, np.nan, 2.5])},
    )
    data.save(tmp_path / "data")
    return tmp_path / "data"


def entities(value: Any) -> list[dict[str, Any]]:
    """Every object with an @id and a type."""
    parts = list(value.values()) if isinstance(value, dict) else value if isinstance(value, list) else []
    own = [value] if isinstance(value, dict) and {"@id", "@type"} <= set(value) else []
    return own + [entity for part in parts for entity in entities(part)]


def test_what_the_format_requires(folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["features", "croissant", str(folder), "--url", "https://example.org/words"]) == 0
    assert capsys.readouterr().out == f"{folder / 'croissant.json'}\n"
    text = (folder / "croissant.json").read_text()
    assert "alice" not in text
    described = json.loads(text)
    assert set(described) >= REQUIRED
    assert (described["@type"], described["conformsTo"]) == ("sc:Dataset", "http://mlcommons.org/croissant/1.0")
    assert (described["name"], described["url"]) == ('hostile/<b> "q"', "https://example.org/words")
    names = [entity["@id"] for entity in entities([described["distribution"], described["recordSet"]])]
    assert len({name.lower() for name in names}) == len(names) == 3 + 2 + 1 + 4 + len(NAMES) + 1
    files = {file["@id"]: file for file in described["distribution"]}
    assert {path.name for path in folder.iterdir()} == {*files, "croissant.json"}
    for name, file in files.items():
        assert file["@type"] == "cr:FileObject"
        assert file["contentUrl"] == name
        assert file["sha256"] == file_digest(folder / name)
        assert file["contentSize"] == f"{(folder / name).stat().st_size} B"
    for records in described["recordSet"]:
        assert records["@type"] == "cr:RecordSet"
        (file,) = {field["source"]["fileObject"]["@id"] for field in records["field"]}
        columns = [field["source"]["extract"]["column"] for field in records["field"]]
        assert columns == parquet.read_schema(folder / file).names
        assert all(field["@type"] == "cr:Field" and field["dataType"].startswith("sc:") for field in records["field"])
    assert FeatureDataset.open(folder).n_rows == 3


def test_nothing_is_described_that_is_not_there(folder: Path, tmp_path: Path) -> None:
    for place, url, sentence in (
        (folder, "example.org", "the url 'example.org' is none"),
        (tmp_path / "nothing", None, "is not a dataset"),
        (tmp_path, None, "is not a dataset"),
    ):
        with pytest.raises(InputError, match=sentence):
            write_croissant(place, url)
    assert not list(tmp_path.rglob("croissant.json"))
    path = write_croissant(folder)
    before = path.read_bytes()
    with pytest.raises(InputError, match="exists already"):
        write_croissant(folder, "https://example.org")
    assert path.read_bytes() == before
    path.unlink()
    (folder / "rows.parquet").write_bytes(b"PAR1")
    with pytest.raises(StoreDamaged, match="was altered"):
        write_croissant(folder)
    assert not path.exists()


@pytest.mark.filterwarnings("default")  # of its dependencies
def test_mlcroissant_reads_it_and_the_rows_through_it(folder: Path) -> None:
    croissant = pytest.importorskip("mlcroissant", reason="mlcroissant is not installed")
    read = croissant.Dataset(jsonld=str(write_croissant(folder)))
    assert read.metadata.ctx.issues.errors == set()
    texts = [record["texts/text"].decode() for record in read.records("texts")]
    assert texts == list(FeatureDataset.open(folder).texts)
    rows = list(read.records("rows"))
    assert [(row["rows/text"], row["rows/start"], row["rows/labels/is_x"]) for row in rows] == [
        (0, 0, 1),
        (0, 6, -1),
        (1, 0, -1),
    ]
    assert [row["rows/values/position"] for row in rows][::2] == [0.0, 2.5]
