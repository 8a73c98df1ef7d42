"""An extraction that is killed, damaged, divided or squeezed gives the bytes of one that ran through."""

from __future__ import annotations

import json
import random
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from activation_examples import TEXTS, tiny_model, words_dataset
from hypothesis import given
from hypothesis import strategies as st

from optprobe.activations import Activations, extract, join, prepare
from optprobe.activations.extraction.plan import ALIKE, FILLED, Plan
from optprobe.errors import InputError
from optprobe.features import FeatureDataset

KILLS = 20
CHILD = """
import sys
sys.path.insert(0, {folder!r})
from activation_examples import TEXTS, tiny_model, words_dataset
from optprobe.activations import extract, load_tokenizer
data, tokenizer = words_dataset(TEXTS * 300), load_tokenizer("bundled")
print("ready", flush=True)
extract(tiny_model("gpt_neox"), data, out={out!r}, tokenizer=tokenizer, batch_tokens=64)
print("done", flush=True)
"""


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def extract_to(folder: Path, model: Any, data: FeatureDataset, layers: list[int], **settings: Any) -> Path:
    extract(model, data, layers, out=folder, **settings)
    return folder


@pytest.fixture(scope="module")
def many() -> FeatureDataset:
    """Some fifteen thousand words: eight shards a layer."""
    return words_dataset(TEXTS * 300)


