"""Ablations against models whose weights were changed by hand, on many families; and that they leave nothing behind."""

from __future__ import annotations

import copy
import gc
import json
import sys
from collections.abc import Iterator
from pathlib import Path
from types import MappingProxyType
from typing import Any

import numpy as np
import pytest
import torch
from torch import nn

sys.path.insert(0, str(Path(__file__).parents[1] / "activations"))
from activation_examples import small_activations
from families import FAMILIES, tiny_model

import optprobe as op
from optprobe.activations import NeuronMatrix
from optprobe.activations.model.neurons import run_tokens
from optprobe.causal.ablation import draws_of
from optprobe.errors import InputError

TOKENS = torch.tensor([[5, 9, 400, 31, 77, 2], [8, 8, 1200, 3, 15, 60]])
SOME = ["gpt_neox", "gpt2", "llama", "phi3", "t5", "bart", "bert"]


def outputs(model: Any, ids: torch.Tensor = TOKENS, mask: torch.Tensor | None = None) -> torch.Tensor:
    """The last hidden state, of an encoder with a decoder the decoder's on the same tokens."""
    options = {"decoder_input_ids": ids} if model.config.is_encoder_decoder else {}
    mask = torch.ones_like(ids) if mask is None else mask
    with torch.no_grad():
        return model(input_ids=ids, attention_mask=mask, **options)[0]


def changed(model: Any, edits: dict[int, dict[int, tuple[float, float]]]) -> Any:
    """A copy in which neurons are ``a * value + b``, by the weights of their projections: {layer: {neuron: (a, b)}}."""
    other = copy.deepcopy(model)
    for layer, neurons in edits.items():
        name = op.neuron_map(other).layers[layer].projection
        projection: Any = other.get_submodule(name)
        weight = projection.weight.detach()
        weight = weight.clone() if type(projection).__name__ == "Conv1D" else weight.T.clone()
        bias = (
            torch.zeros(weight.shape[1], dtype=weight.dtype)
            if projection.bias is None
            else projection.bias.detach().clone()
        )
        for j, (a, b) in neurons.items():
            bias += b * weight[j]
            weight[j] *= a
        made = nn.Linear(*weight.shape, dtype=weight.dtype)
        made.weight, made.bias = nn.Parameter(weight.T.contiguous()), nn.Parameter(bias)
        other.set_submodule(name, made)
    return other


def hooks(model: Any) -> int:
    return sum(len(m._forward_pre_hooks) + len(m._forward_hooks) for m in model.modules())


def close(one: torch.Tensor, other: torch.Tensor) -> None:
    np.testing.assert_allclose(one, other, atol=1e-5 * float(other.abs().max()), rtol=0)


def reference(model: Any, n_rows: int = 7, seed: int = 0) -> op.Reference:
    rng = np.random.default_rng(seed)
    return op.Reference("drawn", {x.layer: rng.normal(size=(n_rows, x.d_mlp)) for x in op.neuron_map(model).layers})


@pytest.mark.parametrize("family", FAMILIES)
def test_an_ablation_is_what_changed_weights_do(family: str) -> None:
    model = tiny_model(family)
    model = model if family == "xglm" else model.double()  # whose mask does not fit into a float64
    last = len(op.neuron_map(model).layers) - 1
    chosen, before, of = {0: [3, 1], last: [7]}, outputs(model), reference(model)
    with op.ablate(model, chosen):
        zero = outputs(model)
    with op.ablate(model, chosen, "scale", factor=-2.5):
        scaled = outputs(model)
    with op.ablate(model, chosen, "mean", reference=of):
        mean = outputs(model)
    means = {n: of.columns(n, range(8)).astype(np.float64).mean(axis=0) for n in chosen}
    close(zero, outputs(changed(model, {n: dict.fromkeys(js, (0.0, 0.0)) for n, js in chosen.items()})))
    close(scaled, outputs(changed(model, {n: dict.fromkeys(js, (-2.5, 0.0)) for n, js in chosen.items()})))
    close(mean, outputs(changed(model, {n: {j: (0.0, float(means[n][j])) for j in js} for n, js in chosen.items()})))
    assert not torch.equal(zero, before)
    assert torch.equal(outputs(model), before)
    assert hooks(model) == 0


