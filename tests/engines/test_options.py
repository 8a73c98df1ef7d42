"""Where nothing can be written, the loops are compiled all the same."""

from __future__ import annotations

import subprocess
import sys

WITHOUT_A_CACHE = """
import warnings
import numba.core.caching
numba.core.caching.CacheImpl._locator_classes = []  # no folder can be written
with warnings.catch_warnings(record=True) as said:
    warnings.simplefilter("always")
    from optprobe.engines.kernels import linear, options, relaxation
import numpy as np
x = np.array([6.0, 3.0])
linear.solve(np.diag([2.0, 3.0]), x)
print(options.OPTIONS["cache"], x.round(12).tolist(), *[warning.message for warning in said])
"""


def test_without_a_folder_for_compiled_code_it_is_compiled_anew_and_said_once() -> None:
    done = subprocess.run([sys.executable, "-c", WITHOUT_A_CACHE], capture_output=True, text=True, check=True)
    assert done.stdout.startswith("False [3.0, 1.0] neither the package's folder")
    assert done.stdout.count("NUMBA_CACHE_DIR") == 1
    assert done.stderr == ""
