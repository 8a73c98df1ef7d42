"""Many small random instances: every engine finds the optimum, its certificate is accepted, and no altered one is."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from adversarial import KINDS, Known, known
from sealing import Arrays, Change, altered, both_bounds

from formulations import UnsupportedProblem
from optprobe.certificates import verify
from optprobe.engines import METHODS, solve

LOSSES = ("squared", "logistic", "hinge")
MANY = int(os.environ.get("OPTPROBE_FUZZ", "1000"))
FIGURES = Path(__file__).parents[2] / "benchmarks" / "results" / "fuzz.json"


def tampering(instance: Known, way: int) -> Change:
    """What makes a certificate say something false."""

    def change(claim: dict[str, Any], arrays: Arrays) -> None:
        result, problem = claim["result"], claim["problem"]
        if way == 0:  # a better bound than there is
            both_bounds(1e-5)(claim, arrays)
        elif way == 1:  # a better objective than there is
            result["upper_bound"] = result["lower_bound"] = result["lower_bound"] - 1e-5
        elif way == 2:  # the fit of other numbers
            arrays["coef"] = arrays["coef"] + 1.0
        elif way == 3:
            result["intercept"] += 1.0
        elif way == 4:  # another problem
            problem["ridge"] *= 1.5
        elif way == 5:
            problem["loss"] = LOSSES[(LOSSES.index(problem["loss"]) + 1) % 3]
        elif way == 6:  # other data
            claim["data"]["X"] = "0" * 64
        elif way == 7:
            problem["class_weight"] = "none" if problem["class_weight"] == "balanced" else "balanced"
            both_bounds(1e-3)(claim, arrays)
        elif way == 8:  # a column that is not there
            result["support"] = [*result["support"], instance.problem.n_neurons]
            arrays["coef"] = np.append(arrays["coef"], 0.0)
        else:  # another sum of rows
            claim["data"]["n_rows"] += 1

    return change


@pytest.mark.slow
def test_many_small_instances(tmp_path: Path) -> None:
    started, figures, wrong = time.perf_counter(), Counter[str](), []
    path = tmp_path / "a.cert"
    for seed in range(MANY):
        loss, kind = LOSSES[seed % 3], KINDS[seed // 3 % len(KINDS)]
        instance = known(kind, 10_000 + seed, loss)
        for method in (m for m in METHODS if m != "milp" or seed % 50 == 0):
            try:
                solution = solve(instance.problem, method)
            except UnsupportedProblem:
                continue
            figures[method] += 1
            certificate = solution.certificate()
            certificate.save(path)
            if abs(solution.upper_bound - instance.optimum) > 1e-7 or not solution.optimal:
                wrong.append((seed, method, "optimum", solution.upper_bound - instance.optimum))
            if not (verdict := verify(path, instance.X, instance.y, instance.sample_weight)).accepted:
                wrong.append((seed, method, "rejected", verdict.reason))
            way = (seed + len(method)) % 10
            altered(certificate, tampering(instance, way), path)
            if verify(path, instance.X, instance.y, instance.sample_weight).accepted:
                wrong.append((seed, method, "accepted though altered", way))
            figures["altered"] += 1
    record = {"instances": MANY, "runs": dict(figures), "wrong": len(wrong), "seconds": time.perf_counter() - started}
    FIGURES.parent.mkdir(parents=True, exist_ok=True)
    FIGURES.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    assert wrong == []
