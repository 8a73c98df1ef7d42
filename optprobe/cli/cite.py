"""``optprobe cite``: BibTeX and one sentence with scope and bounds, CSL-JSON, an SWHID, or a table in LaTeX."""

from __future__ import annotations

import argparse
import json
from pathlib import Path
from typing import TYPE_CHECKING

from optprobe.cli.shared import add_data_arguments
from optprobe.cli.verify import LIMITS, add_limit_arguments, checked, refuse_without_data
from optprobe.errors import InputError

if TYPE_CHECKING:
    from optprobe.certificates.citation import Cited

HELP = "print BibTeX and one sentence for a certificate; with --data it is verified first"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("certificate", metavar="CERTIFICATE", type=Path, nargs="+", help="a file, or an id: --registry")
    parser.add_argument("--registry", metavar="DIR", type=Path, help="the registry in which ids are looked up")
    form = parser.add_mutually_exclusive_group()
    form.add_argument("--format", choices=("text", "bibtex", "csl", "swhid"), default="text", help="default: text")
    form.add_argument("--latex", action="store_true", help="one table of all certificates")
    add_data_arguments(parser, positional=False, required=False)
    add_limit_arguments(parser)
    parser.set_defaults(fast=True, exhaustive=False, exact=False)


def run(arguments: argparse.Namespace) -> int:
    from optprobe.certificates import Certificate
    from optprobe.files import file_digest

    certified = arguments.data is not None
    refuse_without_data(arguments, ("feature", "layer", "layers", "basis", *LIMITS))
    cited: list[Cited] = []
    for path in _paths(arguments):
        if certified:
            verdict = checked(argparse.Namespace(**{**vars(arguments), "certificate": path}))
            if not verdict.accepted:
                print(verdict)
                return verdict.exit_code
        cited.append((Certificate.load(path), file_digest(path), certified))
    print(_written(cited, "latex" if arguments.latex else arguments.format))
    return 0


def _paths(arguments: argparse.Namespace) -> list[Path]:
    """The files of the certificates; with a registry, what can be an id of it is one."""
    if arguments.registry is None:
        return list(arguments.certificate)
    from optprobe.registry import Registry
    from optprobe.registry.folder import is_id

    registry = Registry(arguments.registry)
    ids = [name for name in arguments.certificate if is_id(str(name))]
    if not ids:
        raise InputError("--registry is where ids are looked up, and none is given: six or more digits of a sha256")
    for name in ids:
        registry.certificate(str(name))  # raises where the file is not what its name says
    return [registry.path(str(name)) if name in ids else name for name in arguments.certificate]


def _written(cited: list[Cited], form: str) -> str:
    from optprobe.certificates.citation import bibtex, csl_json, latex_table, sentence, swhid

    if form == "latex":
        return latex_table(cited)
    if form == "csl":
        return json.dumps([csl_json(*one) for one in cited], indent=1, allow_nan=False)
    if form == "swhid":
        return "\n".join(swhid(certificate.content) for certificate, *_ in cited)
    if form == "bibtex":
        return "\n\n".join(bibtex(*one) for one in cited)
    return "\n\n".join(
        f"{bibtex(*one)}\n\n{sentence(certificate, certified)}" for one in cited for certificate, _, certified in [one]
    )
