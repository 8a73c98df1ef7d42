"""From character spans to tokens: by hand, on tokenizers of every kind, and at the edge of the context."""

from __future__ import annotations

import itertools
import json
import re
import unicodedata
from collections.abc import Callable
from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors, trainers
from transformers import PreTrainedTokenizerFast
from transformers.convert_slow_tokenizer import bytes_to_unicode

from optprobe.activations import load_tokenizer
from optprobe.errors import InputError
from optprobe.features import FeatureDataset, align_rows
from optprobe.features.alignment import characters_of_tokens, tokens_of_spans


@pytest.fixture(scope="module")
def tokenizer() -> Any:
    return load_tokenizer("bundled")


def dataset(*texts: str) -> FeatureDataset:
    """Return every word of the texts."""
    spans = [(t, m.start(), m.end()) for t, text in enumerate(texts) for m in re.finditer(r"\w+|[^\w\s]", text)]
    text, start, end = np.array(spans).T
    return FeatureDataset("d", texts, text, start, end, text, {"any": np.ones(len(text), dtype=int)}, {"any": "all"})


def test_the_last_and_first_overlapping_tokens_are_found() -> None:
    offsets = [(0, 0), (0, 2), (2, 5), (5, 9), (9, 10), (9, 10), (0, 0)]
    start, end = [0, 2, 4, 9, 6], [5, 3, 10, 10, 11]
    first, last = tokens_of_spans(offsets, start, end, context_ends=10)
    np.testing.assert_array_equal(last, [2, 2, 5, 5, -1])
    np.testing.assert_array_equal(first, [1, 2, 2, 4, -1])
    np.testing.assert_array_equal(tokens_of_spans(offsets, start, end)[1], [2, 2, 5, 5, 5])


def test_characters_that_no_token_covers_have_none() -> None:
    np.testing.assert_array_equal(tokens_of_spans([(0, 2), (4, 6)], [2, 0], [4, 6])[1], [-1, 1])
    np.testing.assert_array_equal(tokens_of_spans([(0, 0)], [0], [1])[0], [-1])


@settings(deadline=None)
@given(
    st.lists(st.integers(1, 4), min_size=1, max_size=12),
    st.data(),
)
def test_tokens_of_spans_agrees_with_a_search(lengths: list[int], data: st.DataObject) -> None:
    edges = np.concatenate([[0], np.cumsum(lengths)])
    offsets = list(itertools.pairwise(edges))
    start = data.draw(st.integers(0, int(edges[-1]) - 1))
    end = data.draw(st.integers(start + 1, int(edges[-1])))
    overlapping = [i for i, (a, b) in enumerate(offsets) if a < end and b > start]
    first, last = tokens_of_spans(offsets, [start], [end])
    assert (first[0], last[0]) == (overlapping[0], overlapping[-1])


LEARNED = (
    "The boats leave the harbour before the sun is up, and the gulls follow the boats.",
    "We count the boats; the sea is calm, été comme hiver.",
    "Снег лежит на берегу, и лодки лежат на снегу.",
)
TEXTS = (
    "The quick brown fox (12 of 345) jumps!",
    "Une forêt enneigée, naïve; l'été à Besançon.",
    "Снег лежит на берегу — ёлка,Москва.",
    "\n\n  x =\t[1, 2]\n# größer\n",
    "🙂emoji 🙂🙃 and 日本語 here",
    "œuvre ﬁn and the boats",
)


def unigram() -> Tokenizer:
    made = Tokenizer(models.Unigram())
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.UnigramTrainer(
        vocab_size=120, special_tokens=["<unk>"], unk_token="<unk>", show_progress=False, max_piece_length=5
    )
    made.train_from_iterator(LEARNED[:2], trainer)
    return made


def unigram_with_bytes() -> Tokenizer:
    """A unigram tokenizer that spells what it does not know by bytes."""
    description = json.loads(unigram().to_str())
    description["model"]["vocab"] += [[f"<0x{byte:02X}>", -20.0] for byte in range(256)]
    description["model"]["byte_fallback"] = True
    return Tokenizer.from_str(json.dumps(description))


def sentencepiece_bpe() -> Tokenizer:
    """Merges over words that begin with a mark of a space, with bytes for what is not in the vocabulary."""
    made = Tokenizer(models.BPE(unk_token="<unk>"))
    made.pre_tokenizer = pre_tokenizers.Metaspace()
    trainer = trainers.BpeTrainer(vocab_size=90, special_tokens=["<unk>"], show_progress=False)
    made.train_from_iterator(LEARNED[:1], trainer)
    learned = json.loads(made.to_str())["model"]
    vocabulary = learned["vocab"] | {f"<0x{b:02X}>": len(learned["vocab"]) + b for b in range(256)}
    merges = [tuple(merge) for merge in learned["merges"]]
    made = Tokenizer(models.BPE(vocab=vocabulary, merges=merges, byte_fallback=True, unk_token="<unk>", fuse_unk=True))
    made.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    return made


