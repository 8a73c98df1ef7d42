"""No named forgery is accepted, none ends in a traceback, none takes more than its limits."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from pathlib import Path

import forgeries_data
import forgeries_diagonal
import forgeries_files
import forgeries_moments
import forgeries_trees
import numpy as np
import pytest
from forgeries import ANY, FORGERIES, Forged, honest, usual
from forging import sealed

from optprobe.certificates import checker, verify
from optprobe.certificates.checker import check
from optprobe.certificates.exact import verify_exact
from optprobe.errors import InputError

ENDLESS = 100.0
"""Seconds after which a check of limits that are so small has none."""
MODULES = (forgeries_files, forgeries_trees, forgeries_data, forgeries_moments, forgeries_diagonal)


def outcome(forged: Forged, path: Path) -> tuple[str, str]:
    path.write_bytes(forged.content)
    try:
        verdict = verify(
            path,
            forged.X,
            forged.y,
            forged.weight,
            exhaustive=forged.exhaustive,
            moments=forged.moments,
            **forged.limits,
        )
    except InputError as unusable:
        return "unusable", str(unusable)
    assert str(verdict).isprintable() or "\n" in str(verdict)
    return verdict.outcome, verdict.reason


@pytest.mark.parametrize("name", FORGERIES)
def test_none_is_accepted(name: str, tmp_path: Path) -> None:
    forged, started = FORGERIES[name](), time.monotonic()
    how, why = outcome(forged, tmp_path / "a.cert")
    assert how in ("rejected", "undecided", "unusable"), why
    assert not forged.says or any(part in why for part in forged.says.split("|")), why
    assert all(c.isprintable() for c in why), repr(why)
    assert time.monotonic() - started < ENDLESS


@pytest.mark.parametrize(("loss", "proof"), ANY)
def test_what_they_were_made_from_is_accepted(loss: str, proof: str, tmp_path: Path) -> None:
    case = usual(loss)
    (tmp_path / "a.cert").write_bytes(honest(case, proof).sealed())
    assert verify(tmp_path / "a.cert", case.X, case.y, exhaustive=proof == "none").accepted


def test_a_false_diagonal_would_prove_what_is_false(tmp_path: Path) -> None:
    """The forgery is worth its name, what it was made from is accepted, and the exact checker sees through all."""
    case, (_, bound) = forgeries_diagonal.case(), forgeries_diagonal.false_bound()
    assert bound > case.optimum + 0.05
    (tmp_path / "a.cert").write_bytes(forgeries_diagonal.honest().sealed())
    assert verify(tmp_path / "a.cert", case.X, case.y).accepted
    assert verify_exact(tmp_path / "a.cert", case.X, case.y).accepted
    names = [name for name in FORGERIES if "diagonal" in name]
    assert len(names) > 30
    for name in names:
        forged = FORGERIES[name]()
        (tmp_path / "a.cert").write_bytes(forged.content)
        assert verify_exact(tmp_path / "a.cert", forged.X, forged.y).outcome == "rejected", name


def test_there_are_many_of_every_kind() -> None:
    assert len(FORGERIES) > 1000
    for loss, proof in ANY:
        assert sum(name.endswith(f", {loss}, {proof}") for name in FORGERIES) > 60


def run(*arguments: str, cwd: Path) -> subprocess.CompletedProcess[bytes]:
    quiet = {**os.environ, "OMP_NUM_THREADS": "1", "PYTHONDONTWRITEBYTECODE": "1"}
    return subprocess.run([sys.executable, *arguments], capture_output=True, cwd=cwd, env=quiet, check=False)


def test_alone_the_checker_gives_an_exit_code_and_no_traceback(tmp_path: Path) -> None:
    shutil.copytree(Path(checker.__file__).parent, tmp_path / "checker")
    case = usual("squared")
    np.savez(tmp_path / "a.npz", X_train=case.X, y_train=case.y)
    for name in forgeries_files.SAMPLE:
        (tmp_path / "a.cert").write_bytes(FORGERIES[name]().content)
        done = run("-m", "checker", "a.cert", "a.npz", cwd=tmp_path)
        said = (done.stdout + done.stderr).decode()
        assert done.returncode in (1, 2, 3), name
        assert "Traceback" not in said
        assert all(line.isprintable() for line in said.splitlines()), said


SCOPES = (
    "x'}, author={Someone Else}, note={\\input{/etc/passwd}",
    "{{{", "}}}", "\\", "100% $&#_~^", "{0} {claim} %s", '"', "a, b = {c",
)  # fmt: skip


@pytest.mark.parametrize("text", SCOPES)
def test_a_citation_stays_balanced_and_never_says_more_than_was_verified(text: str, tmp_path: Path) -> None:
    case = usual("squared")
    np.savez(tmp_path / "a.npz", X_train=case.X, y_train=case.y)
    draft = case.swept()
    scope = {"feature": text, "model": text, "layer": 3}
    draft.claim["author"].update(scope=scope, engine=text, versions={"optprobe": text})
    (tmp_path / "a.cert").write_bytes(draft.sealed())
    (tmp_path / "b.cert").write_bytes(
        sealed({**draft.claim, "result": {**draft.claim["result"], "intercept": 1.0}}, draft.arrays)
    )
    from optprobe.cli.main import main

    def cite(*arguments: str) -> tuple[int, str]:
        import contextlib
        import io

        said = io.StringIO()
        with contextlib.redirect_stdout(said), contextlib.redirect_stderr(said):
            return main(["cite", *arguments]), said.getvalue()

    code, said = cite(str(tmp_path / "a.cert"))
    assert code == 0
    entry = said.split("\n}\n")[0] + "\n}"
    assert entry.count("{") == entry.count("}")
    assert "certified" not in said
    assert "claimed, not verified here" in said
    code, said = cite(str(tmp_path / "b.cert"), "--data", str(tmp_path / "a.npz"))
    assert code == 1
    assert "@misc" not in said
    code, said = cite(str(tmp_path / "a.cert"), "--data", str(tmp_path / "a.npz"))
    assert code == 0
    assert "certified optimal" in said


def test_a_split_of_wrong_types_is_refused(tmp_path: Path) -> None:
    from optprobe.cli.main import main

    case = usual("squared")
    np.savez(tmp_path / "a.npz", X_train=case.X, y_train=case.y)
    for split in ({"test_share": "x"}, {"seed": [1]}, {"test_share": True}, "x", [0.3], {"test_share": 1e300}):
        draft = case.swept()
        draft.claim["author"]["scope"] = {"split": split}
        (tmp_path / "a.cert").write_bytes(draft.sealed())
        assert main(["verify", str(tmp_path / "a.cert"), "--data", str(tmp_path / "a.npz")]) in (0, 1, 2)


def test_every_verdict_comes_from_one_place() -> None:
    assert check.verify is checker.verify
