"""The tables of the pages: cases, methods and neurons in rows, every number beside the link to its certificate."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence

from optprobe.cases import Case
from optprobe.certificates.checker import Pool
from optprobe.engines.pool import roles
from optprobe.report import words
from optprobe.report.entries import Entry
from optprobe.report.html import Cell, Link, Row, Table, number, percent, score, signed
from optprobe.report.links import Links
from optprobe.report.summary import label, summaries

MOST_SETS = 100
"""Sets of a pool, and neurons of them, that a page shows."""


def methods_table(setting: str, cases: Sequence[Case]) -> Table:
    """Every method over the cases of a setting."""
    ks = sorted({case.k for case in cases})
    columns = (
        *("method", "optimal in", "regret", *(f"relative, k = {k}" for k in ks), "worst", "neurons shared"),
        *("held-out F1", "optimum better by", "interval above, below 0", "held-out AUC"),
    )
    rows = [
        Row.of(
            (
                *(label(row.method), f"{row.n_optimal} of {row.n_cases}", number(row.mean_regret)),
                *(percent(row.relative_regret[k]) if k in row.relative_regret else "" for k in ks),
                *(percent(row.worst_relative_regret), f"{100 * row.shared:.0f}%", f"{row.f1_test:.3f}"),
                *(signed(row.f1_behind), f"{row.n_above}, {row.n_below}", score(row.auc_test)),
            ),
            "best" if at == 0 else "",
        )
        for at, row in enumerate(summaries(cases))
    ]
    return Table(f"{setting}: means over features, layers and k", columns, rows)


def map_table(setting: str, entries: Sequence[Entry], links: Links) -> Table:
    """Features by layers: for each k the mark of what is proved, which leads to the certificate."""
    layers = list(dict.fromkeys(links.results.layer_name(entry) for entry in sorted(entries, key=_by_place)))
    cells: dict[str, dict[str, list[Link]]] = {}
    for entry in entries:
        name = links.results.layer_name(entry)
        mark, meaning = words.MARKS[entry.mark]
        title = f"k = {entry.k}: {meaning}; {entry.record['status']}, objective {entry.upper_bound:.6f}"
        link = Link(f"{entry.k} {mark}", links.certificate(entry), title, f"mark {entry.mark}")
        cells.setdefault(entry.feature, {}).setdefault(name, []).append(link)
    rows = [
        Row.of((Link(feature, links.feature(feature)), *(Cell.of(of_layer.get(name, ["–"])) for name in layers)))
        for feature, of_layer in cells.items()
    ]
    return Table(f"{setting}: k and what is proved of it", ("feature", *(f"<{name}" for name in layers)), rows)


def certified_table(entries: Sequence[Entry], links: Links, caption: str, with_feature: bool) -> Table:
    """Every certificate with its set, its bounds and its state; one that was not accepted says why."""
    place = ("feature", "layer") if with_feature else ("layer",)
    rest = ("k", "<neurons", "objective", "lower bound", "gap", "<status", "<engine", "<checked", "<certificate")
    columns = (*place, "<loss, ridge, weights", *rest) if with_feature else (*place, *rest)
    rows = []
    for entry in entries:
        setting = [f"{entry.setting.loss}, {entry.setting.ridge:g}, {entry.setting.class_weight}"] * with_feature
        layer = links.results.layer_name(entry).removeprefix("layer").removeprefix("s").lstrip()
        feature = [Link(entry.feature, links.feature(entry.feature))] * with_feature
        rows.append(
            Row.of(
                (
                    *(*feature, layer, *setting, entry.k, links.neurons(entry, entry.support)),
                    *(f"{entry.upper_bound:.6f}", f"{entry.lower_bound:.6f}"),
                    *(number(entry.upper_bound - entry.lower_bound), entry.record["status"]),
                    *(label(str(entry.record["engine"])), _checked(entry)),
                    Link(links.results.names[entry.sha256], links.certificate(entry)),
                ),
                entry.state,
            )
        )
    return Table(caption, columns, rows)


def pool_table(entry: Entry, links: Links) -> Table:
    """The listed sets of an entry that has a pool, best first."""
    pool, k = _pool(entry), entry.k
    best = pool.sets[0].upper_bound
    rows = [
        Row.of(
            (
                links.neurons(entry, one.support),
                f"{one.upper_bound:.6f}",
                percent(one.upper_bound / best - 1) if best > 0 else number(one.upper_bound - best),
            ),
            "best" if one is pool.sets[0] else "",
        )
        for one in pool.sets[:MOST_SETS]
    ]
    count = f"{len(pool.sets):,} sets" if len(pool.sets) > 1 else "1 set"
    more = f"; the best {MOST_SETS} are shown" if len(pool.sets) > MOST_SETS else ""
    caption = (
        f"k = {k}, {links.results.layer_name(entry)}: {count}{more}; the objective of every set without one of them in "
        f"it is at least {pool.rest:.6f};"
    )
    certificate = Link(f"certificate {links.results.names[entry.sha256]}", links.certificate(entry))
    return Table(caption, ("<neurons", "objective", "above the best"), rows, certificate)


def roles_table(entry: Entry, links: Links) -> Table:
    """The neurons of the listed sets: in how many each stands, those that stand in all first."""
    sets = [one.support for one in _pool(entry).sets]
    standing = Counter(neuron for one in sets for neuron in one)
    found = roles(sets, entry.claim.problem.forced)
    rows = [
        Row.of(
            (links.neurons(entry, [neuron]), found[neuron], f"{count} of {len(sets)}"),
            "best" if found[neuron] == "indispensable" else "",
        )
        for neuron, count in sorted(standing.items(), key=lambda item: (-item[1], item[0]))[:MOST_SETS]
    ]
    return Table("Roles of their neurons", ("neuron", "<role", "stands in"), rows)


def _pool(entry: Entry) -> Pool:
    pool = entry.claim.result.pool
    assert pool is not None
    return pool


def engines_table(entries: Sequence[Entry], links: Links) -> Table:
    """The engines that answered one question: what each found, proved and counted."""
    first, cases = entries[0], [entry.case for entry in entries]
    counted = [name for name in words.COUNTS if any(case is not None and name in case.counts for case in cases)]
    columns = (
        *("<engine", "<started from", "<neurons", "objective", "lower bound", "<checked"),
        *(words.COUNTS[name] for name in counted),
        "<certificate",
    )
    rows = [
        Row.of(
            (
                *(label(str(entry.record["engine"])), "" if case is None else case.start),
                *(links.neurons(entry, entry.support), f"{entry.upper_bound:.6f}", f"{entry.lower_bound:.6f}"),
                _checked(entry),
                *("" if case is None or name not in case.counts else f"{case.counts[name]:,}" for name in counted),
                Link(links.results.names[entry.sha256], links.certificate(entry)),
            ),
            entry.state,
        )
        for entry, case in zip(entries, cases)
    ]
    place = f"{first.feature}, {links.results.layer_name(first)}, {first.setting}, k = {first.k}"
    return Table(f"{place}: one question, {len(entries)} answers", columns, rows)


def case_table(entry: Entry, case: Case, links: Links) -> Table:
    """Every method of a case beside the optimum."""
    columns = (
        *("method", "<neurons", "objective", "regret", "relative", "shared", "<optimal", "F1 train", "held-out F1"),
        *("optimum better by", "held-out AUC"),
    )
    rows = [
        Row.of(
            (
                *(label(row.method), links.neurons(entry, row.support), f"{row.objective:.6f}", number(row.regret)),
                *(percent(row.relative_regret), f"{row.overlap} of {len(case.support)}"),
                "open" if row.optimal is None else "yes" if row.optimal else "no",
                *(score(row.train.f1), f"{score(row.test.f1)} [{score(row.low.f1)}, {score(row.high.f1)}]"),
                f"{signed(row.behind.f1)} [{signed(row.behind_low.f1)}, {signed(row.behind_high.f1)}]",
                "" if row.test.auc is None else f"{score(row.test.auc)} [{score(row.low.auc)}, {score(row.high.auc)}]",
            ),
            "best" if row.method == case.best.method else "",
        )
        for row in case.methods
    ]
    caption = f"k = {case.k}, {links.results.layer_name(entry)}: every method's neurons, refitted;"
    certificate = Link(f"certificate {links.results.names[entry.sha256]}", links.certificate(entry))
    return Table(caption, columns, rows, certificate)


def neurons_table(entries: Sequence[Entry], links: Links) -> Table:
    """The neurons of a feature's optima: in how many of each layer they stand, those that stand in all first."""
    totals = Counter(entry.place for entry in entries)
    of_layer = {entry.place: entry for entry in entries}
    found = Counter((entry.place, neuron) for entry in entries for neuron in entry.support)
    order = sorted(found.items(), key=lambda item: (_by_place(of_layer[item[0][0]]), -item[1], item[0][1]))
    rows = [
        Row.of(
            (
                links.neurons(of_layer[place], [neuron]),
                links.results.layer_name(of_layer[place]).removeprefix("layer").removeprefix("s").lstrip(),
                f"{count} of {totals[place]}",
                "yes" if count == totals[place] else "no",
            ),
            "best" if count == totals[place] else "",
        )
        for (place, neuron), count in order
    ]
    return Table("Neurons of the optima", ("neuron", "layer", "stands in", "<in every one"), rows)


def _checked(entry: Entry) -> Cell:
    name, _ = words.STATES[entry.state]
    why = f": {entry.case.verdict}" if entry.state == "rejected" and entry.case is not None else ""
    return Cell.of(f"{name}{why}", entry.state)


def _by_place(entry: Entry) -> tuple[object, ...]:
    return entry.source, entry.order[2]
