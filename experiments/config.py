"""The configuration of an experiment: a TOML file, checked key by key."""

from __future__ import annotations

import hashlib
import json
import tomllib
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

from formulations.losses import LOSSES
from formulations.problem import CLASS_WEIGHTS
from optprobe.errors import InputError

T = TypeVar("T")


@dataclass(frozen=True)
class LossSetting:
    """A loss, its ridge on standardised neurons (mean-loss scale), and the weights of the classes."""

    name: str
    ridge: float
    class_weight: str


@dataclass(frozen=True)
class Config:
    """
    What an experiment runs.

    Attributes
    ----------
    model, dataset : str
        As `optprobe.extract` and `optprobe.features.load` take them.
    features : tuple of str
    layers, ks : tuple of int
    losses : tuple of LossSetting
    time_limit : float
        Seconds for each optimum.
    split_seed : int
        Of the split into training and test documents.
    bootstrap_draws : int
        Resamples of the test documents.
    seed : int
        Of the resamples and of the rankings that draw at random.
    """

    model: str
    dataset: str
    features: tuple[str, ...]
    layers: tuple[int, ...]
    ks: tuple[int, ...]
    losses: tuple[LossSetting, ...]
    time_limit: float
    split_seed: int
    bootstrap_draws: int
    seed: int

    @property
    def n_cases(self) -> int:
        """Features times layers times losses times ks."""
        return len(self.features) * len(self.layers) * len(self.losses) * len(self.ks)

    @property
    def record(self) -> dict[str, Any]:
        """The configuration as it would stand in JSON."""
        plain: dict[str, Any] = json.loads(json.dumps(asdict(self)))
        return plain

    @property
    def digest(self) -> str:
        """sha256 of the configuration, whatever the layout of its file."""
        return hashlib.sha256(json.dumps(self.record, sort_keys=True).encode()).hexdigest()


def read_config(path: Path) -> Config:
    """
    Read and check a configuration.

    Raises
    ------
    InputError
        One sentence that names the file and the key.
    """
    try:
        table = tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError) as error:
        raise InputError(
            f"the configuration {path} cannot be read: {getattr(error, 'strerror', None) or error}"
        ) from error
    except tomllib.TOMLDecodeError as error:
        raise InputError(f"{path} is not TOML: {error}") from error
    keys = _Keys(str(path), table)
    config = Config(
        model=keys.take("model", _text),
        dataset=keys.take("dataset", _text),
        features=keys.take("features", _several(_text)),
        layers=keys.take("layers", _several(_at_least(0))),
        ks=keys.take("ks", _several(_at_least(1))),
        losses=keys.take("losses", _several(lambda value: _loss(str(path), value))),
        time_limit=keys.take("time_limit", _positive),
        split_seed=keys.take("split_seed", _at_least(0)),
        bootstrap_draws=keys.take("bootstrap_draws", _at_least(1)),
        seed=keys.take("seed", _at_least(0)),
    )
    keys.done()
    return config


class _Keys:
    """A table whose keys are taken one by one; what is missing, wrong or left over is one sentence."""

    def __init__(self, where: str, table: object) -> None:
        if not isinstance(table, dict):
            raise InputError(f"{where} is {table!r}: write a table of keys")
        self.where, self.left = where, dict(table)

    def take(self, key: str, check: Callable[[Any], T]) -> T:
        if key not in self.left:
            raise InputError(f"{self.where} has no key {key!r}")
        value = self.left.pop(key)
        try:
            return check(value)
        except _Wrong as wrong:
            raise InputError(f"{self.where}: {key!r} is {value!r}, and must be {wrong}") from wrong

    def done(self) -> None:
        if self.left:
            raise InputError(f"{self.where} has the unknown key {min(self.left)!r}")


class _Wrong(Exception):
    """A value is not what this says."""


def _text(value: Any) -> str:
    if not isinstance(value, str) or not value:
        raise _Wrong("a string that is not empty")
    return value


def _at_least(least: int) -> Callable[[Any], int]:
    def check(value: Any) -> int:
        if type(value) is not int or value < least:
            raise _Wrong(f"a whole number from {least}")
        return value

    return check


def _positive(value: Any) -> float:
    if type(value) not in (int, float) or not 0 < value < float("inf"):
        raise _Wrong("a positive number")
    return float(value)


def _several(check: Callable[[Any], T]) -> Callable[[Any], tuple[T, ...]]:
    def check_all(value: Any) -> tuple[T, ...]:
        if not isinstance(value, list) or not value:
            raise _Wrong("a list that is not empty")
        try:
            found = tuple(check(item) for item in value)
        except _Wrong as wrong:
            raise _Wrong(f"a list of which each entry is {wrong}") from wrong
        if len(set(found)) < len(found):
            raise _Wrong("a list without repetitions")
        return found

    return check_all


def _loss(where: str, value: Any) -> LossSetting:
    keys = _Keys(f"{where}, losses", value)
    loss = LossSetting(
        name=keys.take("name", _one_of(tuple(LOSSES))),
        ridge=keys.take("ridge", _positive),
        class_weight=keys.take("class_weight", _one_of(CLASS_WEIGHTS)),
    )
    keys.done()
    return loss


def _one_of(names: tuple[str, ...]) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if value not in names:
            raise _Wrong(f"one of {', '.join(names)}")
        return str(value)

    return check
