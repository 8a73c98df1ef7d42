"""Rankings that others published: read as they are, refused in a sentence, and judged like any heuristic."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

import optprobe as op
from optprobe.cli.main import main
from optprobe.errors import InputError
from optprobe.heuristics import read_ranking

RNG = np.random.default_rng(2)
X = RNG.normal(size=(90, 6))
Y = np.where(X[:, 1] + X[:, 4] + RNG.normal(size=90) > 0, 1, -1)

TABLE = """model,dataset,feature,layer,neuron,test_f1_score,coef
m,d,is_frac,4,5,0.9,1.5
m,d,is_frac,4,1,0.8,-2
m,d,"is, quoted",4,0,0.8,2
m,d,is_frac,3,2,0.7,1
m,d,is_frac,4,5,0.7,1
m,d,is_frac,4,3,0.7,1
"""


def test_the_rows_of_a_feature_and_layer_in_their_order(tmp_path: Path) -> None:
    path = tmp_path / "top.csv"
    path.write_text(TABLE, encoding="utf-8")
    assert read_ranking(path, "is_frac", 4) == (5, 1, 3)
    assert read_ranking(path, "is_frac") == (5, 1, 2, 3)
    assert read_ranking(path, "is, quoted", 4) == (0,)
    assert read_ranking(path) == (5, 1, 0, 2, 3)
    path.write_text("neuron\n3\n1\n", encoding="utf-8")
    assert read_ranking(path, "anything", 9) == (3, 1)


def test_the_longest_indices_of_results(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    path.write_text(json.dumps([{"k": 1, "indices": [4]}, {"k": 3, "indices": [4, 1, 0]}, {"k": 2, "indices": [4, 1]}]))
    assert read_ranking(path, "anything", 9) == (4, 1, 0)
    sets = [[4], [3], [0, 1], [2, 5, 6]]
    path.write_text(json.dumps([{"indices": indices} for indices in sets]))
    assert [read_ranking(path, k=k) for k in (1, 2, 3, 4, None)] == [(4,), (0, 1), (2, 5, 6), (2, 5, 6), (2, 5, 6)]


@pytest.mark.parametrize(
    ("name", "content", "sentence"),
    [
        ("a.csv", "", "has no column 'neuron', only nothing"),
        ("a.csv", "layer,unit\n1,2\n", "has no column 'neuron', only layer, unit"),
        ("a.csv", "neuron\n-1\n", "line 2 of the ranking .* has the neuron '-1'"),
        ("a.csv", "layer,neuron\n4\n", "line 2 of the ranking .* has the neuron None"),
        ("a.csv", "layer,neuron\n3,1\n", "names no neuron for the feature 'f' at layer 4"),
        ("a.json", "[]", "names no neuron$"),
        ("a.json", "{", "is no JSON list of objects with indices"),
        ("a.json", '{"indices": [1]}', "is no JSON list of objects with indices"),
        ("a.json", '[{"k": 1}]', "is no JSON list of objects with indices"),
        ("a.json", '[{"indices": [true]}]', "indices that are no numbers of columns"),
        ("a.json", '[{"indices": 3}]', "is no JSON list of objects with indices"),
    ],
)
def test_what_is_no_ranking_is_refused(name: str, content: str, sentence: str, tmp_path: Path) -> None:
    (tmp_path / name).write_text(content, encoding="utf-8")
    with pytest.raises(InputError, match=sentence):
        read_ranking(tmp_path / name, "f", 4)
    with pytest.raises(InputError, match="cannot be read: No such file"):
        read_ranking(tmp_path / "nothing.csv")


def test_a_published_ranking_is_judged_by_its_first_neurons() -> None:
    best = op.solve(op.problem(X, 2, labels=Y, loss="squared", ridge=0.1))
    compared = op.compare(best, rankings={"theirs": [4, 0, 1], "right": [4, 1]}, methods=["random"])
    rows = {row.method: row for row in compared.rows}
    assert rows["theirs"].support == [0, 4]
    assert rows["theirs"].regret > 0
    assert rows["theirs"].optimal is False
    assert (rows["right"].support, rows["right"].optimal) == ([1, 4], True)
    for name, neurons, sentence in (
        ("theirs", [4], "names 1 neurons: compare it at a k up to that"),
        ("theirs", [4, 6], "has the neuron 6, no column that may be used"),
        ("beam_search", [1, 4], "a ranking cannot be called 'beam_search'"),
    ):
        with pytest.raises(InputError, match=sentence):
            op.compare(best, rankings={name: neurons})


def test_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "data.npz", X_train=X, y_train=Y)
    (tmp_path / "published.csv").write_text("neuron\n4\n0\n", encoding="utf-8")
    given = ["compare", str(tmp_path / "data.npz"), "--k", "2", "--loss", "squared", "--json"]
    assert main([*given, "--ranking", str(tmp_path / "published.csv")]) == 0
    methods = json.loads(capsys.readouterr().out)["methods"]
    assert next(row["support"] for row in methods if row["method"] == "published") == [0, 4]
    assert main([*given, "--ranking", str(tmp_path / "nothing.csv")]) == 2
    assert "cannot be read" in capsys.readouterr().err
