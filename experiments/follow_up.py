"""
What do certified neurons respond to in a whole corpus, and not only at the words that were labelled?

    python -m experiments.follow_up --config experiments/configs/follow_up/bundled.toml

For every feature and k the layer is the one whose certified optimum has the smallest objective on the training
documents. Each neuron of the optimum is then read by itself, at every token of every text of a corpus, in the direction
in which its mean over the training rows with the feature is larger. Its thresholds are quantiles of its values at those
rows, and the one of largest F1 on the training rows is its own. The control is a neuron of the same layer drawn at
random for each feature, treated alike.

A token is of the feature if it overlaps a row labelled +1, and of its negatives if one labelled -1. Where no text has
rows of both labels, as with languages, a row stands for its whole text. Tokens of texts that the feature does not label
at all are of other texts; those that remain, between the labelled rows of a text, are not judged. Of a dataset whose
rows are means over contexts, thresholds are of means, and the corpus is of tokens all the same.

The criterion, written down before anything was run, from 95% intervals over documents: a neuron is *too general* if the
whole interval of the share of tokens of the feature, among the judged tokens of the corpus above its threshold, lies
below 1/2; *too specific* if the whole interval of its recall on the held-out rows lies below 1/2; *elsewhere* if both
are; it *fits* if both lie wholly above 1/2; otherwise it is *undecided*.
"""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from experiments.cases import about_config, best_cases, certified, located_model, values_digest, write_pages
from experiments.experiment import Experiment, Job, Tables, command
from experiments.plots import Point, values
from experiments.whole_corpus import SIDES, TOP, Detector, Reading, WholeCorpus, judged_share
from optprobe.activations import Activations, load_labelled
from optprobe.cases import Case
from optprobe.cases.config import Config, config_of
from optprobe.errors import InputError
from optprobe.features import FeatureDataset, load
from optprobe.report.figures import FigureOnPage
from optprobe.scoring import GroupBootstrap, interval, scores
from optprobe.studies import Item
from optprobe.studies.keys import Keys, at_least, several, text

TITLE = "What certified neurons respond to in a whole corpus"
QUANTILES = (0.1, 0.25, 0.5, 0.75, 0.9)
"""Of a neuron's values at training rows with the feature: its thresholds."""
BEFORE, AFTER = 76, 44
"""Characters of a context, before the token and from it on."""
GOOD = 0.9
"""An AUC on held-out rows that would pass for a detector."""
COLUMNS = ("of_feature", "of_negatives", "of_others", "not_judged")
OPTIMUM, RANDOM = "optimum", "random neuron"
FITS, GENERAL, SPECIFIC, ELSEWHERE, UNDECIDED = "fits", "too general", "too specific", "elsewhere", "undecided"
VERDICTS = FITS, GENERAL, SPECIFIC, ELSEWHERE, UNDECIDED
BREAK = re.compile("\r\n|[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]")


@dataclass(frozen=True)
class FollowUp:
    """
    What is followed up.

    Attributes
    ----------
    config : Config
        The certified cases.
    corpus : tuple of str
        Datasets, by name or folder, whose texts are read whole; their labels judge the tokens.
    texts : int
        Texts that are read at once.
    """

    config: Config
    corpus: tuple[str, ...]
    texts: int


def follow_up_of(keys: Keys) -> FollowUp:
    """Take it from a configuration; without a ``corpus``, that is the dataset of the cases."""
    config = config_of(keys)
    corpus: tuple[str, ...] = keys.take("corpus", several(text), (config.dataset or "",))
    return FollowUp(config, corpus, keys.take("texts", at_least(1), 32))


@dataclass(frozen=True)
class Chosen:
    """A neuron, the feature that it was chosen for, and how: as one of the k of an optimum, or at random."""

    feature: str
    k: int
    layer: int
    neuron: int
    kind: str


def chosen_neurons(best: Sequence[Case], seed: int) -> list[Chosen]:
    """The neurons of the optima; and for the smallest k of each feature one drawn from the others of the layer."""
    found = []
    for number, case in enumerate(best):
        found += [Chosen(case.feature, case.k, case.layer, neuron, OPTIMUM) for neuron in case.support]
        if case.k == min(one.k for one in best):
            others = np.setdiff1d(np.arange(case.n_neurons), case.support)
            drawn = int(np.random.default_rng(seed + number).choice(others))
            found.append(Chosen(case.feature, case.k, case.layer, drawn, RANDOM))
    return found


