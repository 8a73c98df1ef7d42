"""
When is the optimum the truth, and when does each heuristic miss it? Planted neurons, and no model.

    python -m experiments.synthetic_recovery --config experiments/configs/synthetic_recovery/bundled.toml

Rows are drawn whose label depends on a few planted neurons; the certified optimum and every method then choose as many.
One thing at a time departs from a baseline: the number of rows, the correlation of each planted neuron with decoys that
play no part, correlation of the planted neurons with one another where their effects have opposite signs (so that each
alone tells little), noise, imbalance, heavy tails. A method recovers a set if it names exactly the planted neurons. The
truth is not always the optimum: with few rows another set fits them better, and then no method that minimises the
objective can find the truth; where the optimum is the truth and a method misses it, the method is at fault.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from experiments.experiment import Experiment, Job, Tables, command
from experiments.places import rounded, score
from experiments.plots import shades
from formulations import LOSSES, fit_support, sparse_probe_problem
from optprobe.certificates import verify
from optprobe.comparison import METHODS, OPTIMUM, compare
from optprobe.engines import solve
from optprobe.errors import CertificateRejected, InputError
from optprobe.registry import Registry
from optprobe.report.figures import FigureOnPage
from optprobe.report.summary import label
from optprobe.studies import Item
from optprobe.studies.keys import Keys, Wrong, at_least, one_of, positive, several, text

TITLE = "Planted neurons: when the optimum is the truth, and when heuristics miss it"
REGISTRY = "registry"
TEST_ROWS = 2000
BLOCK = 8
"""Neurons that are correlated with one another: a planted one and its decoys, or all planted ones."""
CONFIDENCE = 1.959963984540054
"""The normal quantile of a 95% interval."""
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Plant:
    """
    How rows are drawn.

    Attributes
    ----------
    n_rows, n_neurons, k : int
        Training rows, neurons, planted neurons.
    correlation : float
        Of the neurons of a block, from 0 to below 1.
    opposed : bool
        Whether the planted neurons form one block and their effects alternate in sign; otherwise each has a block of
        its own, with decoys, and a positive effect.
    noise : float
        Standard deviation of what is added to the planted neurons' mean effect, whose own is 1 where they are
        uncorrelated Gaussians.
    positive_share : float
        Share of the positive class.
    tail : float
        Neurons are ``sign(z) |z|^tail`` of Gaussian z: 1 is Gaussian, 3 has heavy tails.
    """

    n_rows: int = 400
    n_neurons: int = 200
    k: int = 3
    correlation: float = 0.0
    opposed: bool = False
    noise: float = 0.5
    positive_share: float = 0.5
    tail: float = 1.0


class Planted(NamedTuple):
    """Rows, labels in {-1, +1}, and the planted neurons."""

    X: Floats
    y: Floats
    support: tuple[int, ...]


def planted(plant: Plant, n_rows: int, support: Sequence[int], seed: Sequence[int]) -> Planted:
    """
    Draw rows.

    Each block shares a Gaussian of variance ``correlation``. Positive are the rows whose effect, noise included, is
    among the ``positive_share`` largest.
    """
    rng = np.random.default_rng(seed)
    shared = rng.standard_normal((n_rows, math.ceil(plant.n_neurons / BLOCK)))
    own = rng.standard_normal((n_rows, plant.n_neurons))
    blocks = _blocks(plant, support)
    z = math.sqrt(plant.correlation) * shared[:, blocks] + math.sqrt(1 - plant.correlation) * own
    X = np.sign(z) * np.abs(z) ** plant.tail
    signs = (-1.0) ** np.arange(plant.k) if plant.opposed else np.ones(plant.k)
    effects = X[:, list(support)] / (X[:, list(support)].std(axis=0) * math.sqrt(plant.k))
    value = effects @ signs + plant.noise * rng.standard_normal(n_rows)
    positive = np.argsort(np.argsort(-value, kind="stable"), kind="stable") < round(plant.positive_share * n_rows)
    return Planted(X, np.where(positive, 1.0, -1.0), tuple(sorted(map(int, support))))


def _blocks(plant: Plant, support: Sequence[int]) -> NDArray[np.int64]:
    """The block of every neuron: planted ones first in it, the others in turn."""
    blocks = np.full(plant.n_neurons, -1)
    for place, neuron in enumerate(support):
        blocks[neuron] = 0 if plant.opposed else place
    others = np.flatnonzero(blocks < 0)
    taken = np.bincount(blocks[blocks >= 0], minlength=math.ceil(plant.n_neurons / BLOCK))
    blocks[others] = np.repeat(np.arange(len(taken)), np.maximum(BLOCK - taken, 0))[: len(others)]
    return blocks


@dataclass(frozen=True)
class SyntheticConfig:
    """
    What is run.

    Attributes
    ----------
    plants : mapping of str to Plant
        By name, the baseline first.
    repeats : int
        Draws of each.
    losses : tuple of str
    ridge : float
    class_weight : str
    methods : tuple of str
    time_limit : float or None
        Seconds for each optimum.
    seed : int
        Of all draws.
    """

    plants: Mapping[str, Plant]
    repeats: int
    losses: tuple[str, ...]
    ridge: float
    class_weight: str
    methods: tuple[str, ...]
    time_limit: float | None
    seed: int


@dataclass(frozen=True)
class Recovery:
    """Optima of planted rows, with every method beside them."""

    config: SyntheticConfig
    folder: Path

    name = "synthetic_recovery"
    version = 1

    def items(self) -> Sequence[Item]:
        """Plants, losses, repeats."""
        config = self.config
        return [
            Item(
                {
                    **asdict(plant),
                    "plant": name,
                    "loss": loss,
                    "ridge": config.ridge,
                    "class_weight": config.class_weight,
                    "methods": list(config.methods),
                    "time_limit": config.time_limit,
                    "seed": [config.seed, repeat],
                },
                {},
                f"{name}, {loss} loss, draw {repeat}",
                f"{name}, {loss}",
            )
            for name, plant in config.plants.items()
            for loss in config.losses
            for repeat in range(config.repeats)
        ]

    def run(self, item: Item, earlier: Mapping[str, Any] | None) -> Mapping[str, Any]:
        """The optimum, F of the truth, and what every method chose."""
        values = item.values
        plant = Plant(**{field.name: values[field.name] for field in fields(Plant)})
        drawn = np.random.default_rng(values["seed"]).choice(plant.n_neurons, plant.k, replace=False)
        support = tuple(map(int, drawn))
        train = planted(plant, plant.n_rows, support, [*values["seed"], 0])
        test = planted(plant, TEST_ROWS, support, [*values["seed"], 1])
        stated = sparse_probe_problem(
            train.X, train.y, plant.k, **{name: values[name] for name in ("loss", "ridge", "class_weight")}
        )
        solution = solve(stated, time_limit=self.config.time_limit)
        if solution.interrupted:
            raise KeyboardInterrupt
        registry = Registry(self.folder / REGISTRY)
        certificate = solution.certificate({"plant": values["plant"], "draw": values["seed"]})
        sha256 = registry.add(certificate)
        verdict = verify(registry.path(sha256), train.X, train.y)
        if verdict.accepted:
            registry.add(certificate, verdict)
        compared = compare(solution, test.X, test.y, seed=self.config.seed, methods=self.config.methods)
        return {
            "certificate": sha256,
            "accepted": verdict.accepted,
            "optimal": solution.optimal,
            "objective": solution.upper_bound,
            "objective_of_truth": float(fit_support(stated, train.support).objective[0]),
            "methods": [
                {
                    "method": row.method,
                    "found": len(set(row.support) & set(train.support)),
                    "is_optimal": row.optimal is True,
                    "relative_regret": row.relative_regret,
                    "auc_test": None if row.test is None else score(row.test, "auc"),
                }
                for row in compared.rows
            ],
        }

    def sound(self, result: Mapping[str, Any]) -> bool:
        """Whether the certificate is in the registry, unaltered."""
        return Registry(self.folder / REGISTRY).keeps(str(result.get("certificate")))


def read(keys: Keys) -> SyntheticConfig:
    """Take the baseline, what departs from it, and how it is solved."""
    baseline = _plant(keys, "baseline", Plant())
    departures = keys.take("departures", _tables)
    plants = {"baseline": baseline}
    for entry in departures:
        one = Keys(f"{keys.where}, departures", entry)
        name = one.take("name", text)
        if name in plants:
            raise InputError(f"{keys.where} has two departures called {name!r}: rename one")
        plants[name] = _plant_of(one, baseline)
    methods: tuple[str, ...] = METHODS
    return SyntheticConfig(
        plants=plants,
        repeats=keys.take("repeats", at_least(1)),
        losses=keys.take("losses", several(one_of(tuple(LOSSES)))),
        ridge=keys.take("ridge", positive),
        class_weight=keys.take("class_weight", one_of(("none", "balanced")), "balanced"),
        methods=keys.take("methods", several(one_of(METHODS)), methods),
        time_limit=keys.take("time_limit", positive, None),
        seed=keys.take("seed", at_least(0), 0),
    )


def _tables(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list) or not all(isinstance(entry, dict) for entry in value):
        raise Wrong("a list of tables [[departures]]")
    return value


def _plant(keys: Keys, key: str, default: Plant) -> Plant:
    return _plant_of(Keys(f"{keys.where}, {key}", keys.take(key, lambda value: value)), default)


def _plant_of(keys: Keys, base: Plant) -> Plant:
    """A plant of which a table states what differs from another."""
    share = _between(0.0, 1.0, least_too=False)
    found = Plant(
        n_rows=keys.take("n_rows", at_least(20), base.n_rows),
        n_neurons=keys.take("n_neurons", at_least(BLOCK), base.n_neurons),
        k=keys.take("k", at_least(1), base.k),
        correlation=keys.take("correlation", _between(0.0, 1.0, least_too=True), base.correlation),
        opposed=keys.take("opposed", _truth, base.opposed),
        noise=keys.take("noise", positive, base.noise),
        positive_share=keys.take("positive_share", share, base.positive_share),
        tail=keys.take("tail", positive, base.tail),
    )
    keys.done()
    if found.k > BLOCK or (found.k - 1) * BLOCK >= found.n_neurons:
        raise InputError(f"{keys.where}: {found.n_neurons} neurons have no {found.k} blocks of {BLOCK}: plant fewer")
    return found


def _truth(value: Any) -> bool:
    if type(value) is not bool:
        raise Wrong("true or false")
    return value


def _between(least: float, most: float, *, least_too: bool) -> Any:
    def check(value: Any) -> float:
        if type(value) is not float or not (least < value < most or (least_too and value == least)):
            raise Wrong(f"a number between {least:g} and {most:g}")
        return value

    return check


def run(job: Job[SyntheticConfig]) -> tuple[Tables, Sequence[FigureOnPage]]:
    """Solve every draw."""
    study = Recovery(job.config, job.folder)
    results = job.results(study)
    if rejected := [result for result in results if not result["accepted"]]:
        raise CertificateRejected(f"the checker rejected {rejected[0]['certificate']}")
    rows = [draw_row(item, result) for item, result in zip(study.items(), results)]
    tables: Tables = {"truth": truth_rows(rows), "recovery": recovery_rows(study.items(), results), "draws": rows}
    return tables, figures(tables)


def draw_row(item: Item, result: Mapping[str, Any]) -> dict[str, Any]:
    """One draw: whether the optimum is the truth, and how far the truth is above it."""
    best = next(row for row in result["methods"] if row["method"] == OPTIMUM)
    values = item.values
    return rounded(
        {
            "plant": values["plant"],
            "loss": values["loss"],
            "draw": values["seed"][1],
            "k": values["k"],
            "proved": result["optimal"],
            "is_truth": best["found"] == values["k"],
            "found": best["found"],
            "objective": result["objective"],
            "truth_above": result["objective_of_truth"] / result["objective"] - 1,
            "auc_test": best["auc_test"],
            "certificate": result["certificate"][:12],
        }
    )


def truth_rows(draws: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row a plant and loss: how often the optimum is the truth."""
    groups: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in draws:
        groups.setdefault((row["plant"], row["loss"]), []).append(row)
    found = []
    for (plant, loss), group in groups.items():
        right = sum(row["is_truth"] for row in group)
        low, high = proportion_interval(right, len(group))
        row = {"plant": plant, "loss": loss, "draws": len(group), "proved": sum(row["proved"] for row in group)}
        row |= {"is_truth": right, "low": low, "high": high}
        row["found_share"] = float(np.mean([row["found"] / row["k"] for row in group]))
        row["truth_above"] = float(np.mean([row["truth_above"] for row in group]))
        found.append(rounded(row))
    return found


