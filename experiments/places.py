"""Studies of the features and layers of a store: their items, their rows, and the cases in their records."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache
from pathlib import Path
from typing import Any, ClassVar

import numpy as np
from numpy.typing import ArrayLike

from experiments.cases import Cases, prepared_store
from experiments.experiment import Job
from formulations import SparseProbeProblem
from optprobe.activations import Activations, LabelledActivations, load_labelled
from optprobe.cases import Case
from optprobe.cases.case import case_of
from optprobe.cases.config import Config, config_of
from optprobe.cases.study import REGISTRY
from optprobe.cases.validation import chosen_ridge
from optprobe.data import problem
from optprobe.engines import Solution, solve
from optprobe.errors import CertificateRejected, InputError
from optprobe.features.controls import shuffled_labels
from optprobe.heuristics import RankingScores
from optprobe.registry import Registry
from optprobe.scoring import GroupBootstrap, Scores, middle
from optprobe.studies import Item
from optprobe.studies.keys import Keys
from optprobe.studies.study import digest

DIGITS = 6
"""Digits of a number in a table: records have all of them."""


@dataclass(frozen=True)
class PlaceStudy(ABC):
    """
    A study of the features and layers of a store, whose problems a `Config` states.

    A result holds ``cases``, a record of a `Case` by a name for each, whose certificates are in a registry of the
    folder that the item names.

    Attributes
    ----------
    config : Config
    store : str
        Activations of its model, dataset and layers.
    folder : Path
        Gets the registries.
    """

    config: Config
    store: str
    folder: Path

    name: ClassVar[str]
    version: ClassVar[int] = 1

    @abstractmethod
    def run(self, item: Item, earlier: Mapping[str, Any] | None) -> Mapping[str, Any]:
        """The result of an item: ``cases``, ``registry``, and what else the study measures."""

    def variants(self) -> Sequence[Mapping[str, Any]]:
        """What an item states beside feature, layer, setting and k: how the rows are split, whose labels they have."""
        return [self.rows_as_they_are]

    @property
    def rows_as_they_are(self) -> dict[str, Any]:
        """The split of the configuration, and true labels."""
        return {"split_seed": self.config.split_seed, "shuffled": None, "registry": REGISTRY}

    def settings(self) -> Sequence[Mapping[str, Any]]:
        """Loss, ridge (None where it is validated), class weights."""
        return [setting._asdict() for setting in self.config.settings]

    def items(self) -> Sequence[Item]:
        """Features, layers, variants, settings, k."""
        return list(self._items())

    def _items(self) -> Iterator[Item]:
        config, manifest = self.config, Activations.open(self.store).manifest
        common = {
            "test_share": config.test_share,
            "method": config.method,
            "methods": None if config.methods is None else list(config.methods),
            "time_limit": config.time_limit,
            "draws": config.bootstrap_draws,
            "seed": config.seed,
            "within": config.within,
            "grid": list(config.grid),
            "grid_k": self.grid_k,
        }
        for feature in config.features or manifest["features"]:
            inputs = {"activations": digest([manifest["digests"], manifest["features"][feature]])}
            for layer in config.layers or ():
                for variant in self.variants():
                    for setting in self.settings():
                        for k in config.ks:
                            stated = {"feature": feature, "layer": layer, **variant, **setting, "k": k}
                            kind = ", ".join(f"{key} {value}" for key, value in stated.items() if value is not None)
                            yield Item({**stated, **common}, inputs, kind, f"{setting['loss']}, k = {k}")

    @property
    def grid_k(self) -> int:
        """The k at which a ridge is validated: the middle one, so that all k of a place have one objective."""
        return self.config.ks[len(self.config.ks) // 2]

    def stated(self, values: Mapping[str, Any]) -> tuple[LabelledActivations, RankingScores, SparseProbeProblem]:
        """The rows of an item, their rankings, and its problem."""
        rows, scores = scored_rows(
            self.store,
            *(values[name] for name in ("feature", "layer", "split_seed", "shuffled", "class_weight")),
            self.config.test_share,
            self.config.seed,
        )
        ridge = values["ridge"]
        if ridge is None:
            chosen = values["loss"], values["class_weight"], self.grid_k, self.config.grid, values["split_seed"]
            ridge = validated_ridge(rows, *chosen)
        return rows, scores, scores.problem.restated(k=values["k"], loss=values["loss"], ridge=ridge)

    def solved(self, stated: SparseProbeProblem) -> Solution:
        """The optimum, within the configuration's limits; an interrupted one is none."""
        solution = solve(stated, self.config.method, self.config.time_limit, within=self.config.within)
        if solution.interrupted:
            raise KeyboardInterrupt
        return solution

    def case(
        self,
        solution: Solution,
        rows: LabelledActivations,
        scores: RankingScores | None,
        rankings: Mapping[str, Sequence[int]] | None = None,
        registry: str = REGISTRY,
    ) -> Case:
        """The case of a solution by the methods and resamples of the configuration; its certificate is kept."""
        return case_of(
            solution,
            rows,
            Registry(self.folder / registry),
            methods=self.config.methods,
            draws=self.config.bootstrap_draws,
            seed=self.config.seed,
            scores=scores,
            rankings=rankings,
        )

    def sound(self, result: Mapping[str, Any]) -> bool:
        """Whether every certificate is in its registry, unaltered."""
        registry = Registry(self.folder / str(result.get("registry")))
        try:
            return all(registry.keeps(case["certificate"]) for case in result["cases"].values())
        except (KeyError, AttributeError):
            return False