@dataclass(frozen=True)
class Thresholds:
    """
    What single neurons tell at thresholds, on labelled rows of held-out documents.

    Parameters
    ----------
    config : Config
    store : str
        Folder of the activations.
    chosen : tuple of Chosen
    """

    config: Config
    store: str
    chosen: tuple[Chosen, ...]

    name = "follow_up_thresholds"
    version = 1

    def items(self) -> Sequence[Item]:
        """One a neuron."""
        config = self.config
        options: dict[str, float] = {"draws": config.bootstrap_draws, "seed": config.seed}
        options |= {"test_share": config.test_share, "split_seed": config.split_seed}
        inputs = {"activations": values_digest(self.store)}
        return [
            Item(asdict(one) | options, inputs, f"thresholds of neuron {one.neuron}, layer {one.layer}", "thresholds")
            for one in self.chosen
        ]

    def run(self, item: Item, earlier: Mapping[str, Any] | None) -> Mapping[str, Any]:
        """Its direction, its thresholds with their scores, and which is its own."""
        v = item.values
        data = load_labelled(self.store, v["feature"], v["layer"], v["test_share"], v["split_seed"])
        assert data.X_test is not None
        assert data.y_test is not None
        assert data.group_test is not None
        x, x_test = (X[:, v["neuron"]].astype(np.float64) for X in (data.X_train, data.X_test))
        positive = data.y_train > 0
        sign = 1 if x[positive].mean() >= x[~positive].mean() else -1
        resamples = GroupBootstrap.of(data.group_test, v["draws"], v["seed"])
        rows = []
        for quantile, level in zip(QUANTILES, np.quantile(sign * x[positive], QUANTILES).tolist()):
            f = sign * x_test - level
            low, high = interval(resamples.scores(data.y_test, f))
            found = scores(data.y_test, f)
            row: dict[str, Any] = {"quantile": quantile, "threshold": level}
            for name in ("auc", "precision", "recall", "f1"):
                row |= {name: getattr(found, name), f"{name}_low": getattr(low, name)}
                row |= {f"{name}_high": getattr(high, name)}
            rows.append(row | {"f1_train": scores(data.y_train, sign * x - level).f1})
        own = max(range(len(rows)), key=lambda at: (rows[at]["f1_train"], -at))
        return {"sign": sign, "rows": rows, "own": own}

    def sound(self, result: Mapping[str, Any]) -> bool:
        """A record names no other file."""
        return True


def _check_labels(asked: FollowUp) -> None:
    """Raise `InputError` for a feature that no dataset of the corpus labels: every token would be of other texts."""
    if asked.config.dataset is None:
        return  # refused by `prepared_store`
    labelled = {name for corpus in asked.corpus for name in load(corpus).features}
    for name in asked.config.features or load(asked.config.dataset).features:
        if name not in labelled:
            raise InputError(f"no dataset of the corpus labels {name!r}: name one that does, such as that of the cases")


@dataclass(frozen=True)
class Followed:
    """A neuron, what it tells on held-out rows (the record of `Thresholds`), and what it does over the corpus."""

    chosen: Chosen
    held_out: Mapping[str, Any]
    reading: Reading


def verdict(row: Mapping[str, Any]) -> str:
    """The criterion on a neuron's share in the corpus and its recall."""
    share = row["corpus_share_low"], row["corpus_share_high"]
    recall = row["recall_low"], row["recall_high"]
    if None in (*share, *recall):
        return UNDECIDED
    general, specific = share[1] < 0.5, recall[1] < 0.5
    if general or specific:
        return ELSEWHERE if general and specific else GENERAL if general else SPECIFIC
    return FITS if share[0] > 0.5 and recall[0] > 0.5 else UNDECIDED


def run(job: Job[FollowUp]) -> tuple[Tables, Sequence[FigureOnPage]]:
    """Certify the neurons, find their thresholds, and read them over the corpus."""
    config = job.config.config
    _check_labels(job.config)
    found = certified(job, config)
    write_pages(job, config, found, TITLE)
    best = best_cases(found.cases)
    chosen = tuple(chosen_neurons(best, config.seed))
    held_out = job.results(Thresholds(config, found.store, chosen))
    detectors = tuple(
        Detector(one.feature, one.layer, one.neuron, result["sign"], tuple(row["threshold"] for row in result["rows"]))
        for one, result in zip(chosen, held_out)
    )
    weights = str(Activations.open(found.store).manifest["weights"])
    corpus = WholeCorpus(located_model(config.model or ""), weights, job.config.corpus, detectors, job.config.texts)
    readings = corpus.readings(job.results(corpus))
    followed = [Followed(*parts) for parts in zip(chosen, held_out, readings)]
    tables = {
        "neurons": neuron_rows(followed, found.cases, config),
        "thresholds": threshold_rows(followed, config),
        "contexts": context_rows(followed, corpus.datasets),
    }
    return tables, figures(tables)


