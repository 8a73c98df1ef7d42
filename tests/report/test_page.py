"""The page: one file that needs nothing else, with the numbers of its cases."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path
from xml.etree import ElementTree

import pytest
from optprobe.report.page import number, page_figures, percent, signed

from optprobe.cases import Case
from optprobe.errors import InputError
from optprobe.files import write_file
from optprobe.report import headline, write_page

ABOUT = {"model": "made <at> random"}
VOID = {"meta", "link", "br", "hr", "img"}


class Reader(HTMLParser):
    """Collects attributes, identifiers and text, and checks that elements are closed in order."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.open: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.text = ""
        self.feed(page)
        self.close()

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.text += data


@pytest.fixture(scope="module")
def page(cases: list[Case], tmp_path_factory: pytest.TempPathFactory) -> str:
    return write_page(tmp_path_factory.mktemp("page") / "index.html", "A title", cases, ABOUT).read_text("utf-8")


def test_the_page_refers_to_nothing_outside(page: str) -> None:
    assert "http:" not in page
    assert "https:" not in page
    assert "<script" not in page
    assert "@import" not in page
    found = Reader(page)
    assert found.open == []
    names = [value for name, value in found.attributes if name == "id"]
    assert len(names) == len(set(names)) > 0
    for name, value in found.attributes:
        assert name not in ("src", "data", "action")
        if name in ("href", "xlink:href"):
            assert value.startswith("#")
            assert value[1:] in names
    assert set(re.findall(r"url\(#([^)]*)\)", page)) <= set(names)
    assert len(re.findall(r"url\(", page)) == len(re.findall(r"url\(#", page))


def test_the_page_shows_the_certified_numbers(page: str, cases: list[Case]) -> None:
    text = Reader(page).text
    assert headline(cases) in text
    for case in cases:
        assert case.verdict in text
        assert case.certificate in text
        assert f"{case.upper_bound:.6f}" in text
        assert f"{case.lower_bound:.6f}" in text
        assert ", ".join(map(str, case.support)) in text
        for result in case.methods:
            assert f"{result.objective:.6f}" in text
            assert f"{result.f1_test:.3f}" in text
    for name in ("mean difference", "swap descent", "mutual information", "made <at> random"):
        assert name in text


def test_markup_in_names_is_text(page: str) -> None:
    assert "<b>" not in page
    assert "is_&lt;b&gt;bold&lt;/b&gt;" in page


def test_a_rejected_certificate_stands_out(cases: list[Case], tmp_path: Path) -> None:
    page = write_page(tmp_path / "index.html", "A title", [replace(cases[0], accepted=False, verdict="no"), *cases], {})
    text = page.read_text("utf-8")
    assert text.count('<span class="rejected">NO</span>') == text.count('class="rejected">no</td>') == 1
    assert text.count("The checker rejects") == 1


def test_one_case_is_enough(cases: list[Case], tmp_path: Path) -> None:
    assert write_page(tmp_path / "index.html", "A title", cases[-1:], ABOUT).is_file()


def test_figures_are_well_formed_and_reproducible(cases: list[Case]) -> None:
    first, again = page_figures(cases), page_figures(cases)
    assert [figure.name for figure in first] == ["regret", "optimal_share", "held_out_f1", "objective"]
    for figure, same in zip(first, again):
        root = ElementTree.fromstring(figure.svg)
        assert root.tag == "svg"
        assert figure.svg == same.svg
        assert "#010203" not in figure.svg
        assert "currentColor" in figure.svg
    shown = " ".join(texts(first[1].svg))
    assert "swap descent" in shown
    assert "(4/4)" in shown
    assert "logistic loss" not in shown


def texts(svg: str) -> Iterator[str]:
    """The text of every label of a figure."""
    yield from (element.text or "" for element in ElementTree.fromstring(svg).iter("text"))


@pytest.mark.parametrize(
    ("value", "shown"), [(0.0, "0"), (1e-17, "0"), (0.0301, "3.01%"), (2e-6, "< 0.01%"), (1.5, "150.00%")]
)
def test_percentages(value: float, shown: str) -> None:
    assert percent(value) == shown


def test_numbers() -> None:
    assert [number(0.0), number(1.23e-4), signed(0.0001), signed(-0.02)] == ["0", "1.2e-04", "0", "-0.020"]


def test_a_failed_write_leaves_the_old_file(tmp_path: Path) -> None:
    path = write_file(tmp_path / "index.html", "old")
    with pytest.raises(UnicodeEncodeError):
        write_file(path, "new \ud800")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
    with pytest.raises(InputError, match="cannot be written"):
        write_file(path / "index.html", "")
