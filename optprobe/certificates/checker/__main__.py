"""``python -m checker CERTIFICATE DATA``, DATA an .npz of rows or a file of moments: exit 0, 1 rejected, 2, 3."""

from __future__ import annotations

import sys
import zipfile
import zlib

import numpy as np

from .check import verify, verify_from_moments
from .moments import read_moments
from .outcome import Unusable
from .text import shown
from .verdict import Verdict


def main(arguments: list[str]) -> int:
    """Print the verdict; 0 accepted, 1 rejected, 2 unusable input, 3 undecided within the limits."""
    if len(arguments) != 2:
        print("usage: python -m checker CERTIFICATE DATA.npz|MOMENTS.safetensors", file=sys.stderr)
        return 2
    try:
        verdict = _verdict(*arguments)
    except Unusable as unusable:
        print(shown(f"unusable: {unusable}"), file=sys.stderr)
        return 2
    except Exception as error:  # exit 1 means rejected, and a fault of the checker proves nothing
        print(shown(f"unusable: the check broke off ({type(error).__name__}: {error})"), file=sys.stderr)
        return 2
    sys.stdout.buffer.write(f"{verdict}\n".encode(sys.stdout.encoding or "utf-8", "backslashreplace"))
    return verdict.exit_code


def _verdict(certificate: str, data: str) -> Verdict:
    if data.endswith(".safetensors"):
        return verify_from_moments(certificate, read_moments(data))
    try:
        with np.load(data, allow_pickle=False) as arrays:
            if isinstance(arrays, np.ndarray):
                raise ValueError("it is one array")
            X, y = arrays["X_train"], arrays["y_train"]
            weight = arrays["sample_weight"] if "sample_weight" in arrays.files else None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile, zlib.error, MemoryError) as error:
        raise Unusable(f"{data} is no .npz file with X_train and y_train ({error})") from error
    return verify(certificate, X, y, weight)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
