"""
Facts about people: sex or gender, whether they are alive, occupation, sport, party, citizenship (Gurnee et al. 2023).

A row is a surname, read as the maximum over its tokens, at the end of a context. The surname is the last word of the
name that is no suffix such as Jr. or III.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Iterator, Mapping

from optprobe.errors import InputError
from optprobe.features.catalogue import BuildOptions, Category, Feature
from optprobe.features.categories.prompts import (
    Prompt,
    checked_label,
    csv_files,
    label_prompts,
    read_prompts,
)
from optprobe.features.dataset import FeatureDataset
from optprobe.features.labelling import Document
from optprobe.features.sources.documents import provenance_of, read_documents
from optprobe.features.sources.texts import read_texts

NAME = "people"
SOURCE = "the CSV sets of SAE-Probes (5, 7, 56 to 64, 108), or texts and a table of names with their values"
PROPERTIES: dict[str, dict[str, tuple[str, ...]]] = {
    "sex_or_gender": {"female": (), "male": ()},
    "is_alive": {"true": (), "false": ()},
    "occupation": dict.fromkeys(("politician", "actor", "researcher", "singer", "journalist", "athlete"), ()),
    "occupation_athlete": {
        "association football player": ("soccer",),
        "basketball player": ("basketball",),
        "American football player": ("football",),
        "baseball player": ("baseball",),
        "ice hockey player": ("ice hockey",),
    },
    "political_party": {"Republican Party": (), "Democratic Party": ()},
    "country_of_citizenship": dict.fromkeys(
        ("United States of America", "United Kingdom", "Canada", "Australia", "France", "Germany"), ()
    ),
}
"""The values of each property, with other spellings of each."""

RULES = {
    f"{p}_{value}".replace(" ", "_"): f"+1 for people with {p} {value}, -1 for people with another {p}, 0 if unknown"
    for p, values in PROPERTIES.items()
    for value in values
}
FEATURES = tuple(Feature(name, NAME, rule, SOURCE) for name, rule in RULES.items())

CHARACTERS = 500
"""Characters of a context before the name: about the paper's 128 tokens."""

_SUFFIX = re.compile(r"[,\s]+(?:Jr\.?|Sr\.?|II|III|IV)\s*$")
_SURNAME = re.compile(r"\S+$")
_TRUTH = {"1": 1, "true": 1, "0": -1, "false": -1}


def surname(name: str) -> tuple[int, int]:
    """
    Return the span of the surname in a name, or in a text that ends with a name.

    Parameters
    ----------
    name : str
        The name, or the text; white space and marks after the name belong to nothing.

    Returns
    -------
    tuple of int
        Begin and end, in characters.

    Raises
    ------
    InputError
        If there is no word.
    """
    end = len(name.rstrip(" \t\r\n,;:!?\"'”’)]"))
    if suffix := _SUFFIX.search(name[:end]):
        end = suffix.start() or end
    match = _SURNAME.search(name[:end])
    if not match:
        raise InputError(f"the name {name[-40:]!r} has no word")
    return match.span()


def people_prompts(
    sets: Iterable[tuple[str, Iterable[Document]]],
    *,
    features: Collection[str] | None = None,
    provenance: Mapping[str, str] | None = None,
    licence: str = "",
) -> FeatureDataset:
    """
    Label texts that end with a name, as the CSV sets have them.

    Parameters
    ----------
    sets : iterable of (str, iterable of Document)
        A property ("political_party") and texts labelled with its values; or one value ("occupation=actor") and texts
        labelled 1 or 0, true or false.
    features, provenance, licence
        As in `join`.

    Returns
    -------
    FeatureDataset
        One row a text, aggregated by the maximum over the surname. Texts that end with the same two words are taken for
        the same person, and are one group.

    Raises
    ------
    InputError
        If a label is none of those known (the sentence names file and row), or a feature asked for has one class only.
    """

    def prompts() -> Iterator[Prompt]:
        for subject, documents in sets:
            for document in documents:
                try:
                    span = surname(document.text)
                except InputError as error:
                    raise InputError(f"{document.where or document.name}: {error}") from error
                person = " ".join(document.text[: span[1]].casefold().split()[-2:])
                yield Prompt(document.text, span, person, _labels(subject, document))

    return label_prompts(
        NAME, prompts(), RULES, features=features, aggregation="max", provenance=provenance, licence=licence
    )


def _labels(subject: str, document: Document) -> dict[str, int]:
    """Return the labels that a set gives a text."""
    if subject in PROPERTIES:
        spelling = {s.casefold(): value for value, also in PROPERTIES[subject].items() for s in (value, *also)}
        value = spelling[checked_label(document, tuple(spelling))]
        return {_feature(subject, v): 1 if v == value else -1 for v in PROPERTIES[subject]}
    name, _, value = subject.partition("=")
    if value in PROPERTIES.get(name, ()):
        return {_feature(name, value): _TRUTH[checked_label(document, tuple(_TRUTH))]}
    raise InputError(f"there is no property {subject!r} of people; there are {', '.join(PROPERTIES)}")


