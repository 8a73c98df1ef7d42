"""The tokens of a text, and the characters that each stands for."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from optprobe.errors import InputError
from optprobe.features.alignment import characters_of_tokens


@dataclass(frozen=True)
class Token:
    """
    A token that stands for characters of its own.

    Parameters
    ----------
    position : int
        Its number among the text's tokens, special ones included.
    start, end : int
        The characters by which `optprobe.features.align_rows` finds it.
    text : str
        What it adds to the text: its characters, and before them white space that the tokenizer dropped.
    """

    position: int
    start: int
    end: int
    text: str


def tokens_of(text: str, tokenizer: Any, max_length: int | None = None) -> list[Token]:
    """
    Tokenize a text as one context.

    Tokens without characters (special ones) are left out. Of the tokens that share one character's bytes only the last
    is there, and it stands for the whole character.

    Parameters
    ----------
    text : str
        The text.
    tokenizer : transformers tokenizer
        A fast tokenizer: it must give the characters of each token.
    max_length : int, optional
        Tokens at most, special ones included.

    Returns
    -------
    list of Token
        In order.

    Raises
    ------
    InputError
        If the tokenizer gives no offsets.
    """
    if not getattr(tokenizer, "is_fast", False):
        raise InputError(
            f"the tokenizer {type(tokenizer).__name__} does not say which characters each token covers; "
            "give a fast tokenizer (one with a tokenizer.json)"
        )
    encoding = tokenizer(text, verbose=False, truncation=max_length is not None, max_length=max_length).encodings[0]
    offsets = characters_of_tokens(encoding, text).tolist()
    covering = [(position, start, end) for position, (start, end) in enumerate(offsets) if start < end]
    found: list[Token] = []
    for (position, start, end), following in zip(covering, [*covering[1:], None]):
        if following is None or following[1] >= end:
            before = found[-1].end if found else 0
            gap = text[before:start]
            found.append(Token(position, start, end, (gap if gap.isspace() else "") + text[start:end]))
    return found


def name_of(tokenizer: Any) -> str:
    """Return the name of a tokenizer, of a local folder only its last part."""
    name = str(tokenizer.name_or_path)
    return Path(name).name if Path(name).is_dir() else name
