"""``optprobe features``: list the features that there are, build datasets of them, and check their labels."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from optprobe.features import FeatureDataset
    from optprobe.features.catalogue import Feature
    from optprobe.features.checking import FeatureCheck

HELP = "list all features with their rules; build a dataset of labelled texts; check one; describe it as Croissant"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument(
        "--counts",
        type=Path,
        nargs="+",
        default=[],
        metavar="DIR",
        help="count rows in these datasets; a feature that its category's dataset lacks is absent",
    )
    parser.add_argument("--category", metavar="C", help="list the features of this category only")
    parser.add_argument("--find", nargs="+", default=[], metavar="WORD", help="list the features that have every word")
    actions = parser.add_subparsers(dest="action", metavar="build | check | croissant")
    build = actions.add_parser("build", help="label texts and save the dataset to a folder")
    build.add_argument("name", metavar="NAME", help="a category, one of its features, or a recipe .toml")
    build.add_argument("--source", help='file, folder, name of a Hugging Face dataset, or "bundled": the texts here')
    build.add_argument("--out", type=Path, required=True, metavar="DIR", help="new folder for the dataset")
    build.add_argument("--tokenizer", help='a model folder or hub name, or "bundled": for features of tokens')
    build.add_argument("--revision", help="40-hex commit of the Hugging Face dataset")
    build.add_argument("--text-column", help="column of the texts (default: text)")
    build.add_argument(
        "--group-column",
        help="column that names the document of each text (default: repo and path, where there are such)",
    )
    build.add_argument(
        "--label-column",
        help="column that says of what kind each text is (default: its folder or file says it)",
    )
    build.add_argument(
        "--table", metavar="FILE", help="people: names with property and value, to be found in the texts"
    )
    build.add_argument("--characters", type=int, metavar="N", help="characters of a context (default: the category's)")
    build.add_argument("--balance", choices=("paper", "natural"), help="share of +1 (default: paper)")
    build.add_argument("--rows", type=int, metavar="N", help="rows a feature, at most")
    build.add_argument("--rows-of-class", type=int, metavar="N", help="rows that each class needs (default 1)")
    build.add_argument("--seed", type=int, help="of every choice of rows (default 0)")
    build.add_argument(
        "--next-token", action="store_true", help="read each label at the token before (needs --tokenizer)"
    )
    check = actions.add_parser(
        "check", help="print classes, duplicates, contradictions, leakage, and ten labelled words"
    )
    check.add_argument("folder", metavar="DIR", type=Path, help="a folder that build wrote")
    check.add_argument("--tokenizer", help='a model folder or hub name, or "bundled": show and compare its tokens')
    check.add_argument(
        "--activations", type=Path, metavar="STORE", help="a folder from extract: compare its neurons too"
    )
    check.add_argument("--examples", type=int, default=10, metavar="N", help="labelled words to print (default 10)")
    check.add_argument("--seed", type=int, default=0, help="of the words drawn")
    croissant = actions.add_parser("croissant", help="write croissant.json, its metadata for catalogues, beside it")
    croissant.add_argument("folder", metavar="DIR", type=Path, help="a folder that build wrote")
    croissant.add_argument("--url", help="where the dataset is published (default: beside the file)")


def run(arguments: argparse.Namespace) -> int:
    {"build": _build, "check": _check, "croissant": _croissant, None: _list}[arguments.action](arguments)
    return 0


def _list(arguments: argparse.Namespace) -> None:
    from optprobe.errors import InputError
    from optprobe.features import load
    from optprobe.features.catalogue import Feature, categories

    datasets = [load("bundled"), *(load(folder) for folder in arguments.counts)]
    counts = {
        (data.name.partition("/")[0], name): f"{positive:,} + / {negative:,} -"
        for data in datasets
        for name, (positive, negative) in data.counts.items()
    }
    built = {data.name for data in datasets}
    features = [feature for category in categories().values() for feature in category.features]
    features += [Feature(name, "bundled", rule, "the bundled corpus") for name, rule in datasets[0].rules.items()]
    names = list(dict.fromkeys(feature.category for feature in features))
    if arguments.category not in (None, *names):
        raise InputError(f"there is no category {arguments.category!r}; there are {', '.join(names)}")
    features = [f for f in features if arguments.category in (None, f.category) and _has(f, arguments.find)]
    if not features:
        raise InputError(f"no feature has the words {' '.join(arguments.find)}: give fewer, or parts of words")

    def counted(feature: Feature) -> str:
        return counts.get((feature.category, feature.name), "absent" if feature.category in built else "")

    rows = [(f.category, f.name, counted(f), f.rule, f.source) for f in features]
    rows.insert(0, ("category", "feature", "rows" if counts else "", "rule", "source"))
    widths = [max(len(row[i]) for row in rows) for i in range(3)]
    for row in rows:
        print(*(f"{cell:<{width}}" for cell, width in zip(row, widths)), f"{row[3]} ({row[4]})", sep="  ")
    print(f"{len(features)} features in {len({f.category for f in features})} categories")


def _has(feature: Feature, words: list[str]) -> bool:
    """Whether every word occurs in category, name, rule or source, in small or capital letters."""
    text = f"{feature.category} {feature.name} {feature.rule} {feature.source}".casefold()
    return all(word.casefold() in text for word in words)


def _build(arguments: argparse.Namespace) -> None:
    from optprobe.errors import InputError
    from optprobe.features.catalogue import BuildOptions, build
    from optprobe.features.next_token import next_token
    from optprobe.features.recipes import read_recipe

    if arguments.out.exists():
        raise InputError(f"{arguments.out} exists already; remove it or give another name")
    given = {key: value for key, value in _options(arguments).items() if value is not None}
    if arguments.name.endswith(".toml"):
        given = read_recipe(arguments.name, given)
    elif arguments.source is None:
        raise InputError("give --source: a file, a folder, the name of a Hugging Face dataset, or bundled")
    name = given.pop("name", arguments.name)
    options = BuildOptions(**given | {"tokenizer": _tokenizer(given.get("tokenizer"))})
    if arguments.next_token and options.tokenizer is None:
        raise InputError("--next-token needs --tokenizer: which token stands before depends on it")
    data = build(name, options)
    if arguments.next_token:
        data = next_token(data, options.tokenizer)
    data.save(arguments.out)
    print(data)
    _print_provenance(data)
    print(f"{arguments.out}: digest {data.digest}")


def _print_provenance(data: FeatureDataset) -> None:
    """Where the data come from, and what is absent, left out, or a negative only."""
    for key, value in data.provenance.items():
        print(f"{key}: {value}")


def _options(arguments: argparse.Namespace) -> dict[str, Any]:
    """Return what the command line says of the options of a build; None for what it does not say."""
    keys = ("source", "tokenizer", "revision", "text_column", "group_column", "label_column", "table", "balance")
    options = {key: getattr(arguments, key) for key in (*keys, "rows_of_class", "seed", "characters")}
    return {**options, "max_rows": arguments.rows}


def _check(arguments: argparse.Namespace) -> None:
    from rich.console import Console
    from rich.text import Text

    from optprobe.errors import InputError
    from optprobe.features import load
    from optprobe.features.checking import check, context_length, examples

    if arguments.examples < 0 or arguments.seed < 0:
        raise InputError("--examples and --seed are numbers from 0")
    data = load(arguments.folder)
    tokenizer = _tokenizer(arguments.tokenizer)
    found = check(data, tokenizer, context_length(tokenizer))
    print(repr(data), f"licence {data.licence or 'not said'}, aggregation {data.aggregation}", sep="\n")
    _print_provenance(data)
    print(f"{found.equal_texts:,} texts equal an earlier one, {found.similar_texts:,} equal or nearly equal one")
    print(f"{found.scattered:,} sets of such texts lie in several documents, so that a split may separate them")
    if found.dropped_rows is not None:
        print(f"{found.dropped_rows:,} rows have no token of their own, or lie beyond the context")
    print(
        "Of the test part of a split by document, 70/30, as many rows have the text, or all tokens, of a training row:"
    )
    _table(["feature", "+1", "-1", "contradicted", "test rows", "same text", "same tokens"], found.features)
    if arguments.activations is not None:
        _compare_activations(arguments.activations, data)
    for name in data.targets:
        print(f"{name}: {len(data.rows(name)):,} rows with a number")
    console = Console(highlight=False, soft_wrap=True)
    for example in examples(data, arguments.examples, arguments.seed, tokenizer):
        line = Text(f"{example.feature} {example.label}  ")
        line.append(_one_line(example.before), "dim").append(f"[{_one_line(example.word)}]", "bold reverse")
        line.append(_one_line(example.after), "dim")
        if example.token:
            line.append(f"  token {json.dumps(example.token, ensure_ascii=False)}", "cyan")
        console.print(line)


def _croissant(arguments: argparse.Namespace) -> None:
    from optprobe.features.croissant import write_croissant

    print(write_croissant(arguments.folder, arguments.url))


def _compare_activations(store: Path, data: FeatureDataset) -> None:
    """Print for each feature how many test rows of a store have the neurons of a training row, at its first layer."""
    from optprobe.activations import Activations, load_labelled
    from optprobe.errors import InputError
    from optprobe.features.leakage import equal_activations

    activations = Activations.open(store)
    if activations.manifest["dataset"].get("digest") != data.digest:
        raise InputError(f"the activations {store} are of another dataset; extract those of {data.name!r}")
    layer = activations.layers[0]
    for feature in (*activations.features, *activations.targets):
        try:
            rows = load_labelled(store, feature, layer)
        except InputError as error:
            print(f"{feature}, layer {layer}: {error}")
        else:
            assert rows.X_test is not None
            print(f"{feature}, layer {layer}: {equal_activations(rows.X_train, rows.X_test)}")


def _table(header: list[str], features: tuple[FeatureCheck, ...]) -> None:
    """Print a line a feature in columns, then why some have no split."""
    rows = [header]
    for f in features:
        tested = [f.leaks[0].n_rows, *(leak.rows for leak in f.leaks)] if f.leaks else []
        cells = [f"{n:,}" for n in (f.positive, f.negative, f.conflicts, *tested)]
        rows.append([f.name, *cells, *[""] * (len(header) - 1 - len(cells))])
    widths = [max(len(cell) for cell in column) for column in zip(*rows)]
    for first, *rest in rows:
        print(f"{first:<{widths[0]}}", *(f"{cell:>{width}}" for cell, width in zip(rest, widths[1:])), sep="  ")
    for f in features:
        if f.trouble:
            print(f"{f.name} has no split: {f.trouble}")


def _one_line(text: str) -> str:
    return text.replace("\n", "⏎").replace("\t", "⇥")


def _tokenizer(name: str | None) -> Any:
    from optprobe.activations.model.loading import load_tokenizer

    return None if name is None else load_tokenizer(name)
