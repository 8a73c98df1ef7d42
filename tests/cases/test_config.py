"""The configuration: what is written is what is read, and one sentence for every mistake."""

from __future__ import annotations

from pathlib import Path

import pytest

from optprobe.cases import CaseStudy, Setting, Split
from optprobe.cases.config import read_config
from optprobe.errors import InputError

CONFIGS = Path(__file__).parents[2] / "experiments" / "configs" / "heuristic_vs_optimal"
TEXT = (CONFIGS / "smoke.toml").read_text(encoding="utf-8")


def test_the_configurations_of_the_project_are_read(tmp_path: Path) -> None:
    bundled, smoke = read_config(CONFIGS / "bundled.toml"), read_config(CONFIGS / "smoke.toml")
    assert len(bundled.features or ()) * len(bundled.layers or ()) * len(bundled.settings) * len(bundled.ks) == 192
    assert smoke.settings == (Setting("squared", 0.01, "balanced"),)
    assert (smoke.model, smoke.layers, smoke.ks, smoke.time_limit) == ("bundled", (0,), (1, 2), 20.0)
    assert smoke.study(tmp_path, ("acts",)) == CaseStudy(
        ("acts",), tmp_path, smoke.settings, (1, 2), ("contains_digit", "latex_math"), (0,), time_limit=20.0, draws=200
    )


def test_what_is_left_out_has_its_usual_value(tmp_path: Path) -> None:
    path = tmp_path / "short.toml"
    path.write_text('stores = ["a", "b"]\nks = [3, 1]\ntop = 9\n[[losses]]\nname = "logistic"\nridge = [0.1, 1]\n')
    study = read_config(path).study(tmp_path)
    assert study.settings == (Setting("logistic", 0.1, "none", 9), Setting("logistic", 1.0, "none", 9))
    assert (study.sources, study.ks, study.features, study.layers) == (("a", "b"), (1, 3), None, None)
    assert (study.method, study.methods, study.time_limit, study.split) == ("auto", None, None, Split(0.3, 0))


@pytest.mark.parametrize(
    ("old", "new", "sentence"),
    [
        ('model = "bundled"\n', "", "has no key 'model'"),
        ("ks = [1, 2]\n", "", "has no key 'ks'"),
        ("layers = [0]\n", "", "has no key 'layers'"),
        ("layers = [0]", 'layers = [0]\nstores = ["acts"]', "has the unknown key 'dataset'"),
        ("layers = [0]", "layers = [0]\ntop = 0", "'top' is 0, and must be a whole number from 1"),
        ("layers = [0]", "layers = [0]\ntest_share = 1.0", "must be a share between 0 and 1"),
        ("layers = [0]", 'layers = [0]\nmethod = "magic"', "must be one of auto, enumeration"),
        ("layers = [0]", 'layers = [0]\nmethods = ["magic"]', "a list of which each entry is one of mean_difference"),
        ("ridge = 0.01", "ridge = [0.01, 0.01]", "a list without repetitions"),
        ("ridge = 0.01", "ridge = []", "a list that is not empty"),
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


def test_a_ridge_to_be_validated_and_several_ridges(tmp_path: Path) -> None:
    path = tmp_path / "validated.toml"
    path.write_text(TEXT.replace("ridge = 0.01", 'ridge = "validate"'), encoding="utf-8")
    validated = read_config(path)
    assert validated.settings == (Setting("squared", None, "balanced"),)
    assert validated.grid == (0.001, 0.01, 0.1, 1.0)
    path.write_text(TEXT.replace("ridge = 0.01", "ridge = [0.01, 1]"), encoding="utf-8")
    assert [setting.ridge for setting in read_config(path).settings] == [0.01, 1.0]


def test_no_file(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="cannot be read"):
        read_config(tmp_path / "none.toml")
