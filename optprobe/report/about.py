"""Where the numbers of a site come from: what certificates say, and the manifest of a store where one is at hand."""

from __future__ import annotations

from typing import Any

from optprobe.activations import Activations
from optprobe.report.certificate_page import solve_command
from optprobe.report.entries import Results, words_of

WEIGHTS = {
    "balanced": "both classes weigh one half; optprobe solve has none unless told",
    "none": "every row weighs the same",
}


def about(results: Results, store: Activations | None) -> dict[str, str]:
    """Name and text of each part: model, dataset, split, intervals, class weights, versions."""
    claims = [entry.claim for entry in results.current]
    scopes = [claim.author.scope for claim in claims]
    told = {
        "model": f"{_each(scope.get('model') for scope in scopes)}, neurons {_each(s.get('hook') for s in scopes)}, "
        f"{_each(claim.data.n_neurons for claim in claims)} neurons a layer",
        "dataset": _each(scope.get("dataset") for scope in scopes),
        "rows": f"{_each(claim.data.n_rows for claim in claims)} training rows",
        "split": _each(scope.get("split") for scope in scopes),
        "class weights": "; ".join(_weights(results)),
        "versions": "; ".join(sorted({_listed(claim.author.versions) for claim in claims})),
    }
    if results.draws:
        told["intervals"] = f"{_each(results.draws)} resamples of the test documents"
    if store is not None:
        told |= _of_store(store)
    return told


def _of_store(store: Activations) -> dict[str, str]:
    manifest, dataset = store.manifest, store.manifest["dataset"]
    layers, widths = ", ".join(map(str, store.layers)), _each(manifest["d_mlp"])
    return {
        "model": f"{words_of(manifest['model'])} ({manifest.get('model_class')}), neurons {manifest['hook']}, layers "
        f"{layers} of {widths} neurons",
        "dataset": f"{words_of(dataset['name'])}, {store.n_rows} rows, digest {dataset.get('digest')}, licence "
        f"{dataset.get('licence')}",
        "extracted with": _listed(manifest.get("versions", {})),
    }


def _weights(results: Results) -> list[str]:
    """A sentence for each kind of class weights, with the command that solves a case of it again."""
    found = {}
    for entry in results.current:
        weight = entry.claim.problem.class_weight
        if weight not in found and (command := solve_command(entry.claim)) is not None:
            found[weight] = f"{weight}: {WEIGHTS[weight]}, as in: {command}"
    return [*found.values()] or [_each(entry.claim.problem.class_weight for entry in results.current)]


def _each(values: Any) -> str:
    """The different values, in words."""
    return ", ".join(sorted({_listed(value) if isinstance(value, dict) else words_of(value) for value in values}))


def _listed(values: Any) -> str:
    return ", ".join(f"{name} {words_of(value)}" for name, value in sorted(values.items()))
