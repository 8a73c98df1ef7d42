"""``optprobe verify``: check a certificate against its data."""

from __future__ import annotations

import argparse
from pathlib import Path

from optprobe.cli.shared import add_data_arguments, print_json, read_data, read_moments
from optprobe.errors import CertificateRejected

HELP = "check a certificate against its data: exit 0 accepted, 1 rejected, 2 unusable input"


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("certificate", metavar="CERTIFICATE", type=Path)
    add_data_arguments(parser, positional=False)
    parser.add_argument(
        "--fast", action="store_true", help="replay sweeps of the squared loss by compiled loops instead of numpy"
    )
    parser.add_argument(
        "--exhaustive",
        action="store_true",
        help="evaluate every set instead of checking the proof; k = 3 of 1,536 neurons takes seconds (squared loss)",
    )
    parser.add_argument("--json", action="store_true", help="print one JSON object as the last line")


def run(arguments: argparse.Namespace) -> int:
    from optprobe.certificates import Certificate, Verdict, verify

    try:
        scope = Certificate.load(arguments.certificate).claim.get("scope", {})
        if arguments.data.is_dir():
            arguments.feature = arguments.feature or scope.get("feature")
            arguments.layer = scope.get("layer") if arguments.layer is None else arguments.layer
        modes = {"fast": arguments.fast, "exhaustive": arguments.exhaustive}
        if (found := read_moments(arguments)) is not None:
            verdict = verify(arguments.certificate, moments=found[0], **modes)
        else:
            data = read_data(arguments, scope.get("split"))
            verdict = verify(arguments.certificate, data.X_train, data.y_train, data.w_train, **modes)
    except CertificateRejected as rejected:
        verdict = Verdict(False, str(rejected))
    if arguments.json:
        print_json({"accepted": verdict.accepted, "reason": verdict.reason, "certificate": str(arguments.certificate)})
    else:
        print(verdict)
    return 0 if verdict.accepted else 1
