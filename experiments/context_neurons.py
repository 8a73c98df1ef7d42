"""
Are there neurons for a context, and does deleting them hurt just there?

    python -m experiments.context_neurons --config experiments/configs/context_neurons/bundled.toml

For every context (a language, a programming language, LaTeX ...) the certified single neuron of the layer where it does
best on the training documents. On documents held out, the neuron is deleted (set to 0, or to its mean over the training
rows outside the context) and the loss of every token is measured, in the context and outside it. Controls are the
certified runner-up of the same layer, the choice by raw mean difference, and random neurons of like mean activation and
output length. A deletion is *specific* where the whole interval over documents of the loss that it adds in the context
lies above 0, above what it adds outside, and above what every control adds in the context.
"""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any, Literal

import numpy as np
from numpy.typing import NDArray

from experiments.cases import about_config, best_cases, certified, located_model, write_pages
from experiments.experiment import Experiment, Job, Tables, command
from experiments.held_out import rows_held_out, stated
from experiments.plots import Point, values
from optprobe.activations import Activations, LabelledActivations, load_labelled, load_model, load_tokenizer
from optprobe.cases import Case
from optprobe.cases.config import Config, config_of
from optprobe.causal import Ablation, Losses, Reference, losses, neuron_weights
from optprobe.engines import solve
from optprobe.features import FeatureDataset, load
from optprobe.report.figures import FigureOnPage, histogram_figure
from optprobe.scoring import GroupBootstrap, middle
from optprobe.studies import Item
from optprobe.studies.keys import Keys, at_least, one_of, several

TITLE = "Context neurons, and what deleting them does"
OPTIMUM, RUNNER_UP, MEAN_DIFFERENCE, CONTROL = "certified neuron", "runner-up", "raw mean difference", "control"
OWN, OTHERS = "own context", "outside"
Kind = Literal["zero", "mean"]
WAYS: tuple[Kind, ...] = ("zero", "mean")
LIKE = 20
"""Controls are drawn among so many neurons that are nearest in mean activation and output length."""
HURT = 5
"""Tokens hurt most that are kept of each context."""
SHOWN = 6
"""Contexts whose histograms are drawn."""
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Contexts:
    """
    What the study of contexts runs.

    Attributes
    ----------
    config : Config
        Its features are contexts; k = 1 is among its numbers of neurons.
    how : tuple of {"zero", "mean"}
        Ways to delete.
    controls : int
        Random neurons beside each certified one.
    context : int or None
        Tokens of a text that are read where losses are measured.
    """

    config: Config
    how: tuple[Kind, ...]
    controls: int
    context: int | None


def contexts_of(keys: Keys) -> Contexts:
    """Take the configuration of this study."""
    how: tuple[Any, ...] = keys.take("how", several(one_of(WAYS)), WAYS)
    controls = keys.take("controls", at_least(1), 3)
    return Contexts(config_of(keys), how, controls, keys.take("context", at_least(2), None))


