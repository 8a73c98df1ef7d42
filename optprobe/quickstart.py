"""The main job, from texts to certified optima, on the model and texts that come with the package."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from optprobe.activations import Activations, ExtractionProgress, extract
from optprobe.activations.model.provenance import stated_model
from optprobe.cases import Case, CaseStudy, Setting
from optprobe.cases.study import REGISTRY
from optprobe.errors import InputError, StoreDamaged
from optprobe.features import FeatureDataset, load
from optprobe.heuristics import PAPER_TOP
from optprobe.registry import Registry
from optprobe.report import Site, Store, results_of, write_site
from optprobe.studies import run_study
from optprobe.studies.run import Report

FEATURES = ("is_french", "is_python", "latex_math", "contains_digit")
LAYERS = (1, 3)
KS = (1, 2, 3)
SQUARED_RIDGE = 0.01
WITHIN = 0.01
"""Of the squared loss, all sets up to this share of F above the optimum are certified too."""
LOGISTIC_RIDGE = 0.5
"""At which HiGHS closes the gap over a whole layer in a second; with less ridge it takes minutes."""
ENGINES = (
    *((name, None) for name in ("branch_and_cut", "dual_enumeration", "outer_approximation")),
    *((name, PAPER_TOP) for name in ("branch_and_cut", "outer_approximation", "milp")),
)
"""Which solve one problem of logistic loss: over the whole layer, and among the neurons of largest mean difference."""
CLASS_WEIGHT = "balanced"


@dataclass(frozen=True)
class Quickstart:
    """What a quickstart found: its cases, its page, and what it did about the activations, in words."""

    cases: tuple[Case, ...]
    page: Path
    activations: str

    @property
    def accepted(self) -> bool:
        """Whether the checker accepted every certificate."""
        return all(case.accepted for case in self.cases)


def quickstart(
    folder: Path,
    features: Sequence[str] = FEATURES,
    layers: Sequence[int] = LAYERS,
    ks: Sequence[int] = KS,
    report: Report | None = None,
) -> Quickstart:
    """
    Extract, solve, certify, verify and compare, and write a site.

    Parameters
    ----------
    folder : Path
        Gets ``activations/``, ``records/``, ``failures/``, ``registry/``, ``index.html`` and the other pages. What is
        there from an earlier run is used again.
    features, layers, ks : sequences
        Squared loss for all of them; for the first feature at the last layer and the largest k also logistic loss, by
        every engine of `ENGINES`.
    report : callable, optional
        Receives the progress.

    Raises
    ------
    InputError
        If the folder cannot be written or holds activations of something else, or a case has failed.
    KeyboardInterrupt
        After Ctrl-C; whatever is in the folder is whole, and another run goes on.
    """
    report = report or (lambda what, share: None)
    activations = folder / "activations"
    said = extracted(activations, "bundled", load("bundled"), layers, report)
    squared = CaseStudy(
        sources=(str(activations),),
        folder=folder,
        settings=(Setting("squared", SQUARED_RIDGE, CLASS_WEIGHT),),
        ks=tuple(ks),
        features=tuple(features),
        layers=tuple(layers),
        within=WITHIN,
    )
    logistic = [
        replace(
            squared,
            settings=(Setting("logistic", LOGISTIC_RIDGE, CLASS_WEIGHT, among),),
            ks=(max(ks),),
            features=(features[0],),
            layers=(layers[-1],),
            method=engine,
            within=None,
        )
        for engine, among in ENGINES
    ]
    for study in (squared, *logistic):
        outcome = run_study(study, folder, report=report)
        if outcome.failures:
            raise InputError(f"{outcome.failed} cases failed, the first: {outcome.failures[0]}")
    cases = tuple(case for study in (squared, *logistic) for case in study.cases())
    report("writing the site", 1.0)
    results = results_of(cases, Registry(folder / REGISTRY), (squared.draws,))
    store = Store.of(Activations.open(activations), "bundled", weights=True)
    page = write_site(Site(results, "optprobe quickstart", store), folder)
    return Quickstart(cases, page, said)


def extracted(folder: Path, model: str, data: FeatureDataset, layers: Sequence[int], report: Report) -> str:
    """
    Make sure that a folder holds the activations of a dataset, and say in a sentence what that took.

    What is there already is used if it is intact and the same, and extracted again if it is damaged or an older state
    of the same model and dataset. Anything else in its place is left alone.

    Raises
    ------
    InputError
        If the folder holds something else.
    """
    why = "extracted"
    if folder.exists():
        try:
            store = Activations.open(folder, check_digests=True)
        except StoreDamaged as damage:
            why = f"repaired, since {damage}, and written"
        else:
            dataset = store.manifest["dataset"]
            if (store.manifest["model"], dataset.get("name")) != (stated_model(model), data.name):
                raise InputError(
                    f"{folder} holds activations of {store.manifest['model']} on {dataset.get('name')!r}: "
                    "choose another folder with --out"
                )
            if dataset.get("digest") == data.digest and set(layers) <= set(store.layers):
                return f"activations in {folder} are intact and are used again"
            why = "extracted again, since the dataset or the layers have changed,"
            shutil.rmtree(folder)

    def show(moment: ExtractionProgress) -> None:
        report("extracting activations", moment.share)

    report("loading the model", 0.0)
    store = extract(model, data, sorted(layers), folder, values="float32", progress=show)
    return f"{store.n_rows} rows at layers {', '.join(map(str, store.layers))} {why} to {folder}"
