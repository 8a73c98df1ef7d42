"""Citations: exact, escaped, and without the folders of whoever made a certificate."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path
from typing import Any

import pytest
from claims import claimed
from hypothesis import given
from hypothesis import strategies as st

from optprobe.certificates.citation import (
    achieved,
    bibtex,
    csl_json,
    latex_table,
    relative_gap,
    sentence,
    swhid,
    without_folders,
)
from optprobe.cli.main import main

DIGEST = "0123456789abcdef" * 4


def test_an_swhid_is_gits_name_of_the_content(tmp_path: Path) -> None:
    assert swhid(b"") == "swh:1:cnt:e69de29bb2d1d6434b8b29ae775ad8c2e48c5391"
    assert swhid(b"hello\n") == "swh:1:cnt:ce013625030ba8dba906f756967f9e9ca394464a"
    path = claimed().save(tmp_path / "a.cert")
    try:
        done = subprocess.run(["git", "hash-object", str(path)], capture_output=True, text=True, check=True)
    except FileNotFoundError:
        pytest.skip("there is no git")
    assert swhid(path.read_bytes()) == f"swh:1:cnt:{done.stdout.strip()}"


PATHS = {
    "/home/alice/models/pythia": "pythia",
    "/home/alice/models/pythia/": "pythia",
    "~/models/pythia": "pythia",
    "./pythia": "pythia",
    "../../pythia": "pythia",
    "C:\\Users\\alice\\pythia": "pythia",
    "C:/Users/alice/pythia": "pythia",
    "\\\\server\\alice\\pythia": "pythia",
    "file:///home/alice/pythia": "pythia",
    "/": "a local path",
    "EleutherAI/pythia-70m": "EleutherAI/pythia-70m",
    "one/of many": "one/of many",
    "is_french": "is_french",
    "model.gguf (quantised to Q4_1, sha256 00)": "model.gguf (quantised to Q4_1, sha256 00)",
}


@pytest.mark.parametrize("path", PATHS)
def test_a_local_path_is_cited_by_its_last_component(path: str) -> None:
    assert without_folders(path) == PATHS[path]
    assert without_folders({"a": [path, 1, None], path: True}) == {"a": [PATHS[path], 1, None], PATHS[path]: True}
    scope = {"model": path, "file": path, "feature": path, "layer": path, "dataset": path}
    cited = (claimed(scope=scope, versions={"optprobe": path}), DIGEST, False)
    for text in (bibtex(*cited), sentence(cited[0], False), json.dumps(csl_json(*cited)), latex_table([cited])):
        assert PATHS[path] == path or "alice" not in text
        assert ".." not in text


def test_csl_json_says_what_the_sentence_says() -> None:
    certificate = claimed(scope={"feature": "is_french", "layer": 3})
    item = csl_json(certificate, DIGEST, certified=True)
    assert item["note"] == sentence(certificate, certified=True)
    assert item["id"] == "optprobe-0123456789ab"
    assert DIGEST in item["number"]
    assert item["author"] == [{"literal": "optprobe 1"}]
    assert "not verified here" in csl_json(certificate, DIGEST, certified=False)["note"]


HOSTILE = ("[5cm]", "*", "\\\\", "a & b", "}{", "\\input{x}", "% comment", "$x^2_1#~", "<|>", "x" * 1000)


def cells_of(table: str) -> list[list[str]]:
    """The rows of a table, in cells, as LaTeX splits them."""
    body = table.split("\\hline\n")[1].removesuffix("\\end{tabular}")
    return [re.split(r"(?<!\\) & ", line) for line in body.split(" \\\\\n") if line]


@pytest.mark.parametrize("text", HOSTILE)
def test_a_table_has_its_rows_and_cells_whatever_a_scope_says(text: str) -> None:
    scopes: list[dict[str, Any]] = [dict.fromkeys(("model", "layer", "feature"), text), {"layer": [text]}, {}]
    table = latex_table((claimed(scope=scope), DIGEST, False) for scope in scopes)
    rows = cells_of(table)
    assert [len(row) for row in rows] == [11, 11, 11]
    for row in rows:
        assert row[0] == DIGEST[:12]
        for cell in row:
            plain = re.sub(r"\\text\w+\{\}", "", cell)
            assert not re.search(r"(?<!\\)[&%$#_{}~^]", plain), cell
            assert re.fullmatch(r"(\\[&%$#_]|[^\\])*", plain), cell


@given(st.text(st.characters(exclude_categories=("C", "Z")), max_size=40))
def test_a_table_is_balanced(text: str) -> None:
    rows = cells_of(latex_table([(claimed(scope={"feature": text, "model": text}), DIGEST, True)]))
    assert [len(row) for row in rows] == [11]
    assert all(cell.count("{") == cell.count("}") for cell in rows[0])


def test_what_is_not_optimal_is_best_known() -> None:
    gap, closed = claimed((0.5, 0.4795)), claimed((0.5, 0.5))
    assert achieved(gap.claim.result) == "best known, gap 4.1%"
    assert achieved(closed.claim.result) == "optimal to 0"
    assert "gap 4.1%" in sentence(gap, True)
    assert "certified: best known, gap 4.1\\%" in latex_table([(gap, DIGEST, True)])
    assert "claimed: optimal" in latex_table([(closed, DIGEST, False)])
    for bounds in ((0.0, -1e100), (5e-324, -1e100), (-5e-324, -1e100)):
        assert relative_gap(claimed(bounds).claim.result) == 0
    assert relative_gap(claimed((1e-100, -1e100)).claim.result) < float("inf")


def printed(capsys: pytest.CaptureFixture[str], *command: object) -> tuple[int, str, str]:
    code = main(["cite", *map(str, command)])
    said = capsys.readouterr()
    return code, said.out, said.err


def test_formats(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = (claimed(scope={"feature": name}).save(tmp_path / f"{name}.cert") for name in ("a", "b"))
    code, text, _ = printed(capsys, a)
    assert code == 0
    code, entry, _ = printed(capsys, a, "--format", "bibtex")
    assert code == 0
    assert text.startswith(entry.rstrip("\n"))
    assert "claimed, not verified here" in text.removeprefix(entry.rstrip("\n"))
    code, items, _ = printed(capsys, a, b, "--format", "csl")
    assert code == 0
    assert len(json.loads(items)) == 2
    assert len(json.loads(printed(capsys, a, "--format", "csl")[1])) == 1
    code, names, _ = printed(capsys, a, b, "--format", "swhid")
    assert names.split() == [swhid(path.read_bytes()) for path in (a, b)]
    code, table, _ = printed(capsys, a, b, "--latex")
    assert [row[3] for row in cells_of(table.strip())] == ["a", "b"]
    with pytest.raises(SystemExit):
        main(["cite", str(a), "--latex", "--format", "csl"])
    assert printed(capsys, a, "--registry", tmp_path)[0] == 2
    assert printed(capsys, a, tmp_path / "nothing.cert", "--latex")[:2] == (2, "")


def test_a_wrong_certificate_among_others_is_not_cited(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import numpy as np

    import optprobe as op

    rng = np.random.default_rng(0)
    X = rng.standard_normal((40, 5))
    y = np.where(X[:, 0] > 0, 1, -1)
    np.savez(tmp_path / "data.npz", X_train=X, y_train=y)
    true = op.solve(op.sparse_probe_problem(X, y, 1, loss="squared")).certificate().save(tmp_path / "true.cert")
    false = claimed().save(tmp_path / "false.cert")
    code, out, _ = printed(capsys, true, false, "--latex", "--data", tmp_path / "data.npz")
    assert code == 1
    assert "tabular" not in out
    code, out, _ = printed(capsys, true, "--latex", "--data", tmp_path / "data.npz")
    assert code == 0
    assert "certified: optimal" in out
