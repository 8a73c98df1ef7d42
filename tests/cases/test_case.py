"""A case: what it says agrees with the certificate, the comparison and brute force."""

from __future__ import annotations

import csv
import itertools
import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import matthews_corrcoef, roc_auc_score

from formulations import fit_support, fit_supports
from optprobe.activations import LabelledActivations
from optprobe.cases import Case, MethodResult, case, certified_case
from optprobe.cases.table import csv_text, parquet
from optprobe.comparison import PARTS, predict
from optprobe.data import problem
from optprobe.engines import Solution, solve
from optprobe.errors import InputError
from optprobe.registry import Registry
from optprobe.report.summary import headline, summaries
from optprobe.scoring import NAMES

Rows = Callable[[str, int], LabelledActivations]


def test_the_case_holds_the_optimum_and_each_method_its_own_fit(rows: Rows, cases: list[Case]) -> None:
    for found in cases:
        data = rows(found.feature, found.layer)
        stated = problem(data, found.k, loss=found.loss, ridge=found.ridge, class_weight=found.class_weight)
        every = np.array(list(itertools.combinations(range(stated.n_neurons), found.k)))
        objectives = fit_supports(stated, every).objective
        assert found.optimal
        assert found.accepted
        assert found.lower_bound <= objectives.min() <= found.upper_bound
        assert found.upper_bound - found.lower_bound == found.gap <= found.tolerance
        assert found.best.support == list(found.support)
        for result in found.methods:
            own = float(objectives[(every == result.support).all(axis=1)][0])
            assert result.objective == pytest.approx(own, abs=1e-9)
            assert result.optimal == (own <= objectives.min() + 1e-7)
            assert result.relative_regret == pytest.approx(own / objectives.min() - 1, abs=1e-7)
            assert (result.train.log_loss is None) == (found.loss != "logistic")
            for name in set(NAMES) - ({"log_loss"} if found.loss != "logistic" else set()):
                parts = {part: getattr(getattr(result, part), name) for part in PARTS}
                assert parts["low"] <= parts["high"]
                assert parts["behind"] == getattr(found.best.test, name) - parts["test"]
                assert parts["behind_low"] <= parts["behind_high"]
                if result.overlap == found.k:
                    assert parts["behind_low"] == parts["behind_high"] == parts["behind"] == 0


def test_a_case_survives_json(cases: list[Case]) -> None:
    for found in cases:
        assert Case.of_record(json.loads(json.dumps(found.record(), allow_nan=False))) == found


def test_the_scores_of_test_rows_and_their_intervals(rows: Rows, cases: list[Case]) -> None:
    """Those of sklearn for the refitted probe, and of the same documents drawn one after another."""
    for found in (cases[1], cases[-1]):
        data = rows(found.feature, found.layer)
        stated = problem(data, found.k, loss=found.loss, ridge=found.ridge, class_weight=found.class_weight)
        draws = np.random.default_rng(0).multinomial(12, np.full(12, 1 / 12), size=100)
        documents = np.unique(data.group_test)
        assert len(documents) == 12
        for result in found.methods[::4]:
            fit = fit_support(stated, result.support)
            f = predict(stated, data.X_test, tuple(result.support), fit.coef[0], fit.intercept[0])
            assert result.test.auc == pytest.approx(roc_auc_score(data.y_test, f), abs=1e-12)
            assert result.test.matthews == pytest.approx(matthews_corrcoef(data.y_test, np.where(f > 0, 1, -1)))
            drawn = []
            for times in draws:
                at = [np.tile(np.flatnonzero(data.group_test == d), n) for d, n in zip(documents, times)]
                drawn.append(roc_auc_score(data.y_test[np.concatenate(at)], f[np.concatenate(at)]))
            assert [result.low.auc, result.high.auc] == pytest.approx(np.quantile(drawn, [0.025, 0.975]), abs=1e-12)


def test_a_row_of_the_table_has_every_score_by_its_name(cases: list[Case]) -> None:
    """And parquet has floats also where no case has a log-loss."""
    from pyarrow import BufferReader
    from pyarrow import parquet as reader

    squared = [found for found in cases if found.loss == "squared"]
    read = reader.read_table(BufferReader(parquet(squared)))
    assert read.schema.field("log_loss_test").type == read.schema.field("auc_test").type == "double"
    columns = {f"{name}_{part}" for name in NAMES for part in PARTS}
    assert columns <= set(read.column_names)
    listed = list(csv.DictReader(csv_text(cases).splitlines()))
    results = [result for found in cases for result in found.methods]
    for row, result in zip(listed, results, strict=True):
        assert columns <= set(row)
        assert float(row["auc_low"]) == result.low.auc
        assert float(row["f1_behind_high"]) == result.behind_high.f1
        assert row["log_loss_train"] == ("" if result.train.log_loss is None else str(result.train.log_loss))
    assert read.column("matthews_behind").to_pylist() == [r.behind.matthews for c in squared for r in c.methods]


def test_a_record_of_something_else_is_refused(cases: list[Case]) -> None:
    record = cases[0].record()
    for wrong in ({**record, "more": 1}, {key: record[key] for key in record if key != "k"}):
        with pytest.raises(TypeError):
            Case.of_record(wrong)
    with pytest.raises(TypeError):
        MethodResult.of_record({**record["methods"][0], "more": 1})
    with pytest.raises(KeyError, match="auc_low"):
        MethodResult.of_record({key: value for key, value in record["methods"][0].items() if key != "auc_low"})


def test_an_interrupted_solve_is_no_case(rows: Rows, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*arguments: object, **options: object) -> Solution:
        return replace(solve(stated), interrupted=True)

    data = rows("is_plain", 0)
    stated = problem(data, 1, loss="squared")
    monkeypatch.setattr(case, "solve", interrupted)
    with pytest.raises(KeyboardInterrupt):
        certified_case(data, stated, Registry(tmp_path))
    assert list(tmp_path.iterdir()) == []


def test_rows_without_documents_are_refused(rows: Rows, tmp_path: Path) -> None:
    data = replace(rows("is_plain", 0), group_test=None)
    with pytest.raises(InputError, match="needs test rows with documents"):
        certified_case(data, problem(data, 1), Registry(tmp_path))


def test_summaries_are_means_over_cases(cases: list[Case]) -> None:
    squared = [found for found in cases if found.loss == "squared"]
    optimum, *heuristics = summaries(squared)
    assert (optimum.method, optimum.n_optimal, optimum.shared) == ("optimum", 8, 1)
    assert optimum.mean_regret == pytest.approx(0, abs=1e-12)
    assert [row.mean_relative_regret for row in heuristics] == sorted(row.mean_relative_regret for row in heuristics)
    row = next(row for row in heuristics if row.method == "mean_difference")
    own = [result for found in squared for result in found.methods if result.method == "mean_difference"]
    assert row.mean_regret == pytest.approx(np.mean([result.regret for result in own]))
    assert row.n_optimal == sum(result.optimal is True for result in own)
    assert set(row.relative_regret) == {1, 2}
    assert row.n_above + row.n_below <= sum(
        result.overlap < found.k for found, result in zip(squared, own, strict=True)
    )


def test_the_headline_tells_what_is_open_and_what_is_rejected(cases: list[Case]) -> None:
    assert headline(cases).startswith("Each of the 9 optima is proved over all 10 neurons")
    changed = [replace(cases[0], optimal=False), replace(cases[1], accepted=False), *cases[2:]]
    assert headline(changed).startswith("8 of 9 supports are proved optimal")
    assert "REJECTS 1 OF 9 CERTIFICATES" in headline(changed)
