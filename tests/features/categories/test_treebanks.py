"""Parts of speech, relations and morphology, on a treebank written here."""

from __future__ import annotations

from pathlib import Path

import pytest

from optprobe.errors import InputError
from optprobe.features.categories.dependencies import dependencies
from optprobe.features.categories.morphology import morphology
from optprobe.features.categories.part_of_speech import part_of_speech
from optprobe.features.categories.treebank import treebank_contexts
from optprobe.features.sources.conllu import read_conllu
from tests.features.categories.rules import check_real, words

# Form, part of speech, features, relation; a bar ends a sentence and an equals sign opens a document.
MARKED = """
= one
Dogs NOUN Number=Plur nsubj
slept VERB Mood=Ind|Tense=Past|VerbForm=Fin root
. PUNCT _ punct
|
A DET PronType=Art det
cat NOUN Number=Sing nsubj
who PRON PronType=Int,Rel nsubj:pass
was AUX Mood=Ind|Person=3|Tense=Past|VerbForm=Fin aux:pass
seen VERB VerbForm=Part|Voice=Pass|Tense=Past acl:relcl
left VERB VerbForm=Inf root
! PUNCT _ punct
|
= two
Eat VERB Mood=Imp|VerbForm=Fin|Person=2 root
her PRON Gender=Fem|PronType=Prs|Person=3 nmod:poss
two NUM NumType=Card nummod
its PRON Gender=Neut|PronType=Prs nmod:poss
eats VERB Mood=Ind|Tense=Pres|VerbForm=Fin acl
so ADV _ advmod
|
"""


@pytest.fixture
def treebank(tmp_path: Path) -> Path:
    lines: list[str] = []
    number = 0
    for line in MARKED.strip().split("\n"):
        if line == "|":
            lines.append("")
            number = 0
        elif line.startswith("= "):
            lines.append(f"# newdoc id = {line[2:]}")
        else:
            form, upos, feats, deprel = line.split()
            number += 1
            lines.append("\t".join([str(number), form, "_", upos, "_", feats, "0", deprel, "_", "_"]))
    path = tmp_path / "marked.conllu"
    path.write_text("\n".join([*lines, ""]), encoding="utf-8")
    return path


def test_contexts_are_runs_of_sentences_of_one_document(treebank: Path) -> None:
    sentences = read_conllu(treebank)
    assert [c.text for c in treebank_contexts(sentences)] == [
        "Dogs slept . A cat who was seen left !",
        "Eat her two its eats so",
    ]
    assert next(c.text for c in treebank_contexts(sentences, 20)) == "Dogs slept ."
    assert all(c.text[a:b] == w.form for c in treebank_contexts(sentences) for w, a, b in zip(c.words, c.start, c.end))


def test_parts_of_speech_are_one_against_the_rest(treebank: Path) -> None:
    data = part_of_speech(treebank, skip=0)
    assert words(data, "upos_PUNC", 1) == [".", "!"]
    assert words(data, "upos_AUX", 1) == ["was"]
    assert len(words(data, "upos_AUX", -1)) == data.n_rows - 1
    assert set(data.provenance["absent"].split(", ")) == {
        f"upos_{t}" for t in ["ADP", "SYM", "SCONJ", "ADJ", "CCONJ", "PROPN", "X", "INTJ"]
    }
    assert len(set(data.group.tolist())) == 2


def test_relations_are_exact(treebank: Path) -> None:
    data = dependencies(treebank, skip=0)
    assert words(data, "dep_acl", 1) == ["eats"]
    assert words(data, "dep_acl:relcl", 1) == ["seen"]
    assert "seen" in words(data, "dep_acl", -1)
    assert words(data, "dep_nsubj", 1) == ["Dogs", "cat"]


MORPHOLOGY = {
    "VerbForm_Fin": (["slept", "was", "Eat", "eats"], ["seen", "left"]),
    "VerbForm_Part": (["seen"], ["slept", "was", "left", "Eat", "eats"]),
    "PronType_Rel": (["who"], ["A", "her", "its"]),
    "PronType_Int": (["who"], ["A", "her", "its"]),
    "Person_2": (["Eat"], ["was", "her"]),
    "Gender_Fem": (["her"], ["its"]),
    "Number_Plur": (["Dogs"], ["cat"]),
    "Mood_Imp": (["Eat"], ["slept", "was", "eats"]),
    "Tense_Past": (["slept", "was", "seen"], ["eats"]),
    "Voice_Pass": (["seen"], ["slept", "left", "Eat", "eats"]),
    "first_eos_True": (["."], ["!"]),
}


@pytest.mark.parametrize("feature", MORPHOLOGY)
def test_morphology_by_hand(treebank: Path, feature: str) -> None:
    data = morphology(treebank, skip=0)
    assert (words(data, feature, 1), words(data, feature, -1)) == MORPHOLOGY[feature]


def test_ends_of_sentences_need_a_mark(treebank: Path) -> None:
    data = morphology(treebank, skip=0)
    assert words(data, "eos_True", 1) == [".", "!"]
    assert "so" in words(data, "eos_True", -1)
    assert words(data, "NumType_Card", 1) == ["two"]


def test_the_first_words_of_a_context_are_left_out(treebank: Path) -> None:
    assert words(part_of_speech(treebank, skip=3), "upos_DET", 1) == ["A"]
    assert "slept" not in words(part_of_speech(treebank, skip=3), "upos_DET", -1)


def test_refusals(treebank: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"marked\.conllu: 'upos_X' needs both classes, and no row is labelled \+1"):
        part_of_speech(treebank, features=["upos_X"])
    with pytest.raises(InputError, match="no feature 'upos_Y'"):
        part_of_speech(treebank, features=["upos_Y"])
    with pytest.raises(InputError, match="no text is longer than 99 words"):
        part_of_speech(treebank, skip=99)
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"no file \*\.conllu"):
        part_of_speech(tmp_path / "empty")


@pytest.mark.parametrize("build", [part_of_speech, dependencies, morphology])
def test_real_treebank(shared: Path, build: type) -> None:
    check_real(build(shared / "data" / "ud" / "en_ewt-ud-train.cut.conllu"))
