"""`optprobe features`: the list, a dataset from a file, what `check` says of it, and its neurons."""

from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import pytest

from optprobe.activations import Activations
from optprobe.cli.main import main
from optprobe.features import FeatureDataset, catalogue, load
from optprobe.features.catalogue import BuildOptions, Category, Feature
from optprobe.features.sources.texts import read_texts

WORD = re.compile(r"\w+")


def build_words(options: BuildOptions) -> FeatureDataset:
    """Every word of the texts: long or not, capital or not."""
    texts = read_texts(options.source, group_column=options.group_column)
    words = [(t, m.start(), m.end(), m[0]) for t, text in enumerate(texts.texts) for m in WORD.finditer(text)]
    text = np.array([t for t, *_ in words])
    labels = {
        "long": np.array([1 if len(w) > 5 else -1 for *_, w in words]),
        "never": np.array([-1 for _ in words]),
    }
    return FeatureDataset(
        "words",
        texts.texts,
        text,
        np.array([a for _, a, _, _ in words]),
        np.array([b for _, _, b, _ in words]),
        texts.group[text],
        labels,
        {"long": "+1 for more than five letters, -1 for others", "never": "-1"},
        provenance=texts.provenance,
    )


@pytest.fixture
def words(monkeypatch: pytest.MonkeyPatch) -> None:
    features = tuple(Feature(name, "words", f"rule of {name}", "any text") for name in ("long", "never"))
    monkeypatch.setattr(catalogue, "categories", lambda: {"words": Category("words", features, build_words)})