@dataclass(frozen=True)
class Deletions:
    """
    Each context's neurons deleted one after the other, on the held-out documents of its feature.

    Parameters
    ----------
    given : Contexts
    store : str
        The folder of activations.
    chosen : mapping of str to (int, int)
        Of each feature, the layer and its certified neuron.
    """

    given: Contexts
    store: str
    chosen: Mapping[str, tuple[int, int]]

    name = "context_neurons"
    version = 1

    @cached_property
    def _loaded(self) -> tuple[Any, Any, FeatureDataset]:
        config = self.given.config
        model = located_model(config.model or "")
        return load_model(model, device="cpu", head=True), load_tokenizer(model), load(config.dataset or "")

    def __getstate__(self) -> dict[str, Any]:
        """Without model and texts, which a worker loads itself."""
        return {name: value for name, value in vars(self).items() if name != "_loaded"}

    def items(self) -> Sequence[Item]:
        """One a feature."""
        config, manifest = self.given.config, Activations.open(self.store).manifest
        asked = {"how": list(self.given.how), "controls": self.given.controls, "context": self.given.context}
        asked |= {"draws": config.bootstrap_draws, "seed": config.seed, "test_share": config.test_share}
        asked |= {"split_seed": config.split_seed, "ridge": config.settings[0].ridge}
        inputs = {"weights": str(manifest["weights"]), "dataset": str(manifest["dataset"]["digest"])}
        return [
            Item(
                {"feature": name, "layer": layer, "neuron": neuron, **asked},
                inputs,
                f"deletions for {name}",
                "deletions",
            )
            for name, (layer, neuron) in self.chosen.items()
        ]

    def run(self, item: Item, earlier: Mapping[str, Any] | None) -> Mapping[str, Any]:
        """The neurons of each role, and what deleting each adds to the loss in every context."""
        feature, layer, neuron = (item.values[name] for name in ("feature", "layer", "neuron"))
        config = self.given.config
        model, tokenizer, data = self._loaded
        rows = load_labelled(self.store, feature, layer, config.test_share, config.split_seed)
        roles = self._roles(rows, layer, neuron)
        outside = Reference("training rows outside", {layer: rows.X_train[rows.y_train < 0]})
        ablations = {
            f"{role} {how}": Ablation({layer: [one]}, how, outside if how == "mean" else None)
            for role, one in roles.items()
            for how in self.given.how
        }
        _, _, documents = rows_held_out(rows)
        held_out = data.take(np.isin(data.group, documents) & (data.labels[feature] != 0))
        found = losses(model, held_out, ablations, tokenizer=tokenizer, context=self.given.context)
        return {
            "feature": feature,
            "layer": layer,
            "roles": roles,
            "effects": list(self._effects(found, held_out, feature, roles)),
            "hurt": _hurt(found, f"{OPTIMUM} {self.given.how[0]}"),
        }

    def sound(self, result: Mapping[str, Any]) -> bool:
        """A record names no other file."""
        return True

    def _roles(self, rows: LabelledActivations, layer: int, neuron: int) -> dict[str, int]:
        """The neuron and its controls."""
        other = stated(rows, 1, self.given.config.settings[0], forbidden=[neuron])
        raw = np.abs(rows.X_train[rows.y_train > 0].mean(axis=0) - rows.X_train[rows.y_train < 0].mean(axis=0))
        of_layer = neuron_weights(self._loaded[0], layer)
        look = np.column_stack([rows.X_train.mean(axis=0), of_layer.output_norms]).astype(np.float64)
        look /= np.maximum(look.std(axis=0), 1e-12)
        runner_up, largest = int(solve(other).support[0]), int(np.argmax(raw))
        far = np.linalg.norm(look - look[neuron], axis=1)
        far[[neuron, runner_up, largest]] = np.inf
        rng = np.random.default_rng([self.given.config.seed, layer, neuron])
        drawn = rng.choice(np.argsort(far, kind="stable")[:LIKE], self.given.controls, replace=False)
        controls = {f"{CONTROL} {at}": int(one) for at, one in enumerate(drawn, 1)}
        return {OPTIMUM: neuron, RUNNER_UP: runner_up, MEAN_DIFFERENCE: largest, **controls}

    def _effects(
        self, found: Losses, data: FeatureDataset, feature: str, roles: Mapping[str, int]
    ) -> Iterator[dict[str, Any]]:
        """A row for each role, way and context: mean of what is added, in nats a token, with its interval."""
        own = class_of_texts(data, feature)
        parts = {OWN: own == 1, OTHERS: own == -1}
        others = [name for name in self.chosen if name != feature]
        parts |= {name: (class_of_texts(data, name) == 1) & (own == -1) for name in others}
        text, group = found.tokens.text, found.tokens.group
        for role in roles:
            for how in self.given.how:
                change = found.change(f"{role} {how}")
                for part, texts in parts.items():
                    tokens = texts[text]
                    if not tokens.any():
                        continue
                    resamples = GroupBootstrap.of(group[tokens], self.given.config.bootstrap_draws, 0)
                    low, high = middle(resamples.means(change[tokens]))
                    mean = float(change[tokens].mean())
                    yield {"role": role, "neuron": roles[role], "how": how, "part": part, "added": mean} | {
                        "low": low, "high": high, "n_tokens": int(tokens.sum()), "n_documents": resamples.times.shape[1]
                    }  # fmt: skip


