"""What pages and figures promise to the eye: colours, widths, looks of methods, and numbers as they are shown."""

from __future__ import annotations

import re
from itertools import combinations
from xml.etree import ElementTree

import numpy as np
import pytest

from optprobe.cases import Case
from optprobe.report.figures import overview_figures
from optprobe.report.html import number, percent, printable, rendered, signed
from optprobe.report.styles import STYLES, themed


def themes(css: str) -> list[dict[str, str]]:
    """The colours of the light and the dark page, and of print."""
    blocks = re.findall(r":root \{(.*?)\}", css, re.DOTALL)
    light, dark, printed = (dict(re.findall(r"--([\w-]+): (#[0-9a-f]{6});", block)) for block in blocks)
    return [light, light | dark, light | printed]


def luminance(colour: str) -> float:
    """How WCAG 2 measures it."""
    parts = [int(colour[at : at + 2], 16) / 255 for at in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    return float(np.dot([0.2126, 0.7152, 0.0722], linear))


def contrast(one: str, other: str) -> float:
    low, high = sorted((luminance(one), luminance(other)))
    return (high + 0.05) / (low + 0.05)


def test_every_text_can_be_read_on_every_ground() -> None:
    for colours in themes(rendered("style.css")):
        for text in ("ink", "soft", "mark", "alarm", "warn"):
            for ground in ("page", "band"):
                assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground, colours)
        for heat in range(5):
            assert contrast(colours["ink"], colours[f"heat{heat}"]) >= 4.5
        shades = [luminance(colours[f"heat{heat}"]) for heat in range(5)]
        assert shades in (sorted(shades), sorted(shades, reverse=True))


def test_nothing_is_wider_than_a_telephone_or_a_sheet() -> None:
    css = rendered("style.css")
    assert re.findall(r"[^{};]*\{[^{}]*overflow-x[^{}]*\}", css.replace("\n", "")) == [
        " .scroll { overflow-x: auto; }",
        "  .scroll { overflow-x: visible; }",
    ]
    assert "@media (min-width: 62.01rem) { td:not(.text) { white-space: nowrap; } .scroll { overflow-x: auto; }" in css
    widths = set(re.findall(r"(?<!max-)width: ([^;)]+(?:\([^)]*\))?);", css))
    assert widths == {"100%", "auto", "1px", "min(100%, 24rem)", "12ch", "0"}
    assert "attr(data-label)" in css
    printed = css[css.index("@media print") :]
    assert "overflow:" not in printed
    assert "nowrap" not in printed


def test_a_method_has_one_look_that_no_other_has(cases: list[Case]) -> None:
    for one, other in combinations(STYLES.values(), 2):
        assert one.colour != other.colour
        assert one.dark != other.dark
        assert one.marker != other.marker
    css = rendered("style.css")
    for name, style in STYLES.items():
        if name != "optimum":
            assert f"--{name.replace('_', '-')}: {style.colour};" in css
            assert f"--{name.replace('_', '-')}: {style.dark};" in css
    colours = {style.colour for style in STYLES.values()}
    drawn = {name: overview_figures(cases)[at].svg for at, name in ((0, "regret"), (3, "objective"))}
    for svg in drawn.values():
        assert set(re.findall(r"#[0-9a-f]{6}\b", svg)) <= colours | {"#000000", "#ffffff"}
        assert not set(re.findall(r"#[0-9a-f]{6}\b", themed(svg))) & colours


def test_figures_are_well_formed_and_reproducible(cases: list[Case]) -> None:
    first, again = overview_figures(cases), overview_figures(cases)
    assert [figure.name for figure in first] == ["regret", "optimal_share", "held_out_f1", "objective"]
    for figure, same in zip(first, again):
        assert ElementTree.fromstring(figure.svg).tag == "svg"
        assert figure.svg == same.svg
        assert "#010203" not in figure.svg
        assert "currentColor" in figure.svg
    shown = " ".join(element.text or "" for element in ElementTree.fromstring(first[1].svg).iter("text"))
    assert "swap descent" in shown
    assert "(4/4)" in shown
    assert "logistic loss" not in shown


@pytest.mark.parametrize(
    ("value", "shown"), [(0.0, "0"), (1e-17, "0"), (0.0301, "3.01%"), (2e-6, "< 0.01%"), (1.5, "150.00%")]
)
def test_percentages(value: float, shown: str) -> None:
    assert percent(value) == shown


def test_numbers_and_texts() -> None:
    assert [number(0.0), number(1.23e-4), signed(0.0001), signed(-0.02)] == ["0", "1.2e-04", "0", "-0.020"]
    assert printable("a\ud800\0\u202eb") == "a\\ud800\\x00\\u202eb"
    assert len(printable("x" * 5000)) == 2001
