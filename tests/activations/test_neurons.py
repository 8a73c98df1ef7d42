"""The structural neuron map, checked by numbers on tiny random models of several families."""

from __future__ import annotations

import pytest
import torch
from activation_examples import tiny_model
from torch import nn
from transformers import ViTConfig, ViTModel, XLNetConfig, XLNetModel

from optprobe.activations import NeuronMap, neuron_map, verify_neuron_map
from optprobe.errors import InputError

EXPECTED = {
    "gpt_neox": ("layers.2.mlp.dense_4h_to_h", 48, False),
    "gpt2": ("h.2.mlp.c_proj", 128, False),
    "llama": ("layers.2.mlp.down_proj", 48, True),
    "llama_square": ("layers.2.mlp.down_proj", 32, True),
    "opt": ("decoder.layers.2.fc2", 32, False),
    "bert": ("encoder.layer.2.output.dense", 48, False),
}


@pytest.mark.parametrize("family", EXPECTED)
def test_down_projections_are_found_and_confirmed_by_zeroing_neurons(family: str) -> None:
    model = tiny_model(family)
    found = neuron_map(model)
    last = found.layers[-1]
    assert (last.projection, last.d_mlp, last.gated) == EXPECTED[family]
    assert [x.layer for x in found.layers] == [0, 1, 2]
    assert {x.stack for x in found.layers} == {"single"}
    assert verify_neuron_map(model, found) < 1e-5


def test_encoder_layers_come_before_decoder_layers() -> None:
    model = tiny_model("bart")
    found = neuron_map(model)
    assert [x.stack for x in found.layers] == ["encoder"] * 2 + ["decoder"] * 3
    assert [x.d_mlp for x in found.layers] == [48] * 2 + [40] * 3
    assert found.layers[1].projection == "encoder.layers.1.fc2"
    assert verify_neuron_map(model, found) < 1e-5


def test_a_neuron_writes_its_row_into_the_residual_stream() -> None:
    """In a block that adds its MLP unchanged, zeroing neuron j changes the block's output by -a_j times row j."""
    model = tiny_model("gpt_neox")
    layer = neuron_map(model).layers[1]
    projection, block = model.get_submodule(layer.projection), model.get_submodule(layer.block)
    tokens, j = torch.tensor([[5, 9, 400, 31]]), 7
    outputs, neurons = [], []

    def zero(_: nn.Module, inputs: tuple[torch.Tensor, ...]) -> tuple[torch.Tensor, ...]:
        neurons.append(inputs[0][..., j].clone())
        changed = inputs[0].clone()
        changed[..., j] = 0
        return (changed,)

    block.register_forward_hook(
        lambda _, __, output: outputs.append(output[0] if isinstance(output, tuple) else output)
    )
    with torch.no_grad():
        model(tokens)
        projection.register_forward_pre_hook(zero)
        model(tokens)
    expected = -neurons[0][..., None] * projection.weight[:, j]
    torch.testing.assert_close((outputs[1] - outputs[0]).squeeze(), expected.squeeze().detach(), atol=1e-4, rtol=1e-4)


def test_a_wrong_map_is_caught_by_numbers() -> None:
    model = tiny_model("llama_square")
    right = neuron_map(model).layers[0]
    twice = nn.Linear(32, 32, bias=False)
    twice.forward = lambda x: 2 * nn.functional.linear(x, twice.weight)  # type: ignore[method-assign]
    model.set_submodule(right.projection, twice)
    with pytest.raises(InputError, match="neurons are not the input of that projection"):
        verify_neuron_map(model, NeuronMap("LlamaModel", (right,), 0))


def test_blocks_that_are_run_several_times_are_refused() -> None:
    model = tiny_model("bert")
    model.config.num_hidden_layers = 6
    with pytest.raises(InputError, match="runs 6 layers with 3 blocks"):
        neuron_map(model)


def test_several_candidates_are_listed() -> None:
    model = tiny_model("llama")
    for block in model.layers:
        block.mlp.adapter = nn.Linear(8, 32)
    with pytest.raises(
        InputError, match=r"layers\.0\.mlp\.down_proj \(48 to 32\), layers\.0\.mlp\.adapter \(8 to 32\)"
    ):
        neuron_map(model)


def test_a_linear_module_that_runs_after_the_wide_one_is_not_passed_over() -> None:
    model = tiny_model("llama")
    for block in model.layers:
        block.mlp.last = nn.Linear(32, 32)
        block.mlp.register_forward_hook(lambda module, _, output: module.last(output))
    with pytest.raises(InputError, match=r"layers\.0\.mlp\.last \(32 to 32\)"):
        neuron_map(model)


def test_a_model_that_runs_its_tokens_in_another_order_is_caught() -> None:
    model = XLNetModel(XLNetConfig(vocab_size=100, d_model=32, n_layer=2, n_head=4, d_inner=48))
    with pytest.raises(InputError, match=r"is given \(5, 2, 48\) for 2 texts of 5 tokens"):
        verify_neuron_map(model)


def test_a_model_of_images_cannot_be_checked() -> None:
    sizes = {"hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4, "intermediate_size": 48}
    with pytest.raises(InputError, match="has no table of tokens"):
        verify_neuron_map(ViTModel(ViTConfig(**sizes, image_size=8, patch_size=4)))


def test_a_module_of_another_kind_is_refused() -> None:
    with pytest.raises(InputError, match=r"has no config\.hidden_size"):
        neuron_map(nn.Linear(3, 3))


def test_the_map_prints_as_a_table() -> None:
    lines = str(neuron_map(tiny_model("gpt_neox"))).splitlines()
    assert lines[0].startswith("GPTNeoXModel: 3 blocks, 144 neurons, ")
    assert lines[2].split() == ["0", "single", "layers.0.mlp.dense_4h_to_h", "32", "48", "no"]


def test_the_map_leaves_the_model_as_it_was() -> None:
    model = tiny_model("opt")
    model.train()
    model.decoder.layers[1].eval()
    modes = [m.training for m in model.modules()]
    verify_neuron_map(model)
    assert [m.training for m in model.modules()] == modes
    assert not any(m._forward_pre_hooks or m._forward_hooks for m in model.modules())