def recovery_rows(items: Sequence[Item], results: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """One row a plant, loss and method: how often it names the truth, and how often it is the method that misses it."""
    groups: dict[tuple[str, str, str], list[tuple[bool, Mapping[str, Any], int]]] = {}
    for item, result in zip(items, results):
        k = item.values["k"]
        truth = next(row["found"] for row in result["methods"] if row["method"] == OPTIMUM) == k
        for row in result["methods"]:
            key = item.values["plant"], item.values["loss"], row["method"]
            groups.setdefault(key, []).append((truth, row, k))
    found = []
    for (plant, loss, method), group in groups.items():
        right = sum(row["found"] == k for _, row, k in group)
        low, high = proportion_interval(right, len(group))
        found.append(
            rounded(
                {
                    "plant": plant,
                    "loss": loss,
                    "method": method,
                    "draws": len(group),
                    "recovered": right,
                    "low": low,
                    "high": high,
                    "truth_optimal": sum(truth for truth, _, _ in group),
                    "missed": sum(truth and row["found"] < k for truth, row, k in group),
                    "found_share": float(np.mean([row["found"] / k for _, row, k in group])),
                    "optimal": sum(row["is_optimal"] for _, row, _ in group),
                    "relative_regret": float(np.mean([row["relative_regret"] for _, row, _ in group])),
                    "auc_test": float(np.mean([row["auc_test"] for _, row, _ in group])),
                }
            )
        )
    return found


def proportion_interval(right: int, n: int) -> tuple[float, float]:
    """Wilson's 95% interval of a share of n independent draws."""
    share, z = right / n, CONFIDENCE
    centre, half = share + z * z / (2 * n), z * math.sqrt(share * (1 - share) / n + z * z / (4 * n * n))
    return max(0.0, (centre - half) / (1 + z * z / n)), min(1.0, (centre + half) / (1 + z * z / n))


def figures(tables: Tables) -> list[FigureOnPage]:
    """The share of draws in which each method names the truth, a figure a loss."""
    found = []
    for loss in dict.fromkeys(row["loss"] for row in tables["recovery"]):
        rows = [row for row in tables["recovery"] if row["loss"] == loss]
        plants = list(dict.fromkeys(row["plant"] for row in rows))
        methods = sorted(
            dict.fromkeys(row["method"] for row in rows),
            key=lambda method: -sum(row["recovered"] for row in rows if row["method"] == method),
        )
        share = {(row["plant"], row["method"]): row["recovered"] / row["draws"] for row in rows}
        cells = [[share[plant, method] for method in methods] for plant in plants]
        short = [label(method).replace(" ", "\n") for method in methods]
        caption = f"Share of draws in which each method names exactly the planted neurons; {loss} loss."
        found.append(shades(f"recovery_{loss}", caption, plants, short, cells))
    return found


def said(tables: Tables) -> str:
    """Where the optimum is the truth, and which methods miss it there."""
    truth, recovery = tables["truth"], tables["recovery"]
    draws, proved = (sum(row[name] for row in truth) for name in ("draws", "proved"))
    sentences = [f"{proved} of {draws} optima are proved, and the checker accepts every certificate."]
    for loss in dict.fromkeys(row["loss"] for row in truth):
        parts = [f"{row['plant']} {row['is_truth']} of {row['draws']}" for row in truth if row["loss"] == loss]
        sentences.append(f"With {loss} loss the optimum is the truth in: {', '.join(parts)}.")
    possible = sum(row["truth_optimal"] for row in recovery if row["method"] == OPTIMUM)
    missed: dict[str, int] = {}
    for row in recovery:
        if row["method"] != OPTIMUM:
            missed[row["method"]] = missed.get(row["method"], 0) + row["missed"]
    order = sorted(missed, key=lambda method: (missed[method], method))
    listed = ", ".join(f"{label(method)} {missed[method]}" for method in order)
    sentences.append(f"Of the {possible} draws in which it is, each method misses: {listed}.")
    usual = next((method for method in ("mean_difference", *order) if method in missed), None)
    sentences += [] if usual is None else [_worst(recovery, usual)]
    return " ".join(filter(None, sentences))


def _worst(recovery: Sequence[Mapping[str, Any]], method: str) -> str:
    """Where a method misses a truth that is optimal most often, in numbers."""
    rows = [row for row in recovery if row["method"] == method and row["truth_optimal"]]
    worst = max(rows, key=lambda row: row["missed"], default=None)
    if worst is None or not worst["missed"]:
        return ""
    return (
        f"{label(method).capitalize()} fails most in {worst['plant']} ({worst['loss']} loss): {worst['missed']} of "
        f"{worst['truth_optimal']}."
    )


def about(config: SyntheticConfig) -> Mapping[str, str]:
    """Where the numbers come from."""
    base = config.plants["baseline"]
    return {
        "data": f"drawn, seed {config.seed}, {config.repeats} draws of each plant, {TEST_ROWS:,} held-out rows",
        "baseline": ", ".join(f"{name} {value}" for name, value in asdict(base).items()),
        **{
            name: ", ".join(f"{key} {value}" for key, value in asdict(plant).items() if value != getattr(base, key))
            for name, plant in config.plants.items()
            if name != "baseline"
        },
        "problems": f"{', '.join(config.losses)} loss, ridge {config.ridge:g}, {config.class_weight} classes",
        "intervals": "95%, Wilson's, over draws",
    }


EXPERIMENT = Experiment(
    name="synthetic_recovery",
    title=TITLE,
    paper="none: a control that its heuristics were not put to",
    read=read,
    run=run,
    about=about,
    captions={
        "truth": "How often the optimum is exactly the planted set, with Wilson's interval, and how far F of the truth "
        "lies above the optimum.",
        "recovery": "Every plant and method: draws in which it names exactly the planted neurons, and draws in which "
        "the optimum is the truth and the method misses it.",
        "draws": "Every draw.",
    },
    said=said,
)

if __name__ == "__main__":
    sys.exit(command(EXPERIMENT))
