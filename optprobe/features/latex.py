r"""
Where things stand in LaTeX source: comments, verbatim text, mathematics, the arguments of commands.

A backslash escapes the character after it: ``\$`` opens nothing, ``\%`` is no comment, ``\\[2pt]`` is a line break.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

_INLINE_ENVIRONMENTS = "math"
_DISPLAY_ENVIRONMENTS = "displaymath|equation|align|alignat|flalign|gather|multline|eqnarray"
_HIDDEN = re.compile(
    r"""
    \\begin\{(?P<block>verbatim\*?|lstlisting|comment)\}.*?(?:\\end\{(?P=block)\}|\Z)
  | \\verb\*?(?P<mark>[^\w\s*]).*?(?P=mark)
  | %[^\n]*
  | \\.
    """,
    re.VERBOSE | re.DOTALL,
)
_OPENING = re.compile(
    r"""
    \\begin\{(?P<name>(?:"""
    + f"{_INLINE_ENVIRONMENTS}|{_DISPLAY_ENVIRONMENTS}"
    + r""")\*?)\}(?:\{\d+\})?
  | \$\$?
  | \\[(\[]
  | \\.
    """,
    re.VERBOSE | re.DOTALL,
)
_CLOSER = {"$": r"\$", "$$": r"\$\$", r"\(": r"\\\)", r"\[": r"\\\]"}
_INLINE = ("$", r"\(")


@dataclass(frozen=True)
class Formula:
    """Mathematics of a source: its opening delimiter starts at `open`, its content at `begin`, and so on."""

    open: int
    begin: int
    end: int
    close: int
    display: bool


def hide(source: str) -> str:
    r"""
    Return the source with a space for every character of a comment or of verbatim text, and of the same length.

    Parameters
    ----------
    source : str
        LaTeX source. Verbatim are ``\verb`` and the environments verbatim, lstlisting and comment.

    Returns
    -------
    str
        Line feeds stay.
    """

    def blank(match: re.Match[str]) -> str:
        found = match[0]
        if found.startswith("%") or match["block"] or match["mark"]:
            return "".join(c if c == "\n" else " " for c in found)
        return found

    return _HIDDEN.sub(blank, source)


def formulas(hidden: str) -> Iterator[Formula]:
    r"""
    Yield the mathematics of a source in order.

    Mathematics is what stands between ``$ $``, ``$$ $$``, ``\( \)``, ``\[ \]``, and in the environments math,
    displaymath, equation, align, alignat, flalign, gather, multline and eqnarray, starred or not. What is never closed
    goes on to the end of the source.

    Parameters
    ----------
    hidden : str
        A source without comments and verbatim text, from `hide`.

    Yields
    ------
    Formula
        Mathematics within mathematics, as in ``\mbox``, belongs to the outer one.
    """
    position = 0
    while opening := _OPENING.search(hidden, position):
        position = opening.end()
        name = opening["name"]
        if not name and opening[0] not in _CLOSER:
            continue
        closer = rf"\\end\{{{re.escape(name)}\}}" if name else _CLOSER[opening[0]]
        end, close = _closing(hidden, closer, position)
        inline = opening[0] in _INLINE or (name or "").rstrip("*") == _INLINE_ENVIRONMENTS
        yield Formula(opening.start(), position, end, close, not inline)
        position = close


def _closing(hidden: str, closer: str, position: int) -> tuple[int, int]:
    """Return where the first unescaped match of `closer` from `position` starts and ends."""
    for match in re.compile(rf"(?P<closer>{closer})|\\.", re.DOTALL).finditer(hidden, position):
        if match["closer"]:
            return match.span()
    return len(hidden), len(hidden)


def math_spans(source: str) -> NDArray[np.int8]:
    """
    Say of each character of LaTeX source whether it is mathematics: +1 inside, -1 outside, 0 in a delimiter.

    Parameters
    ----------
    source : str
        LaTeX source; `formulas` says what mathematics is. Comments and verbatim text open nothing.

    Returns
    -------
    ndarray of int8, shape (n_characters,)
        +1, -1 or 0 for each character.
    """
    mode = np.full(len(source), -1, dtype=np.int8)
    for formula in formulas(hide(source)):
        mode[formula.open : formula.close] = 0
        mode[formula.begin : formula.end] = 1
    return mode


def argument(hidden: str, position: int) -> tuple[int, int, int] | None:
    r"""
    Find the argument of a command at a position: a group in braces, or else one command or character.

    Parameters
    ----------
    hidden : str
        A source without comments and verbatim text, from `hide`.
    position : int
        Where to look, after white space at most.

    Returns
    -------
    tuple of int, or None
        Begin and end of the argument's content, and the end of the argument; none where a group is not closed or there
        is no argument.
    """
    begin = _past_space(hidden, position)
    if begin >= len(hidden) or hidden[begin] in "}]$&":
        return None
    if hidden[begin] != "{":
        match = re.compile(r"\\[A-Za-z]+|\\.|.", re.DOTALL).match(hidden, begin)
        end = match.end() if match else begin + 1
        return begin, end, end
    depth = 0
    for brace in re.compile(r"\\.|[{}]", re.DOTALL).finditer(hidden, begin):
        depth += {"{": 1, "}": -1}.get(brace[0], 0)
        if depth == 0:
            return begin + 1, brace.start(), brace.end()
    return None


def _past_space(hidden: str, position: int) -> int:
    """Return the first position from `position` that holds no white space."""
    match = re.compile(r"\S").search(hidden, position)
    return match.start() if match else len(hidden)