def neuron_rows(followed: Sequence[Followed], cases: Sequence[Case], config: Config) -> list[dict[str, Any]]:
    """One a neuron, at its own threshold."""
    rows = []
    for one in followed:
        name, own = one.chosen, one.held_out["rows"][one.held_out["own"]]
        counts, of = one.reading.counts[:, [0, 1 + one.held_out["own"]]], [token.side for token in one.reading.top]
        low, share, high = judged_share(counts[:, 1], config.bootstrap_draws, config.seed)
        searched = [case for case in cases if (case.feature, case.k) == (name.feature, name.k)]
        row = {
            "feature": name.feature, "kind": name.kind, "k": name.k, "layer": name.layer, "neuron": name.neuron,
            "sign": one.held_out["sign"], "searched": sum(case.n_neurons for case in searched),
            "optimal": all(case.optimal for case in searched), **_with_ends(own, "auc", "f1"),
            "quantile": own["quantile"], "threshold": own["threshold"], **_with_ends(own, "precision", "recall"),
            "tokens": int(counts[:, 0].sum()), "base_share": judged_share(counts[:, 0], 1, 0)[1],
            "above": int(counts[:, 1].sum()),
            "corpus_share": share, "corpus_share_low": low, "corpus_share_high": high,
            **{f"top_{column}": of.count(side) for side, column in enumerate(COLUMNS)},
        }  # fmt: skip
        rows.append(row | {"verdict": verdict(row)})
    return rows


def threshold_rows(followed: Sequence[Followed], config: Config) -> list[dict[str, Any]]:
    """One a threshold and neuron of the smallest k: on held-out rows, and in the corpus."""
    rows, least = [], min(one.chosen.k for one in followed)
    for one in followed:
        for at, row in enumerate(one.held_out["rows"] if one.chosen.k == least else (), 1):
            above = one.reading.counts[:, at]
            low, share, high = judged_share(above, config.bootstrap_draws, config.seed)
            rows.append({
                **asdict(one.chosen), "quantile": row["quantile"], "threshold": row["threshold"],
                **_with_ends(row, "precision", "recall"), "above": int(above.sum()),
                **dict(zip(COLUMNS, (above.sum(axis=0) / max(1, above.sum())).tolist())),
                "corpus_share": share, "corpus_share_low": low, "corpus_share_high": high,
            })  # fmt: skip
    return rows


def _with_ends(row: Mapping[str, Any], *names: str) -> dict[str, Any]:
    """Some scores and the ends of their intervals."""
    return {f"{name}{end}": row[f"{name}{end}"] for name in names for end in ("", "_low", "_high")}


def context_rows(followed: Sequence[Followed], datasets: Sequence[FeatureDataset]) -> list[dict[str, Any]]:
    """The largest tokens of the optima of the smallest k, in their texts."""
    by_digest = {data.digest: data for data in datasets}
    least = min(one.chosen.k for one in followed)
    return [
        {
            **{name: getattr(one.chosen, name) for name in ("feature", "layer", "neuron")},
            "rank": rank, "value": token.value, "of": SIDES[token.side], "position": token.position,
            "dataset": by_digest[token.dataset].name, "text": token.text,
            "context": context(by_digest[token.dataset].texts[token.text], token.start, token.end),
        }
        for one in followed
        if one.chosen.kind == OPTIMUM and one.chosen.k == least
        for rank, token in enumerate(one.reading.top, 1)
    ]  # fmt: skip


def context(text: str, start: int, end: int) -> str:
    """A token between marks, with some characters on both sides; line breaks and tabs as signs."""
    token = text[start:end]
    parts = text[max(0, start - BEFORE) : start], token[:AFTER], text[end : end + max(0, AFTER - len(token))]
    return "".join(f"\u27e6{one_line(part)}\u27e7" if at == 1 else one_line(part) for at, part in enumerate(parts))


def one_line(text: str) -> str:
    """Text with signs for what would break a line."""
    return BREAK.sub("\u23ce", text).replace("\t", "\u21e5")


