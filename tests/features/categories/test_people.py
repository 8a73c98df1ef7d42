"""Facts about people, on names written here."""

from __future__ import annotations

from pathlib import Path

import pytest

from optprobe.errors import InputError
from optprobe.features.catalogue import BuildOptions
from optprobe.features.categories.people import CATEGORY, people, people_prompts, surname
from optprobe.features.labelling import Document
from tests.features.categories.rules import check_real, words


def documents(*pairs: tuple[str, str]) -> list[Document]:
    return [Document(text, text, label) for text, label in pairs]


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Ada Example", "Example"),
        ("we met Bo Ó Briain", "Briain"),
        ("Carl Test-Case Jr.", "Test-Case"),
        ("Dee Sample, III", "Sample"),
        ("Eve Proof\n", "Proof"),
        ("Zed", "Zed"),
    ],
)
def test_surnames(text: str, expected: str) -> None:
    assert text[slice(*surname(text))] == expected


def test_every_value_is_against_the_others_of_its_property() -> None:
    sports = documents(("Ann Abel", "baseball"), ("Ben Boot", "football"), ("Cid Cole", "basketball player"))
    data = people_prompts([("occupation_athlete", sports)])
    assert words(data, "occupation_athlete_baseball_player", 1) == ["Abel"]
    assert words(data, "occupation_athlete_baseball_player", -1) == ["Boot", "Cole"]
    assert words(data, "occupation_athlete_American_football_player", 1) == ["Boot"]
    assert data.aggregation == "max"


def test_sets_of_one_value_and_sets_of_a_property_share_their_texts() -> None:
    data = people_prompts(
        [
            ("occupation=actor", documents(("Ann Abel", "1"), ("Ben Boot", "0"))),
            ("is_alive", documents(("Ann Abel", "True"), ("Cid Cole", "False"))),
        ]
    )
    assert len(data.texts) == 3
    assert (words(data, "occupation_actor", 1), words(data, "occupation_actor", -1)) == (["Abel"], ["Boot"])
    assert (words(data, "is_alive_true", 1), words(data, "is_alive_false", 1)) == (["Abel"], ["Cole"])


def test_texts_that_end_with_one_name_are_one_group() -> None:
    data = people_prompts(
        [("occupation=actor", documents(("Ann Abel", "1"), ("so says ANN Abel", "1"), ("Bo Boot", "0")))]
    )
    assert data.group.tolist() == [0, 0, 1]


def test_contradictions_are_left_out() -> None:
    data = people_prompts(
        [("occupation=actor", documents(("Al Abel", "1"), ("Al Abel", "0"), ("Cy Cole", "1"), ("Bo Boot", "0")))]
    )
    assert data.counts["occupation_actor"] == (1, 1)


TABLE = [
    ("Ann Abel", "sex_or_gender", "female"),
    ("Ben Boot", "sex_or_gender", "male"),
    ("Ben Boot", "occupation", "singer"),
    ("Cid Cole", "sex_or_gender", "other"),
    ("Dot Dean", "sex_or_gender", "male"),
    ("Dot Dean", "sex_or_gender", "female"),
]


def test_people_of_a_table_are_found_in_texts() -> None:
    text = "Then Ann Abel, with Ben Boot and Cid Cole (not Ann Abeling) met Dot Dean. Ann  Abel?"
    data = people([Document(text, "d")], TABLE)
    assert words(data, "sex_or_gender_female", 1) == ["Abel"]
    assert words(data, "sex_or_gender_female", -1) == ["Boot", "Cole"]
    assert data.texts == ("Then Ann Abel", "Then Ann Abel, with Ben Boot", "Then Ann Abel, with Ben Boot and Cid Cole")
    assert data.group.tolist() == [0, 1, 2]
    assert "occupation_singer" not in data.features


def test_mentions_are_limited_and_contexts_cut() -> None:
    text = "word " * 20 + "Ann Abel met " * 4 + "Ben Boot"
    data = people([Document(text, "d")], TABLE[:2], mentions=2, characters=12)
    assert words(data, "sex_or_gender_female", 1) == ["Abel", "Abel"]
    assert data.texts[0] == "word word Ann Abel"


def test_refusals() -> None:
    with pytest.raises(InputError, match="'height' of people"):
        people_prompts([("height", documents(("Ann Abel", "1")))])
    with pytest.raises(InputError, match=r"a\.csv, text 2: the label is '7'"):
        people_prompts([("is_alive", [Document("Ann Abel", "d", "7", "a.csv, text 2")])])
    with pytest.raises(InputError, match="row 1 of the table of names: 'Bo' has no name"):
        people([], [("Ann Abel", "is_alive", "true"), ("Bo", "is_alive", "true")])
    with pytest.raises(InputError, match="row 0 of the table of names: 'x' is not one of"):
        people([], [("Ann Abel", "x", "true")])
    with pytest.raises(InputError, match="nothing to label"):
        people([Document("nobody", "d")], TABLE)
    with pytest.raises(InputError, match="no CSV set of people"):
        CATEGORY.build(BuildOptions("none.csv"))


def test_real_sets(shared: Path) -> None:
    data = CATEGORY.build(BuildOptions(str(shared / "data" / "sae_probes")))
    athletes = {f"occupation_athlete_{sport}_player" for sport in ("association_football", "ice_hockey")}
    countries = {"United_States_of_America", "United_Kingdom", "Canada", "Australia", "France", "Germany"}
    check_real(data, athletes | {f"country_of_citizenship_{country}" for country in countries})
