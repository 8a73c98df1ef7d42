"""The study of cases: every feature, layer, loss and k of some activations, certified and compared with heuristics."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property, lru_cache
from pathlib import Path
from typing import Any

from formulations import loss_named
from formulations.validation import CLASS_WEIGHTS, checked_ridge
from optprobe.activations import Activations, LabelledActivations, load_labelled
from optprobe.cases.case import Case, Setting, certified_case
from optprobe.cases.validation import chosen_ridge
from optprobe.comparison import check_methods
from optprobe.data import problem
from optprobe.engines.engine import engine_named
from optprobe.engines.pool import Wanted
from optprobe.errors import InputError
from optprobe.files import file_digest
from optprobe.heuristics import RANKINGS, RankingScores, top
from optprobe.registry import Registry
from optprobe.studies import Item, records_of
from optprobe.studies.study import digest, key_of

REGISTRY = "registry"
Place = tuple[str, str, int, str]
"""A source, a feature and a layer of it, and the digest of what the source has there."""


@dataclass(frozen=True)
class Split:
    """How the rows of a store are split by document: share of the test part, and seed."""

    test_share: float = 0.3
    seed: int = 0


@dataclass(frozen=True)
class CaseStudy:
    """
    Cases of every place, setting and k.

    Parameters
    ----------
    sources : tuple of str
        Stores of activations, or `.npz` files that name their feature and layer and have test rows with documents.
    folder : Path
        Gets ``registry/``, beside what `run_study` writes there.
    settings : tuple of Setting
        Losses with their ridge and class weights; those that search among N neurons search the N of largest mean
        difference on the training rows.
    ks : tuple of int
    grid : tuple of float
        Ridges to choose from, for settings without one.
    features : tuple of str, optional
    layers : tuple of int, optional
        Which of each source; by default all.
    split : Split
    method : str
        As in `optprobe.solve`.
    methods : tuple of str, optional
        Heuristics to compare with; by default all.
    time_limit : float, optional
        Seconds for each solve.
    draws : int
        Resamples of the test documents.
    seed : int
        Of the resamples, and of the rankings that draw at random.
    within : float, optional
        Certify also all near-optimal sets, up to this share of F above the optimum.

    Raises
    ------
    InputError
        If a setting, k, method or limit cannot be used; from `items`, if a source has no such feature or layer, or a
        layer fewer neurons than k or than are to be searched.
    """

    sources: tuple[str, ...]
    folder: Path
    settings: tuple[Setting, ...]
    ks: tuple[int, ...]
    features: tuple[str, ...] | None = None
    layers: tuple[int, ...] | None = None
    split: Split = Split()
    method: str = "auto"
    methods: tuple[str, ...] | None = None
    time_limit: float | None = None
    draws: int = 1000
    seed: int = 0
    grid: tuple[float, ...] = ()
    within: float | None = None

    name = "cases"
    version = 2

    def __post_init__(self) -> None:
        """Check what does not depend on the sources."""
        validated = [setting for setting in self.settings if setting.ridge is None]
        if bool(validated) != bool(self.grid):
            raise InputError("a grid of ridges is for settings whose ridge is to be validated: give both, or neither")
        for setting in self.settings:
            for ridge in self.grid if setting.ridge is None else (setting.ridge,):
                checked_ridge(ridge, loss_named(setting.loss))
            if setting.class_weight not in CLASS_WEIGHTS:
                raise InputError(f"the class weights are {setting.class_weight!r}: use {' or '.join(CLASS_WEIGHTS)}")
        if not self.sources or not self.settings or not self.ks or min(self.ks) < 1:
            raise InputError("a study of cases needs sources, settings and numbers of neurons from 1")
        if narrow := [s.among for s in self.settings if s.among is not None and s.among < max(self.ks)]:
            raise InputError(f"k = {max(self.ks)} is more than the {narrow[0]} neurons that are to be searched")
        if self.method != "auto":
            engine_named(self.method)
        check_methods(self.methods)
        Wanted.of(self.within, None, None)
        if self.time_limit is not None and not 0 < self.time_limit < math.inf:
            raise InputError(f"the time limit is {self.time_limit:g} s: give a positive number")

    def items(self) -> Sequence[Item]:
        """Places, then settings, then k, each after the smaller k before it."""
        return self._items

    @cached_property
    def _items(self) -> tuple[Item, ...]:
        return tuple(item for place in self._places for item in self._items_of(*place))

    @cached_property
    def _places(self) -> tuple[Place, ...]:
        return tuple(place for source in self.sources for place in self._places_of(source))

    def __getstate__(self) -> dict[str, Any]:
        """What a worker needs: where the places are, and not all items with each of them."""
        return {name: value for name, value in vars(self).items() if name != "_items"}

    def _items_of(self, source: str, feature: str, layer: int, place_digest: str) -> Iterator[Item]:
        for setting in self.settings:
            before: str | None = None
            for k in self.ks:
                values = {
                    "feature": feature,
                    "layer": layer,
                    **setting._asdict(),
                    "k": k,
                    "method": self.method,
                    "split": None if Path(source).is_file() else vars(self.split),
                    "methods": None if self.methods is None else list(self.methods),
                    "time_limit": self.time_limit,
                    "draws": self.draws,
                    "seed": self.seed,
                    **({"grid": list(self.grid)} if setting.ridge is None else {}),
                    **({} if self.within is None else {"within": self.within}),
                }
                kind = f"{setting}, k = {k}"
                name = f"{feature}, layer {layer}, {kind}"
                item = Item(values, {"activations": place_digest}, name, kind, before)
                before = key_of(self, item)
                yield item

    def _places_of(self, source: str) -> Iterator[Place]:
        if Path(source).is_file():
            yield self._file(source)
            return
        store = Activations.open(source)
        _check_labels(source, bool(store.labels))
        for feature in _chosen("feature", source, self.features, store.features):
            for layer in _chosen("layer", source, self.layers, store.layers):
                self._check_k(store.matrices[layer].shape[1], layer)
                files = {
                    name: sha256
                    for name, sha256 in store.manifest["digests"].items()
                    if "/" not in name or name.startswith(f"layer_{layer}/")
                }
                yield source, feature, layer, digest([files, store.manifest["features"][feature]])

    def _file(self, source: str) -> Place:
        """The place of an `.npz`."""
        rows = load_labelled(source)
        _check_labels(source, not rows.of_target)
        if not {"feature", "layer"} <= set(rows.scope):
            raise InputError(f"{source} names no feature and layer, and a case needs both: add them to the file")
        (feature,) = _chosen("feature", source, self.features, (str(rows.scope["feature"]),))
        (layer,) = _chosen("layer", source, self.layers, (int(rows.scope["layer"]),))
        self._check_k(rows.X_train.shape[1], layer)
        return source, feature, layer, file_digest(Path(source))

    def _check_k(self, width: int, layer: int) -> None:
        if max(self.ks) > width:
            raise InputError(f"k = {max(self.ks)} is more than the {width} neurons of layer {layer}")
        if wide := [s.among for s in self.settings if s.among is not None and s.among > width]:
            raise InputError(f"{wide[0]} neurons are to be searched, and layer {layer} has {width}")

    def run(self, item: Item, earlier: Mapping[str, Any] | None) -> Mapping[str, Any]:
        """The record of a case; its certificate is in the registry."""
        values = item.values
        there = values["feature"], values["layer"], item.inputs["activations"]
        place = next(place for place in self._places if place[1:] == there)
        data, scores = _scored(place, self.split, values["class_weight"], values["among"], self.seed)
        stated = scores.problem.restated(k=values["k"], loss=values["loss"], ridge=values["ridge"] or self.grid[0])
        limits: dict[str, Any] = {"method": self.method, "time_limit": self.time_limit}
        validation: list[Mapping[str, Any]] = []
        if values["ridge"] is None:
            validation = chosen_ridge(data, stated, self.grid, **limits, seed=self.split.seed)
            stated = stated.restated(ridge=validation[0]["ridge"])
        case = certified_case(
            data,
            stated,
            Registry(self.folder / REGISTRY),
            **limits,
            methods=self.methods,
            draws=self.draws,
            seed=self.seed,
            scores=scores,
            incumbents=() if earlier is None else (earlier["support"],),
            within=self.within,
        )
        return replace(case, validation=tuple(validation)).record()

    def sound(self, result: Mapping[str, Any]) -> bool:
        """Whether the certificate is in the registry, unaltered."""
        return Registry(self.folder / REGISTRY).keeps(str(result.get("certificate")))

    def cases(self) -> list[Case]:
        """The cases that are done, in the order of the items."""
        return [Case.of_record(record["result"]) for record in records_of(self, self.folder)]


@lru_cache(maxsize=1)
def _scored(
    place: Place, split: Split, class_weight: str, among: int | None, seed: int
) -> tuple[LabelledActivations, RankingScores]:
    """The rows of a place, and their rankings, which serve all losses and k."""
    source, feature, layer, _ = place
    parts = {} if Path(source).is_file() else vars(split)
    data = load_labelled(source, feature, layer, **parts)
    stated = problem(data, 1, loss="squared", class_weight=class_weight)
    if among is not None:
        searched = top(RANKINGS["mean_difference"].function(stated, seed), among)
        stated = problem(data, 1, loss="squared", class_weight=class_weight, among=searched)
    return data, RankingScores(stated, seed)


def _check_labels(source: str, labelled: bool) -> None:
    if not labelled:
        raise InputError(f"{source} holds targets alone, and heuristics rank neurons for labels: give features")


def _chosen(what: str, source: str, asked: Sequence[Any] | None, there: Sequence[Any]) -> Sequence[Any]:
    if asked is None:
        return there
    for name in asked:
        if name not in there:
            raise InputError(f"{source} has no {what} {name!r}: there are {', '.join(map(str, there))}")
    return asked
