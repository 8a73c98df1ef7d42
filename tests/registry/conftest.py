"""What tests of registries share."""

from __future__ import annotations

from pathlib import Path

import pytest

import optprobe as op


@pytest.fixture
def registry(tmp_path: Path) -> op.Registry:
    """An empty one."""
    return op.Registry(tmp_path / "registry")
