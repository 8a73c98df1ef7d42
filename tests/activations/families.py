"""
Tiny random models of many families, and what is known of their MLPs by reading their code.

The table is the tests' own knowledge: the package finds the same by structure.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import torch
from transformers import AutoModel
from transformers.models.auto.configuration_auto import CONFIG_MAPPING


@dataclass(frozen=True)
class Family:
    """
    A family of transformers.

    Paths lie below a block; ``*`` is any one name. A neuron is act(up), or in a gated MLP act(gate) * up. ``path:0``
    and ``path:1`` are the halves of a fused projection's output.
    """

    model_type: str
    options: dict[str, Any]
    down: str
    up: str
    gate: str | None = None
    activation: str = "gelu"
    d_mlp: int = 48
    tokens: dict[str, Any] = field(default_factory=lambda: {"bos_token_id": 0, "eos_token_id": 0, "pad_token_id": 0})

    def build(self) -> Any:
        """Return a model with random weights."""
        return AutoModel.from_config(CONFIG_MAPPING[self.model_type](**self.options, **self.tokens))


_SIZES = {"vocab_size": 4096, "hidden_size": 32, "num_hidden_layers": 3, "num_attention_heads": 4}
_PLAIN = _SIZES | {"intermediate_size": 48}
_GROUPED = _PLAIN | {"num_key_value_heads": 2}
_HEADS = _GROUPED | {"head_dim": 8}
_GPT2 = {"vocab_size": 4096, "n_embd": 32, "n_layer": 3, "n_head": 4}
_GPTJ = _GPT2 | {"n_inner": 48, "rotary_dim": 4, "n_positions": 128}
_FALCON = _SIZES | {"ffn_hidden_size": 48}
_XGLM = {"vocab_size": 4096, "d_model": 32, "num_layers": 3, "attention_heads": 4, "ffn_dim": 48}
_PAIR = {
    "vocab_size": 4096,
    "d_model": 32,
    "encoder_layers": 2,
    "decoder_layers": 3,
    "encoder_attention_heads": 4,
    "decoder_attention_heads": 4,
    "encoder_ffn_dim": 48,
    "decoder_ffn_dim": 40,
    "decoder_start_token_id": 0,
    "forced_eos_token_id": None,
}
_T5 = {
    "vocab_size": 4096,
    "d_model": 32,
    "d_kv": 8,
    "d_ff": 48,
    "num_layers": 2,
    "num_decoder_layers": 3,
    "num_heads": 4,
}
_T5 |= {"decoder_start_token_id": 0}
_SWIGLU = {"down": "mlp.down_proj", "up": "mlp.up_proj", "gate": "mlp.gate_proj", "activation": "silu"}
_GEGLU = _SWIGLU | {"activation": "gelu_tanh"}
_FUSED = {"down": "mlp.down_proj", "up": "mlp.gate_up_proj:1", "gate": "mlp.gate_up_proj:0", "activation": "silu"}
_FC = {"down": "fc2", "up": "fc1"}
_MLP_FC = {"down": "mlp.fc2", "up": "mlp.fc1"}
_C_FC = {"down": "mlp.c_proj", "up": "mlp.c_fc", "activation": "gelu_tanh"}
_NEOX = {"down": "mlp.dense_4h_to_h", "up": "mlp.dense_h_to_4h"}
_BERT = {"down": "output.dense", "up": "intermediate.dense"}
_T5_MLP = "layer.*.DenseReluDense"

FAMILIES: dict[str, Family] = {
    "gpt_neox": Family("gpt_neox", _PLAIN, **_NEOX),
    "gpt2": Family("gpt2", _GPT2, **_C_FC, d_mlp=128),
    "gpt_bigcode": Family("gpt_bigcode", _GPT2, **_C_FC, d_mlp=128),
    "gptj": Family("gptj", _GPTJ, "mlp.fc_out", "mlp.fc_in", activation="gelu_tanh"),
    "codegen": Family("codegen", _GPTJ, "mlp.fc_out", "mlp.fc_in", activation="gelu_tanh"),
    "gpt_neo": Family(
        "gpt_neo",
        {
            "vocab_size": 4096,
            "hidden_size": 32,
            "num_layers": 2,
            "num_heads": 4,
            "intermediate_size": 48,
            "attention_types": [[["global", "local"], 1]],
        },
        **_C_FC,
    ),
    "openai_gpt": Family("openai-gpt", _GPT2, **_C_FC, d_mlp=128),
    "opt": Family("opt", _SIZES | {"ffn_dim": 32, "word_embed_proj_dim": 32}, **_FC, activation="relu", d_mlp=32),
    "opt_wide": Family("opt", _SIZES | {"ffn_dim": 48, "word_embed_proj_dim": 32}, **_FC, activation="relu"),
    "bloom": Family(
        "bloom",
        {"vocab_size": 4096, "hidden_size": 32, "n_layer": 3, "n_head": 4},
        **_NEOX,
        activation="gelu_tanh",
        d_mlp=128,
    ),
    "falcon": Family("falcon", _FALCON, **_NEOX),
    "falcon_alibi": Family("falcon", _FALCON | {"alibi": True, "parallel_attn": False, "multi_query": False}, **_NEOX),
    "falcon_new": Family("falcon", _FALCON | {"new_decoder_architecture": True, "num_kv_heads": 2}, **_NEOX),
    "mpt": Family(
        "mpt",
        {"vocab_size": 4096, "d_model": 32, "n_layers": 3, "n_heads": 4, "max_seq_len": 128},
        "ffn.down_proj",
        "ffn.up_proj",
        d_mlp=128,
    ),
    "llama": Family("llama", _GROUPED, **_SWIGLU),
    "llama_square": Family("llama", _SIZES | {"intermediate_size": 32, "num_key_value_heads": 4}, **_SWIGLU, d_mlp=32),
    "mistral": Family("mistral", _GROUPED, **_SWIGLU),
    "ministral": Family("ministral", _HEADS, **_SWIGLU),
    "qwen2": Family("qwen2", _GROUPED, **_SWIGLU),
    "qwen3": Family("qwen3", _HEADS, **_SWIGLU),
    "gemma": Family("gemma", _HEADS, **_GEGLU),
    "gemma2": Family("gemma2", _HEADS, **_GEGLU),
    "gemma3": Family("gemma3_text", _HEADS, **_GEGLU),
    "phi": Family("phi", _GROUPED, **_MLP_FC, activation="gelu_tanh"),
    "phi3": Family("phi3", _GROUPED, **_FUSED),
    "glm": Family("glm", _HEADS, **_FUSED),
    "glm4": Family("glm4", _HEADS, **_FUSED),
    "olmo": Family("olmo", _GROUPED, **_SWIGLU),
    "olmo2": Family("olmo2", _GROUPED, **_SWIGLU),
    "olmo3": Family("olmo3", _GROUPED, **_SWIGLU),
    "stablelm": Family("stablelm", _GROUPED, **_SWIGLU),
    "stablelm_parallel": Family("stablelm", _GROUPED | {"use_parallel_residual": True}, **_SWIGLU),
    "granite": Family("granite", _GROUPED, **_SWIGLU),
    "cohere": Family("cohere", _GROUPED, **_SWIGLU),
    "cohere2": Family("cohere2", _GROUPED, **_SWIGLU),
    "smollm3": Family("smollm3", _GROUPED, **_SWIGLU),
    "exaone4": Family("exaone4", _GROUPED, **_SWIGLU),
    "seed_oss": Family("seed_oss", _HEADS, **_SWIGLU),
    "helium": Family("helium", _HEADS, **_SWIGLU),
    "starcoder2": Family("starcoder2", _GROUPED, **_C_FC),
    "nemotron": Family("nemotron", _GROUPED, "mlp.down_proj", "mlp.up_proj", activation="relu2"),
    "arcee": Family("arcee", _HEADS, "mlp.down_proj", "mlp.up_proj", activation="relu2"),
    "persimmon": Family("persimmon", _PLAIN, **_NEOX, activation="relu2"),
    "nanochat": Family("nanochat", _HEADS, **_MLP_FC, activation="relu2"),
    "gemma4": Family("gemma4_text", _HEADS | {"hidden_size_per_layer_input": 0}, **_GEGLU),
    "granite4": Family(
        "granitemoehybrid",
        _GROUPED
        | {"num_local_experts": 0, "shared_intermediate_size": 48, "layer_types": ["attention"] * 3}
        | {"mamba_n_heads": 8, "mamba_d_head": 8},
        "shared_mlp.output_linear",
        "shared_mlp.input_linear:1",
        "shared_mlp.input_linear:0",
        "silu",
    ),
    "xglm": Family("xglm", _XGLM, **_FC),
    "biogpt": Family("biogpt", _PLAIN, **_FC),
    "ctrl": Family(
        "ctrl",
        {"vocab_size": 4096, "n_embd": 32, "n_layer": 3, "n_head": 4, "dff": 48},
        "ffn.2",
        "ffn.0",
        activation="relu",
    ),
    "bert": Family("bert", _PLAIN, **_BERT),
    "roberta": Family("roberta", _PLAIN, **_BERT),
    "xlm_roberta": Family("xlm-roberta", _PLAIN, **_BERT),
    "camembert": Family("camembert", _PLAIN, **_BERT),
    "electra": Family("electra", _PLAIN | {"embedding_size": 16}, **_BERT),
    "rembert": Family("rembert", _PLAIN | {"input_embedding_size": 16}, **_BERT),
    "roformer": Family("roformer", _PLAIN | {"embedding_size": 16}, **_BERT),
    "esm": Family("esm", _PLAIN | {"position_embedding_type": "rotary"}, **_BERT),
    "deberta": Family("deberta", _PLAIN, **_BERT),
    "deberta_v2": Family("deberta-v2", _PLAIN, **_BERT),
    "mpnet": Family("mpnet", _PLAIN, **_BERT),
    "distilbert": Family(
        "distilbert",
        {"vocab_size": 4096, "dim": 32, "n_layers": 3, "n_heads": 4, "hidden_dim": 48},
        "ffn.lin2",
        "ffn.lin1",
    ),
    "eurobert": Family("eurobert", _PLAIN, **_SWIGLU),
    "modernbert": Family(
        "modernbert",
        _PLAIN | {"cls_token_id": 0, "sep_token_id": 0},
        "mlp.Wo",
        "mlp.Wi:1",
        "mlp.Wi:0",
    ),
    "t5": Family("t5", _T5, f"{_T5_MLP}.wo", f"{_T5_MLP}.wi", activation="relu"),
    "t5_gated": Family(
        "t5",
        _T5 | {"feed_forward_proj": "gated-gelu"},
        f"{_T5_MLP}.wo",
        f"{_T5_MLP}.wi_1",
        f"{_T5_MLP}.wi_0",
        "gelu_tanh",
    ),
    "mt5": Family("mt5", _T5, f"{_T5_MLP}.wo", f"{_T5_MLP}.wi_1", f"{_T5_MLP}.wi_0", "gelu_tanh"),
    "umt5": Family("umt5", _T5, f"{_T5_MLP}.wo", f"{_T5_MLP}.wi_1", f"{_T5_MLP}.wi_0", "gelu_tanh"),
    "bart": Family("bart", _PAIR, **_FC),
    "mbart": Family("mbart", _PAIR, **_FC),
    "pegasus": Family("pegasus", _PAIR, **_FC),
    "marian": Family("marian", _PAIR, **_FC),
    "m2m_100": Family("m2m_100", _PAIR, **_FC, activation="relu"),
    "blenderbot": Family("blenderbot", _PAIR, **_FC),
}

_EXPERTS = _GROUPED | {"moe_intermediate_size": 16, "num_experts": 4, "num_local_experts": 4, "num_experts_per_tok": 2}
_DEEPSEEK = _GROUPED | {
    "num_key_value_heads": 4,
    "moe_intermediate_size": 16,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "n_group": 2,
    "topk_group": 1,
    "kv_lora_rank": 8,
    "q_lora_rank": 8,
    "qk_rope_head_dim": 4,
    "qk_nope_head_dim": 4,
    "v_head_dim": 8,
    "first_k_dense_replace": 1,
}
_ALBERT = _PLAIN | {"embedding_size": 16}
REFUSED: dict[str, tuple[Family, str]] = {
    "mixtral": (Family("mixtral", _EXPERTS, "", ""), "is a mixture of experts"),
    "qwen2_moe": (Family("qwen2_moe", _EXPERTS, "", ""), "is a mixture of experts"),
    "qwen3_moe": (Family("qwen3_moe", _EXPERTS, "", ""), "is a mixture of experts"),
    "olmoe": (Family("olmoe", _EXPERTS, "", ""), "is a mixture of experts"),
    "phimoe": (Family("phimoe", _EXPERTS, "", ""), "is a mixture of experts"),
    "granitemoe": (Family("granitemoe", _EXPERTS, "", ""), "is a mixture of experts"),
    "gpt_oss": (Family("gpt_oss", _EXPERTS | {"head_dim": 8}, "", ""), "is a mixture of experts"),
    "deepseek_v3": (Family("deepseek_v3", _DEEPSEEK, "", ""), "is a mixture of experts"),
    "switch_transformers": (Family("switch_transformers", _T5, "", ""), "is a mixture of experts"),
    "mobilebert": (Family("mobilebert", _PLAIN, "", ""), "neither read nor write its residual stream of 32"),
    "albert": (Family("albert", _ALBERT, "", ""), "shared blocks"),
    "mamba": (
        Family("mamba", {"vocab_size": 4096, "hidden_size": 32, "num_hidden_layers": 2}, "", ""),
        "has no attention module",
    ),
}


def tiny_model(name: str) -> Any:
    """Return a seeded random model in evaluation mode, its weights large enough to bend the activations."""
    family = FAMILIES[name] if name in FAMILIES else REFUSED[name][0]
    torch.manual_seed(0)
    model = family.build().eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(5.0)
            elif parameter.ndim == 1:
                parameter.add_(0.1 * torch.randn_like(parameter))
    return model