def said(tables: Tables) -> str:
    """How many detectors are none over the corpus, and one that tells it best."""
    neurons = tables["neurons"]
    k = min(row["k"] for row in neurons)
    single = [row for row in neurons if _is(row, k)]
    drawn = [row for row in neurons if row["kind"] == RANDOM]
    good = [row for row in single if (row["auc"] or 0.0) >= GOOD]
    at = {
        level: _mean(row["corpus_share"] for row in tables["thresholds"] if _is(row, k) and row["quantile"] == level)
        for level in (QUANTILES[0], QUANTILES[-1])
    }
    what = "single neurons" if k == 1 else f"neurons of the optima of {k}"
    top, top_drawn = (_mean(row["top_of_feature"] for row in rows) / TOP for rows in (single, drawn))
    sentences = [
        f"{len(single)} certified {what}, each the best of up to {max(row['searched'] for row in single):,}, were read "
        f"at {neurons[0]['tokens']:,} tokens. By the criterion: {_counted(single)}; drawn at random: "
        f"{_counted(drawn)}. With an AUC of at least {GOOD:g} on held-out rows: {_counted(good) or 'none'}.",
        f"Of the {TOP} tokens at which a neuron is largest {top:.0%} are of its feature on average, of a random one's "
        f"{top_drawn:.0%}, and of all judged tokens {_mean(row['base_share'] for row in single):.0%}.",
        f"Above the threshold that {1 - QUANTILES[0]:.0%} of the training rows of the feature reach, "
        f"{at[QUANTILES[0]]:.0%} of the judged tokens are of it; above that of {1 - QUANTILES[-1]:.0%}, "
        f"{at[QUANTILES[-1]]:.0%}.",
    ]
    downwards = sum(row["sign"] < 0 for row in single)
    if downwards:
        sentences.append(
            f"{downwards} of the {len(single)} are smaller where the feature is, where an activation function that is "
            "bounded from below makes many tokens equal."
        )
    general = [row for row in good if row["verdict"] in (GENERAL, ELSEWHERE)]
    if general:
        worst = max(general, key=lambda row: row["auc"])
        sentences.append(
            f"The neuron of {worst['feature']}, {worst['neuron']} of layer {worst['layer']}, has an AUC of "
            f"{worst['auc']:.2f} on held-out rows, yet of the {worst['above']:,} tokens above its threshold only "
            f"{worst['corpus_share']:.0%} of the judged ones are of the feature: high scores on labelled rows do not "
            "say what a neuron is about."
        )
    return " ".join(sentences)


def _counted(rows: Sequence[Mapping[str, Any]]) -> str:
    """How many have each verdict, in words."""
    counts = {name: sum(row["verdict"] == name for row in rows) for name in VERDICTS}
    return ", ".join(f"{name} {count}" for name, count in counts.items() if count)


def _is(row: Mapping[str, Any], k: int) -> bool:
    """Whether a row is of a neuron of an optimum of k."""
    return bool(row["kind"] == OPTIMUM and row["k"] == k)


def _mean(found: Iterable[float | None]) -> float:
    """The mean of what is known."""
    return float(np.mean([value for value in found if value is not None] or [0.0]))


def figures(tables: Tables) -> list[FigureOnPage]:
    """Precision on labelled rows beside that in the corpus, and the largest tokens beside chance."""
    k = min(row["k"] for row in tables["neurons"])
    rows = [row for row in tables["neurons"] if _is(row, k)]
    names = [row["feature"] if k == 1 else f"{row['feature']}, {row['neuron']}" for row in rows]
    drawn = {row["feature"]: row for row in tables["neurons"] if row["kind"] == RANDOM}

    def points(name: str) -> dict[str, Point]:
        return {
            label: Point(0, row[name], row[f"{name}_low"], row[f"{name}_high"])
            for label, row in zip(names, rows)
            if row[name] is not None
        }

    shares = {"held-out precision": points("precision"), "share in the corpus": points("corpus_share")}
    shares["held-out recall"] = points("recall")
    top = {
        "certified neuron": {label: Point(0, row["top_of_feature"] / TOP) for label, row in zip(names, rows)},
        "random neuron": {
            label: Point(0, drawn[row["feature"]]["top_of_feature"] / TOP) for label, row in zip(names, rows)
        },
        "all judged tokens": {label: Point(0, row["base_share"] or 0.0) for label, row in zip(names, rows)},
    }
    return [
        values(
            "shares", "Each neuron at its threshold: on held-out rows, and above it in the corpus.", shares, "share"
        ),
        values("largest", f"Tokens of the feature among the {TOP} largest.", top, "share of the feature"),
    ]


def about(job: FollowUp) -> Mapping[str, str]:
    """Where the numbers come from."""
    corpus = ", ".join(Path(name).name for name in job.corpus)
    return {**about_config(job.config), "corpus": f"every token of {corpus}"}


EXPERIMENT = Experiment(
    name="follow_up",
    title=TITLE,
    paper="its neuron for athletes, which turned out to be about sport: sparse probes need a second look",
    read=follow_up_of,
    run=run,
    about=about,
    captions={
        "neurons": "Every neuron at its own threshold: held-out rows, the corpus above it, the largest tokens.",
        "thresholds": "Every neuron of the smallest k at each threshold.",
        "contexts": f"The {TOP} largest tokens of each certified neuron.",
    },
    said=said,
)

if __name__ == "__main__":
    sys.exit(command(EXPERIMENT))
