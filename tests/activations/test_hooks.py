"""Hook points: where they are, and which of them exist."""

from __future__ import annotations

import pytest
from activation_examples import tiny_model
from torch import nn
from transformers import XLMConfig, XLMModel

from optprobe.activations import HOOKS, HookSite, hook_points, hook_site, neuron_map
from optprobe.errors import InputError


def test_the_hook_points_of_a_block_without_a_gate() -> None:
    model = tiny_model("gpt_neox")
    layer = neuron_map(model).layers[1]
    assert hook_site(model, layer, "mlp.post") == HookSite("layers.1.mlp.dense_4h_to_h", "input", 48)
    assert hook_site(model, layer, "mlp.pre") == HookSite("layers.1.mlp.dense_h_to_4h", "output", 48)
    assert hook_site(model, layer, "attn.heads") == HookSite("layers.1.attention.dense", "input", 32, 4)
    assert hook_site(model, layer, "resid.post") == HookSite("layers.1", "output", 32)


def test_the_up_projection_of_a_square_mlp_is_not_its_down_projection() -> None:
    model = tiny_model("opt")
    assert hook_site(model, neuron_map(model).layers[0], "mlp.pre").module == "decoder.layers.0.fc1"


def test_a_gated_neuron_has_no_value_before_the_activation() -> None:
    model = tiny_model("llama")
    with pytest.raises(InputError, match=r"layers\.0, where a neuron is a product of two pre-activations.*mlp\.post"):
        hook_site(model, neuron_map(model).layers[0], "mlp.pre")


def test_candidates_for_the_up_projection_are_listed() -> None:
    model = tiny_model("gpt_neox")
    layer = neuron_map(model).layers[0]
    model.layers[0].mlp.second = nn.Linear(32, 48)
    with pytest.raises(InputError, match=r"dense_h_to_4h \(32 to 48\), layers\.0\.mlp\.second \(32 to 48\)"):
        hook_site(model, layer, "mlp.pre")


def test_an_mlp_kept_apart_from_its_attention_has_no_residual_stream() -> None:
    model = XLMModel(XLMConfig(vocab_size=100, emb_dim=32, n_layers=2, n_heads=4))
    found = neuron_map(model)
    assert hook_points(model, found) == ("mlp.post", "mlp.pre")
    with pytest.raises(InputError, match="is an MLP without its attention"):
        hook_site(model, found.layers[0], "resid.post")


@pytest.mark.parametrize(
    ("name", "hooks"),
    [("gpt2", HOOKS), ("bart", ("mlp.post", "mlp.pre", "resid.post")), ("t5_gated", ("mlp.post", "resid.post"))],
)
def test_a_model_has_the_hook_points_of_all_its_layers(name: str, hooks: tuple[str, ...]) -> None:
    model = tiny_model(name)
    assert hook_points(model, neuron_map(model)) == hooks


def test_an_unknown_hook_point_is_refused_with_the_known_ones() -> None:
    model = tiny_model("gpt_neox")
    with pytest.raises(InputError, match=r"mlp\.post, mlp\.pre, attn\.heads, resid\.post, not 'attn\.out'"):
        hook_site(model, neuron_map(model).layers[0], "attn.out")


def test_heads_without_an_output_projection_of_their_own_are_refused() -> None:
    model = tiny_model("llama")
    layer = neuron_map(model).layers[1]
    model.config.num_attention_heads = 5
    with pytest.raises(InputError, match=r"o_proj \(32 to 32\) is not that of the 5 heads which the configuration"):
        hook_site(model, layer, "attn.heads")
    model.config.num_attention_heads = 4
    block = model.layers[1]
    block.cross_attention = nn.Linear(32, 32)
    with pytest.raises(InputError, match=r"exactly one attention module that writes .*self_attn, .*cross_attention"):
        hook_site(model, layer, "attn.heads")
    del block.cross_attention
    block.self_attn.k_proj, block.self_attn.v_proj = nn.Linear(32, 32), nn.Linear(32, 32)
    model.layers[1].self_attn.o_proj = nn.Identity()
    with pytest.raises(InputError, match=r"self_attn has no output projection, which would run once, last"):
        hook_site(model, layer, "attn.heads")
