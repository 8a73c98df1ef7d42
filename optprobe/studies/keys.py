"""A configuration file: TOML whose keys are taken one by one, each by a check; what is wrong is one sentence."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from optprobe.errors import InputError

T = TypeVar("T")


def read_keys(path: Path) -> Keys:
    """
    Read a TOML file.

    Raises
    ------
    InputError
        If it cannot be read, or is no TOML.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"the configuration {path} cannot be read: {getattr(error, 'strerror', None) or error}"
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path} is not TOML: {error}") from error
    return Keys(str(path), table)


class Keys:
    """A table whose keys are taken one by one; what is missing, wrong or left over is one sentence."""

    def __init__(self, where: str, table: object) -> None:
        if not isinstance(table, dict):
            raise InputError(f"{where} is {table!r}: write a table of keys")
        self.where, self.left = where, dict(table)

    def take(self, key: str, check: Callable[[Any], T], *default: T) -> T:
        """The checked value of a key, or the default where it is not there; `InputError` names file and key."""
        if key not in self.left:
            if default:
                return default[0]
            raise InputError(f"{self.where} has no key {key!r}")
        value = self.left.pop(key)
        try:
            return check(value)
        except Wrong as wrong:
            raise InputError(f"{self.where}: {key!r} is {value!r}, and must be {wrong}") from wrong

    def done(self) -> None:
        """Raise `InputError` where a key is left that nobody took."""
        if self.left:
            raise InputError(f"{self.where} has the unknown key {min(self.left)!r}")


class Wrong(Exception):
    """A value is not what this says."""


def text(value: Any) -> str:
    """A string of printable characters that is not empty."""
    if not isinstance(value, str) or not value or not value.isprintable():
        raise Wrong("a string of printable characters that is not empty")
    return value


def at_least(least: int) -> Callable[[Any], int]:
    """A whole number from ``least``."""

    def check(value: Any) -> int:
        if type(value) is not int or value < least:
            raise Wrong(f"a whole number from {least}")
        return value

    return check


def positive(value: Any) -> float:
    """A positive number."""
    if type(value) not in (int, float) or not 0 < value < float("inf"):
        raise Wrong("a positive number")
    return float(value)


def several(check: Callable[[Any], T]) -> Callable[[Any], tuple[T, ...]]:
    """A list, not empty, of different values that each pass a check."""

    def check_all(value: Any) -> tuple[T, ...]:
        if not isinstance(value, list) or not value:
            raise Wrong("a list that is not empty")
        try:
            found = tuple(check(item) for item in value)
        except Wrong as wrong:
            raise Wrong(f"a list of which each entry is {wrong}") from wrong
        if len(set(found)) < len(found):
            raise Wrong("a list without repetitions")
        return found

    return check_all


def share(value: Any) -> float:
    """A number between 0 and 1."""
    if type(value) is not float or not 0 < value < 1:
        raise Wrong("a share between 0 and 1")
    return value


def one_of(names: tuple[str, ...]) -> Callable[[Any], str]:
    """One of some names."""

    def check(value: Any) -> str:
        if value not in names:
            raise Wrong(f"one of {', '.join(names)}")
        return str(value)

    return check