@pytest.mark.parametrize("family", FAMILIES)
def test_a_drawn_value_does_not_depend_on_the_batch(family: str) -> None:
    """Texts of 6 and 3 tokens: together and padded on the right, or alone; and the values are those that were drawn."""
    model, seen = tiny_model(family), []
    place = op.neuron_map(model).layers[0]
    mask = torch.tensor([[1] * 6, [1] * 3 + [0] * 3])
    ids = TOKENS * mask
    of = op.Reference("drawn", {0: np.random.default_rng(0).normal(size=(5, place.d_mlp))})
    with op.ablate(model, {0: [4, 2]}, "resample", reference=of, seed=3):
        module = model.get_submodule(place.projection)
        handle = module.register_forward_pre_hook(lambda _, given: seen.append(given[0][..., [2, 4]].reshape(-1, 2)))
        stack = "decoder" if model.config.is_encoder_decoder and place.stack == "decoder" else place.stack
        with torch.no_grad():
            run_tokens(model, ids, mask, stack)
            run_tokens(model, ids[1:, :3], None, stack)
        handle.remove()
    together, alone = seen
    np.testing.assert_array_equal(together[6:9], alone)
    rows = (draws_of(ids.numpy(), 0, 3) % 5).astype(int)
    np.testing.assert_array_equal(together.reshape(2, 6, 2), of.columns(0, [2, 4])[rows])


def test_draws_are_functions_of_the_text_up_to_a_token_and_even() -> None:
    ids = np.random.default_rng(0).integers(1, 4000, size=(300, 100))
    draws = draws_of(ids, 0, 7)
    np.testing.assert_array_equal(draws_of(np.pad(ids, ((0, 0), (4, 9))), 0, 7)[:, 4:104], draws)
    np.testing.assert_array_equal(draws_of(ids[:, :40], 0, 7), draws[:, :40])
    other = ids.copy()
    other[:, 50] += 1
    now = draws_of(other, 0, 7)
    np.testing.assert_array_equal(now[:, :50], draws[:, :50])
    assert not (now[:, 50:] == draws[:, 50:]).any()
    prefixes = {tuple(text[: n + 1]) for text in ids.tolist() for n in range(100)}
    assert len(np.unique(draws)) == len(prefixes)
    assert not (draws_of(ids, 0, 8) == draws).any()
    counts = np.bincount((draws % np.uint64(10)).astype(int).ravel())
    assert ((counts - 3000) ** 2 / 3000).sum() < 27.9  # chi squared of 9 degrees, 1 in 1,000
    turned = np.array([[1, 2, 3], [2, 1, 3], [3, 3, 3]])
    assert len(np.unique(draws_of(turned, 0, 0))) == 9


@pytest.mark.parametrize("family", SOME)
def test_padding_changes_nothing(family: str) -> None:
    model = tiny_model(family)
    mask = torch.tensor([[1] * 6, [1] * 4 + [0] * 2])
    with op.ablate(model, {0: [1, 2], 1: [5]}, "scale", factor=3.0):
        padded, alone = outputs(model, TOKENS * mask, mask), outputs(model, TOKENS[1:, :4])
    close(padded[1, :4], alone[0])


def test_ablations_inside_each_other_add_up() -> None:
    model = tiny_model("llama")
    before = outputs(model)
    with op.ablate(model, {1: [3]}, "scale", factor=2.0), op.ablate(model, {1: [3, 4], 0: [2]}, "scale", factor=3.0):
        both = outputs(model)
    close(both, outputs(changed(model, {0: {2: (3.0, 0.0)}, 1: {3: (6.0, 0.0), 4: (3.0, 0.0)}})))
    outer, inner = op.ablate(model, {1: [3]}), op.ablate(model, {0: [2]})
    outer.__enter__()
    inner.__enter__()
    outer.__exit__(None, None, None)  # in any order
    close(outputs(model), outputs(changed(model, {0: {2: (0.0, 0.0)}})))
    inner.__exit__(None, None, None)
    assert torch.equal(outputs(model), before)
    assert hooks(model) == 0


