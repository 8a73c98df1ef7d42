"""``optprobe COMMAND ...``: parse, run, and turn every error of ours into one line and exit code 2."""

from __future__ import annotations

import argparse
import sys
from importlib import import_module
from typing import NoReturn

from optprobe.errors import OptprobeError

COMMANDS = (
    "quickstart",
    "features",
    "extract",
    "join",
    "moments",
    "statistics",
    "export",
    "solve",
    "compare",
    "verify",
    "cite",
    "neurons",
)


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def parser() -> Parser:
    """The parser of all subcommands."""
    main_parser = Parser(prog="optprobe", description="Certified optimal k-sparse probes of language-model neurons.")
    commands = main_parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in COMMANDS:
        command = import_module(f"optprobe.cli.{name}")
        sub = commands.add_parser(name, help=command.HELP, description=command.HELP)
        command.add_arguments(sub)
        sub.set_defaults(run=command.run)
    return main_parser


def main(arguments: list[str] | None = None) -> int:
    """Run one subcommand; returns its exit code."""
    parsed = parser().parse_args(arguments)
    try:
        return int(parsed.run(parsed))
    except OptprobeError as error:
        print(f"optprobe {parsed.command}: {error}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"optprobe {parsed.command}: interrupted", file=sys.stderr)
        return 130
    except BrokenPipeError:
        sys.stderr.close()
        return 0


if __name__ == "__main__":
    sys.exit(main())