def byte_level() -> Tokenizer:
    made = Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    trainer = trainers.BpeTrainer(vocab_size=330, initial_alphabet=alphabet, show_progress=False)
    made.train_from_iterator(LEARNED, trainer)
    return made


def wordpiece() -> Tokenizer:
    """As BERT's: accents are stripped, letters are made small, and [CLS] and [SEP] stand around a text."""
    made = Tokenizer(models.WordPiece(unk_token="[UNK]"))
    made.normalizer, made.pre_tokenizer = normalizers.BertNormalizer(), pre_tokenizers.BertPreTokenizer()
    trainer = trainers.WordPieceTrainer(vocab_size=110, special_tokens=["[UNK]", "[CLS]", "[SEP]"], show_progress=False)
    made.train_from_iterator(LEARNED, trainer)
    made.post_processor = processors.BertProcessing(("[SEP]", 2), ("[CLS]", 1))
    return made


def word_level() -> Tokenizer:
    made = Tokenizer(models.WordLevel(unk_token="[UNK]"))
    made.pre_tokenizer = pre_tokenizers.Whitespace()
    made.train_from_iterator(LEARNED, trainers.WordLevelTrainer(special_tokens=["[UNK]"], show_progress=False))
    return made


KINDS = (byte_level, wordpiece, unigram, unigram_with_bytes, sentencepiece_bpe, word_level)
BYTE_OF = {mark: byte for byte, mark in bytes_to_unicode().items()}


def content_of(kind: Callable[[], Tokenizer], token: str) -> bytes | None:
    """The bytes of the text that a token stands for; None where the token does not say, as an unknown one does not."""
    if token in ("[UNK]", "<unk>"):
        return None
    if kind is byte_level:
        return bytes(BYTE_OF[c] for c in token).strip()
    if re.fullmatch("<0x..>", token):
        return bytes([int(token[3:5], 16)])
    return token.removeprefix("##").replace("▁", "").encode()


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("text", TEXTS)
def test_the_tokens_of_a_word_spell_it(kind: Callable[[], Tokenizer], text: str) -> None:
    """Joined from first to last they contain the word, and no token between them is of another word."""
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=kind())
    data = dataset(text)
    every = align_rows(data, tokenizer, which="every")
    first, last = (align_rows(data, tokenizer, which=which) for which in ("first", "last"))
    assert first.n_dropped == last.n_dropped == every.n_dropped == 0
    np.testing.assert_array_equal(first.row, np.arange(data.n_rows))
    for row in range(data.n_rows):
        word = text[data.start[row] : data.end[row]]
        if kind is wordpiece:
            word = unicodedata.normalize("NFD", word.lower())
            word = "".join(c for c in word if not unicodedata.combining(c))
        tokens = every.token[every.row == row]
        assert (tokens[0], tokens[-1]) == (first.token[row], last.token[row])
        pieces = [content_of(kind, tokenizer.convert_ids_to_tokens(int(last.input_ids[0][t]))) for t in tokens]
        if None in pieces:
            assert set(pieces) <= {None, *(p for p in pieces if p is not None and p.decode() in word)}
            continue
        spelled = b"".join(pieces)  # type: ignore[arg-type]
        assert word.encode() in spelled
        assert spelled.find(word.encode()) < len(pieces[0] or b"")
        assert all(p in word.encode() for p in pieces[1:-1] if p is not None)
        if kind not in (word_level,) and word.isalpha() and len(pieces) > 1:
            assert spelled == word.encode()


def test_an_accent_that_the_tokenizer_strips_takes_no_token_from_its_word() -> None:
    text = "the e\u0301te\u0301"
    data = FeatureDataset("d", (text,), [0], [4], [len(text)], [0], {"f": np.array([1])}, {"f": "all"})
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=wordpiece())
    first, last = (align_rows(data, tokenizer, which=which) for which in ("first", "last"))
    ids = last.input_ids[0]
    assert (first.n_dropped, last.n_dropped, last.token[0]) == (0, 0, len(ids) - 2)
    assert tokenizer.decode(ids[first.token[0] : last.token[0] + 1]).replace(" ", "").replace("##", "") == "ete"


def test_characters_that_share_a_run_of_bytes_have_their_own() -> None:
    """The run of unknown letters is spelled by bytes that all claim all of it: ё, comma and К have their own."""
    text = "ёлка,Кот"
    encoding = unigram_with_bytes().encode(text)
    assert (0, 4) in encoding.offsets or (0, 8) in encoding.offsets
    assert encoding.offsets[0] == (0, 1)
    spans = characters_of_tokens(encoding, text)
    by_character: dict[tuple[int, int], bytes] = {}
    for token, (a, b) in zip(encoding.tokens, spans.tolist()):
        if a < b:
            by_character[a, b] = by_character.get((a, b), b"") + (content_of(unigram_with_bytes, token) or b"")
    assert by_character == {(i, i + 1): c.encode() for i, c in enumerate(text)}


