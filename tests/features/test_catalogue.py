"""The catalogue: what there is, and how it is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from optprobe.errors import InputError
from optprobe.features.catalogue import BuildOptions, build, categories

SIZES = {
    "compound_words": 21,
    "data_subset": 9,
    "dependencies": 29,
    "latex": 14,
    "morphology": 22,
    "natural_language": 9,
    "part_of_speech": 16,
    "people": 23,
    "position": 5,
    "programming_language": 9,
    "python_tokens": 24,
    "text_features": 11,
}


def test_every_category_is_there_with_the_sizes_of_the_paper() -> None:
    assert {name: len(category.features) for name, category in categories().items()} == SIZES
    assert sum(SIZES.values()) >= 150


def test_names_are_unique_and_rules_are_sentences() -> None:
    features = [feature for category in categories().values() for feature in category.features]
    assert len({feature.name for feature in features}) == len(features)
    assert all(feature.rule and feature.source and "\n" not in feature.rule for feature in features)
    assert all(feature.category == name for name, c in categories().items() for feature in c.features)


@pytest.mark.parametrize("name", ["upos_PUNC", "dep_acl:relcl", "PronType_Rel", "first_eos_True", "C++", "pt", "uspto"])
def test_names_of_the_paper(name: str) -> None:
    assert name in {feature.name for category in categories().values() for feature in category.features}


def test_what_is_not_there_is_refused() -> None:
    with pytest.raises(InputError, match="no category or feature 'nothing'"):
        build("nothing", BuildOptions("."))
    with pytest.raises(InputError, match="give the tokenizer"):
        build("position", BuildOptions("."))


@pytest.mark.parametrize("characters", [40, 400])
def test_contexts_have_the_length_asked_for(characters: int, tmp_path: Path) -> None:
    for name in ("one.tex", "two.tex"):
        (tmp_path / name).write_text(rf"the line of {name} has $x_1 + \frac{{2}}{{y^3}}$" + "\n", encoding="utf-8")
        with (tmp_path / name).open("a", encoding="utf-8") as file:
            file.write("".join(f"word {i} of {name} and $z_{i}$\n" for i in range(40)))
    data = categories()["latex"].build(BuildOptions(str(tmp_path), characters=characters))
    longest = max(len(text) for text in data.texts)
    assert characters // 2 < longest <= characters