def test_whatever_ends_it_the_model_is_as_it_was() -> None:
    model = tiny_model("gpt_neox")
    of = reference(model)

    def ended_by(error: type[BaseException]) -> None:
        with op.ablate(model, {0: [1]}, "resample", reference=of):
            assert hooks(model) == 3
            raise error

    for error in (RuntimeError, KeyboardInterrupt):
        with pytest.raises(error):
            ended_by(error)

    def abandoned() -> Iterator[int]:
        with op.ablate(model, {0: [1]}):
            yield 1
            yield 2

    running = abandoned()
    assert next(running) == 1
    assert hooks(model) == 1
    del running
    held = op.ablate(model, {0: [1]})
    held.__enter__()
    del held
    gc.collect()
    assert hooks(model) == 0
    op.ablate(model, {0: [1]})  # made and never entered
    with pytest.raises(InputError), op.ablate(model, {0: [1], 9: [1]}):
        pass
    assert hooks(model) == 0


def test_gradients_pass_by_an_ablated_neuron() -> None:
    model = tiny_model("gpt2")
    with op.ablate(model, {2: [5]}):
        model(input_ids=TOKENS)[0].square().sum().backward()
    projection = model.get_submodule(op.neuron_map(model).layers[2].projection)
    assert not projection.weight.grad[5].any()
    assert projection.weight.grad[4].any()


@pytest.mark.parametrize("wrap", [nn.DataParallel, lambda m: pytest.importorskip("accelerate").cpu_offload(m)])
def test_wrapped_models_are_ablated(wrap: Any) -> None:
    model = tiny_model("gpt_neox")
    expected = outputs(changed(model, {1: {2: (0.0, 0.0)}}))
    given = wrap(model)
    with op.ablate(given, {1: [2]}), torch.no_grad():
        close(given(input_ids=TOKENS)[0], expected)


@pytest.mark.parametrize("how", ["around", "in place", "a part"])
def test_a_compiled_model_is_refused(how: str) -> None:
    """It would run as if nothing were ablated."""
    model: Any = tiny_model("gpt_neox")
    given = torch.compile(model, backend="eager") if how == "around" else model
    if how != "around":
        (model if how == "in place" else model.layers[1]).compile(backend="eager")
    with pytest.raises(InputError, match="GPTNeoXModel is compiled, and compiled code"), op.ablate(given, {0: [1]}):
        pass


def test_no_value_is_drawn_for_tokens_without_ids() -> None:
    model = tiny_model("gpt_neox")
    with op.ablate(model, {0: [1]}, "resample", reference=reference(model)), torch.no_grad():
        with pytest.raises(InputError, match="no ids of as many tokens went before"):
            model(inputs_embeds=torch.randn(2, 3, 32))
        model(input_ids=TOKENS)
        with pytest.raises(InputError, match="no ids of as many tokens went before"):
            model(inputs_embeds=torch.randn(1, 3, 32))
        with pytest.raises(InputError, match="no ids of as many tokens went before"):
            model(inputs_embeds=torch.randn(*TOKENS.shape, 32))  # of the shape of the call before


