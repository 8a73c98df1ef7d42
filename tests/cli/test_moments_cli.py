"""``optprobe moments``, and solving and verifying from its folder, end to end."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from optprobe.activations import Activations, MomentStore, NeuronMatrix, activations_of, load_labelled
from optprobe.certificates import verify
from optprobe.cli.main import main
from optprobe.errors import InputError, StoreDamaged

N_ROWS, N_NEURONS = 150, 9


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two features, of which one does not cover all rows, at two layers."""
    rng = np.random.default_rng(23)
    folder = tmp_path_factory.mktemp("data") / "store"
    matrices = {layer: rng.standard_normal((N_ROWS, N_NEURONS)).astype(np.float32) + 3 for layer in (1, 4)}
    matrices[1][:, 5] = 0.25
    labels = {
        "is_blue": np.where(matrices[1][:, 0] - matrices[1][:, 2] + rng.standard_normal(N_ROWS) > 0, 1, -1),
        "one/of many": np.where(matrices[4][:, 3] + 0.5 * rng.standard_normal(N_ROWS) > 3.5, 1, -1),
    }
    labels["one/of many"][::4] = 0
    activations_of(matrices, labels, np.arange(N_ROWS) // 4, model="tiny", hook="post", name="colours").save(folder)
    return folder


@pytest.fixture
def moments(store: Path, tmp_path: Path) -> Path:
    assert main(["moments", str(store), "--out", str(tmp_path / "moments")]) == 0
    return tmp_path / "moments"


def last_json(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    record = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert isinstance(record, dict)
    return record


@pytest.mark.parametrize("class_weight", ["none", "balanced"])
@pytest.mark.parametrize(("feature", "layer"), [("is_blue", 1), ("one/of many", 4)])
def test_solves_and_verifies_as_from_activations(
    feature: str, layer: int, class_weight: str, store: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder, out = tmp_path / "moments", tmp_path / "certificates"
    accumulate = ["moments", str(store), "--out", str(folder), "--class-weight", class_weight, "--seed", "3"]
    assert main([*accumulate, "--test-share", "0.4", "--layer", str(layer), "--feature", feature]) == 0
    data = load_labelled(store, feature, layer, test_share=0.4, seed=3)
    np.savez(tmp_path / "rows.npz", X_train=data.X_train, y_train=data.y_train)
    for k in (1, 2, 3):
        stated = ["--k", str(k), "--ridge", "0.02", "--json", "--out", str(out)]
        rows = ["solve", str(tmp_path / "rows.npz"), "--loss", "squared", "--class-weight", class_weight, *stated]
        assert main(rows) == 0
        expected = last_json(capsys)
        assert main(["solve", str(folder), "--feature", feature, "--layer", str(layer), *stated]) == 0
        found = last_json(capsys)
        assert found["support"] == expected["support"]
        assert abs(found["upper_bound"] - expected["upper_bound"]) < 1e-9
        assert abs(found["lower_bound"] - expected["lower_bound"]) < 1e-9
        assert (found["loss"], found["class_weight"], found["engine"]) == ("squared", class_weight, "enumeration")
        certificate = found["certificate"]
        assert certificate.endswith(".moments.cert")
        for mode in ([], ["--fast"], ["--exhaustive"]):
            assert main(["verify", certificate, "--data", str(folder), *mode]) == 0
            printed = capsys.readouterr().out
            assert f"the moments of {len(data.y_train)} rows" in printed
            assert f"{feature} (as in the store's manifest)" in printed
        assert main(["verify", certificate, "--data", str(tmp_path / "rows.npz")]) == 1
        assert "about moments" in capsys.readouterr().out
        assert main(["verify", expected["certificate"], "--data", str(folder)]) in (1, 2)
        capsys.readouterr()
        assert main(["cite", certificate]) == 0
        assert f"from the moments of {len(data.y_train)} rows" in capsys.readouterr().out


def test_same_bounds_as_from_the_store_itself(store: Path, moments: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--feature", "is_blue", "--layer", "1", "--k", "3", "--json", "--out", str(moments.parent / "c")]
    records = []
    for data, loss in ((store, ["--loss", "squared"]), (moments, [])):
        assert main(["solve", str(data), *where, *loss]) == 0
        records.append(last_json(capsys))
    assert records[0]["support"] == records[1]["support"]
    assert abs(records[0]["upper_bound"] - records[1]["upper_bound"]) < 1e-9
    assert abs(records[0]["lower_bound"] - records[1]["lower_bound"]) < 1e-9


def test_top_is_that_of_the_mean_difference(store: Path, moments: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--feature", "is_blue", "--layer", "4", "--k", "2", "--top", "4", "--json", "--out", str(moments.parent)]
    supports = []
    for data, loss in ((store, ["--loss", "squared"]), (moments, [])):
        assert main(["solve", str(data), *where, *loss]) == 0
        supports.append(last_json(capsys)["support"])
    assert supports[0] == supports[1]


def test_what_the_folder_says(moments: Path) -> None:
    opened = MomentStore.open(moments)
    assert opened.features == ("is_blue", "one/of many")
    assert opened.layers == (1, 4)
    found, scope = opened.load("one/of many", 4)
    assert scope["dataset"] == "colours"
    assert scope["split"] == {"seed": 0, "test_share": 0.3}
    assert found.made["class_weight"] == "none"
    assert (found.made["feature"], found.made["layer"]) == ("one/of many", 4)
    assert 0 < found.error < 1e-12
    assert sorted(path.name for path in moments.iterdir()) == sorted([*opened.manifest["files"], "manifest.json"])
    assert "layer_1.is_blue.safetensors" in opened.manifest["files"]


def test_a_flipped_byte_is_found(moments: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = moments / "layer_1.is_blue.safetensors"
    data = bytearray(path.read_bytes())
    data[-100] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(StoreDamaged, match=r"layer_1\.is_blue\.safetensors was altered"):
        MomentStore.open(moments).load("is_blue", 1)
    MomentStore.open(moments).load("is_blue", 4)
    assert main(["solve", str(moments), "--feature", "is_blue", "--layer", "1", "--k", "1"]) == 2
    assert "was altered" in capsys.readouterr().err
    path.unlink()
    with pytest.raises(StoreDamaged, match="is missing"):
        MomentStore.open(moments).load("is_blue", 1)
    manifest = moments / "manifest.json"
    manifest.write_text(manifest.read_text(encoding="utf-8")[:-40], encoding="utf-8")
    with pytest.raises(StoreDamaged, match="JSON"):
        MomentStore.open(moments)


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ("solve MOMENTS --k 2 --layer 1", "several features"),
        ("solve MOMENTS --k 2 --feature is_blue", "several layers"),
        ("solve MOMENTS --k 2 --feature is_red --layer 1", "no feature 'is_red'"),
        ("solve MOMENTS --k 7 --feature is_blue --layer 1", "k <= 6"),
        ("solve MOMENTS --k 2 --feature is_blue --layer 1 --loss hinge", "not hinge loss"),
        ("solve MOMENTS --k 2 --feature is_blue --layer 1 --paper", "not --paper"),
        ("solve MOMENTS --k 2 --feature is_blue --layer 1 --class-weight balanced", "class weights none"),
        ("solve MOMENTS --k 2 --feature is_blue --layer 1 --method branch_and_cut", "needs the rows"),
        ("solve MOMENTS --k 2 --feature is_blue --layer 1 --top 1", "--top is 1"),
        ("solve MOMENTS --k 2 --feature is_blue --layer 1 --ridge 0", "positive"),
        ("compare MOMENTS --k 2 --feature is_blue --layer 1", "needs the rows"),
        ("moments STORE --out MOMENTS", "exists already"),
        ("moments STORE --out NEW --feature is_red", "no feature 'is_red'"),
        ("moments STORE --out NEW --layer 7", "no layer 7"),
        ("moments STORE --out NEW --test-share 1.5", "test share"),
        ("moments MOMENTS --out NEW", "format"),
    ],
)
def test_bad_input_is_one_sentence(
    arguments: str, sentence: str, store: Path, moments: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    names = {"MOMENTS": moments, "STORE": store, "NEW": moments.parent / "new"}
    capsys.readouterr()
    assert main([str(names.get(word, word)) for word in arguments.split()]) == 2
    lines = capsys.readouterr().err.strip().splitlines()
    assert len(lines) == 1
    assert sentence in lines[0]
    assert not names["NEW"].exists()


def test_a_value_that_is_not_finite_leaves_nothing(store: Path, tmp_path: Path) -> None:
    from optprobe.activations import accumulate

    activations = Activations.open(store)
    arrays = {layer: np.array(matrix) for layer, matrix in activations.matrices.items()}
    arrays[4][:, 6] = np.inf
    broken = replace(activations, matrices={layer: NeuronMatrix.of(array) for layer, array in arrays.items()})
    with pytest.raises(InputError, match=r"layer 4, among the training rows: X is inf at row 0, column 6"):
        accumulate(broken, tmp_path / "new")
    assert list(tmp_path.iterdir()) == []


def test_the_certificate_is_about_these_moments(moments: Path, capsys: pytest.CaptureFixture[str]) -> None:
    where = ["--feature", "is_blue", "--layer", "1"]
    assert main(["solve", str(moments), *where, "--k", "2", "--json", "--out", str(moments.parent / "c")]) == 0
    certificate = last_json(capsys)["certificate"]
    found, _ = MomentStore.open(moments).load("is_blue", 1)
    assert verify(certificate, moments=found).accepted
    other, _ = MomentStore.open(moments).load("is_blue", 4)
    assert "not the claim's" in verify(certificate, moments=other).reason
    assert main(["verify", certificate, "--data", str(moments), "--layer", "4"]) == 1
