"""``optprobe cite``: BibTeX and one sentence with scope and bounds."""

from __future__ import annotations

import argparse
from pathlib import Path

from optprobe.cli.shared import add_data_arguments
from optprobe.cli.verify import LIMITS, add_limit_arguments, checked
from optprobe.errors import InputError

HELP = "print BibTeX and one sentence for a certificate; with --data it is verified first"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("certificate", metavar="CERTIFICATE", type=Path)
    add_data_arguments(parser, positional=False, required=False)
    add_limit_arguments(parser)
    parser.set_defaults(fast=True, exhaustive=False, exact=False)


def run(arguments: argparse.Namespace) -> int:
    from optprobe.certificates import Certificate
    from optprobe.certificates.citation import bibtex, sentence
    from optprobe.files import file_digest

    certified = False
    if arguments.data is not None:
        verdict = checked(arguments)
        if not verdict.accepted:
            print(verdict)
            return verdict.exit_code
        certified = True
    elif idle := [name for name in ("feature", "layer", *LIMITS) if getattr(arguments, name) is not None]:
        option = idle[0].replace("_", "-")
        raise InputError(f"--{option} is about the data, and nothing is verified without them: give --data as well")
    certificate = Certificate.load(arguments.certificate)
    print(f"{bibtex(certificate, file_digest(arguments.certificate), certified)}\n\n{sentence(certificate, certified)}")
    return 0
