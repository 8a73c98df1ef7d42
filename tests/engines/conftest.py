"""What tests of sweeps by short products share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from optprobe.engines.sweeps import short, wide, wide_hinge, wide_logistic


@pytest.fixture(params=[short.Short, short.Half], ids=["float32", "bfloat16"], scope="module")
def short_type(request: pytest.FixtureRequest) -> Iterator[type]:
    """The type of the products of a pass."""
    with pytest.MonkeyPatch.context() as patch:
        for module in (wide, wide_hinge, wide_logistic):
            patch.setattr(module, "fastest", lambda n: request.param)
        yield request.param