def class_of_texts(data: FeatureDataset, feature: str) -> NDArray[np.int8]:
    """The label of a feature that a text's rows agree on, 0 where they have none or disagree, shape (n_texts,)."""
    labels = data.labels[feature]
    has = [np.zeros(len(data.texts), dtype=bool) for _ in range(2)]
    for there, label in zip(has, (1, -1)):
        there[data.text[labels == label]] = True
    return (has[0] & ~has[1]).astype(np.int8) - (has[1] & ~has[0]).astype(np.int8)


def _hurt(found: Losses, name: str) -> list[dict[str, Any]]:
    """The tokens hurt most, each in a few words of its text."""
    rows = []
    for one in found.hurt_most(name, HURT, width=8):
        said = f"{''.join(one.context.before)}[{one.context.token}]{''.join(one.context.after[:3])}"
        rows.append({"token": one.context.token, "context": " ".join(said.split())[-100:], "clean": one.clean}
                    | {"added": one.ablated - one.clean})  # fmt: skip
    return rows


def run(job: Job[Contexts]) -> tuple[Tables, Sequence[FigureOnPage]]:
    """Certify the neurons, then delete them."""
    given = job.config
    found = certified(job, given.config)
    write_pages(job, given.config, found, TITLE, weights=True)
    best = {case.feature: case for case in best_cases(found.cases) if case.k == 1}
    chosen = {name: (case.layer, int(case.support[0])) for name, case in best.items()}
    results = job.results(Deletions(given, found.store, chosen))
    effects = [{"feature": one["feature"], "layer": one["layer"], **row} for one in results for row in one["effects"]]
    tables = {
        "neurons": neuron_rows(best, effects, found.cases),
        "effects": [row for row in effects if row["part"] in (OWN, OTHERS)],
        "elsewhere": [row for row in effects if row["role"] == OPTIMUM and row["part"] not in (OWN, OTHERS)],
        "hurt": [{"feature": one["feature"], **row} for one in results for row in one["hurt"]],
    }
    return {name: rows for name, rows in tables.items() if rows}, [
        effect_figure(tables["effects"], given.how[0]),
        *histograms(given, found.store, tables["neurons"]),
    ]


def neuron_rows(
    best: Mapping[str, Case], effects: Sequence[Mapping[str, Any]], cases: Sequence[Case]
) -> list[dict[str, Any]]:
    """One row a context: its neuron, what it is worth held out, and what deleting it adds."""
    rows = []
    how = effects[0]["how"]
    for feature, case in best.items():
        own = {(row["role"], row["part"]): row for row in effects if row["feature"] == feature and row["how"] == how}
        mine, outside = own[OPTIMUM, OWN], own.get((OPTIMUM, OTHERS))
        rivals = {role: row["added"] for (role, part), row in own.items() if part == OWN and role != OPTIMUM}
        away = outside["added"] if outside else 0.0
        score = case.best
        rows.append({
            "feature": feature, "layer": case.layer, "neuron": int(case.support[0]), "optimal": case.optimal,
            "searched": sum(one.n_neurons for one in cases if one.feature == feature and one.k == 1),
            "auc": score.test.auc, "auc_low": score.low.auc, "auc_high": score.high.auc, "f1": score.test.f1,
            "added": mine["added"], "low": mine["low"], "high": mine["high"], "outside": away,
            "runner_up": rivals[RUNNER_UP], "mean_difference": rivals[MEAN_DIFFERENCE],
            "largest_control": max(value for role, value in rivals.items() if role.startswith(CONTROL)),
            "same_as_mean_difference": own[MEAN_DIFFERENCE, OWN]["neuron"] == mine["neuron"],
            "specific": bool(mine["low"] > max(0.0, away, *_others(rivals, own, mine["neuron"]))),
            "certificate": case.certificate,
        })  # fmt: skip
    return rows


def _others(
    rivals: Mapping[str, float], own: Mapping[tuple[str, str], Mapping[str, Any]], neuron: int
) -> Iterator[float]:
    """What the controls add that are other neurons."""
    return (value for role, value in rivals.items() if own[role, OWN]["neuron"] != neuron)


