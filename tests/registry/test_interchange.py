"""What other programs get of a registry: documents of their shape, with the proof beside, and readable by ourselves.

The shapes are our reading of the packages: sae-bench 0.6.0 (evals/sparse_probing/eval_output_schema_sparse_probing.json
and its pydantic classes), sae-probes 0.4.2 (run_sae_evals.py, utils_training.Metrics), neuronpedia 1.2.1
(requests/feature_request.py, `upload_batch`). Where a package can be imported, it reads the documents itself.
"""

from __future__ import annotations

import json
import re
import uuid
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
from claims import claimed

import optprobe as op
from optprobe.activations import activations_of
from optprobe.certificates import Verdict
from optprobe.cli.main import main
from optprobe.errors import CertificateRejected, InputError
from optprobe.heuristics import read_ranking
from optprobe.names import slug
from optprobe.registry.export import export
from optprobe.registry.folder import note_path
from optprobe.registry.notes import write_note

FORMS = ("saebench", "saeprobes", "neuronpedia")
SECRET = "/home/alice/secret"
HOSTILE = '../../x"<b>\\:*?' + "é" * 150
NUMBER, NOTHING = (int, float), type(None)
LISTED = [{"text": str, "methodName": NOTHING, "modelName": NOTHING}]
PROVED = {
    "indices": [int],
    "lower_bound": float,
    "upper_bound": float,
    "gap": float,
    "certificate": str,
    "test_f1_positive": (float, NOTHING),
}
UNMEASURED = dict.fromkeys(("test_f1", "test_acc", "test_auc", "val_auc"))
SHAPES: dict[str, Any] = {
    "saebench": {
        "eval_type_id": str,
        "eval_config": {
            **dict.fromkeys(("random_seed", "probe_train_set_size", "probe_test_set_size", "context_length"), int),
            "dataset_names": [str],
            "k_values": [int],
            "llm_batch_size": (int, NOTHING),
            **dict.fromkeys(("llm_dtype", "model_name"), str),
            "lower_vram_usage": bool,
        },
        "eval_id": str,
        "datetime_epoch_millis": int,
        "eval_result_metrics": {"llm": {"llm_test_accuracy": NUMBER}, "sae": {"sae_test_accuracy": (float, NOTHING)}},
        "eval_result_details": [{"dataset_name": str, "llm_test_accuracy": NUMBER}],
        "sae_bench_commit_hash": str,
        **dict.fromkeys(("sae_lens_id", "sae_lens_release_id", "sae_lens_version"), (str, NOTHING)),
        "sae_cfg_dict": {"architecture": str, "d_sae": int},
        "eval_result_unstructured": {"certificates": [PROVED]},
    },
    "saeprobes": [
        {
            **dict.fromkeys(("test_f1", "test_acc", "test_auc", "val_auc"), (float, NOTHING)),
            "k": int,
            **dict.fromkeys(("dataset", "hook_name", "reg_type"), str),
            "binarize": bool,
            **PROVED,
        }
    ],
    "neuronpedia": {
        "modelId": str,
        "source": str,
        "features": [{"index": int, "density": NOTHING, "activations": [dict], "explanations": LISTED}],
    },
}


def misfits(value: Any, shape: Any, where: str = "") -> list[str]:
    """Where a value has not the keys and types of a shape."""
    if isinstance(shape, dict):
        if not isinstance(value, dict):
            return [where]
        missing = [f"{where}/{name}" for name in shape if name not in value]
        return missing + [at for name in shape if name in value for at in misfits(value[name], shape[name], name)]
    if isinstance(shape, list):
        inner = enumerate(value) if isinstance(value, list) else ()
        return [at for i, part in inner for at in misfits(part, shape[0], f"{where}/{i}")] + [where] * (inner == ())
    kinds = shape if isinstance(shape, tuple) else (shape,)
    return [] if type(value) in kinds else [f"{where}: {value!r}"]


def documents(folder: Path) -> dict[str, Any]:
    """All files, by their path: plain JSON, in which no number is NaN."""

    def refused(constant: str) -> None:
        raise AssertionError(constant)

    files = sorted(path for path in folder.rglob("*") if path.is_file())
    return {
        path.relative_to(folder).as_posix(): json.loads(path.read_text(encoding="utf-8"), parse_constant=refused)
        for path in files
    }


def proofs(form: str, found: dict[str, Any]) -> list[dict[str, Any]]:
    """What two of the forms say of certificates."""
    if form == "saeprobes":
        return [entry for document in found.values() for entry in document]
    return [one for document in found.values() for one in document["eval_result_unstructured"]["certificates"]]


