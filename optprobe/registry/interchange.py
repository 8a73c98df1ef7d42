"""Certificates in the formats of other programs: SAEBench, sae-probes, and Neuronpedia; docs/registry.md has each."""

from __future__ import annotations

import re
import time
from collections import defaultdict
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import NAMESPACE_URL, uuid5

import numpy as np

from optprobe.certificates import Certificate
from optprobe.certificates.checker import canonical
from optprobe.certificates.citation import sentence, without_folders
from optprobe.errors import InputError
from optprobe.names import HOOK_NAMES, slug
from optprobe.registry.record import ID, record_of
from optprobe.scoring import Scores

UNNAMED = "unnamed"
UNKNOWN = -1
"""SAEBench's own number for what was not measured, where its schema asks for one."""

TOPS = (1, 2, 5, 10, 20, 50, 100)
"""Numbers of latents of which SAEBench's schema names the accuracy."""
METRICS = {"test_f1": "f1_weighted", "test_acc": "accuracy", "test_auc": "auc"}
"""What sae-probes calls which of our scores."""

STATED = (
    *("loss", "ridge", "class_weight", "among", "n_rows", "n_neurons"),
    *("lower_bound", "upper_bound", "gap", "optimal"),
)
"""What stands in a document as the record has it."""


@dataclass(frozen=True, eq=False)
class Proved:
    """
    A certificate as others read it: texts in place of whatever the author's scope holds, and no local path.

    Attributes
    ----------
    certificate : Certificate
    record : mapping
        As `record_of` gives it, without folders.
    test : Scores or None
        Of its set on held-out rows.
    """

    certificate: Certificate
    record: Mapping[str, Any]
    test: Scores | None

    @classmethod
    def of(cls, certificate: Certificate, sha256: str, test: Scores | None) -> Proved:
        """The certificate whose file has this sha256."""
        return cls(certificate, without_folders(record_of(sha256, certificate.claim)), test)

    @property
    def model(self) -> str:
        """Its name."""
        return self._words("model") or UNNAMED

    @property
    def feature(self) -> str:
        """Its name; of a nameless one the first digits of the sha256 of its labels, or targets, or moments."""
        data = self.record["data"]
        digest = next(data[key] for key in ("y", "targets", "moments") if key in data)
        return self._words("feature") or f"{UNNAMED} {digest[:ID]}"

    @property
    def hook_name(self) -> str:
        """Of TransformerLens, where the layer is a number; otherwise what the author says of layer and hook."""
        layer, hook = self.record["layer"], self._hook
        if type(layer) is int:
            return f"blocks.{layer}" if hook is None else f"blocks.{layer}.{HOOK_NAMES.get(hook, hook)}"
        return " ".join(filter(None, (self._words("layer"), hook))) or UNNAMED

    @property
    def place(self) -> tuple[str, str]:
        """Parts of a file's name for model and hook point; only the second has dots, the first after a plain word."""
        named = self.model if self.record["revision"] is None else canonical([self.model, self.record["revision"]])
        plain = re.fullmatch(r"blocks\.[0-9]{1,9}(\.[a-z_]{1,20}){0,2}", self.hook_name)
        return slug(named), self.hook_name if plain else f"hook.{slug(self.hook_name)}"

    @property
    def source(self) -> str | None:
        """Its name on Neuronpedia, layer and hook point; None where model or layer have no name there."""
        layer = self.record["layer"]
        if self._words("model") is None or type(layer) is not int or layer < 0:
            return None
        return re.sub(r"[^a-z0-9]+", "-", f"{layer}-{self._hook or 'neurons'}".lower()).strip("-")

    @property
    def setting(self) -> str:
        """What two problems must share to be about the same: dataset, loss, ridge, class weights, columns allowed."""
        stated = [f"{self.record[name]}" for name in ("loss", "ridge", "class_weight")]
        among = [] if self.record["among"] is None else [canonical(self.record["among"])]
        return " ".join([*filter(None, (self._words("dataset"),)), *stated, *among])

    @property
    def bounds(self) -> dict[str, Any]:
        """What is proved of which set, by which certificate."""
        return {
            "model": self.model,
            "dataset": self.feature,
            "hook_name": self.hook_name,
            "k": self.record["k"],
            "indices": self.record["support"],
            **{name: self.record[name] for name in STATED},
            "texts": self._words("dataset"),
            "test_f1_positive": self.score("f1"),
            "certificate": self.record["sha256"],
        }

    def score(self, name: str) -> float | None:
        """A score of the set on held-out rows, by its name in `Scores`."""
        return None if self.test is None else getattr(self.test, name)

    @property
    def _hook(self) -> str | None:
        """The hook point, and the call of a basis whose columns are no neurons there."""
        basis = self.certificate.claim.author.scope.get("basis")
        call = without_folders(basis.get("call")) if isinstance(basis, Mapping) else None
        return " ".join([self._words("hook") or "", *([call] if isinstance(call, str) else [])]).strip() or None

    def _words(self, name: str) -> str | None:
        value = self.record[name]
        return None if value in (None, "") else value if isinstance(value, str) else canonical(value)


