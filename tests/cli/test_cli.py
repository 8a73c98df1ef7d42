"""The command line end to end: the contract that scripts rely on, and one sentence for every bad input."""

from __future__ import annotations

import itertools
import json
import os
import signal
import subprocess
import sys
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
import pytest

import optprobe
from formulations import fit_supports, sparse_probe_problem
from optprobe.cli.main import COMMANDS, main
from optprobe.engines import budget

RNG = np.random.default_rng(11)
X = RNG.standard_normal((90, 12)).astype(np.float16)
HIDDEN = X[:, 2].astype(float) - X[:, 7].astype(float) + 0.5 * RNG.standard_normal(90)
ARRAYS: dict[str, Any] = {
    "X_train": X[:60],
    "y_train": np.where(HIDDEN > 0, 1, -1)[:60].astype(np.int8),
    "group_train": np.arange(60) // 3,
    "X_test": X[60:],
    "y_test": np.where(HIDDEN > 0, 1, -1)[60:].astype(np.int8),
    "group_test": 50 + np.arange(30) // 3,
}


@pytest.fixture
def data(tmp_path: Path) -> Path:
    np.savez(tmp_path / "data.npz", **ARRAYS)
    return tmp_path / "data.npz"


def optimum(k: int, loss: str, ridge: float, class_weight: str = "none") -> tuple[float, list[int]]:
    problem = sparse_probe_problem(
        ARRAYS["X_train"], ARRAYS["y_train"], k, loss=loss, ridge=ridge, class_weight=class_weight
    )
    supports = np.array(list(itertools.combinations(range(12), k)))
    objectives = fit_supports(problem, supports).objective
    best = int(np.argmin(objectives))
    return float(objectives[best]), [int(j) for j in supports[best]]


