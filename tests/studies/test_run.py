"""A study runs to its end whatever happens: what is done stays, what fails is told, nothing is half-written."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import threading
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from filelock import FileLock
from toy import Numbers

from optprobe.errors import InputError
from optprobe.studies import Item, Study, read_record, records_of, run_study
from optprobe.studies.backends import ENDED, Backend, backend_named
from optprobe.studies.clock import Clock
from optprobe.studies.study import key_of, perform

HERE = Path(__file__).parent


def results(study: Study, folder: Path) -> list[dict[str, Any]]:
    """What is compared between runs: item and result of every record."""
    return [{"item": record["item"], "result": record["result"]} for record in records_of(study, folder)]


def files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


@pytest.fixture
def others(monkeypatch: pytest.MonkeyPatch) -> None:
    """Other processes find the study."""
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(HERE), str(HERE.parents[1])]))


def test_every_item_gets_one_record_that_reads_back(tmp_path: Path) -> None:
    study = Numbers()
    outcome = run_study(study, tmp_path)
    assert (outcome.items, outcome.done, outcome.skipped, outcome.failed) == (6, 6, 0, 0)
    assert files(tmp_path / "records") == sorted(f"{key_of(study, item)}.json" for item in study.items())
    found = results(study, tmp_path)
    assert [one["result"]["third"] for one in found] == [i / 3 for i in range(6)]
    assert found[2]["item"] == {"values": {"number": 2}, "inputs": {"data": "d" * 64}}


def test_what_is_done_is_not_run_again(tmp_path: Path) -> None:
    trace = tmp_path / "trace"
    run_study(Numbers(3, trace=trace), tmp_path / "out")
    before = {path: path.read_bytes() for path in (tmp_path / "out" / "records").iterdir()}
    outcome = run_study(Numbers(5, trace=trace), tmp_path / "out")
    assert (outcome.items, outcome.done, outcome.skipped) == (5, 2, 3)
    assert trace.read_text().split() == ["0", "1", "2", "3", "4"]
    assert all(path.read_bytes() == content for path, content in before.items())


@pytest.mark.parametrize("change", ['"square": 4', '"square": 5'])
def test_altered_and_unsound_records_are_run_again(change: str, tmp_path: Path) -> None:
    study = Numbers(3)
    run_study(study, tmp_path)
    path = tmp_path / "records" / f"{key_of(study, study.items()[2])}.json"
    path.write_text(path.read_text().replace('"square": 4', change))
    again = replace(study, refused=(4,)) if change == '"square": 4' else study
    assert run_study(again, tmp_path).done == 1
    assert json.loads(path.read_text())["result"]["square"] == 4


@pytest.mark.parametrize("content", ["", "{", "[]", '{"format": "optprobe-record/1"}', "null"])
def test_what_is_no_record_is_none(content: str, tmp_path: Path) -> None:
    (tmp_path / "records").mkdir()
    (tmp_path / "records" / "k.json").write_text(content)
    assert read_record(tmp_path, "k") is None


def test_a_record_under_another_name_is_none(tmp_path: Path) -> None:
    study = Numbers(2)
    run_study(study, tmp_path)
    first, second = (tmp_path / "records" / f"{key_of(study, item)}.json" for item in study.items())
    second.write_bytes(first.read_bytes())
    assert len(results(study, tmp_path)) == 1


def test_a_key_is_of_all_that_decides_and_of_nothing_else() -> None:
    study, item = Numbers(), Item({"a": 1, "b": 2}, {"x": "1"})
    same = [Item({"b": 2, "a": 1}, {"x": "1"}, "name", "kind", "after")]
    other = [Item({"a": 1, "b": 3}, {"x": "1"}), Item({"a": 1, "b": 2}, {"x": "2"}), Item({"a": 1}, {"x": "1"})]
    assert {key_of(study, one) for one in same} == {key_of(study, item)}
    assert len({key_of(study, one) for one in [item, *other]} | {key_of(replace(study, version=2), item)}) == 5
    assert key_of(replace(study, seconds=9.0), item) == key_of(study, item)


def test_failures_are_told_kept_and_tried_again(tmp_path: Path) -> None:
    outcome = run_study(Numbers(4, raising=(1, 3)), tmp_path)
    assert (outcome.done, outcome.failed) == (2, 2)
    assert outcome.failures == ("number 1: 1 is not wanted at all", "number 3: 3 is not wanted at all")
    note = json.loads((tmp_path / "failures" / files(tmp_path / "failures")[0]).read_text())
    assert "InputError" in note["traceback"]
    assert len(results(Numbers(4), tmp_path)) == 2
    again = run_study(Numbers(4), tmp_path)
    assert (again.done, again.skipped, again.failed) == (2, 2, 0)
    assert files(tmp_path / "failures") == []


def test_an_item_sees_the_one_that_it_comes_after(tmp_path: Path) -> None:
    study = Numbers(2)
    first, second = study.items()
    perform(study, first, tmp_path)
    perform(study, Item(second.values, second.inputs, after=key_of(study, first)), tmp_path)
    assert results(study, tmp_path)[1]["result"]["earlier"] == 0
    perform(study, Item(second.values, second.inputs, after="nothing"), tmp_path)
    assert results(study, tmp_path)[1]["result"]["earlier"] is None


def test_ctrl_c_leaves_whole_records_and_the_same_call_goes_on(tmp_path: Path) -> None:
    with pytest.raises(KeyboardInterrupt):
        run_study(Numbers(4, interrupted=(2,)), tmp_path)
    assert len(results(Numbers(4), tmp_path)) == 2
    assert files(tmp_path / "failures") == []
    assert run_study(Numbers(4), tmp_path).done == 2


def test_two_runs_of_one_folder_are_refused(tmp_path: Path) -> None:
    with FileLock(tmp_path / ".lock"), pytest.raises(InputError, match="another process is running a study in"):
        run_study(Numbers(), tmp_path)
    assert run_study(Numbers(), tmp_path).done == 6


def test_an_item_that_is_there_twice_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    item = Item({"number": 1}, {}, "number 1")
    monkeypatch.setattr(Numbers, "items", lambda self: [item, item])
    with pytest.raises(InputError, match="has the same item twice: number 1"):
        run_study(Numbers(), tmp_path)


def test_a_folder_that_cannot_be_made_is_one_sentence(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(InputError, match="cannot be written"):
        run_study(Numbers(), tmp_path / "file")


def test_a_full_disk_fails_items_and_tears_no_file(tmp_path: Path) -> None:
    """Files may not grow beyond a few bytes: what a full disk does to every record."""
    code = (
        f"import sys, resource; sys.path.insert(0, {str(HERE)!r}); from toy import Numbers; from pathlib import Path\n"
        "from optprobe.studies import run_study\n"
        f"resource.setrlimit(resource.RLIMIT_FSIZE, (50, 50)); print(run_study(Numbers(3), Path({str(tmp_path)!r})))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert "failed=3" in done.stdout
    assert "cannot be written: File too large" in done.stdout
    assert files(tmp_path / "records") == files(tmp_path / "failures") == []


def test_progress_is_a_share_and_an_honest_estimate(tmp_path: Path) -> None:
    said: list[tuple[str, float]] = []
    run_study(Numbers(2), tmp_path)
    run_study(Numbers(4, raising=(3,)), tmp_path, report=lambda what, share: said.append((what, share)))
    assert [share for _, share in said] == [0.5, 0.75, 1.0]
    assert said[0][0] == "0 of 2 to be run"
    assert said[2][0].startswith("2 of 2, 1 failed")


def test_the_time_left_is_told_only_once_it_is_known() -> None:
    clock = Clock(["a", "a", "b", "b"], workers=2)
    assert clock.left == "time left unknown"
    clock.ran("a", 2.0)
    assert clock.left == "time left unknown"
    clock.ran("b", 10.0)
    assert clock.left == "about 6 s left"
    clock.ran("a", 4.0)
    assert clock.left == "about 5 s left"
    clock.ran("b", 400.0)
    assert clock.left == "about 0 s left"


BACKENDS = {
    "loky": ("loky", 2, None),
    "dask": ("dask", 2, None),
    "slurm": ("slurm", 2, "local"),
}


def backend(name: str) -> Backend:
    kind, workers, scheduler = BACKENDS[name]
    if kind in ("dask", "slurm"):
        pytest.importorskip({"dask": "distributed", "slurm": "submitit"}[kind])
    return backend_named(kind, workers, scheduler=scheduler)


@pytest.mark.usefixtures("others")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("name", BACKENDS)
def test_backends_make_the_same_records(name: str, tmp_path: Path) -> None:
    study = Numbers(9, raising=(4,))
    outcome = run_study(study, tmp_path / "other", backend(name))
    run_study(study, tmp_path / "here")
    assert (outcome.done, outcome.failed) == (8, 1)
    assert "4 is not wanted" in outcome.failures[0]
    assert results(study, tmp_path / "other") == results(study, tmp_path / "here")
    assert files(tmp_path / "other" / "records") == files(tmp_path / "here" / "records")


@pytest.mark.usefixtures("others")
def test_an_item_that_ends_its_worker_fails_and_the_rest_goes_on(tmp_path: Path) -> None:
    study = Numbers(8, dying=(2, 5))
    outcome = run_study(study, tmp_path, backend("loky"))
    assert (outcome.done, outcome.failed) == (6, 2)
    assert set(outcome.failures) == {f"number {i}: {ENDED}" for i in (2, 5)}
    assert run_study(Numbers(8), tmp_path).done == 2


@pytest.mark.usefixtures("others")
@pytest.mark.skipif(sys.platform != "linux", reason="limits of data memory are those of Linux")
def test_an_item_beyond_its_memory_fails_and_the_rest_goes_on(tmp_path: Path) -> None:
    assert resource.getrlimit(resource.RLIMIT_DATA)[1] == resource.RLIM_INFINITY
    study = Numbers(4, greedy=(1,))
    outcome = run_study(study, tmp_path, backend_named("loky", 2, memory_limit=2.0))
    assert (outcome.done, outcome.failed) == (3, 1)
    assert outcome.failures[0].startswith("number 1: ")


def children() -> list[int]:
    """The processes below this one that run Python."""
    found = []
    for path in Path("/proc").glob("[0-9]*/stat"):
        try:
            fields = path.read_text().rpartition(")")[2].split()
            command = (path.parent / "cmdline").read_text()
        except OSError:
            continue
        if "python" in command and "resource_tracker" not in command and "forkserver" not in command:
            found.append((int(path.parent.name), int(fields[1])))
    below = {os.getpid()}
    for _ in range(4):
        below |= {process for process, parent in found if parent in below}
    return sorted(below - {os.getpid()})


@pytest.mark.usefixtures("others")
@pytest.mark.filterwarnings("ignore")
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are found in /proc")
@pytest.mark.parametrize("name", ["loky", pytest.param("dask", marks=pytest.mark.slow)])
def test_workers_killed_ten_times_lose_nothing(name: str, tmp_path: Path) -> None:
    """SIGKILL at random to any worker; what failed for it is run by the next call."""
    study, killed = Numbers(200, seconds=0.02), 0
    stop = threading.Event()

    def kill() -> None:
        nonlocal killed
        while not stop.wait(0.3):
            workers = children()
            begun = (tmp_path / "killed" / "records").is_dir() and files(tmp_path / "killed" / "records")
            if begun and killed < 10 and workers:
                try:
                    os.kill(workers[killed % len(workers)], signal.SIGKILL)
                    killed += 1
                except ProcessLookupError:
                    pass

    thread = threading.Thread(target=kill)
    thread.start()
    try:
        for _ in range(12):
            outcome = run_study(study, tmp_path / "killed", backend(name))
            if outcome.failed == 0:
                break
    finally:
        stop.set()
        thread.join()
    assert killed > 0
    assert outcome.failed == 0
    run_study(replace(study, seconds=0.0), tmp_path / "calm")
    assert results(study, tmp_path / "killed") == results(study, tmp_path / "calm")
    assert files(tmp_path / "killed" / "records") == files(tmp_path / "calm" / "records")
    assert files(tmp_path / "killed" / "failures") == []


@pytest.mark.usefixtures("others")
@pytest.mark.skipif(not Path("/proc/self/stat").exists(), reason="processes are found in /proc")
def test_workers_that_are_ended_between_items_are_replaced(tmp_path: Path) -> None:
    done = []
    for one in backend_named("loky", 1).run(Numbers(3), Numbers(3).items(), tmp_path):
        done.append((one.item.name, one.failure))
        for worker in children():
            os.kill(worker, signal.SIGKILL)
        time.sleep(1.0)
    assert sorted(done) == [(f"number {i}", None) for i in range(3)]


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        ({"name": "cloud"}, "there is no backend 'cloud': use one of here, loky, dask, slurm"),
        ({"name": "here", "workers": 2}, "2 workers cannot run here"),
        ({"name": "loky", "workers": 0}, "0 workers cannot run loky"),
        ({"name": "here", "memory_limit": 1.0}, "needs --backend loky"),
        ({"name": "loky", "memory_limit": float("nan")}, "a positive number of GiB"),
        ({"name": "loky", "scheduler": "tcp://"}, "a scheduler belongs to --backend dask or slurm"),
    ],
)
def test_arguments_without_effect_are_refused(arguments: dict[str, Any], sentence: str) -> None:
    with pytest.raises(InputError, match=sentence):
        backend_named(**arguments)
