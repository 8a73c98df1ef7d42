"""
What the three categories of treebanks share: contexts of sentences, and one dataset a category.

A context is a run of whole sentences of one document, joined by their own spacing: a space unless the last word says
`SpaceAfter=No`, an empty line before a paragraph. A model reads running text, so a sentence is not torn from those
before it; and a context ends with a sentence, so the end of a sentence is never the end of a cut. Sentences of a
treebank without document marks stand alone: such treebanks are often shuffled.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from optprobe.errors import InputError
from optprobe.features.dataset import FeatureDataset
from optprobe.features.labelling import CONTEXT, Passage, join
from optprobe.features.sources.conllu import Sentence, Word, read_conllu
from optprobe.features.sources.documents import provenance_of

SOURCE = "a CoNLL-U treebank, such as UD English EWT"
SKIP = 5
"""Words left out at the beginning of each context; the paper leaves out 5 tokens."""


@dataclass(frozen=True)
class TreebankContext:
    """
    The words of one context that have characters of their own.

    Parameters
    ----------
    text, document : str
        The context and its document.
    words : tuple of Word
        Its words.
    start, end : tuple of int
        Their characters in `text`.
    ends_sentence : tuple of bool
        Which of them are the last word of a sentence.
    """

    text: str
    document: str
    words: tuple[Word, ...]
    start: tuple[int, ...]
    end: tuple[int, ...]
    ends_sentence: tuple[bool, ...]


def treebank_contexts(sentences: Iterable[Sentence], characters: int = CONTEXT) -> Iterator[TreebankContext]:
    """
    Join the sentences of each document to contexts.

    Parameters
    ----------
    sentences : iterable of Sentence
        The sentences of a document follow each other.
    characters : int
        Length of a context at most, but for a context of one longer sentence.

    Yields
    ------
    TreebankContext
        In the order of the sentences.
    """
    text, run, begins = "", list[Sentence](), list[int]()
    for sentence in sentences:
        gap = ""
        if run:
            gap = "\n\n" if sentence.opens_paragraph else " " * run[-1].space_after
            longer = len(text) + len(gap) + len(sentence.text) > characters
            if longer or sentence.document != run[-1].document:
                yield _context(text, run, begins)
                text, run, begins, gap = "", [], [], ""
        begins.append(len(text) + len(gap))
        run.append(sentence)
        text += gap + sentence.text
    if run:
        yield _context(text, run, begins)


def _context(text: str, run: Sequence[Sentence], begins: Sequence[int]) -> TreebankContext:
    words = [
        (word, begin + word.span[0], begin + word.span[1], word is sentence.words[-1])
        for sentence, begin in zip(run, begins)
        for word in sentence.words
        if word.span
    ]
    columns = list(zip(*words)) or [(), (), (), ()]
    return TreebankContext(text, run[0].document, columns[0], columns[1], columns[2], columns[3])


def build_treebank(
    name: str,
    source: str | Path,
    rules: Mapping[str, str],
    label: Callable[[TreebankContext], Mapping[str, NDArray[np.int8]]],
    *,
    features: Collection[str] | None = None,
    characters: int = CONTEXT,
    skip: int = SKIP,
    licence: str = "",
) -> FeatureDataset:
    """
    Build one category from a treebank.

    Parameters
    ----------
    name : str
        Name of the dataset.
    source : str or Path
        A CoNLL-U file, or a folder of files `*.conllu`.
    rules : mapping of str to str
        The rule of each feature.
    label : callable
        Returns the labels of each feature for the words of a context.
    features, licence
        As in `join`.
    characters : int
        Length of a context.
    skip : int
        Words left out at the beginning of each context.

    Returns
    -------
    FeatureDataset
        One row a labelled word with characters of its own.

    Raises
    ------
    InputError
        If there is no file, a line breaks the format, or nothing can be labelled.
    """
    paths = treebank_files(source)
    passages = [
        Passage(c.text, c.document, np.array(c.start), np.array(c.end), label(c))
        for path in paths
        for c in treebank_contexts(read_conllu(path), characters)
        if c.words
    ]
    provenance = {**provenance_of(source, paths), "context characters": str(characters)}
    return join(name, passages, rules, features=features, skip=skip, licence=licence, provenance=provenance)


def treebank_files(source: str | Path) -> tuple[Path, ...]:
    """Return a CoNLL-U file, or those of a folder by name; raise `InputError` if there is none."""
    path = Path(source)
    if not path.is_dir():
        return (path,)
    found = tuple(sorted(path.glob("*.conllu")))
    if not found:
        raise InputError(f"{path}: there is no file *.conllu in the folder")
    return found
