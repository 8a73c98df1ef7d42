"""The checker as one file that needs Python and numpy alone: ``python optprobe-checker.pyz CERTIFICATE DATA.npz``.

``python -m optprobe.certificates.standalone FILE`` writes it; the same sources give the same bytes.
"""

from __future__ import annotations

import io
import sys
import zipfile
from pathlib import Path

from optprobe.certificates import checker
from optprobe.errors import OptprobeError
from optprobe.files import write_file

MAIN = """import os, sys, tempfile, zipfile

with tempfile.TemporaryDirectory() as folder:
    zipfile.ZipFile(os.path.dirname(os.path.abspath(__file__))).extractall(folder)
    sys.path.insert(0, folder)
    try:
        from checker.__main__ import main
    except ImportError as error:
        sys.exit(print(f"the checker needs numpy: {error}", file=sys.stderr) or 2)
    code = main(sys.argv[1:])
sys.exit(code)
"""
"""It unpacks itself, since compiled loops (of five and six neurons, where numba is there) are compiled from files."""
WRITTEN = (1980, 1, 1, 0, 0, 0)
"""The date of every entry: that of the sources would make two archives of them differ."""


def write_checker(path: str | Path) -> Path:
    """Write the checker's package and a ``__main__`` that calls it to a zip file that Python runs. Returns the path.

    Raises `InputError` where the file cannot be written.
    """
    sources = sorted(Path(checker.__file__).parent.glob("*.py"))
    entries = {f"checker/{source.name}": source.read_bytes() for source in sources}
    archive = io.BytesIO()
    with zipfile.ZipFile(archive, "w") as file:
        for name, content in {"__main__.py": MAIN.encode(), **entries}.items():
            file.writestr(zipfile.ZipInfo(name, WRITTEN), content, zipfile.ZIP_DEFLATED)
    return write_file(Path(path), b"#!/usr/bin/env python3\n", archive.getvalue())


def main(arguments: list[str]) -> int:
    """Write the file that the one argument names; 2 where it cannot be."""
    if len(arguments) != 1:
        print("usage: python -m optprobe.certificates.standalone FILE.pyz", file=sys.stderr)
        return 2
    try:
        print(write_checker(arguments[0]))
    except OptprobeError as error:
        print(f"standalone: {error}", file=sys.stderr)
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
