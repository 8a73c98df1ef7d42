"""``optprobe cite``: BibTeX and one sentence with scope and bounds."""

from __future__ import annotations

import argparse
import hashlib
from pathlib import Path

from optprobe.errors import InputError

HELP = "print BibTeX and one sentence with scope and bounds for a certificate"

ENTRY = """@misc{{optprobe-{identity},
  title        = {{Certificate of a {k}-sparse probe: neurons {support}}},
  author       = {{{{optprobe {version}}}}},
  howpublished = {{optprobe certificate, sha256:{digest}}},
  note         = {{{sentence}}},
}}"""


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("certificate", metavar="CERTIFICATE", type=Path)


def run(arguments: argparse.Namespace) -> int:
    from optprobe.certificates import Certificate

    certificate = Certificate.load(arguments.certificate)
    digest = hashlib.sha256(arguments.certificate.read_bytes()).hexdigest()
    claim = certificate.claim
    try:
        entry = ENTRY.format(
            identity=digest[:12],
            k=claim["problem"]["k"],
            support=", ".join(map(str, claim["result"]["support"])),
            version=claim["versions"]["optprobe"],
            digest=digest,
            sentence=certificate.sentence.replace("%", r"\%").replace("_", r"\_"),
        )
    except (KeyError, TypeError) as error:
        raise InputError(f"{arguments.certificate}: its claim cannot be read ({error})") from error
    print(f"{entry}\n\n{certificate.sentence}")
    return 0