@pytest.fixture
def registry(tmp_path: Path) -> op.Registry:
    """Two certificates of one problem, a superseded and a rejected one, no names at all, hostile names, a path."""
    registry = op.Registry(tmp_path / "registry")
    plain = {"feature": "is_red", "layer": 3, "model": "org/tiny", "hook": "mlp.post", "dataset": "words"}
    hostile = {name: f"{HOSTILE}{name}" for name in ("feature", "model", "hook", "dataset", "revision")}
    paths = {name: f"{SECRET}/{name}" for name in ("feature", "model", "hook", "dataset", "revision")}
    odd = {"feature": ["a", 1], "model": {"a": f"{SECRET}/m"}, "layer": "three", "hook": 7}
    for bounds, scope, how in (
        ((0.5, 0.5), plain, {"k": 1, "support": (4,)}),
        ((0.4, 0.2), plain, {}),
        ((0.45, 0.3), plain, {}),
        ((0.6, 0.2), plain, {}),
        ((0.3, 0.3), {**plain, "feature": "is_blue"}, {"support": (2, 5), "data": "blue"}),
        ((0.3, 0.3), {**plain, "feature": "is_rejected"}, {"support": (7, 8), "data": "rejected"}),
        ((0.3, 0.3), {}, {"data": "nameless"}),
        ((0.3, 0.3), {"layer": 3}, {"data": "another nameless", "support": (6,)}),
        ((0.3, 0.3), {**hostile, "layer": 3}, {"data": "hostile"}),
        ((0.3, 0.3), {**hostile, "layer": HOSTILE}, {"data": "more hostile"}),
        ((0.3, 0.3), {**paths, "layer": -5}, {"data": "paths"}),
        ((0.3, 0.3), odd, {"data": "odd", "among": (1, 2, 3)}),
    ):
        sha256 = registry.add(claimed(bounds, scope, **how))  # type: ignore[arg-type]
        if scope.get("feature") == "is_rejected":
            claim = registry.certificate(sha256).claim
            verdict: Any = Verdict("rejected", "it is false", None)
            write_note(note_path(registry.folder, sha256), sha256, claim, verdict)
    return registry


@pytest.mark.parametrize("form", FORMS)
def test_documents_have_the_shape_of_their_program(form: str, registry: op.Registry, tmp_path: Path) -> None:
    out = export(registry, tmp_path / "out", form=form)
    found = documents(out)
    assert found
    for name, document in found.items():
        assert misfits(document, SHAPES[form]) == [], name
        assert re.fullmatch(r"([a-z0-9._-]{1,160}/){0,3}[a-z0-9._-]{1,200}\.json", name), name
        assert ".." not in name
    written = "".join(path.read_text() for path in out.rglob("*.json"))
    assert SECRET not in written
    assert "is_rejected" not in written


@pytest.mark.parametrize("form", ["saebench", "saeprobes"])
def test_every_certificate_that_holds_is_there_once_with_its_bounds(
    form: str, registry: op.Registry, tmp_path: Path
) -> None:
    found = proofs(form, documents(export(registry, tmp_path / "out", form=form)))
    expected = {record["sha256"]: record for record in registry.find() if record["verified"] is not False}
    assert len(found) == len(expected) == 10
    for one in found:
        record = expected.pop(one["certificate"])
        assert (one["indices"], one["k"]) == (record["support"], record["k"])
        assert all(one[name] == record[name] for name in ("lower_bound", "upper_bound", "gap", "optimal", "loss"))
        assert one["test_f1_positive"] is None
        assert form == "saebench" or UNMEASURED.items() <= one.items()
    assert expected == {}
    assert len({one["dataset"] for one in found if one["dataset"].startswith("unnamed")}) == 2


def test_saebench_has_a_document_for_each_place(registry: op.Registry, tmp_path: Path) -> None:
    found = documents(export(registry, tmp_path / "out", form="saebench"))
    name = f"{slug('org/tiny')}_blocks.3.mlp.hook_post_width_9_eval_results.json"
    assert found[name]["eval_config"]["dataset_names"] == ["is_blue", "is_red"]
    assert found[name]["eval_config"]["k_values"] == [1, 2]
    assert len(found[name]["eval_result_unstructured"]["certificates"]) == 4
    assert len({str(uuid.UUID(document["eval_id"])) for document in found.values()}) == len(found)


