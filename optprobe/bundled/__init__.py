"""What comes with the package: a small language model with its tokenizer, and texts in twelve languages to probe it."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path

from optprobe.errors import InputError

__all__ = ["FORMAL_LANGUAGES", "NATURAL_LANGUAGES", "Document", "corpus", "model_folder", "read_documents"]

NATURAL_LANGUAGES = ("english", "french", "german", "spanish", "portuguese", "russian")
FORMAL_LANGUAGES = ("python", "c", "java", "javascript", "html", "latex")

_FOLDER = Path(__file__).parent
_HEADER = re.compile(r"%%%% (?P<slug>[^|\n]+) \| (?P<subject>[^|\n]+) \| (?P<style>[^|\n]+)")


@dataclass(frozen=True)
class Document:
    """
    A text of the probing corpus.

    Parameters
    ----------
    language : str
        One of `NATURAL_LANGUAGES` or `FORMAL_LANGUAGES`.
    slug, subject, style : str
        What the document is called within its language, what it is about, and what kind of text it is.
    text : str
        The text, without the header and without blank lines at its ends.
    """

    language: str
    slug: str
    subject: str
    style: str
    text: str


def model_folder() -> Path:
    """Return the folder of the bundled model: its configuration, weights, tokenizer and model card."""
    return _FOLDER / "model"


def corpus() -> tuple[Document, ...]:
    """
    Read the probing corpus: every document of the natural languages, then of the formal ones.

    Returns
    -------
    tuple of Document
        In the order of `NATURAL_LANGUAGES + FORMAL_LANGUAGES`, then of the files.

    Raises
    ------
    InputError
        If a file is missing or malformed.
    """
    languages = NATURAL_LANGUAGES + FORMAL_LANGUAGES
    return tuple(d for language in languages for d in read_documents(_FOLDER / "corpus" / f"{language}.txt"))


def read_documents(path: Path) -> tuple[Document, ...]:
    """
    Read the documents of one language: each a header line `%%%% slug | subject | style`, then its text.

    Parameters
    ----------
    path : Path
        A UTF-8 file named after the language.

    Returns
    -------
    tuple of Document
        In the order of the file.

    Raises
    ------
    InputError
        If the file cannot be read, a header is malformed, or a document has no text: the sentence names the line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(f"{path}: the corpus file cannot be read as UTF-8 text ({error})") from error
    starts = [i for i, line in enumerate(lines) if line.startswith("%%%%")]
    if not starts or starts[0] != 0:
        raise InputError(f"{path}, line 1: a corpus file begins with a header '%%%% slug | subject | style'")
    documents = []
    for start, stop in zip(starts, [*starts[1:], len(lines)]):
        header = _HEADER.fullmatch(lines[start])
        text = "\n".join(lines[start + 1 : stop]).strip("\n")
        if not header or not text.strip():
            problem = "the header is not '%%%% slug | subject | style'" if not header else "the document has no text"
            raise InputError(f"{path}, line {start + 1}: {problem}")
        documents.append(Document(path.stem, **header.groupdict(), text=text))
    return tuple(documents)