@pytest.fixture
def source(tmp_path: Path) -> Path:
    texts = [f"Boat number {i} leaves harbour {i * i} before sunrise" for i in range(40)]
    texts += ["Boat number 3 leaves harbour 9 before sunrise", "The captain counts seagulls", "BOAT number 5, leaves "]
    path = tmp_path / "boats.jsonl"
    path.write_text("\n".join(json.dumps({"text": text, "day": i // 2}) for i, text in enumerate(texts)))
    return path


def run(*arguments: object) -> int:
    return main(["features", *map(str, arguments)])


@pytest.mark.usefixtures("words")
def test_a_dataset_is_built_checked_and_extracted(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    out = tmp_path / "made"
    assert (
        run("build", "words", "--source", source, "--group-column", "day", "--out", out, "--tokenizer", "bundled") == 0
    )
    data = load(out)
    assert data.features == ("long", "never")
    assert data.digest in capsys.readouterr().out
    of_text = {data.texts[t]: g for t, g in zip(data.text, data.group)}
    assert of_text["Boat number 3 leaves harbour 9 before sunrise"] == of_text["The captain counts seagulls"]
    assert data.provenance["duplicates"].startswith("1 texts equal or nearly equal another")

    assert run("check", out, "--tokenizer", "bundled", "--examples", 6) == 0
    said = capsys.readouterr().out
    assert "1 texts equal an earlier one, 1 equal or nearly equal one" in said
    assert "never has no split: a split needs labels of two values, and y has 1" in said
    positive, negative = data.counts["long"]
    line = next(line.split() for line in said.splitlines() if line.startswith("long "))
    assert line[1:4] == [str(positive), str(negative), "0"]
    assert len(line) == 7
    shown = re.findall(r"^(long|never) ([+-]1)  .*\[(\w+)\].*  token \"([ \w]+)\"$", said, flags=re.MULTILINE)
    assert len(shown) == 6
    for feature, label, word, token in shown:
        assert label == ("+1" if feature == "long" and len(word) > 5 else "-1")
        assert word.endswith(token.strip())

    acts = tmp_path / "acts"
    assert main(["extract", "bundled", "--dataset", str(out), "--layers", "0", "--out", str(acts)]) == 0
    store = Activations.open(acts)
    assert store.manifest["dataset"]["digest"] == data.digest
    assert store.n_rows == data.n_rows
    capsys.readouterr()
    assert run("check", out, "--activations", acts) == 0
    said = capsys.readouterr().out
    leaking = re.search(r"long, layer 0: (\d+) of (\d+) test rows have the activation vector of a training row", said)
    assert leaking is not None
    assert 0 < int(leaking[1]) <= int(leaking[2])
    assert "never, layer 0: a split needs labels of two values" in said
    assert run("build", "long", "--source", source, "--out", tmp_path / "other") == 0
    assert run("check", tmp_path / "other", "--activations", acts) == 2
    assert "are of another dataset" in capsys.readouterr().err


@pytest.mark.usefixtures("words")
def test_one_feature_with_a_sampling(source: Path, tmp_path: Path) -> None:
    assert run("build", "long", "--source", source, "--rows", 50, "--out", tmp_path / "made") == 0
    data = load(tmp_path / "made")
    assert (data.name, data.n_rows) == ("words/long", 50)


@pytest.mark.usefixtures("words")
def test_the_list_names_category_rule_source_and_counts(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("build", "words", "--source", source, "--out", tmp_path / "made") == 0
    positive, negative = load(tmp_path / "made").counts["long"]
    capsys.readouterr()
    assert run("--counts", tmp_path / "made") == 0
    said = capsys.readouterr().out
    assert re.search(rf"words +long +{positive} \+ / {negative} - +rule of long \(any text\)", said)
    assert re.search(r"bundled +is_french +250 \+ / 750 -", said)
    assert said.splitlines()[-1] == f"{2 + len(load('bundled').features)} features in 2 categories"


@pytest.mark.usefixtures("words")
@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["build", "verbs", "--source", "{source}", "--out", "{out}"], "no category or feature 'verbs'; there are the"),
        (["build", "words", "--source", "{source}x", "--out", "{out}"], "there is no file or folder"),
        (
            ["build", "words", "--source", "{source}", "--group-column", "week", "--out", "{out}"],
            "has no column 'week'",
        ),
        (
            ["build", "never", "--source", "{source}", "--rows-of-class", "2", "--out", "{out}"],
            "'never' has 0 rows labe",
        ),
        (["build", "words", "--source", "{source}", "--tokenizer", "{out}", "--out", "{out}"], "{out}"),
        (["check", "{out}"], "there is no dataset or feature|is not a dataset"),
        (["check", "{out}", "--examples", "-1"], "--examples and --seed are numbers from 0"),
        (["build", "words", "--source", "{source}", "--characters", "0", "--out", "{out}"], "at least one character"),
        (["build", "words", "--source", "{source}", "--seed", "-1", "--out", "{out}"], "the seed is a number from 0"),
        (["build", "words", "--source", "{source}", "--table", "t.csv", "--out", "{out}"], "takes no table of names"),
    ],
)
def test_bad_input_is_one_line_and_leaves_nothing(
    arguments: list[str], sentence: str, source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {"source": source, "out": tmp_path / "made"}
    assert run(*(argument.format(**names) for argument in arguments)) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1
    assert re.search(sentence.format(**names), said)
    assert list(tmp_path.iterdir()) == [source]


@pytest.mark.usefixtures("words")
def test_an_existing_folder_is_not_overwritten(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run("build", "words", "--source", source, "--out", tmp_path) == 2
    assert "exists already" in capsys.readouterr().err


def test_features_of_tokens_need_a_tokenizer(monkeypatch: pytest.MonkeyPatch, source: Path, tmp_path: Path) -> None:
    category = Category("tokens", (Feature("f", "tokens", "r", "s"),), build_words, needs_tokenizer=True)
    monkeypatch.setattr(catalogue, "categories", lambda: {"tokens": category})
    assert run("build", "tokens", "--source", source, "--out", tmp_path / "made") == 2


def test_a_feature_of_two_categories_is_named_with_one(monkeypatch: pytest.MonkeyPatch, source: Path) -> None:
    features = {name: (Feature("long", name, "r", "s"),) for name in ("words", "others")}
    known = {name: Category(name, f, build_words) for name, f in features.items()}
    monkeypatch.setattr(catalogue, "categories", lambda: known)
    options = BuildOptions(str(source))
    with pytest.raises(ValueError, match="several categories have a feature 'long': give one as words/long"):
        catalogue.build("long", options)
    assert catalogue.build("others/long", options).features == ("long",)


def test_the_catalogue_collects_the_modules_of_the_package() -> None:
    found = catalogue.categories()
    assert all(name == category.name for name, category in found.items())
    for category in found.values():
        assert all(feature.category == category.name for feature in category.features)
        assert len({feature.name for feature in category.features}) == len(category.features)


@pytest.mark.usefixtures("words")
def test_an_interrupted_build_leaves_nothing(
    source: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("pyarrow.parquet.write_table", interrupted)
    assert run("build", "words", "--source", source, "--out", tmp_path / "made") == 130
    assert capsys.readouterr().err == "optprobe features: interrupted\n"
    assert list(tmp_path.iterdir()) == [source]


def test_people_of_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts, table, out = tmp_path / "texts.txt", tmp_path / "names.csv", tmp_path / "made"
    texts.write_text("Here came Ada Example, and after her Bo Sample. Ada Example sang.", encoding="utf-8")
    table.write_text("name,property,value\nAda Example,occupation,singer\nBo Sample,occupation,actor\n")
    assert run("build", "people", "--source", texts, "--table", table, "--out", out) == 0
    data = load(out)
    assert data.counts["occupation_singer"] == (2, 1)
    assert data.provenance["table"] == str(table)
    table.write_text("name,property\nAda Example,occupation\n")
    capsys.readouterr()
    assert run("build", "people", "--source", texts, "--table", table, "--out", tmp_path / "other") == 2
    assert "names.csv has no column 'value'" in capsys.readouterr().err


def test_from_sources_to_a_verified_certificate(
    shared: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    made, acts = tmp_path / "code", tmp_path / "acts"
    source = shared / "data" / "code"
    options = ["--rows", 300, "--characters", 300, "--source", source]
    assert run("build", "programming_language/Python", *options, "--out", made) == 0
    data = load(made)
    assert (data.n_rows, data.aggregation) == (300, "mean")
    assert data.provenance["documents"] == "texts of one repo"
    assert run("check", made, "--tokenizer", "bundled") == 0
    assert "0 rows have no token of their own" in capsys.readouterr().out
    assert main(["extract", "bundled", "--dataset", str(made), "--layers", "1", "--out", str(acts)]) == 0
    question = ["--k", "1", "--loss", "squared", "--out", str(tmp_path), "--json"]
    capsys.readouterr()
    assert main(["solve", str(acts), *question]) == 0
    record = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert record["status"].startswith("optimal")
    assert main(["verify", record["certificate"], "--data", str(acts)]) == 0


def listed(capsys: pytest.CaptureFixture[str], *arguments: object) -> list[list[str]]:
    """Category, feature and the rest of each line of the list."""
    assert run(*arguments) == 0
    lines = capsys.readouterr().out.splitlines()
    assert lines[-1].startswith(f"{len(lines) - 2} features in ")
    return [line.split(maxsplit=2) for line in lines[1:-1]]


def test_the_list_is_filtered(capsys: pytest.CaptureFixture[str]) -> None:
    everything = listed(capsys)
    of_category = listed(capsys, "--category", "natural_language")
    assert of_category == [row for row in everything if row[0] == "natural_language"]
    found = listed(capsys, "--find", "LANGUAGE", "the language fr,")
    assert ["natural_language", "fr"] in [row[:2] for row in found]
    assert found == [row for row in everything if "the language fr," in row[2]]
    assert 0 < len(found) < len(everything)
    assert run("--category", "nothing") == 2
    assert "there is no category 'nothing'; there are " in capsys.readouterr().err
    assert run("--find", "zzzz") == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_what_a_dataset_lacks_is_absent_and_said(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    texts = {"french": "une phrase de plus", "german": "noch ein Satz", "russian": "ещё одно предложение"}
    rows = [{"text": f"{text} {i}", "language": name} for name, text in texts.items() for i in range(4)]
    source, out = tmp_path / "mixed.jsonl", tmp_path / "languages"
    source.write_text("\n".join(map(json.dumps, rows)))
    assert run("build", "natural_language", "--source", source, "--label-column", "language", "--out", out) == 0
    said = capsys.readouterr().out.splitlines()
    assert "negatives without a feature of their own: russian (4 contexts)" in said
    assert "absent: spanish, english, dutch" in "\n".join(said) or "absent: es, en, nl, it, el, pt, sv" in said
    counted = {row[1]: row[2] for row in listed(capsys, "--category", "natural_language", "--counts", out)}
    assert counted["fr"].startswith("4 + / 8 -")
    assert counted["es"].startswith("absent ")
