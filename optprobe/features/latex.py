"""Where the mathematics stands in LaTeX source."""

from __future__ import annotations

import re

import numpy as np
from numpy.typing import NDArray

_MATH_ENVIRONMENTS = "math|displaymath|equation|align|alignat|flalign|gather|multline|eqnarray"
_TEXT_TOKEN = re.compile(
    r"""
    (?P<verbatim>\\begin\{(?P<block>verbatim\*?|lstlisting|comment)\}.*?(?:\\end\{(?P=block)\}|\Z))
  | (?P<verb>\\verb\*?(?P<mark>[^\w\s*]).*?(?P=mark))
  | (?P<comment>%[^\n]*)
  | (?P<environment>\\begin\{(?P<name>(?:"""
    + _MATH_ENVIRONMENTS
    + r""")\*?)\}(?:\{\d+\})?)
  | (?P<dollars>\$\$?)
  | (?P<bracket>\\[(\[])
  | (?P<escaped>\\.)
    """,
    re.VERBOSE | re.DOTALL,
)
_CLOSER = {"$": r"\$", "$$": r"\$\$", r"\(": r"\\\)", r"\[": r"\\\]"}


def math_spans(source: str) -> NDArray[np.int8]:
    r"""
    Say of each character of LaTeX source whether it is mathematics: +1 inside, -1 outside, 0 in a delimiter.

    Mathematics is what stands between ``$ $``, ``$$ $$``, ``\( \)``, ``\[ \]``, and in the environments math,
    displaymath, equation, align, alignat, flalign, gather, multline and eqnarray, starred or not. A backslash escapes
    the character after it (``\$`` opens nothing, and ``\\[2pt]`` is a line break). Comments and verbatim text are
    outside and open nothing. Mathematics that is never closed goes on to the end of the source.

    Parameters
    ----------
    source : str
        LaTeX source.

    Returns
    -------
    ndarray of int8, shape (n_characters,)
        +1, -1 or 0 for each character.
    """
    mode = np.full(len(source), -1, dtype=np.int8)
    position = 0
    while opening := _TEXT_TOKEN.search(source, position):
        position = opening.end()
        kind = opening.lastgroup
        if kind not in ("environment", "dollars", "bracket"):
            continue
        name = opening["name"]
        closer = rf"\\end\{{{re.escape(name)}\}}" if name else _CLOSER[opening[0]]
        begin, end = _closing(source, closer, position)
        mode[opening.start() : position] = 0
        mode[position:begin] = 1
        mode[begin:end] = 0
        position = end
    return mode


def _closing(source: str, closer: str, position: int) -> tuple[int, int]:
    """Return where the first unescaped, uncommented match of `closer` from `position` starts and ends."""
    token = re.compile(rf"(?P<closer>{closer})|\\.|%[^\n]*", re.DOTALL)
    for match in token.finditer(source, position):
        if match["closer"]:
            return match.span()
    return len(source), len(source)
