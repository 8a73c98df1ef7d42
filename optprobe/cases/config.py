"""The configuration of a study of cases: a TOML file, checked key by key."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from formulations.losses import LOSSES
from formulations.validation import CLASS_WEIGHTS
from optprobe.cases.case import Setting
from optprobe.cases.study import CaseStudy, Split
from optprobe.cases.validation import GRID
from optprobe.comparison import METHODS as HEURISTICS
from optprobe.engines import METHODS as ENGINES
from optprobe.studies.keys import Keys, Wrong, at_least, one_of, positive, read_keys, several, share, text

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
    keys = read_keys(path)
    config = config_of(keys)
    keys.done()
    return config


def config_of(keys: Keys) -> Config:
    """
    Take from a file what a study of cases needs; other keys stay.

    Raises
    ------
    InputError
        One sentence that names the file and the key.
    """
    stores: tuple[str, ...] = keys.take("stores", several(text), ())
    settings = keys.take("losses", lambda value: _settings(several(lambda one: _losses(keys.where, one))(value)))
    searched = keys.take("top", at_least(1), None)
    return Config(
        model=None if stores else keys.take("model", text),
        dataset=None if stores else keys.take("dataset", text),
        stores=stores,
        settings=tuple(setting._replace(among=searched) for setting in settings),
        ks=tuple(sorted(keys.take("ks", several(at_least(1))))),
        features=keys.take("features", several(text), None),
        layers=keys.take("layers", several(at_least(0)), *((None,) if stores else ())),
        method=keys.take("method", one_of(("auto", *ENGINES)), "auto"),
        methods=keys.take("methods", several(one_of(HEURISTICS)), None),
        time_limit=keys.take("time_limit", positive, None),
        test_share=keys.take("test_share", share, 0.3),
        split_seed=keys.take("split_seed", at_least(0), 0),
        bootstrap_draws=keys.take("bootstrap_draws", at_least(1), 1000),
        seed=keys.take("seed", at_least(0), 0),
        within=keys.take("within", positive, None),
        grid=keys.take("grid", several(positive), GRID if any(one.ridge is None for one in settings) else ()),
    )


def _losses(where: str, value: Any) -> tuple[Setting, ...]:
    """The settings of one entry: a loss, and a ridge or several."""
    keys = Keys(f"{where}, losses", value)
    name = keys.take("name", one_of(tuple(LOSSES)))
    ridges = keys.take("ridge", _ridges)
    weights = keys.take("class_weight", one_of(CLASS_WEIGHTS), "none")
    keys.done()
    return tuple(Setting(name, ridge, weights) for ridge in ridges)


def _ridges(value: Any) -> tuple[float | None, ...]:
    if value == VALIDATE:
        return (None,)
    return several(positive)(value) if isinstance(value, list) else (positive(value),)


def _settings(entries: tuple[tuple[Setting, ...], ...]) -> tuple[Setting, ...]:
    """All settings, in order."""
    settings = tuple(setting for entry in entries for setting in entry)
    if len(set(settings)) < len(settings):
        raise Wrong("a list of losses and ridges without repetitions")
    return settings
