"""Losses under ablations in one pass, against two passes by hand; and that a run is what it would be undisturbed."""

from __future__ import annotations

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
from numpy.typing import NDArray
from torch import nn
from torch.nn.functional import cross_entropy
from transformers import AutoModelForCausalLM, BertConfig, BertForMaskedLM, BertLMHeadModel, T5ForConditionalGeneration
from transformers.models.auto.configuration_auto import CONFIG_MAPPING

sys.path.insert(0, str(Path(__file__).parents[1] / "activations"))
from activation_examples import TEXTS, words_dataset
from families import FAMILIES

import optprobe as op
from optprobe.activations import load_model, load_tokenizer
from optprobe.causal import Losses
from optprobe.causal.loss import losses
from optprobe.errors import InputError, StoreDamaged
from optprobe.features import FeatureDataset
from optprobe.scoring.bootstrap import GroupBootstrap

DECODERS = list(FAMILIES)[: list(FAMILIES).index("bert")]
SOME = {"one": op.Ablation({1: [3, 7]}), "two": op.Ablation({1: [5], 0: [2]}, "scale", factor=-4.0)}


def headed(family: str) -> Any:
    """A tiny random model with its head, its weights large enough that a neuron matters."""
    known = FAMILIES[family]
    torch.manual_seed(0)
    model = AutoModelForCausalLM.from_config(CONFIG_MAPPING[known.model_type](**known.options, **known.tokens)).eval()
    with torch.no_grad():
        for parameter in model.parameters():
            if parameter.ndim == 2:
                parameter.mul_(3.0)
    return model


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return load_tokenizer("bundled")


@pytest.fixture(scope="module")
def data() -> FeatureDataset:
    return words_dataset()


def by_hand(model: Any, tokenizer: Any, data: FeatureDataset, ablation: op.Ablation | None) -> NDArray[np.float32]:
    """The losses of all texts, each alone, whole and unpadded, under an ablation by hooks of the test's own."""
    found = []
    for text in data.texts:
        ids = torch.tensor(tokenizer(text).input_ids)[None]
        handles = []
        for layer, js in ablation.neurons.items() if ablation else ():
            name = op.neuron_map(model).layers[layer].projection
            factor = 0.0 if ablation.factor is None else ablation.factor  # type: ignore[union-attr]

            def change(_: Any, given: Any, js: Any = js, factor: float = factor) -> Any:
                keep = torch.ones(given[0].shape[-1])
                keep[list(js)] = factor
                return (given[0] * keep,)

            handles.append(model.get_submodule(name).register_forward_pre_hook(change))
        with torch.no_grad():
            logits = model(input_ids=ids).logits[0]
        for handle in handles:
            handle.remove()
        found.append(cross_entropy(logits[:-1], ids[0, 1:], reduction="none"))
    return torch.cat(found).numpy()


@pytest.mark.parametrize("family", DECODERS)
def test_one_pass_is_many_by_hand(family: str, tokenizer: Any, data: FeatureDataset) -> None:
    """Of every decoder: ablations of other first layers than 0, of several, and texts of unlike lengths in a batch."""
    model = headed(family)
    last = len(op.neuron_map(model).layers) - 1
    named = {**SOME, "last": op.Ablation({last: [0, 1, 2]})}
    found = losses(model, data, named, tokenizer=tokenizer)
    again = losses(model, data, named, tokenizer=tokenizer, batch_tokens=1)
    for name, ablation in [("clean", None), *named.items()]:
        expected = by_hand(model, tokenizer, data, ablation)
        np.testing.assert_allclose(found.of(name), expected, rtol=1e-5, atol=1e-5)
        np.testing.assert_allclose(again.of(name), expected, rtol=1e-5, atol=1e-5)
        assert name == "clean" or np.abs(found.change(name)).max() > 1e-4
    assert not any(m._forward_pre_hooks or m._forward_hooks or "forward" in vars(m) for m in model.modules())


