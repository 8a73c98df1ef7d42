"""Recipes: those of the project, and what is refused."""

from __future__ import annotations

from pathlib import Path

import pytest

import experiments
from optprobe.cli.main import main
from optprobe.errors import InputError
from optprobe.features import load
from optprobe.features.catalogue import BuildOptions, categories
from optprobe.features.recipes import read_recipe

FOLDER = Path(experiments.__file__).parent / "configs" / "features"


def test_there_is_a_recipe_for_every_category() -> None:
    assert {path.stem for path in FOLDER.glob("*.toml")} == set(categories())


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.toml")), ids=lambda path: path.stem)
def test_a_recipe_is_complete_once_it_is_pinned(path: Path) -> None:
    with pytest.raises(InputError, match="is left for you to give"):
        read_recipe(path)
    recipe = read_recipe(path, {"source": "somewhere", "revision": "0" * 40})
    assert recipe.pop("name") == path.stem
    assert BuildOptions(**recipe).source == "somewhere"


def test_refusals(tmp_path: Path) -> None:
    path = tmp_path / "own.toml"
    for content, problem in {
        "name = 1 2": "is not TOML",
        "name = 'latex'\nsauce = 'x'": "no option 'sauce'",
        "name = 'latex'": "'source' is left for you to give",
        "name = 'latex'\nsource = 'x'\nrevision = ''": "'revision' is left .* 40-hex commit",
    }.items():
        path.write_text(content, encoding="utf-8")
        with pytest.raises(InputError, match=rf"own\.toml: .*{problem}"):
            read_recipe(path)
    with pytest.raises(InputError, match="cannot be read"):
        read_recipe(tmp_path / "none.toml")


def test_a_recipe_builds_on_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    source = tmp_path / "code"
    source.mkdir()
    for name in ("a.py", "b.py"):
        (source / name).write_text(f"def {name[0]}(x):\n    return len(x) + 1  # {name}\n", encoding="utf-8")
    recipe = str(FOLDER / "python_tokens.toml")
    assert main(["features", "build", recipe, "--out", str(tmp_path / "no")]) == 2
    assert "'source' is left for you to give" in capsys.readouterr().err
    out = str(tmp_path / "out")
    assert main(["features", "build", recipe, "--source", str(source), "--out", out]) == 0
    assert load(out).name == "python_tokens"
    next_token = [
        *("features", "build", recipe, "--source", str(source), "--next-token"),
        "--out",
        str(tmp_path / "next"),
    ]
    assert main(next_token) == 2
    assert main([*next_token, "--tokenizer", "bundled"]) == 0
    assert "next_python_name" in load(tmp_path / "next").features


def test_labels_may_lie_in_an_object(tmp_path: Path) -> None:
    rows = [f'{{"text": "{"word " * 30}{part}", "meta": {{"part": "{part}"}}}}' for part in ("ArXiv", "Github")]
    (tmp_path / "mix.jsonl").write_text("\n".join(rows), encoding="utf-8")
    options = BuildOptions(str(tmp_path / "mix.jsonl"), label_column="meta.part")
    assert categories()["data_subset"].build(options).features == ("github", "arxiv")
    with pytest.raises(InputError, match=r"mix\.jsonl, text 0: .* no object with a value of 'kind'"):
        categories()["data_subset"].build(BuildOptions(options.source, label_column="meta.kind"))
