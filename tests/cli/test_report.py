"""``optprobe report``: what it writes, its contract for scripts, what it refuses, and how a browser shows it."""

from __future__ import annotations

import html
import json
import shlex
import shutil
import subprocess
from pathlib import Path

import numpy as np
import pytest

from optprobe.activations import activations_of
from optprobe.cli.main import main

X = np.random.default_rng(5).normal(size=(160, 6)).astype(np.float32)
LABELS = {"../../sign": np.where(X[:, 1] - X[:, 4] + 0.3 * X[:, 0] > 0, 1, -1), "odd": np.where(X[:, 2] > 0, 1, -1)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """What a run leaves, with its store in it."""
    out = tmp_path_factory.mktemp("report") / "out"
    activations_of({0: X, 3: X[:, ::-1]}, LABELS, np.arange(160) // 4, model="made").save(out / "activations")
    sweep = ["--k", "1-2", "--loss", "squared", "--methods", "mean_difference", "beam_search"]
    assert main(["run", str(out / "activations"), *sweep, "--out", str(out)]) == 0
    return out


@pytest.fixture(scope="module")
def site(folder: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("site") / "site"
    assert main(["report", str(folder), "--out", str(out)]) == 0
    return out


def test_a_run_becomes_a_site(folder: Path, site: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(folder), "--out", str(tmp_path / "a"), "--json"]) == 0
    counts = json.loads(capsys.readouterr().out)
    made = {kind: len(list((site / kind).glob("*.html"))) for kind in ("feature", "neuron", "certificate")}
    assert made["feature"] == 2
    assert counts == {"pages": 1 + sum(made.values()), "certificates": made["certificate"], "neurons": made["neuron"]}
    assert counts["certificates"] == 8
    assert {path.name for path in tmp_path.iterdir()} == {"a"}
    neuron = next((site / "neuron").iterdir()).read_text(encoding="utf-8")
    assert "Correlated neurons" in neuron
    assert "without the texts" in neuron


def test_a_registry_alone_is_enough(folder: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", str(folder / "registry"), "--out", str(tmp_path), "--json", "--title", "Mine"]) == 0
    assert json.loads(capsys.readouterr().out)["certificates"] == 8
    assert "<h1>Mine</h1>" in (tmp_path / "index.html").read_text(encoding="utf-8")
    neuron = next((tmp_path / "neuron").iterdir()).read_text(encoding="utf-8")
    assert "without the activations" in neuron


def test_the_commands_on_a_certificate_s_page_are_right(
    folder: Path, site: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    shutil.copytree(site, tmp_path / "site")
    (tmp_path / "site" / "activations").symlink_to(folder / "activations")
    monkeypatch.chdir(tmp_path / "site")
    for page in sorted(Path("certificate").glob("*.html"))[::3]:
        text = page.read_text(encoding="utf-8")
        check, solve = (
            shlex.split(html.unescape(text.split(f"<pre><code>optprobe {name} ")[1].split("</code>")[0]))
            for name in ("verify", "solve")
        )
        assert main(["verify", *check]) == 0
        capsys.readouterr()
        assert main(["solve", *solve, "--json", "--out", str(tmp_path)]) == 0
        made = Path(json.loads(capsys.readouterr().out)["certificate"])
        assert made.read_bytes() == page.with_suffix(".cert").read_bytes()


@pytest.mark.parametrize(
    ("arguments", "sentence"),
    [
        (["nothing"], "there is no folder nothing"),
        (["empty"], "empty holds no certificates: give what optprobe run wrote, or a registry"),
        (["REGISTRY", "--dataset", "bundled"], "--dataset is about a store, and there is none"),
        (["REGISTRY", "--weights"], "--weights is about a store, and there is none"),
        (["RUN", "--tokenizer", "bundled"], "--tokenizer is for the texts, and there are none"),
        (["RUN", "--activations", "other"], "other holds other activations than those that the certificates name"),
        (["RUN", "--activations", "missing"], "there is no folder missing"),
        (["RUN", "--dataset", "bundled", "--tokenizer", "bundled"], "give the dataset they were extracted from"),
        (["RUN", "--out", "full"], "full is not empty and no site of optprobe"),
        (["RUN", "--out", "full/mine.txt"], "full/mine.txt is not empty and no site of optprobe"),
    ],
)
def test_what_cannot_be_reported_is_one_sentence(
    arguments: list[str],
    sentence: str,
    folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("full").mkdir()
    Path("empty").mkdir()
    Path("full/mine.txt").write_text("mine")
    activations_of({0: X}, LABELS, np.arange(160) // 4, model="another").save("other")
    paths = {"RUN": str(folder), "REGISTRY": str(folder / "registry")}
    given = [paths.get(word, word) for word in arguments]
    assert main(["report", *given, *([] if "--out" in given else ["--out", "out"])]) == 2
    said = capsys.readouterr().err
    assert said.count("\n") == 1, said
    assert sentence in said
    assert not Path("out").exists()
    assert Path("full/mine.txt").read_text() == "mine"


@pytest.fixture(scope="module")
def chromium() -> str:
    """A browser, or a skip with the reason."""
    found = shutil.which("chromium") or shutil.which("chromium-browser")
    if found is None:
        pytest.skip("no chromium: apt-get install chromium")
    return found


def browsed(chromium: str, page: Path, tmp_path: Path, *options: str) -> str:
    """What the browser says while it shows a page."""
    fixed = ("--headless", "--no-sandbox", "--disable-gpu", "--enable-logging=stderr", "--hide-scrollbars")
    command = [chromium, *fixed, f"--user-data-dir={tmp_path / 'profile'}", *options, page.as_uri()]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stderr


@pytest.mark.parametrize("look", ["1280", "390", "dark", "print"])
def test_a_browser_shows_the_pages_without_a_complaint(chromium: str, look: str, site: Path, tmp_path: Path) -> None:
    made = tmp_path / ("page.pdf" if look == "print" else "page.png")
    width = look if look.isdecimal() else "800"
    options = {
        "print": [f"--print-to-pdf={made}"],
        "dark": [f"--screenshot={made}", "--blink-settings=preferredColorScheme=0"],
    }.get(look, [f"--screenshot={made}", f"--window-size={width},1000"])
    for page in (site / "index.html", next((site / "feature").iterdir()), next((site / "neuron").iterdir())):
        said = browsed(chromium, page, tmp_path, *options)
        assert ":CONSOLE" not in said
        assert made.read_bytes()[:4] in (b"\x89PNG", b"%PDF")
        made.unlink()


def test_no_page_is_wider_than_a_telephone(chromium: str, site: Path, tmp_path: Path) -> None:
    """Measured in a frame of 390 pixels, since a browser's window may not become that narrow."""
    for page in (site / "index.html", *sorted(site.glob("*/*.html"))[::4]):
        frame = tmp_path / "frame.html"
        measure = "document.title = frames[0].document.documentElement.scrollWidth"
        frame.write_text(f'<iframe width="390" height="800" src="{page.as_uri()}" onload="{measure}"></iframe>')
        fixed = ("--headless", "--no-sandbox", "--disable-gpu", "--allow-file-access-from-files")
        options = ("--hide-scrollbars", "--dump-dom", f"--user-data-dir={tmp_path / 'profile'}")
        command = [chromium, *fixed, *options, frame.as_uri()]
        shown = subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
        assert "<title>390</title>" in shown, (page, shown[:200])