def test_saebench_gets_an_accuracy_where_one_certificate_has_it(registry: op.Registry, tmp_path: Path) -> None:
    """Two of is_red compete at k = 2; the mean over features is there where all features have one."""
    red, *others = registry.find(feature="is_red", k=2)
    (single,), (blue,) = registry.find(feature="is_red", k=1), registry.find(feature="is_blue")
    assert others

    def exported(name: str, *records: dict[str, Any]) -> tuple[dict[str, Any], dict[str, Any]]:
        test = {record["sha256"]: op.scores(np.arange(8) < 4, np.arange(8.0) - at) for at, record in enumerate(records)}
        found = documents(export(registry, tmp_path / name, form="saebench", test=test))
        document = found[f"{slug('org/tiny')}_blocks.3.mlp.hook_post_width_9_eval_results.json"]
        details = {one["dataset_name"]: one for one in document["eval_result_details"]}
        assert misfits(document, SHAPES["saebench"]) == []
        return details, document["eval_result_metrics"]["sae"]

    details, metrics = exported("all", blue, red, single)
    assert details["is_blue"]["sae_top_2_test_accuracy"] == 3 / 8
    assert details["is_red"]["sae_top_2_test_accuracy"] == 2 / 8
    assert details["is_red"]["sae_top_1_test_accuracy"] == 1 / 8
    assert metrics == {"sae_test_accuracy": None, "sae_top_2_test_accuracy": 2.5 / 8}
    details, metrics = exported("competing", blue, red, *others)
    assert "sae_top_2_test_accuracy" not in details["is_red"]
    assert metrics == {"sae_test_accuracy": None}


def test_neurons_have_the_sets_they_stand_in(registry: op.Registry, tmp_path: Path) -> None:
    found = documents(export(registry, tmp_path / "out", form="neuronpedia"))
    folder = f"{slug('org/tiny')}/blocks.3.mlp.hook_post"
    assert {int(Path(name).stem) for name in found if name.startswith(folder)} == {1, 2, 4, 5}
    assert len(found) == 6, "two neurons of the hostile model, and none without model or layer"
    second = found[f"{folder}/2.json"]
    assert (second["modelId"], second["source"]) == ("tiny", "3-mlp-post")
    (feature,) = second["features"]
    said = [explanation["text"] for explanation in feature["explanations"]]
    assert [text.split(":")[0] for text in said] == ["is_blue", "is_red", "is_red"]
    of_blue = registry.find(feature="is_blue")[0]
    assert (
        f"no set of 2 for the feature 'is_blue' has a squared objective below {of_blue['lower_bound']:.9g}" in said[0]
    )
    assert said[0].endswith(f"optprobe certificate sha256:{of_blue['sha256']}")
    assert all("gap 50.0%" in text or "gap 33.3%" in text for text in said[1:])


def test_columns_of_another_basis_are_not_neurons_of_the_layer(tmp_path: Path) -> None:
    registry = op.Registry(tmp_path / "registry")
    scope = {"feature": "is_red", "layer": 3, "model": "org/tiny", "hook": "mlp.post"}
    registry.add(claimed((0.3, 0.3), scope))
    for call in ("rotated:0", "latents:d.npz"):
        registry.add(claimed((0.3, 0.3), {**scope, "basis": {"call": call}}, data=call))
    for form in ("saebench", "saeprobes", "neuronpedia"):
        made = documents(export(registry, tmp_path / form, form=form))
        assert len({tuple(Path(name).parts[:-1]) if form == "neuronpedia" else name for name in made}) == 3


def test_no_name_leads_to_the_file_of_another(tmp_path: Path) -> None:
    """Names that a careless path would join: every certificate is about another model, feature or hook point."""
    registry = op.Registry(tmp_path / "registry")
    names = [("a", "b_c", "d"), ("a_b", "c", "d"), ("A", "b_c", "d"), ("a", "b", "c_d"), ("a/b", "c", "d")]
    for model, hook, feature in names:
        registry.add(claimed((0.3, 0.3), {"model": model, "hook": hook, "feature": feature}, data=f"{model} {hook}"))
    for revision in (None, "r"):
        scope = {"model": "m" if revision else "m r", "revision": revision, "layer": 0, "feature": "f"}
        registry.add(claimed((0.3, 0.3), scope, data=f"revision {revision}"))
    for form in ("saebench", "saeprobes"):
        assert len(documents(export(registry, tmp_path / form, form=form))) == len(names) + 2


