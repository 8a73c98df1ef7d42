"""``--layers``: solved, verified by what the scope says, exported and cited; no other names are ever accepted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sealing import altered

from optprobe.activations import Activations, activations_of
from optprobe.certificates import Certificate
from optprobe.cli.main import main

RNG = np.random.default_rng(13)
VALUES = {layer: RNG.standard_normal((120, width)).astype(np.float32) for layer, width in {0: 8, 1: 8, 4: 6}.items()}
SIGNAL = VALUES[1][:, 2] - VALUES[4][:, 3]
Y = np.where(SIGNAL + 0.4 * RNG.standard_normal(120) > 0, 1, -1)
LAYERS = {"0-1": 8, "4": 6}


@pytest.fixture
def store(tmp_path: Path) -> Path:
    activations_of(VALUES, {"red": Y}, np.arange(120) // 3, targets={"depth": SIGNAL}, model="made").save(
        tmp_path / "acts"
    )
    return tmp_path / "acts"


def solved(store: Path, capsys: pytest.CaptureFixture[str], *more: str, k: int = 2) -> dict[str, Any]:
    stated = ["--feature", "red", "--k", str(k), "--loss", "squared", "--out", str(store.parent / "out"), "--json"]
    assert main(["solve", str(store), *stated, *more]) == 0
    return json.loads(capsys.readouterr().out.splitlines()[-1])


@pytest.mark.parametrize("layers", [["all"], ["0-1", "4"], ["4", "0", "1"], ["0,1,4"], ["0-1,4"]])
def test_layers_end_to_end(layers: list[str], store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = solved(store, capsys, "--layers", *layers)
    assert found["support"] == [10, 19]
    assert found["neurons"] == ["L1.N2", "L4.N3"]
    path = found["certificate"]
    assert Path(path).name.startswith("red.layers0-1_4.k2.squared")
    scope = Certificate.load(path).claim.author.scope
    assert scope["layers"] == LAYERS
    assert "layer" not in scope
    for more in ([], ["--exact"], ["--exhaustive"], ["--layers", *layers]):
        assert main(["verify", path, "--data", str(store), *more]) == 0
        said = " ".join(capsys.readouterr().out.split())
        if more != ["--exact"]:
            assert "layers 0-1 8, 4 6 (as in the store's manifest)" in said
            assert "by layers 10 is L1.N2, 19 is L4.N3" in said
    assert main(["cite", path, "--data", str(store)]) == 0
    cited = " ".join(capsys.readouterr().out.split())
    assert "Among the 22 neurons of layers 0-1, 4 of made, no set of 2 for the feature 'red'" in cited
    assert "the neurons L1.N2, L4.N3 attain" in cited
    assert "certified optimal" in cited
    assert main(["cite", path, "--latex"]) == 0
    assert "& made & 0-1, 4 & red & 2 & squared & 0.01 & L1.N2, L4.N3 &" in capsys.readouterr().out
    rows = store.parent / "rows.npz"
    assert main(["export", str(store), "--feature", "red", "--layers", *layers, "--out", str(rows)]) == 0
    assert "22 neurons of layers 0-1, 4" in capsys.readouterr().out
    assert main(["verify", path, "--data", str(rows)]) == 0


def test_paths_pools_and_comparisons(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    stated = [str(store), "--feature", "red", "--layers", "all", "--loss", "squared"]
    out = ["--out", str(store.parent / "path")]
    assert main(["path", *stated, "--k", "1-2", *out, "--json"]) == 0
    (one, two) = json.loads(capsys.readouterr().out)["path"]
    assert two["neurons"] == ["L1.N2", "L4.N3"]
    assert main(["verify", one["certificate"], "--data", str(store)]) == 0
    capsys.readouterr()
    assert main(["compare", *stated, "--k", "2", "--methods", "mean_difference", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["neurons"] == two["neurons"]
    assert main(["solve", *stated, "--k", "2", "--pool", "2", *out, "--json"]) == 0
    pooled = json.loads(capsys.readouterr().out)
    assert {"L1.N2", "L4.N3"} <= set(pooled["roles"])
    assert main(["verify", pooled["certificate"], "--data", str(store)]) == 0
    target = ["solve", str(store), "--target", "depth", "--layers", "1", "4", "--k", "2", *out, "--json"]
    capsys.readouterr()
    assert main(target) == 0
    found = json.loads(capsys.readouterr().out)
    assert found["neurons"] == ["L1.N2", "L4.N3"]
    assert main(["verify", found["certificate"], "--data", str(store)]) == 0


def test_neurons_forced_and_forbidden_by_name(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    by_name = solved(store, capsys, "--layers", "all", "--force", "L0.N7", "--forbid", "L1.N2,L1.N3")
    by_number = solved(store, capsys, "--layers", "all", "--force", "7", "--forbid", "10,11")
    assert by_name["support"] == by_number["support"]
    assert by_name["neurons"][0] == "L0.N7"
    assert ".withoutL1.N2-L1.N3.withL0.N7." in by_name["certificate"]
    assert main(["verify", by_name["certificate"], "--data", str(store)]) == 0
    capsys.readouterr()
    assert main(["cite", by_name["certificate"]]) == 0
    cited = " ".join(capsys.readouterr().out.split())
    assert "neurons of layers 0-1, 4 without L1.N2, L1.N3 of made, with L0.N7 in every set" in cited


def test_one_neuron_of_each_layer(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = solved(store, capsys, "--layers", "all", "--groups", "layer", k=4)
    assert len(found["support"]) == 3
    assert [name.split(".")[0] for name in found["neurons"]] == ["L0", "L1", "L4"]
    true, forged = Certificate.load(found["certificate"]), store.parent / "forged.cert"
    assert true.claim.author.scope["groups"] == "layer"
    ungrouped = Certificate.load(solved(store, capsys, "--layers", "all")["certificate"])
    altered(ungrouped, saying(groups="layer"), forged)
    assert main(["verify", str(forged), "--data", str(store)]) == 1
    of_others = solved(store, capsys, "--layers", "all", "--groups", "cluster:0.1")["certificate"]
    altered(Certificate.load(of_others), saying(groups="layer"), forged)
    assert main(["verify", str(forged), "--data", str(store)]) == 1
    assert "the scope says that the groups are the layers, and they are others" in capsys.readouterr().out
    assert main(["verify", found["certificate"], "--data", str(store)]) == 0
    capsys.readouterr()
    assert main(["cite", found["certificate"]]) == 0
    assert "at most one of each of 3 groups" in " ".join(capsys.readouterr().out.split())


def saying(**changed: Any) -> Any:
    """A change of the scope; None takes an entry out."""

    def change(claim: dict[str, Any], arrays: Any) -> None:
        scope = claim["author"]["scope"]
        scope.update(changed)
        for name in [name for name, value in scope.items() if value is None and name in changed]:
            del scope[name]

    return change


FORGED: dict[str, Any] = {
    "left out": (saying(layers=None), ["--layers", "all"], 1),
    "one layer instead": (saying(layers=None, layer=0), ["--layers", "all"], 1),
    "one layer instead, read so": (saying(layers=None, layer=0), [], 1),
    "one layer as well": (saying(layer=0), [], 1),
    "other widths": (saying(layers={"0": 6, "1": 8, "4": 8}), [], 1),
    "other widths of as many": (saying(layers={"0": 10, "1": 6, "4": 6}), [], 1),
    "fewer layers": (saying(layers={"0-1": 8}), [], 1),
    "other layers, read so": (saying(layers={"0": 8, "4": 6}), [], 1),
    "other layers": (saying(layers={"0-1": 8, "3": 6}), ["--layers", "all"], 1),
    "layers that are not there": (saying(layers={"0-1": 8, "3": 6}), [], 2),
    "in another form": (saying(layers={"0": 8, "1": 8, "4": 6}), [], 1),
    "in no form": (saying(layers="0-1, 4"), ["--layers", "all"], 1),
    "a list": (saying(layers=[0, 1, 4]), ["--layers", "all"], 1),
    "heads": (saying(heads=2), [], 1),
    "a basis": (saying(basis={"call": "principal", "of": 22, "sha256": "0" * 64}), [], 2),
}


@pytest.mark.parametrize("case", FORGED)
@pytest.mark.parametrize("exact", [[], ["--exact"]])
def test_layers_that_are_not_the_stores(
    case: str, exact: list[str], store: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """The numbers of the claim hold; what they are called does not."""
    change, more, code = FORGED[case]
    forged = store.parent / "forged.cert"
    altered(Certificate.load(solved(store, capsys, "--layers", "all")["certificate"]), change, forged)
    assert main(["verify", str(forged), "--data", str(store), *more, *exact]) == code
    assert main(["cite", str(forged), "--data", str(store), *more]) == code


def test_a_certificate_of_other_layers(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Layers of equal width: exchanged, or one passed for two, the digest tells."""
    first = Certificate.load(solved(store, capsys, "--layers", "0", "4")["certificate"])
    forged = altered(first, saying(layers={"1": 8, "4": 6}), store.parent / "forged.cert")
    assert main(["verify", str(forged), "--data", str(store)]) == 1
    assert "X is not the claim's" in capsys.readouterr().out
    turned = {0: VALUES[1], 1: VALUES[0], 4: VALUES[4]}
    activations_of(turned, {"red": Y}, np.arange(120) // 3, model="made").save(store.parent / "turned")
    path = solved(store.parent / "turned", capsys, "--layers", "all")["certificate"]
    assert main(["verify", path, "--data", str(store)]) == 1
    one = Certificate.load(solved(store, capsys, "--layer", "0")["certificate"])
    for layers in ({"0": 8}, {"0-1": 4}):
        lied = altered(one, saying(layers=layers), forged)
        assert main(["verify", str(lied), "--data", str(store), "--layer", "0"]) == 1
        assert "the scope says layers, by which columns are named" in capsys.readouterr().out


def test_names_are_compared_with_a_files_layers(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows, forged = store.parent / "rows.npz", store.parent / "forged.cert"
    assert main(["export", str(store), "--feature", "red", "--layers", "all", "--out", str(rows)]) == 0
    true = Certificate.load(solved(store, capsys, "--layers", "all")["certificate"])
    others = {"0-1": 8, "5": 6}
    basis = {"basis": {"call": "rotated:1", "of": 22, "sha256": "0" * 64}}
    for change in ({"layers": others}, {"layers": None}, {"layer": 3}, basis, {"heads": 2}):
        altered(true, saying(**change), forged)
        assert main(["verify", str(forged), "--data", str(rows)]) == 1
        assert "the scope says " in capsys.readouterr().out


def test_a_basis_that_a_file_names_is_named(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Else `cite` would call columns of a rotation neurons of layers."""
    rows, forged = store.parent / "rows.npz", store.parent / "forged.cert"
    stated = ["--feature", "red", "--layers", "all", "--basis", "rotated:1"]
    assert main(["export", str(store), *stated, "--out", str(rows)]) == 0
    true = Certificate.load(solved(store, capsys, "--layers", "all", "--basis", "rotated:1")["certificate"])
    true.save(forged)
    assert main(["verify", str(forged), "--data", str(rows)]) == 0
    for change in (saying(basis=None), saying(layers=None)):
        altered(true, change, forged)
        for command in ("verify", "cite"):
            assert main([command, str(forged), "--data", str(rows)]) == 1
            said = capsys.readouterr()
            assert "the scope says none of" in said.out + said.err


def test_what_a_scope_says_ends_in_a_sentence(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    forged = store.parent / "forged.cert"
    true = Certificate.load(solved(store, capsys, "--layers", "all")["certificate"])
    altered(true, saying(split={"seed": -1, "test_share": 0.3}), forged)
    assert main(["verify", str(forged), "--data", str(store)]) == 1
    assert "which is none of a store" in capsys.readouterr().out
    with pytest.raises(SystemExit):
        main(["registry", "list", str(store.parent / "r"), "--layer", "0-999999"])
    assert "names more than 10,000 numbers" in capsys.readouterr().err


def test_moments_are_of_one_layer(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A certificate from moments cannot name its columns by several layers."""
    moments, forged = store.parent / "moments", store.parent / "forged.cert"
    assert main(["moments", str(store), "--out", str(moments)]) == 0
    found = solved(moments, capsys, "--layer", "1")
    altered(Certificate.load(found["certificate"]), saying(layers={"0-1": 4}), forged)
    assert main(["verify", str(forged), "--data", str(moments)]) == 1
    assert "the scope says layers, by which columns are named" in capsys.readouterr().out
    asked = ["--feature", "red", "--k", "1", "--out", str(store.parent / "none")]
    for more, sentence in (
        (["--layers", "all"], "holds moments, each of one layer: give --layer, or the store"),
        (["--layer", "1", "--forbid", "L1.N0"], "L1.N0 names a neuron of several layers"),
        (["--layer", "1", "--groups", "layer"], "need the neurons of several side by side"),
    ):
        assert main(["solve", str(moments), *asked, *more]) == 2
        assert sentence in capsys.readouterr().err
    assert list((store.parent / "none").iterdir()) == []


def test_what_cannot_be_is_one_sentence(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = solved(store, capsys, "--layers", "all")["certificate"]
    solve = ["solve", str(store), "--feature", "red", "--k", "1", "--out", str(store.parent / "none")]
    for command, sentence in (
        ([*solve, "--layer", "0", "--layers", "1"], "give one of the two"),
        ([*solve, "--layers", "0-4"], "there is no layer 2 among these activations, only 0, 1, 4"),
        ([*solve, "--layers", "0", "0-1"], "layers names the layer 0 twice"),
        ([*solve, "--layers", "all", "0"], "--layers names all layers and others"),
        ([*solve, "--layers", "all", "--force", "L4.N6"], "there is no neuron L4.N6"),
        ([*solve, "--layer", "0", "--force", "L0.N1"], "L0.N1 names a neuron of several layers"),
        ([*solve, "--layer", "0", "--groups", "layer"], "need the neurons of several side by side"),
        ([*solve, "--layers", "1", "--groups", "layer"], "need the neurons of several side by side"),
        (["compare", *solve[1:-2], "--layers", "all", "--ranking", "r.csv"], "r.csv numbers neurons of one layer"),
        (["cite", path, "--layers", "all"], "--layers is about the data"),
    ):
        capsys.readouterr()
        assert main(command) == 2
        assert sentence in (said := capsys.readouterr().err)
        assert said.count("\n") == 1
    for odd, sentence in (
        (["--layers", "1-0"], "'1-0' is no list of numbers such as 1-5 or 1,3"),
        (["--layers", "every"], "'every' is no list of numbers"),
        (["--force", "N7"], "'N7' is no list of columns such as 415, 415,7 or L24.N157"),
    ):
        with pytest.raises(SystemExit):
            main([*solve, *odd])
        assert sentence in capsys.readouterr().err
    assert list((store.parent / "none").iterdir()) == []


def test_a_registry_knows_layers(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    registry = ["--registry", str(store.parent / "registry")]
    path = solved(store, capsys, "--layers", "all")["certificate"]
    one = solved(store, capsys, "--layer", "1", k=1)["certificate"]
    assert main(["registry", "add", path, one, "--data", str(store), *registry]) == 0
    capsys.readouterr()
    for said in ("0-1,4", "0,1,4", "4,0-1"):
        assert main(["registry", "list", "--layer", said, *registry]) == 0
        listed = capsys.readouterr().out
        assert "L1.N2, L4.N3" in listed
        assert "0-1, 4" in listed
        assert listed.count("made") == 1
    assert main(["registry", "list", "--layer", "1", "--json", *registry]) == 0
    assert [record["k"] for record in json.loads(capsys.readouterr().out)] == [1]
    for note in (store.parent / "registry").rglob("*.json"):
        note.unlink()
    assert main(["registry", "check", "--data", str(store), "--json", *registry]) == 0
    assert main(["registry", "list", "--json", *registry]) == 0
    assert all(record["verified"] for record in json.loads(capsys.readouterr().out.splitlines()[-1]))
    assert main(["report", *registry[1:], "--out", str(store.parent / "site"), "--activations", str(store)]) == 0
    pages = {path.name: path.read_text() for path in (store.parent / "site").rglob("*.html")}
    assert "L1.N2" in pages["index.html"]
    assert any("neuron L4.N3 of layers 0-1, 4" in page for page in pages.values())


def test_ranges_are_extracted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    chosen = ["--dataset", "is_french", "--device", "cpu", "--out"]
    assert main(["extract", "bundled", "--layers", "1-2", *chosen, str(tmp_path / "range")]) == 0
    assert main(["extract", "bundled", "--layers", "all", *chosen, str(tmp_path / "all")]) == 0
    assert Activations.open(tmp_path / "range").layers == (1, 2)
    assert Activations.open(tmp_path / "all").layers[:3] == (0, 1, 2)
    capsys.readouterr()
    stated = ["--layers", "all", "--k", "2", "--loss", "squared", "--ridge", "0.1", "--out", str(tmp_path), "--json"]
    assert main(["solve", str(tmp_path / "range"), *stated]) == 0
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert all(name.startswith(("L1.N", "L2.N")) for name in found["neurons"])
    assert main(["verify", found["certificate"], "--data", str(tmp_path / "all")]) == 0
