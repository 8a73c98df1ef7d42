"""What objects say of themselves: one line, a small table, and HTML that holds any text."""

from __future__ import annotations

import sys
from html.parser import HTMLParser
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import optprobe as op
from formulations.shown import Shown, Table, facts
from optprobe.activations import MomentStore, accumulate, activations_of
from optprobe.activations.model.loading import load_model

RNG = np.random.default_rng(2)
X = RNG.standard_normal((60, 300)).astype(np.float32)
Y = np.where(X[:, 1] + 0.5 * RNG.standard_normal(60) > 0, 1, -1)


@pytest.fixture(scope="module")
def objects(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    store = activations_of({0: X, 4: X}, {"a<b>": Y}, model="m&m")
    problem = op.problem(store, 2, feature="a<b>", layer=4, loss="squared")
    best = op.solve(problem)
    folder = tmp_path_factory.mktemp("moments") / "moments"
    accumulate(store, folder)
    moments = MomentStore.open(folder)
    found, _ = moments.load("a<b>", 0)
    return {
        "store": store,
        "rows": op.load_labelled(store, "a<b>", 4),
        "problem": problem,
        "origin": problem.origin,
        "solution": best,
        "certificate": best.certificate(),
        "comparison": op.compare(best),
        "moment store": moments,
        "moments": found,
        "moment problem": op.moment_problem(found, 1),
        "features": op.features.load("is_french"),
        "neuron map": op.neuron_map(load_model("bundled")),
    }


class Cells(HTMLParser):
    """The texts of a table's cells, and every tag that is opened."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.cells: list[str] = []
        self.tags: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)

    def handle_data(self, data: str) -> None:
        self.cells.append(data)


@pytest.mark.parametrize(
    "name",
    [
        "store", "rows", "problem", "origin", "solution", "certificate", "comparison", "moment store", "moments",
        "moment problem", "features", "neuron map",
    ],
)  # fmt: skip
def test_a_line_a_table_and_html(objects: dict[str, Any], name: str) -> None:
    shown = objects[name]
    line, *table = str(shown).splitlines()
    assert repr(shown) == line
    assert 10 < len(line) < 200
    assert len(table) < 40
    assert "array(" not in str(shown)
    page = Cells(shown._repr_html_())
    assert page.tags <= {"p", "table", "thead", "tbody", "tr", "th", "td"}
    assert page.cells[0] == line
    for cell in page.cells[1:]:
        assert cell in str(shown)


def test_the_objects_say_what_matters(objects: dict[str, Any]) -> None:
    assert repr(objects["problem"]).startswith("2-sparse probe of 300 neurons on 4")
    assert "model    m&m\n" in str(objects["problem"])
    best = objects["solution"]
    assert repr(best) == f"neurons {list(best.support)}: optimal: no set of 2 neurons is better by more than 1e-06"
    assert f"{best.upper_bound:.9g}" in str(best)
    assert "not verified here" in repr(objects["certificate"])
    assert "yes" in str(objects["moment store"])


def test_columns_of_numbers_are_flush_right() -> None:
    class Example(Shown):
        def _line(self) -> str:
            return "two\nlines"

        def _table(self) -> Table:
            return [("name", "n"), ("a", "5"), ("long name", "1,234")]

    assert str(Example()) == "two lines\nname           n\na              5\nlong name  1,234"
    assert facts({"a": 1, "b": None}) == [("", ""), ("a", "1")]


def test_records_have_one_style_of_names(objects: dict[str, Any]) -> None:
    records = objects["comparison"].records()
    assert all(record["method"].isidentifier() for record in records)
    assert [record["optimal"] for record in records if record["method"] == "optimum"] == [True]


def test_a_data_frame_is_made_of_the_records(objects: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    comparison = objects["comparison"]
    monkeypatch.setitem(sys.modules, "pandas", SimpleNamespace(DataFrame=lambda records: ("frame", records)))
    assert comparison.to_pandas() == ("frame", comparison.records())
    monkeypatch.setitem(sys.modules, "pandas", None)
    with pytest.raises(op.InputError, match="needs pandas"):
        comparison.to_pandas()


def test_a_pickled_probe_has_no_training_matrix(tmp_path: Path) -> None:
    import pickle

    probe = op.KSparseProbe(1, "squared").fit(X, Y)
    content = pickle.dumps(probe)
    assert len(content) < X.nbytes / 4
    again = pickle.loads(content)
    np.testing.assert_array_equal(again.predict(X), probe.predict(X))
    assert op.verify(again.certificate_.save(tmp_path / "probe.cert"), X, Y).accepted
    assert hasattr(probe, "solution_")
