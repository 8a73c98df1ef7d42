"""What the checker accepts of random proofs is true, and a checker without one of its rules is found out."""

from __future__ import annotations

import json
import os
import time
from collections import Counter
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from broken_rules import RULES, without
from joblib import Parallel, delayed
from random_proofs import OF_EACH, Trial, Wrong, figures_of, judged, trials, without_threads
from shrinking import pasted, shrunk, size_of, still_wrong

MANY = 20_000
ATTACK = int(os.environ.get("OPTPROBE_ATTACK", "100000"))
FIGURES = Path(__file__).parents[2] / "benchmarks" / "results" / "attack.json"
IMPORTS = "import json\nfrom pathlib import Path\nimport numpy as np\nfrom random_proofs import *\n"
SEEDS = 300
"""Problems within which a missing rule is found."""


def explained(wrong: list[Wrong], path: Path) -> str:
    """What is wrong, the first of it as a small test."""
    if not wrong:
        return ""
    seed, trial, why = wrong[0]
    return f"{len(wrong)} wrong; seed {seed}: {why}\n{pasted(shrunk(trial, still_wrong(path)))}"


def test_what_is_accepted_of_random_proofs_is_true(tmp_path: Path) -> None:
    counts, wrong = figures_of(range(MANY // OF_EACH))
    assert not wrong, explained(wrong, tmp_path / "a.cert")
    check_shares(counts)


def test_what_is_accepted_about_random_targets_is_true(tmp_path: Path) -> None:
    counts, wrong = figures_of(range(MANY // OF_EACH // 4), target=True)
    assert not wrong, explained(wrong, tmp_path / "a.cert")
    check_shares(counts)


def check_shares(counts: Counter[str]) -> None:
    """Verdicts of each kind are many, and what is true and proved is accepted."""
    proved = {how: counts[f"true and proved: {how}"] for how in ("accepted", "rejected", "undecided")}
    assert proved["accepted"] > 0.1 * counts["instances"]
    assert proved["rejected"] <= 0.01 * proved["accepted"]
    assert counts["accepted"] > 0.2 * counts["instances"]
    assert counts["rejected"] > 0.4 * counts["instances"]


@pytest.mark.slow
def test_many_random_proofs(tmp_path: Path) -> None:
    """The same of other problems on all cores; ``OPTPROBE_ATTACK`` says how many. Writes the figures."""
    started, size = time.perf_counter(), 50
    seeds = range(10**6, 10**6 + ATTACK // OF_EACH)
    parts = [seeds[at : at + size] for at in range(0, len(seeds), size)]
    found = Parallel(n_jobs=-1)(delayed(figures_of)(part) for part in parts)
    counts = sum((part[0] for part in found), Counter[str]())
    wrong = [each for part in found for each in part[1]]
    record = {
        "instances": counts["instances"],
        "accepted": counts["accepted"],
        "rejected": counts["rejected"],
        "undecided": counts["undecided"],
        "true and proved, accepted": counts["true and proved: accepted"],
        "true and proved, rejected": counts["true and proved: rejected"],
        "wrong": len(wrong),
        "seconds": round(time.perf_counter() - started, 1),
    }
    FIGURES.write_text(json.dumps(record, indent=1) + "\n", encoding="utf-8")
    assert not wrong, explained(wrong, tmp_path / "a.cert")


@pytest.mark.parametrize("rule", RULES)
def test_a_checker_without_a_rule_is_found_out(rule: str) -> None:
    with without(rule):
        counts, wrong = figures_of(range(SEEDS), most=1, target="target" in rule)
    assert wrong, f"{counts['instances']} instances do not notice"


@pytest.mark.parametrize(
    "rule", ["leaves reach the lower bound", "a discount is the whole square", "the tree is complete"]
)
def test_what_is_found_is_made_small(rule: str, tmp_path: Path) -> None:
    path = tmp_path / "a.cert"
    with without(rule):
        _, wrong = figures_of(range(SEEDS), most=1)
        with without_threads():
            _, trial, _ = wrong[0]
            small = shrunk(trial, still_wrong(path))
            assert judged(small, small.case(), path)[1]
            assert size_of(small) < 0.7 * size_of(trial)
            assert len(small.y) < len(trial.y)
            made: dict[str, Any] = {}
            exec(f"{IMPORTS}{pasted(small)}", made)
            with pytest.raises(AssertionError):
                made["test_found_by_random_proofs"](tmp_path)
    assert judged(small, small.case(), path)[1] is None
    made["test_found_by_random_proofs"](tmp_path)


def test_no_two_accepted_certificates_of_one_problem_contradict_each_other(tmp_path: Path) -> None:
    """Whatever proved them: no upper bound of one is below a lower bound of another, and the columns left out agree."""
    from optprobe.certificates import checker

    path, compared = tmp_path / "a.cert", 0
    with without_threads():
        for seed in range(5000, 5150):
            known: dict[str, tuple[float, float]] = {}
            left_out: dict[str, set[int]] = {}
            for trial, _ in trials(seed):
                if trial.outcome(path) != "accepted":
                    continue
                verdict = checker.verify(str(path), trial.X, trial.y, trial.weight, exhaustive=trial.exhaustive)
                stated = verdict.statement
                assert stated is not None
                about = json.dumps([trial.claim["data"], trial.claim["problem"]])
                upper, lower = known.get(about, (np.inf, -np.inf))
                known[about] = min(upper, stated.upper_bound), max(lower, stated.lower_bound)
                assert known[about][1] <= known[about][0], (seed, about)
                of_data = json.dumps(trial.claim["data"])
                left_out.setdefault(of_data, set()).add(stated.data["constant"])
                compared += 1
            assert all(len(numbers) == 1 for numbers in left_out.values())
    assert compared > 400


def test_a_trial_is_judged_by_its_claim(tmp_path: Path) -> None:
    """The judge finds a claim false that no checker has seen to."""
    trial, case = next((t, c) for seed in range(9) for t, c in trials(seed) if t.good)
    assert isinstance(trial, Trial)
    assert judged(trial, case, tmp_path / "a.cert")[1] is None
    with without("the objective is compared with the upper bound"):
        trial.claim["result"]["upper_bound"] = trial.claim["result"]["lower_bound"] = case.optimum - 1e-3
        assert "is claimed" in str(judged(trial, case, tmp_path / "a.cert")[1])
