"""Who runs the items: this process, processes of this machine, a Dask cluster, or Slurm."""

from __future__ import annotations

import json
import os
import signal
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple, Protocol

from optprobe.errors import InputError
from optprobe.studies.study import FAILURES, Item, Study, key_of, note_failure, perform, read_record

BACKENDS = ("here", "loky", "dask", "slurm")
POLL = 0.5
"""Seconds between two looks at what the jobs of a cluster have written."""
MINUTES = 24 * 60
"""Minutes of a job of Slurm; what it has not done then, the next run does."""
ENDED = "its worker was ended from outside: by a limit of memory or time, perhaps"


class Done(NamedTuple):
    """An item that is over: the sentence of its failure, or None, and its seconds."""

    item: Item
    failure: str | None
    seconds: float


class Backend(Protocol):
    """What runs items and says which are over, in any order."""

    @property
    def workers(self) -> int:
        """How many items run at once."""

    def run(self, study: Study, items: Sequence[Item], folder: Path) -> Iterator[Done]:
        """Yield every item once it is over; its record or failure is in the folder then."""


def backend_named(
    name: str, workers: int | None = None, *, memory_limit: float | None = None, scheduler: str | None = None
) -> Backend:
    """
    The backend of this name.

    Parameters
    ----------
    name : {"here", "loky", "dask", "slurm"}
    workers : int, optional
        By default 1 here and 2 elsewhere.
    memory_limit : float, optional
        GiB of data that an item of "loky" may hold.
    scheduler : str, optional
        Address of the scheduler of "dask", by default a cluster of this machine; of "slurm" the partition, or "local".

    Raises
    ------
    InputError
        If there is no such backend, or an argument has no effect on it.
    """
    if name not in BACKENDS:
        raise InputError(f"there is no backend {name!r}: use one of {', '.join(BACKENDS)}")
    if workers is not None and (workers < 1 or (name == "here" and workers > 1)):
        raise InputError(f"{workers} workers cannot run {name}: give a positive number, and another --backend for many")
    if memory_limit is not None and (name != "loky" or not memory_limit > 0):
        raise InputError("a memory limit is a positive number of GiB and needs --backend loky")
    if scheduler is not None and name not in ("dask", "slurm"):
        raise InputError("a scheduler belongs to --backend dask or slurm: leave it out")
    if name == "here":
        return Here()
    if name == "loky":
        return Loky(workers or 2, memory_limit)
    return Dask(workers or 2, scheduler) if name == "dask" else Slurm(workers or 2, scheduler)


@dataclass(frozen=True)
class Here:
    """This process, one item after another."""

    workers: int = 1

    def run(self, study: Study, items: Sequence[Item], folder: Path) -> Iterator[Done]:
        """Yield every item."""
        for item in items:
            yield _timed(study, item, folder)


@dataclass(frozen=True)
class Loky:
    """
    Processes of this machine, each with its share of the cores.

    An item whose worker is ended is run again alone; if that worker is ended too, the item has failed.
    """

    workers: int
    memory_limit: float | None = None

    def run(self, study: Study, items: Sequence[Item], folder: Path) -> Iterator[Done]:
        """Yield every item."""
        waiting, began = list(items), time.time()
        while waiting:
            suspects: list[Item] = []
            yield from self._pool(study, waiting, folder, self.workers, suspects)
            for item in suspects:
                if done := _found(study, item, folder, began):  # it was ended after its last word
                    yield done
                    continue
                alone, again = [item], list[Item]()
                yield from self._pool(study, alone, folder, 1, again)
                if alone or again:
                    note_failure(study, item, folder, f"{item.name}: {ENDED}")
                    yield Done(item, ENDED, 0.0)

    def _pool(
        self, study: Study, waiting: list[Item], folder: Path, workers: int, suspects: list[Item]
    ) -> Iterator[Done]:
        """Run what waits until nothing does, or a worker is ended: what was running then are the suspects."""
        from concurrent.futures import FIRST_COMPLETED, Future, wait
        from concurrent.futures.process import BrokenProcessPool

        from joblib.externals.loky import ProcessPoolExecutor

        pool = ProcessPoolExecutor(
            workers, timeout=60, initializer=_begin_worker, initargs=(self.memory_limit,), env=_share(self.workers)
        )
        running: dict[Future[Done], Item] = {}
        try:
            broken = False
            while running or (waiting and not broken):
                while waiting and not broken and len(running) < workers:
                    try:
                        running[pool.submit(_timed, study, waiting[0], folder)] = waiting[0]
                        del waiting[0]
                    except BrokenProcessPool:
                        broken = True
                for future in wait(running, return_when=FIRST_COMPLETED).done:
                    item = running.pop(future)
                    try:
                        yield future.result()
                    except BrokenProcessPool:
                        broken = True
                        suspects.append(item)
        finally:
            pool.shutdown(wait=True, kill_workers=broken or bool(running))


