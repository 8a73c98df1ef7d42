"""The libraries that people run models with: what their caches hold, and the models that they wrap."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from activation_examples import tiny_model

import optprobe as op
from optprobe.activations import Activations, extract
from optprobe.errors import InputError
from optprobe.features import FeatureDataset, align_rows

pytestmark = [pytest.mark.interop, pytest.mark.filterwarnings("ignore")]  # warnings of these packages
HIDDEN = "model.layers.1.mlp.act"
CLOSE = {"rtol": 1e-4, "atol": 1e-5}
"""Other kernels, and padded batches, round otherwise than texts alone."""


@pytest.fixture(scope="module")
def saved(tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Return the folder of a small model with a head, and its tokenizer."""
    from transformers import AutoModelForCausalLM

    folder = tmp_path_factory.mktemp("model")
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(tiny_model("gpt_neox").config).save_pretrained(folder)
    tokenizer.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def batch(words: FeatureDataset, tokenizer: Any) -> tuple[torch.Tensor, torch.Tensor]:
    """Return ids and attention mask of the texts, padded at the right."""
    texts = [torch.from_numpy(ids) for ids in align_rows(words, tokenizer).input_ids]
    ids = torch.nn.utils.rnn.pad_sequence(texts, batch_first=True)
    mask = torch.nn.utils.rnn.pad_sequence([torch.ones_like(text) for text in texts], batch_first=True)
    return ids, mask


@pytest.fixture(scope="module")
def every(saved: Path, words: FeatureDataset, tokenizer: Any) -> np.ndarray[Any, Any]:
    """Return the values of the second layer at all tokens, text after text, as transformers computes them."""
    from transformers import AutoModelForCausalLM

    model = AutoModelForCausalLM.from_pretrained(saved).eval()
    kept: list[torch.Tensor] = []
    model.gpt_neox.layers[1].mlp.act.register_forward_hook(lambda *given: kept.append(given[-1][0]))
    with torch.no_grad():
        for ids in align_rows(words, tokenizer).input_ids:
            model(torch.from_numpy(ids)[None])
    return torch.cat(kept).numpy()


@pytest.fixture(scope="module")
def store(saved: Path, words: FeatureDataset, tokenizer: Any) -> Activations:
    """Return what extraction keeps of the second layer."""
    return extract(saved, words, [1], tokenizer=tokenizer, values="float32")


def problem_of(values: Any, words: FeatureDataset, tokenizer: Any) -> Activations:
    """Return the activations that padded values of all texts and the words of a dataset make."""
    aligned = align_rows(words, tokenizer)
    rows = values[words.text[aligned.row], aligned.token]
    labels = {name: y[aligned.row] for name, y in words.labels.items()}
    return op.activations_of({1: rows}, labels, words.group[aligned.row])


def test_a_cache_of_the_bridge(saved: Path, batch: Any, every: Any, store: Any, words: Any, tokenizer: Any) -> None:
    from transformer_lens.model_bridge import TransformerBridge

    ids, mask = batch
    with torch.no_grad():
        _, cache = TransformerBridge.boot_transformers(str(saved), device="cpu").run_with_cache(
            ids, attention_mask=mask
        )
    np.testing.assert_allclose(op.neuron_values(cache, layer=1, mask=mask), every, **CLOSE)
    with pytest.raises(InputError, match="give neuron_values the mask="):
        op.neuron_values(cache, layer=1)
    found = problem_of(cache["blocks.1.mlp.hook_post"], words, tokenizer)
    np.testing.assert_allclose(found.matrices[1], store.matrices[1], **CLOSE)
    best = op.solve(op.problem(found, 1, loss="squared", ridge=0.1))
    assert best.support == op.solve(op.problem(store, 1, loss="squared", ridge=0.1)).support


@pytest.mark.parametrize("hook", ["mlp.post", "mlp.pre", "resid.post"])
@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_hook_points_of_the_bridge(hook: str, dtype: torch.dtype, saved: Path, batch: Any) -> None:
    """Also in its compatibility mode, which folds and centres weights."""
    from transformer_lens.model_bridge import TransformerBridge

    model = TransformerBridge.boot_transformers(str(saved), device="cpu", dtype=dtype)
    model.enable_compatibility_mode()
    _, cache = model.run_with_cache(batch[0][:2, :6])
    name = {"mlp.post": "mlp.hook_post", "mlp.pre": "mlp.hook_pre", "resid.post": "hook_resid_post"}[hook]
    expected = cache[f"blocks.1.{name}"].detach().float()
    found = op.neuron_values(cache, layer=1, hook=hook, mask=True)
    assert found.dtype == np.float32
    np.testing.assert_array_equal(found, expected.flatten(0, 1).numpy())
    np.testing.assert_array_equal(op.neuron_values(cache.cache_dict, f"blocks.1.{name}", mask=True), found)


