"""`optprobe registry` and `optprobe cite` of its ids: what they print, what they refuse, and how they exit."""

from __future__ import annotations

import csv
import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from claims import claimed
from pyarrow import parquet
from sealing import altered, both_bounds

import optprobe as op
from optprobe.activations import activations_of
from optprobe.cli.main import main

RNG = np.random.default_rng(8)
X = RNG.standard_normal((80, 9))
Y = np.where(X[:, 0] - X[:, 3] + 0.5 * RNG.standard_normal(80) > 0, 1, -1)


@pytest.fixture
def data(tmp_path: Path) -> Path:
    np.savez(tmp_path / "data.npz", X_train=X, y_train=Y)
    return tmp_path / "data.npz"


@pytest.fixture(scope="module")
def certificates() -> dict[int, op.Certificate]:
    """Of one and of two neurons."""
    return {
        k: op.solve(op.sparse_probe_problem(X, Y, k, loss="squared")).certificate({"feature": "is_blue", "layer": k})
        for k in (1, 2)
    }


@pytest.fixture
def saved(certificates: dict[int, op.Certificate], tmp_path: Path) -> list[Path]:
    return [certificate.save(tmp_path / f"k{k}.cert") for k, certificate in certificates.items()]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    return tmp_path / "registry"


def ran(capsys: pytest.CaptureFixture[str], action: str, folder: Path, *more: object) -> tuple[int, str, str]:
    code = main(["registry", action, *map(str, more), "--registry", str(folder)])
    said = capsys.readouterr()
    assert "Traceback" not in said.err
    return code, said.out, said.err


def digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def test_adding_is_verifying(
    data: Path, saved: list[Path], folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    forged = altered(op.Certificate.load(saved[1]), both_bounds(1e-5), tmp_path / "forged.cert")
    code, out, _ = ran(capsys, "add", folder, saved[0], forged, "--data", data)
    assert code == 1
    first, second = out.splitlines()
    assert first == f"{digest(saved[0])}  {saved[0]}  verified"
    assert second.startswith(f"{forged}: rejected, and not added: the columns [")
    code, out, _ = ran(capsys, "add", folder, saved[1])
    assert code == 0
    assert out.endswith("not verified here\n")
    code, out, _ = ran(capsys, "list", folder, "--json")
    assert code == 0
    listed = {record["sha256"]: record["verified"] for record in json.loads(out)}
    assert listed == {digest(saved[0]): True, digest(saved[1]): None}
    code, out, _ = ran(capsys, "add", folder, saved[1], "--data", data, "--time-limit", "1e-9")
    assert code == 3
    assert "undecided, and not added" in out
    assert op.Registry(folder).record(digest(saved[1]))["verified"] is None


def test_what_cannot_be_added_leaves_nothing(
    data: Path, saved: list[Path], folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    truncated = tmp_path / "truncated.cert"
    truncated.write_bytes(saved[0].read_bytes()[:-1])
    for more in ((), ("--data", data)):
        code, out, _ = ran(capsys, "add", folder, truncated, *more)
        assert code == 1
        assert out.count("truncated.cert") == 1
        assert len(out.splitlines()) == 1
    other = tmp_path / "other.npz"
    np.savez(other, X_train=X, y_train=-Y)
    code, out, _ = ran(capsys, "add", folder, saved[0], "--data", other)
    assert code == 1
    assert "y is not the claim's" in out
    refused = (
        (tmp_path / "nothing.cert",),
        (saved[0], "--data", tmp_path / "nothing.npz"),
        (saved[0], tmp_path / "nothing.cert", "--data", data),
        (saved[0], "--time-limit", "5"),
        (saved[0], "--memory-limit", "5"),
        (saved[0], "--data", truncated),
        (tmp_path,),
    )
    for arguments in refused:
        code, out, err = ran(capsys, "add", folder, *arguments)
        assert (code, out) == (2, ""), arguments
        assert len(err.splitlines()) == 1
    assert not folder.exists()


def test_the_data_of_each_certificate_are_found_among_several(
    data: Path, saved: list[Path], folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    store = tmp_path / "store"
    labels = {"is_blue": Y, "is_red": np.where(X[:, 2] > 0, 1, -1)}
    activations_of({1: X, 4: X[:, ::-1]}, labels, np.arange(80) // 2, model="tiny").save(store)
    more = []
    for feature, layer in (("is_red", 1), ("is_blue", 4)):
        problem = op.problem(op.load_labelled(store, feature, layer), 1, loss="squared")
        more.append(op.solve(problem).certificate().save(tmp_path / f"{feature}.cert"))
    code, out, _ = ran(capsys, "add", folder, *more, saved[0], "--data", data, store)
    assert code == 0, out
    assert [line.split()[-1] for line in out.splitlines()] == ["verified"] * 3
    code, out, _ = ran(capsys, "list", folder, "--model", "tiny", "--layer", "4", "--feature", "is_blue", "--json")
    assert [record["sha256"] for record in json.loads(out)] == [digest(more[1])]


def test_list_and_show(
    data: Path, saved: list[Path], folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    worse = op.Certificate.load(saved[0])
    worse = op.Certificate.load(
        altered(
            worse,
            lambda claim, arrays: claim["result"].update(lower_bound=0.0),
            tmp_path / "worse.cert",
        )
    )
    ran(capsys, "add", folder, *saved, tmp_path / "worse.cert", "--data", data)
    assert len(json.loads(ran(capsys, "list", folder, "--json")[1])) == 2
    everything = json.loads(ran(capsys, "list", folder, "--json", "--all")[1])
    assert [record["superseded"] for record in everything] == [False, True, False]
    assert len(json.loads(ran(capsys, "list", folder, "--json", "--all", "--status", "gap")[1])) == 1
    filters = ("--k", 2, "--loss", "squared", "--ridge", 0.01, "--status", "optimal", "--neuron", 3)
    (record,) = json.loads(ran(capsys, "list", folder, "--json", *filters)[1])
    assert record["sha256"] == digest(saved[1])
    assert json.loads(ran(capsys, "list", folder, "--json", "--neuron", 10**25)[1]) == []
    _, out, _ = ran(capsys, "list", folder, "--all")
    assert len(out.splitlines()) == 5
    assert "yes; superseded" in out
    code, out, _ = ran(capsys, "show", folder, digest(saved[1])[:8], "--json")
    assert code == 0
    shown = json.loads(out)
    assert shown["note"]["status"] == "accepted"
    assert {name: shown[name] for name in record} == record
    code, out, _ = ran(capsys, "show", folder, digest(saved[1])[:8])
    assert code == 0
    assert "accepted by optprobe" in out
    assert f"optprobe verify {op.Registry(folder).path(digest(saved[1]))} --data DATA" in out
    for bad in ("12345", "../../x", "ffffffff" if not record["sha256"].startswith("f") else "00000000"):
        code, out, err = ran(capsys, "show", folder, bad)
        assert (code, out) == (2, "")
        assert len(err.splitlines()) == 1


def test_check(saved: list[Path], folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
    ran(capsys, "add", folder, *saved)
    assert ran(capsys, "check", folder)[0] == 0
    assert json.loads(ran(capsys, "check", folder, "--json")[1]) == []
    (folder / "evil\x1b[2K\n").write_text("x")
    code, out, _ = ran(capsys, "check", folder)
    assert code == 1
    assert all(line.isprintable() for line in out.splitlines())
    assert len(out.splitlines()) == 2
    (finding,) = json.loads(ran(capsys, "check", folder, "--json", "--sample", 1)[1])
    assert (finding["kind"], finding["sha256"]) == ("foreign", None)
    assert ran(capsys, "check", folder, "--sample", 0)[0] == 2


@pytest.mark.parametrize("workers", [None, 2])
def test_a_check_with_stores_verifies_what_is_about_them(
    workers: int | None, folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """Of two features, layers and splits; a forgery is found, and what is about other rows is left out."""
    labels = {"blue": Y, "late": np.where(np.arange(80) % 7 < 3, 1, -1)}
    op.activations_of({0: X, 4: X[:, ::-1]}, labels, np.arange(80) // 2).save(tmp_path / "acts")
    registry = op.Registry(folder)
    for feature, layer, seed in (("blue", 0, 0), ("blue", 4, 0), ("late", 0, 0), ("blue", 0, 3)):
        rows = op.load_labelled(tmp_path / "acts", feature, layer, seed=seed)
        registry.add(op.solve(op.problem(rows, 2, loss="squared")).certificate())
    best = op.solve(op.problem(op.load_labelled(tmp_path / "acts", "blue", 4), 1, loss="squared")).certificate()
    forged = registry.add(altered(best, both_bounds(1e-5), tmp_path / "forged.cert"))
    other = registry.add(op.solve(op.sparse_probe_problem(X, Y, 1)).certificate({"feature": "blue", "layer": 0}))
    odd = registry.add(op.solve(op.sparse_probe_problem(X, Y, 2)).certificate({"feature": ["x"], "split": {"a": 1}}))
    more = ["--data", tmp_path / "acts", *([] if workers is None else ["--workers", workers]), "--json"]
    code, out, _ = ran(capsys, "check", folder, *more)
    (finding,) = json.loads(out)
    assert (code, finding["kind"], finding["sha256"]) == (1, "rejected", forged)
    verified = {record["sha256"]: record["verified"] for record in registry.find(superseded=None)}
    assert [verified.pop(name) for name in (forged, other, odd)] == [False, None, None]
    assert list(verified.values()) == [True] * 4


def test_a_check_refuses_what_has_no_effect(
    saved: list[Path], folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ran(capsys, "add", folder, *saved)
    code, _, err = ran(capsys, "check", folder, "--workers", 2)
    assert (code, err.count("\n")) == (2, 1)
    assert "nothing is verified without data" in err
    code, _, err = ran(capsys, "check", folder, "--data", tmp_path / "nothing")
    assert (code, err.count("\n")) == (2, 1)
    assert ran(capsys, "check", folder, "--data", tmp_path, "--workers", 0)[0] == 2


@pytest.mark.parametrize("action", ["list", "check", "show", "export"])
def test_no_registry(action: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    more = {"show": ["123456"], "export": ["--to", str(tmp_path / "out.csv")]}.get(action, [])
    code, out, err = ran(capsys, action, tmp_path / "nowhere", *more)
    assert (code, out) == (2, "")
    assert len(err.splitlines()) == 1
    assert list(tmp_path.iterdir()) == []


SECRET = "/home/alice/secret"
SCOPE: dict[str, Any] = {
    "model": f"{SECRET}/pythia",
    "dataset": f"{SECRET}/words",
    "feature": '=1+1,"<b>',
    "layer": [f"{SECRET}/x", 3],
    "hook": f"file://{SECRET}/hook",
    "revision": None,
    "split": {"seed": 0, "test_share": 0.3, "folder": f"{SECRET}/split"},
    "file": f"{SECRET}/data.npz",
}


@pytest.fixture
def hostile(folder: Path) -> op.Registry:
    registry = op.Registry(folder)
    registry.add(claimed(scope=SCOPE, versions={"optprobe": f"{SECRET}/optprobe", f"{SECRET}/numpy": "2", "x": 3}))
    registry.add(claimed((0.3, 0.3), {"feature": "is_blue", "layer": 3}, k=3, support=(1, 2, 5), data="other"))
    registry.add(claimed((0.3, 0.2), {"feature": "superseded"}, k=3, support=(1, 2, 5), data="other"))
    return registry


def test_tables(hostile: op.Registry, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    for name in ("out.csv", "out.parquet"):
        code, out, _ = ran(capsys, "export", hostile.folder, "--to", tmp_path / name)
        assert (code, out) == (0, f"{tmp_path / name}\n")
        assert SECRET.encode() not in (tmp_path / name).read_bytes()
    table = parquet.read_table(tmp_path / "out.parquet").to_pylist()
    records = hostile.find(superseded=None)
    assert [record["superseded"] for record in records].count(True) == 1
    for row, record in zip(table, records, strict=True):
        for name in ("sha256", "k", "loss", "ridge", "upper_bound", "lower_bound", "optimal", "verified", "superseded"):
            assert row[name] == record[name]
        assert json.loads(row["support"]) == record["support"]
        assert row["X"] == record["data"]["X"]
    with (tmp_path / "out.csv").open(newline="") as file:
        rows = list(csv.DictReader(file))
    assert [row["feature"] for row in rows] == [record["feature"] for record in records]
    assert [float(row["upper_bound"]) for row in rows] == [record["upper_bound"] for record in records]
    code, out, err = ran(capsys, "export", hostile.folder, "--to", tmp_path / "out.csv")
    assert (code, out) == (2, "")
    assert "exists already" in err
    code, out, err = ran(capsys, "export", hostile.folder, "--to", tmp_path / "out.json")
    assert (code, out) == (2, "")
    assert not (tmp_path / "out.json").exists()


def test_a_crate(hostile: op.Registry, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    crate = tmp_path / "crate"
    assert ran(capsys, "export", hostile.folder, "--to", crate)[0] == 0
    text = (crate / "ro-crate-metadata.json").read_text()
    assert SECRET not in text
    described = json.loads(text)
    entities = {entity["@id"]: entity for entity in described["@graph"]}
    assert len(entities) == len(described["@graph"])
    assert described["@context"][0] == "https://w3id.org/ro/crate/1.1/context"
    about = entities["ro-crate-metadata.json"]
    assert (about["about"], about["conformsTo"]) == ({"@id": "./"}, {"@id": "https://w3id.org/ro/crate/1.1"})
    assert {"name", "description", "datePublished", "license", "hasPart"} <= set(entities["./"])
    files = {part["@id"] for part in entities["./"]["hasPart"]}
    assert {path.name for path in crate.iterdir()} == {*files, "ro-crate-metadata.json"}
    for name in files:
        assert entities[name]["sha256"] == digest(crate / name) == name.removesuffix(".cert")
        assert entities[name]["contentSize"] == str((crate / name).stat().st_size)
        assert op.Certificate.load(crate / name).claim == hostile.certificate(name.removesuffix(".cert")).claim
    references = [reference for entity in described["@graph"] for reference in referred(entity)]
    assert set(references) - set(entities) == {"https://w3id.org/ro/crate/1.1"}
    actions = [entity for entity in entities.values() if entity["@type"] == "CreateAction"]
    assert len(actions) == len(files) == 3
    for action in actions:
        record = hostile.record(action["result"]["@id"][:64])
        inputs = {entities[part["@id"]]["sha256"] for part in action["object"]}
        assert inputs == set(record["data"].values())


def referred(value: Any) -> list[str]:
    """Every entity that one refers to."""
    if isinstance(value, dict):
        inner = [name for key, part in value.items() if key != "@id" for name in referred(part)]
        return [value["@id"], *inner] if set(value) == {"@id"} else inner
    return [name for part in value for name in referred(part)] if isinstance(value, list) else []


def test_nothing_damaged_is_exported(hostile: op.Registry, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = hostile.path(hostile.find()[0]["id"])
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    code, out, err = ran(capsys, "export", hostile.folder, "--to", tmp_path / "crate")
    assert (code, out) == (2, "")
    assert path.name in err
    assert {entry.name for entry in tmp_path.iterdir()} == {"registry"}


def test_ids_are_cited(hostile: op.Registry, saved: list[Path], capsys: pytest.CaptureFixture[str]) -> None:
    ids = [record["id"] for record in hostile.find()]
    for form in (["--latex"], ["--format", "csl"], ["--format", "bibtex"], []):
        assert main(["cite", *ids, str(saved[0]), "--registry", str(hostile.folder), *form]) == 0
        out = capsys.readouterr().out
        assert "alice" not in out
        assert all(name in out for name in ids)
    assert main(["cite", "00000000", "--registry", str(hostile.folder)]) == 2
    assert len(capsys.readouterr().err.splitlines()) == 1
    assert main(["cite", ids[0]]) == 2
    path = hostile.path(ids[0])
    path.write_bytes(hostile.certificate(ids[1]).content)
    capsys.readouterr()
    assert main(["cite", ids[0], "--registry", str(hostile.folder)]) == 2
    said = capsys.readouterr()
    assert said.out == ""
    assert "another certificate" in said.err


def test_an_id_is_cited_as_certified_with_its_data_only(
    data: Path, saved: list[Path], folder: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    ran(capsys, "add", folder, *saved, "--data", data)
    names = [digest(path)[:10] for path in saved]
    assert main(["cite", *names, "--registry", str(folder)]) == 0
    assert "certified" not in capsys.readouterr().out
    assert main(["cite", *names, "--registry", str(folder), "--data", str(data), "--latex"]) == 0
    assert capsys.readouterr().out.count("certified: optimal") == 2