def test_replayed_passes_are_whole_ones_bit_by_bit(tokenizer: Any, data: FeatureDataset) -> None:
    """And blocks before the first ablated layer run once, those after it once for each pass."""
    model = headed("llama")
    of = op.Reference("drawn", {n: np.random.default_rng(n).normal(size=(9, 48)) for n in range(3)})
    named = {
        "late": op.Ablation({2: [3]}, "mean", of),
        "drawn": op.Ablation({1: [3, 8], 2: [1]}, "resample", of, seed=4),
        "early": op.Ablation({0: [3]}),
    }
    together = losses(model, data, named, tokenizer=tokenizer)
    for name, ablation in named.items():
        with op.ablate(model, ablation):
            alone = losses(model, data, tokenizer=tokenizer)
        np.testing.assert_array_equal(together.of(name), alone.of())
    runs = [0, 0, 0]
    for i, block in enumerate(model.model.layers):
        block.self_attn.register_forward_hook(lambda *_, i=i: runs.__setitem__(i, runs[i] + 1))
    losses(model, data, tokenizer=tokenizer)
    alone, runs[:] = list(runs), [0, 0, 0]
    losses(model, data, named, tokenizer=tokenizer)
    batches = runs[0] - alone[0]
    assert [n - m for n, m in zip(runs, alone)] == [batches, 2 * batches, 3 * batches] != [0, 0, 0]


def test_blocks_that_change_their_input_in_place(tokenizer: Any, data: FeatureDataset) -> None:
    model = headed("gpt2")
    named = {"late": op.Ablation({2: [3]}), "middle": op.Ablation({1: [3]})}
    for block in model.transformer.h:
        inner = block.forward

        def forward(states: Any, *args: Any, inner: Any = inner, **kwargs: Any) -> Any:
            given = inner(states, *args, **kwargs)
            states.mul_(0.5)
            return given

        block.forward = forward
    together = losses(model, data, named, tokenizer=tokenizer)
    for name, ablation in named.items():
        with op.ablate(model, ablation):
            np.testing.assert_array_equal(together.of(name), losses(model, data, tokenizer=tokenizer).of())
    assert all("forward" in vars(block) for block in model.transformer.h)


def test_ablations_outside_hold_in_every_pass(tokenizer: Any, data: FeatureDataset) -> None:
    model = headed("gpt_neox")
    with op.ablate(model, {0: [5]}):
        found = losses(model, data, {"one": {1: [3]}}, tokenizer=tokenizer)
    plain = losses(model, data, {"outer": {0: [5]}, "both": {0: [5], 1: [3]}}, tokenizer=tokenizer)
    np.testing.assert_array_equal(found.of(), plain.of("outer"))
    np.testing.assert_array_equal(found.of("one"), plain.of("both"))


@pytest.mark.parametrize(
    "wrap",
    [
        lambda m: torch.compile(m, backend="eager"),
        nn.DataParallel,
        lambda m: pytest.importorskip("accelerate").cpu_offload(m),
    ],
    ids=["compiled", "data parallel", "offloaded"],
)
def test_wrapped_models_lose_what_they_lose_alone(wrap: Any, tokenizer: Any, data: FeatureDataset) -> None:
    expected = losses(headed("gpt_neox"), data, SOME, tokenizer=tokenizer)
    found = losses(wrap(headed("gpt_neox")), data, SOME, tokenizer=tokenizer)
    for name in ("clean", *SOME):
        np.testing.assert_array_equal(found.of(name), expected.of(name))


