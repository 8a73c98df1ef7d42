"""The configuration of a study of cases: a TOML file, checked key by key."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from formulations.losses import LOSSES
from formulations.validation import CLASS_WEIGHTS
from optprobe.cases.case import Setting
from optprobe.cases.study import CaseStudy, Split
from optprobe.cases.validation import GRID
from optprobe.comparison import METHODS as HEURISTICS
from optprobe.engines import METHODS as ENGINES
from optprobe.errors import InputError

T = TypeVar("T")
VALIDATE = "validate"
"""In place of a ridge: the one of a grid whose optimum does best on documents set aside."""


@dataclass(frozen=True)
class Config:
    """
    What a study of cases runs.

    Attributes
    ----------
    model, dataset : str or None
        As `optprobe.extract` and `optprobe.features.load` take them, for activations that are extracted first.
    stores : tuple of str
        Stores of activations that are there; none where model and dataset are given.
    settings : tuple of Setting
        Losses with ridge and class weights, and how many neurons are searched: of each layer those of largest mean
        difference.
    ks : tuple of int
    features, layers : tuple or None
        Which; None for all that there are. Layers to be extracted must be named.
    method : str
        As in `optprobe.solve`.
    methods : tuple of str or None
        Heuristics to compare with; None for all.
    time_limit : float or None
        Seconds for each optimum.
    grid : tuple of float
        Ridges to choose from, where a loss has the ridge "validate".
    within : float or None
        Near-optimal sets to be certified: a share of F above the optimum.
    test_share, split_seed : float and int
        Of the split into training and test documents.
    bootstrap_draws : int
        Resamples of the test documents.
    seed : int
        Of the resamples and of the rankings that draw at random.
    """

    model: str | None
    dataset: str | None
    stores: tuple[str, ...]
    settings: tuple[Setting, ...]
    ks: tuple[int, ...]
    features: tuple[str, ...] | None = None
    layers: tuple[int, ...] | None = None
    method: str = "auto"
    methods: tuple[str, ...] | None = None
    time_limit: float | None = None
    test_share: float = 0.3
    split_seed: int = 0
    bootstrap_draws: int = 1000
    seed: int = 0
    grid: tuple[float, ...] = ()
    within: float | None = None

    def study(self, folder: Path, stores: tuple[str, ...] = ()) -> CaseStudy:
        """The study of these cases in a folder, about the configuration's stores or those that were made for it."""
        return CaseStudy(
            sources=stores or self.stores,
            folder=folder,
            settings=self.settings,
            ks=self.ks,
            features=self.features,
            layers=self.layers,
            split=Split(self.test_share, self.split_seed),
            method=self.method,
            methods=self.methods,
            time_limit=self.time_limit,
            draws=self.bootstrap_draws,
            seed=self.seed,
            grid=self.grid,
            within=self.within,
        )


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
    stores: tuple[str, ...] = keys.take("stores", _several(_text), ())
    settings = keys.take("losses", lambda value: _settings(_several(lambda one: _losses(str(path), one))(value)))
    searched = keys.take("top", _at_least(1), None)
    config = Config(
        model=None if stores else keys.take("model", _text),
        dataset=None if stores else keys.take("dataset", _text),
        stores=stores,
        settings=tuple(setting._replace(among=searched) for setting in settings),
        ks=tuple(sorted(keys.take("ks", _several(_at_least(1))))),
        features=keys.take("features", _several(_text), None),
        layers=keys.take("layers", _several(_at_least(0)), *((None,) if stores else ())),
        method=keys.take("method", _one_of(("auto", *ENGINES)), "auto"),
        methods=keys.take("methods", _several(_one_of(HEURISTICS)), None),
        time_limit=keys.take("time_limit", _positive, None),
        test_share=keys.take("test_share", _share, 0.3),
        split_seed=keys.take("split_seed", _at_least(0), 0),
        bootstrap_draws=keys.take("bootstrap_draws", _at_least(1), 1000),
        seed=keys.take("seed", _at_least(0), 0),
        within=keys.take("within", _positive, None),
        grid=keys.take("grid", _several(_positive), GRID if any(one.ridge is None for one in settings) else ()),
    )
    keys.done()
    return config


class _Keys:
    """A table whose keys are taken one by one; what is missing, wrong or left over is one sentence."""

    def __init__(self, where: str, table: object) -> None:
        if not isinstance(table, dict):
            raise InputError(f"{where} is {table!r}: write a table of keys")
        self.where, self.left = where, dict(table)

    def take(self, key: str, check: Callable[[Any], T], *default: T) -> T:
        if key not in self.left:
            if default:
                return default[0]
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


def _losses(where: str, value: Any) -> tuple[Setting, ...]:
    """The settings of one entry: a loss, and a ridge or several."""
    keys = _Keys(f"{where}, losses", value)
    name = keys.take("name", _one_of(tuple(LOSSES)))
    ridges = keys.take(
        "ridge", lambda ridge: _several(_positive)(ridge) if isinstance(ridge, list) else (_positive(ridge),)
    )
    weights = keys.take("class_weight", _one_of(CLASS_WEIGHTS), "none")
    keys.done()
    return tuple(Setting(name, ridge, weights) for ridge in ridges)


def _ridges(value: Any) -> tuple[float | None, ...]:
    if value == VALIDATE:
        return (None,)
    return _several(_positive)(value) if isinstance(value, list) else (_positive(value),)


def _settings(entries: tuple[tuple[Setting, ...], ...]) -> tuple[Setting, ...]:
    """All settings, in order."""
    settings = tuple(setting for entry in entries for setting in entry)
    if len(set(settings)) < len(settings):
        raise _Wrong("a list of losses and ridges without repetitions")
    return settings


def _share(value: Any) -> float:
    if type(value) is not float or not 0 < value < 1:
        raise _Wrong("a share between 0 and 1")
    return value


def _one_of(names: tuple[str, ...]) -> Callable[[Any], str]:
    def check(value: Any) -> str:
        if value not in names:
            raise _Wrong(f"one of {', '.join(names)}")
        return str(value)

    return check