def said(tables: Tables) -> str:
    """How well the neurons tell their contexts, and for which of them deletion is specific."""
    rows, how = tables["neurons"], tables["effects"][0]["how"]
    specific = sorted((row for row in rows if row["specific"]), key=lambda row: -row["added"])
    told = ", ".join(f"{row['feature']} (L{row['layer']}.N{row['neuron']}, {row['added']:+.3f})" for row in specific)
    proved = sum(row["optimal"] for row in rows)
    aucs = sorted(row["auc"] for row in rows)
    beaten = [row["feature"] for row in rows if row["runner_up"] > max(row["added"], 0.0)]
    told_of = f"{len(beaten)} ({', '.join(beaten)})"
    documents = [row["n_documents"] for row in tables["effects"] if row["part"] == OWN]
    return " ".join([
        f"{proved} of {len(rows)} contexts have a certified best single neuron, among up to "
        f"{max(row['searched'] for row in rows):,} in all layers looked at; its held-out AUC is {aucs[0]:.3f} to "
        f"{aucs[-1]:.3f}, {aucs[len(aucs) // 2]:.3f} in the middle.",
        f"Deleting it ({how}) is specific to the context by the criterion in {len(specific)} of {len(rows)}"
        f"{f', in nats a token: {told}' if told else ''}.",
        f"Deleting the runner-up hurts more in {told_of}: the best probe need not be the neuron that is used most."
        if beaten
        else "Nowhere does deleting the runner-up hurt more.",
        f"{len(rows)} contexts were looked at, each on {min(documents)} to {max(documents)} documents of its own.",
    ])  # fmt: skip


def effect_figure(effects: Sequence[Mapping[str, Any]], how: str) -> FigureOnPage:
    """What each deletion adds in its context, with the controls."""
    groups: dict[str, dict[str, Point]] = {}
    for row in effects:
        outside = row["part"] == OTHERS and row["role"] == OPTIMUM
        if row["how"] == how and (row["part"] == OWN or outside):
            name = f"{row['role']}, outside" if outside else str(row["role"])
            groups.setdefault(name, {})[row["feature"]] = Point(0, row["added"], row["low"], row["high"])
    caption = f"What deleting one neuron ({how}) adds to the loss in the context, with 95% intervals over documents."
    return values("deletions", caption, groups, "nats a token added")


def histograms(given: Contexts, store: str, rows: Sequence[Mapping[str, Any]]) -> Iterator[FigureOnPage]:
    """The values of the best neurons inside and outside their context, on held-out rows."""
    for row in sorted(rows, key=lambda row: -row["auc"])[:SHOWN]:
        config = given.config
        data = load_labelled(store, row["feature"], row["layer"], config.test_share, config.split_seed)
        X, y, _ = rows_held_out(data)
        column = X[:, row["neuron"]]
        name = f"histogram_{row['feature']}"
        svg = histogram_figure(column[y > 0], column[y < 0], name)
        where = f"L{row['layer']}.N{row['neuron']}"
        yield FigureOnPage(name, svg, f"{where} in and outside the context {row['feature']}, on documents held out.")


def about(given: Contexts) -> Mapping[str, str]:
    """Where the numbers come from."""
    read = "all that the model reads" if given.context is None else f"the first {given.context} tokens"
    return {**about_config(given.config), "losses": f"next token, nats, {read} of each held-out text"}


EXPERIMENT = Experiment(
    name="context_neurons",
    title=TITLE,
    paper="its case study of context neurons: single neurons for languages and code, and the loss without them",
    read=contexts_of,
    run=run,
    about=about,
    captions={
        "neurons": "The certified neuron of each context: held-out AUC and F1, and what deleting it adds to the loss.",
        "effects": "What each deletion adds in the context and outside it, in nats a token.",
        "elsewhere": "What deleting the certified neuron adds in each of the other contexts.",
        "hurt": "The held-out tokens (in brackets) that the deletion of the certified neuron hurts most.",
    },
    said=said,
)

if __name__ == "__main__":
    sys.exit(command(EXPERIMENT))
