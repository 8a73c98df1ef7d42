"""Rows that are tokens: text features, positions, and next-token versions, for tokenizers made here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from tokenizers import Tokenizer, decoders, models, normalizers, pre_tokenizers, processors
from transformers import AutoTokenizer, PreTrainedTokenizerFast

from optprobe.bundled import model_folder
from optprobe.errors import InputError
from optprobe.features.alignment import align_rows
from optprobe.features.catalogue import BuildOptions
from optprobe.features.categories.position import position
from optprobe.features.categories.text_features import CATEGORY, PREDICATES, text_features
from optprobe.features.dataset import FeatureDataset
from optprobe.features.labelling import Document
from optprobe.features.next_token import next_token
from optprobe.features.tokens import tokens_of
from tests.features.categories.rules import check_real, words


def word_piece() -> PreTrainedTokenizerFast:
    pieces = ["[CLS]", "[SEP]", "[UNK]", "the", "dog", "##s", "ran", "."]
    tokenizer = Tokenizer(models.WordPiece({p: i for i, p in enumerate(pieces)}, unk_token="[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    tokenizer.decoder = decoders.WordPiece()
    tokenizer.post_processor = processors.BertProcessing(("[SEP]", 1), ("[CLS]", 0))
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, unk_token="[UNK]")


@pytest.fixture(scope="module")
def byte_level() -> Any:
    return AutoTokenizer.from_pretrained(model_folder())


HOLDS: dict[str, tuple[list[str], list[str]]] = {
    "contains_digit": (["a1", " 7"], ["one", " "]),
    "all_digits": (["7", " 42"], ["  42", "4a", "four", " "]),
    "contains_capital": (["aB", " The"], ["the", "É"]),
    "leading_capital": (["The", " The", " É"], ["the", "tHe", "  The", " ", "\nThe"]),
    "all_capitals": (["USA", "\n USA"], ["I", " A", "Usa", "U1", " "]),
    "contains_whitespace": ([" a", "\n", "\xa0"], ["a", "."]),
    "has_leading_space": ([" a", " "], ["a", "\n a", "\t"]),
    "no_leading_space_and_loweralpha": (["ing", "é"], [" ing", "Ing", "a1", ""]),
    "contains_all_whitespace": ([" ", "\n\t"], [" .", ""]),
    "is_not_alphanumeric": ([" ", "...", " ("], ["a.", "_", "7", ""]),
    "is_not_ascii": (["é", " 🙂"], ["e", " "]),
}


@pytest.mark.parametrize("name", PREDICATES)
def test_predicates_by_hand(name: str) -> None:
    test = PREDICATES[name][1]
    positives, negatives = HOLDS[name]
    assert all(test(text) for text in positives)
    assert not any(test(text) for text in negatives)


def test_a_byte_level_token_has_its_own_spaces(byte_level: Any) -> None:
    text = "The  dog\n ran 42 🙂é."
    found = tokens_of(text, byte_level)
    assert "".join(token.text for token in found) == text
    assert all(text[token.start : token.end] for token in found)
    assert len({token.start for token in found}) == len(found)


def test_a_space_that_a_tokenizer_drops_counts_to_the_token_after_it() -> None:
    found = tokens_of("The dogs\nran.", word_piece())
    assert [token.text for token in found] == ["The", " dog", "s", "\nran", "."]
    assert [token.position for token in found] == [1, 2, 3, 4, 5]


@pytest.mark.parametrize("kind", ["byte level", "word piece"])
def test_rows_are_the_tokens_that_alignment_finds(kind: str, byte_level: Any) -> None:
    tokenizer = byte_level if kind == "byte level" else word_piece()
    text = "The dogs ran. The  dog 🙂 ran.\n"
    data = text_features([Document(text, "d")], tokenizer, skip=0)
    assert align_rows(data, tokenizer).token.tolist() == [t.position for t in tokens_of(text, tokenizer)]
    assert words(data, "contains_capital", 1) == ["The"] * 2 or kind == "byte level"
    assert len(words(data, "leading_capital", 1)) == 2


def test_the_first_tokens_are_left_out(byte_level: Any) -> None:
    documents = [Document("a B c D e F g H i J 5 K l M", "d")]
    assert text_features(documents, byte_level).n_rows == text_features(documents, byte_level, skip=0).n_rows - 10


def test_positions_have_five_scales(byte_level: Any) -> None:
    data = position([Document("word " * 200, "d"), Document("short", "e")], byte_level, length=16)
    absolute = data.values["abs_pos"]
    assert data.targets == ("abs_pos", "norm_abs_pos", "rel_pos", "norm_rel_pos", "log_pos")
    np.testing.assert_array_equal(align_rows(data, byte_level).token, absolute)
    np.testing.assert_allclose(data.values["rel_pos"], absolute - 7.5)
    np.testing.assert_allclose(data.values["norm_rel_pos"] ** 2, (absolute - 7.5) ** 2 / np.var(np.arange(16)))
    np.testing.assert_allclose(2 ** data.values["log_pos"], absolute + 1)
    assert position([Document("word " * 200, "d")], byte_level, length=16, rows=5).n_rows == 5


def test_positions_refuse_short_texts_and_contexts(byte_level: Any) -> None:
    with pytest.raises(InputError, match="no text is longer than 16 tokens"):
        position([Document("short", "d")], byte_level, length=16)
    with pytest.raises(InputError, match="at least 2 tokens"):
        position([Document("short", "d")], byte_level, length=1)


def rows(text: str, spans: list[tuple[int, int]], aggregation: Any = "none") -> FeatureDataset:
    start, end = np.array(spans).T
    place = np.zeros(len(spans), dtype=np.int32)
    labels = {"f": np.array([1 if i % 2 else -1 for i in range(len(spans))], dtype=np.int8)}
    return FeatureDataset("n", (text,), place, start, end, place, labels, {"f": "rule"}, aggregation=aggregation)


def test_a_label_is_read_at_the_token_before_its_first() -> None:
    tokenizer = word_piece()
    data = next_token(rows("The dogs ran.", [(0, 3), (4, 8), (9, 12), (12, 13)]), tokenizer)
    assert words(data, "next_f", 1) == ["The", "ran"]
    assert words(data, "next_f", -1) == ["s"]
    assert data.rules == {"next_f": "rule; read at the token before"}
    assert align_rows(data, tokenizer).token.tolist() == [1, 3, 4]


def test_next_tokens_of_a_byte_level_tokenizer(byte_level: Any) -> None:
    data = text_features([Document("The 🙂 dog ran to USA in 1999.", "d")], byte_level, skip=0)
    moved = next_token(data, byte_level)
    before, after = align_rows(moved, byte_level).token, align_rows(data, byte_level).token
    np.testing.assert_array_equal(before, after[:-1])
    for name in data.features:
        np.testing.assert_array_equal(moved.labels[f"next_{name}"], data.labels[name][1:])


def test_an_aggregate_has_no_next_token(byte_level: Any) -> None:
    with pytest.raises(InputError, match="takes the mean over tokens"):
        next_token(rows("The dog", [(0, 3), (4, 7)], "mean"), byte_level)


def test_a_slow_tokenizer_is_refused() -> None:
    with pytest.raises(InputError, match="give a fast tokenizer"):
        tokens_of("a", object())


def test_real_texts(shared: Path, byte_level: Any) -> None:
    data = CATEGORY.build(BuildOptions(str(shared / "data" / "code" / "java.jsonl"), tokenizer=byte_level))
    check_real(data)
    assert len(data.features) == 11
