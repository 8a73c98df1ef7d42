"""CPython tokens, on source written here."""

from __future__ import annotations

from pathlib import Path

import pytest

from optprobe.errors import InputError
from optprobe.features.catalogue import BuildOptions
from optprobe.features.categories.python_tokens import CATEGORY, RULES, mark, python_tokens
from optprobe.features.labelling import Document
from tests.features.categories.rules import check_real

SOURCE = '''\
"""Module doc."""
import os.path as p  # why not


@wrap(1)
class Été(Base):
    def go(self, n: int = 0x1F, *, k=None) -> list:
        """Do it."""
        total = len("é # no") + self.n
        if total >= n:
            return print(f"{total!r} of {n}", sep='')
        return [lambda q: q, k]


list = 3
go(k=list)
'''


def labelled(feature: str, label: int, source: str = SOURCE) -> list[str]:
    found = mark(Document(source, "d"))
    return [source[a:b] for a, b, y in zip(found.start, found.end, found.labels[feature]) if y == label]


POSITIVE = {
    "python_keyword": ["import", "as", "class", "def", "None", "if", "return", "return", "lambda"],
    "python_number": ["1", "0x1F", "3"],
    "python_comment": ["#", "why", "not"],
    "python_function_name": ["go"],
    "python_class_name": ["Été"],
    "python_parameter": ["self", "n", "k", "q"],
    "python_argument_name": ["sep", "k"],
    "python_attribute": ["n"],
    "python_call": ["wrap", "len", "print", "go"],
    "python_builtin": ["int", "len", "print"],
    "python_assigned": ["total", "list"],
    "python_import": ["os", "path", "p"],
    "python_decorator": ["wrap"],
    "python_annotation": ["int", "list"],
    "python_docstring": [*['"'] * 3, "Module", "doc", ".", *['"'] * 6, "Do", "it", ".", *['"'] * 3],
    "python_indent": [" " * 4, " " * 8, " " * 12],
    "python_dedent": ["return", "list"],
    "python_line_start": ['"', "import", "@", "class", "def", '"', "total", "if", "return", "return", "list", "go"],
    "python_line_end": ['"', "p", ")", ":", ":", '"', "n", ":", ")", "]", "3", ")"],
}


@pytest.mark.parametrize("feature", POSITIVE)
def test_positives_by_hand(feature: str) -> None:
    assert labelled(feature, 1) == POSITIVE[feature]


def test_negatives_by_hand() -> None:
    assert labelled("python_indent", -1) == [" " * 8] * 3
    assert "Été" in labelled("python_function_name", -1)
    assert "def" in labelled("python_function_name", 0)
    assert labelled("python_docstring", -1)[:3] == ["#", "why", "not"]
    assert "list" in labelled("python_builtin", -1)
    assert set(labelled("python_number", -1)) >= {"why", "import", "(", "Module"}


def test_strings_are_words_and_an_f_string_is_one_string() -> None:
    found = labelled("python_string", 1)
    assert {"no", "total", "r", "of", "n"} <= set(found)
    assert labelled("python_name", 1).count("total") == 2


def test_brackets_are_mirrored() -> None:
    assert set(labelled("python_open_bracket", 1)) == {"(", "["}
    assert set(labelled("python_open_bracket", -2)) == {")", "]"}
    assert labelled("python_close_bracket", -2) == labelled("python_open_bracket", 1)
    assert set(labelled("python_close_bracket", -1)) >= {"=", ":", "@", ">=", "->"}


def test_soft_keywords_are_names() -> None:
    source = "match = 1\nmatch match:\n    case 1: pass\n"
    assert labelled("python_name", 1, source) == ["match", "match", "match", "case"]


@pytest.mark.parametrize(
    "source",
    ["x = 1\r\nif x:\r\n\ty = 'é' + z.w\r\n", "x = 1\nif x:\n\ty = 'é' + z.w", "x = 1\nif x:\n  y = 'é' + \\\n z.w\n"],
    ids=["CRLF and tabs", "no last line end", "continued line"],
)
def test_layout_changes_no_role(source: str) -> None:
    assert labelled("python_attribute", 1, source) == ["w"]
    assert labelled("python_assigned", 1, source) == ["x", "y"]
    assert len(labelled("python_indent", 1, source)) == 1


def test_form_feeds_and_unusual_line_separators_do_not_move_labels() -> None:
    source = "a = 1\n\x0c\nb = '\u2028' + c.d\n"
    assert labelled("python_attribute", 1, source) == ["d"]


@pytest.mark.parametrize("source", ["print 'two'", "def f(:\n", "x = (1\n", "  x\n y\n", "x = '\n", "\0"])
def test_what_is_not_python_is_refused_with_its_place(source: str) -> None:
    with pytest.raises(InputError, match=r"old\.py: the text.* is not Python"):
        mark(Document(source, "d", where="old.py"))


def test_files_that_are_not_python_may_be_left_out() -> None:
    documents = [Document(SOURCE, "1"), Document("print 'two'", "2"), Document(SOURCE + "\n", "3")]
    data = python_tokens(documents, strict=False)
    assert data.provenance["files not Python"] == "1"
    assert len(data.texts) == 2
    assert set(data.features) <= set(RULES)
    with pytest.raises(InputError, match="is not Python"):
        python_tokens(documents)


def test_real_files(shared: Path) -> None:
    check_real(CATEGORY.build(BuildOptions(str(shared / "data" / "code" / "python.jsonl"))))
