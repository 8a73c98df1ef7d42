"""Of a model that sees and reads, the neurons are those of the part that reads, whatever the sizes of the other."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from transformers import (
    AutoModel,
    CLIPConfig,
    CLIPVisionConfig,
    Gemma3Config,
    Idefics3Config,
    LlamaConfig,
    LlavaConfig,
    LlavaForConditionalGeneration,
    Qwen2VLConfig,
)

from optprobe.activations import extract, neuron_map, verify_neuron_map
from optprobe.features import FeatureDataset

TOKENS = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}
SIZES: dict[str, Any] = {"hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4}
TEXT = SIZES | TOKENS | {"vocab_size": 4096, "intermediate_size": 48}
VISION = SIZES | {"intermediate_size": 64, "image_size": 8, "patch_size": 4}
SMALL_HEADS = {"num_key_value_heads": 2, "head_dim": 8}


def llava_config() -> LlavaConfig:
    return LlavaConfig(text_config=LlamaConfig(**TEXT), vision_config=CLIPVisionConfig(**VISION), image_token_index=99)


def configurations() -> dict[str, tuple[Any, str]]:
    """Return models whose vision tower is as long and wide as the language model, and the name of the latter."""
    rope = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]}
    qwen = {"depth": 3, "embed_dim": 32, "hidden_size": 32, "num_heads": 4, "patch_size": 4, "mlp_ratio": 2}
    return {
        "llava": (llava_config(), "language_model"),
        "clip": (CLIPConfig(text_config=TEXT, vision_config=VISION), "text_model"),
        "idefics3": (
            Idefics3Config(text_config=LlamaConfig(**TEXT), vision_config=VISION, image_token_id=99, pad_token_id=0),
            "text_model",
        ),
        "gemma3": (
            Gemma3Config(text_config=TEXT | SMALL_HEADS, vision_config=VISION, mm_tokens_per_image=4),
            "language_model",
        ),
        "qwen2_vl": (
            Qwen2VLConfig(text_config=TEXT | {"num_key_value_heads": 2, "rope_parameters": rope}, vision_config=qwen),
            "language_model",
        ),
    }


@pytest.mark.parametrize("name", ["llava", "clip", "idefics3", "gemma3", "qwen2_vl"])
def test_the_language_model_is_asked_for_by_name(name: str, words: FeatureDataset, tokenizer: Any) -> None:
    config, part = configurations()[name]
    torch.manual_seed(0)
    model = AutoModel.from_config(config).eval()
    found = neuron_map(model)
    assert [x.projection.partition(".")[0] for x in found.layers] == [part] * 3
    assert {x.d_mlp for x in found.layers} == {48}
    assert verify_neuron_map(model, found) < 1e-5
    whole, alone = (extract(m, words, [1], tokenizer=tokenizer, context=20) for m in (model, getattr(model, part)))
    np.testing.assert_array_equal(whole.matrices[1], alone.matrices[1])


def test_text_alone_runs_as_in_the_whole_model(words: FeatureDataset, tokenizer: Any) -> None:
    torch.manual_seed(0)
    model = LlavaForConditionalGeneration(llava_config()).eval()
    seen: list[torch.Tensor] = []
    down = model.model.language_model.layers[1].mlp.down_proj
    handle = down.register_forward_pre_hook(lambda _, args: seen.append(args[0].detach()[0]))
    with torch.no_grad():
        for text in words.texts:
            model(input_ids=tokenizer(text, return_tensors="pt").input_ids)
    handle.remove()
    found = extract(model, words, [1], tokenizer=tokenizer, values="float32", batch_tokens=1)
    expected = np.stack([seen[t][k].numpy() for t, k in zip(found.text, found.token)])
    np.testing.assert_allclose(found.matrices[1], expected, rtol=0, atol=1e-6 * np.abs(expected).max())


def test_blocks_after_the_last_probed_one_are_dropped_from_the_language_model(
    words: FeatureDataset, tokenizer: Any, tmp_path: Path
) -> None:
    torch.manual_seed(0)
    model = AutoModel.from_config(llava_config()).eval()
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    named = extract(tmp_path / "model", words, [0], device="cpu")
    np.testing.assert_array_equal(named.matrices[0], extract(model, words, [0], tokenizer=tokenizer).matrices[0])
