"""
Moments of features, from a store of activations or in the very pass that computes them.

From a store, one layer and feature after the other is read in blocks. From a model, the moments of all layers and
features grow together on its device, and no activation is kept, so that the rows may be any number; what has been
added is written down every minute, and a run that was stopped goes on from there.
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from formulations import Moments
from optprobe.activations.extraction.forward import Forward
from optprobe.activations.extraction.plan import Chunk
from optprobe.activations.extraction.run import Extraction, ExtractionProgress
from optprobe.activations.model.loading import device_of
from optprobe.activations.store.activations import Activations
from optprobe.activations.store.manifest import first_difference, manifest_text
from optprobe.activations.summaries.moments import GramAccumulator
from optprobe.activations.summaries.moments_store import (
    FORMAT,
    MANIFEST,
    MomentStore,
    chosen,
    moment_file,
    scope_of,
    write_moments,
)
from optprobe.errors import InputError
from optprobe.features.splits import grouped_split
from optprobe.files import file_digest, new_folder, write_file

if TYPE_CHECKING:
    import torch

BLOCK = 8192
"""Rows read at once from a store."""
NOTE_SECONDS = 60.0
"""Seconds between two notes of what has been added."""

Key = tuple[int, str]


@dataclass(frozen=True, eq=False)
class _Rows:
    """The training rows of a feature, ascending, their labels and their weights."""

    rows: NDArray[np.intp]
    y: NDArray[np.float64]
    w: NDArray[np.float64]


def accumulate(
    source: Activations | Extraction,
    out: str | Path,
    features: Sequence[str] | None = None,
    layers: Sequence[int] | None = None,
    *,
    class_weight: str = "none",
    test_share: float = 0.3,
    seed: int = 0,
    device: str = "cpu",
    report: Callable[[int, str], None] | None = None,
) -> MomentStore:
    """Accumulate the moments of the training rows of features, to a new folder, whole or not at all.

    The training rows are those of `load_labelled` for the same test share and seed.

    Parameters
    ----------
    source : Activations or Extraction
        A store; or what `prepare` made of a model and a dataset, whose values are not rounded to float16.
    out : str or Path
        The folder; nothing may be there.
    features, layers : sequence, optional
        All unless given.
    class_weight : {"none", "balanced"}
    test_share, seed : float and int
        Of `grouped_split`.
    device : str
        A torch device with float64, for a store; a model's values stay on its own.
    report : callable, optional
        Receives layer and feature before each is accumulated from a store.

    Raises
    ------
    InputError
        If a name or number is unknown, a value not finite, something is at ``out`` already, or it cannot be written.
    KeyboardInterrupt
        After Ctrl-C; from a model, the same call goes on from the last note.
    """
    if class_weight not in ("none", "balanced"):
        raise InputError(f"the class weight {class_weight!r} is unknown: use none or balanced")
    if Path(out).exists():
        raise InputError(f"{out} exists already; remove it or give another name")
    known, where = source.manifest["features"], "the store" if isinstance(source, Activations) else "the dataset"
    if not known:
        raise InputError(f"{where} has targets and no features, and moments are of labels: solve from its rows instead")
    names = list(dict.fromkeys(chosen("feature", feature, list(known), where) for feature in features or known))
    depths = source.manifest["layers"]
    depths = sorted({chosen("layer", layer, depths, where) for layer in layers or depths})
    dataset, heads, all_layers = source.manifest["dataset"], source.manifest.get("heads"), source.manifest["layers"]
    manifest = {
        "format": FORMAT,
        "model": source.manifest["model"],
        "revision": source.manifest.get("revision"),
        "hook": source.manifest["hook"],
        **({"heads": [heads[all_layers.index(layer)] for layer in depths]} if heads is not None else {}),
        "dataset": {"name": dataset.get("name"), "digest": dataset.get("digest")},
        "split": {"seed": seed, "test_share": test_share},
        "class_weight": class_weight,
        "features": names,
        "layers": depths,
    }
    rows = source.row_arrays()
    labels = dict(zip(known, rows["labels"]))
    used = {name: _training_rows(labels[name], rows["group"], class_weight, test_share, seed) for name in names}
    if isinstance(source, Extraction):
        with _Pass(source, used, depths, Path(out), manifest) as streamed:
            return _write(out, manifest, streamed.accumulators())
    return _write(out, manifest, _from_store(source, used, depths, device, report))


def _write(
    out: str | Path, manifest: Mapping[str, Any], accumulators: Iterator[tuple[Key, GramAccumulator]]
) -> MomentStore:
    """Write the moments of every layer and feature to a new folder."""
    files: dict[str, Any] = {}
    with new_folder(out) as folder:
        for (layer, feature), accumulator in accumulators:
            made = {**scope_of(manifest, feature, layer), "class_weight": manifest["class_weight"]}
            moments: Moments = accumulator.moments(made=made)
            path = folder / moment_file(layer, feature)
            write_moments(path, moments)
            files[path.name] = {"bytes": path.stat().st_size, "sha256": file_digest(path)}
        (folder / MANIFEST).write_text(manifest_text({**manifest, "files": files}), encoding="utf-8")
    return MomentStore.open(out)


def _from_store(
    store: Activations,
    used: Mapping[str, _Rows],
    layers: Sequence[int],
    device: str,
    report: Callable[[int, str], None] | None,
) -> Iterator[tuple[Key, GramAccumulator]]:
    for feature, rows in used.items():
        for layer in layers:
            if report is not None:
                report(layer, feature)
            matrix = store.matrices[layer]
            accumulator = GramAccumulator(matrix.shape[1], device=device)
            for start in range(0, len(rows.rows), BLOCK):
                part = slice(start, start + BLOCK)
                _add(accumulator, layer, matrix.rows(rows.rows[part]), rows.y[part], rows.w[part])
            yield (layer, feature), accumulator


def _training_rows(
    labels: NDArray[np.int8], group: NDArray[np.int32], class_weight: str, test_share: float, seed: int
) -> _Rows:
    rows = np.flatnonzero(labels)
    y = labels[rows].astype(np.float64)
    train = ~grouped_split(group[rows].astype(np.int64), y, test_share, seed)
    rows, y = rows[train], y[train]
    positive = y > 0
    if class_weight == "none":
        return _Rows(rows, y, np.ones(len(y)))
    return _Rows(rows, y, np.where(positive, 0.5 / positive.sum(), 0.5 / (~positive).sum()))


def _add(accumulator: GramAccumulator, layer: int, X: Any, y: NDArray[np.float64], w: NDArray[np.float64]) -> None:
    try:
        accumulator.add(X, y, w)
    except InputError as error:
        raise InputError(f"layer {layer}, among the training rows: {error}") from error


class _Pass:
    """A pass of a model over its texts that adds every chunk to the moments, and notes down how far it is.

    The note is one file beside the folder to be made; a lock keeps other processes away from it.
    """

    def __init__(
        self,
        extraction: Extraction,
        used: Mapping[str, _Rows],
        layers: Sequence[int],
        out: Path,
        manifest: Mapping[str, Any],
    ) -> None:
        from filelock import FileLock

        self._extraction, self._used = extraction, used
        self._sites = {layer: site for layer, site in extraction.sites.items() if layer.layer in layers}
        self._note = out.parent / f".{out.name}.note.safetensors"
        stated = {**extraction.manifest, **manifest, "format": f"{FORMAT}-note"}
        self._stated: dict[str, Any] = json.loads(json.dumps(stated))
        device = str(device_of(extraction.model))
        self._accumulators = {
            (layer.layer, feature): GramAccumulator(site.width, device=device)
            for feature in used
            for layer, site in self._sites.items()
        }
        self._done = 0
        self._lock = FileLock(self._note.with_suffix(".lock"), timeout=0)

    def __enter__(self) -> _Pass:
        from filelock import Timeout

        try:
            self._note.parent.mkdir(parents=True, exist_ok=True)
            self._lock.acquire()
        except Timeout as error:
            raise InputError(f"another process is accumulating to {self._note.parent}; wait for it") from error
        except OSError as error:
            raise InputError(f"the folder {self._note.parent} cannot be made: {error.strerror}") from error
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self._note.unlink(missing_ok=True)
        self._note.with_suffix(".lock").unlink(missing_ok=True)
        self._lock.release()

    def accumulators(self) -> Iterator[tuple[Key, GramAccumulator]]:
        """Run what is not noted yet, then yield the accumulator of every layer and feature."""
        self._go_on()
        extraction = self._extraction
        chunks = list(extraction.plan.chunks())
        tokens = [chunk.n_tokens for chunk in chunks]
        before, began = sum(tokens[: self._done]), time.perf_counter()
        noted = began
        with Forward(extraction.model, self._sites, extraction.plan, extraction.data.aggregation) as forward:
            for chunk in chunks[self._done :]:
                self._run(forward, chunk)
                self._done += 1
                now = time.perf_counter()
                if now - noted > NOTE_SECONDS:
                    self._write_note()
                    noted = time.perf_counter()
                if extraction.progress is not None:
                    done = sum(tokens[: self._done]) - before
                    extraction.progress(ExtractionProgress(done, sum(tokens) - before, now - began))
        yield from self._accumulators.items()

    def _run(self, forward: Forward, chunk: Chunk) -> None:
        """Add the rows of a chunk, in their order."""
        import torch

        rows: list[NDArray[np.int64]] = []
        pieces: dict[int, list[torch.Tensor]] = {layer.layer: [] for layer in self._sites}
        for batch in chunk.batches:
            for ran, values in forward.run(batch):
                rows.append(ran.rows)
                for layer, value in values.items():
                    pieces[layer].append(value)
        place = np.argsort(np.concatenate(rows))
        for layer, parts in pieces.items():
            values_of_layer = torch.cat(parts)
            for feature, used in self._used.items():
                part = slice(*np.searchsorted(used.rows, (chunk.start, chunk.stop)))
                if part.start < part.stop:
                    index = torch.from_numpy(place[used.rows[part] - chunk.start]).to(values_of_layer.device)
                    X = values_of_layer.index_select(0, index)
                    _add(self._accumulators[layer, feature], layer, X, used.y[part], used.w[part])

    def _write_note(self) -> None:
        from safetensors.numpy import save

        arrays: dict[str, NDArray[Any]] = {}
        scalars: dict[str, dict[str, float]] = {}
        for i, accumulator in enumerate(self._accumulators.values()):
            state = accumulator.state()
            arrays |= {f"{i}.{name}": value for name, value in state.items() if isinstance(value, np.ndarray)}
            scalars[str(i)] = {name: value for name, value in state.items() if not isinstance(value, np.ndarray)}
        note = {"stated": self._stated, "done": self._done, "scalars": scalars}
        write_file(self._note, save(arrays, {"note": json.dumps(note)}))

    def _go_on(self) -> None:
        """Take up the note of an earlier run, if there is one."""
        from safetensors import SafetensorError, safe_open

        if not self._note.exists():
            return
        try:
            with safe_open(self._note, framework="numpy") as file:
                note = json.loads((file.metadata() or {})["note"])
                arrays = {name: file.get_tensor(name) for name in file.keys()}  # noqa: SIM118
        except (SafetensorError, KeyError, ValueError) as error:
            raise InputError(f"{self._note} cannot be read ({error}); remove it to begin anew") from error
        if different := first_difference(note["stated"], self._stated, ()):
            raise InputError(f"{self._note} is of something else: {different}; remove it to begin anew")
        for i, (key, accumulator) in enumerate(self._accumulators.items()):
            state = dict(note["scalars"][str(i)])
            state |= {name.partition(".")[2]: array for name, array in arrays.items() if name.startswith(f"{i}.")}
            self._accumulators[key] = GramAccumulator.from_state(state, accumulator.device)
        self._done = int(note["done"])