@pytest.fixture(scope="module")
def whole(many: FeatureDataset, tokenizer: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The store of an extraction that ran through."""
    folder = tmp_path_factory.mktemp("whole") / "store"
    extract(tiny_model("gpt_neox"), many, out=folder, tokenizer=tokenizer, batch_tokens=64)
    return folder


def test_an_extraction_killed_twenty_times_gives_the_same_bytes(whole: Path, tmp_path: Path) -> None:
    out = tmp_path / "store"
    code = CHILD.format(folder=str(Path(__file__).parent), out=str(out))
    draw = random.Random(0)
    killed = 0
    while killed < KILLS:
        child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        time.sleep(draw.uniform(0.02, 0.7))
        child.send_signal(signal.SIGKILL)
        rest = child.stdout.read()
        child.wait()
        child.stdout.close()
        killed += "done" not in rest
        if "done" in rest:  # too quick: take away what it did
            for path in draw.sample(sorted(out.rglob("layer_*/*")), 20):
                path.unlink()
    subprocess.run([sys.executable, "-c", code], check=True, capture_output=True)
    assert content(out) == content(whole)


def test_flipped_bytes_are_named_and_run_again(
    whole: Path, many: FeatureDataset, tokenizer: Any, tmp_path: Path
) -> None:
    out = tmp_path / "store"
    Activations.open(whole).save(out)
    damaged = ["layer_0/000002.safetensors", "layer_2/000007.safetensors"]
    for name in damaged:
        altered = bytearray((out / name).read_bytes())
        altered[len(altered) // 2] ^= 4
        (out / name).write_bytes(altered)
        with pytest.raises(Exception, match=f"{name} was altered"):
            Activations.open(out).check([int(name[6])])
    events: list[int] = []
    extraction = prepare(
        tiny_model("gpt_neox"),
        many,
        tokenizer=tokenizer,
        batch_tokens=64,
        progress=lambda moment: events.append(moment.total),
    )
    extraction.to_store(out).check()
    assert content(out) == content(whole)
    assert events[0] < 0.4 * sum(len(ids) for ids in extraction.plan.input_ids)
    assert extraction.to_store(out).n_rows == many.n_rows
    assert len(set(events)) == 1


@pytest.mark.parametrize("of", [1, 3])
def test_parts_and_layers_apart_give_the_same_bits(
    whole: Path, many: FeatureDataset, tokenizer: Any, tmp_path: Path, of: int
) -> None:
    extraction = prepare(tiny_model("gpt_neox"), many, tokenizer=tokenizer, batch_tokens=64)
    for number in range(1, of + 1):
        extraction.to_part(tmp_path / str(number), number, of)
    join([tmp_path / str(number) for number in range(1, of + 1)], tmp_path / "joined")
    assert content(tmp_path / "joined") == content(whole)
    alone = extract(tiny_model("gpt_neox"), many, [1], tokenizer=tokenizer, batch_tokens=64)
    np.testing.assert_array_equal(alone.matrices[1], Activations.open(whole).matrices[1])
    with pytest.raises(InputError, match="there is no part 0 of 2"):
        extraction.to_part(tmp_path / "none", 0, 2)


def test_ctrl_c_keeps_whole_shards_and_the_same_call_goes_on(
    whole: Path, many: FeatureDataset, tokenizer: Any, tmp_path: Path
) -> None:
    model, out = tiny_model("gpt_neox"), tmp_path / "store"

    def interrupt(moment: Any) -> None:
        if moment.share > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract(model, many, out=out, tokenizer=tokenizer, batch_tokens=64, progress=interrupt)
    assert not any(m._forward_pre_hooks for m in model.modules())
    there = set(content(out))
    assert "manifest.json" in there < set(content(whole))
    with pytest.raises(InputError, match="is not finished"):
        Activations.open(out)
    extract(model, many, out=out, tokenizer=tokenizer, batch_tokens=64)
    assert content(out) == content(whole)


def test_layers_are_added_to_a_finished_store(
    whole: Path, many: FeatureDataset, tokenizer: Any, tmp_path: Path
) -> None:
    """It stays open to its readers meanwhile, and ends as if all layers had been asked for at once."""
    out, model = tmp_path / "store", tiny_model("gpt_neox")
    settings = {"tokenizer": tokenizer, "batch_tokens": 64}
    before = Activations.open(extract_to(out, model, many, [1], **settings))

    def interrupt(moment: Any) -> None:
        if moment.share > 0.5:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        extract(model, many, [0, 1, 2], out=out, progress=interrupt, **settings)
    assert Activations.open(out, check_digests=True).manifest == before.manifest
    with pytest.raises(InputError, match=r"layers are \[1\] there; ask for layers 0 1 2 to add to them"):
        extract(model, many, [0, 2], out=out, **settings)
    with torch.no_grad():
        model.layers[0].mlp.dense_h_to_4h.bias[0] += 1
    with pytest.raises(InputError, match="an extraction of something else: weights is"):
        extract(model, many, [0, 1, 2], out=out, **settings)
    extract(tiny_model("gpt_neox"), many, [0, 1, 2], out=out, **settings)
    assert content(out) == content(whole)
    with pytest.raises(InputError, match=r"layers are \[0, 1, 2\] there; ask for layers 0 1 2 to add"):
        extract(tiny_model("gpt_neox"), many, [1], out=out, **settings)


def test_an_added_layer_that_float16_rounds_too_coarsely_is_kept_in_float32(
    words: FeatureDataset, tokenizer: Any, tmp_path: Path
) -> None:
    model, out = tiny_model("gpt_neox"), tmp_path / "store"
    with torch.no_grad():
        model.layers[2].mlp.dense_h_to_4h.bias[0] += 3e4
    extract(model, words, [1], out=out, tokenizer=tokenizer)
    added = extract(model, words, [1, 2], out=out, tokenizer=tokenizer)
    assert added.manifest["values"] == ["float16", "float32"]
    assert list(added.manifest["promoted"]) == ["2"]
    extract(model, words, [1, 2], out=tmp_path / "at once", tokenizer=tokenizer)
    assert content(out) == content(tmp_path / "at once")


def test_another_model_does_not_go_on_with_a_store(
    whole: Path, many: FeatureDataset, tokenizer: Any, tmp_path: Path
) -> None:
    model = tiny_model("gpt_neox")
    with torch.no_grad():
        model.layers[0].mlp.dense_h_to_4h.bias[0] += 1
    before = content(whole)
    with pytest.raises(InputError, match="an extraction of something else: weights is"):
        extract(model, many, out=whole, tokenizer=tokenizer, batch_tokens=64)
    with pytest.raises(InputError, match="an extraction of something else: batch_tokens is 64 there and 32 here"):
        extract(tiny_model("gpt_neox"), many, out=whole, tokenizer=tokenizer, batch_tokens=32)
    assert content(whole) == before


def test_a_batch_that_does_not_fit_is_halved(tokenizer: Any, words: FeatureDataset) -> None:
    """A device that holds one or two texts of these at a time."""
    model = tiny_model("gpt_neox")
    ran: list[int] = []

    def small(_: Any, args: Any, given: dict[str, Any]) -> None:
        if len(given["input_ids"]) > 2:
            raise torch.OutOfMemoryError("out of memory")
        ran.append(len(given["input_ids"]))

    exact = extract(model, words, tokenizer=tokenizer, values="float32", batch_tokens=10_000)
    model.register_forward_pre_hook(small, with_kwargs=True)
    found = extract(model, words, tokenizer=tokenizer, values="float32", batch_tokens=10_000)
    assert sorted(ran) == [1, 2, 2]
    for layer in exact.layers:
        one, other = np.asarray(exact.matrices[layer]), np.asarray(found.matrices[layer])
        np.testing.assert_allclose(other, one, atol=2e-5 * np.abs(one).max())


def test_a_text_that_does_not_fit_is_named(tokenizer: Any, words: FeatureDataset) -> None:
    model = tiny_model("gpt_neox")

    def full(*_: Any) -> None:
        raise torch.OutOfMemoryError("out of memory")

    model.register_forward_pre_hook(full)
    with pytest.raises(InputError, match=r"text \d of \d+ tokens does not fit in the memory"):
        extract(model, words, tokenizer=tokenizer)


@given(st.data())
def test_a_plan_runs_every_text_once_and_every_row_in_order(data: st.DataObject) -> None:
    lengths = data.draw(st.lists(st.integers(1, 40), min_size=1, max_size=60))
    text = np.sort(data.draw(st.lists(st.integers(0, len(lengths) - 1), min_size=1, max_size=300))).astype(np.int32)
    nought = np.zeros(len(text), dtype=np.int32)
    ids = tuple(np.zeros(n, dtype=np.int64) for n in lengths)
    tokens, rows = data.draw(st.integers(1, 100)), data.draw(st.integers(1, 50))
    plan = Plan(np.arange(len(text)), text, nought, nought, ids, tokens, rows)
    at, ran = 0, []
    for chunk in plan.chunks():
        assert chunk.start == at
        at = chunk.stop
        assert chunk.n_tokens == sum(lengths[t] for batch in chunk.batches for t in batch.texts)
        assert sorted(r for batch in chunk.batches for r in batch.rows) == list(range(chunk.start, chunk.stop))
        for batch in chunk.batches:
            ran += list(batch.texts)
            assert set(text[batch.rows]) == set(batch.texts)
            assert len(batch.texts) == 1 or (
                max(lengths[t] for t in batch.texts) * len(batch.texts) <= tokens and len(batch.rows) <= rows
            )
            for place, t in enumerate(batch.texts):
                longest = lengths[batch.texts[0]]
                assert lengths[t] >= ALIKE * longest or place * longest < FILLED * tokens
            if len(batch.texts) > 1:
                halves = batch.halves(text)
                np.testing.assert_array_equal(np.concatenate([h.texts for h in halves]), batch.texts)
                assert all(set(text[h.rows]) == set(h.texts) for h in halves)
    assert at == len(text)
    assert sorted(ran) == sorted(set(text))


def test_the_command_extracts_a_part_and_says_what_to_do(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from optprobe.cli.main import main

    command = ["extract", "bundled", "--dataset", "is_french", "--layers", "0", "--device", "cpu", "--out"]
    for number in (1, 2):
        assert main([*command, str(tmp_path / str(number)), "--shard", f"{number}/2"]) == 0
    assert "part 2 of 2" in capsys.readouterr().out
    assert main(["join", str(tmp_path / "whole"), str(tmp_path / "1"), str(tmp_path / "2")]) == 0
    assert main([*command, str(tmp_path / "plain")]) == 0
    assert content(tmp_path / "whole") == content(tmp_path / "plain")
    assert main([*command, str(tmp_path / "plain"), "--hook", "mlp.pre"]) == 2
    assert "hook is 'mlp.post' there and 'mlp.pre' here" in capsys.readouterr().err
    assert json.loads((tmp_path / "plain" / "manifest.json").read_text())["part"] is None
    with pytest.raises(SystemExit, match="2"):
        main([*command, str(tmp_path / "x"), "--shard", "3/2"])
    assert "the part '3/2' is not of the form I/N" in capsys.readouterr().err
