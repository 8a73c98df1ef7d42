"""``python -m checker CERTIFICATE DATA``, DATA an .npz of rows or a file of moments: exit 0, 1 rejected, 2 unusable."""

from __future__ import annotations

import sys
import zipfile

import numpy as np

from .claim import verify, verify_from_moments
from .moments import read_moments
from .verdict import Unusable, Verdict


def main(arguments: list[str]) -> int:
    """``python -m checker CERTIFICATE DATA``: print the verdict; 0 accepted, 1 rejected, 2 unusable input."""
    if len(arguments) != 2:
        print("usage: python -m checker CERTIFICATE DATA.npz|MOMENTS.safetensors", file=sys.stderr)
        return 2
    try:
        if arguments[1].endswith(".safetensors"):
            return _ended(verify_from_moments(arguments[0], read_moments(arguments[1])))
        try:
            with np.load(arguments[1], allow_pickle=False) as data:
                X, y = data["X_train"], data["y_train"]
                weight = data["sample_weight"] if "sample_weight" in data.files else None
        except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
            raise Unusable(f"{arguments[1]} is no .npz file with X_train and y_train: {error}") from error
        return _ended(verify(arguments[0], X, y, weight))
    except Unusable as unusable:
        print(f"unusable: {unusable}", file=sys.stderr)
        return 2


def _ended(verdict: Verdict) -> int:
    print(verdict)
    return 0 if verdict.accepted else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