def test_a_cache_of_nnsight(saved: Path, batch: Any, every: Any, store: Any, words: Any, tokenizer: Any) -> None:
    import nnsight
    from transformers import AutoModelForCausalLM

    ids, mask = batch
    model = nnsight.NNsight(AutoModelForCausalLM.from_pretrained(saved).eval())
    with torch.no_grad(), model.trace(input_ids=ids, attention_mask=mask) as tracer:
        cache = tracer.cache(modules=[model.gpt_neox.layers[0].mlp.act, model.gpt_neox.layers[1].mlp.act])
    name = "model.gpt_neox.layers.1.mlp.act"
    np.testing.assert_allclose(op.neuron_values(cache, name, mask=mask), every, **CLOSE)
    np.testing.assert_allclose(op.neuron_values(cache[name], mask=mask), every, **CLOSE)
    with pytest.raises(InputError, match=r"there are 2 entries \(model.gpt_neox.layers.0.mlp.act, "):
        op.neuron_values(cache, mask=mask)
    with pytest.raises(InputError, match="give neuron_values the mask="):
        op.neuron_values(cache, name)
    found = problem_of(cache[name].output, words, tokenizer)
    np.testing.assert_allclose(found.matrices[1], store.matrices[1], **CLOSE)


class Twice(torch.nn.Module):
    """A module that runs another one twice, which returns its values first and something else second."""

    def __init__(self) -> None:
        super().__init__()
        self.inner = torch.nn.LSTM(3, 5)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return torch.cat([self.inner(x[:2])[0], self.inner(x[2:])[0]])


def test_modules_with_tuples_and_several_visits_in_nnsight() -> None:
    import nnsight

    model = nnsight.NNsight(Twice())
    x = torch.arange(15.0).reshape(5, 3)
    with torch.no_grad(), model.trace(x) as tracer:
        cache = tracer.cache(modules=[model.inner])
        output = model.output.save()
    assert len(cache["model.inner"].output) == 2
    np.testing.assert_array_equal(op.neuron_values(cache), output.numpy())


def test_values_that_nnsight_saved(saved: Path, batch: Any, every: Any) -> None:
    import nnsight
    from transformers import AutoModelForCausalLM

    ids, mask = batch
    model = nnsight.NNsight(AutoModelForCausalLM.from_pretrained(saved).eval())
    lists: dict[str, list[Any]] = {"act": []}
    for part in (slice(0, 2), slice(2, 5)):
        with torch.no_grad(), model.trace(input_ids=ids[part], attention_mask=mask[part]):
            kept = model.gpt_neox.layers[1].mlp.act.output.save()
        lists["act"].append(kept)
    np.testing.assert_allclose(op.neuron_values(lists, mask=[mask[:2], mask[2:]]), every, **CLOSE)


def in_nnsight(model: Any) -> Any:
    import nnsight

    return nnsight.NNsight(model)


def merged(model: Any) -> Any:
    import peft

    return peft.get_peft_model(model, peft.LoraConfig(target_modules=["dense_4h_to_h"])).merge_and_unload()


@pytest.mark.parametrize("wrap", [in_nnsight, merged])
def test_a_wrapped_model_gives_the_values_of_the_model(
    wrap: Callable[[Any], Any], tokenizer: Any, words: FeatureDataset
) -> None:
    plain = extract(tiny_model("gpt_neox"), words, tokenizer=tokenizer)
    found = extract(wrap(tiny_model("gpt_neox")), words, tokenizer=tokenizer)
    for layer in plain.layers:
        np.testing.assert_array_equal(found.matrices[layer], plain.matrices[layer])
    assert found.manifest["weights"] == plain.manifest["weights"]


def test_an_adapter_is_to_be_merged(tokenizer: Any, words: FeatureDataset) -> None:
    import peft

    model = peft.get_peft_model(tiny_model("gpt_neox"), peft.LoraConfig(target_modules=["dense_4h_to_h"]))
    with pytest.raises(
        InputError, match=r"PeftModel holds an adapter, .* give what peft's merge_and_unload\(\) returns"
    ):
        extract(model, words, tokenizer=tokenizer)


def test_a_bridge_names_the_way(saved: Path, tokenizer: Any, words: FeatureDataset) -> None:
    from transformer_lens.model_bridge import TransformerBridge

    with pytest.raises(InputError, match=r"TransformerBridge runs .* give the name of that model"):
        extract(TransformerBridge.boot_transformers(str(saved), device="cpu"), words, tokenizer=tokenizer)
