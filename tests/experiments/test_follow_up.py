"""Following up: which side a token is on, what is counted in a corpus, and the criterion, on data made by hand."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments import follow_up
from experiments.experiment import command
from experiments.follow_up import AFTER, BEFORE, ELSEWHERE, FITS, GENERAL, SPECIFIC, UNDECIDED, context, verdict
from experiments.whole_corpus import (
    OF_FEATURE,
    OF_NEGATIVES,
    OF_OTHERS,
    UNKNOWN,
    Detector,
    WholeCorpus,
    every_token,
    is_of_texts,
    judged_share,
    sides,
)
from optprobe.activations import extract, load_tokenizer
from optprobe.features import FeatureDataset, load

TEXTS = ("red sky red", "blue sea", "green", "")


def made() -> FeatureDataset:
    """Rows: both words "red", "sky", "blue"; the third text has a row that is of no feature, the last none."""
    return FeatureDataset(
        name="made",
        texts=TEXTS,
        text=np.array([0, 0, 0, 1, 2]),
        start=np.array([0, 4, 8, 0, 0]),
        end=np.array([3, 7, 11, 4, 5]),
        group=np.array([0, 0, 0, 1, 2]),
        labels={
            "word": np.array([1, -1, 1, -1, 0], dtype=np.int8),
            "text": np.array([1, 1, 1, -1, 0], dtype=np.int8),
        },
        rules={"word": "", "text": ""},
    )


def letters(texts: tuple[str, ...], first: int = 0) -> FeatureDataset:
    """A token for every letter."""
    rows = np.array([(t, i, i + 1) for t, text in enumerate(texts) for i in range(len(text))]).T
    y = {"token": np.ones(rows.shape[1], dtype=np.int8)}
    more: dict[str, Any] = {"provenance": {"first": str(first)}, "labels": y, "rules": {"token": ""}}
    return FeatureDataset("letters", texts, rows[0], rows[1], rows[2], rows[0], **more)


def test_a_token_is_on_the_side_of_its_text_or_of_the_row_that_it_overlaps() -> None:
    data = made()
    assert not is_of_texts([data], "word")
    assert is_of_texts([data], "text")
    assert is_of_texts([data], "unknown")
    a, b, c, u = OF_FEATURE, OF_NEGATIVES, OF_OTHERS, UNKNOWN
    of_text = sides(data, letters(TEXTS), "text", True)
    np.testing.assert_array_equal(of_text, [a] * 11 + [b] * 8 + [c] * 5)
    of_word = sides(data, letters(TEXTS), "word", False)
    np.testing.assert_array_equal(of_word, [a] * 3 + [u] + [b] * 3 + [u] + [a] * 3 + [b] * 4 + [u] * 4 + [c] * 5)
    np.testing.assert_array_equal(sides(data, letters(TEXTS[1:], 1), "word", False), of_word[11:])
    np.testing.assert_array_equal(sides(data, letters(TEXTS), "unknown", True), [c] * 24)

    two = letters(TEXTS[:1]).take([0, 4])
    both = FeatureDataset(**{**vars(two), "end": np.array([6, 7])})
    np.testing.assert_array_equal(sides(data, both, "word", False), [a, b])  # the first overlaps "red" and "sky"


def test_the_share_counts_judged_tokens_and_its_interval_is_over_documents() -> None:
    counts = np.array([[3, 1, 0, 50], [0, 0, 4, 9]])
    low, share, high = judged_share(counts, 500, 0)
    assert share == 3 / 8
    assert (low, high) == (0.0, 0.75)  # a resample may hold one document alone
    assert judged_share(np.array([[0, 0, 0, 5]]), 10, 0) == (None, None, None)


@pytest.mark.parametrize(
    ("share", "recall", "expected"),
    [
        ((0.6, 0.8), (0.6, 0.9), FITS),
        ((0.1, 0.49), (0.4, 0.9), GENERAL),
        ((0.4, 0.9), (0.1, 0.49), SPECIFIC),
        ((0.1, 0.2), (0.1, 0.2), ELSEWHERE),
        ((0.5, 0.9), (0.6, 0.9), UNDECIDED),
        ((0.1, 0.5), (0.6, 0.9), UNDECIDED),
        ((None, None), (0.6, 0.9), UNDECIDED),
    ],
)
def test_the_criterion_asks_for_whole_intervals(share: Any, recall: Any, expected: str) -> None:
    ends = {"corpus_share_low": share[0], "corpus_share_high": share[1]}
    assert verdict(ends | {"recall_low": recall[0], "recall_high": recall[1]}) == expected


def test_a_context_is_one_line_with_the_token_marked() -> None:
    text = "a" * 100 + "\r\none\ttwo\u2028" + "b" * 100
    found = context(text, 102, 105)
    assert "a⏎⟦one⟧⇥two⏎b" in found
    assert len(found.splitlines()) == 1
    assert len(found) <= BEFORE + AFTER + 2
    assert len(context("x" * 500, 100, 400)) <= BEFORE + AFTER + 2


def test_a_corpus_without_labels_of_a_feature_is_refused(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    made().save(tmp_path / "made")
    smoke = Path(follow_up.__file__).parent / "configs" / "follow_up" / "smoke.toml"
    text = smoke.read_text().replace('["bundled_words"]', json.dumps([str(tmp_path / "made")]))
    (tmp_path / "config.toml").write_text(text)
    arguments = ["--config", str(tmp_path / "config.toml"), "--out", str(tmp_path / "run")]
    assert command(follow_up.EXPERIMENT, arguments) == 2
    assert "no dataset of the corpus labels 'latex_math'" in capsys.readouterr().err


def test_a_corpus_read_in_parts_is_the_corpus_read_at_once(tmp_path: Path) -> None:
    whole = load("bundled_words")
    data = whole.take(np.isin(whole.text, [0, 1, 60, 200]))
    data.save(tmp_path / "texts")
    detectors = tuple(
        Detector(feature, layer, neuron, sign, (0.0, 0.5))
        for feature, layer, neuron, sign in (("is_english", 0, 5, 1), ("contains_digit", 1, 7, -1))
    )
    readings = []
    for texts in (1, 3, 9):
        study = WholeCorpus("bundled", "", (str(tmp_path / "texts"),), detectors, texts)
        readings.append(study.readings([study.run(item, None) for item in study.items()]))
    for parts in readings[:2]:
        for part, at_once in zip(parts, readings[2]):
            np.testing.assert_array_equal(part.counts, at_once.counts)
            assert [token[1:] for token in part.top] == [token[1:] for token in at_once.top]

    tokenizer = load_tokenizer("bundled")
    tokens = every_token(data, range(4), tokenizer)
    assert tokens is not None
    store = extract("bundled", tokens, [1], values="float32")
    v = -store.matrices[1].columns([7])[:, 0]
    digits = readings[2][1]
    assert digits.counts[:, 0].sum() == store.n_rows
    assert digits.counts[:, 2].sum() == np.count_nonzero(v > 0.5)
    assert [-token.value for token in digits.top] == pytest.approx(
        np.sort(v)[::-1][: len(digits.top)].tolist(), abs=1e-5
    )
    spelled = [data.texts[token.text][token.start : token.end] for token in digits.top if token.side == OF_FEATURE]
    assert all(any(c.isdecimal() for c in text) for text in spelled)
    judged = digits.counts[:, 0, OF_FEATURE].sum()
    assert 0 < judged < digits.counts[:, 0, OF_NEGATIVES].sum()
