"""Canonical JSON, and values of it taken by their type: a text is parsed into what it must be, or rejected."""

from __future__ import annotations

import json
import math
import re
from itertools import pairwise
from typing import Any, NoReturn

from .outcome import Rejected, require

LONGEST = 1000
"""Characters of a text."""
MOST = 2**31 - 1
"""The largest count."""
LARGEST = 1e100
"""The largest absolute value of a float."""
LARGEST_INTEGER = 2**53


def canonical(value: Any) -> str:
    """The one text of a JSON value: sorted keys, no spaces, floats by repr."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def parsed(text: str, what: str) -> Any:
    """The value of a canonical text. Nothing else is read: no second key of a name, no NaN, no other spelling."""
    try:
        value = json.loads(text, object_pairs_hook=_object, parse_constant=_refused)
        same = canonical(value) == text
    except (ValueError, RecursionError) as error:
        raise Rejected(f"{what} is no JSON that can be read ({type(error).__name__})") from error
    require(same, f"{what} is not in canonical form")
    return value


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    require(len({name for name, _ in pairs}) == len(pairs), "a key stands twice in one object")
    return dict(pairs)


def _refused(constant: str) -> NoReturn:
    raise Rejected(f"{constant} is no number")


def shown(text: str) -> str:
    """A text fit for a terminal: what cannot be printed is escaped, what is too long is cut."""
    cut = text if len(text) <= 4 * LONGEST else f"{text[: 4 * LONGEST]}..."
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in cut)


def entries(value: Any, where: str, *names: str) -> list[Any]:
    """The values of an object that has just these keys."""
    require(type(value) is dict and set(value) == set(names), f"{where} must have the entries {', '.join(names)}")
    return [value[name] for name in names]


def count(value: Any, where: str, least: int = 0, most: int = MOST) -> int:
    """A whole number; true and 1.0 are none."""
    require(type(value) is int and least <= value <= most, f"{where} must be a whole number from {least} to {most}")
    return int(value)


def number(value: Any, where: str, least: float = -LARGEST, most: float = LARGEST) -> float:
    """A float, written as such."""
    require(type(value) is float and least <= value <= most, f"{where} must be a float from {least:g} to {most:g}")
    return float(value)


def words(value: Any, where: str) -> str:
    """A printable text."""
    require(type(value) is str and len(value) <= LONGEST and value.isprintable(), f"{where} must be a printable text")
    return str(value)


def one_of(value: Any, where: str, *known: str) -> str:
    """One of a few words."""
    require(type(value) is str and value in known, f"{where} must be one of {', '.join(known)}")
    return str(value)


def digest(value: Any, where: str) -> str:
    """A sha256 in hexadecimal digits."""
    require(type(value) is str and re.fullmatch("[0-9a-f]{64}", value), f"{where} must be a sha256")
    return str(value)


def rising(value: Any, where: str, below: int) -> tuple[int, ...]:
    """A rising list of whole numbers from 0 on."""
    numbers = [count(j, f"each of {where}", 0, below - 1) for j in _listed(value, where)]
    require(all(a < b for a, b in pairwise(numbers)), f"{where} must rise")
    return tuple(numbers)


def described(value: Any, where: str, depth: int = 2) -> Any:
    """What an author may say of the data: scalars, and objects and lists of them to a ``depth``."""
    if value is None or type(value) is bool:
        return value
    if type(value) is int:
        return count(value, where, 1 - LARGEST_INTEGER, LARGEST_INTEGER - 1)
    if type(value) is float:
        return number(value, where, -math.inf, math.inf)
    if type(value) is str:
        return words(value, where)
    require(depth > 0, f"{where} is nested too deeply")
    if type(value) is dict:
        require(len(value) <= 64, f"{where} has more than 64 entries")
        return {words(name, f"a key of {where}"): described(part, where, depth - 1) for name, part in value.items()}
    return [described(part, where, depth - 1) for part in _listed(value, where)]


def _listed(value: Any, where: str) -> list[Any]:
    require(type(value) is list, f"{where} must be a list")
    return list(value)