def test_tokens_texts_documents_and_labels(tokenizer: Any) -> None:
    """By hand: two documents, one of two texts, a text without a row, and one of a single token."""
    texts = ("The dog runs. The end.", "A cat", "no row here", "x", "Un chien")
    text = np.array([0, 0, 1, 3, 4], dtype=np.int32)
    start, end = np.array([4, 0, 0, 0, 0]), np.array([7, 7, 5, 1, 8])
    labels = {"animal": np.array([1, 1, 1, -1, -1]), "even": np.array([1, -1, 0, 1, 1])}
    data = FeatureDataset(
        "some", texts, text, start, end, np.array([7, 7, 3, 7, 3]), labels, dict.fromkeys(labels, "by hand")
    )
    found = losses(headed("gpt_neox"), data, {"one": {1: [3]}}, tokenizer=tokenizer)
    tokens, at = found.tokens, 0
    for t in (0, 1, 4):
        encoding = tokenizer(texts[t], return_offsets_mapping=True)
        for position in range(1, len(encoding.input_ids)):
            a, b = encoding.offset_mapping[position]
            covering = [i for i in np.flatnonzero(text == t) if a < end[i] and b > start[i]]
            assert (tokens.text[at], tokens.token[at], tokens.group[at]) == (t, position, 3 if t else 7)
            assert (tokens.start[at], tokens.end[at]) == (a, b)
            assert tokens.row[at] == (covering[-1] if covering else -1)
            for name, y in labels.items():
                said = {int(y[i]) for i in covering} - {0}
                assert tokens.labels[name][at] == (said.pop() if len(said) == 1 else 0)
            at += 1
    assert at == tokens.n_rows
    for of, means in ((tokens.text, found.by_text("one")), (tokens.group, found.by_document("one"))):
        assert means == {int(n): pytest.approx(found.of("one")[of == n].mean()) for n in np.unique(of)}
    animal = found.difference("one", "animal", 1)
    chosen = tokens.labels["animal"] == 1
    assert animal.mean == pytest.approx(found.change("one")[chosen].mean())
    assert animal.clean == pytest.approx(found.of()[chosen].mean())
    assert (animal.n_tokens, animal.n_documents) == (int(chosen.sum()), 2)
    assert set(tokens.labels["even"]) == {0, 1}  # of its one row of -1, every token is covered by one of +1 as well
    with pytest.raises(InputError, match="no token with a loss has the label -1 of 'even'"):
        found.difference("one", "even", -1)


def test_a_token_before_each_text(tokenizer: Any, data: FeatureDataset) -> None:
    model = headed("gpt_neox")
    without, found = (losses(model, data, SOME, tokenizer=tokenizer, begin=begin) for begin in (None, 2))
    assert found.tokens.n_rows == without.tokens.n_rows + len(data.texts)
    assert (np.diff(found.tokens.token)[np.diff(found.tokens.text) == 0] == 1).all()
    assert (found.tokens.token[np.append(True, np.diff(found.tokens.text) > 0)] == 0).all()
    ids = torch.tensor([2, *tokenizer(data.texts[0]).input_ids])[None]
    with torch.no_grad():
        expected = cross_entropy(model(input_ids=ids).logits[0, :-1], ids[0, 1:], reduction="none")
    np.testing.assert_allclose(found.of()[found.tokens.text == 0], expected, rtol=1e-5, atol=1e-5)
    hurt = found.hurt_most("one", 400)
    assert "".join([*hurt[0].context.before, hurt[0].context.token]) in data.texts[hurt[0].context.text]
    first = int(tokenizer(data.texts[1]).input_ids[0])
    with pytest.raises(InputError, match=f"puts the token {first} before text 1 already: leave begin out"):
        losses(model, data, tokenizer=tokenizer, begin=first)
    cut = losses(model, data, tokenizer=tokenizer, begin=2, context=4)
    assert cut.tokens.n_rows == 4 * len(data.texts)
    np.testing.assert_allclose(cut.of()[:4], expected[:4], rtol=1e-5, atol=1e-5)


def test_special_tokens_have_no_loss(data: FeatureDataset) -> None:
    """Of a tokenizer that puts one before a text and one behind it."""
    from tokenizers.processors import TemplateProcessing

    tokenizer: Any = load_tokenizer("bundled")
    plain = [len(tokenizer(text).input_ids) for text in data.texts]
    special = tokenizer.convert_ids_to_tokens(0)
    tokenizer.backend_tokenizer.post_processor = TemplateProcessing(
        single=f"{special} $A {special}", special_tokens=[(special, 0)]
    )
    found = losses(headed("gpt_neox"), data, tokenizer=tokenizer)
    assert np.bincount(found.tokens.text).tolist() == plain
    assert found.tokens.token.min() == 1


