"""Models as people hold them: compiled, offloaded, divided, wrapped. They work, or a sentence names the way."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from activation_examples import tiny_model

from optprobe.activations import Activations, extract
from optprobe.errors import InputError
from optprobe.features import FeatureDataset

pytestmark = pytest.mark.filterwarnings("ignore")  # of the packages that wrap


def compiled_in_place(model: Any) -> Any:
    model.compile(backend="eager")
    model.layers[1].compile(backend="eager")
    return model


def offloaded(model: Any) -> Any:
    pytest.importorskip("accelerate").cpu_offload(model)
    return model


def foreign_pad(model: Any) -> Any:
    model.config.pad_token_id = 4096
    return model


@pytest.fixture(scope="module")
def plain(tokenizer: Any, words: FeatureDataset) -> Activations:
    """Values of the model by itself."""
    return extract(tiny_model("gpt_neox"), words, tokenizer=tokenizer)


@pytest.mark.parametrize(
    "wrap",
    [
        lambda model: torch.compile(model, backend="eager"),
        compiled_in_place,
        torch.nn.DataParallel,
        offloaded,
        foreign_pad,
    ],
    ids=["compiled", "compiled in place", "data parallel", "offloaded", "foreign pad"],
)
def test_a_wrapped_model_gives_the_values_of_the_model(
    wrap: Callable[[Any], Any], plain: Activations, tokenizer: Any, words: FeatureDataset
) -> None:
    model = tiny_model("gpt_neox")
    wrapped = wrap(model)
    impl = model._compiled_call_impl
    found = extract(wrapped, words, tokenizer=tokenizer)
    for layer in plain.layers:
        np.testing.assert_array_equal(found.matrices[layer], plain.matrices[layer])
    assert found.manifest["weights"] == plain.manifest["weights"]
    assert found.manifest["device"] == "cpu"
    assert model._compiled_call_impl is impl
    assert len(model.layers) == 3
    assert not any(isinstance(block, torch.nn.Identity) for block in model.layers)


def test_a_model_with_compiled_parts_is_refused(tokenizer: Any, words: FeatureDataset) -> None:
    model = tiny_model("gpt_neox")
    model.layers[1] = torch.compile(model.layers[1], backend="eager")
    with pytest.raises(InputError, match=r"has a compiled part, layers\.1: give the model as it is without"):
        extract(model, words, tokenizer=tokenizer)


def test_an_adapter_is_to_be_merged(tokenizer: Any, words: FeatureDataset, tmp_path: Path) -> None:
    (tmp_path / "adapter_config.json").write_text("{}")
    with pytest.raises(InputError, match="holds an adapter: save what merge_and_unload"):
        extract(tmp_path, words, tokenizer=tokenizer)


def test_what_is_no_model_is_refused(words: FeatureDataset, tokenizer: Any) -> None:
    with pytest.raises(InputError, match="dict is no model: give a name, a folder"):
        extract({}, words, tokenizer=tokenizer)  # type: ignore[arg-type]