def last_json(capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    record = json.loads(capsys.readouterr().out.strip().splitlines()[-1])
    assert isinstance(record, dict)
    return record


@pytest.mark.parametrize(
    ("loss", "k", "method"),
    [
        ("squared", 3, "auto"),
        ("logistic", 2, "auto"),
        ("hinge", 2, "auto"),
        ("squared", 2, "branch_and_cut"),
        ("logistic", 2, "outer_approximation"),
        ("hinge", 1, "milp"),
    ],
)
@pytest.mark.parametrize("class_weight", ["none", "balanced"])
def test_solve_then_verify(
    data: Path, capsys: pytest.CaptureFixture[str], loss: str, k: int, method: str, class_weight: str
) -> None:
    out = data.parent / "out"
    command = ["solve", str(data), "--k", str(k), "--loss", loss, "--ridge", "0.05", "--class-weight", class_weight]
    assert main([*command, "--method", method, "--out", str(out), "--json"]) == 0
    record = last_json(capsys)
    value, support = optimum(k, loss, 0.05, class_weight)
    assert record["support"] == support
    assert abs(record["upper_bound"] - value) < 1e-8
    assert record["lower_bound"] <= value + 1e-12
    assert record["gap"] == record["upper_bound"] - record["lower_bound"] <= 1e-6
    assert record["status"].startswith("optimal")
    assert record["regime"] in ("separable", "relaxation", "combinatorial")
    assert record["seconds"] > 0
    assert record["engine"]
    assert main(["verify", record["certificate"], "--data", str(data), "--json"]) == 0
    assert last_json(capsys)["accepted"]


def test_verify_rejects_other_data_and_a_truncated_file(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["solve", str(data), "--k", "1", "--loss", "squared", "--out", str(data.parent), "--json"])
    certificate = Path(last_json(capsys)["certificate"])
    other = data.parent / "other.npz"
    np.savez(other, **(ARRAYS | {"X_train": -X[:60]}))
    assert main(["verify", str(certificate), "--data", str(other)]) == 1
    assert capsys.readouterr().out.startswith("rejected: X is not")
    certificate.write_bytes(certificate.read_bytes()[:-5])
    assert main(["verify", str(certificate), "--data", str(data)]) == 1
    assert "truncated" in capsys.readouterr().out
    assert main(["verify", str(data.parent / "none.cert"), "--data", str(data)]) == 2
    assert main(["verify", str(certificate), "--data", str(data.parent / "none.npz")]) in (1, 2)


def test_compare_names_every_method(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", str(data), "--k", "2", "--loss", "squared", "--json"]) == 0
    record = last_json(capsys)
    methods = {row["method"]: row for row in record["methods"]}
    assert {"optimum", "mean_difference", "mutual_information", "linear_svm", "forward_selection"} <= set(methods)
    assert methods["optimum"]["regret"] == 0
    assert methods["optimum"]["overlap"] == 2
    for row in methods.values():
        assert row["regret"] >= 0
        assert 0 <= row["f1_test"] <= 1
        assert row["objective"] >= record["lower_bound"]
        assert row["optimal"] == (row["regret"] <= 1e-6)
    assert main(["compare", str(data), "--k", "2", "--loss", "squared"]) == 0
    assert "mean difference" in capsys.readouterr().out


def test_cite(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["solve", str(data), "--k", "2", "--loss", "squared", "--out", str(data.parent), "--json"])
    certificate = last_json(capsys)["certificate"]
    for more, certified in ((["--data", str(data)], True), ([], False)):
        assert main(["cite", certificate, *more]) == 0
        printed = capsys.readouterr().out
        assert printed.startswith("@misc{optprobe-")
        assert "no set of 2" in printed
        assert ("certified optimal" in printed) == certified
        assert ("claimed, not verified here" in printed) != certified


def test_cite_says_what_is_not_certified(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(data, X_train=np.random.default_rng(0).standard_normal((60, 40)), y_train=ARRAYS["y_train"])
    command = ["solve", str(data), "--k", "6", "--loss", "squared", "--ridge", "0.001", "--out", str(data.parent)]
    assert main([*command, "--time-limit", "0.01", "--json"]) == 0
    record = last_json(capsys)
    assert record["status"].startswith("time limit")
    assert record["gap"] > 1e-6
    assert main(["verify", record["certificate"], "--data", str(data)]) == 0
    assert main(["cite", record["certificate"]]) == 0
    assert "best known set of 6, gap" in capsys.readouterr().out


def test_the_setting_of_the_paper_says_its_scope(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = str(data.parent)
    assert main(["solve", str(data), "--k", "2", "--paper", "--top", "6", "--out", out, "--json"]) == 0
    record = last_json(capsys)
    assert (record["loss"], record["class_weight"], record["engine"]) == ("hinge", "balanced", "outer_approximation")
    assert record["scope"] == "among these 6 neurons"
    assert abs(record["ridge"] - 100 / np.sqrt(60)) < 1e-12
    assert main(["verify", record["certificate"], "--data", str(data)]) == 0
    assert "at most 2 of 6 columns" in capsys.readouterr().out
    assert main(["cite", record["certificate"]]) == 0
    assert "Among these 6 of the 12 neurons" in capsys.readouterr().out


@pytest.mark.parametrize(
    "given", [("loss", "squared"), ("loss", "logistic"), ("ridge", "0.5"), ("class-weight", "none")]
)
def test_the_setting_of_the_paper_is_not_another(
    data: Path, capsys: pytest.CaptureFixture[str], given: tuple[str, str]
) -> None:
    option, value = given
    assert main(["solve", str(data), "--k", "1", "--paper", f"--{option}", value, "--out", str(data.parent)]) == 2
    assert f"--{option} is {value}: leave one of the two out" in capsys.readouterr().err
    assert list(data.parent.iterdir()) == [data]


def test_the_setting_of_the_paper_may_be_repeated_and_solved_otherwise(
    data: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = ["solve", str(data), "--k", "1", "--paper", "--loss", "hinge", "--class-weight", "balanced"]
    assert main([*command, "--method", "dual_enumeration", "--out", str(data.parent), "--json"]) == 0
    record = last_json(capsys)
    assert (record["engine"], record["support"]) == (
        "dual_enumeration",
        optimum(1, "hinge", 100 / 60**0.5, "balanced")[1],
    )


def solve(capsys: pytest.CaptureFixture[str], data: Path, *more: str) -> Path:
    command = ["solve", str(data), "--k", "1", "--loss", "squared", "--out", str(data.parent / "out"), *more, "--json"]
    assert main(command) == 0
    return Path(last_json(capsys)["certificate"])


def test_names_of_certificates_do_not_collide(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Other data, ridge, weights or candidates: another file; what is there stays as it is, and the same is one."""
    first = solve(capsys, data)
    assert first.name == "data.k1.squared.ridge0.01.cert"
    content = first.read_bytes()
    assert solve(capsys, data) == first
    np.savez(data.with_name("data.v2.npz"), **ARRAYS)
    np.savez(data.with_name("weighted.npz"), **ARRAYS, sample_weight=np.arange(1, 61))
    (data.parent / "elsewhere").mkdir()
    np.savez(data.parent / "elsewhere" / "data.npz", **(ARRAYS | {"X_train": -X[:60]}))
    others = [
        solve(capsys, data, "--ridge", "0.010000001"),
        solve(capsys, data, "--class-weight", "balanced"),
        solve(capsys, data, "--top", "3"),
        solve(capsys, data.with_name("data.v2.npz")),
        solve(capsys, data.with_name("weighted.npz")),
    ]
    assert [path.name for path in others] == [
        "data.k1.squared.ridge0.010000001.cert",
        "data.k1.squared.ridge0.01.balanced.cert",
        "data.k1.squared.ridge0.01.top3.cert",
        "data.v2.k1.squared.ridge0.01.cert",
        "weighted.k1.squared.ridge0.01.weighted.cert",
    ]
    assert main(["solve", str(data.parent / "elsewhere" / "data.npz"), "--k", "1", "--loss", "squared", "--out",
                 str(first.parent)]) == 0  # fmt: skip
    printed = capsys.readouterr()
    second = first.with_name("data.k1.squared.ridge0.01-2.cert")
    assert str(second) in printed.out
    assert printed.err == f"optprobe solve: {first.name} is another certificate and is kept\n"
    assert first.read_bytes() == content
    assert main(["verify", str(second), "--data", str(data.parent / "elsewhere" / "data.npz")]) == 0


def test_cite_without_data_has_no_use_for_limits(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    certificate = str(solve(capsys, data))
    for option, value in (("--time-limit", "5"), ("--memory-limit", "1"), ("--feature", "f"), ("--layer", "1")):
        assert main(["cite", certificate, option, value]) == 2
        assert f"{option} is about the data" in capsys.readouterr().err
    assert main(["verify", certificate, "--data", str(data), "--fast", "--exhaustive"]) == 2
    assert "give one of the two" in capsys.readouterr().err


def with_cell(value: float) -> np.ndarray:
    bad = X[:60].astype(np.float64)
    bad[4, 5] = value
    return bad


BAD: dict[str, tuple[dict[str, Any], list[str], str]] = {
    "nan": ({"X_train": with_cell(np.nan)}, [], "row 4"),
    "infinite": ({"X_train": with_cell(np.inf)}, [], "row 4"),
    "one class": ({"y_train": np.ones(60)}, [], "class"),
    "three labels": ({"y_train": np.arange(60) % 3}, [], "two"),
    "text": ({"X_train": X[:60].astype(str)}, [], "number"),
    "objects": ({"X_train": X[:60].astype(object)}, [], ""),
    "k above p": ({}, ["--k", "13"], "13"),
    "k of zero": ({}, ["--k", "0"], "0"),
    "negative weight": ({"sample_weight": -np.ones(60)}, [], "weight"),
    "negative ridge": ({}, ["--ridge", "-1"], "ridge"),
    "zero ridge": ({}, ["--ridge", "0"], "the ridge is 0, and every lower bound divides by it: give a positive one"),
    "other rows": ({"y_train": ARRAYS["y_train"][:-1]}, [], "59"),
    "no time": ({}, ["--time-limit", "0"], "time limit"),
    "no tolerance": ({}, ["--tolerance", "0"], "tolerance"),
    "engine that cannot": ({}, ["--method", "enumeration", "--loss", "logistic"], "squared"),
    "top too small": ({}, ["--top", "1"], "--top"),
    "unknown method": ({}, ["--method", "guess"], "guess"),
    "fractional k": ({}, ["--k", "1.5"], "1.5"),
}


@pytest.mark.parametrize("name", BAD)
def test_bad_input_is_one_sentence_and_leaves_nothing(
    name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    arrays, options, says = BAD[name]
    np.savez(tmp_path / "data.npz", allow_pickle=True, **(ARRAYS | arrays))
    out = tmp_path / "out"
    command = ["solve", str(tmp_path / "data.npz"), "--k", "2", "--loss", "squared", "--out", str(out), *options]
    try:
        code = main(command)
    except SystemExit as exit_:
        code = int(exit_.code or 0)
    assert code == 2
    printed = capsys.readouterr()
    assert len(printed.err.strip().splitlines()) == 1, printed.err
    assert says in printed.err
    assert not out.exists() or not any(out.iterdir())


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 truncated", b"no archive at all"])
def test_a_file_that_is_no_archive(content: bytes, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "data.npz").write_bytes(content)
    assert main(["solve", str(tmp_path / "data.npz"), "--k", "1"]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 1


def test_a_missing_array_is_named(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    np.savez(tmp_path / "data.npz", X_train=X)
    assert main(["solve", str(tmp_path / "data.npz"), "--k", "1"]) == 2
    assert "y_train" in capsys.readouterr().err


def test_an_unwritable_folder(data: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["solve", str(data), "--k", "1", "--out", str(data / "below-a-file")]) == 2
    assert "cannot be written" in capsys.readouterr().err


def test_unknown_model_and_dataset(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["extract", str(tmp_path / "no-model"), "--out", str(tmp_path / "acts")]) == 2
    assert main(["extract", "bundled", "--dataset", "nothing", "--out", str(tmp_path / "acts")]) == 2
    assert len(capsys.readouterr().err.strip().splitlines()) == 2
    assert not (tmp_path / "acts").exists()


def test_extract_solve_verify_from_a_folder(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    acts = tmp_path / "acts"
    assert main(["extract", "bundled", "--dataset", "is_french", "--layers", "0", "--out", str(acts)]) == 0
    command = ["solve", str(acts), "--k", "2", "--loss", "squared", "--out", str(tmp_path), "--json"]
    assert main([*command, "--feature", "is_klingon", "--layer", "0"]) == 2
    assert main([*command, "--feature", "is_french", "--layer", "9"]) == 2
    errors = capsys.readouterr().err
    assert "is_klingon" in errors
    assert "layer 9" in errors
    assert main([*command, "--feature", "is_french", "--layer", "0"]) == 0
    certificate = last_json(capsys)["certificate"]
    assert main(["verify", certificate, "--data", str(acts)]) == 0
    assert main(["cite", certificate]) == 0
    assert "layer 0" in capsys.readouterr().out


def test_verify_uses_the_split_of_the_certificate(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    from optprobe import extract, features, load_labelled, problem, solve

    extract("bundled", features.load("is_french"), [0], tmp_path / "acts")
    data = load_labelled(tmp_path / "acts", "is_french", 0, test_share=0.4, seed=5)
    certificate = solve(problem(data, 1, loss="squared")).certificate()
    path = certificate.save(tmp_path / certificate.file_name)
    assert main(["verify", str(path), "--data", str(tmp_path / "acts")]) == 0
    assert capsys.readouterr().out.startswith("accepted")


@pytest.mark.parametrize("command", COMMANDS)
def test_every_command_has_help(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as caught:
        main([command, "--help"])
    assert caught.value.code == 0
    assert "usage: optprobe" in capsys.readouterr().out


def test_from_outside(data: Path) -> None:
    """As a process: the last line of standard output is the record, and errors are no traceback."""
    environment = os.environ | {"PYTHONWARNINGS": "error"}

    def run(*arguments: str) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "optprobe.cli.main", *arguments]
        return subprocess.run(command, capture_output=True, text=True, env=environment, check=False, cwd=Path.cwd())

    done = run("solve", str(data), "--k", "2", "--loss", "squared", "--out", str(data.parent), "--json")
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1])["support"] == optimum(2, "squared", 0.01)[1]
    failed = run("solve", str(data), "--k", "99")
    assert failed.returncode == 2
    assert "Traceback" not in failed.stderr


@pytest.mark.parametrize("method", ["milp", "outer_approximation", "auto"])
def test_standard_output_is_the_record_and_nothing_else(method: str, data: Path) -> None:
    command = [sys.executable, "-m", "optprobe", "solve", str(data), "--k", "2", "--loss", "hinge", "--ridge", "0.1"]
    command += ["--method", method, "--out", str(data.parent), "--json"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["optimal"]


@pytest.fixture
def interrupted(monkeypatch: pytest.MonkeyPatch) -> None:
    """Ctrl-C as soon as a solve begins."""
    honest = budget.Budget.__enter__

    def enter(self: budget.Budget) -> budget.Budget:
        entered = honest(self)
        os.kill(os.getpid(), signal.SIGINT)
        return entered

    monkeypatch.setattr(budget.Budget, "__enter__", enter)


def test_an_interrupted_solve_is_saved_and_says_so(
    data: Path, interrupted: None, capsys: pytest.CaptureFixture[str]
) -> None:
    stated = ["solve", str(data), "--k", "3", "--loss", "logistic", "--out", str(data.parent), "--json"]
    assert main(stated) == 130
    record = last_json(capsys)
    assert record["status"].startswith("interrupted")
    assert main(["verify", record["certificate"], "--data", str(data)]) == 0


def test_an_interrupted_solve_is_not_compared(
    data: Path, interrupted: None, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["compare", str(data), "--k", "2", "--loss", "logistic"]) == 130
    assert capsys.readouterr() == ("", "optprobe compare: interrupted\n")


LOOP = """
for k in 1 2 3; do
    "$0" -c '
import os, signal, sys
from optprobe.cli import main, solve
honest = solve.solve_from
def interrupted(*given, **wanted):
    from optprobe.engines import budget
    enter = budget.Budget.__enter__
    def entered(self):
        enter(self)
        for process in (os.getppid(), os.getpid()):
            os.kill(process, signal.SIGINT)
        return self
    budget.Budget.__enter__ = entered
    return honest(*given, **wanted)
solve.solve_from = interrupted
sys.argv[0] = "optprobe"
sys.exit(main.main())' solve "$1" --k $k --loss logistic --out "$2"
    echo "code $?"
done
echo end
"""


@pytest.mark.skipif(os.name != "posix", reason="shells")
def test_a_loop_of_a_shell_ends_at_an_interrupt(data: Path) -> None:
    """As with any program that ends by the signal: the first certificate is there, and no second round begins."""

    def heed() -> None:
        signal.signal(signal.SIGINT, signal.SIG_DFL)

    command = ["bash", "-c", LOOP, sys.executable, str(data), str(data.parent)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, preexec_fn=heed)
    assert done.returncode == -signal.SIGINT
    assert done.stdout.count("certificate") == 1
    assert "end" not in done.stdout.splitlines()
    assert len(list(data.parent.glob("*.cert"))) == 1


def test_an_ignored_interrupt_stays_ignored(data: Path, interrupted: None) -> None:
    heard = signal.signal(signal.SIGINT, signal.SIG_IGN)
    try:
        assert main(["solve", str(data), "--k", "2", "--loss", "squared", "--out", str(data.parent)]) == 0
        assert signal.getsignal(signal.SIGINT) is signal.SIG_IGN
    finally:
        signal.signal(signal.SIGINT, heard)


@pytest.mark.parametrize(
    ("error", "code", "says"),
    [
        (OSError(28, "No space left on device", "a.cert"), 2, "optprobe solve: a.cert: No space left on device\n"),
        (OSError("cannot\nbe read"), 2, "optprobe solve: cannot be read\n"),
        (UnicodeDecodeError("utf-8", b"\xff", 0, 1, "invalid start byte"), 2, "invalid start byte\n"),
        (KeyboardInterrupt(), 130, "optprobe solve: interrupted\n"),
        (ZeroDivisionError("division by zero"), 70, "fault of the program"),
    ],
)
def test_every_error_has_its_exit_code(
    error: BaseException, code: int, says: str, data: Path,
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    def fail(*_: object) -> None:
        raise error

    monkeypatch.setattr("optprobe.cli.solve.read_stated", fail)
    assert main(["solve", str(data), "--k", "2", "--out", str(data.parent)]) == code
    said = capsys.readouterr().err
    assert says in said
    assert (said.count("\n") == 1) == (code != 70)


@pytest.mark.parametrize("encoding", ["ascii", "utf-8"])
def test_names_that_cannot_be_printed_cost_no_result(encoding: str, data: Path) -> None:
    """A file and a folder whose names are no UTF-8, or beyond the encoding of standard output."""
    folder = data.parent / os.fsdecode(b"caf\xe9-\xd0\x96")
    folder.mkdir()
    named = data.rename(folder / os.fsdecode(b"\xe9.npz"))
    environment = os.environ | {"PYTHONIOENCODING": encoding}
    command = [sys.executable, "-m", "optprobe", "solve", named, "--k", "2", "--loss", "squared", "--out", folder]
    done = subprocess.run(command, capture_output=True, env=environment, check=False)
    assert (done.returncode, done.stderr) == (0, b"")
    (certificate,) = folder.glob("*.cert")
    assert main(["verify", str(certificate), "--data", str(named)]) == 0


def test_a_word_that_is_nearly_right(capsys: pytest.CaptureFixture[str]) -> None:
    for arguments, meant in ((["slove"], "solve"), (["solve", "x.npz", "--k", "1", "--loss", "hing"], "hinge")):
        with pytest.raises(SystemExit) as ended:
            main(arguments)
        assert ended.value.code == 2
        assert f"did you mean {meant}?" in capsys.readouterr().err
    with pytest.raises(SystemExit):
        main(["zzzz"])
    assert "did you mean" not in capsys.readouterr().err


def test_the_version_is_said(capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as ended:
        main(["--version"])
    assert ended.value.code == 0
    assert capsys.readouterr().out == f"optprobe {optprobe.__version__}\n"
    assert optprobe.__version__ == metadata.version("optprobe")