def saebench(proved: Sequence[Proved]) -> dict[str, Any]:
    """By file name, a result of SAEBench's sparse probing (0.6.0) for each model, hook point and number of neurons.

    The neurons stand where the schema has the latents of an SAE: ``sae_top_K_test_accuracy`` is that of the set of K
    neurons, where one certificate of the feature and K has held-out scores; in the metrics it is the mean over the
    features, where all have one. What is not known is null, and -1 where the schema asks for a number. What is proved
    is in ``eval_result_unstructured``, the one entry that keeps what the schema does not name.
    """
    return {
        f"{'_'.join(place)}_width_{n_neurons}_eval_results.json": _saebench(group, n_neurons)
        for (place, n_neurons), group in _grouped(proved, lambda one: (one.place, one.record["n_neurons"]))
    }


def _saebench(group: Sequence[Proved], n_neurons: int) -> dict[str, Any]:
    features = sorted({one.feature for one in group})
    sizes = {one.record["n_rows"] for one in group}
    model, hook = group[0].model, group[0].hook_name
    accuracies = {name: _accuracies([one for one in group if one.feature == name]) for name in features}
    return {
        "eval_type_id": "sparse_probing",
        "eval_config": {
            "random_seed": UNKNOWN,
            "dataset_names": features,
            "probe_train_set_size": sizes.pop() if len(sizes) == 1 else UNKNOWN,
            "probe_test_set_size": UNKNOWN,
            "context_length": UNKNOWN,
            "sae_batch_size": UNKNOWN,
            "llm_batch_size": None,
            "llm_dtype": "",
            "model_name": model,
            "k_values": sorted({one.record["k"] for one in group}),
            "lower_vram_usage": False,
        },
        "eval_id": str(uuid5(NAMESPACE_URL, " ".join(one.record["sha256"] for one in group))),
        "datetime_epoch_millis": int(1000 * time.time()),
        "eval_result_metrics": {
            "llm": {"llm_test_accuracy": UNKNOWN},
            "sae": {"sae_test_accuracy": None, **_means([*accuracies.values()])},
        },
        "eval_result_details": [
            {"dataset_name": name, "llm_test_accuracy": UNKNOWN, **accuracies[name]} for name in features
        ],
        "sae_bench_commit_hash": "",
        "sae_lens_id": None,
        "sae_lens_release_id": None,
        "sae_lens_version": None,
        "sae_cfg_dict": {"architecture": "neurons", "model_name": model, "hook_name": hook, "d_sae": n_neurons},
        "eval_result_unstructured": {
            "certificates": [
                {**one.bounds, "test_accuracy": one.score("accuracy"), "test_auc": one.score("auc")} for one in group
            ]
        },
    }


def _accuracies(group: Sequence[Proved]) -> dict[str, float]:
    """Of the certificates of one feature, the accuracies that SAEBench has a name for, where no two compete for it."""
    found = {}
    for k in TOPS:
        known = [one.test.accuracy for one in group if one.record["k"] == k and one.test is not None]
        if len(known) == 1:
            found[f"sae_top_{k}_test_accuracy"] = known[0]
    return found


def _means(accuracies: Sequence[Mapping[str, float]]) -> dict[str, float]:
    """The mean over the features of the accuracies that all of them have."""
    shared = [name for name in accuracies[0] if all(name in one for one in accuracies)]
    return {name: float(np.mean([one[name] for one in accuracies])) for name in shared}


def saeprobes(proved: Sequence[Proved]) -> dict[str, Any]:
    """By file name, the results of sae-probes (0.4.2) for each feature at a hook point, in one folder a setting.

    Its ``test_f1`` is the F1 of both classes weighted by their rows; what is not known is null.
    """
    kind = {"val_auc": None, "reg_type": "l2", "binarize": False}
    return {
        path: [{**{key: one.score(name) for key, name in METRICS.items()}, **one.bounds, **kind} for one in group]
        for path, group in _grouped(proved, _probes_path)
    }


def _probes_path(one: Proved) -> str:
    model, hook = one.place
    return f"{slug(one.setting)}/sae_probes_{model}/normal_setting/{slug(one.feature)}_{hook}_l2.json"


def neuronpedia(proved: Sequence[Proved]) -> dict[str, Any]:
    """By file name, a request for Neuronpedia's ``upload-batch`` (neuronpedia 1.2.1) for each neuron of a set.

    Raises
    ------
    InputError
        If no certificate names a model and the number of a layer.
    """
    neurons = defaultdict(list)
    for one in proved:
        for neuron in one.record["support"] if one.source else ():
            neurons[one.place, neuron].append(one)
    if not neurons:
        raise InputError("no certificate has neurons of a named model and layer, which Neuronpedia asks for")
    return {f"{model}/{hook}/{j}.json": _neuron(group, j) for ((model, hook), j), group in neurons.items()}


def _neuron(group: Sequence[Proved], neuron: int) -> dict[str, Any]:
    feature = {
        "index": neuron,
        "density": None,
        "activations": [],
        "explanations": [{"text": _explanation(one), "methodName": None, "modelName": None} for one in group],
        "topLogits": None,
        "bottomLogits": None,
    }
    return {"modelId": group[0].model.rstrip("/").rpartition("/")[2], "source": group[0].source, "features": [feature]}


def _explanation(one: Proved) -> str:
    claimed = sentence(one.certificate, certified=False)
    return f"{one.feature}: {claimed} optprobe certificate sha256:{one.record['sha256']}"


def _grouped(proved: Iterable[Proved], key: Callable[[Proved], Any]) -> Iterable[tuple[Any, list[Proved]]]:
    groups = defaultdict(list)
    for one in proved:
        groups[key(one)].append(one)
    return groups.items()


FORMS = {"saebench": saebench, "saeprobes": saeprobes, "neuronpedia": neuronpedia}
"""The documents of each program, by the path of each in a folder."""
