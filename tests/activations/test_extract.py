"""Extraction against hand computations, its invariances, and what it refuses."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from activation_examples import TEXTS, tiny_model, words_dataset
from scipy.special import erf

from optprobe.activations import HOOKS, Activations, ExtractionProgress, extract, load_model, prepare
from optprobe.activations.store.shards import SHARD_ROWS
from optprobe.errors import InputError
from optprobe.features import FeatureDataset, align_rows

FAMILIES = ("gpt_neox", "gpt2", "llama", "llama_square", "opt", "bert")


def gelu(x: np.ndarray) -> np.ndarray:
    return x * (1 + erf(x / np.sqrt(2))) / 2


def gelu_new(x: np.ndarray) -> np.ndarray:
    return x * (1 + np.tanh(np.sqrt(2 / np.pi) * (x + 0.044715 * x**3))) / 2


def affine(module: Any, x: np.ndarray) -> np.ndarray:
    bias = 0 if module.bias is None else module.bias.detach().double().numpy()
    return x @ module.weight.detach().double().numpy().T + bias


HAND: dict[str, tuple[Callable[[Any], Any], Callable[[Any, np.ndarray], np.ndarray]]] = {
    "gpt_neox": (lambda m: m.layers[1].mlp, lambda mlp, x: gelu(affine(mlp.dense_h_to_4h, x))),
    "gpt2": (
        lambda m: m.h[1].mlp,
        lambda mlp, x: gelu_new(
            x @ mlp.c_fc.weight.detach().double().numpy() + mlp.c_fc.bias.detach().double().numpy()
        ),
    ),
    "llama": (
        lambda m: m.layers[1].mlp,
        lambda mlp, x: (g := affine(mlp.gate_proj, x)) / (1 + np.exp(-g)) * affine(mlp.up_proj, x),
    ),
    "opt": (lambda m: m.decoder.layers[1].fc1, lambda fc1, x: np.maximum(affine(fc1, x), 0)),
    "bert": (lambda m: m.encoder.layer[1].intermediate, lambda up, x: gelu(affine(up.dense, x))),
}
HAND["llama_square"] = HAND["llama"]


@pytest.mark.parametrize("family", FAMILIES)
def test_activations_equal_a_hand_computation_from_the_block_s_weights(
    family: str, tokenizer: Any, words: FeatureDataset
) -> None:
    model = tiny_model(family)
    locate, act = HAND[family]
    inputs: list[torch.Tensor] = []
    aligned = align_rows(words, tokenizer)
    expected = np.empty((words.n_rows, 0))
    handle = locate(model).register_forward_pre_hook(lambda _, args: inputs.append(args[0].detach()))
    with torch.no_grad():
        for ids in aligned.input_ids:
            model(torch.from_numpy(ids)[None])
    handle.remove()
    neurons = [act(locate(model), x.double().numpy().reshape(-1, x.shape[-1])) for x in inputs]
    expected = np.stack([neurons[t][position] for t, position in zip(words.text, aligned.token)])
    found = extract(model, words, layers=[1], tokenizer=tokenizer, batch_tokens=40, values="float32")
    assert found.matrices[1].dtype == np.float32
    np.testing.assert_allclose(np.asarray(found.matrices[1]), expected, atol=2e-5 * np.abs(expected).max())


@pytest.mark.parametrize("family", FAMILIES)
def test_neither_batch_size_nor_padding_changes_the_values(family: str, tokenizer: Any, words: FeatureDataset) -> None:
    model = tiny_model(family)
    alone, together = (
        extract(model, words, tokenizer=tokenizer, batch_tokens=n, values="float32") for n in (1, 10_000)
    )
    for layer in alone.layers:
        one, other = np.asarray(alone.matrices[layer]), np.asarray(together.matrices[layer])
        np.testing.assert_allclose(other, one, atol=2e-5 * np.abs(one).max())


@pytest.mark.parametrize("family", FAMILIES)
def test_blocks_after_the_last_probed_layer_do_not_run_and_the_model_is_left_as_it_was(
    family: str, tokenizer: Any, words: FeatureDataset
) -> None:
    model = tiny_model(family)
    model.train()
    blocks = next(m for m in model.modules() if isinstance(m, torch.nn.ModuleList) and len(m) == 3)
    blocks[1].eval()
    modes = [m.training for m in model.modules()]
    weights = {name: value.clone() for name, value in model.state_dict().items()}
    ran: list[int] = []
    handles = [b.register_forward_pre_hook(lambda *_, i=i: ran.append(i)) for i, b in enumerate(blocks)]
    extract(model, words, layers=[1, 0], tokenizer=tokenizer, batch_tokens=1)
    for handle in handles:
        handle.remove()
    n_traced = 1 if family in ("opt", "llama_square") else 0
    assert ran.count(0) == ran.count(1) == len(TEXTS) + n_traced
    assert ran.count(2) == n_traced
    assert [m.training for m in model.modules()] == modes
    assert all(torch.equal(value, weights[name]) for name, value in model.state_dict().items())
    assert not any(m._forward_pre_hooks or m._forward_hooks for m in model.modules())
    assert all(p.grad is None and p.requires_grad for p in model.parameters())


def test_an_encoder_is_probed_without_its_decoder(tokenizer: Any, words: FeatureDataset) -> None:
    model = tiny_model("bart")
    model.decoder.forward = None
    found = extract(model, words, tokenizer=tokenizer)
    assert found.layers == (0, 1)
    with pytest.raises(InputError, match="layers 2 to 4 are a decoder"):
        extract(model, words, layers=[3], tokenizer=tokenizer)


def test_rows_beyond_the_context_are_dropped_and_counted(tokenizer: Any) -> None:
    model = tiny_model("gpt2")
    model.config.n_positions = 12
    words = words_dataset()
    found = extract(model, words, tokenizer=tokenizer)
    aligned = align_rows(words, tokenizer, 12)
    assert 0 < found.manifest["dropped_rows"] == aligned.n_dropped
    assert found.n_rows == found.manifest["n_rows"] == words.n_rows - aligned.n_dropped
    np.testing.assert_array_equal(found.token, aligned.token)


def test_the_first_token_can_be_taken_instead_of_the_last(tokenizer: Any, words: FeatureDataset) -> None:
    model = tiny_model("gpt_neox")
    last = extract(model, words, layers=[0], tokenizer=tokenizer)
    first = extract(model, words, layers=[0], tokenizer=tokenizer, token="first")
    assert np.all(first.token <= last.token)
    same = first.token == last.token
    assert 0 < same.sum() < len(same)
    np.testing.assert_array_equal(np.asarray(first.matrices[0])[same], np.asarray(last.matrices[0])[same])


def test_every_token_of_a_word_can_be_a_row(tmp_path: Path, tokenizer: Any, words: FeatureDataset) -> None:
    extract(tiny_model("gpt_neox"), words, [0], tmp_path / "acts", tokenizer=tokenizer, token="every")
    found, aligned = Activations.open(tmp_path / "acts"), align_rows(words, tokenizer, which="every")
    assert found.n_rows > words.n_rows
    np.testing.assert_array_equal(found.token, aligned.token)
    np.testing.assert_array_equal(found.labels["capital"], words.labels["capital"][aligned.row])


@pytest.mark.parametrize(("aggregation", "of"), [("mean", np.mean), ("max", np.max)])
@pytest.mark.parametrize("hook", HOOKS)
def test_a_span_is_the_mean_or_the_largest_of_its_tokens(
    aggregation: Any, of: Callable[..., np.ndarray], hook: str, tokenizer: Any
) -> None:
    model, words = tiny_model("gpt_neox"), words_dataset(TEXTS[:3])
    spans = replace(words, start=np.zeros_like(words.start), aggregation=aggregation)
    aligned = align_rows(spans, tokenizer)
    found = extract(model, spans, [1], tokenizer=tokenizer, hook=hook, values="float32", batch_tokens=50)
    every = extract(model, words, [1], tokenizer=tokenizer, token="every", hook=hook, values="float32")
    assert (aligned.first < aligned.last).any()
    token = {(t, k): np.asarray(every.matrices[1])[i] for i, (t, k) in enumerate(zip(every.text, every.token))}
    for row, value in enumerate(np.asarray(found.matrices[1])):
        part = [token[found.text[row], k] for k in range(aligned.first[row], aligned.last[row] + 1)]
        np.testing.assert_allclose(value, of(part, axis=0), rtol=1e-5, atol=1e-5)


def test_progress_counts_tokens_to_the_end(tokenizer: Any) -> None:
    events: list[ExtractionProgress] = []
    words = words_dataset(TEXTS * 40)
    extract(tiny_model("gpt_neox"), words, tokenizer=tokenizer, batch_tokens=16, progress=events.append)
    assert len(events) > 3
    assert [e.share for e in events] == sorted(e.share for e in events)
    assert events[-1].share == 1
    assert events[-1].seconds_left == 0
    assert events[0].seconds_left > 0
    assert events[0].tokens_per_second > 0


def test_a_folder_holds_what_memory_holds(tmp_path: Path, tokenizer: Any, words: FeatureDataset) -> None:
    model = tiny_model("llama")
    kept = extract(model, words, tokenizer=tokenizer)
    stored = extract(model, words, out=tmp_path / "store", tokenizer=tokenizer)
    for layer in kept.layers:
        assert not any(part.flags.owndata or part.flags.writeable for part in stored.matrices[layer].parts)
        np.testing.assert_array_equal(stored.matrices[layer], kept.matrices[layer])
    assert stored.manifest["model_class"] == "LlamaModel"
    assert stored.manifest["hook"] == "mlp.post"
    assert stored.manifest["dataset"]["digest"] == words.digest


def test_values_are_kept_in_float16_and_layers_beyond_it_in_float32(
    tmp_path: Path, tokenizer: Any, words: FeatureDataset
) -> None:
    model = tiny_model("gpt_neox")
    with torch.no_grad():
        model.layers[1].mlp.dense_h_to_4h.bias[5] = 70_000
        model.layers[1].mlp.dense_4h_to_h.weight[:, 5] = 0
    exact = extract(model, words, tokenizer=tokenizer, values="float32")
    for found in (
        extract(model, words, tokenizer=tokenizer),
        extract(model, words, out=tmp_path / "s", tokenizer=tokenizer),
    ):
        assert found.manifest["values"] == ["float16", "float32", "float16"]
        np.testing.assert_array_equal(found.matrices[1], exact.matrices[1])
        for layer in (0, 2):
            np.testing.assert_array_equal(found.matrices[layer], np.asarray(exact.matrices[layer]).astype(np.float16))


def test_a_layer_that_leaves_float16_late_is_kept_in_float32_from_its_first_row(tmp_path: Path, tokenizer: Any) -> None:
    words = words_dataset((*TEXTS * 90, "Zyx zyx!"))
    *others, last = (set(tokenizer(text)["input_ids"]) for text in words.texts)
    marks = torch.tensor(sorted(last - set().union(*others)))
    model = tiny_model("gpt_neox")
    marked: list[bool] = []
    model.register_forward_pre_hook(
        lambda _, args, given: marked.append(bool(torch.isin(given["input_ids"], marks).any())), with_kwargs=True
    )
    model.layers[1].mlp.act.register_forward_hook(lambda _, args, value: value * 1e7 if marked[-1] else value)
    options = {"layers": [0, 1], "tokenizer": tokenizer, "batch_tokens": 128}
    exact = extract(model, words, **options, values="float32")  # type: ignore[arg-type]
    assert words.n_rows > 2 * SHARD_ROWS
    assert len(marks)
    for found in (extract(model, words, **options), extract(model, words, out=tmp_path / "s", **options)):  # type: ignore[arg-type]
        assert found.manifest["values"] == ["float16", "float32"]
        np.testing.assert_array_equal(found.matrices[1], exact.matrices[1])
        np.testing.assert_array_equal(found.matrices[0], np.asarray(exact.matrices[0]).astype(np.float16))


def test_a_folder_on_disk_is_loaded_with_its_head_left_out(
    tmp_path: Path, tokenizer: Any, words: FeatureDataset
) -> None:
    model = tiny_model("gpt_neox")
    model.save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    named = extract(tmp_path / "model", words, layers=[2], device="cpu")
    loaded = extract(model, words, layers=[2], tokenizer=tokenizer)
    np.testing.assert_array_equal(named.matrices[2], loaded.matrices[2])
    assert named.manifest["model"] == str(tmp_path / "model")
    half = extract(tmp_path / "model", words, layers=[2], device="cpu", dtype="bfloat16")
    assert half.manifest["dtype"] == "bfloat16"
    assert half.matrices[2].dtype == np.float16


def test_blocks_after_the_last_probed_one_take_no_memory(words: FeatureDataset) -> None:
    short, whole = (prepare("bundled", words, layers, device="cpu") for layers in ([0], None))
    assert whole.plan.n_rows == short.plan.n_rows
    sizes = [sum(p.numel() for p in extraction.model.parameters()) for extraction in (short, whole)]
    assert sizes[0] < 0.7 * sizes[1]
    assert short.manifest["weights"] == whole.manifest["weights"]
    np.testing.assert_array_equal(short.to_memory().matrices[0], whole.to_memory().matrices[0])


def test_a_model_is_split_among_devices_by_accelerate(words: FeatureDataset, monkeypatch: pytest.MonkeyPatch) -> None:
    pytest.importorskip("accelerate")
    split, alone = (extract("bundled", words, [1], device=device) for device in ("split", "cpu"))
    if not torch.cuda.is_available():
        np.testing.assert_array_equal(split.matrices[1], alone.matrices[1])
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(InputError, match="split among GPUs by accelerate, which is not installed: pip install acc"):
        extract("bundled", words, [1], device="split")


def test_the_bundled_model_gives_labelled_neurons(words: FeatureDataset) -> None:
    found = extract("bundled", words, layers=[0])
    values, labels, group = found.select("capital", 0)
    assert values.shape == (words.n_rows, 768)
    assert set(labels) == {-1, 1}
    np.testing.assert_array_equal(group, words.group)
    assert str(found).startswith(f"Activations of bundled: {words.n_rows} rows of 'words', layers 0, 1 features")


def test_activations_that_are_not_finite_are_reported(tokenizer: Any, words: FeatureDataset) -> None:
    model = tiny_model("gpt_neox")
    with torch.no_grad():
        model.layers[1].mlp.dense_h_to_4h.bias[17] = torch.nan
    with pytest.raises(InputError, match=r"neuron 17 of layer 1 is nan at token \d+ of text \d"):
        extract(model, words, tokenizer=tokenizer)


@pytest.mark.parametrize(
    ("options", "reason"),
    [
        ({"layers": [3]}, "no layer 3: its layers are 0 to 2"),
        ({"layers": [-1]}, "no layer -1"),
        ({"layers": []}, "no layer in an empty list"),
        ({"context": 1_000_000}, "the context is 1000000 tokens, and the model reads 1 to 512"),
        ({"batch_tokens": 0}, "number of tokens from 1, not 0"),
        ({"tokenizer": None}, "comes without its tokenizer"),
        ({"device": "cuda"}, "the loaded model is on cpu, not on 'cuda'"),
        ({"token": "middle"}, "its 'first' or 'every' one, not 'middle'"),
    ],
)
def test_what_cannot_be_used_is_refused(
    options: dict[str, Any], reason: str, tokenizer: Any, words: FeatureDataset
) -> None:
    with pytest.raises(InputError, match=reason):
        extract(tiny_model("gpt_neox"), words, **{"tokenizer": tokenizer, **options})


def test_a_tokenizer_of_another_model_is_refused(tokenizer: Any, words: FeatureDataset) -> None:
    model = tiny_model("gpt_neox")
    model.set_input_embeddings(torch.nn.Embedding(100, 32))
    with pytest.raises(InputError, match=r"gives the token id \d+, and GPTNeoXModel knows ids 0 to 99"):
        extract(model, words, tokenizer=tokenizer)


def test_an_mlp_run_in_pieces_is_refused(tokenizer: Any) -> None:
    model = tiny_model("bert")
    for layer in model.encoder.layer:
        layer.chunk_size_feed_forward = 1
    with pytest.raises(InputError, match="does not run once on all tokens"):
        extract(model, words_dataset(TEXTS[:1]), tokenizer=tokenizer)


def test_a_model_that_runs_its_tokens_before_its_texts_is_refused(tokenizer: Any, words: FeatureDataset) -> None:
    from transformers import XLNetConfig, XLNetModel

    torch.manual_seed(0)
    model = XLNetModel(XLNetConfig(vocab_size=4096, d_model=32, n_layer=2, n_head=4, d_inner=48, pad_token_id=0)).eval()
    with pytest.raises(InputError, match=r"does not run once on all tokens of a batch, text by text"):
        extract(model, words, tokenizer=tokenizer)


def test_models_that_cannot_be_loaded_are_refused_in_one_sentence(tmp_path: Path, tokenizer: Any) -> None:
    with pytest.raises(InputError, match="there is no model folder '/no/such/model'"):
        load_model("/no/such/model")
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match=r"holds no model: it has no config\.json"):
        load_model(tmp_path / "empty")
    with pytest.raises(InputError, match="is a folder, which has no revision 'v2'"):
        load_model("bundled", revision="v2")
    with pytest.raises(InputError, match="one of float32, bfloat16, float16, not 'int8'"):
        load_model("bundled", dtype="int8")
    with pytest.raises(InputError, match="the device 'abacus' cannot be used here"):
        load_model("bundled", device="abacus")


def test_weights_that_are_missing_or_truncated_are_refused(tmp_path: Path) -> None:
    model = tiny_model("gpt_neox")
    folder = tmp_path / "model"
    model.save_pretrained(folder)
    file = folder / "model.safetensors"
    whole = file.read_bytes()
    file.write_bytes(whole[: len(whole) // 2])
    with pytest.raises(InputError, match=r"the model of .* cannot be loaded"):
        load_model(folder)
    state = {name: value for name, value in model.state_dict().items() if "layers.1.mlp" not in name}
    model.save_pretrained(folder, state_dict=state)
    with pytest.raises(InputError, match=r"has no weights for layers\.1\.mlp"):
        load_model(folder)


def test_rows_of_one_text_and_token_may_repeat(tokenizer: Any, words: FeatureDataset) -> None:
    twice = np.concatenate([np.arange(words.n_rows), np.arange(words.n_rows)[::-1]])
    doubled = replace(
        words,
        text=words.text[twice],
        start=words.start[twice],
        end=words.end[twice],
        group=words.group[twice],
        labels={"capital": words.labels["capital"][twice]},
    )
    model = tiny_model("gpt_neox")
    once, found = (extract(model, data, layers=[1], tokenizer=tokenizer) for data in (words, doubled))
    np.testing.assert_array_equal(found.matrices[1], np.asarray(once.matrices[1])[twice[found.row]])


def test_importing_the_packages_loads_neither_torch_nor_transformers() -> None:
    code = (
        "import sys, optprobe.activations, optprobe.features, optprobe.bundled; "
        "assert not {'torch', 'transformers', 'safetensors'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)
    assert Activations.__module__ == "optprobe.activations.store.activations"
