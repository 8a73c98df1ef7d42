"""The arithmetic of the studies of certified cases: variances, prefilters, pools, regimes, planted neurons."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from experiments import prefilter, regimes, selection_regret, synthetic_recovery, uniqueness
from experiments.synthetic_recovery import Plant, planted, proportion_interval
from optprobe.errors import InputError

CONFIGS = Path(selection_regret.__file__).parent / "configs"


def test_the_parts_of_a_variance_add_up_and_say_where_it_comes_from() -> None:
    split, method = np.array([0.0, 0.2, -0.2]), np.array([0.1, -0.1])
    only_split = selection_regret.variance_parts(np.tile(split, (2, 1)))
    assert only_split["split"] == pytest.approx(only_split["whole"])
    assert only_split["method"] == pytest.approx(0)
    only_method = selection_regret.variance_parts(np.tile(method[:, None], (1, 3)))
    assert only_method["method"] == pytest.approx(only_method["whole"]) == pytest.approx(0.01)
    both = selection_regret.variance_parts(split + method[:, None])
    assert both["both"] == pytest.approx(0)
    assert both["whole"] == pytest.approx(split.var() + method.var())
    crossed = selection_regret.variance_parts([[1.0, -1.0], [-1.0, 1.0]])
    assert (crossed["split"], crossed["method"], crossed["both"]) == (0.0, 0.0, 1.0)


def test_nesting_is_read_off_consecutive_optima() -> None:
    class Case:
        def __init__(self, k: int, support: tuple[int, ...]) -> None:
            self.feature, self.layer, self.k, self.support, self.optimal = "f", 0, k, support, True

    rows = selection_regret.nested_rows([Case(3, (1, 2, 3)), Case(1, (2,)), Case(2, (1, 3))])  # type: ignore[list-item]
    assert [(row["k"], row["next_k"], row["nested"]) for row in rows] == [(1, 2, False), (2, 3, True)]


def test_planted_rows_are_what_they_are_said_to_be() -> None:
    plain = planted(Plant(n_rows=4000, n_neurons=40, k=2), 4000, (3, 30), (0, 0))
    assert (plain.y > 0).mean() == 0.5
    effect = np.array([plain.X[plain.y > 0, j].mean() - plain.X[plain.y < 0, j].mean() for j in range(40)])
    assert set(np.argsort(-effect)[:2]) == {3, 30} == set(plain.support)
    assert np.abs(np.delete(effect, [3, 30])).max() < 0.15
    decoys = planted(Plant(n_neurons=40, k=2, correlation=0.9), 4000, (3, 30), (0, 0))
    correlations = np.corrcoef(decoys.X.T)
    assert sorted((correlations[3] > 0.8).nonzero()[0])[1:] != []
    assert (correlations[3] > 0.8).sum() == synthetic_recovery.BLOCK
    assert abs(correlations[3, 30]) < 0.1
    rare = planted(Plant(positive_share=0.05), 1000, (0, 1, 2), (0, 0))
    assert (rare.y > 0).sum() == 50


def test_opposed_neurons_tell_little_alone_and_all_together() -> None:
    plant = Plant(n_neurons=40, k=2, correlation=0.95, opposed=True, noise=0.1)
    rows = planted(plant, 4000, (3, 30), (1, 0))
    one, other = rows.X[:, 3], rows.X[:, 30]
    assert np.corrcoef(one, other)[0, 1] > 0.9
    assert abs(np.corrcoef(one, rows.y)[0, 1]) < 0.2
    assert np.corrcoef(one - other, rows.y)[0, 1] > 0.6


def test_the_interval_of_a_share_is_wilsons() -> None:
    assert proportion_interval(0, 10) == pytest.approx((0.0, 0.277533), abs=1e-5)
    assert proportion_interval(5, 10) == pytest.approx((0.236593, 0.763407), abs=1e-5)
    assert proportion_interval(10, 10) == pytest.approx((0.722467, 1.0), abs=1e-5)


def test_a_method_is_at_fault_only_where_the_optimum_is_the_truth() -> None:
    study = synthetic_recovery.Recovery(
        synthetic_recovery.EXPERIMENT.config(CONFIGS / "synthetic_recovery" / "smoke.toml"), Path()
    )
    items = study.items()[:2]

    def result(optimum: int, ranking: int) -> dict[str, Any]:
        row = {"is_optimal": True, "relative_regret": 0.0, "auc_test": 0.9}
        found = {"optimum": optimum, "mean_difference": ranking}
        return {"methods": [{"method": name, "found": count, **row} for name, count in found.items()]}

    rows = synthetic_recovery.recovery_rows(items, [result(2, 1), result(1, 1)])
    ranking = next(row for row in rows if row["method"] == "mean_difference")
    assert (ranking["draws"], ranking["recovered"], ranking["truth_optimal"], ranking["missed"]) == (2, 0, 1, 1)


@pytest.mark.parametrize(
    ("module", "change", "sentence"),
    [
        (uniqueness, ("within = 0.01\n", ""), "has no key 'within'"),
        (prefilter, ("tops = [5, 50]", "tops = [1]"), "a prefilter of 1 neurons holds no set of 2"),
        (prefilter, ("tops = [5, 50]", "top = 5"), "searches whole layers, so leave 'top' out"),
        (uniqueness, ("layers", "top = 5\nlayers"), "searches whole layers, so leave 'top' out"),
        (regimes, ('methods = ["mean_difference"]', 'methods = ["random"]'), "must have mean_difference"),
        (regimes, ("ridge = [0.01, 100.0]", 'ridge = "validate"'), "'validate' is none"),
        (synthetic_recovery, ("correlation = 0.8", "correlation = 1.0"), "must be a number between 0 and 1"),
        (synthetic_recovery, ("n_neurons = 24\nk = 2", "n_neurons = 24\nk = 5"), "have no 5 blocks of 8"),
        (synthetic_recovery, ('name = "opposed"', 'name = "baseline"'), "two departures called 'baseline'"),
        (synthetic_recovery, ("opposed = true", "opposed = 1"), "must be true or false"),
        (synthetic_recovery, ('name = "opposed"', "name = [1]"), r"'name' is \[1\], and must be"),
    ],
)
def test_what_a_configuration_cannot_ask_for(
    module: Any, change: tuple[str, str], sentence: str, tmp_path: Path
) -> None:
    smoke = (CONFIGS / module.EXPERIMENT.name / "smoke.toml").read_text(encoding="utf-8")
    assert change[0] in smoke
    (tmp_path / "other.toml").write_text(smoke.replace(*change), encoding="utf-8")
    with pytest.raises(InputError, match=sentence):
        module.EXPERIMENT.config(tmp_path / "other.toml")


def test_a_gap_is_a_share_of_the_optimum() -> None:
    assert [regimes.gap_of(bound, 0.5) for bound in (0.25, 0.5, 0.6, 0.0, -40.0)] == [0.5, 0.0, 0.0, 1.0, 1.0]


def test_a_pool_that_was_not_listed_is_empty_in_the_table_and_not_counted() -> None:
    row = {"loss": "squared", "k": 1, "layer": 0, "feature": "f"}
    listed = {
        **row,
        "sets": 1,
        "complete": True,
        "margin": 0.1,
        "unique": True,
        "indispensable": 1,
        "auc_least": 0.5,
        "auc_most": 0.75,
    }
    none = {**row, **dict.fromkeys(set(listed) - set(row))}
    whole = uniqueness.summary_rows([listed, none])[0]
    assert (whole["layer"], whole["cases"], whole["listed"], whole["alone"], whole["unique"]) == ("all", 2, 1, 1, 1)
    assert whole["auc_range"] is None
    assert uniqueness.summary_rows([{**listed, "sets": 3}, listed])[0]["auc_range"] == 0.25
