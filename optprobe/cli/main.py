"""``optprobe COMMAND ...``: parse, run, and turn what goes wrong into one line and an exit code.

0 is success, 1 a certificate that was rejected and nothing else, 2 input that cannot be used, 3 a check that did not
end, 70 a fault of the program, which prints where it is, and 130 Ctrl-C.
"""

from __future__ import annotations

import argparse
import difflib
import os
import re
import signal
import sys
import traceback
from importlib import import_module
from io import TextIOWrapper
from typing import NoReturn

import optprobe
from optprobe.cli.shared import INTERRUPTED
from optprobe.errors import OptprobeError

FAULT = 70
"""The exit code that sysexits.h gives to internal errors."""

COMMANDS = (
    "quickstart",
    "features",
    "extract",
    "join",
    "moments",
    "statistics",
    "export",
    "solve",
    "path",
    "compare",
    "run",
    "report",
    "verify",
    "cite",
    "registry",
    "neurons",
    "losses",
)


CHOICE = re.compile(r"invalid choice: '(.*)' \(choose from (.*)\)")
"""How argparse refuses a word."""


class Parser(argparse.ArgumentParser):
    """A parser whose errors are one line."""

    def error(self, message: str) -> NoReturn:
        if choice := CHOICE.search(message):
            near = difflib.get_close_matches(choice[1], re.findall(r"[\w.-]+", choice[2]), 1)
            message += f"; did you mean {near[0]}?" if near else ""
        self.exit(2, f"{self.prog}: {message} (see {self.prog} --help)\n")


def parser() -> Parser:
    """The parser of all subcommands."""
    main_parser = Parser(prog="optprobe", description="Certified optimal k-sparse probes of language-model neurons.")
    main_parser.add_argument("--version", action="version", version=f"optprobe {optprobe.__version__}")
    commands = main_parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    for name in COMMANDS:
        command = import_module(f"optprobe.cli.{name}")
        sub = commands.add_parser(name, help=command.HELP, description=command.HELP)
        command.add_arguments(sub)
        sub.set_defaults(run=command.run)
    return main_parser


def main(arguments: list[str] | None = None) -> int:
    """Run one subcommand; returns its exit code. After Ctrl-C the process itself ends by that signal.

    A shell sees 130 in both cases, but it ends its loop only where the signal ended the command.
    """
    code = _run(arguments)
    if arguments is None and code == INTERRUPTED and os.name == "posix":
        sys.stdout.flush()
        signal.signal(signal.SIGINT, signal.SIG_DFL)
        os.kill(os.getpid(), signal.SIGINT)
    return code


def _run(arguments: list[str] | None) -> int:
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")  # a name that cannot be printed costs no result
    parsed = parser().parse_args(arguments)
    try:
        code = int(parsed.run(parsed))
        sys.stdout.flush()
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except (OptprobeError, OSError, UnicodeError) as error:
        return _said(parsed.command, sentence(error), 2)
    except KeyboardInterrupt:
        return _said(parsed.command, "interrupted", INTERRUPTED)
    except Exception:
        traceback.print_exc()
        return _said(parsed.command, "this is a fault of the program; the lines above say where", FAULT)
    return code


def sentence(error: Exception) -> str:
    """What an error says, in one line."""
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename is not None else error.strerror
    return " ".join(str(error).split())


def _said(command: str, what: str, code: int) -> int:
    print(f"optprobe {command}: {what}", file=sys.stderr)
    return code


if __name__ == "__main__":
    sys.exit(main())
