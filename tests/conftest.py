"""Fixtures of the whole suite."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest
from hypothesis import settings

settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as shells start what runs in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)

SHARED = Path(os.environ.get("OPTPROBE_SHARED", Path(__file__).resolve().parents[2] / "shared"))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data beside the project, or a skip with the reason."""
    if not (SHARED / "data" / "activations").is_dir():
        pytest.skip(f"no real activations at {SHARED}: set OPTPROBE_SHARED to the folder that has data/activations")
    return SHARED
