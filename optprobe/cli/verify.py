"""``optprobe verify``: check a certificate against its data."""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from optprobe.cli.shared import add_data_arguments, print_json, read_data, read_moments
from optprobe.errors import CertificateRejected, InputError

if TYPE_CHECKING:
    from optprobe.certificates import Certificate, Verdict
    from optprobe.certificates.exact import ExactVerdict

HELP = "check a certificate against its data: exit 0 accepted, 1 rejected, 2 unusable input, 3 undecided"
LIMITS = ("time_limit", "memory_limit")
NAMING = ("basis", "heads", "layers")
"""What says in a scope that a column is something else than a neuron of one layer (`formulations.columns`)."""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("certificate", metavar="CERTIFICATE", type=Path)
    add_data_arguments(parser, positional=False)
    parser.add_argument(
        "--fast", action="store_true", help="replay sweeps and pair leaves by compiled loops instead of numpy"
    )
    parser.add_argument(
        "--exhaustive",
        action="store_true",
        help="evaluate every set instead of checking the proof; k = 3 of 1,536 neurons takes seconds (squared loss)",
    )
    parser.add_argument(
        "--exact",
        action="store_true",
        help="by the second checker, in ball arithmetic (needs optprobe[exact]); long sweeps end undecided",
    )
    add_limit_arguments(parser)
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")


def add_limit_arguments(parser: argparse.ArgumentParser) -> None:
    """``[--time-limit S] [--memory-limit G]``."""
    parser.add_argument("--time-limit", type=float, metavar="S", help="seconds (default 3600)")
    parser.add_argument("--memory-limit", type=float, metavar="G", help="GiB (default 16)")


def run(arguments: argparse.Namespace) -> int:
    if arguments.exact and (arguments.fast or arguments.exhaustive or arguments.memory_limit is not None):
        raise InputError("--exact is another checker: it has no --fast, no --exhaustive and no --memory-limit")
    verdict = checked(arguments)
    if arguments.json:
        print_json({**verdict.as_json(), "certificate": str(arguments.certificate)})
    else:
        print(verdict)
    return verdict.exit_code


def refuse_without_data(arguments: argparse.Namespace, names: Iterable[str]) -> None:
    """Raise `InputError` where an option about the data is given and no data are."""
    if not arguments.data and (idle := [name for name in names if getattr(arguments, name) is not None]):
        option = idle[0].replace("_", "-")
        raise InputError(f"--{option} is about the data, and nothing is verified without them: give --data as well")


def checked(arguments: argparse.Namespace) -> Verdict | ExactVerdict:
    """The verdict on the certificate that the arguments name; of a store, its manifest is compared with the scope."""
    from formulations.columns import layers_of
    from optprobe.activations.summaries.moments_store import is_moment_store
    from optprobe.certificates import Certificate, Verdict

    try:
        certificate = Certificate.load(arguments.certificate)
        scope = certificate.claim.author.scope
        split = split_of(scope)
        said = scope.get("basis")
        if arguments.data.is_dir():
            arguments.basis = arguments.basis or _call_of(said)
            arguments.feature = arguments.feature or _said(scope, "feature", str)
            if arguments.layer is arguments.layers is None:
                several = () if is_moment_store(arguments.data) else tuple(layer for layer, _ in layers_of(scope))
                arguments.layers = [several] if several else None
                arguments.layer = None if several else _said(scope, "layer", int)
    except CertificateRejected as rejected:
        return Verdict("rejected", str(rejected))
    if (found := read_moments(arguments)) is not None:
        misnamed = _misnamed(certificate, found[1], of_store=True)
        return misnamed or _checker(arguments)(arguments.certificate, moments=found[0], source=found[1])
    data = read_data(arguments, split)
    if said is not None and arguments.basis is not None and dict(data.scope["basis"]) != said:
        raise InputError(
            f"the certificate is about the basis {said!r}, and what is made here is {dict(data.scope['basis'])!r}: "
            "give that dictionary; where the last digits of components differ here, give the rows as "
            "optprobe export --basis writes them where the certificate was made"
        )
    source = data.scope if arguments.data.is_dir() else None
    if misnamed := _misnamed(certificate, data.scope, of_store=source is not None):
        return misnamed
    return _checker(arguments)(arguments.certificate, data.X_train, data.y_train, data.w_train, source=source)


def _misnamed(certificate: Certificate, has: Mapping[str, Any], of_store: bool) -> Verdict | None:
    """A rejection where columns would pass for something else: of a store by `NAMING`, of a file by what it names."""
    from formulations.columns import columns_of
    from optprobe.certificates import Verdict
    from optprobe.certificates.checker import canonical

    claim, scope = certificate.claim, certificate.claim.author.scope
    named, where = (
        (NAMING, "store") if of_store else (("basis", "layers") if "basis" in has or "layers" in has else (), "file")
    )
    for name in named:
        if (name in scope) != (name in has):
            says, there = ("says", "has none") if name in scope else ("says none of", f"has {has[name]!r}")
            return Verdict("rejected", f"the scope {says} {name}, by which columns are named, and the {where} {there}")
        if name in has and not of_store and canonical({"": scope[name]}) != canonical({"": dict(has[name])}):
            return Verdict("rejected", f"the scope says of {name} {scope[name]!r}, and the file has {has[name]!r}")
    if "layers" in has and (scope["layers"] != has["layers"] or "layer" in scope or "heads" in scope):
        said = {name: scope[name] for name in ("layer", "layers", "heads") if name in scope}
        return Verdict("rejected", f"the scope says of layers {said or 'nothing'}, and the data have {has['layers']}")
    if (of_store or "layers" in has) and scope.get("groups") == "layer":
        ungrouped = claim.problem.groups is None
        if ungrouped or certificate.arrays["groups"].tolist() != columns_of(has, claim.data.n_neurons).layer_of_each:
            return Verdict("rejected", "the scope says that the groups are the layers, and they are others")
    return None


def _call_of(basis: Any) -> str | None:
    """The call that makes the basis of a scope again, None where there is none; of a dictionary nobody knows where."""
    call = basis.get("call") if isinstance(basis, Mapping) else None
    if type(call) is not str:
        return None
    if call.startswith("latents:"):
        raise InputError(f"the certificate is about {call}: say by --basis latents:FILE where that dictionary is")
    return call


def _checker(arguments: argparse.Namespace) -> Callable[..., Verdict | ExactVerdict]:
    """The checker that the arguments ask for, with its limits."""
    from optprobe.certificates import verify

    limits = {name: getattr(arguments, name) for name in LIMITS if getattr(arguments, name) is not None}
    if not arguments.exact:
        return partial(verify, fast=arguments.fast, exhaustive=arguments.exhaustive, **limits)
    from optprobe.certificates.exact import verify_exact

    return partial(verify_exact, **limits)


def _said(scope: Mapping[str, Any], name: str, kind: type) -> Any:
    """What the scope says, where it is of the right type."""
    value = scope.get(name)
    return value if type(value) is kind else None


def split_of(scope: Mapping[str, Any]) -> Mapping[str, Any] | None:
    """How the scope says that a store is split, None if not at all; `CertificateRejected` where that is no split."""
    split = scope.get("split")
    if split is None:
        return None
    if not isinstance(split, dict) or type(split.get("seed", 0)) is not int or split.get("seed", 0) < 0:
        raise CertificateRejected(f"the split of the scope is {split!r}, which is none of a store")
    if type(share := split.get("test_share", 0.3)) is not float or not 0 < share < 1:
        raise CertificateRejected(
            f"the split of the scope has the test share {share!r}, and it must be between 0 and 1"
        )
    return split
