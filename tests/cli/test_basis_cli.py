"""``--basis``: solved, verified by the same call, exported and cited; what is of another basis is never accepted."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sealing import altered

from formulations.columns import Columns, columns_of
from optprobe.activations import activations_of
from optprobe.certificates import Certificate
from optprobe.cli.main import main

RNG = np.random.default_rng(4)
X = RNG.standard_normal((120, 8)).astype(np.float32)
Y = np.where(X[:, 1] - X[:, 6] + RNG.standard_normal(120) > 0, 1, -1)


@pytest.fixture
def store(tmp_path: Path) -> Path:
    activations_of(X, {"red": Y}, np.arange(120) // 3, model="made").save(tmp_path / "acts")
    np.savez(tmp_path / "d.npz", W_enc=RNG.standard_normal((8, 15)), b_enc=np.zeros(15))
    return tmp_path / "acts"


def solved(store: Path, basis: str, capsys: pytest.CaptureFixture[str], *more: str) -> Path:
    stated = ["--k", "2", "--loss", "squared", "--out", str(store.parent / "out"), "--json", *more]
    assert main(["solve", str(store), "--basis", basis, *stated]) == 0
    return Path(json.loads(capsys.readouterr().out.splitlines()[-1])["certificate"])


@pytest.mark.parametrize(
    ("call", "words"),
    [
        ("rotated:5", "Among the 8 columns of a random rotation (seed 5) of the 8 neurons of layer 0 of made"),
        ("principal", "Among the 8 principal components of the 8 neurons of layer 0 of made"),
        ("latents", "Among the 15 latents of dictionary d.npz (sha256 "),
    ],
)
def test_a_basis_end_to_end(call: str, words: str, store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    basis = f"latents:{store.parent / 'd.npz'}" if call == "latents" else call
    path = solved(store, basis, capsys)
    scope = Certificate.load(path).claim.author.scope
    assert scope["basis"]["of"] == 8
    given = ["--basis", basis] if call == "latents" else []
    assert main(["verify", str(path), "--data", str(store), *given]) == 0
    assert "basis           call" in capsys.readouterr().out
    assert main(["verify", str(path), "--data", str(store), "--exact", "--basis", basis]) == 0
    rows = store.parent / "rows.npz"
    assert main(["export", str(store), "--basis", basis, "--out", str(rows)]) == 0
    assert main(["verify", str(path), "--data", str(rows)]) == 0
    capsys.readouterr()
    assert main(["cite", str(path)]) == 0
    cited = capsys.readouterr().out
    assert words in cited.replace("\\", "")
    assert str(store.parent) not in cited
    assert main(["compare", str(store), "--basis", basis, "--k", "1", "--methods", "mean_difference", "--json"]) == 0
    assert main(["path", str(store), "--basis", basis, "--k", "1-2", "--out", str(store.parent / "path")]) == 0


def test_another_basis_is_not_the_certificates(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = solved(store, "rotated:5", capsys)
    plain = solved(store, "principal", capsys)
    assert path.name.startswith("red.layer0.rotated5.k2")
    verify = ["verify", str(path), "--data", str(store), "--basis"]
    for other in ("rotated:6", "principal"):
        assert main([*verify, other]) == 2
        assert "the certificate is about the basis" in capsys.readouterr().err
    lied = altered(Certificate.load(plain), _named("rotated:5"), store.parent / "lied.cert")
    assert main(["verify", str(lied), "--data", str(store)]) == 2
    claimed = dict(Certificate.load(path).claim.author.scope["basis"])
    sealed = altered(Certificate.load(plain), lambda claim, _: claim["author"]["scope"].update(basis=claimed), lied)
    assert main(["verify", str(sealed), "--data", str(store)]) == 1
    rows = store.parent / "plain.npz"
    assert main(["export", str(store), "--out", str(rows)]) == 0
    assert main(["verify", str(path), "--data", str(rows)]) == 1


@pytest.mark.parametrize("exact", [[], ["--exact"]])
def test_columns_that_pass_for_neurons(store: Path, exact: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    """A scope that leaves its basis out, or speaks of heads where the store has neurons: the numbers hold."""
    rotated, plain = (Certificate.load(solved(store, "rotated:5", capsys)), store.parent / "forged.cert")
    verify = ["verify", str(plain), "--data", str(store), *exact]
    altered(rotated, lambda claim, _: claim["author"]["scope"].pop("basis"), plain)
    assert main([*verify, "--basis", "rotated:5"]) == 1
    assert "the scope says none of basis" in capsys.readouterr().out
    assert main(["cite", str(plain), "--data", str(store), "--basis", "rotated:5"]) == 1
    altered(rotated, lambda claim, _: claim["author"]["scope"].update(heads=4), plain)
    assert main(verify) == 1
    assert "the scope says heads" in capsys.readouterr().out


def test_what_cannot_be_is_one_sentence(store: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = solved(store, f"latents:{store.parent / 'd.npz'}", capsys)
    assert main(["moments", str(store), "--out", str(store.parent / "moments")]) == 0
    solve = ["solve", str(store), "--k", "1", "--out", str(store.parent / "none"), "--basis"]
    for command, sentence in (
        (["verify", str(path), "--data", str(store)], "say by --basis latents:FILE where that dictionary is"),
        ([*solve, "rotated"], "give rotated:0 with its seed"),
        ([*solve, "latents:nothing.npz"], "there is no file nothing.npz"),
        (["solve", str(store.parent / "moments"), "--k", "1", "--basis", "principal"], "--basis needs the rows"),
        (["cite", str(path), "--basis", "principal"], "--basis is about the data"),
    ):
        capsys.readouterr()
        assert main(command) == 2
        assert sentence in (said := capsys.readouterr().err)
        assert "Traceback" not in said
    assert list((store.parent / "none").iterdir()) == []


def test_heads_of_the_bundled_model(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    store = tmp_path / "acts"
    chosen = ["--dataset", "is_french", "--layers", "2", "--device", "cpu", "--hook", "attn.heads"]
    assert main(["extract", "bundled", *chosen, "--out", str(store)]) == 0
    path = solved(store, "rotated:0", capsys)
    assert main(["cite", str(path), "--data", str(store)]) == 0
    assert "of a random rotation (seed 0) of the 192 dimensions of 6 attention heads" in capsys.readouterr().out
    assert main(["moments", str(store), "--out", str(tmp_path / "moments")]) == 0
    for data in (store, tmp_path / "moments"):
        stated = ["--k", "1", "--loss", "squared", "--out", str(tmp_path / "out"), "--json"]
        assert main(["solve", str(data), *stated]) == 0
        found = json.loads(capsys.readouterr().out.splitlines()[-1])
        (column,) = found["support"]
        assert Certificate.load(found["certificate"]).claim.author.scope["heads"] == 6
        assert main(["verify", found["certificate"], "--data", str(data)]) == 0
        assert main(["cite", found["certificate"]]) == 0
        cited = " ".join(capsys.readouterr().out.split())
        assert f"the dimension {column % 32} of head {column // 32}'s output attains" in cited


def _named(call: str) -> Any:
    return lambda claim, _: claim["author"]["scope"]["basis"].update(call=call)


def test_columns_in_words() -> None:
    assert columns_of({}, 7) == Columns()
    heads = columns_of({"hook": "attn.heads", "heads": 4}, 32)
    assert heads.all == "dimensions of 4 attention heads' outputs"
    assert heads.item(19) == "3 of head 2's output"
    rotated = columns_of({"heads": 4, "basis": {"call": "rotated:1", "of": 32, "sha256": "0" * 64}}, 32)
    assert rotated.all == "columns of a random rotation (seed 1) of the 32 dimensions of 4 attention heads' outputs"
    assert rotated.item(19) == "19"


@pytest.mark.parametrize("odd", [0, -4, 5, 64, True, "4", 4.0, None, [4]])
def test_heads_of_another_form_are_not_understood(odd: Any) -> None:
    assert columns_of({"heads": odd}, 32) == Columns()


@pytest.mark.parametrize("odd", [None, 1, "rotated:0", [], {}, {"call": 1}, {"of": 3}])
def test_a_basis_of_another_form_is_not_understood(odd: Any) -> None:
    assert columns_of({"basis": odd}, 32) == Columns()
