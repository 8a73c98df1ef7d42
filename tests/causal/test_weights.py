"""Weights of neurons against those read off by hand, for plain, gated, fused and transposed projections."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
import torch
from transformers import AutoModelForCausalLM, BertConfig, BertForMaskedLM
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

import optprobe as op
from optprobe.errors import InputError

SIZES = {"vocab_size": 64, "hidden_size": 16, "num_hidden_layers": 2, "num_attention_heads": 2, "intermediate_size": 24}
GROUPED = {**SIZES, "num_key_value_heads": 1, "head_dim": 8, "pad_token_id": 0, "bos_token_id": 1, "eos_token_id": 2}


def made(kind: str, **options: Any) -> Any:
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(CONFIG_MAPPING[kind](**options)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return model


GPT2 = {"vocab_size": 64, "n_embd": 16, "n_layer": 2, "n_head": 2, "n_inner": 24}
MODELS: dict[str, Any] = {
    "gpt_neox": lambda: made("gpt_neox", **SIZES),
    "gpt2": lambda: made("gpt2", **GPT2),
    "llama": lambda: made("llama", **GROUPED),
    "gemma": lambda: made("gemma", **GROUPED),
    "phi3": lambda: made("phi3", **GROUPED),
}


def by_hand(kind: str, model: Any, layer: int) -> tuple[list[tuple[Any, Any]], Any, Any, str]:
    """Input vectors with biases, output vectors, the unembedding with the final gain, and the name of its norm."""
    if kind == "gpt_neox":
        mlp = model.gpt_neox.layers[layer].mlp
        inputs = [(mlp.dense_h_to_4h.weight, mlp.dense_h_to_4h.bias)]
        norm = model.gpt_neox.final_layer_norm
        return (
            inputs,
            mlp.dense_4h_to_h.weight.T,
            model.get_output_embeddings().weight * norm.weight,
            "gpt_neox.final_layer_norm",
        )
    if kind == "gpt2":
        mlp = model.transformer.h[layer].mlp
        inputs, norm = [(mlp.c_fc.weight.T, mlp.c_fc.bias)], model.transformer.ln_f
        return inputs, mlp.c_proj.weight, model.lm_head.weight * norm.weight, "transformer.ln_f"
    mlp, norm = model.model.layers[layer].mlp, model.model.norm
    gain = 1 + norm.weight if kind == "gemma" else norm.weight
    if kind == "phi3":
        halves = mlp.gate_up_proj.weight.chunk(2)
        return [(half, None) for half in halves], mlp.down_proj.weight.T, model.lm_head.weight * gain, "model.norm"
    inputs = [(mlp.gate_proj.weight, None), (mlp.up_proj.weight, None)]
    return inputs, mlp.down_proj.weight.T, model.lm_head.weight * gain, "model.norm"


@pytest.mark.parametrize("kind", MODELS)
def test_weights_are_those_of_the_modules(kind: str) -> None:
    model = MODELS[kind]()
    weights = op.neuron_weights(model, 1)
    inputs, output, unembedding, norm = by_hand(kind, model, 1)
    assert len(weights.inputs) == len(inputs)
    for one, (vectors, bias) in zip(weights.inputs, inputs):
        np.testing.assert_array_equal(one.vectors, vectors.detach())
        assert (one.bias is None) is (bias is None)
        if one.bias is not None:
            np.testing.assert_array_equal(one.bias, bias.detach())
    np.testing.assert_array_equal(weights.output, output.detach())
    assert weights.norm == norm
    assert weights.unembedding is not None
    np.testing.assert_allclose(weights.unembedding, unembedding.detach(), atol=2e-5)
    lengths = [vectors.detach().norm(dim=1).numpy() for vectors, _ in inputs]
    np.testing.assert_allclose(weights.input_norms, lengths, rtol=1e-5)
    np.testing.assert_allclose(
        weights.products, np.prod(lengths, axis=0) * output.detach().norm(dim=1).numpy(), rtol=1e-5
    )
    for cosines, (vectors, _) in zip(weights.cosines, inputs):
        expected = torch.nn.functional.cosine_similarity(vectors, output, dim=1).detach()
        np.testing.assert_allclose(cosines, expected, atol=1e-6)
    assert (weights.cosine_of_inputs is None) is (len(inputs) == 1)


@pytest.mark.parametrize("kind", MODELS)
def test_a_neuron_moves_the_logits_by_its_output_tokens(kind: str) -> None:
    """Where the final norm is linear: of a stream so long that one neuron does not change its length."""
    model = MODELS[kind]()
    weights = op.neuron_weights(model, 1)
    head, (prefix, _) = model.get_output_embeddings(), (weights.norm, None)
    norm = model.get_submodule(prefix)
    torch.manual_seed(1)
    stream = torch.randn(16, dtype=torch.float64)
    stream -= stream.mean()
    stream = stream / stream.square().mean().sqrt()
    step = torch.from_numpy(weights.output[3].astype(np.float64))
    step -= step.mean() if "LayerNorm" in type(norm).__name__ else 0.0
    step -= (step @ stream) / (stream @ stream) * stream
    double, small = norm.double(), 1e-2
    with torch.no_grad():
        moved = double((stream + small * step)[None, None]) - double((stream - small * step)[None, None])
        logits = (moved[0, 0] / (2 * small)) @ head.weight.double().T
    np.testing.assert_allclose(logits, weights.unembedding.astype(np.float64) @ step.numpy(), atol=1e-3)  # type: ignore[union-attr]
    top, bottom = weights.tokens(3, 5)
    values = weights.logits(3)
    assert [i for i, _ in top] == np.argsort(-values, kind="stable")[:5].tolist()
    assert bottom[0][1] == values.min()
    assert top[0][1] == values.max()


def test_models_without_such_a_head() -> None:
    bare = op.activations.load_model("bundled")
    weights = op.neuron_weights(bare, 0)
    assert weights.unembedding is None
    assert "no head" in repr(weights)
    with pytest.raises(InputError, match="no head that reads its final norm"):
        weights.logits(0)
    masked = BertForMaskedLM(BertConfig(**SIZES, max_position_embeddings=32)).eval()
    assert op.neuron_weights(masked, 0).unembedding is None  # a dense layer stands between its blocks and its head
    capped = made("gemma2", **GROUPED, final_logit_softcapping=0.5, sliding_window=8)
    assert op.neuron_weights(capped, 0).unembedding is None


def test_what_is_refused_and_shown() -> None:
    model = MODELS["llama"]()
    with pytest.raises(InputError, match="the model has no layer 2: its layers are 0 to 1"):
        op.neuron_weights(model, 2)
    weights = op.neuron_weights(model, 0)
    with pytest.raises(InputError, match="there is no neuron 24"):
        weights.tokens(24)
    said = str(weights)
    assert "gated MLP, reads model.layers.0.post_attention_layernorm, final norm model.norm" in said
    assert "cosine of the two inputs" in said


NORMS = {
    "gpt_neox": "gpt_neox.layers.1.post_attention_layernorm",
    "gpt2": "transformer.h.1.ln_2",
    "llama": "model.layers.1.post_attention_layernorm",
    "gemma": "model.layers.1.post_attention_layernorm",
    "phi3": "model.layers.1.post_attention_layernorm",
}


@pytest.mark.parametrize("kind", MODELS)
def test_a_folded_norm_gives_the_same_pre_activations(kind: str) -> None:
    """Of any stream: what the projection makes of the norm's output, and what folded weights make of it centred."""
    model = MODELS[kind]()
    weights = op.neuron_weights(model, 1)
    assert weights.reads is not None
    assert weights.reads.module == NORMS[kind]
    norm = model.get_submodule(NORMS[kind])
    torch.manual_seed(2)
    stream = torch.randn(5, 16)
    with torch.no_grad():
        read = norm(stream)
    centred = stream - stream.mean(dim=1, keepdim=True) if "LayerNorm" in type(norm).__name__ else stream
    z = centred / (centred.square().mean(dim=1, keepdim=True) + 1e-5).sqrt()
    folded = weights.folded()
    for one, own in zip(folded.inputs, weights.inputs):
        bias, own_bias = (0.0 if b is None else b for b in (one.bias, own.bias))
        np.testing.assert_allclose(z.numpy() @ one.vectors.T + bias, read.numpy() @ own.vectors.T + own_bias, atol=5e-5)
    assert (folded.inputs[0].bias is None) is (weights.inputs[0].bias is None)
    np.testing.assert_allclose(folded.input_norms[0], np.linalg.norm(folded.inputs[0].vectors, axis=1), rtol=1e-6)
    assert folded.output is weights.output
    with pytest.raises(InputError, match="no norm is to be folded into"):
        folded.folded()
    assert NORMS[kind] in repr(weights)


def test_an_mlp_that_reads_the_stream_itself() -> None:
    model = made("gpt_neox", **SIZES)
    model.gpt_neox.layers[1].post_attention_layernorm = torch.nn.Identity()
    weights = op.neuron_weights(model, 1)
    assert weights.reads is None
    with pytest.raises(InputError, match=r"no norm is to be folded into gpt_neox\.layers\.1"):
        weights.folded()
