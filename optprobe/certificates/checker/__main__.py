"""``python -m checker CERTIFICATE DATA.npz``: exit 0 accepted, 1 rejected (with the reason), 2 unusable input."""

from __future__ import annotations

import sys
import zipfile

import numpy as np

from .claim import verify
from .verdict import Unusable


def main(arguments: list[str]) -> int:
    """``python -m checker CERTIFICATE DATA.npz``: print the verdict; 0 accepted, 1 rejected, 2 unusable input."""
    if len(arguments) != 2:
        print("usage: python -m checker CERTIFICATE DATA.npz", file=sys.stderr)
        return 2
    try:
        try:
            with np.load(arguments[1], allow_pickle=False) as data:
                X, y = data["X_train"], data["y_train"]
                weight = data["sample_weight"] if "sample_weight" in data.files else None
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise Unusable(f"{arguments[1]} is no .npz file with X_train and y_train: {error}") from error
        verdict = verify(arguments[0], X, y, weight)
    except Unusable as unusable:
        print(f"unusable: {unusable}", file=sys.stderr)
        return 2
    print(verdict)
    return 0 if verdict.accepted else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