@pytest.fixture
def solved(tmp_path: Path) -> tuple[op.Registry, Path]:
    """Optima of one and two neurons, the first in none of the second, and the data."""
    rng = np.random.default_rng(5)
    X = rng.standard_normal((200, 8))
    y = np.where(X[:, 1] + X[:, 5] + 0.2 * rng.standard_normal(200) > 0, 1, -1)
    X[:, 3] = X[:, 1] + X[:, 5] + 0.8 * rng.standard_normal(200)
    path = tmp_path / "data.npz"
    np.savez(path, X_train=X, y_train=y, feature="is_red", layer=3)
    registry = op.Registry(tmp_path / "registry")
    for k in (1, 2):
        registry.add(op.solve(op.problem(path, k, loss="squared")).certificate())
    return registry, path


def test_what_sae_probes_gets_is_a_ranking_of_ours(
    solved: tuple[op.Registry, Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    registry, data = solved
    assert (
        main(["registry", "export", "--registry", str(registry.folder), "--to", f"{tmp_path}/out", "--as", "saeprobes"])
        == 0
    )
    assert capsys.readouterr().out == f"{tmp_path}/out\n"
    (path,) = (tmp_path / "out").rglob("sae_probes_*/normal_setting/is_red_blocks.3_l2.json")
    one, two = (set(registry.find(k=k)[0]["support"]) for k in (1, 2))
    assert not one & two
    for k, support in ((1, one), (2, two)):
        assert set(read_ranking(path, "is_red", 3, k)) == support
        given = ["compare", str(data), "--k", str(k), "--loss", "squared", "--ranking", str(path), "--json"]
        assert main(given) == 0
        rows = {row["method"]: row for row in json.loads(capsys.readouterr().out)["methods"]}
        assert set(rows[path.stem]["support"]) == support
        assert rows[path.stem]["optimal"] is True
    assert set(read_ranking(path)) == two


def test_the_scores_of_a_run_come_along(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rng = np.random.default_rng(3)
    X = rng.normal(size=(160, 6)).astype(np.float32)
    y = np.where(X[:, 1] - X[:, 4] + rng.normal(size=160) > 0, 1, -1)
    activations_of({0: X}, {"sign": y}, np.arange(160) // 4, model="made").save(tmp_path / "acts")
    run, given = tmp_path / "run", ["--k", "1-2", "--loss", "squared", "--out", str(tmp_path / "run")]
    assert main(["run", str(tmp_path / "acts"), *given]) == 0
    results = [json.loads(path.read_text())["result"] for path in (run / "records").glob("*.json")]
    scores = {
        result["certificate"]: row for result in results for row in result["methods"] if row["method"] == "optimum"
    }
    assert {result["k"] for result in results} == {1, 2}
    for form in ("saebench", "saeprobes", "neuronpedia"):
        arguments = ["registry", "export", "--registry", str(run), "--to", str(tmp_path / form), "--as", form]
        assert main(arguments) == 0
        found = documents(tmp_path / form)
        assert all(misfits(document, SHAPES[form]) == [] for document in found.values())
        if form != "neuronpedia":
            assert len(scores) == len(proofs(form, found)) == 2
        for one in proofs(form, found) if form != "neuronpedia" else ():
            row = scores[one["certificate"]]
            assert one["test_f1_positive"] == row["f1_test"]
            accuracy = "test_acc" if form == "saeprobes" else "test_accuracy"
            assert (one[accuracy], one["test_auc"]) == (row["accuracy_test"], row["auc_test"])
            assert form == "saebench" or (one["test_f1"], one["val_auc"]) == (row["f1_weighted_test"], None)
    (document,) = documents(tmp_path / "saebench").values()
    expected = {f"sae_top_{r['k']}_test_accuracy": scores[r["certificate"]]["accuracy_test"] for r in results}
    unknown = {"dataset_name": "sign", "llm_test_accuracy": -1}
    assert document["eval_result_details"] == [unknown | expected]
    assert document["eval_result_metrics"]["sae"] == {"sae_test_accuracy": None} | expected
    record = next((run / "records").glob("*.json"))
    record.write_text("{")
    capsys.readouterr()
    assert main(["registry", "export", "--registry", str(run), "--to", f"{tmp_path}/again", "--as", "saeprobes"]) == 0
    assert "is damaged" in capsys.readouterr().err
    assert [one["test_f1_positive"] is None for one in proofs("saeprobes", documents(tmp_path / "again"))].count(
        True
    ) == 1
    assert main(["registry", "export", "--registry", str(run), "--to", f"{tmp_path}/all.csv"]) == 0


def test_what_cannot_be_exported_is_refused_and_leaves_nothing(
    registry: op.Registry, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    there, empty = tmp_path / "there", op.Registry(tmp_path / "empty")
    there.mkdir()
    empty.folder.mkdir()
    nameless = op.Registry(tmp_path / "nameless")
    sha256 = nameless.add(claimed())
    perfect = op.scores([1, -1], [1.0, -1.0])
    before = {path.name for path in tmp_path.iterdir()}
    for given, to, how, sentence in (
        (registry, "there", {"form": "saebench"}, "exists already"),
        (registry, "out.json", {"form": "saebench"}, "is no folder, and saebench needs one"),
        (registry, "out.csv", {"form": "saeprobes"}, "is no folder, and saeprobes needs one"),
        (registry, "out", {"form": "sae"}, "there is no form 'sae'; give one of saebench, saeprobes, neuronpedia"),
        (registry, "out", {"test": {}}, "are for the forms saebench and saeprobes alone"),
        (registry, "out", {"form": "neuronpedia", "test": {sha256: perfect}}, "alone: leave test= out"),
        (
            registry,
            "out",
            {"form": "saeprobes", "test": {sha256: replace(perfect, auc=np.nan)}},
            "auc of .* is nan: give",
        ),
        (empty, "out", {"form": "saebench"}, "has no certificate to export"),
        (nameless, "out", {"form": "neuronpedia"}, "no certificate has neurons of a named model and layer"),
    ):
        with pytest.raises(InputError, match=sentence):
            export(given, tmp_path / to, **how)  # type: ignore[arg-type]
        if "test" not in how and how["form"] in FORMS:
            place = ["--registry", str(given.folder), "--to", str(tmp_path / to)]
            assert main(["registry", "export", *place, "--as", how["form"]]) == 2
            assert len(capsys.readouterr().err.splitlines()) == 1
    path = registry.path(registry.find(feature="is_blue")[0]["id"])
    path.write_bytes(path.read_bytes()[:-1] + b"\1")
    for form in FORMS:
        with pytest.raises(CertificateRejected, match=path.stem):
            export(registry, tmp_path / "out", form=form)
    assert {path.name for path in tmp_path.iterdir()} == before
    assert list(there.iterdir()) == []


def test_saebench_reads_them_itself(registry: op.Registry, tmp_path: Path) -> None:
    output = pytest.importorskip("sae_bench.evals.sparse_probing.eval_output", reason="sae-bench is not installed")
    pydantic = pytest.importorskip("pydantic", reason="pydantic is not installed")
    reader = pydantic.TypeAdapter(output.SparseProbingEvalOutput)
    for document in documents(export(registry, tmp_path / "out", form="saebench")).values():
        again = asdict(reader.validate_python(document))
        assert again["eval_result_unstructured"] == document["eval_result_unstructured"]
        assert again["eval_config"] == document["eval_config"]


def test_neuronpedia_sends_them_itself(registry: op.Registry, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    reason = "neuronpedia is not installed"
    requests = pytest.importorskip("neuronpedia.requests.feature_request", reason=reason)
    np_feature = pytest.importorskip("neuronpedia.np_feature", reason=reason)
    sent: list[Any] = []
    request = SimpleNamespace(send_request=lambda **how: sent.append(how["json"]))
    for document in documents(export(registry, tmp_path / "out", form="neuronpedia")).values():
        place = {"modelId": document["modelId"], "source": document["source"]}
        (feature,) = document["features"]
        explanations = [np_feature.Explanation(**place, index=0, text=one["text"]) for one in feature["explanations"]]
        made = np_feature.Feature(**place, index=feature["index"], explanations=explanations)
        requests.FeatureRequest.upload_batch(request, document["modelId"], document["source"], [made])
        assert sent.pop() == document


def test_an_ro_crate_is_read_by_rocrate(registry: op.Registry, tmp_path: Path) -> None:
    rocrate = pytest.importorskip("rocrate.rocrate", reason="rocrate is not installed")
    crate = rocrate.ROCrate(export(registry, tmp_path / "crate"))
    files = [entity for entity in crate.get_entities() if entity.type == "File"]
    assert len(files) == len(registry.find(superseded=None))
    assert crate.root_dataset["license"]


@pytest.mark.parametrize("form", FORMS)
def test_a_nameless_certificate_about_targets_is_called_by_their_digest(form: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(4)
    X = rng.standard_normal((30, 5))
    problem = op.sparse_probe_problem(X, targets=X[:, 1] + rng.standard_normal(30), k=2, loss="squared")
    registry = op.Registry(tmp_path / "registry")
    registry.add(op.solve(problem).certificate({"model": "org/tiny", "layer": 3}))
    (record,) = registry.find()
    written = json.dumps(documents(export(registry, tmp_path / "out", form=form)))
    assert f"unnamed {record['data']['targets'][:12]}" in written
