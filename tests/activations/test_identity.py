"""What decides a value is part of a run's identity: a store never goes on, or joins, across two of them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from activation_examples import TEXTS, tiny_model, words_dataset
from tokenizers import normalizers

from optprobe.activations import Activations, contexts, extract, join, load_tokenizer, prepare
from optprobe.activations.model.provenance import tokenizer_digest, weights_digest
from optprobe.errors import InputError
from optprobe.features import FeatureDataset

ROPE = {"rope_theta": 10000.0, "rope_type": "default", "partial_rotary_factor": 1.0}
CONFIGURED: dict[str, tuple[dict[str, Any], str]] = {
    "hidden_act": ({"hidden_act": "relu"}, r"configuration\.hidden_act is 'gelu' there and 'relu' here"),
    "rope_theta": (
        {"rope_parameters": ROPE | {"rope_theta": 50.0}},
        r"configuration\.rope_parameters\.rope_theta is 10000\S* there and 50\.0 here",
    ),
    "layer_norm_eps": ({"layer_norm_eps": 0.1}, r"configuration\.layer_norm_eps is 1e-05 there and 0\.1 here"),
    "use_parallel_residual": ({"use_parallel_residual": False}, "use_parallel_residual is True there and False here"),
}


def content(folder: Path) -> dict[str, tuple[bytes, int]]:
    files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
    return {str(path.relative_to(folder)): (path.read_bytes(), path.stat().st_mtime_ns) for path in files}


@pytest.fixture
def model_folder(tmp_path: Path, tokenizer: Any) -> Path:
    """A model on the disk, whose configuration can be changed."""
    tiny_model("gpt_neox").save_pretrained(tmp_path / "model")
    tokenizer.save_pretrained(tmp_path / "model")
    config = tmp_path / "model" / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | {"rope_parameters": ROPE}))
    return tmp_path / "model"


@pytest.fixture
def small() -> FeatureDataset:
    """Return the words of two texts."""
    return words_dataset(TEXTS[:2])


@pytest.mark.parametrize("name", CONFIGURED)
def test_a_store_neither_goes_on_nor_joins_under_another_configuration(
    name: str, model_folder: Path, small: FeatureDataset, tmp_path: Path
) -> None:
    change, sentence = CONFIGURED[name]
    finished, begun, parts = tmp_path / "finished", tmp_path / "begun", [tmp_path / "1", tmp_path / "2"]
    first = prepare(model_folder, small, device="cpu")
    first.to_store(finished)
    first.to_part(parts[0], 1, 2)
    shutil.copytree(finished, begun)
    (begun / "layer_1" / "000000.safetensors").unlink()
    manifest = json.loads((begun / "manifest.json").read_text())
    (begun / "manifest.json").write_text(json.dumps({**manifest, "digests": None}))
    config = model_folder / "config.json"
    config.write_text(json.dumps(json.loads(config.read_text()) | change))
    other = prepare(model_folder, small, device="cpu")
    assert other.manifest["weights"] == first.manifest["weights"] or name == "rope_theta"
    changed = other.to_memory()
    assert any(
        not np.array_equal(changed.matrices[layer], Activations.open(finished).matrices[layer]) for layer in (0, 1, 2)
    )
    before = content(finished), content(begun)
    for folder in (finished, begun):
        with pytest.raises(InputError, match=sentence):
            other.to_store(folder)
    assert (content(finished), content(begun)) == before
    other.to_part(parts[1], 2, 2)
    with pytest.raises(InputError, match=f"does not belong to .*{sentence}"):
        join(parts, tmp_path / "joined")
    assert not (tmp_path / "joined").exists()


@contextmanager
def _module(model: Any, _: Any) -> Iterator[None]:
    model.layers[1].mlp.act = torch.nn.ReLU()
    yield


@contextmanager
def _frequencies(model: Any, _: Any) -> Iterator[None]:
    model.rotary_emb.inv_freq.mul_(2)
    yield


@contextmanager
def _attention(model: Any, _: Any) -> Iterator[None]:
    model.set_attn_implementation("eager")
    yield


@contextmanager
def _matmul(_: Any, __: Any) -> Iterator[None]:
    torch.set_float32_matmul_precision("medium")
    yield
    torch.set_float32_matmul_precision("highest")


@contextmanager
def _truncation(_: Any, tokenizer: Any) -> Iterator[None]:
    tokenizer.truncation_side = "left"
    yield


@contextmanager
def _special(_: Any, tokenizer: Any) -> Iterator[None]:
    tokenizer.split_special_tokens = True
    yield


@contextmanager
def _lowercase(_: Any, tokenizer: Any) -> Iterator[None]:
    tokenizer.backend_tokenizer.normalizer = normalizers.Lowercase()
    yield


@pytest.mark.parametrize(
    ("change", "sentence"),
    [
        (_module, "structure is"),
        (_frequencies, "weights is"),
        (_attention, "attention is 'sdpa' there and 'eager' here"),
        (_matmul, "matmul is 'highest' there and 'medium' here"),
        (_truncation, r"tokenizer\.truncation_side is 'right' there and 'left' here"),
        (_special, r"tokenizer\.split_special_tokens is False there and True here"),
        (_lowercase, r"tokenizer\.sha256 is"),
    ],
)
def test_a_finished_store_is_not_touched_by_a_run_of_another_identity(
    change: Callable[[Any, Any], Any], sentence: str, small: FeatureDataset, tmp_path: Path
) -> None:
    model, tokenizer, out = tiny_model("gpt_neox"), load_tokenizer("bundled"), tmp_path / "store"
    extract(model, small, [0, 1], out, tokenizer=tokenizer, context=12)
    before = content(out)
    with change(model, tokenizer), pytest.raises(InputError, match=f"an extraction of something else: {sentence}"):
        extract(model, small, [0, 1], out, tokenizer=tokenizer, context=12)
    assert content(out) == before


def test_a_finished_store_is_left_alone_by_its_own_run(tokenizer: Any, small: FeatureDataset, tmp_path: Path) -> None:
    out = tmp_path / "store"
    extract(tiny_model("gpt_neox"), small, [0], out, tokenizer=tokenizer)
    before = content(out)
    extract(tiny_model("gpt_neox"), small, [0], out, tokenizer=tokenizer)
    assert content(out) == before
    with pytest.raises(InputError, match="values are float16 there and float32 here"):
        extract(tiny_model("gpt_neox"), small, [0], out, tokenizer=tokenizer, values="float32")
    assert content(out) == before


def test_a_damaged_file_of_a_finished_store_is_not_replaced_by_other_values(
    tokenizer: Any, small: FeatureDataset, tmp_path: Path
) -> None:
    """A hook stands for a machine that computes otherwise."""
    model, out = tiny_model("gpt_neox"), tmp_path / "store"
    extract(model, small, [0, 1], out, tokenizer=tokenizer)
    manifest = (out / "manifest.json").read_bytes()
    (out / "layer_1" / "000000.safetensors").write_bytes(b"")
    hook = model.layers[1].mlp.act.register_forward_hook(lambda *given: 1.01 * given[-1])
    with pytest.raises(InputError, match="this machine computes other values than those that the store was finished"):
        extract(model, small, [0, 1], out, tokenizer=tokenizer)
    assert (out / "manifest.json").read_bytes() == manifest
    hook.remove()
    extract(model, small, [0, 1], out, tokenizer=tokenizer)
    Activations.open(out, check_digests=True)
    assert (out / "manifest.json").read_bytes() == manifest


def test_offloaded_weights_count() -> None:
    accelerate = pytest.importorskip("accelerate")
    here, offloaded, other = (tiny_model("gpt_neox") for _ in range(3))
    with torch.no_grad():
        other.layers[2].mlp.dense_h_to_4h.bias[0] += 1
    expected = weights_digest(here)
    for model in (offloaded, other):
        accelerate.cpu_offload(model)
    assert all(p.is_meta for p in offloaded.parameters())
    assert weights_digest(offloaded) == expected != weights_digest(other)
    with pytest.raises(InputError, match="has no values"):
        weights_digest(tiny_model("gpt_neox").to("meta"))


def test_what_a_model_sets_by_length_does_not_change_its_identity() -> None:
    """Frequencies of rotary embeddings that are set anew for long texts."""
    model = tiny_model("gpt_neox")
    model.rotary_emb.rope_type = "dynamic"
    model.rotary_emb.register_buffer("original_inv_freq", model.rotary_emb.inv_freq.clone(), persistent=False)
    kept = weights_digest(model)
    model.rotary_emb.inv_freq = 2 * model.rotary_emb.inv_freq
    assert weights_digest(model) == kept
    model.rotary_emb.original_inv_freq = 2 * model.rotary_emb.original_inv_freq
    assert weights_digest(model) != kept


def test_contexts_ask_for_the_tokenizer_with_its_settings(small: FeatureDataset) -> None:
    tokenizer = load_tokenizer("bundled")
    found = extract(tiny_model("gpt_neox"), small, [0], tokenizer=tokenizer, context=12)
    assert next(contexts(found, [0], small, tokenizer)).row == 0
    tokenizer.truncation_side = "left"
    with pytest.raises(InputError, match="were extracted with another tokenizer"):
        next(contexts(found, [0], small, tokenizer))


def test_a_tokenizer_has_one_digest_however_it_was_used() -> None:
    tokenizer = load_tokenizer("bundled")
    before = tokenizer_digest(tokenizer)
    tokenizer(["one two", "three"], truncation=True, max_length=3)
    assert tokenizer_digest(tokenizer) == before
    tokenizer.add_tokens(["zyzzyva"])
    assert tokenizer_digest(tokenizer) != before