def test_an_aggregated_row_has_all_its_tokens_within_the_context(tokenizer: Any) -> None:
    text = "alpha beta gamma delta epsilon zeta"
    data = FeatureDataset("d", (text,), [0], [0], [len(text)], [0], {"f": np.array([1])}, {"f": "all"})
    data = replace(data, aggregation="mean")
    whole = align_rows(data, tokenizer)
    assert (whole.first[0], whole.last[0]) == (0, len(whole.input_ids[0]) - 1)
    cut = align_rows(data, tokenizer, 3)
    assert (cut.first[0], cut.last[0], cut.n_dropped) == (0, 2, 0)
    special = PreTrainedTokenizerFast(tokenizer_object=wordpiece())
    inside = align_rows(data, special)
    assert (inside.first[0], inside.last[0]) == (1, len(inside.input_ids[0]) - 2)


def test_a_leading_space_belongs_to_no_word(tokenizer: Any) -> None:
    data = dataset("word été word")
    found = align_rows(data, tokenizer, which="first")
    pieces = [tokenizer.decode(found.input_ids[0][t]) for t in found.token]
    assert [p[0] for p in pieces[1:]] == [" ", " "]


def test_spans_beyond_the_context_are_dropped(tokenizer: Any) -> None:
    data = dataset("alpha beta gamma delta epsilon zeta", "one")
    whole = align_rows(data, tokenizer)
    for length in range(1, len(whole.input_ids[0]) + 1):
        cut = align_rows(data, tokenizer, length)
        assert [len(ids) for ids in cut.input_ids] == [min(length, len(ids)) for ids in whole.input_ids]
        np.testing.assert_array_equal(cut.row, np.flatnonzero(whole.token < length))
        np.testing.assert_array_equal(cut.token, whole.token[cut.row])
        assert cut.n_dropped == np.count_nonzero(whole.token >= length)


def test_words_cut_at_the_left_are_dropped() -> None:
    tokenizer = load_tokenizer("bundled")
    data = dataset("alphabetical betamax gammadion deltoid epsilon zeta", "one")
    first, last = (align_rows(data, tokenizer, which=which) for which in ("first", "last"))
    assert (first.token < last.token).any()
    tokenizer.truncation_side = "left"
    for length in range(1, len(first.input_ids[0]) + 1):
        cut = align_rows(data, tokenizer, length)
        before = np.array([len(whole) - len(ids) for whole, ids in zip(first.input_ids, cut.input_ids)])[data.text]
        np.testing.assert_array_equal(cut.row, np.flatnonzero(first.token >= before))
        np.testing.assert_array_equal(cut.token, (last.token - before)[cut.row])


def prefixed(trim_offsets: bool | None) -> Any:
    """Return a byte-level tokenizer that puts a space before a text, and before what follows an added token."""
    made = byte_level()
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    alphabet = pre_tokenizers.ByteLevel.alphabet()
    made.train_from_iterator(
        ["a word é"] * 9, trainers.BpeTrainer(vocab_size=270, initial_alphabet=alphabet, show_progress=False)
    )
    if trim_offsets is not None:
        made.post_processor = processors.ByteLevel(trim_offsets=trim_offsets)
    made.add_special_tokens(["<m>"])
    return PreTrainedTokenizerFast(tokenizer_object=made)


@pytest.mark.parametrize("trim_offsets", [None, True, False])
@pytest.mark.parametrize("text", ["Xylophone word", "<m>a word", "<m>é word", "<m>word", "<m>Xa<m>a", "X", "a é"])
def test_a_space_that_the_tokenizer_puts_before_a_word_is_none_of_its_tokens(
    trim_offsets: bool | None, text: str
) -> None:
    tokenizer = prefixed(trim_offsets)
    spans = [(m.start(), m.end()) for m in re.finditer(r"(?<!<)\b\w+\b(?!>)", text)]
    start, end = np.array(spans).T
    nought = np.zeros(len(start), dtype=int)
    data = FeatureDataset("d", (text,), nought, start, end, nought, {"any": nought + 1}, {"any": "all"})
    every = align_rows(data, tokenizer, which="every")
    assert every.n_dropped == 0
    for row, (a, b) in enumerate(spans):
        tokens = tokenizer.convert_ids_to_tokens(every.input_ids[0][every.token[every.row == row]])
        assert bytes(BYTE_OF[mark] for token in tokens for mark in token).decode().lstrip(" ") == text[a:b]
        assert "Ġ" not in tokens
    for which, place in (("first", 0), ("last", -1)):
        expected = [every.token[every.row == row][place] for row in range(len(spans))]
        assert align_rows(data, tokenizer, which=which).token.tolist() == expected  # type: ignore[arg-type]


def test_tokenizers_without_offsets_are_refused() -> None:
    with pytest.raises(InputError, match="SimpleNamespace does not say which characters each token covers"):
        align_rows(dataset("a"), SimpleNamespace(is_fast=False))
    with pytest.raises(InputError, match="not 'middle'"):
        align_rows(dataset("a"), SimpleNamespace(is_fast=True), which="middle")  # type: ignore[arg-type]
