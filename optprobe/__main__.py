"""``python -m optprobe``: the command line."""

import sys

from optprobe.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
