"""Programming language, natural language and data subset, on texts written here."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from optprobe.errors import InputError
from optprobe.features.catalogue import BuildOptions, build
from optprobe.features.categories.data_subset import DATA_SUBSET
from optprobe.features.categories.mixture import OTHERS
from optprobe.features.categories.natural_language import CATEGORY as NATURAL
from optprobe.features.categories.programming_language import CATEGORY as PROGRAMMING
from optprobe.features.categories.programming_language import PROGRAMMING_LANGUAGE
from optprobe.features.labelling import Document
from tests.features.categories.rules import check_real, words


def test_a_context_has_the_language_of_its_document() -> None:
    documents = [
        Document("int main", "1", "c"),
        Document("let x = 1", "2", "JavaScript"),
        Document("fn f", "3", "rust"),
    ]
    data = PROGRAMMING_LANGUAGE.label(documents, skip=0)
    assert data.features == ("C", "JavaScript")
    assert (words(data, "C", 1), words(data, "C", -1)) == (["int main"], ["let x = 1", "fn f"])
    assert data.aggregation == "mean"
    assert data.provenance["absent"].split(", ") == [
        name for name in PROGRAMMING_LANGUAGE.kinds if name not in data.labels
    ]
    assert data.provenance[OTHERS] == "rust (1 contexts)"
    assert OTHERS not in PROGRAMMING_LANGUAGE.label(documents[:2], skip=0).provenance


def test_long_documents_give_several_contexts_of_one_group() -> None:
    documents = [Document("one two three four", "1", "law"), Document("five six", "2", "Github")]
    data = DATA_SUBSET.label(documents, characters=10, skip=0)
    assert words(data, "freelaw", 1) == ["one two", "three four"]
    assert data.group.tolist() == [0, 0, 1]
    assert words(DATA_SUBSET.label(documents, characters=10, skip=0, contexts=1), "freelaw", 1) == ["one two"]


def test_the_mean_leaves_out_the_first_words() -> None:
    documents = [
        Document("one two three", "1", "arxiv"),
        Document("four", "2", "law"),
        Document("five six", "3", "law"),
    ]
    data = DATA_SUBSET.label(documents, skip=1)
    assert (words(data, "arxiv", 1), words(data, "arxiv", -1)) == (["two three"], ["six"])
    assert data.texts[0] == "one two three"


def test_a_text_without_a_label_is_refused_with_its_row() -> None:
    with pytest.raises(InputError, match=r"mix\.csv, row 7: the text has no label"):
        DATA_SUBSET.label([Document("a b", "1", " ", "mix.csv, row 7")])


def test_labels_come_from_a_column_or_from_files(tmp_path: Path) -> None:
    rows = [{"text": "one two three", "part": "arxiv"}, {"text": "four five six", "part": "USPTO Backgrounds"}]
    (tmp_path / "mix.jsonl").write_text("\n".join(map(json.dumps, rows)), encoding="utf-8")
    options = BuildOptions(str(tmp_path / "mix.jsonl"), label_column="part")
    with pytest.raises(InputError, match=r"mix\.jsonl: there is nothing to label"):
        DATA_SUBSET.build(options)
    long = [{"text": "word " * 30, "part": row["part"]} for row in rows]
    (tmp_path / "mix.jsonl").write_text("\n".join(map(json.dumps, long)), encoding="utf-8")
    assert DATA_SUBSET.build(options).features == ("arxiv", "uspto")
    for name in ("go/a.txt", "php/b.txt"):
        (tmp_path / "tree" / name).parent.mkdir(parents=True)
        (tmp_path / "tree" / name).write_text(f"some code of {name}", encoding="utf-8")
    assert build("programming_language", BuildOptions(str(tmp_path / "tree"))).features == ("Go", "PHP")


def test_real_source_files(shared: Path) -> None:
    check_real(PROGRAMMING.build(BuildOptions(str(shared / "data" / "code"))))


def test_real_treebanks(shared: Path) -> None:
    check_real(NATURAL.build(BuildOptions(str(shared / "data" / "ud"))), {"nl", "it", "el", "sv"})
