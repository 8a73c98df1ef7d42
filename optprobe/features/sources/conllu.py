"""
Treebanks in the CoNLL-U format of Universal Dependencies, with the characters of each word.

The format is described at https://universaldependencies.org/format.html. A sentence is its `# text`, in which the
surface tokens stand in order; without that line it is rebuilt from the forms and `SpaceAfter=No`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from optprobe.errors import InputError

UPOS = frozenset(
    [
        *("ADJ", "ADP", "ADV", "AUX", "CCONJ", "DET", "INTJ", "NOUN", "NUM"),
        *("PART", "PRON", "PROPN", "PUNCT", "SCONJ", "SYM", "VERB", "X", "_"),
    ]
)

_COLUMNS = 10
_ID = re.compile(r"(?P<first>[1-9]\d*)(?:-(?P<last>[1-9]\d*))?|\d+\.\d+")
_SPACE = re.compile(r"\s*")


@dataclass(frozen=True)
class Word:
    """
    A syntactic word.

    Parameters
    ----------
    form, upos, deprel : str
        Its form, its universal part of speech and its relation to its head, as in the file.
    feats : mapping of str to frozenset of str
        The values of each morphological feature (`PronType=Int,Rel` has two).
    span : tuple of int, optional
        Its characters in the sentence; none for a word without characters of its own, as the two words of French "du".
    """

    form: str
    upos: str
    deprel: str
    feats: Mapping[str, frozenset[str]]
    span: tuple[int, int] | None


@dataclass(frozen=True)
class Sentence:
    """
    A sentence of a treebank.

    Parameters
    ----------
    text : str
        Its characters.
    words : tuple of Word
        Its syntactic words, in order, without empty nodes.
    document : str
        The id of its document; a sentence before any document mark is a document of its own.
    opens_paragraph : bool
        Whether a `# newpar` or `# newdoc` stands before it.
    space_after : bool
        Whether a space follows it.
    """

    text: str
    words: tuple[Word, ...]
    document: str
    opens_paragraph: bool
    space_after: bool


def read_conllu(path: str | Path) -> tuple[Sentence, ...]:
    """
    Read the sentences of a CoNLL-U file.

    Parameters
    ----------
    path : str or Path
        A UTF-8 file, with or without byte order mark, with line ends of either kind.

    Returns
    -------
    tuple of Sentence
        In the order of the file.

    Raises
    ------
    InputError
        If the file cannot be read, is not UTF-8, has no sentence, or a line breaks the format: the sentence names the
        line.
    """
    path = Path(path)
    lines = _lines(path)
    sentences: list[Sentence] = []
    document: str | None = None
    begin = 0
    for number, line in enumerate([*lines, ""]):
        if line:
            continue
        block = lines[begin:number]
        if block:
            reader = _SentenceReader(path, begin + 1, block)
            if reader.opens_document:
                document = reader.comments.get("newdoc id") or f"{path.name}, line {begin + 1}"
            sentences.append(reader.sentence(document or f"{path.name}, line {begin + 1}"))
        begin = number + 1
    if not sentences:
        raise InputError(f"{path}: there is no sentence in the file")
    return tuple(sentences)


def _lines(path: Path) -> list[str]:
    """Return the lines of a UTF-8 file without their ends; only the line feed ends a line."""
    try:
        content = path.read_bytes()
    except OSError as error:
        raise InputError(f"{path}: the treebank cannot be read ({error.strerror})") from error
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = content.count(b"\n", 0, error.start) + 1
        raise InputError(f"{path}, line {line}: the line is not UTF-8; convert the file") from error
    return [line.removesuffix("\r") for line in text.split("\n")]


class _SentenceReader:
    """The lines of one sentence, read in order."""

    def __init__(self, path: Path, first_line: int, block: list[str]) -> None:
        self.path = path
        self.comments: dict[str, str] = {}
        self.rows: list[tuple[int, list[str]]] = []
        for number, line in enumerate(block, first_line):
            if line.startswith("#"):
                key, _, value = line[1:].partition("=")
                self.comments[key.strip()] = value.strip()
            else:
                columns = line.split("\t")
                if len(columns) != _COLUMNS:
                    self.fail(number, f"a word line has {_COLUMNS} columns between tabs, and this has {len(columns)}")
                self.rows.append((number, columns))
        if not self.rows:
            self.fail(first_line, "a sentence has comments only, and no word")

    @property
    def opens_document(self) -> bool:
        return "newdoc id" in self.comments or "newdoc" in self.comments

    def fail(self, line: int, problem: str) -> NoReturn:
        raise InputError(f"{self.path}, line {line}: {problem}")

    def sentence(self, document: str) -> Sentence:
        """Return the sentence, its words found in its text."""
        tokens = self.surface()
        text = self.comments.get("text") or self.rebuilt(tokens)
        spans = self.spans(text, tokens)
        words = [
            Word(c[1], c[3], c[7], self.feats(number, c[5]), spans.get(int(c[0])))
            for number, c in self.rows
            if c[0].isdecimal()
        ]
        last = tokens[-1][1][1]
        return Sentence(
            text=text,
            words=tuple(words),
            document=document,
            opens_paragraph=self.opens_document or "newpar" in self.comments or "newpar id" in self.comments,
            space_after="SpaceAfter=No" not in last[9].split("|"),
        )

    def surface(self) -> list[tuple[list[int], tuple[int, list[str]]]]:
        """Return the surface tokens: the words each stands for, its line and its columns; check ids and tags."""
        tokens: list[tuple[list[int], tuple[int, list[str]]]] = []
        expected, covered = 1, 0
        for number, columns in self.rows:
            match = _ID.fullmatch(columns[0])
            if not match:
                self.fail(number, f"{columns[0]!r} is not the id of a word, a range of words or an empty node")
            elif match["last"]:
                first, covered = int(match["first"]), int(match["last"])
                if first != expected or covered < first:
                    self.fail(number, f"the range {columns[0]} does not begin with the next word, {expected}")
                tokens.append((list(range(first, covered + 1)), (number, columns)))
            elif match["first"]:
                if int(match["first"]) != expected:
                    self.fail(number, f"the word has the id {columns[0]}, and the next one is {expected}")
                if columns[3] not in UPOS:
                    self.fail(number, f"{columns[3]!r} is not a universal part of speech")
                if expected > covered:
                    tokens.append(([expected], (number, columns)))
                expected += 1
        if not tokens:
            self.fail(self.rows[0][0], "a sentence has empty nodes only, and no word")
        if covered >= expected:
            self.fail(tokens[-1][1][0], f"the range goes on to word {covered}, and the last word is {expected - 1}")
        return tokens

    def rebuilt(self, tokens: list[tuple[list[int], tuple[int, list[str]]]]) -> str:
        """Return the text that the forms make."""
        pieces = [c[1] + ("" if "SpaceAfter=No" in c[9].split("|") else " ") for _, (_, c) in tokens]
        return "".join(pieces).rstrip(" ")

    def spans(self, text: str, tokens: list[tuple[list[int], tuple[int, list[str]]]]) -> dict[int, tuple[int, int]]:
        """Find the surface tokens in the text; the words of a range have spans where their forms make up the token."""
        forms = {int(c[0]): c[1] for _, c in self.rows if c[0].isdecimal()}
        spans: dict[int, tuple[int, int]] = {}
        cursor = 0
        for words, (number, columns) in tokens:
            skipped = _SPACE.match(text, cursor)
            cursor = skipped.end() if skipped else cursor
            if not text.startswith(columns[1], cursor) or not columns[1]:
                self.fail(number, f"{columns[1]!r} does not follow in the sentence's text at {text[cursor:][:20]!r}")
            if "".join(forms[word] for word in words) == columns[1]:
                begin = cursor
                for word in words:
                    spans[word] = begin, begin + len(forms[word])
                    begin += len(forms[word])
            cursor += len(columns[1])
        if text[cursor:].strip():
            self.fail(
                tokens[-1][1][0], f"the sentence's text goes on after the last word: {text[cursor:].strip()[:20]!r}"
            )
        return spans

    def feats(self, number: int, column: str) -> dict[str, frozenset[str]]:
        """Return the values of each feature."""
        if column == "_":
            return {}
        pairs = [pair.partition("=") for pair in column.split("|")]
        if any(not (name and equals and values) for name, equals, values in pairs):
            self.fail(number, f"the features {column!r} are not NAME=VALUE between bars")
        return {name: frozenset(values.split(",")) for name, _, values in pairs}
