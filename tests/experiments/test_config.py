"""The configuration: what is written is what is read, and one sentence for every mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from experiments.config import LossSetting, read_config
from optprobe.errors import InputError

CONFIGS = Path(__file__).parents[2] / "experiments" / "configs"
TEXT = (CONFIGS / "smoke.toml").read_text(encoding="utf-8")


def test_the_configurations_of_the_project_are_read() -> None:
    bundled, smoke = read_config(CONFIGS / "bundled.toml"), read_config(CONFIGS / "smoke.toml")
    assert bundled.n_cases == 8 * 4 * 2 * 3
    assert smoke.losses == (LossSetting("squared", 0.01, "balanced"),)
    assert (smoke.layers, smoke.ks, smoke.time_limit) == ((0,), (1, 2), 20.0)
    assert bundled.digest != smoke.digest


def test_the_digest_is_of_the_meaning(tmp_path: Path) -> None:
    path = tmp_path / "same.toml"
    path.write_text(TEXT.replace("time_limit = 20.0", "# a remark\ntime_limit   =  20"), encoding="utf-8")
    assert read_config(path).digest == read_config(CONFIGS / "smoke.toml").digest


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ("seed = 0\n\n[[", "[[", "has no key 'seed'"),
        ("seed = 0\n\n[[", "seed = 0\ncolour = 1\n[[", "unknown key 'colour'"),
        ("ridge = 0.01", "rigde = 0.01", "losses has no key 'ridge'"),
        ("ridge = 0.01", "ridge = 0.01\nC = 1", "losses has the unknown key 'C'"),
        ("ridge = 0.01", "ridge = -1", "'ridge' is -1, and must be a positive number"),
        ("ridge = 0.01", "ridge = true", "'ridge' is True, and must be a positive number"),
        ("ridge = 0.01", "ridge = nan", "must be a positive number"),
        ('"squared"', '"cubic"', "'name' is 'cubic', and must be one of squared, logistic, hinge"),
        ('"balanced"', "[1]", "must be one of none, balanced"),
        (
            "ks = [1, 2]",
            "ks = [1, 0]",
            "'ks' is [1, 0], and must be a list of which each entry is a whole number from 1",
        ),
        ("ks = [1, 2]", "ks = [1, 1]", "a list without repetitions"),
        ("ks = [1, 2]", "ks = []", "a list that is not empty"),
        ("layers = [0]", "layers = 0", "'layers' is 0, and must be a list"),
        ("time_limit = 20.0", "time_limit = 'long'", "must be a positive number"),
        ('model = "bundled"', "model = 3", "'model' is 3, and must be a string"),
        ("bootstrap_draws = 200", "bootstrap_draws = 0", "a whole number from 1"),
        ("[[losses]]", "[losses]", "'losses' is {"),
        ("layers = [0]", "layers = [0", "is not TOML"),
    ],
)
def test_mistakes(old: str, new: str, sentence: str, tmp_path: Path) -> None:
    assert old in TEXT
    path = tmp_path / "wrong.toml"
    path.write_text(TEXT.replace(old, new), encoding="utf-8")
    with pytest.raises(InputError) as error:
        read_config(path)
    assert sentence in str(error.value)
    assert str(path) in str(error.value)


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_config(tmp_path / "none.toml")
