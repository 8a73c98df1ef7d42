"""Tiny random models, a small dataset in several scripts, and small random activations."""

from __future__ import annotations

import re
from collections.abc import Callable
from types import MappingProxyType
from typing import Any

import numpy as np
import torch
from transformers import (
    BartConfig,
    BartModel,
    BertConfig,
    BertModel,
    GPT2Config,
    GPT2Model,
    GPTNeoXConfig,
    GPTNeoXModel,
    LlamaConfig,
    LlamaModel,
    MambaConfig,
    MambaModel,
    MixtralConfig,
    MixtralModel,
    OPTConfig,
    OPTModel,
)

from optprobe.activations import Activations, NeuronMatrix
from optprobe.features import FeatureDataset

TEXTS = (
    "The quick brown fox jumps over the lazy dog.",
    "Une forêt enneigée près de Besançon, à l'aube.",
    "Снег лежит на берегу реки.",
    "def area(r):\n    return 3.14 * r ** 2\n",
    "Größe und Höhe; naïve façade: 42!",
)
_SIZES = {"vocab_size": 4096, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4}
_TOKENS = {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0}

MODELS: dict[str, Callable[[], Any]] = {
    "gpt_neox": lambda: GPTNeoXModel(GPTNeoXConfig(**_SIZES, **_TOKENS, intermediate_size=48)),
    "gpt2": lambda: GPT2Model(GPT2Config(vocab_size=4096, n_embd=32, n_layer=3, n_head=4, **_TOKENS)),
    "llama": lambda: LlamaModel(LlamaConfig(**_SIZES, **_TOKENS, intermediate_size=48, num_key_value_heads=2)),
    "opt": lambda: OPTModel(OPTConfig(**_SIZES, **_TOKENS, ffn_dim=32, word_embed_proj_dim=32)),
    "bert": lambda: BertModel(BertConfig(**_SIZES, intermediate_size=48)),
    "llama_square": lambda: LlamaModel(LlamaConfig(**_SIZES, **_TOKENS, intermediate_size=32, num_key_value_heads=4)),
    "bart": lambda: BartModel(
        BartConfig(
            vocab_size=4096,
            d_model=32,
            encoder_layers=2,
            decoder_layers=3,
            encoder_attention_heads=4,
            decoder_attention_heads=4,
            encoder_ffn_dim=48,
            decoder_ffn_dim=40,
            decoder_start_token_id=0,
            forced_eos_token_id=None,
            **_TOKENS,
        )
    ),
    "mixtral": lambda: MixtralModel(
        MixtralConfig(**_SIZES, **_TOKENS, intermediate_size=48, num_key_value_heads=2, num_local_experts=4)
    ),
    "mamba": lambda: MambaModel(MambaConfig(vocab_size=4096, hidden_size=32, num_hidden_layers=2)),
}


def tiny_model(family: str) -> Any:
    """Return a seeded random model in evaluation mode, its weights large enough to bend the activations."""
    torch.manual_seed(0)
    model = MODELS[family]().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(5.0)
    return model


def words_dataset(texts: tuple[str, ...] = TEXTS, every: int = 1) -> FeatureDataset:
    """Return every word of the texts, labelled by whether it begins with a capital letter."""
    spans = [(t, m.start(), m.end()) for t, text in enumerate(texts) for m in re.finditer(r"\w+|[^\w\s]", text)][
        ::every
    ]
    text, start, end = np.array(spans, dtype=np.int32).T
    labels = np.array([1 if texts[t][a].isupper() else -1 for t, a, _ in spans], dtype=np.int8)
    return FeatureDataset("words", texts, text, start, end, text, {"capital": labels}, {"capital": "+1 if capital"})


def small_activations(seed: int = 0, n_rows: int = 40) -> Activations:
    """Return random activations of two layers and two features."""
    rng = np.random.default_rng(seed)
    group = (np.arange(n_rows) // 4).astype(np.int32)
    labels = {
        "even": np.where(np.arange(n_rows) % 2 == 0, 1, -1).astype(np.int8),
        "rare": rng.choice([-1, 0, 1], size=n_rows).astype(np.int8),
    }
    manifest: dict[str, Any] = {
        "model": "tiny",
        "revision": None,
        "hook": "mlp.post",
        "dataset": {"name": "numbers", "digest": "0" * 64, "licence": "MIT"},
        "features": {"even": "+1 for even rows", "rare": "drawn"},
        "layers": [1, 4],
        "d_mlp": [6, 9],
        "values": ["float32", "float32"],
        "n_rows": n_rows,
        "dropped_rows": 0,
    }
    return Activations(
        manifest=MappingProxyType(manifest),
        row=np.arange(n_rows, dtype=np.int32),
        text=group,
        start=np.arange(n_rows, dtype=np.int32),
        end=np.arange(1, n_rows + 1, dtype=np.int32),
        token=np.arange(n_rows, dtype=np.int32),
        group=group,
        labels=labels,
        matrices={
            layer: NeuronMatrix.of(rng.normal(size=(n_rows, d)).astype(np.float32)) for layer, d in ((1, 6), (4, 9))
        },
    )