@lru_cache(maxsize=1)
def scored_rows(
    store: str,
    feature: str,
    layer: int,
    split_seed: int,
    shuffled: int | None,
    class_weight: str,
    test_share: float,
    seed: int,
) -> tuple[LabelledActivations, RankingScores]:
    """
    The rows of a feature and layer, and their rankings, which serve all losses and k.

    ``shuffled`` is the seed of a permutation of the training labels; the test rows keep theirs.
    """
    rows = load_labelled(store, feature, layer, test_share, split_seed)
    if shuffled is not None:
        scope = {**rows.scope, "labels": f"shuffled within the training part, seed {shuffled}"}
        rows = replace(rows, y_train=shuffled_labels(rows.y_train, shuffled), scope=scope)
    return rows, RankingScores(problem(rows, 1, loss="squared", class_weight=class_weight), seed)


@lru_cache(maxsize=4)
def validated_ridge(
    rows: LabelledActivations, loss: str, class_weight: str, k: int, grid: tuple[float, ...], seed: int
) -> float:
    """The ridge of a grid whose optimum has the least loss on documents set aside."""
    stated = problem(rows, k, loss=loss, ridge=grid[0], class_weight=class_weight)
    return float(chosen_ridge(rows, stated, grid, seed=seed)[0]["ridge"])


def results_of_places(job: Job[Any], study: PlaceStudy) -> list[dict[str, Any]]:
    """
    The results of all items, each with its ``item`` and its cases read.

    Raises
    ------
    CertificateRejected
        If the checker rejected a certificate.
    """
    found = []
    for item, result in zip(study.items(), job.results(study)):
        cases = {name: Case.of_record(record) for name, record in result["cases"].items()}
        for case in cases.values():
            if not case.accepted:
                raise CertificateRejected(f"the checker rejected {case.certificate}: {case.verdict}")
        found.append({**result, "item": item.values, "cases": cases})
    return found


def place_config(keys: Keys) -> Config:
    """Take what a study of places needs; `InputError` for ``top``, since these search whole layers."""
    config = config_of(keys)
    if any(setting.among is not None for setting in config.settings):
        raise InputError(f"{keys.where}: this experiment searches whole layers, so leave 'top' out")
    return config


def store_of(job: Job[Any], config: Config) -> str:
    """The activations of a configuration, whose layers they have."""
    store = prepared_store(job, config)
    widths = {layer: Activations.open(store).matrices[layer].shape[1] for layer in config.layers or ()}
    for layer, width in widths.items():
        if max(config.ks) > width:
            raise InputError(f"k = {max(config.ks)} is more than the {width} neurons of layer {layer}")
    return store


def pages_of(job: Job[Any], config: Config, store: str, cases: Sequence[Case]) -> Cases:
    """Cases as pages are made of them."""
    return Cases(config.study(job.folder, (store,)), store, list(cases))


def mean_interval(values: ArrayLike, group: ArrayLike, draws: int, seed: int) -> tuple[float, float, float]:
    """
    A mean, and the ends of its interval over resampled groups.

    Parameters
    ----------
    values, group : array_like, shape (n,)
        Not empty.
    draws, seed : int
        Resamples of the groups, and their seed.
    """
    values = np.asarray(values, dtype=np.float64)
    resamples = GroupBootstrap.of(group, draws, seed)
    return float(values.mean()), *middle(resamples.means(values))


def score(scores: Scores, name: str) -> float:
    """A score that rows of both classes have; `InputError` where they lack one."""
    value: float | None = getattr(scores, name)
    if value is None:
        raise InputError(f"the held-out rows have no {name}, since a class has none of them: give more documents")
    return value


def rounded(row: Mapping[str, Any]) -> dict[str, Any]:
    """A row of a table, its numbers to a few digits."""
    return {name: round(value, DIGITS) if isinstance(value, float) else value for name, value in row.items()}
