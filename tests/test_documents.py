"""What README and docs tell a user to type: every command is one, and what needs no public data runs as it stands."""

from __future__ import annotations

import json
import re
import runpy
import shlex
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from optprobe.cli.main import main, parser

ROOT = Path(__file__).parents[1]
DOCUMENTS = [
    *(ROOT / name for name in ("README.md", "CONTRIBUTING.md", "experiments/README.md")),
    *sorted((ROOT / "docs").glob("*.md")),
]
PROGRAMS = ("optprobe", "make", "python", "pip", "source")

WORDS = (("the", "DET"), ("boat", "NOUN"), ("leaves", "VERB"), ("harbour", "NOUN"), ("before", "ADP"), ("me", "PRON"))


def sentence(number: int) -> str:
    """A sentence of a treebank in the format CoNLL-U: a few words, over and over."""
    words = [WORDS[(number + i) % len(WORDS)] for i in range(18)]
    rows = [f"{i}\t{word}\t{word}\t{tag}\t_\t_\t{i - 1}\tdep\t_\t_" for i, (word, tag) in enumerate(words, 1)]
    return "\n".join([f"# sent_id = {number}", *rows, "", ""])


def commands(document: Path) -> list[list[str]]:
    """The command lines of the indented blocks, in words."""
    lines = re.findall(r"^    (\w+ .*)$", document.read_text(encoding="utf-8"), flags=re.MULTILINE)
    return [shlex.split(line, comments=True) for line in lines if line.split()[0] in PROGRAMS]


def python_blocks(document: Path) -> list[str]:
    return re.findall(r"^```python\n(.*?)^```$", document.read_text(encoding="utf-8"), flags=re.MULTILINE | re.DOTALL)


def run(lines: list[list[str]]) -> None:
    for program, *arguments in lines:
        assert program == "optprobe"
        assert main(arguments) == 0, arguments


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_every_command_is_one(document: Path) -> None:
    targets = re.findall(r"^(\w+):", (ROOT / "Makefile").read_text(encoding="utf-8"), flags=re.MULTILINE)
    for program, *arguments in commands(document):
        if program == "optprobe":
            parser().parse_args(arguments)
        elif program == "make":
            assert arguments[0] in targets
        elif program == "source":
            assert f"VENV   ?= {Path(arguments[0]).parents[1]}" in (ROOT / "Makefile").read_text(encoding="utf-8")
        elif program == "pip":
            assert arguments == ["install", "."]
        elif arguments[1].startswith("experiments."):
            assert (ROOT / "experiments" / f"{arguments[1].removeprefix('experiments.')}.py").exists()
            assert (ROOT / arguments[arguments.index("--config") + 1]).exists()


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: path.name)
def test_files_that_are_named_are_there(document: Path) -> None:
    tops = "optprobe|formulations|experiments|benchmarks|proofs|tests|docs"
    for name in re.findall(rf"[`(]((?:{tops})/[\w./]*\w)[`)]", document.read_text(encoding="utf-8")):
        assert (ROOT / name).exists(), name


@pytest.mark.parametrize("document", [*DOCUMENTS, ROOT / "CHANGELOG.md"], ids=lambda path: path.name)
def test_lines_are_as_long_as_those_of_the_code(document: Path) -> None:
    """Rows of tables apart, which cannot be wrapped."""
    lines = document.read_text(encoding="utf-8").splitlines()
    assert [line for line in lines if len(line) > 120 and not line.startswith("|")] == []


def test_the_documents_have_commands() -> None:
    found = {str(document.relative_to(ROOT)): len(commands(document)) for document in DOCUMENTS}
    assert found["README.md"] >= 9
    assert found["docs/features.md"] >= 19
    assert found["docs/extraction.md"] >= 2


def test_every_python_block_compiles() -> None:
    blocks = [block for document in DOCUMENTS for block in python_blocks(document)]
    assert len(blocks) >= 2
    for block in blocks:
        compile(block, "block", "exec")


@pytest.mark.slow
def test_the_commands_of_the_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """In their order, in an empty folder; and those of docs/extraction.md on the store that they leave."""
    monkeypatch.chdir(tmp_path)
    run([line for line in commands(ROOT / "README.md") if line[0] == "optprobe"])
    assert Path("is_french.layer3.k3.squared.ridge0.01.cert").exists()
    run([line for line in commands(ROOT / "docs" / "extraction.md") if line[0] == "optprobe"])


@pytest.mark.slow
def test_the_python_of_the_readme(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    rng = np.random.default_rng(0)
    X = rng.standard_normal((60, 5))
    for block in python_blocks(ROOT / "README.md"):
        exec(block, {"X": X, "y": X[:, 0] + rng.standard_normal(60) > 0, "t": 3 * X[:, 0] + X[:, 1] ** 2})
    assert Path("french.cert").exists()


@pytest.mark.slow
def test_the_commands_of_the_features(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The first block of docs/features.md, on a treebank and texts written here."""
    monkeypatch.chdir(tmp_path)
    Path("treebank.conllu").write_text("".join(map(sentence, range(60))), encoding="utf-8")
    texts = [{"text": f'Boat {i} leaves. It IS late, "so" 12 men wait:\nno {i} wind.', "author": i} for i in range(60)]
    Path("texts.jsonl").write_text("\n".join(map(json.dumps, texts)), encoding="utf-8")
    first, *_ = re.split(r"\n## ", (ROOT / "docs" / "features.md").read_text(encoding="utf-8"))
    Path("first.md").write_text(first, encoding="utf-8")
    run(commands(Path("first.md")))


@pytest.mark.slow
def test_the_python_of_what_neurons_do(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The blocks of docs/causal.md, one after another."""
    monkeypatch.chdir(tmp_path)
    made: dict[str, Any] = {}
    for block in python_blocks(ROOT / "docs" / "causal.md"):
        exec(block, made)
    assert made["found"].names == ("415", "mean")
    assert made["ablation"].record()["reference"]["name"] == "words not French"


@pytest.mark.slow
def test_the_rows_of_ones_own_hooks() -> None:
    """The example of docs/extraction.md gives the support that extraction gives."""
    import optprobe as op

    (block,) = python_blocks(ROOT / "docs" / "extraction.md")
    made: dict[str, Any] = {}
    exec(block, made)
    acts = op.extract("bundled", op.features.load("is_french"), layers=[3], device="cpu")
    best = op.solve(op.problem(acts, feature="is_french", layer=3, k=2, loss="squared", ridge=0.01))
    assert made["best"].support == best.support
    assert made["best"].optimal


def test_the_study_of_ones_own(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The example of docs/studies.md, on a store in which two neurons are the labels."""
    from optprobe.activations import activations_of

    monkeypatch.chdir(tmp_path)
    X = np.random.default_rng(0).normal(size=(120, 6)).astype(np.float32)
    labels = {"is_french": np.where(X[:, 4] > 0, 1, -1), "is_german": np.where(X[:, 1] > 0, 1, -1)}
    activations_of({3: X}, labels, np.arange(120) // 3).save("acts")
    (block,) = python_blocks(ROOT / "docs" / "studies.md")
    Path("example.py").write_text(block, encoding="utf-8")
    made = runpy.run_path("example.py")
    assert made["outcome"].done == 2
    assert made["neurons"] == [4, 1]


def test_the_category_of_the_features() -> None:
    from optprobe.features.catalogue import Category, Feature

    (block,) = python_blocks(ROOT / "docs" / "features.md")
    made = {"Category": Category, "Feature": Feature, "build": lambda options: None}
    exec(block, made)
    assert isinstance(made["CATEGORY"], Category)
