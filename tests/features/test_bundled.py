"""What comes with the package: the corpus, its features, and the model with its card."""

from __future__ import annotations

import hashlib
import json
import math
import re
from pathlib import Path

import numpy as np
import pytest
import torch

from optprobe.activations import load_tokenizer
from optprobe.bundled import FORMAL_LANGUAGES, NATURAL_LANGUAGES, corpus, model_folder, read_documents
from optprobe.errors import InputError
from optprobe.features import align_rows, grouped_split, load
from optprobe.features.bundled import FIRST_WORD, SMALLEST_SHARE
from optprobe.features.latex import math_spans

LANGUAGES = NATURAL_LANGUAGES + FORMAL_LANGUAGES


@pytest.mark.parametrize("language", LANGUAGES)
def test_each_language_has_enough_documents_of_enough_words(language: str) -> None:
    documents = [d for d in corpus() if d.language == language]
    assert len(documents) >= 20
    assert all(len(d.text.split()) >= 60 for d in documents)
    assert len({d.slug for d in documents}) == len(documents)
    assert all(d.subject and d.style for d in documents)


def test_no_document_occurs_twice() -> None:
    assert len({d.text for d in corpus()}) == len(corpus())


@pytest.mark.parametrize(
    ("content", "sentence"),
    [
        ("text\n%%%% a | b | c\nx\n", "line 1: a corpus file begins with a header"),
        ("%%%% a | b | c\nx\n%%%% a | b\ny\n", "line 3: the header is not"),
        ("%%%% a | b | c\n\n%%%% d | e | f\ny\n", "line 1: the document has no text"),
    ],
)
def test_malformed_corpus_files_are_refused(tmp_path: Path, content: str, sentence: str) -> None:
    path = tmp_path / "english.txt"
    path.write_text(content)
    with pytest.raises(InputError, match=sentence):
        read_documents(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_documents(tmp_path / "klingon.txt")


def test_every_feature_has_both_classes_in_many_documents() -> None:
    data = load("bundled")
    assert len(data.features) == 23
    for feature in data.features:
        rows = data.rows(feature)
        y = data.labels[feature][rows]
        assert 500 <= len(rows) <= 1000, feature
        assert SMALLEST_SHARE - 0.01 <= np.mean(y == 1) <= 1 - SMALLEST_SHARE + 0.01, feature
        for label in (-1, 1):
            assert len(np.unique(data.group[rows[y == label]])) >= 20, feature
        test = grouped_split(data.group[rows], y)
        assert abs(np.mean(test[y == 1]) - 0.3) < 0.05, feature


def test_labels_follow_their_rules() -> None:
    data, documents = load("bundled"), corpus()
    languages = np.array([d.language for d in documents])[data.text]
    french, code = data.labels["is_french"], data.labels["is_code"]
    assert set(languages[french == 1]) == {"french"}
    assert set(languages[french == -1]) == set(NATURAL_LANGUAGES) - {"french"}
    assert set(languages[code == 1]) == {"python", "c", "java", "javascript"}
    assert set(languages[data.labels["is_latex"] == -1]) == set(FORMAL_LANGUAGES) - {"latex"}
    chosen = data.rows("latex_math")
    assert set(languages[chosen]) == {"latex"}
    modes = [math_spans(documents[t].text)[a] for t, a in zip(data.text[chosen], data.start[chosen])]
    np.testing.assert_array_equal(data.labels["latex_math"][chosen], modes)
    words = np.array([data.texts[t][a:b] for t, a, b in zip(data.text, data.start, data.end)])
    for feature, pattern in {
        "contains_digit": r"\w*\d\w*",
        "all_digits": r"\d+",
        "is_punctuation": r"[^\w\s]|_",
    }.items():
        assert all(re.fullmatch(pattern, word) for word in words[data.labels[feature] == 1]), feature
    assert all(word.isupper() and len(word) > 1 for word in words[data.labels["all_capitals"] == 1])
    assert not any(word.isascii() for word in words[data.labels["is_not_ascii"] == 1])


def test_rows_come_late_enough_in_their_text_and_within_the_context() -> None:
    data = load("bundled")
    for t, a in zip(data.text, data.start):
        assert len(re.findall(r"\w+|[^\w\s]", data.texts[t][:a])) >= FIRST_WORD
    aligned = align_rows(data, load_tokenizer("bundled"), 512)
    assert aligned.n_dropped == 0
    assert np.all(aligned.token > 0)


def test_a_feature_is_loaded_by_its_name() -> None:
    data = load("is_french")
    assert data.features == ("is_french",)
    assert data.n_rows == len(load("bundled").rows("is_french"))
    assert load("bundled").digest == load("bundled").digest
    with pytest.raises(InputError, match="no dataset or feature 'is_latin'; there are bundled, is_english, is_french"):
        load("is_latin")


def test_the_dataset_is_a_sample_of_all_words_with_their_labels() -> None:
    sample, every = load("bundled"), load("bundled_words")
    assert sample.texts == every.texts
    place = {row: at for at, row in enumerate(zip(every.text.tolist(), every.start.tolist(), every.end.tolist()))}
    rows = [place[row] for row in zip(sample.text.tolist(), sample.start.tolist(), sample.end.tolist())]
    assert rows == sorted(rows)
    for name, y in sample.labels.items():
        labels = every.labels[name][rows]
        np.testing.assert_array_equal(y[y != 0], labels[y != 0])
        assert np.count_nonzero(y) < np.count_nonzero(every.labels[name])
    digits = every.labels["all_digits"] > 0
    assert all(
        every.texts[t][a:b].isdecimal() for t, a, b in zip(every.text[digits], every.start[digits], every.end[digits])
    )


def test_files_are_those_of_the_model_card() -> None:
    card = (model_folder() / "MODEL_CARD.md").read_text(encoding="utf-8")
    listed = dict(re.findall(r"\| `([\w.]+)` \| `([0-9a-f]{64})` \|", card))
    assert set(listed) == {"model.safetensors", "config.json", "tokenizer.json", "tokenizer_config.json"}
    for name, digest in listed.items():
        assert hashlib.sha256((model_folder() / name).read_bytes()).hexdigest() == digest, name


def test_the_losses_of_the_model_card_are_those_recorded() -> None:
    card = (model_folder() / "MODEL_CARD.md").read_text(encoding="utf-8")
    recorded = json.loads((model_folder() / "training.json").read_text())["loss_nats_per_token"]
    for language, losses in recorded.items():
        assert f"| {language} | {losses['validation']:.3f} | {losses['unigram']:.3f} |" in card
        assert losses["validation"] < losses["unigram"]
    mean = {key: np.mean([losses[key] for losses in recorded.values()]) for key in ("validation", "unigram")}
    assert f"{mean['validation']:.3f}, unigram {mean['unigram']:.3f}" in card


def test_the_model_predicts_the_corpus_far_better_than_the_unigram_baseline() -> None:
    from transformers import AutoModelForCausalLM

    tokenizer = load_tokenizer("bundled")
    model = AutoModelForCausalLM.from_pretrained(model_folder(), dtype=torch.float32, local_files_only=True).eval()
    assert sum(p.numel() for p in model.parameters()) == 3_797_568
    recorded = json.loads((model_folder() / "training.json").read_text())["loss_nats_per_token"]
    for language, name in (("english", "English"), ("russian", "Russian"), ("python", "Python"), ("latex", "LaTeX")):
        losses = []
        for document in [d for d in corpus() if d.language == language][:2]:
            ids = torch.tensor([tokenizer(document.text, truncation=True, max_length=512)["input_ids"]])
            with torch.no_grad():
                losses.append(float(model(input_ids=ids, labels=ids).loss))
        assert np.mean(losses) < 0.75 * recorded[name]["unigram"] < math.log(4096), language
