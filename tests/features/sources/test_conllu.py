"""The reader of treebanks, on files written here."""

from __future__ import annotations

from pathlib import Path

import pytest

from optprobe.errors import InputError
from optprobe.features.sources.conllu import Sentence, read_conllu


def row(number: str, form: str, upos: str = "NOUN", feats: str = "_", deprel: str = "obj", misc: str = "_") -> str:
    return "\t".join([number, form, "_", upos, "_", feats, "0", deprel, "_", misc])


def sentence(*lines: str) -> str:
    return "\n".join(lines) + "\n\n"


def read(folder: Path, content: str | bytes) -> tuple[Sentence, ...]:
    path = folder / "tree.conllu"
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return read_conllu(path)


PLAIN = sentence(
    "# text = Sit, dogs", row("1", "Sit", "VERB", misc="SpaceAfter=No"), row("2", ",", "PUNCT"), row("3", "dogs")
)


def forms(found: Sentence) -> list[str | None]:
    return [found.text[slice(*word.span)] if word.span else None for word in found.words]


def test_words_have_their_characters(tmp_path: Path) -> None:
    (found,) = read(tmp_path, PLAIN)
    assert forms(found) == ["Sit", ",", "dogs"]
    assert [word.span for word in found.words] == [(0, 3), (3, 4), (5, 9)]


def test_words_of_a_multiword_token_share_its_characters_where_they_make_it_up(tmp_path: Path) -> None:
    content = sentence("# text = can't go", row("1-2", "can't"), row("1", "ca"), row("2", "n't"), row("3", "go"))
    assert forms(read(tmp_path, content)[0]) == ["ca", "n't", "go"]


def test_words_without_characters_of_their_own_have_none(tmp_path: Path) -> None:
    content = sentence("# text = du vin", row("1-2", "du"), row("1", "de"), row("2", "le"), row("3", "vin"))
    assert forms(read(tmp_path, content)[0]) == [None, None, "vin"]


def test_empty_nodes_are_not_words(tmp_path: Path) -> None:
    content = sentence("# text = a b", row("1", "a"), row("1.1", "gone"), row("2", "b"))
    assert forms(read(tmp_path, content)[0]) == ["a", "b"]


def test_forms_may_have_spaces_and_any_characters(tmp_path: Path) -> None:
    content = sentence("# text = 10 000 \u2028élan 🙂", row("1", "10 000"), row("2", "élan"), row("3", "🙂"))
    assert forms(read(tmp_path, content)[0]) == ["10 000", "élan", "🙂"]


def test_a_missing_text_is_rebuilt(tmp_path: Path) -> None:
    (found,) = read(tmp_path, sentence(row("1", "Hm", misc="X=1|SpaceAfter=No"), row("2", "."), row("3", "so")))
    assert found.text == "Hm. so"


@pytest.mark.parametrize("mark", ["byte order mark", "CRLF", "no last line end"])
def test_encodings_of_the_same_file(tmp_path: Path, mark: str) -> None:
    content = {
        "byte order mark": b"\xef\xbb\xbf" + PLAIN.encode(),
        "CRLF": PLAIN.replace("\n", "\r\n").encode(),
        "no last line end": PLAIN.rstrip("\n").encode(),
    }[mark]
    assert read(tmp_path, content) == read(tmp_path, PLAIN)


def test_documents_paragraphs_and_spacing(tmp_path: Path) -> None:
    one = row("1", "a", misc="SpaceAfter=No")
    content = "".join(
        [
            sentence("# text = a", one),
            sentence("# text = a", one),
            sentence("# newdoc id = first", "# text = a", one),
            sentence("# newpar", "# text = a", row("1", "a")),
            sentence("# newdoc", "# text = a", row("1", "a")),
        ]
    )
    found = read(tmp_path, content)
    assert [s.document for s in found[2:4]] == ["first", "first"]
    assert len({s.document for s in found}) == 4
    assert [s.opens_paragraph for s in found] == [False, False, True, True, True]
    assert [s.space_after for s in found] == [False, False, False, True, True]


def test_values_and_tags(tmp_path: Path) -> None:
    (found,) = read(
        tmp_path, sentence("# text = who", row("1", "who", "PRON", "Case=Nom|PronType=Int,Rel", "nsubj:pass"))
    )
    (word,) = found.words
    assert word.feats == {"Case": {"Nom"}, "PronType": {"Int", "Rel"}}
    assert (word.upos, word.deprel) == ("PRON", "nsubj:pass")


BROKEN = {
    "nine columns": (sentence("# text = a", row("1", "a").removesuffix("\t_")), "line 2: .* 10 columns .* has 9"),
    "spaces for tabs": (PLAIN + "1 a _ NOUN\n", "line 6: .* has 1"),
    "an id": (sentence(row("0", "a")), "line 1: '0' is not the id"),
    "a gap": (sentence(row("1", "a"), row("3", "b")), "line 2: .* the id 3, and the next one is 2"),
    "a tag": (sentence(row("1", "a", "NN")), "line 1: 'NN' is not a universal part of speech"),
    "features": (sentence(row("1", "a", feats="Plur")), "line 1: the features 'Plur'"),
    "another text": (sentence("# text = b", row("1", "a")), "line 2: 'a' does not follow"),
    "a longer text": (sentence("# text = a b", row("1", "a")), "line 2: .* goes on after the last word: 'b'"),
    "comments only": (PLAIN + sentence("# text = a"), "line 6: .* comments only"),
    "empty nodes only": (sentence(row("0.1", "a")), "line 1: .* empty nodes only"),
    "a late range": (sentence(row("1", "a"), row("1-2", "ab"), row("2", "b")), "line 2: the range 1-2"),
    "a long range": (sentence("# text = ab", row("1-2", "ab"), row("1", "a")), "line 2: .* goes on to word 2"),
    "no sentence": ("\n\n", "no sentence"),
    "another encoding": (PLAIN.encode() + "# text = é".encode("latin-1"), "line 6: .* not UTF-8"),
}


@pytest.mark.parametrize("case", BROKEN)
def test_a_broken_file_is_refused_with_its_line(tmp_path: Path, case: str) -> None:
    content, problem = BROKEN[case]
    with pytest.raises(InputError, match=rf"tree\.conllu.*{problem}"):
        read(tmp_path, content)


def test_a_missing_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_conllu(tmp_path / "none.conllu")


COUNTS = {
    "en_ewt-ud-dev.cut": (159, 1058, 12613),
    "fr_gsd-ud-dev.cut": (897, 897, 21576),
    "ru_gsd-ud-dev": (579, 579, 11709),
}


@pytest.mark.parametrize("name", COUNTS)
def test_real_treebanks(shared: Path, name: str) -> None:
    found = read_conllu(shared / "data" / "ud" / f"{name}.conllu")
    words = [word for s in found for word in s.words]
    assert (len({s.document for s in found}), len(found), len(words)) == COUNTS[name]
    assert all(s.text[slice(*word.span)] == word.form for s in found for word in s.words if word.span)
