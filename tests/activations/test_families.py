"""Neurons and hook points of many families, against what each block's own weights give by hand."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import pytest
import torch
from families import FAMILIES, REFUSED, tiny_model
from numpy.typing import NDArray
from scipy.special import erf
from torch import nn

from optprobe.activations import HOOKS, HookSite, extract, hook_site, neuron_map, verify_neuron_map
from optprobe.activations.model.neurons import run_tokens
from optprobe.errors import InputError
from optprobe.features import FeatureDataset

Array = NDArray[np.float64]
EPS = float(np.finfo(np.float32).eps)
TOKENS = torch.tensor([[5, 9, 400, 31, 77, 2], [8, 8, 1200, 3, 15, 60]])

ACTIVATIONS: dict[str, Callable[[Array], Array]] = {
    "gelu": lambda z: z * (1 + erf(z / np.sqrt(2))) / 2,
    "gelu_tanh": lambda z: z * (1 + np.tanh(np.sqrt(2 / np.pi) * (z + 0.044715 * z**3))) / 2,
    "silu": lambda z: z / (1 + np.exp(-z)),
    "relu": lambda z: np.maximum(z, 0),
    "relu2": lambda z: np.maximum(z, 0) ** 2,
}


@contextmanager
def recorded(model: nn.Module, sites: list[HookSite]) -> Iterator[list[list[torch.Tensor]]]:
    """Collect what passes each site."""
    seen: list[list[torch.Tensor]] = [[] for _ in sites]

    def hook(i: int) -> Callable[..., None]:
        def see(_: nn.Module, inputs: tuple[torch.Tensor, ...], output: Any) -> None:
            first = output[0] if isinstance(output, tuple | list) else output
            seen[i].append((inputs[0] if sites[i].side == "input" else first).clone())

        return see

    handles = [model.get_submodule(site.module).register_forward_hook(hook(i)) for i, site in enumerate(sites)]
    try:
        yield seen
    finally:
        for handle in handles:
            handle.remove()


def values(model: nn.Module, sites: list[HookSite]) -> list[torch.Tensor]:
    """Run the tokens once; the value at each site, shape (n_texts, n_tokens, width)."""
    is_pair = model.config.is_encoder_decoder
    with torch.no_grad(), recorded(model, sites) as seen:
        run_tokens(model, TOKENS, stack="decoder" if is_pair else "single")
    assert all(len(x) == 1 for x in seen)
    return [x[0].reshape(*TOKENS.shape, -1) for x in seen]


def path_in(model: nn.Module, block: str, pattern: str) -> str:
    """Resolve a path of the table below a block."""
    wanted = re.compile(re.escape(pattern).replace(r"\*", r"[^.]+"))
    (found,) = [name for name, _ in model.get_submodule(block).named_modules() if wanted.fullmatch(name)]
    return f"{block}.{found}"


def pre_activation(model: nn.Module, block: str, path: str) -> tuple[Array, Array]:
    """Apply a projection of the table to its own input in float64; return that and a bound on float32's rounding."""
    pattern, _, half = path.partition(":")
    name = path_in(model, block, pattern)
    module = model.get_submodule(name)
    x = values(model, [HookSite(name, "input", 0)])[0].numpy().astype(np.float64)
    weight = module.weight.detach().numpy().astype(np.float64)
    weight = weight if type(module).__name__ == "Conv1D" else weight.T
    bias = np.zeros(weight.shape[1]) if module.bias is None else module.bias.detach().numpy().astype(np.float64)
    if half:
        columns = slice(None, weight.shape[1] // 2) if half == "0" else slice(weight.shape[1] // 2, None)
        weight, bias = weight[:, columns], bias[columns]
    return x @ weight + bias, (len(weight) + 2) * EPS * (np.abs(x) @ np.abs(weight) + np.abs(bias))


def activated(name: str, z: Array, bound: Array) -> tuple[Array, Array]:
    """Apply an activation function: slope at most 1.2 (relu^2: 2z), and some roundings of its own."""
    slope = 2 * np.abs(z) + bound if name == "relu2" else 1.2
    value = ACTIVATIONS[name](z)
    return value, slope * bound + 8 * EPS * (np.abs(z) + np.abs(value))


def test_there_are_at_least_35_families() -> None:
    assert len({family.model_type for family in FAMILIES.values()}) >= 35


@pytest.mark.parametrize("name", FAMILIES)
def test_neurons_are_the_activation_of_the_blocks_own_projections(name: str) -> None:
    family, model = FAMILIES[name], tiny_model(name)
    found = neuron_map(model)
    first = [x for x in found.layers if x.stack == found.layers[0].stack]
    assert [x.d_mlp for x in first] == [family.d_mlp] * len(first)
    assert all(x.gated == (family.gate is not None) for x in found.layers)
    for layer in (found.layers[0], found.layers[-1]):
        assert layer.projection == path_in(model, layer.block, family.down)
        (neurons,) = values(model, [hook_site(model, layer, "mlp.post")])
        up, bound = pre_activation(model, layer.block, family.up)
        if family.gate is None:
            expected, bound = activated(family.activation, up, bound)
        else:
            gate, gate_bound = activated(family.activation, *pre_activation(model, layer.block, family.gate))
            bound = np.abs(gate) * bound + gate_bound * (np.abs(up) + bound) + EPS * np.abs(gate * up)
            expected = gate * up
        assert neurons.shape[-1] == layer.d_mlp
        assert np.all(np.abs(neurons.numpy() - expected) <= bound)
        assert np.abs(expected).max() > 1e3 * bound.max()


@pytest.mark.parametrize("name", FAMILIES)
def test_zeroing_a_neuron_takes_its_row_away(name: str) -> None:
    assert verify_neuron_map(tiny_model(name)) < 1e-5


@pytest.mark.parametrize("name", [name for name, family in FAMILIES.items() if family.gate is None])
def test_the_pre_activation_is_the_up_projections_output(name: str) -> None:
    model = tiny_model(name)
    for layer in neuron_map(model).layers:
        site = hook_site(model, layer, "mlp.pre")
        expected, bound = pre_activation(model, layer.block, FAMILIES[name].up)
        assert site.width == layer.d_mlp
        assert np.all(np.abs(values(model, [site])[0].numpy() - expected) <= bound)


@pytest.mark.parametrize("name", [name for name, family in FAMILIES.items() if family.gate is not None])
def test_a_gated_mlp_has_no_pre_activation(name: str) -> None:
    model = tiny_model(name)
    with pytest.raises(InputError, match="is a product of two pre-activations"):
        hook_site(model, neuron_map(model).layers[-1], "mlp.pre")


@pytest.mark.parametrize("name", FAMILIES)
def test_the_residual_stream_is_transformers_hidden_state(name: str) -> None:
    model = tiny_model(name)
    layers = neuron_map(model).layers
    options = {"decoder_input_ids": TOKENS} if model.config.is_encoder_decoder else {}
    with torch.no_grad():
        output = model(input_ids=TOKENS, output_hidden_states=True, **options)
    stacks = {
        "single": output.get("hidden_states"),
        "encoder": output.get("encoder_hidden_states"),
        "decoder": output.get("decoder_hidden_states"),
    }
    for stack, states in stacks.items():
        blocks = [x for x in layers if x.stack == stack]
        sites = [hook_site(model, x, "resid.post") for x in blocks]
        for site, seen, state in zip(sites[:-1], values(model, sites), (states or [])[1:]):
            assert site.width == 32
            torch.testing.assert_close(seen, state, rtol=0, atol=0)


@pytest.mark.parametrize(
    "name", ["gpt_neox", "falcon_alibi", "bloom", "mpt", "llama", "gemma3", "opt", "bert", "mpnet", "deberta_v2", "t5"]
)
def test_padding_does_not_change_the_neurons_of_a_text(name: str, words: FeatureDataset, tokenizer: Any) -> None:
    model = tiny_model(name)
    alone = extract(model, words, tokenizer=tokenizer, batch_size=1)
    padded = extract(model, words, tokenizer=tokenizer, batch_size=len(words.texts))
    for layer, matrix in alone.matrices.items():
        scale = np.abs(matrix).max()
        np.testing.assert_allclose(padded.matrices[layer], matrix, rtol=0, atol=1e-5 * scale)


@pytest.mark.parametrize("name", REFUSED)
def test_models_without_dense_mlps_of_their_own_are_refused_with_the_reason(name: str) -> None:
    with pytest.raises(InputError, match=REFUSED[name][1]):
        neuron_map(tiny_model(name))


VALUES = {
    "gpt2": ("attn.c_attn", lambda v: v[..., 64:].unflatten(-1, (4, 8))),
    "gpt_neox": ("attention.query_key_value", lambda v: v.unflatten(-1, (4, 24))[..., 16:]),
    "bloom": ("self_attention.query_key_value", lambda v: v.unflatten(-1, (4, 24))[..., 16:]),
    "opt": ("self_attn.v_proj", lambda v: v.unflatten(-1, (4, 8))),
    "llama": ("self_attn.v_proj", lambda v: v.unflatten(-1, (2, 8)).repeat_interleave(2, dim=-2)),
    "qwen3": ("self_attn.v_proj", lambda v: v.unflatten(-1, (2, 8)).repeat_interleave(2, dim=-2)),
    "bert": ("attention.self.value", lambda v: v.unflatten(-1, (4, 8))),
    "modernbert": ("attn.Wqkv", lambda v: v[..., 64:].unflatten(-1, (4, 8))),
}
"""Of some families: the module that makes the values attended to, and its output as (n_texts, n_tokens, heads, 8)."""
MASK = torch.tensor([[1, 1, 1, 1, 1, 1], [1, 1, 1, 1, 0, 0]])


@pytest.mark.parametrize("name", VALUES)
def test_heads_are_the_values_weighted_by_their_attention(name: str) -> None:
    """Head after head: what transformers says that a head attends to, times the values there, padding or none."""
    model, (path, values_of) = tiny_model(name), VALUES[name]
    model.set_attn_implementation("eager")
    for at, layer in enumerate(neuron_map(model).layers):
        site = hook_site(model, layer, "attn.heads")
        assert (site.side, site.width, site.heads) == ("input", 32, 4)
        seen_at = [site, HookSite(path_in(model, layer.block, path), "output", 0)]
        with torch.no_grad(), recorded(model, seen_at) as seen:
            output = model(input_ids=TOKENS, attention_mask=MASK, output_attentions=True)
        ((heads,), (made,)) = seen
        expected = output.attentions[at].double() @ values_of(made).double().transpose(1, 2)
        expected = expected.transpose(1, 2).flatten(2)[MASK > 0]
        torch.testing.assert_close(heads[MASK > 0].double(), expected, rtol=0, atol=1e-5 * float(expected.abs().max()))


@pytest.mark.parametrize("name", FAMILIES)
def test_every_family_has_its_heads_where_a_block_has_one_attention(name: str) -> None:
    """They are what the attention writes to the residual stream, but for the projection; a head is its dimensions."""
    model = tiny_model(name)
    for layer in (layers := neuron_map(model).layers)[0], layers[-1]:
        if layer.stack == "decoder":
            with pytest.raises(InputError, match="has not exactly one attention module that writes its residual"):
                hook_site(model, layer, "attn.heads")
            continue
        site = hook_site(model, layer, "attn.heads")
        assert site.heads == 4
        assert site.width % 4 == 0
        (heads,) = values(model, [site])
        assert heads.shape == (*TOKENS.shape, site.width)
        assert not torch.equal(heads[0], heads[1])


@pytest.mark.parametrize("name", ["gpt_neox", "llama", "bert", "deberta_v2", "t5", "bart"])
def test_padding_does_not_change_the_heads_of_a_text(name: str, words: FeatureDataset, tokenizer: Any) -> None:
    model = tiny_model(name)
    options: dict[str, Any] = {"hook": "attn.heads", "values": "float32", "tokenizer": tokenizer}
    alone = extract(model, words, batch_tokens=1, **options)
    padded = extract(model, words, batch_tokens=10_000, **options)
    assert padded.manifest["heads"] == [4] * len(padded.layers)
    for layer, matrix in alone.matrices.items():
        scale = np.abs(matrix).max()
        np.testing.assert_allclose(padded.matrices[layer], matrix, rtol=0, atol=1e-5 * scale)


def test_hook_points_are_four() -> None:
    assert HOOKS == ("mlp.post", "mlp.pre", "attn.heads", "resid.post")