def test_differences_and_the_tokens_hurt_most(tokenizer: Any, data: FeatureDataset) -> None:
    found = losses(headed("gpt_neox"), data, SOME, tokenizer=tokenizer)
    for name in SOME:
        one = found.difference(name, draws=200, seed=3)
        assert one == found.difference(name, draws=200, seed=3) != found.difference(name, draws=200, seed=4)
        change, group = found.change(name), found.tokens.group
        assert one.mean == pytest.approx(change.mean())
        means = []
        for times in GroupBootstrap.of(group, 200, 3).times:
            drawn = np.concatenate([np.tile(change[group == g], int(n)) for g, n in enumerate(times)])
            means.append(drawn.mean())
        np.testing.assert_allclose([one.low, one.high], np.quantile(means, [0.025, 0.975]), rtol=1e-9)
        hurt = found.hurt_most(name, 5, width=3)
        order = np.argsort(-change, kind="stable")[:5]
        np.testing.assert_allclose([h.ablated - h.clean for h in hurt], change[order])
        for h, i in zip(hurt, order):
            t = found.tokens.text[i]
            assert h.context.text == t
            assert data.texts[t][: found.tokens.end[i]].endswith("".join([*h.context.before, h.context.token]))
            assert len(h.context.before) <= 3
    single = losses(headed("gpt_neox"), data.take(data.text == 1), SOME, tokenizer=tokenizer).difference("one")
    assert (single.low, single.high, single.n_documents) == (None, None, 1)
    assert "one" in str(found)


def test_the_bundled_model(tmp_path: Path) -> None:
    """From its name, to a folder, and opened again."""
    whole = op.features.load("is_french")
    few = whole.take(np.isin(whole.text, [*range(0, 144, 12)]))
    found = op.losses("bundled", few, {"L3": {3: [415, 12]}}, out=tmp_path / "out", device="cpu")
    assert 2.0 < found.of().mean() < 6.0
    assert found.difference("L3").mean != 0
    opened = Losses.open(tmp_path / "out", few, load_tokenizer("bundled"))
    np.testing.assert_array_equal(opened.of("L3"), found.of("L3"))
    assert opened.hurt_most("L3", 3) == found.hurt_most("L3", 3)
    assert dict(opened.ablations["L3"]) == op.Ablation({3: [415, 12]}).record()
    with pytest.raises(InputError, match="contexts need the texts"):
        Losses.open(tmp_path / "out").hurt_most("L3")
    with pytest.raises(InputError, match="another digest"):
        Losses.open(tmp_path / "out", whole, load_tokenizer("bundled")).hurt_most("L3")
    with pytest.raises(InputError, match="there is no ablation 'L4' among these losses, only L3"):
        opened.of("L4")
    shard = tmp_path / "out" / "layer_0" / "000000.safetensors"
    shard.write_bytes(shard.read_bytes()[:-1])
    with pytest.raises(StoreDamaged, match=r"000000\.safetensors has"):
        Losses.open(tmp_path / "out")


CHILD = """
import sys
sys.path[:0] = {folders!r}
from activation_examples import TEXTS, words_dataset
from test_loss import SOME, headed
from optprobe.activations import load_tokenizer
from optprobe.causal import losses
data, tokenizer, model = words_dataset(TEXTS * 200), load_tokenizer("bundled"), headed("gpt_neox")
print("ready", flush=True)
losses(model, data, SOME, out={out!r}, tokenizer=tokenizer, batch_tokens=64)
print("done", flush=True)
"""


def content(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}


def test_a_run_that_was_killed_or_stopped_goes_on(tokenizer: Any, tmp_path: Path) -> None:
    many, model = words_dataset(TEXTS * 200), headed("gpt_neox")
    whole = losses(model, many, SOME, out=tmp_path / "whole", tokenizer=tokenizer, batch_tokens=64)
    in_memory = losses(model, many, SOME, tokenizer=tokenizer, batch_tokens=64)
    for name in ("clean", *SOME):
        np.testing.assert_array_equal(in_memory.of(name), whole.of(name))
    out, here = tmp_path / "killed", Path(__file__).parent
    code = CHILD.format(folders=[str(here), str(here.parent / "activations")], out=str(out))
    draw = random.Random(0)
    for _ in range(3):
        child = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True)
        assert child.stdout is not None
        assert child.stdout.readline() == "ready\n"
        deadline = time.monotonic() + 60
        shards = len(list(out.rglob("layer_*/0*")))
        while len(list(out.rglob("layer_*/0*"))) == shards and child.poll() is None and time.monotonic() < deadline:
            time.sleep(draw.uniform(0.005, 0.05))
        child.send_signal(signal.SIGKILL)
        child.wait()
        child.stdout.close()
    with pytest.raises(InputError, match="is not finished"):
        Losses.open(out)

    def interrupt(moment: Any) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        losses(model, many, SOME, out=out, tokenizer=tokenizer, batch_tokens=64, progress=interrupt)
    assert not any(m._forward_pre_hooks or "forward" in vars(m) for m in model.modules())
    seen: list[Any] = []
    losses(model, many, SOME, out=out, tokenizer=tokenizer, batch_tokens=64, progress=seen.append)
    assert seen[-1].total < 0.9 * sum(len(tokenizer(text).input_ids) for text in many.texts)
    assert content(out) == content(tmp_path / "whole")
    with pytest.raises(InputError, match="holds an extraction of something else"):
        losses(model, many, {"one": SOME["two"]}, out=out, tokenizer=tokenizer, batch_tokens=64)


