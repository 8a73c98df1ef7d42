"""Compound words and their controls, on texts written here."""

from __future__ import annotations

from pathlib import Path

import pytest

from optprobe.errors import InputError
from optprobe.features.catalogue import BuildOptions
from optprobe.features.categories.compound_words import CATEGORY, compound_prompts, compound_words, occurrences
from optprobe.features.labelling import MIRROR, Document
from tests.features.categories.rules import check_real, words


def found(text: str, pair: str) -> list[tuple[str, int]]:
    passages = occurrences(Document(text, "d"))
    return [(p.text[p.start[0] : p.end[0]], int(p.labels[pair][0])) for p in passages if p.labels[pair][0]]


CASES = {
    "the compound": ("a High\nschool day", [("school", 1)]),
    "the second word alone": ("my old school", [("school", -1)]),
    "the first word before another": ("a high wall", [("wall", MIRROR)]),
    "a mark between": ("high-school, high. School", []),
    "a mark after the first word": ("so high, wall", []),
    "a mark before the second word": ("old-school", [("school", -1)]),
    "the second word first": ("school", []),
    "the first word last": ("so high", []),
    "parts of words": ("highest schools", []),
    "the first word twice": ("high high school", [("high", MIRROR), ("school", 1)]),
}


@pytest.mark.parametrize("case", CASES)
def test_occurrences_by_hand(case: str) -> None:
    text, expected = CASES[case]
    assert found(text, "high-school") == expected


def test_one_word_may_be_a_control_of_several_pairs() -> None:
    (passage,) = occurrences(Document("mental media", "d"))
    assert {pair: y[0] for pair, y in passage.labels.items() if y[0]} == {"social-media": -1, "mental-health": MIRROR}


def test_a_context_ends_with_the_word_and_begins_with_one() -> None:
    (passage,) = occurrences(Document("aaaa bbbb cccc high school dddd", "d"), characters=19)
    assert passage.text == "cccc high school"
    assert passage.text[passage.start[0] : passage.end[0]] == "school"
    (short,) = occurrences(Document("aaaa high school", "d"), characters=3)
    assert short.text == "high school"


def test_half_of_the_negatives_are_of_each_kind() -> None:
    text = "high school. " + "old school. " * 9 + "high wall. " * 3
    data = compound_words([Document(text, "d")], features=["high-school"])
    assert sorted(words(data, "high-school", -1)) == ["school"] * 3 + ["wall"] * 3
    assert words(data, "high-school", 1) == ["school"]


def test_prompts_are_read_at_their_last_word() -> None:
    prompts = [
        *[("in High School", "bigram"), ("in High School", "bigram"), ("highschool", "bigram")],
        *[("a school", "not_bigram"), ("high walls", "not_bigram"), ("odd Highs", "not_bigram")],
    ]
    data = compound_prompts({"high-school": [Document(text, text, label) for text, label in prompts]})
    assert words(data, "high-school", 1) == ["School"]
    assert sorted(words(data, "high-school", -1)) == ["school", "walls"]
    assert data.provenance["repeated labels"] == "1"
    assert data.provenance["prompts that are neither, left out"] == "high-school 2"


def test_contradictory_prompts_are_left_out() -> None:
    prompts = [("no high school", "bigram"), ("no high school", "not_bigram")]
    prompts += [("my high school", "bigram"), ("a school", "not_bigram"), ("high wall", "not_bigram")]
    data = compound_prompts({"high-school": [Document(text, text, label) for text, label in prompts]})
    assert data.counts["high-school"] == (1, 2)
    assert data.provenance["contradictory labels"] == "1"


def test_refusals() -> None:
    with pytest.raises(InputError, match=r"set\.csv, text 3: the label is 'maybe'"):
        compound_prompts({"high-school": [Document("high school", "d", "maybe", "set.csv, text 3")]})
    with pytest.raises(InputError, match="the prompt has no word"):
        compound_prompts({"high-school": [Document(" ", "d", "bigram")]})
    with pytest.raises(InputError, match="nothing to label"):
        compound_words([Document("nothing of the kind", "d")])


def test_real_sets(shared: Path) -> None:
    data = CATEGORY.build(BuildOptions(str(shared / "data" / "sae_probes")))
    check_real(data)
    assert len(data.features) == 21
    assert all(w.casefold() == "school" for w in words(data, "high-school", 1))


def test_real_texts(shared: Path) -> None:
    data = CATEGORY.build(BuildOptions(str(shared / "data" / "tex" / "openintro-statistics.jsonl")))
    assert {"blood-pressure", "control-group"} <= set(data.features)
    assert {w.casefold() for w in words(data, "control-group", 1)} == {"group"}
