"""``optprobe registry``: certificates in one folder, added with their verdict, listed, checked and exported."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import asdict, replace
from pathlib import Path
from typing import TYPE_CHECKING

from optprobe.cli.shared import numbers, print_json
from optprobe.cli.verify import LIMITS, add_limit_arguments, checked, refuse_without_data, split_of
from optprobe.errors import CertificateRejected, InputError

if TYPE_CHECKING:
    from formulations import SparseProbeProblem
    from optprobe.certificates import Verdict
    from optprobe.registry import Registry

HELP = "keep certificates in a folder by their sha256: add | list | show | check | export"
FILTERS = ("model", "layer", "feature", "dataset", "k", "loss", "ridge", "status", "neuron")


def add_arguments(parser: argparse.ArgumentParser) -> None:
    actions = parser.add_subparsers(dest="action", required=True, metavar="add | list | show | check | export")
    add = actions.add_parser("add", help="verify certificates with their data, and add them")
    add.add_argument("certificates", metavar="CERT", type=Path, nargs="+")
    add.add_argument(
        "--data",
        metavar="DATA",
        type=Path,
        nargs="+",
        default=[],
        help="what they are about, an .npz or a folder from extract or moments; without it they are not verified here",
    )
    add_limit_arguments(add)
    listing = actions.add_parser("list", help="the best certificate of each problem, one a line")
    for name in ("model", "feature", "dataset"):
        listing.add_argument(f"--{name}")
    listing.add_argument("--layer", type=layer_said, metavar="L", help="a layer, or several side by side, such as 0-29")
    listing.add_argument("--k", type=int)
    listing.add_argument("--loss", choices=("squared", "logistic", "hinge"))
    listing.add_argument("--ridge", type=float)
    listing.add_argument("--status", choices=("optimal", "gap"))
    listing.add_argument("--neuron", type=int, metavar="J", help="a neuron of the set")
    listing.add_argument("--all", action="store_true", help="also those that another certificate supersedes")
    listing.add_argument("--json", action="store_true", help="print one JSON list")
    show = actions.add_parser("show", help="what a certificate claims, and what was verified of it here")
    show.add_argument("id", metavar="ID", help="six or more digits of the sha256")
    show.add_argument("--json", action="store_true", help="print one JSON object")
    check = actions.add_parser("check", help="read everything again; exit 1 where something is wrong")
    check.add_argument("--sample", type=int, metavar="N", help="read the whole of so many files only, at random")
    check.add_argument(
        "--data", metavar="STORE", type=Path, nargs="+", default=[], help="verify those about these stores' rows"
    )
    check.add_argument("--workers", type=int, metavar="N", help="processes that verify at once (default 1)")
    check.add_argument("--json", action="store_true", help="print one JSON list")
    export = actions.add_parser("export", help="a table, an RO-Crate, or files of SAEBench, sae-probes, Neuronpedia")
    export.add_argument("--to", type=Path, required=True, metavar="TO", help="new FILE.csv, FILE.parquet or folder")
    export.add_argument(
        "--as",
        dest="form",
        choices=("saebench", "saeprobes", "neuronpedia"),
        help="fill the folder with that program's documents (default: an RO-Crate)",
    )
    for action in (add, listing, show, check, export):
        or_run = ", or what optprobe run wrote: with held-out scores" if action is export else ""
        about = f"the folder of the registry{or_run}"
        action.add_argument("--registry", type=Path, required=True, metavar="DIR", help=about)


def run(arguments: argparse.Namespace) -> int:
    from optprobe.registry import Registry

    actions = {"add": _add, "list": _list, "show": _show, "check": _check, "export": _export}
    return actions[arguments.action](Registry(arguments.registry), arguments)


def _add(registry: Registry, arguments: argparse.Namespace) -> int:
    """Add what is not rejected; the largest exit code of all certificates."""
    refuse_without_data(arguments, LIMITS)
    if missing := [path for path in (*arguments.certificates, *arguments.data) if not path.exists()]:
        raise InputError(f"there is no {missing[0]}, and nothing was added")
    return max([_added(registry, path, arguments) for path in arguments.certificates])


def _added(registry: Registry, path: Path, arguments: argparse.Namespace) -> int:
    """Add one certificate, and print how that went. Returns the exit code of its verdict."""
    from optprobe.certificates.checker import shown

    try:
        verdict = _verdict(path, arguments)
        if verdict is not None and verdict.outcome == "undecided":
            print(shown(f"{path}: undecided, and not added: {verdict.reason}"))
            return verdict.exit_code
        sha256 = registry.add(path, verdict)
    except CertificateRejected as rejected:
        print(shown(f"{path}: rejected, and not added: {str(rejected).removeprefix(f'{path}: ')}"))
        return 1
    print(shown(f"{sha256}  {path}  {'not verified here' if verdict is None else 'verified'}"))
    return 0


def _verdict(path: Path, arguments: argparse.Namespace) -> Verdict | None:
    """The verdict on a certificate by whichever of the data it is about; None without data.

    Raises `CertificateRejected` where none of them proves it, and `InputError` where none of them can be used.
    """
    from optprobe.certificates import Verdict

    limits = {name: getattr(arguments, name) for name in LIMITS}
    found: list[Verdict | InputError] = []
    for data in arguments.data:
        named = {"certificate": path, "data": data, "feature": None, "layer": None, "layers": None, "basis": None}
        try:
            verdict = checked(argparse.Namespace(**named, **limits, fast=True, exhaustive=False, exact=False))
        except InputError as error:
            found.append(error)
            continue
        assert isinstance(verdict, Verdict)
        if verdict.accepted:
            return verdict
        found.append(verdict)
    verdicts = [one for one in found if isinstance(one, Verdict)]
    if found and not verdicts:
        raise InputError(f"{path}: {found[0]}")
    if undecided := [verdict for verdict in verdicts if verdict.outcome == "undecided"]:
        return undecided[0]
    if verdicts:
        raise CertificateRejected("; ".join(dict.fromkeys(verdict.reason for verdict in verdicts)))
    return None


def _list(registry: Registry, arguments: argparse.Namespace) -> int:
    filters = {name: getattr(arguments, name) for name in FILTERS}
    records = registry.find(**filters, superseded=None if arguments.all else False)
    if arguments.json:
        print_json(records.rows)
    else:
        print(replace(records, most=len(records)))
    return 0


def _show(registry: Registry, arguments: argparse.Namespace) -> int:
    from optprobe.certificates.checker import canonical, shown

    record, note = registry.record(arguments.id), registry.note(arguments.id)
    if arguments.json:
        print_json({**record, "note": note})
        return 0
    said = {name: value for name, value in record.items() if value is not None and name not in ("verified", "data")}
    for name, value in {**said, **{f"sha256 of {part}": digest for part, digest in record["data"].items()}}.items():
        print(shown(f"{name:<18}{value if isinstance(value, str) else canonical(value)}"))
    checked_here = "not verified here" if note is None else f"{note['status']} by {note['checker']}, {note['when']}"
    print(shown(f"{'verified':<18}{checked_here}"))
    print(shown(f"{'to check it':<18}optprobe verify {registry.path(arguments.id)} --data DATA"))
    return 0


def _check(registry: Registry, arguments: argparse.Namespace) -> int:
    if arguments.workers is not None and not arguments.data:
        raise InputError("--workers verify, and nothing is verified without data: give --data as well")
    problems = _problems(registry, arguments.data)
    findings = registry.check(arguments.sample, data=problems, workers=arguments.workers or 1)
    if arguments.json:
        print_json([asdict(finding) for finding in findings])
    else:
        print(*(f"{finding.kind}: {finding.sentence}" for finding in findings), sep="\n", end="\n" if findings else "")
        print(f"{registry!r}, {len(findings):,} findings")
    return 1 if findings else 0


def _problems(registry: Registry, stores: Sequence[Path]) -> Iterator[SparseProbeProblem]:
    """A problem about the rows of each feature, layer and split of the certificates, where a store has them."""
    from optprobe.activations import Activations, load_labelled
    from optprobe.data import problem

    records = registry.find(superseded=None)
    for path in stores:
        store = Activations.open(path)
        places = set()
        for record in records:
            with suppress(CertificateRejected):
                split = split_of(record) or {}
                layers = _layers(record["layer"])
                if record["feature"] in (*store.features, *store.targets) and layers:
                    places.add((record["feature"], layers, split.get("test_share"), split.get("seed")))
        for feature, layers, share, seed in sorted(places, key=str):
            if not set(layers) <= set(store.layers):
                continue
            rows = load_labelled(store, feature, None, share, seed, layers=layers)
            stated = problem(rows, 1)
            if any(record["data"] == dict(stated.digests) for record in records):
                yield stated


def layer_said(text: str) -> int | str:
    """Parse a layer, or several as records name them."""
    from formulations.columns import layers_said

    found = numbers(text)
    return found[0] if len(found) == 1 else layers_said(found)


def _layers(said: object) -> tuple[int, ...]:
    """The layers that a record names, one or several; none where it names them otherwise."""
    if type(said) is int:
        return (said,)
    try:
        return numbers(said.replace(", ", ",")) if isinstance(said, str) else ()
    except argparse.ArgumentTypeError:
        return ()


def _export(registry: Registry, arguments: argparse.Namespace) -> int:
    from optprobe.cases.study import REGISTRY
    from optprobe.registry import Registry
    from optprobe.registry.export import SCORED, export

    scores = None
    if (registry.folder / REGISTRY).is_dir():
        if arguments.form in SCORED:
            from optprobe.report import read_results

            results = read_results(registry.folder)
            print(*results.left_out, sep="\n", end="\n" if results.left_out else "", file=sys.stderr)
            cases = [entry.case for entry in results.entries if entry.case is not None]
            scores = {case.certificate: case.best.test for case in cases}
        registry = Registry(registry.folder / REGISTRY)
    print(export(registry, arguments.to, arguments.form, scores))
    return 0
