"""The machine-checked proofs quote today's code and documents word for word; these name theorems that are there."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
from collections.abc import Mapping
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
PROOFS = {path.stem: path.read_text(encoding="utf-8") for path in sorted((ROOT / "proofs").glob("*.v"))}
PROOFS.pop("Assumptions", None)  # what `make proofs` writes
PAGE = (ROOT / "docs" / "certificates.md").read_text(encoding="utf-8")
CODE = {path: path.read_text(encoding="utf-8") for path in ROOT.glob("optprobe/**/*.py")}
NAMED = re.compile(r"(?:checker|docs|formulations|optprobe|proofs)/[\w./]*\w")
QUOTED = re.compile(rf'({NAMED.pattern}): "([^"]*)"')


def file(name: str) -> Path:
    """`checker` is the folder of the checker, as in docs/certificates.md."""
    return ROOT / re.sub("^checker/", "optprobe/certificates/checker/", name)


def squeezed(text: str) -> str:
    return " ".join(text.split())


def proved(kinds: str = "Theorem|Lemma|Corollary") -> set[str]:
    found = {stem: re.findall(rf"^ *(?:{kinds}) (\w+)", text, flags=re.MULTILINE) for stem, text in PROOFS.items()}
    return {f"{stem}.{name}" for stem, names in found.items() for name in names}


def test_theorems_that_the_page_names_are_there() -> None:
    named = re.findall(r"`([A-Z]\w*\.\w+)`", PAGE[PAGE.index("### Machine-checked proofs") :])
    assert len(named) > 40
    assert set(named) - {"File.name"} <= proved()


def test_names_of_proofs_in_the_code_are_there() -> None:
    named = {name for text in CODE.values() for name in re.findall(r"`([A-Z]\w*\.\w+)` of the machine-checked", text)}
    assert {"Majorant.h_majorised_rounded", "Tree.walk"} <= named <= proved("Theorem|Lemma|Corollary|Fixpoint")


@pytest.mark.parametrize("stem", PROOFS)
def test_what_a_proof_quotes_stands_where_it_says(stem: str) -> None:
    text = PROOFS[stem]
    quotes = QUOTED.findall(text)
    assert text.count('"') == 2 * len(quotes), "a quotation is of the form PATH: followed by the words in quotes"
    for name, words in quotes:
        assert squeezed(words) in squeezed(file(name).read_text(encoding="utf-8")), (name, words)
    assert [name for name in NAMED.findall(text) if not file(name).exists()] == []
    ours = "\n".join(CODE.values())
    assert [name for name in re.findall(r"(?<!`)`(\w+)`(?!`)", text) if not re.search(rf"\b{name}\b", ours)] == []


@pytest.mark.parametrize("stem", PROOFS)
def test_no_proof_is_open(stem: str) -> None:
    assert re.findall(r"\b(?:Admitted|Axioms?|Conjectures?|Parameters?|admit|Abort)\b", PROOFS[stem]) == []
    assert len(re.findall(r"\bProof\b", PROOFS[stem])) == len(re.findall(r"\bQed\b", PROOFS[stem]))


def made(environment: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    make = shutil.which("make")
    assert make is not None
    return subprocess.run([make, "proofs"], cwd=ROOT, env=dict(environment), capture_output=True, text=True)


def test_without_coq_the_proofs_are_skipped_with_the_reason() -> None:
    skipped = made({"PATH": "/nowhere"})
    assert skipped.returncode == 0
    assert "no coqc (Debian packages coq and libcoq-flocq)" in skipped.stdout


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("coqc") is None, reason="there is no coqc")
def test_coq_accepts_every_proof() -> None:
    checked = made(os.environ)
    assert checked.returncode == 0, checked.stdout + checked.stderr