def _feature(subject: str, value: str) -> str:
    return f"{subject}_{value}".replace(" ", "_")


def people(
    documents: Iterable[Document],
    table: Iterable[tuple[str, str, str]],
    *,
    features: Collection[str] | None = None,
    characters: int = CHARACTERS,
    mentions: int = 5,
    provenance: Mapping[str, str] | None = None,
    licence: str = "",
) -> FeatureDataset:
    """
    Find people of a table in texts; each mention is the end of a context of its own.

    Parameters
    ----------
    documents : iterable of Document
        Any texts.
    table : iterable of (str, str, str)
        Name, property, value: ("Ada Example", "occupation", "researcher"). A value without a feature of its own is a
        negative of the property's features; a person with two values of one property has none.
    features, provenance, licence
        As in `join`.
    characters : int
        Characters before the name at most.
    mentions : int
        Mentions of one person at most.

    Returns
    -------
    FeatureDataset
        One row a mention, aggregated by the maximum over the surname; a person is one group.

    Raises
    ------
    InputError
        If a property is unknown, a name has one word only, or no name is found in the texts.
    """
    labels = _table_labels(table)
    by_first: dict[str, list[str]] = defaultdict(list)
    for name in sorted(labels, key=len, reverse=True):
        by_first[name.split()[0]].append(name)
    seen: dict[str, int] = defaultdict(int)

    def prompts() -> Iterator[Prompt]:
        for document in documents:
            end = 0
            for word in re.finditer(r"\w[^\s]*", document.text):
                here = word.start()
                found = (n for n in by_first.get(word[0], ()) if _stands(document.text, here, n))
                name = next(found, None) if here >= end else None
                if name and seen[name] < mentions:
                    seen[name] += 1
                    end = here + len(name)
                    cut = max(0, here - characters)
                    gap = document.text.find(" ", cut, here) if cut else -1
                    cut = gap + 1 if gap >= 0 else cut
                    span = surname(name)
                    shifted = here - cut + span[0], here - cut + span[1]
                    yield Prompt(document.text[cut:end], shifted, name, labels[name])

    return label_prompts(
        NAME, prompts(), RULES, features=features, aggregation="max", provenance=provenance, licence=licence
    )


def _stands(text: str, here: int, name: str) -> bool:
    """Whether a name stands at a position of a text, as whole words."""
    end = here + len(name)
    return text.startswith(name, here) and not text[end : end + 1].isalnum()


def _table_labels(table: Iterable[tuple[str, str, str]]) -> dict[str, dict[str, int]]:
    """Return the labels of every person of a table."""
    values: dict[str, dict[str, set[str]]] = defaultdict(lambda: defaultdict(set))
    for row, (name, subject, value) in enumerate(table):
        if subject not in PROPERTIES:
            raise InputError(f"row {row} of the table of names: {subject!r} is not one of {', '.join(PROPERTIES)}")
        if len(name.split()) < 2:
            raise InputError(f"row {row} of the table of names: {name!r} has no name before the surname")
        values[" ".join(name.split())][subject].add(value.casefold())
    labels: dict[str, dict[str, int]] = {}
    for name, known in values.items():
        labels[name] = {
            _feature(subject, value): 1 if given & {s.casefold() for s in (value, *also)} else -1
            for subject, given in known.items()
            if len(given) == 1
            for value, also in PROPERTIES[subject].items()
        }
    return labels


_COLUMNS = ("property", "value")

_SETS = {
    "hist_fig_ismale": "sex_or_gender=male",
    "hist_fig_ispolitician": "occupation=politician",
    "wikidatasex_or_gender": "sex_or_gender",
    "wikidatais_alive": "is_alive",
    "wikidatapolitical_party": "political_party",
    "athlete_sport": "occupation_athlete",
    **{
        f"wikidata_occupation_is{o}": f"occupation={o}"
        for o in ("journalist", "athlete", "actor", "politician", "singer", "researcher")
    },
}
"""What the CSV sets are labelled with, by their names without number and suffix."""


def _build(options: BuildOptions) -> FeatureDataset:
    if options.table is not None:
        found, table = read_documents(options), read_texts(options.table, text_column="name", columns=_COLUMNS)
        return people(
            found.documents,
            zip(table.texts, *(table.columns[column] for column in _COLUMNS)),
            characters=options.characters or CHARACTERS,
            provenance={**found.provenance, "table": table.source, "sha256 of the table": table.sha256},
            licence=found.licence,
        )
    paths = {path: re.sub(r"^\d+_", "", path.stem) for path in csv_files(options.source)}
    paths = {path: name for path, name in paths.items() if name in _SETS}
    if not paths:
        raise InputError(
            f"{options.source}: there is no CSV set of people; give files named as {', '.join(_SETS)}, or texts and "
            "a --table of names"
        )
    sets = [(_SETS[name], read_prompts(options, path)) for path, name in paths.items()]
    return people_prompts(sets, provenance=provenance_of(options.source, paths))


CATEGORY = Category(NAME, FEATURES, _build, takes_table=True)