@dataclass(frozen=True)
class Dask:
    """Workers of a Dask cluster; by default one of this machine."""

    workers: int
    scheduler: str | None = None

    def run(self, study: Study, items: Sequence[Item], folder: Path) -> Iterator[Done]:
        """Yield every item."""
        try:
            from distributed import Client, LocalCluster, as_completed
        except ImportError as error:
            raise InputError("the backend dask needs the package distributed: pip install optprobe[dask]") from error

        own = None
        if self.scheduler is None:
            try:
                own = LocalCluster(n_workers=self.workers, threads_per_worker=1, dashboard_address=None)
            except RuntimeError as error:
                raise InputError(f"Dask cannot start its workers here: {error}") from error
        try:
            with Client(own or self.scheduler, timeout=30) as client:
                futures = {client.submit(_timed, study, item, folder.resolve(), pure=False): item for item in items}
                for future in as_completed(list(futures)):
                    item, ended = futures[future], future.exception()
                    if ended is not None:
                        note_failure(study, item, folder, f"{item.name}: {ENDED}", repr(ended))
                    yield future.result() if ended is None else Done(item, ENDED, 0.0)
        except OSError as error:
            raise InputError(f"there is no Dask scheduler at {self.scheduler}: {error}") from error
        finally:
            if own is not None:
                own.close()


@dataclass(frozen=True)
class Slurm:
    """Jobs of Slurm, or processes that submitit starts in its place ("local"); each runs its share of the items."""

    workers: int
    partition: str | None = None

    def run(self, study: Study, items: Sequence[Item], folder: Path) -> Iterator[Done]:
        """Yield every item."""
        try:
            import submitit
        except ImportError as error:
            raise InputError("the backend slurm needs the package submitit: pip install optprobe[slurm]") from error

        local = self.partition == "local"
        executor = submitit.AutoExecutor(folder.resolve() / "jobs", cluster="local" if local else None)
        executor.update_parameters(timeout_min=MINUTES)
        if self.partition and not local:
            executor.update_parameters(slurm_partition=self.partition)
        shares = [list(items[first :: self.workers]) for first in range(min(self.workers, len(items)))]
        began = time.time()
        with executor.batch():
            jobs = [executor.submit(_perform_all, study, tuple(share), folder.resolve()) for share in shares]
        try:
            while any(shares):
                for job, share in zip(jobs, shares):
                    yield from self._over(study, share, folder, began, job.done())
                time.sleep(POLL)
            for job in jobs:
                job.wait()
        finally:
            for job in jobs:
                if not job.done():
                    job.cancel()

    def _over(self, study: Study, share: list[Item], folder: Path, began: float, ended: bool) -> Iterator[Done]:
        """Take the items that are over from a job's share, all of them where the job has ended."""
        for item in list(share):
            done = _found(study, item, folder, began)
            if done is None and ended:
                note_failure(study, item, folder, f"{item.name}: {ENDED}")
                done = Done(item, ENDED, 0.0)
            if done is not None:
                share.remove(item)
                yield done


def _timed(study: Study, item: Item, folder: Path) -> Done:
    started = time.perf_counter()
    failure = perform(study, item, folder)
    return Done(item, failure, time.perf_counter() - started)


def _perform_all(study: Study, items: Sequence[Item], folder: Path) -> None:
    for item in items:
        perform(study, item, folder)


def _found(study: Study, item: Item, folder: Path, began: float) -> Done | None:
    """What a job has written of an item since it began."""
    key = key_of(study, item)
    record = read_record(folder, key)
    if record is not None and record["ran"]["started"] >= began:
        return Done(item, None, float(record["ran"]["seconds"]))
    try:
        note = json.loads((folder / FAILURES / f"{key}.json").read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return None
    return Done(item, note["sentence"], 0.0) if note["at"] >= began else None


def _begin_worker(memory_limit: float | None) -> None:
    """Leave Ctrl-C to the parent, and limit the memory."""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    if memory_limit is not None:
        import resource

        most = int(memory_limit * 2**30)
        resource.setrlimit(resource.RLIMIT_DATA, (most, most))


def _share(workers: int) -> dict[str, str]:
    """The environment of a worker that has its share of the cores."""
    threads = str(max(1, len(os.sched_getaffinity(0)) // workers))
    return dict.fromkeys(("OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS", "MKL_NUM_THREADS", "NUMBA_NUM_THREADS"), threads)