WRONG: dict[str, tuple[Any, dict[str, Any], str]] = {
    "no layer": ({3: [1]}, {}, "the model has no layer 3: its layers are 0 to 2"),
    "no neuron": ({0: [48]}, {}, "there is no neuron 48 in layer 0: it has 48"),
    "negative": ({0: [-1]}, {}, "an ablation names neuron -1 of layer 0"),
    "negative layer": ({-1: [1]}, {}, "names neuron 1 of layer -1"),
    "twice": ({0: [1, 2, 1]}, {}, "names neuron 1 of layer 0 twice"),
    "empty layer": ({0: []}, {}, "names no neuron of layer 0"),
    "empty": ({}, {}, "without neurons changes nothing"),
    "kind": ({0: [1]}, {"how": "zeros"}, "is one of zero, mean, resample, scale, not 'zeros'"),
    "nan": ({0: [1]}, {"how": "scale", "factor": float("nan")}, "the factor is nan: give a finite number"),
    "one": ({0: [1]}, {"how": "scale", "factor": 1.0}, "other than 1, which changes nothing"),
    "no factor": ({0: [1]}, {"how": "scale"}, "'scale' needs a factor"),
    "factor": ({0: [1]}, {"factor": 2.0}, "'zero' takes no factor, which would have no effect"),
    "seed": ({0: [1]}, {"how": "scale", "factor": 2.0, "seed": 0}, "'scale' takes no seed"),
    "no reference": ({0: [1]}, {"how": "mean"}, "'mean' needs a reference"),
    "reference": ({0: [1]}, {"reference": op.Reference("x", {0: np.zeros(48)})}, "'zero' takes no reference"),
    "seed below": (
        {0: [1]},
        {"how": "resample", "reference": op.Reference("x", {0: np.zeros(48)}), "seed": -1},
        "the seed is -1",
    ),
    "both": (op.Ablation({0: [1]}), {"how": "zero"}, "says how already"),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_refused(case: str) -> None:
    neurons, options, said = WRONG[case]
    model = tiny_model("gpt_neox")
    with pytest.raises(InputError, match=said), op.ablate(model, neurons, **options):
        pass
    assert hooks(model) == 0


def test_references_that_are_refused() -> None:
    acts = small_activations()
    with pytest.raises(InputError, match="has no values of layer 0: it has 1, 4"):
        op.Ablation({0: [1]}, "mean", op.Reference("store", acts))
    with pytest.raises(InputError, match="has no neuron 6 in layer 1, only 6"):
        op.Ablation({1: [6]}, "mean", op.Reference("store", acts))
    with pytest.raises(InputError, match="has no row in layer 1"):
        op.Ablation({1: [5]}, "mean", op.Reference("store", acts, acts.labels["rare"] > 1))
    with pytest.raises(InputError, match="names a row that is not there: there are 40"):
        op.Ablation({1: [5]}, "mean", op.Reference("store", acts, [40]))
    with pytest.raises(InputError, match="the mask of the reference 'store' has 39 entries, and not one a row"):
        op.Reference("store", acts, np.ones(39, dtype=bool))
    for odd in ([0.5], ["x"], 3):
        with pytest.raises(InputError, match="are neither numbers of rows nor a mask"):
            op.Reference("store", acts, odd)
    with pytest.raises(InputError, match="has the value nan for neuron 2 of layer 0"):
        op.Ablation({0: [1, 2]}, "mean", op.Reference("bad", {0: [0.0, 1.0, np.nan]}))
    with pytest.raises(InputError, match="different numbers of rows"):
        op.Ablation({0: [0], 1: [0]}, "resample", op.Reference("bad", {0: [0.0], 1: [[0.0], [1.0]]}))
    with pytest.raises(InputError, match="a reference has a name"):
        op.Reference("", {})
    with pytest.raises(InputError, match="give numbers, a row each"):
        op.Reference("text", {0: ["a"]})
    object.__setattr__(acts, "manifest", MappingProxyType({**acts.manifest, "hook": "resid.post"}))
    with pytest.raises(InputError, match=r"are neurons \(mlp.post\), not resid.post"):
        op.Reference("store", acts)


def test_what_is_recorded() -> None:
    """JSON values and a digest, the same for the same description however it is written, and another for another."""
    acts = small_activations()
    even = acts.labels["even"] > 0
    first = op.Ablation({4: [8, 0], 1: [3]}, "mean", op.Reference("even rows", acts, even))
    values = {n: acts.matrices[n].columns(range(acts.matrices[n].shape[1]))[even] for n in (1, 4)}
    same = op.Ablation({1: (3,), 4: np.array([0, 8])}, "mean", op.Reference("even rows", values))
    by_matrix = op.Ablation(
        {1: [3], 4: [0, 8]}, "mean", op.Reference("even rows", {n: NeuronMatrix.of(v) for n, v in values.items()})
    )
    assert json.loads(json.dumps(first.record())) == same.record() == by_matrix.record()
    assert first == same
    assert len({first, same, by_matrix}) == 1
    assert first.record()["neurons"] == {"1": [3], "4": [0, 8]}
    assert first.record()["reference"]["name"] == "even rows"
    np.testing.assert_allclose(first.values[4][0], values[4][:, [0, 8]].astype(np.float64).mean(axis=0), rtol=1e-6)
    others = [
        op.Ablation({1: [3]}),
        op.Ablation({1: [4]}),
        op.Ablation({1: [3]}, "scale", factor=0.5),
        op.Ablation({1: [3]}, "scale", factor=0.25),
        op.Ablation({1: [3]}, "resample", op.Reference("even rows", acts, even)),
        op.Ablation({1: [3]}, "resample", op.Reference("even rows", acts, even), seed=1),
        op.Ablation({1: [3]}, "resample", op.Reference("all rows", acts)),
        op.Ablation({1: [3]}, "mean", op.Reference("all rows", acts)),
        first,
    ]
    assert len({x.record()["digest"] for x in others}) == len(others)
    assert str(first) == "mean 1:3 4:0,8"
