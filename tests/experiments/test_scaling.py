"""The criteria of scaling, on numbers made by hand."""

from __future__ import annotations

from experiments.scaling import appearance_rows, mean_f1, split_rows


def single(rung: str, feature: str, f1: float, low: float) -> dict[str, object]:
    return {"rung": rung, "feature": feature, "k": 1, "f1": f1, "f1_low": low}


def test_a_feature_appears_where_its_interval_lies_above_the_threshold() -> None:
    rows = [single("a", "x", 0.9, 0.7), single("b", "x", 0.9, 0.85), single("c", "x", 0.9, 0.8)]
    rows += [single("a", "y", 0.95, 0.9), single("b", "y", 0.99, 0.97), single("c", "y", 0.9, 0.81)]
    rows += [single(rung, "z", 0.79, 0.7) for rung in "abc"]
    x, y, z = appearance_rows(rows, 0.8)
    assert (x["appears_at"], x["stays"]) == ("b", False)
    assert (y["appears_at"], y["stays"]) == ("a", True)
    assert (z["appears_at"], z["stays"]) == ("nowhere", False)
    assert mean_f1(rows)["a"] == {1: (0.9 + 0.95 + 0.79) / 3}


def profile(rung: str, of: str, *f1: float) -> list[dict[str, object]]:
    labels = ("code", "python", "c")
    return [
        {"rung": rung, "of": of, "on": on, "f1": value, "f1_low": value - 0.02, "f1_high": value + 0.02}
        for on, value in zip(labels, f1)
    ]


def test_a_coarse_neuron_splits_into_fine_ones_that_look_like_it_and_do_better() -> None:
    small = [*profile("a", "code", 0.9, 0.6, 0.6), *profile("a", "python", 0.1, 0.1, 0.1)]
    small += profile("a", "c", 0.1, 0.1, 0.1)
    large = [*profile("b", "code", 0.9, 0.6, 0.6), *profile("b", "python", 0.8, 0.9, 0.5)]
    large += profile("b", "c", 0.8, 0.5, 0.9)
    (row,) = split_rows(small + large, {"code": ("python", "c")})
    assert (row["n_from_coarse"], row["which"], row["split"]) == (2, "python c", True)

    within_its_interval = [*profile("b", "code", 0.9, 0.6, 0.6), *profile("b", "python", 0.8, 0.63, 0.5)]
    within_its_interval += profile("b", "c", 0.8, 0.5, 0.9)
    (row,) = split_rows(small + within_its_interval, {"code": ("python", "c")})
    assert (row["n_from_coarse"], row["split"]) == (1, False)

    had_one_of_its_own = [*profile("a", "code", 0.9, 0.6, 0.6), *profile("a", "python", 0.8, 0.85, 0.5)]
    had_one_of_its_own += profile("a", "c", 0.1, 0.1, 0.1)
    (row,) = split_rows(had_one_of_its_own + large, {"code": ("python", "c")})
    assert (row["which"], row["split"]) == ("c", False)