def test_what_is_refused(tokenizer: Any, data: FeatureDataset, tmp_path: Path) -> None:
    model = headed("gpt_neox")
    sizes = {"vocab_size": 4096, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 2}
    bert = BertConfig(**sizes, intermediate_size=48)
    pair = FAMILIES["t5"]
    of_pair = T5ForConditionalGeneration(CONFIG_MAPPING["t5"](**pair.options, **pair.tokens)).eval()
    wrong: list[tuple[Any, dict[str, Any], str]] = [
        (load_model("bundled"), {}, r"GPTNeoXModel has no language-model head.*load_model\(name, head=True\)"),
        (BertForMaskedLM(bert).bert.eval(), {}, "BertModel has no language-model head"),
        (BertForMaskedLM(bert).eval(), {}, "reads the tokens after a token too"),
        (BertLMHeadModel(bert).eval(), {}, "reads the tokens after a token too"),
        (of_pair, {}, "writes a second text"),
        (model, {"ablations": {"clean": {1: [3]}}}, "'clean' is the name of the pass without"),
        (model, {"ablations": {"one": {3: [3]}}}, "the model has no layer 3"),
        (model, {"ablations": {"one": {2: [48]}}}, "there is no neuron 48 in layer 2"),
        (model, {"batch_tokens": 0}, "a batch has a number of tokens from 1, not 0"),
        (model, {"context": 5000}, "the context is 5000 tokens, and the model reads 1 to 512"),
        (model, {"context": 512, "begin": 2}, "the model reads 1 to 511"),
        (model, {"begin": 5000}, "the begin-of-text token is 5000, and the model knows ids 0 to"),
        (model, {"begin": -1}, "the begin-of-text token is -1"),
        (model, {"context": 1}, "none has a loss"),
        (model, {"tokenizer": None}, "comes without its tokenizer"),
    ]
    for given, options, said in wrong:
        with pytest.raises(InputError, match=said):
            losses(given, data, out=tmp_path / "out", **{"tokenizer": tokenizer, **options})
        assert not (tmp_path / "out").exists()
    decoder = BertLMHeadModel(BertConfig(**sizes, intermediate_size=48, is_decoder=True)).eval()
    assert losses(decoder, data, {"one": {1: [3]}}, tokenizer=tokenizer).change("one").any()
    model.lm_head.weight.data[:] = float("nan")
    with pytest.raises(InputError, match=r"reads the tokens|the loss of token \d+ of text \d+ is nan"):
        losses(model, data, tokenizer=tokenizer)
    found = losses(headed("gpt_neox"), data, SOME, tokenizer=tokenizer)
    for arguments, said in (
        (("one", "capital"), "a feature and a label"),
        (("one", None, 1), "a feature and a label"),
        (("one", "capital", 0), "a feature and a label"),
        (("one", "lower", 1), "there is no feature 'lower' among these losses, only capital"),
    ):
        with pytest.raises(InputError, match=said):
            found.difference(*arguments)
    op.extract("bundled", data, [0], out=tmp_path / "acts", device="cpu")
    with pytest.raises(InputError, match=r"holds values at mlp\.post and no losses"):
        Losses.open(tmp_path / "acts")
